// Nothing on the way of a decision allocates, locks or calls the system, whatever the chain; and a
// probe, if the chain has one, calls it only to send, to wait and to receive.
//
// Counted by what the address sanitizer offers, so in that preset only.
#if defined(__has_feature)  // clang
#if __has_feature(address_sanitizer)
#define BACKHAND_COUNTS_ALLOCATIONS
#endif
#elif defined(__SANITIZE_ADDRESS__)  // gcc
#define BACKHAND_COUNTS_ALLOCATIONS
#endif

#if defined(BACKHAND_COUNTS_ALLOCATIONS)

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "answering_process.h"
#include "busy_cluster.h"
#include "decide/chain.h"
#include "forward/udp_prober.h"
#include "loopback.h"

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

// ---- a probe ----

// A server that can be asked, and one that asks it.
struct TheWayOfAProbe : testing::Test {
    TheWayOfAProbe() {
        ServerReport report = report_of(1, monotonic_now());
        report.load.contact = peer.contact();
        report.load.probe_port = peer.port();
        slots = {table->take(report).slot_index, 7, self_slot};
        ask();  // opens the socket, and makes the nonces of the next 31
    }

    bool ask() {
        prober.ask(slots, answers);
        return answers[0].has_value();
    }

    AnsweringProcess peer;
    TableFixture table;
    UdpProber prober{*table, peer.contact().address, nullptr, patience_of_tests};
    std::array<std::uint32_t, 3> slots{};
    std::array<std::optional<ProbeAnswer>, 3> answers;
};

TEST_F(TheWayOfAProbe, NeitherAllocatesNorLocks) {
    ASSERT_NE(__sanitizer_install_malloc_and_free_hooks(&count_allocation, &ignore_release), 0);
    ASSERT_TRUE(ask());
    int answered = 0;
    allocations_made = locks_taken = 0;
    for (int count = 0; count < 50; ++count) {
        answered += ask() ? 1 : 0;
    }
    const int allocations = allocations_made;
    const int locks = locks_taken;

    EXPECT_EQ(allocations, 0);
    EXPECT_EQ(locks, 0);
    EXPECT_EQ(answered, 50);
}

constexpr sock_filter load_call = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
constexpr sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
constexpr sock_filter kill_process = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);

// From now on this process is killed for any other system call.
bool allow_only(std::initializer_list<int> calls) {
    std::vector<sock_filter> filter = {load_call};
    for (const int call : calls) {
        filter.push_back(
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 1));
        filter.push_back(allow);
    }
    filter.push_back(kill_process);
    const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_F(TheWayOfAProbe, SendsWaitsAndReceivesAndCallsTheSystemForNothingElse) {
    ASSERT_TRUE(ask());
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        // The last is for nonces, now and then.
        bool good = allow_only({SYS_sendto, SYS_ppoll, SYS_recvfrom, SYS_exit, SYS_getrandom});
        for (int count = 0; count < 50; ++count) {
            good = ask() && good;
        }
        ::syscall(SYS_exit, good ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
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
