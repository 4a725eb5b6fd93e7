// Micro-benchmarks of what happens per request and per announcement: reading the cluster table,
// taking in news, measuring the machine, deciding.
//
// Labels name the budgets of docs/performance.md.  `bench/micro` builds and runs this.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "announce/datagram.h"
#include "base/text.h"
#include "cluster/table.h"
#include "decide/chain.h"
#include "decide/plugin.h"
#include "measure/machine.h"
#include "table_fixture.h"

namespace {

std::atomic<std::uint64_t> allocations_count{0};

}  // namespace

// Counts what is allocated, so that "no allocation" is a figure.  Not inlined, or the compiler
// takes malloc() and delete for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
    allocations_count.fetch_add(1, std::memory_order_relaxed);
    if (void* const memory = std::malloc(size)) {
        return memory;
    }
    throw std::bad_alloc{};
}

[[gnu::noinline]] void operator delete(void* memory) noexcept {
    std::free(memory);
}

[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}

namespace backhand {
namespace {

constexpr const char* site = "www.example.com";
constexpr int requests_at_self = 20;

// Server `number` of a cluster; 0 is self.  Server 0 has more to do than the others, so that
// decisions go all the way.
ServerReport report_from(std::uint32_t number, std::uint64_t measurement) {
    ServerReport report;
    report.set_name("server" + std::to_string(number));
    report.add_service(site);
    LoadReport& load = report.load;
    load.contact = *Endpoint::parse("10.0." + std::to_string(number / 250) + "." +
                                    std::to_string(1 + number % 250) + ":80");
    load.boot_id = 1;
    load.measurement = measurement;
    load.received_at = monotonic_now();
    load.load_permille = 100 * (number % 20);
    load.workers_max = 150;
    load.workers_busy = 10;
    load.workers_idle = 65;
    load.serving = number % 8;
    load.memory_total_bytes = 16'777'216'000;
    load.memory_available_bytes = 12'884'901'888;
    return report;
}

// A cluster table in which `servers_count` servers, self included, have just reported.
class Cluster {
public:
    explicit Cluster(std::uint32_t servers_count) : servers_count_(servers_count) {
        table_->set_self(report_from(self_slot, 1));
        const ChildTally tally = table_->cells().claim(1);
        for (int count = 0; count < requests_at_self; ++count) {
            tally.serving_began();
        }
        for (std::uint32_t number = 1; number < servers_count; ++number) {
            table_->take(report_from(number, 1));
        }
    }

    const ClusterTable& operator*() const { return *table_; }

    const ClusterTable* operator->() const { return &*table_; }

    std::uint32_t servers_count() const { return servers_count_; }

private:
    std::uint32_t servers_count_;
    TableFixture table_{1024, 256};
};

void report_allocations(benchmark::State& state, std::uint64_t before) {
    state.counters["allocations"] = benchmark::Counter(
        static_cast<double>(allocations_count - before), benchmark::Counter::kAvgIterations);
}

void view_of_a_peer(benchmark::State& state) {
    const Cluster cluster{64};
    const std::uint64_t service = hash_ignoring_case(site);
    const MonotonicTime now = monotonic_now();
    std::uint32_t slot_index = 0;
    for ([[maybe_unused]] auto _ : state) {
        slot_index = slot_index % (cluster.servers_count() - 1) + 1;
        ServerView view;
        benchmark::DoNotOptimize(cluster->view(slot_index, service, now, view));
        benchmark::DoNotOptimize(view);
    }
    state.SetLabel("budget 100 ns");
}

BENCHMARK(view_of_a_peer);

void whole_report_of_a_peer(benchmark::State& state) {
    const Cluster cluster{64};
    std::uint32_t slot_index = 0;
    for ([[maybe_unused]] auto _ : state) {
        slot_index = slot_index % (cluster.servers_count() - 1) + 1;
        benchmark::DoNotOptimize(cluster->report(slot_index));
    }
}

BENCHMARK(whole_report_of_a_peer);

// Of one peer after another, each with a new measurement: what the moderator does with a datagram
// after recvfrom().
void take_in_a_datagram(benchmark::State& state) {
    const Cluster cluster{static_cast<std::uint32_t>(state.range(0))};
    const auto keys = KeyRing::from_secrets({std::string(64, 'k')});
    if (!keys) {
        state.SkipWithError("no key");
        return;
    }
    const std::vector<std::string> sites = {site};
    std::vector<std::vector<std::uint8_t>> datagrams;
    std::uint64_t measurement = 1;
    std::uint64_t taken = 0;
    const std::uint64_t allocations_before = allocations_count;
    std::uint64_t allocations_outside = 0;
    for ([[maybe_unused]] auto _ : state) {
        if (datagrams.empty()) {
            state.PauseTiming();
            const std::uint64_t before = allocations_count;
            ++measurement;
            for (std::uint32_t number = 1; number < cluster.servers_count(); ++number) {
                datagrams.push_back(
                    encode_datagram(report_from(number, measurement), sites, &*keys));
            }
            allocations_outside += allocations_count - before;
            state.ResumeTiming();
        }
        ServerReport report;
        if (!decode_datagram(datagrams.back(), &*keys, report)) {
            report.load.received_at = monotonic_now();
            taken += cluster->take(report).outcome == ClusterTable::Outcome::taken ? 1U : 0U;
        }
        datagrams.pop_back();
    }
    if (taken != static_cast<std::uint64_t>(state.iterations())) {
        state.SkipWithError("not every datagram was taken");
    }
    report_allocations(state, allocations_before + allocations_outside);
    state.SetLabel("budget 5 us");
}

BENCHMARK(take_in_a_datagram)->Arg(64)->Arg(1000);

void sample_of_the_machine(benchmark::State& state) {
    MachineMeter meter;
    MonotonicTime now = 0;  // ten samples a second at most are real ones
    for ([[maybe_unused]] auto _ : state) {
        benchmark::DoNotOptimize(meter.sample(now += 1'000'000'000));
    }
}

BENCHMARK(sample_of_the_machine);

void decide_by(const Chain& chain, benchmark::State& state, const char* budgets) {
    const Cluster cluster{static_cast<std::uint32_t>(state.range(0))};
    const RequestView request{
        .method = "GET", .host = site, .path = "/", .service_hash = hash_ignoring_case(site)};
    Random random{4711};
    const DecisionContext context{
        .request = request, .table = *cluster, .random = random, .now = monotonic_now()};
    CandidacySet set;
    Decision result;
    // The set allocates until it has held the whole cluster once.
    decide(chain, context, set, result);

    const std::uint64_t allocations_before = allocations_count;
    for ([[maybe_unused]] auto _ : state) {
        decide(chain, context, set, result);
        benchmark::DoNotOptimize(result);
    }
    report_allocations(state, allocations_before);
    state.SetLabel(budgets);
}

using ChainLine = std::pair<const char*, const char*>;

void decision(benchmark::State& state, std::initializer_list<ChainLine> lines,
              const char* budgets) {
    Chain chain;
    for (const auto& [name, argument] : lines) {
        if (!chain.append(name, argument)) {
            state.SkipWithError("no such candidacy function");
        }
    }
    decide_by(chain, state, budgets);
}

const char* permuting_budget(const benchmark::State& state) {
    return state.range(0) == 16     ? "budget 1 us, no allocation"
           : state.range(0) == 1000 ? "budget 15 us, no allocation"
                                    : "";
}

void decision_by_auto(benchmark::State& state) {
    decision(state, {{"auto", ""}}, "budget 1 us, no allocation");
}

BENCHMARK(decision_by_auto)->Arg(16)->Arg(200)->Arg(1000);

void decision_by_the_seeds_chain(benchmark::State& state) {
    decision(state, {{"byAge", "2"}, {"byRandom", ""}, {"byLogWindow", ""}, {"byLoad", ""}},
             permuting_budget(state));
}

BENCHMARK(decision_by_the_seeds_chain)->Arg(16)->Arg(200)->Arg(1000);

// Every server has to be looked at closely.
void decision_by_age_and_load(benchmark::State& state) {
    decision(state, {{"byAge", "2"}, {"byLoad", ""}}, permuting_budget(state));
}

BENCHMARK(decision_by_age_and_load)->Arg(16)->Arg(200)->Arg(1000);

// The order as a whole, and behind it a function that looks at the head.
void decision_by_health_latency_and_self(benchmark::State& state) {
    decision(state, {{"byHealth", ""}, {"bySlowStart", ""}, {"byLatency", ""}, {"preferSelf", ""}},
             permuting_budget(state));
}

BENCHMARK(decision_by_health_latency_and_self)->Arg(16)->Arg(200)->Arg(1000);

void decision_by_shuffling_all(benchmark::State& state) {
    decision(state, {{"byAge", "2"}, {"removeSelf", ""}, {"byRandom", ""}},
             permuting_budget(state));
}

BENCHMARK(decision_by_shuffling_all)->Arg(16)->Arg(200)->Arg(1000);

void decision_by_cost(benchmark::State& state) {
    decision(state, {{"byAge", "2"}, {"byCost", ""}}, permuting_budget(state));
}

BENCHMARK(decision_by_cost)->Arg(16)->Arg(200)->Arg(1000);

void decision_by_weight(benchmark::State& state) {
    decision(state, {{"byAge", "2"}, {"byWeighted", ""}}, permuting_budget(state));
}

BENCHMARK(decision_by_weight)->Arg(16)->Arg(200)->Arg(1000);

void decision_by_hot_and_cold(benchmark::State& state) {
    decision(state, {{"byAge", "2"}, {"byHotCold", ""}, {"preferSelf", ""}},
             permuting_budget(state));
}

BENCHMARK(decision_by_hot_and_cold)->Arg(16)->Arg(200)->Arg(1000);

void decision_by_interpreted_load(benchmark::State& state) {
    decision(state, {{"byAge", "2"}, {"byInterpretedLoad", ""}, {"preferSelf", ""}},
             permuting_budget(state));
}

BENCHMARK(decision_by_interpreted_load)->Arg(16)->Arg(200)->Arg(1000);

// The pattern is matched before anything else.
void decision_by_path_and_auto(benchmark::State& state) {
    decision(state, {{"byPath", "^/(index.html)?$"}, {"auto", ""}}, "budget 1 us, no allocation");
}

BENCHMARK(decision_by_path_and_auto)->Arg(16)->Arg(1000);

// One plug-in, which orders or filters the whole set.
void decision_by_plugin(benchmark::State& state, const PluginSource& source) {
    auto code = open_plugin_by_path(source);
    if (!code) {
        state.SkipWithError(code.error().detail.c_str());
        return;
    }
    const auto plugin = std::make_shared<Plugin>(source);
    plugin->replace(std::move(*code));
    Chain chain;
    chain.append(std::make_unique<PluginFunction>(plugin), source.text());
    decide_by(chain, state, "");
}

void decision_by_a_plugin_of_today(benchmark::State& state) {
    decision_by_plugin(
        state,
        {.file = PLUGIN_OF_TODAY, .function = "leastBusy", .argument = "", .written_at = ""});
}

BENCHMARK(decision_by_a_plugin_of_today)->Arg(16)->Arg(200)->Arg(1000);

// byHostname matches every host name with its pattern.
void decision_by_a_plugin_of_the_seed(benchmark::State& state) {
    decision_by_plugin(state, {.file = PLUGIN_OF_THE_SEED,
                               .function = "byHostname",
                               .argument = "server",
                               .written_at = ""});
}

BENCHMARK(decision_by_a_plugin_of_the_seed)->Arg(16)->Arg(200)->Arg(1000);

}  // namespace
}  // namespace backhand

BENCHMARK_MAIN();
