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
        const double memory =
            share(real(load.memory_available_bytes), real(load.memory_total_bytes));
        const double cpus = std::max(1.0, real(load.cpus_permille));
        return {.memory = 1 - memory,
                .cpu = real(load.load_permille) / (cpus * load_max_),
                .workers = share(real(load.workers_busy), real(load.workers_max))};
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
    // By way of a signed number, which the processor can do by itself.  REQUIRES: below 2^63.
    static double real(std::uint64_t number) {
        return static_cast<double>(static_cast<std::int64_t>(number));
    }

    static double share(double part, double whole) {
        return std::min(1.0, part / std::max(1.0, whole));
    }

    double log2_base_;
    double load_max_;
};

}  // namespace backhand
