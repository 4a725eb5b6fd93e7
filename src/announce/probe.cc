#include "announce/probe.h"

#include <algorithm>

#include "base/big_endian.h"

namespace backhand {

namespace {

constexpr std::array<std::uint8_t, 4> magic = {'B', 'H', 'P', 'R'};
constexpr std::size_t version_offset = 4;
constexpr std::size_t key_id_offset = 5;
constexpr std::size_t kind_offset = 6;
constexpr std::size_t nonce_offset = 8;
constexpr std::size_t serving_offset = 16;
constexpr std::size_t workers_idle_offset = 20;

using Bytes = std::span<const std::uint8_t>;

// What a tag is made from.
using SignedBytes = std::array<std::uint8_t, probe_bytes + sizeof(IpAddress::bytes) + 2>;

SignedBytes signed_bytes(Bytes datagram, const Endpoint& asked) {
    SignedBytes message{};
    std::copy_n(datagram.begin(), probe_bytes, message.begin());
    std::ranges::copy(asked.address.bytes, message.begin() + probe_bytes);
    put_big_endian(std::span{message}.last(2), asked.port);
    return message;
}

// The counter to raise if it is not signed as the keys ask for.  REQUIRES: its size is that of a
// probe, signed if it has a key id.
std::optional<Counter> check_signature(Bytes datagram, const Endpoint& asked, const KeyRing* keys) {
    const std::uint8_t key_id = datagram[key_id_offset];
    if (keys == nullptr) {
        return key_id == 0 ? std::nullopt : std::optional{Counter::probed_of_unknown_key};
    }
    if (key_id == 0) {
        return Counter::probed_unsigned;
    }
    switch (keys->verify(KeyPurpose::probe, key_id, signed_bytes(datagram, asked),
                         datagram.last(tag_bytes))) {
        case Verdict::good:
            return std::nullopt;
        case Verdict::unknown_key:
            return Counter::probed_of_unknown_key;
        case Verdict::forged:
            break;
    }
    return Counter::probed_forged;
}

}  // namespace

ProbeDatagram::ProbeDatagram(const Probe& probe, const Endpoint& asked, const KeyRing* keys) {
    const std::span bytes{bytes_};
    std::ranges::copy(magic, bytes.begin());
    bytes[version_offset] = probe_format_version;
    bytes[key_id_offset] = keys == nullptr ? std::uint8_t{0} : keys->signing_id();
    bytes[kind_offset] = static_cast<std::uint8_t>(probe.kind);
    put_big_endian(bytes.subspan(nonce_offset), probe.nonce);
    put_big_endian(bytes.subspan(serving_offset), probe.serving);
    put_big_endian(bytes.subspan(workers_idle_offset), probe.workers_idle);
    if (keys != nullptr) {
        const Tag tag = keys->sign(KeyPurpose::probe, signed_bytes(bytes_, asked));
        std::ranges::copy(tag, bytes.begin() + probe_bytes);
        size_ += tag.size();
    }
}

std::optional<Counter> decode_probe(Bytes datagram, Probe::Kind expected, const Endpoint& asked,
                                    const KeyRing* keys, Probe& probe) {
    if (datagram.size() <= kind_offset ||
        !std::equal(magic.begin(), magic.end(), datagram.begin())) {
        return Counter::probed_malformed;
    }
    if (datagram[version_offset] != probe_format_version) {
        return Counter::probed_of_other_version;
    }
    const std::size_t size = datagram[key_id_offset] == 0 ? probe_bytes : probe_bytes_max;
    if (datagram.size() != size || datagram[kind_offset] != static_cast<std::uint8_t>(expected)) {
        return Counter::probed_malformed;
    }
    if (const auto fault = check_signature(datagram, asked, keys)) {
        return fault;
    }
    probe.kind = expected;
    probe.nonce = get_big_endian<std::uint64_t>(datagram.subspan(nonce_offset));
    probe.serving = get_big_endian<std::uint32_t>(datagram.subspan(serving_offset));
    probe.workers_idle = get_big_endian<std::uint32_t>(datagram.subspan(workers_idle_offset));
    return std::nullopt;
}

std::optional<std::uint64_t> nonce_in(Bytes datagram) {
    if (datagram.size() < probe_bytes) {
        return std::nullopt;
    }
    return get_big_endian<std::uint64_t>(datagram.subspan(nonce_offset));
}

}  // namespace backhand
