// Outcome: what one run of one contestant has given.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "sim/histogram.h"

namespace backhand::sim {

// A stretch of time; requests are put where they arrived.
struct SeriesBin {
    std::uint32_t finished = 0;
    std::uint32_t forwarded = 0;
    std::uint32_t failed = 0;
    double response_sum_ns = 0;
    double longest_ns = 0;
    double in_flight_highest = 0;  // of one server
    double in_flight_mean = 0;
};

struct Outcome {
    Histogram responses;  // of measured requests that were answered
    std::vector<Histogram> by_class;
    std::uint64_t failed = 0;  // measured, no answer or an error
    std::uint64_t unfinished =
        0;                        // measured, still under way at the end: the cluster is overloaded
    std::uint64_t forwarded = 0;  // measured, answered by a peer
    std::uint64_t moved_work = 0;  // forwards begun, whatever became of them
    std::uint64_t decisions = 0;
    std::uint64_t announcements = 0;
    std::uint64_t questions = 0;  // to servers, by those that decided

    // Over the measured stretch of time.
    double seconds = 0;
    double arrivals_per_second = 0;
    double in_system = 0;     // mean number of requests in the system, all servers
    double utilisation = 0;   // of all CPUs
    double work_offered = 0;  // CPUs' worth of work that came, forwarding not counted

    // Herds: at each sample, ten in an announcing interval, is any server above 1.5 times the mean
    // number in progress?  How long was the longest stretch of one server, in intervals?
    double imbalance_longest = 0;
    double imbalance_share = 0;  // of samples in which one was
    // Did the others send them there?  Share of the requests in progress that peers have sent, at
    // servers that are above, and at all.
    double sent_above = 0;
    double sent_at_all = 0;

    std::vector<SeriesBin> series;
    double bin_seconds = 0;

    std::uint64_t fingerprint = 0;  // of every placement and every response time
};

}  // namespace backhand::sim
