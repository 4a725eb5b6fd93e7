#include "sim/distribution.h"

#include <cmath>
#include <numbers>

namespace backhand::sim {

namespace {

// E[max(0, X)] of a normal X with mean and deviation 1: phi(1) + Phi(1).
constexpr double cut_normal_mean = 1.0833154705876864;

// Box and Muller, of which one half is thrown away: no state between draws.
double standard_normal(Random& random) {
    const double radius = std::sqrt(-2 * std::log1p(-random.fraction()));
    return radius * std::cos(2 * std::numbers::pi * random.fraction());
}

double pareto_mean(double alpha, double ratio) {
    const double squeeze = 1 - std::pow(ratio, -alpha);
    if (alpha == 1) {
        return std::log(ratio) / squeeze;
    }
    return alpha / squeeze * (1 - std::pow(ratio, 1 - alpha)) / (alpha - 1);
}

}  // namespace

Distribution::Distribution(Kind kind, double mean, double shape, double ratio)
    : kind_(kind),
      mean_(mean),
      shape_(shape) {
    switch (kind) {
        case Kind::fixed:
        case Kind::exponential:
            scale_ = mean;
            break;
        case Kind::lognormal:
            scale_ = mean * std::exp(-shape * shape / 2);
            break;
        case Kind::bounded_pareto:
            scale_ = mean / pareto_mean(shape, ratio);  // the shortest
            squeeze_ = 1 - std::pow(ratio, -shape);
            break;
        case Kind::normal:
            scale_ = mean / cut_normal_mean;
            break;
        case Kind::hyperexponential:
            scale_ = mean;
            squeeze_ = (1 + std::sqrt((shape - 1) / (shape + 1))) / 2;
            break;
    }
}

double Distribution::exponential_of(double mean, Random& random) {
    return -mean * std::log1p(-random.fraction());
}

double Distribution::draw(Random& random) const {
    switch (kind_) {
        case Kind::fixed:
            return scale_;
        case Kind::exponential:
            return exponential_of(scale_, random);
        case Kind::lognormal:
            return scale_ * std::exp(shape_ * standard_normal(random));
        case Kind::bounded_pareto:
            return scale_ * std::pow(1 - random.fraction() * squeeze_, -1 / shape_);
        case Kind::normal:
            return scale_ * std::fmax(0.0, 1 + standard_normal(random));
        case Kind::hyperexponential: {
            const double chance = random.fraction() < squeeze_ ? squeeze_ : 1 - squeeze_;
            return exponential_of(scale_ / (2 * chance), random);
        }
    }
    return scale_;
}

}  // namespace backhand::sim
