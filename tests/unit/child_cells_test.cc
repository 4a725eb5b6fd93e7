// What children count: in cells of their own, with a sum beside them that never stays wrong.
#include "cluster/child_cells.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <stop_token>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/random.h"
#include "child_process.h"
#include "table_fixture.h"

namespace backhand {
namespace {

struct CellsTest : testing::Test {
    static constexpr std::size_t cells_count = 4;

    std::array<ChildCell, cells_count> memory;
    std::atomic<std::uint32_t> used{0};
    InFlightSums sums;
    ChildCells cells{memory, used, sums};

    void expect_in_flight(std::uint32_t serving, std::uint32_t forwarding) const {
        const InFlight expected{.serving = serving, .forwarding = forwarding};
        EXPECT_EQ(cells.exact(), expected) << "the cells";
        EXPECT_EQ(cells.quick(), expected) << "the sums";
    }

    void repair(ChildCells::Drift& drift, int times) const {
        for (int time = 0; time < times; ++time) {
            cells.repair(drift);
        }
    }
};

// ---- a cell of one's own ----

struct ACell : CellsTest {};

TEST_F(ACell, BelongsToOneChild) {
    const ChildTally first = cells.claim(100);
    const ChildTally second = cells.claim(101);

    ASSERT_TRUE(first && second);
    EXPECT_NE(first.cell, second.cell);
    EXPECT_EQ(first.cell->pid, 100);
}

TEST_F(ACell, IsNotGivenWhenAllAreTaken) {
    for (pid_t pid = 100; pid < 104; ++pid) {
        ASSERT_TRUE(cells.claim(pid));
    }

    EXPECT_FALSE(cells.claim(104));
}

TEST_F(ACell, IsFreeAgainOnceItsChildIsGone) {
    cells.claim(100);
    const ChildTally crashed = cells.claim(101);

    cells.release(101);

    EXPECT_EQ(cells.claim(102).cell, crashed.cell);
}

TEST_F(ACell, SurvivesTheReleaseOfAChildThatHadNone) {
    cells.claim(100).serving_began();

    cells.release(999);

    expect_in_flight(1, 0);
}

TEST_F(ACell, IsNotAddedUpBeforeAChildHasClaimedIt) {
    memory[0].serving = 7;
    memory[0].served = 7;

    expect_in_flight(0, 0);
    EXPECT_EQ(cells.served().count, 0U);
}

// ---- requests in progress ----

struct RequestsInProgress : CellsTest {
    ChildTally one = cells.claim(100);
    ChildTally other = cells.claim(101);
};

TEST_F(RequestsInProgress, AreTheSameInTheCellsAndInTheSums) {
    one.serving_began();
    one.serving_began();
    other.serving_began();
    other.forwarding_began();
    expect_in_flight(3, 1);

    one.serving_ended();
    other.forwarding_ended();
    expect_in_flight(2, 0);
}

TEST_F(RequestsInProgress, AreToldToTheChildThatAddsOne) {
    EXPECT_EQ(one.serving_began(), 1U);
    EXPECT_EQ(other.serving_began(), 2U);
    EXPECT_EQ(one.forwarding_began(), 1U);

    other.serving_ended();
    EXPECT_EQ(other.serving_began(), 2U);
}

TEST_F(RequestsInProgress, EndWithTheirChild) {
    one.serving_began();
    other.serving_began();
    other.serving_began();
    other.forwarding_began();

    cells.release(101);

    expect_in_flight(1, 0);
}

TEST_F(RequestsInProgress, AreTakenOffOnceHoweverOftenTheChildIsReleased) {
    one.serving_began();
    other.serving_began();

    cells.release(101);
    cells.release(101);

    expect_in_flight(1, 0);
}

// The parent was killed between two steps of a release, and its successor releases once more.
TEST_F(RequestsInProgress, AreTakenOffOnceWhenAReleaseWasBrokenOff) {
    one.serving_began();
    other.serving_began();
    other.forwarding_began();
    sums.serving -= static_cast<std::int32_t>(other.cell->serving.exchange(0));

    cells.release(101);

    expect_in_flight(1, 0);
}

TEST_F(RequestsInProgress, AreNotLeftBehindByAThreadThatOutlivesItsChildsEnd) {
    other.serving_began();
    cells.release(101);
    other.serving_ended();
    other.forwarding_began();

    const ChildTally next = cells.claim(102);

    ASSERT_EQ(next.cell, other.cell);
    EXPECT_EQ(cells.exact(), InFlight{});
    ChildCells::Drift drift;
    repair(drift, ChildCells::repair_after);
    expect_in_flight(0, 0);
}

TEST_F(RequestsInProgress, AreNeverFewerThanNone) {
    sums.serving = -3;
    sums.forwarding = -1;

    EXPECT_EQ(cells.quick(), InFlight{});
    EXPECT_EQ(one.serving_began(), 0U);
}

// ---- requests that are over ----

struct RequestsThatAreOver : CellsTest {};

TEST_F(RequestsThatAreOver, AreAddedUp) {
    const ChildTally one = cells.claim(100);
    const ChildTally other = cells.claim(101);
    one.cell->served = 10;
    other.cell->served = 1;
    one.cell->served_ns = 2'000;
    other.cell->served_ns = 200;
    one.cell->errors = 3;
    one.cell->proxied = 4;
    other.cell->proxied = 5;
    other.cell->proxied_ns = 600;
    one.cell->forwarded = 7;

    const Served served = cells.served();

    EXPECT_EQ(served.count, 11U);
    EXPECT_EQ(served.took_ns, 2'200U);
    EXPECT_EQ(served.errors, 3U);
    EXPECT_EQ(served.proxied, 9U);
    EXPECT_EQ(served.proxied_took_ns, 600U);
    EXPECT_EQ(served.forwarded, 7U);
}

TEST_F(RequestsThatAreOver, OutliveTheirChild) {
    cells.claim(100).cell->served = 10;

    cells.release(100);
    EXPECT_EQ(cells.served().count, 10U);

    cells.claim(101).cell->served += 5;
    EXPECT_EQ(cells.served().count, 15U);
}

// ---- repair ----

// A child has died between counting in its cell and adding to the sums.
struct ADifference : CellsTest {
    ADifference() {
        cells.claim(100).serving_began();
        const ChildTally killed = cells.claim(101);
        killed.cell->serving.fetch_add(1);
        cells.release(101);
    }

    ChildCells::Drift drift;
};

TEST_F(ADifference, IsLeftAloneUntilItHasBeenTheSameOftenEnough) {
    ASSERT_EQ(cells.quick().serving, 0U);

    repair(drift, ChildCells::repair_after - 1);
    EXPECT_EQ(cells.quick().serving, 0U);

    repair(drift, 1);
    EXPECT_EQ(cells.quick().serving, 1U);
}

TEST_F(ADifference, IsRepairedOnce) {
    repair(drift, 10 * ChildCells::repair_after);

    expect_in_flight(1, 0);
}

TEST_F(ADifference, IsRepairedWhileRequestsComeAndGo) {
    const ChildTally busy = cells.claim(102);
    for (int look = 0; look < ChildCells::repair_after; ++look) {
        busy.serving_began();
        busy.forwarding_began();
        cells.repair(drift);
        busy.forwarding_ended();
    }

    expect_in_flight(1 + ChildCells::repair_after, 0);
}

TEST_F(ADifference, OfForwardingIsRepairedToo) {
    sums.forwarding += 2;

    repair(drift, ChildCells::repair_after);

    expect_in_flight(1, 0);
}

TEST_F(ADifference, ThatChangesIsARequestOnItsWayAndNeverRepaired) {
    for (int look = 0; look < 100; ++look) {
        sums.serving = 1 + look % 2;
        cells.repair(drift);
    }

    EXPECT_EQ(sums.serving, 2);
}

TEST_F(ADifference, IsCountedAnewAfterAMomentWithoutOne) {
    repair(drift, ChildCells::repair_after - 1);
    sums.serving += 1;
    repair(drift, 1);
    sums.serving -= 1;

    repair(drift, ChildCells::repair_after - 1);
    EXPECT_EQ(cells.quick().serving, 0U);

    repair(drift, 1);
    expect_in_flight(1, 0);
}

// ---- many at a time ----

struct ConcurrentChildren : testing::Test {
    static constexpr pid_t children_count = 8;
    static constexpr int requests_count = 5'000;

    TableFixture table{1, 64};

    // A child: claims a cell, serves and forwards, and ends.  Dies with requests in progress if it
    // is a number that three divides.
    void live(pid_t pid) const {
        const ChildTally tally = table->cells().claim(pid);
        for (int request = 0; request < requests_count; ++request) {
            tally.serving_began();
            tally.forwarding_began();
            tally.forwarding_ended();
            tally.serving_ended();
            tally.cell->served.fetch_add(1, std::memory_order_relaxed);
        }
        if (pid % 3 == 0) {
            tally.serving_began();
            tally.forwarding_began();
        }
    }
};

TEST_F(ConcurrentChildren, LeaveCellsAndSumsAlikeWhoeverDiesMeanwhile) {
    {
        std::vector<std::jthread> children;
        children.reserve(children_count);
        for (pid_t pid = 1; pid <= children_count; ++pid) {
            children.emplace_back([this, pid] {
                live(pid);
                table->cells().release(pid);
            });
        }
    }

    EXPECT_EQ(table->cells().exact(), InFlight{});
    EXPECT_EQ(table->cells().quick(), InFlight{});
    EXPECT_EQ(table->cells().served().count, children_count * requests_count);
}

TEST_F(ConcurrentChildren, EachGetACellHoweverManyStartTogether) {
    {
        std::vector<std::jthread> children;
        children.reserve(4);
        for (pid_t first_pid = 1; first_pid <= 64; first_pid += 16) {
            children.emplace_back([this, first_pid] {
                for (pid_t pid = first_pid; pid < first_pid + 16; ++pid) {
                    if (const ChildTally tally = table->cells().claim(pid)) {
                        tally.serving_began();
                    }
                }
            });
        }
    }

    EXPECT_EQ(table->cells().exact().serving, 64U);
    EXPECT_EQ(table->cells().quick().serving, 64U);
    EXPECT_FALSE(table->cells().claim(65));
}

// A moderator that looks a thousand times as often as it does may catch a child between two
// additions so often that it "repairs" that; it must then notice that, too.
TEST_F(ConcurrentChildren, LeaveNothingWrongForLongWhileTheSumsAreRepaired) {
    ChildCells::Drift drift;
    {
        const std::jthread moderator([this, &drift](const std::stop_token& done) {
            while (!done.stop_requested()) {
                table->cells().repair(drift);
            }
        });
        std::vector<std::jthread> children;
        children.reserve(children_count);
        for (pid_t pid = 1; pid <= children_count; ++pid) {
            children.emplace_back([this, pid] { live(pid); });
        }
    }

    for (int look = 0; look < 2 * ChildCells::repair_after; ++look) {
        table->cells().repair(drift);
    }

    EXPECT_EQ(table->cells().exact(), (InFlight{.serving = 2, .forwarding = 2}));
    EXPECT_EQ(table->cells().quick(), (InFlight{.serving = 2, .forwarding = 2}));
}

TEST_F(ConcurrentChildren, MayBeKilledAtAnyInstruction) {
    constexpr int rounds = 200;
    Random random{1};
    ChildCells::Drift drift;
    for (int round = 0; round < rounds; ++round) {
        ChildProcess child([this] {
            const ChildTally tally = table->cells().claim(::getpid());
            for (;;) {
                tally.serving_began();
                tally.forwarding_began();
                tally.forwarding_ended();
                tally.serving_ended();
            }
            return 0;
        });
        while (table->cells().exact() == InFlight{}) {
            std::this_thread::yield();
        }
        for (std::uint32_t spins = random.below(2'000); spins > 0; --spins) {
            table->cells().quick();
        }
        const pid_t pid = child.pid();
        child.kill();
        table->cells().release(pid);
        ASSERT_EQ(table->cells().exact(), InFlight{});
    }

    for (int look = 0; look < ChildCells::repair_after; ++look) {
        table->cells().repair(drift);
    }

    EXPECT_EQ(table->cells().quick(), InFlight{});
}

}  // namespace
}  // namespace backhand
