#include "measure/service_meter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace backhand {

namespace {

// Looking more often than this would only measure noise.
constexpr Nanoseconds measure_every = std::chrono::milliseconds{100};
constexpr Nanoseconds age_every = std::chrono::seconds{1};

double seconds_in(Nanoseconds duration) {
    return std::chrono::duration<double>{duration}.count();
}

std::uint32_t rounded(double value) {
    constexpr double most = std::numeric_limits<std::uint32_t>::max();
    return static_cast<std::uint32_t>(std::lround(std::clamp(value, 0.0, most)));
}

std::uint32_t microseconds(std::optional<Nanoseconds> duration) {
    return duration ? rounded(seconds_in(*duration) * 1e6) : 0;
}

// The sums only rise; another table begins at zero again.
std::uint64_t risen(std::uint64_t before, std::uint64_t now) {
    return now >= before ? now - before : now;
}

}  // namespace

void ServiceMeter::measure(const Served& served, LatencyByLoad& latency, std::uint32_t in_flight,
                           MonotonicTime now, LoadReport& load) {
    if (elapsed(measured_at_, now) >= measure_every) {
        advance(served, now);
    }
    if (elapsed(aged_at_, now) >= age_every) {
        aged_at_ = now;
        latency.age();
    }
    load.request_rate_millihertz = rounded(requests_hertz_ * 1000);
    load.error_rate_millihertz = rounded(errors_hertz_ * 1000);
    load.latency_us = rounded(latency_.us());
    load.latency_proxied_us = rounded(proxied_.us());
    load.latency_p99_us = microseconds(latency.quantile(0.99));
    load.latency_at_load_us = microseconds(latency.median_at(in_flight + 1));
    load.forwarded_total = served.forwarded;
}

void ServiceMeter::advance(const Served& served, MonotonicTime now) {
    const bool first = measured_at_ == 0;
    const Nanoseconds passed = elapsed(measured_at_, now);
    measured_at_ = now;
    const Served before = std::exchange(before_, served);
    if (first) {
        return;
    }
    const double weight = 1 - std::exp(-seconds_in(passed) / seconds_in(memory));
    const std::uint64_t count = risen(before.count, served.count);
    const std::uint64_t errors = risen(before.errors, served.errors);
    const std::uint64_t proxied = risen(before.proxied, served.proxied);
    const auto per_second = [passed](std::uint64_t events) {
        return static_cast<double>(events) / seconds_in(passed);
    };
    requests_hertz_ += weight * (per_second(count) - requests_hertz_);
    errors_hertz_ += weight * (per_second(errors) - errors_hertz_);
    latency_.add(risen(before.took_ns, served.took_ns), count - std::min(errors, count), weight);
    proxied_.add(risen(before.proxied_took_ns, served.proxied_took_ns), proxied, weight);
}

// Where nothing happened, nothing is learnt.
void ServiceMeter::MeanTime::add(std::uint64_t sum_ns, std::uint64_t count, double weight) {
    if (count == 0) {
        return;
    }
    const double seen_us = static_cast<double>(sum_ns) / 1000 / static_cast<double>(count);
    us_ += (any_ ? weight : 1) * (seen_us - us_);
    any_ = true;
}

}  // namespace backhand
