#include "measure/arriba.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <limits>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/system_error.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace backhand {

namespace {

// To be raised with every change of the loop: values of different loops do not compare.
constexpr std::string_view file_heading = "backhand arriba, loop 1\n";

// 33 microseconds at an arriba of 500,000: short against a slice, long against reading the clock.
constexpr std::uint32_t batch_rounds = 16'384;

// The fastest of several slices counts.  Whatever disturbs a measurement (an interrupt, the
// neighbour on the same core, a CPU that still runs at its idle frequency) makes it slower, never
// faster.
constexpr int slices_count = 16;

// Twenty times what such a CPU does in the longest slice: the end if the CPU clock stands still.
constexpr std::uint32_t slice_batches_max = 10'000;

constexpr std::size_t file_bytes_max = 4096;

// One round is one step of the logistic map at r = 3.9: it wanders in (0, 1) forever, so it meets
// neither infinities nor denormals, whose speed is another.
double run_rounds(double x, std::uint32_t rounds_count) {
    for (std::uint32_t round = 0; round < rounds_count; ++round) {
        x = 3.9 * x * (1.0 - x);
    }
    return x;
}

Nanoseconds thread_cpu_time() {
    timespec now{};
    if (::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) != 0) {
        return Nanoseconds{0};
    }
    return std::chrono::seconds{now.tv_sec} + Nanoseconds{now.tv_nsec};
}

// The first bytes of a file.
std::optional<std::string> read_beginning(const std::string& path) {
    const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file) {
        return std::nullopt;
    }
    std::string text(file_bytes_max, '\0');
    std::size_t used = 0;
    while (used < text.size()) {
        const ssize_t size = ::read(file.get(), text.data() + used, text.size() - used);
        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size < 0) {
            return std::nullopt;
        }
        if (size == 0) {
            break;
        }
        used += static_cast<std::size_t>(size);
    }
    text.resize(used);
    return text;
}

// The value of "name<blanks>: value", where it appears first.  Empty if nowhere.
std::string_view cpuinfo_value(std::string_view cpuinfo, std::string_view name) {
    while (!cpuinfo.empty()) {
        const std::string_view line = cpuinfo.substr(0, cpuinfo.find('\n'));
        cpuinfo.remove_prefix(std::min(cpuinfo.size(), line.size() + 1));
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos || !line.starts_with(name) ||
            line.find_first_not_of(" \t", name.size()) != colon) {
            continue;
        }
        const std::size_t first = line.find_first_not_of(" \t", colon + 1);
        const std::size_t last = line.find_last_not_of(" \t");
        return first == std::string_view::npos ? std::string_view{}
                                               : line.substr(first, last - first + 1);
    }
    return {};
}

std::string file_text(const std::string& cpu_model, std::uint32_t value) {
    std::string text{file_heading};
    text += std::to_string(value) + "\n";
    text += cpu_model + "\n";
    return text;
}

}  // namespace

std::uint32_t measure_arriba(Nanoseconds cpu_time, const std::stop_token& stop) {
    const Nanoseconds slice_time =
        std::clamp(cpu_time, Nanoseconds{Milliseconds{1}}, arriba_cpu_time_max) / slices_count;

    // Volatile, so that the compiler knows neither where the chain begins nor that its end is of no
    // interest.
    volatile double x = 0.4;
    double best = 0;
    for (int slice = 0; slice < slices_count; ++slice) {
        const Nanoseconds start = thread_cpu_time();
        Nanoseconds used{0};
        std::uint32_t batches_count = 0;
        while (used < slice_time && batches_count < slice_batches_max && !stop.stop_requested()) {
            x = run_rounds(x, batch_rounds);
            ++batches_count;
            used = thread_cpu_time() - start;
        }
        if (used < slice_time) {
            return 0;
        }
        const double seconds = std::chrono::duration<double>{used}.count();
        best = std::max(best, double{batch_rounds} * batches_count / seconds);
    }
    return static_cast<std::uint32_t>(
        std::min(best / 1000, double{std::numeric_limits<std::uint32_t>::max()}));
}

std::string cpu_model_name(const std::string& proc_folder) {
    const auto cpuinfo = read_beginning(proc_folder + "/cpuinfo");
    if (!cpuinfo) {
        return {};
    }
    if (const std::string_view name = cpuinfo_value(*cpuinfo, "model name"); !name.empty()) {
        return std::string{name};
    }
    // ARM tells numbers instead of names.
    const std::string_view maker = cpuinfo_value(*cpuinfo, "CPU implementer");
    const std::string_view part = cpuinfo_value(*cpuinfo, "CPU part");
    if (maker.empty() || part.empty()) {
        return {};
    }
    return "implementer " + std::string{maker} + " part " + std::string{part};
}

std::optional<std::uint32_t> load_arriba(const std::string& path, const std::string& cpu_model) {
    const auto text = read_beginning(path);
    if (!text || !text->starts_with(file_heading) || cpu_model.empty()) {
        return std::nullopt;
    }
    const std::string_view rest = std::string_view{*text}.substr(file_heading.size());
    const auto value = parse_number<std::uint32_t>(rest.substr(0, rest.find('\n')));
    if (!value || *value == 0 || *text != file_text(cpu_model, *value)) {
        return std::nullopt;
    }
    return value;
}

Status save_arriba(const std::string& path, const std::string& cpu_model, std::uint32_t value) {
    if (cpu_model.empty() || value == 0) {
        return Error{Error::Kind::refused,
                     path + ": not written, because the CPU's model or speed is unknown"};
    }
    const std::string text = file_text(cpu_model, value);
    // A name of its own: a predecessor that is still going may be writing, too.
    std::string temporary = path + ".XXXXXX";
    UniqueFd file{::mkostemp(temporary.data(), O_CLOEXEC)};
    if (!file) {
        return last_system_error(temporary);
    }
    // No fsync: a file that a power failure emptied is ignored, and the speed measured again.
    const ssize_t written = ::write(file.get(), text.data(), text.size());
    if (written != static_cast<ssize_t>(text.size())) {
        // A short write sets no errno; the disk is the only thing that ends a few bytes early.
        errno = written < 0 ? errno : ENOSPC;
    } else if (std::rename(temporary.c_str(), path.c_str()) == 0) {
        return Done{};
    }
    const Error error = last_system_error(path);
    ::unlink(temporary.c_str());
    return error;
}

OwnArriba::OwnArriba(const std::string& state_directory, const Log& log) {
    const bool kept = !state_directory.empty();
    const std::string path = state_directory + "/arriba";
    const std::string model = cpu_model_name();
    if (const auto known = kept ? load_arriba(path, model) : std::nullopt) {
        value_ = *known;
        return;
    }
    const auto measure_and_keep = [this, kept, path, model, log](const std::stop_token& stop) {
        ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 19);
        value_ = measure_arriba(arriba_cpu_time, stop);
        if (!kept || stop.stop_requested()) {
            return;
        }
        if (const Status saved = save_arriba(path, model, value_); !saved) {
            log(LogLevel::notice, "cannot keep the measured speed: " + saved.error().detail);
        }
    };
    try {
        thread_ = std::jthread{measure_and_keep};
    } catch (const std::system_error& failure) {
        log(LogLevel::notice, std::string{"the speed is not measured: "} + failure.what());
    }
}

}  // namespace backhand
