// One line a second at most, whatever is sent.
#include "moderator/drop_log.h"

#include <chrono>
#include <string>

#include <gtest/gtest.h>

namespace backhand {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr MonotonicTime start = 1'000'000'000'000;

constexpr MonotonicTime after(Nanoseconds pause) {
    return start + nanoseconds_in(pause);
}

struct ADropLog : testing::Test {
    void drop(Counter reason, int times = 1, const char* from = "10.0.0.7") {
        for (int time = 0; time < times; ++time) {
            drops.note(reason, *IpAddress::parse(from));
        }
    }

    std::string line_after(Nanoseconds pause) { return drops.line(after(pause)).value_or("none"); }

    DropLog drops;
};

TEST_F(ADropLog, HasNothingToSayWhenNothingWasDropped) {
    EXPECT_EQ(line_after(seconds{0}), "none");
    EXPECT_EQ(line_after(seconds{3600}), "none");
}

TEST_F(ADropLog, SaysAtOnceWhatWasDroppedFirst) {
    drop(Counter::datagrams_forged);

    EXPECT_EQ(line_after(seconds{0}), "dropped announcements: 1 forged; the last from 10.0.0.7");
}

TEST_F(ADropLog, SaysItOnce) {
    drop(Counter::datagrams_forged);
    line_after(seconds{0});

    EXPECT_EQ(line_after(seconds{5}), "none");
}

TEST_F(ADropLog, AddsUpWhatIsDroppedWithinASecond) {
    drop(Counter::datagrams_forged);
    line_after(seconds{0});

    drop(Counter::datagrams_forged, 2);
    EXPECT_EQ(line_after(milliseconds{500}), "none");
    drop(Counter::datagrams_forged, 3);
    EXPECT_EQ(line_after(milliseconds{999}), "none");

    EXPECT_EQ(line_after(seconds{1}), "dropped announcements: 5 forged; the last from 10.0.0.7");
}

TEST_F(ADropLog, WritesOneLineASecondHoweverMuchIsDropped) {
    int lines = 0;
    for (int ms = 0; ms < 10'000; ++ms) {
        drop(Counter::datagrams_unsigned);
        lines += drops.line(after(milliseconds{ms})) ? 1 : 0;
    }

    EXPECT_EQ(lines, 10);
}

TEST_F(ADropLog, NamesEveryReasonWithoutItsPrefixAndTheLastSender) {
    drop(Counter::datagrams_from_stranger, 70'000, "10.0.0.8");
    drop(Counter::datagrams_of_unknown_key, 2, "10.0.0.9");
    drop(Counter::datagrams_malformed, 1, "2001:db8::1");
    drop(Counter::datagrams_of_unknown_key, 1, "2001:db8::2");

    EXPECT_EQ(line_after(seconds{0}),
              "dropped announcements: 70000 from_stranger, 3 of_unknown_key, 1 malformed; the last "
              "from 2001:db8::2");
}

TEST_F(ADropLog, BeginsAnewAfterEachLine) {
    drop(Counter::datagrams_forged, 9);
    line_after(seconds{0});
    drop(Counter::datagrams_short);

    EXPECT_EQ(line_after(seconds{2}), "dropped announcements: 1 short; the last from 10.0.0.7");
}

TEST_F(ADropLog, IsNotConfusedByAClockThatStandsStill) {
    drop(Counter::datagrams_forged);
    line_after(seconds{0});
    drop(Counter::datagrams_forged);

    EXPECT_EQ(line_after(seconds{0}), "none");
}

}  // namespace
}  // namespace backhand
