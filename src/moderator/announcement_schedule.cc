#include "moderator/announcement_schedule.h"

namespace backhand {

bool AnnouncementSchedule::is_due(InFlight in_flight, Nanoseconds interval,
                                  MonotonicTime now) const {
    return now >= due_at_ ||
           (is_worth_it(in_flight) && elapsed(announced_at_, now) >= interval / early_factor);
}

void AnnouncementSchedule::announced(InFlight in_flight, Nanoseconds pause, MonotonicTime now) {
    announced_at_ = now;
    due_at_ = now + nanoseconds_in(pause);
    announced_ = in_flight;
}

bool AnnouncementSchedule::is_worth_it(InFlight in_flight) const {
    const std::uint32_t before = announced_.serving;
    const std::uint32_t serving = in_flight.serving;
    const bool idle_changed = (serving == 0) != (before == 0);
    return idle_changed || serving >= 2 * before + 2 || 2 * serving + 2 <= before;
}

}  // namespace backhand
