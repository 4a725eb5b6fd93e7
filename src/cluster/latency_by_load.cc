#include "cluster/latency_by_load.h"

namespace backhand {

namespace {

using Histogram = std::array<std::uint64_t, LatencyByLoad::buckets_count>;

std::uint64_t weight_of(const Histogram& histogram) {
    std::uint64_t weight = 0;
    for (const std::uint64_t cell : histogram) {
        weight += cell;
    }
    return weight;
}

// The bucket of the first sample up to and with which there is the share `q` of all: of an even
// number of samples the median is thus the lower of the two in the middle.
std::optional<Nanoseconds> quantile_of(const Histogram& histogram, double q) {
    const double share = q > 0 ? std::min(q, 1.0) : 0.0;  // in this order, NaN becomes 0
    const double wanted = share * static_cast<double>(weight_of(histogram));
    std::uint64_t passed = 0;
    for (std::size_t bucket = 0; bucket < histogram.size(); ++bucket) {
        passed += histogram[bucket];
        if (passed != 0 && static_cast<double>(passed) >= wanted) {
            return LatencyByLoad::middle_of(bucket);
        }
    }
    return std::nullopt;
}

}  // namespace

// A compare-exchange rather than the subtraction of half of what was read: the successor of a
// moderator may already be halving, and both together must not take away more than there is.
//
// Cost: 2,340 loads, which is 147 cache lines, and one exchange for every cell that is not zero.
std::uint64_t LatencyByLoad::age() {
    std::uint64_t taken = 0;
    for (auto& level : cells_) {
        for (std::atomic<std::uint32_t>& cell : level) {
            std::uint32_t count = cell.load(std::memory_order_relaxed);
            while (count != 0 &&
                   !cell.compare_exchange_weak(count, count / 2, std::memory_order_relaxed)) {
            }
            taken += count - count / 2;
        }
    }
    return taken;
}

std::optional<Nanoseconds> LatencyByLoad::median_at(std::uint32_t in_flight) const {
    constexpr std::uint64_t weight_min = std::uint64_t{samples_min} * one_sample;
    const std::size_t level = level_of(in_flight);

    Histogram histogram{};
    std::uint64_t weight = collect(level, histogram);
    for (std::size_t distance = 1; weight < weight_min && distance < levels_count; ++distance) {
        // Both sides at once: samples of one only would lean to its latencies.
        if (level >= distance) {
            weight += collect(level - distance, histogram);
        }
        if (level + distance < levels_count) {
            weight += collect(level + distance, histogram);
        }
    }
    return quantile_of(histogram, 0.5);
}

std::optional<Nanoseconds> LatencyByLoad::quantile(double q) const {
    return quantile_of(collect_all(), q);
}

std::optional<Nanoseconds> LatencyByLoad::mean() const {
    const Histogram histogram = collect_all();
    const std::uint64_t weight = weight_of(histogram);
    if (weight == 0) {
        return std::nullopt;
    }
    // Floating point: the sum of many long requests would not fit 64 bits.
    double sum_ns = 0;
    for (std::size_t bucket = 0; bucket < histogram.size(); ++bucket) {
        sum_ns +=
            static_cast<double>(histogram[bucket]) * static_cast<double>(middle_of(bucket).count());
    }
    return Nanoseconds{static_cast<std::int64_t>(sum_ns / static_cast<double>(weight))};
}

std::uint64_t LatencyByLoad::weight() const {
    return weight_of(collect_all());
}

// Everything is computed from a copy in which each cell was read once.  Samples that arrive
// meanwhile are in it or not; nothing is seen half.
std::uint64_t LatencyByLoad::collect(std::size_t level, Histogram& histogram) const {
    std::uint64_t weight = 0;
    for (std::size_t bucket = 0; bucket < buckets_count; ++bucket) {
        const std::uint32_t count = cells_[level][bucket].load(std::memory_order_relaxed);
        histogram[bucket] += count;
        weight += count;
    }
    return weight;
}

LatencyByLoad::Histogram LatencyByLoad::collect_all() const {
    Histogram histogram{};
    for (std::size_t level = 0; level < levels_count; ++level) {
        collect(level, histogram);
    }
    return histogram;
}

}  // namespace backhand
