// Patterns are written by whoever may write a .htaccess file, and matched against what any client
// sends: neither may take more than its share.
#include "decide/pattern.h"

#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backhand {
namespace {

using ::testing::HasSubstr;

bool matches(std::string_view pattern, std::string_view text,
             Pattern::Case letters = Pattern::Case::matters) {
    const auto compiled = Pattern::compile(pattern, letters);
    EXPECT_TRUE(compiled) << pattern;
    return compiled && compiled->matches(text);
}

std::string what_is_wrong_with(std::string_view pattern) {
    const auto compiled = Pattern::compile(pattern, Pattern::Case::matters);
    EXPECT_FALSE(compiled) << pattern;
    return compiled ? "" : compiled.error().detail;
}

TEST(APattern, MatchesAnywhereUnlessItIsTied) {
    EXPECT_TRUE(matches("app", "/the/app/"));
    EXPECT_FALSE(matches("^app", "/the/app/"));
    EXPECT_FALSE(matches("app$", "/the/app/"));
    EXPECT_TRUE(matches("^/the/(app|shop)/$", "/the/app/"));
}

TEST(APattern, IsTiedToTheVeryEnd) {
    EXPECT_FALSE(matches("app$", "app\n"));
}

TEST(APattern, DistinguishesLettersUnlessItIsToldNotTo) {
    EXPECT_FALSE(matches("APP", "app"));
    EXPECT_TRUE(matches("^[A-C]PP$", "bPp", Pattern::Case::ignored));
}

TEST(APattern, MatchesTextWithAnyBytes) {
    using namespace std::string_view_literals;
    EXPECT_TRUE(matches("a.b", "a\0b"sv));
    EXPECT_TRUE(matches("^\\xff$", "\xff"));
    EXPECT_TRUE(matches("^$", {}));
    EXPECT_FALSE(matches(".", {}));
}

TEST(APattern, MayHaveCountedRepetitions) {
    EXPECT_TRUE(matches("^[0-9a-f]{8}$", "0a000507"));
    EXPECT_FALSE(matches("^[0-9a-f]{8}$", "0a00050"));
}

TEST(APattern, SaysWhatIsWrongWithItAndWhere) {
    EXPECT_THAT(what_is_wrong_with("^/(app"), HasSubstr("missing closing parenthesis at byte 6"));
    EXPECT_THAT(what_is_wrong_with("a\\"), HasSubstr("at byte 2"));
}

TEST(APattern, WithABackReferenceIsRefused) {
    EXPECT_THAT(what_is_wrong_with("(.*)\\1"), HasSubstr("non-existent subpattern"));
}

TEST(APattern, ThatWouldNeedGigabytesIsRefused) {
    EXPECT_THAT(what_is_wrong_with("((a{1,255}){1,255}){1,255}"), HasSubstr("too large"));
}

// Tried in every combination, this would take longer than the sun lasts.
TEST(AMatch, ThatTakesTooManyStepsIsNone) {
    EXPECT_FALSE(matches("^(a+)+$", std::string(200, 'a') + "b"));
    EXPECT_FALSE(matches("^(a|aa)+$", std::string(200, 'a') + "b"));
}

TEST(AMatch, ThatNeedsTooMuchMemoryIsNone) {
    EXPECT_TRUE(matches("^(a|b)+$", std::string(100, 'a')));
    EXPECT_FALSE(matches("^(a|b)+$", std::string(100'000, 'a')));
}

TEST(AMatch, OfALongTextIsNoTrouble) {
    EXPECT_TRUE(matches("^/app/.*[.]php$", "/app/" + std::string(8000, 'x') + ".php"));
    EXPECT_FALSE(matches("^/app/.*[.]php$", "/app/" + std::string(8000, 'x') + ".html"));
}

TEST(AMatch, MayBeMadeByManyThreadsAtATime) {
    const auto pattern = Pattern::compile("^/(app|shop)/[0-9]+$", Pattern::Case::matters);
    ASSERT_TRUE(pattern);
    std::vector<std::thread> threads;
    for (int number = 0; number < 4; ++number) {
        threads.emplace_back([&pattern, number] {
            const std::string text =
                (number % 2 == 0 ? "/app/" : "/else/") + std::to_string(number);
            for (int count = 0; count < 1000; ++count) {
                EXPECT_EQ(pattern->matches(text), number % 2 == 0);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
}

}  // namespace
}  // namespace backhand
