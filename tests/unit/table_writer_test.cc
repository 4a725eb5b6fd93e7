// One moderator writes at a time, and any of them may die, or stop, at any instruction.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <new>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "base/random.h"
#include "child_process.h"
#include "cluster/table.h"
#include "table_test.h"

namespace backhand {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Nanoseconds at_once{0};

// A test that waits this long hangs: it has failed.
constexpr Nanoseconds forever = std::chrono::hours{1};

// ---- the writer ----

struct TheWriter : TableTest {};

TEST_F(TheWriter, IsTheLatestWhoAskedToBe) {
    const std::uint64_t first = table.become_writer(at_once);
    ASSERT_TRUE(table.is_writer(first));

    const std::uint64_t second = table.become_writer(at_once);

    EXPECT_FALSE(table.is_writer(first));
    EXPECT_TRUE(table.is_writer(second));
}

TEST_F(TheWriter, IsNobodyAfterItWasDeposed) {
    const std::uint64_t epoch = table.become_writer(at_once);

    table.depose_writer();

    EXPECT_FALSE(table.is_writer(epoch));
    EXPECT_TRUE(table.is_writer(table.become_writer(at_once)));
}

TEST_F(TheWriter, MayStopWithoutEverHavingBeenIt) {
    table.stop_writing();

    EXPECT_TRUE(table.is_writer(table.become_writer(forever)));
}

TEST_F(TheWriter, CountsAsAliveForTwoSeconds) {
    table.writer_alive(start);

    EXPECT_TRUE(table.moderator_alive(after(milliseconds{1999})));
    EXPECT_FALSE(table.moderator_alive(after(seconds{2})));
}

// ---- its successor ----

// A moderator: writes until it is no longer the writer.
int write_until_replaced(const ClusterTable& table, std::atomic<std::uint64_t>& written) {
    const std::uint64_t epoch = table.become_writer(forever);
    for (std::uint64_t measurement = 1; table.is_writer(epoch); ++measurement) {
        table.set_self(report_of("web1", epoch, measurement));
        written.store(measurement);
    }
    table.stop_writing();
    return 0;
}

// A number that processes share.
struct SharedNumber {
    SharedNumber()
        : value(new (::mmap(nullptr, sizeof(std::atomic<std::uint64_t>), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0)) std::atomic<std::uint64_t>(0)) {}

    SharedNumber(const SharedNumber&) = delete;
    SharedNumber& operator=(const SharedNumber&) = delete;

    ~SharedNumber() { ::munmap(value, sizeof *value); }

    void await_above(std::uint64_t bound) const {
        while (value->load() <= bound) {
            std::this_thread::yield();
        }
    }

    std::atomic<std::uint64_t>* value;
};

struct ASuccessor : TableTest {
    SharedNumber written;
};

TEST_F(ASuccessor, BeginsOnceTheThreadBeforeItHasStopped) {
    std::atomic<bool> stopped{false};
    const std::jthread predecessor([&] {
        const std::uint64_t epoch = table.become_writer(forever);
        written.value->store(1);
        while (table.is_writer(epoch)) {
            std::this_thread::yield();
        }
        table.set_self(report_of("old", 1, 1));
        stopped = true;
        table.stop_writing();
    });
    written.await_above(0);

    table.become_writer(forever);
    EXPECT_TRUE(stopped);
    table.set_self(report_of("new", 1, 2));

    EXPECT_EQ(table.report(self_slot)->name_view(), "new");
    table.stop_writing();
}

TEST_F(ASuccessor, BeginsOnceTheProcessBeforeItHasStopped) {
    ChildProcess predecessor([this] { return write_until_replaced(table, *written.value); });
    written.await_above(100);

    const std::uint64_t epoch = table.become_writer(forever);

    const std::uint64_t last = written.value->load();
    EXPECT_TRUE(table.is_writer(epoch));
    EXPECT_EQ(table.report(self_slot)->load.measurement, last);
    EXPECT_EQ(predecessor.wait(), 0);
    EXPECT_EQ(written.value->load(), last);
    table.stop_writing();
}

TEST_F(ASuccessor, DoesNotWaitForOneThatWasKilled) {
    ChildProcess predecessor([this] { return write_until_replaced(table, *written.value); });
    written.await_above(0);
    predecessor.kill();

    const std::uint64_t epoch = table.become_writer(forever);

    EXPECT_TRUE(table.is_writer(epoch));
    table.set_self(report_of("new", 2, 1));
    EXPECT_EQ(table.report(self_slot)->name_view(), "new");
    table.stop_writing();
}

TEST_F(ASuccessor, DoesNotWaitForAnyOfFiftyThatWereKilledAtAnyInstruction) {
    Random random{1};
    for (int round = 0; round < 50; ++round) {
        const std::uint64_t before = written.value->load();
        ChildProcess predecessor([&] {
            for (;;) {
                table.become_writer(forever);
                table.set_self(report_of("old", 1, 1));
                written.value->fetch_add(1);
                table.stop_writing();
            }
            return 0;
        });
        written.await_above(before + random.below(50));
        predecessor.kill();

        table.become_writer(forever);
        table.set_self(report_of("new", 1, 1));
        ASSERT_EQ(table.report(self_slot)->name_view(), "new") << "round " << round;
        table.stop_writing();
    }
}

TEST_F(ASuccessor, IsItselfWaitedForAfterItHasFollowedOneThatWasKilled) {
    ChildProcess predecessor([this] { return write_until_replaced(table, *written.value); });
    written.await_above(0);
    predecessor.kill();
    written.value->store(0);
    ChildProcess successor([this] { return write_until_replaced(table, *written.value); });
    written.await_above(0);

    table.become_writer(forever);

    EXPECT_EQ(table.report(self_slot)->load.measurement, written.value->load());
    EXPECT_EQ(successor.wait(), 0);
    table.stop_writing();
}

TEST_F(ASuccessor, LosesPatienceWithOneThatIsStuck) {
    ChildProcess stuck([this] { return write_until_replaced(table, *written.value); });
    written.await_above(0);
    stuck.send(SIGSTOP);
    stuck.wait_until_stopped();

    const std::uint64_t epoch = table.become_writer(milliseconds{50});

    EXPECT_TRUE(table.is_writer(epoch));
    table.set_self(report_of("new", 100, 1));
    EXPECT_EQ(table.report(self_slot)->name_view(), "new");
    table.stop_writing();
}

TEST_F(ASuccessor, IsNotDisturbedForLongByOneThatGoesOnAfterAll) {
    ChildProcess stuck([this] { return write_until_replaced(table, *written.value); });
    written.await_above(0);
    stuck.send(SIGSTOP);
    stuck.wait_until_stopped();
    const std::uint64_t epoch = table.become_writer(milliseconds{50});
    table.set_self(report_of("new", 100, 1));

    stuck.send(SIGCONT);
    EXPECT_EQ(stuck.wait(), 0);

    EXPECT_TRUE(table.is_writer(epoch));
    table.set_self(report_of("new", 100, 2));
    EXPECT_EQ(table.report(self_slot)->name_view(), "new");
    EXPECT_EQ(table.report(self_slot)->load.measurement, 2U);
}

TEST_F(ASuccessor, OfOneThatLostPatienceBeginsAtOnce) {
    ChildProcess stuck([this] { return write_until_replaced(table, *written.value); });
    written.await_above(0);
    stuck.send(SIGSTOP);
    stuck.wait_until_stopped();
    table.become_writer(milliseconds{50});
    table.stop_writing();
    stuck.kill();

    const std::uint64_t epoch = table.become_writer(forever);

    EXPECT_TRUE(table.is_writer(epoch));
    table.stop_writing();
}

TEST_F(ASuccessor, IsTheOnlyOneOfManyThatStartTogether) {
    std::atomic<int> writing{0};
    std::atomic<int> together{0};
    {
        std::vector<std::jthread> moderators;
        moderators.reserve(8);
        for (int moderator = 0; moderator < 8; ++moderator) {
            moderators.emplace_back([&] {
                for (int turn = 0; turn < 50; ++turn) {
                    const std::uint64_t epoch = table.become_writer(forever);
                    together += writing.fetch_add(1);
                    for (int look = 0; look < 10 && table.is_writer(epoch); ++look) {
                        table.set_self(report_of("web1", epoch, 1));
                    }
                    writing.fetch_sub(1);
                    table.stop_writing();
                }
            });
        }
    }

    EXPECT_EQ(together, 0);
    EXPECT_TRUE(table.report(self_slot));
}

// ---- a slot whose writer died ----

struct ASlotWhoseWriterDied : TableTest {
    ASlotWhoseWriterDied() {
        table.take(report_of("web2", 7, 5));
        table.take(report_of("web3", 7, 5));
        memory.break_off_writing(1);
    }
};

TEST_F(ASlotWhoseWriterDied, ReadsAsBefore) {
    ServerView view;

    ASSERT_TRUE(table.report(1));
    EXPECT_EQ(table.report(1)->load.measurement, 5U);
    ASSERT_TRUE(table.view(1, 0, start, view));
    EXPECT_EQ(view.load.measurement, 5U);
}

TEST_F(ASlotWhoseWriterDied, LeavesItsNeighboursReadable) {
    EXPECT_EQ(table.report(2)->name_view(), "web3");
}

TEST_F(ASlotWhoseWriterDied, TakesTheNextReport) {
    ASSERT_EQ(table.take(report_of("web2", 7, 6)).outcome, ClusterTable::Outcome::taken);

    ASSERT_TRUE(table.report(1));
    EXPECT_EQ(table.report(1)->name_view(), "web2");
    EXPECT_EQ(table.report(1)->load.measurement, 6U);
    EXPECT_EQ(table.slots_used(), 3U);
}

TEST_F(ASlotWhoseWriterDied, TakesTheOneAfterThatToo) {
    table.take(report_of("web2", 7, 6));

    ASSERT_EQ(table.take(report_of("web2", 7, 7)).outcome, ClusterTable::Outcome::taken);

    EXPECT_EQ(table.report(1)->load.measurement, 7U);
}

TEST_F(ASlotWhoseWriterDied, TakesTheNextReportOfThisServerToo) {
    table.set_self(report_of("web1", 7, 5));
    memory.break_off_writing(self_slot);
    ASSERT_EQ(table.report(self_slot)->load.measurement, 5U);

    table.set_self(report_of("web1", 7, 6));

    EXPECT_EQ(table.report(self_slot)->load.measurement, 6U);
}

}  // namespace
}  // namespace backhand
