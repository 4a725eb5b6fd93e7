// LocationTimes: how long requests to one part of a site take here, learnt while serving them.
//
// A request that is over within a millisecond is not worth moving to another server, and which
// ones those are nobody has to configure: what lies in one directory, or is made by one script,
// mostly takes about the same time.
//
// A bounded table in shared memory, valid when zeroed, that any thread of any process may learn
// into and ask at any time.  All that is known of a location is one atomic word:
//
//     bits 63..32  tag: which location of those that share the set
//     bits 31..8   mean, in nanoseconds: a float without sign and with 16 bits of mantissa
//     bits 7..0    count: how often it was learnt, less how often it stood in another's way
//
// So no race and no death can put one location's time beside another's name: a process that read
// a word and comes to replace it when it has become another location's finds it changed, and its
// sample is lost, no more.  Tag and set are 42 bits of the key; that two locations share them has
// a chance of one in 10^9 for each location that is asked for.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

#include "base/clock.h"

namespace backhand {

class alignas(64) LocationTimes {
public:
    static constexpr std::size_t sets_count = 1024;
    static constexpr std::size_t ways_count = 4;

    // Of fewer samples no mean is given.
    static constexpr std::uint32_t samples_min = 4;

    // Of the requests to a location one in so many is learnt from, which costs the others nothing.
    static constexpr std::uint32_t learn_one_of = 32;

    // The mean is that of all samples up to so many; then each new one weighs as much as one of so
    // many.  With fewer, a few long ones made requests of 0.2 ms look worth moving.
    static constexpr std::uint32_t samples_memory = 32;

    // Longer requests count as this long, and those below zero, of a clock that was wrong, as zero.
    static constexpr Nanoseconds longest = std::chrono::hours{24};

    // A request to the location took so long.  One attempt to change one word: of two processes
    // that learn the same location at the same moment, one may go unheard.
    //
    // A location that is not in the table takes a way of its set whose count is zero; if there is
    // none it is not taken in, and each of the four loses 1 of its count (Misra and Gries, "Finding
    // repeated elements", 1982).  So a location with more than a fifth of the requests to its set
    // is in it, whatever the others are and however many, and what is not used any more gives way.
    void learn(std::uint64_t key, Nanoseconds took);

    // nullopt if too little is known.
    std::optional<Nanoseconds> mean(std::uint64_t key) const;

    // Where a key may lie.
    static constexpr std::uint64_t set_of(std::uint64_t key) { return spread(key) >> 54U; }

private:
    static constexpr std::uint32_t tag_of(std::uint64_t key) {
        return static_cast<std::uint32_t>(spread(key) >> 22U);
    }

    // Fibonacci hashing (Knuth, The Art of Computer Programming, 6.4): carries every bit of a key
    // to the upper ones, of which set and tag are taken.
    static constexpr std::uint64_t spread(std::uint64_t key) { return key * 0x9E3779B97F4A7C15U; }

    using Set = std::array<std::atomic<std::uint64_t>, ways_count>;

    static void wear_down(Set& set);

    std::array<Set, sets_count> sets_{};
};

// What a request would have taken alone: on a server with so many CPUs, and itself and others in
// progress, on average so many of them.  What is learnt of a location, so that it does not look as
// if it took ten times as long where ten others have to be served at the same time.
Nanoseconds time_alone(Nanoseconds took, double in_progress, double cpus);

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::is_standard_layout_v<LocationTimes>);
static_assert(std::is_trivially_destructible_v<LocationTimes>);
static_assert(sizeof(LocationTimes) == std::size_t{32} * 1024);
static_assert(LocationTimes::sets_count == std::size_t{1} << 10U);  // as set_of() has it

// The part of a path that stands for what it takes to serve it: the directory, of which the first
// two segments count.  Where a request is executed (by a script, or the handler of an application)
// the last segment, too, is one of the two, because it often names what is executed; there a slash
// at the end means nothing.
//     "/images/cats/big/1.png" -> "/images/cats/"      "/a.html" -> "/"
//     executed: "/api/users/123" -> "/api/users"       "/slow.php" -> "/slow.php"
// What follows a '?' or ';' never counts.
std::string_view location_of(std::string_view path, bool executes);

// The key of location_of(path) on this site: the site without case, the path with.  Never 0.
std::uint64_t location_key(std::string_view site, std::string_view path, bool executes);

// The same, for those who have hash_ignoring_case(site) already.
std::uint64_t location_key(std::uint64_t site_hash, std::string_view path, bool executes);

}  // namespace backhand
