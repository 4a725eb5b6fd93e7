// `backhand status`: what an administrator types becomes a URL, and what a server answers becomes
// a table that no peer can disturb.
#include "cli/status.h"

#include <string>
#include <string_view>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/json.h"

namespace backhand {
namespace {

using testing::AllOf;
using testing::Each;
using testing::Ge;
using testing::HasSubstr;
using testing::Le;
using testing::Not;

// ---- the URL ----

std::string url_of(std::string_view typed) {
    const auto url = status_url(typed);
    return url ? *url : "error: " + url.error().detail;
}

TEST(AStatusUrl, IsCompletedFromAHostName) {
    EXPECT_EQ(url_of("web1"), "http://web1/backhand/?format=json");
}

TEST(AStatusUrl, KeepsThePort) {
    EXPECT_EQ(url_of("web1:8080"), "http://web1:8080/backhand/?format=json");
    EXPECT_EQ(url_of("[::1]:8080"), "http://[::1]:8080/backhand/?format=json");
}

TEST(AStatusUrl, KeepsTheScheme) {
    EXPECT_EQ(url_of("https://web1"), "https://web1/backhand/?format=json");
    EXPECT_EQ(url_of("HTTP://web1"), "HTTP://web1/backhand/?format=json");
}

TEST(AStatusUrl, KeepsThePath) {
    EXPECT_EQ(url_of("web1/status"), "http://web1/status?format=json");
    EXPECT_EQ(url_of("http://web1/"), "http://web1/?format=json");
}

TEST(AStatusUrl, KeepsTheQuery) {
    EXPECT_EQ(url_of("web1/status?a=b"), "http://web1/status?a=b&format=json");
    EXPECT_EQ(url_of("web1?a=b"), "http://web1/backhand/?a=b&format=json");
}

TEST(AStatusUrl, AsksForJsonOnce) {
    EXPECT_EQ(url_of("http://web1/backhand/?format=json"), "http://web1/backhand/?format=json");
    EXPECT_EQ(url_of("web1/s?format=json&a=b"), "http://web1/s?format=json&a=b");
    EXPECT_EQ(url_of("web1/s?a=b&format=json"), "http://web1/s?a=b&format=json");
}

TEST(AStatusUrl, IsNotFooledByFieldsThatLookAlike) {
    EXPECT_EQ(url_of("web1/s?format=jsonp"), "http://web1/s?format=jsonp&format=json");
    EXPECT_EQ(url_of("web1/s?reformat=json"), "http://web1/s?reformat=json&format=json");
}

TEST(AStatusUrl, LosesItsFragment) {
    EXPECT_EQ(url_of("http://web1/backhand/#servers"), "http://web1/backhand/?format=json");
}

TEST(AStatusUrl, MayHaveAUrlInItsQuery) {
    EXPECT_EQ(url_of("web1/s?from=ftp://x"), "http://web1/s?from=ftp://x&format=json");
}

TEST(AStatusUrl, IsRefusedForAnotherScheme) {
    const auto url = status_url("file:///etc/passwd");

    ASSERT_FALSE(url);
    EXPECT_EQ(url.error().kind, Error::Kind::malformed);
    EXPECT_EQ(url.error().detail, "'file:///etc/passwd' is neither an http nor an https URL");
}

TEST(AStatusUrl, IsRefusedWithoutAServer) {
    EXPECT_EQ(url_of(""), "error: '' names no server");
    EXPECT_EQ(url_of("http://"), "error: 'http://' names no server");
    EXPECT_EQ(url_of("http:///backhand/"), "error: 'http:///backhand/' names no server");
    EXPECT_EQ(url_of("/backhand/"), "error: '/backhand/' names no server");
}

// ---- the table ----

ServerRow row_of(std::uint32_t slot_index, std::string name) {
    ServerRow row;
    row.view.slot_index = slot_index;
    row.view.load.contact = *Endpoint::parse("10.0.0.1:80");
    row.name = std::move(name);
    return row;
}

struct TheTable : testing::Test {
    ReportSnapshot snapshot;

    TheTable() {
        snapshot.version = "0.1.0";
        snapshot.moderator_alive = true;
        snapshot.servers.push_back(row_of(self_slot, "web1"));
        snapshot.servers.push_back(row_of(1, "web2"));
    }

    ServerRow& peer() { return snapshot.servers.back(); }

    std::string table() const {
        const auto text = status_table(to_json(snapshot));
        return text ? *text : "error: " + text.error().detail;
    }
};

TEST_F(TheTable, IsAligned) {
    snapshot.servers.front().view.serving = 12;
    snapshot.servers.front().view.load.workers_max = 256;
    snapshot.servers.front().view.workers_idle = 240;
    peer().name = "web2.example.com";
    peer().view.age = std::chrono::milliseconds{87};
    peer().view.load.load_permille = 1234;
    peer().view.load.cpu_idle_permille = 1000;
    peer().view.in_flight = 3;
    peer().ejected = true;
    snapshot.counters[static_cast<std::size_t>(Counter::decisions)] = 1000;
    snapshot.counters[static_cast<std::size_t>(Counter::forwarded)] = 7;

    EXPECT_EQ(table(),
              "web1 (10.0.0.1:80), mod_backhand 0.1.0\n"
              "\n"
              "NAME              CONTACT        AGE  SERVING  FORWARDING  IDLE/MAX  LOAD  CPU IDLE "
              " IN FLIGHT  STATE\n"
              "web1              10.0.0.1:80   self       12           0   240/256  0.00      0.0% "
              "         0  ok\n"
              "web2.example.com  10.0.0.1:80  87 ms        0           0       0/0  1.23    100.0% "
              "         3  ejected\n"
              "\n"
              "decisions  1000\n"
              "forwarded     7\n");
}

TEST_F(TheTable, EndsWithTheServersWhenNothingWasCounted) {
    EXPECT_THAT(table(), Not(HasSubstr("decisions")));
    EXPECT_TRUE(table().ends_with("ok\n"));
}

TEST_F(TheTable, WarnsWhenTheModeratorIsNotRunning) {
    snapshot.moderator_alive = false;

    EXPECT_THAT(table(), HasSubstr("MODERATOR NOT RUNNING"));
}

TEST_F(TheTable, ShowsSilentAndLeavingServers) {
    peer().view.age = std::chrono::milliseconds{12'345};
    EXPECT_THAT(table(), AllOf(HasSubstr("12.3 s"), HasSubstr("silent\n")));

    peer().view.load.flags = leaving;
    EXPECT_THAT(table(), HasSubstr("leaving\n"));
}

TEST_F(TheTable, WaitsThreeIntervalsOfASlowAnnouncerBeforeCallingItSilent) {
    peer().view.load.interval_ms = 5000;
    peer().view.age = std::chrono::seconds{15};

    EXPECT_THAT(table(), Not(HasSubstr("silent")));
}

TEST_F(TheTable, ShowsNothingThatATerminalWouldObey) {
    peer().name =
        "a\x1B]0;owned\x07\xC2\x9B"
        "b\n\x7F";

    EXPECT_THAT(table(), HasSubstr("a?]0;owned???b??"));
    EXPECT_THAT(table(), Each(testing::AnyOf('\n', AllOf(Ge(' '), Le('~')))));
}

TEST(ATableOfAnotherVersion, HasADashForWhatItDoesNotSay) {
    const auto text = status_table(
        R"({"self": "web1", "servers": [{"name": "web1", "serving": "many"}], "counters": {}})");

    ASSERT_TRUE(text);
    EXPECT_EQ(
        *text,
        "web1 (-), mod_backhand -, MODERATOR NOT RUNNING\n"
        "\n"
        "NAME  CONTACT  AGE  SERVING  FORWARDING  IDLE/MAX  LOAD  CPU IDLE  IN FLIGHT  STATE\n"
        "web1  -          -        -           -       -/-     -         -          -  ok\n");
}

TEST(ATableOfAnotherVersion, IgnoresFieldsItDoesNotKnow) {
    const auto text = status_table(
        R"({"servers": [{"name": "web1", "new": {}}, 7], "counters": {"x": "y", "z": -1}, "a": 1})");

    ASSERT_TRUE(text);
    EXPECT_THAT(*text, HasSubstr("web1"));
}

TEST(ATableOfAnotherVersion, SurvivesNumbersBeyondEveryRange) {
    const auto text = status_table(
        R"({"servers": [{"age_ms": 18446744073709551615, "load_permille": 18446744073709551615}],
            "counters": {}})");

    ASSERT_TRUE(text);
    EXPECT_THAT(*text, HasSubstr("silent"));
}

// ---- answers that are no report ----

std::string complaint_about(std::string_view answer) {
    const auto text = status_table(answer);
    return text ? "none" : text.error().detail;
}

TEST(AnAnswer, IsRefusedWhenItIsNotJson) {
    EXPECT_EQ(complaint_about("<html>"), "the answer is not a Backhand report");
    EXPECT_EQ(complaint_about(""), "the answer is not a Backhand report");
}

TEST(AnAnswer, IsRefusedWhenItBreaksOff) {
    EXPECT_EQ(complaint_about(R"({"servers": [], "counters": {)"),
              "the answer is not a Backhand report");
}

TEST(AnAnswer, IsRefusedWhenItIsSomeOtherJson) {
    EXPECT_EQ(complaint_about("[]"), "the answer is not a Backhand report");
    EXPECT_EQ(complaint_about("{}"), "the answer is not a Backhand report");
    EXPECT_EQ(complaint_about(R"({"servers": 1, "counters": {}})"),
              "the answer is not a Backhand report");
}

TEST(AnAnswer, MayBeNestedHoweverDeeply) {
    const std::string deep = std::string(50'000, '[') + std::string(50'000, ']');

    EXPECT_EQ(complaint_about(deep), "the answer is not a Backhand report");
    EXPECT_TRUE(status_json(R"({"servers": [], "counters": {}, "x": )" + deep + "}"));
}

// ---- --json ----

TEST(TheIndentedJson, KeepsTheOrderOfTheReport) {
    const auto text = status_json(R"({"version":"1","self":"b","servers":[],"counters":{}})");

    ASSERT_TRUE(text);
    EXPECT_EQ(*text,
              "{\n  \"version\": \"1\",\n  \"self\": \"b\",\n  \"servers\": [],\n"
              "  \"counters\": {}\n}\n");
}

TEST(TheIndentedJson, IsAscii) {
    const auto text = status_json(
        "{\"self\":\"b\xC3\xBC"
        "cher\",\"servers\":[],\"counters\":{}}");

    ASSERT_TRUE(text);
    EXPECT_THAT(*text, HasSubstr(R"(b\u00fccher)"));
}

TEST(TheIndentedJson, IsRefusedForWhatIsNoReport) {
    EXPECT_FALSE(status_json("{}"));
}

}  // namespace
}  // namespace backhand
