// Simulation, the part in which requests come: Poisson, bursts, traces and closed loops, and to
// which server each goes first.
#include <algorithm>

#include "sim/simulating.h"

namespace backhand::sim {

namespace {

std::uint32_t drawn_from(const std::vector<double>& sums, double fraction) {
    const auto found = std::upper_bound(sums.begin(), sums.end(), fraction * sums.back());
    return static_cast<std::uint32_t>(std::min(found, sums.end() - 1) - sums.begin());
}

}  // namespace

std::vector<double> summed(const std::vector<double>& shares) {
    std::vector<double> result;
    double sum = 0;
    for (const double share : shares) {
        result.push_back(sum += share);
    }
    return result;
}

void Simulation::set_shares(const std::vector<double>& shares) {
    shares_.clear();
    if (!shares.empty()) {
        std::vector<double> all = shares;
        all.resize(servers_.size(), shares.back());
        shares_ = summed(all);
    }
}

std::uint32_t Simulation::draw_ingress(double fraction) const {
    if (shares_.empty()) {
        return static_cast<std::uint32_t>(fraction * static_cast<double>(servers_.size()));
    }
    return drawn_from(shares_, fraction);
}

std::uint32_t Simulation::draw_class(double fraction) const {
    return class_shares_.size() == 1 ? 0 : drawn_from(class_shares_, fraction);
}

double Simulation::rate_factor(MonotonicTime at) const {
    double factor = 1;
    for (const RateChange& step : scenario_.arrivals.steps) {
        if (step.at <= at) {
            factor = step.factor;
        }
    }
    return factor;
}

void Simulation::plan_arrival() {
    const Arrivals& arrivals = scenario_.arrivals;
    if (arrivals.kind == Arrivals::Kind::trace) {
        if (traced_ < arrivals.trace.size()) {
            events_.add(std::max(now_, arrivals.trace[traced_].at), Kind::arrival, 0);
        }
        return;
    }
    events_.add(next_open_arrival(), Kind::arrival, 0);
}

// What is left of the wait when the rate changes is drawn anew: a Poisson stream has no memory.
MonotonicTime Simulation::next_open_arrival() {
    const Arrivals& arrivals = scenario_.arrivals;
    const bool alternates = arrivals.kind == Arrivals::Kind::on_off;
    const double on_share = arrivals.on_ns / (arrivals.on_ns + arrivals.off_ns);
    const double low = (1 - on_share * arrivals.peak) / (1 - on_share);
    MonotonicTime at = now_;
    for (;;) {
        if (alternates && at >= phase_ends_) {
            on_ = !on_;
            const double lasts = Distribution::exponential_of(
                on_ ? arrivals.on_ns : arrivals.off_ns, arrivals_random_);
            phase_ends_ = at + static_cast<MonotonicTime>(lasts) + 1;
        }
        const double alternating = !alternates ? 1 : on_ ? arrivals.peak : std::max(0.0, low);
        const double rate = scenario_.rate() * rate_factor(at) * alternating;
        MonotonicTime changes = alternates ? phase_ends_ : never;
        for (const RateChange& step : arrivals.steps) {
            if (step.at > at) {
                changes = std::min(changes, step.at);
            }
        }
        const double wait =
            rate > 0 ? Distribution::exponential_of(1 / rate, arrivals_random_) : 1e18;
        if (changes == never || wait < static_cast<double>(changes - at)) {
            // To the nearest: cutting off would raise the rate where arrivals are close together.
            return at + static_cast<MonotonicTime>(wait + 0.5);
        }
        at = changes;
    }
}

void Simulation::arrive() {
    double work = -1;
    std::uint32_t ingress = nobody;
    if (scenario_.arrivals.kind == Arrivals::Kind::trace) {
        const TracedArrival& traced = scenario_.arrivals.trace[traced_++];
        work = traced.work.value_or(-1);
        ingress = traced.ingress.value_or(nobody);
    }
    const std::uint32_t drawn = draw_ingress(ingress_random_.fraction());
    plan_arrival();
    arrive_with(ingress == nobody ? drawn : ingress, work, nobody);
}

std::uint32_t Simulation::new_request(const Request& like) {
    std::uint32_t number = 0;
    if (free_requests_.empty()) {
        number = static_cast<std::uint32_t>(requests_.size());
        requests_.push_back(like);
        return number;
    }
    number = free_requests_.back();
    free_requests_.pop_back();
    const std::uint32_t plan = requests_[number].plan;
    requests_[number] = like;
    requests_[number].plan = plan + 1;
    return number;
}

void Simulation::free_request(std::uint32_t number) {
    requests_[number].live = false;
    ++requests_[number].plan;
    free_requests_.push_back(number);
}

void Simulation::arrive_with(std::uint32_t ingress, double work, std::uint32_t user) {
    const std::uint32_t number = new_request({});
    Request& request = requests_[number];
    request.live = true;
    request.number = arrived_++;
    last_arrival_ = now_;
    if (request.number == warm_up_) {
        begin_measuring();
    }
    request.measured =
        request.number >= warm_up_ && request.number < warm_up_ + scenario_.run.requests;
    request.arrived_at = now_;
    request.user = user;
    request.ingress = ingress;
    request.ingress_generation = servers_[ingress].generation;
    const std::uint32_t kind = draw_class(work_random_.fraction());
    const RequestClass& drawn = scenario_.classes[kind];
    request.kind = static_cast<std::uint8_t>(kind);
    const double own_work = drawn.work.draw(work_random_);
    request.work = work >= 0 ? work : own_work;
    request.hold = drawn.hold.mean() > 0 ? drawn.hold.draw(work_random_) : 0;
    count_in_system(+1);
    if (measuring_) {
        work_offered_ += request.work;
    }
    ++servers_[ingress].assigned;
    come_to(number, ingress);
}

}  // namespace backhand::sim
