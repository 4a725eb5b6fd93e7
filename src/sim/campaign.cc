#include "sim/campaign.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "base/random.h"
#include "sim/simulation.h"

namespace backhand::sim {

const std::array<Metric, Metric::count> metrics = {{
    {"mean", "mean ms", 1, 3},
    {"p50", "p50 ms", 1, 3},
    {"p90", "p90 ms", 1, 2},
    {"p99", "p99 ms", 1, 2},
    {"p999", "p99.9 ms", 1, 2},
    {"forwarded", "forwarded %", 100, 1},
    {"failed", "failed %", 100, 3},
    {"unfinished", "unfinished %", 100, 3},
    {"utilisation", "CPU %", 100, 1},
    {"in_system", "in system", 1, 2},
    {"herd_longest", "longest herd", 1, 1},
    {"herd_share", "herd %", 100, 1},
    {"questions", "asked", 1, 2},
    {"sent_above", "sent above %", 100, 1},
    {"sent_at_all", "sent %", 100, 1},
}};

namespace {

struct Task {
    std::size_t cell;
    std::uint32_t replication;
};

void take_values(const Outcome& outcome, const Scenario& scenario, std::uint32_t replication,
                 Cell& cell) {
    const auto requests = static_cast<double>(scenario.run.requests);
    const auto answered =
        static_cast<double>(std::max<std::uint64_t>(1, outcome.responses.count()));
    const auto ms = [&outcome](double q) { return outcome.responses.quantile(q) / 1e6; };
    const std::array<double, Metric::count> values = {
        outcome.responses.mean() / 1e6,
        ms(0.5),
        ms(0.9),
        ms(0.99),
        ms(0.999),
        static_cast<double>(outcome.forwarded) / answered,
        static_cast<double>(outcome.failed) / requests,
        static_cast<double>(outcome.unfinished) / requests,
        outcome.utilisation,
        outcome.in_system,
        outcome.imbalance_longest,
        outcome.imbalance_share,
        static_cast<double>(outcome.questions) / (requests * (1 + scenario.run.warm_up)),
        outcome.sent_above,
        outcome.sent_at_all,
    };
    for (std::size_t metric = 0; metric < Metric::count; ++metric) {
        cell.values[metric][replication] = values[metric];
    }
}

// The sums do not depend on the order in which replications end: integers, and doubles added in
// the order of replications by whoever holds the lock would.  So they are kept apart and added
// here.
void add_up(const std::vector<Outcome>& outcomes, Cell& cell) {
    for (const Outcome& outcome : outcomes) {
        cell.fingerprint = Random::mix(cell.fingerprint ^ outcome.fingerprint);
        cell.by_class.resize(outcome.by_class.size());
        for (std::size_t kind = 0; kind < outcome.by_class.size(); ++kind) {
            cell.by_class[kind].add(outcome.by_class[kind]);
        }
        cell.series.resize(outcome.series.size());
        cell.bin_seconds = std::max(cell.bin_seconds, outcome.bin_seconds);
        for (std::size_t bin = 0; bin < outcome.series.size(); ++bin) {
            SeriesBin& sum = cell.series[bin];
            const SeriesBin& one = outcome.series[bin];
            sum.finished += one.finished;
            sum.forwarded += one.forwarded;
            sum.failed += one.failed;
            sum.response_sum_ns += one.response_sum_ns;
            sum.longest_ns = std::max(sum.longest_ns, one.longest_ns);
            sum.in_flight_highest = std::max(sum.in_flight_highest, one.in_flight_highest);
            sum.in_flight_mean += one.in_flight_mean / static_cast<double>(outcomes.size());
        }
    }
}

class Progress {
public:
    Progress(const CampaignOptions& options, std::size_t tasks)
        : options_(options),
          tasks_(static_cast<double>(tasks)) {}

    // By how much one task has come further.
    void add(double share) {
        if (options_.progress) {
            const std::lock_guard turn{turn_};
            done_ += share / tasks_;
            options_.progress(std::min(done_, 1.0));
        }
    }

private:
    const CampaignOptions& options_;
    double tasks_;
    std::mutex turn_;
    double done_ = 0;
};

}  // namespace

Results run_campaign(const Scenario& scenario, const CampaignOptions& options) {
    Results results{scenario, scenario.loads, {}};
    if (results.loads.empty()) {
        results.loads = {scenario.arrivals.load};
    }
    std::vector<Task> tasks;
    for (const double load : results.loads) {
        for (std::uint32_t contestant = 0; contestant < scenario.contestants.size(); ++contestant) {
            for (std::uint32_t number = 0; number < scenario.run.replications; ++number) {
                tasks.push_back({results.cells.size(), number});
            }
            Cell& cell = results.cells.emplace_back();
            cell.load = load;
            cell.contestant = contestant;
            for (auto& values : cell.values) {
                values.resize(scenario.run.replications);
            }
        }
    }

    std::vector<std::vector<Outcome>> outcomes(results.cells.size());
    for (auto& of_cell : outcomes) {
        of_cell.resize(scenario.run.replications);
    }
    Progress progress{options, tasks.size()};
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
        for (std::size_t number = next++; number < tasks.size(); number = next++) {
            const Task task = tasks[number];
            Cell& cell = results.cells[task.cell];
            Scenario at_load = scenario;
            at_load.arrivals.load = cell.load;
            double done = 0;
            RunHooks hooks;
            hooks.progress = [&](double share) {
                progress.add(share - done);
                done = share;
                return true;
            };
            Outcome outcome = simulate(at_load, scenario.contestants[cell.contestant],
                                       scenario.run.seed + task.replication, hooks);
            take_values(outcome, scenario, task.replication, cell);
            outcome.responses = {};
            outcomes[task.cell][task.replication] = std::move(outcome);
            progress.add(1 - done);
        }
    };
    {
        std::vector<std::jthread> workers;
        for (unsigned number = 1; number < options.jobs; ++number) {
            workers.emplace_back(work);
        }
        work();
    }
    for (std::size_t cell = 0; cell < results.cells.size(); ++cell) {
        add_up(outcomes[cell], results.cells[cell]);
    }
    return results;
}

}  // namespace backhand::sim
