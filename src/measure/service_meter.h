// ServiceMeter: what httpd's children counted, as rates and times.
//
// Children only add up, once per request; this looks at the sums now and then and says how many
// requests a second that was, how many of them failed and how long they took.  Rates and means are
// exponentially weighted moving averages: what lies `memory` back counts 1/e.
//
// Belongs to the moderator.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "cluster/child_cells.h"
#include "cluster/latency_by_load.h"
#include "cluster/server_report.h"

namespace backhand {

class ServiceMeter {
public:
    static constexpr Nanoseconds memory = std::chrono::seconds{5};

    // Writes what is known of the service into `load`.  `served` are the children's sums so far,
    // `latency` is aged here, about once a second.
    void measure(const Served& served, LatencyByLoad& latency, std::uint32_t in_flight,
                 MonotonicTime now, LoadReport& load);

private:
    // A mean of what was added up between two looks.
    class MeanTime {
    public:
        void add(std::uint64_t sum_ns, std::uint64_t count, double weight);

        double us() const { return us_; }

    private:
        double us_ = 0;
        bool any_ = false;
    };

    void advance(const Served& served, MonotonicTime now);

    Served before_;
    MonotonicTime measured_at_ = 0;
    MonotonicTime aged_at_ = 0;
    double requests_hertz_ = 0;
    double errors_hertz_ = 0;
    MeanTime latency_;
    MeanTime proxied_;
};

}  // namespace backhand
