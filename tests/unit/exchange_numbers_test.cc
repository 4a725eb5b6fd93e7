// Each number counts once, in whatever order they come.

#include "cluster/exchange_numbers.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace backhand {

namespace {

class TheNumbers : public testing::Test {
protected:
    // Shared memory begins as zeros.
    std::unique_ptr<ExchangeNumbers> owner = std::make_unique<ExchangeNumbers>();
    ExchangeNumbers& numbers = *owner;
};

TEST_F(TheNumbers, CountOnce) {
    EXPECT_TRUE(numbers.take(7));
    EXPECT_FALSE(numbers.take(7));
}

TEST_F(TheNumbers, NeverAreZero) {
    EXPECT_NE(numbers.next(), 0U);
    EXPECT_FALSE(numbers.take(0));
}

TEST_F(TheNumbers, MayOvertakeEachOtherWithinTheWindow) {
    std::vector<std::uint64_t> sent(ExchangeNumbers::window);
    std::iota(sent.begin(), sent.end(), 1000);
    std::shuffle(sent.begin(), sent.end(), std::mt19937{1});

    for (const std::uint64_t number : sent) {
        EXPECT_TRUE(numbers.take(number)) << number;
    }
    for (const std::uint64_t number : sent) {
        EXPECT_FALSE(numbers.take(number)) << number;
    }
}

TEST_F(TheNumbers, AreRefusedWhenTheyAreTooOldToTell) {
    EXPECT_TRUE(numbers.take(1000 + ExchangeNumbers::window));
    EXPECT_FALSE(numbers.take(1000));
}

TEST_F(TheNumbers, RiseWhateverWasForgotten) {
    numbers.begin(5'000);
    const std::uint64_t before = numbers.next();
    numbers.next();
    numbers.begin(6'000);

    EXPECT_GT(numbers.next(), before + 1);
}

TEST_F(TheNumbers, OfAnotherStartBeginAnew) {
    EXPECT_TRUE(numbers.take(7));
    numbers.begin(5'000);
    EXPECT_TRUE(numbers.take(7));
}

TEST_F(TheNumbers, CountOnceForSeveralThreads) {
    constexpr std::uint64_t last = 20'000;
    std::atomic<std::uint64_t> taken = 0;
    const auto take_all = [&] {
        for (std::uint64_t number = 1; number <= last; ++number) {
            taken += numbers.take(number) ? 1 : 0;
        }
    };
    {
        std::vector<std::jthread> threads(4);
        std::generate(threads.begin(), threads.end(), [&] { return std::jthread{take_all}; });
    }
    EXPECT_LE(taken, last);
    EXPECT_GT(taken, 0U);
}

}  // namespace

}  // namespace backhand
