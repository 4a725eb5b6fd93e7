// RetryBudget: how many requests may be tried a second time.
//
// When a whole cluster is in trouble, every request that is tried three times makes it worse.  Of
// what is forwarded in the same second, a share may be tried again, and a few in any case.  One
// atomic word in shared memory, for all children: nothing is lost by a process that dies.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/clock.h"

namespace backhand {

struct RetryTerms {
    std::uint32_t percent = 20;  // of the requests forwarded
    std::uint32_t at_least = 3;  // a second, however few are forwarded
};

class RetryBudget {
public:
    // A request is forwarded, for the first time.
    void forwarded(MonotonicTime now) {
        change(now, [](Second& second) {
            second.forwarded = std::min(second.forwarded + 1, count_max);
            return true;
        });
    }

    // True if it may be tried again; that counts as one.
    bool take(const RetryTerms& terms, MonotonicTime now) {
        return change(now, [&terms](Second& second) {
            const std::uint32_t allowed = terms.at_least + second.forwarded * terms.percent / 100;
            if (second.retried >= std::min(allowed, count_max)) {
                return false;
            }
            ++second.retried;
            return true;
        });
    }

private:
    static constexpr std::uint32_t count_max = 0xFFFF;

    struct Second {
        std::uint32_t number = 0;
        std::uint32_t forwarded = 0;
        std::uint32_t retried = 0;
    };

    template <class Change>
    bool change(MonotonicTime now, Change change_it) {
        const auto number = static_cast<std::uint32_t>(now / 1'000'000'000);
        std::uint64_t known = word_.load(std::memory_order_relaxed);
        while (true) {
            Second second{.number = static_cast<std::uint32_t>(known >> 32U),
                          .forwarded = static_cast<std::uint32_t>(known >> 16U) & count_max,
                          .retried = static_cast<std::uint32_t>(known) & count_max};
            // A request that began in an earlier second, or whose process was slow, counts in this.
            if (second.number < number) {
                second = {.number = number};
            }
            if (!change_it(second)) {
                return false;
            }
            const std::uint64_t next = std::uint64_t{second.number} << 32U |
                                       std::uint64_t{second.forwarded} << 16U | second.retried;
            if (word_.compare_exchange_weak(known, next, std::memory_order_relaxed)) {
                return true;
            }
        }
    }

    std::atomic<std::uint64_t> word_;
};

}  // namespace backhand
