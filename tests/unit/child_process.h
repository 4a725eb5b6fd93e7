// A forked process that does what a test tells it to, and never outlives the test.
#pragma once

#include <csignal>
#include <utility>

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace backhand {

class ChildProcess {
public:
    // Runs `work` in a process of its own, which ends with the status that it returns.  Nothing
    // that the test framework does at the end of a process happens there.
    template <class Work>
    explicit ChildProcess(Work work) : pid_(::fork()) {
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::_exit(work());
        }
        EXPECT_GT(pid_, 0);
    }

    ChildProcess(const ChildProcess&) = delete;
    ChildProcess& operator=(const ChildProcess&) = delete;

    ~ChildProcess() {
        if (pid_ > 0) {
            send(SIGKILL);
            wait();
        }
    }

    pid_t pid() const { return pid_; }

    void send(int signal) const { ::kill(pid_, signal); }

    // Waits until it has stopped (SIGSTOP).
    void wait_until_stopped() const { ::waitpid(pid_, nullptr, WUNTRACED); }

    // Its exit status, or minus the signal that killed it.
    int wait() {
        int status = 0;
        ::waitpid(std::exchange(pid_, 0), &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }

    int kill() {
        send(SIGKILL);
        return wait();
    }

private:
    pid_t pid_;
};

}  // namespace backhand
