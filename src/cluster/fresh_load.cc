#include "cluster/fresh_load.h"

#include <algorithm>

#include "base/random.h"

namespace backhand {

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

bool FreshLoad::supersedes(const FreshLoad& other) const {
    const std::uint32_t ahead = measurement - other.measurement;
    return boot_tag != other.boot_tag || (ahead != 0 && ahead < 0x80000000U);
}

}  // namespace backhand
