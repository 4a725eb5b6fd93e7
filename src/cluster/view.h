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
#include "cluster/exclusion.h"
#include "cluster/latency_by_load.h"
#include "cluster/location_times.h"
#include "cluster/server_report.h"
#include "cluster/server_view.h"

namespace backhand {

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

    // The same of all peers: fills `room` with those that may take requests, in the order of their
    // slots, and returns how many these are.
    virtual std::size_t look_at_peers(Detail detail, std::uint64_t service_hash, MonotonicTime now,
                                      std::span<ServerView> room) const {
        std::size_t count = 0;
        for (std::uint32_t index = self_slot + 1; index < slots_used() && count < room.size();
             ++index) {
            if (look(index, detail, service_hash, now, room[count]) &&
                may_take_requests(room[count])) {
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
