// LatencyByLoad: how long requests take here, kept apart by how many were in flight when they came.
//
// A server that is asked "how long would one more request take?" should answer from requests that
// found it as busy as it is now; a mean over everything says how it was, not how it is.  This is
// the latency signal of Prequal (Wydrowski et al., NSDI '24, section 4): the median of the latest
// latencies of requests that arrived at about the present number in flight.
//
// One histogram of latencies for each level of requests in flight, in shared memory that is valid
// when zeroed.  Every thread of every process adds, with one atomic addition; the moderator halves
// all counts about once a second, so that what was added is forgotten within seconds.  Whoever dies
// at any instruction leaves at most his own sample out, or some counts to be halved a second later.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "base/clock.h"

namespace backhand {

class alignas(64) LatencyByLoad {
public:
    // Levels: 1 to 8 in flight one each, then two per octave: 9-12, 13-16, 17-24, 25-32, ... The
    // last is 3,073 and more.
    static constexpr std::uint32_t in_flight_max = 4096;
    static constexpr std::size_t levels_count = 26;

    // Buckets: four per octave between 16.4 us (2^14 ns) and 68.7 s (2^36 ns), one for all that is
    // shorter and one for all that is longer.
    static constexpr std::uint64_t shortest_ns = std::uint64_t{1} << 14;
    static constexpr std::uint64_t longest_ns = std::uint64_t{1} << 36;
    static constexpr std::size_t buckets_count = 90;

    // What one sample adds to its cell.  More than 1, so that a sample fades (16, 8, 4, 2, 1, 0)
    // rather than vanish with the first halving: a server with few requests remembers them for five
    // seconds, too.
    //
    // No cell wraps: it would take 2^28 requests of the same duration between two calls of age(),
    // 45 minutes without a moderator at 100,000 a second.  Should it happen, one cell has lost
    // samples that were long due to be forgotten.
    static constexpr std::uint32_t one_sample = 16;

    // A median is of at least so many samples, if there are as many at any level.  A sample counts
    // as much as age() has left of it.
    static constexpr std::uint32_t samples_min = 8;

    // A request was served in `took`; when it arrived `in_flight` were in progress, itself
    // included.  Any process and thread.  25 instructions (31 above 8 in flight), one of them
    // atomic.
    void add(std::uint32_t in_flight, Nanoseconds took) {
        cells_[level_of(in_flight)][bucket_of(took)].fetch_add(one_sample,
                                                               std::memory_order_relaxed);
    }

    // Halves every count.  Called by the moderator about once a second; a second caller at the same
    // time does no harm but to age the samples twice.  Writes only to cells that are not zero.
    // Returns what it took away: one_sample for each sample, so that every sample that was added is
    // either in weight() or has been returned here.
    std::uint64_t age();

    // The median of what requests took that arrived when `in_flight` were in progress, themselves
    // included: what the next request will take is median_at(in flight now + 1).  Where that level
    // has too few samples, those of the levels around it are added, the nearest first.  nullopt if
    // there is no sample at all.
    //
    // Off by less than 10 % (within the limits of the buckets), as are the two below.
    std::optional<Nanoseconds> median_at(std::uint32_t in_flight) const;

    // Over all levels.  `q` is cut to 0 .. 1.
    std::optional<Nanoseconds> quantile(double q) const;
    std::optional<Nanoseconds> mean() const;

    // All samples there are, one_sample each.
    std::uint64_t weight() const;

    // 0 counts as 1.
    static constexpr std::uint32_t level_of(std::uint32_t in_flight) {
        const std::uint32_t others = in_flight - (in_flight != 0 ? 1U : 0U);
        if (others < 8) {
            return others;
        }
        if (others >= in_flight_max) [[unlikely]] {
            return levels_count - 1;
        }
        const std::uint32_t octave = floor_log2(others);
        return 2 * octave + (others >> (octave - 1));
    }

    // Durations below zero, of a clock that was wrong, count as zero.
    static constexpr std::uint32_t bucket_of(Nanoseconds took) {
        const auto ns = static_cast<std::uint64_t>(took.count());
        if (ns - shortest_ns >= longest_ns - shortest_ns) [[unlikely]] {
            return took.count() < 0 || ns < shortest_ns ? 0 : buckets_count - 1;
        }
        const std::uint32_t octave = floor_log2(ns);
        // 16 .. 31: the octave in sixteenths.  With x of them above 16, (15 x + 28) / 64 cuts it at
        // the 3rd, 7th and 11th, near to equal ratios; plain quarters would make the first bucket
        // so wide that what is read from it is wrong by up to 11 %.
        const auto sixteenths = static_cast<std::uint32_t>(ns >> (octave - 4));
        return (256 * octave + 15 * sixteenths - (15 * 16 - 28 + 64 * bucket_offset)) / 64;
    }

    // What a sample in this bucket is taken to have lasted: the harmonic middle, which has the
    // smallest relative error.
    static constexpr Nanoseconds middle_of(std::size_t bucket) {
        if (bucket == 0) {
            return Nanoseconds{shortest_ns / 2};
        }
        if (bucket == buckets_count - 1) {
            return Nanoseconds{longest_ns};
        }
        constexpr std::array<std::int64_t, 5> cuts = {16, 19, 23, 27, 32};
        const std::size_t octave = (bucket + bucket_offset) / 4;
        const std::size_t quarter = (bucket + bucket_offset) % 4;
        const std::int64_t low = cuts[quarter];
        const std::int64_t high = cuts[quarter + 1];
        return Nanoseconds{((2 * low * high) << (octave - 4)) / (low + high)};
    }

private:
    // The last quarter of the octave below the shortest is bucket 0.
    static constexpr std::uint32_t bucket_offset = 4 * 13 + 3;

    // REQUIRES: value > 0.  In this shape one instruction on x86-64; std::bit_width takes four.
    static constexpr std::uint32_t floor_log2(std::uint64_t value) {
        return static_cast<std::uint32_t>(std::countl_zero(value)) ^ 63U;
    }

    using Histogram = std::array<std::uint64_t, buckets_count>;

    std::uint64_t collect(std::size_t level, Histogram& histogram) const;
    Histogram collect_all() const;

    std::array<std::array<std::atomic<std::uint32_t>, buckets_count>, levels_count> cells_{};
};

static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
static_assert(std::is_standard_layout_v<LatencyByLoad>);
static_assert(std::is_trivially_destructible_v<LatencyByLoad>);
static_assert(sizeof(LatencyByLoad) == 9408);
static_assert(LatencyByLoad::level_of(0xFFFFFFFFU) == LatencyByLoad::levels_count - 1);
static_assert(LatencyByLoad::bucket_of(Nanoseconds::min()) == 0);
static_assert(LatencyByLoad::bucket_of(Nanoseconds::max()) == LatencyByLoad::buckets_count - 1);

}  // namespace backhand
