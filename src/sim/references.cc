#include "sim/references.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "sim/streams.h"

namespace backhand::sim {

namespace {

double power_of(const Server& server) {
    return server.group.cpus * server.group.speed;
}

// How long a request more would take, were all alike: (requests + 1) by power.
double cost_at(const Server& server) {
    return (server.assigned + 1) / power_of(server);
}

class Policy : public ReferencePolicy {
public:
    Policy(const std::vector<Server>& servers, std::uint64_t seed)
        : servers_(servers),
          random_(stream(seed, Purpose::references)) {}

protected:
    std::uint32_t count() const { return static_cast<std::uint32_t>(servers_.size()); }

    bool usable(std::uint32_t server) const { return servers_[server].up; }

    // The lowest of cost(server) over begin..end, of equal ones each as likely as any other.
    template <class Cost>
    std::uint32_t best_of(const std::vector<std::uint32_t>& among, Cost cost) {
        double least = std::numeric_limits<double>::infinity();
        std::uint32_t ties = 0;
        std::uint32_t best = among.front();
        for (const std::uint32_t server : among) {
            const double value = cost(server);
            if (value < least) {
                least = value;
                ties = 1;
                best = server;
            } else if (value == least && random_.below(++ties) == 0) {
                best = server;
            }
        }
        return best;
    }

    // Whether going to `other` gains at least so many requests there, and more than the work of
    // forwarding holds up here, which is so much for each request in progress.
    bool pays(std::uint32_t ingress, std::uint32_t other, double margin,
              double held_up_by_each) const {
        const double gain =
            (cost_at(servers_[ingress]) - cost_at(servers_[other])) * power_of(servers_[other]);
        return gain > 0 &&
               gain >= std::max(margin, held_up_by_each * (1 + servers_[ingress].assigned));
    }

    // So many different servers, each set as likely as any other (Floyd).
    const std::vector<std::uint32_t>& draw(std::uint32_t choices) {
        drawn_.clear();
        for (std::uint32_t last = count() - std::min(choices, count()); last < count(); ++last) {
            const std::uint32_t server = random_.below(last + 1);
            const bool taken = std::find(drawn_.begin(), drawn_.end(), server) != drawn_.end();
            drawn_.push_back(taken ? last : server);
        }
        return drawn_;
    }

    const std::vector<std::uint32_t>& all() {
        if (all_.empty()) {
            all_.resize(count());
            std::iota(all_.begin(), all_.end(), 0U);
        }
        return all_;
    }

    const std::vector<Server>& servers_;
    Random random_;

private:
    std::vector<std::uint32_t> drawn_;
    std::vector<std::uint32_t> all_;
};

// Join the shortest queue, with every queue known.
class LiveJsq final : public Policy {
public:
    LiveJsq(const std::vector<Server>& servers, std::uint64_t seed, const Reference& reference,
            double forward_by_work)
        : Policy(servers, seed),
          margin_(reference.margin),
          held_up_by_each_(reference.weighs_cost ? forward_by_work : 0) {}

    std::uint32_t choose(std::uint32_t ingress, MonotonicTime) override {
        const std::uint32_t best = best_of(all(), [this](std::uint32_t server) {
            return usable(server) ? cost_at(servers_[server])
                                  : std::numeric_limits<double>::infinity();
        });
        return pays(ingress, best, margin_, held_up_by_each_) ? best : ingress;
    }

private:
    double margin_;
    double held_up_by_each_;
};

// The shortest of a few queues.
class LiveChoice final : public Policy {
public:
    LiveChoice(const std::vector<Server>& servers, std::uint64_t seed, const Reference& reference,
               double forward_by_work)
        : Policy(servers, seed),
          reference_(reference),
          held_up_by_each_(reference.weighs_cost ? forward_by_work : 0) {}

    std::uint32_t choose(std::uint32_t ingress, MonotonicTime) override {
        const std::uint32_t best = best_of(draw(reference_.choices), [this](std::uint32_t server) {
            return cost_at(servers_[server]);
        });
        if (reference_.self_first) {
            return pays(ingress, best, reference_.margin, held_up_by_each_) ? best : ingress;
        }
        return best;
    }

private:
    Reference reference_;
    double held_up_by_each_;
};

// Join the idle queue (Lu and others, 2011).  An idle server registers with one dispatcher, and is
// taken off when it gets a request, whoever sent it.
class IdleQueue final : public Policy {
public:
    IdleQueue(const std::vector<Server>& servers, std::uint64_t seed, std::uint32_t per_dispatcher)
        : Policy(servers, seed),
          queues_(std::max<std::size_t>(1, servers.size() / std::max(1U, per_dispatcher))),
          registered_at_(servers.size(), nowhere) {
        for (std::uint32_t server = 0; server < count(); ++server) {
            register_idle(server);
        }
    }

    std::uint32_t choose(std::uint32_t, MonotonicTime) override {
        auto& queue = queues_[random_.below(static_cast<std::uint32_t>(queues_.size()))];
        const std::uint32_t chosen = queue.empty() ? random_.below(count()) : queue.front();
        withdraw(chosen);
        return chosen;
    }

    void finished(const Finished& request) override {
        if (servers_[request.server].assigned == 0) {
            register_idle(request.server);
        }
    }

private:
    static constexpr std::uint32_t nowhere = ~0U;

    void register_idle(std::uint32_t server) {
        const std::uint32_t at = random_.below(static_cast<std::uint32_t>(queues_.size()));
        queues_[at].push_back(server);
        registered_at_[server] = at;
    }

    void withdraw(std::uint32_t server) {
        const std::uint32_t at = std::exchange(registered_at_[server], nowhere);
        if (at != nowhere) {
            auto& queue = queues_[at];
            queue.erase(std::find(queue.begin(), queue.end(), server));
        }
    }

    std::vector<std::vector<std::uint32_t>> queues_;
    std::vector<std::uint32_t> registered_at_;
};

// All see a board that is refreshed now and then (Mitzenmacher 2000): the least loaded of all, the
// least loaded of a few, or basic load interpretation (Dahlin 1999).
class Board final : public Policy {
public:
    static constexpr std::uint32_t all_choices = 0;
    static constexpr std::uint32_t interpreted = 1;

    Board(const std::vector<Server>& servers, std::uint64_t seed, const Reference& reference,
          double arrivals_per_period)
        : Policy(servers, seed),
          reference_(reference),
          arrivals_(arrivals_per_period),
          board_(servers.size(), 0) {
        refresh(0);
    }

    double period_ns() const override { return reference_.period_ns; }

    void refresh(MonotonicTime) override {
        for (std::uint32_t server = 0; server < count(); ++server) {
            board_[server] = servers_[server].assigned;
        }
        if (reference_.choices == interpreted) {
            interpret();
        }
    }

    std::uint32_t choose(std::uint32_t, MonotonicTime) override {
        if (reference_.choices == interpreted) {
            const double wanted = random_.fraction() * shares_.back();
            const auto found = std::upper_bound(shares_.begin(), shares_.end(), wanted);
            return static_cast<std::uint32_t>(std::min(found, shares_.end() - 1) - shares_.begin());
        }
        const auto cost = [this](std::uint32_t server) { return double{1} * board_[server]; };
        return reference_.choices == all_choices ? best_of(all(), cost)
                                                 : best_of(draw(reference_.choices), cost);
    }

private:
    // Fills the queues up with the arrivals of a period, the lowest first.
    void interpret() {
        std::vector<std::uint32_t> order = all();
        std::sort(order.begin(), order.end(), [this](std::uint32_t left, std::uint32_t right) {
            return board_[left] < board_[right];
        });
        double volume = arrivals_;
        double level = 0;
        for (std::size_t filled = 0; filled < order.size(); ++filled) {
            const double bottom = board_[order[filled]];
            if (filled != 0 && level <= bottom) {
                break;
            }
            volume += bottom;
            level = volume / static_cast<double>(filled + 1);
        }
        shares_.resize(count());
        double sum = 0;
        for (std::uint32_t server = 0; server < count(); ++server) {
            sum += std::max(0.0, level - board_[server]);
            shares_[server] = sum;
        }
    }

    Reference reference_;
    double arrivals_;
    std::vector<std::uint32_t> board_;
    std::vector<double> shares_;  // summed up
};

// Weighted round robin by requests per second and utilisation (gRFC A58), as every ingress does it
// for itself: earliest deadline first, with deadlines that begin at random.
class WeightedRoundRobin final : public Policy {
public:
    WeightedRoundRobin(const std::vector<Server>& servers, std::uint64_t seed)
        : Policy(servers, seed),
          weights_(servers.size(), 1),
          before_(servers.size()),
          deadlines_(servers.size()) {}

    double period_ns() const override { return 1e9; }

    // With a memory of 10 s, which is the period of its reports.
    void refresh(MonotonicTime now) override {
        constexpr double memory = 0.1;
        double sum = 0;
        std::uint32_t known = 0;
        for (std::uint32_t server = 0; server < count(); ++server) {
            const Server& one = servers_[server];
            auto& [busy, finished, qps, utilisation] = before_[server];
            const double busy_now = one.processor.busy(now);
            const double seconds = period_ns();
            const double qps_now = static_cast<double>(one.finished - finished) / seconds;
            // An antagonist's share counts as used.
            const double used_now =
                (busy_now - busy) / seconds / one.group.cpus + (1 - one.processor.available());
            busy = busy_now;
            finished = one.finished;
            qps += memory * (qps_now - qps);
            utilisation += memory * (used_now - utilisation);
            weights_[server] = utilisation > 1e-6 ? qps / utilisation : 0;
            sum += weights_[server];
            known += weights_[server] > 0 ? 1U : 0U;
        }
        const double mean = known == 0 ? 1 : sum / known;
        for (double& weight : weights_) {
            weight = weight > 0 ? weight / mean : 1;
        }
    }

    std::uint32_t choose(std::uint32_t ingress, MonotonicTime) override {
        std::vector<double>& deadlines = deadlines_[ingress];
        if (deadlines.empty()) {
            deadlines.resize(count());
            for (std::uint32_t server = 0; server < count(); ++server) {
                deadlines[server] = random_.fraction() / weights_[server];
            }
        }
        const auto next = std::min_element(deadlines.begin(), deadlines.end());
        const auto server = static_cast<std::uint32_t>(next - deadlines.begin());
        *next += 1 / weights_[server];
        return server;
    }

private:
    struct Seen {
        double busy = 0;
        std::uint64_t finished = 0;
        double qps = 0;
        double utilisation = 0;
    };

    std::vector<double> weights_;
    std::vector<Seen> before_;
    std::vector<std::vector<double>> deadlines_;
};

// What an ingress has seen of a server.
struct Own {
    double response = 0;
    double service = 0;
    double queue = 0;
    std::uint32_t outstanding = 0;
};

// C3's ranking (Suresh and others, NSDI 2015), without its rate control.
class C3 final : public Policy {
public:
    C3(const std::vector<Server>& servers, std::uint64_t seed, double mean_work)
        : Policy(servers, seed),
          own_(servers.size()),
          mean_work_(mean_work) {}

    std::uint32_t choose(std::uint32_t ingress, MonotonicTime) override {
        std::vector<Own>& own = at(ingress);
        const auto clients = static_cast<double>(count());
        const std::uint32_t chosen = best_of(all(), [&](std::uint32_t server) {
            const Own& seen = own[server];
            const double queue = 1 + seen.outstanding * clients + seen.queue;
            return seen.response - seen.service + queue * queue * queue * seen.service;
        });
        ++own[chosen].outstanding;
        return chosen;
    }

    void finished(const Finished& request) override {
        constexpr double alpha = 0.3;
        Own& seen = at(request.ingress)[request.server];
        seen.outstanding -= std::min(seen.outstanding, 1U);
        seen.response += alpha * (request.response_ns - seen.response);
        seen.service += alpha * (request.work_ns - seen.service);
        seen.queue += alpha * (servers_[request.server].assigned - seen.queue);
    }

private:
    std::vector<Own>& at(std::uint32_t ingress) {
        if (own_[ingress].empty()) {
            // A server that has not answered yet is taken to be like any other.
            own_[ingress].assign(
                count(),
                {.response = mean_work_, .service = mean_work_, .queue = 0, .outstanding = 0});
        }
        return own_[ingress];
    }

    std::vector<std::vector<Own>> own_;
    double mean_work_;
};

// The server to which the ingress itself has the fewest requests under way.
class LeastSent final : public Policy {
public:
    LeastSent(const std::vector<Server>& servers, std::uint64_t seed)
        : Policy(servers, seed),
          sent_(servers.size()) {}

    std::uint32_t choose(std::uint32_t ingress, MonotonicTime) override {
        std::vector<std::uint32_t>& sent = sent_[ingress];
        sent.resize(count());
        const std::uint32_t chosen =
            best_of(all(), [&](std::uint32_t server) { return double{1} * sent[server]; });
        ++sent[chosen];
        return chosen;
    }

    void finished(const Finished& request) override { --sent_[request.ingress][request.server]; }

private:
    std::vector<std::vector<std::uint32_t>> sent_;
};

// Prequal (Wydrowski and others, NSDI 2024) with its own probes: three for each request, which
// serve later ones; a pool of 16; hot and cold.
class Prequal final : public Policy {
public:
    Prequal(const std::vector<Server>& servers, std::uint64_t seed)
        : Policy(servers, seed),
          pools_(servers.size()),
          latency_(servers.size()) {}

    std::uint32_t choose(std::uint32_t ingress, MonotonicTime now) override {
        Pool& pool = pools_[ingress];
        std::erase_if(pool.probes, [now](const Probe& probe) {
            return probe.uses_left == 0 || probe.at + probe_age_max < now;
        });
        const std::uint32_t chosen = pool.probes.size() < 2 ? random_.below(count()) : pick(pool);
        remove_one(pool);
        for (int number = 0; number < probes_per_request; ++number) {
            probe(pool, now);
        }
        return chosen;
    }

    double period_ns() const override { return 1e9; }

    void refresh(MonotonicTime) override {
        for (LatencyByLoad& latency : latency_) {
            latency.age();
        }
    }

    void finished(const Finished& request) override {
        latency_[request.server].add(request.in_flight_at_arrival,
                                     Nanoseconds{static_cast<std::int64_t>(request.served_in_ns)});
    }

private:
    static constexpr std::size_t pool_max = 16;
    static constexpr int probes_per_request = 3;
    static constexpr MonotonicTime probe_age_max = 1'000'000'000;
    static constexpr double hot_quantile = 0.84;
    static constexpr std::size_t memory = 64;

    struct Probe {
        std::uint32_t server;
        std::uint32_t in_flight;
        double latency;
        MonotonicTime at;
        std::uint32_t uses_left;
    };

    struct Pool {
        std::vector<Probe> probes;  // oldest first
        std::vector<std::uint32_t> seen;
        std::size_t next_seen = 0;
        bool remove_worst = false;
    };

    // With 100 servers the pool's share is small and each probe may be used once or twice.
    std::uint32_t uses() {
        const double share = static_cast<double>(pool_max) / count();
        const double left = (1 - std::min(share, 0.99)) * probes_per_request - 1;
        const double uses = left <= 0 ? 8 : std::clamp(2 / left, 1.0, 8.0);
        const double whole = std::floor(uses);
        return static_cast<std::uint32_t>(whole) + (random_.fraction() < uses - whole ? 1 : 0);
    }

    void probe(Pool& pool, MonotonicTime now) {
        const std::uint32_t server = random_.below(count());
        if (pool.probes.size() == pool_max) {
            pool.probes.erase(pool.probes.begin());
        }
        const std::uint32_t in_flight = servers_[server].assigned;
        const auto latency = latency_[server].median_at(in_flight + 1);
        pool.probes.push_back(
            {server, in_flight, latency ? static_cast<double>(latency->count()) : 0, now, uses()});
        pool.seen.resize(memory, 0);
        pool.seen[pool.next_seen++ % memory] = in_flight;
    }

    static std::uint32_t hot_above(const Pool& pool) {
        std::vector<std::uint32_t> sorted(
            pool.seen.begin(),
            pool.seen.begin() + static_cast<std::ptrdiff_t>(std::min(pool.next_seen, memory)));
        const auto rank = static_cast<std::ptrdiff_t>(hot_quantile * double(sorted.size() - 1));
        std::nth_element(sorted.begin(), sorted.begin() + rank, sorted.end());
        return sorted[static_cast<std::size_t>(rank)];
    }

    // Cold before hot; the cold ones by latency, the hot ones by requests.
    static bool better(const Probe& left, const Probe& right, std::uint32_t hot) {
        const bool left_hot = left.in_flight > hot;
        const bool right_hot = right.in_flight > hot;
        if (left_hot != right_hot) {
            return right_hot;
        }
        return left_hot ? left.in_flight < right.in_flight : left.latency < right.latency;
    }

    static std::uint32_t pick(Pool& pool) {
        const std::uint32_t hot = hot_above(pool);
        const auto best = std::min_element(
            pool.probes.begin(), pool.probes.end(),
            [hot](const Probe& left, const Probe& right) { return better(left, right, hot); });
        const std::uint32_t server = best->server;
        ++best->in_flight;
        --best->uses_left;
        return server;
    }

    static void remove_one(Pool& pool) {
        if (pool.probes.size() < 2) {
            return;
        }
        pool.remove_worst = !pool.remove_worst;
        if (!pool.remove_worst) {
            pool.probes.erase(pool.probes.begin());
            return;
        }
        const std::uint32_t hot = hot_above(pool);
        pool.probes.erase(std::max_element(
            pool.probes.begin(), pool.probes.end(),
            [hot](const Probe& left, const Probe& right) { return better(left, right, hot); }));
    }

    std::vector<Pool> pools_;
    std::vector<LatencyByLoad> latency_;
};

}  // namespace

std::unique_ptr<ReferencePolicy> make_reference(const Reference& reference,
                                                const Scenario& scenario,
                                                const std::vector<Server>& servers,
                                                std::uint64_t seed) {
    const ForwardingCost& forward = scenario.forwarding;
    const double forward_by_work = (forward.forwarder_ns + forward.peer_ns) / scenario.mean_work();
    switch (reference.kind) {
        case Reference::Kind::none:
            return nullptr;
        case Reference::Kind::live_jsq:
            return std::make_unique<LiveJsq>(servers, seed, reference, forward_by_work);
        case Reference::Kind::live_choice:
            return std::make_unique<LiveChoice>(servers, seed, reference, forward_by_work);
        case Reference::Kind::idle_queue:
            return std::make_unique<IdleQueue>(servers, seed, reference.choices);
        case Reference::Kind::board:
            return std::make_unique<Board>(servers, seed, reference,
                                           scenario.rate() * reference.period_ns);
        case Reference::Kind::weighted_round_robin:
            return std::make_unique<WeightedRoundRobin>(servers, seed);
        case Reference::Kind::c3:
            return std::make_unique<C3>(servers, seed, scenario.mean_work());
        case Reference::Kind::prequal:
            return std::make_unique<Prequal>(servers, seed);
        case Reference::Kind::least_sent:
            return std::make_unique<LeastSent>(servers, seed);
    }
    return nullptr;
}

}  // namespace backhand::sim
