#include "httpd/plugins.h"

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backhand/mod_backhand.h"
#include "decide/plugin_trial.h"
#include "decide/seed_statistics.h"
#include "httpd/config.h"
#include "httpd/guard.h"
#include "httpd/instance.h"

APLOG_USE_MODULE(backhand);

namespace backhand::httpd {

namespace {

// The original's plug-ins read the one where we have written the other.
static_assert(sizeof(serverstat) == sizeof(SeedStatistics));
static_assert(offsetof(serverstat, mtime) == offsetof(SeedStatistics, mtime));
static_assert(offsetof(serverstat, contact) == offsetof(SeedStatistics, contact));
static_assert(offsetof(serverstat, arriba) == offsetof(SeedStatistics, arriba));
static_assert(offsetof(serverstat, aservers) == offsetof(SeedStatistics, aservers));
static_assert(offsetof(serverstat, nservers) == offsetof(SeedStatistics, nservers));
static_assert(offsetof(serverstat, load) == offsetof(SeedStatistics, load));
static_assert(offsetof(serverstat, load_hwm) == offsetof(SeedStatistics, load_hwm));
static_assert(offsetof(serverstat, cpu) == offsetof(SeedStatistics, cpu));
static_assert(offsetof(serverstat, ncpu) == offsetof(SeedStatistics, ncpu));
static_assert(offsetof(serverstat, tmem) == offsetof(SeedStatistics, tmem));
static_assert(offsetof(serverstat, amem) == offsetof(SeedStatistics, amem));

// How often a child looks whether the last call into a replaced version has returned.
constexpr Nanoseconds sweep_every = std::chrono::milliseconds{100};

constexpr std::uint32_t number_at_start = 1;

std::vector<PluginSource> sources_of(const PluginFile& file) {
    std::vector<PluginSource> sources;
    for (const auto& plugin : file.lines) {
        sources.push_back(plugin->source());
    }
    return sources;
}

Result<std::vector<std::unique_ptr<PluginFile>>> group_by_file(const server_rec* main_server) {
    std::vector<std::unique_ptr<PluginFile>> files;
    for (const server_rec* server = main_server; server != nullptr; server = server->next) {
        for (const auto& plugin : server_config(server).plugins) {
            auto found = std::find_if(files.begin(), files.end(), [&plugin](const auto& file) {
                return file->path == plugin->source().file;
            });
            if (found == files.end()) {
                auto box = DescriptorBox::make();
                if (!box) {
                    return box.error();
                }
                files.push_back(
                    std::make_unique<PluginFile>(plugin->source().file, std::move(*box)));
                found = files.end() - 1;
            }
            (*found)->lines.push_back(plugin);
        }
    }
    return files;
}

// Which line it was, as far as that is known: else the first that names the file.
Error blame(const PluginFile& file, const PluginTrial::Verdict& verdict) {
    const std::size_t line = std::min(verdict.line.value_or(0), file.lines.size() - 1);
    const PluginSource& source = file.lines[line]->source();
    return {Error::Kind::malformed, source.written_at + ": BackhandFromSO " + source.file + " " +
                                        source.function + ": " + verdict.trouble};
}

}  // namespace

Status Plugins::try_all(apr_pool_t* pool, server_rec* main_server) {
    auto files = group_by_file(main_server);
    if (!files) {
        return files.error();
    }
    files_ = std::move(*files);
    for (const auto& file : files_) {
        auto trial = PluginTrial::start({
            .file = file->path,
            .owner = ::geteuid(),
            .lines = sources_of(*file),
            .box = &file->box,
            .number = number_at_start,
            .prepare = [&] { return ap_run_drop_privileges(pool, main_server) == OK; },
        });
        if (!trial) {
            return trial.error();
        }
        const PluginTrial::Verdict verdict = trial->wait();
        if (!verdict.trouble.empty()) {
            return blame(*file, verdict);
        }
    }
    return Done{};
}

Status Plugins::set_up(const Instance& instance) {
    std::size_t lines = 0;
    for (const auto& file : files_) {
        lines += file->lines.size();
    }
    if (lines == 0) {
        return Done{};
    }
    auto board = PluginBoard::make(lines, files_.size());
    if (!board) {
        return board.error();
    }
    board_ = std::make_unique<PluginBoard>(std::move(*board));

    const auto log = [server = instance.main_server](LogLevel, std::string_view text) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, server, "%.*s", static_cast<int>(text.size()),
                     text.data());
    };
    std::size_t line = 0;
    for (std::size_t index = 0; index < files_.size(); ++index) {
        files_[index]->marks = &board_->file(index);
        files_[index]->marks->version.store(1);
        for (const auto& plugin : files_[index]->lines) {
            plugin->report_to(board_->line(line++), log);
        }
    }
    return Done{};
}

std::unique_ptr<PluginWatch> Plugins::watch(const Instance& instance, Log log) const {
    if (files_.empty()) {
        return nullptr;
    }
    PluginWatchSettings settings;
    for (const auto& file : files_) {
        settings.files.push_back({.path = file->path,
                                  .lines = sources_of(*file),
                                  .box = &file->box,
                                  .marks = file->marks});
    }
    settings.board = board_.get();
    settings.owner = instance.owner;
    // What runs amok in a trial shall not reach what all processes share.
    settings.prepare = [&process = instance.process] {
        return ::mprotect(process.table_memory, process.table_bytes, PROT_NONE) == 0;
    };
    settings.counters = &instance.table.counters();
    settings.log = std::move(log);
    return std::make_unique<PluginWatch>(std::move(settings));
}

void Plugins::open_in_child(const server_rec* main_server) {
    if (files_.empty()) {
        return;
    }
    for (const auto& file : files_) {
        file->box.close_lid();
    }
    take_new(main_server);
    start_thread(main_server);
}

void Plugins::take_new(const server_rec* main_server) {
    for (const auto& file : files_) {
        const auto content = file->box.look();
        if (content && content->number != file->loaded) {
            load(*file, *content, main_server);
            file->loaded = content->number;
        }
    }
}

// All lines of a file change together, or none does.
void Plugins::load(PluginFile& file, const DescriptorBox::Content& content,
                   const server_rec* main_server) const {
    std::vector<std::unique_ptr<const PluginCode>> opened;
    for (const auto& plugin : file.lines) {
        auto code = open_plugin(UniqueFd{::fcntl(content.file.get(), F_DUPFD_CLOEXEC, 3)},
                                plugin->source());
        if (!code) {
            ap_log_error(
                APLOG_MARK, APLOG_ERR, 0, main_server, "plug-in not loaded by this child, %s: %s",
                plugin->is_open() ? "it keeps the old one" : "its place in the chain is empty",
                code.error().detail.c_str());
            return;
        }
        opened.push_back(std::move(*code));
    }
    for (std::size_t index = 0; index < opened.size(); ++index) {
        file.lines[index]->replace(std::move(opened[index]));
    }
}

bool Plugins::sweep() const {
    bool all_gone = true;
    for (const auto& file : files_) {
        for (const auto& plugin : file->lines) {
            all_gone = plugin->sweep() && all_gone;
        }
    }
    return all_gone;
}

// Never joined: what it uses lives as long as the process, and httpd may end a child in the middle
// of anything.  All signals are httpd's.
void Plugins::start_thread(const server_rec* main_server) {
    const auto run = [this, main_server]() noexcept {
        for (;;) {
            const std::uint32_t known = board_->changes();
            const bool all_gone = guard(
                [&] {
                    take_new(main_server);
                    return sweep();
                },
                true);
            board_->wait_for_change(known, all_gone ? std::nullopt : std::optional{sweep_every});
        }
    };
    sigset_t all{};
    sigset_t before{};
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        std::thread{run}.detach();
    } catch (const std::system_error& failure) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, main_server,
                     "this child will not take new plug-ins: %s", failure.what());
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

std::vector<PluginRow> Plugins::rows() const {
    std::vector<PluginRow> rows;
    for (const auto& file : files_) {
        for (const auto& plugin : file->lines) {
            const PluginSource& source = plugin->source();
            rows.push_back(
                {.file = source.file,
                 .function = source.function,
                 .argument = source.argument,
                 .version = file->marks == nullptr ? 0 : file->marks->version.load(),
                 .refused = file->marks == nullptr ? 0 : file->marks->refused.load(),
                 .corrected = plugin->marks() == nullptr ? 0 : plugin->marks()->corrected()});
        }
    }
    return rows;
}

}  // namespace backhand::httpd
