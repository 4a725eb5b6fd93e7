// Whoever can send datagrams but has no key changes nothing: forged, recorded, cut and random ones,
// hundreds of thousands of them, each dropped for exactly one reason.
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "announce/datagram.h"
#include "base/random.h"
#include "cluster/table.h"
#include "keys_of_tests.h"
#include "table_fixture.h"

namespace backhand {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr MonotonicTime now = 1'000'000'000'000;

#ifdef __OPTIMIZE__
constexpr std::uint64_t datagrams_count = 1'000'000;
#else
constexpr std::uint64_t datagrams_count = 200'000;
#endif

// Only faults of datagrams.
constexpr std::array possible_reasons = {
    Counter::datagrams_short,           Counter::datagrams_long,
    Counter::datagrams_malformed,       Counter::datagrams_of_other_version,
    Counter::datagrams_unsigned,        Counter::datagrams_of_unknown_key,
    Counter::datagrams_forged,          Counter::datagrams_replayed,
    Counter::datagrams_contact_refused, Counter::datagrams_cluster_full,
};

// A cluster of which an attacker has recorded everything, from its first day on.
class ARecordedCluster : public testing::Test {
protected:
    static constexpr std::uint8_t servers_count = 8;
    static constexpr std::uint64_t newest_measurement = 12;

    ARecordedCluster() {
        table->demand_proof(true);
        for (std::uint64_t boot_id = 5; boot_id <= 6; ++boot_id) {
            for (std::uint64_t number = 1; number <= newest_measurement; ++number) {
                for (std::uint8_t server = 1; server <= servers_count; ++server) {
                    hear(server, boot_id, number);
                }
            }
        }
        for (std::uint8_t server = 1; server <= servers_count; ++server) {
            EXPECT_TRUE(
                table->prove(server, report_of(server, 0).load.contact, 6, newest_measurement));
        }
    }

    void hear(std::uint8_t server, std::uint64_t boot_id, std::uint64_t number) {
        ServerReport report = report_of(server, now);
        report.load.boot_id = boot_id;
        report.load.measurement = number;
        report.load.serving = server;
        const std::vector<std::string> services(server, "www.example.com");
        recorded.push_back(encode_datagram(report, services, &keys));
        unsigned_ones.push_back(encode_datagram(report, services, nullptr));
        of_other_key.push_back(encode_datagram(report, services, &others));
        table->take(report);
    }

    // Why it is dropped, as the moderator does it; nothing if it is not.
    std::optional<Counter> fault_of(std::span<const std::uint8_t> datagram) {
        ServerReport report;
        if (const auto fault = decode_datagram(datagram, &keys, report)) {
            return fault;
        }
        report.load.received_at = now;
        switch (table->take(report).outcome) {
            case ClusterTable::Outcome::taken:
            case ClusterTable::Outcome::unproven:
                return std::nullopt;
            case ClusterTable::Outcome::replayed:
                return Counter::datagrams_replayed;
            case ClusterTable::Outcome::cluster_full:
                return Counter::datagrams_cluster_full;
        }
        return std::nullopt;
    }

    const Bytes& any_of(const std::vector<Bytes>& datagrams) {
        return datagrams[random.below(static_cast<std::uint32_t>(datagrams.size()))];
    }

    std::uint8_t any_byte() { return static_cast<std::uint8_t>(random.next()); }

    std::size_t any_place(const Bytes& datagram) {
        return random.below(static_cast<std::uint32_t>(datagram.size()));
    }

    Bytes random_bytes() {
        Bytes datagram(random.below(datagram_bytes_max + 100));
        std::generate(datagram.begin(), datagram.end(), [this] { return any_byte(); });
        // Half of them look like ours at first.
        const Bytes& good = any_of(recorded);
        if (random.below(2) == 0 && datagram.size() > datagram_header_bytes) {
            std::copy_n(good.begin(), datagram_header_bytes, datagram.begin());
        }
        return datagram;
    }

    Bytes changed() {
        Bytes datagram = any_of(recorded);
        for (std::uint32_t changes = 1 + random.below(4); changes > 0; --changes) {
            datagram[any_place(datagram)] = any_byte();
        }
        return datagram;
    }

    Bytes with_a_flipped_bit() {
        Bytes datagram = any_of(recorded);
        datagram[any_place(datagram)] ^= static_cast<std::uint8_t>(1U << random.below(8));
        return datagram;
    }

    // What an attacker wants most: his own content, or a newer number, under an old tag.
    Bytes with_a_newer_number() {
        Bytes datagram = any_of(recorded);
        const std::size_t last_byte_of_boot_id = 15;
        const std::size_t last_byte_of_measurement = 23;
        datagram[random.below(2) == 0 ? last_byte_of_boot_id : last_byte_of_measurement] +=
            static_cast<std::uint8_t>(1 + random.below(50));
        return datagram;
    }

    Bytes with_another_tag() {
        Bytes datagram = any_of(recorded);
        const Bytes& other = any_of(recorded);
        std::copy(other.end() - tag_bytes, other.end(), datagram.end() - tag_bytes);
        return datagram;
    }

    Bytes spliced() {
        const Bytes& first = any_of(recorded);
        const Bytes& second = any_of(recorded);
        const std::size_t cut = any_place(first);
        Bytes datagram(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(cut));
        datagram.insert(datagram.end(),
                        second.begin() + static_cast<std::ptrdiff_t>(std::min(cut, second.size())),
                        second.end());
        return datagram;
    }

    Bytes cut() {
        Bytes datagram = any_of(recorded);
        datagram.resize(any_place(datagram));
        return datagram;
    }

    Bytes lengthened() {
        Bytes datagram = any_of(recorded);
        datagram.resize(datagram.size() + 1 + random.below(datagram_bytes_max), any_byte());
        return datagram;
    }

    Bytes any_hostile() {
        switch (random.below(11)) {
            case 0:
                return random_bytes();
            case 1:
                return changed();
            case 2:
                return with_a_flipped_bit();
            case 3:
                return with_a_newer_number();
            case 4:
                return with_another_tag();
            case 5:
                return spliced();
            case 6:
                return cut();
            case 7:
                return lengthened();
            case 8:
                return any_of(unsigned_ones);
            case 9:
                return any_of(of_other_key);
            default:
                return any_of(recorded);
        }
    }

    KeyRing keys = ring_of({old_secret});
    KeyRing others = ring_of({new_secret});
    TableFixture table{servers_count + 1, 1};
    std::vector<Bytes> recorded;
    std::vector<Bytes> unsigned_ones;
    std::vector<Bytes> of_other_key;
    Random random{4711};
    Counters counters;
};

TEST_F(ARecordedCluster, IsNotChangedByAnythingThatAnAttackerSends) {
    const std::vector<std::byte> before = table.copy();

    for (std::uint64_t sent = 0; sent < datagrams_count; ++sent) {
        const auto fault = fault_of(any_hostile());
        ASSERT_TRUE(fault) << "number " << sent;
        ASSERT_TRUE(std::find(possible_reasons.begin(), possible_reasons.end(), *fault) !=
                    possible_reasons.end());
        counters.add(*fault);
        if (sent % 4096 == 0) {
            ASSERT_EQ(table.copy(), before) << "number " << sent;
        }
    }

    EXPECT_EQ(table.copy(), before);
    std::uint64_t counted = 0;
    for (std::size_t index = 0; index < counters_count; ++index) {
        counted += counters.get(static_cast<Counter>(index));
    }
    EXPECT_EQ(counted, datagrams_count);
    // Every kind of attack was among them.
    for (const Counter reason : {Counter::datagrams_short, Counter::datagrams_long,
                                 Counter::datagrams_malformed, Counter::datagrams_of_other_version,
                                 Counter::datagrams_unsigned, Counter::datagrams_of_unknown_key,
                                 Counter::datagrams_forged, Counter::datagrams_replayed}) {
        EXPECT_GT(counters.get(reason), 0U) << counter_names[static_cast<std::size_t>(reason)];
    }
}

TEST_F(ARecordedCluster, HearsItsServersAfterwardsAsBefore) {
    for (int sent = 0; sent < 1'000; ++sent) {
        fault_of(any_hostile());
    }
    ServerReport newer = report_of(3, now);
    newer.load.boot_id = 6;
    newer.load.measurement = newest_measurement + 1;

    EXPECT_EQ(fault_of(encode_datagram(newer, {}, &keys)), std::nullopt);
    EXPECT_EQ(table->report(3)->load.measurement, newest_measurement + 1);
}

}  // namespace
}  // namespace backhand
