#include "httpd/plugin_trial.h"

#include <cerrno>
#include <system_error>

#include <sys/wait.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace backhand::httpd {

namespace {

std::string explain_errno(const std::string& what) {
    return what + ": " + std::generic_category().message(errno);
}

}  // namespace

std::string try_plugin(const SeedPlugin& plugin, apr_pool_t* pool, server_rec* server) {
    if (const Status allowed = plugin.check_ownership(); !allowed) {
        return allowed.error().detail;
    }
    int ends[2];
    if (::pipe(ends) != 0) {
        return explain_errno("cannot try the plug-in");
    }
    const UniqueFd reader{ends[0]};
    UniqueFd writer{ends[1]};
    const pid_t pid = ::fork();
    if (pid == 0) {
        SeedPlugin trial{plugin.source()};
        ap_run_drop_privileges(pool, server);
        const Status opened = trial.open();
        const std::string answer = opened ? "" : opened.error().detail;
        const bool told = ::write(writer.get(), answer.data(), answer.size()) >= 0;
        ::_exit(opened && told ? 0 : 1);
    }
    writer.reset();
    std::string answer;
    char buffer[512];
    for (ssize_t size = 0; (size = ::read(reader.get(), buffer, sizeof buffer)) > 0;) {
        answer.append(buffer, static_cast<std::size_t>(size));
    }
    int status = 0;
    if (pid < 0 || ::waitpid(pid, &status, 0) != pid) {
        return explain_errno("cannot try the plug-in");
    }
    if (status != 0 && answer.empty()) {
        return plugin.source().file + " ends the process that loads it";
    }
    return answer;
}

}  // namespace backhand::httpd
