#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sim/campaign.h"
#include "sim/events.h"
#include "sim/server.h"
#include "sim/simulation.h"

namespace backhand::sim {
namespace {

constexpr double ms = 1e6;
constexpr MonotonicTime second = 1'000'000'000;

Contestant chain(const std::vector<std::string>& lines) {
    return {.name = "chain", .chain = *chain_of(lines), .reference = {}};
}

Scenario cluster(std::uint32_t count, double load, std::uint64_t requests) {
    Scenario scenario;
    scenario.servers = {{.count = count}};
    scenario.arrivals.load = load;
    scenario.run.requests = requests;
    return scenario;
}

// ---- events ----

TEST(AnEventQueue, GivesEventsInTheOrderOfTimeAndThenOfPlanning) {
    EventQueue queue;
    for (const MonotonicTime at : {50U, 10U, 30U, 10U, 40U, 20U}) {
        queue.add(at, Event::Kind::arrival, static_cast<std::uint32_t>(queue.next_at() != never));
    }

    std::vector<MonotonicTime> times;
    std::vector<std::uint64_t> orders;
    while (!queue.empty()) {
        const Event event = queue.take();
        times.push_back(event.at);
        orders.push_back(event.order);
    }

    EXPECT_EQ(times, (std::vector<MonotonicTime>{10, 10, 20, 30, 40, 50}));
    EXPECT_EQ(orders, (std::vector<std::uint64_t>{1, 3, 5, 2, 4, 0}));
}

TEST(ServerTimers, NameTheNextServerAsTimesMove) {
    ServerTimers timers{4};
    timers.set(2, 20);
    timers.set(1, 10);
    EXPECT_EQ(timers.next_server(), 1U);

    timers.set(1, 30);
    EXPECT_EQ(timers.next_server(), 2U);

    timers.set(2, never);
    timers.set(1, never);
    EXPECT_EQ(timers.next_at(), never);
}

// ---- processors ----

struct Finished {
    std::uint32_t piece;
    MonotonicTime at;

    friend bool operator==(const Finished&, const Finished&) = default;
};

std::vector<Finished> run_down(Processor& processor) {
    std::vector<Finished> result;
    for (MonotonicTime at = processor.next_at(); at != never; at = processor.next_at()) {
        processor.finish(at, [&](std::uint32_t piece) { result.push_back({piece, at}); });
    }
    return result;
}

TEST(ASharedProcessor, GivesEachPieceItsPart) {
    Processor processor{ServerGroup{}};
    processor.add(1, 100, 0);
    processor.add(2, 300, 0);

    // Half the speed each until the first is done at 200, then full speed for the other 200.
    EXPECT_EQ(run_down(processor), (std::vector<Finished>{{1, 200}, {2, 400}}));
}

TEST(ASharedProcessor, HasSeveralCpusOfSomeSpeed) {
    Processor processor{ServerGroup{.cpus = 2, .speed = 2}};
    for (const std::uint32_t piece : {1U, 2U, 3U}) {
        processor.add(piece, 600, 0);
    }

    // Three pieces on two CPUs of speed 2: four thirds each.
    EXPECT_EQ(run_down(processor), (std::vector<Finished>{{1, 450}, {2, 450}, {3, 450}}));
    EXPECT_DOUBLE_EQ(processor.busy(450), 900);
}

TEST(AFifoProcessor, ServesOneAfterTheOther) {
    Processor processor{ServerGroup{.discipline = ServerGroup::Discipline::fifo}};
    processor.add(1, 100, 0);
    processor.add(2, 50, 0);
    processor.add(3, 10, 0);

    EXPECT_EQ(run_down(processor), (std::vector<Finished>{{1, 100}, {2, 150}, {3, 160}}));
}

TEST(AProcessor, StandsStillWithoutItsCpus) {
    Processor processor{ServerGroup{}};
    processor.add(1, 100, 0);
    processor.set_available(0, 40);
    EXPECT_EQ(processor.next_at(), never);

    processor.set_available(0.5, 1000);

    EXPECT_EQ(processor.next_at(), 1120U);
}

TEST(AProcessorWithAQuota, RunsAtFullSpeedUntilThatIsUsedUp) {
    Processor processor{ServerGroup{.cpus = 0.25, .quota_period_ns = 100}};
    processor.add(1, 20, 0);
    processor.add(2, 40, 0);

    // 25 in each hundred: at 25 both have 12.5, at 115 the first has the rest of its 20.
    EXPECT_EQ(run_down(processor), (std::vector<Finished>{{1, 115}, {2, 210}}));
    EXPECT_DOUBLE_EQ(processor.busy(300), 60);
}

TEST(AProcessorWithAQuota, SavesNothingOfItForTheNextPeriod) {
    Processor processor{ServerGroup{.cpus = 0.25, .quota_period_ns = 100}};
    processor.add(1, 50, 590);

    // 10 until 600, 25 until 625, the last 15 from 700 on.
    EXPECT_EQ(run_down(processor), (std::vector<Finished>{{1, 715}}));
}

// ---- runs ----

TEST(ARun, IsTheSameForTheSameSeed) {
    const Scenario scenario = cluster(4, 0.8, 5000);

    const Outcome once = simulate(scenario, chain({"auto"}), 1);
    const Outcome again = simulate(scenario, chain({"auto"}), 1);
    const Outcome other = simulate(scenario, chain({"auto"}), 2);

    EXPECT_EQ(once.fingerprint, again.fingerprint);
    EXPECT_NE(once.fingerprint, other.fingerprint);
}

TEST(ARun, AnswersEveryRequest) {
    const Outcome outcome = simulate(cluster(4, 0.8, 5000), chain({"auto"}), 1);

    EXPECT_EQ(outcome.responses.count(), 5000U);
    EXPECT_EQ(outcome.failed + outcome.unfinished, 0U);
    EXPECT_GT(outcome.forwarded, 500U);
}

TEST(ARun, ForwardsNothingWithoutAChain) {
    const Outcome outcome = simulate(cluster(4, 0.8, 5000), chain({"off"}), 1);

    EXPECT_EQ(outcome.forwarded, 0U);
    EXPECT_EQ(outcome.announcements, 0U);
}

TEST(ARun, ServesRequestsWhereTheyArriveUntilSomethingHasBeenHeard) {
    Scenario scenario = cluster(4, 0.8, 5000);
    scenario.network.loss = 1;

    EXPECT_EQ(simulate(scenario, chain({"auto"}), 1).forwarded, 0U);
}

TEST(ARun, BeginsTheSameWayForEveryChain) {
    Scenario scenario = cluster(1, 0.8, 5000);
    scenario.servers = {{.count = 1}};

    // One server has nobody to send to: whatever the chain, nothing differs.
    const Outcome with = simulate(scenario, chain({"auto"}), 1);
    const Outcome without = simulate(scenario, chain({"off"}), 1);

    EXPECT_EQ(with.responses.mean(), without.responses.mean());
}

TEST(ARun, ChargesForForwarding) {
    Scenario free = cluster(4, 0.5, 20'000);
    free.forwarding = {.forwarder_ns = 0, .peer_ns = 0};
    Scenario charged = free;
    charged.forwarding = {.forwarder_ns = 2 * ms, .peer_ns = 1 * ms};
    const Contestant everything_moves = chain({"removeSelf", "byRandom", "byWindow 1"});

    const double before = simulate(free, everything_moves, 1).utilisation;
    const double after = simulate(charged, everything_moves, 1).utilisation;

    EXPECT_NEAR(before, 0.5, 0.02);
    EXPECT_NEAR(after, 0.5 * 1.3, 0.02);
}

TEST(ARun, ChargesForAsking) {
    Scenario scenario = cluster(4, 0.5, 5000);
    scenario.forwarding = {.forwarder_ns = 0, .peer_ns = 0};
    scenario.asking = {.asker_ns = 1 * ms, .asker_per_server_ns = 0.5 * ms, .asked_ns = 0.5 * ms};
    const Contestant two_are_asked = chain({"removeSelf", "byRandom", "byWindow 2", "byProbe 2"});

    const Outcome asked = simulate(scenario, two_are_asked, 1);

    // 2 ms where one asks and 0.5 ms where each of two is asked, for requests of 10 ms.
    const double by_request = static_cast<double>(asked.questions) / 2 / 5500;
    EXPECT_GT(by_request, 0.1);
    EXPECT_NEAR(asked.utilisation, 0.5 * (1 + 0.3 * by_request), 0.02);
}

// Two requests of 50 ms come to one of two servers, the second when the first has 40 ms left.
Outcome two_requests_at_one(double delay_ns) {
    Scenario scenario = cluster(2, 0.5, 2);
    scenario.run.warm_up = 0;
    scenario.arrivals.kind = Arrivals::Kind::trace;
    scenario.arrivals.trace = {{.at = second, .ingress = 0, .work = 50 * ms},
                               {.at = second + 10'000'000, .ingress = 0, .work = 50 * ms}};
    scenario.forwarding = {.forwarder_ns = 0, .peer_ns = 0};
    scenario.asking = {.asker_ns = 0, .asker_per_server_ns = 0, .asked_ns = 0};
    scenario.network = {.delay_ns = delay_ns, .jitter_ns = 0, .loss = 0};
    return simulate(scenario, chain({"byProbe 1"}), 1);
}

TEST(ARun, WaitsForAnswersAsLongAsTheyTake) {
    const Outcome outcome = two_requests_at_one(0.4 * ms);

    // To and fro for the question, and again for the request.
    EXPECT_EQ(outcome.questions, 1U);
    EXPECT_EQ(outcome.forwarded, 1U);
    EXPECT_NEAR(outcome.responses.mean(), (50 * ms + 51.6 * ms) / 2, 10);
}

TEST(ARun, WaitsForAnswersNoLongerThanTheLimit) {
    const Outcome outcome = two_requests_at_one(10 * ms);

    // 11 ms alone, then both on one CPU: 89 and 90 ms.
    EXPECT_EQ(outcome.questions, 1U);
    EXPECT_EQ(outcome.forwarded, 0U);
    EXPECT_NEAR(outcome.responses.mean(), (89 * ms + 90 * ms) / 2, 10);
}

TEST(ARun, MovesWorkAwayFromAServerThatHasAllTheClients) {
    Scenario scenario = cluster(4, 0.7, 10'000);
    scenario.arrivals.shares = {1, 0};
    scenario.forwarding = {.forwarder_ns = 0.1 * ms, .peer_ns = 0};

    const Outcome alone = simulate(scenario, chain({"off"}), 1);
    const Outcome together = simulate(scenario, chain({"auto"}), 1);

    EXPECT_LT(together.responses.mean() * 10, alone.responses.mean());
    EXPECT_GT(together.forwarded, 5000U);
}

TEST(ARun, LosesWhatACrashedServerWasServingButNotWhatItsPeersSentIt) {
    Scenario scenario = cluster(4, 0.6, 20'000);
    scenario.run.warm_up = 0;
    scenario.classes[0].hold = Distribution::fixed(20 * ms);
    // Clients are told to go elsewhere at once: what fails was in progress.
    scenario.arrivals.ingress_changes = {{.at = 10 * second, .shares = {0, 1}},
                                         {.at = 30 * second, .shares = {1, 1}}};
    scenario.failures = {
        {.kind = Failure::Kind::crash, .servers = {0}, .from = 10 * second, .to = 30 * second}};

    const Outcome outcome = simulate(scenario, chain({"auto"}), 1);

    EXPECT_GT(outcome.failed, 0U);
    EXPECT_LT(outcome.failed, 20U);
    EXPECT_EQ(outcome.failed + outcome.responses.count(), 20'000U);
}

TEST(ARun, SurvivesAServerThatHangs) {
    Scenario scenario = cluster(4, 0.5, 20'000);
    scenario.run.warm_up = 0;
    scenario.forwarding.response_timeout_ns = 1e9;
    scenario.failures = {
        {.kind = Failure::Kind::hang, .servers = {1}, .from = 10 * second, .to = 20 * second}};

    const Outcome outcome = simulate(scenario, chain({"auto"}), 1);

    // Its own clients wait for it to go on.
    EXPECT_EQ(outcome.responses.count(), 20'000U);
    EXPECT_GT(outcome.responses.longest(), 5 * second);
}

TEST(ARun, SurvivesAPartedNetwork) {
    Scenario scenario = cluster(4, 0.5, 20'000);
    scenario.run.warm_up = 0;
    scenario.failures = {{.kind = Failure::Kind::partition,
                          .servers = {0, 1},
                          .from = 10 * second,
                          .to = 20 * second}};

    const Outcome outcome = simulate(scenario, chain({"auto"}), 1);

    EXPECT_EQ(outcome.responses.count(), 20'000U);
}

TEST(ARun, LetsAServerJoin) {
    Scenario scenario = cluster(4, 0.5, 20'000);
    scenario.run.warm_up = 0;
    scenario.arrivals.shares = {1, 1, 1, 0};
    scenario.failures = {{.kind = Failure::Kind::join, .servers = {3}, .from = 20 * second}};

    const Outcome outcome = simulate(scenario, chain({"auto"}), 1);

    EXPECT_EQ(outcome.responses.count(), 20'000U);
}

TEST(ARun, KeepsRequestsThatWaitForAWorker) {
    Scenario scenario = cluster(2, 0.9, 5000);
    scenario.servers[0].workers = 2;

    const Outcome outcome = simulate(scenario, chain({"auto"}), 1);

    EXPECT_EQ(outcome.responses.count(), 5000U);
}

TEST(ARun, HoldsWorkersWithoutWork) {
    Scenario scenario = cluster(1, 0.1, 2000);
    scenario.classes[0].hold = Distribution::fixed(500 * ms);

    const Outcome outcome = simulate(scenario, chain({"off"}), 1);

    EXPECT_GT(outcome.responses.quantile(0.01), 499 * ms);
    EXPECT_NEAR(outcome.utilisation, 0.1, 0.02);
}

TEST(ARun, OfAClosedLoopHasNoMoreRequestsThanUsers) {
    Scenario scenario = cluster(2, 0.5, 5000);
    scenario.arrivals.kind = Arrivals::Kind::closed;
    scenario.arrivals.users = 20;
    scenario.arrivals.think = Distribution::exponential(50 * ms);

    const Outcome outcome = simulate(scenario, chain({"auto"}), 1);

    EXPECT_EQ(outcome.responses.count(), 5000U);
    EXPECT_LT(outcome.in_system, 20);
}

TEST(ARun, FollowsATrace) {
    Scenario scenario = cluster(2, 0.5, 3);
    scenario.run.warm_up = 0;
    scenario.arrivals.kind = Arrivals::Kind::trace;
    scenario.arrivals.trace = {{.at = second, .ingress = 0, .work = 5 * ms},
                               {.at = 2 * second, .ingress = 1, .work = 7 * ms},
                               {.at = 3 * second, .ingress = 0, .work = 9 * ms}};

    const Outcome outcome = simulate(scenario, chain({"off"}), 1);

    EXPECT_EQ(outcome.responses.count(), 3U);
    EXPECT_DOUBLE_EQ(outcome.responses.mean(), 7 * ms);
}

TEST(ARun, ComesInBurstsAtTheSameMeanRate) {
    Scenario scenario = cluster(4, 0.5, 100'000);
    scenario.arrivals.kind = Arrivals::Kind::on_off;

    const Outcome bursts = simulate(scenario, chain({"off"}), 1);
    scenario.arrivals.kind = Arrivals::Kind::poisson;
    const Outcome steady = simulate(scenario, chain({"off"}), 1);

    EXPECT_NEAR(bursts.arrivals_per_second / steady.arrivals_per_second, 1, 0.05);
    EXPECT_GT(bursts.responses.mean(), steady.responses.mean());
}

TEST(ARun, SlowsDownUnderAnAntagonist) {
    Scenario scenario = cluster(2, 0.5, 20'000);
    const double before = simulate(scenario, chain({"off"}), 1).responses.mean();
    Antagonist antagonist;
    antagonist.servers = {0};
    antagonist.depth = 0.6;
    scenario.antagonists = {antagonist};

    EXPECT_GT(simulate(scenario, chain({"off"}), 1).responses.mean(), 1.5 * before);
}

TEST(ARun, SaysHowManyIntervalsAServerHadMoreThanTheOthers) {
    Scenario scenario = cluster(4, 0.5, 2000);
    scenario.arrivals.shares = {1, 0};

    const Outcome outcome = simulate(scenario, chain({"off"}), 1);

    // Twice what the one server can do comes to it.
    EXPECT_NEAR(outcome.imbalance_longest, outcome.seconds / 0.1, 1.1);
    EXPECT_EQ(outcome.imbalance_share, 1);
}

TEST(ARun, TakesMomentsApartForNoStretch) {
    Scenario scenario = cluster(2, 0.8, 20'000);
    scenario.classes[0].work = Distribution::exponential(0.1 * ms);

    const Outcome outcome = simulate(scenario, chain({"off"}), 1);

    // Often above, but never for the thousand requests that an interval is long.
    EXPECT_GT(outcome.imbalance_share, 0.3);
    EXPECT_LT(outcome.imbalance_longest, 1);
}

TEST(ACampaign, IsTheSameWithOneJobAndWithTwo) {
    Scenario scenario = cluster(3, 0.8, 2000);
    scenario.loads = {0.5, 0.8};
    scenario.contestants = {chain({"off"}), chain({"auto"})};
    scenario.run.replications = 3;
    scenario.run.series_bins = 10;

    const Results one = run_campaign(scenario, {.jobs = 1, .progress = {}});
    const Results two = run_campaign(scenario, {.jobs = 2, .progress = {}});

    ASSERT_EQ(one.cells.size(), 4U);
    for (std::size_t cell = 0; cell < one.cells.size(); ++cell) {
        EXPECT_EQ(one.cells[cell].fingerprint, two.cells[cell].fingerprint);
        EXPECT_EQ(one.cells[cell].values, two.cells[cell].values);
    }
}

TEST(AnEstimate, HasAnIntervalFromStudentsT) {
    const std::vector<double> values = {1, 2, 3, 4, 5};

    const Estimate estimated = estimate(values);

    EXPECT_DOUBLE_EQ(estimated.mean, 3);
    EXPECT_NEAR(estimated.half_width, 2.776 * std::sqrt(2.5 / 5), 1e-3);
}

}  // namespace
}  // namespace backhand::sim
