#include "cluster/retry_budget.h"

#include <gtest/gtest.h>

namespace backhand {
namespace {

constexpr MonotonicTime second = 1'000'000'000;
constexpr MonotonicTime now = 100 * second;

TEST(ARetryBudget, IsAShareOfWhatIsForwardedInTheSameSecondAndAFewMore) {
    RetryBudget budget{};
    constexpr RetryTerms terms{.percent = 20, .at_least = 3};
    for (int count = 0; count < 10; ++count) {
        budget.forwarded(now);
    }
    for (int count = 0; count < 5; ++count) {
        EXPECT_TRUE(budget.take(terms, now + second / 2)) << count;
    }
    EXPECT_FALSE(budget.take(terms, now + second / 2));
    EXPECT_TRUE(budget.take(terms, now + second));
}

TEST(ARetryBudget, ForgetsNothingForARequestThatBeganInAnEarlierSecond) {
    RetryBudget budget{};
    constexpr RetryTerms terms{.percent = 0, .at_least = 1};
    EXPECT_TRUE(budget.take(terms, now));

    budget.forwarded(now - second);

    EXPECT_FALSE(budget.take(terms, now));
    EXPECT_FALSE(budget.take(terms, now - second));
}

}  // namespace
}  // namespace backhand
