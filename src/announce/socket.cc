#include "announce/socket.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace backhand {

namespace {

// IPV6_PREFER_SRC_PUBLIC of RFC 5014, for which the C library has no name.
constexpr int prefer_public_source = 2;

// ---- this host's addresses ----

struct OwnAddress {
    IpAddress address;
    std::string interface;
};

std::vector<OwnAddress> own_addresses() {
    std::vector<OwnAddress> result;
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) {
        return result;
    }
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner{list, &::freeifaddrs};
    for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
        const int family = entry->ifa_addr == nullptr ? AF_UNSPEC : entry->ifa_addr->sa_family;
        sockaddr_storage storage{};
        if (family == AF_INET || family == AF_INET6) {
            std::memcpy(&storage, entry->ifa_addr,
                        family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
        }
        if (const auto address = IpAddress::from(storage)) {
            result.push_back({*address, entry->ifa_name});
        }
    }
    return result;
}

// ---- what is said when something fails ----

Error explain(const Destination& destination, const std::string& what) {
    return {Error::Kind::system, "\"" + destination.to_string() + "\": " + what};
}

Error explain_foreign(const Destination& destination, const IpAddress& address) {
    std::string similar;
    for (const OwnAddress& own : own_addresses()) {
        if (own.address == address) {
            return explain(destination, address.to_string() +
                                            " is not usable yet; expected to be started when the "
                                            "network is up");
        }
        if (own.address.is_v4() == address.is_v4() && !own.address.is_loopback() &&
            own.address.is_link_local() == address.is_link_local()) {
            similar += (similar.empty() ? "" : ", ") + own.address.to_string();
        }
    }
    return explain(destination, address.to_string() + " is no address of this server; expected " +
                                    (similar.empty() ? "one that it has" : "one of: " + similar));
}

// Of a system call that has just failed; `expected` is what would be right.
Error explain_failure(const Destination& destination, const std::string& what,
                      const std::string& expected) {
    const int error = errno;
    if (error == EADDRNOTAVAIL && destination.from) {
        return explain_foreign(destination, *destination.from);
    }
    return explain(destination,
                   what + ": " + std::generic_category().message(error) + "; expected " + expected);
}

// The number by which IPv6 calls the interface that has `address`.
Result<unsigned> interface_of(const Destination& destination, const IpAddress& address) {
    std::vector<std::string> names;
    for (const OwnAddress& own : own_addresses()) {
        if (own.address == address) {
            names.push_back(own.interface);
        }
    }
    if (names.empty()) {
        return explain_foreign(destination, address);
    }
    if (names.size() > 1) {
        return explain(destination, "both " + names[0] + " and " + names[1] + " have the address " +
                                        address.to_string() +
                                        "; expected one that only one of "
                                        "this server's interfaces has");
    }
    return ::if_nametoindex(names.front().c_str());
}

// ---- sockets ----

template <class Option>
bool set_option(const UniqueFd& socket, int level, int name, const Option& option) {
    return ::setsockopt(socket.get(), level, name, &option, sizeof option) == 0;
}

UniqueFd open_udp(const IpAddress& address) {
    const int family = address.is_v4() ? AF_INET : AF_INET6;
    UniqueFd socket{::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (socket && family == AF_INET6) {
        // A temporary address (RFC 8981) would change while peers know the server by it.
        set_option(socket, IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, prefer_public_source);
    }
    return socket;
}

// Addresses that are the same in every network mean nothing to bind() without their interface.
bool bind_to(const UniqueFd& socket, const Endpoint& endpoint, unsigned interface) {
    SocketAddress address{endpoint};
    if (!endpoint.address.is_v4()) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &address.storage, sizeof v6);
        v6.sin6_scope_id = interface;
        std::memcpy(&address.storage, &v6, sizeof v6);
    }
    return ::bind(socket.get(), address.get(), address.size) == 0;
}

bool connect_to(const UniqueFd& socket, const Endpoint& endpoint) {
    const SocketAddress address{endpoint};
    return ::connect(socket.get(), address.get(), address.size) == 0;
}

std::optional<IpAddress> own_end_of(const UniqueFd& socket) {
    sockaddr_storage local{};
    socklen_t size = sizeof local;
    if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&local), &size) != 0) {
        return std::nullopt;
    }
    return IpAddress::from(local);
}

in_addr v4_of(const IpAddress& address) {
    in_addr result{};
    std::memcpy(&result, &address.bytes[12], sizeof result);
    return result;
}

IpAddress any_address(bool is_v4) {
    return *IpAddress::parse(is_v4 ? "0.0.0.0" : "::");
}

// Only the kernel knows which addresses are broadcast addresses: it refuses to connect a socket to
// one unless the socket is made for that.
bool is_broadcast(const IpAddress& address) {
    if (address == *IpAddress::parse("255.255.255.255")) {
        return true;
    }
    const UniqueFd socket = open_udp(address);
    return address.is_v4() && !connect_to(socket, {address, 1}) && errno == EACCES;
}

// ---- where a destination's datagrams leave ----

// What the operator has left open is settled, so that a group is joined where it is sent to.
struct Origin {
    std::optional<IpAddress> from;
    unsigned interface = 0;  // of IPv6; 0 leaves the choice to routing
};

// The address under which the hearers of an IPv6 group can connect to this server, on one interface
// or, with 0, on the one that routing chooses for multicast.
//
// The kernel is asked about a group of global scope: for those that stay on their network it would
// name a link-local address, and without an interface none at all.
std::optional<IpAddress> source_for_groups(unsigned interface) {
    const Endpoint group{*IpAddress::parse("ff0e::1"), 1};
    const UniqueFd socket = open_udp(group.address);
    if (!socket || !set_option(socket, IPPROTO_IPV6, IPV6_MULTICAST_IF, interface) ||
        !connect_to(socket, group)) {
        return std::nullopt;
    }
    return own_end_of(socket);
}

Result<Origin> find_origin(const Destination& destination) {
    Origin origin{.from = destination.from};
    const IpAddress& to = destination.to.address;
    const bool is_ipv6_group = destination.kind == Destination::Kind::multicast && !to.is_v4();
    if (!origin.from && is_ipv6_group) {
        origin.from = source_for_groups(0);
        if (!origin.from) {
            return explain_failure(destination, "no network for IPv6 multicast",
                                   "an address of this server before the destination");
        }
    }
    if (!origin.from) {
        return origin;
    }
    if (is_ipv6_group || origin.from->is_link_local() || to.is_link_local()) {
        const auto interface = interface_of(destination, *origin.from);
        if (!interface) {
            return interface.error();
        }
        origin.interface = *interface;
    }
    const UniqueFd socket = open_udp(to);
    if (!socket || !bind_to(socket, {*origin.from, 0}, origin.interface)) {
        return explain_failure(destination, "cannot send from " + origin.from->to_string(),
                               "an address of this server");
    }
    // The kernel lets a socket be bound to a broadcast address, and then sends nothing from it.
    if (is_broadcast(*origin.from)) {
        return explain_foreign(destination, *origin.from);
    }
    return origin;
}

bool set_origin(const UniqueFd& socket, const Destination& destination, const Origin& origin) {
    const int hops = destination.ttl;
    const bool is_multicast = destination.kind == Destination::Kind::multicast;
    if (!destination.to.address.is_v4()) {
        return is_multicast
                   ? set_option(socket, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, hops) &&
                         set_option(socket, IPPROTO_IPV6, IPV6_MULTICAST_IF, origin.interface)
                   : set_option(socket, IPPROTO_IPV6, IPV6_UNICAST_IF, htonl(origin.interface));
    }
    return !is_multicast ||
           (set_option(socket, IPPROTO_IP, IP_MULTICAST_TTL, hops) &&
            (!origin.from || set_option(socket, IPPROTO_IP, IP_MULTICAST_IF, v4_of(*origin.from))));
}

// ---- where peers' datagrams arrive ----

struct Place {
    enum class Kind { own, broadcast, group };

    const Destination* destination = nullptr;
    Endpoint at;
    Kind kind = Kind::own;
    unsigned interface = 0;  // as in Origin
};

Result<Place> place_to_listen(const Destination& destination) {
    const auto origin = find_origin(destination);
    if (!origin) {
        return origin.error();
    }
    Place place{.destination = &destination, .at = destination.to, .interface = origin->interface};
    if (destination.kind == Destination::Kind::multicast) {
        place.kind = Place::Kind::group;
    } else if (is_broadcast(destination.to.address)) {
        place.kind = Place::Kind::broadcast;
    } else {
        const bool is_v4 = destination.to.address.is_v4();
        place.at.address = origin->from ? *origin->from : any_address(is_v4);
    }
    return place;
}

// Whether it is another address, or another group, on every interface.
bool is_per_interface(const IpAddress& address) {
    return address.is_link_local() || (address.is_multicast() && !address.is_v4());
}

// Whether a socket opened for `opened` hears what arrives at `place`.
bool covers(const Place& opened, const Place& place) {
    if (place.kind == Place::Kind::broadcast &&
        opened.at == Endpoint{any_address(true), place.at.port}) {
        return true;
    }
    return opened.at == place.at &&
           (!is_per_interface(place.at.address) || opened.interface == place.interface);
}

// What somebody else on this host has joined, a group or one more network of a group, is not ours
// to hear.  IPv4 tells networks apart by itself; IPv6 does not, and groups only since Linux 4.20. A
// kernel that lacks any of this lets more in, and the moderator counts it.
void hear_only_what_is_joined(const UniqueFd& socket, const Place& place) {
    const int off = 0;
    const int on = 1;
    if (place.at.address.is_v4()) {
        set_option(socket, IPPROTO_IP, IP_MULTICAST_ALL, off);
        return;
    }
    std::array<char, IF_NAMESIZE> interface {};
    if (place.kind == Place::Kind::group &&
        ::if_indextoname(place.interface, interface.data()) != nullptr) {
        set_option(socket, SOL_SOCKET, SO_BINDTODEVICE, interface);
    }
    set_option(socket, IPPROTO_IPV6, IPV6_MULTICAST_ALL, off);
    set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, on);
}

Result<UniqueFd> open_receiver(const Place& place) {
    UniqueFd socket = open_udp(place.at.address);
    const int on = 1;
    if (!socket || !set_option(socket, SOL_SOCKET, SO_REUSEADDR, on)) {
        return explain_failure(*place.destination, "cannot open a UDP socket",
                               "IPv4 or IPv6, whichever this host has");
    }
    hear_only_what_is_joined(socket, place);
    // Beyond the system's limit where that is allowed, else up to it.
    if (!set_option(socket, SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer_bytes)) {
        set_option(socket, SOL_SOCKET, SO_RCVBUF, receive_buffer_bytes);
    }
    if (!bind_to(socket, place.at, place.interface)) {
        return explain_failure(*place.destination, "cannot listen on UDP " + place.at.to_string(),
                               "a port that this server may have");
    }
    return socket;
}

Status join_group(const UniqueFd& socket, const Place& place) {
    const Destination& destination = *place.destination;
    bool joined = false;
    if (destination.to.address.is_v4()) {
        ip_mreq request{};
        request.imr_multiaddr = v4_of(destination.to.address);
        if (destination.from) {
            request.imr_interface = v4_of(*destination.from);
        }
        joined = set_option(socket, IPPROTO_IP, IP_ADD_MEMBERSHIP, request);
    } else {
        ipv6_mreq request{};
        std::memcpy(&request.ipv6mr_multiaddr, destination.to.address.bytes.data(), 16);
        request.ipv6mr_interface = place.interface;
        joined = set_option(socket, IPPROTO_IPV6, IPV6_JOIN_GROUP, request);
    }
    // A second MulticastStats may name the same network.
    if (joined || errno == EADDRINUSE) {
        return Done{};
    }
    return explain_failure(destination, "cannot join the group",
                           errno == ENOBUFS
                               ? "fewer networks, or a higher net.ipv4.igmp_max_memberships"
                               : "an address of this server before the destination");
}

// As local_address_towards(), with errors that do not name the directive.
Result<IpAddress> own_address_towards(const Destination& destination) {
    const auto origin = find_origin(destination);
    if (!origin) {
        return origin.error();
    }
    if (origin->from && !origin->from->is_link_local()) {
        return *origin->from;
    }
    if (origin->from) {
        const auto address = source_for_groups(origin->interface);
        if (!address || address->is_link_local()) {
            return explain(destination,
                           "peers cannot connect to " + origin->from->to_string() +
                               ", and there is no other address on its interface; expected "
                               "BackhandSelf ip[:port]");
        }
        return *address;
    }
    // Connecting a UDP socket sends nothing; it only asks the kernel for a route.
    const UniqueFd socket = open_udp(destination.to.address);
    const int on = 1;
    if (!socket || !set_option(socket, SOL_SOCKET, SO_BROADCAST, on) ||
        !connect_to(socket, destination.to)) {
        return explain_failure(destination, "no route to " + destination.to.address.to_string(),
                               "an address of this server before the destination");
    }
    const auto address = own_end_of(socket);
    if (!address) {
        return explain_failure(destination, "no address of this server leads there",
                               "an address of this server before the destination");
    }
    return *address;
}

}  // namespace

Result<Sender> open_sender(const Destination& destination) {
    const auto origin = find_origin(destination);
    if (!origin) {
        return origin.error();
    }
    UniqueFd socket = open_udp(destination.to.address);
    const int on = 1;
    if (!socket || !set_option(socket, SOL_SOCKET, SO_BROADCAST, on) ||
        !set_origin(socket, destination, *origin) ||
        (origin->from && !bind_to(socket, {*origin->from, 0}, origin->interface))) {
        return explain_failure(destination, "cannot open a UDP socket to send from",
                               "an address of this server before the destination");
    }
    return Sender{std::move(socket), destination.to};
}

Result<std::vector<UniqueFd>> open_receivers(const std::vector<Destination>& destinations) {
    std::vector<Place> places;
    for (const Destination& destination : destinations) {
        const auto place = place_to_listen(destination);
        if (!place) {
            return place.error();
        }
        places.push_back(*place);
    }
    // First those for every address, since they may cover a broadcast address.
    std::stable_partition(places.begin(), places.end(),
                          [](const Place& place) { return place.at.address.is_unspecified(); });

    std::vector<UniqueFd> receivers;
    std::vector<Place> opened;
    for (const Place& place : places) {
        auto found = std::find_if(opened.begin(), opened.end(),
                                  [&](const Place& other) { return covers(other, place); });
        if (found == opened.end()) {
            auto socket = open_receiver(place);
            if (!socket) {
                return socket.error();
            }
            receivers.push_back(std::move(*socket));
            found = opened.insert(opened.end(), place);
        }
        // An IPv4 group heard on a second interface is a second membership of one socket.
        if (place.kind == Place::Kind::group) {
            const auto index = static_cast<std::size_t>(found - opened.begin());
            if (const Status joined = join_group(receivers[index], place); !joined) {
                return joined.error();
            }
        }
    }
    return receivers;
}

Result<IpAddress> local_address_towards(const Destination& destination) {
    auto address = own_address_towards(destination);
    if (!address) {
        return Error{address.error().kind, "MulticastStats " + address.error().detail};
    }
    return address;
}

}  // namespace backhand
