// What decisions see of a server: what it said, and what this host has seen of it since.
#include <chrono>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "base/text.h"
#include "cluster/fresh_load.h"
#include "cluster/table.h"
#include "table_test.h"

namespace backhand {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// ---- views ----

struct AView : TableTest {};

TEST_F(AView, AgesSinceTheLastReport) {
    table.take(report_of("web2", 1, 1));

    EXPECT_EQ(view(1, after(milliseconds{250})).age, milliseconds{250});
}

TEST_F(AView, AgesSinceTheNewsThatCameWithAResponse) {
    table.take(report_of("web2", 1, 1));
    table.refresh(1, 1, 2, 0, 0, after(milliseconds{200}));

    EXPECT_EQ(view(1, after(milliseconds{250})).age, milliseconds{50});
}

TEST_F(AView, IsNeverYoungerThanNow) {
    table.take(report_of("web2", 1, 1, after(milliseconds{1})));

    EXPECT_EQ(view(1, start).age, Nanoseconds{0});
}

TEST_F(AView, OfThisServerHasNoAgeAndAnExactCount) {
    ServerReport self = report_of("web1", 1, 1);
    self.load.serving = 99;
    table.set_self(self);
    const ChildTally tally = table.cells().claim(100);
    for (int request = 0; request < 4; ++request) {
        tally.serving_began();
    }

    const ServerView seen = view(self_slot, after(seconds{60}));

    EXPECT_EQ(seen.age, Nanoseconds{0});
    EXPECT_EQ(seen.serving, 4U);
}

TEST_F(AView, AddsWhatThisHostSentSinceTheNews) {
    ServerReport busy = report_of("web2", 1, 1);
    busy.load.serving = 10;
    table.take(busy);

    table.forward_began(1);
    table.forward_began(1);
    table.forward_ended(1);

    EXPECT_EQ(view(1).in_flight, 1U);
    EXPECT_EQ(view(1).sent_since, 2U);
    EXPECT_EQ(view(1).expected_serving(), 12U);
}

TEST_F(AView, ForgetsWhatWasSentOnceThereAreNews) {
    table.take(report_of("web2", 1, 1));
    table.forward_began(1);

    table.take(report_of("web2", 1, 2));

    EXPECT_EQ(view(1).sent_since, 0U);
    EXPECT_EQ(view(1).in_flight, 1U);
}

TEST_F(AView, IsGivenForASiteTheServerOffers) {
    ServerReport report = report_of("web2", 1, 1);
    report.add_service("www.example.com");
    report.add_service("static.example.com");
    table.take(report);

    ServerView found;

    EXPECT_TRUE(table.view(1, hash_ignoring_case("static.example.com"), start, found));
    EXPECT_TRUE(table.view(1, hash_ignoring_case("WWW.Example.COM"), start, found));
}

TEST_F(AView, IsRefusedForASiteTheServerDoesNotOffer) {
    ServerReport report = report_of("web2", 1, 1);
    report.add_service("www.example.com");
    table.take(report);

    ServerView found;

    EXPECT_FALSE(table.view(1, hash_ignoring_case("shop.example.com"), start, found));
}

TEST_F(AView, IsGivenForTheLastOfTheMostSitesAServerCanName) {
    ServerReport report = report_of("web2", 1, 1);
    for (std::size_t site = 0; site < ServerReport::services_max; ++site) {
        ASSERT_TRUE(report.add_service("site" + std::to_string(site)));
    }
    ASSERT_FALSE(report.add_service("one-too-many"));
    table.take(report);

    ServerView found;

    EXPECT_TRUE(table.view(1, hash_ignoring_case("site63"), start, found));
    EXPECT_FALSE(table.view(1, hash_ignoring_case("one-too-many"), start, found));
}

TEST_F(AView, SurvivesAReportThatClaimsMoreSitesThanThereIsRoomFor) {
    ServerReport report = report_of("web2", 1, 1);
    report.services_count = std::numeric_limits<std::uint32_t>::max();
    table.take(report);

    ServerView found;

    EXPECT_FALSE(table.view(1, hash_ignoring_case("www.example.com"), start, found));
}

// ---- news that come back with responses ----

struct NewsWithAResponse : TableTest {
    NewsWithAResponse() {
        ServerReport report = report_of("web2", 7, 100);
        report.load.serving = 5;
        report.load.workers_idle = 20;
        table.take(report);
    }
};

TEST_F(NewsWithAResponse, ReplaceOlderOnes) {
    table.forward_began(1);

    table.refresh(1, 7, 101, 6, 19, start);

    EXPECT_EQ(view(1).serving, 6U);
    EXPECT_EQ(view(1).workers_idle, 19U);
    EXPECT_EQ(view(1).sent_since, 0U);
}

TEST_F(NewsWithAResponse, AreIgnoredWhenOlderThanTheReport) {
    table.forward_began(1);

    table.refresh(1, 7, 99, 1, 24, after(milliseconds{5}));

    EXPECT_EQ(view(1).serving, 5U);
    EXPECT_EQ(view(1).sent_since, 1U);
    EXPECT_EQ(view(1, after(milliseconds{5})).age, milliseconds{5});
}

TEST_F(NewsWithAResponse, AreIgnoredWhenKnownAlready) {
    table.refresh(1, 7, 100, 1, 0, start);

    EXPECT_EQ(view(1).serving, 5U);
}

TEST_F(NewsWithAResponse, AreIgnoredWhenFromAnotherBoot) {
    table.refresh(1, 8, 101, 1, 0, start);
    table.refresh(1, 6, 101, 1, 0, start);

    EXPECT_EQ(view(1).serving, 5U);
}

TEST_F(NewsWithAResponse, OutliveAReportThatWasMeasuredBefore) {
    table.refresh(1, 7, 105, 9, 16, start);
    ServerReport late = report_of("web2", 7, 104);
    late.load.serving = 2;

    ASSERT_EQ(table.take(late).outcome, ClusterTable::Outcome::taken);

    EXPECT_EQ(table.report(1)->load.measurement, 104U);
    EXPECT_EQ(view(1).serving, 9U);
}

TEST_F(NewsWithAResponse, YieldToAReportThatWasMeasuredLater) {
    table.refresh(1, 7, 105, 9, 0, start);
    ServerReport later = report_of("web2", 7, 106);
    later.load.serving = 2;

    table.take(later);

    EXPECT_EQ(view(1).serving, 2U);
}

TEST_F(NewsWithAResponse, AreNewerWhenTheirNumberHasWrapped) {
    table.take(report_of("web3", 7, 0xFFFFFFFFU));

    table.refresh(2, 7, 0, 3, 0, start);

    EXPECT_EQ(view(2).serving, 3U);
}

TEST_F(NewsWithAResponse, AreOlderWhenTheReportsNumberHasWrapped) {
    ServerReport wrapped = report_of("web3", 7, 0x100000000U);
    wrapped.load.serving = 5;
    table.take(wrapped);

    table.refresh(2, 7, 0xFFFFFFFFU, 3, 0, start);

    EXPECT_EQ(view(2).serving, 5U);
}

TEST_F(NewsWithAResponse, KeepAServerYoungThatIsNotHeardForAMoment) {
    table.refresh(1, 7, 101, 6, 19, after(seconds{30}));

    EXPECT_EQ(view(1, after(seconds{31})).age, seconds{1});
}

// It has moved: its successor under another contact would stand beside it for ever.
TEST_F(NewsWithAResponse, DoNotKeepAServerYoungThatAnnouncesItselfNoMore) {
    table.refresh(1, 7, 101, 6, 19, after(seconds{30}));
    table.refresh(1, 7, 102, 7, 18, after(seconds{31}));

    EXPECT_EQ(view(1, after(seconds{33})).age, seconds{3});
    EXPECT_EQ(view(1, after(seconds{33})).serving, 7U);
}

TEST_F(NewsWithAResponse, KeepItYoungAgainOnceItHasAnnouncedItself) {
    table.refresh(1, 7, 101, 6, 19, after(seconds{60}));
    table.take(report_of("web2", 7, 102, after(seconds{61})));
    table.refresh(1, 7, 103, 6, 19, after(seconds{62}));

    EXPECT_EQ(view(1, after(seconds{62})).age, seconds{0});
}

TEST(AFreshLoad, SurvivesBeingPacked) {
    const FreshLoad load{
        .measurement = 0xFEDCBA98U, .boot_tag = 0x5A, .serving = 0x234, .workers_idle = 0xBCD};

    const FreshLoad unpacked = FreshLoad::unpack(load.pack());

    EXPECT_EQ(unpacked.measurement, load.measurement);
    EXPECT_EQ(unpacked.serving, load.serving);
    EXPECT_EQ(unpacked.workers_idle, load.workers_idle);
}

TEST(AFreshLoad, IsNewerUpToHalfTheRangeAhead) {
    const FreshLoad old{.measurement = 10};

    EXPECT_TRUE(FreshLoad{.measurement = 11}.supersedes(old));
    EXPECT_TRUE(FreshLoad{.measurement = 0x80000009U}.supersedes(old));
    EXPECT_FALSE(FreshLoad{.measurement = 0x8000000AU}.supersedes(old));
    EXPECT_FALSE(FreshLoad{.measurement = 9}.supersedes(old));
    EXPECT_FALSE(old.supersedes(old));
}

// ---- ejection ----

struct AFailedConnection : TableTest {
    AFailedConnection() { table.take(report_of("web2", 1, 1)); }
};

TEST_F(AFailedConnection, EjectsThePeerForASecond) {
    table.forward_failed(1, start);

    EXPECT_TRUE(table.is_ejected(1, after(milliseconds{999})));
    EXPECT_FALSE(table.is_ejected(1, after(seconds{1})));
    EXPECT_EQ(table.failures_in_a_row(1), 1U);
}

// Fails `count` times, each time when the ejection before has just ended; returns the last moment.
MonotonicTime fail_in_a_row(const ClusterTable& table, int count) {
    MonotonicTime now = start;
    for (int failure = 0; failure < count; ++failure) {
        while (table.is_ejected(1, now)) {
            now += nanoseconds_in(seconds{1});
        }
        table.forward_failed(1, now);
    }
    return now;
}

TEST_F(AFailedConnection, EjectsForTwiceAsLongAfterAnother) {
    const MonotonicTime now = fail_in_a_row(table, 2);

    EXPECT_TRUE(table.is_ejected(1, now + nanoseconds_in(milliseconds{1999})));
    EXPECT_FALSE(table.is_ejected(1, now + nanoseconds_in(seconds{2})));
}

TEST_F(AFailedConnection, EjectsForSixteenSecondsAfterFive) {
    const MonotonicTime now = fail_in_a_row(table, 5);

    EXPECT_TRUE(table.is_ejected(1, now + nanoseconds_in(milliseconds{15'999})));
    EXPECT_FALSE(table.is_ejected(1, now + nanoseconds_in(seconds{16})));
}

TEST_F(AFailedConnection, NeverEjectsForLongerThanThirtySeconds) {
    const MonotonicTime now = fail_in_a_row(table, 100);

    EXPECT_TRUE(table.is_ejected(1, now + nanoseconds_in(milliseconds{29'999})));
    EXPECT_FALSE(table.is_ejected(1, now + nanoseconds_in(seconds{30})));
}

TEST_F(AFailedConnection, CountsOnceHoweverManyRequestsItFails) {
    table.forward_failed(1, start);
    table.forward_failed(1, after(milliseconds{500}));

    EXPECT_EQ(table.failures_in_a_row(1), 1U);
    EXPECT_FALSE(table.is_ejected(1, after(seconds{1})));
}

TEST_F(AFailedConnection, LeavesNoCountOnceForwardsAreForgotten) {
    table.forward_began(1);
    table.forward_began(1);

    table.forget_forwards();
    EXPECT_EQ(view(1).in_flight, 0U);

    table.forward_ended(1);
    EXPECT_EQ(view(1).in_flight, 0U);
}

TEST_F(AFailedConnection, LeavesTheCountWhileAnythingIsBeingForwarded) {
    const ChildTally child = table.cells().claim(1);
    child.forwarding_began();
    table.forward_began(1);

    table.forget_forwards();
    EXPECT_EQ(view(1).in_flight, 1U);

    child.forwarding_ended();
    table.forget_forwards();
    EXPECT_EQ(view(1).in_flight, 0U);
}

TEST_F(AFailedConnection, IsForgivenByASuccess) {
    table.forward_failed(1, start);
    table.forward_failed(1, start);

    table.forward_succeeded(1);

    EXPECT_FALSE(table.is_ejected(1, start));
    EXPECT_EQ(table.failures_in_a_row(1), 0U);
}

TEST_F(AFailedConnection, LeavesOtherPeersAlone) {
    table.take(report_of("web3", 1, 1));

    table.forward_failed(1, start);

    EXPECT_FALSE(table.is_ejected(2, start));
}

TEST_F(AFailedConnection, IsNotForgivenByANewReportOfTheSameBoot) {
    table.forward_failed(1, start);

    table.take(report_of("web2", 1, 2));

    EXPECT_TRUE(table.is_ejected(1, start));
}

TEST(APooledConnection, IsCountedPerPeer) {
    const TableFixture table{3, 1};

    table->set_pooled_connections(1, 6);

    EXPECT_EQ(table->pooled_connections(1), 6U);
    EXPECT_EQ(table->pooled_connections(2), 0U);
}

}  // namespace
}  // namespace backhand
