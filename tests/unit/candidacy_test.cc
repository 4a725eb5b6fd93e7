// Scores and margins, what can be asked about a request, and who is told how it ended.
#include <algorithm>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "decide/chain.h"
#include "decisions.h"

namespace backhand {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Orders as many servers as there are scores, which are theirs by slot.
CandidacySet ordered(const std::vector<double>& scores, double margin) {
    CandidacySet set = set_of_size(static_cast<std::uint32_t>(scores.size()));
    set.order_by([&](const ServerView& view) { return scores[view.slot_index]; }, margin);
    return set;
}

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinite = std::numeric_limits<double>::infinity();

TEST(AMargin, KeepsTheOrderOfWhatDiffersByNoMore) {
    EXPECT_THAT(slots_of(ordered({3, 2, 1}, 2)), ElementsAre(0, 1, 2));
}

TEST(AMargin, IsCountedFromTheLowestOfEachGroup) {
    // 1 and 2 are a group, although 3 is within the margin of 2; 3 and 4 are the next.
    EXPECT_THAT(slots_of(ordered({4, 3, 2, 1}, 1)), ElementsAre(2, 3, 0, 1));
}

TEST(AMargin, OfZeroOrLessOrNoneAtAllOrdersByScore) {
    for (const double margin : {0.0, -1.0, not_a_number}) {
        EXPECT_THAT(slots_of(ordered({3, 1, 2}, margin)), ElementsAre(1, 2, 0)) << margin;
    }
}

TEST(AMargin, WithoutEndKeepsTheOrder) {
    EXPECT_THAT(slots_of(ordered({3, infinite, 2, not_a_number}, infinite)),
                ElementsAre(0, 1, 2, 3));
}

TEST(Scores, ThatAreNoNumberComeLast) {
    EXPECT_THAT(slots_of(ordered({not_a_number, 2, not_a_number, 1}, 0)), ElementsAre(3, 1, 0, 2));
}

TEST(Scores, CanBeReadByPositionHoweverTheSetChangesAfterwards) {
    CandidacySet set = ordered({3, 1, 2}, 0);
    set.put_self_first();
    set.keep_if([](const ServerView& view) { return view.slot_index != 1; });

    EXPECT_EQ(set.score(0), 3);
    EXPECT_EQ(set.score(1), 2);
}

TEST(Scores, AreUnknownUntilSomethingOrders) {
    EXPECT_EQ(set_of_size(1).score(0), std::nullopt);
}

TEST(Scores, AreForgottenWhenTheSetBeginsAnew) {
    CandidacySet set = ordered({3, 1, 2}, 0);
    set.begin(server(0));

    EXPECT_EQ(set.score(0), std::nullopt);
}

// The value of the cookie "id" in these Cookie fields; "(none)" if there is none.
std::string cookie_in(const std::vector<std::string>& fields) {
    FactsOfATest facts;
    for (const std::string& field : fields) {
        facts.headers.emplace_back("cookie", field);
    }
    const RequestView request{.facts = &facts};
    return std::string{request.cookie("id").value_or("(none)")};
}

TEST(ACookie, IsFoundInAnyPlaceOfAnyCookieField) {
    EXPECT_EQ(cookie_in({"id=1"}), "1");
    EXPECT_EQ(cookie_in({"a=b; id=2; c=d"}), "2");
    EXPECT_EQ(cookie_in({"a=b", "c=d;id=3 "}), "3");
}

TEST(ACookie, IsTheFirstOfItsName) {
    EXPECT_EQ(cookie_in({"id=1; id=2", "id=3"}), "1");
}

TEST(ACookie, HasExactlyItsName) {
    EXPECT_EQ(cookie_in({"Id=1; xid=2; idx=3; id; =id"}), "(none)");
}

TEST(ACookie, MayBeEmptyOrQuotedOrHaveAnEqualsSign) {
    EXPECT_EQ(cookie_in({"id="}), "");
    EXPECT_EQ(cookie_in({"id=\"quoted\""}), "quoted");
    EXPECT_EQ(cookie_in({"id=\""}), "\"");
    EXPECT_EQ(cookie_in({"id=a=b"}), "a=b");
}

TEST(ACookie, IsNotFoundInRubbish) {
    EXPECT_EQ(cookie_in({"", ";;;", "; ; =;", " \t"}), "(none)");
}

TEST(ARequest, OfWhichNothingMoreIsKnownHasNoHeadersNorVariablesNorCookies) {
    const RequestView request{.path = "/a?b=c"};

    EXPECT_EQ(request.header("Host"), std::nullopt);
    EXPECT_EQ(request.environment("HOME"), std::nullopt);
    EXPECT_EQ(request.cookie("id"), std::nullopt);
    EXPECT_EQ(request.location_time(), std::nullopt);
    EXPECT_EQ(request.query(), "b=c");
}

TEST(ARequest, WithoutAQuestionMarkHasNoQuery) {
    EXPECT_EQ(RequestView{.path = "/a"}.query(), "");
    EXPECT_EQ(RequestView{.path = "/a?"}.query(), "");
}

// ---- when only the head matters ----

// The first eight by random scores, of which many are equal and some are no numbers.
std::vector<std::uint32_t> best_eight(std::uint32_t size, std::uint64_t seed, bool head_only) {
    CandidacySet set = set_of_size(size);
    if (head_only) {
        set.order_head_only();
    }
    Random random{seed};
    set.order_by([&random](const ServerView&) {
        const std::uint32_t drawn = random.below(12);
        return drawn == 0 ? not_a_number : drawn == 1 ? infinite : static_cast<double>(drawn / 3);
    });
    auto slots = slots_of(set);
    EXPECT_EQ(std::set(slots.begin(), slots.end()).size(), size);
    slots.resize(std::min<std::size_t>(size, CandidacySet::head_size));
    return slots;
}

TEST(TheHead, IsTheSameWhetherTheRestIsOrderedOrNot) {
    for (const std::uint32_t size : {1U, 2U, 7U, 8U, 9U, 15U, 16U, 17U, 20U, 300U}) {
        for (std::uint64_t seed = 0; seed < 50; ++seed) {
            EXPECT_EQ(best_eight(size, seed, true), best_eight(size, seed, false))
                << size << " servers, seed " << seed;
        }
    }
}

TEST(TheHead, OfAnEmptySetIsEmpty) {
    CandidacySet set = set_of_size(1);
    set.truncate(0);
    set.order_head_only();

    set.order_by([](const ServerView&) { return 1.0; });

    EXPECT_TRUE(set.empty());
}

TEST(AScore, IsToldFromWhatNumberOnItDoesNotMatter) {
    CandidacySet set = set_of_size(20);
    set.order_head_only();
    std::vector<double> limits;

    set.order_by([&limits](const ServerView& view, double limit) {
        limits.push_back(limit);
        return 100.0 - view.slot_index;
    });

    // Of the first eight all matter; the eighth of them has 100, and each new one is better.
    EXPECT_EQ(limits[7], infinite);
    EXPECT_EQ(limits[8], 100);
    EXPECT_EQ(limits[19], 89);
    EXPECT_EQ(set[0].slot_index, 19U);
}

TEST(AScore, AlwaysMattersWhenAllMembersAreOrdered) {
    CandidacySet set = set_of_size(20);

    set.order_by([](const ServerView& view, double limit) {
        EXPECT_EQ(limit, infinite);
        return 100.0 - view.slot_index;
    });

    EXPECT_EQ(set[19].slot_index, 0U);
}

class Listener final : public CandidacyFunction {
public:
    Listener(bool wants, std::vector<std::string>& heard) : wants_(wants), heard_(heard) {}

    void apply(CandidacySet&, const DecisionContext&) const override {}

    bool wants_feedback() const override { return wants_; }

    void sent(const RequestView& request, const ServerView& chosen) const override {
        heard_.push_back("sent " + std::string(request.method) + " to " +
                         std::to_string(chosen.slot_index));
    }

    void ended(const RequestView&, std::uint32_t slot_index, const ForwardEnd& end) const override {
        heard_.push_back("ended at " + std::to_string(slot_index) + " with " +
                         std::to_string(end.status));
    }

private:
    bool wants_;
    std::vector<std::string>& heard_;
};

TEST(AChain, TellsTheFunctionsThatWantToKnowWhatBecameOfTheRequest) {
    std::vector<std::string> deaf;
    std::vector<std::string> heard;
    Chain chain;
    chain.append(std::make_unique<Listener>(false, deaf), "deaf");
    EXPECT_FALSE(chain.wants_feedback());
    chain.append(std::make_unique<Listener>(true, heard), "listening");
    EXPECT_TRUE(chain.wants_feedback());

    const RequestView request{.method = "GET"};
    chain.sent(request, server(3));
    chain.ended(request, 3, {.answered = true, .status = 200});

    EXPECT_THAT(deaf, IsEmpty());
    EXPECT_THAT(heard, ElementsAre("sent GET to 3", "ended at 3 with 200"));
}

TEST(AChain, ThatIsSwitchedOffTellsNobody) {
    std::vector<std::string> heard;
    Chain chain;
    chain.append(std::make_unique<Listener>(true, heard), "listening");
    chain.switch_off();

    EXPECT_FALSE(chain.wants_feedback());
}

}  // namespace
}  // namespace backhand
