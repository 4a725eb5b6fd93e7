// Random numbers for decisions: fast, seedable, and safe to use from every thread of a child.
//
// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
// Its state is a counter, so the shared source is one atomic addition and each decision gets a
// generator of its own.
#pragma once

#include <atomic>
#include <cstdint>

namespace backhand {

class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() { return mix(state_ += increment); }

    // Uniform in [0, bound).  REQUIRES: bound > 0.
    // Multiply-shift (Lemire 2019) without the rejection step: the bias is below bound / 2^32.
    std::uint32_t below(std::uint32_t bound) {
        return static_cast<std::uint32_t>(((next() >> 32U) * bound) >> 32U);
    }

    // Uniform in [0, 1).
    double fraction() { return static_cast<double>(next() >> 11U) * 0x1.0p-53; }

    static constexpr std::uint64_t increment = 0x9E3779B97F4A7C15U;

    static constexpr std::uint64_t mix(std::uint64_t value) {
        value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9U;
        value = (value ^ (value >> 27U)) * 0x94D049BB133111EBU;
        return value ^ (value >> 31U);
    }

private:
    std::uint64_t state_;
};

// One per process; hands every decision its own generator.
class RandomSource {
public:
    explicit RandomSource(std::uint64_t seed) : state_(seed) {}

    Random fork() {
        return Random{Random::mix(state_.fetch_add(Random::increment, std::memory_order_relaxed))};
    }

private:
    std::atomic<std::uint64_t> state_;
};

}  // namespace backhand
