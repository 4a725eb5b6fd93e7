// Simulation, the part in which servers measure and announce themselves, and hear each other.
#include <algorithm>
#include <cmath>

#include "sim/simulating.h"

namespace backhand::sim {

namespace {

// As in moderator.cc.
constexpr int early_sends_factor = 5;

constexpr double worker_memory_bytes = 20e6;
constexpr double memory_bytes = 8e9;

}  // namespace

bool Simulation::worth_announcing_early(const Server& server) const {
    const std::uint32_t before = server.announced_serving;
    const bool idle_changed = (server.serving == 0) != (before == 0);
    return idle_changed || server.serving >= 2 * before + 2 || 2 * server.serving + 2 <= before;
}

// The moderator looks every 10 ms; only those looks are events at which it would find something.
void Simulation::serving_changed(std::uint32_t index) {
    Server& server = servers_[index];
    if (!announces_ || !scenario_.announcing.early || server.look_planned || !server.up ||
        !worth_announcing_early(server)) {
        return;
    }
    const auto gap = static_cast<MonotonicTime>(scenario_.interval_ns() / early_sends_factor);
    server.look_planned = true;
    const MonotonicTime earliest = std::max(now_ + 1, server.announced_at + gap);
    events_.add(air_.look_after(index, earliest), Kind::look, 0, index);
}

void Simulation::look(std::uint32_t index) {
    Server& server = servers_[index];
    server.look_planned = false;
    if (!server.up || server.hangs || !worth_announcing_early(server)) {
        return;
    }
    const auto gap = static_cast<MonotonicTime>(scenario_.interval_ns() / early_sends_factor);
    if (now_ - server.announced_at >= gap) {
        announce(index);
    } else {
        serving_changed(index);
    }
}

void Simulation::announce(std::uint32_t index) {
    Server& server = servers_[index];
    if (!server.up || server.hangs) {
        return;
    }
    measure(index);
    server.announced_at = now_;
    server.announced_serving = server.serving;
    knowledge_->announced(index, server.report, now_);
    ++outcome_.announcements;
    plan_announcement(index);
}

void Simulation::plan_announcement(std::uint32_t index) {
    Server& server = servers_[index];
    const double jitter = scenario_.announcing.jitter;
    // Drawn from a hash: how often others announce early must not shift it.
    const double fraction =
        Random{seed_for(seed_, Purpose::announcing,
                        std::uint64_t{index} << 32U | ++server.announcement_planned)}
            .fraction();
    const double after = scenario_.interval_ns() * (1 - jitter + 2 * jitter * fraction);
    events_.add(air_.look_after(index, now_ + static_cast<MonotonicTime>(after) + 1),
                Kind::announcement, server.announcement_planned, index);
}

void Simulation::measure(std::uint32_t index) {
    Server& server = servers_[index];
    const ServerGroup& group = server.group;
    LoadReport& load = server.report;
    load.boot_id = server.boot_id;
    load.measurement = ++server.measurement;
    load.received_at = now_;
    load.interval_ms = static_cast<std::uint32_t>(scenario_.interval_ns() / 1e6);
    load.arriba = static_cast<std::uint32_t>(group.speed * 1e6);
    load.load_permille = static_cast<std::uint32_t>(server.load_average * 1000);
    while (load.load_hwm < server.load_highest && load.load_hwm < (1U << 30U)) {
        load.load_hwm *= 2;
    }
    load.cpus_permille = static_cast<std::uint32_t>(group.cpus * 1000);
    const double busy = server.processor.busy(now_);
    if (now_ > server.measured_at) {
        const auto passed = static_cast<double>(now_ - server.measured_at);
        const double used =
            (busy - server.busy_before) / passed / group.cpus + (1 - server.processor.available());
        load.cpu_idle_permille = static_cast<std::uint32_t>(std::clamp(1 - used, 0.0, 1.0) * 1000);
        server.busy_before = busy;
        server.measured_at = now_;
    }
    load.memory_total_bytes = static_cast<std::uint64_t>(memory_bytes);
    load.memory_available_bytes = static_cast<std::uint64_t>(
        std::max(0.0, memory_bytes - server.workers_busy * worker_memory_bytes));
    load.workers_max = group.workers;
    load.workers_busy = server.workers_busy;
    load.workers_idle = server.workers_idle();
    load.serving = server.serving;
    load.forwarding = server.forwarding;
    server.meter.measure(server.served, records_[index]->latency, server.serving, now_, load);
}

void Simulation::average_load() {
    const double weight = 1 - std::exp(-5.0 / 60.0);
    for (Server& server : servers_) {
        const double antagonists = (1 - server.processor.available()) * server.group.cpus;
        const double running = static_cast<double>(server.processor.pieces()) + antagonists;
        server.load_average += weight * (running - server.load_average);
        server.load_highest = std::max(server.load_highest, server.load_average);
    }
    events_.add(now_ + load_average_every, Kind::load_average, 0);
}

}  // namespace backhand::sim
