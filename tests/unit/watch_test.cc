// `backhand watch`: what is announced becomes one line that no sender can break, and says what may
// be believed of it.
#include "cli/watch.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "announce/datagram.h"
#include "cli/arguments.h"
#include "cluster/report_fields.h"
#include "table_fixture.h"
#include "temporary_folder.h"

namespace backhand {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::Ge;
using testing::HasSubstr;
using testing::Le;
using testing::StartsWith;

using Json = nlohmann::json;
using Bytes = std::vector<std::uint8_t>;

// 2026-11-23, 06:30:39.007 UTC.
constexpr std::chrono::system_clock::time_point heard_at{std::chrono::milliseconds{1795415439007}};

KeyRing ring(std::string secret) {
    return std::move(*KeyRing::from_secrets({std::move(secret)}));
}

KeyRing our_ring() {
    return ring("0123456789abcdef0123456789abcdef");
}

KeyRing their_ring() {
    return ring("fedcba9876543210fedcba9876543210");
}

Bytes announced(const ServerReport& report, const KeyRing* keys = nullptr) {
    return encode_datagram(report, std::vector<std::string>{"www.example.com"}, keys);
}

std::optional<std::string> line_of(const Bytes& datagram, const KeyRing* keys = nullptr,
                                   bool all = false) {
    return watch_line({datagram, *IpAddress::parse("10.0.0.7"), heard_at}, keys, all);
}

Json json_of(const Bytes& datagram, const KeyRing* keys = nullptr, bool all = false) {
    const auto line = line_of(datagram, keys, all);
    return line ? Json::parse(*line) : Json{};
}

// ---- the line ----

TEST(AWatchLine, SaysWhoAnnouncedWhatAndWhen) {
    ServerReport report = report_of(7, 0);
    report.load.boot_id = 18'446'744'073'709'551'615U;
    report.load.measurement = 42;

    const Json line = json_of(announced(report));

    EXPECT_EQ(line["received_at"], "2026-11-23T06:30:39.007Z");
    EXPECT_EQ(line["from"], "10.0.0.7");
    EXPECT_EQ(line["size_bytes"], announced(report).size());
    EXPECT_EQ(line["name"], "server7");
    EXPECT_EQ(line["contact"], "10.0.0.7:80");
    EXPECT_EQ(line["services"], Json::array({"www.example.com"}));
    EXPECT_EQ(line["boot_id"], "18446744073709551615");
    EXPECT_EQ(line["measurement"], 42);
    EXPECT_FALSE(line.contains("dropped"));
}

TEST(AWatchLine, HasEveryNumberAndFlagByItsName) {
    ServerReport report = report_of(7, 0);
    std::uint64_t value = 1;
    for (const ReportField& field : report_fields) {
        field.set(report.load, ++value);
    }
    // What contradicts itself would be cut.
    report.load.memory_available_bytes = report.load.memory_total_bytes;
    report.load.workers_busy = report.load.workers_idle = report.load.workers_max;
    report.load.flags = leaving;

    const Json line = json_of(announced(report));

    for (const ReportField& field : report_fields) {
        EXPECT_EQ(line[std::string{field.name}], field.get(report.load)) << field.name;
    }
    EXPECT_EQ(line["leaving"], true);
    EXPECT_EQ(line["connection_holds_worker"], false);
    EXPECT_EQ(line["implausible"], false);
}

TEST(AWatchLine, NamesEverySiteHoweverManyThereAre) {
    std::vector<std::string> sites;
    for (int number = 10; number < 40; ++number) {
        sites.push_back("site-" + std::to_string(number) + ".example.com");
    }

    const Json line = json_of(encode_datagram(report_of(7, 0), sites, nullptr));

    EXPECT_EQ(line["services"], Json(sites));
}

TEST(AWatchLine, IsOneLineOfPrintableAsciiWhateverTheNameIs) {
    ServerReport report = report_of(7, 0);
    report.set_name("\"},\"x\":\"\\u000a \xE2\x80\xA8\xE2\x80\xAE\xC2\x85\xF0\x9F\x98\x80");

    const auto line = line_of(announced(report));

    ASSERT_TRUE(line);
    ASSERT_EQ(line->back(), '\n');
    EXPECT_THAT(line->substr(0, line->size() - 1), Each(AllOf(Ge(' '), Le('~'))));
    EXPECT_EQ(Json::parse(*line)["name"], report.name_view());
}

TEST(AWatchLine, ReplacesTheHalfOfALetterThatTheLimitOfNamesLeaves) {
    ServerReport report = report_of(7, 0);
    report.set_name(std::string(62, 'x') + "\xC3\xA9");

    const Json line = json_of(announced(report));

    EXPECT_THAT(line["name"].get<std::string>(), StartsWith(std::string(62, 'x')));
}

TEST(AWatchLine, MarksWhatCannotBeTrue) {
    ServerReport report = report_of(7, 0);
    report.load.workers_idle = report.load.workers_max + 1;

    EXPECT_EQ(json_of(announced(report))["implausible"], true);
}

// ---- what may be believed ----

TEST(AWatchWithoutKeys, MarksWhatIsSignedAsNotVerified) {
    const KeyRing keys = our_ring();

    const Json line = json_of(announced(report_of(7, 0), &keys));

    EXPECT_EQ(line["signed"], true);
    EXPECT_EQ(line["verified"], false);
    EXPECT_EQ(line["name"], "server7");
    EXPECT_FALSE(line.contains("dropped"));
}

TEST(AWatchWithoutKeys, MarksWhatIsNotSigned) {
    const Json line = json_of(announced(report_of(7, 0)));

    EXPECT_EQ(line["signed"], false);
    EXPECT_EQ(line["verified"], false);
}

TEST(AWatchWithKeys, MarksWhatIsSignedWithThemAsVerified) {
    const KeyRing keys = our_ring();

    const Json line = json_of(announced(report_of(7, 0), &keys), &keys);

    EXPECT_EQ(line["signed"], true);
    EXPECT_EQ(line["verified"], true);
    EXPECT_FALSE(line.contains("dropped"));
}

TEST(AWatchWithKeys, PrintsNothingThatIsNotSignedWithThem) {
    const KeyRing keys = our_ring();
    const KeyRing theirs = their_ring();
    Bytes forged = announced(report_of(7, 0), &keys);
    forged.back() ^= 1U;

    EXPECT_EQ(line_of(announced(report_of(7, 0)), &keys), std::nullopt);
    EXPECT_EQ(line_of(announced(report_of(7, 0), &theirs), &keys), std::nullopt);
    EXPECT_EQ(line_of(forged, &keys), std::nullopt);
}

TEST(AWatchOfAll, SaysWhyAnAnnouncementWouldBeDropped) {
    const KeyRing keys = our_ring();
    const KeyRing theirs = their_ring();
    Bytes forged = announced(report_of(7, 0), &keys);
    forged.back() ^= 1U;

    const Json unsigned_line = json_of(announced(report_of(7, 0)), &keys, true);
    const Json unknown_line = json_of(announced(report_of(7, 0), &theirs), &keys, true);
    const Json forged_line = json_of(forged, &keys, true);

    EXPECT_EQ(unsigned_line["dropped"], "unsigned");
    EXPECT_EQ(unsigned_line["signed"], false);
    EXPECT_EQ(unknown_line["dropped"], "of_unknown_key");
    EXPECT_EQ(forged_line["dropped"], "forged");
    EXPECT_EQ(forged_line["signed"], true);
    EXPECT_EQ(forged_line["verified"], false);
    EXPECT_EQ(forged_line["name"], "server7");
}

TEST(AWatchOfAll, SaysWhyADatagramCannotBeRead) {
    const Bytes whole = announced(report_of(7, 0));
    const Bytes cut{whole.begin(), whole.end() - 1};
    const Bytes header{whole.begin(), whole.begin() + datagram_header_bytes};
    Bytes other_version = whole;
    other_version[4] = 9;

    EXPECT_EQ(json_of(cut, nullptr, true)["dropped"], "malformed");
    EXPECT_EQ(json_of(header, nullptr, true)["dropped"], "short");
    EXPECT_EQ(json_of(other_version, nullptr, true)["dropped"], "of_other_version");
    EXPECT_EQ(json_of({}, nullptr, true)["dropped"], "short");
    EXPECT_EQ(json_of(Bytes(datagram_bytes_max + 1), nullptr, true)["dropped"], "long");
    EXPECT_FALSE(json_of(cut, nullptr, true).contains("name"));
    EXPECT_EQ(line_of(cut), std::nullopt);
}

TEST(AWatchOfAll, SaysThatASignedDatagramWithoutATagIsShort) {
    const KeyRing keys = our_ring();
    Bytes cut = announced(report_of(7, 0), &keys);
    cut.resize(datagram_header_bytes + tag_bytes);

    EXPECT_EQ(json_of(cut, nullptr, true)["dropped"], "short");
    EXPECT_EQ(json_of(cut, &keys, true)["dropped"], "short");
}

// ---- what is typed ----

WatchOptions typed(std::vector<std::string> destinations) {
    WatchOptions options;
    options.destinations = std::move(destinations);
    return options;
}

WatchOptions typed_with_count(std::string count) {
    WatchOptions options = typed({"10.0.5.255:4445"});
    options.count = std::move(count);
    return options;
}

WatchOptions typed_with_key(std::string file) {
    WatchOptions options = typed({"10.0.5.255:4445"});
    options.key_files = {std::move(file)};
    return options;
}

std::vector<std::string> destinations_of(const WatchOptions& options) {
    std::vector<std::string> texts;
    if (const auto settings = read_watch_options(options)) {
        for (const Destination& destination : settings->destinations) {
            texts.push_back(destination.to_string());
        }
    }
    return texts;
}

std::string error_of(const WatchOptions& options) {
    const auto settings = read_watch_options(options);
    return settings ? "no error" : settings.error().detail;
}

TEST(WatchOptions, TakeDestinationsAsMulticastStatsDoesInQuotesOrNot) {
    EXPECT_THAT(destinations_of(typed({"10.0.5.10 239.220.221.20:4445"})),
                ElementsAre("10.0.5.10 239.220.221.20:4445"));
    EXPECT_THAT(destinations_of(typed({"10.0.5.10", "239.220.221.20:4445", "[ff02::1]:4445"})),
                ElementsAre("10.0.5.10 239.220.221.20:4445", "[ff02::1]:4445"));
}

TEST(WatchOptions, ApplyFromToDestinationsWithoutAnAddressOfTheirOwn) {
    WatchOptions options = typed({"239.1.1.1:4445", "10.0.6.10 239.1.1.2:4445", "239.1.1.3:4445"});
    options.from = "10.0.5.10";

    EXPECT_THAT(destinations_of(options),
                ElementsAre("10.0.5.10 239.1.1.1:4445", "10.0.6.10 239.1.1.2:4445",
                            "10.0.5.10 239.1.1.3:4445"));
}

TEST(WatchOptions, NameTheDestinationThatIsWrong) {
    WatchOptions interface_named = typed({"10.0.5.255:4445"});
    interface_named.from = "eth0";

    EXPECT_THAT(error_of(typed({"10.0.5.255"})),
                AllOf(StartsWith("DEST \"10.0.5.255\": expected"), HasSubstr("10.0.5.255:4445")));
    EXPECT_THAT(error_of(typed({"web1:4445"})), StartsWith("DEST \"web1:4445\": "));
    EXPECT_THAT(error_of(typed({" "})), StartsWith("DEST \" \": expected"));
    EXPECT_THAT(error_of(interface_named),
                StartsWith("--from \"eth0\": expected an IP address of this machine"));
}

TEST(WatchOptions, TakeACountFromOne) {
    const auto settings = read_watch_options(typed_with_count("3"));

    ASSERT_TRUE(settings);
    EXPECT_EQ(settings->count, 3U);
    EXPECT_THAT(error_of(typed_with_count("0")),
                StartsWith("--count \"0\": expected a whole number from 1 to "));
    EXPECT_THAT(error_of(typed_with_count("-1")), StartsWith("--count \"-1\": "));
}

TEST(WatchOptions, AreMalformedWhereTheyWereTypedWrong) {
    const auto settings = read_watch_options(typed({"web1"}));

    ASSERT_FALSE(settings);
    EXPECT_EQ(settings.error().kind, Error::Kind::malformed);
}

TEST(WatchOptions, AreRefusedForAKeyFileThatCannotBeRead) {
    const auto settings = read_watch_options(typed_with_key("/nowhere/key"));

    ASSERT_FALSE(settings);
    EXPECT_EQ(settings.error().kind, Error::Kind::refused);
    EXPECT_THAT(settings.error().detail,
                AllOf(StartsWith("--key /nowhere"), HasSubstr("a key is made by: ")));
}

TEST(WatchOptions, TakeAKeyFileByARelativePath) {
    const TemporaryFolder folder;
    const std::string file = folder.path() + "/key";
    std::ofstream{file} << "0123456789abcdef0123456789abcdef\n";
    std::filesystem::permissions(file, std::filesystem::perms::owner_read);
    const std::string relative = std::filesystem::relative(file);

    const auto settings = read_watch_options(typed_with_key(relative));

    ASSERT_TRUE(settings) << settings.error().detail;
    ASSERT_TRUE(settings->keys);
    EXPECT_EQ(settings->keys->signing_id(), our_ring().signing_id());
}

}  // namespace
}  // namespace backhand
