// Prober: asks servers what they have to do at this moment.
//
// All other news are as old as the last announcement or answer.  Where that is too old, a candidacy
// function may ask a few servers just before it chooses, and pays for it: a system call for each
// question and the time until the answers come.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/clock.h"

namespace backhand {

struct ProbeAnswer {
    std::uint32_t serving = 0;
    std::uint32_t workers_idle = 0;
};

class Prober {
public:
    // Waiting longer costs more than an answer is worth.
    static constexpr Nanoseconds limit{1'000'000};

    Prober() = default;
    Prober(const Prober&) = delete;
    Prober& operator=(const Prober&) = delete;
    virtual ~Prober() = default;

    // Asks the servers in these slots, all at once, and fills answers[i] for slots[i]; nullopt:
    // none came within the limit, or the server does not answer probes. REQUIRES: as many answers
    // as slots.  Called by any thread of a child.
    virtual void ask(std::span<const std::uint32_t> slots,
                     std::span<std::optional<ProbeAnswer>> answers) const = 0;
};

}  // namespace backhand
