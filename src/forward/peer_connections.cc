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

// For how long it holds what a lookout saw: a request that has arrived is sent on within this time.
constexpr Milliseconds look_lasts{1};

// For how long there is none after a connection was taken from one: whoever is on the lookout is
// woken by the answer for nothing.
constexpr Milliseconds no_lookout_for{10};

// A peer whose workers are held by idle connections gets one of them from this whole server.
constexpr std::uint32_t pooled_max_default = 32;

bool holds_workers(const ServerView& peer) {
    return peer.load.has(ServerFlag::connection_holds_worker);
}

}  // namespace

PeerConnections::PeerConnections(Settings settings, ClusterTable table)
    : settings_(std::move(settings)),
      table_(std::move(table)) {}

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

// From a lookout only if nothing else will do.
UniqueFd PeerConnections::take_cached(const Endpoint& contact) {
    const MonotonicTime now = monotonic_now();
    const std::lock_guard lock{cache_mutex_};
    for (const bool from_lookout : {false, true}) {
        for (auto entry = cache_.end(); entry != cache_.begin();) {
            --entry;
            if (entry->contact != contact || (entry->lookout != 0) != from_lookout) {
                continue;
            }
            Cached found = std::move(*entry);
            entry = cache_.erase(entry);
            if (from_lookout) {
                lookout_broken_at_ = now;
            }
            const bool seen_quiet = elapsed(found.seen_quiet_at, now) < look_lasts;
            if (found.expires_at > now && (seen_quiet || is_quiet(found.socket.get()))) {
                return std::move(found.socket);
            }
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
    cache_.push_back({.contact = peer.load.contact,
                      .socket = std::move(connection.socket),
                      .expires_at = expires_at});
    return true;
}

PeerConnections::Lookout PeerConnections::begin_lookout() {
    const MonotonicTime now = monotonic_now();
    const std::lock_guard lock{cache_mutex_};
    if (elapsed(lookout_broken_at_, now) < no_lookout_for) {
        return {};
    }
    const auto entry = std::find_if(cache_.rbegin(), cache_.rend(),
                                    [](const Cached& each) { return each.lookout == 0; });
    if (entry == cache_.rend()) {
        return {};
    }
    entry->lookout = ++lookouts_;
    return {.socket = entry->socket.get(), .number = lookouts_};
}

void PeerConnections::end_lookout(const Lookout& lookout, bool quiet) {
    if (lookout.socket < 0) {
        return;
    }
    const std::lock_guard lock{cache_mutex_};
    const auto entry = std::find_if(cache_.begin(), cache_.end(), [&](const Cached& each) {
        return each.lookout == lookout.number;
    });
    if (entry == cache_.end()) {
        return;
    }
    if (!quiet) {
        cache_.erase(entry);
        return;
    }
    entry->lookout = 0;
    entry->seen_quiet_at = monotonic_now();
    std::rotate(entry, entry + 1, cache_.end());
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
