// Sockets on loopback, and a web server that says what a test tells it to.
#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/unique_fd.h"

namespace backhand {

// Nothing on loopback takes so long, however busy the machine is.
constexpr std::chrono::seconds patience_of_tests{30};

struct BoundSocket {
    UniqueFd socket;
    Endpoint address;
};

// At a port of the kernel's choice.  `type` is SOCK_DGRAM or SOCK_STREAM.
inline BoundSocket bound_socket(int type, std::string_view address = "127.0.0.1") {
    SocketAddress where{{.address = *IpAddress::parse(address), .port = 0}};
    BoundSocket bound{.socket = UniqueFd{::socket(where.get()->sa_family, type | SOCK_CLOEXEC, 0)},
                      .address = {}};
    auto* const raw = reinterpret_cast<sockaddr*>(&where.storage);
    EXPECT_EQ(::bind(bound.socket.get(), raw, where.size), 0);
    ::getsockname(bound.socket.get(), raw, &where.size);
    bound.address = *Endpoint::from(where.storage);
    return bound;
}

inline bool is_readable(const UniqueFd& socket, std::chrono::milliseconds within) {
    pollfd descriptor{.fd = socket.get(), .events = POLLIN, .revents = 0};
    return ::poll(&descriptor, 1, static_cast<int>(within.count())) == 1;
}

// One connection of the web server below.
class Conversation {
public:
    explicit Conversation(UniqueFd socket) : socket_(std::move(socket)) {
        while (request_.find("\r\n\r\n") == std::string::npos && receive()) {
        }
    }

    // The request's head.
    const std::string& request() const { return request_; }

    // Value of a field of the request; empty if it has none.
    std::string field(const std::string& name) const {
        const std::string begin = "\r\n" + name + ": ";
        const auto found = request_.find(begin);
        if (found == std::string::npos) {
            return "";
        }
        const auto value = found + begin.size();
        return request_.substr(value, request_.find("\r\n", value) - value);
    }

    // Who asks.
    IpAddress asker() const {
        sockaddr_storage peer{};
        socklen_t size = sizeof peer;
        ::getpeername(socket_.get(), reinterpret_cast<sockaddr*>(&peer), &size);
        return IpAddress::from(peer).value_or(IpAddress{});
    }

    // False if the other side does not listen any more.
    bool say(std::string_view text) const {
        return ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL) >= 0;
    }

    void answer(std::string_view status, const std::string& body) const {
        say("HTTP/1.1 " + std::string{status} + "\r\nContent-Type: text/plain\r\nContent-Length: " +
            std::to_string(body.size()) + "\r\n\r\n" + body);
    }

    // Says nothing until the other side gives up.
    void keep_silent() {
        while (receive()) {
        }
    }

private:
    bool receive() {
        std::array<char, 1024> bytes{};
        if (!is_readable(socket_, patience_of_tests)) {
            return false;
        }
        const auto size = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
        request_.append(bytes.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
        return size > 0;
    }

    UniqueFd socket_;
    std::string request_;
};

class WebServer {
public:
    explicit WebServer(std::string_view address = "127.0.0.1")
        : bound_(bound_socket(SOCK_STREAM, address)) {
        EXPECT_EQ(::listen(bound_.socket.get(), 128), 0);
    }

    const Endpoint& contact() const { return bound_.address; }

    // The next request, if one comes within this time.
    std::optional<Conversation> next(std::chrono::milliseconds within = patience_of_tests) const {
        if (!is_readable(bound_.socket, within)) {
            return std::nullopt;
        }
        return Conversation{
            UniqueFd{::accept4(bound_.socket.get(), nullptr, nullptr, SOCK_CLOEXEC)}};
    }

private:
    BoundSocket bound_;
};

}  // namespace backhand
