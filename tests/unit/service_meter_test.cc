// What children counted, as rates and times.
#include "measure/service_meter.h"

#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>

#include <gtest/gtest.h>

namespace backhand {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct AServiceMeter : testing::Test {
    // Lets time pass in which requests end at these rates, and looks ten times a second.
    void serve(Nanoseconds duration, std::uint64_t requests_per_second, std::uint64_t each_took_us,
               std::uint64_t errors_per_second = 0) {
        for (Nanoseconds passed{}; passed < duration; passed += milliseconds{100}) {
            served.count += requests_per_second / 10;
            served.took_ns += requests_per_second / 10 * each_took_us * 1'000;
            served.errors += errors_per_second / 10;
            now += nanoseconds_in(milliseconds{100});
            look();
        }
    }

    void look(std::uint32_t in_flight = 0) {
        meter.measure(served, *latency, in_flight, now, load);
    }

    // What is left of a difference after this long.
    static double left_after(Nanoseconds pause) {
        return std::exp(-std::chrono::duration<double>{pause} /
                        std::chrono::duration<double>{ServiceMeter::memory});
    }

    std::unique_ptr<LatencyByLoad> latency = std::make_unique<LatencyByLoad>();
    ServiceMeter meter;
    Served served;
    MonotonicTime now = 1'000'000'000'000;
    LoadReport load;
};

TEST_F(AServiceMeter, KnowsNothingAtFirst) {
    look();

    EXPECT_EQ(load.request_rate_millihertz, 0U);
    EXPECT_EQ(load.error_rate_millihertz, 0U);
    EXPECT_EQ(load.latency_us, 0U);
    EXPECT_EQ(load.latency_proxied_us, 0U);
    EXPECT_EQ(load.latency_p99_us, 0U);
    EXPECT_EQ(load.latency_at_load_us, 0U);
}

// A moderator that was started anew finds the sums of hours.
TEST_F(AServiceMeter, LearnsNothingFromWhatWasBeforeItsFirstLook) {
    served = {.count = 1'000'000, .errors = 500'000, .took_ns = 1'000'000'000'000};

    look();
    EXPECT_EQ(load.request_rate_millihertz, 0U);

    serve(milliseconds{100}, 0, 0);
    EXPECT_EQ(load.request_rate_millihertz, 0U);
    EXPECT_EQ(load.error_rate_millihertz, 0U);
    EXPECT_EQ(load.latency_us, 0U);
}

TEST_F(AServiceMeter, ApproachesASteadyRate) {
    look();
    serve(ServiceMeter::memory, 200, 1'000);

    EXPECT_NEAR(load.request_rate_millihertz, 200'000 * (1 - left_after(ServiceMeter::memory)), 1);

    serve(10 * ServiceMeter::memory, 200, 1'000);
    EXPECT_NEAR(load.request_rate_millihertz, 200'000, 20);
}

TEST_F(AServiceMeter, ForgetsARateWithinSeconds) {
    look();
    serve(10 * ServiceMeter::memory, 200, 1'000);
    serve(3 * ServiceMeter::memory, 0, 0);

    EXPECT_NEAR(load.request_rate_millihertz, 200'000 * left_after(3 * ServiceMeter::memory), 20);
}

TEST_F(AServiceMeter, CountsErrorsBySecondToo) {
    look();
    serve(10 * ServiceMeter::memory, 200, 1'000, 50);

    EXPECT_NEAR(load.error_rate_millihertz, 50'000, 10);
}

TEST_F(AServiceMeter, ComesToTheSameHoweverOftenItLooks) {
    look();
    for (int second = 0; second < 50; ++second) {
        served.count += 200;
        now += nanoseconds_in(seconds{1});
        look();
    }

    EXPECT_NEAR(load.request_rate_millihertz, 200'000, 20);
}

TEST_F(AServiceMeter, TakesTheFirstMeanAsItIs) {
    look();
    serve(milliseconds{100}, 10, 4'000);

    EXPECT_EQ(load.latency_us, 4'000U);
}

TEST_F(AServiceMeter, MovesTheMeanTowardsNewerRequests) {
    look();
    serve(milliseconds{100}, 10, 4'000);
    serve(ServiceMeter::memory, 10, 9'000);

    EXPECT_NEAR(load.latency_us, 9'000 - 5'000 * left_after(ServiceMeter::memory), 1);
}

TEST_F(AServiceMeter, KeepsTheMeanWhileNothingIsServed) {
    look();
    serve(seconds{1}, 10, 4'000);
    serve(seconds{100}, 0, 0);

    EXPECT_EQ(load.latency_us, 4'000U);
}

TEST_F(AServiceMeter, KeepsWhatItServesForPeersApart) {
    look();
    served.proxied += 4;
    served.proxied_took_ns += 4 * 7'000'000;
    serve(milliseconds{100}, 10, 1'000);

    EXPECT_EQ(load.latency_us, 1'000U);
    EXPECT_EQ(load.latency_proxied_us, 7'000U);
}

TEST_F(AServiceMeter, TellsHowManyRequestsPeersHaveServed) {
    served.forwarded = std::uint64_t{1} << 40U;

    look();

    EXPECT_EQ(load.forwarded_total, std::uint64_t{1} << 40U);
}

TEST_F(AServiceMeter, TellsWhatTheNextRequestWillTake) {
    for (int request = 0; request < 100; ++request) {
        latency->add(1, milliseconds{1});
        latency->add(6, milliseconds{30});
    }

    look(0);
    EXPECT_NEAR(load.latency_at_load_us, 1'000, 100);

    look(5);
    EXPECT_NEAR(load.latency_at_load_us, 30'000, 3'000);
}

TEST_F(AServiceMeter, TellsWhatTheSlowestTake) {
    for (int request = 0; request < 1'000; ++request) {
        latency->add(1, request % 50 == 0 ? milliseconds{500} : milliseconds{1});
    }

    look();

    EXPECT_NEAR(load.latency_p99_us, 500'000, 50'000);
}

// ---- the clock ----

TEST_F(AServiceMeter, LearnsNothingWhileTheClockStandsStill) {
    look();
    served.count += 1'000'000;
    look();
    look();

    EXPECT_EQ(load.request_rate_millihertz, 0U);
}

TEST_F(AServiceMeter, DoesNotCountTwiceWhatItSawTooEarly) {
    look();
    served.count += 100;
    now += nanoseconds_in(milliseconds{99});
    look();
    EXPECT_EQ(load.request_rate_millihertz, 0U);

    now += nanoseconds_in(milliseconds{1});
    look();

    EXPECT_NEAR(load.request_rate_millihertz, 1'000'000 * (1 - left_after(milliseconds{100})), 1);
}

TEST_F(AServiceMeter, SurvivesAClockThatGoesBack) {
    look();
    now -= nanoseconds_in(seconds{10});
    served.count += 100;
    look();

    EXPECT_EQ(load.request_rate_millihertz, 0U);
}

TEST_F(AServiceMeter, AgesTheLatenciesOnceASecond) {
    latency->add(1, milliseconds{1});
    const std::uint64_t at_first = latency->weight();
    look();
    EXPECT_EQ(latency->weight(), at_first / 2);

    now += nanoseconds_in(milliseconds{999});
    look();
    EXPECT_EQ(latency->weight(), at_first / 2);

    now += nanoseconds_in(milliseconds{1});
    look();
    EXPECT_EQ(latency->weight(), at_first / 4);
}

// ---- another table ----

TEST_F(AServiceMeter, GoesOnWithATableBegunAnew) {
    served = {.count = 1'000'000, .errors = 1'000, .took_ns = 1'000'000'000'000'000};
    look();

    served = {.count = 10, .errors = 5, .took_ns = 5 * 3'000'000};
    now += nanoseconds_in(milliseconds{100});
    look();

    const double weight = 1 - left_after(milliseconds{100});
    EXPECT_NEAR(load.request_rate_millihertz, 100'000 * weight, 1);
    EXPECT_NEAR(load.error_rate_millihertz, 50'000 * weight, 1);
    EXPECT_EQ(load.latency_us, 3'000U);
}

}  // namespace
}  // namespace backhand
