// What this host's own forwards to one server tell about it: how long they took, and whether they
// go wrong.
//
// Both are kept by every forwarder for itself.  What a server announces cannot say what lies on the
// way to it, and a server that is in trouble may be the last to know.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/clock.h"

namespace backhand {

// How an attempt to have a peer serve a request ended.
enum class ForwardOutcome : std::uint8_t {
    answered,      // with less than 500
    server_error,  // with a 5xx
    unreachable,   // no connection, or a new one dropped without a byte
    broken,        // an exchange that failed in another way
    timed_out,     // no answer in time
    not_believed,  // sent back, as every request of this server would be
    unjudged,      // nothing learnt: the client went away, or this one request was sent back
};

// A time that fades: a sample, and when it was taken, in one atomic word that is valid when zeroed.
class FadingTime {
public:
    // After so long a sample weighs 1/e.
    static constexpr Nanoseconds memory = std::chrono::seconds{10};

    struct Reading {
        std::uint32_t us = 0;      // 0: no sample yet
        std::uint32_t age_ms = 0;  // of the last sample
    };

    Reading read(MonotonicTime now) const {
        const std::uint64_t word = word_.load(std::memory_order_relaxed);
        return word == 0 ? Reading{} : reading_of(word, now);
    }

    // A higher sample counts at once, a lower one the more the longer ago the last was (peak EWMA,
    // as in Twitter's Finagle).
    void add_peak(Nanoseconds sample, MonotonicTime now);

    void forget() { word_.store(0, std::memory_order_relaxed); }

private:
    static Reading reading_of(std::uint64_t word, MonotonicTime now);
    void replace(std::uint64_t word, double us, MonotonicTime now);

    // bits 63..32: microseconds, at least 1; bits 31..0: milliseconds of the clock.  One attempt to
    // replace it: of two samples at the same moment one may go unheard.
    std::atomic<std::uint64_t> word_{0};
};

// The share of a sample that is left when it is so old: from 1 down to 0.
double share_left(std::uint32_t age_ms);

// What forwarding adds to a request's time: how much longer this host's own forwards took than
// their servers say that forwarded requests take them.  Valid when zeroed.
class MeasuredForwardingCost {
public:
    // A forward took so long; `there` is what its server announces, zero while that is not known.
    void learn(Nanoseconds latency, Nanoseconds there, MonotonicTime now);

    // Fades to zero when nothing is forwarded.
    Nanoseconds read(MonotonicTime now) const;

private:
    struct Mean {
        float us = 0;  // below zero too: single forwards take less than the mean, others more
        std::uint32_t samples = 0;
    };

    // A Mean.  One attempt to replace it: of two forwards that end at the same moment one may go
    // unheard.
    std::atomic<std::uint64_t> mean_{0};
    std::atomic<MonotonicTime> learnt_at_{0};
};

// Consecutive failures and the ejections that follow from them.  Plain data in shared memory, valid
// when zeroed; any process may change it at any time, and a lost race costs a count, no more.
class HealthRecord {
public:
    // So many failures in a row eject a server.
    static constexpr std::uint32_t failures_max = 5;

    // For so long the first time, twice that the second time, and so on, ten times at most.
    static constexpr Nanoseconds ejection_unit = std::chrono::seconds{30};
    static constexpr std::uint32_t ejection_units_max = 10;

    // True if the server is due to be ejected: the caller decides whether it may be.
    bool failed();

    // Ends the row.  A server that does well for as long as it was out begins at the first ejection
    // again.
    void succeeded(MonotonicTime now);

    void eject(MonotonicTime now);

    bool is_ejected(MonotonicTime now) const { return ejected_until() > now; }

    // 0: it never was.
    MonotonicTime ejected_until() const { return ejected_until_.load(std::memory_order_relaxed); }

    std::uint32_t failures_in_a_row() const { return failures_.load(std::memory_order_relaxed); }

    void forget();

private:
    static Nanoseconds length_of(std::uint32_t ejections);

    std::atomic<std::uint64_t> ejected_until_{0};
    std::atomic<std::uint32_t> failures_{0};
    std::atomic<std::uint32_t> ejections_{0};
};

}  // namespace backhand
