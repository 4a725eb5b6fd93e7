// ClusterTable: what any process of this host has seen of the servers itself, by forwarding to them
// and by asking them.
#include <algorithm>

#include "cluster/fresh_load.h"
#include "cluster/table.h"
#include "cluster/table_layout.h"

namespace backhand {

namespace {

// News that come with responses keep a server young for so long after its last announcement.
constexpr Nanoseconds responses_count_for = std::chrono::seconds{30};

constexpr Nanoseconds ejection_first = std::chrono::seconds{1};
constexpr Nanoseconds ejection_longest = std::chrono::seconds{30};

// Heard of within this time, a server is part of the cluster of which at most half is unhealthy.
constexpr Nanoseconds member_silence_max = std::chrono::seconds{3};

// Probes that are unanswered for less are a matter of chance.
constexpr Nanoseconds probes_unanswered_min = std::chrono::milliseconds{100};
constexpr Nanoseconds probes_withheld_longest = std::chrono::seconds{30};

}  // namespace

ExchangeNumbers& ClusterTable::exchange_numbers(std::uint32_t slot_index) const {
    return exchanges_[slot_index];
}

void ClusterTable::forward_began(std::uint32_t slot_index) const {
    slot(slot_index).in_flight.fetch_add(1, std::memory_order_release);
    glance_at(slot_index).sent_since.fetch_add(1, std::memory_order_relaxed);
}

// Never below zero: forget_forwards() may have come between.
void ClusterTable::forward_ended(std::uint32_t slot_index) const {
    std::atomic<std::uint32_t>& in_flight = slot(slot_index).in_flight;
    std::uint32_t count = in_flight.load(std::memory_order_relaxed);
    while (count != 0 &&
           !in_flight.compare_exchange_weak(count, count - 1, std::memory_order_relaxed)) {
    }
}

void ClusterTable::forward_ended(std::uint32_t slot_index, ForwardOutcome outcome,
                                 Nanoseconds latency, MonotonicTime now) const {
    FadingTime& own_latency = index_[slot_index].own_latency;
    if (outcome == ForwardOutcome::unjudged) {
        return;
    }
    if (outcome == ForwardOutcome::not_believed) {
        forward_failed(slot_index, now);  // no fault of its health
        return;
    }
    if (outcome == ForwardOutcome::answered || outcome == ForwardOutcome::server_error) {
        forward_succeeded(slot_index);  // the connection, at least
    }
    if (outcome == ForwardOutcome::answered) {
        own_latency.add_peak(latency, now);
        glance_at(slot_index).health.succeeded(now);
        learn_forwarding_cost(slot_index, latency, now);
        return;
    }
    if (outcome == ForwardOutcome::timed_out) {
        index_[slot_index].own_latency.add_peak(latency,
                                                now);  // it would have taken this long at least
    }
    if (outcome == ForwardOutcome::unreachable) {
        forward_failed(slot_index, now);
    }
    if (glance_at(slot_index).health.failed() && may_be_unhealthy(slot_index, now)) {
        glance_at(slot_index).health.eject(now);
    }
}

// Two processes may ask at the same moment and be one too many: their children would have to fail
// to reach two servers for the fifth time within the same microsecond.
bool ClusterTable::may_be_unhealthy(std::uint32_t slot_index, MonotonicTime now) const {
    std::uint32_t members = 1;  // this server
    std::uint32_t unhealthy = 1;
    for (std::uint32_t index = self_slot + 1; index < slots_used(); ++index) {
        const Glance& other = glance_at(index);
        const bool live =
            elapsed(other.heard_at.load(std::memory_order_relaxed), now) <= member_silence_max;
        if (index == slot_index || live) {
            ++members;
            unhealthy += index != slot_index && other.health.is_ejected(now) ? 1U : 0U;
        }
    }
    return unhealthy * 2 <= members;
}

void ClusterTable::learn_forwarding_cost(std::uint32_t slot_index, Nanoseconds latency,
                                         MonotonicTime now) const {
    const Seqlock<ServerReport>& report = slot(slot_index).report;
    LoadReport load;
    const bool whole = report.read_whole(
        [&](const auto& reader) { reader.template copy_first<sizeof load>(&load); });
    if (whole) {
        header_->forwarding_cost.learn(latency, std::chrono::microseconds{load.latency_proxied_us},
                                       now);
    }
}

Nanoseconds ClusterTable::forwarding_cost(MonotonicTime now) const {
    return header_->forwarding_cost.read(now);
}

std::uint32_t ClusterTable::failed_attempts_in_a_row(std::uint32_t slot_index) const {
    return glance_at(slot_index).health.failures_in_a_row();
}

// A request counts as forwarded in its child's cell before it counts in flight.  So if nothing is
// being forwarded after a number was read, all of that number was left behind; and one that begins
// now changes the number, which then stays.
void ClusterTable::forget_forwards() const {
    for (std::uint32_t index = 0; index < slots_used(); ++index) {
        std::atomic<std::uint32_t>& in_flight = slot(index).in_flight;
        std::uint32_t left = in_flight.load(std::memory_order_acquire);
        if (left == 0) {
            continue;
        }
        if (cells().exact().forwarding != 0) {
            return;
        }
        in_flight.compare_exchange_strong(left, 0, std::memory_order_relaxed);
    }
}

void ClusterTable::refresh(std::uint32_t slot_index, std::uint64_t boot_id,
                           std::uint64_t measurement, std::uint32_t serving,
                           std::uint32_t workers_idle, MonotonicTime now) const {
    Slot& target = slot(slot_index);
    if (target.boot_id.load(std::memory_order_relaxed) != boot_id) {
        return;
    }
    // The server may start anew at this very moment, and ours then be put beside its new boot id:
    // the tag lets the next news replace it whatever its number.
    const FreshLoad news = FreshLoad::of(boot_id, measurement, serving, workers_idle);
    Glance& glance = glance_at(slot_index);
    std::uint64_t known = glance.fresh.load(std::memory_order_relaxed);
    while (known == 0 || news.supersedes(FreshLoad::unpack(known))) {
        if (glance.fresh.compare_exchange_weak(known, news.pack(), std::memory_order_relaxed)) {
            glance.sent_since.store(0, std::memory_order_relaxed);
            if (elapsed(target.announced_at.load(std::memory_order_relaxed), now) <=
                responses_count_for) {
                glance.heard_at.store(now, std::memory_order_relaxed);
            }
            return;
        }
    }
}

void ClusterTable::forward_failed(std::uint32_t slot_index, MonotonicTime now) const {
    Slot& target = slot(slot_index);
    if (is_ejected(slot_index, now)) {
        return;  // requests that failed together are one failure
    }
    const std::uint32_t failures = target.failures.fetch_add(1, std::memory_order_relaxed);
    const Nanoseconds pause =
        std::min(ejection_first * (1U << std::min(failures, 5U)), ejection_longest);
    glance_at(slot_index)
        .ejected_until.store(now + nanoseconds_in(pause), std::memory_order_relaxed);
}

void ClusterTable::forward_succeeded(std::uint32_t slot_index) const {
    Slot& target = slot(slot_index);
    if (target.failures.load(std::memory_order_relaxed) != 0) {
        target.failures.store(0, std::memory_order_relaxed);
        glance_at(slot_index).ejected_until.store(0, std::memory_order_relaxed);
    }
}

bool ClusterTable::is_ejected(std::uint32_t slot_index, MonotonicTime now) const {
    return glance_at(slot_index).ejected_until.load(std::memory_order_relaxed) > now;
}

std::uint32_t ClusterTable::failures_in_a_row(std::uint32_t slot_index) const {
    return slot(slot_index).failures.load(std::memory_order_relaxed);
}

std::optional<ClusterTable::ProbeTarget> ClusterTable::probe_target(
    std::uint32_t slot_index) const {
    LoadReport load;
    const bool whole = slot(slot_index).report.read_whole([&](const auto& reader) {
        reader.template copy_first<sizeof load>(&load);
    });
    if (!whole || load.probe_port == 0) {
        return std::nullopt;
    }
    return ProbeTarget{load.contact, static_cast<std::uint16_t>(load.probe_port)};
}

bool ClusterTable::probes_withheld(std::uint32_t slot_index, MonotonicTime now) const {
    return slot(slot_index).probes_withheld_until.load(std::memory_order_relaxed) > now;
}

void ClusterTable::probe_answered(std::uint32_t slot_index) const {
    Slot& target = slot(slot_index);
    if (target.probes_unanswered_since.load(std::memory_order_relaxed) != 0) {
        target.probes_unanswered_since.store(0, std::memory_order_relaxed);
        target.probes_withheld_until.store(0, std::memory_order_relaxed);
    }
}

void ClusterTable::probe_unanswered(std::uint32_t slot_index, MonotonicTime now) const {
    Slot& target = slot(slot_index);
    MonotonicTime since = 0;
    if (target.probes_unanswered_since.compare_exchange_strong(since, now,
                                                               std::memory_order_relaxed)) {
        return;
    }
    const Nanoseconds unanswered_for = elapsed(since, now);
    // Those that were asked together are one.
    if (unanswered_for >= probes_unanswered_min && !probes_withheld(slot_index, now)) {
        const Nanoseconds pause = std::min(unanswered_for, probes_withheld_longest);
        target.probes_withheld_until.store(now + nanoseconds_in(pause), std::memory_order_relaxed);
    }
}

std::uint32_t ClusterTable::pooled_connections(std::uint32_t slot_index) const {
    return slot(slot_index).pooled.load(std::memory_order_relaxed);
}

void ClusterTable::connection_missed(std::uint32_t slot_index) const {
    slot(slot_index).connections_missed.fetch_add(1, std::memory_order_relaxed);
}

std::uint32_t ClusterTable::take_connections_missed(std::uint32_t slot_index) const {
    std::atomic<std::uint32_t>& missed = slot(slot_index).connections_missed;
    // Nearly always none, and then the cache line stays shared.
    return missed.load(std::memory_order_relaxed) == 0
               ? 0
               : missed.exchange(0, std::memory_order_relaxed);
}

void ClusterTable::set_pooled_connections(std::uint32_t slot_index, std::uint32_t count) const {
    slot(slot_index).pooled.store(count, std::memory_order_relaxed);
}

}  // namespace backhand
