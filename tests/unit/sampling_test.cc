// Chains that begin by drawing a few servers: the short way must come to the same as the long one.
#include <array>
#include <map>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "base/text.h"
#include "decide/chain.h"
#include "table_fixture.h"

namespace backhand {
namespace {

constexpr MonotonicTime now = 1'000'000'000'000;
constexpr std::uint32_t servers_count = 40;

// 99.9 % of the chi-square distribution (Abramowitz and Stegun, table 26.8).
constexpr double chi_square_6_limit = 22.46;
constexpr double chi_square_39_limit = 72.05;

Chain chain_of(std::initializer_list<std::pair<const char*, const char*>> lines) {
    Chain chain;
    for (const auto& [name, argument] : lines) {
        EXPECT_TRUE(chain.append(name, argument)) << name;
    }
    return chain;
}

// Self and 39 peers, peer n with n % 7 requests in progress.
class ALargeCluster : public testing::Test {
protected:
    ALargeCluster() {
        table_->set_self(report_of(200, now));
        for (std::uint8_t number = 1; number < servers_count; ++number) {
            add_peer(number, now);
        }
    }

    void add_peer(std::uint8_t number, MonotonicTime received_at) {
        ServerReport report = report_of(number, received_at);
        report.load.measurement = ++measurement_;
        report.load.serving = number % 7U;
        table_->take(report);
    }

    void serve(int requests) {
        const ChildTally tally = table_->cells().claim(1);
        for (int count = 0; count < requests; ++count) {
            tally.serving_began();
        }
    }

    DecisionContext context() { return {request_, *table_, random_, now}; }

    Decision decided(const Chain& chain) {
        Decision decision;
        decide(chain, context(), set_, decision);
        return decision;
    }

    // How often each slot was the head, by the short way.
    std::map<std::uint32_t, int> heads_of_samples(const Chain& chain, int times) {
        std::map<std::uint32_t, int> heads;
        ServerView self;
        EXPECT_TRUE(table_->view(self_slot, 0, now, self));
        for (int time = 0; time < times; ++time) {
            set_.begin_without(self);
            EXPECT_TRUE(chain.apply_to_sample(set_, context()));
            ++heads[set_[0].slot_index];
        }
        return heads;
    }

    // The same by the long way.
    std::map<std::uint32_t, int> heads_of_all(const Chain& chain, int times) {
        std::map<std::uint32_t, int> heads;
        for (int time = 0; time < times; ++time) {
            ServerView server;
            EXPECT_TRUE(table_->view(self_slot, 0, now, server));
            set_.begin(server);
            for (std::uint32_t slot = 1; slot < table_->slots_used(); ++slot) {
                EXPECT_TRUE(table_->view(slot, 0, now, server));
                set_.add(server);
            }
            chain.apply(set_, context());
            ++heads[set_[0].slot_index];
        }
        return heads;
    }

    TableFixture table_{64};
    RequestView request_{.method = "GET",
                         .host = "www.example.com",
                         .path = "/",
                         .service_hash = hash_ignoring_case("www.example.com")};
    Random random_{4711};
    CandidacySet set_;
    std::uint64_t measurement_ = 0;
};

TEST_F(ALargeCluster, IsSampledByChainsThatKeepAFewAtRandom) {
    EXPECT_TRUE(chain_of({{"auto", ""}}).samples());
    EXPECT_TRUE(chain_of({{"byRandom", ""}, {"byAge", "2"}, {"byWindow", "8"}}).samples());
}

TEST_F(ALargeCluster, IsLookedAtAsAWholeByEveryOtherChain) {
    EXPECT_FALSE(chain_of({{"byRandom", ""}, {"byLoad", ""}}).samples());
    EXPECT_FALSE(chain_of({{"byLoad", ""}, {"byRandom", ""}, {"byWindow", "3"}}).samples());
    EXPECT_FALSE(chain_of({{"byWindow", "3"}, {"byRandom", ""}}).samples());
    EXPECT_FALSE(chain_of({{"byRandom", ""}, {"byWindow", "9"}}).samples());
    // byCost compares each server with all of them.
    EXPECT_FALSE(chain_of({{"byRandom", ""}, {"byWindow", "3"}, {"byCost", ""}}).samples());
}

TEST_F(ALargeCluster, GivesEveryServerTheSameChanceToBeDrawn) {
    constexpr int times = 40'000;
    const Chain chain = chain_of({{"byRandom", ""}, {"byWindow", "1"}});

    const auto heads = heads_of_samples(chain, times);

    const double expected = static_cast<double>(times) / servers_count;
    double chi_square = 0;
    for (std::uint32_t slot = 0; slot < servers_count; ++slot) {
        const double difference = heads.at(slot) - expected;
        chi_square += difference * difference / expected;
    }
    EXPECT_LT(chi_square, chi_square_39_limit);
}

TEST_F(ALargeCluster, IsDecidedAboutAsIfEveryServerHadBeenLookedAt) {
    constexpr int times = 20'000;
    const Chain chain =
        chain_of({{"removeSelf", ""}, {"byRandom", ""}, {"byWindow", "3"}, {"byInFlight", ""}});

    const auto sampled = heads_of_samples(chain, times);
    const auto all = heads_of_all(chain, times);

    // Servers with as much to do are as likely to win: compared by their load.
    std::array<double, 7> sampled_by_load{};
    std::array<double, 7> all_by_load{};
    for (std::uint32_t slot = 1; slot < servers_count; ++slot) {
        const auto count = [slot](const auto& heads) {
            const auto found = heads.find(slot);
            return found == heads.end() ? 0 : found->second;
        };
        sampled_by_load[slot % 7] += count(sampled);
        all_by_load[slot % 7] += count(all);
    }
    double chi_square = 0;
    for (std::size_t load = 0; load < sampled_by_load.size(); ++load) {
        const double sum = sampled_by_load[load] + all_by_load[load];
        const double difference = sampled_by_load[load] - all_by_load[load];
        chi_square += sum == 0 ? 0 : difference * difference / sum;
    }
    EXPECT_LT(chi_square, chi_square_6_limit);
    EXPECT_EQ(sampled.count(self_slot), 0U);
}

TEST_F(ALargeCluster, NeverLosesItsOnlyUsefulServerToBadLuck) {
    constexpr MonotonicTime long_ago = now - 10'000'000'000;
    TableFixture mostly_silent{64};
    mostly_silent->set_self(report_of(200, now));
    for (std::uint8_t number = 1; number < servers_count; ++number) {
        mostly_silent->take(report_of(number, number == 23 ? now : long_ago));
    }
    const ChildTally tally = mostly_silent->cells().claim(1);
    for (int count = 0; count < 9; ++count) {
        tally.serving_began();
    }
    const DecisionContext there{request_, *mostly_silent, random_, now};
    const Chain chain = chain_of({{"auto", ""}});

    for (int time = 0; time < 200; ++time) {
        Decision decision;
        decide(chain, there, set_, decision);
        ASSERT_EQ(decision.peers, (std::vector<std::uint32_t>{23}));
    }
}

TEST_F(ALargeCluster, IsNotAskedByAServerWithNothingToDo) {
    const Chain chain = chain_of({{"auto", ""}});

    serve(1);  // the request in question

    EXPECT_TRUE(decided(chain).peers.empty());
    EXPECT_FALSE(decided(chain).no_candidate);
}

TEST_F(ALargeCluster, IsAskedByAServerThatIsBusy) {
    const Chain chain = chain_of({{"auto", ""}});

    serve(20);

    EXPECT_FALSE(decided(chain).peers.empty());
}

}  // namespace
}  // namespace backhand
