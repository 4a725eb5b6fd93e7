// Nothing on the way of a decision allocates, locks or calls the system, whatever the chain.
//
// Counted by what the address sanitizer offers, so in that preset only.
#if defined(__SANITIZE_ADDRESS__)

#include <string>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "busy_cluster.h"
#include "decide/chain.h"

// The sanitizer's header is not installed with every compiler that has it.
// NOLINTNEXTLINE(bugprone-reserved-identifier)
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void*,
                                                                           std::size_t),
                                                         void (*released)(const volatile void*));

namespace backhand {
namespace {

int locks_taken = 0;
int allocations_made = 0;

void count_allocation(const volatile void*, std::size_t) {
    ++allocations_made;
}

void ignore_release(const volatile void*) {}

const std::vector<std::vector<std::pair<const char*, const char*>>>& chains_to_try() {
    static const std::vector<std::vector<std::pair<const char*, const char*>>> chains = [] {
        std::vector<std::vector<std::pair<const char*, const char*>>> result = {
            {{"auto", ""}},
            {{"byAge", "2"}, {"byRandom", ""}, {"byLogWindow", ""}, {"byLoad", ""}},
            {{"byHealth", ""}, {"byRandom", ""}, {"byWindow", "3"}, {"byLatency", ""}},
            {{"bySession", "id"}, {"auto", ""}},
            // Goes back often, and takes all the memory that a match may have.
            {{"byPath", "^(/|a|p|(pp))+$"},
             {"byHost", "^((w|ww)+[.]?(x|example.com)?)+$"},
             {"auto", ""}},
        };
        for (const BuiltInLine& line : built_in_lines) {
            result.push_back({{line.name.data(), line.argument.data()}});
            result.push_back({{line.name.data(), line.argument.data()}, {"byInFlight", ""}});
        }
        return result;
    }();
    return chains;
}

std::string text_of(const std::vector<std::pair<const char*, const char*>>& written) {
    std::string text;
    for (const auto& [name, argument] : written) {
        text += std::string(name) + " " + argument + ", ";
    }
    return text;
}

TEST(TheWayOfADecision, NeitherAllocatesNorLocksWhateverTheChain) {
    ASSERT_NE(__sanitizer_install_malloc_and_free_hooks(&count_allocation, &ignore_release), 0);
    BusyCluster cluster{200};
    for (const auto& written : chains_to_try()) {
        const Chain chain = chain_of(written);
        CandidacySet set;
        Decision decision;
        decide(chain, cluster.context(), set,
               decision);  // the set grows to the cluster's size once
        decide(chain, cluster.context(), set, decision);
        allocations_made = locks_taken = 0;
        for (int count = 0; count < 20; ++count) {
            decide(chain, cluster.context(), set, decision);
        }
        const int allocations = allocations_made;
        const int locks = locks_taken;

        EXPECT_EQ(allocations, 0) << text_of(written);
        EXPECT_EQ(locks, 0) << text_of(written);
    }
}

// In a process that the kernel kills for any system call but read, write and exit.
TEST(TheWayOfADecision, CallsTheSystemNeverWhateverTheChain) {
    BusyCluster cluster{200};
    for (const auto& written : chains_to_try()) {
        const Chain chain = chain_of(written);
        CandidacySet set;
        Decision decision;
        decide(chain, cluster.context(), set, decision);
        decide(chain, cluster.context(), set, decision);
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
            for (int count = 0; count < 20; ++count) {
                decide(chain, cluster.context(), set, decision);
            }
            ::syscall(SYS_exit, 0);
        }
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << text_of(written);
    }
}

}  // namespace

}  // namespace backhand

// Stands before the C library's for everything this program calls.
extern "C" int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
    using Lock = int (*)(pthread_mutex_t*);
    static const auto next = reinterpret_cast<Lock>(::dlsym(RTLD_NEXT, "pthread_mutex_lock"));
    ++backhand::locks_taken;
    return next(mutex);
}

#endif
