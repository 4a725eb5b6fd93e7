#include "forward/connection_pool.h"

#include <algorithm>
#include <utility>

#include "forward/peer_socket.h"

namespace backhand {

MonotonicTime idle_until(MonotonicTime now, Nanoseconds keepalive_timeout) {
    const Nanoseconds usable =
        std::max<Nanoseconds>(keepalive_timeout - std::chrono::seconds{1}, keepalive_timeout / 2);
    return now + nanoseconds_in(usable);
}

void ConnectionPool::give(const Endpoint& contact, UniqueFd connection, Terms terms,
                          MonotonicTime now) {
    if (terms.connections_max == 0 || total_ >= connections_total_max ||
        !is_quiet(connection.get())) {
        return;
    }
    std::deque<Idle>& idle = idle_[contact];
    idle.push_back({std::move(connection), idle_until(now, terms.keepalive_timeout)});
    ++total_;
    while (idle.size() > terms.connections_max) {
        idle.pop_front();
        --total_;
    }
}

std::optional<UniqueFd> ConnectionPool::take(const Endpoint& contact, MonotonicTime now) {
    const auto found = idle_.find(contact);
    while (found != idle_.end() && !found->second.empty()) {
        Idle newest = std::move(found->second.back());
        found->second.pop_back();
        --total_;
        if (newest.expires_at > now && is_quiet(newest.connection.get())) {
            return std::move(newest.connection);
        }
    }
    return std::nullopt;
}

void ConnectionPool::sweep(MonotonicTime now) {
    for (auto& [contact, idle] : idle_) {
        const auto dead = std::remove_if(idle.begin(), idle.end(), [now](const Idle& entry) {
            return entry.expires_at <= now || !is_quiet(entry.connection.get());
        });
        total_ -= static_cast<std::size_t>(idle.end() - dead);
        idle.erase(dead, idle.end());
    }
}

std::size_t ConnectionPool::count(const Endpoint& contact) const {
    const auto found = idle_.find(contact);
    return found == idle_.end() ? 0 : found->second.size();
}

}  // namespace backhand
