// Words a ReportSnapshot as JSON.  The names and their order are an interface: scripts and
// `backhand status` of other versions read them, so fields are added and never renamed.
#include "report/json.h"

#include <nlohmann/json.hpp>

namespace backhand {

namespace {

using Json = nlohmann::ordered_json;

Json server_json(const ServerRow& row) {
    const ServerView& view = row.view;
    const LoadReport& load = view.load;
    return {
        {"slot", view.slot_index},
        {"self", view.is_self()},
        {"name", row.name},
        {"contact", load.contact.to_string()},
        {"services", row.services},
        {"age_ms", std::chrono::duration_cast<Milliseconds>(view.age).count()},
        {"boot_id", std::to_string(load.boot_id)},
        {"measurement", load.measurement},
        {"arriba", load.arriba},
        {"load_permille", load.load_permille},
        {"load_hwm", load.load_hwm},
        {"cpu_idle_permille", load.cpu_idle_permille},
        {"cpus", load.cpus_count},
        {"memory_total_bytes", load.memory_total_bytes},
        {"memory_available_bytes", load.memory_available_bytes},
        {"workers_max", load.workers_max},
        {"workers_busy", load.workers_busy},
        {"workers_idle", view.workers_idle},
        {"serving", view.serving},
        {"forwarding", row.forwarding},
        {"sent_since", view.sent_since},
        {"in_flight", view.in_flight},
        {"ejected", row.ejected},
        {"failures_in_a_row", row.failures_in_a_row},
        {"pooled_connections", row.pooled_connections},
        {"interval_ms", load.interval_ms},
        {"keepalive_timeout_ms", load.keepalive_timeout_ms},
        {"leaving", load.has(leaving)},
        {"connection_holds_worker", load.has(connection_holds_worker)},
    };
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
