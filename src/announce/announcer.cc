#include "announce/announcer.h"

#include <cerrno>
#include <utility>

#include <sys/socket.h>

#include "announce/datagram.h"
#include "base/address.h"

namespace backhand {

namespace {

constexpr double jitter = 0.25;

}  // namespace

Announcer::Announcer(std::vector<Sender> senders, std::vector<std::string> services,
                     const KeyRing* keys, std::uint64_t random_seed)
    : senders_(std::move(senders)),
      services_(std::move(services)),
      keys_(keys),
      random_(random_seed) {}

Announcer::Outcome Announcer::announce(const ServerReport& self) const {
    Outcome outcome;
    const auto datagram = encode_datagram(self, services_, keys_);
    for (const Sender& sender : senders_) {
        const SocketAddress to{sender.to};
        if (::sendto(sender.socket.get(), datagram.data(), datagram.size(),
                     MSG_DONTWAIT | MSG_NOSIGNAL, to.get(), to.size) >= 0) {
            ++outcome.sent;
        } else {
            ++outcome.failed;
            outcome.error = errno;
        }
    }
    return outcome;
}

Nanoseconds Announcer::next_pause(Nanoseconds interval) {
    const double factor = 1 - jitter + 2 * jitter * random_.fraction();
    return Nanoseconds{static_cast<std::int64_t>(static_cast<double>(interval.count()) * factor)};
}

}  // namespace backhand
