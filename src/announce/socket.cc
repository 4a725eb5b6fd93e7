#include "announce/socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace backhand {

namespace {

Error failure(const std::string& what) {
    return {Error::Kind::system, what + ": " + std::generic_category().message(errno)};
}

template <class Option>
bool set_option(const UniqueFd& socket, int level, int name, const Option& option) {
    return ::setsockopt(socket.get(), level, name, &option, sizeof option) == 0;
}

UniqueFd open_udp(const IpAddress& address) {
    const int family = address.is_v4() ? AF_INET : AF_INET6;
    return UniqueFd{::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
}

bool bind_to(const UniqueFd& socket, const Endpoint& endpoint) {
    const SocketAddress address{endpoint};
    return ::bind(socket.get(), address.get(), address.size) == 0;
}

in_addr v4_of(const IpAddress& address) {
    in_addr result{};
    std::memcpy(&result, &address.bytes[12], sizeof result);
    return result;
}

// IPv6 multicast names its interface by number.  0 leaves the choice to the kernel.
unsigned interface_index_of(const std::optional<IpAddress>& address) {
    ifaddrs* list = nullptr;
    if (!address || ::getifaddrs(&list) != 0) {
        return 0;
    }
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner{list, &::freeifaddrs};
    for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
        if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET6) {
            continue;
        }
        sockaddr_storage storage{};
        std::memcpy(&storage, entry->ifa_addr, sizeof(sockaddr_in6));
        if (IpAddress::from(storage) == address) {
            return ::if_nametoindex(entry->ifa_name);
        }
    }
    return 0;
}

bool set_multicast_origin(const UniqueFd& socket, const Destination& destination) {
    const int hops = destination.ttl;
    if (!destination.to.address.is_v4()) {
        const unsigned index = interface_index_of(destination.from);
        return set_option(socket, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, hops) &&
               set_option(socket, IPPROTO_IPV6, IPV6_MULTICAST_IF, index);
    }
    return set_option(socket, IPPROTO_IP, IP_MULTICAST_TTL, hops) &&
           (!destination.from ||
            set_option(socket, IPPROTO_IP, IP_MULTICAST_IF, v4_of(*destination.from)));
}

bool join_group(const UniqueFd& socket, const Destination& destination) {
    const int only_joined_groups = 0;
    if (!destination.to.address.is_v4()) {
        ipv6_mreq request{};
        std::memcpy(&request.ipv6mr_multiaddr, destination.to.address.bytes.data(), 16);
        request.ipv6mr_interface = interface_index_of(destination.from);
        return set_option(socket, IPPROTO_IPV6, IPV6_JOIN_GROUP, request);
    }
    ip_mreq request{};
    request.imr_multiaddr = v4_of(destination.to.address);
    if (destination.from) {
        request.imr_interface = v4_of(*destination.from);
    }
    return set_option(socket, IPPROTO_IP, IP_MULTICAST_ALL, only_joined_groups) &&
           set_option(socket, IPPROTO_IP, IP_ADD_MEMBERSHIP, request);
}

// Where what peers send to this destination arrives: a group's datagrams under the group's address,
// broadcasts under the network's, unicast at our own.  Only the kernel knows which addresses are
// broadcast addresses, so these are tried in turn.
std::vector<Endpoint> listening_endpoints(const Destination& destination) {
    std::vector<Endpoint> endpoints{destination.to};
    if (destination.kind == Destination::Kind::multicast) {
        return endpoints;
    }
    const auto any = IpAddress::parse(destination.to.address.is_v4() ? "0.0.0.0" : "::");
    endpoints.push_back({destination.from ? *destination.from : *any, destination.to.port});
    return endpoints;
}

}  // namespace

Result<Sender> open_sender(const Destination& destination) {
    UniqueFd socket = open_udp(destination.to.address);
    const int on = 1;
    if (!socket || !set_option(socket, SOL_SOCKET, SO_BROADCAST, on)) {
        return failure("cannot open a UDP socket");
    }
    if (destination.from && !bind_to(socket, {*destination.from, 0})) {
        return failure("cannot send from " + destination.from->to_string());
    }
    if (destination.kind == Destination::Kind::multicast &&
        !set_multicast_origin(socket, destination)) {
        return failure("cannot multicast to " + destination.to.to_string());
    }
    return Sender{std::move(socket), destination.to};
}

Result<std::vector<UniqueFd>> open_receivers(const std::vector<Destination>& destinations) {
    std::vector<UniqueFd> receivers;
    std::vector<Endpoint> opened;
    for (const Destination& destination : destinations) {
        const std::vector<Endpoint> endpoints = listening_endpoints(destination);
        auto found =
            std::find_first_of(opened.begin(), opened.end(), endpoints.begin(), endpoints.end());
        if (found == opened.end()) {
            UniqueFd socket = open_udp(destination.to.address);
            const int on = 1;
            if (!socket || !set_option(socket, SOL_SOCKET, SO_REUSEADDR, on)) {
                return failure("cannot open a UDP socket");
            }
            const auto bound =
                std::find_if(endpoints.begin(), endpoints.end(),
                             [&](const Endpoint& endpoint) { return bind_to(socket, endpoint); });
            if (bound == endpoints.end()) {
                return failure("cannot listen on UDP " + endpoints.back().to_string());
            }
            receivers.push_back(std::move(socket));
            found = opened.insert(opened.end(), *bound);
        }
        const UniqueFd& receiver = receivers[static_cast<std::size_t>(found - opened.begin())];
        // The same group heard on a second interface is a second membership of one socket.
        if (destination.kind == Destination::Kind::multicast &&
            !join_group(receiver, destination) && errno != EADDRINUSE) {
            return failure("cannot join the multicast group " + destination.to.address.to_string());
        }
    }
    return receivers;
}

Result<IpAddress> local_address_towards(const Destination& destination) {
    if (destination.from) {
        return *destination.from;
    }
    auto sender = open_sender(destination);
    if (!sender) {
        return sender.error();
    }
    const SocketAddress to{destination.to};
    sockaddr_storage local{};
    socklen_t size = sizeof local;
    // Connecting a UDP socket sends nothing; it only asks the kernel for a route.
    if (::connect(sender->socket.get(), to.get(), to.size) != 0 ||
        ::getsockname(sender->socket.get(), reinterpret_cast<sockaddr*>(&local), &size) != 0) {
        return failure("no route to " + destination.to.to_string());
    }
    const auto address = IpAddress::from(local);
    if (!address) {
        return Error{Error::Kind::system, "no address towards " + destination.to.to_string()};
    }
    return *address;
}

}  // namespace backhand
