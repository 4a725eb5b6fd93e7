// Destination: where this server announces itself to, as the operator writes it.
//
//   MulticastStats [my-ip] dest-ip:port[,ttl]
//
//   10.0.5.255:4445                     broadcast
//   10.0.5.10 239.220.221.20:4445,3     multicast over three hops, sent from 10.0.5.10
//   2001:db8:5::10 [ff02::1]:4445       IPv6 multicast
//   10.0.5.11:4445                      one other server
//
// Addresses only: a name would have to be looked up when no name server may be there yet, and an
// interface is named by one of its addresses.  Whatever is wrong, the error names it and what would
// be right, for it is what httpd prints at its start.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/address.h"
#include "base/result.h"

namespace backhand {

struct Destination {
    enum class Kind {
        multicast,
        broadcast,  // 255.255.255.255, or an IPv4 address that ends in .255
        unicast,    // or the broadcast address of a network that does not end at .255
    };

    Endpoint to;
    std::optional<IpAddress> from;  // the address to send from, and of the same family as `to`
    std::uint8_t ttl = 1;           // of multicast: 0 stays on this host, 1 within this network
    Kind kind = Kind::unicast;

    // As it may be written: "10.0.5.10 239.220.221.20:4445,3".
    std::string to_string() const;
};

// The arguments of one MulticastStats; `second` is empty if there is only one.
Result<Destination> parse_destination(std::string_view first, std::string_view second);

}  // namespace backhand
