// Which servers may be candidates at all is not left to the chain (design rules that keep a cluster
// alive): a peer that has been silent too long, is leaving, failed a moment ago, does not offer the
// request's site or has no idle worker is never in the set.
//
// In a header, because decisions ask it of every server.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cluster/server_view.h"

namespace backhand {

// A peer silent for longer than this is no candidate, whatever the chain says; servers that
// announce less than once a second get three intervals.
constexpr Nanoseconds silence_max = std::chrono::seconds{3};

inline bool is_silent(const ServerView& server) {
    return server.age > silence_max &&
           server.age > Nanoseconds{3 * Milliseconds{server.load.interval_ms}};
}

// A report of idle workers justifies only so many sends.
inline bool has_idle_worker(const ServerView& server) {
    return server.workers_idle > server.sent_since;
}

// Why a server is in no set, whatever the chain says; `none`: it may be.
enum class Exclusion : std::uint8_t {
    none,
    other_site,  // does not offer the request's site, or has no readable report
    silent,
    unproven,
    leaving,
    ejected,
    no_idle_worker,
};

// By what a glance shows.
inline Exclusion exclusion_of(const ServerView& peer) {
    if (!peer.proven) {
        return Exclusion::unproven;
    }
    if (peer.load.has(ServerFlag::leaving)) {
        return Exclusion::leaving;
    }
    if (is_silent(peer)) {
        return Exclusion::silent;
    }
    if (peer.ejected) {
        return Exclusion::ejected;
    }
    return has_idle_worker(peer) ? Exclusion::none : Exclusion::no_idle_worker;
}

inline bool may_take_requests(const ServerView& peer) {
    return exclusion_of(peer) == Exclusion::none;
}

}  // namespace backhand
