// What the commands take in the same way: numbers, destinations, key files.
//
// Whatever is wrong, the error names the option, what was typed and what would be right.
// Error::Kind::malformed is what was typed wrong; every other kind is what this machine refuses.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "announce/destination.h"
#include "announce/key_ring.h"
#include "base/result.h"

namespace backhand {

// `--option "value": expected ...`
Error bad_value(std::string_view option, std::string_view value, std::string_view expected);

// A whole number from `least` to `most`; `unit` is for the error, and may be empty.
struct NumberRange {
    std::uint64_t least = 0;
    std::uint64_t most = 0;
    std::string_view unit;
};

Result<std::uint64_t> read_number(std::string_view option, std::string_view value,
                                  const NumberRange& range);

// Destinations as MulticastStats takes them, "[my-ip] dest-ip:port[,ttl]", in quotes or not.
// `from`, if it is not empty, is my-ip of those that have none.
Result<std::vector<Destination>> read_destinations(std::string_view option,
                                                   std::span<const std::string> typed,
                                                   const std::string& from);

// nullopt if there are no files.  Whoever runs the program, and root, may own them.
Result<std::optional<KeyRing>> read_keys(std::span<const std::string> files);

}  // namespace backhand
