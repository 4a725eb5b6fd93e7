// The simulator's lazy knowledge against real cluster tables that hear every datagram: whole runs
// must come out the same to the last bit.
#include <algorithm>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "sim/events.h"
#include "sim/knowledge.h"
#include "sim/simulation.h"
#include "table_fixture.h"

namespace backhand::sim {
namespace {

// A real table for each server.  Datagrams are taken in, in the order of their arrival, before
// anything is asked or changed.
class TableKnowledge final : public Knowledge {
public:
    TableKnowledge(const Scenario& scenario, const Air& air)
        : count_(scenario.servers_count()),
          air_(air),
          pending_(count_) {
        for (std::uint32_t server = 0; server < count_; ++server) {
            renew(server);
        }
    }

    void announced(std::uint32_t sender, const LoadReport& load, MonotonicTime now) override {
        const ServerReport report = report_of(sender, load);
        table(sender).set_self(report);
        ++number_;
        for (std::uint32_t viewer = 0; viewer < count_; ++viewer) {
            const MonotonicTime at =
                viewer == sender ? never : air_.arrival(sender, viewer, number_, now);
            if (at != never) {
                pending_[viewer].push({at, number_, sender, load});
            }
        }
    }

    void forgets(std::uint32_t server, MonotonicTime now) override {
        hear(server, now);
        renew(server);
    }

    const ClusterView& seen_by(std::uint32_t viewer, std::uint32_t serving,
                               MonotonicTime now) override {
        hear(viewer, now);
        tallies_[viewer].sums->serving.store(static_cast<std::int32_t>(serving));
        return table(viewer);
    }

    // Slots are given in the order of numbers: see renew().
    std::uint32_t server_in(std::uint32_t viewer, std::uint32_t slot_index) const override {
        return slot_index == self_slot ? viewer : slot_index - (slot_index <= viewer ? 1 : 0);
    }

    void forward_began(std::uint32_t viewer, std::uint32_t peer, MonotonicTime now) override {
        hear(viewer, now);
        table(viewer).forward_began(slot_of(viewer, peer));
    }

    void forward_ended(std::uint32_t viewer, std::uint32_t peer, MonotonicTime now) override {
        hear(viewer, now);
        table(viewer).forward_ended(slot_of(viewer, peer));
    }

    void forward_failed(std::uint32_t viewer, std::uint32_t peer, MonotonicTime now) override {
        hear(viewer, now);
        table(viewer).forward_failed(slot_of(viewer, peer), now);
    }

    void forward_answered(std::uint32_t viewer, std::uint32_t peer, const News* news,
                          Nanoseconds latency, MonotonicTime now) override {
        hear(viewer, now);
        const std::uint32_t slot_index = slot_of(viewer, peer);
        if (news != nullptr) {
            table(viewer).refresh(slot_index, news->boot_id, news->measurement, news->serving,
                                  news->workers_idle, now);
        }
        table(viewer).forward_ended(slot_index, ForwardOutcome::answered, latency, now);
        table(viewer).forward_ended(slot_index);
    }

    Nanoseconds forwarding_cost(std::uint32_t viewer, MonotonicTime now) const override {
        return table(viewer).forwarding_cost(now);
    }

private:
    struct Datagram {
        MonotonicTime at;
        std::uint64_t number;
        std::uint32_t sender;
        LoadReport load;

        bool operator>(const Datagram& other) const {
            return at != other.at ? at > other.at : number > other.number;
        }
    };

    static ServerReport report_of(std::uint32_t server, const LoadReport& load) {
        ServerReport report;
        report.set_name("server" + std::to_string(server));
        report.load = load;
        report.load.contact.address = *IpAddress::parse("10.0.0.1");
        report.load.contact.port = static_cast<std::uint16_t>(1024 + server);
        return report;
    }

    static std::uint32_t slot_of(std::uint32_t viewer, std::uint32_t peer) {
        return peer < viewer ? peer + 1 : peer;
    }

    // An empty table, in which each peer has its slot already: by a report so old that it is
    // silent, and of a start before the first.
    void renew(std::uint32_t viewer) {
        memories_.resize(count_);
        tallies_.resize(count_);
        memories_[viewer] = std::make_unique<TableFixture>(count_, 1);
        tallies_[viewer] = table(viewer).cells().claim(1);
        for (std::uint32_t peer = 0; peer < count_; ++peer) {
            if (peer != viewer) {
                LoadReport load;
                load.received_at = 1;
                table(viewer).take(report_of(peer, load));
            }
        }
    }

    void hear(std::uint32_t viewer, MonotonicTime now) {
        auto& pending = pending_[viewer];
        while (!pending.empty() && pending.top().at <= now) {
            ServerReport report = report_of(pending.top().sender, pending.top().load);
            report.load.received_at = pending.top().at;
            table(viewer).take(report);
            pending.pop();
        }
    }

    const ClusterTable& table(std::uint32_t server) const { return **memories_[server]; }

    std::uint32_t count_;
    const Air& air_;
    std::uint64_t number_ = 0;
    std::vector<std::unique_ptr<TableFixture>> memories_;
    std::vector<ChildTally> tallies_;
    std::vector<std::priority_queue<Datagram, std::vector<Datagram>, std::greater<>>> pending_;
};

Scenario cluster_of(std::uint32_t count) {
    Scenario scenario;
    scenario.servers = {{.count = count}};
    scenario.arrivals.load = 0.85;
    scenario.network.loss = 0.1;
    scenario.network.jitter_ns = 30e6;
    // The tables learn their slots at once; the first decisions are none of the comparison.
    scenario.run = {
        .requests = 6'000, .warm_up = 0, .replications = 1, .seed = 1, .series_bins = 0};
    return scenario;
}

void expect_the_same(const Scenario& scenario, const std::vector<std::string>& lines) {
    const Contestant contestant{.name = "chain", .chain = *chain_of(lines), .reference = {}};
    RunHooks tables;
    tables.make_knowledge = [](const Scenario& of, const Air& air) {
        return std::make_unique<TableKnowledge>(of, air);
    };

    const Outcome lazily = simulate(scenario, contestant, 4711);
    const Outcome really = simulate(scenario, contestant, 4711, tables);

    EXPECT_GT(lazily.forwarded, 200U);
    EXPECT_EQ(lazily.fingerprint, really.fingerprint);
    EXPECT_EQ(lazily.responses.mean(), really.responses.mean());
}

TEST(LazyKnowledge, DecidesLikeRealTablesUnderAuto) {
    expect_the_same(cluster_of(8), {"auto"});
}

TEST(LazyKnowledge, DecidesLikeRealTablesInAClusterThatIsSampled) {
    expect_the_same(cluster_of(24), {"auto"});
}

TEST(LazyKnowledge, DecidesLikeRealTablesUnderTheSeedsChain) {
    expect_the_same(cluster_of(8), {"byAge 2", "byRandom", "byLogWindow", "byLoad"});
}

TEST(LazyKnowledge, DecidesLikeRealTablesUnderFunctionsThatReadAgesAndRates) {
    expect_the_same(cluster_of(6), {"byInterpretedLoad", "preferSelf 1"});
    expect_the_same(cluster_of(6), {"byRandom", "byHotCold", "preferSelf 1"});
}

TEST(LazyKnowledge, DecidesLikeRealTablesWithoutNewsOnResponses) {
    Scenario scenario = cluster_of(8);
    scenario.announcing.piggyback = false;

    expect_the_same(scenario, {"auto"});
}

TEST(LazyKnowledge, DecidesLikeRealTablesWhenNewsAreReadAtOnce) {
    Scenario scenario = cluster_of(8);
    scenario.announcing.look_ns = 0;

    expect_the_same(scenario, {"auto"});
}

TEST(LazyKnowledge, DecidesLikeRealTablesWhenAServerCrashesAndComesBack) {
    Scenario scenario = cluster_of(6);
    scenario.failures = {{.kind = Failure::Kind::crash,
                          .servers = {2, 4},
                          .from = 5'000'000'000,
                          .to = 12'000'000'000}};

    expect_the_same(scenario, {"auto"});
}

TEST(LazyKnowledge, DecidesLikeRealTablesWhenTheNetworkIsParted) {
    Scenario scenario = cluster_of(6);
    scenario.failures = {{.kind = Failure::Kind::partition,
                          .servers = {0, 1},
                          .from = 5'000'000'000,
                          .to = 12'000'000'000}};

    expect_the_same(scenario, {"auto"});
}

}  // namespace
}  // namespace backhand::sim
