// Time, taken from outside so that unit tests and the simulator can supply it.
//
// All ages and deadlines are monotonic.  Every process of one machine reads the same clock, which
// is why a time may be put into shared memory; the clock of another machine is never compared
// with ours.
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>

namespace backhand {

using Nanoseconds = std::chrono::nanoseconds;
using Milliseconds = std::chrono::milliseconds;

// Nanoseconds since the machine booted.  0 means "never".
using MonotonicTime = std::uint64_t;

// What std::chrono::steady_clock reads, without the way through the library.
inline MonotonicTime monotonic_now() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<MonotonicTime>(now.tv_sec) * 1'000'000'000U +
           static_cast<MonotonicTime>(now.tv_nsec);
}

constexpr MonotonicTime nanoseconds_in(Nanoseconds duration) {
    return static_cast<MonotonicTime>(duration.count());
}

// Microseconds, parts of them included.
constexpr double us_in(Nanoseconds duration) {
    return std::chrono::duration<double, std::micro>(duration).count();
}

// How long ago `then` was; zero if `then` lies after `now` (two processors may disagree by a
// little).
constexpr Nanoseconds elapsed(MonotonicTime then, MonotonicTime now) {
    return now > then ? Nanoseconds{static_cast<std::int64_t>(now - then)} : Nanoseconds{0};
}

}  // namespace backhand
