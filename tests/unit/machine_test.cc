// MachineMeter against a folder of files that stands in for /proc.
#include "measure/machine.h"

#include <array>
#include <chrono>
#include <optional>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "kernel_tree.h"

namespace backhand {
namespace {

using std::chrono::seconds;

// Two CPUs, 800 of 1,000 ticks idle; no control groups.
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

    void write(const std::string& name, const std::string& text) const {
        tree_.write("/proc/" + name, text);
    }

    void remove(const std::string& name) const { tree_.remove("/proc/" + name); }

    const KernelTree& tree() const { return tree_; }

    // A sample in which everything is read anew, `time` after the one before.
    MachineSample sample(Nanoseconds time = seconds{1}) {
        if (!meter_) {
            meter_.emplace(tree_.proc(), tree_.root());
        }
        now_ += nanoseconds_in(time);
        return meter_->sample(now_);
    }

    // Control groups are looked for, too.
    MachineSample later_sample() { return sample(seconds{10}); }

private:
    KernelTree tree_;
    std::optional<MachineMeter> meter_;
    MonotonicTime now_ = 0;
};

TEST_F(AMachineMeter, ReadsTheOneMinuteLoad) {
    EXPECT_EQ(sample().load_permille, 1250U);
}

TEST_F(AMachineMeter, ReadsATwoDigitLoadExactly) {
    // 0.29 * 1000 is 289.99... in binary.
    write("loadavg", "64.29 1.00 1.00 1/1 1\n");

    EXPECT_EQ(sample().load_permille, 64'290U);
}

TEST_F(AMachineMeter, KeepsTheLoadWhenTheFileBecomesNonsense) {
    sample();

    write("loadavg", "nan 0 0 1/1 1\n");
    EXPECT_EQ(sample().load_permille, 1250U);
    write("loadavg", "-1.00 0 0 1/1 1\n");
    EXPECT_EQ(sample().load_permille, 1250U);
    write("loadavg", "inf 0 0 1/1 1\n");
    EXPECT_EQ(sample().load_permille, 1250U);
    write("loadavg", "");
    EXPECT_EQ(sample().load_permille, 1250U);
}

TEST_F(AMachineMeter, RoundsTheHighestLoadUpToAPowerOfTwo) {
    write("loadavg", "2.01 0 0 1/1 1\n");

    EXPECT_EQ(sample().load_hwm, 4U);
}

TEST_F(AMachineMeter, TakesALoadThatIsAPowerOfTwoAsItIs) {
    write("loadavg", "8.00 0 0 1/1 1\n");

    EXPECT_EQ(sample().load_hwm, 8U);
}

TEST_F(AMachineMeter, HasAHighWaterMarkOfOneWhenIdle) {
    write("loadavg", "0.00 0 0 1/1 1\n");

    EXPECT_EQ(sample().load_hwm, 1U);
}

TEST_F(AMachineMeter, KeepsTheHighWaterMarkWhenTheLoadFalls) {
    write("loadavg", "30.00 0 0 1/1 1\n");
    sample();

    write("loadavg", "0.10 0 0 1/1 1\n");
    const MachineSample newest = sample();

    EXPECT_EQ(newest.load_permille, 100U);
    EXPECT_EQ(newest.load_hwm, 32U);
}

TEST_F(AMachineMeter, BeginsWithTheIdleShareSinceBoot) {
    EXPECT_EQ(sample().cpu_idle_permille, 800U);
}

TEST_F(AMachineMeter, ReportsTheIdleShareSinceTheSampleBefore) {
    sample();

    write("stat", "cpu  175 0 100 825 0 0 0 0 0 0\ncpu0 1 0 1 1 0 0 0 0 0 0\n");

    EXPECT_EQ(sample().cpu_idle_permille, 250U);
}

TEST_F(AMachineMeter, CountsWaitingForTheDiskAsIdle) {
    sample();

    write("stat", "cpu  120 0 100 830 50 0 0 0 0 0\n");

    EXPECT_EQ(sample().cpu_idle_permille, 800U);
}

TEST_F(AMachineMeter, CountsTimeTakenByTheHypervisorAsBusy) {
    sample();

    write("stat", "cpu  100 0 100 850 0 0 0 50 0 0\n");

    EXPECT_EQ(sample().cpu_idle_permille, 500U);
}

TEST_F(AMachineMeter, CountsGuestTimeOnce) {
    sample();

    write("stat", "cpu  150 0 100 850 0 0 0 0 50 0\n");

    EXPECT_EQ(sample().cpu_idle_permille, 500U);
}

TEST_F(AMachineMeter, RepeatsTheIdleShareWhenTheClockHasNotTicked) {
    sample();

    EXPECT_EQ(sample().cpu_idle_permille, 800U);
}

TEST_F(AMachineMeter, PassesOverASampleInWhichIdleTimeIsTakenBack) {
    sample();

    write("stat", "cpu  200 0 100 790 0 0 0 0 0 0\n");
    EXPECT_EQ(sample().cpu_idle_permille, 800U);
    write("stat", "cpu  210 0 100 820 0 0 0 0 0 0\n");
    EXPECT_EQ(sample().cpu_idle_permille, 750U);
}

TEST_F(AMachineMeter, UnderstandsACpuLineWithoutTheNewerColumns) {
    write("stat", "cpu 10 0 10 20\ncpu0 10 0 10 20\n");

    EXPECT_EQ(sample().cpu_idle_permille, 500U);
}

TEST_F(AMachineMeter, KeepsTheIdleShareWhenTheCpuLineIsNonsense) {
    sample();

    write("stat", "cpu 10 0 ten 20\n");
    EXPECT_EQ(sample().cpu_idle_permille, 800U);
    write("stat", "cpu 10 0 10\n");
    EXPECT_EQ(sample().cpu_idle_permille, 800U);
    write("stat", "cpus 10 0 10 10\n");
    EXPECT_EQ(sample().cpu_idle_permille, 800U);
}

TEST_F(AMachineMeter, KeepsTheIdleShareWhenTheCpuLineIsHugeOrCutOff) {
    sample();

    write("stat", "cpu  18446744073709551615 18446744073709551615 1 900 0 0 0 0\n");
    EXPECT_EQ(sample().cpu_idle_permille, 800U);
    write("stat", "cpu  99999999999999999999999 0 100 900 0 0 0 0 0 0\n");
    EXPECT_EQ(sample().cpu_idle_permille, 800U);
    write("stat", "cpu  200 -5 100 900 0 0 0 0 0 0\n");
    EXPECT_EQ(sample().cpu_idle_permille, 800U);
    write("stat", "cpu  200 0 ");
    EXPECT_EQ(sample().cpu_idle_permille, 800U);
    write("stat", "");
    EXPECT_EQ(sample().cpu_idle_permille, 800U);
}

TEST_F(AMachineMeter, CountsTheCpusThatAreOnline) {
    EXPECT_EQ(sample().cpus_permille, 2000U);

    write("stat",
          "cpu  200 0 200 900 0 0 0 0 0 0\ncpu0 1 0 1 1 0 0 0 0 0 0\n"
          "cpu2 1 0 1 1 0 0 0 0 0 0\ncpu3 1 0 1 1 0 0 0 0 0 0\nintr 5\n");
    EXPECT_EQ(sample().cpus_permille, 3000U);
}

TEST_F(AMachineMeter, ReadsTheMemory) {
    const MachineSample newest = sample();

    EXPECT_EQ(newest.memory_total_bytes, 16'384U * 1024);
    EXPECT_EQ(newest.memory_available_bytes, 8'192U * 1024);
}

TEST_F(AMachineMeter, ReadsMemoryBeyondWhatFitsInto32Bits) {
    write("meminfo", "MemTotal:       1073741824 kB\nMemAvailable:    2097153 kB\n");

    const MachineSample newest = sample();

    EXPECT_EQ(newest.memory_total_bytes, 1'099'511'627'776U);
    EXPECT_EQ(newest.memory_available_bytes, 2'147'484'672U);
}

TEST_F(AMachineMeter, KeepsTheMemoryWhenTheFileBecomesNonsense) {
    sample();

    write("meminfo", "MemTotal: 18446744073709551615 kB\nMemAvailable: 5 MB\n");
    const MachineSample newest = sample();

    EXPECT_EQ(newest.memory_total_bytes, 16'384U * 1024);
    EXPECT_EQ(newest.memory_available_bytes, 8'192U * 1024);
}

TEST_F(AMachineMeter, HasNoMemoryAvailableAsLongAsItDoesNotKnowOfHowMuch) {
    write("meminfo", "MemTotal: many kB\nMemAvailable: 5 kB\n");

    EXPECT_EQ(sample().memory_available_bytes, 0U);
}

TEST_F(AMachineMeter, KeepsTheMemoryWhenTheFileIsCutOff) {
    sample();

    write("meminfo", "");
    EXPECT_EQ(sample().memory_total_bytes, 16'384U * 1024);
    write("meminfo", "MemTotal:   ");
    EXPECT_EQ(sample().memory_total_bytes, 16'384U * 1024);
    write("meminfo", "MemTotal: -5 kB\nMemAvailable: lots kB\n");
    const MachineSample newest = sample();
    EXPECT_EQ(newest.memory_total_bytes, 16'384U * 1024);
    EXPECT_EQ(newest.memory_available_bytes, 8'192U * 1024);
}

TEST(AMachineMeterWithoutAnyFile, TakesWhatIsUnknownForOneBusyCpu) {
    MachineMeter meter{testing::TempDir() + "missing", testing::TempDir() + "missing"};
    const MachineSample newest = meter.sample(1);

    EXPECT_EQ(newest.load_permille, 0U);
    EXPECT_EQ(newest.load_hwm, 1U);
    EXPECT_EQ(newest.cpus_permille, 1000U);
    EXPECT_EQ(newest.cpu_idle_permille, 0U);
    EXPECT_EQ(newest.pressure_cpu_permille, 0U);
    EXPECT_EQ(newest.memory_total_bytes, 0U);
    EXPECT_EQ(newest.memory_available_bytes, 0U);
}

TEST_F(AMachineMeter, KeepsReadingTheFilesThatAreThere) {
    remove("meminfo");

    EXPECT_EQ(sample().load_permille, 1250U);
}

TEST_F(AMachineMeter, FindsAFileThatAppearsLater) {
    remove("loadavg");
    EXPECT_EQ(sample().load_permille, 0U);

    write("loadavg", "3.00 0 0 1/1 1\n");
    EXPECT_EQ(sample().load_permille, 0U);
    EXPECT_EQ(later_sample().load_permille, 3000U);
}

TEST_F(AMachineMeter, GivesASampleAgainForATenthOfASecond) {
    sample();
    write("stat", "cpu  175 0 100 825 0 0 0 0 0 0\n");

    EXPECT_EQ(sample(Milliseconds{60}).cpu_idle_permille, 800U);
    EXPECT_EQ(sample(Milliseconds{39}).cpu_idle_permille, 800U);
    EXPECT_EQ(sample(Milliseconds{1}).cpu_idle_permille, 250U);
}

TEST_F(AMachineMeter, GivesASampleAgainWhenItsTimeIsInThePast) {
    sample();
    write("stat", "cpu  175 0 100 825 0 0 0 0 0 0\n");

    EXPECT_EQ(sample(Milliseconds{-500}).cpu_idle_permille, 800U);
}

TEST_F(AMachineMeter, ReadsLoadAndMemoryOnceASecond) {
    sample();
    write("loadavg", "3.00 0.80 0.51 2/388 6064\n");
    write("meminfo", "MemTotal: 16384 kB\nMemAvailable: 1 kB\n");

    EXPECT_EQ(sample(Milliseconds{900}).load_permille, 1250U);
    const MachineSample newest = sample(Milliseconds{100});
    EXPECT_EQ(newest.load_permille, 3000U);
    EXPECT_EQ(newest.memory_available_bytes, 1024U);
}

// ---- affinity and cpusets ----

// Four CPUs, of which the first was idle and the others busy.
class AMachineMeterOfFourCpus : public AMachineMeter {
protected:
    AMachineMeterOfFourCpus() {
        write("stat",
              "cpu  300 0 0 100 0 0 0 0 0 0\ncpu0 0 0 0 100 0 0 0 0 0 0\n"
              "cpu1 100 0 0 0 0 0 0 0 0 0\ncpu2 100 0 0 0 0 0 0 0 0 0\n"
              "cpu3 100 0 0 0 0 0 0 0 0 0\nintr 5 6 7\n");
    }

    void allow(const std::string& cpus) const {
        write("self/status", "Name:\thttpd\nCpus_allowed:\tff\nCpus_allowed_list:\t" + cpus +
                                 "\nMems_allowed_list:\t0\n");
    }
};

TEST_F(AMachineMeterOfFourCpus, CountsTheCpusOfItsAffinityOnly) {
    allow("1,3");

    EXPECT_EQ(sample().cpus_permille, 2000U);
}

TEST_F(AMachineMeterOfFourCpus, IsAsIdleAsTheOneCpuItMayUse) {
    allow("0");
    const MachineSample newest = sample();

    EXPECT_EQ(newest.cpus_permille, 1000U);
    EXPECT_EQ(newest.cpu_idle_permille, 1000U);
}

TEST_F(AMachineMeterOfFourCpus, IsAsBusyAsTheOneCpuItMayUse) {
    allow("2");

    EXPECT_EQ(sample().cpu_idle_permille, 0U);
}

TEST_F(AMachineMeterOfFourCpus, CountsIdleTimeOfItsCpusSinceTheSampleBefore) {
    allow("0-1");
    EXPECT_EQ(sample().cpu_idle_permille, 500U);

    write("stat",
          "cpu  300 0 0 300 0 0 0 0 0 0\ncpu0 75 0 0 125 0 0 0 0 0 0\n"
          "cpu1 200 0 0 0 0 0 0 0 0 0\ncpu2 100 0 0 0 0 0 0 0 0 0\n"
          "cpu3 100 0 0 0 0 0 0 0 0 0\n");

    EXPECT_EQ(sample().cpu_idle_permille, 125U);
}

TEST_F(AMachineMeterOfFourCpus, MayUseAllWhenItsAffinityNamesMoreThanThereAre) {
    allow("0-127");
    const MachineSample newest = sample();

    EXPECT_EQ(newest.cpus_permille, 4000U);
    EXPECT_EQ(newest.cpu_idle_permille, 250U);
}

TEST_F(AMachineMeterOfFourCpus, FollowsItsAffinityWithoutMixingTheCpusTimes) {
    allow("0");
    sample();

    allow("1");
    EXPECT_EQ(sample().cpu_idle_permille, 1000U);
    write("stat",
          "cpu  300 0 0 200 0 0 0 0 0 0\ncpu0 0 0 0 100 0 0 0 0 0 0\n"
          "cpu1 175 0 0 25 0 0 0 0 0 0\n");
    EXPECT_EQ(sample().cpu_idle_permille, 250U);
}

TEST_F(AMachineMeterOfFourCpus, PassesOverASampleInWhichOneOfItsCpusComesOrGoes) {
    allow("0,1,7");
    EXPECT_EQ(sample().cpu_idle_permille, 500U);

    write("stat",
          "cpu  1 0 0 1 0 0 0 0 0 0\ncpu0 0 0 0 100 0 0 0 0 0 0\n"
          "cpu1 100 0 0 0 0 0 0 0 0 0\ncpu2 100 0 0 0 0 0 0 0 0 0\n"
          "cpu7 0 0 0 5000 0 0 0 0 0 0\n");
    const MachineSample newest = sample();

    EXPECT_EQ(newest.cpus_permille, 3000U);
    EXPECT_EQ(newest.cpu_idle_permille, 500U);
}

// A container's /proc/stat may number its CPUs from zero.
TEST_F(AMachineMeterOfFourCpus, CountsAsManyAsItMayUseWhenTheNumbersDoNotMatch) {
    allow("8-9");
    const MachineSample newest = sample();

    EXPECT_EQ(newest.cpus_permille, 2000U);
    EXPECT_EQ(newest.cpu_idle_permille, 250U);
}

TEST_F(AMachineMeterOfFourCpus, KeepsItsAffinityWhenItBecomesNonsense) {
    allow("1,3");
    sample();
    const auto cpus_with = [this](const std::string& list) {
        allow(list);
        return sample().cpus_permille;
    };

    EXPECT_EQ(cpus_with(""), 2000U);
    EXPECT_EQ(cpus_with("-1"), 2000U);
    EXPECT_EQ(cpus_with("3-1"), 2000U);
    EXPECT_EQ(cpus_with("0-"), 2000U);
    EXPECT_EQ(cpus_with("0,,1"), 2000U);
    EXPECT_EQ(cpus_with("all"), 2000U);
    EXPECT_EQ(cpus_with("0-99999999"), 2000U);
    EXPECT_EQ(cpus_with("99999999999999999999999"), 2000U);
    write("self/status", "");
    EXPECT_EQ(sample().cpus_permille, 2000U);
    write("self/status", "Name:\thttpd\nCpus_allowed_li");
    EXPECT_EQ(sample().cpus_permille, 2000U);
}

// ---- control groups ----

// The same machine, in a control group.
class AMachineMeterInAGroup : public AMachineMeterOfFourCpus {
protected:
    AMachineMeterInAGroup() {
        write("self/cgroup", "0::/a/b\n");
        write("self/mountinfo",
              "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
        write_group("/a/b/cgroup.procs", "");
    }

    void write_group(const std::string& path, const std::string& text) const {
        tree().write("/sys/fs/cgroup" + path, text);
    }

    // All four CPUs idle since the beginning.
    void idle_machine(int ticks) const {
        const std::string one = " 0 0 0 " + std::to_string(ticks) + " 0 0 0 0 0 0\n";
        write("stat", "cpu  0 0 0 " + std::to_string(4 * ticks) + " 0 0 0 0 0 0\n" + "cpu0" + one +
                          "cpu1" + one + "cpu2" + one + "cpu3" + one);
    }
};

TEST_F(AMachineMeterInAGroup, MayUseTheWholeMachineWithoutLimits) {
    const MachineSample newest = sample();

    EXPECT_EQ(newest.cpus_permille, 4000U);
    EXPECT_EQ(newest.cpu_idle_permille, 250U);
    EXPECT_EQ(newest.memory_total_bytes, 16'384U * 1024);
    EXPECT_EQ(newest.memory_available_bytes, 8'192U * 1024);
}

TEST_F(AMachineMeterInAGroup, MayUseOneAndAHalfCpusOfItsParentsQuota) {
    write_group("/a/cpu.max", "150000 100000\n");

    EXPECT_EQ(sample().cpus_permille, 1500U);
}

TEST_F(AMachineMeterInAGroup, MayUseNoMoreThanTheMachineHasWhateverTheQuota) {
    write_group("/a/cpu.max", "6400000 100000\n");

    EXPECT_EQ(sample().cpus_permille, 4000U);
}

TEST_F(AMachineMeterInAGroup, MayUseNoMoreThanItsAffinityWhateverTheQuota) {
    write_group("/a/cpu.max", "300000 100000\n");
    allow("0");

    EXPECT_EQ(sample().cpus_permille, 1000U);
}

TEST_F(AMachineMeterInAGroup, MayAlwaysUseSomething) {
    write_group("/a/cpu.max", "1 1000000\n");

    EXPECT_EQ(sample().cpus_permille, 1U);
}

TEST_F(AMachineMeterInAGroup, IsAsIdleAsItsQuotaOnAnIdleMachine) {
    write_group("/a/b/cpu.max", "200000 100000\n");
    write_group("/a/b/cpu.stat", "usage_usec 1000000\n");
    idle_machine(100);
    sample();

    write_group("/a/b/cpu.stat", "usage_usec 2500000\n");
    idle_machine(200);

    EXPECT_EQ(sample().cpu_idle_permille, 250U);
}

TEST_F(AMachineMeterInAGroup, HasNoIdleTimeOnAMachineThatOthersKeepBusy) {
    write_group("/a/b/cpu.max", "200000 100000\n");
    write_group("/a/b/cpu.stat", "usage_usec 1000000\n");
    sample();

    write("stat",
          "cpu  740 0 0 100 0 0 0 0 0 0\ncpu0 0 0 0 100 0 0 0 0 0 0\ncpu1 0 0 0 100 0 0 0 0 0 0\n"
          "cpu2 0 0 0 100 0 0 0 0 0 0\ncpu3 0 0 0 100 0 0 0 0 0 0\n");

    EXPECT_EQ(sample().cpu_idle_permille, 0U);
}

// One of four CPUs is idle, which is half of what it may use.
TEST_F(AMachineMeterInAGroup, IsNoMoreIdleThanTheMachineAllows) {
    write_group("/a/b/cpu.max", "200000 100000\n");
    write_group("/a/b/cpu.stat", "usage_usec 1000000\n");
    sample();

    write("stat",
          "cpu  600 0 0 200 0 0 0 0 0 0\ncpu0 0 0 0 100 0 0 0 0 0 0\ncpu1 0 0 0 100 0 0 0 0 0 0\n"
          "cpu2 0 0 0 100 0 0 0 0 0 0\ncpu3 0 0 0 100 0 0 0 0 0 0\n");

    EXPECT_EQ(sample().cpu_idle_permille, 500U);
}

TEST_F(AMachineMeterInAGroup, BeginsWithTheMachinesIdleShareSinceBoot) {
    write_group("/a/b/cpu.max", "200000 100000\n");
    write_group("/a/b/cpu.stat", "usage_usec 1000000\n");

    EXPECT_EQ(sample().cpu_idle_permille, 500U);
}

TEST_F(AMachineMeterInAGroup, MeasuresByTheQuotaAloneWhereTheMachineTellsNothing) {
    remove("stat");
    write_group("/a/b/cpu.max", "50000 100000\n");
    write_group("/a/b/cpu.stat", "usage_usec 1000000\n");
    sample();
    write_group("/a/b/cpu.stat", "usage_usec 1125000\n");
    const MachineSample newest = sample();

    EXPECT_EQ(newest.cpus_permille, 500U);
    EXPECT_EQ(newest.cpu_idle_permille, 750U);
}

TEST_F(AMachineMeterInAGroup, ReadsLimitsOnceASecond) {
    write_group("/a/cpu.max", "150000 100000\n");
    sample();
    write_group("/a/cpu.max", "50000 100000\n");

    EXPECT_EQ(sample(Milliseconds{900}).cpus_permille, 1500U);
    EXPECT_EQ(sample(Milliseconds{100}).cpus_permille, 500U);
}

TEST_F(AMachineMeterInAGroup, MayUseTheMachineWhenItsQuotaIsRemoved) {
    write_group("/a/cpu.max", "150000 100000\n");
    sample();

    write_group("/a/cpu.max", "max 100000\n");

    EXPECT_EQ(sample().cpus_permille, 4000U);
}

TEST_F(AMachineMeterInAGroup, FollowsTheProcessIntoAnotherGroupWithinTenSeconds) {
    write_group("/a/b/cpu.max", "150000 100000\n");
    write_group("/c/cpu.max", "50000 100000\n");
    sample();

    write("self/cgroup", "0::/c\n");

    EXPECT_EQ(sample(Milliseconds{9900}).cpus_permille, 1500U);
    EXPECT_EQ(sample(Milliseconds{100}).cpus_permille, 500U);
}

TEST_F(AMachineMeterInAGroup, HasTheMemoryOfItsTightestLimit) {
    write_group("/a/b/memory.max", "max\n");
    write_group("/a/memory.max", "4194304\n");
    write_group("/a/memory.current", "4000000\n");
    write_group("/a/memory.stat", "anon 1000000\nfile 3000000\ninactive_file 2900000\n");

    const MachineSample newest = sample();

    EXPECT_EQ(newest.memory_total_bytes, 4'194'304U);
    EXPECT_EQ(newest.memory_available_bytes, 4'194'304U - 1'100'000U);
}

TEST_F(AMachineMeterInAGroup, HasNoMoreMemoryAvailableThanTheMachine) {
    write_group("/a/b/memory.max", "16000000\n");
    write_group("/a/b/memory.current", "1000\n");

    const MachineSample newest = sample();

    EXPECT_EQ(newest.memory_total_bytes, 16'000'000U);
    EXPECT_EQ(newest.memory_available_bytes, 8'192U * 1024);
}

TEST_F(AMachineMeterInAGroup, HasNoMoreMemoryThanTheMachineWhateverTheLimit) {
    write_group("/a/b/memory.max", "68719476736\n");
    write_group("/a/b/memory.current", "1000\n");

    EXPECT_EQ(sample().memory_total_bytes, 16'384U * 1024);
}

TEST_F(AMachineMeterInAGroup, HasNoMoreMemoryAvailableThanInAllWhenItsUseIsUnknown) {
    write_group("/a/b/memory.max", "1000000\n");

    const MachineSample newest = sample();

    EXPECT_EQ(newest.memory_total_bytes, 1'000'000U);
    EXPECT_EQ(newest.memory_available_bytes, 1'000'000U);
}

TEST_F(AMachineMeterInAGroup, HasTheGroupsMemoryWhereTheMachineTellsNothing) {
    remove("meminfo");
    write_group("/a/b/memory.max", "1000000\n");
    write_group("/a/b/memory.current", "300000\n");

    const MachineSample newest = sample();

    EXPECT_EQ(newest.memory_total_bytes, 1'000'000U);
    EXPECT_EQ(newest.memory_available_bytes, 700'000U);
}

// ---- pressure ----

TEST_F(AMachineMeter, ReadsThePressureOfTheMachine) {
    write("pressure/cpu", "some avg10=15.80 avg60=6.83 avg300=3.64 total=3636472454\n");
    write("pressure/memory", "some avg10=0.04 avg60=6.83 avg300=3.64 total=1\nfull avg10=9.00\n");
    write("pressure/io", "some avg10=100.00 avg60=6.83 avg300=3.64 total=1\nfull avg10=9.00\n");

    const MachineSample newest = sample();

    EXPECT_EQ(newest.pressure_cpu_permille, 158U);
    EXPECT_EQ(newest.pressure_memory_permille, 0U);
    EXPECT_EQ(newest.pressure_io_permille, 1000U);
}

TEST_F(AMachineMeter, TakesPressureForNoneWhereTheKernelDoesNotTell) {
    const MachineSample newest = sample();

    EXPECT_EQ(newest.pressure_cpu_permille, 0U);
    EXPECT_EQ(newest.pressure_memory_permille, 0U);
    EXPECT_EQ(newest.pressure_io_permille, 0U);
}

TEST_F(AMachineMeter, DoesNotLookForPressureEachTimeWhereTheKernelDoesNotTell) {
    sample();

    write("pressure/cpu", "some avg10=15.80 avg60=6.83 avg300=3.64 total=3636472454\n");

    EXPECT_EQ(sample().pressure_cpu_permille, 0U);
    EXPECT_EQ(later_sample().pressure_cpu_permille, 158U);
}

TEST_F(AMachineMeter, KeepsThePressureWhenItBecomesNonsense) {
    write("pressure/cpu", "some avg10=15.80 avg60=6.83 avg300=3.64 total=3636472454\n");
    sample();
    const auto pressure_with = [this](const std::string& text) {
        write("pressure/cpu", text);
        return sample().pressure_cpu_permille;
    };

    EXPECT_EQ(pressure_with(""), 158U);
    EXPECT_EQ(pressure_with("some"), 158U);
    EXPECT_EQ(pressure_with("some avg10="), 158U);
    EXPECT_EQ(pressure_with("some avg10=-1.00 avg60=0.00\n"), 158U);
    EXPECT_EQ(pressure_with("some avg10=100.01 avg60=0.00\n"), 158U);
    EXPECT_EQ(pressure_with("some avg10=nan avg60=0.00\n"), 158U);
    EXPECT_EQ(pressure_with("some avg10=inf avg60=0.00\n"), 158U);
    EXPECT_EQ(pressure_with("some avg10=high avg60=0.00\n"), 158U);
    EXPECT_EQ(pressure_with("some avg60=1.00\n"), 158U);
    EXPECT_EQ(pressure_with("full avg10=1.00\n"), 158U);
}

TEST_F(AMachineMeterInAGroup, ReadsThePressureOfItsGroupRatherThanTheMachines) {
    write("pressure/cpu", "some avg10=15.80 avg60=6.83 avg300=3.64 total=1\n");
    write("pressure/io", "some avg10=20.00 avg60=6.83 avg300=3.64 total=1\n");
    write_group("/a/b/cpu.pressure", "some avg10=1.50 avg60=0.00 avg300=0.00 total=1\n");

    const MachineSample newest = sample();

    EXPECT_EQ(newest.pressure_cpu_permille, 15U);
    EXPECT_EQ(newest.pressure_io_permille, 200U);
}

// ---- the real machine ----

TEST(TheMachineBelow, IsReadSensibly) {
    MachineMeter meter;
    meter.sample(1);
    const MachineSample newest = meter.sample(nanoseconds_in(seconds{1}));

    EXPECT_GE(newest.cpus_permille, 1U);
    EXPECT_LE(newest.cpu_idle_permille, 1000U);
    EXPECT_LE(newest.pressure_cpu_permille, 1000U);
    EXPECT_GT(newest.memory_total_bytes, 1U << 20U);
    EXPECT_GT(newest.memory_available_bytes, 0U);
    EXPECT_LE(newest.memory_available_bytes, newest.memory_total_bytes);
}

// A control group of version 1 that bears this process's name, where the machine lets us have one.
class ARealGroup : public testing::Test {
protected:
    void SetUp() override {
        if (!make("") || !make("/inner")) {
            GTEST_SKIP() << "no control group can be made here";
        }
    }

    void TearDown() override {
        for (const char* controller : {"cpu", "cpuacct"}) {
            ::rmdir(folder(controller, "/inner").c_str());
            ::rmdir(folder(controller, "").c_str());
        }
    }

    static std::string folder(const std::string& controller, const std::string& inner) {
        return "/sys/fs/cgroup/" + controller + "/backhand_test_" + std::to_string(::getpid()) +
               inner;
    }

    static bool write(const std::string& path, const std::string& text) {
        const UniqueFd file{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
        return file &&
               ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
    }

    static bool limit(const std::string& inner, int cpus_percent) {
        return write(folder("cpu", inner) + "/cpu.cfs_quota_us",
                     std::to_string(cpus_percent * 1000));
    }

    // What `act` returns in a child process.
    template <class Act>
    static std::optional<MachineSample> in_child(Act act) {
        std::array<int, 2> pipe{};
        if (::pipe(pipe.data()) != 0) {
            return std::nullopt;
        }
        const pid_t child = ::fork();
        if (child == 0) {
            const MachineSample result = act();
            const auto size = ::write(pipe[1], &result, sizeof result);
            ::_exit(size == sizeof result ? 0 : 1);
        }
        ::close(pipe[1]);
        MachineSample result;
        const auto size = ::read(pipe[0], &result, sizeof result);
        ::close(pipe[0]);
        ::waitpid(child, nullptr, 0);
        return size == sizeof result ? std::optional{result} : std::nullopt;
    }

private:
    // Where the two controllers are mounted together, the second folder is the first.
    static bool make(const std::string& inner) {
        ::mkdir(folder("cpuacct", inner).c_str(), 0755);
        ::mkdir(folder("cpu", inner).c_str(), 0755);
        return ::access((folder("cpu", inner) + "/cpu.cfs_quota_us").c_str(), W_OK) == 0 &&
               ::access((folder("cpuacct", inner) + "/cpuacct.usage").c_str(), R_OK) == 0;
    }
};

// Moves the calling process.
bool enter(const std::string& folder) {
    const UniqueFd file{::open((folder + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC)};
    return file && ::write(file.get(), "0", 1) == 1;
}

TEST_F(ARealGroup, HasHardlyAnyIdleTimeWhileItsQuotaIsBurnt) {
    ASSERT_TRUE(limit("/inner", 20));
    const std::string cpu = folder("cpu", "/inner");
    const std::string accounting = folder("cpuacct", "/inner");

    const auto burning = in_child([&] {
        if (!enter(cpu) || !enter(accounting)) {
            return MachineSample{};
        }
        MachineMeter meter;
        MachineSample newest = meter.sample(monotonic_now());
        for (int round = 0; round < 50; ++round) {
            const MonotonicTime start = monotonic_now();
            while (elapsed(start, monotonic_now()) < Milliseconds{110}) {
            }
            newest = meter.sample(monotonic_now());
            if (round > 0 && newest.cpu_idle_permille < 100) {
                break;
            }
        }
        return newest;
    });

    ASSERT_TRUE(burning);
    EXPECT_EQ(burning->cpus_permille, 200U);
    EXPECT_LT(burning->cpu_idle_permille, 100U);
}

TEST_F(ARealGroup, IsLookedForAgainWhenItIsGone) {
    ASSERT_TRUE(limit("", 50));
    ASSERT_TRUE(limit("/inner", 20));
    const std::string outer = folder("cpu", "");
    const std::string inner = folder("cpu", "/inner");

    const auto moved = in_child([&] {
        MonotonicTime now = nanoseconds_in(seconds{1});
        const auto next_sample = [&now](MachineMeter& meter) {
            now += nanoseconds_in(seconds{1});
            return meter.sample(now);
        };
        if (!enter(inner)) {
            return MachineSample{};
        }
        MachineMeter meter;
        if (next_sample(meter).cpus_permille != 200) {
            return MachineSample{};
        }
        if (!enter(outer) || ::rmdir(inner.c_str()) != 0) {
            return MachineSample{};
        }
        next_sample(meter);
        return next_sample(meter);
    });

    ASSERT_TRUE(moved);
    EXPECT_EQ(moved->cpus_permille, 500U);
}

}  // namespace
}  // namespace backhand
