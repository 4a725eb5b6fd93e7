// AnnouncementSchedule: when this server announces itself next.
//
// Once in an interval, and early when something has happened that is worth knowing: the server has
// become idle or busy, or has twice or half as many requests in progress.  However much happens, it
// never announces itself more than five times as often as the interval says.
//
// Takes the time from outside; belongs to the moderator.
#pragma once

#include "base/clock.h"
#include "cluster/child_cells.h"

namespace backhand {

class AnnouncementSchedule {
public:
    static constexpr int early_factor = 5;

    // Asked at every look, with what is in progress then.  The first announcement is due at once.
    bool is_due(InFlight in_flight, Nanoseconds interval, MonotonicTime now) const;

    // The server has announced itself; the next time is due after `pause` unless something happens.
    void announced(InFlight in_flight, Nanoseconds pause, MonotonicTime now);

    // Something has happened that is not seen in the numbers: the next announcement is due at once.
    void hurry() { due_at_ = 0; }

private:
    bool is_worth_it(InFlight in_flight) const;

    MonotonicTime announced_at_ = 0;
    MonotonicTime due_at_ = 0;
    InFlight announced_;
};

}  // namespace backhand
