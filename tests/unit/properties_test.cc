// What holds for every built-in function whatever the set: members are neither invented nor lost,
// and chance is fair and repeatable.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "busy_cluster.h"
#include "cluster/report_fields.h"
#include "decide/chain.h"
#include "decisions.h"

namespace backhand {
namespace {

enum class Kind { ordinary, equal, ejected, extreme, empty, alone };

constexpr std::array kinds = {Kind::ordinary, Kind::equal, Kind::ejected,
                              Kind::extreme,  Kind::empty, Kind::alone};

ServerView server_of(Kind kind, std::uint32_t slot_index, Random& random) {
    ServerView view = server(slot_index);
    if (kind == Kind::equal) {
        return view;
    }
    constexpr std::uint32_t most = std::numeric_limits<std::uint32_t>::max();
    // Extreme: each number is the lowest or the highest there is.
    const auto number = [&](std::uint32_t bound) {
        return kind == Kind::extreme ? (random.below(2) == 0 ? 0 : most) : random.below(bound);
    };
    view.age = Nanoseconds{number(4)} * 1'000'000'000;
    view.serving = number(100);
    view.workers_idle = number(3);
    view.sent_since = number(3);
    view.own_latency_us = number(100'000);
    view.own_latency_age_ms = number(30'000);
    view.known_for = random.below(2) == 0 ? Nanoseconds::max() : Nanoseconds{number(60)};
    view.unhealthy = kind == Kind::ejected || random.below(4) == 0;
    view.ejected = kind == Kind::ejected || random.below(4) == 0;
    view.load.load_permille = number(64'000);
    view.load.load_hwm = number(64);
    view.load.cpus_permille = number(64'000);
    view.load.cpu_idle_permille = number(1000);
    view.load.arriba = number(100'000);
    view.load.memory_total_bytes = number(most);
    view.load.memory_available_bytes = number(most);
    view.load.workers_busy = number(100);
    view.load.workers_idle = number(100);
    view.load.workers_max = number(200);
    view.load.latency_us = number(100'000);
    view.load.latency_at_load_us = number(100'000);
    view.load.request_rate_millihertz = number(1'000'000);
    view.load.error_rate_millihertz = number(1'000'000);
    view.load.flags = number(8);
    return view;
}

CandidacySet set_of(Kind kind, std::uint64_t seed) {
    Random random{seed};
    const std::uint32_t size = kind == Kind::alone ? 1 : 1 + random.below(40);
    CandidacySet set;
    set.begin(server_of(kind, self_slot, random));
    for (std::uint32_t slot_index = 1; slot_index < size; ++slot_index) {
        set.add(server_of(kind, slot_index, random));
    }
    if (kind == Kind::empty) {
        set.truncate(0);
    }
    return set;
}

std::vector<std::uint32_t> sorted(std::vector<std::uint32_t> slots) {
    std::sort(slots.begin(), slots.end());
    return slots;
}

// Runs the line over the set of this kind and seed, twice alike, and hands both orders to `check`.
template <class Check>
void for_each_set(const BuiltInLine& line, Check check) {
    Surroundings there;
    there.facts.headers = {{"X-Class", "a"}, {"Cookie", "id=0a000003"}};
    there.facts.time = std::chrono::milliseconds{3};
    there.forwarding_cost = std::chrono::microseconds{300};
    there.request.host = "www.example.com";
    there.request.path = "/app?id=1";
    for (const Kind kind : kinds) {
        for (std::uint64_t seed = 1; seed <= 60; ++seed) {
            SCOPED_TRACE(std::string(line.name) + ", kind " +
                         std::to_string(static_cast<int>(kind)) + ", seed " + std::to_string(seed));
            there.seed = seed;
            there.now = decided_at + seed;
            CandidacySet set = set_of(kind, seed);
            CandidacySet again = set_of(kind, seed);
            const auto before = slots_of(set);
            there.run(line.name, line.argument, set);
            there.run(line.name, line.argument, again);
            check(before, slots_of(set), slots_of(again));
        }
    }
}

class AnyFunction : public testing::TestWithParam<BuiltInLine> {};

TEST_P(AnyFunction, KeepsEveryMemberIfItOnlyOrders) {
    if (!GetParam().permutes) {
        GTEST_SKIP();
    }
    for_each_set(GetParam(), [](const auto& before, const auto& after, const auto&) {
        EXPECT_EQ(sorted(before), sorted(after));
    });
}

TEST_P(AnyFunction, InventsNobodyAndRepeatsNobody) {
    for_each_set(GetParam(), [](const auto& before, const auto& after, const auto&) {
        std::vector<std::uint32_t> allowed = before;
        allowed.push_back(self_slot);
        const auto members = sorted(after);
        const auto possible = sorted(allowed);
        EXPECT_TRUE(
            std::includes(possible.begin(), possible.end(), members.begin(), members.end()));
        EXPECT_EQ(std::adjacent_find(members.begin(), members.end()), members.end());
    });
}

TEST_P(AnyFunction, AnswersAlikeGivenTheSameChance) {
    for_each_set(GetParam(), [](const auto&, const auto& after, const auto& again) {
        EXPECT_EQ(after, again);
    });
}

INSTANTIATE_TEST_SUITE_P(BuiltIn, AnyFunction, testing::ValuesIn(built_in_lines),
                         [](const auto& tested) { return std::string(tested.param.name); });

// ---- what functions are shown ----

// A cluster that shows of its servers what is asked for, and rubbish beside it.
class RubbishBeside final : public ClusterView {
public:
    explicit RubbishBeside(const ClusterView& cluster) : cluster_(cluster) {
        for (const ReportField& field : report_fields) {
            field.set(rubbish_.load, field.most);
        }
        rubbish_.load.contact = *Endpoint::parse("192.0.2.1:1");
        rubbish_.own_latency_us = rubbish_.sent_since = rubbish_.in_flight = 4711;
        rubbish_.name_hash = 4711;
    }

    std::uint32_t slots_used() const override { return cluster_.slots_used(); }

    std::uint32_t slots_max() const override { return cluster_.slots_max(); }

    bool view(std::uint32_t slot_index, std::uint64_t service_hash, MonotonicTime now,
              ServerView& view) const override {
        return cluster_.view(slot_index, service_hash, now, view);
    }

    bool look(std::uint32_t slot_index, Detail detail, std::uint64_t service_hash,
              MonotonicTime now, ServerView& shown) const override {
        shown = rubbish_;
        return cluster_.look(slot_index, detail, service_hash, now, shown);
    }

    std::optional<ServerReport> report(std::uint32_t slot_index) const override {
        return cluster_.report(slot_index);
    }

    bool is_ejected(std::uint32_t slot_index, MonotonicTime now) const override {
        return cluster_.is_ejected(slot_index, now);
    }

    std::uint32_t failures_in_a_row(std::uint32_t slot_index) const override {
        return cluster_.failures_in_a_row(slot_index);
    }

    Counters& counters() const override { return cluster_.counters(); }

    LatencyByLoad& latency() const override { return cluster_.latency(); }

    LocationTimes& locations() const override { return cluster_.locations(); }

private:
    const ClusterView& cluster_;
    ServerView rubbish_;
};

std::vector<std::uint32_t> decided(const BuiltInLine& line, const DecisionContext& context) {
    const Chain chain = chain_of({{line.name.data(), line.argument.data()}, {"byInFlight", ""}});
    CandidacySet set;
    Decision decision;
    decide(chain, context, set, decision);
    return decision.peers;
}

TEST_P(AnyFunction, ReadsNoMoreThanItSays) {
    for (const std::uint32_t size : {3U, 40U, 200U}) {
        BusyCluster cluster{size};
        BusyCluster same{size};
        const DecisionContext whole = cluster.context();
        const DecisionContext rest = same.context();
        const RubbishBeside rubbish{rest.table};
        const DecisionContext shown{rest.request, rubbish, rest.random, rest.now,
                                    rest.forwarding_cost};

        EXPECT_EQ(decided(GetParam(), shown), decided(GetParam(), whole)) << size;
    }
}

TEST(TheBuiltInFunctions, AreAllAmongThese) {
    const auto made = make_builtin("byMagic", "");
    ASSERT_FALSE(made);
    for (const BuiltInLine& line : built_in_lines) {
        EXPECT_THAT(made.error().detail, testing::HasSubstr(std::string(line.name)));
    }
    // And `auto`, which is a chain of some of them.
    const std::string names = made.error().detail.substr(made.error().detail.find("one of "));
    EXPECT_EQ(static_cast<std::size_t>(std::count(names.begin(), names.end(), ' ')),
              built_in_lines.size() + 2);
}

// ---- chance ----

// 23 degrees of freedom: above this in one of 10,000 honest tries; and the seed is fixed.
constexpr double chi_square_max = 54.0;

double chi_square(const std::vector<int>& counts, double expected) {
    double sum = 0;
    for (const int count : counts) {
        sum += (count - expected) * (count - expected) / expected;
    }
    return sum;
}

TEST(ByRandom, MakesEachOfThe24OrdersOfFourEquallyLikely) {
    constexpr int tries = 48'000;
    Surroundings there;
    std::vector<int> counts(24);
    for (int count = 0; count < tries; ++count) {
        there.seed = static_cast<std::uint64_t>(count) * 7919 + 4711;
        CandidacySet set = set_of_size(4);
        there.run("byRandom", "", set);
        const auto order = slots_of(set);
        // The order's number among all: how many of the later ones are smaller (Lehmer's code).
        std::size_t number = 0;
        for (std::size_t index = 0; index < order.size(); ++index) {
            const auto smaller =
                std::count_if(order.begin() + static_cast<std::ptrdiff_t>(index), order.end(),
                              [&](std::uint32_t slot) { return slot < order[index]; });
            number = number * (order.size() - index) + static_cast<std::size_t>(smaller);
        }
        ++counts[number];
    }

    EXPECT_LT(chi_square(counts, tries / 24.0), chi_square_max);
}

TEST(KeepingAFewOfMany, GivesEachServerTheSameChance) {
    constexpr std::uint32_t size = 24;
    constexpr int tries = 24'000;
    BusyCluster cluster{size};
    const Chain chain = chain_of({{"byAge", "2"}, {"byRandom", ""}, {"byLogWindow", ""}});
    ASSERT_TRUE(chain.narrows());
    ASSERT_FALSE(chain.samples());
    CandidacySet set;
    Decision decision;
    std::vector<int> heads(size);
    for (int count = 0; count < tries; ++count) {
        decide(chain, cluster.context(), set, decision);
        ASSERT_EQ(set.size(), 4U);  // floor(log2 24)
        ++heads[set[0].slot_index];
    }

    EXPECT_LT(chi_square(heads, tries / static_cast<double>(size)), chi_square_max);
}

TEST(OrderingALargeSet, PutsTheBestEightFirstAndLosesNobody) {
    BusyCluster cluster{300};
    const Chain chain = chain_of({{"removeSelf", ""}, {"byLoad", ""}});
    CandidacySet set;
    Decision decision;
    decide(chain, cluster.context(), set, decision);

    std::vector<std::uint32_t> expected(299);
    for (std::uint32_t index = 0; index < 299; ++index) {
        expected[index] = index + 1;
    }
    EXPECT_EQ(sorted(slots_of(set)), expected);
    std::sort(expected.begin(), expected.end(), [](std::uint32_t left, std::uint32_t right) {
        return std::pair{left * 37 % 1000, left} < std::pair{right * 37 % 1000, right};
    });
    expected.resize(8);
    EXPECT_EQ(decision.peers, expected);
}

}  // namespace
}  // namespace backhand
