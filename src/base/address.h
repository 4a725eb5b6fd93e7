// IP addresses as values: parsed from configuration and datagrams, compared with the addresses
// that sockets report, printed for people.
//
// An IPv4 address is kept as its IPv4-mapped IPv6 form (RFC 4291 section 2.5.5.2), so that an
// address compares equal however a dual-stack socket reports it.  Trivially copyable: contacts
// live in shared memory.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <netinet/in.h>
#include <sys/socket.h>

namespace backhand {

struct IpAddress {
    std::array<std::uint8_t, 16> bytes{};

    bool is_v4() const;
    bool is_unspecified() const;
    bool is_loopback() const;
    // IPv4 224.0.0.0/4 or IPv6 ff00::/8.
    bool is_multicast() const;
    // fe80::/10: an address that several hosts may have, each on another network.
    bool is_link_local() const;
    // Where whoever connects to it reaches the same host: a server's contact.
    bool leads_to_one_host() const;

    // Accepts dotted IPv4 and every textual IPv6 form; no host names, no brackets.
    static std::optional<IpAddress> parse(std::string_view text);
    static std::optional<IpAddress> from(const sockaddr_storage& address);

    std::string to_string() const;

    friend bool operator==(const IpAddress&, const IpAddress&) = default;
    // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 sees a 0 in every defaulted <=>.
    friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

struct Endpoint {
    IpAddress address;
    std::uint16_t port = 0;

    // "10.0.5.1:80" or "[2001:db8::1]:80".
    static std::optional<Endpoint> parse(std::string_view text);
    static std::optional<Endpoint> from(const sockaddr_storage& address);

    std::string to_string() const;

    friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// An endpoint in the form that system calls take.  IPv4 endpoints become AF_INET.
struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;

    explicit SocketAddress(const Endpoint& endpoint);

    const sockaddr* get() const;
};

// A block of addresses: 10.0.0.0/8.
struct IpPrefix {
    IpAddress address;
    // Of 128: an IPv4 /8 has 104.
    std::uint8_t bits = 128;

    bool contains(const IpAddress& other) const;

    friend bool operator==(const IpPrefix&, const IpPrefix&) = default;
};

}  // namespace backhand
