// ConnectionPool: idle connections to peers, kept for the next request that needs one.
//
// The seed's resource maintenance assistant.  Lives in the moderator, one thread.  A connection on
// which the peer has spoken or which it has closed is never lent: between two exchanges there is
// nothing it could rightly say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "base/address.h"
#include "base/clock.h"
#include "base/unique_fd.h"

namespace backhand {

class ConnectionPool {
public:
    // Of all peers together; a bound, so that descriptors never run out.
    static constexpr std::size_t connections_total_max = 1024;

    struct Terms {
        Nanoseconds keepalive_timeout;     // after which the peer closes
        std::size_t connections_max = 32;  // to keep for this peer
    };

    // Keeps an idle connection.  Of too many for this peer the oldest are closed; if there are too
    // many for all peers together, this one is.
    void give(const Endpoint& contact, UniqueFd connection, Terms terms, MonotonicTime now);

    // The most recently used connection that is still good.
    std::optional<UniqueFd> take(const Endpoint& contact, MonotonicTime now);

    // Closes connections that are broken or about to be closed by the peer.  Call it regularly.
    void sweep(MonotonicTime now);

    std::size_t count(const Endpoint& contact) const;

    std::size_t total() const { return total_; }

    // Calls visit(const Endpoint&, std::size_t count) for every peer ever seen.
    template <class Visit>
    void for_each_peer(Visit visit) const {
        for (const auto& [contact, idle] : idle_) {
            visit(contact, idle.size());
        }
    }

private:
    struct Idle {
        UniqueFd connection;
        MonotonicTime expires_at;
    };

    struct ByEndpoint {
        bool operator()(const Endpoint& left, const Endpoint& right) const {
            return left.address != right.address ? left.address < right.address
                                                 : left.port < right.port;
        }
    };

    // Oldest first.
    std::map<Endpoint, std::deque<Idle>, ByEndpoint> idle_;
    std::size_t total_ = 0;
};

// When to stop using a connection that becomes idle now: a second before the peer closes it, or
// halfway if the peer is that quick.
MonotonicTime idle_until(MonotonicTime now, Nanoseconds keepalive_timeout);

}  // namespace backhand
