// byProbe: whom it asks, when, and what becomes of the answers.
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "decide/chain.h"
#include "decisions.h"

namespace backhand {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Answers for the servers it has been told about, and remembers who was asked.
class ProberOfATest final : public Prober {
public:
    std::map<std::uint32_t, ProbeAnswer> known;
    mutable std::vector<std::vector<std::uint32_t>> asked;

    void ask(std::span<const std::uint32_t> slots,
             std::span<std::optional<ProbeAnswer>> answers) const override {
        asked.emplace_back(slots.begin(), slots.end());
        for (std::size_t index = 0; index < slots.size(); ++index) {
            const auto found = known.find(slots[index]);
            answers[index] = found == known.end() ? std::nullopt : std::optional{found->second};
        }
    }
};

ServerView with(std::uint32_t slot_index, std::uint32_t serving) {
    ServerView view = server(slot_index);
    view.serving = serving;
    view.age = Milliseconds{50};
    return view;
}

class AChainThatAsks : public testing::Test {
protected:
    AChainThatAsks() { there_.facts.time = Milliseconds{100}; }

    void asks(std::string_view argument = "3") { run("byProbe", argument, &prober_); }

    void asks_nobody_can() { run("byProbe", "3", nullptr); }

    void run(std::string_view name, std::string_view argument, const Prober* prober) {
        Random random{1};
        there_.request.facts = &there_.facts;
        auto made = make_builtin(name, argument);
        ASSERT_TRUE(made) << made.error().detail;
        made->front().function->apply(set_, {.request = there_.request,
                                             .table = *there_.table,
                                             .random = random,
                                             .now = there_.now,
                                             .forwarding_cost = there_.forwarding_cost,
                                             .prober = prober});
    }

    const ServerView& view_of(std::uint32_t slot_index) const { return set_.servers()[slot_index]; }

    Surroundings there_;
    ProberOfATest prober_;
    CandidacySet set_ = set_of({with(0, 9), with(1, 2), with(2, 3), with(3, 4), with(4, 5)});
};

TEST_F(AChainThatAsks, AsksTheFirstPeersAllAtOnce) {
    asks("2");

    ASSERT_EQ(prober_.asked.size(), 1U);
    EXPECT_THAT(prober_.asked.front(), ElementsAre(1, 2));
}

TEST_F(AChainThatAsks, AsksThreeUnlessItSaysHowMany) {
    asks("");

    EXPECT_THAT(prober_.asked, ElementsAre(ElementsAre(1, 2, 3)));
}

TEST_F(AChainThatAsks, NeverAsksThisServerNorAnotherTwice) {
    asks("8");

    EXPECT_THAT(prober_.asked, ElementsAre(ElementsAre(1, 2, 3, 4)));
}

TEST_F(AChainThatAsks, PutsWhoAnswersFirstByWhatTheyHaveToDo) {
    prober_.known = {{1, {.serving = 7, .workers_idle = 10}},
                     {3, {.serving = 0, .workers_idle = 4}}};

    asks();

    EXPECT_THAT(slots_of(set_), ElementsAre(3, 1, 0, 2, 4));
}

TEST_F(AChainThatAsks, BelievesTheAnswersAndForgetsWhatItSentBefore) {
    ServerView sent_to = with(1, 2);
    sent_to.sent_since = 3;
    set_ = set_of({with(0, 9), sent_to});
    prober_.known = {{1, {.serving = 1, .workers_idle = 4}}};

    asks();

    EXPECT_EQ(view_of(1).expected_serving(), 1U);
    EXPECT_EQ(view_of(1).workers_idle, 4U);
    EXPECT_EQ(view_of(1).age, Nanoseconds{0});
}

TEST_F(AChainThatAsks, LeavesOutWhoHasNoIdleWorkerAnyMore) {
    prober_.known = {{1, {.serving = 1, .workers_idle = 0}},
                     {2, {.serving = 2, .workers_idle = 1}}};

    asks();

    EXPECT_THAT(slots_of(set_), ElementsAre(2, 0, 3, 4));
}

TEST_F(AChainThatAsks, LeavesEverythingAsItWasIfNobodyAnswers) {
    asks();

    EXPECT_EQ(prober_.asked.size(), 1U);
    EXPECT_THAT(slots_of(set_), ElementsAre(0, 1, 2, 3, 4));
    EXPECT_EQ(view_of(1).serving, 2U);
    EXPECT_EQ(view_of(1).age, Nanoseconds{Milliseconds{50}});
}

TEST_F(AChainThatAsks, DoesNothingWhereNobodyCanBeAsked) {
    asks_nobody_can();

    EXPECT_THAT(slots_of(set_), ElementsAre(0, 1, 2, 3, 4));
}

TEST_F(AChainThatAsks, AsksNobodyIfTheSetIsEmptyOrSelfAlone) {
    set_ = set_of({with(0, 9)});
    asks();
    set_.truncate(0);
    asks();

    EXPECT_THAT(prober_.asked, IsEmpty());
}

TEST_F(AChainThatAsks, AsksNobodyWhereThisServerIsIdle) {
    set_ = set_of({with(0, 0), with(1, 0), with(2, 0)});

    asks();

    EXPECT_THAT(prober_.asked, IsEmpty());
}

TEST_F(AChainThatAsks, AsksNobodyIfAllHadAsMuchToDo) {
    set_ = set_of({with(0, 5), with(1, 5), with(2, 6), with(3, 7)});
    asks();
    EXPECT_THAT(prober_.asked, IsEmpty());

    set_ = set_of({with(0, 5), with(1, 5), with(2, 6), with(3, 4)});
    asks();
    EXPECT_EQ(prober_.asked.size(), 1U);
}

TEST_F(AChainThatAsks, AsksNobodyAboutARequestThatTakesNoLongerThanToForwardIt) {
    there_.facts.time = std::chrono::microseconds{200};

    asks();

    EXPECT_THAT(prober_.asked, IsEmpty());
}

TEST_F(AChainThatAsks, LetsARequestGoForLessOnceItKnows) {
    // 200 of 1,000 us, for each of ten: two held up, of which old news ask for five times as much.
    there_.facts.time = Milliseconds{1};
    prober_.known = {{1, {.serving = 5, .workers_idle = 9}}};

    run("byInFlight", "", nullptr);
    CandidacySet unasked = set_of({with(0, 9), with(1, 5)});
    std::swap(set_, unasked);
    run("preferSelf", "1", nullptr);
    EXPECT_TRUE(set_[0].is_self());

    std::swap(set_, unasked);
    asks();
    run("preferSelf", "1", nullptr);
    EXPECT_EQ(set_[0].slot_index, 1U);
}

TEST_F(AChainThatAsks, SaysInAnExplanationHowManyHaveAnswered) {
    auto made = make_builtin("byProbe", "3");
    ASSERT_TRUE(made);
    const CandidacyFunction& function = *made->front().function;
    Random random{1};
    there_.request.facts = &there_.facts;
    const auto remark = [&](const Prober* prober) {
        const DecisionContext context{.request = there_.request,
                                      .table = *there_.table,
                                      .random = random,
                                      .now = there_.now,
                                      .prober = prober};
        function.apply(set_, context);
        return function.remark(set_, context);
    };

    EXPECT_EQ(remark(nullptr), "nobody can be asked");
    EXPECT_EQ(remark(&prober_), "nobody was asked, or nobody has answered");
    prober_.known = {{1, {.serving = 1, .workers_idle = 1}},
                     {2, {.serving = 3, .workers_idle = 1}}};
    EXPECT_EQ(remark(&prober_), "2 answered");
}

TEST(ByProbe, TakesANumberFromOneToEight) {
    EXPECT_TRUE(make_builtin("byProbe", "1"));
    EXPECT_TRUE(make_builtin("byProbe", "8"));
    for (const char* const wrong : {"0", "9", "-1", "two", "2 3"}) {
        EXPECT_FALSE(make_builtin("byProbe", wrong)) << wrong;
    }
}

TEST(ByProbe, LetsAChainGoOnDrawingAFewServersInsteadOfLookingAtAll) {
    Chain chain;
    ASSERT_TRUE(chain.append("auto", ""));

    EXPECT_NE(chain.text().find("byProbe"), std::string::npos);
    EXPECT_TRUE(chain.samples());
    EXPECT_EQ(chain.reads(), Detail::glance);
}

}  // namespace
}  // namespace backhand
