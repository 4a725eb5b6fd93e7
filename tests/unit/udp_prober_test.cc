// The asking side of a probe, on loopback: peers that answer as a test tells them to.
#include "forward/udp_prober.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "announce/probe.h"
#include "keys_of_tests.h"
#include "loopback.h"
#include "table_fixture.h"

namespace backhand {
namespace {

using Bytes = std::vector<std::uint8_t>;
using Answers = std::vector<std::optional<ProbeAnswer>>;

std::ptrdiff_t answered(const Answers& answers) {
    return std::ranges::count_if(answers, [](const auto& answer) { return answer.has_value(); });
}

// A question, as a peer gets it.
struct Question {
    const BoundSocket& at;
    Endpoint from;
    Endpoint contact;  // of the asked
    Probe probe;
    const KeyRing* keys;

    Probe answer(std::uint32_t serving, std::uint32_t workers_idle) const {
        return {Probe::Kind::answer, probe.nonce, serving, workers_idle};
    }

    void say(std::span<const std::uint8_t> datagram) const { say_from(at, datagram); }

    void say(const Probe& said) const { say(ProbeDatagram{said, contact, keys}.bytes()); }

    void say_from(const BoundSocket& socket, std::span<const std::uint8_t> datagram) const {
        const SocketAddress to{from};
        EXPECT_GE(
            ::sendto(socket.socket.get(), datagram.data(), datagram.size(), 0, to.get(), to.size),
            0);
    }
};

using Behaviour = std::function<void(const Question&)>;

// Listens for questions and answers none of them by itself.
class SilentPeer {
public:
    explicit SilentPeer(std::uint16_t contact_port, const KeyRing* keys = nullptr,
                        std::string_view address = "127.0.0.1")
        : keys_(keys),
          socket_(bound_socket(SOCK_DGRAM, address)),
          contact_{socket_.address.address, contact_port} {}

    const Endpoint& contact() const { return contact_; }

    std::uint16_t probe_port() const { return socket_.address.port; }

    const UniqueFd& socket() const { return socket_.socket; }

    // The next question, which must have come.
    Question next() const {
        EXPECT_TRUE(is_readable(socket_.socket, patience_of_tests));
        Bytes datagram(100);
        sockaddr_storage sender{};
        socklen_t size = sizeof sender;
        const auto received = ::recvfrom(socket_.socket.get(), datagram.data(), datagram.size(), 0,
                                         reinterpret_cast<sockaddr*>(&sender), &size);
        datagram.resize(received < 0 ? 0 : static_cast<std::size_t>(received));
        Probe probe;
        EXPECT_EQ(decode_probe(datagram, Probe::Kind::question, contact_, keys_, probe),
                  std::nullopt);
        return {socket_, Endpoint::from(sender).value_or(Endpoint{}), contact_, probe, keys_};
    }

private:
    const KeyRing* keys_;
    BoundSocket socket_;
    Endpoint contact_;
};

// Behaves as it is told, in a thread of its own.
class Peer {
public:
    Peer(std::uint16_t contact_port, Behaviour behaviour, const KeyRing* keys = nullptr,
         std::string_view address = "127.0.0.1")
        : silent_(contact_port, keys, address),
          behaviour_(std::move(behaviour)) {
        int ends[2] = {-1, -1};
        EXPECT_EQ(::pipe(ends), 0);
        end_of_test_ = UniqueFd{ends[0]};
        test_ = UniqueFd{ends[1]};
        thread_ = std::jthread{[this] { answer(); }};
    }

    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    ~Peer() {
        test_.reset();
        thread_.join();
    }

    const SilentPeer& silent() const { return silent_; }

private:
    void answer() {
        while (true) {
            pollfd events[2] = {{silent_.socket().get(), POLLIN, 0},
                                {end_of_test_.get(), POLLIN, 0}};
            ::poll(events, 2, -1);
            if (events[1].revents != 0) {
                return;
            }
            behaviour_(silent_.next());
        }
    }

    SilentPeer silent_;
    Behaviour behaviour_;
    UniqueFd end_of_test_;
    UniqueFd test_;
    std::jthread thread_;
};

Behaviour answers_with(std::uint32_t serving, std::uint32_t workers_idle) {
    return [=](const Question& question) { question.say(question.answer(serving, workers_idle)); };
}

struct Probing : testing::Test {
    explicit Probing(std::optional<KeyRing> ring = std::nullopt) : keys(std::move(ring)) {
        table->set_self(report_of(200, monotonic_now()));
    }

    const KeyRing* ring() const { return keys ? &*keys : nullptr; }

    // Returns the slot of the server.
    std::uint32_t announce(const Endpoint& contact, std::uint32_t probe_port) {
        ServerReport report = report_of(++servers, monotonic_now());
        report.load.contact = contact;
        report.load.probe_port = probe_port;
        return table->take(report).slot_index;
    }

    std::uint32_t announce(const SilentPeer& peer) {
        return announce(peer.contact(), peer.probe_port());
    }

    std::uint32_t announce(const Peer& peer) { return announce(peer.silent()); }

    // Answers are waited for as long as it takes, which is at most once.
    Answers ask_patiently(const std::vector<std::uint32_t>& slots) const {
        return ask(UdpProber{*table, source, ring(), patience_of_tests}, slots);
    }

    static Answers ask(const Prober& prober, const std::vector<std::uint32_t>& slots) {
        Answers answers(slots.size(), ProbeAnswer{999, 999});
        prober.ask(slots, answers);
        return answers;
    }

    std::uint64_t count(Counter counter) const { return table->counters().get(counter); }

    // The peer says something wrong and then the right thing: the first is refused.
    void expect_refused(const Behaviour& wrong, Counter counted = Counter::probe_answers_refused) {
        const Peer peer{static_cast<std::uint16_t>(8000 + servers),  // each time another server
                        [&](const Question& question) {
                            wrong(question);
                            question.say(question.answer(5, 68));
                        },
                        ring()};
        const std::uint64_t before = count(counted);
        const Answers answers = ask_patiently({announce(peer)});

        ASSERT_TRUE(answers[0]);
        EXPECT_EQ(answers[0]->serving, 5U);
        EXPECT_EQ(answers[0]->workers_idle, 68U);
        EXPECT_EQ(count(counted), before + 1) << counter_names[static_cast<std::size_t>(counted)];
    }

    std::optional<KeyRing> keys;
    TableFixture table;
    IpAddress source = *IpAddress::parse("127.0.0.1");
    std::uint8_t servers = 0;
};

struct ProbingWithKeys : Probing {
    ProbingWithKeys() : Probing(ring_of({old_secret})) {}
};

// ---- answered ----

TEST_F(Probing, LearnsWhatAServerHasToDo) {
    const Peer peer{8000, answers_with(5, 68)};
    const Answers answers = ask_patiently({announce(peer)});

    ASSERT_TRUE(answers[0]);
    EXPECT_EQ(answers[0]->serving, 5U);
    EXPECT_EQ(answers[0]->workers_idle, 68U);
    EXPECT_EQ(count(Counter::probes_sent), 1U);
    EXPECT_EQ(count(Counter::probes_answered), 1U);
    EXPECT_EQ(count(Counter::probes_unanswered), 0U);
}

TEST_F(Probing, ComesFromTheAddressThatPeersKnow) {
    source = *IpAddress::parse("127.0.0.2");
    std::atomic<bool> as_known = false;
    const Peer peer{8000, [&](const Question& question) {
                        as_known = question.from.address == source;
                        question.say(question.answer(5, 68));
                    }};

    EXPECT_TRUE(ask_patiently({announce(peer)})[0]);
    EXPECT_TRUE(as_known);
}

TEST_F(Probing, GoesOnFromAnotherAddressIfItIsNotThisHosts) {
    source = *IpAddress::parse("192.0.2.1");
    const Peer peer{8000, answers_with(5, 68)};

    EXPECT_TRUE(ask_patiently({announce(peer)})[0]);
}

// None of them answers before all have been asked.
TEST_F(Probing, AsksAllAtOnce) {
    std::atomic<int> asked = 0;
    const auto when_all_are_asked = [&](std::uint32_t serving) {
        return [&asked, serving](const Question& question) {
            ++asked;
            while (asked < 3) {
                std::this_thread::yield();
            }
            question.say(question.answer(serving, 68));
        };
    };
    const Peer first{8000, when_all_are_asked(1)};
    const Peer second{8000, when_all_are_asked(2), nullptr, "127.0.0.2"};
    const Peer third{8001, when_all_are_asked(3)};
    const std::uint32_t slot1 = announce(first);
    const std::uint32_t slot2 = announce(second);
    const std::uint32_t slot3 = announce(third);

    const Answers answers = ask_patiently({slot3, slot1, slot2});

    ASSERT_TRUE(answers[0] && answers[1] && answers[2]);
    EXPECT_EQ(answers[0]->serving, 3U);
    EXPECT_EQ(answers[1]->serving, 1U);
    EXPECT_EQ(answers[2]->serving, 2U);
}

TEST_F(Probing, AsksEachTimeWithAnotherNonce) {
    std::vector<std::uint64_t> nonces;
    constexpr std::size_t times = 100;  // more than are made at once
    {
        const Peer peer{8000, [&](const Question& question) {
                            nonces.push_back(question.probe.nonce);
                            question.say(question.answer(5, 68));
                        }};
        const std::uint32_t slot = announce(peer);
        const UdpProber prober{*table, source, nullptr, patience_of_tests};
        for (std::size_t count = 0; count < times; ++count) {
            ASSERT_TRUE(ask(prober, {slot})[0]);
        }
    }

    std::ranges::sort(nonces);
    EXPECT_EQ(nonces.size(), times);
    EXPECT_EQ(std::ranges::adjacent_find(nonces), nonces.end());
}

TEST_F(Probing, WorksInSeveralThreadsAtATime) {
    const Peer peer{
        8000, [](const Question& question) {
            question.say(question.answer(static_cast<std::uint32_t>(question.probe.nonce), 68));
        }};
    const std::uint32_t slot = announce(peer);
    const UdpProber prober{*table, source, nullptr, patience_of_tests};
    std::atomic<std::ptrdiff_t> times = 0;
    {
        std::vector<std::jthread> threads;
        for (int thread = 0; thread < 8; ++thread) {
            threads.emplace_back([&] {
                for (int count = 0; count < 50; ++count) {
                    times += answered(ask(prober, {slot}));
                }
            });
        }
    }

    EXPECT_EQ(times, 8 * 50);
    EXPECT_EQ(count(Counter::probes_answered), 8U * 50);
    EXPECT_EQ(count(Counter::probe_answers_late) + count(Counter::probe_answers_refused), 0U);
}

TEST_F(Probing, CrossesIPv6) {
    if (!UniqueFd{::socket(AF_INET6, SOCK_DGRAM, 0)}) {
        GTEST_SKIP() << "this host has no IPv6";
    }
    const Peer peer{8000, answers_with(5, 68), nullptr, "::1"};
    const Peer peer4{8000, answers_with(6, 68)};
    source = *IpAddress::parse("::1");

    const Answers answers = ask_patiently({announce(peer), announce(peer4)});

    ASSERT_TRUE(answers[0] && answers[1]);
    EXPECT_EQ(answers[0]->serving, 5U);
    EXPECT_EQ(answers[1]->serving, 6U);
}

// ---- not asked ----

TEST_F(Probing, AsksNobodyWhoDoesNotAnswerProbes) {
    const std::uint32_t slot = announce(*Endpoint::parse("127.0.0.1:8000"), 0);

    EXPECT_EQ(answered(ask_patiently({slot, self_slot, 7})), 0);
    EXPECT_EQ(count(Counter::probes_sent) + count(Counter::probes_failed), 0U);
}

TEST_F(Probing, AsksNobodyIfNobodyIsNamed) {
    EXPECT_TRUE(ask_patiently({}).empty());
}

TEST_F(Probing, CountsWhatCouldNotBeSent) {
    // Nothing can leave for elsewhere from a loopback address.
    const std::uint32_t slot = announce(*Endpoint::parse("192.0.2.1:80"), 4000);

    EXPECT_EQ(answered(ask_patiently({slot})), 0);
    EXPECT_EQ(count(Counter::probes_failed), 1U);
    EXPECT_EQ(count(Counter::probes_sent), 0U);
}

TEST_F(Probing, AsksNoMoreThanSoMany) {
    const Peer peer{8000, answers_with(5, 68)};
    const std::vector<std::uint32_t> slots(UdpProber::asked_max + 3, announce(peer));

    const Answers answers = ask_patiently(slots);

    EXPECT_EQ(answered(answers), static_cast<std::ptrdiff_t>(UdpProber::asked_max));
    EXPECT_EQ(count(Counter::probes_sent), UdpProber::asked_max);
}

// ---- not answered ----

TEST_F(Probing, DoesNotWaitForWhoIsSilent) {
    const SilentPeer peer{8000};
    const UdpProber prober{*table, source, nullptr};

    EXPECT_EQ(answered(ask(prober, {announce(peer)})), 0);
    EXPECT_EQ(count(Counter::probes_sent), 1U);
    EXPECT_EQ(count(Counter::probes_unanswered), 1U);
}

TEST_F(Probing, DoesNotWaitForAPortThatIsClosed) {
    std::uint16_t port = SilentPeer{8000}.probe_port();
    const UdpProber prober{*table, source, nullptr};

    EXPECT_EQ(answered(ask(prober, {announce(*Endpoint::parse("127.0.0.1:8000"), port)})), 0);
    EXPECT_EQ(count(Counter::probes_unanswered), 1U);
}

TEST_F(Probing, KeepsTheAnswersThatCameThoughOthersDidNot) {
    const SilentPeer silent{8000};
    const Peer peer{8001, answers_with(5, 68)};
    const std::uint32_t slot = announce(silent);
    const std::uint32_t answering = announce(peer);
    const UdpProber prober{*table, source, nullptr};

    Answers answers(2);
    const MonotonicTime give_up = monotonic_now() + nanoseconds_in(patience_of_tests);
    while (!answers[1] && monotonic_now() < give_up) {  // however slow this machine is
        answers = ask(prober, {slot, answering});
        EXPECT_FALSE(answers[0]);
    }
    ASSERT_TRUE(answers[1]);
    EXPECT_EQ(answers[1]->serving, 5U);
}

// It comes while the next question is waited for.
TEST_F(Probing, TakesALateAnswerForNoOther) {
    const SilentPeer peer{8000};
    const std::uint32_t slot = announce(peer);
    const UdpProber prober{*table, source, nullptr};
    ASSERT_EQ(answered(ask(prober, {slot})), 0);
    const Question first = peer.next();
    first.say(first.answer(5, 68));

    EXPECT_EQ(answered(ask(prober, {slot})), 0);
    EXPECT_EQ(count(Counter::probe_answers_late), 1U);
    EXPECT_EQ(count(Counter::probes_answered), 0U);
}

TEST_F(Probing, LeavesAServerAloneThatAnswersNothingForAWhile) {
    const SilentPeer peer{8000};
    const std::uint32_t slot = announce(peer);
    const UdpProber prober{*table, source, nullptr};
    const MonotonicTime give_up = monotonic_now() + nanoseconds_in(patience_of_tests);
    while (count(Counter::probes_withheld) == 0 && monotonic_now() < give_up) {
        EXPECT_EQ(answered(ask(prober, {slot})), 0);
    }

    EXPECT_GT(count(Counter::probes_withheld), 0U);
    EXPECT_EQ(count(Counter::probes_unanswered), count(Counter::probes_sent));
}

// ---- wrongly answered ----

TEST_F(Probing, RefusesAnAnswerToNoQuestion) {
    expect_refused(
        [](const Question& question) {
            Probe guessed = question.answer(1, 1);
            ++guessed.nonce;
            question.say(guessed);
        },
        Counter::probe_answers_late);
}

TEST_F(Probing, RefusesAnAnswerFromAnotherPort) {
    const BoundSocket other = bound_socket(SOCK_DGRAM);
    expect_refused([&](const Question& question) {
        question.say_from(other,
                          ProbeDatagram{question.answer(1, 1), question.contact, nullptr}.bytes());
    });
}

TEST_F(Probing, RefusesAnAnswerFromAnotherAddress) {
    expect_refused([&](const Question& question) {
        SocketAddress same_port{{*IpAddress::parse("127.0.0.7"), question.at.address.port}};
        BoundSocket other{.socket = UniqueFd{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)},
                          .address = {}};
        ASSERT_EQ(::bind(other.socket.get(), same_port.get(), same_port.size), 0);
        question.say_from(other,
                          ProbeDatagram{question.answer(1, 1), question.contact, nullptr}.bytes());
    });
}

TEST_F(Probing, RefusesItsOwnQuestion) {
    expect_refused([](const Question& question) { question.say(question.probe); });
}

TEST_F(Probing, RefusesWhatIsCutOrGoesOn) {
    for (const std::size_t size : {0U, 1U, 16U, 23U, 25U, 40U, 41U, 2000U}) {
        expect_refused([size](const Question& question) {
            const ProbeDatagram whole{question.answer(1, 1), question.contact, nullptr};
            Bytes datagram{whole.bytes().begin(), whole.bytes().end()};
            datagram.resize(size);
            question.say(datagram);
        });
    }
}

TEST_F(Probing, RefusesAnotherVersion) {
    expect_refused([](const Question& question) {
        const ProbeDatagram whole{question.answer(1, 1), question.contact, nullptr};
        Bytes datagram{whole.bytes().begin(), whole.bytes().end()};
        datagram[4] = 2;
        question.say(datagram);
    });
}

// ---- signed ----

TEST_F(ProbingWithKeys, SignsAndVerifies) {
    const Peer peer{8000, answers_with(5, 68), ring()};
    const Answers answers = ask_patiently({announce(peer)});

    ASSERT_TRUE(answers[0]);
    EXPECT_EQ(answers[0]->serving, 5U);
}

TEST_F(ProbingWithKeys, RefusesWhatIsNotSignedWithOneOfThem) {
    const KeyRing stranger = ring_of({new_secret});
    expect_refused([](const Question& question) {
        question.say(ProbeDatagram{question.answer(1, 1), question.contact, nullptr}.bytes());
    });
    expect_refused([&](const Question& question) {
        question.say(ProbeDatagram{question.answer(1, 1), question.contact, &stranger}.bytes());
    });
    expect_refused([](const Question& question) {
        const ProbeDatagram whole{question.answer(1, 1), question.contact, question.keys};
        Bytes datagram{whole.bytes().begin(), whole.bytes().end()};
        datagram[19] ^= 1U;
        question.say(datagram);
    });
}

// Somebody between the two passes the question on to a server with less to do.
TEST_F(ProbingWithKeys, RefusesWhatAnotherServerSaysOfItself) {
    expect_refused([](const Question& question) {
        const Endpoint idle = *Endpoint::parse("127.0.0.1:8001");
        question.say(ProbeDatagram{question.answer(0, 100), idle, question.keys}.bytes());
    });
}

// ---- who is left alone, and for how long ----

struct UnansweredProbes : Probing {
    static constexpr MonotonicTime start = 1'000'000'000'000;

    static MonotonicTime after(std::chrono::milliseconds pause) {
        return start + nanoseconds_in(pause);
    }

    std::uint32_t slot = announce(*Endpoint::parse("127.0.0.1:8000"), 4000);
};

TEST_F(UnansweredProbes, AreAMatterOfChanceAtFirst) {
    for (int count = 0; count < 99; ++count) {
        table->probe_unanswered(slot, after(std::chrono::milliseconds{count}));

        EXPECT_FALSE(table->probes_withheld(slot, after(std::chrono::milliseconds{count})));
    }
}

TEST_F(UnansweredProbes, KeepOthersBackForAsLongAgain) {
    using std::chrono::milliseconds;
    table->probe_unanswered(slot, start);
    table->probe_unanswered(slot, after(milliseconds{150}));

    EXPECT_TRUE(table->probes_withheld(slot, after(milliseconds{151})));
    EXPECT_TRUE(table->probes_withheld(slot, after(milliseconds{299})));
    EXPECT_FALSE(table->probes_withheld(slot, after(milliseconds{300})));

    table->probe_unanswered(slot, after(milliseconds{300}));
    EXPECT_TRUE(table->probes_withheld(slot, after(milliseconds{599})));
    EXPECT_FALSE(table->probes_withheld(slot, after(milliseconds{600})));
}

TEST_F(UnansweredProbes, CountOnceIfTheyWereAskedTogether) {
    using std::chrono::milliseconds;
    table->probe_unanswered(slot, start);
    table->probe_unanswered(slot, after(milliseconds{150}));
    table->probe_unanswered(slot, after(milliseconds{250}));

    EXPECT_FALSE(table->probes_withheld(slot, after(milliseconds{300})));
}

TEST_F(UnansweredProbes, KeepOthersBackForHalfAMinuteAtMost) {
    using std::chrono::milliseconds;
    table->probe_unanswered(slot, start);
    table->probe_unanswered(slot, after(milliseconds{100'000}));

    EXPECT_TRUE(table->probes_withheld(slot, after(milliseconds{129'999})));
    EXPECT_FALSE(table->probes_withheld(slot, after(milliseconds{130'000})));
}

TEST_F(UnansweredProbes, AreForgottenWithTheFirstAnswer) {
    using std::chrono::milliseconds;
    table->probe_unanswered(slot, start);
    table->probe_unanswered(slot, after(milliseconds{150}));
    table->probe_answered(slot);

    EXPECT_FALSE(table->probes_withheld(slot, after(milliseconds{151})));
    table->probe_unanswered(slot, after(milliseconds{300}));
    EXPECT_FALSE(table->probes_withheld(slot, after(milliseconds{301})));
}

TEST_F(UnansweredProbes, AreForgottenWhenTheServerStartsAgain) {
    using std::chrono::milliseconds;
    table->probe_unanswered(slot, start);
    table->probe_unanswered(slot, after(milliseconds{150}));
    ServerReport report = *table->report(slot);
    report.load.boot_id += 1;
    table->take(report);

    EXPECT_FALSE(table->probes_withheld(slot, after(milliseconds{151})));
}

}  // namespace
}  // namespace backhand
