// ClusterView: all that a decision may ask about the cluster.
//
// In httpd it is the cluster table.  The simulator has one of its own, because a table for each of
// thousands of servers would not fit into memory; decisions cannot tell the difference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/clock.h"
#include "cluster/counters.h"
#include "cluster/latency_by_load.h"
#include "cluster/location_times.h"
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

// What a decision needs to know of one server.  A copy: it does not change under a sort.  In the
// order in which a closer look shows more, so that a decision about a thousand servers touches few
// cache lines of each.
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

class ClusterView {
public:
    // Slots 0 .. slots_used()-1 may hold a server; there will never be more than slots_max().
    virtual std::uint32_t slots_used() const = 0;
    virtual std::uint32_t slots_max() const = 0;

    // Fills `view` and says whether the server offers `service_hash` (any site if that is 0).
    // False also if the slot holds no readable report.
    virtual bool view(std::uint32_t slot_index, std::uint64_t service_hash, MonotonicTime now,
                      ServerView& view) const = 0;

    // As view(), but only so much of `shown` need be filled in.  For looking at every server.
    virtual bool look(std::uint32_t slot_index, Detail /*detail*/, std::uint64_t service_hash,
                      MonotonicTime now, ServerView& shown) const {
        return view(slot_index, service_hash, now, shown);
    }

    // The same of all peers: fills `room` with those that `accepted` accepts, in the order of their
    // slots, and returns how many these are.
    virtual std::size_t look_at_peers(Detail detail, std::uint64_t service_hash, MonotonicTime now,
                                      bool (*accepted)(const ServerView&),
                                      std::span<ServerView> room) const {
        std::size_t count = 0;
        for (std::uint32_t index = self_slot + 1; index < slots_used() && count < room.size();
             ++index) {
            if (look(index, detail, service_hash, now, room[count]) && accepted(room[count])) {
                ++count;
            }
        }
        return count;
    }

    // nullopt: never used, or written twice while it was read.
    virtual std::optional<ServerReport> report(std::uint32_t slot_index) const = 0;

    // Kept out of every decision for a while, after a failed connection.
    virtual bool is_ejected(std::uint32_t slot_index, MonotonicTime now) const = 0;
    virtual std::uint32_t failures_in_a_row(std::uint32_t slot_index) const = 0;

    // Of this server.
    virtual Counters& counters() const = 0;
    virtual LatencyByLoad& latency() const = 0;
    virtual LocationTimes& locations() const = 0;

protected:
    ClusterView() = default;
    ClusterView(const ClusterView&) = default;
    ClusterView(ClusterView&&) = default;
    ClusterView& operator=(const ClusterView&) = default;
    ClusterView& operator=(ClusterView&&) = default;
    ~ClusterView() = default;
};

}  // namespace backhand
