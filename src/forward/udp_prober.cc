#include "forward/udp_prober.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <memory>
#include <utility>

#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "announce/probe.h"
#include "base/unique_fd.h"

namespace backhand {

// What one thread at a time asks with: a socket for each family, opened when it is first needed.
class UdpProber::Line {
public:
    // One byte more than an answer has, so that a longer one shows.
    using Room = std::array<std::uint8_t, probe_bytes_max + 1>;

    // What nobody can guess who has not seen it; nullopt: the system has no randomness yet.  A
    // decision's Random would not do: from one number all that follow can be reckoned.
    std::optional<std::uint64_t> next_nonce() {
        if (nonces_left_ == 0) {
            // Up to 256 bytes it is neither interrupted nor short (getrandom(2)).
            if (::getrandom(nonces_.data(), sizeof nonces_, 0) !=
                static_cast<ssize_t>(sizeof nonces_)) {
                return std::nullopt;
            }
            nonces_left_ = nonces_.size();
        }
        return nonces_[--nonces_left_];
    }

    bool send(std::span<const std::uint8_t> datagram, const Endpoint& to, const IpAddress& source) {
        UniqueFd& socket = sockets_[to.address.is_v4() ? 0 : 1];
        if (!socket && !open(socket, to.address, source)) {
            return false;
        }
        const SocketAddress address{to};
        return std::cmp_equal(::sendto(socket.get(), datagram.data(), datagram.size(), MSG_DONTWAIT,
                                       address.get(), address.size),
                              datagram.size());
    }

    // Waits until something has come, `limit` at most.  Calls take(datagram, sender) for one of
    // what has come to each socket.  False if nothing came.
    template <class Take>
    bool receive(Nanoseconds limit, Take take) {
        std::array<pollfd, 2> events = {
            {{sockets_[0].get(), POLLIN, 0}, {sockets_[1].get(), POLLIN, 0}}};
        const auto seconds = std::chrono::floor<std::chrono::seconds>(limit);
        const timespec wait{.tv_sec = seconds.count(), .tv_nsec = (limit - seconds).count()};
        const int ready = ::ppoll(events.data(), events.size(), &wait, nullptr);
        if (ready <= 0) {
            return ready < 0 && errno == EINTR && limit > Nanoseconds{0};
        }
        for (const pollfd& event : events) {
            if (event.revents != 0) {
                receive_from(event.fd, take);
            }
        }
        return true;
    }

private:
    static bool open(UniqueFd& socket, const IpAddress& peer, const IpAddress& source) {
        const int family = peer.is_v4() ? AF_INET : AF_INET6;
        socket.reset(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (socket && source.is_v4() == peer.is_v4()) {
            // Behind address translation it is not ours; then the kernel's choice has to do.
            const SocketAddress address{Endpoint{source, 0}};
            static_cast<void>(::bind(socket.get(), address.get(), address.size));
        }
        return static_cast<bool>(socket);
    }

    template <class Take>
    static void receive_from(int socket, Take& take) {
        Room room;
        sockaddr_storage sender{};
        socklen_t sender_size = sizeof sender;
        const ssize_t size = ::recvfrom(socket, room.data(), room.size(), MSG_DONTWAIT,
                                        reinterpret_cast<sockaddr*>(&sender), &sender_size);
        const auto from = size < 0 ? std::nullopt : Endpoint::from(sender);
        if (from) {
            take(std::span<const std::uint8_t>{room.data(), static_cast<std::size_t>(size)}, *from);
        }
    }

    std::array<UniqueFd, 2> sockets_;  // IPv4, IPv6
    std::array<std::uint64_t, 32> nonces_{};
    std::size_t nonces_left_ = 0;
};

// The questions of one call, and their answers.
class UdpProber::Round {
public:
    Round(const UdpProber& prober, Line& line, std::span<std::optional<ProbeAnswer>> answers)
        : prober_(prober),
          counters_(prober.table_.counters()),
          line_(line),
          answers_(answers),
          began_at_(monotonic_now()) {}

    void ask(std::uint32_t slot_index, std::size_t answer_index) {
        const auto target = prober_.table_.probe_target(slot_index);
        if (slot_index == self_slot || !target || asked_count_ == asked_.size()) {
            return;
        }
        if (prober_.table_.probes_withheld(slot_index, began_at_)) {
            counters_.add(Counter::probes_withheld);
            return;
        }
        const Endpoint to{target->contact.address, target->port};
        const auto nonce = line_.next_nonce();
        const Probe question{.kind = Probe::Kind::question, .nonce = nonce.value_or(0)};
        if (!nonce || !line_.send(ProbeDatagram{question, target->contact, prober_.keys_}.bytes(),
                                  to, prober_.source_)) {
            counters_.add(Counter::probes_failed);
            return;
        }
        counters_.add(Counter::probes_sent);
        asked_[asked_count_++] = {.slot_index = slot_index,
                                  .answer_index = answer_index,
                                  .nonce = *nonce,
                                  .contact = target->contact,
                                  .to = to};
        ++open_count_;
    }

    void await_answers() {
        const MonotonicTime deadline = began_at_ + nanoseconds_in(prober_.patience_);
        // What came in time may have had to wait for this thread.
        std::size_t late_looks = asked_max;
        while (open_count_ > 0 && late_looks > 0) {
            const Nanoseconds left = elapsed(monotonic_now(), deadline);
            late_looks -= left == Nanoseconds{0} ? 1U : 0U;
            const bool came = line_.receive(
                left, [this](auto datagram, const Endpoint& from) { take(datagram, from); });
            if (!came) {
                break;
            }
        }
        close();
    }

private:
    struct Asked {
        std::uint32_t slot_index = 0;
        std::size_t answer_index = 0;
        std::uint64_t nonce = 0;
        Endpoint contact;
        Endpoint to;
        bool answered = false;
    };

    std::span<Asked> asked() { return std::span{asked_}.first(asked_count_); }

    void take(std::span<const std::uint8_t> datagram, const Endpoint& from) {
        const auto nonce = nonce_in(datagram);
        const auto question = std::ranges::find_if(asked(), [&](const Asked& candidate) {
            return candidate.nonce == nonce && !candidate.answered;
        });
        if (nonce && question == asked().end()) {
            counters_.add(Counter::probe_answers_late);
            return;
        }
        Probe answer;
        if (!nonce || question->to != from ||
            decode_probe(datagram, Probe::Kind::answer, question->contact, prober_.keys_, answer)) {
            counters_.add(Counter::probe_answers_refused);
            return;
        }
        question->answered = true;
        --open_count_;
        counters_.add(Counter::probes_answered);
        prober_.table_.probe_answered(question->slot_index);
        answers_[question->answer_index] =
            ProbeAnswer{.serving = answer.serving, .workers_idle = answer.workers_idle};
    }

    void close() {
        for (const Asked& question : asked()) {
            if (!question.answered) {
                counters_.add(Counter::probes_unanswered);
                prober_.table_.probe_unanswered(question.slot_index, began_at_);
            }
        }
    }

    const UdpProber& prober_;
    Counters& counters_;
    Line& line_;
    const std::span<std::optional<ProbeAnswer>> answers_;
    const MonotonicTime began_at_;
    std::array<Asked, asked_max> asked_{};
    std::size_t asked_count_ = 0;
    std::size_t open_count_ = 0;  // of those asked
};

UdpProber::UdpProber(ClusterTable table, const IpAddress& source, const KeyRing* keys,
                     Nanoseconds patience)
    : table_(table),
      source_(source),
      keys_(keys),
      patience_(patience) {}

UdpProber::~UdpProber() = default;

void UdpProber::ask(std::span<const std::uint32_t> slots,
                    std::span<std::optional<ProbeAnswer>> answers) const {
    std::ranges::fill(answers, std::nullopt);
    std::unique_ptr<Line> line = lines_.take();
    Round round{*this, *line, answers};
    for (std::size_t index = 0; index < slots.size(); ++index) {
        round.ask(slots[index], index);
    }
    round.await_answers();
    lines_.put_back(std::move(line));
}

}  // namespace backhand
