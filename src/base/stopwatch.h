// Stopwatch: how long something takes, measured on every request.
//
// The kernel writes the time straight into members: what a function keeps on its stack for that, and
// guards against overflow, costs more instructions than all the rest.
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>

#include "base/clock.h"

namespace backhand {

class Stopwatch {
public:
    void start() { ::clock_gettime(CLOCK_MONOTONIC, &started_); }

    Nanoseconds stop() {
        ::clock_gettime(CLOCK_MONOTONIC, &stopped_);
        const Nanoseconds took = std::chrono::seconds{stopped_.tv_sec - started_.tv_sec} +
                                 Nanoseconds{stopped_.tv_nsec - started_.tv_nsec};
        return took.count() > 0 ? took : Nanoseconds{0};
    }

    // When it was started, within its second: as good as random.
    std::uint32_t started_ns() const { return static_cast<std::uint32_t>(started_.tv_nsec); }

private:
    timespec started_{};
    timespec stopped_{};
};

}  // namespace backhand
