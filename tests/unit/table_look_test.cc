// Looking at every peer at once shows what looking at each of them closely would.
#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/text.h"
#include "cluster/exclusion.h"
#include "decide/candidacy.h"
#include "table_test.h"

namespace backhand {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint32_t peers_count = 200;
constexpr const char* site = "www.example.com";
constexpr const char* other_site = "static.example.com";

struct LookingAtAllPeers : testing::Test {
    TableFixture memory{peers_count + 1, 3};
    const ClusterTable& table = *memory;
    Random random{20'261'123};
    const MonotonicTime now = after(seconds{60});

    bool one_in(std::uint32_t count) { return random.below(count) == 0; }

    // Most servers are as servers usually are; each of the others has one or more peculiarities.
    void fill() {
        for (std::uint32_t number = 1; number <= peers_count; ++number) {
            add_peer(number);
        }
    }

    void add_peer(std::uint32_t number) {
        const bool joined_later = one_in(10);
        const MonotonicTime heard_at = one_in(10) ? after(seconds{50}) : now;
        ServerReport report =
            report_of("web" + std::to_string(number), 1, 1, joined_later ? heard_at : start);
        LoadReport& load = report.load;
        load.interval_ms = one_in(10) ? 5000 : 100;
        load.flags = one_in(10) ? ServerFlag::leaving : 0U;
        load.load_permille = random.below(10'000);
        load.workers_idle = one_in(10) ? 0 : 1 + random.below(60);
        load.serving = random.below(30);
        load.memory_total_bytes = random.next() >> 20U;
        if (!one_in(10)) {
            report.add_service(one_in(5) ? other_site : site);
        }
        if (one_in(10)) {
            report.add_service("more.example.com");
        }
        const std::uint32_t slot_index = table.take(report).slot_index;
        load.measurement = 2;
        load.received_at = heard_at;
        table.take(report);

        for (std::uint32_t sent = one_in(4) ? random.below(5) : 0; sent > 0; --sent) {
            table.forward_began(slot_index);
        }
        if (one_in(10)) {
            table.forward_failed(slot_index, one_in(2) ? start : now);
        }
        if (one_in(10)) {
            fail_until_unhealthy(slot_index);
        }
        if (one_in(3)) {
            table.forward_ended(slot_index, ForwardOutcome::answered, milliseconds{5}, now);
        }
        if (!one_in(10)) {
            table.prove(slot_index, load.contact, 1, 1);
        }
    }

    void fail_until_unhealthy(std::uint32_t slot_index) const {
        for (std::uint32_t failures = 0; failures < HealthRecord::failures_max; ++failures) {
            table.forward_ended(slot_index, ForwardOutcome::broken, milliseconds{1}, now);
        }
    }

    std::vector<ServerView> looked_at(Detail detail, std::uint64_t service_hash) const {
        std::vector<ServerView> room(peers_count);
        room.resize(table.look_at_peers(detail, service_hash, now, room));
        return room;
    }

    // Into the same views every time.
    void expect_same_again(Detail detail, std::vector<ServerView>& room) const {
        const std::size_t count = table.look_at_peers(detail, 0, now, room);
        const std::vector<ServerView> close = viewed(0);
        ASSERT_EQ(count, close.size());
        for (std::size_t place = 0; place < count; ++place) {
            expect_same(detail, room[place], close[place]);
        }
    }

    // One after another, as closely as can be.
    std::vector<ServerView> viewed(std::uint64_t service_hash) const {
        std::vector<ServerView> result;
        for (std::uint32_t index = self_slot + 1; index < table.slots_used(); ++index) {
            ServerView view;
            if (table.view(index, service_hash, now, view) && may_take_requests(view)) {
                result.push_back(view);
            }
        }
        return result;
    }

    void expect_same(Detail detail, std::uint64_t service_hash) const {
        const std::vector<ServerView> quick = looked_at(detail, service_hash);
        const std::vector<ServerView> close = viewed(service_hash);
        ASSERT_EQ(quick.size(), close.size());
        for (std::size_t place = 0; place < quick.size(); ++place) {
            expect_same(detail, quick[place], close[place]);
        }
    }

    static void expect_same(Detail detail, const ServerView& quick, const ServerView& close) {
        ASSERT_EQ(quick.slot_index, close.slot_index);
        EXPECT_EQ(quick.serving, close.serving);
        EXPECT_EQ(quick.workers_idle, close.workers_idle);
        EXPECT_EQ(quick.sent_since, close.sent_since);
        EXPECT_EQ(quick.age, close.age);
        EXPECT_EQ(quick.known_for, close.known_for);
        EXPECT_EQ(quick.proven, close.proven);
        EXPECT_EQ(quick.ejected, close.ejected);
        EXPECT_EQ(quick.unhealthy, close.unhealthy);
        EXPECT_EQ(quick.load.flags, close.load.flags);
        EXPECT_EQ(quick.load.interval_ms, close.load.interval_ms);
        if (detail != Detail::glance) {
            EXPECT_EQ(quick.own_latency_us, close.own_latency_us);
            EXPECT_EQ(quick.own_latency_age_ms, close.own_latency_age_ms);
            EXPECT_EQ(quick.load.load_permille, close.load.load_permille);
            EXPECT_EQ(quick.load.arriba, close.load.arriba);
            EXPECT_EQ(quick.load.memory_total_bytes, close.load.memory_total_bytes);
        }
    }
};

TEST_F(LookingAtAllPeers, ShowsTheSameOnesAsLookingAtEachClosely) {
    fill();
    for (const Detail detail : {Detail::glance, Detail::numbers, Detail::all}) {
        for (const std::uint64_t service_hash :
             {std::uint64_t{0}, hash_ignoring_case(site), hash_ignoring_case(other_site),
              hash_ignoring_case("more.example.com"), hash_ignoring_case("nobody.example.com")}) {
            expect_same(detail, service_hash);
        }
    }
}

TEST_F(LookingAtAllPeers, ShowsTheSameOnesWhereProofIsDemanded) {
    fill();
    table.demand_proof(true);
    const std::size_t all = viewed(0).size();

    expect_same(Detail::glance, 0);
    expect_same(Detail::numbers, hash_ignoring_case(site));

    table.demand_proof(false);
    EXPECT_GT(viewed(0).size(), all) << "some should have been left out";
}

TEST_F(LookingAtAllPeers, MeetsEveryPeculiarity) {
    fill();
    std::uint32_t excluded = 0;
    std::uint32_t unhealthy = 0;
    std::uint32_t young = 0;
    for (std::uint32_t index = self_slot + 1; index < table.slots_used(); ++index) {
        ServerView view;
        ASSERT_TRUE(table.view(index, 0, now, view));
        excluded |= 1U << static_cast<unsigned>(exclusion_of(view));
        unhealthy += view.unhealthy ? 1U : 0U;
        young += view.known_for < Nanoseconds::max() ? 1U : 0U;
    }
    for (const Exclusion expected : {Exclusion::none, Exclusion::silent, Exclusion::leaving,
                                     Exclusion::ejected, Exclusion::no_idle_worker}) {
        EXPECT_NE(excluded & 1U << static_cast<unsigned>(expected), 0U);
    }
    EXPECT_GT(unhealthy, 0U);
    EXPECT_GT(young, 0U);
}

TEST_F(LookingAtAllPeers, ShowsWhatHasChangedSinceTheSameViewsWereUsed) {
    fill();
    std::vector<ServerView> room(peers_count);
    constexpr std::array details = {Detail::numbers, Detail::glance, Detail::all};
    for (std::uint64_t measurement = 3; measurement < 200; ++measurement) {
        const std::uint32_t changed = self_slot + 1 + random.below(peers_count);
        ServerReport report = *table.report(changed);
        report.load.measurement = measurement;
        report.load.boot_id += one_in(5) ? 1 : 0;
        report.load.received_at = now;
        report.load.arriba = random.below(1'000'000);
        report.load.flags = one_in(5) ? ServerFlag::leaving : 0U;
        table.take(report);
        if (one_in(5)) {
            table.forward_failed(changed, now);
        }
        expect_same_again(one_in(2) ? Detail::numbers : details[random.below(3)], room);
    }
}

TEST_F(LookingAtAllPeers, ShowsTheTablesNumbersWhereADecisionHasChangedTheViews) {
    fill();
    ServerView self;
    CandidacySet set;
    const auto look = [this](std::span<ServerView> room) {
        return table.look_at_peers(Detail::numbers, 0, now, room);
    };
    set.begin(self, peers_count, look);
    set.change_views([](ServerView& server) { server.load.load_permille += 1'000'000; });
    set.begin(self, peers_count, look);

    for (const ServerView& server : set.servers()) {
        EXPECT_LT(server.load.load_permille, 1'000'000U);
    }
}

TEST_F(LookingAtAllPeers, ShowsAnotherTableInTheSameViews) {
    fill();
    const TableFixture other{2, 1};
    ServerReport report = report_of("web1", 1, 1, now);
    report.load.workers_idle = 9;
    report.load.arriba = 4711;
    other->take(report);
    std::vector<ServerView> room(peers_count);
    table.look_at_peers(Detail::numbers, 0, now, room);

    ASSERT_EQ(other->look_at_peers(Detail::numbers, 0, now, room), 1U);
    EXPECT_EQ(room.front().load.arriba, 4711U);
    expect_same_again(Detail::numbers, room);
}

TEST_F(LookingAtAllPeers, StopsWhereThereIsNoRoomForMore) {
    fill();
    std::vector<ServerView> room(10);
    EXPECT_LE(table.look_at_peers(Detail::numbers, 0, now, room), room.size());
    EXPECT_EQ(table.look_at_peers(Detail::numbers, 0, now, {}), 0U);
}

}  // namespace
}  // namespace backhand
