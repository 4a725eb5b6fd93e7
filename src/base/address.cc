#include "base/address.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include <arpa/inet.h>

#include "base/text.h"

namespace backhand {

namespace {

constexpr std::array<std::uint8_t, 12> v4_mapped_prefix = {0, 0, 0, 0, 0,    0,
                                                           0, 0, 0, 0, 0xFF, 0xFF};

// Room for an address of either kind, and a port.
using AddressText = std::array<char, INET6_ADDRSTRLEN + 8>;

// Returns where it ends.  IPv4 by hand: inet_ntop formats as printf does, and every forwarded
// request pays for it.
char* write(const IpAddress& address, char* text) {
    if (!address.is_v4()) {
        ::inet_ntop(AF_INET6, address.bytes.data(), text, INET6_ADDRSTRLEN);
        return text + std::strlen(text);
    }
    constexpr std::ptrdiff_t digits_max = 3;
    for (std::size_t index = 12; index < address.bytes.size(); ++index) {
        text = std::to_chars(text, text + digits_max, address.bytes[index]).ptr;
        *text++ = '.';
    }
    return text - 1;
}

}  // namespace

bool IpAddress::is_v4() const {
    return std::equal(v4_mapped_prefix.begin(), v4_mapped_prefix.end(), bytes.begin());
}

bool IpAddress::is_unspecified() const {
    const auto* const first = bytes.begin() + (is_v4() ? 12 : 0);
    return std::all_of(first, bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

bool IpAddress::is_loopback() const {
    if (is_v4()) {
        return bytes[12] == 127;
    }
    IpAddress loopback;
    loopback.bytes[15] = 1;
    return *this == loopback;
}

bool IpAddress::is_multicast() const {
    return is_v4() ? (bytes[12] & 0xF0U) == 0xE0U : bytes[0] == 0xFF;
}

bool IpAddress::is_link_local() const {
    return bytes[0] == 0xFE && (bytes[1] & 0xC0U) == 0x80U;
}

bool IpAddress::leads_to_one_host() const {
    return !is_multicast() && !is_link_local() && !is_unspecified();
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
    std::array<char, INET6_ADDRSTRLEN> terminated{};
    if (text.empty() || text.size() >= terminated.size() ||
        text.find('\0') != std::string_view::npos) {
        return std::nullopt;
    }
    std::copy(text.begin(), text.end(), terminated.begin());

    IpAddress result;
    if (::inet_pton(AF_INET, terminated.data(), &result.bytes[12]) == 1) {
        std::copy(v4_mapped_prefix.begin(), v4_mapped_prefix.end(), result.bytes.begin());
        return result;
    }
    if (::inet_pton(AF_INET6, terminated.data(), result.bytes.data()) == 1) {
        return result;
    }
    return std::nullopt;
}

std::optional<IpAddress> IpAddress::from(const sockaddr_storage& address) {
    const auto endpoint = Endpoint::from(address);
    return endpoint ? std::optional{endpoint->address} : std::nullopt;
}

std::string IpAddress::to_string() const {
    AddressText text{};
    return {text.data(), write(*this, text.data())};
}

std::optional<Endpoint> Endpoint::parse(std::string_view text) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) {
        return std::nullopt;
    }
    std::string_view host = text.substr(0, colon);
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) {
        host = host.substr(1, host.size() - 2);
    }
    const auto address = IpAddress::parse(host);
    const auto port = parse_number<std::uint16_t>(text.substr(colon + 1));
    if (!address || !port || *port == 0 || bracketed == address->is_v4()) {
        return std::nullopt;
    }
    return Endpoint{*address, *port};
}

std::optional<Endpoint> Endpoint::from(const sockaddr_storage& address) {
    Endpoint result;
    if (address.ss_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &address, sizeof v4);
        std::copy(v4_mapped_prefix.begin(), v4_mapped_prefix.end(), result.address.bytes.begin());
        std::memcpy(&result.address.bytes[12], &v4.sin_addr, 4);
        result.port = ntohs(v4.sin_port);
        return result;
    }
    if (address.ss_family == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &address, sizeof v6);
        std::memcpy(result.address.bytes.data(), &v6.sin6_addr, 16);
        result.port = ntohs(v6.sin6_port);
        return result;
    }
    return std::nullopt;
}

std::string Endpoint::to_string() const {
    AddressText text{};
    char* end = text.data();
    if (address.is_v4()) {
        end = write(address, end);
    } else {
        *end++ = '[';
        end = write(address, end);
        *end++ = ']';
    }
    *end++ = ':';
    return {text.data(), std::to_chars(end, text.data() + text.size(), port).ptr};
}

SocketAddress::SocketAddress(const Endpoint& endpoint) {
    if (endpoint.address.is_v4()) {
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_port = htons(endpoint.port);
        std::memcpy(&v4.sin_addr, &endpoint.address.bytes[12], 4);
        std::memcpy(&storage, &v4, sizeof v4);
        size = sizeof v4;
        return;
    }
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(endpoint.port);
    std::memcpy(&v6.sin6_addr, endpoint.address.bytes.data(), 16);
    std::memcpy(&storage, &v6, sizeof v6);
    size = sizeof v6;
}

const sockaddr* SocketAddress::get() const {
    // The socket interface is made of such casts (POSIX sys/socket.h).
    return reinterpret_cast<const sockaddr*>(&storage);
}

bool IpPrefix::contains(const IpAddress& other) const {
    const std::size_t whole = bits / 8U;
    if (!std::equal(address.bytes.begin(),
                    address.bytes.begin() + static_cast<std::ptrdiff_t>(whole),
                    other.bytes.begin())) {
        return false;
    }
    const unsigned rest = bits % 8U;
    if (rest == 0) {
        return true;
    }
    const unsigned mask = (0xFF00U >> rest) & 0xFFU;
    return (address.bytes[whole] & mask) == (other.bytes[whole] & mask);
}

}  // namespace backhand
