#include "cluster/own_forwards.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace backhand {

namespace {

constexpr double us_max = 4'000'000'000.0;

// The mean forwarding cost is that of up to so many forwards; then each new one weighs as much as
// one of so many.  Fewer would show a cost where there is none: times vary as much as they are
// long.
constexpr std::uint32_t cost_samples_memory = 256;

// Wraps after 49 days: differences are taken modulo that.
std::uint32_t ms_of(MonotonicTime now) {
    return static_cast<std::uint32_t>(now / 1'000'000);
}

}  // namespace

double share_left(std::uint32_t age_ms) {
    return std::exp(-static_cast<double>(age_ms) /
                    std::chrono::duration<double, std::milli>(FadingTime::memory).count());
}

FadingTime::Reading FadingTime::reading_of(std::uint64_t word, MonotonicTime now) {
    const std::uint32_t age_ms = ms_of(now) - static_cast<std::uint32_t>(word);
    // Another processor's clock may be a little ahead.
    const bool ahead = age_ms > std::numeric_limits<std::uint32_t>::max() / 2;
    return {.us = static_cast<std::uint32_t>(word >> 32U), .age_ms = ahead ? 0 : age_ms};
}

void FadingTime::add_peak(Nanoseconds sample, MonotonicTime now) {
    const std::uint64_t word = word_.load(std::memory_order_relaxed);
    const Reading before = read(now);
    const double us = us_in(sample);
    const double left = share_left(before.age_ms);
    const bool counts_at_once = before.us == 0 || us >= before.us;
    replace(word, counts_at_once ? us : us + (before.us - us) * left, now);
}

void FadingTime::replace(std::uint64_t word, double us, MonotonicTime now) {
    const auto whole = static_cast<std::uint64_t>(std::clamp(us, 1.0, us_max));
    word_.compare_exchange_strong(word, whole << 32U | ms_of(now), std::memory_order_relaxed);
}

void MeasuredForwardingCost::learn(Nanoseconds latency, Nanoseconds there, MonotonicTime now) {
    if (there <= Nanoseconds{0}) {
        return;
    }
    std::uint64_t before = mean_.load(std::memory_order_relaxed);
    Mean mean = std::bit_cast<Mean>(before);
    mean.samples = std::min(mean.samples + 1, cost_samples_memory);
    const auto sample = static_cast<float>(us_in(latency - there));
    mean.us += (sample - mean.us) / static_cast<float>(mean.samples);
    mean_.compare_exchange_strong(before, std::bit_cast<std::uint64_t>(mean),
                                  std::memory_order_relaxed);
    learnt_at_.store(now, std::memory_order_relaxed);
}

Nanoseconds MeasuredForwardingCost::read(MonotonicTime now) const {
    const auto mean = std::bit_cast<Mean>(mean_.load(std::memory_order_relaxed));
    if (mean.us <= 0) {
        return Nanoseconds{0};
    }
    const Nanoseconds age = elapsed(learnt_at_.load(std::memory_order_relaxed), now);
    const auto age_ms =
        std::chrono::duration_cast<std::chrono::duration<std::uint32_t, std::milli>>(
            std::min<Nanoseconds>(age, std::chrono::hours{1}));
    return Nanoseconds{
        static_cast<std::int64_t>(1000.0 * double{mean.us} * share_left(age_ms.count()))};
}

bool HealthRecord::failed() {
    return failures_.fetch_add(1, std::memory_order_relaxed) + 1 >= failures_max;
}

// Every answer comes here: it must find out by reading that there is nothing to do.
void HealthRecord::succeeded(MonotonicTime now) {
    if (failures_.load(std::memory_order_relaxed) != 0) {
        failures_.store(0, std::memory_order_relaxed);
    }
    const std::uint32_t ejections = ejections_.load(std::memory_order_relaxed);
    if (ejections != 0 &&
        elapsed(ejected_until_.load(std::memory_order_relaxed), now) >= length_of(ejections)) {
        ejections_.store(0, std::memory_order_relaxed);
    }
}

void HealthRecord::eject(MonotonicTime now) {
    if (is_ejected(now)) {
        return;  // requests that failed together eject once
    }
    const std::uint32_t ejections = ejections_.fetch_add(1, std::memory_order_relaxed) + 1;
    failures_.store(0, std::memory_order_relaxed);
    ejected_until_.store(now + nanoseconds_in(length_of(ejections)), std::memory_order_relaxed);
}

void HealthRecord::forget() {
    ejected_until_.store(0, std::memory_order_relaxed);
    failures_.store(0, std::memory_order_relaxed);
    ejections_.store(0, std::memory_order_relaxed);
}

Nanoseconds HealthRecord::length_of(std::uint32_t ejections) {
    return ejection_unit * std::min(ejections, ejection_units_max);
}

}  // namespace backhand
