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

#include "cluster/counters.h"
#include "cluster/server_report.h"

namespace backhand {

constexpr std::size_t datagram_bytes_max = 1200;
constexpr std::size_t datagram_header_bytes = 24;
constexpr std::uint8_t datagram_format_version = 1;

// `services` are the site names in full; those that do not fit any more are left out.
std::vector<std::uint8_t> encode_datagram(const ServerReport& report,
                                          std::span<const std::string> services);

// Reads a datagram as it came from the network into `report`, of which everything but
// `load.received_at` is set.  Returns the counter to raise if it must be dropped.
std::optional<Counter> decode_datagram(std::span<const std::uint8_t> datagram,
                                       ServerReport& report);

}  // namespace backhand
