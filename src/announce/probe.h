// The probe: a question to one server what it has to do at this moment, and the answer.
//
//     offset  size  field
//          0     4  magic "BHPR"
//          4     1  format version, 1
//          5     1  key id, 0: not signed
//          6     1  1: question, 2: answer
//          7     1  reserved, 0
//          8     8  nonce
//         16     4  serving, big-endian; 0 in a question
//         20     4  idle workers, big-endian; 0 in a question
//         24    16  if signed: HMAC-SHA-256 of all bytes before it and of the contact of the asked,
//                   cut to 16 bytes
//
// Each is one UDP datagram, and an answer never longer than its question.  The answer repeats the
// question's nonce, so that a recorded one answers nothing; the contact keeps whoever is between
// two servers from having a third one answer.  docs/wire_format.md is the specification.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "announce/key_ring.h"
#include "base/address.h"
#include "cluster/counters.h"

namespace backhand {

constexpr std::size_t probe_bytes = 24;
constexpr std::size_t probe_bytes_max = probe_bytes + tag_bytes;  // signed
constexpr std::uint8_t probe_format_version = 1;

struct Probe {
    enum class Kind : std::uint8_t { question = 1, answer = 2 };

    Kind kind = Kind::question;
    std::uint64_t nonce = 0;
    std::uint32_t serving = 0;       // } of an answer
    std::uint32_t workers_idle = 0;  // }

    friend bool operator==(const Probe&, const Probe&) = default;
};

// On its way.
class ProbeDatagram {
public:
    // `asked` is the contact of the server that is asked, also in its answer.  Signed, unless
    // `keys` is nullptr.
    ProbeDatagram(const Probe& probe, const Endpoint& asked, const KeyRing* keys);

    std::span<const std::uint8_t> bytes() const { return {bytes_.data(), size_}; }

private:
    std::array<std::uint8_t, probe_bytes_max> bytes_{};
    std::size_t size_ = probe_bytes;
};

// Reads a datagram as it came from the network.  With keys it must be signed with one of them,
// without it must not be signed.  Returns the counter that the asked raises if it must be dropped.
std::optional<Counter> decode_probe(std::span<const std::uint8_t> datagram, Probe::Kind expected,
                                    const Endpoint& asked, const KeyRing* keys, Probe& probe);

// Which question a datagram would answer, whoever has sent it; nullopt: it is no probe.
std::optional<std::uint64_t> nonce_in(std::span<const std::uint8_t> datagram);

}  // namespace backhand
