// Latencies kept by load: what is read from the sketch against what was added, exactly computed,
// and what happens while others add.
#include "cluster/latency_by_load.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace backhand {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr double error_max = 0.096;

struct ALatencyByLoad : testing::Test {
    LatencyByLoad sketch;

    void add(int times, std::uint32_t in_flight, Nanoseconds took) {
        for (int time = 0; time < times; ++time) {
            sketch.add(in_flight, took);
        }
    }
};

double relative_error(Nanoseconds found, Nanoseconds exact) {
    return std::abs(static_cast<double>((found - exact).count())) /
           static_cast<double>(exact.count());
}

Nanoseconds exact_quantile(std::vector<Nanoseconds> sorted, double q) {
    std::sort(sorted.begin(), sorted.end());
    const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(sorted.size())));
    return sorted[std::max<std::size_t>(rank, 1) - 1];
}

// Durations as servers have them: most are short, some very long.
std::vector<Nanoseconds> random_durations(std::size_t count, std::uint64_t seed) {
    std::mt19937_64 engine{seed};
    std::lognormal_distribution<double> duration_ns{std::log(5e6), 1.5};
    std::vector<Nanoseconds> durations;
    while (durations.size() < count) {
        const Nanoseconds duration{static_cast<std::int64_t>(duration_ns(engine))};
        if (duration > microseconds{17} && duration < seconds{60}) {
            durations.push_back(duration);
        }
    }
    return durations;
}

// ---- levels and buckets ----

TEST(TheLevels, AreExactUpToEightInFlight) {
    for (std::uint32_t in_flight = 1; in_flight <= 8; ++in_flight) {
        EXPECT_EQ(LatencyByLoad::level_of(in_flight), in_flight - 1);
    }
}

TEST(TheLevels, AreTwoPerOctaveAboveEight) {
    EXPECT_EQ(LatencyByLoad::level_of(9), 8U);
    EXPECT_EQ(LatencyByLoad::level_of(12), 8U);
    EXPECT_EQ(LatencyByLoad::level_of(13), 9U);
    EXPECT_EQ(LatencyByLoad::level_of(16), 9U);
    EXPECT_EQ(LatencyByLoad::level_of(17), 10U);
    EXPECT_EQ(LatencyByLoad::level_of(3072), 24U);
    EXPECT_EQ(LatencyByLoad::level_of(3073), 25U);
}

TEST(TheLevels, RiseWithoutAGapToTheLast) {
    for (std::uint32_t in_flight = 1; in_flight < 10'000; ++in_flight) {
        const std::uint32_t rise =
            LatencyByLoad::level_of(in_flight + 1) - LatencyByLoad::level_of(in_flight);
        ASSERT_LE(rise, 1U) << "at " << in_flight;
    }
    EXPECT_EQ(LatencyByLoad::level_of(10'000), LatencyByLoad::levels_count - 1);
}

TEST(TheLevels, TakeInEveryNumber) {
    EXPECT_EQ(LatencyByLoad::level_of(0), 0U);
    EXPECT_EQ(LatencyByLoad::level_of(std::numeric_limits<std::uint32_t>::max()),
              LatencyByLoad::levels_count - 1);
}

TEST(TheBuckets, RiseWithoutAGapFromTheFirstToTheLast) {
    std::uint32_t bucket = LatencyByLoad::bucket_of(Nanoseconds{1});
    ASSERT_EQ(bucket, 0U);

    for (Nanoseconds took{1000}; took < seconds{70}; took += took / 1000) {
        const std::uint32_t next = LatencyByLoad::bucket_of(took);
        ASSERT_TRUE(next == bucket || next == bucket + 1) << took.count();
        bucket = next;
    }
    EXPECT_EQ(bucket, LatencyByLoad::buckets_count - 1);
}

TEST(TheBuckets, BeginBelowSixteenMicrosecondsAndEndAboveAMinute) {
    EXPECT_EQ(LatencyByLoad::bucket_of(microseconds{16}), 0U);
    EXPECT_EQ(LatencyByLoad::bucket_of(microseconds{17}), 1U);
    EXPECT_EQ(LatencyByLoad::bucket_of(seconds{68}), LatencyByLoad::buckets_count - 2);
    EXPECT_EQ(LatencyByLoad::bucket_of(seconds{69}), LatencyByLoad::buckets_count - 1);
}

TEST(TheBuckets, HaveAMiddleThatIsNearEverythingInThem) {
    for (Nanoseconds took{1 << 14}; took < seconds{68}; took += took / 1000) {
        const Nanoseconds middle = LatencyByLoad::middle_of(LatencyByLoad::bucket_of(took));
        ASSERT_LT(relative_error(middle, took), error_max) << took.count();
    }
}

TEST(TheBuckets, HaveAMiddleOfTheirOwn) {
    for (std::size_t bucket = 0; bucket < LatencyByLoad::buckets_count; ++bucket) {
        EXPECT_EQ(LatencyByLoad::bucket_of(LatencyByLoad::middle_of(bucket)), bucket);
    }
}

// ---- what is read ----

TEST_F(ALatencyByLoad, KnowsNothingAtFirst) {
    EXPECT_FALSE(sketch.median_at(1));
    EXPECT_FALSE(sketch.quantile(0.5));
    EXPECT_FALSE(sketch.mean());
    EXPECT_EQ(sketch.weight(), 0U);
    EXPECT_EQ(sketch.age(), 0U);
}

TEST(ZeroedMemoryIsALatencyByLoad, ThatKnowsNothingAndLearns) {
    struct alignas(LatencyByLoad) Memory {
        std::array<std::byte, sizeof(LatencyByLoad)> bytes{};
    };

    const auto memory = std::make_unique<Memory>();
    auto& sketch = reinterpret_cast<LatencyByLoad&>(*memory);
    ASSERT_FALSE(sketch.median_at(1));

    sketch.add(1, milliseconds{10});

    ASSERT_TRUE(sketch.median_at(1));
    EXPECT_LT(relative_error(*sketch.median_at(1), milliseconds{10}), error_max);
}

TEST_F(ALatencyByLoad, AnswersFromASingleSample) {
    sketch.add(5, milliseconds{3});

    EXPECT_LT(relative_error(*sketch.median_at(5), milliseconds{3}), error_max);
    EXPECT_LT(relative_error(*sketch.mean(), milliseconds{3}), error_max);
    EXPECT_EQ(sketch.quantile(0), sketch.quantile(1));
}

TEST_F(ALatencyByLoad, HasTheQuantilesOfWhatWasAdded) {
    const std::vector<Nanoseconds> durations = random_durations(10'007, 4711);
    std::uint32_t in_flight = 0;
    for (const Nanoseconds took : durations) {
        sketch.add(in_flight++ % 300, took);
    }

    for (const double q : {0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0}) {
        EXPECT_LT(relative_error(*sketch.quantile(q), exact_quantile(durations, q)), error_max)
            << q;
    }
}

TEST_F(ALatencyByLoad, HasTheMedianOfEachLevel) {
    std::vector<std::vector<Nanoseconds>> durations;
    for (const std::uint32_t in_flight : {1U, 2U, 8U, 20U, 500U}) {
        durations.push_back(random_durations(1001, in_flight));
        for (Nanoseconds& took : durations.back()) {
            took = std::min<Nanoseconds>(took * (1 + in_flight / 10), seconds{60});
            sketch.add(in_flight, took);
        }
    }

    EXPECT_LT(relative_error(*sketch.median_at(1), exact_quantile(durations[0], 0.5)), error_max);
    EXPECT_LT(relative_error(*sketch.median_at(2), exact_quantile(durations[1], 0.5)), error_max);
    EXPECT_LT(relative_error(*sketch.median_at(8), exact_quantile(durations[2], 0.5)), error_max);
    EXPECT_LT(relative_error(*sketch.median_at(20), exact_quantile(durations[3], 0.5)), error_max);
    EXPECT_LT(relative_error(*sketch.median_at(500), exact_quantile(durations[4], 0.5)), error_max);
}

TEST_F(ALatencyByLoad, HasTheMeanOfWhatWasAdded) {
    const std::vector<Nanoseconds> durations = random_durations(10'000, 42);
    Nanoseconds sum{0};
    for (const Nanoseconds took : durations) {
        sketch.add(3, took);
        sum += took;
    }

    EXPECT_LT(relative_error(*sketch.mean(), sum / durations.size()), error_max);
}

TEST_F(ALatencyByLoad, CutsAQuantileThatIsNone) {
    add(1, 1, milliseconds{1});
    add(1, 1, seconds{1});

    EXPECT_EQ(sketch.quantile(-1), sketch.quantile(0));
    EXPECT_EQ(sketch.quantile(7), sketch.quantile(1));
    EXPECT_EQ(sketch.quantile(std::nan("")), sketch.quantile(0));
    EXPECT_LT(*sketch.quantile(0), *sketch.quantile(1));
}

// ---- neighbours ----

TEST_F(ALatencyByLoad, KeepsToALevelThatHasEnough) {
    add(8, 4, milliseconds{4});
    add(1000, 3, milliseconds{100});
    add(1000, 5, milliseconds{100});

    EXPECT_LT(relative_error(*sketch.median_at(4), milliseconds{4}), error_max);
}

TEST_F(ALatencyByLoad, AsksTheNeighboursOfALevelThatHasTooFew) {
    add(7, 4, milliseconds{4});
    add(1000, 5, milliseconds{100});

    EXPECT_LT(relative_error(*sketch.median_at(4), milliseconds{100}), error_max);
}

TEST_F(ALatencyByLoad, AsksTheNearestNeighboursFirst) {
    add(8, 6, milliseconds{6});
    add(1000, 8, milliseconds{80});
    add(1000, 1, milliseconds{1});

    EXPECT_LT(relative_error(*sketch.median_at(5), milliseconds{6}), error_max);
}

TEST_F(ALatencyByLoad, AsksNeighboursOnBothSidesAlike) {
    add(100, 3, milliseconds{3});
    add(101, 5, milliseconds{50});

    EXPECT_LT(relative_error(*sketch.median_at(4), milliseconds{50}), error_max);

    add(2, 3, milliseconds{3});

    EXPECT_LT(relative_error(*sketch.median_at(4), milliseconds{3}), error_max);
}

TEST_F(ALatencyByLoad, FindsTheFarthestSampleFromEitherEnd) {
    add(1, 1, milliseconds{2});
    EXPECT_LT(relative_error(*sketch.median_at(100'000), milliseconds{2}), error_max);

    while (sketch.age() != 0) {
    }
    add(1, 100'000, milliseconds{9});
    EXPECT_LT(relative_error(*sketch.median_at(1), milliseconds{9}), error_max);
}

// ---- ageing ----

TEST_F(ALatencyByLoad, ForgetsASampleInFiveSteps) {
    add(1, 1, milliseconds{1});

    EXPECT_EQ(sketch.age(), 8U);
    EXPECT_EQ(sketch.age(), 4U);
    EXPECT_EQ(sketch.age(), 2U);
    EXPECT_EQ(sketch.age(), 1U);
    EXPECT_TRUE(sketch.median_at(1));
    EXPECT_EQ(sketch.age(), 1U);
    EXPECT_FALSE(sketch.median_at(1));
    EXPECT_EQ(sketch.age(), 0U);
}

TEST_F(ALatencyByLoad, ForgetsAMillionSamplesInTwentyFourSteps) {
    add(1'000'000, 2, milliseconds{1});

    for (int step = 1; step < 24; ++step) {
        sketch.age();
        ASSERT_TRUE(sketch.median_at(2)) << step;
    }
    sketch.age();

    EXPECT_FALSE(sketch.median_at(2));
}

TEST_F(ALatencyByLoad, FollowsAChangeOfLatencyWithinTwoSteps) {
    add(1000, 2, milliseconds{100});
    sketch.age();
    add(1000, 2, milliseconds{1});
    sketch.age();
    add(1000, 2, milliseconds{1});

    EXPECT_LT(relative_error(*sketch.median_at(2), milliseconds{1}), error_max);
}

TEST_F(ALatencyByLoad, HoldsTwiceWhatArrivesBetweenTwoSteps) {
    for (int step = 0; step < 50; ++step) {
        add(1000, 2, milliseconds{1});
        sketch.age();
    }

    EXPECT_NEAR(static_cast<double>(sketch.weight()), 1000 * LatencyByLoad::one_sample, 2);
}

// ---- odd durations ----

TEST_F(ALatencyByLoad, TakesNoTimeAtAllForShort) {
    add(10, 1, Nanoseconds{0});

    EXPECT_EQ(*sketch.median_at(1), LatencyByLoad::middle_of(0));
}

TEST_F(ALatencyByLoad, TakesNegativeTimesForShort) {
    add(10, 1, Nanoseconds{-1});
    add(10, 1, Nanoseconds::min());

    EXPECT_EQ(*sketch.quantile(1), LatencyByLoad::middle_of(0));
}

TEST_F(ALatencyByLoad, TakesHoursForTheLongestItKnows) {
    add(10, 1, hours{5});
    add(10, 1, Nanoseconds::max());

    EXPECT_EQ(*sketch.quantile(0), LatencyByLoad::middle_of(LatencyByLoad::buckets_count - 1));
    EXPECT_GT(*sketch.mean(), seconds{60});
}

TEST_F(ALatencyByLoad, StaysSensibleWithEveryCellNearlyFull) {
    auto* const cells = reinterpret_cast<std::uint32_t*>(&sketch);
    std::fill_n(cells, LatencyByLoad::levels_count * LatencyByLoad::buckets_count, 0xFFFFFFF0U);

    EXPECT_EQ(sketch.weight(),
              0xFFFFFFF0U * LatencyByLoad::levels_count * LatencyByLoad::buckets_count);
    EXPECT_EQ(*sketch.quantile(1), LatencyByLoad::middle_of(LatencyByLoad::buckets_count - 1));
    EXPECT_EQ(*sketch.quantile(0.5),
              LatencyByLoad::middle_of(LatencyByLoad::buckets_count / 2 - 1));
    EXPECT_LT(*sketch.mean(), Nanoseconds{LatencyByLoad::longest_ns});
}

// ---- at the same time ----

// Adds until told to stop.  Few cells, so that ageing and adding meet.
std::uint64_t add_until(const std::atomic<bool>& done, LatencyByLoad& sketch) {
    std::uint64_t count = 0;
    for (; !done; ++count) {
        sketch.add(1 + count % 2, milliseconds{1 + count % 3});
    }
    return count;
}

TEST_F(ALatencyByLoad, LosesNothingThatIsAddedWhileItAges) {
    std::atomic<bool> done{false};
    std::atomic<std::uint64_t> added{0};
    std::vector<std::thread> writers;
    for (int writer = 0; writer < 3; ++writer) {
        writers.emplace_back([&] { added += add_until(done, sketch); });
    }

    std::uint64_t taken = 0;
    for (int step = 0; step < 2000; ++step) {
        taken += sketch.age();
    }
    done = true;
    for (std::thread& writer : writers) {
        writer.join();
    }

    EXPECT_EQ(taken + sketch.weight(), added * LatencyByLoad::one_sample);
}

TEST_F(ALatencyByLoad, LosesNothingWhenTwoModeratorsAgeIt) {
    std::atomic<bool> done{false};
    std::atomic<std::uint64_t> added{0};
    std::atomic<std::uint64_t> taken{0};
    std::thread writer{[&] { added += add_until(done, sketch); }};

    const auto age_often = [&] {
        for (int step = 0; step < 2000; ++step) {
            taken += sketch.age();
        }
    };
    std::thread successor{age_often};
    age_often();
    successor.join();
    done = true;
    writer.join();

    EXPECT_EQ(taken + sketch.weight(), added * LatencyByLoad::one_sample);
}

TEST_F(ALatencyByLoad, GivesOnlyMediansThatWereAddedWhileItChanges) {
    const Nanoseconds low = LatencyByLoad::middle_of(20);
    const Nanoseconds high = LatencyByLoad::middle_of(40);
    std::atomic<bool> writing{true};
    std::thread writer{[&] {
        for (std::uint32_t index = 0; index < 100'000; ++index) {
            sketch.add(1 + index % 12, index % 2 == 0 ? low : high);
        }
        writing = false;
    }};

    while (writing) {
        for (const std::uint32_t in_flight : {1U, 2U, 6U, 100U}) {
            const auto median = sketch.median_at(in_flight);
            EXPECT_TRUE(!median || *median == low || *median == high) << median->count();
        }
        sketch.age();
    }
    writer.join();
}

}  // namespace
}  // namespace backhand
