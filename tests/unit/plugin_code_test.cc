// Plug-ins of both kinds: what they are shown, and what becomes of their answers.
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "decide/plugin_rehearsal.h"
#include "decide/seed_statistics.h"
#include "plugin_of_tests.h"

namespace backhand {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// ---- today's interface ----

TEST(APlugin, MayReverseTheSet) {
    PluginStage stage{cluster_serving({1, 2, 3})};

    EXPECT_FALSE(stage.decide(*load(line(native_file, "reverse"))).any());

    EXPECT_THAT(stage.slots(), ElementsAre(2, 1, 0));
}

TEST(APlugin, SeesTheSetAsTheFunctionBeforeLeftIt) {
    PluginStage stage{cluster_serving({1, 2, 3, 4})};
    const auto reverse = load(line(native_file, "reverse"));
    stage.decide(*reverse);
    stage.set.truncate(2);

    stage.decide(*reverse);

    EXPECT_THAT(stage.slots(), ElementsAre(2, 3));
}

TEST(APlugin, MayDropServers) {
    PluginStage stage{cluster_serving({1, 2, 3})};

    EXPECT_FALSE(stage.decide(*load(line(native_file, "drop_self"))).any());

    EXPECT_THAT(stage.slots(), ElementsAre(1, 2));
}

TEST(APlugin, MayLeaveTheOrderToItsScores) {
    PluginStage stage{cluster_serving({5, 9, 1, 7})};

    EXPECT_FALSE(stage.decide(*load(line(native_file, "score", "0"))).any());

    EXPECT_THAT(stage.slots(), ElementsAre(2, 0, 3, 1));
    EXPECT_EQ(stage.set.score(0), 1.0);
}

TEST(APlugin, KeepsTheOrderWithinItsMargin) {
    PluginStage stage{cluster_serving({5, 9, 4, 7})};

    stage.decide(*load(line(native_file, "score", "2")));

    EXPECT_THAT(stage.slots(), ElementsAre(0, 2, 1, 3));
}

TEST(APlugin, GetsAnEmptySetToo) {
    PluginStage stage{cluster_serving({1})};
    stage.set.truncate(0);

    EXPECT_FALSE(stage.decide(*load(line(native_file, "score", "0"))).any());

    EXPECT_THAT(stage.slots(), IsEmpty());
}

TEST(APlugin, AsksAboutTheRequestAndTheServers) {
    class Facts final : public RequestFacts {
    public:
        std::optional<std::string_view> header(const char* name, std::size_t nth) const override {
            const std::string_view asked{name};
            if (asked == "Cookie") {
                return nth == 0 ? std::optional<std::string_view>{"a=b; id=4711"} : std::nullopt;
            }
            if (asked != "x-field" && asked != "X-Field") {
                return std::nullopt;
            }
            return nth == 0   ? std::optional<std::string_view>{"first"}
                   : nth == 1 ? std::optional<std::string_view>{"second"}
                              : std::nullopt;
        }

        std::optional<std::string_view> environment(const char* name) const override {
            return std::string_view{name} == "colour" ? std::optional<std::string_view>{"blue"}
                                                      : std::nullopt;
        }

        IpAddress client() const override { return *IpAddress::parse("10.0.0.7"); }

        bool is_tls() const override { return true; }

        std::string_view virtual_host() const override { return "vhost"; }

        std::optional<Nanoseconds> location_time() const override { return Milliseconds{3}; }
    };

    PluginStage stage{cluster_serving({1, 2})};
    const Facts facts;
    stage.request = {
        .method = "POST", .host = "www.example.com", .path = "/a?b=c", .facts = &facts};

    stage.decide(*load(line(native_file, "check_request")));

    EXPECT_THAT(stage.slots(), ElementsAre(0, 1));
}

TEST(APlugin, IsToldWhatBecameOfARequest) {
    const auto code = load(line(native_file, "feedback"));
    ServerView peer;
    peer.slot_index = 3;

    code->sent({}, peer);
    code->ended({}, 3, {});
    code->sent({}, peer);
    code->ended({}, 3, {.answered = true, .status = 200, .latency = std::chrono::microseconds{5}});

    EXPECT_EQ(in_environment("BACKHAND_TEST_FEEDBACK"), "6 1");
}

TEST(AnImpossibleAnswer, IsCutToWhatIsPossible) {
    PluginStage stage{cluster_serving({1, 2, 3})};

    const AnswerFaults faults = stage.decide(*load(line(native_file, "impossible")));

    EXPECT_EQ(faults.impossible, 2U);
    EXPECT_THAT(stage.slots(), ElementsAre(1));
}

TEST(AnImpossibleAnswer, HasEachServerOnceOnly) {
    PluginStage stage{cluster_serving({1, 2, 3})};

    const AnswerFaults faults = stage.decide(*load(line(native_file, "repeated")));

    EXPECT_EQ(faults.repeated, 2U);
    EXPECT_THAT(stage.slots(), ElementsAre(2));
}

TEST(AnImpossibleAnswer, OfTooManyLeavesTheSetAsItWas) {
    PluginStage stage{cluster_serving({1, 2, 3})};

    const AnswerFaults faults = stage.decide(*load(line(native_file, "too_many")));

    EXPECT_TRUE(faults.count_impossible);
    EXPECT_THAT(faults.text(), AllOf(HasSubstr("1000003"), HasSubstr("of 3")));
    EXPECT_THAT(stage.slots(), ElementsAre(0, 1, 2));
}

TEST(AnImpossibleAnswer, OfANegativeNumberIsNobody) {
    PluginStage stage{cluster_serving({1, 2, 3})};

    EXPECT_TRUE(stage.decide(*load(line(native_file, "negative"))).count_impossible);

    EXPECT_THAT(stage.slots(), IsEmpty());
}

TEST(AnImpossibleAnswer, MayBeWrittenALittleTooFar) {
    PluginStage stage{cluster_serving({1, 2, 3})};

    EXPECT_TRUE(stage.decide(*load(line(native_file, "beyond"))).wrote_beyond);

    EXPECT_THAT(stage.slots(), ElementsAre(0, 1, 2));
}

TEST(AnImpossibleAnswer, PutsWhatHasNoScoreLast) {
    PluginStage stage{cluster_serving({1, 2, 3})};

    EXPECT_EQ(stage.decide(*load(line(native_file, "no_numbers"))).not_a_number, 1U);

    EXPECT_THAT(stage.slots(), ElementsAre(2, 1, 0));
}

TEST(AFile, NamesThePluginsItHas) {
    EXPECT_THAT(trouble_of(line(native_file, "absent")),
                AllOf(HasSubstr("has no plug-in \"absent\""), HasSubstr("\"reverse\"")));
}

TEST(AFile, OfAnotherVersionIsRefused) {
    EXPECT_THAT(trouble_of(line(later_file, "later")),
                HasSubstr("version 2 of the plug-in interface: expected version 1"));
}

TEST(AFile, WithoutDecideIsRefused) {
    EXPECT_THAT(trouble_of(line(native_file, "without_decide")), HasSubstr("has no decide()"));
}

TEST(AFile, SaysItselfWhyAnArgumentIsBad) {
    EXPECT_THAT(trouble_of(line(native_file, "score", "bad")),
                HasSubstr("score refuses the argument \"bad\": expected a margin"));
}

TEST(AFile, ThatIsNoObjectIsRefused) {
    EXPECT_THAT(trouble_of(line("/etc/passwd", "root")), HasSubstr("cannot be loaded"));
}

// ---- the original's ----

TEST(APluginOf2001, SortsByWhatTheOriginalTold) {
    PluginStage stage{plausible_cluster("", 8, true)};

    EXPECT_FALSE(stage.decide(*load(line(seed_file, "byMyLoad"))).any());

    ASSERT_EQ(stage.set.size(), 8U);
    for (std::size_t position = 1; position < stage.set.size(); ++position) {
        EXPECT_LE(stage.set[position - 1].load.load_permille,
                  stage.set[position].load.load_permille);
    }
}

TEST(APluginOf2001, KnowsHowOldNewsAre) {
    std::vector<MadeCluster::Server> servers(3);
    for (std::uint32_t slot_index = 0; slot_index < 3; ++slot_index) {
        servers[slot_index].view.slot_index = slot_index;
        servers[slot_index].view.load.received_at = 10'000'000'000;
        servers[slot_index].view.load.memory_total_bytes = 100;
        servers[slot_index].view.load.memory_available_bytes = 50;
    }
    servers[1].view.age = std::chrono::seconds{30};
    PluginStage stage{MadeCluster{"old", servers}};

    stage.decide(*load(line(seed_file, "byFresh", "10")));

    EXPECT_THAT(stage.slots(), ElementsAre(0, 2));
}

TEST(APluginOf2001, SeesIpv4ContactsOnly) {
    std::vector<MadeCluster::Server> servers(3);
    servers[1].view.load.contact = *Endpoint::parse("10.0.5.11:80");
    servers[2].view.load.contact = *Endpoint::parse("[2001:db8::1]:80");
    for (std::uint32_t slot_index = 0; slot_index < 3; ++slot_index) {
        servers[slot_index].view.slot_index = slot_index;
    }
    PluginStage stage{MadeCluster{"addresses", servers}};

    stage.decide(*load(line(seed_file, "byNetwork", "10.0.")));

    EXPECT_THAT(stage.slots(), ElementsAre(1));
}

TEST(APluginOf2001, MayWidenTheSet) {
    PluginStage stage{cluster_serving({1, 2, 3})};
    stage.set.truncate(1);

    EXPECT_FALSE(stage.decide(*load(line(seed_file, "byAvailable"))).any());

    EXPECT_THAT(stage.slots(), ElementsAre(0, 1, 2));
}

// A server that the rules keep out has a row, because the original's functions could look at all.
TEST(APluginOf2001, CannotBringBackAServerThatIsNoCandidate) {
    PluginStage stage{cluster_serving({1, 2, 3})};
    ServerView self = stage.set.self();
    stage.set.begin(self);

    EXPECT_EQ(stage.decide(*load(line(seed_file, "byAvailable"))).impossible, 2U);

    EXPECT_THAT(stage.slots(), ElementsAre(0));
}

TEST(APluginOf2001, ReadsEveryFieldWhereTheOriginalHadIt) {
    std::vector<MadeCluster::Server> servers(1);
    servers[0].name = std::string(50, 'h');
    ServerView& view = servers[0].view;
    view.workers_idle = 2;
    view.load.contact = *Endpoint::parse("10.0.5.11:80");
    view.load.arriba = 1;
    view.load.workers_busy = 1;
    view.load.load_permille = 4;
    view.load.load_hwm = 5;
    view.load.cpu_idle_permille = 6;
    view.load.cpus_permille = 7500;
    view.load.memory_total_bytes = std::uint64_t{16} << 30U;
    view.load.memory_available_bytes = 9;
    PluginStage stage{MadeCluster{"fields", servers}};

    stage.decide(*load(line(seed_file, "byTelling")));

    EXPECT_EQ(in_environment("BACKHAND_TEST_TOLD"), std::string(39, 'h') + " 2 1 2 3 4 5 6 7 1 9");
}

TEST(APluginOf2001, IsCorrectedLikeAnyOther) {
    PluginStage stage{cluster_serving({1, 2, 3})};

    const AnswerFaults faults = stage.decide(*load(line(seed_file, "byMistake")));

    EXPECT_EQ(faults.repeated, 1U);
    EXPECT_EQ(faults.impossible, 2U);
    EXPECT_TRUE(faults.counts_differ);
    EXPECT_THAT(stage.slots(), ElementsAre(2, 1));
}

TEST(APluginOf2001, MayCountWrongly) {
    PluginStage stage{cluster_serving({1, 2, 3})};

    EXPECT_TRUE(stage.decide(*load(line(seed_file, "byTooMany"))).count_impossible);
    EXPECT_THAT(stage.slots(), ElementsAre(0, 1, 2));
    EXPECT_TRUE(stage.decide(*load(line(seed_file, "byTooFew"))).count_impossible);
    EXPECT_THAT(stage.slots(), IsEmpty());
}

TEST(APluginOf2001, MayWriteALittleTooFar) {
    PluginStage stage{cluster_serving({1, 2, 3})};
    const std::string places = std::to_string(stage.cluster.slots_max());

    EXPECT_TRUE(stage.decide(*load(line(seed_file, "byOverflow", places))).wrote_beyond);

    EXPECT_THAT(stage.slots(), ElementsAre(0, 1, 2));
}

// ---- rehearsals ----

TEST(ARehearsal, HasNothingToSayAboutAGoodPlugin) {
    const auto code = load(line(native_file, "score", "1"));

    EXPECT_THAT(rehearse(*code, {}), IsEmpty());
    EXPECT_THAT(rehearse_with_threads(*code, {}), IsEmpty());
    EXPECT_GT(time_decision(*code, 16, nullptr).count(), 0);
}

TEST(ARehearsal, SaysWhatIsWrongAndWhere) {
    const auto complaints = rehearse(*load(line(native_file, "impossible")), {});

    EXPECT_THAT(complaints, ::testing::Contains(
                                AllOf(HasSubstr("16 equal servers: "), HasSubstr("2 impossible"))));
}

TEST(ARehearsal, TellsEachStepBeforeIt) {
    std::vector<std::string> steps;

    rehearse(*load(line(native_file, "reverse")),
             {.on_step = [&steps](const std::string& step) { steps.push_back(step); }});

    EXPECT_EQ(steps.front(), "deciding: no candidate");
}

}  // namespace
}  // namespace backhand
