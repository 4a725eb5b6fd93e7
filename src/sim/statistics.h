// Means of replications, with how far they can be trusted.
#pragma once

#include <cstddef>
#include <span>

namespace backhand::sim {

struct Estimate {
    double mean = 0;
    double half_width = 0;  // of the 95 % confidence interval; 0 if there is one value only

    double low() const { return mean - half_width; }

    double high() const { return mean + half_width; }
};

// Student's t: the replications are few, and their deviation is estimated from them.
Estimate estimate(std::span<const double> values);

// Of one minus other, replication by replication: with common random numbers the difference is
// known far better than either.  REQUIRES: equally many.
Estimate estimate_difference(std::span<const double> one, std::span<const double> other);

// The 97.5 % quantile of Student's t with so many degrees of freedom.
double student_t(std::size_t degrees);

}  // namespace backhand::sim
