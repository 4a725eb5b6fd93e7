#include "moderator/plugin_watch.h"

#include <utility>

#include <sys/stat.h>

namespace backhand {

namespace {

constexpr Nanoseconds look_every = std::chrono::milliseconds{250};

// Two looks and this make less than the two seconds in which a new file is to be in use.  Of CPU:
// on a server that is short of it a good file takes longer, and must not be refused for that.
constexpr std::chrono::seconds trial_cpu_limit{1};
constexpr Nanoseconds trial_limit = std::chrono::seconds{10};

std::optional<FileIdentity> identity_at(const std::string& path) {
    struct stat entry {};

    return ::stat(path.c_str(), &entry) == 0 ? std::optional{FileIdentity::of(entry)}
                                             : std::nullopt;
}

FileIdentity identity_in(const DescriptorBox& box) {
    struct stat entry {};

    const auto content = box.look();
    return content && ::fstat(content->file.get(), &entry) == 0 ? FileIdentity::of(entry)
                                                                : FileIdentity{};
}

}  // namespace

PluginWatch::PluginWatch(PluginWatchSettings settings) : settings_(std::move(settings)) {
    for (PluginWatchSettings::File& file : settings_.files) {
        const FileIdentity approved = identity_in(*file.box);
        watched_.push_back({.file = std::move(file),
                            .approved = approved,
                            .judged = approved,
                            .seen = std::nullopt,
                            .trial = std::nullopt});
    }
}

void PluginWatch::look(MonotonicTime now) {
    const bool due = elapsed(looked_at_, now) >= look_every;
    for (Watched& watched : watched_) {
        if (watched.trial) {
            if (const auto verdict = watched.trial->verdict(now)) {
                watched.trial.reset();
                conclude(watched, *verdict);
            }
        } else if (due) {
            look_at(watched);
        }
    }
    if (due) {
        looked_at_ = now;
    }
}

// Where there is no file just now, one is perhaps being put there.
void PluginWatch::look_at(Watched& watched) {
    const auto found = identity_at(watched.file.path);
    const bool stays = found == watched.seen;
    watched.seen = found;
    if (!found || !stays || found == watched.judged) {
        return;
    }
    if (found->same_content(watched.approved)) {
        // Its owner, mode or names have changed: what was loaded is what it was.
        watched.judged = found;
    } else if (found->same_file(watched.approved)) {
        watched.judged = found;
        refuse(watched, watched.file.path +
                            " was written into while servers have it loaded: put a new file beside "
                            "it and rename that");
    } else {
        begin_trial(watched, *found);
    }
}

void PluginWatch::begin_trial(Watched& watched, const FileIdentity& found) {
    // Never used before with this box, whoever was moderator before.
    watched.number = static_cast<std::uint32_t>(monotonic_now() / 1000) | 1U;
    watched.judged = found;
    auto trial = PluginTrial::start({.file = watched.file.path,
                                     .owner = settings_.owner,
                                     .lines = watched.file.lines,
                                     .box = watched.file.box,
                                     .number = watched.number,
                                     .prepare = settings_.prepare,
                                     .cpu_limit = trial_cpu_limit,
                                     .limit = trial_limit});
    if (trial) {
        watched.trial.emplace(std::move(*trial));
    } else {
        refuse(watched, trial.error().detail);
    }
}

void PluginWatch::conclude(Watched& watched, const PluginTrial::Verdict& verdict) {
    if (verdict.identity) {
        watched.judged = verdict.identity;
    }
    if (!verdict.trouble.empty() || !verdict.identity) {
        refuse(watched, verdict.trouble);
        return;
    }
    watched.approved = *verdict.identity;
    watched.file.box->settle(watched.number);
    const std::uint32_t version = watched.file.marks->version.fetch_add(1) + 1;
    settings_.board->announce_change();
    settings_.counters->add(Counter::plugin_replaced);
    settings_.log(LogLevel::notice, "plug-in " + watched.file.path +
                                        " has been replaced (version " + std::to_string(version) +
                                        " since the start)");
}

void PluginWatch::refuse(const Watched& watched, const std::string& why) const {
    watched.file.marks->refused.fetch_add(1);
    settings_.counters->add(Counter::plugin_refused);
    settings_.log(LogLevel::error, "the new plug-in is refused and the old one stays: " + why);
}

}  // namespace backhand
