// ChildCells: what httpd's children count, each in a cell of its own.
//
// A count that several processes share leaks when one of them dies in the middle of a request.  So
// each child counts in its own cell, whoever wants the total adds the cells up, and when a child
// ends without having cleared its cell the parent does it.  Beside the cells runs one sum of each
// count, for those who ask on every request: a child that dies between the two additions leaves it
// wrong by one, until the moderator notices (repair()).
//
// The counts of what has happened are never cleared: the next child goes on where the last ended.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include <sys/types.h>

#include "base/clock.h"

namespace backhand {

// A cache line, which only one process writes to.
struct alignas(64) ChildCell {
    std::atomic<std::int32_t> pid{0};  // 0: free

    // In progress.
    std::atomic<std::uint32_t> serving{0};
    std::atomic<std::uint32_t> forwarding{0};

    // Since the table was made.  What took time, in nanoseconds.
    std::atomic<std::uint64_t> served{0};
    std::atomic<std::uint64_t> served_ns{0};
    std::atomic<std::uint64_t> errors{0};
    std::atomic<std::uint64_t> proxied{0};
    std::atomic<std::uint64_t> proxied_ns{0};
    std::atomic<std::uint64_t> forwarded{0};
};

static_assert(sizeof(ChildCell) == 64);

// Requests in progress.
struct InFlight {
    std::uint32_t serving = 0;
    std::uint32_t forwarding = 0;

    friend bool operator==(const InFlight&, const InFlight&) = default;
};

// Requests that are over.
struct Served {
    std::uint64_t count = 0;    // answered here
    std::uint64_t errors = 0;   // of these, with a status of 5xx
    std::uint64_t took_ns = 0;  // the others
    std::uint64_t proxied = 0;  // of the others, for peers
    std::uint64_t proxied_took_ns = 0;
    std::uint64_t forwarded = 0;  // answered by peers
};

// The sums, on a cache line of their own.
struct alignas(64) InFlightSums {
    std::atomic<std::int32_t> serving{0};
    std::atomic<std::int32_t> forwarding{0};
};

// What a child counts with, on every request: its cell and the sums.  Empty if it has no cell; then
// nothing may be counted.
struct ChildTally {
    ChildCell* cell = nullptr;
    InFlightSums* sums = nullptr;

    explicit operator bool() const { return cell != nullptr; }

    // A request begins to count.  Returns how many there are now in all children, this one
    // included.
    std::uint32_t serving_began() const {
        cell->serving.fetch_add(1, std::memory_order_relaxed);
        return raised(sums->serving);
    }

    std::uint32_t forwarding_began() const {
        cell->forwarding.fetch_add(1, std::memory_order_relaxed);
        return raised(sums->forwarding);
    }

    void serving_ended() const {
        cell->serving.fetch_sub(1, std::memory_order_relaxed);
        sums->serving.fetch_sub(1, std::memory_order_relaxed);
    }

    void forwarding_ended() const {
        cell->forwarding.fetch_sub(1, std::memory_order_relaxed);
        sums->forwarding.fetch_sub(1, std::memory_order_relaxed);
    }

private:
    // Never negative, though the sum may be for a moment after a child has died.
    static std::uint32_t raised(std::atomic<std::int32_t>& sum) {
        const std::int32_t before = sum.fetch_add(1, std::memory_order_relaxed);
        return before < 0 ? 0 : static_cast<std::uint32_t>(before) + 1;
    }
};

class ChildCells {
public:
    ChildCells(std::span<ChildCell> cells, std::atomic<std::uint32_t>& used, InFlightSums& sums)
        : cells_(cells),
          used_(used),
          sums_(sums) {}

    // Takes a cell for this child.  Empty if all are in use.
    ChildTally claim(pid_t pid) const;

    // Frees the cell of a child that is gone.  Called by the child at its end, and by the parent
    // for children that could not.
    void release(pid_t pid) const;

    // ---- any process ----

    // The sums: one load, right but for what repair() mends.
    InFlight quick() const;

    // Every cell added up: exact.
    InFlight exact() const;

    Served served() const;

    // ---- the moderator ----

    // Compares sums and cells; called a few times a second.  `drift` is what the caller keeps for
    // it between calls.  A difference that stays the same for `repairs_after` calls is not a
    // request caught between two additions, and is taken off.
    struct Drift {
        std::int32_t serving = 0;
        std::int32_t forwarding = 0;
        int seen_times = 0;
    };

    static constexpr int repair_after = 5;

    void repair(Drift& drift) const;

private:
    std::span<ChildCell> in_use() const;

    std::span<ChildCell> cells_;
    std::atomic<std::uint32_t>& used_;
    InFlightSums& sums_;
};

}  // namespace backhand
