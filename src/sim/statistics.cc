#include "sim/statistics.h"

#include <array>
#include <cmath>
#include <vector>

namespace backhand::sim {

double student_t(std::size_t degrees) {
    constexpr std::array<double, 30> table = {
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
        2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
        2.080,  2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
    if (degrees == 0) {
        return 0;
    }
    // Beyond the table, the first term of Cornish and Fisher's expansion.
    return degrees <= table.size() ? table[degrees - 1]
                                   : 1.95996 + 2.3723 / static_cast<double>(degrees);
}

Estimate estimate(std::span<const double> values) {
    if (values.empty()) {
        return {};
    }
    const auto count = static_cast<double>(values.size());
    double sum = 0;
    for (const double value : values) {
        sum += value;
    }
    const double mean = sum / count;
    double squares = 0;
    for (const double value : values) {
        squares += (value - mean) * (value - mean);
    }
    if (values.size() == 1) {
        return {.mean = mean, .half_width = 0};
    }
    const double deviation = std::sqrt(squares / (count - 1));
    return {.mean = mean,
            .half_width = student_t(values.size() - 1) * deviation / std::sqrt(count)};
}

Estimate estimate_difference(std::span<const double> one, std::span<const double> other) {
    std::vector<double> differences;
    differences.reserve(one.size());
    for (std::size_t index = 0; index < one.size(); ++index) {
        differences.push_back(one[index] - other[index]);
    }
    return estimate(differences);
}

}  // namespace backhand::sim
