// The announcement's wire format: what is written can be read, what is wrong is named.
#include "announce/datagram.h"

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/text.h"
#include "table_fixture.h"

namespace backhand {
namespace {

ServerReport full_report() {
    ServerReport report = report_of(7, 0);
    LoadReport& load = report.load;
    load.boot_id = 0x0102030405060708;
    load.measurement = 42;
    load.arriba = 500'000;
    load.load_permille = 1250;
    load.load_hwm = 2;
    load.cpu_idle_permille = 875;
    load.cpus_count = 8;
    load.memory_total_bytes = 68'719'476'736;  // 64 GiB: beyond any 32-bit count
    load.memory_available_bytes = 34'359'738'368;
    load.workers_busy = 3;
    load.serving = 2;
    load.forwarding = 1;
    load.interval_ms = 250;
    load.keepalive_timeout_ms = 15'000;
    load.flags = ServerFlag::connection_holds_worker | ServerFlag::leaving;
    return report;
}

std::vector<std::uint8_t> encoded(const ServerReport& report) {
    const std::vector<std::string> services = {"www.example.com", "shop.example.com"};
    return encode_datagram(report, services);
}

TEST(AnAnnouncement, ReadsAsItWasWritten) {
    const ServerReport sent = full_report();
    ServerReport read;

    ASSERT_EQ(decode_datagram(encoded(sent), read), std::nullopt);

    EXPECT_EQ(read.name_view(), "server7");
    EXPECT_EQ(read.load.contact, sent.load.contact);
    EXPECT_EQ(read.load.boot_id, sent.load.boot_id);
    EXPECT_EQ(read.load.measurement, sent.load.measurement);
    EXPECT_EQ(read.load.arriba, sent.load.arriba);
    EXPECT_EQ(read.load.load_permille, sent.load.load_permille);
    EXPECT_EQ(read.load.load_hwm, sent.load.load_hwm);
    EXPECT_EQ(read.load.cpu_idle_permille, sent.load.cpu_idle_permille);
    EXPECT_EQ(read.load.cpus_count, sent.load.cpus_count);
    EXPECT_EQ(read.load.memory_total_bytes, sent.load.memory_total_bytes);
    EXPECT_EQ(read.load.memory_available_bytes, sent.load.memory_available_bytes);
    EXPECT_EQ(read.load.workers_max, sent.load.workers_max);
    EXPECT_EQ(read.load.workers_busy, sent.load.workers_busy);
    EXPECT_EQ(read.load.workers_idle, sent.load.workers_idle);
    EXPECT_EQ(read.load.serving, sent.load.serving);
    EXPECT_EQ(read.load.forwarding, sent.load.forwarding);
    EXPECT_EQ(read.load.interval_ms, sent.load.interval_ms);
    EXPECT_EQ(read.load.keepalive_timeout_ms, sent.load.keepalive_timeout_ms);
    EXPECT_EQ(read.load.flags, sent.load.flags);
    EXPECT_TRUE(read.offers(hash_ignoring_case("WWW.example.com")));
    EXPECT_TRUE(read.offers(hash_ignoring_case("shop.example.com")));
    EXPECT_FALSE(read.offers(hash_ignoring_case("other.example.com")));
}

TEST(AnAnnouncement, FitsTheLimitHoweverManySitesThereAre) {
    std::vector<std::string> services;
    for (int number = 0; number < 200; ++number) {
        services.push_back("site-with-a-rather-long-name-" + std::to_string(number) +
                           ".example.com");
    }
    ServerReport read;

    const auto datagram = encode_datagram(full_report(), services);

    EXPECT_LE(datagram.size(), datagram_bytes_max);
    ASSERT_EQ(decode_datagram(datagram, read), std::nullopt);
    EXPECT_GT(read.services_count, 5U);
    EXPECT_TRUE(read.offers(hash_ignoring_case(services.front())));
}

TEST(AnAnnouncement, CarriesAHostNameThatIsNoText) {
    ServerReport report = full_report();
    report.set_name("caf\xE9");
    ServerReport read;

    ASSERT_EQ(decode_datagram(encoded(report), read), std::nullopt);

    EXPECT_EQ(read.name_view(), "caf\xEF\xBF\xBD");
}

TEST(ADatagram, IsShortWhenNothingFollowsTheHeader) {
    auto datagram = encoded(full_report());
    datagram.resize(datagram_header_bytes);
    ServerReport read;

    EXPECT_EQ(decode_datagram(datagram, read), Counter::datagrams_short);
    EXPECT_EQ(decode_datagram({}, read), Counter::datagrams_short);
}

TEST(ADatagram, IsLongAboveTwelveHundredBytes) {
    std::vector<std::uint8_t> datagram = encoded(full_report());
    datagram.resize(datagram_bytes_max + 1);
    ServerReport read;

    EXPECT_EQ(decode_datagram(datagram, read), Counter::datagrams_long);
}

TEST(ADatagram, IsOfAnotherVersionByItsVersionByteOrKeyId) {
    auto newer = encoded(full_report());
    newer[4] = 2;
    auto keyed = encoded(full_report());
    keyed[5] = 1;
    ServerReport read;

    EXPECT_EQ(decode_datagram(newer, read), Counter::datagrams_of_other_version);
    EXPECT_EQ(decode_datagram(keyed, read), Counter::datagrams_of_other_version);
}

TEST(ADatagram, IsMalformedWithoutTheMagic) {
    auto datagram = encoded(full_report());
    datagram[0] = 'X';
    ServerReport read;

    EXPECT_EQ(decode_datagram(datagram, read), Counter::datagrams_malformed);
}

TEST(ADatagram, IsMalformedWhenCutAnywhere) {
    const auto whole = encoded(full_report());
    for (std::size_t size = datagram_header_bytes + 1; size < whole.size(); ++size) {
        ServerReport read;
        EXPECT_EQ(decode_datagram({whole.data(), size}, read), Counter::datagrams_malformed)
            << size;
    }
}

TEST(ADatagram, IsMalformedWhenSomethingFollowsTheMap) {
    auto datagram = encoded(full_report());
    datagram.push_back(0);
    ServerReport read;

    EXPECT_EQ(decode_datagram(datagram, read), Counter::datagrams_malformed);
}

// The header of a good datagram followed by this CBOR, written by hand.
std::vector<std::uint8_t> with_body(std::initializer_list<std::uint8_t> cbor) {
    auto datagram = encoded(full_report());
    datagram.resize(datagram_header_bytes);
    datagram.insert(datagram.end(), cbor);
    return datagram;
}

TEST(ADatagram, IsMalformedWhenItsBodyIsNoMap) {
    ServerReport read;

    EXPECT_EQ(decode_datagram(with_body({0x83, 1, 2, 3}), read), Counter::datagrams_malformed);
}

TEST(ADatagram, IsMalformedWhenALengthExceedsEverything) {
    ServerReport read;

    EXPECT_EQ(
        decode_datagram(with_body({0x9B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE}), read),
        Counter::datagrams_malformed);
}

TEST(ADatagram, IsMalformedWithoutANameOrAContact) {
    ServerReport read;

    EXPECT_EQ(decode_datagram(with_body({0xA0}), read), Counter::datagrams_malformed);
    // {"name": "a"}
    EXPECT_EQ(decode_datagram(with_body({0xA1, 0x64, 'n', 'a', 'm', 'e', 0x61, 'a'}), read),
              Counter::datagrams_malformed);
}

// {"name": "a", "contact": "10.0.0.1:80", <one more pair>}
std::vector<std::uint8_t> with_pair(std::initializer_list<std::uint8_t> pair) {
    auto datagram =
        with_body({0xA3, 0x64, 'n',  'a', 'm', 'e', 0x61, 'a', 0x67, 'c', 'o', 'n', 't', 'a',
                   'c',  't',  0x6B, '1', '0', '.', '0',  '.', '0',  '.', '1', ':', '8', '0'});
    datagram.insert(datagram.end(), pair);
    return datagram;
}

TEST(ADatagram, IsMalformedWhenANameHasAControlCharacter) {
    // A NUL would end the name: what was checked here would not be what is shown.
    const std::initializer_list<std::uint8_t> name_of_nul = {
        0xA2, 0x64, 'n',  'a', 'm', 'e', 0x62, 0,   'a', 0x67, 'c', 'o', 'n', 't', 'a',
        'c',  't',  0x6B, '1', '0', '.', '0',  '.', '0', '.',  '1', ':', '8', '0'};
    ServerReport read;

    EXPECT_EQ(decode_datagram(with_body(name_of_nul), read), Counter::datagrams_malformed);
    // "services": ["\n"]
    EXPECT_EQ(
        decode_datagram(with_pair({0x68, 's', 'e', 'r', 'v', 'i', 'c', 'e', 's', 0x81, 0x61, '\n'}),
                        read),
        Counter::datagrams_malformed);
}

TEST(ADatagram, MayHaveFieldsNobodyKnowsYet) {
    ServerReport read;

    // "x": -1.5 as a half-precision float
    EXPECT_EQ(decode_datagram(with_pair({0x61, 'x', 0xF9, 0xBE, 0x00}), read), std::nullopt);
    EXPECT_EQ(read.load.cpus_count, 1U);
}

TEST(ADatagram, IsMalformedWhenANumberIsNegativeOrTooLarge) {
    ServerReport read;

    // "cpus": -1 and "cpus": 2^32
    EXPECT_EQ(decode_datagram(with_pair({0x64, 'c', 'p', 'u', 's', 0x20}), read),
              Counter::datagrams_malformed);
    EXPECT_EQ(
        decode_datagram(with_pair({0x64, 'c', 'p', 'u', 's', 0x1B, 0, 0, 0, 1, 0, 0, 0, 0}), read),
        Counter::datagrams_malformed);
}

TEST(ADatagram, IsMalformedWhenItsContactIsNoServersAddress) {
    for (const char* contact : {"224.0.0.1:80", "0.0.0.0:80", "10.0.0.1:0"}) {
        ServerReport report = full_report();
        report.load.contact = Endpoint{};
        auto datagram = encoded(report);
        const std::string text = contact;
        auto body = with_body(
            {0xA2, 0x64, 'n', 'a', 'm', 'e', 0x61, 'a', 0x67, 'c', 'o', 'n', 't', 'a', 'c', 't'});
        body.push_back(static_cast<std::uint8_t>(0x60 + text.size()));
        body.insert(body.end(), text.begin(), text.end());
        ServerReport read;

        EXPECT_EQ(decode_datagram(body, read), Counter::datagrams_malformed) << contact;
    }
}

}  // namespace
}  // namespace backhand
