// PeerConnections: where a child gets a connection to a peer from, and where it leaves it.
//
// In this order: the child's own small cache (no system call but a look whether the connection is
// still quiet, and none if that was seen a moment ago), the moderator's pool (only if the cluster
// table says that it holds one, and nobody else in this child is just asking), a new connection. So
// no request on the warm path waits for another process.  Surplus goes to the pool, where the other
// children find it.
//
// Safe to use from every thread of the child.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cluster/table.h"

namespace backhand {

struct PeerConnection {
    UniqueFd socket;
    bool reused = false;  // it has carried an exchange before: the peer may close it any moment
    bool spare = false;   // opened though there may have been an idle one: only a new one would do
};

class PeerConnections {
public:
    struct Settings {
        std::string pool_socket_path;
        bool pooling = true;                  // BackhandConnectionPools
        std::size_t cached_per_peer_max = 4;  // in this child
        std::uint32_t children_max = 1;       // of this server
        Nanoseconds connect_limit = std::chrono::seconds{2};
        IpAddress source;  // the address peers know us by
    };

    PeerConnections(Settings settings, ClusterTable table);

    // `fresh`: only a new connection will do.  Errors as connect_to.
    Result<PeerConnection> acquire(const ServerView& peer, bool fresh);

    // Takes back a connection whose last exchange ended cleanly and may be followed by another.
    // Closes it if it would be one too many: a peer under event that has too many idle connections
    // accepts no more, from anybody.
    void release(const ServerView& peer, PeerConnection connection);

    // A cached connection that somebody keeps an eye on who waits anyway, so that no request need
    // look whether it is still quiet.
    struct Lookout {
        int socket = -1;           // for poll(); -1: there is none
        std::uint64_t number = 0;  // of no other lookout
    };

    // For the connection last released.  It may be used, and closed, all the same.
    Lookout begin_lookout();

    // `quiet`: the socket has not been readable since the lookout began, and is not now.
    void end_lookout(const Lookout& lookout, bool quiet);

private:
    struct Cached {
        Endpoint contact;
        UniqueFd socket;
        MonotonicTime expires_at;
        std::uint64_t lookout = 0;        // the number of the one that goes on; 0: none
        MonotonicTime seen_quiet_at = 0;  // by a lookout; 0: never
    };

    UniqueFd take_cached(const Endpoint& contact);
    UniqueFd take_pooled(const ServerView& peer);
    bool keep_cached(const ServerView& peer, PeerConnection& connection);
    std::uint32_t idle_share(const ServerView& peer) const;
    std::size_t cached_max(const ServerView& peer) const;
    std::uint16_t pooled_max(const ServerView& peer) const;
    void give_to_pool(const ServerView& peer, UniqueFd socket);

    // REQUIRES: pool_mutex_ held.
    bool reach_moderator();

    const Settings settings_;
    const ClusterTable table_;

    std::mutex cache_mutex_;
    std::vector<Cached> cache_;            // least recently used first
    std::uint64_t lookouts_ = 0;           // begun so far
    MonotonicTime lookout_broken_at_ = 0;  // the connection had to be taken; 0: never

    std::mutex pool_mutex_;
    UniqueFd pool_socket_;
};

}  // namespace backhand
