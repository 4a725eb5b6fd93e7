// Our addresses in Asio's words.
#pragma once

#include <algorithm>
#include <system_error>

#include <asio/ip/tcp.hpp>

#include "base/address.h"

namespace backhand {

inline asio::ip::tcp::endpoint tcp_endpoint(const Endpoint& endpoint) {
    const IpAddress& address = endpoint.address;
    if (address.is_v4()) {
        asio::ip::address_v4::bytes_type bytes{};
        std::copy_n(address.bytes.begin() + 12, bytes.size(), bytes.begin());
        return {asio::ip::address_v4{bytes}, endpoint.port};
    }
    return {asio::ip::address_v6{address.bytes}, endpoint.port};
}

// Prepares `socket` for connecting to `peer` from `source`, because peers recognise us by it.  If
// it is not an address of this host after all, the kernel's choice has to do.
inline void open_from(asio::ip::tcp::socket& socket, const IpAddress& source,
                      const Endpoint& peer) {
    std::error_code ignored;
    socket.open(tcp_endpoint(peer).protocol(), ignored);
    if (source.is_v4() == peer.address.is_v4()) {
        socket.bind(tcp_endpoint({source, 0}), ignored);
    }
}

}  // namespace backhand
