#include "sim/simulation.h"

#include <algorithm>
#include <utility>

#include "sim/simulating.h"

namespace backhand::sim {

Simulation::Simulation(const Scenario& scenario, const Contestant& contestant, std::uint64_t seed,
                       const RunHooks& hooks)
    : scenario_(scenario),
      contestant_(contestant),
      hooks_(hooks),
      seed_(seed),
      arrivals_random_(stream(seed, Purpose::arrivals)),
      ingress_random_(stream(seed, Purpose::ingress)),
      work_random_(stream(seed, Purpose::work)),
      decisions_random_(stream(seed, Purpose::decisions)),
      announcing_random_(stream(seed, Purpose::announcing)),
      travel_random_(stream(seed, Purpose::network, 1)),
      antagonists_random_(stream(seed, Purpose::antagonists)),
      thinking_random_(stream(seed, Purpose::thinking)),
      asking_random_(stream(seed, Purpose::asking)),
      timers_(scenario.servers_count()),
      air_(scenario, seed),
      announces_(contestant.announces()),
      warm_up_(static_cast<std::uint64_t>(scenario.run.warm_up *
                                          static_cast<double>(scenario.run.requests))),
      measured_left_(scenario.run.requests),
      arrivals_max_(warm_up_ + scenario.run.requests + scenario.run.requests / 10 + 1000),
      sample_every_(static_cast<MonotonicTime>(scenario.interval_ns() / samples_per_interval)) {
    add_servers();
    knowledge_ = hooks.make_knowledge ? hooks.make_knowledge(scenario, air_)
                                      : std::make_unique<LazyKnowledge>(scenario, air_, records_);
    reference_ = make_reference(contestant.reference, scenario, servers_, seed);
    std::vector<double> shares;
    for (const RequestClass& one : scenario.classes) {
        shares.push_back(one.share);
    }
    class_shares_ = summed(shares);
    set_shares(scenario.arrivals.shares);
    outcome_.by_class.resize(scenario.classes.size());
    outcome_.series.resize(scenario.run.series_bins);
    imbalanced_for_.resize(servers_.size());
    is_above_.resize(servers_.size());
    plan_antagonists();
    plan_failures();
    plan_references();
}

void Simulation::add_servers() {
    servers_.reserve(scenario_.servers_count());
    for (const ServerGroup& group : scenario_.servers) {
        for (std::uint32_t number = 0; number < group.count; ++number) {
            // Quotas are not renewed everywhere at the same moment.
            const double phase =
                Random{seed_for(seed_, Purpose::quotas, servers_.size())}.fraction();
            servers_.emplace_back(group, phase);
        }
    }
    for (std::uint32_t server = 0; server < servers_.size(); ++server) {
        records_.push_back(std::make_unique<OwnRecords>());
        if (announces_) {
            // They did not all start at the same moment.
            const double first = announcing_random_.fraction() * scenario_.interval_ns();
            events_.add(air_.look_after(server, static_cast<MonotonicTime>(first)),
                        Kind::announcement, ++servers_[server].announcement_planned, server);
        }
    }
    if (announces_) {
        events_.add(load_average_every, Kind::load_average, 0);
    }
    if (scenario_.run.requests != 0) {
        events_.add(sample_every_, Kind::sample, 0);
    }
}

void Simulation::plan_references() {
    if (reference_ && reference_->period_ns() > 0) {
        events_.add(static_cast<MonotonicTime>(reference_->period_ns()), Kind::board, 0);
    }
}

Outcome Simulation::run() {
    if (scenario_.arrivals.kind == Arrivals::Kind::closed) {
        for (std::uint32_t user = 0; user < scenario_.arrivals.users; ++user) {
            const double thinks = scenario_.arrivals.think.draw(thinking_random_);
            events_.add(static_cast<MonotonicTime>(thinks), Kind::next_user, user);
        }
    } else {
        plan_arrival();
    }
    constexpr std::uint64_t progress_every = 1U << 16U;
    constexpr MonotonicTime patience = 3'600'000'000'000;  // a server may hang for ever
    std::uint64_t handled = 0;
    while (measured_left_ != 0 && arrived_ < arrivals_max_ && now_ < last_arrival_ + patience) {
        const MonotonicTime timer = timers_.next_at();
        const MonotonicTime event = events_.next_at();
        if (timer == never && event == never) {
            break;
        }
        if (event <= timer) {
            const Event next = events_.take();
            now_ = next.at;
            handle(next);
        } else {
            now_ = timer;
            const std::uint32_t server = timers_.next_server();
            servers_[server].processor.finish(now_,
                                              [this](std::uint32_t number) { work_done(number); });
            set_timer(server);
        }
        if (++handled % progress_every == 0 && hooks_.progress &&
            !hooks_.progress(static_cast<double>(arrived_) /
                             static_cast<double>(warm_up_ + scenario_.run.requests))) {
            break;
        }
    }
    count_in_system(0);
    double busy = 0;
    double cpus = 0;
    for (const Server& server : servers_) {
        busy += server.processor.busy(now_);
        cpus += server.group.cpus;
    }
    outcome_.unfinished = measured_left_;
    const auto passed = static_cast<double>(std::max<MonotonicTime>(1, now_ - measured_from_));
    outcome_.seconds = passed / 1e9;
    outcome_.arrivals_per_second =
        static_cast<double>(arrived_ - std::min(arrived_, warm_up_)) / outcome_.seconds;
    outcome_.in_system = in_system_sum_ / passed;
    outcome_.utilisation = (busy - busy_before_) / passed / cpus;
    outcome_.work_offered = work_offered_ / passed;
    outcome_.imbalance_longest = imbalanced_longest_ / samples_per_interval;
    outcome_.imbalance_share =
        samples_ == 0 ? 0
                      : static_cast<double>(samples_imbalanced_) / static_cast<double>(samples_);
    outcome_.sent_above = above_.share();
    outcome_.sent_at_all = at_all_.share();
    outcome_.fingerprint = fingerprint_;
    return std::move(outcome_);
}

void Simulation::handle(const Event& event) {
    switch (event.kind) {
        case Kind::arrival:
            arrive();
            break;
        case Kind::announcement:
            if (event.number == servers_[event.server].announcement_planned) {
                announce(event.server);
            }
            break;
        case Kind::look:
            look(event.server);
            break;
        case Kind::answers_known:
            if (requests_[event.number].plan == event.server) {
                placed(event.number);
            }
            break;
        case Kind::reaches_peer:
            if (requests_[event.number].plan == event.server) {
                reach_peer(event.number);
            }
            break;
        case Kind::comes_back:
            if (requests_[event.number].plan == event.server) {
                come_back(event.number);
            }
            break;
        case Kind::refused:
            if (requests_[event.number].plan == event.server) {
                peer_failed(event.number, true);
            }
            break;
        case Kind::timed_out:
            if (requests_[event.number].plan == event.server) {
                peer_failed(event.number, false);
            }
            break;
        case Kind::hold_ends:
            if (requests_[event.number].plan == event.server) {
                served(event.number);
            }
            break;
        case Kind::antagonist: {
            const Antagonist& one = scenario_.antagonists[event.number];
            if (one.kind != Antagonist::Kind::on_off) {
                antagonist(event.number);
                break;
            }
            double& taken = taken_[event.number * servers_.size() + event.server];
            taken = taken > 0 ? 0 : one.depth;
            const Distribution& lasts = taken > 0 ? one.on : one.off;
            events_.add(now_ + static_cast<MonotonicTime>(lasts.draw(antagonists_random_)) + 1,
                        Kind::antagonist, event.number, event.server);
            set_available(event.server);
            break;
        }
        case Kind::failure:
            failure(event.number, event.server == 0);
            break;
        case Kind::board:
            reference_->refresh(now_);
            events_.add(now_ + static_cast<MonotonicTime>(reference_->period_ns()), Kind::board, 0);
            break;
        case Kind::sample:
            sample();
            break;
        case Kind::load_average:
            average_load();
            break;
        case Kind::next_user:
            arrive_with(draw_ingress(ingress_random_.fraction()), -1, event.number);
            break;
        case Kind::ingress_change:
            set_shares(scenario_.arrivals.ingress_changes[event.number].shares);
            break;
    }
}

Outcome simulate(const Scenario& scenario, const Contestant& contestant, std::uint64_t seed,
                 const RunHooks& hooks) {
    return Simulation{scenario, contestant, seed, hooks}.run();
}

}  // namespace backhand::sim
