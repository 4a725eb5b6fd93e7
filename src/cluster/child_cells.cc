#include "cluster/child_cells.h"

#include <algorithm>

namespace backhand {

namespace {

constexpr auto relaxed = std::memory_order_relaxed;

std::uint32_t not_negative(std::int32_t value) {
    return static_cast<std::uint32_t>(std::max(value, 0));
}

}  // namespace

ChildTally ChildCells::claim(pid_t pid) const {
    for (std::uint32_t index = 0; index < cells_.size(); ++index) {
        std::int32_t free = 0;
        if (cells_[index].pid.compare_exchange_strong(free, pid, std::memory_order_acq_rel)) {
            // A thread that outlived its child's end may have counted once more.
            cells_[index].serving.store(0, relaxed);
            cells_[index].forwarding.store(0, relaxed);
            std::uint32_t used = used_.load(relaxed);
            while (used <= index &&
                   !used_.compare_exchange_weak(used, index + 1, std::memory_order_release)) {
            }
            return {&cells_[index], &sums_};
        }
    }
    return {};
}

// Whoever exchanges a count for 0 takes it off the sum: done twice, or broken off and done again,
// it is still taken off once.
void ChildCells::release(pid_t pid) const {
    for (ChildCell& cell : in_use()) {
        if (cell.pid.load(relaxed) == pid) {
            sums_.serving.fetch_sub(static_cast<std::int32_t>(cell.serving.exchange(0)), relaxed);
            sums_.forwarding.fetch_sub(static_cast<std::int32_t>(cell.forwarding.exchange(0)),
                                       relaxed);
            cell.pid.store(0, std::memory_order_release);
        }
    }
}

InFlight ChildCells::quick() const {
    return {.serving = not_negative(sums_.serving.load(relaxed)),
            .forwarding = not_negative(sums_.forwarding.load(relaxed))};
}

InFlight ChildCells::exact() const {
    InFlight total;
    for (const ChildCell& cell : in_use()) {
        if (cell.pid.load(relaxed) == 0) {
            continue;
        }
        total.serving += cell.serving.load(relaxed);
        total.forwarding += cell.forwarding.load(relaxed);
    }
    return total;
}

Served ChildCells::served() const {
    Served total;
    for (const ChildCell& cell : in_use()) {
        total.count += cell.served.load(relaxed);
        total.took_ns += cell.served_ns.load(relaxed);
        total.errors += cell.errors.load(relaxed);
        total.proxied += cell.proxied.load(relaxed);
        total.proxied_took_ns += cell.proxied_ns.load(relaxed);
        total.forwarded += cell.forwarded.load(relaxed);
    }
    return total;
}

void ChildCells::repair(Drift& drift) const {
    const std::int32_t serving_sum = sums_.serving.load(relaxed);
    const std::int32_t forwarding_sum = sums_.forwarding.load(relaxed);
    const InFlight cells = exact();
    const Drift seen{
        .serving = serving_sum - static_cast<std::int32_t>(cells.serving),
        .forwarding = forwarding_sum - static_cast<std::int32_t>(cells.forwarding),
    };
    const bool stays = seen.serving == drift.serving && seen.forwarding == drift.forwarding;
    const int seen_times = stays ? drift.seen_times + 1 : 1;
    drift = {seen.serving, seen.forwarding, seen_times};
    if (seen_times >= repair_after && (seen.serving != 0 || seen.forwarding != 0)) {
        sums_.serving.fetch_sub(seen.serving, relaxed);
        sums_.forwarding.fetch_sub(seen.forwarding, relaxed);
        drift = {};
    }
}

std::span<ChildCell> ChildCells::in_use() const {
    return cells_.first(used_.load(std::memory_order_acquire));
}

}  // namespace backhand
