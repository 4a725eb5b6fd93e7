#include "sim/simulation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>

#include "base/text.h"
#include "cluster/location_times.h"
#include "decide/chain.h"
#include "sim/events.h"
#include "sim/references.h"
#include "sim/server.h"
#include "sim/streams.h"

namespace backhand::sim {

namespace {

constexpr std::uint32_t nobody = ~0U;

// As in httpd/forwarding.cc.
constexpr std::size_t peers_tried_max = 3;

// As in moderator.cc.
constexpr int early_sends_factor = 5;

// The kernel's: it counts every five seconds, and forgets with a time constant of a minute.
constexpr MonotonicTime load_average_every = 5'000'000'000;

constexpr double worker_memory_bytes = 20e6;
constexpr double memory_bytes = 8e9;

constexpr std::uint64_t site_hash = 0;  // every server offers every site

enum class Stage : std::uint8_t {
    waits,       // for a worker, where it is
    asks,        // others what they have to do, before it is decided who serves it
    works,       // on the CPU of the server that serves it
    holds,       // a worker, without work
    being_sent,  // on the forwarder's CPU
    on_the_way,  // to the peer
    on_the_way_back,
    being_passed_on,  // the response, on the forwarder's CPU
};

struct Request {
    MonotonicTime arrived_at = 0;
    MonotonicTime began_at = 0;  // at the server that serves it
    MonotonicTime sent_at = 0;   // to the peer: chosen, at least
    double work = 0;
    double hold = 0;
    MonotonicTime answers_after = 0;  // that were asked for
    std::uint64_t number = 0;         // in the order of arrival
    std::uint64_t generation = 0;     // of the server it is at
    std::uint64_t ingress_generation = 0;
    News news;
    std::uint32_t ingress = 0;
    std::uint32_t at = 0;  // the server that has or will have it
    std::uint32_t in_flight_at_arrival = 0;
    std::uint32_t user = nobody;
    std::uint32_t plan = 0;  // rises with every step: what was planned for an earlier one is void
    std::array<std::uint32_t, peers_tried_max> peers{};
    std::uint8_t peers_count = 0;
    std::uint8_t peers_tried = 0;
    std::uint8_t kind = 0;  // class
    Stage stage{};
    bool measured = false;
    bool live = false;
    bool orphaned = false;  // goes on at a server that nobody waits for any more
};

// What a chain may ask about a request; of its head nothing is known.
class SimulatedFacts final : public RequestFacts {
public:
    SimulatedFacts(const LocationTimes& locations, std::uint64_t location)
        : locations_(locations),
          location_(location) {}

    std::optional<std::string_view> header(const char*, std::size_t) const override { return {}; }

    std::optional<std::string_view> environment(const char*) const override { return {}; }

    IpAddress client() const override { return {}; }

    bool is_tls() const override { return false; }

    std::string_view virtual_host() const override { return {}; }

    std::optional<Nanoseconds> location_time() const override { return locations_.mean(location_); }

private:
    const LocationTimes& locations_;
    std::uint64_t location_;
};

class Simulation;

// Asks simulated servers.  What they answer is what they have to do at the moment of the decision;
// the request goes on only when the answers would have come.
class AskingServer final : public Prober {
public:
    AskingServer(Simulation& simulation, std::uint32_t asker)
        : simulation_(simulation),
          asker_(asker) {}

    void ask(std::span<const std::uint32_t> slots,
             std::span<std::optional<ProbeAnswer>> answers) const override;

private:
    Simulation& simulation_;
    std::uint32_t asker_;
};

class Simulation {
public:
    Simulation(const Scenario& scenario, const Contestant& contestant, std::uint64_t seed,
               const RunHooks& hooks);

    Outcome run();

    void ask(std::uint32_t asker, std::span<const std::uint32_t> slots,
             std::span<std::optional<ProbeAnswer>> answers);

private:
    using Kind = Event::Kind;

    // ---- setting up ----
    void add_servers();
    void plan_antagonists();
    void plan_failures();
    void plan_references();

    // ---- arrivals ----
    void plan_arrival();
    MonotonicTime next_open_arrival();
    double rate_factor(MonotonicTime at) const;
    void arrive();
    void arrive_with(std::uint32_t ingress, double work, std::uint32_t user);
    std::uint32_t new_request(const Request& like);
    void free_request(std::uint32_t number);
    std::uint32_t draw_ingress(double fraction) const;
    void set_shares(const std::vector<double>& shares);
    std::uint32_t draw_class(double fraction) const;

    // ---- a request's life ----
    void come_to(std::uint32_t number, std::uint32_t server);
    void plan_timeout(std::uint32_t number);
    void admit(std::uint32_t number);
    void place(std::uint32_t number);
    void answers_known(std::uint32_t number);
    void placed(std::uint32_t number);
    void serve(std::uint32_t number);
    void forward(std::uint32_t number);
    void try_next_peer(std::uint32_t number);
    void reach_peer(std::uint32_t number);
    void peer_failed(std::uint32_t number, bool ejects);
    void back_to_serving(std::uint32_t number);
    void work_done(std::uint32_t number);
    void served(std::uint32_t number);
    void come_back(std::uint32_t number);
    void answered(std::uint32_t number);
    void end(std::uint32_t number, bool answered);
    void free_worker(std::uint32_t server);
    void begin_cpu(std::uint32_t server, std::uint32_t number, double work);
    void decide_by_chain(Request& request, Server& server);

    // ---- what servers say ----
    void look(std::uint32_t server);
    void announce(std::uint32_t server);
    void measure(std::uint32_t index);
    void plan_announcement(std::uint32_t server);
    void serving_changed(std::uint32_t server);
    bool worth_announcing_early(const Server& server) const;
    void average_load();

    // ---- events from outside ----
    void antagonist(std::uint32_t number);
    void set_available(std::uint32_t server);
    void failure(std::uint32_t number, bool begins);
    void crash(std::uint32_t server);
    void start(std::uint32_t server);
    void sample();

    void handle(const Event& event);

    void set_timer(std::uint32_t server) {
        timers_.set(server, servers_[server].processor.next_at());
    }

    void begin_measuring();
    void count_in_system(int change);

    std::uint64_t location_of_class(std::uint8_t kind) const {
        return location_key(site_hash, scenario_.classes[kind].path, true);
    }

    void mix(std::uint64_t value) { fingerprint_ = Random::mix(fingerprint_ ^ value); }

    SeriesBin* bin_of(MonotonicTime at);

    MonotonicTime travel(std::uint32_t from, std::uint32_t to);

    const Scenario& scenario_;
    const Contestant& contestant_;
    const RunHooks& hooks_;
    std::uint64_t seed_;

    Random arrivals_random_;
    Random ingress_random_;
    Random work_random_;
    Random decisions_random_;
    Random announcing_random_;
    Random travel_random_;
    Random antagonists_random_;
    Random thinking_random_;
    Random asking_random_;

    MonotonicTime now_ = 0;
    EventQueue events_;
    std::vector<Server> servers_;
    ServerTimers timers_;
    std::vector<Request> requests_;
    std::vector<std::uint32_t> free_requests_;
    std::vector<std::unique_ptr<OwnRecords>> records_;
    Air air_;
    std::unique_ptr<Knowledge> knowledge_;
    std::unique_ptr<ReferencePolicy> reference_;
    bool announces_;

    CandidacySet set_;
    Decision decision_;
    std::uint32_t asked_ = 0;          // servers, for the decision that is being made
    MonotonicTime answers_after_ = 0;  // so long they take, at most

    std::vector<double> shares_;  // of ingress, summed up; empty: alike
    std::vector<double> class_shares_;
    std::vector<double> taken_;  // by antagonist and server: the share it takes
    std::vector<std::vector<std::uint32_t>> hot_;
    bool on_ = true;  // of on-off arrivals
    MonotonicTime phase_ends_ = 0;
    std::size_t traced_ = 0;

    std::uint64_t arrived_ = 0;
    MonotonicTime last_arrival_ = 0;
    std::uint64_t warm_up_;
    std::uint64_t measured_left_;
    std::uint64_t arrivals_max_;

    MonotonicTime measured_from_ = 0;
    bool measuring_ = false;
    std::uint64_t in_system_ = 0;
    MonotonicTime in_system_at_ = 0;
    double in_system_sum_ = 0;
    double busy_before_ = 0;
    double work_offered_ = 0;
    std::vector<std::uint32_t> imbalanced_for_;
    std::uint64_t samples_ = 0;
    std::uint64_t samples_imbalanced_ = 0;
    std::uint32_t imbalanced_longest_ = 0;
    MonotonicTime sample_every_;
    std::uint64_t fingerprint_ = 0;
    Outcome outcome_;
};

std::vector<double> summed(const std::vector<double>& shares) {
    std::vector<double> result;
    double sum = 0;
    for (const double share : shares) {
        result.push_back(sum += share);
    }
    return result;
}

std::uint32_t drawn_from(const std::vector<double>& sums, double fraction) {
    const auto found = std::upper_bound(sums.begin(), sums.end(), fraction * sums.back());
    return static_cast<std::uint32_t>(std::min(found, sums.end() - 1) - sums.begin());
}

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
      sample_every_(static_cast<MonotonicTime>(scenario.interval_ns())) {
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

void Simulation::plan_antagonists() {
    taken_.assign(scenario_.antagonists.size() * servers_.size(), 0.0);
    hot_.resize(scenario_.antagonists.size());
    for (std::uint32_t number = 0; number < scenario_.antagonists.size(); ++number) {
        const Antagonist& one = scenario_.antagonists[number];
        switch (one.kind) {
            case Antagonist::Kind::schedule:
                events_.add(one.from, Kind::antagonist, number, nobody);
                events_.add(one.to, Kind::antagonist, number, nobody);
                break;
            case Antagonist::Kind::hot_set:
                events_.add(0, Kind::antagonist, number, nobody);
                break;
            case Antagonist::Kind::on_off: {
                for (std::uint32_t server = 0; server < servers_.size(); ++server) {
                    const bool concerned =
                        one.servers.empty() || std::find(one.servers.begin(), one.servers.end(),
                                                         server) != one.servers.end();
                    if (concerned) {
                        events_.add(static_cast<MonotonicTime>(one.off.draw(antagonists_random_)),
                                    Kind::antagonist, number, server);
                    }
                }
                break;
            }
        }
    }
}

void Simulation::plan_failures() {
    for (std::uint32_t number = 0; number < scenario_.failures.size(); ++number) {
        const Failure& one = scenario_.failures[number];
        if (one.kind == Failure::Kind::partition) {
            continue;  // the air knows
        }
        if (one.kind == Failure::Kind::join) {
            for (const std::uint32_t server : one.servers) {
                servers_[server].up = false;
                ++servers_[server].announcement_planned;
            }
            events_.add(one.from, Kind::failure, number, 1);
            continue;
        }
        events_.add(one.from, Kind::failure, number, 0);
        if (one.to != Failure::never_ends) {
            events_.add(one.to, Kind::failure, number, 1);
        }
    }
    for (std::uint32_t number = 0; number < scenario_.arrivals.ingress_changes.size(); ++number) {
        events_.add(scenario_.arrivals.ingress_changes[number].at, Kind::ingress_change, number);
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
    outcome_.imbalance_longest = imbalanced_longest_;
    outcome_.imbalance_share =
        samples_ == 0 ? 0
                      : static_cast<double>(samples_imbalanced_) / static_cast<double>(samples_);
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
                answers_known(event.number);
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

// ---- arrivals ----

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

// ---- a request's life ----

void Simulation::come_to(std::uint32_t number, std::uint32_t index) {
    Request& request = requests_[number];
    Server& server = servers_[index];
    request.at = index;
    if (!server.up) {
        // The client's connection is refused.
        end(number, false);
        return;
    }
    request.generation = server.generation;
    if (server.hangs && index != request.ingress) {
        plan_timeout(number);
    }
    if (server.workers_busy == server.group.workers || server.hangs) {
        request.stage = Stage::waits;
        server.backlog.push_back(number);
        return;
    }
    admit(number);
}

void Simulation::plan_timeout(std::uint32_t number) {
    const auto patience = static_cast<MonotonicTime>(scenario_.forwarding.response_timeout_ns);
    events_.add(now_ + patience, Kind::timed_out, number, requests_[number].plan);
}

// It has a worker from now on.
void Simulation::admit(std::uint32_t number) {
    Request& request = requests_[number];
    const std::uint32_t index = request.at;
    Server& server = servers_[index];
    ++server.workers_busy;
    request.in_flight_at_arrival = ++server.serving;
    request.began_at = now_;
    if (request.at == request.ingress) {
        place(number);
    } else {
        serve(number);
    }
    serving_changed(index);
}

void Simulation::place(std::uint32_t number) {
    Request& request = requests_[number];
    Server& server = servers_[request.ingress];
    request.peers_count = request.peers_tried = 0;
    if (reference_) {
        --server.assigned;  // it is nowhere yet
        const std::uint32_t chosen = reference_->choose(request.ingress, now_);
        ++server.assigned;
        if (chosen != request.ingress) {
            request.peers[0] = chosen;
            request.peers_count = 1;
        }
        ++outcome_.decisions;
    } else if (announces_) {
        asked_ = 0;
        answers_after_ = 0;
        decide_by_chain(request, server);
        if (asked_ != 0) {
            request.answers_after = answers_after_;
            request.stage = Stage::asks;
            begin_cpu(request.ingress, number,
                      scenario_.asking.asker_ns + asked_ * scenario_.asking.asker_per_server_ns);
            return;
        }
    }
    placed(number);
}

// The time of asking is none that serving it takes.
void Simulation::answers_known(std::uint32_t number) {
    Request& request = requests_[number];
    request.in_flight_at_arrival = servers_[request.ingress].serving;
    request.began_at = now_;
    placed(number);
}

// It is decided who serves it.
void Simulation::placed(std::uint32_t number) {
    const Request& request = requests_[number];
    mix(request.number << 20U ^ (request.peers_count == 0 ? request.ingress : request.peers[0]));
    if (request.peers_count == 0) {
        serve(number);
    } else {
        forward(number);
    }
}

// As in httpd/deciding.cc.
void Simulation::decide_by_chain(Request& request, Server& server) {
    const Chain& chain = *contestant_.chain;
    if (static_cast<double>(server.serving) - 1 < chain.self_stays_below()) {
        return;
    }
    ++outcome_.decisions;
    const SimulatedFacts facts{records_[request.ingress]->locations,
                               location_of_class(request.kind)};
    const RequestView view{.method = "GET",
                           .host = "www.example.com",
                           .path = scenario_.classes[request.kind].path,
                           .service_hash = site_hash,
                           .facts = &facts};
    const ClusterView& seen = knowledge_->seen_by(request.ingress, server.serving, now_);
    Random random{decisions_random_.next()};
    const AskingServer prober{*this, request.ingress};
    const DecisionContext context{
        .request = view,
        .table = seen,
        .random = random,
        .now = now_,
        .forwarding_cost = knowledge_->forwarding_cost(request.ingress, now_),
        .prober = &prober};
    decide(chain, context, set_, decision_);
    const std::uint32_t running = std::min(server.report.workers_max,
                                           server.report.workers_busy + server.report.workers_idle);
    if (decision_.peers.empty() || server.forwarding + 1 > running / 2) {
        return;
    }
    request.peers_count =
        static_cast<std::uint8_t>(std::min(decision_.peers.size(), peers_tried_max));
    for (std::size_t index = 0; index < request.peers_count; ++index) {
        request.peers[index] = knowledge_->server_in(request.ingress, decision_.peers[index]);
    }
}

void AskingServer::ask(std::span<const std::uint32_t> slots,
                       std::span<std::optional<ProbeAnswer>> answers) const {
    simulation_.ask(asker_, slots, answers);
}

void Simulation::ask(std::uint32_t asker, std::span<const std::uint32_t> slots,
                     std::span<std::optional<ProbeAnswer>> answers) {
    const auto limit = static_cast<MonotonicTime>(Prober::limit.count());
    for (std::size_t index = 0; index < slots.size(); ++index) {
        const std::uint32_t asked = knowledge_->server_in(asker, slots[index]);
        const Server& server = servers_[asked];
        const Network& network = scenario_.network;
        ++asked_;
        ++outcome_.questions;
        answers[index].reset();
        MonotonicTime takes = limit;
        const double way_there = network.jitter_ns * asking_random_.fraction();
        const double way_back = network.jitter_ns * asking_random_.fraction();
        const bool question_lost = asking_random_.fraction() < network.loss;
        const bool answer_lost = asking_random_.fraction() < network.loss;
        if (server.up && !server.hangs && !question_lost && !air_.parted(asker, asked, now_)) {
            begin_cpu(asked, nobody, scenario_.asking.asked_ns);
            const double both_ways = 2 * network.delay_ns + way_there + way_back;
            if (!answer_lost && both_ways < static_cast<double>(limit)) {
                answers[index] = {.serving = server.serving, .workers_idle = server.workers_idle()};
                takes = static_cast<MonotonicTime>(both_ways);
            }
        }
        answers_after_ = std::max(answers_after_, takes);
    }
}

void Simulation::begin_cpu(std::uint32_t index, std::uint32_t number, double work) {
    servers_[index].processor.add(number, work, now_);
    set_timer(index);
}

void Simulation::serve(std::uint32_t number) {
    Request& request = requests_[number];
    request.stage = Stage::works;
    const bool proxied = request.at != request.ingress;
    begin_cpu(request.at, number, request.work + (proxied ? scenario_.forwarding.peer_ns : 0));
}

void Simulation::forward(std::uint32_t number) {
    Request& request = requests_[number];
    Server& server = servers_[request.ingress];
    --server.serving;
    ++server.forwarding;
    --server.assigned;
    serving_changed(request.ingress);
    try_next_peer(number);
}

void Simulation::try_next_peer(std::uint32_t number) {
    Request& request = requests_[number];
    if (request.peers_tried == request.peers_count) {
        back_to_serving(number);
        return;
    }
    request.at = request.peers[request.peers_tried++];
    ++request.plan;
    ++servers_[request.at].assigned;
    ++outcome_.moved_work;
    if (announces_) {
        request.sent_at = now_;
        knowledge_->forward_began(request.ingress, request.at, now_);
    }
    // Half of it for the request, half for the response.
    const double work = scenario_.forwarding.forwarder_ns / 2;
    request.stage = Stage::being_sent;
    if (work > 0) {
        begin_cpu(request.ingress, number, work);
        return;
    }
    work_done(number);
}

MonotonicTime Simulation::travel(std::uint32_t, std::uint32_t) {
    const double takes =
        scenario_.network.delay_ns + scenario_.network.jitter_ns * travel_random_.fraction();
    return static_cast<MonotonicTime>(takes);
}

void Simulation::reach_peer(std::uint32_t number) {
    Request& request = requests_[number];
    if (!servers_[request.at].up) {
        ++request.plan;
        events_.add(now_ + travel(request.at, request.ingress), Kind::refused, number,
                    request.plan);
        return;
    }
    come_to(number, request.at);
}

// `ejects`: the peer has not even taken the connection.
void Simulation::peer_failed(std::uint32_t number, bool ejects) {
    if (requests_[number].generation == servers_[requests_[number].at].generation && !ejects) {
        // The peer still has it, and may serve it one day.
        const std::uint32_t orphan = number;
        number = new_request(requests_[orphan]);
        requests_[orphan].orphaned = true;
    }
    Request& request = requests_[number];
    Server& peer = servers_[request.at];
    ++request.plan;
    if (request.ingress_generation != servers_[request.ingress].generation) {
        end(number, false);
        return;
    }
    if (announces_) {
        if (ejects) {
            knowledge_->forward_failed(request.ingress, request.at, now_);
        }
        knowledge_->forward_ended(request.ingress, request.at, now_);
    }
    peer.assigned -= std::min(peer.assigned, 1U);
    if (scenario_.classes[request.kind].repeatable || ejects) {
        try_next_peer(number);
    } else {
        Server& server = servers_[request.ingress];
        --server.forwarding;
        ++server.assigned;
        request.at = request.ingress;
        free_worker(request.ingress);
        end(number, false);
    }
}

// No peer has answered: the request is served where it arrived.
void Simulation::back_to_serving(std::uint32_t number) {
    Request& request = requests_[number];
    Server& server = servers_[request.ingress];
    --server.forwarding;
    ++server.assigned;
    request.at = request.ingress;
    request.in_flight_at_arrival = ++server.serving;
    request.began_at = now_;
    serve(number);
    serving_changed(request.ingress);
}

void Simulation::work_done(std::uint32_t number) {
    if (number == nobody) {
        return;  // a question is answered
    }
    Request& request = requests_[number];
    if (request.stage == Stage::asks) {
        ++request.plan;
        events_.add(now_ + request.answers_after, Kind::answers_known, number, request.plan);
        return;
    }
    if (request.stage == Stage::works) {
        if (request.hold > 0) {
            request.stage = Stage::holds;
            ++request.plan;
            events_.add(now_ + static_cast<MonotonicTime>(request.hold), Kind::hold_ends, number,
                        request.plan);
            return;
        }
        served(number);
        return;
    }
    if (request.stage == Stage::being_passed_on) {
        answered(number);
        return;
    }
    // Being sent.
    request.stage = Stage::on_the_way;
    ++request.plan;
    if (air_.parted(request.ingress, request.at, now_)) {
        events_.add(now_ + static_cast<MonotonicTime>(scenario_.forwarding.connect_timeout_ns),
                    Kind::refused, number, request.plan);
        return;
    }
    const MonotonicTime takes = travel(request.ingress, request.at);
    if (takes == 0) {
        reach_peer(number);
        return;
    }
    events_.add(now_ + takes, Kind::reaches_peer, number, request.plan);
}

// The server that serves it is done with it.
void Simulation::served(std::uint32_t number) {
    Request& request = requests_[number];
    const std::uint32_t index = request.at;
    Server& server = servers_[index];
    const auto took = static_cast<double>(now_ - request.began_at);
    const bool proxied = index != request.ingress;
    if (announces_) {
        const auto took_ns = static_cast<std::uint64_t>(took);
        ++server.served.count;
        server.served.took_ns += took_ns;
        if (proxied) {
            ++server.served.proxied;
            server.served.proxied_took_ns += took_ns;
        }
        OwnRecords& records = *records_[index];
        const Nanoseconds lasted{static_cast<std::int64_t>(took)};
        records.latency.add(request.in_flight_at_arrival, lasted);
        if (server.served.count % LocationTimes::learn_one_of == 1) {
            const double in_progress = (request.in_flight_at_arrival + server.serving) / 2.0;
            records.locations.learn(location_of_class(request.kind),
                                    time_alone(lasted, in_progress, server.group.cpus));
        }
    }
    if (request.orphaned) {
        --server.serving;
        free_worker(index);
        serving_changed(index);
        free_request(number);
        return;
    }
    ++server.finished;
    server.assigned -= std::min(server.assigned, 1U);
    if (reference_) {
        reference_->finished({.ingress = request.ingress,
                              .server = index,
                              .in_flight_at_arrival = request.in_flight_at_arrival,
                              .response_ns = static_cast<double>(now_ - request.arrived_at),
                              .served_in_ns = took,
                              .work_ns = request.work});
    }
    --server.serving;
    if (proxied) {
        request.news = {.boot_id = server.boot_id,
                        .measurement = ++server.measurement,
                        .serving = server.serving,
                        .workers_idle = server.report.workers_idle};
    }
    free_worker(index);
    serving_changed(index);
    Request& same = requests_[number];
    if (!proxied) {
        end(number, true);
        return;
    }
    same.stage = Stage::on_the_way_back;
    ++same.plan;
    const MonotonicTime takes = travel(index, same.ingress);
    if (takes == 0) {
        come_back(number);
        return;
    }
    events_.add(now_ + takes, Kind::comes_back, number, same.plan);
}

void Simulation::come_back(std::uint32_t number) {
    Request& request = requests_[number];
    if (request.ingress_generation != servers_[request.ingress].generation) {
        end(number, false);  // it has crashed meanwhile
        return;
    }
    if (announces_) {
        knowledge_->forward_answered(request.ingress, request.at,
                                     scenario_.announcing.piggyback ? &request.news : nullptr,
                                     elapsed(request.sent_at, now_), now_);
    }
    const double work = scenario_.forwarding.forwarder_ns / 2;
    if (work > 0) {
        request.stage = Stage::being_passed_on;
        begin_cpu(request.ingress, number, work);
        return;
    }
    answered(number);
}

// The forwarder has passed the response on.
void Simulation::answered(std::uint32_t number) {
    Request& request = requests_[number];
    --servers_[request.ingress].forwarding;
    ++servers_[request.ingress].served.forwarded;
    free_worker(request.ingress);
    end(number, true);
}

void Simulation::free_worker(std::uint32_t index) {
    Server& server = servers_[index];
    --server.workers_busy;
    while (!server.hangs && !server.backlog.empty() && server.workers_busy < server.group.workers) {
        const std::uint32_t next = server.backlog.front();
        server.backlog.pop_front();
        admit(next);
    }
}

void Simulation::end(std::uint32_t number, bool answered) {
    Request& request = requests_[number];
    if (!answered) {
        Server& server = servers_[request.at];
        server.assigned -= std::min(server.assigned, 1U);
    }
    count_in_system(-1);
    const MonotonicTime took = now_ - request.arrived_at;
    mix(took);
    const bool forwarded = request.at != request.ingress;
    if (request.measured) {
        --measured_left_;
        if (answered) {
            outcome_.responses.add(took);
            outcome_.by_class[request.kind].add(took);
            outcome_.forwarded += forwarded ? 1 : 0;
        } else {
            ++outcome_.failed;
        }
    }
    if (SeriesBin* const bin = bin_of(request.arrived_at)) {
        if (answered) {
            ++bin->finished;
            bin->forwarded += forwarded ? 1 : 0;
            bin->response_sum_ns += static_cast<double>(took);
            bin->longest_ns = std::max(bin->longest_ns, static_cast<double>(took));
        } else {
            ++bin->failed;
        }
    }
    if (request.user != nobody) {
        const double thinks = scenario_.arrivals.think.draw(thinking_random_);
        events_.add(now_ + static_cast<MonotonicTime>(thinks), Kind::next_user, request.user);
    }
    free_request(number);
}

// ---- what servers say ----

bool Simulation::worth_announcing_early(const Server& server) const {
    const std::uint32_t before = server.announced_serving;
    const bool idle_changed = (server.serving == 0) != (before == 0);
    return idle_changed || server.serving >= 2 * before + 2 || 2 * server.serving + 2 <= before;
}

// The moderator looks every 10 ms; only those looks are events at which it would find something.
void Simulation::serving_changed(std::uint32_t index) {
    Server& server = servers_[index];
    if (!announces_ || !scenario_.announcing.early || server.look_planned || !server.up ||
        !worth_announcing_early(server)) {
        return;
    }
    const auto gap = static_cast<MonotonicTime>(scenario_.interval_ns() / early_sends_factor);
    server.look_planned = true;
    const MonotonicTime earliest = std::max(now_ + 1, server.announced_at + gap);
    events_.add(air_.look_after(index, earliest), Kind::look, 0, index);
}

void Simulation::look(std::uint32_t index) {
    Server& server = servers_[index];
    server.look_planned = false;
    if (!server.up || server.hangs || !worth_announcing_early(server)) {
        return;
    }
    const auto gap = static_cast<MonotonicTime>(scenario_.interval_ns() / early_sends_factor);
    if (now_ - server.announced_at >= gap) {
        announce(index);
    } else {
        serving_changed(index);
    }
}

void Simulation::announce(std::uint32_t index) {
    Server& server = servers_[index];
    if (!server.up || server.hangs) {
        return;
    }
    measure(index);
    server.announced_at = now_;
    server.announced_serving = server.serving;
    knowledge_->announced(index, server.report, now_);
    ++outcome_.announcements;
    plan_announcement(index);
}

void Simulation::plan_announcement(std::uint32_t index) {
    Server& server = servers_[index];
    const double jitter = scenario_.announcing.jitter;
    // Drawn from a hash: how often others announce early must not shift it.
    const double fraction =
        Random{seed_for(seed_, Purpose::announcing,
                        std::uint64_t{index} << 32U | ++server.announcement_planned)}
            .fraction();
    const double after = scenario_.interval_ns() * (1 - jitter + 2 * jitter * fraction);
    events_.add(air_.look_after(index, now_ + static_cast<MonotonicTime>(after) + 1),
                Kind::announcement, server.announcement_planned, index);
}

void Simulation::measure(std::uint32_t index) {
    Server& server = servers_[index];
    const ServerGroup& group = server.group;
    LoadReport& load = server.report;
    load.boot_id = server.boot_id;
    load.measurement = ++server.measurement;
    load.received_at = now_;
    load.interval_ms = static_cast<std::uint32_t>(scenario_.interval_ns() / 1e6);
    load.arriba = static_cast<std::uint32_t>(group.speed * 1e6);
    load.load_permille = static_cast<std::uint32_t>(server.load_average * 1000);
    while (load.load_hwm < server.load_highest && load.load_hwm < (1U << 30U)) {
        load.load_hwm *= 2;
    }
    load.cpus_permille = static_cast<std::uint32_t>(group.cpus * 1000);
    const double busy = server.processor.busy(now_);
    if (now_ > server.measured_at) {
        const auto passed = static_cast<double>(now_ - server.measured_at);
        const double used =
            (busy - server.busy_before) / passed / group.cpus + (1 - server.processor.available());
        load.cpu_idle_permille = static_cast<std::uint32_t>(std::clamp(1 - used, 0.0, 1.0) * 1000);
        server.busy_before = busy;
        server.measured_at = now_;
    }
    load.memory_total_bytes = static_cast<std::uint64_t>(memory_bytes);
    load.memory_available_bytes = static_cast<std::uint64_t>(
        std::max(0.0, memory_bytes - server.workers_busy * worker_memory_bytes));
    load.workers_max = group.workers;
    load.workers_busy = server.workers_busy;
    load.workers_idle = server.workers_idle();
    load.serving = server.serving;
    load.forwarding = server.forwarding;
    server.meter.measure(server.served, records_[index]->latency, server.serving, now_, load);
}

void Simulation::average_load() {
    const double weight = 1 - std::exp(-5.0 / 60.0);
    for (Server& server : servers_) {
        const double antagonists = (1 - server.processor.available()) * server.group.cpus;
        const double running = static_cast<double>(server.processor.pieces()) + antagonists;
        server.load_average += weight * (running - server.load_average);
        server.load_highest = std::max(server.load_highest, server.load_average);
    }
    events_.add(now_ + load_average_every, Kind::load_average, 0);
}

// ---- events from outside ----

void Simulation::antagonist(std::uint32_t number) {
    const Antagonist& one = scenario_.antagonists[number];
    std::vector<std::uint32_t> concerned = one.servers;
    if (concerned.empty()) {
        for (std::uint32_t server = 0; server < servers_.size(); ++server) {
            concerned.push_back(server);
        }
    }
    const auto set = [&](std::uint32_t server, double depth) {
        taken_[number * servers_.size() + server] = depth;
        set_available(server);
    };
    if (one.kind == Antagonist::Kind::schedule) {
        const bool on = now_ >= one.from && now_ < one.to;
        for (const std::uint32_t server : concerned) {
            set(server, on ? one.depth : 0);
        }
        return;
    }
    for (const std::uint32_t server : hot_[number]) {
        set(server, 0);
    }
    hot_[number].clear();
    for (std::uint32_t left =
             std::min<std::uint32_t>(one.hot, static_cast<std::uint32_t>(concerned.size()));
         left != 0; --left) {
        const std::uint32_t drawn =
            antagonists_random_.below(static_cast<std::uint32_t>(concerned.size()));
        hot_[number].push_back(concerned[drawn]);
        set(concerned[drawn], one.depth);
        concerned[drawn] = concerned.back();
        concerned.pop_back();
    }
    events_.add(now_ + static_cast<MonotonicTime>(one.on.draw(antagonists_random_)) + 1,
                Kind::antagonist, number, nobody);
}

void Simulation::set_available(std::uint32_t index) {
    Server& server = servers_[index];
    double available = server.hangs || !server.up ? 0 : 1;
    for (std::size_t number = 0; number < scenario_.antagonists.size(); ++number) {
        available *= 1 - taken_[number * servers_.size() + index];
    }
    server.processor.set_available(available, now_);
    set_timer(index);
}

void Simulation::failure(std::uint32_t number, bool begins) {
    const Failure& one = scenario_.failures[number];
    for (const std::uint32_t index : one.servers) {
        Server& server = servers_[index];
        switch (one.kind) {
            case Failure::Kind::crash:
                begins ? crash(index) : start(index);
                break;
            case Failure::Kind::join:
                start(index);
                break;
            case Failure::Kind::hang:
                server.hangs = begins;
                set_available(index);
                if (begins) {
                    for (std::uint32_t held = 0; held < requests_.size(); ++held) {
                        const Request& request = requests_[held];
                        const bool is_there = request.stage == Stage::works ||
                                              request.stage == Stage::holds ||
                                              request.stage == Stage::waits;
                        if (request.live && !request.orphaned && request.at == index &&
                            request.ingress != index && is_there) {
                            plan_timeout(held);
                        }
                    }
                }
                if (!begins) {
                    ++server.workers_busy;  // free_worker() takes it off again
                    free_worker(index);
                    plan_announcement(index);
                }
                break;
            case Failure::Kind::partition:
                break;
        }
    }
}

// What it was serving is lost; who had sent it there learns by the end of the connection, whoever
// was connected to it as a client gets nothing.
void Simulation::crash(std::uint32_t index) {
    Server& server = servers_[index];
    server.up = false;
    ++server.generation;
    server.processor.clear(now_);
    set_timer(index);
    server.backlog.clear();
    server.workers_busy = server.serving = server.forwarding = 0;
    for (std::uint32_t number = 0; number < requests_.size(); ++number) {
        Request& request = requests_[number];
        if (!request.live) {
            continue;
        }
        if (request.orphaned) {
            if (request.at == index) {
                free_request(number);
            }
        } else if (request.ingress == index) {
            // Wherever it is being served, that goes on for nobody; it is left to end there.
            if (request.at == index || request.stage == Stage::being_sent ||
                request.stage == Stage::on_the_way || request.stage == Stage::on_the_way_back ||
                request.stage == Stage::being_passed_on) {
                ++request.plan;
                end(number, false);
            }
        } else if (request.at == index &&
                   (request.stage == Stage::works || request.stage == Stage::waits ||
                    request.stage == Stage::holds)) {
            ++request.plan;
            events_.add(now_ + travel(index, request.ingress) + 1, Kind::timed_out, number,
                        request.plan);
        }
    }
    server.assigned = 0;
}

void Simulation::start(std::uint32_t index) {
    Server& server = servers_[index];
    server.up = true;
    ++server.boot_id;
    server.measurement = 0;
    server.served = {};
    server.meter = {};
    server.load_average = 0;
    server.report = {};
    server.announced_serving = 0;
    server.busy_before = server.processor.busy(now_);
    server.measured_at = now_;
    if (announces_) {
        knowledge_->forgets(index, now_);
    }
    set_available(index);
    if (announces_) {
        announce(index);
    }
}

// ---- results ----

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
    }
    ++samples_;
    samples_imbalanced_ += any ? 1 : 0;
}

}  // namespace

Outcome simulate(const Scenario& scenario, const Contestant& contestant, std::uint64_t seed,
                 const RunHooks& hooks) {
    return Simulation{scenario, contestant, seed, hooks}.run();
}

}  // namespace backhand::sim
