// The announcement's wire format: what is written can be read, what is wrong is named, and what
// cannot be true is cut to what can.
#include "announce/datagram.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cluster/report_fields.h"
#include "keys_of_tests.h"
#include "table_fixture.h"

namespace backhand {
namespace {

using Json = nlohmann::json;
using Bytes = std::vector<std::uint8_t>;

// Every number another than its default, and possible.
ServerReport full_report() {
    ServerReport report = report_of(7, 0);
    LoadReport& load = report.load;
    load.boot_id = 0x0102030405060708;
    load.measurement = 42;
    std::uint64_t distance = 500;
    for (const ReportField& field : report_fields) {
        field.set(load, field.most - ++distance);
    }
    load.memory_available_bytes = 34'359'738'368;  // 32 GiB: beyond any 32-bit count
    load.workers_busy = 3;
    load.workers_idle = 5;
    load.interval_ms = 250;
    load.flags = ServerFlag::connection_holds_worker | ServerFlag::leaving;
    return report;
}

Bytes encoded(const ServerReport& report, const KeyRing* keys = nullptr) {
    const std::vector<std::string> services = {"www.example.com", "shop.example.com"};
    return encode_datagram(report, services, keys);
}

std::optional<Counter> fault_of(std::span<const std::uint8_t> datagram,
                                const KeyRing* keys = nullptr) {
    ServerReport report;
    return decode_datagram(datagram, keys, report);
}

ServerReport read_back(std::span<const std::uint8_t> datagram, const KeyRing* keys = nullptr) {
    ServerReport report;
    EXPECT_EQ(decode_datagram(datagram, keys, report), std::nullopt);
    return report;
}

void expect_same_load(const LoadReport& left, const LoadReport& right) {
    EXPECT_EQ(left.boot_id, right.boot_id);
    EXPECT_EQ(left.measurement, right.measurement);
    EXPECT_EQ(left.contact, right.contact);
    EXPECT_EQ(left.flags, right.flags);
    for (const ReportField& field : report_fields) {
        EXPECT_EQ(field.get(left), field.get(right)) << field.name;
    }
}

// The header of a good datagram without keys, followed by this body.
Bytes with_body(std::span<const std::uint8_t> cbor) {
    Bytes datagram = encoded(full_report());
    datagram.resize(datagram_header_bytes);
    datagram.insert(datagram.end(), cbor.begin(), cbor.end());
    return datagram;
}

Bytes with_body(std::initializer_list<std::uint8_t> cbor) {
    return with_body(std::span{cbor.begin(), cbor.size()});
}

Bytes with_map(const Json& map) {
    return with_body(Json::to_cbor(map));
}

// What an announcement cannot do without.
Json least_map() {
    return {{"name", "a"}, {"contact", "10.0.0.1:80"}};
}

Json map_with(std::string_view key, const Json& value) {
    Json map = least_map();
    map[std::string{key}] = value;
    return map;
}

// ---- writing and reading ----

TEST(AnAnnouncement, ReadsAsItWasWritten) {
    const ServerReport sent = full_report();

    const ServerReport read = read_back(encoded(sent));

    expect_same_load(read.load, sent.load);
    EXPECT_EQ(read.name_view(), "server7");
    EXPECT_TRUE(read.offers(hash_ignoring_case("WWW.example.com")));
    EXPECT_TRUE(read.offers(hash_ignoring_case("shop.example.com")));
    EXPECT_FALSE(read.offers(hash_ignoring_case("other.example.com")));
    EXPECT_EQ(read.services_view(), "www.example.com shop.example.com");
}

TEST(AnAnnouncement, LeavesOutWhatIsAsIfItWereMissing) {
    ServerReport plain;
    plain.set_name("a");
    plain.load.contact = *Endpoint::parse("10.0.0.1:80");

    const Bytes datagram = encode_datagram(plain, {}, nullptr);

    const Json map = Json::from_cbor(datagram.begin() + datagram_header_bytes, datagram.end());
    EXPECT_EQ(map, Json({{"name", "a"}, {"contact", "10.0.0.1:80"}, {"services", Json::array()}}));
    expect_same_load(read_back(datagram).load, plain.load);
}

TEST(AnAnnouncement, HasEveryNumberAtItsDefaultThatIsNotThere) {
    LoadReport expected;
    expected.contact = *Endpoint::parse("10.0.0.1:80");
    expected.boot_id = full_report().load.boot_id;
    expected.measurement = full_report().load.measurement;

    const ServerReport read = read_back(with_map(least_map()));

    expect_same_load(read.load, expected);
    EXPECT_EQ(read.services_count, 0U);
}

TEST(AnAnnouncement, NeverSaysWhatCannotBe) {
    ServerReport report = full_report();
    report.load.cpu_idle_permille = 1001;
    report.load.load_hwm = 0;
    report.load.forwarded_total = std::numeric_limits<std::uint64_t>::max();

    const ServerReport read = read_back(encoded(report));

    EXPECT_FALSE(read.load.has(implausible));
    EXPECT_EQ(read.load.cpu_idle_permille, 1000U);
    EXPECT_EQ(read.load.load_hwm, 1U);
    EXPECT_EQ(read.load.forwarded_total, limits::total);
}

TEST(AnAnnouncement, DoesNotSayThatAnotherWasImplausible) {
    ServerReport report = full_report();
    report.load.flags |= implausible;

    EXPECT_EQ(read_back(encoded(report)).load.flags, full_report().load.flags);
}

TEST(AnAnnouncement, FitsTheLimitHoweverManySitesThereAre) {
    std::vector<std::string> services;
    for (int number = 0; number < 200; ++number) {
        services.push_back("site-with-a-rather-long-name-" + std::to_string(number) +
                           ".example.com");
    }

    const Bytes datagram = encode_datagram(full_report(), services, nullptr);

    EXPECT_LE(datagram.size(), datagram_bytes_max);
    const ServerReport read = read_back(datagram);
    EXPECT_GT(read.services_count, 5U);
    EXPECT_TRUE(read.offers(hash_ignoring_case(services.front())));
}

TEST(AnAnnouncement, NamesAsManySitesAsAReportHolds) {
    const std::vector<std::string> services(100, "a");

    EXPECT_EQ(read_back(encode_datagram(report_of(1, 0), services, nullptr)).services_count,
              ServerReport::services_max);
}

TEST(AnAnnouncement, OfTheLargestOfEverythingHasRoomForSites) {
    const KeyRing keys = ring_of({old_secret});
    ServerReport report = full_report();
    report.set_name(std::string(63, '\xFF'));
    report.load.contact = *Endpoint::parse("[2001:db8:1111:2222:3333:4444:5555:6666]:65535");
    for (const ReportField& field : report_fields) {
        field.set(report.load, field.most);
    }
    const std::vector<std::string> services(100, std::string(60, 's'));

    const Bytes datagram = encode_datagram(report, services, &keys);

    EXPECT_LE(datagram.size(), datagram_bytes_max);
    EXPECT_GT(datagram.size(), datagram_bytes_max - 64);
    EXPECT_GE(read_back(datagram, &keys).services_count, 2U);
}

TEST(AnAnnouncement, CarriesAHostNameThatIsNoText) {
    ServerReport report = full_report();
    report.set_name("caf\xE9");

    EXPECT_EQ(read_back(encoded(report)).name_view(), "caf\xEF\xBF\xBD");
}

// ---- signing ----

struct ASignedAnnouncement : testing::Test {
    KeyRing keys = ring_of({old_secret});
    Bytes datagram = encoded(full_report(), &keys);
};

TEST_F(ASignedAnnouncement, ReadsAsItWasWritten) {
    const ServerReport read = read_back(datagram, &keys);

    expect_same_load(read.load, full_report().load);
    EXPECT_TRUE(read.offers(hash_ignoring_case("www.example.com")));
}

TEST_F(ASignedAnnouncement, IsSixteenBytesLongerThanOneWithout) {
    EXPECT_EQ(datagram.size(), encoded(full_report()).size() + tag_bytes);
}

TEST_F(ASignedAnnouncement, IsDroppedWhicheverBitOfItIsChanged) {
    for (std::size_t offset = 0; offset < datagram.size(); ++offset) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            Bytes changed = datagram;
            changed[offset] ^= static_cast<std::uint8_t>(1U << bit);
            Counter expected = Counter::datagrams_forged;
            if (offset < 4) {
                expected = Counter::datagrams_malformed;
            } else if (offset == 4) {
                expected = Counter::datagrams_of_other_version;
            } else if (offset == 5) {
                expected = changed[5] == 0 ? Counter::datagrams_unsigned
                                           : Counter::datagrams_of_unknown_key;
            }
            ASSERT_EQ(fault_of(changed, &keys), expected) << "byte " << offset << " bit " << bit;
        }
    }
}

TEST_F(ASignedAnnouncement, IsDroppedWhereverItIsCut) {
    for (std::size_t size = 0; size < datagram.size(); ++size) {
        const Counter expected = size <= datagram_header_bytes + tag_bytes
                                     ? Counter::datagrams_short
                                     : Counter::datagrams_forged;
        ASSERT_EQ(fault_of({datagram.data(), size}, &keys), expected) << size;
    }
}

TEST_F(ASignedAnnouncement, IsForgedWhenSomethingIsAdded) {
    datagram.push_back(0);

    EXPECT_EQ(fault_of(datagram, &keys), Counter::datagrams_forged);
}

TEST_F(ASignedAnnouncement, IsOfAnUnknownKeyWhereNoneIsConfigured) {
    EXPECT_EQ(fault_of(datagram), Counter::datagrams_of_unknown_key);
}

TEST_F(ASignedAnnouncement, IsOfAnUnknownKeyWhereAnotherIs) {
    const KeyRing others = ring_of({new_secret});
    ASSERT_NE(others.signing_id(), keys.signing_id());

    EXPECT_EQ(fault_of(datagram, &others), Counter::datagrams_of_unknown_key);
}

TEST_F(ASignedAnnouncement, IsForgedWhenAnotherKeyIsSaidToHaveSignedIt) {
    const KeyRing both = ring_of({new_secret, old_secret});
    datagram[5] = both.signing_id();

    EXPECT_EQ(fault_of(datagram, &both), Counter::datagrams_forged);
}

TEST_F(ASignedAnnouncement, IsReadWhileKeysAreChanged) {
    const KeyRing next_is_second = ring_of({old_secret, new_secret});
    const KeyRing next_is_first = ring_of({new_secret, old_secret});

    EXPECT_EQ(fault_of(datagram, &next_is_second), std::nullopt);
    EXPECT_EQ(fault_of(datagram, &next_is_first), std::nullopt);
    EXPECT_EQ(fault_of(encoded(full_report(), &next_is_first), &next_is_second), std::nullopt);
    EXPECT_EQ(fault_of(encoded(full_report(), &next_is_first), &keys),
              Counter::datagrams_of_unknown_key);
}

TEST_F(ASignedAnnouncement, IsForgedWhenItWasSignedForAnotherPurpose) {
    const std::span message{datagram.data(), datagram.size() - tag_bytes};
    const Tag tag = keys.sign(KeyPurpose::challenge, message);
    std::copy(tag.begin(), tag.end(), datagram.end() - tag_bytes);

    EXPECT_EQ(fault_of(datagram, &keys), Counter::datagrams_forged);
}

TEST_F(ASignedAnnouncement, MayStillBeMalformed) {
    Bytes body = with_body({0xA0});
    body[5] = keys.signing_id();
    const Tag tag = keys.sign(KeyPurpose::announcement, body);
    body.insert(body.end(), tag.begin(), tag.end());

    EXPECT_EQ(fault_of(body, &keys), Counter::datagrams_malformed);
}

TEST(AnUnsignedAnnouncement, IsDroppedWhereKeysAreConfigured) {
    const KeyRing keys = ring_of({old_secret});

    EXPECT_EQ(fault_of(encoded(full_report()), &keys), Counter::datagrams_unsigned);
}

// ---- the header ----

TEST(ADatagram, IsShortWhenNothingFollowsTheHeader) {
    Bytes datagram = encoded(full_report());
    datagram.resize(datagram_header_bytes);

    EXPECT_EQ(fault_of(datagram), Counter::datagrams_short);
    EXPECT_EQ(fault_of({}), Counter::datagrams_short);
}

TEST(ADatagram, IsLongAboveTwelveHundredBytes) {
    Bytes datagram = encoded(full_report());
    datagram.resize(datagram_bytes_max + 1);

    EXPECT_EQ(fault_of(datagram), Counter::datagrams_long);
}

TEST(ADatagram, IsOfAnotherVersionByItsVersionByte) {
    Bytes newer = encoded(full_report());
    newer[4] = 2;

    EXPECT_EQ(fault_of(newer), Counter::datagrams_of_other_version);
}

TEST(ADatagram, IsMalformedWithoutTheMagic) {
    Bytes datagram = encoded(full_report());
    datagram[0] = 'X';

    EXPECT_EQ(fault_of(datagram), Counter::datagrams_malformed);
}

TEST(ADatagram, MayHaveAnythingInItsReservedBytes) {
    Bytes datagram = encoded(full_report());
    datagram[6] = 0xFF;
    datagram[7] = 0xFF;

    EXPECT_EQ(fault_of(datagram), std::nullopt);
}

TEST(ADatagram, IsMalformedWhenCutAnywhere) {
    const Bytes whole = encoded(full_report());
    for (std::size_t size = datagram_header_bytes + 1; size < whole.size(); ++size) {
        EXPECT_EQ(fault_of({whole.data(), size}), Counter::datagrams_malformed) << size;
    }
}

TEST(ADatagram, IsMalformedWhenSomethingFollowsTheMap) {
    Bytes datagram = encoded(full_report());
    datagram.push_back(0);

    EXPECT_EQ(fault_of(datagram), Counter::datagrams_malformed);
}

// ---- the map ----

TEST(TheBodyOfADatagram, IsMalformedWhenItIsNoMap) {
    for (const Json& body :
         {Json(1), Json(-1), Json(1.5), Json(true), Json(nullptr), Json("text"),
          Json::array({1, 2, 3}), Json::array({least_map()}), Json::binary({1, 2})}) {
        EXPECT_EQ(fault_of(with_map(body)), Counter::datagrams_malformed) << body;
    }
}

TEST(TheBodyOfADatagram, IsMalformedWhenALengthExceedsEverything) {
    for (const std::uint8_t type : Bytes{0x5B, 0x7B, 0x9B, 0xBB}) {  // bytes, text, list, map
        for (const std::uint8_t last : Bytes{0xFE, 0xFF}) {
            EXPECT_EQ(fault_of(with_body({type, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, last})),
                      Counter::datagrams_malformed);
        }
    }
}

TEST(TheBodyOfADatagram, IsMalformedWithoutANameOrAContact) {
    EXPECT_EQ(fault_of(with_map(Json::object())), Counter::datagrams_malformed);
    EXPECT_EQ(fault_of(with_map({{"name", "a"}})), Counter::datagrams_malformed);
    EXPECT_EQ(fault_of(with_map({{"contact", "10.0.0.1:80"}})), Counter::datagrams_malformed);
}

TEST(TheBodyOfADatagram, IsMalformedWithATag) {
    // 55799, "this is CBOR", before the map.
    Bytes body = {0xD9, 0xD9, 0xF7};
    const Bytes map = Json::to_cbor(least_map());
    body.insert(body.end(), map.begin(), map.end());

    EXPECT_EQ(fault_of(with_body(body)), Counter::datagrams_malformed);
}

TEST(TheBodyOfADatagram, IsMalformedWithAKeyThatIsNoText) {
    EXPECT_EQ(fault_of(with_body({0xA1, 0x01, 0x02})), Counter::datagrams_malformed);
}

TEST(TheBodyOfADatagram, MayHaveItsKeysInAnyOrder) {
    const Json map = Json::parse(R"({"workers_max": 9, "name": "a", "arriba": 5,
                                     "contact": "10.0.0.1:80"})");
    const nlohmann::ordered_json backwards = {
        {"workers_max", 9}, {"name", "a"}, {"contact", "10.0.0.1:80"}, {"arriba", 5}};

    const ServerReport read = read_back(with_body(nlohmann::ordered_json::to_cbor(backwards)));

    expect_same_load(read.load, read_back(with_map(map)).load);
    EXPECT_EQ(read.load.arriba, 5U);
}

TEST(TheBodyOfADatagram, MayHaveFieldsNobodyKnowsYet) {
    for (const Json& value :
         {Json(-1.5), Json(-1), Json(std::numeric_limits<std::uint64_t>::max()), Json(true),
          Json(nullptr), Json("text"), Json("\n"), Json::binary({1, 2}),
          Json::array({1, "a", true}), Json({{"serving", 7}, {"name", 5}, {"services", {1, 2}}})}) {
        const ServerReport read = read_back(with_map(map_with("x", value)));
        EXPECT_EQ(read.load.serving, 0U) << value;
        EXPECT_FALSE(read.load.has(implausible)) << value;
        EXPECT_EQ(read.services_count, 0U) << value;
    }
}

// ---- fields of a wrong type ----

TEST(AField, OfANumberIsMalformedAsAnythingElse) {
    for (const ReportField& field : report_fields) {
        for (const Json& value : {Json("5"), Json(true), Json(nullptr), Json::array({5}),
                                  Json::object(), Json::binary({5})}) {
            EXPECT_EQ(fault_of(with_map(map_with(field.name, value))), Counter::datagrams_malformed)
                << field.name << " " << value;
        }
    }
}

TEST(AField, OfAFlagIsMalformedAsAnythingElse) {
    for (const ReportFlag& flag : report_flags) {
        for (const Json& value : {Json(1), Json(-1), Json(1.0), Json("true"), Json(nullptr),
                                  Json::array({true}), Json::object(), Json::binary({1})}) {
            EXPECT_EQ(fault_of(with_map(map_with(flag.name, value))), Counter::datagrams_malformed)
                << flag.name << " " << value;
        }
    }
}

TEST(AField, OfAFlagIsTrueOrFalse) {
    for (const ReportFlag& flag : report_flags) {
        EXPECT_TRUE(read_back(with_map(map_with(flag.name, true))).load.has(flag.flag));
        EXPECT_FALSE(read_back(with_map(map_with(flag.name, false))).load.has(flag.flag));
    }
}

TEST(AField, OfTheNameIsMalformedAsAnythingButText) {
    for (const Json& value : {Json(1), Json(-1), Json(1.5), Json(true), Json(nullptr),
                              Json::array({"a"}), Json::object(), Json::binary({'a'})}) {
        EXPECT_EQ(fault_of(with_map(map_with("name", value))), Counter::datagrams_malformed)
            << value;
    }
}

TEST(AField, OfTheNameIsMalformedWhenItCannotBeShown) {
    using namespace std::string_literals;
    // A NUL would end the name: what was checked here would not be what is shown.
    for (const std::string& value : {""s, "\0a"s, "a\0"s, "a\nb"s, "\x1B[31m"s, "\x7F"s}) {
        EXPECT_EQ(fault_of(with_map(map_with("name", value))), Counter::datagrams_malformed);
    }
}

TEST(AField, OfTheNameIsCutAt63Bytes) {
    EXPECT_EQ(read_back(with_map(map_with("name", std::string(800, 'n')))).name_view(),
              std::string(63, 'n'));
}

TEST(AField, OfTheContactIsMalformedAsAnythingButText) {
    for (const Json& value : {Json(1), Json(-1), Json(1.5), Json(true), Json(nullptr),
                              Json::array({"10.0.0.1:80"}), Json::object(), Json::binary({'1'})}) {
        EXPECT_EQ(fault_of(with_map(map_with("contact", value))), Counter::datagrams_malformed)
            << value;
    }
}

TEST(AField, OfTheContactIsMalformedWhenItIsNoServersAddress) {
    for (const std::string_view value :
         {"", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:80 ",
          "www.example.com:80", "224.0.0.1:80", "239.220.221.20:4445", "[ff02::1]:80", "0.0.0.0:80",
          "[::]:80", "[fe80::1]:80", "2001:db8::1:80", "10.0.0.1:80\n"}) {
        EXPECT_EQ(fault_of(with_map(map_with("contact", value))), Counter::datagrams_malformed)
            << value;
    }
}

TEST(AField, OfTheSitesIsMalformedAsAnythingButAListOfNames) {
    for (const Json& value :
         {Json("a"), Json(1), Json(-1), Json(1.5), Json(true), Json(nullptr), Json::object(),
          Json::binary({'a'}), Json::array({1}), Json::array({-1}), Json::array({1.5}),
          Json::array({true}), Json::array({nullptr}), Json::array({Json::array({"a"})}),
          Json::array({Json{{"a", "b"}}}), Json::array({Json::binary({'a'})}), Json::array({""}),
          Json::array({"\n"}), Json::array({"good", "\x7F"})}) {
        EXPECT_EQ(fault_of(with_map(map_with("services", value))), Counter::datagrams_malformed)
            << value;
    }
}

TEST(AField, OfTheSitesHoldsAsManyAsAReport) {
    Json sites = Json::array();
    for (std::size_t site = 0; site < ServerReport::services_max; ++site) {
        sites.push_back("s" + std::to_string(site));
    }
    EXPECT_EQ(read_back(with_map(map_with("services", sites))).services_count,
              ServerReport::services_max);

    sites.push_back("one-too-many");
    EXPECT_EQ(fault_of(with_map(map_with("services", sites))), Counter::datagrams_malformed);
}

// ---- numbers that cannot be ----

// What is read of a number in a report that contradicts itself nowhere else.
LoadReport read_with(const ReportField& field, const Json& value) {
    Json map = least_map();
    map["memory_total_bytes"] = limits::memory_bytes;
    map["workers_max"] = limits::workers;
    map[std::string{field.name}] = value;
    return read_back(with_map(map)).load;
}

struct ANumber : testing::TestWithParam<ReportField> {
    const ReportField& field = GetParam();

    void expect_taken(const Json& said, std::uint64_t expected) const {
        const LoadReport load = read_with(field, said);
        EXPECT_EQ(field.get(load), expected) << said;
        EXPECT_FALSE(load.has(implausible)) << said;
    }

    void expect_cut(const Json& said, std::uint64_t expected) const {
        const LoadReport load = read_with(field, said);
        EXPECT_EQ(field.get(load), expected) << said;
        EXPECT_TRUE(load.has(implausible)) << said;
    }
};

TEST_P(ANumber, IsTakenWithinItsLimits) {
    expect_taken(field.least, field.least);
    expect_taken(field.most, field.most);
}

TEST_P(ANumber, IsCutToItsLimitAboveThat) {
    expect_cut(field.most + 1, field.most);
    expect_cut(std::uint64_t{1} << 63U, field.most);
    expect_cut(std::numeric_limits<std::uint64_t>::max(), field.most);
}

TEST_P(ANumber, IsCutToItsLeastBelowThat) {
    expect_cut(-1, field.least);
    expect_cut(std::numeric_limits<std::int64_t>::min(), field.least);
    if (field.least > 0) {
        expect_cut(field.least - 1, field.least);
    }
}

TEST_P(ANumber, LosesItsFraction) {
    expect_taken(static_cast<double>(field.least) + 0.5, field.least);
    expect_taken(static_cast<double>(field.least) + 7.75, field.least + 7);
    expect_taken(static_cast<double>(field.most), field.most);
}

TEST_P(ANumber, IsCutAsAFractionToo) {
    expect_cut(-1.5, field.least);
    expect_cut(-1e300, field.least);
    expect_cut(1e300, field.most);
    expect_cut(static_cast<double>(field.most) * 2, field.most);
}

TEST_P(ANumber, IsCutWhenItIsNotFinite) {
    expect_cut(std::numeric_limits<double>::infinity(), field.most);
    expect_cut(-std::numeric_limits<double>::infinity(), field.least);
    expect_cut(std::numeric_limits<double>::quiet_NaN(), field.least);
}

// "LoadPermille" for "load_permille": the framework takes no other names.
std::string test_name(std::string_view field_name) {
    std::string name;
    bool begins = true;
    for (const char letter : field_name) {
        if (letter != '_') {
            name += static_cast<char>(begins ? std::toupper(letter) : letter);
        }
        begins = letter == '_';
    }
    return name;
}

INSTANTIATE_TEST_SUITE_P(OfAReport, ANumber, testing::ValuesIn(report_fields),
                         [](const auto& tested) { return test_name(tested.param.name); });

// -2^64, which no integer of 64 bits holds.
TEST(TheLeastOfAllNumbers, IsReadAsTheLeast) {
    Bytes body = Json::to_cbor(map_with("serving", 0));
    body.pop_back();
    body.insert(body.end(), {0x3B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF});

    EXPECT_EQ(read_back(with_body(body)).load.serving, 0U);
}

TEST(AnImplausibleReport, IsReadForWhatElseItSays) {
    const ServerReport read = read_back(with_map({{"name", "a"},
                                                  {"contact", "10.0.0.1:80"},
                                                  {"cpu_idle_permille", 5'000},
                                                  {"serving", 7},
                                                  {"leaving", true},
                                                  {"services", {"www.example.com"}}}));

    EXPECT_EQ(read.load.flags, implausible | leaving);
    EXPECT_EQ(read.load.serving, 7U);
    EXPECT_TRUE(read.offers(hash_ignoring_case("www.example.com")));
}

TEST(AnImplausibleReport, CannotSaySoItself) {
    EXPECT_FALSE(read_back(with_map(map_with("implausible", true))).load.has(implausible));
}

// ---- numbers that contradict one another ----

TEST(ContradictoryNumbers, LeaveNoMoreMemoryThanThereIs) {
    Json map = map_with("memory_total_bytes", 100);
    map["memory_available_bytes"] = 101;

    const LoadReport load = read_back(with_map(map)).load;

    EXPECT_EQ(load.memory_available_bytes, 100U);
    EXPECT_TRUE(load.has(implausible));
}

TEST(ContradictoryNumbers, LeaveNoMoreWorkersThanThereMayBe) {
    Json map = map_with("workers_max", 10);
    map["workers_busy"] = 11;
    map["workers_idle"] = 12;

    const LoadReport load = read_back(with_map(map)).load;

    EXPECT_EQ(load.workers_busy, 10U);
    EXPECT_EQ(load.workers_idle, 10U);
    EXPECT_TRUE(load.has(implausible));
}

TEST(ContradictoryNumbers, AreNoneWhenAllIsUsed) {
    Json map = map_with("workers_max", 10);
    map["workers_busy"] = 10;
    map["memory_total_bytes"] = 100;
    map["memory_available_bytes"] = 100;

    EXPECT_FALSE(read_back(with_map(map)).load.has(implausible));
}

// What is missing counts with its default.
TEST(ContradictoryNumbers, MayBeThereByWhatIsMissing) {
    const LoadReport load = read_back(with_map(map_with("workers_idle", 5))).load;

    EXPECT_EQ(load.workers_idle, 0U);
    EXPECT_TRUE(load.has(implausible));
}

}  // namespace
}  // namespace backhand
