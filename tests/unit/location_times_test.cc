// What is learnt of locations: means that follow, a table that keeps what is used, and processes
// that learn at the same time.
#include "cluster/location_times.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/text.h"

namespace backhand {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr double error_max = 1.0 / 2000;

struct LocationTimesTest : testing::Test {
    LocationTimes times;

    void learn(int count, std::uint64_t key, Nanoseconds took) {
        for (int time = 0; time < count; ++time) {
            times.learn(key, took);
        }
    }

    bool knows(std::uint64_t key, Nanoseconds expected) const {
        const auto mean = times.mean(key);
        return mean && is_about(*mean, expected);
    }

    static bool is_about(Nanoseconds found, Nanoseconds expected) {
        return std::abs(static_cast<double>((found - expected).count())) <=
               error_max * static_cast<double>(expected.count());
    }

    // Keys that all lie in the same set.
    static std::vector<std::uint64_t> rivals(std::size_t count) {
        std::vector<std::uint64_t> keys;
        for (std::uint64_t key = 1; keys.size() < count; ++key) {
            if (LocationTimes::set_of(key) == LocationTimes::set_of(1)) {
                keys.push_back(key);
            }
        }
        return keys;
    }
};

struct ALocation : LocationTimesTest {};

struct TheTableOfLocations : LocationTimesTest {};

struct LearnersAtTheSameTime : LocationTimesTest {};

// ---- the mean of one location ----

TEST_F(ALocation, IsUnknownAtFirst) {
    EXPECT_FALSE(times.mean(1));
}

TEST_F(ALocation, IsUnknownBelowFourSamples) {
    learn(3, 1, milliseconds{5});
    EXPECT_FALSE(times.mean(1));

    learn(1, 1, milliseconds{5});
    EXPECT_TRUE(knows(1, milliseconds{5}));
}

TEST_F(ALocation, HasThePlainMeanOfItsFirstThirtyTwoSamples) {
    for (int took = 1; took <= 32; ++took) {
        times.learn(1, milliseconds{took * took});
    }

    EXPECT_TRUE(knows(1, microseconds{11'440'000 / 32}));
}

TEST_F(ALocation, GivesLaterSamplesAThirtySecondOfTheWeight) {
    learn(32, 1, milliseconds{32});
    learn(1, 1, milliseconds{64});
    EXPECT_TRUE(knows(1, milliseconds{33}));

    learn(1, 1, milliseconds{1});
    EXPECT_TRUE(knows(1, milliseconds{32}));
}

TEST_F(ALocation, FollowsAChangeWithinSomeHundredsOfSamples) {
    learn(1000, 1, milliseconds{100});
    learn(320, 1, microseconds{200});

    ASSERT_TRUE(times.mean(1));
    EXPECT_LT(*times.mean(1), microseconds{205});
}

TEST_F(ALocation, KeepsItsMeanOverAnyNumberOfEqualSamples) {
    learn(100'000, 1, Nanoseconds{1'234'567});

    EXPECT_TRUE(knows(1, Nanoseconds{1'234'567}));
}

TEST_F(ALocation, MayTakeNoTimeAtAll) {
    learn(10, 1, Nanoseconds{0});

    EXPECT_EQ(times.mean(1), Nanoseconds{0});
}

TEST_F(ALocation, CountsNegativeTimesAsNone) {
    learn(5, 1, Nanoseconds{-1});
    learn(5, 1, Nanoseconds::min());

    EXPECT_EQ(times.mean(1), Nanoseconds{0});
}

TEST_F(ALocation, MayTakeHours) {
    learn(10, 1, hours{5});
    EXPECT_TRUE(knows(1, hours{5}));

    learn(100, 2, Nanoseconds::max());
    EXPECT_TRUE(knows(2, LocationTimes::longest));
}

// ---- the table ----

TEST_F(TheTableOfLocations, IsEmptyWhereMemoryIsZero) {
    struct alignas(LocationTimes) Memory {
        std::array<std::byte, sizeof(LocationTimes)> bytes{};
    };

    const auto memory = std::make_unique<Memory>();
    auto& zeroed = reinterpret_cast<LocationTimes&>(*memory);
    EXPECT_FALSE(zeroed.mean(1));

    for (int time = 0; time < 4; ++time) {
        zeroed.learn(1, milliseconds{5});
    }

    ASSERT_TRUE(zeroed.mean(1));
    EXPECT_NEAR(static_cast<double>(zeroed.mean(1)->count()), 5e6, 100);
}

TEST_F(TheTableOfLocations, KeepsManyLocationsApart) {
    for (std::uint64_t key = 1; key <= 1000; ++key) {
        learn(10, key, microseconds{key});
    }

    for (std::uint64_t key = 1; key <= 1000; ++key) {
        EXPECT_TRUE(knows(key, microseconds{key})) << key;
    }
}

TEST_F(TheTableOfLocations, KnowsNothingOfWhatItWasNotTaught) {
    for (std::uint64_t key = 1; key <= 4000; ++key) {
        learn(10, key, milliseconds{1});
    }

    for (std::uint64_t key = 4001; key <= 40'000; ++key) {
        EXPECT_FALSE(times.mean(key)) << key;
    }
}

TEST_F(TheTableOfLocations, TakesKeysWithoutATag) {
    // 0 is no key, but has the tag that empty places have: so may others.
    learn(10, 0, milliseconds{3});

    EXPECT_TRUE(knows(0, milliseconds{3}));
    EXPECT_FALSE(times.mean(1));
}

TEST_F(TheTableOfLocations, SpreadsKeysOverAllSets) {
    std::vector<int> used(LocationTimes::sets_count);
    for (int number = 0; number < 20'000; ++number) {
        const auto key = location_key("www.example.com", "/app" + std::to_string(number), true);
        ++used[LocationTimes::set_of(key)];
    }

    EXPECT_GT(*std::min_element(used.begin(), used.end()), 2);
    EXPECT_LT(*std::max_element(used.begin(), used.end()), 60);
}

TEST_F(TheTableOfLocations, GivesThePlaceOfTheLeastUsedOfASetAway) {
    const auto keys = rivals(LocationTimes::ways_count + 1);
    learn(20, keys[0], milliseconds{1});
    learn(10, keys[1], milliseconds{2});
    learn(20, keys[2], milliseconds{3});
    learn(20, keys[3], milliseconds{4});

    learn(10, keys[4], milliseconds{5});
    EXPECT_FALSE(times.mean(keys[4]));
    learn(4, keys[4], milliseconds{5});

    EXPECT_TRUE(knows(keys[4], milliseconds{5}));
    EXPECT_FALSE(times.mean(keys[1]));
    EXPECT_TRUE(knows(keys[0], milliseconds{1}));
    EXPECT_TRUE(knows(keys[2], milliseconds{3}));
    EXPECT_TRUE(knows(keys[3], milliseconds{4}));
}

TEST_F(TheTableOfLocations, LetsGoOfWhatIsNotUsedAnyMore) {
    const auto keys = rivals(2 * LocationTimes::ways_count);
    for (std::size_t index = 0; index < LocationTimes::ways_count; ++index) {
        learn(1000, keys[index], milliseconds{1});
    }

    for (std::size_t index = LocationTimes::ways_count; index < keys.size(); ++index) {
        learn(300, keys[index], milliseconds{2});
    }

    for (std::size_t index = LocationTimes::ways_count; index < keys.size(); ++index) {
        EXPECT_TRUE(knows(keys[index], milliseconds{2})) << index;
    }
}

TEST_F(TheTableOfLocations, LearnsAnewWhatItHadToForget) {
    const auto keys = rivals(LocationTimes::ways_count + 1);
    for (const std::uint64_t key : keys) {
        learn(10, key, milliseconds{1});
    }
    learn(20, keys.back(), milliseconds{1});

    learn(40, keys.front(), milliseconds{7});

    EXPECT_TRUE(knows(keys.front(), milliseconds{7}));
}

TEST_F(TheTableOfLocations, KeepsTheFrequentThroughAFloodOfTheRare) {
    constexpr std::uint64_t frequent_count = 500;
    Random random{4711};
    std::vector<std::uint64_t> frequent;
    for (std::uint64_t index = 0; index < frequent_count; ++index) {
        frequent.push_back(random.next());
        learn(200, frequent.back(), microseconds{100 + index});
    }

    for (int rare = 0; rare < 100'000; ++rare) {
        times.learn(random.next(), seconds{10});
    }

    std::uint64_t kept = 0;
    for (std::uint64_t index = 0; index < frequent_count; ++index) {
        kept += knows(frequent[index], microseconds{100 + index}) ? 1U : 0U;
    }
    EXPECT_EQ(kept, frequent_count);
}

TEST_F(TheTableOfLocations, KeepsWhatIsUsedNowAndThenThroughAFloodOfTheRare) {
    Random random{42};
    std::vector<std::uint64_t> used;
    for (int index = 0; index < 200; ++index) {
        used.push_back(random.next());
        learn(10, used.back(), milliseconds{1});
    }

    // One request in 1,200 is to each of them, and one in 1,229 a rare one to its set.
    for (int rare = 0; rare < 250'000; ++rare) {
        times.learn(random.next(), seconds{10});
        if (rare % 5 == 0) {
            times.learn(used[static_cast<std::size_t>(rare / 5) % used.size()], milliseconds{1});
        }
    }

    const auto kept = std::count_if(used.begin(), used.end(),
                                    [&](std::uint64_t key) { return knows(key, milliseconds{1}); });
    EXPECT_EQ(kept, 200);
}

TEST_F(TheTableOfLocations, StaysWithinItsMemory) {
    struct Guarded {
        std::array<std::uint64_t, 8> before{};
        LocationTimes times;
        std::array<std::uint64_t, 8> after{};
    };

    const auto guarded = std::make_unique<Guarded>();
    Random random{1};

    for (int index = 0; index < 200'000; ++index) {
        guarded->times.learn(random.next(), microseconds{index});
    }

    EXPECT_EQ(guarded->before, (std::array<std::uint64_t, 8>{}));
    EXPECT_EQ(guarded->after, (std::array<std::uint64_t, 8>{}));
}

// ---- several at once ----

TEST_F(LearnersAtTheSameTime, NeverMixTheirLocations) {
    // More locations than the set has ways, each of which always takes the same time.
    const auto keys = rivals(LocationTimes::ways_count + 3);
    const auto time_of = [](std::size_t index) { return microseconds{100 << index}; };
    std::atomic<int> learning{3};
    std::latch start{3};
    std::vector<std::thread> learners;
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        learners.emplace_back([&, seed] {
            Random random{seed};
            start.arrive_and_wait();
            for (int round = 0; round < 100'000; ++round) {
                // The first ones more often than the last.
                const auto count = static_cast<std::uint32_t>(keys.size());
                const std::size_t index = std::min(random.below(count), random.below(count));
                times.learn(keys[index], time_of(index));
            }
            --learning;
        });
    }

    int wrong = 0;
    while (learning != 0) {
        for (std::size_t index = 0; index < keys.size(); ++index) {
            const auto mean = times.mean(keys[index]);
            wrong += mean && !is_about(*mean, time_of(index)) ? 1 : 0;
        }
    }
    for (std::thread& learner : learners) {
        learner.join();
    }

    EXPECT_EQ(wrong, 0);
}

TEST_F(LearnersAtTheSameTime, AgreeOnALocationTheyShare) {
    std::latch start{3};
    std::vector<std::thread> learners;
    for (int number = 0; number < 3; ++number) {
        learners.emplace_back([&] {
            start.arrive_and_wait();
            for (int round = 0; round < 50'000; ++round) {
                times.learn(1, round < 25'000 ? milliseconds{9} : milliseconds{2});
            }
        });
    }
    for (std::thread& learner : learners) {
        learner.join();
    }

    EXPECT_TRUE(knows(1, milliseconds{2}));
}

// ---- what a location is ----

TEST(TheLocationOf, AFileIsItsDirectory) {
    EXPECT_EQ(location_of("/images/cat.png", false), "/images/");
    EXPECT_EQ(location_of("/images/cats/1.png", false), "/images/cats/");
    EXPECT_EQ(location_of("/images/cats/", false), "/images/cats/");
}

TEST(TheLocationOf, AFileAtTheTopIsTheTop) {
    EXPECT_EQ(location_of("/a.html", false), "/");
    EXPECT_EQ(location_of("/", false), "/");
}

TEST(TheLocationOf, ADeepFileIsTwoSegmentsOfItsDirectory) {
    EXPECT_EQ(location_of("/images/cats/big/1.png", false), "/images/cats/");
    EXPECT_EQ(location_of("/a/b/c/d/e/f", false), "/a/b/");
}

TEST(TheLocationOf, AScriptIsTheScript) {
    EXPECT_EQ(location_of("/slow.php", true), "/slow.php");
    EXPECT_EQ(location_of("/cgi-bin/slow.cgi", true), "/cgi-bin/slow.cgi");
}

TEST(TheLocationOf, AnApplicationsPathIsItsFirstTwoSegments) {
    EXPECT_EQ(location_of("/api/users/123", true), "/api/users");
    EXPECT_EQ(location_of("/api/users/123/posts/7", true), "/api/users");
    EXPECT_EQ(location_of("/api/users", true), "/api/users");
    EXPECT_EQ(location_of("/api/users/", true), "/api/users");
    EXPECT_EQ(location_of("/api/", true), "/api");
    EXPECT_EQ(location_of("/", true), "/");
}

TEST(TheLocationOf, ARequestIsWithoutItsQuery) {
    EXPECT_EQ(location_of("/images/cat.png?size=/big/", false), "/images/");
    EXPECT_EQ(location_of("/slow.php?user=1", true), "/slow.php");
    EXPECT_EQ(location_of("/api/?user=1", true), "/api");
    EXPECT_EQ(location_of("?user=1", true), "");
}

TEST(TheLocationOf, ARequestIsWithoutParameters) {
    EXPECT_EQ(location_of("/shop/cart;jsessionid=A1/x", true), "/shop/cart");
    EXPECT_EQ(location_of("/shop/cart.css;v=2", false), "/shop/");
}

TEST(TheLocationOf, AStrangePathIsPartOfIt) {
    EXPECT_EQ(location_of("", false), "");
    EXPECT_EQ(location_of("", true), "");
    EXPECT_EQ(location_of("*", false), "");
    EXPECT_EQ(location_of("*", true), "*");
    EXPECT_EQ(location_of("////", false), "///");
    EXPECT_EQ(location_of("////", true), "//");
}

TEST(ALocationsKey, IsOfTheLocationAlone) {
    EXPECT_EQ(location_key("a.org", "/images/cats/1.png", false),
              location_key("a.org", "/images/cats/big/2.png?x=1", false));
    EXPECT_EQ(location_key("a.org", "/api/users/1", true),
              location_key("a.org", "/api/users/2", true));
}

TEST(ALocationsKey, TellsSitesPathsAndScriptsApart) {
    EXPECT_NE(location_key("a.org", "/x/1", false), location_key("b.org", "/x/1", false));
    EXPECT_NE(location_key("a.org", "/x/1", false), location_key("a.org", "/y/1", false));
    EXPECT_NE(location_key("a.org", "/1.php", true), location_key("a.org", "/2.php", true));
}

TEST(ALocationsKey, IgnoresCaseInTheSiteOnly) {
    EXPECT_EQ(location_key("WWW.A.org", "/x/1", false), location_key("www.a.ORG", "/x/1", false));
    EXPECT_NE(location_key("a.org", "/x/1", false), location_key("a.org", "/X/1", false));
}

TEST(ALocationsKey, IsTheSameFromTheHashOfTheSite) {
    EXPECT_EQ(location_key(hash_ignoring_case("A.org"), "/x/1", true),
              location_key("a.org", "/x/1", true));
}

TEST(ALocationsKey, IsNeverZero) {
    EXPECT_NE(location_key(std::uint64_t{0}, "", false), 0U);
    EXPECT_NE(location_key("", "", false), 0U);
}

TEST(TheTimeAlone, IsWhatARequestTakesThatSharesItsCpuWithNobody) {
    EXPECT_EQ(time_alone(milliseconds{12}, 3, 1), milliseconds{4});
    EXPECT_EQ(time_alone(milliseconds{12}, 3, 1.5), milliseconds{6});
    EXPECT_EQ(time_alone(milliseconds{12}, 3, 4), milliseconds{12});
    EXPECT_EQ(time_alone(milliseconds{12}, 0, 1), milliseconds{12});
    EXPECT_EQ(time_alone(milliseconds{12}, 3, 0), milliseconds{12});
}

}  // namespace
}  // namespace backhand
