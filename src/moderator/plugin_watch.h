// PluginWatch: notices that another file lies where a plug-in was, and lets everyone have it if it
// is good.
//
// Looks four times a second whether there is another file than the one last judged; one that stays
// as it is for two looks is tried in a process of its own.  If it is good the children are woken
// and take it; if it is not, the log says so once, and they keep what they have.
//
// In the moderator, which has no privileges and serves no request.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/clock.h"
#include "base/descriptor_box.h"
#include "base/file_identity.h"
#include "base/log.h"
#include "cluster/counters.h"
#include "decide/plugin_board.h"
#include "decide/plugin_code.h"
#include "decide/plugin_trial.h"

namespace backhand {

struct PluginWatchSettings {
    struct File {
        std::string path;
        std::vector<PluginSource> lines;  // that name it
        const DescriptorBox* box = nullptr;
        PluginFileMarks* marks = nullptr;
    };

    std::vector<File> files;
    const PluginBoard* board = nullptr;
    uid_t owner = 0;                // whom the files may belong to besides root
    std::function<bool()> prepare;  // what a trial's process does first
    Counters* counters = nullptr;
    Log log;
};

class PluginWatch {
public:
    explicit PluginWatch(PluginWatchSettings settings);

    // Called often; mostly there is nothing to do.
    void look(MonotonicTime now);

private:
    struct Watched {
        PluginWatchSettings::File file;
        FileIdentity approved;               // what is in the box
        std::optional<FileIdentity> judged;  // what was found at the path last, and judged
        std::optional<FileIdentity> seen;    // what was found there at the last look
        std::optional<PluginTrial> trial;
        std::uint32_t number = 0;  // of the trial
    };

    void look_at(Watched& watched);
    void begin_trial(Watched& watched, const FileIdentity& found);
    void conclude(Watched& watched, const PluginTrial::Verdict& verdict);
    void refuse(const Watched& watched, const std::string& why) const;

    PluginWatchSettings settings_;
    std::vector<Watched> watched_;
    MonotonicTime looked_at_ = 0;
};

}  // namespace backhand
