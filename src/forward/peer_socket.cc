#include "forward/peer_socket.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <optional>
#include <system_error>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

namespace backhand {

namespace {

Error failure(Error::Kind kind, int error) {
    return {kind, std::generic_category().message(error)};
}

// How long the kernel itself lets a read wait.  Most answers come sooner, and then there is nothing
// to poll for; the rest of a longer limit is waited for by poll.
constexpr Milliseconds first_wait{50};

// The events that occurred, 0 at `deadline`.
short wait_until(int socket, short events, MonotonicTime deadline) {
    while (true) {
        const Nanoseconds left = elapsed(monotonic_now(), deadline);
        const auto left_ms = std::chrono::ceil<Milliseconds>(left).count();
        pollfd descriptor{.fd = socket, .events = events, .revents = 0};
        const int ready = ::poll(
            &descriptor, 1,
            static_cast<int>(std::min<std::int64_t>(left_ms, std::numeric_limits<int>::max())));
        if (ready > 0) {
            return descriptor.revents;
        }
        if (ready == 0 || errno != EINTR) {
            return 0;
        }
    }
}

short wait_for(int socket, short events, Nanoseconds limit) {
    return wait_until(socket, events, monotonic_now() + nanoseconds_in(limit));
}

// Ports, memory or descriptors that this host lacks say nothing about the peer.
bool is_our_own_trouble(int error) {
    return error == EADDRNOTAVAIL || error == ENOBUFS || error == ENOMEM || error == EAGAIN;
}

// Binding to an address this host does not have is no error: behind address translation the contact
// that peers know is not ours.
void bind_source(const UniqueFd& socket, const IpAddress& source) {
    const int on = 1;
    const SocketAddress address{Endpoint{source, 0}};
    // Leaves the choice of port to connect(), which may use one port for several destinations.
    ::setsockopt(socket.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    static_cast<void>(::bind(socket.get(), address.get(), address.size));
}

}  // namespace

Result<UniqueFd> connect_to(const Endpoint& peer, const IpAddress& source, Nanoseconds limit) {
    const SocketAddress address{peer};
    UniqueFd socket{
        ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!socket) {
        return failure(Error::Kind::system, errno);
    }
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (source.is_v4() == peer.address.is_v4()) {
        bind_source(socket, source);
    }
    if (::connect(socket.get(), address.get(), address.size) != 0) {
        if (errno != EINPROGRESS) {
            return failure(
                is_our_own_trouble(errno) ? Error::Kind::system : Error::Kind::unavailable, errno);
        }
        if (wait_for(socket.get(), POLLOUT, limit) == 0) {
            return failure(Error::Kind::timed_out, ETIMEDOUT);
        }
        int error = 0;
        socklen_t size = sizeof error;
        if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
            return failure(Error::Kind::unavailable, error);
        }
    }
    let_reads_wait(socket.get());
    return socket;
}

void let_reads_wait(int socket) {
    const timeval limit{.tv_sec = 0, .tv_usec = std::chrono::microseconds{first_wait}.count()};
    ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::fcntl(socket, F_SETFL, 0);
}

bool is_quiet(int socket) {
    char byte = 0;
    const auto received = ::recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return received < 0 && errno == EAGAIN;
}

Result<std::size_t> send_some(int socket, std::string_view bytes) {
    while (true) {
        const auto sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            return static_cast<std::size_t>(sent);
        }
        if (errno == EAGAIN) {
            return std::size_t{0};
        }
        if (errno != EINTR) {
            return failure(Error::Kind::broken, errno);
        }
    }
}

Status send_all(int socket, std::string_view bytes, Nanoseconds limit) {
    while (!bytes.empty()) {
        const auto sent = send_some(socket, bytes);
        if (!sent) {
            return sent.error();
        }
        bytes.remove_prefix(*sent);
        if (*sent == 0 && wait_for(socket, POLLOUT, limit) == 0) {
            return failure(Error::Kind::timed_out, ETIMEDOUT);
        }
    }
    return Done{};
}

Result<std::size_t> receive_some(int socket, std::span<char> buffer, Nanoseconds limit) {
    const bool waits = limit >= first_wait;
    const int flags = waits ? 0 : MSG_DONTWAIT;
    std::optional<MonotonicTime> deadline;
    while (true) {
        const auto received = ::recv(socket, buffer.data(), buffer.size(), flags);
        if (received >= 0) {
            return static_cast<std::size_t>(received);
        }
        if (errno == EAGAIN) {
            // Most responses come at once: the clock need not be asked for them.
            if (!deadline) {
                const Nanoseconds left = waits ? limit - first_wait : limit;
                deadline = monotonic_now() + nanoseconds_in(left);
            }
            if (wait_until(socket, POLLIN, *deadline) == 0) {
                return failure(Error::Kind::timed_out, ETIMEDOUT);
            }
        } else if (errno != EINTR) {
            return failure(Error::Kind::broken, errno);
        }
    }
}

void wait_to_read(int socket, int other, Nanoseconds limit) {
    std::array<pollfd, 2> sockets = {{{.fd = socket, .events = POLLIN, .revents = 0},
                                      {.fd = other, .events = POLLIN, .revents = 0}}};
    const auto limit_ms = std::chrono::ceil<Milliseconds>(limit).count();
    ::poll(sockets.data(), sockets.size(), static_cast<int>(limit_ms));
}

Readiness wait_for_either(int socket, Nanoseconds limit) {
    const short events = wait_for(socket, POLLIN | POLLOUT, limit);
    return {.readable = (events & (POLLIN | POLLHUP | POLLERR)) != 0,
            .writable = (events & POLLOUT) != 0};
}

}  // namespace backhand
