// Control groups: where this process's are, and what they say.  Against files that stand in for
// the kernel's.
#include "measure/cgroup.h"

#include <array>
#include <chrono>
#include <csignal>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel_tree.h"

namespace backhand {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr const char* v2_mount =
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

class OwnCgroupsAre : public testing::Test {
protected:
    void make(const std::string& folder) const { tree_.write(folder + "/cgroup.procs", ""); }

    // Paths without what stands before them.
    std::vector<std::string> plain(std::vector<std::string> folders) const {
        for (std::string& folder : folders) {
            EXPECT_TRUE(folder.starts_with(tree_.root()));
            folder.erase(0, tree_.root().size());
        }
        return folders;
    }

    OwnCgroups find(const std::string& cgroup, const std::string& mountinfo) const {
        auto own = find_own_cgroups(cgroup, mountinfo, tree_.root());
        EXPECT_TRUE(own);
        return own.value_or(OwnCgroups{});
    }

    std::vector<std::string> cpu_folders(const std::string& cgroup,
                                         const std::string& mountinfo) const {
        return plain(find(cgroup, mountinfo).cpu.folders);
    }

    const KernelTree& tree() const { return tree_; }

private:
    KernelTree tree_;
};

TEST_F(OwnCgroupsAre, TheProcesssAndAllAboveIt) {
    make("/sys/fs/cgroup/system.slice/apache2.service");

    const OwnCgroups own = find("0::/system.slice/apache2.service\n", v2_mount);

    EXPECT_EQ(own.cpu.version, CgroupVersion::v2);
    EXPECT_THAT(plain(own.cpu.folders),
                ElementsAre("/sys/fs/cgroup/system.slice/apache2.service",
                            "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup"));
    EXPECT_EQ(own.memory.folders, own.cpu.folders);
    EXPECT_EQ(own.pressure_folder, own.cpu.folders.front());
    EXPECT_THAT(own.cpu_usage_folders, IsEmpty());
}

TEST_F(OwnCgroupsAre, TheMountPointForTheTopmostGroup) {
    make("/sys/fs/cgroup");

    EXPECT_THAT(cpu_folders("0::/\n", v2_mount), ElementsAre("/sys/fs/cgroup"));
}

TEST_F(OwnCgroupsAre, FoundInAContainerThatSeesOnlyItsOwnPart) {
    make("/sys/fs/cgroup/web");

    EXPECT_THAT(cpu_folders("0::/docker/abc/web\n",
                            "812 803 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
                ElementsAre("/sys/fs/cgroup/web", "/sys/fs/cgroup"));
}

TEST_F(OwnCgroupsAre, NotThoseOfAContainerWithALongerName) {
    make("/sys/fs/cgroup");
    make("/cg/docker/abcd");

    EXPECT_THAT(cpu_folders("0::/docker/abcd\n",
                            "812 803 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
                            "813 803 0:26 / /cg ro - cgroup2 cgroup rw\n"),
                ElementsAre("/cg/docker/abcd", "/cg/docker", "/cg"));
}

TEST_F(OwnCgroupsAre, FoundWhereMostAncestorsCanBeSeen) {
    make("/sys/fs/cgroup");
    make("/host/docker/abc");

    EXPECT_THAT(cpu_folders("0::/docker/abc\n",
                            "812 803 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
                            "813 803 0:26 / /host ro - cgroup2 cgroup rw\n"),
                ElementsAre("/host/docker/abc", "/host/docker", "/host"));
}

TEST_F(OwnCgroupsAre, LookedForInTheNextMountWhenAnotherIsMountedOverTheFirst) {
    make("/sys/fs/cgroup");

    EXPECT_THAT(cpu_folders("0::/docker/abc\n",
                            "31 23 0:26 / /hidden ro - cgroup2 cgroup rw\n"
                            "32 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
                ElementsAre("/sys/fs/cgroup"));
}

TEST_F(OwnCgroupsAre, TheMountedOneWhenNamesInsideAndOutsideDiffer) {
    make("/sys/fs/cgroup");

    EXPECT_THAT(cpu_folders("0::/garden/good/7\n",
                            "32 23 0:26 /garden/bad/7 /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
                ElementsAre("/sys/fs/cgroup"));
}

// As `unshare --cgroup` leaves it: what is mounted lies above the namespace.
TEST_F(OwnCgroupsAre, TheMountedAncestorWhenTheNamespaceBeginsBelowIt) {
    make("/sys/fs/cgroup");

    EXPECT_THAT(cpu_folders("0::/\n",
                            "58 48 0:38 /../.. /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"),
                ElementsAre("/sys/fs/cgroup"));
}

TEST_F(OwnCgroupsAre, UnknownToAProcessThatHasLeftItsNamespace) {
    make("/sys/fs/cgroup");
    make("/sys/fs/other");

    EXPECT_THAT(cpu_folders("0::/../other\n", v2_mount), IsEmpty());
}

TEST_F(OwnCgroupsAre, NotThoseOfAGroupBelow) {
    make("/sys/fs/cgroup");

    EXPECT_THAT(cpu_folders("0::/a\n", "32 23 0:26 /a/b /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
                IsEmpty());
}

TEST_F(OwnCgroupsAre, FoundByControllerInVersionOne) {
    make("/sys/fs/cgroup/cpu,cpuacct/web");
    make("/sys/fs/cgroup/memory/heap");

    const OwnCgroups own =
        find("5:memory:/heap\n4:cpu,cpuacct:/web\n1:name=systemd:/\n",
             "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
             "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
             "35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 master:2 - cgroup cgroup rw,memory\n");

    EXPECT_EQ(own.cpu.version, CgroupVersion::v1);
    EXPECT_THAT(plain(own.cpu.folders),
                ElementsAre("/sys/fs/cgroup/cpu,cpuacct/web", "/sys/fs/cgroup/cpu,cpuacct"));
    EXPECT_EQ(own.cpu_usage_folders, own.cpu.folders);
    EXPECT_THAT(plain(own.memory.folders),
                ElementsAre("/sys/fs/cgroup/memory/heap", "/sys/fs/cgroup/memory"));
    EXPECT_EQ(own.pressure_folder, "");
}

TEST_F(OwnCgroupsAre, FoundInBothVersionsAtOnce) {
    make("/sys/fs/cgroup/cpu/web");
    make("/sys/fs/cgroup/unified/system.slice");

    const OwnCgroups own = find("1:cpu:/web\n0::/system.slice\n",
                                "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
                                "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");

    EXPECT_EQ(own.cpu.version, CgroupVersion::v1);
    EXPECT_THAT(plain(own.cpu.folders),
                ElementsAre("/sys/fs/cgroup/cpu/web", "/sys/fs/cgroup/cpu"));
    EXPECT_EQ(own.memory.version, CgroupVersion::v2);
    EXPECT_THAT(plain(own.memory.folders),
                ElementsAre("/sys/fs/cgroup/unified/system.slice", "/sys/fs/cgroup/unified"));
    EXPECT_EQ(own.pressure_folder, tree().root() + "/sys/fs/cgroup/unified/system.slice");
}

TEST_F(OwnCgroupsAre, CountedElsewhereWhereAccountingIsAHierarchyOfItsOwn) {
    make("/cg/cpu/web");
    make("/cg/cpuacct/web");
    make("/cg/cpuacct/mail");
    const std::string mounts =
        "32 31 0:29 / /cg/cpu rw - cgroup cgroup rw,cpu\n"
        "33 31 0:30 / /cg/cpuacct rw - cgroup cgroup rw,cpuacct\n";

    EXPECT_THAT(plain(find("2:cpuacct:/web\n1:cpu:/web\n", mounts).cpu_usage_folders),
                ElementsAre("/cg/cpuacct/web", "/cg/cpuacct"));
    EXPECT_THAT(find("2:cpuacct:/\n1:cpu:/web\n", mounts).cpu_usage_folders, IsEmpty());
    EXPECT_THAT(find("2:cpuacct:/mail\n1:cpu:/web\n", mounts).cpu_usage_folders, IsEmpty());
}

TEST_F(OwnCgroupsAre, FoundUnderPathsWithBlanksAndColons) {
    make("/my groups/a:b");

    EXPECT_THAT(cpu_folders("0::/a:b\n", "32 31 0:29 / /my\\040groups rw - cgroup2 none rw\n"),
                ElementsAre("/my groups/a:b", "/my groups"));
}

TEST_F(OwnCgroupsAre, NoneWhereNoneAreMounted) {
    const OwnCgroups own =
        find("1:cpu:/\n0::/\n", "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n");

    EXPECT_THAT(own.cpu.folders, IsEmpty());
    EXPECT_THAT(own.memory.folders, IsEmpty());
    EXPECT_EQ(own.pressure_folder, "");
}

TEST_F(OwnCgroupsAre, UnknownWhenEitherTextIsNonsense) {
    make("/sys/fs/cgroup");
    const auto find_in = [this](const std::string& cgroup, const std::string& mountinfo) {
        return find_own_cgroups(cgroup, mountinfo, tree().root()).has_value();
    };

    EXPECT_TRUE(find_in("0::/\n", v2_mount));
    EXPECT_FALSE(find_in("", v2_mount));
    EXPECT_FALSE(find_in("0::\n", v2_mount));
    EXPECT_FALSE(find_in("0:\n", v2_mount));
    EXPECT_FALSE(find_in("-1::/\n", v2_mount));
    EXPECT_FALSE(find_in("99999999999::/\n", v2_mount));
    EXPECT_FALSE(find_in("group:a:/\n", v2_mount));
    EXPECT_FALSE(find_in("0::/\n", ""));
    EXPECT_FALSE(find_in("0::/\n", "30 23 0:26 / /sys/fs/cgr"));
    EXPECT_FALSE(find_in("0::/\n", "30 23 0:26 / /sys/fs/cgroup rw -\n"));
    EXPECT_FALSE(find_in("0::/\n", "no such - thing\n"));
}

TEST_F(OwnCgroupsAre, CutOffWhereTheyAreNestedBeyondAnyUse) {
    std::string path;
    for (int level = 0; level < 100; ++level) {
        path += "/g";
    }
    make("/sys/fs/cgroup" + path);

    const auto folders = cpu_folders("0::" + path + "\n", v2_mount);

    EXPECT_EQ(folders.size(), 32U);
    EXPECT_EQ(folders.front(), "/sys/fs/cgroup" + path);
}

TEST(ACountRate, IsKnownFromTheSecondCountOn) {
    CountRate rate;

    EXPECT_EQ(rate.take(1000, 100), std::nullopt);
    EXPECT_EQ(rate.take(1050, 200), 0.5);
}

TEST(ACountRate, PassesOverACountThatIsMissing) {
    CountRate rate;
    rate.take(1000, 100);

    EXPECT_EQ(rate.take(std::nullopt, 200), std::nullopt);
    EXPECT_EQ(rate.take(1050, 300), 0.25);
}

TEST(ACountRate, BeginsAnewWhenTheCountFalls) {
    CountRate rate;
    rate.take(1000, 100);

    EXPECT_EQ(rate.take(10, 200), std::nullopt);
    EXPECT_EQ(rate.take(110, 300), 1.0);
}

TEST(ACountRate, SaysNothingOfNoTimeAtAll) {
    CountRate rate;
    rate.take(1000, 100);

    EXPECT_EQ(rate.take(1020, 100), std::nullopt);
    EXPECT_EQ(rate.take(1020, 90), std::nullopt);
    EXPECT_EQ(rate.take(1020, 110), 2.0);
}

// A process in /a/b.
class ACgroupMeter : public testing::Test {
protected:
    ACgroupMeter() {
        tree_.write("/proc/self/cgroup", "0::/a/b\n");
        tree_.write("/proc/self/mountinfo", v2_mount);
        tree_.write("/sys/fs/cgroup/a/b/cgroup.procs", "");
    }

    void write(const std::string& path, const std::string& text) const {
        tree_.write("/sys/fs/cgroup" + path, text);
    }

    void find_and_read() {
        meter_.find();
        read();
    }

    void read() {
        now_ += nanoseconds_in(seconds{1});
        meter_.read_limits_and_memory(buffer_);
        meter_.read_cpu_usage(buffer_, now_);
    }

    const KernelTree& tree() const { return tree_; }

    CgroupMeter& meter() { return meter_; }

private:
    KernelTree tree_;
    CgroupMeter meter_{tree_.proc(), tree_.root()};
    std::array<char, 4096> buffer_{};
    MonotonicTime now_ = 0;
};

// The same in version 1.
class ACgroupMeterOfVersionOne : public ACgroupMeter {
protected:
    ACgroupMeterOfVersionOne() {
        tree().write("/proc/self/cgroup", "3:memory:/a/b\n2:cpu,cpuacct:/a/b\n0::/\n");
        tree().write("/proc/self/mountinfo",
                     "32 31 0:29 / /sys/fs/cgroup rw - cgroup cgroup rw,cpu,cpuacct,memory\n");
    }
};

TEST_F(ACgroupMeter, KnowsNoLimitWhereThereIsNone) {
    write("/a/b/cpu.max", "max 100000\n");
    write("/a/b/memory.max", "max\n");

    find_and_read();

    EXPECT_EQ(meter().cpus(), std::nullopt);
    EXPECT_EQ(meter().cpus_unused(), std::nullopt);
    EXPECT_EQ(meter().memory_bytes(), std::nullopt);
    EXPECT_EQ(meter().memory_unused_bytes(), std::nullopt);
}

TEST_F(ACgroupMeter, TakesTheTightestQuotaOfAllAncestors) {
    write("/a/b/cpu.max", "300000 100000\n");
    write("/a/cpu.max", "75000 50000\n");
    write("/cpu.max", "400000 100000\n");

    find_and_read();

    EXPECT_EQ(meter().cpus(), 1.5);
}

TEST_F(ACgroupMeter, SaysWhatIsLeftOfTheQuota) {
    write("/a/b/cpu.max", "200000 100000\n");
    write("/a/b/cpu.stat", "usage_usec 1000000\nuser_usec 1\n");
    find_and_read();
    EXPECT_EQ(meter().cpus_unused(), std::nullopt);

    write("/a/b/cpu.stat", "usage_usec 1500000\nuser_usec 1\n");
    read();

    EXPECT_EQ(meter().cpus_unused(), 1.5);
}

// Others in the parent group use up what both of them may.
TEST_F(ACgroupMeter, SaysWhatIsLeftWhereLeastIsLeft) {
    write("/a/b/cpu.max", "100000 100000\n");
    write("/a/b/cpu.stat", "usage_usec 0\n");
    write("/a/cpu.max", "200000 100000\n");
    write("/a/cpu.stat", "usage_usec 0\n");
    find_and_read();

    write("/a/b/cpu.stat", "usage_usec 250000\n");
    write("/a/cpu.stat", "usage_usec 1750000\n");
    read();

    EXPECT_EQ(meter().cpus(), 1.0);
    EXPECT_EQ(meter().cpus_unused(), 0.25);
}

TEST_F(ACgroupMeter, HasNothingLeftWhenMoreWasUsedThanTheQuota) {
    write("/a/b/cpu.max", "100000 100000\n");
    write("/a/b/cpu.stat", "usage_usec 0\n");
    find_and_read();

    write("/a/b/cpu.stat", "usage_usec 1100000\n");
    read();

    EXPECT_EQ(meter().cpus_unused(), 0.0);
}

TEST_F(ACgroupMeter, CountsThrottledPeriodsAsUsed) {
    write("/a/b/cpu.max", "200000 100000\n");
    write("/a/b/cpu.stat", "usage_usec 0\nnr_periods 5\nnr_throttled 3\n");
    find_and_read();

    write("/a/b/cpu.stat", "usage_usec 100000\nnr_periods 15\nnr_throttled 8\n");
    read();

    EXPECT_EQ(meter().cpus_unused(), 1.0);
}

TEST_F(ACgroupMeter, ForgetsAQuotaThatIsRemoved) {
    write("/a/b/cpu.max", "50000 100000\n");
    write("/a/b/cpu.stat", "usage_usec 0\n");
    find_and_read();
    read();
    ASSERT_EQ(meter().cpus_unused(), 0.5);

    write("/a/b/cpu.max", "max 100000\n");
    read();

    EXPECT_EQ(meter().cpus(), std::nullopt);
    EXPECT_EQ(meter().cpus_unused(), std::nullopt);
}

TEST_F(ACgroupMeter, CountsAfreshWhenAQuotaIsGivenAgain) {
    write("/a/b/cpu.max", "50000 100000\n");
    write("/a/b/cpu.stat", "usage_usec 0\n");
    find_and_read();
    write("/a/b/cpu.max", "max 100000\n");
    write("/a/b/cpu.stat", "usage_usec 9000000\n");
    read();

    write("/a/b/cpu.max", "50000 100000\n");
    read();
    EXPECT_EQ(meter().cpus_unused(), std::nullopt);
    read();
    EXPECT_EQ(meter().cpus_unused(), 0.5);
}

// The service manager gives the group the controller only when it is first limited.
TEST_F(ACgroupMeter, FindsAQuotaThatAppearsLater) {
    find_and_read();
    ASSERT_EQ(meter().cpus(), std::nullopt);

    write("/a/b/cpu.max", "50000 100000\n");
    find_and_read();

    EXPECT_EQ(meter().cpus(), 0.5);
}

TEST_F(ACgroupMeter, DoesNotLookForAMissingFileEachTime) {
    find_and_read();

    write("/a/b/cpu.max", "50000 100000\n");
    read();

    EXPECT_EQ(meter().cpus(), std::nullopt);
}

TEST_F(ACgroupMeter, GoesOnCountingWhenItFindsTheSameGroupsAgain) {
    write("/a/b/cpu.max", "100000 100000\n");
    write("/a/b/cpu.stat", "usage_usec 0\n");
    find_and_read();

    write("/a/b/cpu.stat", "usage_usec 750000\n");
    find_and_read();

    EXPECT_EQ(meter().cpus_unused(), 0.25);
}

TEST_F(ACgroupMeter, FollowsTheProcessIntoAnotherGroup) {
    write("/a/b/cpu.max", "100000 100000\n");
    write("/c/cpu.max", "300000 100000\n");
    find_and_read();
    ASSERT_EQ(meter().cpus(), 1.0);

    tree().write("/proc/self/cgroup", "0::/c\n");
    find_and_read();

    EXPECT_EQ(meter().cpus(), 3.0);
}

TEST_F(ACgroupMeter, KeepsItsGroupsWhenItCannotReadWhichTheyAre) {
    write("/a/b/cpu.max", "100000 100000\n");
    find_and_read();

    tree().write("/proc/self/cgroup", "???\n");
    find_and_read();
    EXPECT_EQ(meter().cpus(), 1.0);
    tree().remove("/proc/self/cgroup");
    find_and_read();
    EXPECT_EQ(meter().cpus(), 1.0);
}

TEST_F(ACgroupMeter, KeepsTheQuotaWhenItBecomesNonsense) {
    write("/a/b/cpu.max", "50000 100000\n");
    find_and_read();
    const auto quota_with = [this](const std::string& text) {
        write("/a/b/cpu.max", text);
        read();
        return meter().cpus();
    };

    EXPECT_EQ(quota_with(""), 0.5);
    EXPECT_EQ(quota_with("\n"), 0.5);
    EXPECT_EQ(quota_with("60000"), 0.5);
    EXPECT_EQ(quota_with("60000 "), 0.5);
    EXPECT_EQ(quota_with("60000 100000 7\n"), 0.5);
    EXPECT_EQ(quota_with("60000 0\n"), 0.5);
    EXPECT_EQ(quota_with("0 100000\n"), 0.5);
    EXPECT_EQ(quota_with("-1 100000\n"), 0.5);
    EXPECT_EQ(quota_with("60000 -100000\n"), 0.5);
    EXPECT_EQ(quota_with("60000 99999999999\n"), 0.5);
    EXPECT_EQ(quota_with("99999999999999999999999 100000\n"), 0.5);
    EXPECT_EQ(quota_with("maximum 100000\n"), 0.5);
    EXPECT_EQ(quota_with("six ten\n"), 0.5);
}

TEST_F(ACgroupMeter, KeepsWhatIsLeftWhenTheUsageBecomesNonsense) {
    write("/a/b/cpu.max", "100000 100000\n");
    write("/a/b/cpu.stat", "usage_usec 0\nnr_throttled 0\n");
    find_and_read();
    write("/a/b/cpu.stat", "usage_usec 500000\nnr_throttled 0\n");
    read();
    const auto unused_with = [this](const std::string& text) {
        write("/a/b/cpu.stat", text);
        read();
        return meter().cpus_unused();
    };

    EXPECT_EQ(unused_with(""), 0.5);
    EXPECT_EQ(unused_with("usage_u"), 0.5);
    EXPECT_EQ(unused_with("usage_usec"), 0.5);
    EXPECT_EQ(unused_with("usage_usec -5\nnr_throttled 0\n"), 0.5);
    EXPECT_EQ(unused_with("usage_usec much\nnr_throttled 0\n"), 0.5);
    EXPECT_EQ(unused_with("usage_usec 18446744073709551615\nnr_throttled 0\n"), 0.5);
    EXPECT_EQ(unused_with("usage_usec 99999999999999999999999\n"), 0.5);
    // Eight seconds later:
    EXPECT_EQ(unused_with("usage_usec 6500000\nnr_throttled 0\n"), 0.25);
}

TEST_F(ACgroupMeter, DoesNotTakeAFallingUsageForIdleTime) {
    write("/a/b/cpu.max", "100000 100000\n");
    write("/a/b/cpu.stat", "usage_usec 5000000\n");
    find_and_read();
    write("/a/b/cpu.stat", "usage_usec 6000000\n");
    read();

    write("/a/b/cpu.stat", "usage_usec 100\n");
    read();

    EXPECT_EQ(meter().cpus_unused(), 0.0);
}

TEST_F(ACgroupMeter, TakesTheTightestMemoryLimitOfAllAncestors) {
    write("/a/b/memory.max", "max\n");
    write("/a/memory.max", "1073741824\n");
    write("/memory.max", "4294967296\n");

    find_and_read();

    EXPECT_EQ(meter().memory_bytes(), 1'073'741'824U);
}

TEST_F(ACgroupMeter, CountsFilePagesOutOfUseAsAvailable) {
    write("/a/b/memory.max", "1000000\n");
    write("/a/b/memory.current", "990000\n");
    write("/a/b/memory.stat", "anon 90000\nfile 900000\ninactive_file 800000\nactive_file 1\n");

    find_and_read();

    EXPECT_EQ(meter().memory_unused_bytes(), 810'000U);
}

TEST_F(ACgroupMeter, SaysWhatMemoryIsLeftWhereLeastIsLeft) {
    write("/a/b/memory.max", "1000000\n");
    write("/a/b/memory.current", "200000\n");
    write("/a/memory.max", "2000000\n");
    write("/a/memory.current", "1900000\n");

    find_and_read();

    EXPECT_EQ(meter().memory_bytes(), 1'000'000U);
    EXPECT_EQ(meter().memory_unused_bytes(), 100'000U);
}

TEST_F(ACgroupMeter, HasNoMemoryLeftRatherThanLessThanNone) {
    write("/a/b/memory.max", "1000000\n");
    write("/a/b/memory.current", "1500000\n");

    find_and_read();

    EXPECT_EQ(meter().memory_unused_bytes(), 0U);
}

TEST_F(ACgroupMeter, HasNoMoreMemoryLeftThanTheLimit) {
    write("/a/b/memory.max", "1000000\n");
    write("/a/b/memory.current", "5000\n");
    write("/a/b/memory.stat", "inactive_file 900000\n");

    find_and_read();

    EXPECT_EQ(meter().memory_unused_bytes(), 1'000'000U);
}

TEST_F(ACgroupMeter, KeepsTheMemoryLimitWhenItBecomesNonsense) {
    write("/a/b/memory.max", "1000000\n");
    find_and_read();
    const auto limit_with = [this](const std::string& text) {
        write("/a/b/memory.max", text);
        read();
        return meter().memory_bytes();
    };

    EXPECT_EQ(limit_with(""), 1'000'000U);
    EXPECT_EQ(limit_with("0\n"), 1'000'000U);
    EXPECT_EQ(limit_with("-4096\n"), 1'000'000U);
    EXPECT_EQ(limit_with("4096 bytes\n"), 1'000'000U);
    EXPECT_EQ(limit_with("4096\n4096\n"), 1'000'000U);
    EXPECT_EQ(limit_with("99999999999999999999999\n"), 1'000'000U);
    EXPECT_EQ(limit_with("ma"), 1'000'000U);
}

TEST_F(ACgroupMeter, KeepsTheMemoryLeftWhenTheUsageBecomesNonsense) {
    write("/a/b/memory.max", "1000000\n");
    write("/a/b/memory.current", "500000\n");
    write("/a/b/memory.stat", "inactive_file 100000\n");
    find_and_read();
    ASSERT_EQ(meter().memory_unused_bytes(), 600'000U);

    write("/a/b/memory.current", "-1\n");
    read();
    EXPECT_EQ(meter().memory_unused_bytes(), 600'000U);
    write("/a/b/memory.current", "700000\n");
    write("/a/b/memory.stat", "inactive_fi");
    read();
    EXPECT_EQ(meter().memory_unused_bytes(), 600'000U);
    write("/a/b/memory.stat", "inactive_file 99999999999999999999999\n");
    read();
    EXPECT_EQ(meter().memory_unused_bytes(), 600'000U);
}

// A file of /proc stands in for one of a group that is removed: it cannot be read any more, either.
TEST_F(ACgroupMeter, NoticesThatAGroupIsGone) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::pause();
        ::_exit(0);
    }
    tree().link("/sys/fs/cgroup/a/b/memory.max", "/proc/" + std::to_string(child) + "/oom_score");
    find_and_read();
    const auto limit = meter().memory_bytes();
    EXPECT_TRUE(limit);
    EXPECT_FALSE(meter().lost());

    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    read();
    EXPECT_TRUE(meter().lost());
    EXPECT_EQ(meter().memory_bytes(), limit);

    find_and_read();
    EXPECT_FALSE(meter().lost());
    EXPECT_EQ(meter().memory_bytes(), std::nullopt);
}

TEST_F(ACgroupMeterOfVersionOne, ReadsTheQuotaAndItsUse) {
    write("/a/b/cpu.cfs_quota_us", "-1\n");
    write("/a/b/cpu.cfs_period_us", "100000\n");
    write("/a/cpu.cfs_quota_us", "75000\n");
    write("/a/cpu.cfs_period_us", "50000\n");
    write("/a/cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n");
    write("/a/cpuacct.usage", "1000000000\n");
    find_and_read();

    write("/a/cpuacct.usage", "2000000000\n");
    read();

    EXPECT_EQ(meter().cpus(), 1.5);
    EXPECT_EQ(meter().cpus_unused(), 0.5);
}

TEST_F(ACgroupMeterOfVersionOne, CountsThrottledPeriodsWhereNobodyCountsTheTime) {
    tree().write("/proc/self/cgroup", "3:cpuacct:/\n2:cpu:/a/b\n");
    write("/a/b/cpu.cfs_quota_us", "200000\n");
    write("/a/b/cpu.cfs_period_us", "100000\n");
    write("/a/b/cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n");
    find_and_read();

    write("/a/b/cpu.stat", "nr_periods 10\nnr_throttled 5\nthrottled_time 9\n");
    read();

    EXPECT_EQ(meter().cpus_unused(), 1.0);
}

// The group for accounting is that of other processes until the process is moved there, too.
TEST_F(ACgroupMeterOfVersionOne, FindsWhereTimeIsCountedLater) {
    tree().write("/proc/self/cgroup", "3:cpuacct:/\n2:cpu:/a/b\n");
    write("/a/b/cpu.cfs_quota_us", "100000\n");
    write("/a/b/cpu.cfs_period_us", "100000\n");
    write("/a/b/cpuacct.usage", "0\n");
    find_and_read();
    read();
    ASSERT_EQ(meter().cpus_unused(), std::nullopt);

    tree().write("/proc/self/cgroup", "3:cpuacct:/a/b\n2:cpu:/a/b\n");
    find_and_read();
    read();

    EXPECT_EQ(meter().cpus_unused(), 1.0);
}

TEST_F(ACgroupMeterOfVersionOne, KeepsTheQuotaWhenEitherFileBecomesNonsense) {
    write("/a/b/cpu.cfs_quota_us", "50000\n");
    write("/a/b/cpu.cfs_period_us", "100000\n");
    find_and_read();
    const auto quota_with = [this](const std::string& quota, const std::string& period) {
        write("/a/b/cpu.cfs_quota_us", quota);
        write("/a/b/cpu.cfs_period_us", period);
        read();
        return meter().cpus();
    };

    EXPECT_EQ(quota_with("", "100000\n"), 0.5);
    EXPECT_EQ(quota_with("-2\n", "100000\n"), 0.5);
    EXPECT_EQ(quota_with("0\n", "100000\n"), 0.5);
    EXPECT_EQ(quota_with("all\n", "100000\n"), 0.5);
    EXPECT_EQ(quota_with("99999999999999999999999\n", "100000\n"), 0.5);
    EXPECT_EQ(quota_with("70000\n", ""), 0.5);
    EXPECT_EQ(quota_with("70000\n", "0\n"), 0.5);
    EXPECT_EQ(quota_with("70000\n", "-1\n"), 0.5);
    EXPECT_EQ(quota_with("70000\n", "long\n"), 0.5);
}

TEST_F(ACgroupMeterOfVersionOne, KeepsWhatIsLeftWhenTheUsageBecomesNonsense) {
    write("/a/b/cpu.cfs_quota_us", "100000\n");
    write("/a/b/cpu.cfs_period_us", "100000\n");
    write("/a/b/cpu.stat", "nr_periods 0\nnr_throttled 0\n");
    write("/a/b/cpuacct.usage", "0\n");
    find_and_read();
    write("/a/b/cpuacct.usage", "500000000\n");
    read();
    const auto unused_with = [this](const std::string& text) {
        write("/a/b/cpuacct.usage", text);
        read();
        return meter().cpus_unused();
    };

    EXPECT_EQ(unused_with(""), 0.5);
    EXPECT_EQ(unused_with("-1\n"), 0.5);
    EXPECT_EQ(unused_with("much\n"), 0.5);
    EXPECT_EQ(unused_with("18446744073709551615\n"), 0.5);
}

TEST_F(ACgroupMeterOfVersionOne, TakesTheHugeNumberForNoMemoryLimit) {
    write("/a/b/memory.limit_in_bytes", "9223372036854771712\n");
    write("/a/b/memory.usage_in_bytes", "5000\n");

    find_and_read();

    EXPECT_EQ(meter().memory_bytes(), std::nullopt);
    EXPECT_EQ(meter().memory_unused_bytes(), std::nullopt);
}

TEST_F(ACgroupMeterOfVersionOne, CountsFilePagesOfTheGroupsBelow) {
    write("/a/b/memory.limit_in_bytes", "1000000\n");
    write("/a/b/memory.usage_in_bytes", "900000\n");
    write("/a/b/memory.stat", "inactive_file 1\ntotal_inactive_file 600000\n");

    find_and_read();

    EXPECT_EQ(meter().memory_bytes(), 1'000'000U);
    EXPECT_EQ(meter().memory_unused_bytes(), 700'000U);
}

}  // namespace
}  // namespace backhand
