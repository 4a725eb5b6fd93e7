#include "decide/plugin_trial.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/system_error.h"
#include "base/text.h"
#include "base/trusted_file.h"
#include "decide/plugin_rehearsal.h"

namespace backhand {

namespace {

// What the process says, line by line: a letter and a text.
constexpr char line_identity = 'I';  // the FileIdentity's bytes in hexadecimal
constexpr char line_step = 'S';      // what it is doing now
constexpr char line_number = 'N';    // which of task.lines it is trying
constexpr char line_trouble = 'T';   // why the file is no good
constexpr char line_good = 'G';      // the end has been reached
constexpr std::size_t said_bytes_max = 1U << 20U;
constexpr int status_good = 0;
constexpr int status_bad = 1;

using IdentityBytes = std::array<std::uint8_t, sizeof(FileIdentity)>;

// ---- in the process of the trial ----

class Examiner {
public:
    Examiner(const PluginTrial::Task& task, int writer) : task_(task), writer_(writer) {}

    int examine() {
        try {
            const std::string trouble = find_trouble();
            // Said, because a plug-in can end the process with any status.
            say(trouble.empty() ? line_good : line_trouble, trouble);
            return trouble.empty() ? status_good : status_bad;
        } catch (const std::exception& failure) {
            say(line_trouble, task_.file + ": " + failure.what());
        } catch (...) {
            say(line_trouble, task_.file + " throws an exception");
        }
        return status_bad;
    }

private:
    std::string find_trouble() {
        if (task_.prepare && !task_.prepare()) {
            return task_.file + " cannot be tried without privileges";
        }
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        const auto file = open_code_file(task_.file, task_.owner);
        if (!file) {
            const bool unsafe = file.error().kind == Error::Kind::refused;
            return file.error().detail +
                   (unsafe ? "; a plug-in and every directory above it must belong to root and be "
                             "writable by nobody else"
                           : "");
        }

        struct stat entry {};

        if (::fstat(file->get(), &entry) != 0) {
            return last_system_error(task_.file).detail;
        }
        say(line_identity, hex(std::bit_cast<IdentityBytes>(FileIdentity::of(entry))));
        for (std::size_t index = 0; index < task_.lines.size(); ++index) {
            say(line_number, std::to_string(index));
            if (std::string trouble = try_line(*file, task_.lines[index]); !trouble.empty()) {
                return trouble;
            }
        }
        if (task_.box != nullptr) {
            const Status put = task_.box->put(*file, task_.number);
            return put ? "" : put.error().detail;
        }
        return "";
    }

    std::string try_line(const UniqueFd& file, const PluginSource& line) {
        say(line_step, "being loaded");
        auto code = open_plugin(UniqueFd{::fcntl(file.get(), F_DUPFD_CLOEXEC, 3)}, line);
        if (!code) {
            return code.error().detail;
        }
        // The original's functions may want of their request_rec what only a request has.
        if ((*code)->interface() != "original") {
            static_cast<void>(rehearse(
                **code, {.native_request = nullptr,
                         .on_step = [this](const std::string& what) { say(line_step, what); }}));
            say(line_step, "being ended");
            (*code).reset();
        } else {
            static_cast<void>((*code).release());
        }
        return "";
    }

    void say(char kind, const std::string& text) const {
        const std::string line = kind + text.substr(0, 2000) + '\n';
        static_cast<void>(::write(writer_, line.data(), line.size()) >= 0);
    }

    const PluginTrial::Task& task_;
    const int writer_;
};

[[noreturn]] void live_as_trial(const PluginTrial::Task& task, int writer) {
    for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGTERM, SIGINT, SIGHUP,
                             SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGXCPU}) {
        std::signal(signal, SIG_DFL);
    }
    sigset_t none{};
    sigemptyset(&none);
    ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    const auto cpu_seconds = static_cast<rlim_t>(task.cpu_limit.count());
    const rlimit some_cpu{cpu_seconds, cpu_seconds + 1};
    ::setrlimit(RLIMIT_CPU, &some_cpu);
    // What this process was forked from has registered more, which is not ours to run.
    static_cast<void>(std::atexit([] { ::_exit(status_bad); }));
    ::_exit(Examiner{task, writer}.examine());
}

}  // namespace

Result<PluginTrial> PluginTrial::start(const Task& task) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return last_system_error("cannot try " + task.file);
    }
    UniqueFd reader{ends[0]};
    UniqueFd writer{ends[1]};
    const pid_t pid = ::fork();
    if (pid < 0) {
        return last_system_error("cannot try " + task.file);
    }
    if (pid == 0) {
        reader.reset();
        ::fcntl(writer.get(), F_SETFL, 0);
        live_as_trial(task, writer.get());
    }
    return PluginTrial{pid, std::move(reader), monotonic_now() + nanoseconds_in(task.limit),
                       task.file};
}

PluginTrial::PluginTrial(PluginTrial&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)),
      reader_(std::move(other.reader_)),
      deadline_(other.deadline_),
      file_(std::move(other.file_)),
      said_(std::move(other.said_)),
      too_long_(other.too_long_) {}

PluginTrial::~PluginTrial() {
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
}

// False: the process may say more.
bool PluginTrial::read_all() {
    char buffer[4096];
    for (;;) {
        const ssize_t size = ::read(reader_.get(), buffer, sizeof buffer);
        if (size > 0) {
            if (said_.size() < said_bytes_max) {
                said_.append(buffer, static_cast<std::size_t>(size));
            }
        } else if (size == 0 || (errno != EINTR)) {
            return size == 0 || errno != EAGAIN;
        }
    }
}

std::optional<PluginTrial::Verdict> PluginTrial::verdict(MonotonicTime now) {
    static_cast<void>(read_all());
    if (now >= deadline_ && !too_long_) {
        too_long_ = true;
        ::kill(pid_, SIGKILL);
    }
    int status = 0;
    const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
    if (ended == 0) {
        return std::nullopt;
    }
    const bool known = ended == std::exchange(pid_, 0);
    static_cast<void>(read_all());
    return conclude(known ? status : -1);
}

PluginTrial::Verdict PluginTrial::wait() {
    for (;;) {
        if (auto over = verdict(monotonic_now())) {
            return *over;
        }
        pollfd waiting{.fd = reader_.get(), .events = POLLIN, .revents = 0};
        ::poll(&waiting, 1, 5);
    }
}

PluginTrial::Verdict PluginTrial::conclude(int status) const {
    Verdict verdict;
    std::string last_step = "being loaded";
    bool good = false;
    for (std::size_t begin = 0; begin < said_.size();) {
        const std::size_t end = std::min(said_.find('\n', begin), said_.size());
        const std::string text = said_.substr(begin + 1, end - begin - 1);
        switch (said_[begin]) {
            case line_identity:
                if (const auto bytes = from_hex<sizeof(FileIdentity)>(text)) {
                    verdict.identity = std::bit_cast<FileIdentity>(*bytes);
                }
                break;
            case line_number:
                verdict.line = parse_number<std::size_t>(text);
                break;
            case line_step:
                last_step = text;
                break;
            case line_good:
                good = true;
                break;
            case line_trouble:
                verdict.trouble = text;
                break;
            default:
                break;
        }
        begin = end + 1;
    }
    const bool out_of_cpu = status != -1 && WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU;
    if (status == status_good && good) {
        verdict.trouble.clear();
    } else if (too_long_ || out_of_cpu) {
        verdict.trouble = file_ + " takes too long " + last_step;
    } else if (status != -1 && WIFSIGNALED(status)) {
        verdict.trouble =
            file_ + " crashes (signal " + std::to_string(WTERMSIG(status)) + ") " + last_step;
    } else if (verdict.trouble.empty()) {
        verdict.trouble = file_ + " ends the process that loads it, " + last_step;
    }
    return verdict;
}

}  // namespace backhand
