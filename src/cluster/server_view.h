// ServerView: what a decision needs to know of one server.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "cluster/own_forwards.h"
#include "cluster/server_report.h"

namespace backhand {

constexpr std::uint32_t self_slot = 0;

// How much of a server is looked at.
enum class Detail : std::uint8_t {
    glance,   // who it is, how old its news are, what it has to do, whether it may take requests
    numbers,  // and what candidacy functions order servers by
    all,
};

// Of numbers that the table may have changed since, or that are not the table's.
constexpr std::uint32_t no_edition = 0;

// A copy: it does not change under a sort.  In the order in which a closer look shows more, so that
// a decision about a thousand servers touches few cache lines of each.
struct alignas(64) ServerView {
    // ---- at a glance ----
    std::uint32_t slot_index = 0;
    std::uint32_t serving = 0;       // newest known; for self exact
    std::uint32_t workers_idle = 0;  // newest known
    std::uint32_t sent_since = 0;    // requests this host sent it since those news
    Nanoseconds age{};               // since anything was heard of it; zero for self
    // Since this start of it was first heard of; for servers that were there before us, and for
    // self, the longest there is.
    Nanoseconds known_for = Nanoseconds::max();
    bool proven = true;      // its contact has answered a challenge, if one is asked for
    bool ejected = false;    // left alone: a connection failed a moment ago
    bool unhealthy = false;  // too many of this host's forwards in a row have failed

    // ---- in numbers ----
    std::uint32_t own_latency_us = 0;      // of own forwards, peak EWMA at the last; 0: none yet
    std::uint32_t own_latency_age_ms = 0;  // how long ago that was
    std::uint32_t edition = no_edition;    // of the numbers in `load`; the table's to change
    LoadReport load;  // at a glance flags and interval_ms; in numbers all up to its boot id

    // ---- all ----
    std::uint32_t in_flight = 0;  // requests this host has at it now
    std::uint64_t name_hash = 0;  // hash_ignoring_case of its host name

    bool is_self() const { return slot_index == self_slot; }

    // Its own count and what we added since: what it probably has to do now.
    std::uint32_t expected_serving() const { return serving + sent_since; }

    // What a request there takes: what our own took, fading to what it announces; 0: not known.
    double expected_latency_us() const {
        const double announced = load.latency_us;
        return own_latency_us == 0
                   ? announced
                   : announced + (own_latency_us - announced) * share_left(own_latency_age_ms);
    }
};

}  // namespace backhand
