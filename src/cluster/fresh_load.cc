#include "cluster/fresh_load.h"

#include <algorithm>

#include "base/random.h"

namespace backhand {

namespace {

constexpr unsigned measurement_shift = 32;
constexpr unsigned boot_tag_shift = 24;
constexpr unsigned serving_shift = 12;

}  // namespace

FreshLoad FreshLoad::of(std::uint64_t boot_id, std::uint64_t measurement, std::uint32_t serving,
                        std::uint32_t workers_idle) {
    return {.measurement = static_cast<std::uint32_t>(measurement),
            .boot_tag = tag_of(boot_id),
            .serving = static_cast<std::uint16_t>(std::min(serving, count_max)),
            .workers_idle = static_cast<std::uint16_t>(std::min(workers_idle, count_max))};
}

std::uint8_t FreshLoad::tag_of(std::uint64_t boot_id) {
    return static_cast<std::uint8_t>(Random::mix(boot_id));
}

std::uint64_t FreshLoad::pack() const {
    return std::uint64_t{measurement} << measurement_shift |
           std::uint64_t{boot_tag} << boot_tag_shift |
           (std::uint64_t{serving} & count_max) << serving_shift |
           (std::uint64_t{workers_idle} & count_max);
}

FreshLoad FreshLoad::unpack(std::uint64_t word) {
    return {.measurement = static_cast<std::uint32_t>(word >> measurement_shift),
            .boot_tag = static_cast<std::uint8_t>(word >> boot_tag_shift),
            .serving = static_cast<std::uint16_t>(word >> serving_shift & count_max),
            .workers_idle = static_cast<std::uint16_t>(word & count_max)};
}

bool FreshLoad::supersedes(const FreshLoad& other) const {
    const std::uint32_t ahead = measurement - other.measurement;
    return boot_tag != other.boot_tag || (ahead != 0 && ahead < 0x80000000U);
}

}  // namespace backhand
