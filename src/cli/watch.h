// `backhand watch`: what the servers of a cluster announce, as one line of JSON each, for whoever
// wants to know how busy they are: a monitor, a scheduler, a person.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "announce/destination.h"
#include "announce/key_ring.h"
#include "base/address.h"
#include "base/result.h"

namespace backhand {

// As typed.
struct WatchOptions {
    std::vector<std::string> destinations;
    std::string from;
    std::vector<std::string> key_files;
    std::string count;  // empty: without end
    bool all = false;   // also what a server would drop
};

struct WatchSettings {
    std::vector<Destination> destinations;
    std::optional<KeyRing> keys;
    std::optional<std::uint64_t> count;
    bool all = false;
};

Result<WatchSettings> read_watch_options(const WatchOptions& options);

// A datagram as it arrived.
struct Heard {
    std::span<const std::uint8_t> datagram;
    IpAddress from;
    std::chrono::system_clock::time_point at;
};

// The line to print, with its end: one line of printable ASCII, whatever the datagram holds.  With
// keys, what is not signed with one of them is to be dropped; without, nothing is checked.  What is
// to be dropped has no line unless `all` of them are asked for, and then says why.
std::optional<std::string> watch_line(const Heard& heard, const KeyRing* keys, bool all);

// Prints until it is asked to end (SIGINT, SIGTERM), nobody reads any more, or the count is
// reached.
Status run_watch(const WatchSettings& settings);

}  // namespace backhand
