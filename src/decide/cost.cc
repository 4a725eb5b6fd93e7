#include "decide/cost.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace backhand {

CostScale::CostScale(std::uint32_t servers_count, std::uint32_t load_per_cpu_max)
    : log2_base_(std::log2(std::max(2U, servers_count))),
      load_max_(std::bit_ceil(std::clamp(load_per_cpu_max, 1U, 1U << 30U))) {}

// base^usage is 2^(log2 base * usage), and powers of two are cheap.
double CostScale::cost_of(const Usage& usage) const {
    return std::exp2(log2_base_ * usage.memory) + std::exp2(log2_base_ * usage.cpu) +
           std::exp2(log2_base_ * usage.workers);
}

CostScale::Usage CostScale::usage_of(const LoadReport& load) const {
    const auto memory_total =
        static_cast<double>(std::max<std::uint64_t>(1, load.memory_total_bytes));
    const double permille_max = static_cast<double>(std::max(1U, load.cpus_permille)) * load_max_;
    return {.memory =
                1 - std::min(1.0, static_cast<double>(load.memory_available_bytes) / memory_total),
            .cpu = load.load_permille / permille_max,
            .workers = std::min(
                1.0, static_cast<double>(load.workers_busy) / std::max(1U, load.workers_max))};
}

double CostScale::cost_of(const LoadReport& load) const {
    return cost_of(usage_of(load));
}

double CostScale::added_cost_of(const LoadReport& load, Nanoseconds demand) const {
    // A job of one second and more is a whole job.
    const double job = std::clamp(std::chrono::duration<double>(demand).count(), 0.0, 1.0);
    const double cpus = std::max(1U, load.cpus_permille) / 1000.0;
    const std::uint32_t workers = load.workers_busy + load.workers_idle;
    const Usage before = usage_of(load);
    const Usage after = {
        .memory = before.memory + job * before.memory / std::max(1U, workers),
        .cpu = before.cpu + job / (cpus * load_max_),
        .workers = before.workers + job / std::max(1U, load.workers_max),
    };
    return cost_of(after) - cost_of(before);
}

}  // namespace backhand
