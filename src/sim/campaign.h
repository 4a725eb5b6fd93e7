// Campaign: a scenario with all its contestants, at every load, replicated.
//
// Replication r of every contestant has the same seed, and therefore the same arrivals and the same
// work.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sim/outcome.h"
#include "sim/scenario.h"
#include "sim/statistics.h"

namespace backhand::sim {

// What is reported of a run.  Response times in milliseconds.
struct Metric {
    enum Index : std::size_t {
        mean,
        p50,
        p90,
        p99,
        p999,
        forwarded,     // share of the answered
        failed,        // share of all
        unfinished,    // share of all; above 0 the cluster is overloaded
        utilisation,   // of all CPUs
        in_system,     // requests, mean
        herd_longest,  // see Outcome::imbalance_longest
        herd_share,
        questions,  // by all requests
        count,
    };

    const char* name;
    const char* heading;  // of a column
    double scale;         // from the value to what is shown
    int digits;
};

extern const std::array<Metric, Metric::count> metrics;

struct Cell {
    double load = 0;
    std::uint32_t contestant = 0;
    std::array<std::vector<double>, Metric::count> values;  // by replication
    std::vector<Histogram> by_class;                        // of all replications
    std::vector<SeriesBin> series;                          // likewise
    double bin_seconds = 0;
    std::uint64_t fingerprint = 0;

    Estimate of(Metric::Index metric) const { return estimate(values[metric]); }
};

struct CampaignOptions {
    unsigned jobs = 1;
    // Called by whichever thread, never by two at a time, with the share that is done.
    std::function<void(double)> progress;
};

struct Results {
    Scenario scenario;
    std::vector<double> loads;
    std::vector<Cell> cells;  // by load, then by contestant

    const Cell& at(std::size_t load, std::size_t contestant) const {
        return cells[load * scenario.contestants.size() + contestant];
    }
};

Results run_campaign(const Scenario& scenario, const CampaignOptions& options);

}  // namespace backhand::sim
