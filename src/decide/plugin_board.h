// PluginBoard: what all processes of a server know of its plug-ins, in shared memory.
//
// The moderator writes here that a file has been replaced; the children sleep until it does, in the
// kernel, at no cost.  Each of them also counts here what it had to put right, so that the log
// gets one line a second for each plug-in, not one for each child.
//
// Made by httpd's parent for one reading of the configuration, before it forks.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/result.h"

namespace backhand {

// Of one line of the configuration.  Any process, any thread.
class PluginMarks {
public:
    // An answer had to be corrected.  If it is time for a line in the log, says how many have been
    // since the last, this one included.
    std::optional<std::uint64_t> note_corrected(MonotonicTime now);

    std::uint64_t corrected() const { return corrected_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> corrected_;
    std::atomic<std::uint64_t> told_;     // of those, how many the log knows of
    std::atomic<std::uint64_t> told_at_;  // 0: never
};

// Of one file.  Written by the moderator.
struct PluginFileMarks {
    std::atomic<std::uint32_t> version;  // 1: as at the start; raised with each replacement
    std::atomic<std::uint32_t> refused;  // new files that were not taken
};

class PluginBoard {
public:
    // `lines` and `files` are how many there are; both at least 1.
    static Result<PluginBoard> make(std::size_t lines, std::size_t files);

    PluginBoard(PluginBoard&& other) noexcept;
    PluginBoard& operator=(PluginBoard&&) = delete;
    PluginBoard(const PluginBoard&) = delete;
    PluginBoard& operator=(const PluginBoard&) = delete;
    ~PluginBoard();

    PluginMarks& line(std::size_t index) const;
    PluginFileMarks& file(std::size_t index) const;

    // A number that rises whenever a file has been replaced.
    std::uint32_t changes() const;

    // Raises it, and wakes all that wait.
    void announce_change() const;

    // Returns when changes() is not `known` any more, or after `longest`; sometimes earlier.
    void wait_for_change(std::uint32_t known, std::optional<Nanoseconds> longest) const;

private:
    struct Header;

    PluginBoard(void* memory, std::size_t bytes, std::size_t lines)
        : memory_(memory),
          bytes_(bytes),
          lines_(lines) {}

    Header& header() const;

    void* memory_;
    std::size_t bytes_;
    std::size_t lines_;
};

}  // namespace backhand
