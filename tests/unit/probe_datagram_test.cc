// The probe's format: what is written is read, and nothing else is.
#include "announce/probe.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/hex.h"
#include "keys_of_tests.h"

namespace backhand {
namespace {

using Bytes = std::vector<std::uint8_t>;
using Kind = Probe::Kind;

constexpr Probe question{.kind = Kind::question, .nonce = 0x0011223344556677};
constexpr Probe answer{
    .kind = Kind::answer, .nonce = 0x0011223344556677, .serving = 5, .workers_idle = 68};

Endpoint contact() {
    return *Endpoint::parse("10.0.5.10:80");
}

Bytes written(const Probe& probe, const KeyRing* keys, const Endpoint& asked = contact()) {
    const ProbeDatagram datagram{probe, asked, keys};
    return {datagram.bytes().begin(), datagram.bytes().end()};
}

std::string hex_of(const Bytes& bytes) {
    std::string text;
    for (const std::uint8_t byte : bytes) {
        text += hex(std::array{byte});
    }
    return text;
}

std::optional<Counter> fault_of(const Bytes& datagram, Kind expected, const KeyRing* keys,
                                const Endpoint& asked = contact()) {
    Probe probe;
    return decode_probe(datagram, expected, asked, keys, probe);
}

// ---- written and read ----

// Computed by another implementation: what servers of any version must agree on.
TEST(AProbe, IsTheSameInEveryVersion) {
    const KeyRing ring = ring_of({old_secret});

    EXPECT_EQ(hex_of(written(question, nullptr)),
              "424850520100010000112233445566770000000000000000");
    EXPECT_EQ(hex_of(written(answer, &ring)),
              "42485052016d020000112233445566770000000500000044"
              "8118d6c1a2ee1192604968b0038105a0");
}

TEST(AProbe, IsReadAsItWasWritten) {
    const KeyRing ring = ring_of({old_secret});
    for (const KeyRing* const keys : {static_cast<const KeyRing*>(nullptr), &ring}) {
        for (const Probe& probe : {question, answer}) {
            Probe read;

            EXPECT_EQ(decode_probe(written(probe, keys), probe.kind, contact(), keys, read),
                      std::nullopt);
            EXPECT_EQ(read, probe);
        }
    }
}

TEST(AProbe, HasRoomForTheLargestNumbers) {
    const Probe largest{.kind = Kind::answer, .nonce = ~0ULL, .serving = ~0U, .workers_idle = ~0U};
    Probe read;

    EXPECT_EQ(decode_probe(written(largest, nullptr), Kind::answer, contact(), nullptr, read),
              std::nullopt);
    EXPECT_EQ(read, largest);
}

// Else whoever writes a member's address on questions would have it sent more than he sends.
TEST(AProbe, IsAnsweredByNothingLonger) {
    const KeyRing ring = ring_of({old_secret});

    EXPECT_EQ(written(answer, nullptr).size(), written(question, nullptr).size());
    EXPECT_EQ(written(answer, &ring).size(), written(question, &ring).size());
}

TEST(AProbe, ShowsItsNonceWhoeverHasSentIt) {
    EXPECT_EQ(nonce_in(written(question, nullptr)), question.nonce);
    EXPECT_EQ(nonce_in(Bytes(probe_bytes - 1)), std::nullopt);
    EXPECT_EQ(nonce_in({}), std::nullopt);
}

// ---- malformed ----

TEST(AProbe, OfAnyOtherLengthIsMalformed) {
    const KeyRing ring = ring_of({old_secret});
    for (const KeyRing* const keys : {static_cast<const KeyRing*>(nullptr), &ring}) {
        const Bytes whole = written(question, keys);
        for (std::size_t size = 0; size <= 2 * probe_bytes_max; ++size) {
            Bytes cut = whole;
            cut.resize(size);

            EXPECT_EQ(
                fault_of(cut, Kind::question, keys),
                size == whole.size() ? std::nullopt : std::optional{Counter::probed_malformed})
                << size;
        }
    }
}

TEST(AProbe, WithAnotherMagicIsMalformed) {
    for (const std::size_t offset : {0U, 1U, 2U, 3U}) {
        Bytes datagram = written(question, nullptr);
        datagram[offset] ^= 1U;

        EXPECT_EQ(fault_of(datagram, Kind::question, nullptr), Counter::probed_malformed);
    }
}

TEST(AProbe, OfAnotherVersionMayHaveAnotherLength) {
    Bytes datagram = written(question, nullptr);
    datagram[4] = 2;
    EXPECT_EQ(fault_of(datagram, Kind::question, nullptr), Counter::probed_of_other_version);

    datagram.resize(100);
    EXPECT_EQ(fault_of(datagram, Kind::question, nullptr), Counter::probed_of_other_version);
}

TEST(AProbe, OfTheOtherKindIsMalformed) {
    EXPECT_EQ(fault_of(written(answer, nullptr), Kind::question, nullptr),
              Counter::probed_malformed);
    EXPECT_EQ(fault_of(written(question, nullptr), Kind::answer, nullptr),
              Counter::probed_malformed);
    Bytes of_no_kind = written(question, nullptr);
    of_no_kind[6] = 0;
    EXPECT_EQ(fault_of(of_no_kind, Kind::question, nullptr), Counter::probed_malformed);
}

// ---- signed ----

TEST(ASignedProbe, IsWhatAServerWithAKeyAsksFor) {
    const KeyRing ring = ring_of({old_secret});
    const KeyRing other = ring_of({new_secret});

    EXPECT_EQ(fault_of(written(question, nullptr), Kind::question, &ring),
              Counter::probed_unsigned);
    EXPECT_EQ(fault_of(written(question, &other), Kind::question, &ring),
              Counter::probed_of_unknown_key);
    EXPECT_EQ(fault_of(written(question, &ring), Kind::question, nullptr),
              Counter::probed_of_unknown_key);
}

TEST(ASignedProbe, IsForgedIfAnyBitHasBeenChanged) {
    const KeyRing ring = ring_of({old_secret});
    const Bytes good = written(answer, &ring);
    for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
        Bytes changed = good;
        changed[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);

        EXPECT_NE(fault_of(changed, Kind::answer, &ring), std::nullopt) << bit;
    }
    Bytes changed = good;
    changed[23] ^= 1U;
    EXPECT_EQ(fault_of(changed, Kind::answer, &ring), Counter::probed_forged);
}

// Or whoever is between two servers could have a third one answer.
TEST(ASignedProbe, IsForgedForEveryServerButTheOneThatIsAsked) {
    const KeyRing ring = ring_of({old_secret});
    const Bytes datagram = written(answer, &ring);

    for (const char* const other :
         {"10.0.5.10:81", "10.0.5.11:80", "[2001:db8::10]:80", "[::a00:50a]:80"}) {
        EXPECT_EQ(fault_of(datagram, Kind::answer, &ring, *Endpoint::parse(other)),
                  Counter::probed_forged)
            << other;
    }
}

TEST(ASignedProbe, IsNotAnAnnouncementsOrAChallengesTag) {
    const KeyRing ring = ring_of({old_secret});
    using enum KeyPurpose;
    for (const KeyPurpose purpose : {announcement, challenge, request}) {
        Bytes datagram = written(question, &ring);
        Bytes message{datagram.begin(), datagram.begin() + probe_bytes};
        const auto address = contact().address.bytes;
        message.insert(message.end(), address.begin(), address.end());
        message.insert(message.end(), {0, 80});
        const Tag own = ring.sign(KeyPurpose::probe, message);
        ASSERT_TRUE(std::equal(own.begin(), own.end(), datagram.begin() + probe_bytes));
        const Tag tag = ring.sign(purpose, message);
        std::copy(tag.begin(), tag.end(), datagram.begin() + probe_bytes);

        EXPECT_EQ(fault_of(datagram, Kind::question, &ring), Counter::probed_forged);
    }
}

TEST(ASignedProbe, IsReadWhileKeysAreChanged) {
    const KeyRing before = ring_of({old_secret});
    const KeyRing added = ring_of({old_secret, new_secret});
    const KeyRing first = ring_of({new_secret, old_secret});
    const KeyRing after = ring_of({new_secret});

    for (const auto& [sender, receiver] :
         {std::pair{&before, &added}, std::pair{&added, &before}, std::pair{&added, &first},
          std::pair{&first, &added}, std::pair{&first, &after}, std::pair{&after, &first}}) {
        EXPECT_EQ(fault_of(written(question, sender), Kind::question, receiver), std::nullopt);
    }
    EXPECT_EQ(fault_of(written(question, &first), Kind::question, &before),
              Counter::probed_of_unknown_key);
}

}  // namespace
}  // namespace backhand
