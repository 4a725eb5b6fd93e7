// MachineMeter: what this server may use of the machine below it, and how much of that is left,
// whoever uses the rest.
//
// A server is as slow as the machine below it: mail runs and log analysis count as much as our own
// requests.  And it may not have all of the machine: an affinity or a cpuset keeps it on some CPUs,
// a control group's quota on the time of some, a limit on part of the memory.  A peer that decides
// by these numbers must see what this server can do, so everything here is relative to what may be
// used.  The kernel keeps the numbers (proc(5), cgroups(7)).
//
// It is asked often and must cost next to nothing: files stay open, a sample is given again for
// 100 ms, CPU time is read for each fresh one, everything else once a second, and which control
// groups this process is in is found out every ten.  A fresh sample takes 25 microseconds of CPU
// time on a virtual machine of two CPUs, and 10 more for each control group with a quota and a
// memory limit, nearly all of it the kernel's; with cold caches three times that.  Asked 50 times a
// second, that was 0.1 % of a core.
//
// A file that cannot be read, or reads as nonsense, leaves its numbers as they were.  One thread
// per meter.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "measure/cgroup.h"
#include "measure/kernel_file.h"

namespace backhand {

struct MachineSample {
    std::uint32_t load_permille = 0;      // 1-minute load average, of the whole machine
    std::uint32_t load_hwm = 1;           // smallest power of two not below the highest load seen
    std::uint32_t cpus_permille = 1000;   // that may be used; 1500: one and a half CPUs; never 0
    std::uint32_t cpu_idle_permille = 0;  // of those, since the sample before
    // How much of the last 10 s some task here (in our control group, if the kernel tells) stood
    // still for want of it.  0 if the kernel does not tell.
    std::uint32_t pressure_cpu_permille = 0;
    std::uint32_t pressure_memory_permille = 0;
    std::uint32_t pressure_io_permille = 0;
    std::uint64_t memory_total_bytes = 0;  // that may be used
    std::uint64_t memory_available_bytes = 0;
};

class MachineMeter {
public:
    // `root` stands before the mount points of control groups.
    explicit MachineMeter(const std::string& proc_folder = "/proc", std::string root = "");

    // `now` is the monotonic time of the call.  Within 100 ms of a fresh sample gives that one
    // again.  The idle share of the first sample is the machine's since it booted.  A sample that
    // follows the one before within the same clock tick (10 ms) repeats its idle share.
    MachineSample sample(MonotonicTime now) noexcept;

private:
    // Linux's own limit is 8192.
    using CpuSet = std::bitset<8192>;

    // Since boot.
    struct CpuTicks {
        std::uint64_t idle = 0;
        std::uint64_t total = 0;
        std::uint32_t cpus_counted = 0;  // 0: all of the machine
    };

    // What tasks wait for.
    struct Pressure {
        const char* name;
        std::uint32_t MachineSample::*number;
        KernelFile own;      // of our control group
        KernelFile machine;  // of all
    };

    static std::optional<CpuSet> parse_cpu_list(std::string_view list);
    static std::optional<CpuTicks> parse_cpu_times(std::string_view columns);

    void find_control_groups() noexcept;
    bool control_group_lost() const;
    void read_slow_numbers() noexcept;
    void settle();

    void take_load(std::string_view loadavg);
    void take_affinity(std::string_view status);
    void take_cpus(std::string_view stat);
    void take_idle(const CpuTicks& ticks);
    void take_memory(std::string_view meminfo);
    void take_pressure(Pressure& pressure) noexcept;

    KernelFile loadavg_;
    KernelFile status_;
    KernelFile stat_;
    KernelFile meminfo_;
    std::array<Pressure, 3> pressures_;
    CgroupMeter cgroups_;
    std::vector<char> buffer_;

    MonotonicTime sampled_at_ = 0;
    MonotonicTime slow_read_at_ = 0;
    MonotonicTime found_at_ = 0;

    // Without control groups:
    std::optional<CpuSet> affinity_;
    std::uint32_t cpus_usable_ = 1;
    std::optional<CpuTicks> ticks_before_ = CpuTicks{};
    std::optional<double> cpu_idle_share_;  // of the usable CPUs
    std::optional<std::uint64_t> memory_total_bytes_;
    std::optional<std::uint64_t> memory_available_bytes_;

    MachineSample newest_;
};

}  // namespace backhand
