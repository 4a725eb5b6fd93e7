// With keys a server counts only once its contact has answered a challenge.
#include <chrono>

#include <gtest/gtest.h>

#include "cluster/table.h"
#include "table_test.h"

namespace backhand {
namespace {

using std::chrono::seconds;
using Outcome = ClusterTable::Outcome;

const IpAddress address = *IpAddress::parse("10.0.0.1");

// "web2" has announced itself with measurement 5 of boot 7.
struct AnUnprovenServer : TableTest {
    AnUnprovenServer() {
        table.demand_proof(true);
        outcome = table.take(report_of("web2", 7, 5)).outcome;
    }

    Endpoint contact = report_of("web2", 0, 0).load.contact;
    Outcome outcome{};
};

TEST_F(AnUnprovenServer, IsTakenAndSaidToBeUnproven) {
    EXPECT_EQ(outcome, Outcome::unproven);
    EXPECT_EQ(table.report(1)->name_view(), "web2");
    EXPECT_FALSE(view(1).proven);
}

TEST_F(AnUnprovenServer, StaysUnprovenHoweverOftenItAnnouncesItself) {
    EXPECT_EQ(table.take(report_of("web2", 7, 6)).outcome, Outcome::unproven);
    EXPECT_EQ(table.take(report_of("web2", 8, 1)).outcome, Outcome::unproven);
    EXPECT_FALSE(view(1).proven);
}

TEST_F(AnUnprovenServer, IsNoMember) {
    EXPECT_FALSE(table.find_live_member(address, std::nullopt, start, seconds{3}));
}

TEST_F(AnUnprovenServer, IsReplayedLikeAnyOther) {
    EXPECT_EQ(table.take(report_of("web2", 7, 5)).outcome, Outcome::replayed);
}

TEST_F(AnUnprovenServer, CountsOnceNoProofIsDemandedAnyMore) {
    table.demand_proof(false);

    EXPECT_TRUE(view(1).proven);
    EXPECT_TRUE(table.find_live_member(address, std::nullopt, start, seconds{3}));
    EXPECT_EQ(table.take(report_of("web2", 7, 6)).outcome, Outcome::taken);
}

TEST_F(AnUnprovenServer, BecomesAMemberByItsAnswer) {
    EXPECT_TRUE(table.prove(1, contact, 7, 5));

    EXPECT_TRUE(view(1).proven);
    EXPECT_TRUE(table.find_live_member(address, std::nullopt, start, seconds{3}));
    EXPECT_EQ(table.take(report_of("web2", 7, 6)).outcome, Outcome::taken);
}

TEST_F(AnUnprovenServer, IsNotProvenByAnAnswerFromAnotherContact) {
    Endpoint other = contact;
    ++other.port;

    EXPECT_FALSE(table.prove(1, other, 7, 5));
    EXPECT_FALSE(view(1).proven);
}

TEST_F(AnUnprovenServer, IsNotProvenByAnAnswerFromAnEarlierBoot) {
    EXPECT_FALSE(table.prove(1, contact, 6, 1'000));
    EXPECT_FALSE(view(1).proven);
}

TEST_F(AnUnprovenServer, IsNotProvenByTheAnswerToItsPredecessorsQuestion) {
    ServerReport successor = report_of("web2", 8, 1);
    successor.set_name("www");
    table.take(successor);

    EXPECT_FALSE(table.prove(1, contact, 7, 6));
    EXPECT_FALSE(view(1).proven);
}

// ---- how far its reports had come when it answered ----

TEST_F(AnUnprovenServer, IsReplayedByWhateverWasRecordedBeforeItsAnswer) {
    ASSERT_TRUE(table.prove(1, contact, 7, 100));

    EXPECT_EQ(table.take(report_of("web2", 7, 6)).outcome, Outcome::replayed);
    EXPECT_EQ(table.take(report_of("web2", 7, 100)).outcome, Outcome::replayed);
    EXPECT_EQ(table.take(report_of("web2", 7, 101)).outcome, Outcome::taken);
}

TEST_F(AnUnprovenServer, IsStillReplayedByWhatCameBeforeIfItsAnswerIsOlder) {
    table.take(report_of("web2", 7, 200));

    ASSERT_TRUE(table.prove(1, contact, 7, 100));

    EXPECT_EQ(table.take(report_of("web2", 7, 150)).outcome, Outcome::replayed);
    EXPECT_TRUE(view(1).proven);
}

// ---- what was heard turns out to be a recording of an earlier life ----

struct AnAnswerFromANewerBoot : AnUnprovenServer {
    AnAnswerFromANewerBoot() {
        table.refresh(1, 7, 900, 50, 0, start);
        table.forward_began(1);
        table.forward_ended(1);
        table.forward_failed(1, start);
        proven = table.prove(1, contact, 8, 100);
    }

    bool proven = false;
};

TEST_F(AnAnswerFromANewerBoot, DoesNotProveWhatWasHeard) {
    EXPECT_FALSE(proven);
    EXPECT_FALSE(view(1).proven);
}

TEST_F(AnAnswerFromANewerBoot, MakesEverythingOfTheOldOneAReplay) {
    EXPECT_EQ(table.take(report_of("web2", 7, 1'000)).outcome, Outcome::replayed);
}

TEST_F(AnAnswerFromANewerBoot, MakesEarlierReportsOfTheNewOneReplays) {
    EXPECT_EQ(table.take(report_of("web2", 8, 100)).outcome, Outcome::replayed);
    EXPECT_EQ(table.take(report_of("web2", 8, 101)).outcome, Outcome::unproven);
}

TEST_F(AnAnswerFromANewerBoot, EndsWhatWasObservedOfTheOldOne) {
    EXPECT_EQ(table.failures_in_a_row(1), 0U);
    EXPECT_FALSE(table.is_ejected(1, start));

    ServerReport report = report_of("web2", 8, 101);
    report.load.serving = 3;
    table.take(report);
    EXPECT_EQ(view(1).serving, 3U);
    EXPECT_EQ(view(1).sent_since, 0U);
}

// The tag that tells boots apart has eight bits: of 300 boots some share it.
TEST_F(AnAnswerFromANewerBoot, NeverLetsTheOldNumbersStandBesideTheNewBoot) {
    for (std::uint64_t boot_id = 10; boot_id < 310; ++boot_id) {
        ServerReport old_boot = report_of("web2", 2 * boot_id, 1'000);
        old_boot.load.serving = 50;
        table.take(old_boot);
        table.prove(1, contact, 2 * boot_id + 1, 5);

        ServerReport new_boot = report_of("web2", 2 * boot_id + 1, 6);
        new_boot.load.serving = 3;
        table.take(new_boot);

        ASSERT_EQ(view(1).serving, 3U) << boot_id;
    }
}

TEST_F(AnAnswerFromANewerBoot, IsFollowedByAnotherThatProvesIt) {
    table.take(report_of("web2", 8, 101));

    EXPECT_TRUE(table.prove(1, contact, 8, 102));
    EXPECT_TRUE(view(1).proven);
}

// ---- and afterwards ----

struct AProvenServer : AnUnprovenServer {
    AProvenServer() { table.prove(1, contact, 7, 5); }
};

TEST_F(AProvenServer, StaysProvenWhenTheNextModeratorDemandsProofs) {
    table.demand_proof(true);

    EXPECT_TRUE(view(1).proven);
}

TEST_F(AProvenServer, StaysProvenWhenItStartsAnew) {
    EXPECT_EQ(table.take(report_of("web2", 8, 1)).outcome, Outcome::taken);
}

TEST_F(AProvenServer, LeavesNothingProvenToTheNextAtItsContact) {
    ServerReport successor = report_of("web2", 8, 1);
    successor.set_name("www");

    EXPECT_EQ(table.take(successor).outcome, Outcome::unproven);
    EXPECT_FALSE(view(1).proven);
}

TEST_F(AProvenServer, LeavesNothingProvenToTheNextInItsSlot) {
    const auto taken = table.take(report_of("web9", 1, 1, after(seconds{31})));

    EXPECT_EQ(taken.slot_index, 1U);
    EXPECT_EQ(taken.outcome, Outcome::unproven);
    EXPECT_FALSE(view(1, after(seconds{31})).proven);
}

TEST_F(AProvenServer, DoesNotProveItsNeighbour) {
    EXPECT_EQ(table.take(report_of("web3", 1, 1)).outcome, Outcome::unproven);
    EXPECT_FALSE(view(2).proven);
}

TEST_F(AProvenServer, IsMemberWhileAnUnprovenOneAtItsAddressIsNot) {
    table.take(report_of("web3", 1, 1, after(seconds{20})));

    EXPECT_TRUE(table.find_live_member(address, std::nullopt, after(seconds{3}), seconds{3}));
    EXPECT_FALSE(table.find_live_member(address, std::nullopt, after(seconds{20}), seconds{3}));
}

}  // namespace
}  // namespace backhand
