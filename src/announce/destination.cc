#include "announce/destination.h"

#include <algorithm>
#include <string>

#include "base/text.h"

namespace backhand {

namespace {

constexpr std::uint16_t example_port = 4445;

bool is_limited_broadcast(const IpAddress& address) {
    return address.is_v4() && std::all_of(address.bytes.begin() + 12, address.bytes.end(),
                                          [](std::uint8_t byte) { return byte == 0xFF; });
}

// 240.0.0.0/4, which nobody may send to (RFC 1112 section 4), without 255.255.255.255.
bool is_reserved(const IpAddress& address) {
    return address.is_v4() && (address.bytes[12] & 0xF0U) == 0xF0U &&
           !is_limited_broadcast(address);
}

Destination::Kind kind_of(const IpAddress& address) {
    if (address.is_multicast()) {
        return Destination::Kind::multicast;
    }
    return address.is_v4() && address.bytes[15] == 0xFF ? Destination::Kind::broadcast
                                                        : Destination::Kind::unicast;
}

Error malformed(std::string_view value, const std::string& what) {
    return {Error::Kind::malformed, "\"" + std::string{value} + "\": " + what};
}

// fe80::1%eth0
Error explain_zone(std::string_view value) {
    return malformed(value,
                     "interfaces are not named; expected an address that this server has on the "
                     "interface, before the destination, for example fe80::10 [ff02::1]:4445");
}

// What was meant by a destination that Endpoint::parse refused.
Error explain_endpoint(std::string_view value, std::string_view endpoint) {
    const std::string form = "expected [my-ip] dest-ip:port[,ttl], for example ";

    if (endpoint.find('%') != std::string_view::npos) {
        return explain_zone(value);
    }
    const auto without_port = IpAddress::parse(endpoint);
    if (without_port) {
        return malformed(value, form + Endpoint{*without_port, example_port}.to_string());
    }
    const std::size_t colon = endpoint.rfind(':');
    if (colon == std::string_view::npos) {
        return malformed(value, form + "10.0.5.255:" + std::to_string(example_port));
    }
    std::string_view host = endpoint.substr(0, colon);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    }
    const auto address = IpAddress::parse(host);
    if (!address) {
        return malformed(value, "\"" + std::string{host} + "\" is no IP address (names are not " +
                                    "looked up); " + form +
                                    "10.0.5.255:" + std::to_string(example_port));
    }
    const auto port = parse_number<std::uint16_t>(endpoint.substr(colon + 1));
    if (!port || *port == 0) {
        return malformed(value, "the port must be a number from 1 to 65535, for example " +
                                    Endpoint{*address, example_port}.to_string());
    }
    return malformed(value, "only IPv6 addresses are written in brackets, for example " +
                                Endpoint{*address, *port}.to_string());
}

// "dest-ip:port[,ttl]"
Result<Destination> parse_target(std::string_view value) {
    const std::size_t comma = value.find(',');
    const bool has_ttl = comma != std::string_view::npos;
    const auto endpoint = Endpoint::parse(value.substr(0, comma));
    if (!endpoint) {
        return explain_endpoint(value, value.substr(0, comma));
    }

    Destination result;
    result.to = *endpoint;
    result.kind = kind_of(endpoint->address);
    if (endpoint->address.is_unspecified()) {
        return malformed(value, endpoint->address.to_string() +
                                    " is nobody's address; expected a multicast, broadcast or " +
                                    "server address, for example 10.0.5.255:4445");
    }
    if (is_reserved(endpoint->address)) {
        // The nearest address that is meant for such use (RFC 2365).
        Endpoint similar = *endpoint;
        similar.address.bytes[12] = 239;
        const std::string ttl{has_ttl ? value.substr(comma) : std::string_view{}};
        return malformed(value, endpoint->address.to_string() +
                                    " is no multicast address, those are in 224.0.0.0/4 " +
                                    "(224.0.0.0 to 239.255.255.255); for example " +
                                    similar.to_string() + ttl);
    }
    if (!has_ttl) {
        return result;
    }
    if (result.kind != Destination::Kind::multicast) {
        return malformed(value,
                         "a ttl is for multicast addresses (224.0.0.0/4 or ff00::/8) only; "
                         "expected " +
                             endpoint->to_string());
    }
    const auto ttl = parse_number<std::uint8_t>(value.substr(comma + 1));
    if (!ttl) {
        return malformed(value,
                         "the ttl must be a number from 0 (this host only) to 255, for "
                         "example " +
                             endpoint->to_string() + ",1");
    }
    result.ttl = *ttl;
    return result;
}

Result<IpAddress> parse_own_address(std::string_view value) {
    const auto address = IpAddress::parse(value);
    if (!address && value.find('%') != std::string_view::npos) {
        return explain_zone(value);
    }
    if (!address) {
        return malformed(value,
                         "expected an IP address of this server before the destination, "
                         "without port, for example 10.0.5.10 239.220.221.20:4445,3");
    }
    if (address->is_unspecified() || address->is_multicast() || is_limited_broadcast(*address) ||
        is_reserved(*address)) {
        return malformed(value,
                         "no server can have this address; expected an IP address of this "
                         "server, for example 10.0.5.10");
    }
    return *address;
}

}  // namespace

std::string Destination::to_string() const {
    const std::string target = to.to_string() + (ttl == 1 ? "" : "," + std::to_string(ttl));
    return from ? from->to_string() + " " + target : target;
}

Result<Destination> parse_destination(std::string_view first, std::string_view second) {
    if (second.empty()) {
        auto result = parse_target(first);
        if (result && result->to.address.is_link_local()) {
            return malformed(first,
                             "every network has addresses like this one; expected an address that "
                             "this server has on the network meant, before it, for example "
                             "fe80::10 " +
                                 result->to.to_string());
        }
        return result;
    }
    const auto from = parse_own_address(first);
    if (!from) {
        return from.error();
    }
    auto result = parse_target(second);
    if (!result) {
        return result;
    }
    if (from->is_v4() != result->to.address.is_v4()) {
        return malformed(std::string{first} + " " + std::string{second},
                         "expected two IPv4 or two IPv6 addresses, for example "
                         "10.0.5.10 239.220.221.20:4445,3");
    }
    result->from = *from;
    return result;
}

}  // namespace backhand
