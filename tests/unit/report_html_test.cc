// The page shows every number of the report, and nothing from the network reaches it unescaped.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/html.h"

namespace backhand {
namespace {

using testing::HasSubstr;
using testing::Not;

ServerRow row_of(std::uint32_t slot_index, std::string name) {
    ServerRow row;
    row.view.slot_index = slot_index;
    row.view.load.contact = *Endpoint::parse("10.0.0.1:8080");
    row.name = std::move(name);
    return row;
}

std::size_t times_in(const std::string& text, std::string_view part) {
    std::size_t times = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++times;
    }
    return times;
}

struct ThePage : testing::Test {
    ReportSnapshot snapshot;

    ThePage() {
        snapshot.version = "0.1.0";
        snapshot.moderator_alive = true;
        snapshot.servers.push_back(row_of(self_slot, "web1"));
        snapshot.servers.push_back(row_of(1, "web2"));
    }

    ServerRow& peer() { return snapshot.servers.back(); }

    std::string page() const { return to_html(snapshot); }
};

TEST_F(ThePage, IsAWholeDocument) {
    EXPECT_TRUE(page().starts_with("<!DOCTYPE html>"));
    EXPECT_TRUE(page().ends_with("</html>\n"));
    EXPECT_THAT(page(), HasSubstr("<meta charset=\"utf-8\">"));
}

TEST_F(ThePage, NeedsNoScriptAndNothingFromElsewhere) {
    EXPECT_THAT(page(), Not(HasSubstr("<script")));
    EXPECT_THAT(page(), Not(HasSubstr("src=")));
    EXPECT_THAT(page(), Not(HasSubstr("@import")));
}

TEST_F(ThePage, HasALightAndADarkLook) {
    EXPECT_THAT(page(), HasSubstr("prefers-color-scheme: dark"));
}

TEST_F(ThePage, LinksToTheJsonAndToWhereItAllBegan) {
    EXPECT_THAT(page(), HasSubstr("href=\"?format=json\""));
    EXPECT_THAT(page(),
                HasSubstr("<a href=\"https://www.backhand.org/\">The Backhand project</a>"));
    EXPECT_THAT(page(), HasSubstr("<a href=\"https://www.cnds.jhu.edu/\">CNDS</a>"));
}

TEST_F(ThePage, IntroducesThisServer) {
    snapshot.boot_id = 99;
    snapshot.taken_at = std::chrono::system_clock::time_point{std::chrono::seconds{951'782'400}};

    EXPECT_THAT(page(), HasSubstr("<title>Backhand on web1</title>"));
    EXPECT_THAT(page(), HasSubstr("This server is <b>web1</b>"));
    EXPECT_THAT(page(), HasSubstr("mod_backhand 0.1.0, boot 99, 2000-02-29 00:00:00 UTC"));
}

TEST_F(ThePage, WarnsWhenTheModeratorIsNotRunning) {
    EXPECT_THAT(page(), HasSubstr("Its moderator is alive."));

    snapshot.moderator_alive = false;

    EXPECT_THAT(page(), HasSubstr("Its moderator is not running"));
}

TEST_F(ThePage, WorksBeforeThisServerWasMeasured) {
    snapshot.servers.clear();

    EXPECT_THAT(page(), HasSubstr("<title>Backhand</title>"));
    EXPECT_THAT(page(), HasSubstr("This server has not been measured yet."));
}

TEST_F(ThePage, HasOneRowPerServer) {
    EXPECT_EQ(times_in(page(), "<th scope=\"row\">web"), 2U);
    EXPECT_EQ(times_in(page(), "<tr class=\"self\">"), 1U);
}

TEST_F(ThePage, ShowsTheNumbersOfAServer) {
    peer().view.age = std::chrono::milliseconds{120};
    peer().view.serving = 901;
    peer().forwarding = 902;
    peer().view.sent_since = 903;
    peer().view.in_flight = 904;
    peer().view.load.forwarded_total = 905;
    peer().view.own_latency_us = 4321;
    peer().failed_attempts_in_a_row = 3;
    peer().pooled_connections = 906;
    peer().view.load.request_rate_millihertz = 90'700;
    peer().view.load.error_rate_millihertz = 1'500;
    peer().view.load.latency_us = 12'300;
    peer().view.load.latency_p99_us = 98'700;
    peer().view.load.latency_at_load_us = 400;
    peer().view.load.latency_proxied_us = 0;
    peer().view.workers_idle = 908;
    peer().view.load.workers_busy = 909;
    peer().view.load.workers_max = 910;
    peer().view.load.arriba = 911;
    peer().view.load.cpus_permille = 1'500;
    peer().view.load.cpu_idle_permille = 875;
    peer().view.load.load_permille = 1420;
    peer().view.load.load_hwm = 8;
    peer().view.load.memory_total_bytes = std::uint64_t{16} << 30U;
    peer().view.load.memory_available_bytes = std::uint64_t{512} << 20U;
    peer().view.load.pressure_cpu_permille = 101;
    peer().view.load.pressure_memory_permille = 102;
    peer().view.load.pressure_io_permille = 103;
    peer().services = {"www.example.com", "static.example.com"};

    const std::string number = "<td class=\"number\">";
    std::string cells = "<td>10.0.0.1:8080</td><td class=\"ok\">ok</td>";
    for (const char* const text :
         {"120 ms",   "901",     "902",   "903",     "904",     "905",    "4.3 ms", "3",
          "906",      "90.7",    "1.5",   "12.3 ms", "98.7 ms", "0.4 ms", "-",      "908",
          "909",      "1817",    "910",   "911",     "1.50",    "87.5%",  "1.42",   "8",
          "16.0 GiB", "512 MiB", "10.1%", "10.2%",   "10.3%"}) {
        cells += number + text + "</td>";
    }
    EXPECT_THAT(page(), HasSubstr(cells));
    EXPECT_THAT(page(), HasSubstr("www.example.com, static.example.com</td>"));
}

TEST_F(ThePage, HasAHeadingForEveryCellOfARow) {
    const std::string text = page();
    const auto begin = text.find("<thead>");
    const auto second_row = text.find("<tr>", text.find("<tr>", begin) + 1);
    const std::string headings = text.substr(second_row, text.find("</thead>") - second_row);
    const auto row_begin = text.find("<tr class=\"self\">");
    const std::string row = text.substr(row_begin, text.find("</tr>", row_begin) - row_begin);

    // The heading of the services spans both rows and stands in the first.
    EXPECT_EQ(times_in(headings, "<th ") + 1, times_in(row, "<td") + times_in(row, "<th "));
}

TEST_F(ThePage, ExplainsTheNamesOfTheOriginal) {
    for (const char* const name :
         {"mtime", "aservers", "nservers", "load_hwm", "ncpu", "tmem", "amem"}) {
        EXPECT_THAT(page(), HasSubstr("<dd>" + std::string{name} + ": "));
    }
}

TEST_F(ThePage, ShowsTheStateOfAServer) {
    peer().ejected = true;
    EXPECT_THAT(page(), HasSubstr("<td class=\"ejected\">ejected</td>"));

    peer().view.age = std::chrono::seconds{10};
    EXPECT_THAT(page(), HasSubstr("<td class=\"silent\">silent</td>"));

    peer().view.load.flags = leaving;
    EXPECT_THAT(page(), HasSubstr("<td class=\"leaving\">leaving</td>"));
}

TEST_F(ThePage, EscapesWhatPeersCallThemselves) {
    peer().name = "<script>alert('1' & \"2\")</script>";

    EXPECT_THAT(page(), Not(HasSubstr("<script")));
    EXPECT_THAT(page(),
                HasSubstr("&lt;script&gt;alert(&#39;1&#39; &amp; &quot;2&quot;)&lt;/script&gt;"));
}

TEST_F(ThePage, EscapesThisServersNameWhereverItStands) {
    snapshot.servers.front().name = "</title><i>";

    EXPECT_THAT(page(), Not(HasSubstr("<i>")));
}

TEST_F(ThePage, EscapesSitesAndChains) {
    peer().services = {"<i>"};
    snapshot.chains = {"/a: byHostname <b&c>"};

    EXPECT_THAT(page(), Not(HasSubstr("<i>")));
    EXPECT_THAT(page(), HasSubstr("<li><code>/a: byHostname &lt;b&amp;c&gt;</code></li>"));
}

TEST_F(ThePage, ReplacesControlCharacters) {
    peer().name = "a\x1B[2Jb";

    EXPECT_THAT(page(), HasSubstr("a\xEF\xBF\xBD[2Jb"));
}

TEST_F(ThePage, ReplacesBytesThatAreNotUtf8) {
    peer().name =
        "a\xFF"
        "b\xC3";

    EXPECT_THAT(page(), HasSubstr("a\xEF\xBF\xBD"
                                  "b\xEF\xBF\xBD<"));
}

TEST_F(ThePage, KeepsLettersOfEveryAlphabet) {
    peer().name =
        "b\xC3\xBC"
        "cher \xE6\x9C\xAC \xF0\x9F\x90\x8E";

    EXPECT_THAT(page(), HasSubstr("b\xC3\xBC"
                                  "cher \xE6\x9C\xAC \xF0\x9F\x90\x8E"));
}

TEST_F(ThePage, HasNoChainsWhereNoneAreConfigured) {
    EXPECT_THAT(page(), Not(HasSubstr("<h2>Chains</h2>")));
}

TEST_F(ThePage, HasEveryCounterOnce) {
    for (const std::string_view name : counter_names) {
        std::string words{name};
        std::replace(words.begin(), words.end(), '_', ' ');
        EXPECT_EQ(times_in(page(), "<th scope=\"row\">" + words + "</th>"), 1U) << name;
    }
}

TEST_F(ThePage, MutesCountersThatAreZero) {
    snapshot.counters[static_cast<std::size_t>(Counter::forwarded)] = 5;

    EXPECT_THAT(page(),
                HasSubstr("<tr><th scope=\"row\">forwarded</th><td class=\"number\">5</td>"));
    EXPECT_THAT(page(), HasSubstr("<tr class=\"muted\"><th scope=\"row\">forward reset</th>"));
}

TEST_F(ThePage, GroupsTheCounters) {
    const std::string text = page();
    const auto announcements = text.find("<h3>Announcements</h3>");
    const auto decisions = text.find("<h3>Decisions</h3>");
    const auto forwarding = text.find("<h3>Forwarding</h3>");
    const auto connections = text.find("<h3>Connections</h3>");

    EXPECT_LT(announcements, text.find(">datagrams sent<"));
    EXPECT_LT(text.find(">datagrams cluster full<"), decisions);
    EXPECT_LT(decisions, text.find(">served here by choice<"));
    EXPECT_LT(text.find(">plugin answer corrected<"), forwarding);
    EXPECT_LT(forwarding, text.find(">proxied accepted<"));
    EXPECT_LT(text.find(">forwarded<"), connections);
    EXPECT_LT(connections, text.find(">connections opened<"));
}

}  // namespace
}  // namespace backhand
