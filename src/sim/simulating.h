// Simulating: one run from within.  What the files that make it up share.
//
//     simulation.cc   sets up, and hands out events in the order of time
//     arrivals.cc     requests come
//     request_life.cc what becomes of each
//     placing.cc      who serves it: the module's own decision
//     saying.cc       what servers measure and announce
//     failing.cc      antagonists, crashes and other events from outside
//     observing.cc    what is kept for the results, herds among it
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cluster/location_times.h"
#include "decide/chain.h"
#include "sim/events.h"
#include "sim/knowledge.h"
#include "sim/outcome.h"
#include "sim/references.h"
#include "sim/scenario.h"
#include "sim/server.h"
#include "sim/simulation.h"
#include "sim/streams.h"

namespace backhand::sim {

constexpr std::uint32_t nobody = ~0U;

// As in httpd/forwarding.cc.
constexpr std::size_t peers_tried_max = 3;

// The kernel's: it counts every five seconds, and forgets with a time constant of a minute.
constexpr MonotonicTime load_average_every = 5'000'000'000;

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

// Requests in progress that were looked at, and those of them that peers have sent.
struct SentByPeers {
    std::uint64_t sent = 0;
    std::uint64_t seen = 0;

    void add(bool is_sent) {
        sent += is_sent ? 1U : 0U;
        ++seen;
    }

    double share() const {
        return seen == 0 ? 0 : static_cast<double>(sent) / static_cast<double>(seen);
    }
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
    std::vector<bool> is_above_;
    SentByPeers at_all_;
    SentByPeers above_;
    std::uint32_t imbalanced_longest_ = 0;
    // So often that a server which is above at one sample and at the next was mostly above all the
    // time: with short requests, one sample in each interval would add up moments that have nothing
    // to do with each other.
    static constexpr double samples_per_interval = 10;
    MonotonicTime sample_every_;
    std::uint64_t fingerprint_ = 0;
    Outcome outcome_;
};

// The sums of the first, the first two and so on: to draw from.
std::vector<double> summed(const std::vector<double>& shares);

}  // namespace backhand::sim
