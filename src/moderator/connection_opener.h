// ConnectionOpener: connects to peers before a request needs it, without ever waiting.
//
// Belongs to the moderator's loop.  A connection that is not there in time is given up: the request
// that needs one opens its own.
#pragma once

#include <cstddef>
#include <functional>

#include <asio/io_context.hpp>

#include "base/address.h"
#include "base/unique_fd.h"

namespace backhand {

class ConnectionOpener {
public:
    using Opened = std::function<void(const Endpoint& contact, UniqueFd connection)>;

    // Connections come from `source`.  `opened` is called for each that succeeds, from the loop.
    ConnectionOpener(asio::io_context& loop, IpAddress source, Opened opened);
    ConnectionOpener(const ConnectionOpener&) = delete;
    ConnectionOpener& operator=(const ConnectionOpener&) = delete;
    ~ConnectionOpener() = default;

    // Begins to open `count` connections, or fewer if many are being opened already.
    void open(const Endpoint& contact, std::size_t count);

private:
    class Attempt;

    asio::io_context& loop_;
    const IpAddress source_;
    const Opened opened_;
    std::size_t under_way_ = 0;
};

}  // namespace backhand
