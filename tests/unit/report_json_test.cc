// The JSON report is read by scripts: its names, its types, and that it parses whatever a peer
// says.
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "report/json.h"

namespace backhand {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAreArray;

ServerRow row_of(std::uint32_t slot_index, std::string name) {
    ServerRow row;
    row.view.slot_index = slot_index;
    row.view.load.contact = *Endpoint::parse("10.0.0.1:8080");
    row.name = std::move(name);
    return row;
}

json parsed(const ReportSnapshot& snapshot) {
    return json::parse(to_json(snapshot));
}

TEST(TheJsonReport, SaysWhoMadeIt) {
    ReportSnapshot snapshot;
    snapshot.version = "0.1.0";
    snapshot.boot_id = 12;
    snapshot.moderator_alive = true;
    snapshot.servers.push_back(row_of(self_slot, "web1"));

    const json report = parsed(snapshot);

    EXPECT_EQ(report["version"], "0.1.0");
    EXPECT_EQ(report["self"], "web1");
    EXPECT_EQ(report["contact"], "10.0.0.1:8080");
    EXPECT_EQ(report["boot_id"], "12");
    EXPECT_EQ(report["moderator_alive"], true);
}

TEST(TheJsonReport, HasEmptyNamesBeforeThisServerWasMeasured) {
    ReportSnapshot snapshot;
    snapshot.servers.push_back(row_of(1, "web2"));

    const json report = parsed(snapshot);

    EXPECT_EQ(report["self"], "");
    EXPECT_EQ(report["contact"], "");
    EXPECT_EQ(report["servers"].size(), 1U);
}

TEST(TheJsonReport, HasAnEmptyListWhenThereAreNoServers) {
    EXPECT_EQ(parsed({})["servers"], json::array());
}

TEST(TheJsonReport, GivesEveryNumberOfAServer) {
    ServerRow row = row_of(3, "web4");
    row.services = {"a", "b"};
    row.forwarding = 1;
    row.ejected = true;
    row.failures_in_a_row = 2;
    row.pooled_connections = 3;
    row.failed_attempts_in_a_row = 4;
    row.view.own_latency_us = 27;
    row.view.age = std::chrono::milliseconds{250};
    row.view.serving = 4;
    row.view.workers_idle = 5;
    row.view.sent_since = 6;
    row.view.in_flight = 7;
    row.view.load.boot_id = 8;
    row.view.load.measurement = 9;
    row.view.load.memory_total_bytes = std::uint64_t{1} << 40U;
    row.view.load.memory_available_bytes = std::uint64_t{1} << 39U;
    row.view.load.load_permille = 10;
    row.view.load.load_hwm = 16;
    row.view.load.cpu_idle_permille = 11;
    row.view.load.cpus_permille = 12'500;
    row.view.load.arriba = 13;
    row.view.load.workers_max = 14;
    row.view.load.workers_busy = 15;
    row.view.load.pressure_cpu_permille = 17;
    row.view.load.pressure_memory_permille = 18;
    row.view.load.pressure_io_permille = 19;
    row.view.load.request_rate_millihertz = 20;
    row.view.load.error_rate_millihertz = 21;
    row.view.load.latency_us = 22;
    row.view.load.latency_p99_us = 23;
    row.view.load.latency_at_load_us = 24;
    row.view.load.latency_proxied_us = 25;
    row.view.load.forwarded_total = 26;
    row.view.load.interval_ms = 100;
    row.view.load.keepalive_timeout_ms = 5000;
    row.view.load.probe_port = 40123;
    row.view.load.flags = connection_holds_worker | implausible;
    row.view.proven = false;
    ReportSnapshot snapshot;
    snapshot.servers.push_back(row);

    EXPECT_EQ(parsed(snapshot)["servers"][0], json::parse(R"({
        "slot": 3, "self": false, "name": "web4", "contact": "10.0.0.1:8080",
        "services": ["a", "b"], "state": "unproven", "age_ms": 250, "boot_id": "8",
        "measurement": 9, "arriba": 13, "load_permille": 10, "load_hwm": 16,
        "cpu_idle_permille": 11, "cpus_permille": 12500,
        "memory_total_bytes": 1099511627776, "memory_available_bytes": 549755813888,
        "pressure_cpu_permille": 17, "pressure_memory_permille": 18, "pressure_io_permille": 19,
        "workers_max": 14, "workers_busy": 15, "workers_idle": 5, "serving": 4, "forwarding": 1,
        "forwarded_total": 26, "request_rate_millihertz": 20, "error_rate_millihertz": 21,
        "latency_us": 22, "latency_p99_us": 23, "latency_at_load_us": 24,
        "latency_proxied_us": 25, "interval_ms": 100, "keepalive_timeout_ms": 5000,
        "probe_port": 40123,
        "leaving": false, "connection_holds_worker": true, "implausible": true, "proven": false,
        "sent_since": 6, "in_flight": 7, "ejected": true, "failures_in_a_row": 2,
        "pooled_connections": 3, "unhealthy": false, "failed_attempts_in_a_row": 4,
        "own_latency_us": 27})"));
}

TEST(TheJsonReport, ListsASingleSiteAsAListToo) {
    ReportSnapshot snapshot;
    snapshot.servers.push_back(row_of(self_slot, "web1"));
    snapshot.servers.back().services = {"www.example.com"};

    EXPECT_THAT(parsed(snapshot)["servers"][0]["services"], ElementsAre("www.example.com"));
}

TEST(TheJsonReport, MarksThisServerAndThoseThatLeave) {
    ReportSnapshot snapshot;
    snapshot.servers.push_back(row_of(self_slot, "web1"));
    snapshot.servers.push_back(row_of(1, "web2"));
    snapshot.servers.back().view.load.flags = leaving;

    const json servers = parsed(snapshot)["servers"];

    EXPECT_EQ(servers[0]["self"], true);
    EXPECT_EQ(servers[1]["self"], false);
    EXPECT_EQ(servers[1]["leaving"], true);
}

TEST(TheJsonReport, KeepsAllDigitsOfABootId) {
    ReportSnapshot snapshot;
    snapshot.boot_id = std::numeric_limits<std::uint64_t>::max();
    snapshot.servers.push_back(row_of(1, "web2"));
    snapshot.servers.back().view.load.boot_id = (std::uint64_t{1} << 53U) + 1;

    const json report = parsed(snapshot);

    EXPECT_EQ(report["boot_id"], "18446744073709551615");
    EXPECT_EQ(report["servers"][0]["boot_id"], "9007199254740993");
}

TEST(TheJsonReport, HasEveryCounterByName) {
    ReportSnapshot snapshot;
    snapshot.counters[static_cast<std::size_t>(Counter::forward_truncated)] = 42;

    const json counters = parsed(snapshot)["counters"];

    std::vector<std::string_view> names;
    for (const auto& [name, value] : counters.items()) {
        names.emplace_back(name);
    }
    EXPECT_THAT(names, UnorderedElementsAreArray(counter_names));
    EXPECT_EQ(counters["forward_truncated"], 42);
    EXPECT_EQ(counters["forwarded"], 0);
}

TEST(TheJsonReport, ReplacesBytesThatAreNotUtf8) {
    ReportSnapshot snapshot;
    snapshot.servers.push_back(row_of(self_slot, "web\xFF\xC3"));
    snapshot.servers.back().services = {"\xE2\x82"};

    const json report = parsed(snapshot);

    EXPECT_EQ(report["self"], "web\xEF\xBF\xBD\xEF\xBF\xBD");
    EXPECT_EQ(report["servers"][0]["services"][0], "\xEF\xBF\xBD");
}

TEST(TheJsonReport, EscapesQuotesAndControlCharacters) {
    ReportSnapshot snapshot;
    snapshot.servers.push_back(row_of(self_slot, "\"\n\\\x1B"));

    EXPECT_EQ(parsed(snapshot)["self"], "\"\n\\\x1B");
    EXPECT_THAT(to_json(snapshot), HasSubstr(R"(\"\n\\\u001b)"));
}

TEST(TheJsonReport, IsOneLine) {
    const std::string text = to_json({});

    EXPECT_EQ(text.find('\n'), text.size() - 1);
}

}  // namespace
}  // namespace backhand
