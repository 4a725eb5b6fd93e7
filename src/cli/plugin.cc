#include "cli/plugin.h"

#include <array>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "decide/plugin_code.h"
#include "decide/plugin_rehearsal.h"

namespace backhand {

namespace {

// A plug-in that has not come back after so long never will.
constexpr unsigned limit_seconds = 60;

// None that a plug-in which ends the process is likely to end it with.
constexpr int status_good = 42;

// The original's functions get an empty request: httpd's real one is there in httpd only.
alignas(64) constinit std::array<unsigned char, 65'536> empty_request{};

// Written before each step; the last line is where it crashed.
void tell_step(const std::string& step) {
    static_cast<void>(::alarm(limit_seconds));
    std::fprintf(stderr, "\r\033[K%s", step.c_str());
}

int run(const PluginSource& source) {
    tell_step("being loaded");
    const auto code = open_plugin_by_path(source);
    if (!code) {
        std::fprintf(stderr, "\r\033[K");
        std::printf("%s\n", code.error().detail.c_str());
        return 1;
    }
    const RehearsalSettings settings{.native_request = empty_request.data(), .on_step = tell_step};
    std::vector<std::string> complaints = rehearse(**code, settings);
    for (std::string& complaint : rehearse_with_threads(**code, settings)) {
        complaints.push_back(std::move(complaint));
    }
    std::fprintf(stderr, "\r\033[K");
    for (const std::string& complaint : complaints) {
        std::printf("%s\n", complaint.c_str());
    }
    std::printf(
        "%s: interface %s, %s; a decision takes %.2f us of 16 servers, %.1f us of 1000\n",
        source.text().c_str(), std::string{(*code)->interface()}.c_str(),
        complaints.empty() ? "nothing is wrong" : "its answers have to be corrected",
        static_cast<double>(time_decision(**code, 16, empty_request.data()).count()) / 1e3,
        static_cast<double>(time_decision(**code, 1000, empty_request.data()).count()) / 1e3);
    return complaints.empty() ? status_good : 1;
}

}  // namespace

int check_plugin(const std::string& file, const std::string& function,
                 const std::string& argument) {
    // dlopen() looks for a name without a slash elsewhere.
    const PluginSource source{.file = std::filesystem::absolute(file).string(),
                              .function = function,
                              .argument = argument,
                              .written_at = ""};
    std::fflush(stdout);
    const pid_t pid = ::fork();
    if (pid == 0) {
        const int status = run(source);
        std::fflush(stdout);
        ::_exit(status);
    }
    int status = 0;
    if (pid < 0 || ::waitpid(pid, &status, 0) != pid) {
        std::fprintf(stderr, "backhand: cannot start a process\n");
        return 1;
    }
    if (WIFSIGNALED(status)) {
        std::fprintf(stderr, "\n");
        std::printf(WTERMSIG(status) == SIGALRM ? "%s takes too long\n"
                                                : "%s crashes (the step is in the line above)\n",
                    source.text().c_str());
        return 1;
    }
    if (WEXITSTATUS(status) == status_good) {
        return 0;
    }
    if (WEXITSTATUS(status) != 1) {
        std::printf("%s ends the process that loads it\n", source.text().c_str());
    }
    return 1;
}

}  // namespace backhand
