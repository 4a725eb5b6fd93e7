// Words a ReportSnapshot as JSON.  The names and their order are an interface: scripts and
// `backhand status` of other versions read them, so fields are added and never renamed.
#include "report/json.h"

#include <cmath>

#include <nlohmann/json.hpp>

#include "cluster/report_fields.h"

namespace backhand {

namespace {

using Json = nlohmann::ordered_json;

// What it announced, but with the newest numbers where newer ones are known.
LoadReport newest_load(const ServerRow& row) {
    LoadReport load = row.view.load;
    load.serving = row.view.serving;
    load.forwarding = row.forwarding;
    load.workers_idle = row.view.workers_idle;
    return load;
}

Json server_json(const ServerRow& row) {
    const ServerView& view = row.view;
    const LoadReport load = newest_load(row);
    Json server = {
        {"slot", view.slot_index},
        {"self", view.is_self()},
        {"name", row.name},
        {"contact", load.contact.to_string()},
        {"services", row.services},
        {"state", to_string(row.state())},
        {"age_ms", std::chrono::duration_cast<Milliseconds>(view.age).count()},
        {"boot_id", std::to_string(load.boot_id)},
        {"measurement", load.measurement},
    };
    for (const ReportField& field : report_fields) {
        server[std::string{field.name}] = field.get(load);
    }
    for (const ReportFlag& flag : report_flags) {
        server[std::string{flag.name}] = load.has(flag.flag);
    }
    server.update({
        {"implausible", load.has(implausible)},
        {"proven", view.proven},
        {"sent_since", view.sent_since},
        {"in_flight", view.in_flight},
        {"ejected", row.ejected},
        {"failures_in_a_row", row.failures_in_a_row},
        {"pooled_connections", row.pooled_connections},
        {"unhealthy", view.unhealthy},
        {"failed_attempts_in_a_row", row.failed_attempts_in_a_row},
        {"own_latency_us", std::llround(view.own_latency_us * share_left(view.own_latency_age_ms))},
    });
    return server;
}

}  // namespace

std::string to_json(const ReportSnapshot& snapshot) {
    const ServerRow* const self = snapshot.self();
    Json report = {
        {"version", snapshot.version},
        {"self", self != nullptr ? self->name : ""},
        {"contact", self != nullptr ? self->view.load.contact.to_string() : ""},
        {"boot_id", std::to_string(snapshot.boot_id)},
        {"moderator_alive", snapshot.moderator_alive},
        {"servers", Json::array()},
        {"counters", Json::object()},
    };
    for (const ServerRow& row : snapshot.servers) {
        report["servers"].push_back(server_json(row));
    }
    for (std::size_t index = 0; index < counters_count; ++index) {
        report["counters"][std::string{counter_names[index]}] = snapshot.counters[index];
    }
    return report.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace backhand
