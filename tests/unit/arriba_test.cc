// Measuring the speed of a CPU, and keeping the result between starts.
#include "measure/arriba.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "temporary_folder.h"

namespace backhand {
namespace {

using testing::HasSubstr;

Nanoseconds thread_cpu_time() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds{now.tv_sec} + Nanoseconds{now.tv_nsec};
}

TEST(MeasuringArriba, TakesTheCpuTimeThatWasAskedFor) {
    const Nanoseconds before = thread_cpu_time();
    measure_arriba(Milliseconds{40});
    const Nanoseconds used = thread_cpu_time() - before;

    EXPECT_GE(used, Milliseconds{40});
    EXPECT_LT(used, Milliseconds{80});
}

TEST(MeasuringArriba, NeverTakesMuchMoreThanAFifthOfASecond) {
    const Nanoseconds before = thread_cpu_time();
    measure_arriba(std::chrono::hours{1});

    EXPECT_LT(thread_cpu_time() - before, Milliseconds{300});
}

TEST(MeasuringArriba, RunsTheLoopThatItClaimsToRun) {
    const std::uint32_t arriba = measure_arriba(Milliseconds{20});

    // A round takes the time of two dependent operations.  No CPU does 5,000 million of those per
    // second, which a loop that was optimised away would; none that runs httpd does fewer than half
    // a million.
    EXPECT_GT(arriba, 500U);
    EXPECT_LT(arriba, 5'000'000U);
}

TEST(MeasuringArriba, RepeatsItself) {
    const std::uint32_t once = measure_arriba(Milliseconds{50});
    const std::uint32_t again = measure_arriba(Milliseconds{50});

    // Some percent on a quiet machine; tests run beside others.
    EXPECT_LT(std::max(once, again), std::min(once, again) * 3 / 2);
}

// The highest niceness of any thread of this process: the 19th field of proc(5)'s stat.
int highest_niceness() {
    int highest = 0;
    for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
        std::ifstream stat{task.path() / "stat"};
        std::string text;
        std::getline(stat, text);  // nothing, if the thread has just ended
        std::istringstream fields{text.substr(std::min(text.rfind(')') + 2, text.size()))};
        constexpr int fields_before = 16;
        std::string field;
        for (int count = 0; count < fields_before; ++count) {
            fields >> field;
        }
        int niceness = 0;
        fields >> niceness;
        highest = std::max(highest, niceness);
    }
    return highest;
}

TEST(AServersOwnArriba, IsMeasuredInAThreadOfLowestPriorityForWhichNobodyWaits) {
    const Nanoseconds before = thread_cpu_time();
    const OwnArriba arriba{"", [](LogLevel, std::string_view) {}};
    EXPECT_LT(thread_cpu_time() - before, Milliseconds{20});

    int niceness = 0;
    while (arriba.value() == 0) {
        niceness = std::max(niceness, highest_niceness());
        std::this_thread::sleep_for(Milliseconds{1});
    }
    EXPECT_EQ(niceness, 19);
    EXPECT_GT(arriba.value(), 500U);
}

class AnArribaFile : public testing::Test {
protected:
    void write(const std::string& text) const { std::ofstream{path()} << text; }

    std::string text() const {
        std::ifstream file{path()};
        return {std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
    }

    const std::string& folder() const { return folder_.path(); }

    std::string path() const { return folder() + "/arriba"; }

private:
    const TemporaryFolder folder_;
};

TEST_F(AnArribaFile, GivesBackWhatWasSaved) {
    ASSERT_TRUE(save_arriba(path(), "Example CPU @ 2.00GHz", 123'456));

    EXPECT_EQ(load_arriba(path(), "Example CPU @ 2.00GHz"), 123'456U);
}

TEST_F(AnArribaFile, IsReplacedByTheNextSave) {
    ASSERT_TRUE(save_arriba(path(), "a CPU with a long name", 4'000'000'000U));
    ASSERT_TRUE(save_arriba(path(), "B", 2));

    EXPECT_EQ(load_arriba(path(), "B"), 2U);
}

TEST_F(AnArribaFile, LeavesNoOtherFileBehind) {
    ASSERT_TRUE(save_arriba(path(), "A", 1));
    ASSERT_TRUE(save_arriba(path(), "A", 2));

    EXPECT_EQ(std::distance(std::filesystem::directory_iterator{folder()}, {}), 1);
}

TEST_F(AnArribaFile, IsReadableText) {
    ASSERT_TRUE(save_arriba(path(), "Example CPU", 77));

    EXPECT_EQ(text(), "backhand arriba, loop 1\n77\nExample CPU\n");
}

TEST_F(AnArribaFile, IsIgnoredWhenItIsMissing) {
    EXPECT_EQ(load_arriba(path(), "A"), std::nullopt);
}

TEST_F(AnArribaFile, IsIgnoredOnAnotherCpu) {
    ASSERT_TRUE(save_arriba(path(), "A", 1));

    EXPECT_EQ(load_arriba(path(), "A2"), std::nullopt);
    EXPECT_EQ(load_arriba(path(), ""), std::nullopt);
}

TEST_F(AnArribaFile, IsIgnoredWhenItIsEmpty) {
    write("");

    EXPECT_EQ(load_arriba(path(), "A"), std::nullopt);
}

TEST_F(AnArribaFile, IsIgnoredWhenItIsCutShort) {
    write("backhand arriba, loop 1\n77\nA");
    EXPECT_EQ(load_arriba(path(), "A"), std::nullopt);

    write("backhand arriba, loop 1\n77");
    EXPECT_EQ(load_arriba(path(), "A"), std::nullopt);
}

TEST_F(AnArribaFile, IsIgnoredWhenItsNumberIsNone) {
    write("backhand arriba, loop 1\n-77\nA\n");
    EXPECT_EQ(load_arriba(path(), "A"), std::nullopt);

    write("backhand arriba, loop 1\n4294967296\nA\n");
    EXPECT_EQ(load_arriba(path(), "A"), std::nullopt);

    write("backhand arriba, loop 1\n0\nA\n");
    EXPECT_EQ(load_arriba(path(), "A"), std::nullopt);
}

TEST_F(AnArribaFile, IsIgnoredWhenAnotherLoopMadeIt) {
    write("backhand arriba, loop 0\n77\nA\n");

    EXPECT_EQ(load_arriba(path(), "A"), std::nullopt);
}

TEST_F(AnArribaFile, IsIgnoredWhenMoreFollows) {
    write("backhand arriba, loop 1\n77\nA\n\n");

    EXPECT_EQ(load_arriba(path(), "A"), std::nullopt);
}

TEST_F(AnArribaFile, IsIgnoredWhenItIsAFolder) {
    EXPECT_EQ(load_arriba(folder(), "A"), std::nullopt);
}

TEST_F(AnArribaFile, NamesThePathWhenItCannotBeWritten) {
    const Status status = save_arriba(folder() + "/missing/arriba", "A", 1);

    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().kind, Error::Kind::system);
    EXPECT_THAT(status.error().detail, HasSubstr(folder() + "/missing/arriba"));
    EXPECT_THAT(status.error().detail, HasSubstr("No such file or directory"));
}

TEST_F(AnArribaFile, LeavesNothingBehindWhenItCannotBeReplaced) {
    std::filesystem::create_directory(path());

    const Status status = save_arriba(path(), "A", 1);

    EXPECT_FALSE(status);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator{folder()}, {}), 1);
}

TEST_F(AnArribaFile, IsNotWrittenForAnUnknownCpu) {
    const Status status = save_arriba(path(), "", 1);

    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().kind, Error::Kind::refused);
    EXPECT_FALSE(std::filesystem::exists(path()));
}

class ACpuModelName : public AnArribaFile {
protected:
    void write_cpuinfo(const std::string& text) const {
        std::ofstream{folder() + "/cpuinfo"} << text;
    }
};

TEST_F(ACpuModelName, IsThatOfTheFirstCpu) {
    write_cpuinfo(
        "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Example CPU @ 2.00GHz \n"
        "\nprocessor\t: 1\nmodel name\t: Other\n");

    EXPECT_EQ(cpu_model_name(folder()), "Example CPU @ 2.00GHz");
}

TEST_F(ACpuModelName, IsMadeOfNumbersOnArm) {
    write_cpuinfo(
        "processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        "CPU part\t: 0xd0c\n");

    EXPECT_EQ(cpu_model_name(folder()), "implementer 0x41 part 0xd0c");
}

TEST_F(ACpuModelName, IsEmptyWhenTheCpuDoesNotSay) {
    write_cpuinfo("processor\t: 0\nmodel name\t:\n");

    EXPECT_EQ(cpu_model_name(folder()), "");
}

TEST_F(ACpuModelName, IsEmptyWithoutTheFile) {
    EXPECT_EQ(cpu_model_name(folder()), "");
}

}  // namespace
}  // namespace backhand
