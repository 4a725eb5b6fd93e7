// A snapshot must show what decisions are made from, row by row, and survive a table in any state.
#include "report/snapshot.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "table_fixture.h"

namespace backhand {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr MonotonicTime start = 1'000'000'000'000;

constexpr MonotonicTime after(Nanoseconds pause) {
    return start + nanoseconds_in(pause);
}

ServerReport report_of(std::string_view name, std::string_view contact) {
    ServerReport report;
    report.set_name(name);
    report.load.boot_id = 7;
    report.load.measurement = 1;
    report.load.received_at = start;
    report.load.contact = *Endpoint::parse(contact);
    return report;
}

struct ASnapshot : testing::Test {
    TableFixture memory{8, 4};
    const ClusterTable& table = *memory;

    ReportSnapshot taken_after(Nanoseconds pause) const {
        return take_snapshot(table, after(pause), {});
    }
};

TEST_F(ASnapshot, OfAnEmptyTableHasNoServers) {
    const ReportSnapshot snapshot = taken_after(seconds{0});

    EXPECT_THAT(snapshot.servers, IsEmpty());
    EXPECT_EQ(snapshot.self(), nullptr);
    EXPECT_FALSE(snapshot.moderator_alive);
}

TEST_F(ASnapshot, HasThisServerFirst) {
    table.take(report_of("web2", "10.0.0.2:80"));
    table.set_self(report_of("web1", "10.0.0.1:80"));

    const ReportSnapshot snapshot = taken_after(seconds{0});

    ASSERT_EQ(snapshot.servers.size(), 2U);
    EXPECT_EQ(snapshot.servers[0].name, "web1");
    EXPECT_EQ(snapshot.servers[1].name, "web2");
    ASSERT_EQ(snapshot.self(), snapshot.servers.data());
}

TEST_F(ASnapshot, HasNoSelfBeforeTheFirstMeasurement) {
    table.take(report_of("web2", "10.0.0.2:80"));

    const ReportSnapshot snapshot = taken_after(seconds{0});

    EXPECT_EQ(snapshot.servers.size(), 1U);
    EXPECT_EQ(snapshot.self(), nullptr);
}

TEST_F(ASnapshot, TellsWhatTheServerSaid) {
    ServerReport report = report_of("web2", "10.0.0.2:8080");
    report.load.serving = 4;
    report.load.forwarding = 2;
    report.load.workers_idle = 20;
    report.load.load_permille = 420;
    table.take(report);

    const ServerRow row = taken_after(milliseconds{250}).servers.front();

    EXPECT_EQ(row.view.slot_index, 1U);
    EXPECT_EQ(row.view.load.contact.to_string(), "10.0.0.2:8080");
    EXPECT_EQ(row.view.age, milliseconds{250});
    EXPECT_EQ(row.view.serving, 4U);
    EXPECT_EQ(row.forwarding, 2U);
    EXPECT_EQ(row.view.workers_idle, 20U);
    EXPECT_EQ(row.view.load.load_permille, 420U);
}

TEST_F(ASnapshot, TellsWhatThisHostObserved) {
    table.take(report_of("web2", "10.0.0.2:80"));
    table.forward_began(1);
    table.forward_began(1);
    table.forward_ended(1);
    table.forward_failed(1, start);
    table.set_pooled_connections(1, 6);

    const ServerRow row = taken_after(milliseconds{250}).servers.front();

    EXPECT_EQ(row.view.in_flight, 1U);
    EXPECT_EQ(row.view.sent_since, 2U);
    EXPECT_TRUE(row.ejected);
    EXPECT_EQ(row.failures_in_a_row, 1U);
    EXPECT_EQ(row.pooled_connections, 6U);
}

TEST_F(ASnapshot, CountsThisServersRequestsExactly) {
    ServerReport report = report_of("web1", "10.0.0.1:80");
    report.load.serving = 99;
    report.load.forwarding = 99;
    table.set_self(report);
    const ChildTally tally = table.cells().claim(100);
    for (int request = 0; request < 3; ++request) {
        tally.serving_began();
    }
    tally.forwarding_began();

    const ServerRow row = taken_after(seconds{9}).servers.front();

    EXPECT_EQ(row.view.serving, 3U);
    EXPECT_EQ(row.forwarding, 1U);
    EXPECT_EQ(row.view.age, Nanoseconds{0});
}

TEST_F(ASnapshot, ListsTheSitesOfAServer) {
    ServerReport report = report_of("web2", "10.0.0.2:80");
    report.add_service("www.example.com");
    report.add_service("static.example.com");
    table.take(report);
    table.take(report_of("web3", "10.0.0.3:80"));

    const ReportSnapshot snapshot = taken_after(seconds{0});

    EXPECT_THAT(snapshot.servers[0].services, ElementsAre("www.example.com", "static.example.com"));
    EXPECT_THAT(snapshot.servers[1].services, IsEmpty());
}

TEST_F(ASnapshot, SkipsSpacesThatSeparateNoSites) {
    ServerReport report = report_of("web2", "10.0.0.2:80");
    constexpr std::string_view untidy = "  a  b ";
    std::copy(untidy.begin(), untidy.end(), report.services.begin());
    table.take(report);

    EXPECT_THAT(taken_after(seconds{0}).servers.front().services, ElementsAre("a", "b"));
}

TEST_F(ASnapshot, CarriesTheCounters) {
    table.counters().add(Counter::forwarded);
    table.counters().add(Counter::forwarded);

    const ReportSnapshot snapshot = taken_after(seconds{0});

    EXPECT_EQ(snapshot.counters[static_cast<std::size_t>(Counter::forwarded)], 2U);
    EXPECT_EQ(snapshot.counters[static_cast<std::size_t>(Counter::decisions)], 0U);
}

TEST_F(ASnapshot, CarriesWhatTheCallerKnows) {
    const std::chrono::system_clock::time_point noon{seconds{43'200}};
    table.set_boot_id(77);
    table.writer_alive(start);

    const ReportSnapshot snapshot = take_snapshot(table, start, noon, {"/: byAge 2, byLoad"});

    EXPECT_EQ(snapshot.version, BACKHAND_VERSION);
    EXPECT_EQ(snapshot.taken_at, noon);
    EXPECT_EQ(snapshot.boot_id, 77U);
    EXPECT_TRUE(snapshot.moderator_alive);
    EXPECT_THAT(snapshot.chains, ElementsAre("/: byAge 2, byLoad"));
}

// ---- states ----

struct AServer : ASnapshot {
    AServer() { table.take(report_of("web2", "10.0.0.2:80")); }

    ServerState state_after(Nanoseconds pause) const {
        return taken_after(pause).servers.front().state();
    }
};

TEST_F(AServer, IsOkWhileItIsHeard) {
    EXPECT_EQ(state_after(seconds{3}), ServerState::ok);
}

TEST_F(AServer, IsSilentWhenUnheardForMoreThanThreeSeconds) {
    EXPECT_EQ(state_after(milliseconds{3001}), ServerState::silent);
}

TEST_F(AServer, IsEjectedAfterAFailedConnection) {
    table.forward_failed(1, start);

    EXPECT_EQ(state_after(milliseconds{500}), ServerState::ejected);
}

TEST_F(AServer, IsOkAgainWhenTheEjectionIsOver) {
    table.forward_failed(1, start);

    EXPECT_EQ(state_after(seconds{2}), ServerState::ok);
}

TEST_F(AServer, IsSilentRatherThanEjected) {
    for (int failure = 0; failure < 6; ++failure) {
        table.forward_failed(1, start);
    }

    EXPECT_EQ(state_after(seconds{10}), ServerState::silent);
}

TEST_F(AServer, IsUnprovenUntilItsContactHasAnsweredAChallenge) {
    table.demand_proof(true);
    EXPECT_EQ(state_after(seconds{1}), ServerState::unproven);

    table.prove(1, *Endpoint::parse("10.0.0.2:80"), 7, 1);
    EXPECT_EQ(state_after(seconds{1}), ServerState::ok);
}

TEST_F(AServer, IsSilentRatherThanUnproven) {
    table.demand_proof(true);

    EXPECT_EQ(state_after(seconds{10}), ServerState::silent);
}

TEST_F(AServer, IsLeavingHoweverSilent) {
    ServerReport farewell = report_of("web2", "10.0.0.2:80");
    farewell.load.measurement = 2;
    farewell.load.flags = leaving;
    table.take(farewell);

    EXPECT_EQ(state_after(seconds{10}), ServerState::leaving);
}

TEST(AState, HasANamePeopleRead) {
    EXPECT_EQ(to_string(ServerState::ok), "ok");
    EXPECT_EQ(to_string(ServerState::silent), "silent");
    EXPECT_EQ(to_string(ServerState::ejected), "ejected");
    EXPECT_EQ(to_string(ServerState::leaving), "leaving");
    EXPECT_EQ(to_string(ServerState::unproven), "unproven");
}

// ---- wording ----

TEST(AnAge, IsInMillisecondsBelowASecond) {
    EXPECT_EQ(age_text(Nanoseconds{0}), "0 ms");
    EXPECT_EQ(age_text(milliseconds{999}), "999 ms");
}

TEST(AnAge, IsInSecondsFromThereOn) {
    EXPECT_EQ(age_text(seconds{1}), "1.0 s");
    EXPECT_EQ(age_text(milliseconds{12'345}), "12.3 s");
}

TEST(ALoad, HasTwoDecimals) {
    EXPECT_EQ(load_text(0), "0.00");
    EXPECT_EQ(load_text(57), "0.05");
    EXPECT_EQ(load_text(420), "0.42");
    EXPECT_EQ(load_text(12'345), "12.34");
}

TEST(AShare, IsAPercentage) {
    EXPECT_EQ(share_text(0), "0.0%");
    EXPECT_EQ(share_text(875), "87.5%");
    EXPECT_EQ(share_text(1000), "100.0%");
}

TEST(AnAmountOfMemory, IsInMebibytesBelowAGibibyte) {
    EXPECT_EQ(memory_text(0), "0 MiB");
    EXPECT_EQ(memory_text((std::uint64_t{1} << 30U) - 1), "1023 MiB");
}

TEST(AnAmountOfMemory, IsInGibibytesFromThereOn) {
    EXPECT_EQ(memory_text(std::uint64_t{1} << 30U), "1.0 GiB");
    EXPECT_EQ(memory_text(std::uint64_t{3} << 29U), "1.5 GiB");
    EXPECT_EQ(memory_text(std::numeric_limits<std::uint64_t>::max()), "17179869183.9 GiB");
}

}  // namespace
}  // namespace backhand
