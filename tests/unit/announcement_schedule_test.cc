// When a server announces itself, and how often at most.
#include "moderator/announcement_schedule.h"

#include <chrono>
#include <cstdint>

#include <gtest/gtest.h>

namespace backhand {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr MonotonicTime start = 1'000'000'000'000;
constexpr Nanoseconds interval = milliseconds{100};
constexpr Nanoseconds look_every = milliseconds{10};

constexpr MonotonicTime after(Nanoseconds pause) {
    return start + nanoseconds_in(pause);
}

constexpr InFlight serving(std::uint32_t count) {
    return {.serving = count, .forwarding = 0};
}

// A schedule of a server that has announced so many requests at the start.
AnnouncementSchedule announced(std::uint32_t count) {
    AnnouncementSchedule schedule;
    schedule.announced(serving(count), interval, start);
    return schedule;
}

// Whether the number is announced before its time, as soon as it may be.
bool is_worth_announcing(std::uint32_t before, std::uint32_t now) {
    return announced(before).is_due(serving(now), interval, after(interval / 5));
}

TEST(AnAnnouncementSchedule, AnnouncesItselfAtOnceWhenItStarts) {
    EXPECT_TRUE(AnnouncementSchedule{}.is_due(serving(0), interval, start));
}

TEST(AnAnnouncementSchedule, AnnouncesItselfOnceInAnInterval) {
    const AnnouncementSchedule schedule = announced(3);

    EXPECT_FALSE(schedule.is_due(serving(3), interval, after(milliseconds{99})));
    EXPECT_TRUE(schedule.is_due(serving(3), interval, after(milliseconds{100})));
}

TEST(AnAnnouncementSchedule, AnnouncesEarlyThatItHasBecomeBusyOrIdle) {
    EXPECT_TRUE(is_worth_announcing(0, 1));
    EXPECT_TRUE(is_worth_announcing(1, 0));
}

TEST(AnAnnouncementSchedule, AnnouncesEarlyThatItHasTwiceOrHalfAsMuchToDo) {
    EXPECT_TRUE(is_worth_announcing(10, 22));
    EXPECT_TRUE(is_worth_announcing(10, 4));
    EXPECT_FALSE(is_worth_announcing(10, 21));
    EXPECT_FALSE(is_worth_announcing(10, 5));
}

TEST(AnAnnouncementSchedule, WaitsAFifthOfTheIntervalHoweverMuchHappens) {
    const AnnouncementSchedule schedule = announced(0);

    EXPECT_FALSE(schedule.is_due(serving(100), interval, after(milliseconds{19})));
    EXPECT_TRUE(schedule.is_due(serving(100), interval, after(milliseconds{20})));
}

TEST(AnAnnouncementSchedule, DoesNotWaitWithWhatIsUrgent) {
    AnnouncementSchedule schedule = announced(0);

    schedule.hurry();

    EXPECT_TRUE(schedule.is_due(serving(0), interval, after(milliseconds{1})));
}

// How often a server announces itself in ten seconds that changes with every look of its moderator.
int announcements_in_ten_seconds(Nanoseconds of_interval) {
    AnnouncementSchedule schedule;
    int count = 0;
    std::uint32_t in_progress = 0;
    for (Nanoseconds passed{}; passed < seconds{10}; passed += look_every) {
        in_progress = in_progress == 0 ? 1 : 0;
        if (schedule.is_due(serving(in_progress), of_interval, after(passed))) {
            schedule.announced(serving(in_progress), of_interval, after(passed));
            ++count;
        }
    }
    return count;
}

TEST(AServerThatChangesAllTheTime, AnnouncesItselfFiveTimesAsOftenAtMost) {
    EXPECT_LE(announcements_in_ten_seconds(milliseconds{100}), 500);
    EXPECT_LE(announcements_in_ten_seconds(milliseconds{1000}), 50);
    EXPECT_GT(announcements_in_ten_seconds(milliseconds{1000}), 40);
}

}  // namespace
}  // namespace backhand
