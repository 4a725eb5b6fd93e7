#include "measure/machine.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include <fcntl.h>
#include <unistd.h>

#include "base/text.h"

namespace backhand {

namespace {

// /proc/stat begins with a line per CPU, of 100 bytes at most: enough for 1,300 CPUs.  On a larger
// machine those that fit are counted.
constexpr std::size_t buffer_bytes = 128UL * 1024;

constexpr std::uint64_t kibibyte = 1024;

// Cuts the first line off `text`.
std::string_view take_line(std::string_view& text) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    return line;
}

// Cuts the first word off `line`; empty at its end.
std::string_view take_word(std::string_view& line) {
    line.remove_prefix(std::min(line.size(), line.find_first_not_of(' ')));
    const std::string_view word = line.substr(0, line.find(' '));
    line.remove_prefix(word.size());
    return word;
}

// "MemTotal:       16384 kB" in bytes.
std::optional<std::uint64_t> parse_memory_bytes(std::string_view quantity) {
    const auto kibibytes = parse_number<std::uint64_t>(take_word(quantity));
    if (!kibibytes || *kibibytes > std::numeric_limits<std::uint64_t>::max() / kibibyte ||
        take_word(quantity) != "kB") {
        return std::nullopt;
    }
    return *kibibytes * kibibyte;
}

}  // namespace

MachineMeter::MachineMeter(const std::string& proc_folder)
    : loadavg_(proc_folder + "/loadavg"),
      stat_(proc_folder + "/stat"),
      meminfo_(proc_folder + "/meminfo"),
      buffer_(buffer_bytes) {}

MachineSample MachineMeter::sample(MonotonicTime) noexcept {
    if (const auto text = loadavg_.read(buffer_)) {
        take_load(*text);
    }
    if (const auto text = stat_.read(buffer_)) {
        take_cpus(*text);
    }
    if (const auto text = meminfo_.read(buffer_)) {
        take_memory(*text);
    }
    return newest_;
}

std::optional<std::string_view> MachineMeter::ProcFile::read(std::span<char> buffer) noexcept {
    if (!fd_) {
        fd_.reset(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    }
    if (!fd_) {
        return std::nullopt;
    }
    // From the beginning each time: that is what makes the kernel write a /proc file anew.
    const ssize_t size = ::pread(fd_.get(), buffer.data(), buffer.size(), 0);
    if (size <= 0) {
        fd_.reset();
        return std::nullopt;
    }
    return std::string_view{buffer.data(), static_cast<std::size_t>(size)};
}

// "1.25 0.80 0.51 2/388 6064"
void MachineMeter::take_load(std::string_view loadavg) {
    constexpr double load_max = 4'000'000;  // in permille it still fits into 32 bits
    const auto load = parse_fraction(take_word(loadavg));
    // Written so that a NaN, which text may spell, is refused too.
    if (!load || !(*load >= 0 && *load <= load_max)) {
        return;
    }
    newest_.load_permille = static_cast<std::uint32_t>(std::lround(*load * 1000));
    newest_.load_hwm =
        std::max(newest_.load_hwm, std::bit_ceil((newest_.load_permille + 999U) / 1000U));
}

void MachineMeter::take_cpus(std::string_view stat) {
    const auto ticks = parse_cpu_line(take_line(stat));
    if (!ticks) {
        return;
    }
    // Time waiting for the disk may be taken back (proc(5)); such a sample says nothing.
    if (ticks->total > ticks_before_.total && ticks->idle >= ticks_before_.idle) {
        const std::uint64_t total = ticks->total - ticks_before_.total;
        const std::uint64_t idle = std::min(ticks->idle - ticks_before_.idle, total);
        newest_.cpu_idle_permille = static_cast<std::uint32_t>((idle * 1000 + total / 2) / total);
    }
    ticks_before_ = *ticks;

    // The line of all CPUs together is followed by one for each that is online.
    std::uint32_t cpus_count = 0;
    while (take_line(stat).starts_with("cpu")) {
        ++cpus_count;
    }
    if (cpus_count > 0) {
        newest_.cpus_permille = cpus_count * 1000;
    }
}

// "cpu  user nice system idle iowait irq softirq steal guest guest_nice".  The two guest columns
// are contained in user and nice already.
std::optional<MachineMeter::CpuTicks> MachineMeter::parse_cpu_line(std::string_view line) {
    constexpr std::size_t columns_min = 4;
    constexpr std::size_t columns_max = 8;
    constexpr std::size_t idle_column = 3;
    constexpr std::size_t iowait_column = 4;

    if (take_word(line) != "cpu") {
        return std::nullopt;
    }
    CpuTicks ticks;
    for (std::size_t column = 0; column < columns_max; ++column) {
        const std::string_view word = take_word(line);
        if (word.empty() && column >= columns_min) {
            break;
        }
        const auto number = parse_number<std::uint64_t>(word);
        if (!number) {
            return std::nullopt;
        }
        ticks.total += *number;
        ticks.idle += column == idle_column || column == iowait_column ? *number : 0;
    }
    return ticks;
}

void MachineMeter::take_memory(std::string_view meminfo) {
    while (!meminfo.empty()) {
        std::string_view line = take_line(meminfo);
        const std::string_view name = take_word(line);
        if (name == "MemTotal:") {
            newest_.memory_total_bytes =
                parse_memory_bytes(line).value_or(newest_.memory_total_bytes);
        } else if (name == "MemAvailable:") {
            newest_.memory_available_bytes =
                parse_memory_bytes(line).value_or(newest_.memory_available_bytes);
            return;
        }
    }
}

}  // namespace backhand
