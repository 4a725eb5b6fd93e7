#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/scenario_file.h"

namespace backhand::sim {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* smallest = R"([[servers]]
count = 3
[[chain]]
name = "ours"
lines = "Backhand auto"
)";

std::string complaint_about(const std::string& text) {
    const auto scenario = read_scenario(text, "file.toml");
    return scenario ? "" : scenario.error().detail;
}

TEST(AScenario, NeedsOnlyServersAndAChain) {
    const auto scenario = read_scenario(smallest, "file.toml");

    ASSERT_TRUE(scenario) << scenario.error().detail;
    EXPECT_EQ(scenario->servers_count(), 3U);
    ASSERT_EQ(scenario->contestants.size(), 1U);
    EXPECT_EQ(scenario->contestants[0].name, "ours");
    EXPECT_TRUE(scenario->contestants[0].announces());
}

TEST(AScenario, TakesLoadsDurationsAndDistributions) {
    const auto scenario = read_scenario(std::string(smallest) + R"(
[[request]]
work = { mean = "2 ms", distribution = "pareto", alpha = 1.1 }
hold = "1.5 s"
[load]
load = [0.5, 0.9]
[announcing]
interval = "250 ms"
)",
                                        "file.toml");

    ASSERT_TRUE(scenario) << scenario.error().detail;
    EXPECT_DOUBLE_EQ(scenario->mean_work(), 2e6);
    EXPECT_DOUBLE_EQ(scenario->classes[0].hold.mean(), 1.5e9);
    EXPECT_EQ(scenario->loads.size(), 2U);
    EXPECT_DOUBLE_EQ(scenario->interval_ns(), 250e6);
}

TEST(AScenario, TakesAChainLineByLine) {
    const auto scenario = read_scenario(R"([[servers]]
[[chain]]
lines = """
Backhand byAge 2
   byRandom
# a remark
Backhand byLogWindow
"""
)",
                                        "file.toml");

    ASSERT_TRUE(scenario) << scenario.error().detail;
    EXPECT_EQ(scenario->contestants[0].chain->text(), "byAge 2, byRandom, byLogWindow");
}

TEST(AScenario, IsRefusedWithTheLineOfTheChainThatIsWrong) {
    const std::string complaint = complaint_about(R"([[servers]]
[[chain]]
lines = """
Backhand byAge 2
Backhand byLuck
"""
)");

    EXPECT_THAT(complaint, StartsWith("file.toml:5: \"byLuck\" is no candidacy function"));
}

TEST(AScenario, IsRefusedWithTheLineOfAnUnknownKey) {
    const std::string complaint = complaint_about("[[servers]]\ncount = 2\nspede = 2\n");

    EXPECT_THAT(complaint, StartsWith("file.toml:3: \"spede\" means nothing in [servers]"));
    EXPECT_THAT(complaint, HasSubstr("expected one of count, cpus, speed"));
}

TEST(AScenario, IsRefusedWhenADurationHasNoUnit) {
    EXPECT_THAT(complaint_about(std::string(smallest) + "[network]\ndelay = 5\n"),
                StartsWith("file.toml:7: delay = 5: expected a duration with its unit"));
}

TEST(AScenario, IsRefusedWhenANumberIsOutOfRange) {
    EXPECT_THAT(complaint_about("[[servers]]\ncount = 0\n"),
                StartsWith("file.toml:2: count = 0: expected a whole number from 1 to 100000"));
    EXPECT_THAT(complaint_about(std::string(smallest) + "[network]\nloss = 1.5\n"),
                StartsWith("file.toml:7: loss = 1.5: expected a number from 0 to 1"));
}

TEST(AScenario, IsRefusedWhenAWordIsUnknown) {
    EXPECT_THAT(complaint_about("[[servers]]\ndiscipline = \"lifo\"\n"),
                StartsWith("file.toml:2: discipline = \"lifo\": expected one of \"sharing\", "
                           "\"fifo\""));
}

TEST(AScenario, IsRefusedWithTheLineWhereItIsNoToml) {
    EXPECT_THAT(complaint_about("[[servers]]\ncount = = 2\n"), StartsWith("file.toml:2: "));
}

TEST(AScenario, IsRefusedWhenAServerDoesNotExist) {
    EXPECT_THAT(complaint_about(std::string(smallest) + "[[failure]]\nservers = [3]\n"),
                StartsWith("file.toml:7: servers = 3: expected numbers from 0 to 2"));
}

TEST(AScenario, IsRefusedWithoutServersOrWithoutChains) {
    EXPECT_THAT(complaint_about(""), HasSubstr("expected [[servers]]"));
    EXPECT_THAT(complaint_about("[[servers]]\n"), HasSubstr("expected [[chain]] or [[reference]]"));
}

TEST(AScenarioFile, IsRefusedWhenItCannotBeRead) {
    const auto scenario = read_scenario_file("/nowhere/at_all.toml");

    ASSERT_FALSE(scenario);
    EXPECT_THAT(scenario.error().detail, HasSubstr("/nowhere/at_all.toml: expected a scenario"));
}

TEST(ADuration, HasANumberAndAUnit) {
    EXPECT_DOUBLE_EQ(*parse_duration("10 ms"), 10e6);
    EXPECT_DOUBLE_EQ(*parse_duration("1.5s"), 1.5e9);
    EXPECT_DOUBLE_EQ(*parse_duration("100 us"), 100e3);
    EXPECT_FALSE(parse_duration("10"));
    EXPECT_FALSE(parse_duration("ms"));
    EXPECT_FALSE(parse_duration("10 fortnights"));
    EXPECT_FALSE(parse_duration("-1 s"));
}

}  // namespace
}  // namespace backhand::sim
