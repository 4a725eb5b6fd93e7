// The cost of the resources a server has in use (Amir, Awerbuch, Borgstrom: "A Cost-Benefit
// Framework for Online Management of a Metacomputing System", ICE-98).
//
//     base^(memory used / memory total) + base^(load per CPU / load_max)
//         + base^(workers busy / workers there may be)
//
// `base` is the number of servers, but at least 2: with one server every cost would be 1.
// `load_max` is the smallest power of two not below any load per CPU seen on any server, so that
// not every new peak changes all costs.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/clock.h"
#include "cluster/server_report.h"

namespace backhand {

// Shares of a server's resources that are in use: 1 and above is all.
struct Usage {
    double memory;
    double cpu;
    double workers;

    double sum() const { return memory + cpu + workers; }
};

// What the costs of all servers are reckoned with in one decision.
class CostScale {
public:
    CostScale(std::uint32_t servers_count, std::uint32_t load_per_cpu_max);

    // Here, because decisions do it for every server.
    Usage usage_of(const LoadReport& load) const {
        const auto memory_total =
            static_cast<double>(std::max<std::uint64_t>(1, load.memory_total_bytes));
        const double permille_max =
            static_cast<double>(std::max(1U, load.cpus_permille)) * load_max_;
        return {.memory = 1 - std::min(1.0, static_cast<double>(load.memory_available_bytes) /
                                                memory_total),
                .cpu = load.load_permille / permille_max,
                .workers = std::min(
                    1.0, static_cast<double>(load.workers_busy) / std::max(1U, load.workers_max))};
    }

    // The form for requests whose demand is not known beforehand.
    double cost_of(const Usage& usage) const;

    double cost_of(const LoadReport& load) const { return cost_of(usage_of(load)); }

    // No usage of at least this sum costs less than `cost`: three powers are at least three times
    // the power of their mean.  For finding out which costs need not be reckoned.
    double usage_sum_of(double cost) const;

    // By how much the cost rises with one more request, of which it is known how long such requests
    // take: it is a job, and occupies a worker with a worker's usual share of the memory in use,
    // for `demand` of a second.
    double added_cost_of(const LoadReport& load, Nanoseconds demand) const;

private:
    double log2_base_;
    double load_max_;
};

}  // namespace backhand
