// ClusterView: all that a decision may ask about the cluster.
//
// In httpd it is the cluster table.  The simulator has one of its own, because a table for each of
// thousands of servers would not fit into memory; decisions cannot tell the difference.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "cluster/counters.h"
#include "cluster/latency_by_load.h"
#include "cluster/location_times.h"
#include "cluster/own_forwards.h"
#include "cluster/server_report.h"

namespace backhand {

constexpr std::uint32_t self_slot = 0;

// What a decision needs to know of one server.  A copy: it does not change under a sort.
struct ServerView {
    std::uint32_t slot_index = 0;
    LoadReport load;
    Nanoseconds age{};               // since anything was heard of it; zero for self
    std::uint32_t serving = 0;       // newest known; for self exact
    std::uint32_t workers_idle = 0;  // newest known
    std::uint32_t sent_since = 0;    // requests this host sent it since those news
    std::uint32_t in_flight = 0;     // requests this host has at it now
    bool proven = true;              // its contact has answered a challenge, if one is asked for

    // ---- of this host's own forwards to it ----
    bool ejected = false;                  // left alone: a connection failed a moment ago
    bool unhealthy = false;                // too many forwards in a row have failed
    std::uint32_t own_latency_us = 0;      // peak EWMA at the last of them; 0: none yet
    std::uint32_t own_latency_age_ms = 0;  // how long ago that was

    std::uint64_t name_hash = 0;  // hash_ignoring_case of its host name
    // Since this start of it was first heard of; for servers that were there before us, and for
    // self, the longest there is.
    Nanoseconds known_for = Nanoseconds::max();

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

    // nullopt: never used, or being written (twice) at this very moment.
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
