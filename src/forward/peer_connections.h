// PeerConnections: where a child gets a connection to a peer from, and where it leaves it.
//
// In this order: the child's own small cache (no system call but a look whether the connection is
// still quiet), the moderator's pool (only if the cluster table says that it holds one, and nobody
// else in this child is just asking), a new connection.  So no request on the warm path waits for
// another process.  Surplus goes to the pool, where the other children find it.
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

    PeerConnections(Settings settings, const ClusterTable& table);

    // `fresh`: only a new connection will do.  Errors as connect_to.
    Result<PeerConnection> acquire(const ServerView& peer, bool fresh);

    // Takes back a connection whose last exchange ended cleanly and may be followed by another.
    // Closes it if it would be one too many: a peer under event that has too many idle connections
    // accepts no more, from anybody.
    void release(const ServerView& peer, PeerConnection connection);

private:
    struct Cached {
        Endpoint contact;
        UniqueFd socket;
        MonotonicTime expires_at;
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
    std::vector<Cached> cache_;  // least recently used first

    std::mutex pool_mutex_;
    UniqueFd pool_socket_;
};

}  // namespace backhand
