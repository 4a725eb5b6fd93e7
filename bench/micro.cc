// Micro-benchmarks of what happens per request and per announcement: reading the cluster table,
// taking in news, measuring the machine, deciding.
//
// Labels name the budgets of docs/performance.md.  `bench/micro` builds and runs this.
#include <algorithm>
#include <array>
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
#include <thread>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <poll.h>
#include <sys/socket.h>

#include "announce/datagram.h"
#include "announce/probe.h"
#include "base/text.h"
#include "cluster/table.h"
#include "decide/chain.h"
#include "decide/plugin.h"
#include "forward/udp_prober.h"
#include "measure/machine.h"
#include "moderator/probe_answerer.h"
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
    load.arriba = 250'000 + 10'000 * (number % 7);
    load.request_rate_millihertz = 50'000 + 1'000 * (number % 30);
    load.latency_us = 40'000 + 1'000 * (number % 40);
    load.latency_at_load_us = load.latency_us;
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

// ---- probes ----

constexpr std::uint16_t http_port = 8000;

// The keys of a cluster that has some, or nullptr.
const KeyRing* ring(bool is_signed) {
    static const auto keys = KeyRing::from_secrets({std::string(64, 'k')});
    return is_signed && keys ? &*keys : nullptr;
}

// A server on loopback that can be asked.
class Asked {
public:
    explicit Asked(bool is_signed)
        : probed_(open_probe_socket(*IpAddress::parse("127.0.0.1"))),
          answerer_(
              {.contact = contact(),
               .accept = accept_,
               .keys = ring(is_signed),
               .counters = counters_,
               .news = [] { return ProbeAnswerer::News{.serving = 5, .workers_idle = 68}; }}) {
        accept_.add(*parse_accept("127.0.0.1"));
    }

    static Endpoint contact() { return {*IpAddress::parse("127.0.0.1"), http_port}; }

    bool is_open() const { return static_cast<bool>(probed_); }

    Endpoint probed_at() const { return {contact().address, probed_->port}; }

    std::size_t answer() { return answerer_.answer(probed_->socket.get()); }

    // From a thread of its own, as soon as it is asked, until the end.
    void answer_by_itself() {
        thread_ = std::jthread{[this](const std::stop_token& stop) {
            constexpr int look_ms = 100;
            pollfd event{.fd = probed_->socket.get(), .events = POLLIN, .revents = 0};
            while (!stop.stop_requested()) {
                if (::poll(&event, 1, look_ms) > 0) {
                    answer();
                }
            }
        }};
    }

private:
    Result<ProbeSocket> probed_;
    AcceptList accept_;
    Counters counters_;
    ProbeAnswerer answerer_;
    std::jthread thread_;
};

// Asks so many servers at once, whose answers another thread gives.  CPU time is the asker's.
void probe_of_servers(benchmark::State& state, bool is_signed) {
    Asked asked{is_signed};
    if (!asked.is_open()) {
        state.SkipWithError("no socket");
        return;
    }
    asked.answer_by_itself();
    const TableFixture table{64, 4};
    table->set_self(report_from(self_slot, 1));
    ServerReport report = report_from(1, 1);
    report.load.contact = Asked::contact();
    report.load.probe_port = asked.probed_at().port;
    const std::vector<std::uint32_t> slots(static_cast<std::size_t>(state.range(0)),
                                           table->take(report).slot_index);
    std::vector<std::optional<ProbeAnswer>> answers(slots.size());
    const UdpProber prober{*table, Asked::contact().address, ring(is_signed)};
    prober.ask(slots, answers);

    const std::uint64_t answered_before = table->counters().get(Counter::probes_answered);
    const std::uint64_t allocations_before = allocations_count;
    for ([[maybe_unused]] auto _ : state) {
        prober.ask(slots, answers);
        benchmark::DoNotOptimize(answers);
    }
    report_allocations(state, allocations_before);
    const std::uint64_t answered =
        table->counters().get(Counter::probes_answered) - answered_before;
    state.counters["answered"] =
        benchmark::Counter(static_cast<double>(answered), benchmark::Counter::kAvgIterations);
    state.SetLabel("limit 1 ms, no allocation");
}

BENCHMARK_CAPTURE(probe_of_servers, unsigned, false)->Arg(1)->Arg(2)->Arg(4);
BENCHMARK_CAPTURE(probe_of_servers, signed, true)->Arg(1)->Arg(2)->Arg(4);

// All that asking takes but the wait: nobody answers.
void probe_that_nobody_answers(benchmark::State& state, bool is_signed) {
    const Asked asked{is_signed};
    if (!asked.is_open()) {
        state.SkipWithError("no socket");
        return;
    }
    const TableFixture table{64, 4};
    ServerReport report = report_from(1, 1);
    report.load.contact = Asked::contact();
    report.load.probe_port = asked.probed_at().port;
    const std::array slots{table->take(report).slot_index};
    std::array<std::optional<ProbeAnswer>, 1> answers;
    const UdpProber prober{*table, Asked::contact().address, ring(is_signed), Nanoseconds{0}};
    for ([[maybe_unused]] auto _ : state) {
        prober.ask(slots, answers);
        table->probe_answered(slots[0]);  // or it would soon be left alone
        benchmark::DoNotOptimize(answers);
    }
}

BENCHMARK_CAPTURE(probe_that_nobody_answers, unsigned, false);
BENCHMARK_CAPTURE(probe_that_nobody_answers, signed, true);

// So many questions that have come together, without what wakes the moderator.
void answers_to_probes(benchmark::State& state, bool is_signed) {
    Asked asked{is_signed};
    const UniqueFd asker{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    if (!asked.is_open() || !asker) {
        state.SkipWithError("no socket");
        return;
    }
    const ProbeDatagram question{
        {.kind = Probe::Kind::question, .nonce = 4711}, Asked::contact(), ring(is_signed)};
    const SocketAddress to{asked.probed_at()};
    const auto count = static_cast<std::size_t>(state.range(0));
    std::array<std::uint8_t, probe_bytes_max> room{};
    std::size_t answered = 0;
    for ([[maybe_unused]] auto _ : state) {
        state.PauseTiming();
        for (std::size_t sent = 0; sent < count; ++sent) {
            benchmark::DoNotOptimize(::sendto(asker.get(), question.bytes().data(),
                                              question.bytes().size(), 0, to.get(), to.size));
        }
        state.ResumeTiming();
        answered += asked.answer();
        state.PauseTiming();
        while (::recv(asker.get(), room.data(), room.size(), MSG_DONTWAIT) > 0) {
        }
        state.ResumeTiming();
    }
    if (answered != count * static_cast<std::size_t>(state.iterations())) {
        state.SkipWithError("not every question was answered");
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(answered));
}

BENCHMARK_CAPTURE(answers_to_probes, unsigned, false)->Arg(1)->Arg(8);
BENCHMARK_CAPTURE(answers_to_probes, signed, true)->Arg(1)->Arg(8);

}  // namespace
}  // namespace backhand

BENCHMARK_MAIN();
