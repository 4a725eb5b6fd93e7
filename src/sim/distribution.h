// Distribution: how long something takes, drawn anew for each request.
//
// Every kind is scaled to the mean it is given, so that changing the kind does not change the load.
#pragma once

#include <cstdint>
#include <string>

#include "base/random.h"

namespace backhand::sim {

class Distribution {
public:
    enum class Kind : std::uint8_t {
        fixed,
        exponential,
        lognormal,         // shape: sigma of the logarithm
        bounded_pareto,    // shape: alpha; ratio: the longest by the shortest
        normal,            // standard deviation equal to the location, cut at zero (Prequal's)
        hyperexponential,  // two phases with balanced means; shape: squared coefficient of
                           // variation
    };

    Distribution() = default;

    // `mean` in any unit; what is drawn has the same.
    static Distribution fixed(double mean) { return {Kind::fixed, mean, 0, 0}; }

    static Distribution exponential(double mean) { return {Kind::exponential, mean, 0, 0}; }

    static Distribution lognormal(double mean, double sigma) {
        return {Kind::lognormal, mean, sigma, 0};
    }

    static Distribution bounded_pareto(double mean, double alpha, double ratio) {
        return {Kind::bounded_pareto, mean, alpha, ratio};
    }

    static Distribution normal(double mean) { return {Kind::normal, mean, 0, 0}; }

    static Distribution hyperexponential(double mean, double squared_variation) {
        return {Kind::hyperexponential, mean, squared_variation, 0};
    }

    double mean() const { return mean_; }

    double draw(Random& random) const;

    // -mean * ln(1 - u): waiting for the next of many independent events.
    static double exponential_of(double mean, Random& random);

private:
    Distribution(Kind kind, double mean, double shape, double ratio);

    Kind kind_ = Kind::fixed;
    double mean_ = 0;
    double shape_ = 0;
    double scale_ = 0;    // see the constructor
    double squeeze_ = 0;  // bounded Pareto: 1 - ratio^-alpha; hyperexponential: chance of phase one
};

}  // namespace backhand::sim
