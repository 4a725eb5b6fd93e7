// CgroupMeter: what the control groups that this process runs in allow it, and what is left of
// that.
//
// In a container, or as a service with limits, a server may use less than the machine has; and the
// rest of its group may have used up what it may.  Limits hold for a group with all groups below
// it, so those of the process's own group and of all its ancestors count, and each has something
// left or not (cgroups(7)).  Both versions of the interface are read, and both at once, as some
// distributions have them: a controller is in one of them.  Ancestors that a container cannot see
// cannot be asked.
//
// A limit that cannot be found or read is none; nonsense in a file leaves its number as it was.
// One thread per meter.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "measure/kernel_file.h"

namespace backhand {

enum class CgroupVersion { v1, v2 };

// The folders of one controller: the process's own control group first, then its ancestors up to
// the topmost that can be seen.
struct CgroupFolders {
    CgroupVersion version = CgroupVersion::v2;
    std::vector<std::string> folders;
};

struct OwnCgroups {
    CgroupFolders cpu;
    CgroupFolders memory;
    // Version 1: where the CPU time of each of `cpu.folders` is counted.  Empty if nowhere.
    std::vector<std::string> cpu_usage_folders;
    std::string pressure_folder;  // version 2 only; empty if there is none
};

// From the texts of /proc/self/cgroup and /proc/self/mountinfo; `root` stands before every mount
// point.  Looks whether folders exist, reads nothing.  Nothing if either text is nonsense.
std::optional<OwnCgroups> find_own_cgroups(std::string_view cgroup, std::string_view mountinfo,
                                           const std::string& root);

// How fast a count rises.
class CountRate {
public:
    // Per nanosecond, since the last count before this one.  Nothing if there was none, or a
    // greater one, or if `count` is nothing.
    std::optional<double> take(std::optional<std::uint64_t> count, MonotonicTime now);

    bool has_count() const { return before_.has_value(); }

    void forget() { before_.reset(); }

private:
    std::optional<std::uint64_t> before_;
    MonotonicTime before_at_ = 0;
};

// The CPU time that one control group may use.
class CgroupCpu {
public:
    CgroupCpu(CgroupVersion version, std::string folder, std::string usage_folder);

    bool is_at(const std::string& folder, const std::string& usage_folder) const {
        return folder == folder_ && usage_folder == usage_folder_;
    }

    void look_again() noexcept;
    void read_quota(std::span<char> buffer) noexcept;
    void read_usage(std::span<char> buffer, MonotonicTime now) noexcept;

    bool vanished() const;

    // In CPUs.  Nothing if any number of them may be used.
    std::optional<double> quota() const { return quota_; }

    // How much of the quota was left between the last two readings, in CPUs.  Nothing without a
    // quota, and before the second reading.
    std::optional<double> unused() const { return unused_; }

private:
    void take_quota(std::uint64_t quota_us, std::uint64_t period_us);

    // Nanoseconds of CPU time since the group was made.  `stat` is what its cpu.stat says.
    std::optional<std::uint64_t> used_ns(std::string_view stat, std::span<char> buffer) noexcept;

    CgroupVersion version_;
    std::string folder_;
    std::string usage_folder_;
    KernelFile quota_file_;  // version 2: with the period
    KernelFile period_file_;
    KernelFile stat_;
    KernelFile usage_file_;  // version 2: contained in `stat_`

    std::optional<double> quota_;
    double period_ns_ = 0;
    CountRate used_;       // nanoseconds of CPU time
    CountRate throttled_;  // periods in which the quota did not last
    std::optional<double> unused_;
};

// The memory that one control group may use.
class CgroupMemory {
public:
    CgroupMemory(CgroupVersion version, std::string folder);

    bool is_at(const std::string& folder) const { return folder == folder_; }

    void look_again() noexcept;
    void read(std::span<char> buffer) noexcept;

    bool vanished() const;

    std::optional<std::uint64_t> limit_bytes() const { return limit_bytes_; }

    // What may still be used, counting file pages that nobody has used lately as free.  Nothing
    // without a limit.
    std::optional<std::uint64_t> unused_bytes() const { return unused_bytes_; }

private:
    void read_limit(std::span<char> buffer) noexcept;
    void read_usage(std::span<char> buffer) noexcept;

    CgroupVersion version_;
    std::string folder_;
    KernelFile limit_file_;
    KernelFile usage_file_;
    KernelFile stat_;

    std::optional<std::uint64_t> limit_bytes_;
    std::optional<std::uint64_t> unused_bytes_;
};

class CgroupMeter {
public:
    // `root` stands before every mount point.
    CgroupMeter(const std::string& proc_folder, std::string root);

    // Finds out which control groups this process is in, and what files they have.  May throw
    // std::bad_alloc; then some groups may be missing until the next time.
    void find();

    // A file has vanished: a group is gone, or has lost a controller.
    bool lost() const;

    void read_limits_and_memory(std::span<char> buffer) noexcept;
    void read_cpu_usage(std::span<char> buffer, MonotonicTime now) noexcept;

    // The tightest of all groups; nothing without limit.
    std::optional<double> cpus() const;
    std::optional<double> cpus_unused() const;
    std::optional<std::uint64_t> memory_bytes() const;
    std::optional<std::uint64_t> memory_unused_bytes() const;

    // Where the own control group's cpu.pressure may be; empty if nowhere.
    const std::string& pressure_folder() const { return pressure_folder_; }

private:
    std::string cgroup_path_;
    std::string mountinfo_path_;
    std::string root_;
    std::vector<CgroupCpu> cpu_;
    std::vector<CgroupMemory> memory_;
    std::string pressure_folder_;
};

}  // namespace backhand
