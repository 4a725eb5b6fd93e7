// Turns a typed address into a URL, and the JSON report into text for a terminal.
#include "cli/status.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "report/snapshot.h"

namespace backhand {

namespace {

// Keeps the report's order of counters.
using Json = nlohmann::ordered_json;

constexpr std::string_view unknown = "-";

std::string printable(std::string_view text) {
    std::string result{text};
    std::replace_if(
        result.begin(), result.end(), [](char letter) { return letter < ' ' || letter > '~'; },
        '?');
    return result;
}

std::optional<std::uint64_t> number_of(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number_unsigned()
               ? std::optional{found->get<std::uint64_t>()}
               : std::nullopt;
}

std::string number_text(const Json& object, const char* key) {
    const auto value = number_of(object, key);
    return value ? std::to_string(*value) : std::string{unknown};
}

std::string permille_text(const Json& object, const char* key, std::string (*word)(std::uint32_t)) {
    const auto value = number_of(object, key);
    return value ? word(static_cast<std::uint32_t>(*value)) : std::string{unknown};
}

std::string text_of(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? printable(found->get<std::string>())
                                                       : std::string{unknown};
}

bool is_true(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_boolean() && found->get<bool>();
}

Nanoseconds age_of(const Json& server) {
    // A peer's number: kept where milliseconds still fit into 64 bits of nanoseconds.
    constexpr std::uint64_t ms_max = std::uint64_t{1} << 43U;
    const std::uint64_t ms = std::min(number_of(server, "age_ms").value_or(0), ms_max);
    return Milliseconds{static_cast<std::int64_t>(ms)};
}

// Worded as the page words it, from the fields that it looks at.
std::string_view state_text(const Json& server) {
    ServerRow row;
    row.view.slot_index = is_true(server, "self") ? self_slot : self_slot + 1;
    row.view.age = age_of(server);
    row.view.load.interval_ms = static_cast<std::uint32_t>(
        number_of(server, "interval_ms").value_or(row.view.load.interval_ms));
    row.view.load.flags = is_true(server, "leaving") ? leaving : 0U;
    row.view.proven = !server.contains("proven") || is_true(server, "proven");
    row.view.unhealthy = is_true(server, "unhealthy");
    row.ejected = is_true(server, "ejected");
    return to_string(row.state());
}

Result<Json> parse_report(std::string_view text) {
    // A report has four levels; deeper ones are dropped, because printing them recurses.
    constexpr int depth_max = 8;

    Json report = Json::parse(
        text, [](int depth, Json::parse_event_t, Json&) { return depth <= depth_max; }, false);
    if (!report.is_object() || !report["servers"].is_array() || !report["counters"].is_object()) {
        return Error{Error::Kind::broken, "the answer is not a Backhand report"};
    }
    return report;
}

// ---- text in columns ----

using Cells = std::vector<std::string>;

// Numbers lie to the right, words to the left.
enum class Align { left, right };

std::string aligned(const std::vector<Cells>& rows, const std::vector<Align>& columns) {
    std::vector<std::size_t> widths(columns.size());
    for (const Cells& row : rows) {
        for (std::size_t index = 0; index < row.size(); ++index) {
            widths[index] = std::max(widths[index], row[index].size());
        }
    }

    std::string text;
    for (const Cells& row : rows) {
        std::string line;
        for (std::size_t index = 0; index < row.size(); ++index) {
            const std::string padding(widths[index] - row[index].size(), ' ');
            line += index == 0 ? "" : "  ";
            line += columns[index] == Align::left ? row[index] + padding : padding + row[index];
        }
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + '\n';
    }
    return text;
}

Cells server_cells(const Json& server) {
    const bool self = is_true(server, "self");
    const bool aged = number_of(server, "age_ms").has_value();
    const std::string age = aged ? age_text(age_of(server)) : std::string{unknown};
    return {
        text_of(server, "name"),
        text_of(server, "contact"),
        self ? "self" : age,
        number_text(server, "serving"),
        number_text(server, "forwarding"),
        number_text(server, "workers_idle") + "/" + number_text(server, "workers_max"),
        permille_text(server, "load_permille", load_text),
        permille_text(server, "cpu_idle_permille", share_text),
        number_text(server, "in_flight"),
        std::string{state_text(server)},
    };
}

std::string servers_text(const Json& servers) {
    using enum Align;
    std::vector<Cells> rows = {{"NAME", "CONTACT", "AGE", "SERVING", "FORWARDING", "IDLE/MAX",
                                "LOAD", "CPU IDLE", "IN FLIGHT", "STATE"}};
    for (const Json& server : servers) {
        if (server.is_object()) {
            rows.push_back(server_cells(server));
        }
    }
    return aligned(rows, {left, left, right, right, right, right, right, right, right, left});
}

std::string counters_text(const Json& counters) {
    std::vector<Cells> rows;
    for (const auto& [name, value] : counters.items()) {
        if (value.is_number_unsigned() && value.get<std::uint64_t>() != 0) {
            rows.push_back({printable(name), std::to_string(value.get<std::uint64_t>())});
        }
    }
    return aligned(rows, {Align::left, Align::right});
}

}  // namespace

Result<std::string> status_url(std::string_view typed) {
    const auto malformed = [typed](std::string_view why) {
        return Error{Error::Kind::malformed, "'" + printable(typed) + "' " + std::string{why}};
    };

    std::string_view rest = typed.substr(0, typed.find('#'));
    std::string url = "http://";
    const auto scheme_end = rest.find("://");
    if (scheme_end < rest.find_first_of("/?")) {
        const std::string_view scheme = rest.substr(0, scheme_end);
        if (!equal_ignoring_case(scheme, "http") && !equal_ignoring_case(scheme, "https")) {
            return malformed("is neither an http nor an https URL");
        }
        url = std::string{scheme} + "://";
        rest.remove_prefix(scheme_end + 3);
    }

    const auto host = rest.substr(0, rest.find_first_of("/?"));
    if (host.empty()) {
        return malformed("names no server");
    }
    rest.remove_prefix(host.size());
    const auto path = rest.substr(0, rest.find('?'));
    rest.remove_prefix(path.size());

    url += host;
    url += path.empty() ? "/backhand/" : path;
    url += rest;
    const std::string fields = "&" + std::string{rest.substr(rest.empty() ? 0 : 1)} + "&";
    if (fields.find("&format=json&") == std::string::npos) {
        url += rest.empty() ? "?" : "&";
        url += "format=json";
    }
    return url;
}

Result<std::string> status_table(std::string_view json) {
    const auto report = parse_report(json);
    if (!report) {
        return report.error();
    }

    std::string text = text_of(*report, "self") + " (" + text_of(*report, "contact") +
                       "), mod_backhand " + text_of(*report, "version") +
                       (is_true(*report, "moderator_alive") ? "" : ", MODERATOR NOT RUNNING") +
                       "\n\n" + servers_text((*report)["servers"]);
    if (const std::string counters = counters_text((*report)["counters"]); !counters.empty()) {
        text += '\n' + counters;
    }
    return text;
}

Result<std::string> status_json(std::string_view json) {
    const auto report = parse_report(json);
    if (!report) {
        return report.error();
    }
    return report->dump(2, ' ', true, Json::error_handler_t::replace) + '\n';
}

}  // namespace backhand
