// The answering side of a probe, from one socket to another.
#include "moderator/probe_answerer.h"

#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "announce/probe.h"
#include "keys_of_tests.h"
#include "loopback.h"

namespace backhand {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr Probe question{.kind = Probe::Kind::question, .nonce = 4711};

struct AnsweringProbes : testing::Test {
    explicit AnsweringProbes(std::optional<KeyRing> ring = std::nullopt) : keys(std::move(ring)) {
        accept.add(*parse_accept("127.0.0.1"));
    }

    const KeyRing* ring() const { return keys ? &*keys : nullptr; }

    static Bytes bytes_of(const Probe& probe, const KeyRing* its_keys) {
        const ProbeDatagram datagram{probe, contact(), its_keys};
        return {datagram.bytes().begin(), datagram.bytes().end()};
    }

    void ask(std::span<const std::uint8_t> datagram) const { ask_from(asker, datagram); }

    void ask_from(const BoundSocket& from, std::span<const std::uint8_t> datagram) const {
        const SocketAddress to{{contact().address, answering.port}};
        EXPECT_GE(
            ::sendto(from.socket.get(), datagram.data(), datagram.size(), 0, to.get(), to.size), 0);
    }

    // What has come back, unread.
    std::optional<Bytes> returned() const {
        Bytes datagram(100);
        const auto size =
            ::recv(asker.socket.get(), datagram.data(), datagram.size(), MSG_DONTWAIT);
        if (size < 0) {
            return std::nullopt;
        }
        datagram.resize(static_cast<std::size_t>(size));
        return datagram;
    }

    std::size_t answer() { return answerer.answer(answering.socket.get()); }

    std::uint64_t count(Counter counter) const { return counters.get(counter); }

    // Sent, looked at, not answered, and counted as this.
    void expect_dropped(std::span<const std::uint8_t> datagram, Counter counter) {
        const std::uint64_t before = count(counter);
        ask(datagram);
        EXPECT_EQ(answer(), 1U);
        EXPECT_EQ(returned(), std::nullopt);
        EXPECT_EQ(count(counter), before + 1) << counter_names[static_cast<std::size_t>(counter)];
        EXPECT_EQ(count(Counter::probed_answered), 0U);
    }

    static Endpoint contact() { return *Endpoint::parse("127.0.0.1:8000"); }

    std::optional<KeyRing> keys;
    Counters counters;
    AcceptList accept;
    int times_counted = 0;
    ProbeAnswerer::News news{.serving = 5, .workers_idle = 68};
    ProbeAnswerer answerer{{.contact = contact(),
                            .accept = accept,
                            .keys = ring(),
                            .counters = counters,
                            .news = [this] {
                                ++times_counted;
                                return news;
                            }}};
    ProbeSocket answering = std::move(*open_probe_socket(contact().address));
    BoundSocket asker = bound_socket(SOCK_DGRAM);
};

struct AnsweringSignedProbes : AnsweringProbes {
    AnsweringSignedProbes() : AnsweringProbes(ring_of({old_secret, new_secret})) {}
};

TEST_F(AnsweringProbes, TellsWhatThisServerHasToDo) {
    ask(bytes_of(question, nullptr));
    EXPECT_EQ(answer(), 1U);

    const auto datagram = returned();
    ASSERT_TRUE(datagram);
    Probe read;
    EXPECT_EQ(decode_probe(*datagram, Probe::Kind::answer, contact(), nullptr, read), std::nullopt);
    EXPECT_EQ(read, (Probe{Probe::Kind::answer, 4711, 5, 68}));
    EXPECT_EQ(count(Counter::probed_answered), 1U);
}

TEST_F(AnsweringProbes, TellsItAnewEachTime) {
    ask(bytes_of(question, nullptr));
    answer();
    returned();
    news.serving = 6;
    ask(bytes_of(question, nullptr));
    answer();

    EXPECT_EQ((*returned())[19], 6);
}

TEST_F(AnsweringProbes, CountsOnceForAllThatAskTogether) {
    for (int asked = 0; asked < 3; ++asked) {
        ask(bytes_of(question, nullptr));
    }
    EXPECT_EQ(answer(), 3U);

    EXPECT_EQ(times_counted, 1);
    EXPECT_EQ(count(Counter::probed_answered), 3U);
}

TEST_F(AnsweringProbes, TakesNoMoreThanABatchAtATime) {
    const Bytes datagram = bytes_of(question, nullptr);
    for (std::size_t asked = 0; asked < ProbeAnswerer::most + 10; ++asked) {
        ask(datagram);
    }

    EXPECT_EQ(answer(), ProbeAnswerer::most);
    EXPECT_EQ(answer(), 10U);
    EXPECT_EQ(answer(), 0U);
}

TEST_F(AnsweringProbes, AnswersNobodyOutsideAcceptStats) {
    const BoundSocket stranger = bound_socket(SOCK_DGRAM, "127.0.0.9");
    ask_from(stranger, bytes_of(question, nullptr));

    EXPECT_EQ(answer(), 1U);
    EXPECT_FALSE(is_readable(stranger.socket, std::chrono::milliseconds{0}));
    EXPECT_EQ(count(Counter::probed_from_stranger), 1U);
    EXPECT_EQ(times_counted, 0);
}

TEST_F(AnsweringProbes, DropsWhatIsNoQuestion) {
    Bytes of_other_version = bytes_of(question, nullptr);
    of_other_version[4] = 2;
    Bytes cut = bytes_of(question, nullptr);
    cut.pop_back();
    Bytes longer = bytes_of(question, nullptr);
    longer.resize(3000);
    const KeyRing ring = ring_of({old_secret});

    expect_dropped({}, Counter::probed_malformed);
    expect_dropped(cut, Counter::probed_malformed);
    expect_dropped(longer, Counter::probed_malformed);
    expect_dropped(bytes_of({.kind = Probe::Kind::answer, .nonce = 1}, nullptr),
                   Counter::probed_malformed);
    expect_dropped(of_other_version, Counter::probed_of_other_version);
    expect_dropped(bytes_of(question, &ring), Counter::probed_of_unknown_key);
}

TEST_F(AnsweringSignedProbes, SignsWhatItSays) {
    const KeyRing askers = ring_of({old_secret});
    ask(bytes_of(question, &askers));
    EXPECT_EQ(answer(), 1U);

    const auto datagram = returned();
    ASSERT_TRUE(datagram);
    Probe read;
    EXPECT_EQ(decode_probe(*datagram, Probe::Kind::answer, contact(), &askers, read), std::nullopt);
    EXPECT_EQ(read, (Probe{Probe::Kind::answer, 4711, 5, 68}));
}

TEST_F(AnsweringSignedProbes, AnswersWhoeverHoldsOneOfItsKeys) {
    const KeyRing askers = ring_of({new_secret, old_secret});
    ask(bytes_of(question, &askers));
    EXPECT_EQ(answer(), 1U);

    EXPECT_TRUE(returned());
}

TEST_F(AnsweringSignedProbes, AnswersNobodyElse) {
    const KeyRing stranger = ring_of({"0123456789abcdef0123456789abcdef-strange"});
    Bytes forged = bytes_of(question, ring());
    forged.back() ^= 1U;
    const ProbeDatagram to_another{question, *Endpoint::parse("127.0.0.1:8001"), ring()};

    expect_dropped(bytes_of(question, nullptr), Counter::probed_unsigned);
    expect_dropped(bytes_of(question, &stranger), Counter::probed_of_unknown_key);
    expect_dropped(forged, Counter::probed_forged);
    expect_dropped(to_another.bytes(), Counter::probed_forged);
    EXPECT_EQ(times_counted, 0);
}

TEST(AProbeSocket, IsNotToBeHadAtAnAddressOfAnotherHost) {
    const auto socket = open_probe_socket(*IpAddress::parse("192.0.2.1"));

    ASSERT_FALSE(socket);
    EXPECT_NE(socket.error().detail.find("192.0.2.1"), std::string::npos);
}

}  // namespace
}  // namespace backhand
