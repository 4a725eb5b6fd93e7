// Words a ReportSnapshot as an HTML page.
//
// The columns are a table in the code as they are on the page: who adds a number to the report adds
// one line here.  Names of the original's `serverstat` are given in the legend, since its candidacy
// functions and their documentation use them.
#include "report/html.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <span>
#include <string_view>

#include "base/html_text.h"
#include "decide/chain.h"

namespace backhand {

namespace {

constexpr std::string_view page_begin = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="referrer" content="no-referrer">
<title>Backhand)";

constexpr std::string_view style = R"(</title>
<style>
:root { color-scheme: light dark; --text: #1c2127; --muted: #77808b; --page: #fbfbfa;
  --line: #dcdfe3; --band: #f0f2f4; --link: #0b5cad; --good: #1a7f37; --bad: #b42318; --warn: #9a6700; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e7eb; --muted: #8b949e; --page: #14171a; --line: #30363d; --band: #1d2126;
    --link: #6cb2f7; --good: #57c26f; --bad: #ff7b72; --warn: #e3b341; } }
body { margin: 2rem auto; padding: 0 1.25rem; max-width: 110rem; color: var(--text);
  background: var(--page); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
h3 { font-size: .95rem; margin: 0 0 .3rem; } a { color: var(--link); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .65rem; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } thead th { background: var(--band); }
.number { text-align: right; } td.services { white-space: normal; min-width: 12rem; }
tr.self th { box-shadow: inset 3px 0 var(--link); }
.groups { display: flex; flex-wrap: wrap; gap: 2rem; }
.ok { color: var(--good); } .silent, .ejected, .unhealthy, .unproven { color: var(--bad); } .leaving { color: var(--warn); }
.muted, .muted th { color: var(--muted); } .muted th, .counters th { font-weight: 400; }
dt { font-weight: 600; } dd { margin: 0 0 .3rem 1.2rem; } footer { margin-top: 2.5rem; }
</style>
</head>
<body>
)";

constexpr std::string_view page_end = R"(<footer>
<p><a href="?format=json">This report as JSON</a> &middot;
<a href="https://www.backhand.org/">The Backhand project</a> &middot;
<a href="https://www.cnds.jhu.edu/">CNDS</a>, the Center for Networking and Distributed Systems,
where it began</p>
</footer>
</body>
</html>
)";

std::string number(std::uint64_t value) {
    return std::to_string(value);
}

struct Column {
    std::string_view heading;
    std::string_view meaning;
    std::string (*text)(const ServerRow&);
};

struct ColumnGroup {
    std::string_view heading;
    std::span<const Column> columns;
};

constexpr std::array<Column, 8> request_columns = {{
    {"serving", "requests it answers itself at this moment",
     [](const ServerRow& row) { return number(row.view.serving); }},
    {"forwarding", "requests it has passed on to a peer at this moment",
     [](const ServerRow& row) { return number(row.forwarding); }},
    {"sent since", "requests this server has sent it since its last news",
     [](const ServerRow& row) { return number(row.view.sent_since); }},
    {"in flight", "requests this server has at it now",
     [](const ServerRow& row) { return number(row.view.in_flight); }},
    {"forwarded", "numbacked: requests it had peers answer, since its start",
     [](const ServerRow& row) { return number(row.view.load.forwarded_total); }},
    {"our latency", "how long requests took that this server sent it: a peak that fades",
     [](const ServerRow& row) {
         const ServerView& view = row.view;
         return latency_text(
             static_cast<std::uint32_t>(view.own_latency_us * share_left(view.own_latency_age_ms)));
     }},
    {"failed", "of the requests this server sent it, so many in a row failed",
     [](const ServerRow& row) { return number(row.failed_attempts_in_a_row); }},
    {"pooled", "idle connections to it that are kept for the next request",
     [](const ServerRow& row) { return number(row.pooled_connections); }},
}};

constexpr std::array<Column, 4> worker_columns = {{
    {"idle", "aservers: workers that wait for a request",
     [](const ServerRow& row) { return number(row.view.workers_idle); }},
    {"busy", "workers that have one",
     [](const ServerRow& row) { return number(row.view.load.workers_busy); }},
    {"running", "nservers: workers that run",
     [](const ServerRow& row) {
         return number(row.view.load.workers_busy + row.view.workers_idle);
     }},
    {"max", "workers it may have",
     [](const ServerRow& row) { return number(row.view.load.workers_max); }},
}};

constexpr std::array<Column, 6> service_columns = {{
    {"requests/s", "requests it answers itself, over the last seconds",
     [](const ServerRow& row) { return rate_text(row.view.load.request_rate_millihertz); }},
    {"errors/s", "of these, answers with a status of 5xx",
     [](const ServerRow& row) { return rate_text(row.view.load.error_rate_millihertz); }},
    {"mean", "how long these take",
     [](const ServerRow& row) { return latency_text(row.view.load.latency_us); }},
    {"99 %", "so many take less",
     [](const ServerRow& row) { return latency_text(row.view.load.latency_p99_us); }},
    {"at this load", "median at as many requests in progress as now",
     [](const ServerRow& row) { return latency_text(row.view.load.latency_at_load_us); }},
    {"for peers", "tatime: how long those take that it answers for peers",
     [](const ServerRow& row) { return latency_text(row.view.load.latency_proxied_us); }},
}};

constexpr std::array<Column, 10> machine_columns = {{
    {"arriba", "arriba: how fast one of its CPUs is",
     [](const ServerRow& row) { return number(row.view.load.arriba); }},
    {"CPUs", "ncpu: how many it may use",
     [](const ServerRow& row) { return cpus_text(row.view.load.cpus_permille); }},
    {"CPU idle", "cpu: idle time of these",
     [](const ServerRow& row) { return share_text(row.view.load.cpu_idle_permille); }},
    {"load", "load: average over one minute",
     [](const ServerRow& row) { return load_text(row.view.load.load_permille); }},
    {"high water", "load_hwm: the power of two that the load has not passed so far",
     [](const ServerRow& row) { return number(row.view.load.load_hwm); }},
    {"memory", "tmem: what it may use",
     [](const ServerRow& row) { return memory_text(row.view.load.memory_total_bytes); }},
    {"available", "amem: memory that is free, or can be made so",
     [](const ServerRow& row) { return memory_text(row.view.load.memory_available_bytes); }},
    {"CPU pressure", "share of the last 10 s in which something waited for a CPU",
     [](const ServerRow& row) { return share_text(row.view.load.pressure_cpu_permille); }},
    {"memory pressure", "the same for memory",
     [](const ServerRow& row) { return share_text(row.view.load.pressure_memory_permille); }},
    {"disk pressure", "the same for input and output",
     [](const ServerRow& row) { return share_text(row.view.load.pressure_io_permille); }},
}};

constexpr std::array<ColumnGroup, 4> number_columns = {{
    {"Requests", request_columns},
    {"Service", service_columns},
    {"Workers", worker_columns},
    {"Machine", machine_columns},
}};

enum class CounterGroup { announcements, probes, decisions, forwarding, connections };

constexpr std::array<std::string_view, 5> counter_group_headings = {
    "Announcements", "Probes", "Decisions", "Forwarding", "Connections",
};

CounterGroup group_of(std::string_view counter_name) {
    if (counter_name.starts_with("datagrams_") || counter_name.starts_with("challenges_")) {
        return CounterGroup::announcements;
    }
    if (counter_name.starts_with("probe")) {
        return CounterGroup::probes;
    }
    if (counter_name.starts_with("connections_")) {
        return CounterGroup::connections;
    }
    if (counter_name.starts_with("forward") || counter_name.starts_with("proxied_")) {
        return CounterGroup::forwarding;
    }
    return CounterGroup::decisions;
}

std::string with_spaces(std::string_view name) {
    std::string words{name};
    for (char& letter : words) {
        letter = letter == '_' ? ' ' : letter;
    }
    return words;
}

std::string time_text(std::chrono::system_clock::time_point time) {
    const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
    std::tm utc{};
    ::gmtime_r(&seconds, &utc);
    std::array<char, 64> text{};
    std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &utc);
    return text.data();
}

void add_introduction(std::string& page, const ReportSnapshot& snapshot) {
    page += "<h1>Backhand</h1>\n<p>";
    if (const ServerRow* const self = snapshot.self()) {
        page += "This server is <b>" + escaped(self->name) + "</b>, which its peers reach at " +
                escaped(self->view.load.contact.to_string()) + ".";
    } else {
        page += "This server has not been measured yet.";
    }
    page += snapshot.moderator_alive ? " Its moderator is alive."
                                     : " <b class=\"silent\">Its moderator is not running</b>: the "
                                       "news of other servers are growing old.";
    page += "<br>\n<span class=\"muted\">mod_backhand " + escaped(snapshot.version) + ", boot " +
            number(snapshot.boot_id) + ", " + time_text(snapshot.taken_at) + "</span></p>\n";
}

void add_heading_row(std::string& page) {
    page += "<thead>\n<tr><th scope=\"colgroup\" colspan=\"4\">Server</th>";
    for (const ColumnGroup& group : number_columns) {
        page += R"(<th scope="colgroup" colspan=")" + number(group.columns.size()) + "\">";
        page += group.heading;
        page += "</th>";
    }
    page +=
        "<th scope=\"col\" rowspan=\"2\">Services</th></tr>\n<tr><th scope=\"col\">name</th>"
        "<th scope=\"col\">contact</th><th scope=\"col\">state</th>"
        "<th scope=\"col\" class=\"number\">age</th>";
    for (const ColumnGroup& group : number_columns) {
        for (const Column& column : group.columns) {
            page += R"(<th scope="col" class="number">)";
            page += column.heading;
            page += "</th>";
        }
    }
    page += "</tr>\n</thead>\n";
}

void add_server_row(std::string& page, const ServerRow& row) {
    const std::string state{to_string(row.state())};
    page += row.view.is_self() ? "<tr class=\"self\">" : "<tr>";
    page += "<th scope=\"row\">" + escaped(row.name) + "</th><td>" +
            escaped(row.view.load.contact.to_string()) + "</td><td class=\"" + state + "\">" +
            state + (row.view.load.has(implausible) ? " (?)" : "") + "</td><td class=\"number\">" +
            (row.view.is_self() ? "self" : age_text(row.view.age)) + "</td>";
    for (const ColumnGroup& group : number_columns) {
        for (const Column& column : group.columns) {
            page += "<td class=\"number\">" + column.text(row) + "</td>";
        }
    }
    page += "<td class=\"services\">";
    std::string_view separator;
    for (const std::string& service : row.services) {
        page += separator;
        page += escaped(service);
        separator = ", ";
    }
    page += "</td></tr>\n";
}

void add_legend(std::string& page) {
    page +=
        "<details>\n<summary>What the columns mean</summary>\n<dl>\n"
        "<dt>age</dt><dd>mtime: how long ago anything was heard of it</dd>\n"
        "<dt>state</dt><dd>ok; silent: nothing heard for " +
        age_text(silence_max) +
        "; ejected: connections to it failed, so it is left alone for a while; unhealthy: too many "
        "requests forwarded to it in a row failed, so byHealth leaves it out; leaving: it is "
        "going away; unproven: it has not shown yet that it holds the cluster's key; with a "
        "question "
        "mark: it announced numbers that cannot be true, which were cut</dd>\n";
    for (const ColumnGroup& group : number_columns) {
        for (const Column& column : group.columns) {
            page += "<dt>";
            page += column.heading;
            page += "</dt><dd>";
            page += column.meaning;
            page += "</dd>\n";
        }
    }
    page += "</dl>\n</details>\n";
}

void add_servers(std::string& page, const ReportSnapshot& snapshot) {
    page += "<h2>Servers</h2>\n<div class=\"wide\">\n<table>\n";
    add_heading_row(page);
    page += "<tbody>\n";
    for (const ServerRow& row : snapshot.servers) {
        add_server_row(page, row);
    }
    page += "</tbody>\n</table>\n</div>\n";
    add_legend(page);
}

void add_chains(std::string& page, const ReportSnapshot& snapshot) {
    if (snapshot.chains.empty()) {
        return;
    }
    page += "<h2>Chains</h2>\n<ul>\n";
    for (const std::string& chain : snapshot.chains) {
        page += "<li><code>" + escaped(chain) + "</code></li>\n";
    }
    page += "</ul>\n";
}

void add_plugins(std::string& page, const ReportSnapshot& snapshot) {
    if (snapshot.plugins.empty()) {
        return;
    }
    page +=
        "<h2>Plug-ins</h2>\n<div class=\"wide\">\n<table>\n<thead><tr><th>function</th>"
        "<th>file</th><th>version since the start</th><th>new files refused</th>"
        "<th>answers corrected</th></tr></thead>\n<tbody>\n";
    for (const PluginRow& row : snapshot.plugins) {
        const std::string line = row.function + (row.argument.empty() ? "" : " " + row.argument);
        page += "<tr><td><code>" + escaped(line) + "</code></td><td><code>" + escaped(row.file) +
                "</code></td><td>" + std::to_string(row.version) + "</td><td>" +
                std::to_string(row.refused) + "</td><td>" + std::to_string(row.corrected) +
                "</td></tr>\n";
    }
    page += "</tbody>\n</table>\n</div>\n";
}

void add_counters(std::string& page, const ReportSnapshot& snapshot) {
    page += "<h2>Since the start</h2>\n<div class=\"groups\">\n";
    for (std::size_t group = 0; group < counter_group_headings.size(); ++group) {
        page += "<section>\n<h3>";
        page += counter_group_headings[group];
        page += "</h3>\n<table class=\"counters\">\n";
        for (std::size_t index = 0; index < counters_count; ++index) {
            if (static_cast<std::size_t>(group_of(counter_names[index])) != group) {
                continue;
            }
            const std::uint64_t value = snapshot.counters[index];
            page += value == 0 ? "<tr class=\"muted\">" : "<tr>";
            page += "<th scope=\"row\">" + with_spaces(counter_names[index]) +
                    "</th><td class=\"number\">" + number(value) + "</td></tr>\n";
        }
        page += "</table>\n</section>\n";
    }
    page += "</div>\n";
}

}  // namespace

std::string to_html(const ReportSnapshot& snapshot) {
    std::string page{page_begin};
    if (const ServerRow* const self = snapshot.self()) {
        page += " on " + escaped(self->name);
    }
    page += style;
    add_introduction(page, snapshot);
    add_servers(page, snapshot);
    add_chains(page, snapshot);
    add_plugins(page, snapshot);
    add_counters(page, snapshot);
    page += page_end;
    return page;
}

}  // namespace backhand
