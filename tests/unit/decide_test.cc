// The candidacy set, the built-in functions and the chain.
#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "decide/builtin.h"
#include "decide/chain.h"
#include "decide/cost.h"
#include "table_fixture.h"

namespace backhand {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr MonotonicTime now = 100'000'000'000;

ServerView server(std::uint32_t slot_index) {
    ServerView view;
    view.slot_index = slot_index;
    view.workers_idle = 10;
    return view;
}

std::vector<std::uint32_t> slots_of(const CandidacySet& set) {
    std::vector<std::uint32_t> slots;
    for (std::size_t position = 0; position < set.size(); ++position) {
        slots.push_back(set[position].slot_index);
    }
    return slots;
}

// Runs the functions of one `Backhand` line over the set.
void run(std::string_view name, std::string_view argument, CandidacySet& set,
         std::uint64_t seed = 1) {
    const TableFixture table;
    Random random{seed};
    const RequestView request;
    auto made = make_builtin(name, argument);
    ASSERT_TRUE(made) << made.error().detail;
    for (const NamedFunction& function : *made) {
        function.function->apply(set, {request, *table, random, now});
    }
}

CandidacySet set_of(const std::vector<ServerView>& servers) {
    CandidacySet set;
    set.begin(servers.front());
    for (std::size_t index = 1; index < servers.size(); ++index) {
        set.add(servers[index]);
    }
    return set;
}

CandidacySet set_of_size(std::uint32_t size) {
    CandidacySet set;
    set.begin(server(0));
    for (std::uint32_t slot_index = 1; slot_index < size; ++slot_index) {
        set.add(server(slot_index));
    }
    return set;
}

TEST(ACandidacySet, KeepsTheOrderOfEqualScores) {
    CandidacySet set = set_of_size(5);

    set.order_by([](const ServerView& view) { return view.slot_index == 3 ? 0.0 : 1.0; });

    EXPECT_THAT(slots_of(set), ElementsAre(3, 0, 1, 2, 4));
}

TEST(ACandidacySet, BringsSelfBackToTheHeadWhenItWasRemoved) {
    CandidacySet set = set_of_size(3);
    set.keep_if([](const ServerView& view) { return !view.is_self(); });

    set.put_self_first();

    EXPECT_THAT(slots_of(set), ElementsAre(0, 1, 2));
}

TEST(ACandidacySet, ForgetsThePreviousDecision) {
    CandidacySet set = set_of_size(5);

    set.begin(server(0));

    EXPECT_THAT(slots_of(set), ElementsAre(0));
}

TEST(ByAge, DropsServersSilentForLongerThanTheLimit) {
    ServerView old = server(1);
    old.age = std::chrono::milliseconds{2001};
    ServerView fresh = server(2);
    fresh.age = std::chrono::milliseconds{1999};
    CandidacySet set = set_of({server(0), old, fresh});

    run("byAge", "2", set);

    EXPECT_THAT(slots_of(set), ElementsAre(0, 2));
}

TEST(ByAge, AllowsFiveSecondsWhenNothingElseIsSaid) {
    ServerView old = server(1);
    old.age = std::chrono::milliseconds{5001};
    ServerView fresh = server(2);
    fresh.age = std::chrono::milliseconds{4999};
    CandidacySet set = set_of({server(0), old, fresh});

    run("byAge", "", set);

    EXPECT_THAT(slots_of(set), ElementsAre(0, 2));
}

TEST(ByRandom, KeepsEveryMember) {
    CandidacySet set = set_of_size(4);

    run("byRandom", "", set);

    EXPECT_THAT(slots_of(set), UnorderedElementsAre(0, 1, 2, 3));
}

TEST(ByRandom, PutsEachServerFirstAboutEquallyOften) {
    std::vector<int> first(4, 0);

    for (std::uint64_t seed = 0; seed < 4000; ++seed) {
        CandidacySet set = set_of_size(4);
        run("byRandom", "", set, Random::mix(seed));
        ++first[set[0].slot_index];
    }

    for (const int count : first) {
        EXPECT_NEAR(count, 1000, 150);
    }
}

class ByLogWindow : public ::testing::TestWithParam<std::pair<std::uint32_t, std::size_t>> {};

TEST_P(ByLogWindow, KeepsTheBaseTwoLogarithmButAtLeastOne) {
    CandidacySet set = set_of_size(GetParam().first);

    run("byLogWindow", "", set);

    EXPECT_EQ(set.size(), GetParam().second);
    EXPECT_EQ(set[0].slot_index, 0U);
}

INSTANTIATE_TEST_SUITE_P(Sizes, ByLogWindow,
                         ::testing::Values(std::pair{1U, 1U}, std::pair{2U, 1U}, std::pair{3U, 1U},
                                           std::pair{4U, 2U}, std::pair{7U, 2U}, std::pair{8U, 3U},
                                           std::pair{9U, 3U}, std::pair{1024U, 10U}));

TEST(ByLogWindowOfNothing, StaysEmpty) {
    CandidacySet set = set_of_size(1);
    set.truncate(0);

    run("byLogWindow", "", set);

    EXPECT_TRUE(set.empty());
}

TEST(ByCpu, PutsTheMostIdleServerFirst) {
    ServerView busy = server(1);
    busy.load.cpu_idle_permille = 100;
    ServerView idle = server(2);
    idle.load.cpu_idle_permille = 900;
    CandidacySet set = set_of({server(0), busy, idle});

    run("byCPU", "", set);

    EXPECT_THAT(slots_of(set), ElementsAre(2, 1, 0));
}

TEST(ByLoad, PutsTheLowestOneMinuteLoadFirst) {
    ServerView self = server(0);
    self.load.load_permille = 3000;
    ServerView loaded = server(1);
    loaded.load.load_permille = 5000;
    ServerView calm = server(2);
    calm.load.load_permille = 1000;
    CandidacySet set = set_of({self, loaded, calm});

    run("byLoad", "", set);

    EXPECT_THAT(slots_of(set), ElementsAre(2, 0, 1));
}

TEST(ByCost, PutsTheServerWithMemoryToSpareFirst) {
    ServerView full = server(0);
    full.load.memory_total_bytes = 1000;
    full.load.memory_available_bytes = 100;
    ServerView free = server(1);
    free.load.memory_total_bytes = 1000;
    free.load.memory_available_bytes = 900;
    CandidacySet set = set_of({full, free});

    run("byCost", "", set);

    EXPECT_THAT(slots_of(set), ElementsAre(1, 0));
}

TEST(ByCost, CountsLoadPerCpu) {
    ServerView one_cpu = server(0);
    one_cpu.load.load_permille = 2000;
    one_cpu.load.load_hwm = 4;
    ServerView eight_cpus = server(1);
    eight_cpus.load.load_permille = 4000;
    eight_cpus.load.cpus_permille = 8000;
    CandidacySet set = set_of({one_cpu, eight_cpus});

    run("byCost", "", set);

    EXPECT_THAT(slots_of(set), ElementsAre(1, 0));
}

TEST(TheCostOfAServer, GrowsWithMemoryAndLoadEvenInAClusterOfOne) {
    LoadReport idle;
    idle.memory_total_bytes = 1000;
    idle.memory_available_bytes = 1000;
    LoadReport full = idle;
    full.memory_available_bytes = 0;
    LoadReport loaded = idle;
    loaded.load_permille = 4000;

    // Base 2: 2^0 + 2^0, 2^1 + 2^0, 2^0 + 2^(4/8).
    EXPECT_DOUBLE_EQ(CostScale(1, 8).cost_of(idle), 3.0);
    EXPECT_DOUBLE_EQ(CostScale(1, 8).cost_of(full), 4.0);
    EXPECT_NEAR(CostScale(1, 8).cost_of(loaded), 2 + 1.41421356, 1e-6);
}

TEST(TheCostOfAServer, IsFiniteWhenNothingIsKnownOfIt) {
    LoadReport unknown;
    unknown.cpus_permille = 0;

    EXPECT_DOUBLE_EQ(CostScale(0, 0).cost_of(unknown), 4.0);
}

TEST(ByInFlight, CountsWhatThisServerSentSinceTheLastReport) {
    ServerView reported_idle = server(1);
    reported_idle.serving = 0;
    reported_idle.sent_since = 5;
    ServerView reported_busy = server(2);
    reported_busy.serving = 3;
    CandidacySet set = set_of({server(0), reported_idle, reported_busy});

    run("byInFlight", "", set);

    EXPECT_THAT(slots_of(set), ElementsAre(0, 2, 1));
}

TEST(RemoveSelf, LeavesOnlyPeers) {
    CandidacySet set = set_of_size(3);

    run("removeSelf", "", set);

    EXPECT_THAT(slots_of(set), ElementsAre(1, 2));
}

TEST(PreferSelf, StaysUnlessThePeerWinsByTheMargin) {
    ServerView self = server(0);
    self.serving = 3;
    ServerView peer = server(1);
    peer.serving = 2;
    CandidacySet set = set_of({self, peer});
    run("removeSelf", "", set);

    run("preferSelf", "2", set);

    EXPECT_THAT(slots_of(set), ElementsAre(0, 1));
}

TEST(PreferSelf, GoesWhenThePeerWinsByTheMargin) {
    ServerView self = server(0);
    self.serving = 4;
    ServerView peer = server(1);
    peer.serving = 2;
    CandidacySet set = set_of({self, peer});
    run("removeSelf", "", set);

    run("preferSelf", "2", set);

    EXPECT_THAT(slots_of(set), ElementsAre(1));
}

TEST(PreferSelf, IsTheAnswerToAnEmptySet) {
    CandidacySet set = set_of_size(1);
    set.truncate(0);

    run("preferSelf", "", set);

    EXPECT_THAT(slots_of(set), ElementsAre(0));
}

TEST(Auto, KeepsARequestOnAnIdleServer) {
    CandidacySet set = set_of_size(8);

    run("auto", "", set);

    EXPECT_TRUE(set[0].is_self());
}

TEST(Auto, MovesARequestFromABusyServerToAnIdleOne) {
    ServerView self = server(0);
    self.serving = 9;
    CandidacySet set = set_of({self, server(1), server(2)});

    run("auto", "", set);

    EXPECT_FALSE(set[0].is_self());
}

struct BadLine {
    std::string_view name;
    std::string_view argument;
    std::string_view complaint;
};

class ABadBackhandLine : public ::testing::TestWithParam<BadLine> {};

TEST_P(ABadBackhandLine, IsRefusedWithTheValueAndWhatWouldBeRight) {
    const auto made = make_builtin(GetParam().name, GetParam().argument);

    ASSERT_FALSE(made);
    EXPECT_THAT(made.error().detail, HasSubstr(GetParam().complaint));
}

INSTANTIATE_TEST_SUITE_P(
    Table, ABadBackhandLine,
    ::testing::Values(BadLine{"byMagic", "", "\"byMagic\" is no candidacy function"},
                      BadLine{"byMagic", "", "byAge"}, BadLine{"byAge", "abc", "byAge \"abc\""},
                      BadLine{"byAge", "0", "above 0"}, BadLine{"byAge", "-1", "above 0"},
                      BadLine{"byAge", "nan", "above 0"}, BadLine{"byAge", "inf", "above 0"},
                      BadLine{"byRandom", "7", "expected no argument"},
                      BadLine{"byWindow", "", "byWindow 3"}, BadLine{"byWindow", "0", "byWindow 3"},
                      BadLine{"preferSelf", "-1", "0 or more"},
                      BadLine{"auto", "fast", "expected no argument"}));

TEST(AFunctionName, IsReadWithoutRegardToCase) {
    EXPECT_TRUE(make_builtin("BYAGE", "3"));
}

TEST(AChain, TellsItselfInTheWordsOfTheConfiguration) {
    Chain chain;
    ASSERT_TRUE(chain.append("byAge", "2"));
    ASSERT_TRUE(chain.append("byLoad", ""));

    EXPECT_EQ(chain.text(), "byAge 2, byLoad");
}

TEST(AChain, DecidesNothingOnceSwitchedOff) {
    Chain chain;
    ASSERT_TRUE(chain.append("byLoad", ""));

    chain.switch_off();

    EXPECT_TRUE(chain.is_off());
    EXPECT_EQ(chain.text(), "off");
}

// A cluster of this server and two peers, and a request for their common site.
class ADecision : public ::testing::Test {
protected:
    ADecision() {
        table->set_self(report_of(1, now));
        table->take(report_of(2, now));
        table->take(report_of(3, now));
        request.service_hash = hash_ignoring_case("www.example.com");
    }

    const Decision& decide_by(std::initializer_list<std::string_view> functions) {
        Chain chain;
        for (const std::string_view function : functions) {
            EXPECT_TRUE(chain.append(function, ""));
        }
        decide(chain, {request, *table, random, decided_at}, set, decision);
        return decision;
    }

    TableFixture table;
    RequestView request;
    Random random{1};
    MonotonicTime decided_at = now;
    CandidacySet set;
    Decision decision;
};

TEST_F(ADecision, NamesThePeersThatStandBeforeSelf) {
    EXPECT_THAT(decide_by({"removeSelf"}).peers, ElementsAre(1, 2));
}

TEST_F(ADecision, IsToServeHereWhenSelfIsTheHead) {
    EXPECT_THAT(decide_by({"byAge"}).peers, IsEmpty());
    EXPECT_FALSE(decision.no_candidate);
}

TEST_F(ADecision, IsToServeHereWhenTheChainEmptiesTheSet) {
    request.service_hash = 0;

    EXPECT_THAT(decide_by({"byAge", "removeSelf"}).peers, ElementsAre(1, 2));
    decided_at = now + 2'900'000'000;
    Chain chain;
    ASSERT_TRUE(chain.append("byAge", "2"));
    ASSERT_TRUE(chain.append("removeSelf", ""));
    decide(chain, {request, *table, random, decided_at}, set, decision);

    EXPECT_THAT(decision.peers, IsEmpty());
    EXPECT_TRUE(decision.no_candidate);
}

TEST_F(ADecision, LeavesOutAPeerThatDoesNotOfferTheSite) {
    ServerReport other = report_of(2, now);
    other.services_count = 0;
    other.add_service("other.example.com");
    other.load.measurement = 2;
    table->take(other);

    EXPECT_THAT(decide_by({"removeSelf"}).peers, ElementsAre(2));
}

TEST_F(ADecision, LeavesOutAPeerSilentForThreeSecondsWhateverTheChainSays) {
    decided_at = now + 3'000'000'001;
    ServerReport heard = report_of(3, decided_at);
    heard.load.measurement = 2;
    table->take(heard);

    EXPECT_THAT(decide_by({"removeSelf"}).peers, ElementsAre(2));
}

TEST_F(ADecision, LeavesOutAPeerThatIsLeaving) {
    ServerReport leaver = report_of(2, now);
    leaver.load.flags |= ServerFlag::leaving;
    leaver.load.measurement = 2;
    table->take(leaver);

    EXPECT_THAT(decide_by({"removeSelf"}).peers, ElementsAre(2));
}

TEST_F(ADecision, LeavesOutAPeerWithoutAnIdleWorker) {
    ServerReport full = report_of(2, now);
    full.load.workers_idle = 0;
    full.load.measurement = 2;
    table->take(full);

    EXPECT_THAT(decide_by({"removeSelf"}).peers, ElementsAre(2));
}

TEST_F(ADecision, SendsNoMoreRequestsOnOneReportThanItHadIdleWorkers) {
    for (int sent = 0; sent < 10; ++sent) {
        table->forward_began(1);
    }

    EXPECT_THAT(decide_by({"removeSelf"}).peers, ElementsAre(2));
}

TEST_F(ADecision, LeavesOutAPeerWhoseConnectionJustFailed) {
    table->forward_failed(1, now);

    EXPECT_THAT(decide_by({"removeSelf"}).peers, ElementsAre(2));
}

TEST_F(ADecision, LeavesOutAPeerThatHasNotProvedItself) {
    table->demand_proof(true);
    EXPECT_THAT(decide_by({"removeSelf"}).peers, IsEmpty());
    EXPECT_TRUE(decision.no_candidate);

    table->prove(2, report_of(3, now).load.contact, 1, 1);
    EXPECT_THAT(decide_by({"removeSelf"}).peers, ElementsAre(2));
}

TEST_F(ADecision, DoesNotCountTheRequestItIsAbout) {
    table->cells().claim(1).serving_began();

    decide_by({"byAge"});

    EXPECT_EQ(set.self().serving, 0U);
}

TEST_F(ADecision, IsToServeHereWhenThereIsNoPeer) {
    const TableFixture lonely;
    lonely->set_self(report_of(1, now));
    Chain chain;
    ASSERT_TRUE(chain.append("removeSelf", ""));

    decide(chain, {request, *lonely, random, now}, set, decision);

    EXPECT_THAT(decision.peers, IsEmpty());
    EXPECT_TRUE(decision.no_candidate);
}

}  // namespace
}  // namespace backhand
