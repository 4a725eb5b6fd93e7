// MachineMeter: what this machine is doing, whoever makes it do it.
//
// A server is as slow as the machine below it: mail runs and log analysis count as much as our own
// requests.  The kernel already keeps the numbers (proc(5)); this reads load, idle share, memory
// and the number of CPUs often enough to announce them several times a second.
//
// The files stay open, so a sample is three preads: 15 to 30 microseconds on a virtual machine of
// two CPUs, nearly all of it the kernel's.  A file that cannot be read, or reads as nonsense,
// leaves its numbers as they were.  One thread per meter.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"

namespace backhand {

struct MachineSample {
    std::uint32_t load_permille = 0;      // 1-minute load average
    std::uint32_t load_hwm = 1;           // smallest power of two not below the highest load seen
    std::uint32_t cpu_idle_permille = 0;  // of all CPUs together, since the sample before
    std::uint32_t cpus_permille = 1000;
    std::uint32_t pressure_cpu_permille = 0, pressure_memory_permille = 0, pressure_io_permille = 0;
    std::uint64_t memory_total_bytes = 0;
    std::uint64_t memory_available_bytes = 0;
};

class MachineMeter {
public:
    explicit MachineMeter(const std::string& proc_folder = "/proc");

    // The idle share of the first sample is that since the machine booted.  A sample that follows
    // the one before within the same clock tick (10 ms) repeats its idle share.
    MachineSample sample(MonotonicTime now) noexcept;

private:
    class ProcFile {
    public:
        explicit ProcFile(std::string path) : path_(std::move(path)) {}

        // What the file says now, as far as it fits into `buffer`.
        std::optional<std::string_view> read(std::span<char> buffer) noexcept;

    private:
        std::string path_;
        UniqueFd fd_;
    };

    // Since boot, of all CPUs together.
    struct CpuTicks {
        std::uint64_t idle = 0;
        std::uint64_t total = 0;
    };

    static std::optional<CpuTicks> parse_cpu_line(std::string_view line);

    void take_load(std::string_view loadavg);
    void take_cpus(std::string_view stat);
    void take_memory(std::string_view meminfo);

    ProcFile loadavg_;
    ProcFile stat_;
    ProcFile meminfo_;
    std::vector<char> buffer_;
    CpuTicks ticks_before_;
    MachineSample newest_;
};

}  // namespace backhand
