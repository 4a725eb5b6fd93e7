#include "httpd/moderator_process.h"

#include <algorithm>
#include <csignal>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "forward/pool_protocol.h"
#include "httpd/apache.h"
#include "httpd/guard.h"
#include "httpd/mpm.h"
#include "httpd/plugins.h"
#include "httpd/pool_object.h"
#include "moderator/moderator.h"

APLOG_USE_MODULE(backhand);

namespace backhand::httpd {

namespace {

constexpr const char* process_name = "bh-moderator";
constexpr Nanoseconds lived_long_enough = std::chrono::seconds{10};
constexpr int doublings_max = 6;
constexpr Milliseconds pause_first{100};
constexpr Milliseconds stop_limit{1000};

int log_level_of(LogLevel level) {
    switch (level) {
        case LogLevel::error:
            return APLOG_ERR;
        case LogLevel::warning:
            return APLOG_WARNING;
        case LogLevel::notice:
            return APLOG_NOTICE;
        case LogLevel::info:
            return APLOG_INFO;
        case LogLevel::debug:
            return APLOG_DEBUG;
    }
    return APLOG_ERR;
}

WorkerCounts count_workers() {
    WorkerCounts counts;
    const bool is_async = mpm_is_async();
    counts.max = children_max() * workers_per_child();

    const global_score& limits = *ap_scoreboard_image->global;
    for (int process = 0; process < limits.server_limit; ++process) {
        const process_score& score = *ap_get_scoreboard_process(process);
        if (score.pid == 0) {
            continue;  // nobody's: its threads need not be looked at
        }
        const bool serves_new =
            score.quiescing == 0 && score.generation == limits.running_generation;
        for (int thread = 0; thread < limits.thread_limit; ++thread) {
            switch (ap_get_scoreboard_worker_from_indexes(process, thread)->status) {
                case SERVER_DEAD:
                case SERVER_STARTING:
                case SERVER_IDLE_KILL:
                    break;
                case SERVER_READY:
                    counts.idle += serves_new ? 1 : 0;
                    break;
                case SERVER_BUSY_KEEPALIVE:
                    // Under the event MPM it waits for a moment only (kept_worker.h).
                    counts.idle += serves_new && is_async ? 1 : 0;
                    counts.busy += is_async ? 0 : 1;
                    break;
                default:
                    ++counts.busy;
            }
        }
    }
    return counts;
}

// A forked copy of a listening socket would keep the port open after httpd has died: peers would
// connect and wait instead of being refused.
void close_listening_sockets() {
    const long fds_max = std::min(::sysconf(_SC_OPEN_MAX), 65'536L);
    for (int fd = 3; fd < fds_max; ++fd) {
        int listening = 0;
        socklen_t size = sizeof listening;
        if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening != 0) {
            ::close(fd);
        }
    }
}

void forget_parents_signals() {
    for (const int signal :
         {SIGHUP, AP_SIG_GRACEFUL, AP_SIG_GRACEFUL_STOP, SIGPIPE, retire_signal}) {
        std::signal(signal, SIG_IGN);
    }
    for (const int signal : {SIGTERM, SIGINT, SIGCHLD, SIGSEGV, SIGBUS, SIGABRT, SIGILL}) {
        std::signal(signal, SIG_DFL);
    }
    sigset_t none{};
    sigemptyset(&none);
    ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

// The pool holds a descriptor for each idle connection.
void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

Milliseconds pause_after(int failures) {
    return failures == 0 ? Milliseconds{0}
                         : pause_first * (1 << std::min(failures - 1, doublings_max));
}

// Of a child of this process.  One that has ended is reaped: httpd looks but once a second, and
// whom it no longer knows by then it calls long lost.  Its number may soon be another's.
bool still_runs(pid_t pid) {
    return pid > 0 && ::waitpid(pid, nullptr, WNOHANG) == 0;
}

[[noreturn]] void live_as_moderator(Instance& instance, pid_t parent) {
    ::prctl(PR_SET_NAME, process_name);
    forget_parents_signals();
    raise_descriptor_limit();
    close_listening_sockets();
    if (ap_run_drop_privileges(instance.pool, instance.main_server) != OK) {
        ::_exit(1);
    }
    // After the change of user, which clears it.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) {
        ::_exit(0);  // it died before it could be said
    }
    std::this_thread::sleep_for(pause_after(instance.moderator_failures));

    ModeratorSettings settings;
    settings.self = instance.self;
    settings.services = instance.services;
    settings.accept = instance.settings().accept;
    settings.keys = instance.keys ? &*instance.keys : nullptr;
    settings.own_endpoints = instance.own_endpoints;
    settings.pid_file =
        ap_pid_fname == nullptr ? "" : ap_server_root_relative(instance.pool, ap_pid_fname);
    settings.senders = std::move(instance.senders);
    settings.receivers = std::move(instance.receivers);
    settings.socket_path = instance.socket_path;
    settings.state_directory = instance.settings().state_directory;
    settings.probe_port = instance.settings().probe_port;
    settings.count_workers = &count_workers;
    settings.log = [server = instance.main_server](LogLevel level, std::string_view text) {
        ap_log_error(APLOG_MARK, log_level_of(level), 0, server, "%.*s",
                     static_cast<int>(text.size()), text.data());
    };
    settings.plugins =
        server_config(instance.main_server).plugin_files->watch(instance, settings.log);
    const int status = run_moderator(std::move(settings), instance.table);
    // Not exit(): what the parent registered to be run at its end is not ours to run.
    ::_exit(status);
}

void on_moderator_event(int reason, void* data, int) noexcept;

void fork_moderator(Instance& instance) {
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) {
        if (!std::exchange(instance.moderator_missing, true)) {
            ap_log_error(APLOG_MARK, APLOG_ERR, errno, instance.main_server,
                         "cannot start the moderator: this server announces nothing until it can "
                         "be started, which is tried every ten seconds");
        }
        return;
    }
    if (pid == 0) {
        live_as_moderator(instance, parent);
    }
    if (std::exchange(instance.moderator_missing, false)) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, instance.main_server,
                     "the moderator has been started after all");
    }
    instance.moderator.pid = pid;
    instance.moderator_started_at = monotonic_now();
    instance.process.moderator_pid = pid;
    apr_proc_other_child_register(&instance.moderator, &on_moderator_event, &instance, nullptr,
                                  instance.pool);
}

// Called by httpd's parent when the moderator has died, and when the configuration goes.
void on_moderator_event(int reason, void* data, int) noexcept {
    Instance& instance = *static_cast<Instance*>(data);
    if (reason == APR_OC_REASON_UNREGISTER || reason == APR_OC_REASON_RUNNING) {
        static_cast<void>(still_runs(instance.moderator.pid));
        return;
    }
    apr_proc_other_child_unregister(data);
    if (reason == APR_OC_REASON_RESTART || mpm_is_stopping()) {
        return;
    }
    const bool lived = elapsed(instance.moderator_started_at, monotonic_now()) > lived_long_enough;
    instance.moderator_failures = lived ? 0 : instance.moderator_failures + 1;
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, instance.main_server,
                 "the moderator (pid %d) has died; starting another", instance.moderator.pid);
    guard([&] { fork_moderator(instance); });
}

// The previous generation's moderator ends by itself; httpd only has to know that it was ours.
void on_predecessor_event(int reason, void* data, int) noexcept {
    if (reason == APR_OC_REASON_UNREGISTER || reason == APR_OC_REASON_RUNNING) {
        static_cast<void>(still_runs(static_cast<apr_proc_t*>(data)->pid));
        return;
    }
    apr_proc_other_child_unregister(data);
}

void expect_end_of_predecessor(const Instance& instance) {
    const pid_t predecessor = instance.process.moderator_pid;
    if (still_runs(predecessor)) {
        auto& process = make_in_pool<apr_proc_t>(instance.pool);
        process.pid = predecessor;
        apr_proc_other_child_register(&process, &on_predecessor_event, &process, nullptr,
                                      instance.pool);
    }
}

// When httpd ends, so does the moderator.  On a restart it is told to retire: it stays until its
// successor is there, but not for ever, because the new configuration may be without this module.
apr_status_t stop_moderator(void* data) noexcept {
    int state = 0;
    const pid_t pid = static_cast<Instance*>(data)->process.moderator_pid;
    if (!still_runs(pid)) {
        return APR_SUCCESS;
    }
    if (ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_EXITING) {
        ::kill(pid, retire_signal);
        return APR_SUCCESS;
    }
    ::kill(pid, SIGTERM);
    const MonotonicTime deadline = monotonic_now() + nanoseconds_in(stop_limit);
    while (::waitpid(pid, &state, WNOHANG) == 0) {
        if (monotonic_now() > deadline) {
            ::kill(pid, SIGKILL);
        }
        std::this_thread::sleep_for(Milliseconds{5});
    }
    return APR_SUCCESS;
}

}  // namespace

void start_moderator(Instance& instance) {
    expect_end_of_predecessor(instance);
    instance.moderator_started = true;
    apr_pool_cleanup_register(instance.pool, &instance, &stop_moderator, apr_pool_cleanup_null);
    fork_moderator(instance);
}

int start_missing_moderator(apr_pool_t*, server_rec* main_server) {
    Instance* const instance = server_config(main_server).instance;
    if (instance != nullptr && instance->moderator_missing) {
        fork_moderator(*instance);
    }
    return DECLINED;
}

}  // namespace backhand::httpd
