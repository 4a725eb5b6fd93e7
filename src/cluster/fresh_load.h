// FreshLoad: the newest two numbers about a server, however they arrived, in one word, so that
// processes can replace it without a lock.
//
//     bits 63..32  measurement: the low half of LoadReport::measurement
//     bits 31..24  boot_tag: which start of that server the number is of
//     bits 23..12  serving        } at most count_max
//     bits 11..0   workers_idle   }
#pragma once

#include <cstdint>

namespace backhand {

struct FreshLoad {
    static constexpr std::uint32_t count_max = 0xFFF;

    std::uint32_t measurement = 0;
    std::uint8_t boot_tag = 0;
    std::uint16_t serving = 0;
    std::uint16_t workers_idle = 0;

    // Counts above count_max are cut to it.
    static FreshLoad of(std::uint64_t boot_id, std::uint64_t measurement, std::uint32_t serving,
                        std::uint32_t workers_idle);
    static std::uint8_t tag_of(std::uint64_t boot_id);

    std::uint64_t pack() const {
        return std::uint64_t{measurement} << measurement_shift |
               std::uint64_t{boot_tag} << boot_tag_shift |
               (std::uint64_t{serving} & count_max) << serving_shift |
               (std::uint64_t{workers_idle} & count_max);
    }

    // Here, because decisions do it for every server.
    static FreshLoad unpack(std::uint64_t word) {
        return {.measurement = static_cast<std::uint32_t>(word >> measurement_shift),
                .boot_tag = static_cast<std::uint8_t>(word >> boot_tag_shift),
                .serving = static_cast<std::uint16_t>(word >> serving_shift & count_max),
                .workers_idle = static_cast<std::uint16_t>(word & count_max)};
    }

    // Of another start, or measured later.  Measurement numbers wrap: later means less than half
    // the range ahead (RFC 1982).
    bool supersedes(const FreshLoad& other) const;

private:
    static constexpr unsigned measurement_shift = 32;
    static constexpr unsigned boot_tag_shift = 24;
    static constexpr unsigned serving_shift = 12;
};

}  // namespace backhand
