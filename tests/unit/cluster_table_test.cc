// Who is in the table: reports, replays and reboots, who is who, and what happens when it is full.
#include <chrono>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "cluster/table.h"
#include "table_test.h"

namespace backhand {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// ---- making and finding a table ----

struct AClusterTable : TableTest {};

TEST_F(AClusterTable, HoldsNothingAtFirst) {
    EXPECT_EQ(table.slots_used(), 1U);
    EXPECT_FALSE(table.report(self_slot));
    ServerView untouched;
    EXPECT_FALSE(table.view(self_slot, 0, start, untouched));
    EXPECT_EQ(table.boot_id(), 0U);
    EXPECT_FALSE(table.moderator_alive(start));
    EXPECT_EQ(table.cells().exact(), InFlight{});
    EXPECT_EQ(table.counters().get(Counter::forwarded), 0U);
}

TEST_F(AClusterTable, IsFoundAgainByALaterIncarnation) {
    ASSERT_EQ(table.take(report_of("web2", 1, 1)).outcome, ClusterTable::Outcome::taken);

    const auto found = ClusterTable::attach(memory.at(0));

    ASSERT_TRUE(found);
    EXPECT_EQ(found->size().slots_max, size.slots_max);
    EXPECT_EQ(found->size().cells_max, size.cells_max);
    EXPECT_EQ(found->report(1)->name_view(), "web2");
}

TEST_F(AClusterTable, IsNotFoundInZeroedMemory) {
    std::memset(memory.at(0), 0, ClusterTable::bytes_needed(size));

    EXPECT_FALSE(ClusterTable::attach(memory.at(0)));
}

TEST_F(AClusterTable, IsNotFoundWhenItsLayoutIsOfAnotherVersion) {
    const std::uint32_t other_version = cluster_layout_version + 1;
    std::memcpy(memory.at(8), &other_version, sizeof other_version);

    EXPECT_FALSE(ClusterTable::attach(memory.at(0)));
}

TEST_F(AClusterTable, IsNotFoundWhenTheMemoryBelongsToSomethingElse) {
    *memory.at(0) ^= std::byte{1};

    EXPECT_FALSE(ClusterTable::attach(memory.at(0)));
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

    EXPECT_EQ(ClusterTable::attach(memory.at(0))->boot_id(), 0xFEDCBA9876543210U);
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

    ASSERT_EQ(table.take(sent).outcome, ClusterTable::Outcome::taken);

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
    ASSERT_EQ(table.take(report_of("web2", 7, 1)).outcome, ClusterTable::Outcome::taken);
    ServerReport newer = report_of("web2", 7, 2);
    newer.load.load_permille = 900;

    ASSERT_EQ(table.take(newer).outcome, ClusterTable::Outcome::taken);

    EXPECT_EQ(table.slots_used(), 2U);
    EXPECT_EQ(table.report(1)->load.load_permille, 900U);
}

TEST_F(AReport, GetsASlotOfItsOwnForEveryServer) {
    table.take(report_of("web2", 1, 1));
    table.take(report_of("web3", 1, 1));

    EXPECT_EQ(table.report(1)->name_view(), "web2");
    EXPECT_EQ(table.report(2)->name_view(), "web3");
}

TEST_F(AReport, OfThisServerLiesInSlotZero) {
    table.set_self(report_of("web1", 5, 9));

    EXPECT_EQ(table.report(self_slot)->name_view(), "web1");
    EXPECT_TRUE(view(self_slot).is_self());
    EXPECT_EQ(table.slots_used(), 1U);
}

TEST_F(AReport, IsReplayedWhenItsNumberIsTheLast) {
    table.take(report_of("web2", 7, 5));

    EXPECT_EQ(table.take(report_of("web2", 7, 5, after(seconds{1}))).outcome,
              ClusterTable::Outcome::replayed);
    EXPECT_EQ(table.report(1)->load.received_at, start);
}

TEST_F(AReport, IsReplayedWhenItsNumberIsLower) {
    table.take(report_of("web2", 7, 5));

    EXPECT_EQ(table.take(report_of("web2", 7, 4)).outcome, ClusterTable::Outcome::replayed);
}

TEST_F(AReport, IsReplayedWhenItComesFromAnEarlierBoot) {
    table.take(report_of("web2", 7, 5));

    EXPECT_EQ(table.take(report_of("web2", 6, 1'000'000)).outcome, ClusterTable::Outcome::replayed);
    EXPECT_EQ(table.report(1)->load.boot_id, 7U);
}

TEST_F(AReport, OfANewBootCountsWhateverItsNumber) {
    table.take(report_of("web2", 7, 1'000'000));

    ASSERT_EQ(table.take(report_of("web2", 8, 1)).outcome, ClusterTable::Outcome::taken);

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

// ---- who is who ----

struct AServersIdentity : TableTest {
    static ServerReport renamed(std::string_view name, std::uint64_t boot_id,
                                std::uint64_t measurement, MonotonicTime received_at = start) {
        ServerReport report = report_of("web2", boot_id, measurement, received_at);
        report.set_name(name);
        return report;
    }
};

TEST_F(AServersIdentity, IsItsNameWhateverTheCase) {
    table.take(report_of("web2", 7, 1));
    ServerReport shouted = report_of("web2", 7, 2);
    shouted.set_name("WEB2");

    ASSERT_EQ(table.take(shouted).outcome, ClusterTable::Outcome::taken);

    EXPECT_EQ(table.slots_used(), 2U);
    EXPECT_EQ(table.report(1)->name_view(), "WEB2");
}

TEST_F(AServersIdentity, IsItsContactToo) {
    table.take(report_of("web2", 1, 1));
    ServerReport other = report_of("web2", 1, 1);
    other.load.contact.port = 81;

    const auto taken = table.take(other);

    EXPECT_EQ(taken.outcome, ClusterTable::Outcome::taken);
    EXPECT_EQ(taken.slot_index, 2U);
    EXPECT_EQ(table.slots_used(), 3U);
}

TEST_F(AServersIdentity, DoesNotMixUpContactsThatDifferOnlyInTheirAddress) {
    for (int number = 1; number <= 3; ++number) {
        ServerReport report = report_of("web", 1, 1);
        report.load.contact = *Endpoint::parse("[2001:db8::" + std::to_string(number) + "]:80");
        EXPECT_EQ(table.take(report).outcome, ClusterTable::Outcome::taken);
    }

    EXPECT_EQ(table.slots_used(), 4U);
    EXPECT_EQ(table.find_contact(*Endpoint::parse("[2001:db8::2]:80")), 2U);
}

// Two servers cannot share a contact.
TEST_F(AServersIdentity, PassesToWhoeverAnnouncesItsContactUnderAnotherName) {
    table.take(report_of("web2", 7, 5));

    const auto taken = table.take(renamed("www", 8, 1));

    EXPECT_EQ(taken.outcome, ClusterTable::Outcome::taken);
    EXPECT_EQ(taken.slot_index, 1U);
    EXPECT_EQ(table.slots_used(), 2U);
    EXPECT_EQ(table.report(1)->name_view(), "www");
}

TEST_F(AServersIdentity, PassesOnWithinABootToo) {
    table.take(report_of("web2", 7, 5));

    EXPECT_EQ(table.take(renamed("www", 7, 6)).outcome, ClusterTable::Outcome::taken);
}

TEST_F(AServersIdentity, DoesNotPassToNewsThatAreOlder) {
    table.take(report_of("web2", 7, 5));

    EXPECT_EQ(table.take(renamed("www", 7, 5)).outcome, ClusterTable::Outcome::replayed);
    EXPECT_EQ(table.take(renamed("www", 6, 9)).outcome, ClusterTable::Outcome::replayed);
    EXPECT_EQ(table.report(1)->name_view(), "web2");
}

TEST_F(AServersIdentity, DoesNotPassBack) {
    table.take(report_of("web2", 7, 5));
    table.take(renamed("www", 8, 1));

    EXPECT_EQ(table.take(report_of("web2", 7, 6)).outcome, ClusterTable::Outcome::replayed);
}

TEST_F(AServersIdentity, PassesToAnyoneOnceTheServerHasBeenSilentForThirtySeconds) {
    table.take(report_of("web2", 7, 5));

    EXPECT_EQ(table.take(renamed("www", 3, 1, after(seconds{30}))).outcome,
              ClusterTable::Outcome::replayed);
    EXPECT_EQ(table.take(renamed("www", 3, 1, after(milliseconds{30'001}))).outcome,
              ClusterTable::Outcome::taken);
    EXPECT_EQ(table.slots_used(), 2U);
}

TEST_F(AServersIdentity, PassesOnNothingThatWasObserved) {
    table.take(report_of("web2", 7, 5));
    table.forward_began(1);
    table.forward_ended(1);
    table.forward_failed(1, start);
    table.set_pooled_connections(1, 3);

    table.take(renamed("www", 7, 6));

    EXPECT_EQ(view(1).sent_since, 0U);
    EXPECT_EQ(table.failures_in_a_row(1), 0U);
    EXPECT_FALSE(table.is_ejected(1, start));
    EXPECT_EQ(table.pooled_connections(1), 0U);
}

TEST_F(AServersIdentity, IsNeverThatOfThisServer) {
    table.set_self(report_of("web2", 1, 1));

    const auto taken = table.take(renamed("www", 9, 9));

    EXPECT_NE(taken.slot_index, self_slot);
    EXPECT_EQ(table.report(self_slot)->name_view(), "web2");
}

// A clock that was set back: the state directory keeps a server from it, but it may be lost.
TEST_F(AServersIdentity, IsStillThatOfItsLatestBootHoweverLongItWasSilent) {
    table.take(report_of("web2", 7, 5));

    EXPECT_EQ(table.take(report_of("web2", 6, 9, after(seconds{3600}))).outcome,
              ClusterTable::Outcome::replayed);
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
    EXPECT_EQ(table.take(report_of("web5", 1, 1, after(seconds{20}))).outcome,
              ClusterTable::Outcome::cluster_full);
    EXPECT_EQ(table.slots_used(), size.slots_max);
}

TEST_F(AFullTable, StillTakesNewsOfThoseItKnows) {
    EXPECT_EQ(table.take(report_of("web3", 1, 2, after(seconds{21}))).outcome,
              ClusterTable::Outcome::taken);
}

TEST_F(AFullTable, GivesTheSlotOfAServerSilentForThirtySecondsToAnother) {
    EXPECT_EQ(table.take(report_of("web5", 1, 1, after(seconds{30}))).outcome,
              ClusterTable::Outcome::cluster_full);

    ASSERT_EQ(table.take(report_of("web5", 1, 1, after(milliseconds{30'001}))).outcome,
              ClusterTable::Outcome::taken);

    EXPECT_EQ(table.report(1)->name_view(), "web5");
    EXPECT_EQ(table.slots_used(), size.slots_max);
}

TEST_F(AFullTable, KeepsTheSlotOfASilentServerThatStillAnswersUs) {
    table.refresh(1, 1, 2, 0, 0, after(seconds{10}));

    EXPECT_EQ(table.take(report_of("web5", 1, 1, after(seconds{31}))).outcome,
              ClusterTable::Outcome::cluster_full);
}

TEST_F(AFullTable, KeepsTheSlotOfASilentServerWithRequestsInFlight) {
    table.forward_began(1);

    EXPECT_EQ(table.take(report_of("web5", 1, 1, after(seconds{31}))).outcome,
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

    EXPECT_EQ(table.take(report_of("web5", 3, 1, after(seconds{31}))).outcome,
              ClusterTable::Outcome::taken);
}

TEST_F(AFullTable, ForgetsTheServerWhoseSlotAnotherHas) {
    table.take(report_of("web5", 1, 1, after(seconds{31})));

    EXPECT_FALSE(table.find_contact(report_of("web2", 1, 1).load.contact));
    EXPECT_EQ(table.take(report_of("web2", 1, 2, after(seconds{31}))).outcome,
              ClusterTable::Outcome::cluster_full);
}

TEST_F(AFullTable, KnowsNothingAnyMoreOfAServerThatComesBackToAnotherSlot) {
    table.take(report_of("web5", 1, 1, after(seconds{31})));
    const MonotonicTime later = after(seconds{60});

    const auto taken = table.take(report_of("web2", 1, 1, later));

    EXPECT_EQ(taken.outcome, ClusterTable::Outcome::taken);
    EXPECT_NE(taken.slot_index, 1U);
}

struct ATableWithRoom : TableTest {};

TEST_F(ATableWithRoom, UsesTheSlotOfASilentServerFirst) {
    table.take(report_of("web2", 1, 1));

    const auto taken = table.take(report_of("web3", 1, 1, after(seconds{31})));

    EXPECT_EQ(taken.slot_index, 1U);
    EXPECT_EQ(table.slots_used(), 2U);
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

    EXPECT_TRUE(table.find_live_member(address, std::nullopt, after(seconds{3}), seconds{3}));
    EXPECT_FALSE(
        table.find_live_member(address, std::nullopt, after(milliseconds{3001}), seconds{3}));
}

TEST_F(TheMembers, AreNotMixedUpWithServersAtOtherAddresses) {
    table.take(report_of(2, start));
    table.take(report_of(3, after(seconds{3})));

    EXPECT_FALSE(table.find_live_member(*IpAddress::parse("10.0.0.2"), std::nullopt,
                                        after(seconds{4}), seconds{3}));
    EXPECT_TRUE(table.find_live_member(*IpAddress::parse("10.0.0.3"), std::nullopt,
                                       after(seconds{4}), seconds{3}));
}

TEST_F(TheMembers, DoNotIncludeStrangersNorThisServer) {
    table.set_self(report_of("web1", 1, 1));

    EXPECT_FALSE(
        table.find_live_member(*IpAddress::parse("10.0.0.1"), std::nullopt, start, seconds{3}));
    EXPECT_FALSE(
        table.find_live_member(*IpAddress::parse("10.0.0.2"), std::nullopt, start, seconds{3}));
}

}  // namespace
}  // namespace backhand
