// The moderator as a process: what it tells the cluster, what it believes, and how it ends.
#include "moderator/moderator.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "announce/challenge.h"
#include "announce/datagram.h"
#include "announce/probe.h"
#include "child_process.h"
#include "forward/peer_socket.h"
#include "forward/pool_protocol.h"
#include "keys_of_tests.h"
#include "loopback.h"
#include "measure/arriba.h"
#include "table_fixture.h"
#include "temporary_folder.h"

namespace backhand {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view own_name = "web1";
constexpr std::uint32_t interval_ms = 20;

// Whether `condition` comes true before a test has to be given up.
template <class Condition>
bool soon(Condition condition) {
    const MonotonicTime deadline = monotonic_now() + nanoseconds_in(patience_of_tests);
    while (!condition()) {
        if (monotonic_now() >= deadline) {
            return false;
        }
        std::this_thread::sleep_for(milliseconds{1});
    }
    return true;
}

// A host: the table, the sockets and the files that outlive a moderator.
class ModeratorTest : public testing::Test {
protected:
    ModeratorTest() {
        // Otherwise each would first measure how fast the machine is.
        EXPECT_TRUE(save_arriba(directory_ + "/arriba", cpu_model_name(), 1'000));
    }

    std::unique_ptr<ChildProcess> start_moderator() {
        return std::make_unique<ChildProcess>([this] { return run_moderator(settings(), *table); });
    }

    // ---- what it says ----

    // Its next announcement.
    std::optional<ServerReport> next_announcement() {
        if (!is_readable(hearer_.socket, patience_of_tests)) {
            return std::nullopt;
        }
        std::vector<std::uint8_t> datagram(datagram_bytes_max + 1);
        const auto size =
            ::recv(hearer_.socket.get(), datagram.data(), datagram.size(), MSG_DONTWAIT);
        datagram.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
        ServerReport report;
        EXPECT_EQ(decode_datagram(datagram, keys ? &*keys : nullptr, report), std::nullopt);
        return report;
    }

    bool has_been_heard() const { return is_readable(hearer_.socket, milliseconds{0}); }

    // What has been heard and not looked at yet is thrown away.
    void forget_announcements() {
        while (has_been_heard()) {
            next_announcement();
        }
    }

    // 50 of them take longer than everything that it does only now and then.
    void await_announcements(int count) {
        for (int heard = 0; heard < count; ++heard) {
            ASSERT_TRUE(next_announcement());
        }
    }

    // ---- what it is asked ----

    void ask(const Endpoint& where, const KeyRing* its_keys) const {
        const Probe question{.kind = Probe::Kind::question, .nonce = 4711};
        const ProbeDatagram datagram{question, *Endpoint::parse("127.0.0.1:8000"), its_keys};
        const SocketAddress to{where};
        ::sendto(speaker_.socket.get(), datagram.bytes().data(), datagram.bytes().size(), 0,
                 to.get(), to.size);
    }

    // Asks at the port that it announces.
    std::optional<Probe> probe_it() {
        const auto report = next_announcement();
        if (!report || report->load.probe_port == 0) {
            return std::nullopt;
        }
        ask({report->load.contact.address, static_cast<std::uint16_t>(report->load.probe_port)},
            keys ? &*keys : nullptr);
        if (!is_readable(speaker_.socket, patience_of_tests)) {
            return std::nullopt;
        }
        std::vector<std::uint8_t> datagram(100);
        const auto size = ::recv(speaker_.socket.get(), datagram.data(), datagram.size(), 0);
        datagram.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
        Probe answer;
        EXPECT_EQ(decode_probe(datagram, Probe::Kind::answer, report->load.contact,
                               keys ? &*keys : nullptr, answer),
                  std::nullopt);
        return answer;
    }

    // ---- what it hears ----

    static ServerReport peer(const Endpoint& contact, std::uint64_t boot_id,
                             std::uint64_t measurement) {
        ServerReport report = report_of(2, 0);
        report.set_name("web2");
        report.load.contact = contact;
        report.load.boot_id = boot_id;
        report.load.measurement = measurement;
        return report;
    }

    void send(std::span<const std::uint8_t> datagram) const { send_from(speaker_, datagram); }

    void send_from(const BoundSocket& socket, std::span<const std::uint8_t> datagram) const {
        const SocketAddress to{ear_.address};
        EXPECT_GE(
            ::sendto(socket.socket.get(), datagram.data(), datagram.size(), 0, to.get(), to.size),
            0);
    }

    void announce(const ServerReport& report, const KeyRing* its_keys) const {
        send(encode_datagram(report, std::vector<std::string>{"www.example.com"}, its_keys));
    }

    std::uint64_t count(Counter counter) const { return table->counters().get(counter); }

    void expect_counted(Counter counter, std::uint64_t times) const {
        EXPECT_TRUE(soon([&] { return count(counter) >= times; }))
            << counter_names[static_cast<std::size_t>(counter)];
        EXPECT_EQ(count(counter), times) << counter_names[static_cast<std::size_t>(counter)];
    }

    std::string logged() const {
        std::ostringstream text;
        text << std::ifstream{directory_ + "/log"}.rdbuf();
        return text.str();
    }

    std::string pid_file() const { return directory_ + "/httpd.pid"; }

    std::string socket_path() const { return directory_ + "/moderator.sock"; }

    std::optional<KeyRing> keys;
    TableFixture table{16, 4};

private:
    // Called in the moderator's process.
    ModeratorSettings settings() {
        ModeratorSettings settings;
        settings.self.set_name(own_name);
        settings.self.load.contact = *Endpoint::parse("127.0.0.1:8000");
        settings.self.load.interval_ms = interval_ms;
        settings.services = {"www.example.com"};
        settings.accept.add(*parse_accept("127.0.0.1"));
        settings.keys = keys ? &*keys : nullptr;
        settings.own_endpoints = {*Endpoint::parse("127.0.0.1:8443")};
        settings.pid_file = pid_file();
        settings.senders.push_back(
            {.socket = std::move(bound_socket(SOCK_DGRAM).socket), .to = hearer_.address});
        settings.receivers.emplace_back(::fcntl(ear_.socket.get(), F_DUPFD_CLOEXEC, 0));
        settings.socket_path = socket_path();
        settings.state_directory = directory_;
        settings.count_workers = [] { return WorkerCounts{.max = 10, .busy = 1, .idle = 9}; };
        settings.log = [path = directory_ + "/log"](LogLevel, std::string_view text) {
            std::ofstream{path, std::ios::app} << text << '\n';
        };
        return settings;
    }

    const TemporaryFolder folder_;
    const std::string& directory_ = folder_.path();
    BoundSocket hearer_ = bound_socket(SOCK_DGRAM);   // of its announcements
    BoundSocket ear_ = bound_socket(SOCK_DGRAM);      // of its own
    BoundSocket speaker_ = bound_socket(SOCK_DGRAM);  // of peers
};

struct AModerator : ModeratorTest {
    std::unique_ptr<ChildProcess> moderator = start_moderator();
};

// ---- announcing ----

TEST_F(AModerator, AnnouncesTheServer) {
    const auto first = next_announcement();
    const auto second = next_announcement();

    ASSERT_TRUE(first && second);
    EXPECT_EQ(first->name_view(), own_name);
    EXPECT_EQ(first->load.contact.to_string(), "127.0.0.1:8000");
    EXPECT_EQ(first->services_view(), "www.example.com");
    EXPECT_EQ(first->load.workers_idle, 9U);
    EXPECT_EQ(first->load.arriba, 1'000U);
    EXPECT_GT(first->load.memory_total_bytes, 0U);
    EXPECT_EQ(first->load.boot_id, table->boot_id());
    EXPECT_FALSE(first->load.has(leaving));
    EXPECT_GT(second->load.measurement, first->load.measurement);
}

TEST_F(AModerator, KeepsThisServersSlotUpToDate) {
    ASSERT_TRUE(soon([&] { return table->report(self_slot).has_value(); }));
    const std::uint64_t measurement = table->report(self_slot)->load.measurement;

    EXPECT_TRUE(soon([&] {
        const auto report = table->report(self_slot);
        return report && report->load.measurement > measurement + 3;
    }));
    EXPECT_TRUE(table->moderator_alive(monotonic_now()));
}

TEST_F(AModerator, AnnouncesTheRequestsInProgress) {
    const ChildTally child = table->cells().claim(100);
    child.serving_began();
    child.serving_began();
    child.forwarding_began();

    EXPECT_TRUE(soon([&] {
        const auto report = next_announcement();
        return report && report->load.serving == 2 && report->load.forwarding == 1;
    }));
}

TEST_F(AModerator, SetsWrongSumsRight) {
    const ChildTally killed = table->cells().claim(100);
    killed.cell->serving.fetch_add(1);

    EXPECT_TRUE(soon([&] { return table->cells().quick().serving == 1; }));
    EXPECT_EQ(table->cells().exact().serving, 1U);
}

// ---- answering probes ----

TEST_F(AModerator, AnswersProbesWhereItAnnouncesThatItDoes) {
    const std::optional<Probe> answer = probe_it();

    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->serving, 0U);
    EXPECT_EQ(answer->workers_idle, 9U);
    expect_counted(Counter::probed_answered, 1);
}

TEST_F(AModerator, TellsAProbeWhatIsInProgressAtThisMoment) {
    const ChildTally child = table->cells().claim(100);
    for (std::uint32_t serving = 1; serving <= 5; ++serving) {
        child.serving_began();
        const std::optional<Probe> answer = probe_it();

        ASSERT_TRUE(answer);
        EXPECT_EQ(answer->serving, serving);
    }
}

TEST_F(AModerator, AnnouncesDuringAFloodOfProbes) {
    const auto report = next_announcement();
    ASSERT_TRUE(report);
    const Endpoint to{report->load.contact.address,
                      static_cast<std::uint16_t>(report->load.probe_port)};
    std::atomic<bool> enough = false;
    std::jthread flood([&] {
        while (!enough) {
            ask(to, nullptr);
        }
    });
    forget_announcements();
    await_announcements(20);
    enough = true;

    EXPECT_GT(count(Counter::probed_answered), 0U);
}

// ---- hearing ----

TEST_F(AModerator, TakesInWhatPeersAnnounce) {
    const Endpoint contact = *Endpoint::parse("127.0.0.1:8001");

    announce(peer(contact, 7, 1), nullptr);
    announce(peer(contact, 7, 2), nullptr);

    expect_counted(Counter::datagrams_accepted, 2);
    EXPECT_EQ(table->find_contact(contact), 1U);
    EXPECT_EQ(table->report(1)->load.measurement, 2U);
    EXPECT_EQ(table->report(1)->name_view(), "web2");
}

TEST_F(AModerator, CountsWhatItTookThoughItWasImplausible) {
    ServerReport report = peer(*Endpoint::parse("127.0.0.1:8001"), 7, 1);
    report.load.workers_idle = report.load.workers_max + 1;

    announce(report, nullptr);

    expect_counted(Counter::datagrams_implausible, 1);
    expect_counted(Counter::datagrams_accepted, 1);
}

TEST_F(AModerator, DropsWhatComesFromStrangers) {
    const ServerReport report = peer(*Endpoint::parse("127.0.0.1:8001"), 7, 1);

    send_from(bound_socket(SOCK_DGRAM, "127.0.0.9"), encode_datagram(report, {}, nullptr));

    expect_counted(Counter::datagrams_from_stranger, 1);
    EXPECT_EQ(table->slots_used(), 1U);
    EXPECT_TRUE(soon([&] {
        return logged() == "dropped announcements: 1 from_stranger; the last from 127.0.0.9\n";
    })) << logged();
}

TEST_F(AModerator, DropsContactsThatItMustNotForwardTo) {
    for (const char* contact :
         {"10.0.0.1:80", "127.0.0.9:80", "127.0.0.1:8000", "127.0.0.1:8443"}) {
        announce(peer(*Endpoint::parse(contact), 7, 1), nullptr);
    }

    expect_counted(Counter::datagrams_contact_refused, 4);
    EXPECT_EQ(table->slots_used(), 1U);
}

TEST_F(AModerator, KnowsItsOwnAnnouncements) {
    const auto report = next_announcement();
    ASSERT_TRUE(report);

    announce(*report, nullptr);

    expect_counted(Counter::datagrams_own, 1);
    EXPECT_THAT(logged(), Not(HasSubstr("dropped")));
}

TEST_F(AModerator, CountsEachFaultOnce) {
    const auto datagram =
        encode_datagram(peer(*Endpoint::parse("127.0.0.1:8001"), 7, 1), {}, nullptr);
    auto of_other_version = datagram;
    of_other_version[4] = 9;
    auto malformed = datagram;
    malformed.back() = 0xFF;
    auto of_a_key = datagram;
    of_a_key[5] = 1;

    send(datagram);
    send(datagram);
    send({datagram.data(), 24});
    send(std::vector<std::uint8_t>(3'000, 0));
    send(of_other_version);
    send(malformed);
    send(of_a_key);

    expect_counted(Counter::datagrams_of_unknown_key, 1);
    expect_counted(Counter::datagrams_accepted, 1);
    expect_counted(Counter::datagrams_replayed, 1);
    expect_counted(Counter::datagrams_short, 1);
    expect_counted(Counter::datagrams_long, 1);
    expect_counted(Counter::datagrams_of_other_version, 1);
    expect_counted(Counter::datagrams_malformed, 1);
}

TEST_F(AModerator, HearsAFloodToItsEnd) {
    const Endpoint contact = *Endpoint::parse("127.0.0.1:8001");
    std::uint64_t sent = 0;
    for (int burst = 0; burst < 20; ++burst) {
        for (int number = 0; number < 100; ++number) {
            announce(peer(contact, 7, ++sent), nullptr);
        }
        ASSERT_TRUE(soon([&] { return count(Counter::datagrams_accepted) == sent; }));
    }

    EXPECT_EQ(table->report(1)->load.measurement, sent);
}

TEST_F(AModerator, HasNoRoomForMoreServersThanTheTable) {
    for (std::uint16_t number = 0; number < 20; ++number) {
        const Endpoint contact{.address = *IpAddress::parse("127.0.0.1"),
                               .port = static_cast<std::uint16_t>(9'000 + number)};
        announce(peer(contact, 7, 1), nullptr);
    }

    expect_counted(Counter::datagrams_cluster_full, 5);
    expect_counted(Counter::datagrams_accepted, 15);
}

// ---- ending ----

TEST_F(AModerator, SaysThatTheServerIsLeavingWhenItIsTold) {
    await_announcements(3);

    moderator->send(SIGTERM);

    EXPECT_EQ(moderator->wait(), 0);
    int farewells = 0;
    ServerReport last;
    while (has_been_heard()) {
        last = *next_announcement();
        farewells += last.load.has(leaving) ? 1 : 0;
    }
    EXPECT_EQ(farewells, 1);
    EXPECT_TRUE(last.load.has(leaving));
}

TEST_F(AModerator, SaysItWhileHttpdServesItsLastRequests) {
    std::ofstream{pid_file()} << "1\n";
    await_announcements(50);
    table->child_stops(monotonic_now());

    std::filesystem::remove(pid_file());

    EXPECT_TRUE(soon([&] {
        const auto report = next_announcement();
        return report && report->load.has(leaving);
    }));
    await_announcements(3);
}

TEST_F(AModerator, DoesNotSayItForAMissingFileAlone) {
    std::ofstream{pid_file()} << "1\n";
    await_announcements(50);
    std::filesystem::remove(pid_file());
    forget_announcements();

    for (int heard = 0; heard < 50; ++heard) {
        ASSERT_FALSE(next_announcement()->load.has(leaving));
    }
}

TEST_F(AModerator, DoesNotSayItForAStoppingChildAlone) {
    std::ofstream{pid_file()} << "1\n";
    await_announcements(50);
    table->child_stops(monotonic_now());
    forget_announcements();

    for (int heard = 0; heard < 50; ++heard) {
        ASSERT_FALSE(next_announcement()->load.has(leaving));
    }
}

// ---- its successor ----

TEST_F(AModerator, EndsWithoutAWordWhenAnotherTakesOver) {
    const auto before = next_announcement();
    const auto successor = start_moderator();

    EXPECT_EQ(moderator->wait(), 0);

    forget_announcements();
    for (int heard = 0; heard < 10; ++heard) {
        const auto report = next_announcement();
        ASSERT_TRUE(report);
        EXPECT_FALSE(report->load.has(leaving));
        EXPECT_EQ(report->load.boot_id, before->load.boot_id);
        EXPECT_GT(report->load.measurement, before->load.measurement);
    }
}

TEST_F(AModerator, IsFollowedAtOnceWhenItWasKilled) {
    await_announcements(3);
    const std::uint64_t boot_id = table->boot_id();
    moderator->kill();
    forget_announcements();
    const std::uint64_t measurement = table->report(self_slot)->load.measurement;

    const auto successor = start_moderator();

    const auto report = next_announcement();
    ASSERT_TRUE(report);
    EXPECT_EQ(report->load.boot_id, boot_id);
    EXPECT_GT(report->load.measurement, measurement);
}

TEST_F(AModerator, IsFollowedThoughItIsStuck) {
    await_announcements(3);
    moderator->send(SIGSTOP);
    moderator->wait_until_stopped();
    forget_announcements();

    const auto successor = start_moderator();
    await_announcements(3);

    moderator->send(SIGCONT);
    EXPECT_EQ(moderator->wait(), 0);
    await_announcements(3);
}

// ---- with keys ----

// Peers, of which one has a contact that answers.
struct AModeratorWithKeys : ModeratorTest {
    AModeratorWithKeys() {
        keys.emplace(ring_of({old_secret}));
        moderator = start_moderator();
        // From here on proofs are demanded.
        await_announcements(1);
    }

    void announce_web2(std::uint64_t boot_id, std::uint64_t measurement) {
        announce(peer(web2.contact(), boot_id, measurement), &*keys);
    }

    // What "web2" answers when it is this far.
    std::string answer_of_web2(const Conversation& asked, std::uint64_t boot_id,
                               std::uint64_t measurement) const {
        const auto nonce = read_challenge(asked.field("Backhand-Challenge"), web2.contact(), *keys);
        EXPECT_TRUE(nonce);
        return answer_text(
            nonce.value_or(Nonce{}), {.contact = web2.contact(), .name = "web2"},
            {.boot_id = boot_id, .measurement = measurement, .serving = 3, .workers_idle = 6},
            *keys);
    }

    bool is_proven() const {
        ServerView view;
        return table->view(1, 0, monotonic_now(), view) && view.proven;
    }

    WebServer web2;
    std::unique_ptr<ChildProcess> moderator;
};

TEST_F(AModeratorWithKeys, DropsWhatIsNotSignedByAMember) {
    const ServerReport report = peer(web2.contact(), 7, 1);
    const KeyRing others = ring_of({new_secret});
    auto forged = encode_datagram(report, {}, &*keys);
    forged[23] += 1;

    announce(report, nullptr);
    announce(report, &others);
    send(forged);

    expect_counted(Counter::datagrams_forged, 1);
    expect_counted(Counter::datagrams_unsigned, 1);
    expect_counted(Counter::datagrams_of_unknown_key, 1);
    EXPECT_EQ(table->slots_used(), 1U);
    EXPECT_EQ(count(Counter::challenges_sent), 0U);
}

TEST_F(AModeratorWithKeys, ProvesAContactThatAnswers) {
    announce_web2(7, 10);

    const auto asked = web2.next();
    ASSERT_TRUE(asked);
    EXPECT_FALSE(is_proven());
    asked->answer("200 OK", answer_of_web2(*asked, 7, 15));

    expect_counted(Counter::challenges_passed, 1);
    EXPECT_TRUE(is_proven());
    EXPECT_EQ(count(Counter::challenges_sent), 1U);
    EXPECT_EQ(count(Counter::challenges_failed), 0U);
    // Its answer carried fresher news than its announcement.
    EXPECT_TRUE(soon([&] {
        ServerView view;
        return table->view(1, 0, monotonic_now(), view) && view.serving == 3 &&
               view.workers_idle == 6;
    }));
}

TEST_F(AModeratorWithKeys, AsksNoMoreOnceItIsProven) {
    announce_web2(7, 10);
    const auto asked = web2.next();
    ASSERT_TRUE(asked);
    asked->answer("200 OK", answer_of_web2(*asked, 7, 15));
    expect_counted(Counter::challenges_passed, 1);

    announce_web2(7, 15);
    announce_web2(7, 16);

    expect_counted(Counter::datagrams_accepted, 2);
    expect_counted(Counter::datagrams_replayed, 1);
    EXPECT_EQ(count(Counter::challenges_sent), 1U);
}

TEST_F(AModeratorWithKeys, AsksAgainLaterWhoDidNotAnswerRightly) {
    std::uint64_t measurement = 10;
    const auto asked_anew = [&] {
        for (;;) {
            announce_web2(7, ++measurement);
            if (auto asked = web2.next(milliseconds{20})) {
                return std::move(*asked);
            }
        }
    };

    asked_anew().answer("404 Not Found", "");
    expect_counted(Counter::challenges_failed, 1);
    EXPECT_FALSE(is_proven());

    asked_anew().say("garbage\r\n");
    expect_counted(Counter::challenges_failed, 2);
    EXPECT_FALSE(is_proven());

    const Conversation asked = asked_anew();
    asked.answer("200 OK", answer_of_web2(asked, 7, measurement));
    expect_counted(Counter::challenges_passed, 1);
    EXPECT_TRUE(is_proven());
    EXPECT_EQ(count(Counter::challenges_sent), 3U);
    EXPECT_THAT(logged(), HasSubstr(web2.contact().to_string() +
                                    " announces itself but has not proved that it holds the "
                                    "cluster's key: "));
}

TEST_F(AModeratorWithKeys, GoesOnWhileContactsSayNothingOrNeverEnd) {
    const WebServer endless;
    announce_web2(7, 1);
    const auto silent = web2.next();
    ServerReport babbler = peer(endless.contact(), 7, 1);
    babbler.set_name("web3");
    announce(babbler, &*keys);
    const auto babbling = endless.next();
    ASSERT_TRUE(silent && babbling);
    const std::jthread speaking([&] {
        babbling->say("HTTP/1.1 200 OK\r\n");
        while (babbling->say("X: y\r\n")) {
        }
    });
    forget_announcements();

    for (std::uint64_t measurement = 2; measurement <= 20; ++measurement) {
        announce_web2(7, measurement);
        ASSERT_TRUE(next_announcement());
    }

    expect_counted(Counter::datagrams_accepted, 21);
    expect_counted(Counter::challenges_failed, 1);  // the endless one
    EXPECT_FALSE(is_proven());
}

// Somebody replays announcements of an earlier life of a server whose announcements do not get
// through.
TEST_F(AModeratorWithKeys, IsToldByTheAnswerThatWhatItHeardIsARecording) {
    announce_web2(7, 1'000);
    const auto asked = web2.next();
    ASSERT_TRUE(asked);
    asked->answer("200 OK", answer_of_web2(*asked, 8, 50));
    expect_counted(Counter::challenges_failed, 1);
    EXPECT_FALSE(is_proven());

    announce_web2(7, 1'001);
    announce_web2(8, 50);
    expect_counted(Counter::datagrams_replayed, 2);

    announce_web2(8, 51);
    const auto asked_again = web2.next();
    ASSERT_TRUE(asked_again);
    asked_again->answer("200 OK", answer_of_web2(*asked_again, 8, 52));
    expect_counted(Counter::challenges_passed, 1);
    EXPECT_TRUE(is_proven());
}

TEST_F(AModeratorWithKeys, AnswersProbesThatAreSigned) {
    ASSERT_TRUE(probe_it());

    const auto report = next_announcement();
    ASSERT_TRUE(report);
    ask({report->load.contact.address, static_cast<std::uint16_t>(report->load.probe_port)},
        nullptr);
    expect_counted(Counter::probed_unsigned, 1);
    expect_counted(Counter::probed_answered, 1);
}

TEST_F(AModeratorWithKeys, KeepsWhatWasProvenForItsSuccessor) {
    announce_web2(7, 10);
    const auto asked = web2.next();
    ASSERT_TRUE(asked);
    asked->answer("200 OK", answer_of_web2(*asked, 7, 15));
    expect_counted(Counter::challenges_passed, 1);

    moderator = start_moderator();
    await_announcements(3);
    announce_web2(7, 16);

    expect_counted(Counter::datagrams_accepted, 2);
    EXPECT_TRUE(is_proven());
    EXPECT_EQ(count(Counter::challenges_sent), 1U);
}

// ---- the pool of connections ----

// Whatever runs as httpd's user can reach the moderator's socket; this is it.
struct APool : AModerator {
    APool() {
        ::listen(member.socket.get(), 4);
        ::listen(other.socket.get(), 4);
        announce(peer(member.address, 1, 1), nullptr);
        EXPECT_TRUE(soon([&] { return table->find_contact(member.address).has_value(); }));
        auto connected = connect_to_moderator(socket_path());
        EXPECT_TRUE(connected);
        child = std::move(*connected);
    }

    // A connection to one server, given as one to another.
    void give(const Endpoint& to, const Endpoint& said) const {
        auto connection = connect_to(to, *IpAddress::parse("127.0.0.1"), patience_of_tests);
        ASSERT_TRUE(connection);
        EXPECT_TRUE(send_message(child.get(),
                                 {.kind = PoolMessage::Kind::give,
                                  .keepalive_timeout_ms = 60'000,
                                  .contact = said,
                                  .connections_max = 2},
                                 std::move(*connection)));
    }

    // What it lends; nothing if it has none.
    UniqueFd take(const Endpoint& contact) const {
        EXPECT_TRUE(
            send_message(child.get(), {.kind = PoolMessage::Kind::take, .contact = contact}));
        EXPECT_TRUE(is_readable(child, patience_of_tests));
        auto answer = receive_message(child.get());
        EXPECT_TRUE(answer && *answer);
        return std::move((*answer)->connection);
    }

    static bool is_closed(const BoundSocket& listener) {
        const UniqueFd accepted{::accept(listener.socket.get(), nullptr, nullptr)};
        char byte = 0;
        return is_readable(accepted, patience_of_tests) &&
               ::recv(accepted.get(), &byte, 1, MSG_DONTWAIT) == 0;
    }

    BoundSocket member = bound_socket(SOCK_STREAM);
    BoundSocket other = bound_socket(SOCK_STREAM);
    UniqueFd child;
};

TEST_F(APool, LendsWhatItWasGiven) {
    give(member.address, member.address);

    EXPECT_TRUE(take(member.address));
    EXPECT_FALSE(take(member.address));
    EXPECT_EQ(count(Counter::connections_refused_by_pool), 0U);
}

TEST_F(APool, TakesNoConnectionThatLeadsElsewhereThanItIsSaid) {
    give(other.address, member.address);

    EXPECT_FALSE(take(member.address));
    EXPECT_TRUE(is_closed(other));
    expect_counted(Counter::connections_refused_by_pool, 1);
}

TEST_F(APool, TakesNoConnectionToAServerThatIsNoMember) {
    give(other.address, other.address);

    EXPECT_FALSE(take(other.address));
    EXPECT_TRUE(is_closed(other));
    expect_counted(Counter::connections_refused_by_pool, 1);
}

TEST_F(APool, TakesNoDescriptorThatIsNoConnection) {
    EXPECT_TRUE(send_message(child.get(),
                             {.kind = PoolMessage::Kind::give,
                              .keepalive_timeout_ms = 60'000,
                              .contact = member.address,
                              .connections_max = 2},
                             UniqueFd{::open("/dev/null", O_RDWR | O_CLOEXEC)}));

    EXPECT_FALSE(take(member.address));
    expect_counted(Counter::connections_refused_by_pool, 1);
}

TEST_F(APool, KeepsNoMoreConnectionsThanItMay) {
    for (int number = 0; number < 5; ++number) {
        give(member.address, member.address);
    }
    const UniqueFd first = take(member.address);
    const UniqueFd second = take(member.address);

    EXPECT_TRUE(first && second);
    EXPECT_FALSE(take(member.address));
}

}  // namespace
}  // namespace backhand
