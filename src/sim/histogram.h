// Histogram: durations, of which quantiles are read afterwards.
//
// Buckets are 1/64 of an octave wide, which is 1.1 %, and quantiles are interpolated within one.
// Two histograms of the same kind can be added.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace backhand::sim {

class Histogram {
public:
    void add(std::uint64_t nanoseconds) {
        ++counts_[bucket_of(nanoseconds)];
        ++count_;
        sum_ += static_cast<double>(nanoseconds);
        longest_ = std::max(longest_, nanoseconds);
    }

    void add(const Histogram& other) {
        for (std::size_t bucket = 0; bucket < counts_.size(); ++bucket) {
            counts_[bucket] += other.counts_[bucket];
        }
        count_ += other.count_;
        sum_ += other.sum_;
        longest_ = std::max(longest_, other.longest_);
    }

    std::uint64_t count() const { return count_; }

    double mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

    std::uint64_t longest() const { return longest_; }

    // In nanoseconds; 0 of an empty one.  `q` within 0 .. 1.
    double quantile(double q) const {
        const double wanted = q * static_cast<double>(count_);
        double passed = 0;
        for (std::size_t bucket = 0; bucket < counts_.size(); ++bucket) {
            const auto here = static_cast<double>(counts_[bucket]);
            if (here > 0 && passed + here >= wanted) {
                const double begin = start_of(bucket);
                const double width = start_of(bucket + 1) - begin;
                return std::min(begin + width * (wanted - passed) / here,
                                static_cast<double>(longest_));
            }
            passed += here;
        }
        return static_cast<double>(longest_);
    }

private:
    static constexpr unsigned fine_bits = 6;
    static constexpr std::size_t buckets_count = std::size_t{49 - fine_bits} << fine_bits;

    static std::size_t bucket_of(std::uint64_t value) {
        if (value < (1U << fine_bits)) {
            return value;
        }
        const auto octave = static_cast<unsigned>(std::bit_width(value)) - 1 - fine_bits;
        const std::size_t bucket =
            (static_cast<std::size_t>(octave) << fine_bits) + (value >> octave);
        return std::min(bucket, buckets_count - 1);
    }

    static double start_of(std::size_t bucket) {
        if (bucket < (2U << fine_bits)) {
            return static_cast<double>(bucket);
        }
        const std::size_t octave = (bucket >> fine_bits) - 1;
        const std::size_t fine = (bucket & ((1U << fine_bits) - 1)) + (1U << fine_bits);
        return static_cast<double>(fine) * static_cast<double>(std::uint64_t{1} << octave);
    }

    std::array<std::uint64_t, buckets_count> counts_{};
    std::uint64_t count_ = 0;
    double sum_ = 0;
    std::uint64_t longest_ = 0;
};

}  // namespace backhand::sim
