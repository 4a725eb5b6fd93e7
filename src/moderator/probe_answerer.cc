#include "moderator/probe_answerer.h"

#include <sys/socket.h>

#include "announce/probe.h"
#include "base/system_error.h"

namespace backhand {

namespace {

bool share_port(int socket) {
    const int on = 1;
    return ::setsockopt(socket, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0;
}

}  // namespace

Result<ProbeSocket> open_probe_socket(const IpAddress& address, std::uint16_t port) {
    const Endpoint wanted{address, port};
    SocketAddress where{wanted};
    auto* const raw = reinterpret_cast<sockaddr*>(&where.storage);
    ProbeSocket result{.socket = UniqueFd{::socket(where.storage.ss_family,
                                                   SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)}};
    if (!result.socket || (port != 0 && !share_port(result.socket.get())) ||
        ::bind(result.socket.get(), raw, where.size) != 0 ||
        ::getsockname(result.socket.get(), raw, &where.size) != 0) {
        return last_system_error("UDP at " +
                                 (port == 0 ? address.to_string() : wanted.to_string()));
    }
    const auto bound = Endpoint::from(where.storage);
    result.port = bound ? bound->port : std::uint16_t{0};
    return result;
}

std::size_t ProbeAnswerer::answer(int socket) {
    const std::size_t count = inbox_.fetch(socket);
    std::optional<News> news;
    for (std::size_t index = 0; index < count; ++index) {
        settings_.counters.add(answer_one(socket, index, news));
    }
    return count;
}

Counter ProbeAnswerer::answer_one(int socket, std::size_t index, std::optional<News>& news) {
    const auto from = Endpoint::from(inbox_.sender(index));
    if (!from || !settings_.accept.contains(from->address)) {
        return Counter::probed_from_stranger;
    }
    Probe probe;
    if (const auto fault = decode_probe(inbox_.datagram(index), Probe::Kind::question,
                                        settings_.contact, settings_.keys, probe)) {
        return *fault;
    }
    if (!news) {
        news = settings_.news();
    }
    probe.kind = Probe::Kind::answer;
    probe.serving = news->serving;
    probe.workers_idle = news->workers_idle;
    const ProbeDatagram datagram{probe, settings_.contact, settings_.keys};
    const SocketAddress to{*from};
    const ssize_t sent = ::sendto(socket, datagram.bytes().data(), datagram.bytes().size(),
                                  MSG_DONTWAIT, to.get(), to.size);
    return sent < 0 ? Counter::probed_failed : Counter::probed_answered;
}

}  // namespace backhand
