// MachineMeter against a folder of files that stands in for /proc.
#include "measure/machine.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace backhand {
namespace {

// A moment later than the one before.
MonotonicTime next() {
    static MonotonicTime now = 1'000'000'000'000;
    return now += nanoseconds_in(std::chrono::seconds{1});
}

class AMachineMeter : public testing::Test {
protected:
    AMachineMeter() {
        write("loadavg", "1.25 0.80 0.51 2/388 6064\n");
        write("stat",
              "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 50 0 50 400 0 0 0 0 0 0\n"
              "cpu1 50 0 50 400 0 0 0 0 0 0\nintr 5 6 7\nctxt 8\n");
        write("meminfo",
              "MemTotal:       16384 kB\nMemFree:         1024 kB\n"
              "MemAvailable:    8192 kB\nBuffers:          512 kB\n");
    }

    void TearDown() override { std::filesystem::remove_all(folder_); }

    // Keeps the file's identity, as the kernel does: the meter has it open.
    void write(const std::string& name, const std::string& text) const {
        std::ofstream{folder_ + "/" + name} << text;
    }

    void remove(const std::string& name) const { std::filesystem::remove(folder_ + "/" + name); }

    const std::string& folder() const { return folder_; }

private:
    static std::string make_folder() {
        std::string name = testing::TempDir() + "backhand_proc_XXXXXX";
        EXPECT_NE(::mkdtemp(name.data()), nullptr);
        return name;
    }

    std::string folder_ = make_folder();
};

TEST_F(AMachineMeter, ReadsTheOneMinuteLoad) {
    EXPECT_EQ(MachineMeter{folder()}.sample(next()).load_permille, 1250U);
}

TEST_F(AMachineMeter, ReadsATwoDigitLoadExactly) {
    // 0.29 * 1000 is 289.99... in binary.
    write("loadavg", "64.29 1.00 1.00 1/1 1\n");

    EXPECT_EQ(MachineMeter{folder()}.sample(next()).load_permille, 64'290U);
}

TEST_F(AMachineMeter, KeepsTheLoadWhenTheFileBecomesNonsense) {
    MachineMeter meter{folder()};
    meter.sample(next());

    write("loadavg", "nan 0 0 1/1 1\n");
    EXPECT_EQ(meter.sample(next()).load_permille, 1250U);
    write("loadavg", "-1.00 0 0 1/1 1\n");
    EXPECT_EQ(meter.sample(next()).load_permille, 1250U);
    write("loadavg", "inf 0 0 1/1 1\n");
    EXPECT_EQ(meter.sample(next()).load_permille, 1250U);
    write("loadavg", "");
    EXPECT_EQ(meter.sample(next()).load_permille, 1250U);
}

TEST_F(AMachineMeter, RoundsTheHighestLoadUpToAPowerOfTwo) {
    write("loadavg", "2.01 0 0 1/1 1\n");

    EXPECT_EQ(MachineMeter{folder()}.sample(next()).load_hwm, 4U);
}

TEST_F(AMachineMeter, TakesALoadThatIsAPowerOfTwoAsItIs) {
    write("loadavg", "8.00 0 0 1/1 1\n");

    EXPECT_EQ(MachineMeter{folder()}.sample(next()).load_hwm, 8U);
}

TEST_F(AMachineMeter, HasAHighWaterMarkOfOneWhenIdle) {
    write("loadavg", "0.00 0 0 1/1 1\n");

    EXPECT_EQ(MachineMeter{folder()}.sample(next()).load_hwm, 1U);
}

TEST_F(AMachineMeter, KeepsTheHighWaterMarkWhenTheLoadFalls) {
    MachineMeter meter{folder()};
    write("loadavg", "30.00 0 0 1/1 1\n");
    meter.sample(next());

    write("loadavg", "0.10 0 0 1/1 1\n");
    const MachineSample sample = meter.sample(next());

    EXPECT_EQ(sample.load_permille, 100U);
    EXPECT_EQ(sample.load_hwm, 32U);
}

TEST_F(AMachineMeter, BeginsWithTheIdleShareSinceBoot) {
    EXPECT_EQ(MachineMeter{folder()}.sample(next()).cpu_idle_permille, 800U);
}

TEST_F(AMachineMeter, ReportsTheIdleShareSinceTheSampleBefore) {
    MachineMeter meter{folder()};
    meter.sample(next());

    write("stat", "cpu  175 0 100 825 0 0 0 0 0 0\ncpu0 1 0 1 1 0 0 0 0 0 0\n");

    EXPECT_EQ(meter.sample(next()).cpu_idle_permille, 250U);
}

TEST_F(AMachineMeter, CountsWaitingForTheDiskAsIdle) {
    MachineMeter meter{folder()};
    meter.sample(next());

    write("stat", "cpu  120 0 100 830 50 0 0 0 0 0\n");

    EXPECT_EQ(meter.sample(next()).cpu_idle_permille, 800U);
}

TEST_F(AMachineMeter, CountsTimeTakenByTheHypervisorAsBusy) {
    MachineMeter meter{folder()};
    meter.sample(next());

    write("stat", "cpu  100 0 100 850 0 0 0 50 0 0\n");

    EXPECT_EQ(meter.sample(next()).cpu_idle_permille, 500U);
}

TEST_F(AMachineMeter, CountsGuestTimeOnce) {
    MachineMeter meter{folder()};
    meter.sample(next());

    write("stat", "cpu  150 0 100 850 0 0 0 0 50 0\n");

    EXPECT_EQ(meter.sample(next()).cpu_idle_permille, 500U);
}

TEST_F(AMachineMeter, RepeatsTheIdleShareWhenTheClockHasNotTicked) {
    MachineMeter meter{folder()};
    meter.sample(next());

    EXPECT_EQ(meter.sample(next()).cpu_idle_permille, 800U);
}

TEST_F(AMachineMeter, PassesOverASampleInWhichIdleTimeIsTakenBack) {
    MachineMeter meter{folder()};
    meter.sample(next());

    write("stat", "cpu  200 0 100 790 0 0 0 0 0 0\n");
    EXPECT_EQ(meter.sample(next()).cpu_idle_permille, 800U);
    write("stat", "cpu  210 0 100 820 0 0 0 0 0 0\n");
    EXPECT_EQ(meter.sample(next()).cpu_idle_permille, 750U);
}

TEST_F(AMachineMeter, UnderstandsACpuLineWithoutTheNewerColumns) {
    write("stat", "cpu 10 0 10 20\ncpu0 10 0 10 20\n");

    EXPECT_EQ(MachineMeter{folder()}.sample(next()).cpu_idle_permille, 500U);
}

TEST_F(AMachineMeter, KeepsTheIdleShareWhenTheCpuLineIsNonsense) {
    MachineMeter meter{folder()};
    meter.sample(next());

    write("stat", "cpu 10 0 ten 20\n");
    EXPECT_EQ(meter.sample(next()).cpu_idle_permille, 800U);
    write("stat", "cpu 10 0 10\n");
    EXPECT_EQ(meter.sample(next()).cpu_idle_permille, 800U);
    write("stat", "cpus 10 0 10 10\n");
    EXPECT_EQ(meter.sample(next()).cpu_idle_permille, 800U);
}

TEST_F(AMachineMeter, CountsTheCpusThatAreOnline) {
    MachineMeter meter{folder()};
    EXPECT_EQ(meter.sample(next()).cpus_permille, 2000U);

    write("stat",
          "cpu  200 0 200 900 0 0 0 0 0 0\ncpu0 1 0 1 1 0 0 0 0 0 0\n"
          "cpu2 1 0 1 1 0 0 0 0 0 0\ncpu3 1 0 1 1 0 0 0 0 0 0\nintr 5\n");
    EXPECT_EQ(meter.sample(next()).cpus_permille, 3000U);
}

TEST_F(AMachineMeter, ReadsTheMemory) {
    const MachineSample sample = MachineMeter{folder()}.sample(next());

    EXPECT_EQ(sample.memory_total_bytes, 16'384U * 1024);
    EXPECT_EQ(sample.memory_available_bytes, 8'192U * 1024);
}

TEST_F(AMachineMeter, ReadsMemoryBeyondWhatFitsInto32Bits) {
    write("meminfo", "MemTotal:       1073741824 kB\nMemAvailable:    2097153 kB\n");

    const MachineSample sample = MachineMeter{folder()}.sample(next());

    EXPECT_EQ(sample.memory_total_bytes, 1'099'511'627'776U);
    EXPECT_EQ(sample.memory_available_bytes, 2'147'484'672U);
}

TEST_F(AMachineMeter, KeepsTheMemoryWhenTheFileBecomesNonsense) {
    MachineMeter meter{folder()};
    meter.sample(next());

    write("meminfo", "MemTotal: 18446744073709551615 kB\nMemAvailable: 5 MB\n");
    const MachineSample sample = meter.sample(next());

    EXPECT_EQ(sample.memory_total_bytes, 16'384U * 1024);
    EXPECT_EQ(sample.memory_available_bytes, 8'192U * 1024);
}

TEST_F(AMachineMeter, WorksWithoutAnyFile) {
    const MachineSample sample = MachineMeter{folder() + "/missing"}.sample(next());

    EXPECT_EQ(sample.load_permille, 0U);
    EXPECT_EQ(sample.load_hwm, 1U);
    EXPECT_EQ(sample.cpu_idle_permille, 0U);
    EXPECT_EQ(sample.cpus_permille, 1000U);
    EXPECT_EQ(sample.memory_total_bytes, 0U);
}

TEST_F(AMachineMeter, KeepsReadingTheFilesThatAreThere) {
    remove("meminfo");

    EXPECT_EQ(MachineMeter{folder()}.sample(next()).load_permille, 1250U);
}

TEST_F(AMachineMeter, FindsAFileThatAppearsLater) {
    remove("loadavg");
    MachineMeter meter{folder()};
    EXPECT_EQ(meter.sample(next()).load_permille, 0U);

    write("loadavg", "3.00 0 0 1/1 1\n");
    EXPECT_EQ(meter.sample(next()).load_permille, 3000U);
}

TEST(TheMachineBelow, IsReadSensibly) {
    MachineMeter meter;
    meter.sample(next());
    const MachineSample sample = meter.sample(next());

    EXPECT_GE(sample.cpus_permille, 1U);
    EXPECT_LE(sample.cpu_idle_permille, 1000U);
    EXPECT_GT(sample.memory_total_bytes, 1U << 20U);
    EXPECT_GT(sample.memory_available_bytes, 0U);
    EXPECT_LE(sample.memory_available_bytes, sample.memory_total_bytes);
}

}  // namespace
}  // namespace backhand
