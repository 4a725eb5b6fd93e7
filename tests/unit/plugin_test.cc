// A plug-in's place in a chain: versions that come and go while decisions are made.
#include "decide/plugin.h"

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "decide/chain.h"
#include "plugin_of_tests.h"

namespace backhand {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// A version that keeps so many, and counts itself.
class Version final : public PluginCode {
public:
    Version(std::size_t keeps, std::atomic<int>& alive) : keeps_(keeps), alive_(alive) { ++alive_; }

    Version(const Version&) = delete;
    Version& operator=(const Version&) = delete;

    ~Version() override { --alive_; }

    std::string_view interface() const override { return "made"; }

    AnswerFaults decide(CandidacySet& set, const DecisionContext&, PluginScratch&) const override {
        set.truncate(keeps_);
        AnswerFaults faults;
        faults.impossible = keeps_ == 0 ? 1 : 0;
        while (stuck != nullptr && stuck->load()) {
            std::this_thread::yield();
        }
        return faults;
    }

    std::atomic<bool>* stuck = nullptr;

private:
    const std::size_t keeps_;
    std::atomic<int>& alive_;
};

class ThrowingVersion final : public PluginCode {
public:
    std::string_view interface() const override { return "made"; }

    AnswerFaults decide(CandidacySet&, const DecisionContext&, PluginScratch&) const override {
        throw std::string{"from a plug-in in C++"};
    }
};

class APlaceForAPlugin : public ::testing::Test {
protected:
    APlaceForAPlugin() : board_(std::move(*PluginBoard::make(1, 1))) {
        plugin_->report_to(board_.line(0),
                           [this](LogLevel, std::string_view text) { lines_.emplace_back(text); });
    }

    std::size_t decide(MonotonicTime now = 10'000'000'000) {
        PluginStage stage{cluster_serving({1, 2, 3})};
        DecisionContext context = stage.context();
        plugin_->decide(stage.set, {context.request, context.table, context.random, now});
        corrected_ += stage.cluster.counters().get(Counter::plugin_answer_corrected);
        return stage.set.size();
    }

    std::unique_ptr<const PluginCode> keeping(std::size_t count) {
        return std::make_unique<Version>(count, alive_);
    }

    std::atomic<int> alive_{0};
    PluginBoard board_;
    std::vector<std::string> lines_;
    std::uint64_t corrected_ = 0;
    std::shared_ptr<Plugin> plugin_ = std::make_shared<Plugin>(line("file.so", "function", "arg"));
};

TEST_F(APlaceForAPlugin, LetsTheSetPassWhileItIsEmpty) {
    EXPECT_FALSE(plugin_->is_open());
    EXPECT_EQ(decide(), 3U);
}

TEST_F(APlaceForAPlugin, TakesTheNewestVersion) {
    plugin_->replace(keeping(1));
    EXPECT_EQ(decide(), 1U);

    plugin_->replace(keeping(2));

    EXPECT_EQ(decide(), 2U);
    EXPECT_EQ(alive_, 1);
}

TEST_F(APlaceForAPlugin, EndsAVersionOnlyWhenTheLastCallHasReturned) {
    std::atomic<bool> stuck{true};
    auto first = std::make_unique<Version>(1, alive_);
    first->stuck = &stuck;
    plugin_->replace(std::move(first));
    std::size_t kept = 0;
    std::atomic<bool> begun{false};
    std::thread call{[&] {
        PluginStage stage{cluster_serving({1, 2, 3})};
        begun = true;
        plugin_->decide(stage.set, stage.context());
        kept = stage.set.size();
    }};
    while (!begun) {
        std::this_thread::yield();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{50});

    plugin_->replace(keeping(2));
    EXPECT_FALSE(plugin_->sweep());
    EXPECT_EQ(decide(), 2U);
    EXPECT_EQ(alive_, 2);

    stuck = false;
    call.join();
    EXPECT_TRUE(plugin_->sweep());
    EXPECT_EQ(alive_, 1);
    EXPECT_EQ(kept, 1U);
}

TEST_F(APlaceForAPlugin, NeverLetsACallSeeAVersionThatHasEnded) {
    plugin_->replace(keeping(1));
    std::atomic<bool> stop{false};
    std::atomic<int> impossible{0};
    std::vector<std::thread> threads;
    for (int number = 0; number < 4; ++number) {
        threads.emplace_back([&] {
            PluginStage stage{cluster_serving({1, 2, 3})};
            while (!stop) {
                stage.cluster.fill(stage.set);
                plugin_->decide(stage.set, stage.context());
                impossible += stage.set.size() == 1 || stage.set.size() == 2 ? 0 : 1;
            }
        });
    }
    for (int round = 0; round < 2000; ++round) {
        plugin_->replace(keeping(round % 2 == 0 ? 2 : 1));
    }
    stop = true;
    for (std::thread& thread : threads) {
        thread.join();
    }

    EXPECT_EQ(impossible, 0);
    EXPECT_TRUE(plugin_->sweep());
    EXPECT_EQ(alive_, 1);
}

TEST_F(APlaceForAPlugin, EndsItsVersionWithItself) {
    plugin_->replace(keeping(1));

    plugin_.reset();

    EXPECT_EQ(alive_, 0);
}

TEST_F(APlaceForAPlugin, CountsEveryWrongAnswerAndTellsOneASecond) {
    plugin_->replace(keeping(0));

    decide(10'000'000'000);
    decide(10'400'000'000);
    decide(10'900'000'000);
    decide(11'000'000'000);

    EXPECT_EQ(corrected_, 4U);
    EXPECT_EQ(board_.line(0).corrected(), 4U);
    ASSERT_THAT(lines_, SizeIs(2));
    EXPECT_THAT(lines_[0], AllOf(HasSubstr("function arg (file.so)"), HasSubstr("1 impossible"),
                                 HasSubstr("as were 0 answers")));
    EXPECT_THAT(lines_[1], HasSubstr("as were 2 answers"));
}

TEST_F(APlaceForAPlugin, KeepsTheSetWhenAPluginThrows) {
    plugin_->replace(std::make_unique<ThrowingVersion>());

    EXPECT_EQ(decide(), 3U);
    EXPECT_THAT(lines_, ElementsAre(HasSubstr("threw an exception")));
}

TEST_F(APlaceForAPlugin, StaysWhenBackhandOffTakesItOutOfTheChain) {
    Chain chain;
    chain.append(std::make_unique<PluginFunction>(plugin_), plugin_->source().text());
    EXPECT_EQ(chain.text(), "function arg (file.so)");

    chain.switch_off();

    plugin_->replace(keeping(1));
    EXPECT_EQ(decide(), 1U);
}

TEST_F(APlaceForAPlugin, PassesOnWhatBecameOfARequest) {
    plugin_->replace(load(line(native_file, "feedback")));
    Chain chain;
    chain.append(std::make_unique<PluginFunction>(plugin_), "feedback");
    ServerView peer;
    peer.slot_index = 5;

    ASSERT_TRUE(chain.wants_feedback());
    chain.sent({}, peer);
    chain.ended({}, 5, {.answered = false});

    EXPECT_THAT(in_environment("BACKHAND_TEST_FEEDBACK"), HasSubstr(" "));
}

TEST_F(APlaceForAPlugin, DestroysWhatAPluginHasCreated) {
    plugin_->replace(load(line(native_file, "counted")));
    EXPECT_EQ(decide(), 3U);

    plugin_->replace(keeping(1));

    EXPECT_EQ(in_environment("BACKHAND_TEST_DESTROYED"), "1");
}

TEST(APluginBoard, WakesWhoeverWaitsInAnotherProcess) {
    const PluginBoard board = std::move(*PluginBoard::make(1, 1));
    const std::uint32_t known = board.changes();
    const pid_t pid = ::fork();
    if (pid == 0) {
        while (board.changes() == known) {
            board.wait_for_change(known, std::nullopt);
        }
        ::_exit(static_cast<int>(board.file(0).version));
    }

    board.file(0).version = 7;
    board.announce_change();

    int status = 0;
    ::waitpid(pid, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST(APluginBoard, DoesNotWaitForWhatHasHappened) {
    const PluginBoard board = std::move(*PluginBoard::make(1, 1));
    const std::uint32_t known = board.changes();
    board.announce_change();

    board.wait_for_change(known, std::nullopt);

    EXPECT_NE(board.changes(), known);
}

}  // namespace
}  // namespace backhand
