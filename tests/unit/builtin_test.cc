// The candidacy functions beyond the seed's, one by one; and what holds for every one of them.
#include "decide/builtin.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "decide/chain.h"
#include "table_fixture.h"

namespace backhand {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAreArray;

using Slots = std::vector<std::uint32_t>;

constexpr MonotonicTime now = 100'000'000'000;

// 99.9 % of the chi-square distribution (Abramowitz and Stegun, table 26.8).
constexpr double chi_square_1_limit = 10.83;
constexpr double chi_square_3_limit = 16.27;
constexpr double chi_square_19_limit = 43.82;

// Servers in the slots 0, 1, ...; `describe(view)` says what each is like.
template <class Describe>
CandidacySet set_of(std::uint32_t size, Describe describe) {
    CandidacySet set;
    for (std::uint32_t slot_index = 0; slot_index < size; ++slot_index) {
        ServerView view;
        view.slot_index = slot_index;
        view.workers_idle = 10;
        describe(view);
        if (slot_index == 0) {
            set.begin(view);
        } else {
            set.add(view);
        }
    }
    return set;
}

CandidacySet equal_servers(std::uint32_t size) {
    return set_of(size, [](const ServerView&) {});
}

// Server n has the n-th number of requests in progress.
CandidacySet servers_serving(std::vector<std::uint32_t> counts) {
    return set_of(static_cast<std::uint32_t>(counts.size()),
                  [&counts](ServerView& view) { view.serving = counts[view.slot_index]; });
}

Slots slots_of(const CandidacySet& set) {
    Slots slots;
    for (std::size_t position = 0; position < set.size(); ++position) {
        slots.push_back(set[position].slot_index);
    }
    return slots;
}

// Runs the functions of `Backhand` lines over sets.
class Functions : public ::testing::Test {
protected:
    void run(std::string_view name, std::string_view argument, CandidacySet& set) {
        auto made = make_builtin(name, argument);
        ASSERT_TRUE(made) << made.error().detail;
        for (const NamedFunction& function : *made) {
            function.function->apply(set, {request, *table, random, now});
        }
    }

    Slots after(std::string_view name, std::string_view argument, CandidacySet set) {
        run(name, argument, set);
        return slots_of(set);
    }

    // How often each of the first N slots comes first.
    template <std::size_t N>
    std::array<double, N> heads(std::string_view name, const CandidacySet& set, int times,
                                bool head_only = false) {
        const auto made = make_builtin(name, "");
        std::array<double, N> counts{};
        CandidacySet room;
        for (int time = 0; time < times; ++time) {
            room = set;
            if (head_only) {
                room.order_head_only();
            }
            (*made)[0].function->apply(room, {request, *table, random, now});
            ++counts.at(room[0].slot_index);
        }
        return counts;
    }

    TableFixture table;
    RequestView request;
    Random random{4711};
};

template <std::size_t N>
double chi_square(const std::array<double, N>& counted, const std::array<double, N>& expected) {
    double sum = 0;
    for (std::size_t index = 0; index < N; ++index) {
        sum += (counted[index] - expected[index]) * (counted[index] - expected[index]) /
               expected[index];
    }
    return sum;
}

// ---- the original's ----

using AddSelf = Functions;

TEST_F(AddSelf, MakesItTheLastMember) {
    CandidacySet set = equal_servers(3);
    run("removeSelf", "", set);

    EXPECT_THAT(after("addSelf", "", set), ElementsAre(1, 2, 0));
}

TEST_F(AddSelf, LeavesAMemberWhereItIs) {
    EXPECT_THAT(after("addSelf", "", equal_servers(3)), ElementsAre(0, 1, 2));
}

TEST_F(AddSelf, IsTheAnswerToAnEmptySet) {
    CandidacySet set = equal_servers(1);
    set.truncate(0);

    EXPECT_THAT(after("addSelf", "", set), ElementsAre(0));
}

TEST_F(AddSelf, BringsSelfIntoAWindowThatWasDrawnWithoutIt) {
    CandidacySet set = equal_servers(9);
    run("removeSelf", "", set);
    run("byRandom", "", set);
    run("byWindow", "2", set);

    run("addSelf", "", set);

    EXPECT_EQ(set.size(), 3U);
    EXPECT_TRUE(set[2].is_self());
}

using ByBusyChildren = Functions;

TEST_F(ByBusyChildren, PutsTheFewestBusyWorkersFirst) {
    const CandidacySet set = set_of(3, [](ServerView& view) {
        view.load.workers_busy = std::array{5U, 7U, 2U}.at(view.slot_index);
    });

    EXPECT_THAT(after("byBusyChildren", "", set), ElementsAre(2, 0, 1));
}

TEST_F(ByBusyChildren, TakesTheBiasOffThisServersNumberOnly) {
    const CandidacySet set = set_of(3, [](ServerView& view) {
        view.load.workers_busy = std::array{5U, 7U, 2U}.at(view.slot_index);
    });

    EXPECT_THAT(after("byBusyChildren", "2.5", set), ElementsAre(2, 0, 1));
    EXPECT_THAT(after("byBusyChildren", "3.5", set), ElementsAre(0, 2, 1));
}

TEST_F(ByBusyChildren, LetsTheBiasGoBelowNothing) {
    CandidacySet set = equal_servers(2);
    run("removeSelf", "", set);
    run("addSelf", "", set);

    EXPECT_THAT(after("byBusyChildren", "1", set), ElementsAre(0, 1));
}

using ByLoadWithBias = Functions;

TEST_F(ByLoadWithBias, KeepsThisServerUnlessThePeerHasThatMuchLess) {
    const CandidacySet set =
        set_of(2, [](ServerView& view) { view.load.load_permille = view.is_self() ? 2000 : 1400; });

    EXPECT_THAT(after("byLoad", "", set), ElementsAre(1, 0));
    EXPECT_THAT(after("byLoad", "0.5", set), ElementsAre(1, 0));
    EXPECT_THAT(after("byLoad", "0.7", set), ElementsAre(0, 1));
}

using AddPrediction = Functions;

CandidacySet one_peer_was_sent_two() {
    return set_of(3, [](ServerView& view) {
        view.serving = 1;
        view.load.workers_busy = 1;
        view.load.load_permille = 1000;
        view.load.cpu_idle_permille = 900;
        view.load.cpus_permille = 4000;
        view.sent_since = view.slot_index == 1 ? 2 : 0;
    });
}

TEST_F(AddPrediction, ShowsEachRequestAsABusyWorkerAndABusyCpu) {
    CandidacySet set = one_peer_was_sent_two();

    run("addPrediction", "", set);

    const ServerView& peer = set[1];
    EXPECT_EQ(peer.serving, 3U);
    EXPECT_EQ(peer.workers_idle, 8U);
    EXPECT_EQ(peer.load.workers_busy, 3U);
    EXPECT_EQ(peer.load.load_permille, 3000U);
    EXPECT_EQ(peer.load.cpu_idle_permille, 400U);  // two of four CPUs
    EXPECT_EQ(set[2].load.load_permille, 1000U);
}

TEST_F(AddPrediction, CountsNoRequestTwice) {
    CandidacySet set = one_peer_was_sent_two();
    const std::uint32_t before = set[1].expected_serving();

    run("addPrediction", "", set);
    run("addPrediction", "", set);

    EXPECT_EQ(set[1].expected_serving(), before);
    EXPECT_EQ(set[1].load.workers_busy, 3U);
}

TEST_F(AddPrediction, MovesThatServerBackInEveryOrderByLoad) {
    for (const std::string_view name : {"byLoad", "byBusyChildren", "byCPU"}) {
        CandidacySet set = one_peer_was_sent_two();
        run("addPrediction", "", set);

        EXPECT_THAT(after(name, "", set), ElementsAre(0, 2, 1)) << name;
    }
}

TEST_F(AddPrediction, StopsAtTheEndsOfWhatANumberCanBe) {
    constexpr std::uint32_t most = std::numeric_limits<std::uint32_t>::max();
    CandidacySet set = set_of(1, [](ServerView& view) {
        view.serving = view.load.workers_busy = view.load.load_permille = view.sent_since = most;
        view.load.cpus_permille = 0;
    });

    run("addPrediction", "", set);

    EXPECT_EQ(set[0].serving, most);
    EXPECT_EQ(set[0].workers_idle, 0U);
    EXPECT_EQ(set[0].load.workers_busy, most);
    EXPECT_EQ(set[0].load.load_permille, most);
    EXPECT_EQ(set[0].load.cpu_idle_permille, 0U);
}

// ---- ours ----

using ByHotCold = Functions;

TEST_F(ByHotCold, PutsTheFastestOfThoseThatAreNotHotFirst) {
    // Of seven, the sixth is at the 0.84 quantile: two are hot, and the fastest is one of them.
    const CandidacySet set = set_of(7, [](ServerView& view) {
        view.serving = std::array{3U, 9U, 1U, 4U, 9U, 2U, 5U}.at(view.slot_index);
        view.load.latency_at_load_us =
            std::array{50U, 10U, 70U, 20U, 5U, 60U, 30U}.at(view.slot_index);
    });

    EXPECT_THAT(after("byHotCold", "", set), ElementsAre(3, 6, 0, 5, 2, 1, 4));
}

TEST_F(ByHotCold, TakesTheFewestRequestsWhenAllAreHot) {
    const CandidacySet set = set_of(3, [](ServerView& view) {
        view.serving = 3 - view.slot_index;
        view.load.latency_at_load_us = view.slot_index * 100;
    });

    EXPECT_THAT(after("byHotCold", "0", set), ElementsAre(2, 1, 0));
}

TEST_F(ByHotCold, FindsTheBusierOfTwoHot) {
    const CandidacySet set = set_of(2, [](ServerView& view) {
        view.serving = view.is_self() ? 4 : 3;
        view.load.latency_at_load_us = view.is_self() ? 10 : 1000;
    });

    EXPECT_THAT(after("byHotCold", "", set), ElementsAre(1, 0));
}

TEST_F(ByHotCold, CountsWhatThisServerSentSinceTheNews) {
    const CandidacySet set = set_of(2, [](ServerView& view) {
        view.serving = view.is_self() ? 4 : 0;
        view.sent_since = view.is_self() ? 0 : 5;
    });

    EXPECT_THAT(after("byHotCold", "", set), ElementsAre(0, 1));
}

TEST_F(ByHotCold, TakesAnUnknownLatencyForTheShortest) {
    const CandidacySet set = set_of(3, [](ServerView& view) {
        view.serving = view.is_self() ? 9 : 1;
        view.load.latency_at_load_us = view.slot_index == 1 ? 20 : 0;
    });

    EXPECT_THAT(after("byHotCold", "", set), ElementsAre(2, 1, 0));
}

TEST_F(ByHotCold, PutsAServerThatFailsFastLast) {
    const CandidacySet set = set_of(3, [](ServerView& view) {
        view.serving = std::array{9U, 0U, 3U}.at(view.slot_index);
        view.load.latency_at_load_us = view.slot_index == 1 ? 1 : 30'000;
        view.load.request_rate_millihertz = 100'000;
        view.load.error_rate_millihertz = view.slot_index == 1 ? 10'001 : 10'000;
    });

    EXPECT_THAT(after("byHotCold", "", set), ElementsAre(2, 0, 1));
}

using ByWeighted = Functions;

TEST_F(ByWeighted, PutsAServerFirstAsOftenAsItIsPowerful) {
    // The third has not measured its CPUs' speed: it counts as the mean of the others, 2,000.
    const CandidacySet set = set_of(4, [](ServerView& view) {
        view.load.cpus_permille = std::array{1000U, 1000U, 500U, 3000U}.at(view.slot_index);
        view.load.arriba = std::array{1000U, 3000U, 0U, 2000U}.at(view.slot_index);
    });
    constexpr int times = 20'000;

    const auto counted = heads<4>("byWeighted", set, times);

    // Weights 1,000 to 3,000 to half of 2,000 to three times 2,000.
    constexpr double unit = times / 11.0;
    EXPECT_LT(chi_square(counted, {1 * unit, 3 * unit, 1 * unit, 6 * unit}), chi_square_3_limit);
}

TEST_F(ByWeighted, IsAnyOrderWhenNothingIsKnownOfAnyone) {
    constexpr int times = 20'000;

    const auto counted = heads<4>("byWeighted", equal_servers(4), times);

    constexpr double each = times / 4.0;
    EXPECT_LT(chi_square(counted, {each, each, each, each}), chi_square_3_limit);
}

// What each of 20 is expected to be, with shares of 1, 2, ... of 210.
std::array<double, 20> rising_shares(int times) {
    std::array<double, 20> expected{};
    for (std::size_t index = 0; index < expected.size(); ++index) {
        expected.at(index) = times * static_cast<double>(index + 1) / 210;
    }
    return expected;
}

TEST_F(ByWeighted, DoesSoWhetherTheRestIsOrderedOrNot) {
    const CandidacySet set =
        set_of(20, [](ServerView& view) { view.load.arriba = 1000 * (view.slot_index + 1); });
    constexpr int times = 40'000;

    for (const bool head_only : {false, true}) {
        const auto counted = heads<20>("byWeighted", set, times, head_only);
        EXPECT_LT(chi_square(counted, rising_shares(times)), chi_square_19_limit) << head_only;
    }
}

using ByInterpretedLoad = Functions;

// Each answers 10 requests a second itself; of the peers the last news are 1 s old.
CandidacySet old_news(std::vector<std::uint32_t> counts) {
    return set_of(static_cast<std::uint32_t>(counts.size()), [&counts](ServerView& view) {
        view.serving = counts[view.slot_index];
        view.load.request_rate_millihertz = 10'000;
        view.age = view.is_self() ? Nanoseconds{0} : Nanoseconds{std::chrono::seconds{1}};
    });
}

TEST_F(ByInterpretedLoad, IsTheOrderOfLoadWhileNewsAreFresh) {
    EXPECT_THAT(after("byInterpretedLoad", "", servers_serving({5, 3, 0, 9})),
                ElementsAre(2, 1, 0, 3));
}

TEST_F(ByInterpretedLoad, ChoosesAtRandomAmongEquallyIdleServers) {
    constexpr int times = 20'000;

    const auto counted = heads<4>("byInterpretedLoad", servers_serving({0, 0, 0, 0}), times);

    constexpr double each = times / 4.0;
    EXPECT_LT(chi_square(counted, {each, each, each, each}), chi_square_3_limit);
}

TEST_F(ByInterpretedLoad, FillsTheLeastLoadedUpLikeWater) {
    // 40 a second for a mean age of 3/4 s are 30, and this request makes 31.  They fill 0 and 7 up
    // to (31 + 7) / 2 = 19, and leave those with 40 and 50 alone.
    constexpr int times = 20'000;

    const auto counted = heads<4>("byInterpretedLoad", old_news({40, 0, 7, 50}), times);

    EXPECT_EQ(counted[0], 0);
    EXPECT_EQ(counted[3], 0);
    const std::array filled{counted[1], counted[2]};
    EXPECT_LT(chi_square<2>(filled, {times * 19.0 / 31, times * 12.0 / 31}), chi_square_1_limit);
}

TEST_F(ByInterpretedLoad, DoesSoWhetherTheRestIsOrderedOrNot) {
    // 209 uncounted arrivals and this request fill 20, 19, ... requests up to 21.
    const CandidacySet set = set_of(20, [](ServerView& view) {
        view.serving = 20 - view.slot_index;
        view.load.request_rate_millihertz = 10'450;
        view.age = Nanoseconds{std::chrono::seconds{1}};
    });
    constexpr int times = 40'000;

    for (const bool head_only : {false, true}) {
        const auto counted = heads<20>("byInterpretedLoad", set, times, head_only);
        EXPECT_LT(chi_square(counted, rising_shares(times)), chi_square_19_limit) << head_only;
    }
}

TEST_F(ByInterpretedLoad, OrdersTheRestByLoad) {
    const Slots order = after("byInterpretedLoad", "", old_news({50, 0, 7, 40}));

    EXPECT_EQ(order[2], 3U);
    EXPECT_EQ(order[3], 0U);
}

TEST_F(ByInterpretedLoad, DoesNotGuessAtWhatThisServerSentItself) {
    // Of 15 uncounted arrivals this server knows 15: they are all with the peer.
    const CandidacySet set = set_of(2, [](ServerView& view) {
        view.serving = view.is_self() ? 2 : 0;
        view.sent_since = view.is_self() ? 0 : 15;
        view.load.request_rate_millihertz = 15'000;
        view.age = view.is_self() ? Nanoseconds{0} : Nanoseconds{std::chrono::seconds{1}};
    });

    EXPECT_EQ(heads<2>("byInterpretedLoad", set, 100)[0], 100);
}

// ---- filters ----

struct Asked {
    std::string_view name;
    std::string_view pattern;
    std::string_view host;
    std::string_view path;
    bool matches;
};

class AFilter : public Functions, public ::testing::WithParamInterface<Asked> {};

TEST_P(AFilter, KeepsThePeersForRequestsThatMatchOnly) {
    request.host = GetParam().host;
    request.path = GetParam().path;

    const Slots slots = after(GetParam().name, GetParam().pattern, equal_servers(3));

    EXPECT_EQ(slots, GetParam().matches ? (Slots{0, 1, 2}) : Slots{0})
        << GetParam().pattern << " on " << GetParam().path;
}

INSTANTIATE_TEST_SUITE_P(
    Table, AFilter,
    ::testing::Values(Asked{"byPath", "^/app/", "", "/app/x", true},
                      Asked{"byPath", "^/app/", "", "/apple", false},
                      Asked{"byPath", "^/app/", "", "/APP/x", false},
                      Asked{"byPath", "\\.php$", "", "/a.php?x=1", true},
                      Asked{"byPath", "\\.php$", "", "/a?x=.php", false},
                      Asked{"byPath", "^/app/", "", "http://www.example.com/app/?q", true},
                      Asked{"byPath", "^/$", "", "http://www.example.com", true},
                      Asked{"byPath", "^/app/", "", "/x?u=http://a/app/", false},
                      Asked{"byPath", "^/(a|b)/[0-9]+$", "", "/b/42", true},
                      Asked{"byPath", "^/\\{x", "", "/{x}", true},
                      Asked{"byPath", ".", "", "", false}, Asked{"byPath", "^$", "", "", true},
                      Asked{"byHost", "^www\\.", "www.example.com", "/", true},
                      Asked{"byHost", "^www\\.", "WWW.example.com", "/", true},
                      Asked{"byHost", "^www\\.", "wwwexample.com", "/", false},
                      Asked{"byHost", "^$", "", "/", true}));

TEST_F(Functions, OfTheRequestReadNoFurtherThanItReaches) {
    const std::string buffer = "/app/x";
    request.path = std::string_view(buffer).substr(0, 4);

    EXPECT_THAT(after("byPath", "^/app/", equal_servers(2)), ElementsAre(0));
    EXPECT_THAT(after("byPath", "^/app$", equal_servers(2)), ElementsAre(0, 1));
}

// This server, busy, and 40 idle peers.
class ADecisionByPath : public Functions {
protected:
    ADecisionByPath() {
        large->set_self(report_of(200, now));
        for (std::uint8_t number = 1; number <= 40; ++number) {
            large->take(report_of(number, now));
        }
        const ChildTally tally = large->cells().claim(1);
        for (int count = 0; count < 5; ++count) {
            tally.serving_began();
        }
        EXPECT_TRUE(chain.append("byPath", "^/app/"));
        EXPECT_TRUE(chain.append("auto", ""));
        request.service_hash = hash_ignoring_case("www.example.com");
    }

    const Decision& decide_about(std::string_view path) {
        request.path = path;
        decide(chain, {request, *large, random, now}, set, decision);
        return decision;
    }

    TableFixture large{64};
    Chain chain;
    CandidacySet set;
    Decision decision;
};

TEST_F(ADecisionByPath, StillDrawsAFewServersInsteadOfLookingAtAll) {
    EXPECT_TRUE(chain.samples());

    EXPECT_EQ(decide_about("/app/").peers.size(), 2U);
    EXPECT_EQ(set.servers().size(), 3U);
}

TEST_F(ADecisionByPath, IsToServeHereByChoiceWhenTheRequestDoesNotMatch) {
    decide_about("/images/");

    EXPECT_THAT(decision.peers, IsEmpty());
    EXPECT_FALSE(decision.no_candidate);
}

// ---- all of them ----

struct Line {
    std::string_view name;
    std::string_view argument;
};

std::ostream& operator<<(std::ostream& out, const Line& line) {
    return out << line.name << ' ' << line.argument;
}

// Twelve servers of which the n-th number of everything is drawn at random.
CandidacySet random_servers(std::uint64_t seed) {
    Random random{seed};
    return set_of(12, [&random](ServerView& view) {
        for (std::uint32_t* const number :
             {&view.serving, &view.workers_idle, &view.sent_since, &view.load.load_permille,
              &view.load.workers_busy, &view.load.cpu_idle_permille, &view.load.cpus_permille,
              &view.load.arriba, &view.load.request_rate_millihertz,
              &view.load.error_rate_millihertz, &view.load.latency_at_load_us}) {
            // Small ones, 0 and the largest there is.
            *number =
                random.below(8) == 0 ? std::numeric_limits<std::uint32_t>::max() : random.below(5);
        }
        view.age = std::chrono::milliseconds{view.is_self() ? 0 : random.below(3000)};
    });
}

class APermutation : public Functions, public ::testing::WithParamInterface<Line> {};

TEST_P(APermutation, KeepsTheMembersAndNoOthers) {
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        CandidacySet set = random_servers(seed);
        set.truncate(1 + seed % 12);
        const Slots before = slots_of(set);

        EXPECT_THAT(after(GetParam().name, GetParam().argument, set),
                    UnorderedElementsAreArray(before));
    }
}

TEST_P(APermutation, LeavesAnEmptySetEmpty) {
    CandidacySet set = equal_servers(4);
    set.truncate(0);

    EXPECT_THAT(after(GetParam().name, GetParam().argument, set), IsEmpty());
}

TEST_P(APermutation, LeavesASingleServerAlone) {
    EXPECT_THAT(after(GetParam().name, GetParam().argument, equal_servers(1)), ElementsAre(0));
}

TEST_P(APermutation, DependsOnNothingButTheSetAndTheRandomNumbers) {
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        random = Random{seed};
        const Slots once = after(GetParam().name, GetParam().argument, random_servers(seed));
        random = Random{seed};

        EXPECT_EQ(after(GetParam().name, GetParam().argument, random_servers(seed)), once);
    }
}

INSTANTIATE_TEST_SUITE_P(Lines, APermutation,
                         ::testing::Values(Line{"addPrediction", ""}, Line{"byBusyChildren", ""},
                                           Line{"byBusyChildren", "3"}, Line{"byCost", ""},
                                           Line{"byCPU", ""}, Line{"byHotCold", ""},
                                           Line{"byHotCold", "0"}, Line{"byHotCold", "1"},
                                           Line{"byInFlight", ""}, Line{"byInterpretedLoad", ""},
                                           Line{"byLoad", ""}, Line{"byLoad", "0.5"},
                                           Line{"byRandom", ""}, Line{"byWeighted", ""}));

class AnOrder : public Functions, public ::testing::WithParamInterface<Line> {};

TEST_P(AnOrder, KeepsEqualServersAsTheyWere) {
    CandidacySet set = equal_servers(6);
    run("byRandom", "", set);
    const Slots before = slots_of(set);

    EXPECT_EQ(after(GetParam().name, GetParam().argument, set), before);
}

INSTANTIATE_TEST_SUITE_P(Lines, AnOrder,
                         ::testing::Values(Line{"addPrediction", ""}, Line{"addSelf", ""},
                                           Line{"byBusyChildren", ""}, Line{"byHotCold", ""},
                                           Line{"byLoad", ""}));

class AKeeper : public Functions, public ::testing::WithParamInterface<Line> {};

TEST_P(AKeeper, AddsNobodyAndKeepsTheOrder) {
    request.path = "/images/";
    request.host = "www.example.com";
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        CandidacySet set = random_servers(seed);
        run("byRandom", "", set);
        set.truncate(seed % 13);
        const Slots before = slots_of(set);

        const Slots left = after(GetParam().name, GetParam().argument, set);

        auto found = before.begin();
        for (const std::uint32_t slot : left) {
            found = std::find(found, before.end(), slot);
            ASSERT_NE(found, before.end());
            ++found;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Lines, AKeeper,
                         ::testing::Values(Line{"byAge", "1"}, Line{"byHost", "^www"},
                                           Line{"byHost", "^static"}, Line{"byLogWindow", ""},
                                           Line{"byPath", "^/app/"}, Line{"byPath", "^/images/"},
                                           Line{"byWindow", "3"}, Line{"removeSelf", ""}));

struct BadLine {
    std::string_view name;
    std::string_view argument;
    std::string_view complaint;
};

std::ostream& operator<<(std::ostream& out, const BadLine& line) {
    return out << line.name << ' ' << line.argument;
}

class AWrongLine : public ::testing::TestWithParam<BadLine> {};

TEST_P(AWrongLine, IsRefusedWithTheFunctionTheArgumentAndWhatWouldBeRight) {
    const auto made = make_builtin(GetParam().name, GetParam().argument);

    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().kind, Error::Kind::malformed);
    EXPECT_THAT(made.error().detail, HasSubstr(std::string(GetParam().name) + " \"" +
                                               std::string(GetParam().argument) + "\": expected "));
    EXPECT_THAT(made.error().detail, HasSubstr(GetParam().complaint));
}

INSTANTIATE_TEST_SUITE_P(
    Table, AWrongLine,
    ::testing::Values(
        BadLine{"addPrediction", "1", "no argument"}, BadLine{"addSelf", "first", "no argument"},
        BadLine{"byBusyChildren", "-1", "from 0 to 1000000, for example byBusyChildren 1"},
        BadLine{"byBusyChildren", "nan", "from 0"}, BadLine{"byBusyChildren", "inf", "from 0"},
        BadLine{"byBusyChildren", "2x", "from 0"}, BadLine{"byLoad", "-0.5", "byLoad 1"},
        BadLine{"byLoad", "1e7", "byLoad 1"}, BadLine{"byHotCold", "1.01", "from 0 to 1"},
        BadLine{"byHotCold", "84", "from 0 to 1"}, BadLine{"byHotCold", "nan", "from 0 to 1"},
        BadLine{"byInterpretedLoad", "1", "no argument"}, BadLine{"byWeighted", "2", "no argument"},
        BadLine{"byPath", "", "for example byPath ^/app/"},
        BadLine{"byHost", "", "for example byHost ^www\\."},
        BadLine{"byPath", "^/(app", "regular expression, for example byPath ^/app/ ("},
        BadLine{"byPath", "[a", "regular expression"}, BadLine{"byPath", "a**{1}+", "at byte"},
        BadLine{"byPath", "((a{1,255}){1,255}){1,255}", "too large"},
        BadLine{"byPath", "(.*)\\1", "non-existent subpattern"}));

TEST(APattern, IsRefusedIfItIsLongerThan255Bytes) {
    EXPECT_TRUE(make_builtin("byPath", std::string(255, 'a')));

    const auto made = make_builtin("byPath", std::string(256, 'a'));

    ASSERT_FALSE(made);
    EXPECT_THAT(made.error().detail, HasSubstr("at most 255 bytes"));
}

TEST(ByHost, LooksAtNoCaseInThePatternEither) {
    for (const auto& [pattern, host] :
         {std::pair{"^WWW\\.", "www.example.com"}, std::pair{"^[A-C]x$", "BX"},
          std::pair{"^[[:upper:]]+$", "abc"}, std::pair{"^[[:lower:]]+$", "ABC"},
          std::pair{"^a\\WB$", "A-b"}}) {
        const auto made = make_builtin("byHost", pattern);
        ASSERT_TRUE(made) << pattern;
        const RequestView request{.host = host};
        EXPECT_TRUE(made->front().function->admits(request)) << pattern;
    }
}

TEST(AnUnknownFunction, IsAnsweredWithTheNamesOfAll) {
    const auto made = make_builtin("byMagic", "");

    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().detail,
              "\"byMagic\" is no candidacy function: expected off or one of auto byHotCold "
              "byInFlight byInterpretedLoad byWeighted byWindow preferSelf byHealth byLatency "
              "bySlowStart bySession HTTPRedirectToIP HTTPRedirectToName addPrediction addSelf "
              "byAge byBusyChildren byCost byCPU byLoad byLogWindow byRandom removeSelf byHeader "
              "byHost byPath");
}

TEST(AutoAsALine, StandsForSixOthers) {
    Chain chain;

    ASSERT_TRUE(chain.append("auto", ""));

    EXPECT_EQ(chain.text(),
              "byAge 2, removeSelf, byRandom, byWindow 3, byInF"
              "light, byProbe 3, preferSelf 1");
}

TEST(AChainWithNewFunctions, StillDrawsItsFewServersAtRandom) {
    for (const std::string_view last : {"addPrediction", "addSelf", "byBusyChildren", "byHotCold",
                                        "byInterpretedLoad", "byLoad", "byWeighted"}) {
        Chain chain;
        ASSERT_TRUE(chain.append("byRandom", ""));
        ASSERT_TRUE(chain.append("byWindow", "3"));
        ASSERT_TRUE(chain.append(last, ""));
        EXPECT_TRUE(chain.samples()) << last;
    }
    for (const std::string_view first : {"addPrediction", "addSelf", "byWeighted"}) {
        Chain chain;
        ASSERT_TRUE(chain.append(first, ""));
        ASSERT_TRUE(chain.append("byRandom", ""));
        ASSERT_TRUE(chain.append("byWindow", "3"));
        EXPECT_FALSE(chain.samples()) << first;
    }
}

}  // namespace
}  // namespace backhand
