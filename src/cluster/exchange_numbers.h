// ExchangeNumbers: the numbers of signed requests between this server and one other, so that each
// counts once.
//
// In shared memory, for all children.  What comes in is remembered by its number's remainder: a
// number counts if it is higher than the last one with the same remainder.  So requests may
// overtake each other as long as fewer than `window` of them are on their way, one atomic exchange
// decides, and a child that dies at any instruction has either taken a number or not.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace backhand {

class ExchangeNumbers {
public:
    static constexpr std::size_t window = 512;

    // Another server, or another start of it: nothing has come from it yet.  Called by the writer
    // of the cluster table.  What is sent to it begins at the time, in nanoseconds: above all that
    // was ever sent to it before, whatever of that has been forgotten here.
    void begin(MonotonicTime now) {
        for (std::atomic<std::uint64_t>& number : received_) {
            number.store(0, std::memory_order_relaxed);
        }
        sent_.store(now, std::memory_order_relaxed);
    }

    // The next request's.  Never 0.
    std::uint64_t next() { return sent_.fetch_add(1, std::memory_order_relaxed) + 1; }

    // False if the number has been taken before, or is so old that this is not known.
    bool take(std::uint64_t number) {
        std::atomic<std::uint64_t>& last = received_[number % window];
        std::uint64_t known = last.load(std::memory_order_relaxed);
        while (number > known) {
            if (last.compare_exchange_weak(known, number, std::memory_order_relaxed)) {
                return true;
            }
        }
        return false;
    }

private:
    std::atomic<std::uint64_t> sent_;
    std::array<std::atomic<std::uint64_t>, window> received_;
};

}  // namespace backhand
