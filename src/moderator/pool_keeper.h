// PoolKeeper: the moderator's pool of idle connections, and how children get at it.
//
// A child asks for a connection, or hands one over that it has no more use for, through a UNIX
// socket (forward/pool_protocol.h).  How many there are for a peer stands in the cluster table, so
// that nobody asks in vain.  Some are opened before they are needed.
#pragma once

#include <memory>
#include <string>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/unique_fd.h"
#include "cluster/table.h"
#include "forward/connection_pool.h"
#include "forward/pool_protocol.h"
#include "moderator/connection_opener.h"

namespace backhand {

// Belongs to the moderator's loop.
class PoolKeeper {
public:
    // Connections that it opens come from `source`.
    PoolKeeper(asio::io_context& loop, ClusterTable table, IpAddress source, Log log);
    PoolKeeper(const PoolKeeper&) = delete;
    PoolKeeper& operator=(const PoolKeeper&) = delete;
    ~PoolKeeper() = default;

    // From now on children are answered there.  If that is impossible, they open their own
    // connections.
    void listen(const std::string& socket_path);

    // Opens connections ahead, closes old ones.  Call it regularly.
    void sweep(MonotonicTime now);

private:
    using Descriptor = asio::posix::stream_descriptor;

    void accept_child();
    void listen_to_child(const std::shared_ptr<Descriptor>& child);
    bool answer_child(Descriptor& child);
    void keep(ReceivedPoolMessage& gift);
    void open_ahead();
    void keep_opened(const Endpoint& contact, UniqueFd connection);
    void publish_count(const Endpoint& contact);

    asio::io_context& loop_;
    const ClusterTable table_;
    const Log log_;
    ConnectionPool pool_;
    ConnectionOpener opener_;
    std::unique_ptr<Descriptor> listener_;  // nullptr: there is no pool
    bool accepting_paused_ = false;         // no descriptor was left for another child
};

}  // namespace backhand
