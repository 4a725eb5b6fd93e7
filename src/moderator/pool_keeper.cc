#include "moderator/pool_keeper.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include <sys/socket.h>

namespace backhand {

namespace {

// Connections opened before they are needed: as many as requests had to open for themselves since
// the last look, at most so many for a peer.  Held no longer than this: until something is sent
// over it, the peer's kernel may keep it from httpd (TCP_DEFER_ACCEPT, 30 s).
constexpr std::uint32_t opened_ahead_max = 4;
constexpr Nanoseconds opened_ahead_kept = std::chrono::seconds{10};

}  // namespace

PoolKeeper::PoolKeeper(asio::io_context& loop, ClusterTable table, IpAddress source, Log log)
    : loop_(loop),
      table_(std::move(table)),
      log_(std::move(log)),
      opener_(loop, source, [this](const Endpoint& contact, UniqueFd connection) {
          keep_opened(contact, std::move(connection));
      }) {}

void PoolKeeper::listen(const std::string& socket_path) {
    for (std::uint32_t index = 0; index < table_.slots_used(); ++index) {
        table_.set_pooled_connections(index, 0);
    }
    auto socket = listen_for_children(socket_path);
    if (!socket) {
        log_(LogLevel::warning, "no connection pool: " + socket.error().detail);
        return;
    }
    listener_ = std::make_unique<Descriptor>(loop_, socket->release());
    accept_child();
}

void PoolKeeper::sweep(MonotonicTime now) {
    open_ahead();
    pool_.sweep(now);
    pool_.for_each_peer([this](const Endpoint& contact, std::size_t) { publish_count(contact); });
    if (std::exchange(accepting_paused_, false)) {
        accept_child();
    }
}

void PoolKeeper::accept_child() {
    listener_->async_wait(Descriptor::wait_read, [this](const std::error_code& error) {
        if (error) {
            return;
        }
        const int child =
            ::accept4(listener_->native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (child >= 0) {
            listen_to_child(std::make_shared<Descriptor>(loop_, child));
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
            // The child waits in the backlog; asking again at once would only spin.
            accepting_paused_ = true;
            return;
        }
        accept_child();
    });
}

// The handler owns the child's descriptor: when it is not armed again, the descriptor closes.
void PoolKeeper::listen_to_child(const std::shared_ptr<Descriptor>& child) {
    child->async_wait(Descriptor::wait_read, [this, child](const std::error_code& error) {
        if (!error && answer_child(*child)) {
            listen_to_child(child);
        }
    });
}

bool PoolKeeper::answer_child(Descriptor& child) {
    auto received = receive_message(child.native_handle());
    if (!received) {
        return false;
    }
    if (!*received) {
        return true;
    }
    const PoolMessage& message = (*received)->message;
    if (message.kind == PoolMessage::Kind::give) {
        keep(**received);
        return true;
    }
    if (message.kind != PoolMessage::Kind::take) {
        return false;
    }
    auto lent = pool_.take(message.contact, monotonic_now());
    PoolMessage answer{.kind = lent ? PoolMessage::Kind::lent : PoolMessage::Kind::none,
                       .contact = message.contact};
    publish_count(message.contact);
    return static_cast<bool>(
        send_message(child.native_handle(), answer, lent ? std::move(*lent) : UniqueFd{}));
}

// Whatever runs as httpd's user can reach the socket.  Only a connection that really leads to a
// member's contact is taken.
void PoolKeeper::keep(ReceivedPoolMessage& gift) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    const bool connected =
        gift.connection &&
        ::getpeername(gift.connection.get(), reinterpret_cast<sockaddr*>(&peer), &size) == 0;
    const auto endpoint = connected ? Endpoint::from(peer) : std::nullopt;
    if (endpoint != gift.message.contact || !table_.find_contact(gift.message.contact)) {
        table_.counters().add(Counter::connections_refused_by_pool);
        return;
    }
    pool_.give(gift.message.contact, std::move(gift.connection),
               {.keepalive_timeout = Milliseconds{gift.message.keepalive_timeout_ms},
                .connections_max = gift.message.connections_max},
               monotonic_now());
    publish_count(gift.message.contact);
}

// None to a peer whose workers are held by idle connections.
void PoolKeeper::open_ahead() {
    for (std::uint32_t index = self_slot + 1; index < table_.slots_used(); ++index) {
        const std::uint32_t missed = table_.take_connections_missed(index);
        if (missed == 0) {
            continue;
        }
        const auto report = table_.report(index);
        if (!listener_ || !report || report->load.keepalive_timeout_ms == 0 ||
            report->load.has(connection_holds_worker) || report->load.has(leaving)) {
            continue;
        }
        const Endpoint& contact = report->load.contact;
        const std::size_t wanted = std::min(missed, opened_ahead_max);
        opener_.open(contact, wanted - std::min(wanted, pool_.count(contact)));
    }
}

void PoolKeeper::keep_opened(const Endpoint& contact, UniqueFd connection) {
    const auto slot_index = table_.find_contact(contact);
    const auto report = slot_index ? table_.report(*slot_index) : std::nullopt;
    if (!report) {
        return;
    }
    table_.counters().add(Counter::connections_opened_ahead);
    const Nanoseconds keepalive_timeout = Milliseconds{report->load.keepalive_timeout_ms};
    pool_.give(contact, std::move(connection),
               {.keepalive_timeout = std::min(keepalive_timeout, opened_ahead_kept)},
               monotonic_now());
    publish_count(contact);
}

void PoolKeeper::publish_count(const Endpoint& contact) {
    if (const auto slot_index = table_.find_contact(contact)) {
        table_.set_pooled_connections(*slot_index,
                                      static_cast<std::uint32_t>(pool_.count(contact)));
    }
}

}  // namespace backhand
