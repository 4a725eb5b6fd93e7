#include "forward/peer_connections.h"

#include <algorithm>
#include <utility>

#include <poll.h>

#include "forward/connection_pool.h"
#include "forward/peer_socket.h"
#include "forward/pool_protocol.h"

namespace backhand {

namespace {

// Longer than any answer takes; shorter than what a client would notice.
constexpr Milliseconds pool_answer_limit{20};

constexpr std::size_t cached_total_max = 64;

// A peer whose workers are held by idle connections gets one of them from this whole server.
constexpr std::uint32_t pooled_max_default = 32;

bool holds_workers(const ServerView& peer) {
    return peer.load.has(ServerFlag::connection_holds_worker);
}

}  // namespace

PeerConnections::PeerConnections(Settings settings, const ClusterTable& table)
    : settings_(std::move(settings)),
      table_(table) {}

Result<PeerConnection> PeerConnections::acquire(const ServerView& peer, bool fresh) {
    Counters& counters = table_.counters();
    if (settings_.pooling && !fresh) {
        if (UniqueFd cached = take_cached(peer.load.contact)) {
            counters.add(Counter::connections_from_cache);
            return PeerConnection{.socket = std::move(cached), .reused = true};
        }
        if (UniqueFd pooled = take_pooled(peer)) {
            counters.add(Counter::connections_from_pool);
            return PeerConnection{.socket = std::move(pooled), .reused = true};
        }
        table_.connection_missed(peer.slot_index);
    }
    auto opened = connect_to(peer.load.contact, settings_.source, settings_.connect_limit);
    if (!opened) {
        return opened.error();
    }
    counters.add(Counter::connections_opened);
    return PeerConnection{.socket = std::move(*opened), .spare = fresh};
}

void PeerConnections::release(const ServerView& peer, PeerConnection connection) {
    if (!settings_.pooling) {
        return;
    }
    if (holds_workers(peer) || (!keep_cached(peer, connection) && !connection.spare)) {
        give_to_pool(peer, std::move(connection.socket));
    }
}

// All forwarders together keep as many idle connections to a peer as it has workers: so many has
// this one.
std::uint32_t PeerConnections::idle_share(const ServerView& peer) const {
    const std::uint32_t forwarders = std::max(2U, table_.slots_used()) - 1;
    return peer.load.workers_max / forwarders;
}

// The children have one half of it,
std::size_t PeerConnections::cached_max(const ServerView& peer) const {
    const std::uint32_t share = idle_share(peer) / 2 / std::max(1U, settings_.children_max);
    return std::min<std::size_t>(std::max(1U, share), settings_.cached_per_peer_max);
}

// and the pool the other.
std::uint16_t PeerConnections::pooled_max(const ServerView& peer) const {
    const std::uint32_t share = holds_workers(peer) ? 1 : idle_share(peer) / 2;
    return static_cast<std::uint16_t>(std::clamp(share, 1U, pooled_max_default));
}

UniqueFd PeerConnections::take_cached(const Endpoint& contact) {
    const MonotonicTime now = monotonic_now();
    const std::lock_guard lock{cache_mutex_};
    for (auto entry = cache_.end(); entry != cache_.begin();) {
        --entry;
        if (entry->contact != contact) {
            continue;
        }
        Cached found = std::move(*entry);
        entry = cache_.erase(entry);
        if (found.expires_at > now && is_quiet(found.socket.get())) {
            return std::move(found.socket);
        }
    }
    return UniqueFd{};
}

bool PeerConnections::keep_cached(const ServerView& peer, PeerConnection& connection) {
    const MonotonicTime now = monotonic_now();
    const auto expires_at = idle_until(now, Milliseconds{peer.load.keepalive_timeout_ms});

    const std::lock_guard lock{cache_mutex_};
    std::erase_if(cache_, [now](const Cached& entry) { return entry.expires_at <= now; });
    const auto held = std::count_if(cache_.begin(), cache_.end(), [&](const Cached& entry) {
        return entry.contact == peer.load.contact;
    });
    const std::size_t held_max = connection.spare ? 1 : cached_max(peer);
    if (std::cmp_greater_equal(held, held_max) || cache_.size() >= cached_total_max) {
        return false;
    }
    cache_.push_back({peer.load.contact, std::move(connection.socket), expires_at});
    return true;
}

UniqueFd PeerConnections::take_pooled(const ServerView& peer) {
    if (table_.pooled_connections(peer.slot_index) == 0 ||
        !table_.moderator_alive(monotonic_now())) {
        return UniqueFd{};
    }
    const std::unique_lock lock{pool_mutex_, std::try_to_lock};
    if (!lock.owns_lock() || !reach_moderator()) {
        return UniqueFd{};
    }
    const PoolMessage question{.kind = PoolMessage::Kind::take, .contact = peer.load.contact};
    pollfd answer_arrives{.fd = pool_socket_.get(), .events = POLLIN, .revents = 0};
    if (!send_message(pool_socket_.get(), question) ||
        ::poll(&answer_arrives, 1, static_cast<int>(pool_answer_limit.count())) != 1) {
        // An answer that comes too late must not be taken for that to a later question.  Nobody
        // else need ask until the moderator is heard again.
        pool_socket_.reset();
        table_.set_pooled_connections(peer.slot_index, 0);
        return UniqueFd{};
    }
    auto answer = receive_message(pool_socket_.get());
    if (!answer || !*answer) {
        pool_socket_.reset();
        return UniqueFd{};
    }
    UniqueFd& connection = (*answer)->connection;
    if ((*answer)->message.contact != peer.load.contact || !connection ||
        !is_quiet(connection.get())) {
        return UniqueFd{};
    }
    let_reads_wait(connection.get());
    return std::move(connection);
}

void PeerConnections::give_to_pool(const ServerView& peer, UniqueFd socket) {
    // Whoever holds it may be waiting for an answer.  A connection is not worth waiting for.
    const std::unique_lock lock{pool_mutex_, std::try_to_lock};
    if (!lock.owns_lock() || !table_.moderator_alive(monotonic_now()) || !reach_moderator()) {
        return;
    }
    const PoolMessage gift{
        .kind = PoolMessage::Kind::give,
        .keepalive_timeout_ms = peer.load.keepalive_timeout_ms,
        .contact = peer.load.contact,
        .connections_max = pooled_max(peer),
    };
    if (send_message(pool_socket_.get(), gift, std::move(socket))) {
        table_.counters().add(Counter::connections_given_back);
    } else {
        pool_socket_.reset();
    }
}

bool PeerConnections::reach_moderator() {
    if (!pool_socket_) {
        auto connected = connect_to_moderator(settings_.pool_socket_path);
        if (!connected) {
            return false;
        }
        pool_socket_ = std::move(*connected);
    }
    return true;
}

}  // namespace backhand
