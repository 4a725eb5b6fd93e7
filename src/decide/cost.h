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

#include <cstdint>

#include "base/clock.h"
#include "cluster/server_report.h"

namespace backhand {

// What the costs of all servers are reckoned with in one decision.
class CostScale {
public:
    CostScale(std::uint32_t servers_count, std::uint32_t load_per_cpu_max);

    // The form for requests whose demand is not known beforehand.
    double cost_of(const LoadReport& load) const;

    // By how much that rises with one more request, of which it is known how long such requests
    // take: it is a job, and occupies a worker with a worker's usual share of the memory in use,
    // for `demand` of a second.
    double added_cost_of(const LoadReport& load, Nanoseconds demand) const;

private:
    // Shares of a server's resources that are in use: 1 and above is all.
    struct Usage {
        double memory;
        double cpu;
        double workers;
    };

    Usage usage_of(const LoadReport& load) const;
    double cost_of(const Usage& usage) const;

    double log2_base_;
    std::uint32_t load_max_;
};

}  // namespace backhand
