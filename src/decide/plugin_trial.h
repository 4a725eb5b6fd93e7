// PluginTrial: a plug-in's file is opened, loaded and run in a process of its own, before anything
// depends on it.
//
// Code that is not ours may crash, or never come back; where that happens here, only the trial
// ends.  httpd's parent, which is root, never opens such a file: its trials give up their
// privileges first.
//
// The very file that was tried is put into a box, from which everyone takes it: what lies at its
// path by then may be another.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/clock.h"
#include "base/descriptor_box.h"
#include "base/file_identity.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "decide/plugin_code.h"

namespace backhand {

class PluginTrial {
public:
    struct Task {
        std::string file;
        uid_t owner = 0;                          // whom it may belong to besides root
        std::vector<PluginSource> lines;          // all that name the file
        const DescriptorBox* box = nullptr;       // where the file goes if it is good
        std::uint32_t number = 0;                 // of this trial, for the box
        std::function<bool()> prepare = nullptr;  // run by the process first; false: it cannot try
        std::chrono::seconds cpu_limit{10};       // of CPU that it may use
        Nanoseconds limit = std::chrono::seconds{30};  // until it must be over all the same
    };

    struct Verdict {
        std::optional<FileIdentity> identity;  // of what was tried, if it could be opened
        std::string trouble;                   // empty: the file is good
        std::optional<std::size_t> line;       // of task.lines: which one found it out
    };

    // Starts the process and returns.
    static Result<PluginTrial> start(const Task& task);

    PluginTrial(PluginTrial&& other) noexcept;
    PluginTrial& operator=(PluginTrial&&) = delete;
    PluginTrial(const PluginTrial&) = delete;
    PluginTrial& operator=(const PluginTrial&) = delete;

    // Ends the process if it still runs.
    ~PluginTrial();

    // Without waiting.  nullopt: it is not over.
    std::optional<Verdict> verdict(MonotonicTime now);

    Verdict wait();

private:
    PluginTrial(pid_t pid, UniqueFd reader, MonotonicTime deadline, std::string file)
        : pid_(pid),
          reader_(std::move(reader)),
          deadline_(deadline),
          file_(std::move(file)) {}

    bool read_all();
    Verdict conclude(int status) const;

    pid_t pid_;
    UniqueFd reader_;
    MonotonicTime deadline_;
    std::string file_;
    std::string said_;
    bool too_long_ = false;
};

}  // namespace backhand
