// The cluster table under everything that may happen to it: replays, reboots, dead writers, full
// tables, and readers that look while it is written.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <limits>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/text.h"
#include "cluster/fresh_load.h"
#include "cluster/table.h"

namespace backhand {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr MonotonicTime start = 1'000'000'000'000;

constexpr MonotonicTime after(Nanoseconds pause) {
    return start + nanoseconds_in(pause);
}

// Zeroed, page aligned memory, as a fresh mapping is.
class TableMemory {
public:
    explicit TableMemory(ClusterTable::Size size)
        : pages_((ClusterTable::bytes_needed(size) + page_bytes - 1) / page_bytes) {}

    void* get() { return pages_.data(); }

    std::byte* at(std::size_t offset) { return pages_.front().bytes.data() + offset; }

private:
    static constexpr std::size_t page_bytes = 4096;

    struct alignas(page_bytes) Page {
        std::array<std::byte, page_bytes> bytes{};
    };

    std::vector<Page> pages_;
};

struct TableTest : testing::Test {
    static constexpr ClusterTable::Size size{.slots_max = 4, .cells_max = 3};

    TableMemory memory{size};
    ClusterTable table = ClusterTable::create(memory.get(), size);

    ServerView view(std::uint32_t slot_index, MonotonicTime now = start) const {
        ServerView result;
        EXPECT_TRUE(table.view(slot_index, 0, now, result));
        return result;
    }

    // Leaves a slot as a writer does that dies in the middle of a report.  The slots are the last
    // of the three regions, and a slot begins with its version, which is odd while it is written.
    void break_off_writing(std::uint32_t slot_index) {
        const std::size_t slots_begin =
            ClusterTable::bytes_needed({.slots_max = 0, .cells_max = size.cells_max});
        const std::size_t slot_bytes =
            ClusterTable::bytes_needed({.slots_max = 1, .cells_max = 0}) -
            ClusterTable::bytes_needed({.slots_max = 0, .cells_max = 0});
        std::byte* const slot = memory.at(slots_begin + slot_index * slot_bytes);

        std::uint32_t version = 0;
        std::memcpy(&version, slot, sizeof version);
        version |= 1U;
        std::memcpy(slot, &version, sizeof version);
        std::memset(slot + 8, 0xAB, 40);
    }
};

ServerReport report_of(std::string_view name, std::uint64_t boot_id, std::uint64_t measurement,
                       MonotonicTime received_at = start) {
    ServerReport report;
    report.set_name(name);
    report.load.boot_id = boot_id;
    report.load.measurement = measurement;
    report.load.received_at = received_at;
    report.load.contact.address = *IpAddress::parse("10.0.0.1");
    report.load.contact.port = static_cast<std::uint16_t>(1024 + hash_ignoring_case(name) % 60'000);
    return report;
}

// ---- making and finding a table ----

struct AClusterTable : TableTest {};

TEST_F(AClusterTable, HoldsNothingAtFirst) {
    EXPECT_EQ(table.slots_used(), 1U);
    EXPECT_FALSE(table.report(self_slot));
    ServerView untouched;
    EXPECT_FALSE(table.view(self_slot, 0, start, untouched));
    EXPECT_EQ(table.boot_id(), 0U);
    EXPECT_FALSE(table.moderator_alive(start));
    EXPECT_EQ(table.in_flight().serving, 0U);
    EXPECT_EQ(table.counters().get(Counter::forwarded), 0U);
}

TEST_F(AClusterTable, IsFoundAgainByALaterIncarnation) {
    ASSERT_EQ(table.take(report_of("web2", 1, 1)), ClusterTable::Outcome::taken);

    const auto found = ClusterTable::attach(memory.get());

    ASSERT_TRUE(found);
    EXPECT_EQ(found->size().slots_max, size.slots_max);
    EXPECT_EQ(found->size().cells_max, size.cells_max);
    EXPECT_EQ(found->report(1)->name_view(), "web2");
}

TEST_F(AClusterTable, IsNotFoundInZeroedMemory) {
    TableMemory empty{size};

    EXPECT_FALSE(ClusterTable::attach(empty.get()));
}

TEST_F(AClusterTable, IsNotFoundWhenItsLayoutIsOfAnotherVersion) {
    const std::uint32_t other_version = cluster_layout_version + 1;
    std::memcpy(memory.at(8), &other_version, sizeof other_version);

    EXPECT_FALSE(ClusterTable::attach(memory.get()));
}

TEST_F(AClusterTable, IsNotFoundWhenTheMemoryBelongsToSomethingElse) {
    *memory.at(0) ^= std::byte{1};

    EXPECT_FALSE(ClusterTable::attach(memory.get()));
}

TEST_F(AClusterTable, KeepsItsCountersApart) {
    table.counters().add(Counter::forwarded);
    table.counters().add(Counter::forwarded);
    table.counters().add(Counter::plugin_answer_corrected);

    EXPECT_EQ(table.counters().get(Counter::forwarded), 2U);
    EXPECT_EQ(table.counters().get(Counter::plugin_answer_corrected), 1U);
    EXPECT_EQ(table.counters().get(Counter::decisions), 0U);
}

TEST_F(AClusterTable, NumbersReportsFromOneUpwards) {
    EXPECT_EQ(table.next_measurement(), 1U);
    EXPECT_EQ(table.next_measurement(), 2U);
}

TEST_F(AClusterTable, RemembersTheBootIdForEveryProcess) {
    table.set_boot_id(0xFEDCBA9876543210U);

    EXPECT_EQ(ClusterTable::attach(memory.get())->boot_id(), 0xFEDCBA9876543210U);
}

// ---- the writer ----

struct TheWriter : TableTest {};

TEST_F(TheWriter, IsTheLatestWhoAskedToBe) {
    const std::uint64_t first = table.become_writer();
    ASSERT_TRUE(table.is_writer(first));

    const std::uint64_t second = table.become_writer();

    EXPECT_FALSE(table.is_writer(first));
    EXPECT_TRUE(table.is_writer(second));
}

TEST_F(TheWriter, CountsAsAliveForTwoSeconds) {
    table.writer_alive(start);

    EXPECT_TRUE(table.moderator_alive(after(milliseconds{1999})));
    EXPECT_FALSE(table.moderator_alive(after(seconds{2})));
}

// ---- taking reports ----

struct AReport : TableTest {};

TEST_F(AReport, IsReadBackWhole) {
    ServerReport sent = report_of("web2", 7, 42);
    sent.load.memory_total_bytes = std::uint64_t{1} << 40U;
    sent.load.serving = 3;
    sent.load.workers_idle = 11;
    sent.load.flags = leaving | connection_holds_worker;
    ASSERT_TRUE(sent.add_service("www.example.com"));

    ASSERT_EQ(table.take(sent), ClusterTable::Outcome::taken);

    const auto kept = table.report(1);
    ASSERT_TRUE(kept);
    EXPECT_EQ(kept->name_view(), "web2");
    EXPECT_EQ(kept->load.boot_id, 7U);
    EXPECT_EQ(kept->load.measurement, 42U);
    EXPECT_EQ(kept->load.received_at, start);
    EXPECT_EQ(kept->load.contact, sent.load.contact);
    EXPECT_EQ(kept->load.memory_total_bytes, std::uint64_t{1} << 40U);
    EXPECT_EQ(kept->load.flags, leaving | connection_holds_worker);
    EXPECT_EQ(kept->services_view(), "www.example.com");
    EXPECT_EQ(kept->services_count, 1U);
    EXPECT_EQ(kept->service_hashes, sent.service_hashes);
    EXPECT_EQ(table.slots_used(), 2U);
    EXPECT_EQ(view(1).serving, 3U);
    EXPECT_EQ(view(1).workers_idle, 11U);
}

TEST_F(AReport, ReplacesTheOneBeforeInTheSameSlot) {
    ASSERT_EQ(table.take(report_of("web2", 7, 1)), ClusterTable::Outcome::taken);
    ServerReport newer = report_of("web2", 7, 2);
    newer.load.load_permille = 900;

    ASSERT_EQ(table.take(newer), ClusterTable::Outcome::taken);

    EXPECT_EQ(table.slots_used(), 2U);
    EXPECT_EQ(table.report(1)->load.load_permille, 900U);
}

TEST_F(AReport, GetsASlotOfItsOwnForEveryServer) {
    table.take(report_of("web2", 1, 1));
    table.take(report_of("web3", 1, 1));

    EXPECT_EQ(table.report(1)->name_view(), "web2");
    EXPECT_EQ(table.report(2)->name_view(), "web3");
}

TEST_F(AReport, OfTheSameNameAtAnotherContactIsAnotherServer) {
    table.take(report_of("web2", 1, 1));
    ServerReport other = report_of("web2", 1, 1);
    other.load.contact.port = 81;

    ASSERT_EQ(table.take(other), ClusterTable::Outcome::taken);

    EXPECT_EQ(table.slots_used(), 3U);
}

TEST_F(AReport, OfThisServerLiesInSlotZero) {
    table.set_self(report_of("web1", 5, 9));

    EXPECT_EQ(table.report(self_slot)->name_view(), "web1");
    EXPECT_TRUE(view(self_slot).is_self());
    EXPECT_EQ(table.slots_used(), 1U);
}

TEST_F(AReport, IsReplayedWhenItsNumberIsTheLast) {
    table.take(report_of("web2", 7, 5));

    EXPECT_EQ(table.take(report_of("web2", 7, 5, after(seconds{1}))),
              ClusterTable::Outcome::replayed);
    EXPECT_EQ(table.report(1)->load.received_at, start);
}

TEST_F(AReport, IsReplayedWhenItsNumberIsLower) {
    table.take(report_of("web2", 7, 5));

    EXPECT_EQ(table.take(report_of("web2", 7, 4)), ClusterTable::Outcome::replayed);
}

TEST_F(AReport, IsReplayedWhenItComesFromAnEarlierBoot) {
    table.take(report_of("web2", 7, 5));

    EXPECT_EQ(table.take(report_of("web2", 6, 1'000'000)), ClusterTable::Outcome::replayed);
    EXPECT_EQ(table.report(1)->load.boot_id, 7U);
}

TEST_F(AReport, OfANewBootCountsWhateverItsNumber) {
    table.take(report_of("web2", 7, 1'000'000));

    ASSERT_EQ(table.take(report_of("web2", 8, 1)), ClusterTable::Outcome::taken);

    EXPECT_EQ(table.slots_used(), 2U);
    EXPECT_EQ(table.report(1)->load.boot_id, 8U);
}

TEST_F(AReport, OfANewBootEndsWhatWasObservedOfTheOldOne) {
    ServerReport old_boot = report_of("web2", 7, 1'000'000);
    old_boot.load.serving = 50;
    table.take(old_boot);
    table.forward_began(1);
    table.forward_failed(1, start);
    ServerReport new_boot = report_of("web2", 8, 1);
    new_boot.load.serving = 2;

    table.take(new_boot);

    EXPECT_EQ(view(1).serving, 2U);
    EXPECT_EQ(view(1).sent_since, 0U);
    EXPECT_EQ(table.failures_in_a_row(1), 0U);
    EXPECT_FALSE(table.is_ejected(1, start));
}

TEST_F(AReport, OfANewBootLeavesRequestsInFlightToBeCountedDown) {
    table.take(report_of("web2", 7, 1));
    table.forward_began(1);

    table.take(report_of("web2", 8, 1));
    ASSERT_EQ(view(1).in_flight, 1U);
    table.forward_ended(1);

    EXPECT_EQ(view(1).in_flight, 0U);
}

TEST_F(AReport, WithMoreThan4095RequestsSaturates) {
    ServerReport busy = report_of("web2", 1, 1);
    busy.load.serving = 70'000;
    busy.load.workers_idle = 65'536;

    table.take(busy);

    EXPECT_EQ(view(1).serving, 4095U);
    EXPECT_EQ(view(1).workers_idle, 4095U);
}

// ---- a full table ----

struct AFullTable : TableTest {
    AFullTable() {
        table.take(report_of("web2", 1, 1));
        table.take(report_of("web3", 1, 1, after(seconds{20})));
        table.take(report_of("web4", 1, 1, after(seconds{20})));
    }
};

TEST_F(AFullTable, HasNoRoomForAnother) {
    EXPECT_EQ(table.take(report_of("web5", 1, 1, after(seconds{20}))),
              ClusterTable::Outcome::cluster_full);
    EXPECT_EQ(table.slots_used(), size.slots_max);
}

TEST_F(AFullTable, StillTakesNewsOfThoseItKnows) {
    EXPECT_EQ(table.take(report_of("web3", 1, 2, after(seconds{21}))),
              ClusterTable::Outcome::taken);
}

TEST_F(AFullTable, GivesTheSlotOfAServerSilentForThirtySecondsToAnother) {
    EXPECT_EQ(table.take(report_of("web5", 1, 1, after(seconds{30}))),
              ClusterTable::Outcome::cluster_full);

    ASSERT_EQ(table.take(report_of("web5", 1, 1, after(milliseconds{30'001}))),
              ClusterTable::Outcome::taken);

    EXPECT_EQ(table.report(1)->name_view(), "web5");
    EXPECT_EQ(table.slots_used(), size.slots_max);
}

TEST_F(AFullTable, KeepsTheSlotOfASilentServerThatStillAnswersUs) {
    table.refresh(1, 1, 2, 0, 0, after(seconds{10}));

    EXPECT_EQ(table.take(report_of("web5", 1, 1, after(seconds{31}))),
              ClusterTable::Outcome::cluster_full);
}

TEST_F(AFullTable, KeepsTheSlotOfASilentServerWithRequestsInFlight) {
    table.forward_began(1);

    EXPECT_EQ(table.take(report_of("web5", 1, 1, after(seconds{31}))),
              ClusterTable::Outcome::cluster_full);
}

TEST_F(AFullTable, LetsTheNextServerInASlotStartAfresh) {
    table.forward_began(1);
    table.forward_ended(1);
    table.forward_failed(1, after(seconds{30}));

    table.take(report_of("web5", 1, 1, after(seconds{31})));

    EXPECT_EQ(view(1).sent_since, 0U);
    EXPECT_EQ(table.failures_in_a_row(1), 0U);
    EXPECT_FALSE(table.is_ejected(1, after(seconds{31})));
}

TEST_F(AFullTable, AcceptsTheNextServerOfASlotEvenIfItBootedEarlier) {
    table.take(report_of("web2", 900, 1, after(milliseconds{1})));

    EXPECT_EQ(table.take(report_of("web5", 3, 1, after(seconds{31}))),
              ClusterTable::Outcome::taken);
}

// ---- a slot left half written ----

struct AHalfWrittenSlot : TableTest {
    AHalfWrittenSlot() {
        table.take(report_of("web2", 7, 5));
        table.take(report_of("web3", 7, 5));
        break_off_writing(1);
    }
};

TEST_F(AHalfWrittenSlot, ReadsAsAbsent) {
    ServerView untouched;

    EXPECT_FALSE(table.report(1));
    EXPECT_FALSE(table.view(1, 0, start, untouched));
}

TEST_F(AHalfWrittenSlot, LeavesItsNeighboursReadable) {
    EXPECT_EQ(table.report(2)->name_view(), "web3");
}

TEST_F(AHalfWrittenSlot, IsRepairedByTheNextReport) {
    ASSERT_EQ(table.take(report_of("web2", 7, 6)), ClusterTable::Outcome::taken);

    ASSERT_TRUE(table.report(1));
    EXPECT_EQ(table.report(1)->name_view(), "web2");
    EXPECT_EQ(table.report(1)->load.measurement, 6U);
    EXPECT_EQ(table.slots_used(), 3U);
}

TEST_F(AHalfWrittenSlot, StaysReadableAfterItsRepair) {
    table.take(report_of("web2", 7, 6));

    ASSERT_EQ(table.take(report_of("web2", 7, 7)), ClusterTable::Outcome::taken);

    EXPECT_EQ(table.report(1)->load.measurement, 7U);
}

TEST_F(AHalfWrittenSlot, IsRepairedForThisServerToo) {
    table.set_self(report_of("web1", 7, 5));
    break_off_writing(self_slot);
    ASSERT_FALSE(table.report(self_slot));

    table.set_self(report_of("web1", 7, 6));

    EXPECT_EQ(table.report(self_slot)->load.measurement, 6U);
}

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
    table.claim_cell(100)->serving = 4;

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

// ---- looking servers up ----

struct TheMembers : TableTest {};

TEST_F(TheMembers, AreFoundByTheirContact) {
    table.set_self(report_of("web1", 1, 1));
    table.take(report_of("web2", 1, 1));

    EXPECT_EQ(table.find_contact(report_of("web1", 1, 1).load.contact), self_slot);
    EXPECT_EQ(table.find_contact(report_of("web2", 1, 1).load.contact), 1U);
    EXPECT_FALSE(table.find_contact(report_of("web3", 1, 1).load.contact));
}

TEST_F(TheMembers, AreLiveUntilTheyHaveBeenSilentForTooLong) {
    table.take(report_of("web2", 1, 1));
    const IpAddress address = *IpAddress::parse("10.0.0.1");

    EXPECT_TRUE(table.is_live_member(address, after(seconds{3}), seconds{3}));
    EXPECT_FALSE(table.is_live_member(address, after(milliseconds{3001}), seconds{3}));
}

TEST_F(TheMembers, DoNotIncludeStrangersNorThisServer) {
    table.set_self(report_of("web1", 1, 1));

    EXPECT_FALSE(table.is_live_member(*IpAddress::parse("10.0.0.1"), start, seconds{3}));
    EXPECT_FALSE(table.is_live_member(*IpAddress::parse("10.0.0.2"), start, seconds{3}));
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

    ASSERT_EQ(table.take(late), ClusterTable::Outcome::taken);

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
    constexpr ClusterTable::Size size{.slots_max = 3, .cells_max = 1};
    TableMemory memory{size};
    const ClusterTable table = ClusterTable::create(memory.get(), size);

    table.set_pooled_connections(1, 6);

    EXPECT_EQ(table.pooled_connections(1), 6U);
    EXPECT_EQ(table.pooled_connections(2), 0U);
}

// ---- in-flight cells ----

struct ACell : TableTest {};

TEST_F(ACell, BelongsToOneChild) {
    ChildCell* const first = table.claim_cell(100);
    ChildCell* const second = table.claim_cell(101);

    ASSERT_NE(first, nullptr);
    ASSERT_NE(second, nullptr);
    EXPECT_NE(first, second);
    EXPECT_EQ(first->pid, 100);
}

TEST_F(ACell, AddsToTheTotal) {
    table.claim_cell(100)->serving = 2;
    ChildCell* const other = table.claim_cell(101);
    other->serving = 3;
    other->forwarding = 1;

    EXPECT_EQ(table.in_flight().serving, 5U);
    EXPECT_EQ(table.in_flight().forwarding, 1U);
}

TEST_F(ACell, IsNotGivenWhenAllAreTaken) {
    table.claim_cell(100);
    table.claim_cell(101);
    table.claim_cell(102);

    EXPECT_EQ(table.claim_cell(103), nullptr);
}

TEST_F(ACell, IsFreeAndEmptyAgainOnceItsChildIsGone) {
    table.claim_cell(100)->serving = 2;
    ChildCell* const crashed = table.claim_cell(101);
    crashed->serving = 7;
    crashed->forwarding = 7;

    table.release_cell(101);

    EXPECT_EQ(table.in_flight().serving, 2U);
    EXPECT_EQ(table.in_flight().forwarding, 0U);
    EXPECT_EQ(table.claim_cell(102), crashed);
    EXPECT_EQ(crashed->serving, 0U);
}

TEST_F(ACell, SurvivesTheReleaseOfAChildThatHadNone) {
    table.claim_cell(100)->serving = 2;

    table.release_cell(999);

    EXPECT_EQ(table.in_flight().serving, 2U);
}

TEST_F(ACell, IsClaimedOnceHoweverManyChildrenStartTogether) {
    constexpr ClusterTable::Size many{.slots_max = 1, .cells_max = 64};
    TableMemory many_memory{many};
    const ClusterTable shared = ClusterTable::create(many_memory.get(), many);

    {
        std::vector<std::jthread> children;
        children.reserve(4);
        for (pid_t first_pid = 1; first_pid <= 64; first_pid += 16) {
            children.emplace_back([&shared, first_pid] {
                for (pid_t pid = first_pid; pid < first_pid + 16; ++pid) {
                    if (ChildCell* const cell = shared.claim_cell(pid)) {
                        cell->serving.fetch_add(1);
                    }
                }
            });
        }
    }

    EXPECT_EQ(shared.in_flight().serving, 64U);
    EXPECT_EQ(shared.claim_cell(65), nullptr);
}

// ---- readers while the table is written ----

// A report whose every part can be computed from its number, so that a mixture of two shows.
ServerReport telltale(std::uint64_t measurement) {
    ServerReport report = report_of("web2", 1, measurement, start + measurement);
    const auto low = static_cast<std::uint32_t>(measurement);
    report.load.memory_total_bytes = measurement * 3;
    report.load.load_permille = low ^ 0x55555555U;
    report.load.workers_max = low;
    report.load.flags = ~low;
    report.services_count = ServerReport::services_max;
    report.service_hashes.fill(measurement);
    return report;
}

bool is_whole(const LoadReport& load) {
    const auto low = static_cast<std::uint32_t>(load.measurement);
    return load.received_at == start + load.measurement &&
           load.memory_total_bytes == load.measurement * 3 &&
           load.load_permille == (low ^ 0x55555555U) && load.workers_max == low &&
           load.flags == ~low;
}

bool is_whole(const ServerReport& report) {
    return is_whole(report.load) && report.name_view() == "web2" &&
           std::all_of(report.service_hashes.begin(), report.service_hashes.end(),
                       [&](std::uint64_t hash) { return hash == report.load.measurement; });
}

struct ReadersDuringAWrite : TableTest {
    static constexpr std::uint64_t reports_count = 10'000;

    std::atomic<std::uint64_t> torn{0};
    std::atomic<std::uint64_t> read{0};

    // Runs `look` in several readers until the writer has gone through all reports, and once more
    // then, when nothing can be in the way.
    template <class Look>
    void write_while(Look look) {
        table.take(telltale(1));
        std::vector<std::jthread> readers;
        readers.reserve(3);
        for (int reader = 0; reader < 3; ++reader) {
            readers.emplace_back([look](const std::stop_token& written) {
                for (bool last = false; !last;) {
                    last = written.stop_requested();
                    look();
                }
            });
        }
        for (std::uint64_t measurement = 2; measurement <= reports_count; ++measurement) {
            ASSERT_EQ(table.take(telltale(measurement)), ClusterTable::Outcome::taken);
        }
    }
};

TEST_F(ReadersDuringAWrite, NeverSeeATornReport) {
    write_while([this] {
        if (const auto report = table.report(1)) {
            torn += is_whole(*report) ? 0 : 1;
            ++read;
        }
    });

    EXPECT_EQ(torn, 0U);
    EXPECT_GE(read, 3U);
    EXPECT_EQ(table.report(1)->load.measurement, reports_count);
}

TEST_F(ReadersDuringAWrite, NeverSeeATornView) {
    write_while([this] {
        ServerView seen;
        if (table.view(1, 0, start, seen)) {
            torn += is_whole(seen.load) ? 0 : 1;
            ++read;
        }
    });

    EXPECT_EQ(torn, 0U);
    EXPECT_GE(read, 3U);
}

TEST_F(ReadersDuringAWrite, MayForwardAndRefreshMeanwhile) {
    write_while([this] {
        table.forward_began(1);
        table.refresh(1, 1, reports_count + 1, 77, 0, start);
        table.forward_ended(1);
        ++read;
    });

    EXPECT_EQ(view(1).in_flight, 0U);
    EXPECT_EQ(view(1).serving, 77U);
    EXPECT_GE(read, 3U);
}

TEST(ANewSlot, IsSeenOnlyOnceItsReportIsWhole) {
    constexpr ClusterTable::Size size{.slots_max = 128, .cells_max = 1};
    TableMemory memory{size};
    const ClusterTable table = ClusterTable::create(memory.get(), size);
    std::atomic<std::uint64_t> incomplete{0};

    {
        const std::jthread reader([&](const std::stop_token& written) {
            while (!written.stop_requested()) {
                for (std::uint32_t slot_index = 1; slot_index < table.slots_used(); ++slot_index) {
                    incomplete += table.report(slot_index) ? 0 : 1;
                }
            }
        });
        for (std::uint32_t server = 1; server < size.slots_max; ++server) {
            ASSERT_EQ(table.take(report_of("web" + std::to_string(server), 1, 1)),
                      ClusterTable::Outcome::taken);
        }
    }

    EXPECT_EQ(incomplete, 0U);
}

}  // namespace
}  // namespace backhand
