// Arriba: how fast one CPU of this machine is, so that servers of different ages can be compared.
//
// Thousands of rounds per second of a short floating-point loop.  The loop is one chain of
// dependent operations: its speed does not depend on caches or vector units, and hardly on the
// compiler's options as long as it optimises at all.  Only the ratio of two machines that run the
// same build means anything.
//
// A measurement keeps a CPU busy for a tenth of a second, so its result is kept in a file together
// with the CPU's name, which tells when the file has moved to another machine.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"

namespace backhand {

constexpr Nanoseconds arriba_cpu_time = Milliseconds{100};
constexpr Nanoseconds arriba_cpu_time_max = Milliseconds{200};

// Keeps the calling thread busy for `cpu_time` of its own CPU time, which is cut to
// `arriba_cpu_time_max`.  Call it in a thread that nobody waits for.  0 if the system does not tell
// a thread its CPU time, and soon after `stop` is asked for.
std::uint32_t measure_arriba(Nanoseconds cpu_time = arriba_cpu_time,
                             const std::stop_token& stop = {});

// What the first CPU calls itself, from `proc_folder`/cpuinfo.  Empty if it does not say.
std::string cpu_model_name(const std::string& proc_folder = "/proc");

// What save_arriba() wrote for the same CPU model; nothing if there is no such file, or it was
// written for another model, or by anything else.
std::optional<std::uint32_t> load_arriba(const std::string& path, const std::string& cpu_model);

// Replaces the file in one step: a reader sees the old one or the new one.
// Refuses an empty model or a value of 0: load_arriba() would not believe them.
Status save_arriba(const std::string& path, const std::string& cpu_model, std::uint32_t value);

// This machine's arriba, found in the kept file or else measured in a thread of lowest priority.
class OwnArriba {
public:
    // The file is `state_directory`/arriba; nothing is read or kept if `state_directory` is empty.
    OwnArriba(const std::string& state_directory, const Log& log);
    OwnArriba(const OwnArriba&) = delete;
    OwnArriba& operator=(const OwnArriba&) = delete;

    // Gives up a measurement that is still going on.
    ~OwnArriba() = default;

    // 0 until it is known.
    std::uint32_t value() const { return value_; }

private:
    std::atomic<std::uint32_t> value_{0};
    std::jthread thread_;
};

}  // namespace backhand
