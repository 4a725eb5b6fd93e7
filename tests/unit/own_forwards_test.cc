// What this host learns of a server by forwarding to it: latency, failures, and the ejections that
// follow.
#include "cluster/own_forwards.h"

#include <chrono>
#include <string>

#include <gtest/gtest.h>

#include "cluster/table.h"
#include "table_test.h"

namespace backhand {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

// ---- latency ----

TEST(AFadingTime, IsUnknownBeforeTheFirstSample) {
    const FadingTime time;

    EXPECT_EQ(time.read(start).us, 0U);
}

TEST(AFadingTime, TakesAHigherSampleAtOnce) {
    FadingTime time;
    time.add_peak(microseconds{100}, start);
    time.add_peak(microseconds{900}, start);

    EXPECT_EQ(time.read(start).us, 900U);
}

TEST(AFadingTime, GoesDownTheFurtherTheLongerNothingWasHeard) {
    FadingTime soon;
    soon.add_peak(microseconds{900}, start);
    soon.add_peak(microseconds{100}, after(milliseconds{100}));
    FadingTime late;
    late.add_peak(microseconds{900}, start);
    late.add_peak(microseconds{100}, after(FadingTime::memory));

    EXPECT_EQ(soon.read(start).us, 892U);  // 100 + 800 * e^-0.01
    EXPECT_EQ(late.read(start).us, 394U);  // 100 + 800 / e
}

TEST(AFadingTime, SaysHowOldItIs) {
    FadingTime time;
    time.add_peak(microseconds{100}, start);

    EXPECT_EQ(time.read(after(seconds{2})).age_ms, 2000U);
    EXPECT_EQ(time.read(start - 5'000'000).age_ms, 0U);  // a clock that is behind
}

TEST(AFadingTime, IsNeverZeroOnceThereWasASampleHoweverOdd) {
    FadingTime time;
    time.add_peak(Nanoseconds{-5}, start);
    EXPECT_EQ(time.read(start).us, 1U);
    time.add_peak(Nanoseconds::max(), start);
    EXPECT_EQ(time.read(start).us, 4'000'000'000U);
}

TEST(AMeasuredForwardingCost, IsTheMeanOfWhatForwardsTookLongerOrShorterThanTheirServersSay) {
    MeasuredForwardingCost cost;
    cost.learn(microseconds{1900}, microseconds{1000}, start);
    cost.learn(microseconds{500}, microseconds{1000}, start);

    EXPECT_EQ(cost.read(start), microseconds{200});
}

TEST(AMeasuredForwardingCost, IsNothingWhereForwardsAreFaster) {
    MeasuredForwardingCost cost;
    cost.learn(microseconds{900}, microseconds{1000}, start);

    EXPECT_EQ(cost.read(start), Nanoseconds{0});
}

TEST(AMeasuredForwardingCost, LearnsNothingFromAServerThatDoesNotSay) {
    MeasuredForwardingCost cost;
    cost.learn(microseconds{900}, microseconds{0}, start);

    EXPECT_EQ(cost.read(start), Nanoseconds{0});
}

TEST(AFadingTime, IsForgottenOnRequest) {
    FadingTime time;
    time.add_peak(microseconds{100}, start);
    time.forget();

    EXPECT_EQ(time.read(start).us, 0U);
}

struct AnAnsweredForward : TableTest {
    AnAnsweredForward() { table.take(report_of("web2", 1, 1)); }

    void end(ForwardOutcome outcome, Nanoseconds latency, MonotonicTime now = start) const {
        table.forward_ended(1, outcome, latency, now);
    }
};

TEST_F(AnAnsweredForward, TellsHowLongThePeerTakes) {
    end(ForwardOutcome::answered, milliseconds{3});

    EXPECT_EQ(view(1).own_latency_us, 3000U);
    EXPECT_EQ(view(1, after(seconds{1})).own_latency_age_ms, 1000U);
}

TEST_F(AnAnsweredForward, WithAnErrorTellsNothingAboutLatency) {
    end(ForwardOutcome::server_error, microseconds{10});
    end(ForwardOutcome::unjudged, microseconds{10});

    EXPECT_EQ(view(1).own_latency_us, 0U);
}

TEST_F(AnAnsweredForward, ThatTimedOutTookAsLongAsItWasWaitedFor) {
    end(ForwardOutcome::timed_out, seconds{60});

    EXPECT_EQ(view(1).own_latency_us, 60'000'000U);
}

TEST_F(AnAnsweredForward, CountsLessAndLessBesideWhatThePeerAnnounces) {
    ServerReport report = report_of("web2", 1, 2);
    report.load.latency_us = 1000;
    table.take(report);
    EXPECT_EQ(view(1).expected_latency_us(), 1000);

    end(ForwardOutcome::answered, milliseconds{9});

    EXPECT_EQ(view(1).expected_latency_us(), 9000);
    EXPECT_NEAR(view(1, after(FadingTime::memory)).expected_latency_us(), 3943, 1);
    EXPECT_NEAR(view(1, after(minutes{5})).expected_latency_us(), 1000, 1);
}

TEST_F(AnAnsweredForward, OfAnEarlierStartIsForgotten) {
    end(ForwardOutcome::answered, milliseconds{3});
    table.take(report_of("web2", 2, 1));

    EXPECT_EQ(view(1).own_latency_us, 0U);
}

TEST_F(AnAnsweredForward, ShowsWhatForwardingAdds) {
    EXPECT_EQ(table.forwarding_cost(start), Nanoseconds{0});
    ServerReport report = report_of("web2", 1, 2);
    report.load.latency_proxied_us = 1000;
    table.take(report);

    end(ForwardOutcome::answered, microseconds{1400});

    EXPECT_EQ(table.forwarding_cost(start), microseconds{400});
    EXPECT_LT(table.forwarding_cost(after(FadingTime::memory)), microseconds{150});
}

TEST_F(AnAnsweredForward, ShowsNothingWhereThePeerDoesNotSayWhatTookItHowLong) {
    end(ForwardOutcome::answered, microseconds{1400});

    EXPECT_EQ(table.forwarding_cost(start), Nanoseconds{0});
}

TEST_F(AnAnsweredForward, FasterThanThePeersMeanCostsNothing) {
    ServerReport report = report_of("web2", 1, 2);
    report.load.latency_proxied_us = 1000;
    table.take(report);

    end(ForwardOutcome::answered, microseconds{10});

    EXPECT_LE(table.forwarding_cost(start), microseconds{1});
}

// ---- health ----

struct AServerThatFails : TableTest {
    AServerThatFails() { table.take(report_of("web2", 1, 1)); }

    void fail(int times, MonotonicTime now = start, std::uint32_t slot_index = 1,
              ForwardOutcome outcome = ForwardOutcome::server_error) const {
        for (int count = 0; count < times; ++count) {
            table.forward_ended(slot_index, outcome, milliseconds{1}, now);
        }
    }

    void answer(MonotonicTime now = start) const {
        table.forward_ended(1, ForwardOutcome::answered, milliseconds{1}, now);
    }

    bool is_unhealthy(MonotonicTime now, std::uint32_t slot_index = 1) const {
        return view(slot_index, now).unhealthy;
    }
};

TEST_F(AServerThatFails, FourTimesInARowIsHealthy) {
    fail(4);

    EXPECT_FALSE(is_unhealthy(start));
    EXPECT_EQ(table.failed_attempts_in_a_row(1), 4U);
}

TEST_F(AServerThatFails, FiveTimesInARowIsOutForHalfAMinute) {
    fail(5);

    EXPECT_TRUE(is_unhealthy(after(milliseconds{29'999})));
    EXPECT_FALSE(is_unhealthy(after(seconds{30})));
}

TEST_F(AServerThatFails, BeginsAnewWithEachAnswer) {
    fail(4);
    answer();
    fail(4);

    EXPECT_FALSE(is_unhealthy(start));
}

TEST_F(AServerThatFails, InAnyWayIsOut) {
    for (const ForwardOutcome outcome :
         {ForwardOutcome::server_error, ForwardOutcome::unreachable, ForwardOutcome::broken,
          ForwardOutcome::timed_out, ForwardOutcome::server_error}) {
        fail(1, start, 1, outcome);
    }

    EXPECT_TRUE(is_unhealthy(start));
}

TEST_F(AServerThatFails, IsOutForLongerEachTimeAndFiveMinutesAtMost) {
    MonotonicTime now = start;
    for (int time = 1; time <= 12; ++time) {
        const Nanoseconds length = seconds{30} * std::min(time, 10);
        fail(5, now);
        EXPECT_TRUE(is_unhealthy(now + nanoseconds_in(length) - 1)) << time;
        now += nanoseconds_in(length);
        EXPECT_FALSE(is_unhealthy(now)) << time;
    }
}

TEST_F(AServerThatFails, BeginsWithHalfAMinuteAgainWhenItHasDoneWellForAsLongAsItWasOut) {
    fail(5);
    answer(after(seconds{59}));  // out until 30
    fail(5, after(seconds{60}));
    EXPECT_TRUE(is_unhealthy(after(seconds{119})));  // out for 60: until 120

    answer(after(seconds{180}));
    fail(5, after(seconds{200}));
    EXPECT_TRUE(is_unhealthy(after(seconds{229})));
    EXPECT_FALSE(is_unhealthy(after(seconds{230})));
}

TEST_F(AServerThatFails, TogetherWithOthersAtTheSameTimeIsOutOnce) {
    fail(50);

    EXPECT_FALSE(is_unhealthy(after(seconds{30})));
}

TEST_F(AServerThatFails, IsNotOutIfHalfOfTheClusterIsAlready) {
    table.take(report_of("web3", 1, 1));  // three servers, this one included
    fail(5, start, 2);
    fail(5);

    EXPECT_TRUE(is_unhealthy(start, 2));
    EXPECT_FALSE(is_unhealthy(start));
}

TEST_F(AServerThatFails, IsOutAsSoonAsAnotherHasComeBack) {
    table.take(report_of("web3", 1, 1));
    fail(5, start, 2);
    fail(5);
    table.take(report_of("web2", 1, 2, after(seconds{31})));
    table.take(report_of("web3", 1, 2, after(seconds{31})));
    fail(1, after(seconds{31}));

    EXPECT_TRUE(is_unhealthy(after(seconds{31})));
}

TEST_F(AServerThatFails, DoesNotCountServersThatAreGone) {
    table.take(report_of("web3", 1, 1, start - nanoseconds_in(seconds{60})));
    table.take(report_of("web4", 1, 1, start - nanoseconds_in(seconds{60})));
    fail(5, start, 2);
    fail(5);

    // Self, the one that fails, and nobody else: half of two.
    EXPECT_TRUE(is_unhealthy(start));
}

TEST_F(AServerThatFails, IsForgivenWhenItStartsAnew) {
    fail(5);
    table.take(report_of("web2", 2, 1));

    EXPECT_FALSE(is_unhealthy(start));
    EXPECT_EQ(table.failed_attempts_in_a_row(1), 0U);
}

TEST_F(AServerThatFails, ToConnectIsLeftAloneAtOnce) {
    fail(1, start, 1, ForwardOutcome::unreachable);

    EXPECT_TRUE(view(1).ejected);
    EXPECT_FALSE(is_unhealthy(start));
}

TEST_F(AServerThatFails, WithAnErrorIsReachableAllTheSame) {
    fail(1, start, 1, ForwardOutcome::unreachable);
    fail(1);

    EXPECT_FALSE(view(1).ejected);
}

TEST_F(AServerThatFails, IsNotBlamedForWhatCannotBeJudged) {
    fail(10, start, 1, ForwardOutcome::unjudged);

    EXPECT_EQ(table.failed_attempts_in_a_row(1), 0U);
}

// ---- a server that does not believe this one ----

struct AServerThatDoesNotBelieveUs : AServerThatFails {
    // Is asked `times`, each time as soon as it may be again; returns the last moment.
    MonotonicTime disbelieve(int times) const {
        MonotonicTime now = start;
        for (int count = 0; count < times; ++count) {
            while (table.is_ejected(1, now)) {
                now += nanoseconds_in(seconds{1});
            }
            fail(1, now, 1, ForwardOutcome::not_believed);
        }
        return now;
    }
};

TEST_F(AServerThatDoesNotBelieveUs, IsLeftAloneForASecond) {
    disbelieve(1);

    EXPECT_TRUE(view(1, after(milliseconds{999})).ejected);
    EXPECT_FALSE(view(1, after(seconds{1})).ejected);
}

TEST_F(AServerThatDoesNotBelieveUs, IsLeftAloneForLongerEachTimeAndThirtySecondsAtMost) {
    const MonotonicTime third = disbelieve(3);
    EXPECT_TRUE(view(1, third + nanoseconds_in(milliseconds{3999})).ejected);
    EXPECT_FALSE(view(1, third + nanoseconds_in(seconds{4})).ejected);

    const MonotonicTime last = disbelieve(50);
    EXPECT_TRUE(view(1, last + nanoseconds_in(milliseconds{29'999})).ejected);
    EXPECT_FALSE(view(1, last + nanoseconds_in(seconds{30})).ejected);
}

TEST_F(AServerThatDoesNotBelieveUs, IsForgivenOnceItAnswers) {
    const MonotonicTime now = disbelieve(5);
    answer(now);

    EXPECT_FALSE(view(1, now).ejected);
    EXPECT_EQ(table.failures_in_a_row(1), 0U);
}

TEST_F(AServerThatDoesNotBelieveUs, IsForgivenWhenItStartsAnew) {
    disbelieve(5);
    table.take(report_of("web2", 2, 1));

    EXPECT_FALSE(view(1).ejected);
}

TEST_F(AServerThatDoesNotBelieveUs, IsHealthyAllTheSame) {
    const MonotonicTime now = disbelieve(10);

    EXPECT_FALSE(is_unhealthy(now));
    EXPECT_EQ(table.failed_attempts_in_a_row(1), 0U);
}

// ---- how long a server has been there ----

struct AServerThatStarts : TableTest {};

TEST_F(AServerThatStarts, BeforeUsHasAlwaysBeenThere) {
    table.take(report_of("web2", 1, 1));
    table.take(report_of("web3", 1, 1, after(seconds{4})));

    EXPECT_EQ(view(1, after(seconds{60})).known_for, Nanoseconds::max());
    EXPECT_EQ(view(2, after(seconds{60})).known_for, Nanoseconds::max());
}

TEST_F(AServerThatStarts, LaterIsKnownSinceThen) {
    table.take(report_of("web2", 1, 1));
    table.take(report_of("web2", 1, 2, after(seconds{99})));
    table.take(report_of("web3", 1, 1, after(seconds{100})));
    table.take(report_of("web3", 1, 2, after(seconds{101})));

    EXPECT_EQ(view(2, after(seconds{130})).known_for, seconds{30});
}

TEST_F(AServerThatStarts, AgainIsKnownSinceThatStart) {
    table.take(report_of("web2", 1, 1));
    table.take(report_of("web2", 2, 2, after(seconds{100})));

    EXPECT_EQ(view(1, after(seconds{130})).known_for, seconds{30});
}

TEST_F(AServerThatStarts, AndIsCutOffForAWhileIsAsOldAsBefore) {
    table.take(report_of("web2", 1, 1));
    table.take(report_of("web2", 1, 2, after(seconds{99})));
    table.take(report_of("web3", 1, 1, after(seconds{100})));
    table.take(report_of("web3", 1, 2, after(seconds{200})));

    EXPECT_EQ(view(2, after(seconds{210})).known_for, seconds{110});
}

TEST_F(AServerThatStarts, TogetherWithUsIsNotHeldBack) {
    table.take(report_of("web2", 1, 1));
    table.take(report_of("web2", 2, 2, after(seconds{3})));

    EXPECT_EQ(view(1, after(seconds{10})).known_for, Nanoseconds::max());
}

TEST_F(AServerThatStarts, IsNotSelf) {
    table.set_self(report_of("web1", 1, 1));

    EXPECT_EQ(view(self_slot).known_for, Nanoseconds::max());
    EXPECT_EQ(view(self_slot).name_hash, hash_ignoring_case("web1"));
}

}  // namespace
}  // namespace backhand
