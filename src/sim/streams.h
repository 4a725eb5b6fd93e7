// Streams: a generator of random numbers of its own for every purpose.
//
// Two chains are compared under the same arrivals and the same work ("common random numbers"), so
// what one of them draws must not shift what the load draws.
#pragma once

#include <cstdint>

#include "base/random.h"

namespace backhand::sim {

enum class Purpose : std::uint64_t {
    arrivals = 1,
    ingress,
    work,
    decisions,
    references,
    announcing,
    network,
    antagonists,
    thinking,
    quotas,
    asking,
};

constexpr std::uint64_t seed_for(std::uint64_t seed, Purpose purpose, std::uint64_t number = 0) {
    return Random::mix(Random::mix(seed + Random::increment) ^
                       Random::mix(static_cast<std::uint64_t>(purpose) << 32U ^ number));
}

inline Random stream(std::uint64_t seed, Purpose purpose, std::uint64_t number = 0) {
    return Random{seed_for(seed, purpose, number)};
}

}  // namespace backhand::sim
