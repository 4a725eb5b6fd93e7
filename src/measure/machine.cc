#include "measure/machine.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <new>
#include <utility>

namespace backhand {

namespace {

// /proc/stat begins with a line per CPU, of 100 bytes at most: enough for 1,300 CPUs.  On a larger
// machine those that fit are counted.
constexpr std::size_t buffer_bytes = 128UL * 1024;

constexpr std::uint64_t kibibyte = 1024;

constexpr Nanoseconds sample_every = Milliseconds{100};
constexpr Nanoseconds slow_every = std::chrono::seconds{1};
constexpr Nanoseconds find_every = std::chrono::seconds{10};
constexpr Nanoseconds find_lost_every = std::chrono::seconds{1};

bool is_due(MonotonicTime last, Nanoseconds every, MonotonicTime now) {
    return last == 0 || elapsed(last, now) >= every;
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

// Of "cpu12".
std::optional<std::uint32_t> parse_cpu_name(std::string_view name) {
    constexpr std::string_view prefix = "cpu";
    return name.starts_with(prefix) ? parse_number<std::uint32_t>(name.substr(prefix.size()))
                                    : std::nullopt;
}

// "some avg10=1.53 avg60=0.87 avg300=0.22 total=2983": percent of the time.
std::optional<std::uint32_t> parse_pressure_permille(std::string_view text) {
    constexpr std::string_view average = "avg10=";
    constexpr double percent_max = 100;
    std::string_view line = take_line(text);
    if (take_word(line) != "some") {
        return std::nullopt;
    }
    const std::string_view word = take_word(line);
    const auto percent =
        word.starts_with(average) ? parse_fraction(word.substr(average.size())) : std::nullopt;
    // Written so that a NaN, which text may spell, is refused too.
    if (!percent || !(*percent >= 0 && *percent <= percent_max)) {
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(std::lround(*percent * 10));
}

// What is not known does not count.
template <class Number>
std::optional<Number> smaller(std::optional<Number> left, std::optional<Number> right) {
    if (left && right) {
        return std::min(*left, *right);
    }
    return left ? left : right;
}

std::uint32_t to_permille(double number) {
    return static_cast<std::uint32_t>(std::lround(number * 1000));
}

}  // namespace

MachineMeter::MachineMeter(const std::string& proc_folder, std::string root)
    : loadavg_(proc_folder + "/loadavg"),
      status_(proc_folder + "/self/status"),
      stat_(proc_folder + "/stat"),
      meminfo_(proc_folder + "/meminfo"),
      pressures_{{{"cpu", &MachineSample::pressure_cpu_permille, KernelFile{""},
                   KernelFile{proc_folder + "/pressure/cpu"}},
                  {"memory", &MachineSample::pressure_memory_permille, KernelFile{""},
                   KernelFile{proc_folder + "/pressure/memory"}},
                  {"io", &MachineSample::pressure_io_permille, KernelFile{""},
                   KernelFile{proc_folder + "/pressure/io"}}}},
      cgroups_(proc_folder, std::move(root)),
      buffer_(buffer_bytes) {}

MachineSample MachineMeter::sample(MonotonicTime now) noexcept {
    if (!is_due(sampled_at_, sample_every, now)) {
        return newest_;
    }
    sampled_at_ = now;
    if (is_due(found_at_, control_group_lost() ? find_lost_every : find_every, now)) {
        found_at_ = now;
        slow_read_at_ = 0;
        find_control_groups();
    }
    if (is_due(slow_read_at_, slow_every, now)) {
        slow_read_at_ = now;
        read_slow_numbers();
    }
    if (const auto text = stat_.read(buffer_)) {
        take_cpus(*text);
    }
    cgroups_.read_cpu_usage(buffer_, now);
    settle();
    return newest_;
}

// A service may be moved, or be given a limit, which makes files appear.
void MachineMeter::find_control_groups() noexcept {
    for (KernelFile* file : {&loadavg_, &status_, &stat_, &meminfo_}) {
        file->look_again();
    }
    try {
        cgroups_.find();
        const std::string& folder = cgroups_.pressure_folder();
        for (Pressure& pressure : pressures_) {
            pressure.own =
                KernelFile{folder.empty() ? "" : folder + "/" + pressure.name + ".pressure"};
            pressure.machine.look_again();
        }
    } catch (const std::bad_alloc&) {
        // What was known before will do.
    }
}

bool MachineMeter::control_group_lost() const {
    return cgroups_.lost() ||
           std::any_of(pressures_.begin(), pressures_.end(),
                       [](const Pressure& pressure) { return pressure.own.vanished(); });
}

// The kernel itself gathers the CPUs' memory counts once a second, and works out pressure every two
// and the load every five.
void MachineMeter::read_slow_numbers() noexcept {
    if (const auto text = status_.read(buffer_)) {
        take_affinity(*text);
    }
    if (const auto text = meminfo_.read(buffer_)) {
        take_memory(*text);
    }
    if (const auto text = loadavg_.read(buffer_)) {
        take_load(*text);
    }
    for (Pressure& pressure : pressures_) {
        take_pressure(pressure);
    }
    cgroups_.read_limits_and_memory(buffer_);
}

// Puts together what is known of the machine and of the control groups: of everything, what is
// scarcest.
void MachineMeter::settle() {
    constexpr double cpus_min = 0.001;
    const double cpus =
        std::max(std::min<double>(cpus_usable_, cgroups_.cpus().value_or(cpus_usable_)), cpus_min);
    newest_.cpus_permille = to_permille(cpus);

    // A quota that nobody has used is worth nothing while others keep the CPUs busy.
    std::optional<double> cpus_idle = cgroups_.cpus_unused();
    if (cpu_idle_share_) {
        cpus_idle = smaller(cpus_idle, std::optional{*cpu_idle_share_ * cpus_usable_});
    }
    newest_.cpu_idle_permille = to_permille(std::min(cpus_idle.value_or(0) / cpus, 1.0));

    const auto total = smaller(memory_total_bytes_, cgroups_.memory_bytes());
    const auto available = smaller(memory_available_bytes_, cgroups_.memory_unused_bytes());
    newest_.memory_total_bytes = total.value_or(0);
    newest_.memory_available_bytes = std::min(available.value_or(0), newest_.memory_total_bytes);
}

// "1.25 0.80 0.51 2/388 6064"
void MachineMeter::take_load(std::string_view loadavg) {
    constexpr double load_max = 4'000'000;  // in permille it still fits into 32 bits
    const auto load = parse_fraction(take_word(loadavg));
    // Written so that a NaN, which text may spell, is refused too.
    if (!load || !(*load >= 0 && *load <= load_max)) {
        return;
    }
    newest_.load_permille = to_permille(*load);
    newest_.load_hwm =
        std::max(newest_.load_hwm, std::bit_ceil((newest_.load_permille + 999U) / 1000U));
}

// "Cpus_allowed_list:	0-3,7": the mask of sched_getaffinity(2), which a cpuset narrows, too.
void MachineMeter::take_affinity(std::string_view status) {
    while (!status.empty()) {
        std::string_view line = take_line(status);
        if (take_word(line) != "Cpus_allowed_list:") {
            continue;
        }
        const auto cpus = parse_cpu_list(take_word(line));
        if (!cpus) {
            return;
        }
        if (affinity_ && *affinity_ != *cpus) {
            ticks_before_.reset();  // they are of other CPUs
        }
        affinity_ = cpus;
        return;
    }
}

// "0-3,7"
std::optional<MachineMeter::CpuSet> MachineMeter::parse_cpu_list(std::string_view list) {
    CpuSet cpus;
    while (!list.empty()) {
        const std::string_view range = list.substr(0, list.find(','));
        list.remove_prefix(std::min(list.size(), range.size() + 1));
        const std::size_t dash = std::min(range.find('-'), range.size());
        const auto first = parse_number<std::size_t>(range.substr(0, dash));
        const auto last =
            dash < range.size() ? parse_number<std::size_t>(range.substr(dash + 1)) : first;
        if (!first || !last || *first > *last || *last >= cpus.size()) {
            return std::nullopt;
        }
        for (std::size_t cpu = *first; cpu <= *last; ++cpu) {
            cpus.set(cpu);
        }
    }
    return cpus.any() ? std::optional{cpus} : std::nullopt;
}

// The line of all CPUs together is followed by one for each that is online.
void MachineMeter::take_cpus(std::string_view stat) {
    std::string_view line = take_line(stat);
    const auto all = take_word(line) == "cpu" ? parse_cpu_times(line) : std::optional<CpuTicks>{};
    if (!all) {
        return;
    }
    std::uint32_t online = 0;
    CpuTicks ours;
    for (line = take_line(stat); const auto cpu = parse_cpu_name(take_word(line));
         line = take_line(stat)) {
        ++online;
        if (affinity_ && *cpu < affinity_->size() && affinity_->test(*cpu)) {
            const auto ticks = parse_cpu_times(line);
            if (!ticks) {
                return;
            }
            ours.idle += ticks->idle;
            ours.total += ticks->total;
            ++ours.cpus_counted;
        }
    }
    const bool restricted = ours.cpus_counted > 0 && ours.cpus_counted < online;
    take_idle(restricted ? ours : *all);
    if (restricted) {
        cpus_usable_ = ours.cpus_counted;
    } else if (online > 0) {
        // Where a container is shown CPUs of its own, they may bear other numbers than the
        // affinity's.
        const std::size_t allowed = affinity_ ? affinity_->count() : online;
        cpus_usable_ = static_cast<std::uint32_t>(std::min<std::size_t>(online, allowed));
    }
}

// "user nice system idle iowait irq softirq steal guest guest_nice".  The two guest columns are
// contained in user and nice already.
std::optional<MachineMeter::CpuTicks> MachineMeter::parse_cpu_times(std::string_view columns) {
    constexpr std::size_t columns_min = 4;
    constexpr std::size_t columns_max = 8;
    constexpr std::size_t idle_column = 3;
    constexpr std::size_t iowait_column = 4;
    constexpr std::uint64_t ticks_max = std::uint64_t{1} << 53U;  // a million years

    CpuTicks ticks;
    for (std::size_t column = 0; column < columns_max; ++column) {
        const std::string_view word = take_word(columns);
        if (word.empty() && column >= columns_min) {
            break;
        }
        const auto number = parse_number<std::uint64_t>(word);
        if (!number || *number > ticks_max) {
            return std::nullopt;
        }
        ticks.total += *number;
        ticks.idle += column == idle_column || column == iowait_column ? *number : 0;
    }
    return ticks;
}

void MachineMeter::take_idle(const CpuTicks& ticks) {
    if (ticks_before_ && ticks_before_->total > 0 &&
        ticks_before_->cpus_counted != ticks.cpus_counted) {
        ticks_before_.reset();  // a CPU has come or gone
    }
    // Time waiting for the disk may be taken back (proc(5)); such a sample says nothing.
    if (ticks_before_ && ticks.total > ticks_before_->total && ticks.idle >= ticks_before_->idle) {
        const auto total = static_cast<double>(ticks.total - ticks_before_->total);
        const auto idle = static_cast<double>(ticks.idle - ticks_before_->idle);
        cpu_idle_share_ = std::min(idle / total, 1.0);
    }
    ticks_before_ = ticks;
}

void MachineMeter::take_memory(std::string_view meminfo) {
    while (!meminfo.empty()) {
        std::string_view line = take_line(meminfo);
        const std::string_view name = take_word(line);
        if (name != "MemTotal:" && name != "MemAvailable:") {
            continue;
        }
        auto& number = name == "MemTotal:" ? memory_total_bytes_ : memory_available_bytes_;
        if (const auto bytes = parse_memory_bytes(line)) {
            number = bytes;
        }
        if (name == "MemAvailable:") {
            return;
        }
    }
}

void MachineMeter::take_pressure(Pressure& pressure) noexcept {
    auto text = pressure.own.read(buffer_);
    if (pressure.own.vanished()) {
        return;
    }
    if (!text) {
        text = pressure.machine.read(buffer_);
    }
    const auto permille = text ? parse_pressure_permille(*text) : std::uint32_t{0};
    if (permille) {
        newest_.*pressure.number = *permille;
    }
}

}  // namespace backhand
