// Scenario: a cluster, the load on it, what happens meanwhile, and the chains to compare.
//
// Plain values; scenario_file.h reads them from a file, tests write them down.  Times are
// nanoseconds of simulated time, which begins at 0.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "decide/chain.h"
#include "sim/distribution.h"

namespace backhand::sim {

struct ServerGroup {
    std::uint32_t count = 1;
    double cpus = 1;
    double speed = 1;  // of one CPU
    // Above 0, `cpus` is a quota, as a container's: in each period so much CPU time at full speed,
    // and none from when that is used up until the next period.
    double quota_period_ns = 0;
    std::uint32_t workers = 256;
    // How the requests that have a worker share the CPUs: equally, or one after the other.
    enum class Discipline : std::uint8_t { sharing, fifo } discipline = Discipline::sharing;
};

struct RequestClass {
    std::string name = "all";
    double share = 1;  // of the requests; relative to the other classes'
    Distribution work = Distribution::exponential(10e6);
    Distribution hold = Distribution::fixed(0);  // with a worker but without a CPU, after the work
    std::string path = "/";
    bool repeatable = true;
};

struct RateChange {
    MonotonicTime at = 0;
    double factor = 1;  // of the base rate, from then on
};

struct IngressChange {
    MonotonicTime at = 0;
    std::vector<double> shares;  // as Arrivals::shares
};

struct TracedArrival {
    MonotonicTime at = 0;
    std::optional<std::uint32_t> ingress;
    std::optional<double> work;  // ns
};

struct Arrivals {
    // Offered work by what all servers together can do, antagonists left aside.
    double load = 0.5;

    enum class Kind : std::uint8_t { poisson, on_off, trace, closed } kind = Kind::poisson;

    // on_off: a Poisson stream whose rate alternates between two values around the mean.
    double on_ns = 1e9;
    double off_ns = 1e9;
    double peak = 1.8;  // rate while on, by the mean rate

    std::vector<RateChange> steps;  // in order of time

    // trace
    std::vector<TracedArrival> trace;

    // closed: so many users, each of whom thinks, asks and waits.
    std::uint32_t users = 0;
    Distribution think = Distribution::exponential(1e9);

    // Which server a request reaches first: relative shares by server, the last one for all that
    // follow; empty: alike.
    std::vector<double> shares;
    std::vector<IngressChange> ingress_changes;
};

struct Network {
    double delay_ns = 100e3;
    double jitter_ns = 50e3;  // uniform, on top
    double loss = 0;          // of announcements
};

struct Announcing {
    double interval_ns = 100e6;
    double interval_per_server_ns = 1e6;  // see moderator.cc
    double jitter = 0.25;
    bool early = true;
    bool piggyback = true;
    double look_ns = 10e6;  // how often a moderator reads what has arrived; 0: at once
};

// What a forwarded request costs on top of its work, in CPU time at speed 1.
struct ForwardingCost {
    double forwarder_ns = 200e3;
    double peer_ns = 20e3;
    double connect_timeout_ns = 2e9;
    double response_timeout_ns = 60e9;
};

// What asking servers for their load costs, in CPU time at speed 1, and how long it may take.
struct AskingCost {
    double asker_ns = 15e3;
    double asker_per_server_ns = 8e3;
    double asked_ns = 15e3;
};

// Something that takes CPU away.
struct Antagonist {
    std::vector<std::uint32_t> servers;  // empty: all
    double depth = 0.5;                  // share of the CPUs it takes while it is on

    enum class Kind : std::uint8_t { on_off, schedule, hot_set } kind = Kind::on_off;
    Distribution on = Distribution::exponential(1e9);
    Distribution off = Distribution::exponential(1e9);
    MonotonicTime from = 0;  // schedule
    MonotonicTime to = 0;    // schedule
    std::uint32_t hot = 0;   // hot_set: so many of the servers at a time, others after each `on`
};

struct Failure {
    enum class Kind : std::uint8_t { crash, hang, partition, join } kind = Kind::crash;
    std::vector<std::uint32_t> servers;  // partition: these against all others
    MonotonicTime from = 0;              // join: when they appear
    MonotonicTime to = never_ends;

    static constexpr MonotonicTime never_ends = ~MonotonicTime{0};
};

// Policies that no server can follow, or that others follow: to compare with.
struct Reference {
    enum class Kind : std::uint8_t {
        none,
        live_jsq,              // knows every server's requests at every moment
        live_choice,           // the same, of `choices` servers drawn at random
        idle_queue,            // JIQ with servers / choices dispatchers
        board,                 // all see a board that is refreshed every `period_ns`
        weighted_round_robin,  // gRFC A58: requests per second by utilisation
        c3,                    // Suresh and others, NSDI 2015, without its rate control
        prequal,               // with its own probes
        least_sent,            // fewest requests of one's own in flight there
    } kind = Kind::none;
    std::uint32_t choices = 2;  // board: 0 means all, 1 load interpretation
    double period_ns = 0;
    double margin = 1;        // live_jsq: go only if the gain is at least so many requests
    bool self_first = false;  // live_choice: one of the choices is self; keep if no other is better
    // live_jsq, and live_choice with self_first: go only if the gain is also above what the work of
    // forwarding holds up; it and the mean work are known.
    bool weighs_cost = false;
};

struct Contestant {
    std::string name;
    std::shared_ptr<const Chain> chain;  // off: every request is served where it arrives
    Reference reference;                 // if not none, in place of the chain
    bool announces() const;
};

struct Run {
    std::uint64_t requests = 100'000;  // measured
    double warm_up = 0.1;              // of as many requests, before
    std::uint32_t replications = 10;
    std::uint64_t seed = 1;
    std::uint32_t series_bins = 0;  // 0: no time series
};

struct Scenario {
    std::string name = "scenario";
    std::string description;
    std::vector<ServerGroup> servers;
    std::vector<RequestClass> classes{RequestClass{}};
    Arrivals arrivals;
    Network network;
    Announcing announcing;
    ForwardingCost forwarding;
    AskingCost asking;
    std::vector<Antagonist> antagonists;
    std::vector<Failure> failures;
    std::vector<Contestant> contestants;
    std::vector<double> loads;  // to repeat everything at; empty: Arrivals::load alone
    Run run;

    std::uint32_t servers_count() const;
    double capacity() const;   // CPUs at speed 1
    double mean_work() const;  // ns at speed 1
    double rate() const;       // requests per ns, of an open arrival process
    double interval_ns() const;
};

// Chains that a test or a scenario names by their lines: "byAge 2", "Backhand byLoad".  Empty or
// "off": none.
Result<std::shared_ptr<const Chain>> chain_of(const std::vector<std::string>& lines);

}  // namespace backhand::sim
