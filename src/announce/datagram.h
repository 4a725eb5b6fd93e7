// The announcement datagram: a server's report on its way to the others.
//
//     offset  size  field
//          0     4  magic "BHND"
//          4     1  format version, 1
//          5     1  key id, 0: not signed
//          6     2  reserved, 0
//          8     8  boot id, big-endian: rises with every start of the sender
//         16     8  measurement, big-endian: rises with every report of one boot
//         24     n  CBOR map (RFC 8949), names as in the JSON report
//     24 + n    16  if signed: HMAC-SHA-256 of all bytes before it, cut to 16 bytes
//
// The whole is at most 1,200 bytes, so that it crosses any network in one piece.  CBOR, because any
// language reads it with a stock library.  docs/wire_format.md is the specification.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "announce/key_ring.h"
#include "cluster/counters.h"
#include "cluster/server_report.h"

namespace backhand {

constexpr std::size_t datagram_bytes_max = 1200;
constexpr std::size_t datagram_header_bytes = 24;
constexpr std::uint8_t datagram_format_version = 1;

// `services` are the site names in full; those that do not fit any more are left out.  Signed,
// unless `keys` is nullptr.
std::vector<std::uint8_t> encode_datagram(const ServerReport& report,
                                          std::span<const std::string> services,
                                          const KeyRing* keys);

// Reads a datagram as it came from the network into `report`, of which everything but
// `load.received_at` is set.  With keys it must be signed with one of them, without it must not be
// signed.  Returns the counter to raise if it must be dropped.
//
// A number that cannot be true (negative, infinite, beyond its field's limit) is cut to the nearest
// that can, and the report marked ServerFlag::implausible: the server is there, and what else it
// says may be right.
std::optional<Counter> decode_datagram(std::span<const std::uint8_t> datagram, const KeyRing* keys,
                                       ServerReport& report);

// What an announcement says, whether or not it may be believed.
struct OverheardAnnouncement {
    ServerReport report;
    std::vector<std::string> services;  // every site, in full
    std::uint8_t key_id = 0;            // of the key that it is said to be signed with; 0: of none
};

// As decode_datagram(), but without asking who signed it: for whoever looks on and acts on nothing
// that it says.
std::optional<Counter> overhear_datagram(std::span<const std::uint8_t> datagram,
                                         OverheardAnnouncement& overheard);

}  // namespace backhand
