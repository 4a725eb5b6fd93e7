// Simulation, the part that is kept for the results: what was in progress, time series, and how
// long one server had more to do than the others.
#include <algorithm>

#include "sim/simulating.h"

namespace backhand::sim {

void Simulation::begin_measuring() {
    measuring_ = true;
    measured_from_ = now_;
    in_system_at_ = now_;
    in_system_sum_ = 0;
    busy_before_ = 0;
    for (const Server& server : servers_) {
        busy_before_ += server.processor.busy(now_);
    }
}

void Simulation::count_in_system(int change) {
    in_system_sum_ += static_cast<double>(in_system_) * static_cast<double>(now_ - in_system_at_);
    in_system_at_ = now_;
    in_system_ = static_cast<std::uint64_t>(static_cast<std::int64_t>(in_system_) + change);
}

// The whole run, its warm-up too; how long it will take is known from the rate.
SeriesBin* Simulation::bin_of(MonotonicTime at) {
    if (outcome_.series.empty()) {
        return nullptr;
    }
    if (outcome_.bin_seconds == 0) {
        const Arrivals& arrivals = scenario_.arrivals;
        double seconds =
            static_cast<double>(warm_up_ + scenario_.run.requests) / (scenario_.rate() * 1e9);
        if (arrivals.kind == Arrivals::Kind::trace) {
            seconds = static_cast<double>(arrivals.trace.back().at) / 1e9;
        } else if (arrivals.kind == Arrivals::Kind::closed) {
            seconds = static_cast<double>(warm_up_ + scenario_.run.requests) /
                      (arrivals.users / ((arrivals.think.mean() + scenario_.mean_work()) / 1e9));
        }
        outcome_.bin_seconds = seconds / static_cast<double>(outcome_.series.size());
    }
    const auto bin = static_cast<std::size_t>(static_cast<double>(at) / 1e9 / outcome_.bin_seconds);
    return bin < outcome_.series.size() ? &outcome_.series[bin] : nullptr;
}

void Simulation::sample() {
    events_.add(now_ + sample_every_, Kind::sample, 0);
    double sum = 0;
    double highest = 0;
    for (const Server& server : servers_) {
        sum += server.serving;
        highest = std::max(highest, double{1} * server.serving);
    }
    const double mean = sum / static_cast<double>(servers_.size());
    if (SeriesBin* const bin = bin_of(now_)) {
        bin->in_flight_highest = std::max(bin->in_flight_highest, highest);
        bin->in_flight_mean = std::max(bin->in_flight_mean, mean);
    }
    if (!measuring_) {
        return;
    }
    bool any = false;
    for (std::size_t index = 0; index < servers_.size(); ++index) {
        // One request more than the mean is no herd, however small the mean.
        const bool above = servers_[index].serving > std::max(1.5 * mean, mean + 1);
        imbalanced_for_[index] = above ? imbalanced_for_[index] + 1 : 0;
        imbalanced_longest_ = std::max(imbalanced_longest_, imbalanced_for_[index]);
        any = any || above;
        is_above_[index] = above;
    }
    ++samples_;
    samples_imbalanced_ += any ? 1 : 0;
    for (const Request& request : requests_) {
        const bool is_served = request.stage == Stage::works || request.stage == Stage::holds;
        if (request.live && is_served) {
            const bool sent = request.at != request.ingress;
            at_all_.add(sent);
            if (is_above_[request.at]) {
                above_.add(sent);
            }
        }
    }
}

}  // namespace backhand::sim
