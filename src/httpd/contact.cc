#include "httpd/contact.h"

#include <cstring>
#include <memory>
#include <optional>

#include <ifaddrs.h>

#include "announce/socket.h"
#include "httpd/apache.h"

namespace backhand::httpd {

namespace {

std::optional<IpAddress> bound_address(const ap_listen_rec& listener) {
    char text[64] = "";
    apr_sockaddr_ip_getbuf(text, sizeof text, listener.bind_addr);
    return IpAddress::parse(text);
}

// The first Listen that speaks plain HTTP and covers the address peers are told.  httpd keeps the
// list with the last Listen first.
std::uint16_t plain_port(const IpAddress& address) {
    std::uint16_t port = 0;
    for (const ap_listen_rec* listener = ap_listeners; listener != nullptr;
         listener = listener->next) {
        const bool plain =
            listener->protocol == nullptr || std::strcmp(listener->protocol, "http") == 0;
        const auto bound = bound_address(*listener);
        if (plain && (!bound || bound->is_unspecified() || *bound == address)) {
            port = listener->bind_addr->port;
        }
    }
    return port;
}

std::vector<IpAddress> addresses_of_this_host() {
    std::vector<IpAddress> addresses;
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) {
        return addresses;
    }
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner{list, &::freeifaddrs};
    for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
        const bool has_address = entry->ifa_addr != nullptr;
        const int family = has_address ? entry->ifa_addr->sa_family : AF_UNSPEC;
        sockaddr_storage storage{};
        if (family == AF_INET || family == AF_INET6) {
            std::memcpy(&storage, entry->ifa_addr,
                        family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
            if (const auto address = IpAddress::from(storage)) {
                addresses.push_back(*address);
            }
        }
    }
    return addresses;
}

}  // namespace

Result<Endpoint> find_contact(const GlobalSettings& settings) {
    Endpoint contact;
    if (settings.self_address) {
        contact.address = *settings.self_address;
    } else {
        const auto address = local_address_towards(settings.destinations.front());
        if (!address) {
            return address.error();
        }
        contact.address = *address;
    }
    contact.port = settings.self_port != 0 ? settings.self_port : plain_port(contact.address);
    if (contact.port == 0) {
        return Error{Error::Kind::refused,
                     "no plain Listen covers " + contact.address.to_string() +
                         ", where peers would be told to connect: expected a Listen for it, or "
                         "BackhandSelf ip:port"};
    }
    return contact;
}

std::vector<Endpoint> listening_endpoints() {
    std::vector<Endpoint> endpoints;
    const std::vector<IpAddress> addresses = addresses_of_this_host();
    for (const ap_listen_rec* listener = ap_listeners; listener != nullptr;
         listener = listener->next) {
        const std::uint16_t port = listener->bind_addr->port;
        const auto bound = bound_address(*listener);
        if (bound && !bound->is_unspecified()) {
            endpoints.push_back({*bound, port});
            continue;
        }
        for (const IpAddress& address : addresses) {
            endpoints.push_back({address, port});
        }
    }
    return endpoints;
}

}  // namespace backhand::httpd
