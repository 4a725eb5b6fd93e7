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

double CostScale::usage_sum_of(double cost) const {
    return 3 * std::log2(cost / 3) / log2_base_;
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
