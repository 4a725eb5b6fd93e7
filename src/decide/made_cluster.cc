#include "decide/made_cluster.h"

#include <limits>
#include <utility>

#include "base/random.h"
#include "cluster/report_fields.h"

namespace backhand {

namespace {

using Server = MadeCluster::Server;

constexpr std::uint32_t many = 1000;

Endpoint contact_of(std::uint32_t number, bool is_v6) {
    Endpoint contact = *Endpoint::parse(is_v6 ? "[2001:db8::]:80" : "10.0.0.0:80");
    contact.address.bytes[14] = static_cast<std::uint8_t>(number >> 8U);
    contact.address.bytes[15] = static_cast<std::uint8_t>(number + 1);
    return contact;
}

Server plausible_server(std::uint32_t slot_index) {
    Server server{.view = {}, .name = "made" + std::to_string(slot_index)};
    server.view.slot_index = slot_index;
    server.view.workers_idle = 40;
    server.view.serving = 10;
    LoadReport& load = server.view.load;
    load.boot_id = 1;
    load.measurement = 1;
    load.memory_total_bytes = std::uint64_t{8} << 30U;
    load.memory_available_bytes = std::uint64_t{4} << 30U;
    load.load_permille = 1500;
    load.load_hwm = 4;
    load.cpus_permille = 4000;
    load.cpu_idle_permille = 600;
    load.arriba = 1'000'000;
    load.workers_max = 50;
    load.workers_busy = 10;
    load.workers_idle = 40;
    load.serving = 10;
    load.latency_us = 2000;
    load.latency_p99_us = 9000;
    load.contact = contact_of(slot_index, false);
    return server;
}

// Every announced number at its limit, on one side or the other.
void exaggerate(Server& server, bool most) {
    LoadReport& load = server.view.load;
    for (const ReportField& field : report_fields) {
        field.set(load, most ? field.most : field.least);
    }
    server.view.serving = load.serving;
    server.view.workers_idle = load.workers_idle;
    server.view.sent_since = most ? std::numeric_limits<std::uint32_t>::max() : 0;
    server.view.in_flight = server.view.sent_since;
    server.view.age = most && !server.view.is_self() ? std::chrono::hours{24 * 365} : Nanoseconds{};
    server.failures_in_a_row = server.view.sent_since;
    server.name = most ? std::string(63, 'x') : "";
}

MadeCluster extreme_cluster() {
    std::vector<Server> servers;
    for (std::uint32_t slot_index = 0; slot_index < 32; ++slot_index) {
        Server server = plausible_server(slot_index);
        exaggerate(server, slot_index % 2 == 1);
        server.view.load.contact = contact_of(slot_index, slot_index % 3 == 0);
        servers.push_back(std::move(server));
    }
    return {"32 servers with extreme numbers", std::move(servers)};
}

}  // namespace

MadeCluster::MadeCluster(std::string what, std::vector<Server> servers, bool self_is_member)
    : what_(std::move(what)),
      servers_(std::move(servers)),
      self_is_member_(self_is_member),
      counters_(std::make_unique<Counters>()),
      latency_(std::make_unique<LatencyByLoad>()),
      locations_(std::make_unique<LocationTimes>()) {}

void MadeCluster::fill(CandidacySet& set) const {
    set.begin_without(servers_.front().view);
    if (self_is_member_) {
        set.add_self();
    }
    for (std::size_t index = 1; index < servers_.size(); ++index) {
        set.add(servers_[index].view);
    }
}

bool MadeCluster::view(std::uint32_t slot_index, std::uint64_t, MonotonicTime,
                       ServerView& view) const {
    if (slot_index >= servers_.size()) {
        return false;
    }
    view = servers_[slot_index].view;
    return true;
}

std::optional<ServerReport> MadeCluster::report(std::uint32_t slot_index) const {
    if (slot_index >= servers_.size()) {
        return std::nullopt;
    }
    ServerReport report;
    report.load = servers_[slot_index].view.load;
    report.set_name(servers_[slot_index].name);
    static_cast<void>(report.add_service("www.example.com"));
    return report;
}

std::uint32_t MadeCluster::failures_in_a_row(std::uint32_t slot_index) const {
    return slot_index < servers_.size() ? servers_[slot_index].failures_in_a_row : 0;
}

MadeCluster plausible_cluster(std::string what, std::uint32_t size, bool spread) {
    Random random{1};
    std::vector<Server> servers;
    for (std::uint32_t slot_index = 0; slot_index < size; ++slot_index) {
        Server server = plausible_server(slot_index);
        if (spread) {
            server.view.serving = random.below(50);
            server.view.load.serving = server.view.serving;
            server.view.load.load_permille = random.below(20'000);
            server.view.load.cpu_idle_permille = random.below(1001);
            server.view.age = Milliseconds{server.view.is_self() ? 0 : random.below(300)};
            server.view.sent_since = random.below(3);
            server.view.in_flight = server.view.sent_since;
        }
        servers.push_back(std::move(server));
    }
    return {std::move(what), std::move(servers)};
}

std::vector<MadeCluster> made_clusters() {
    std::vector<MadeCluster> clusters;
    clusters.emplace_back("no candidate", std::vector{plausible_server(0)}, false);
    clusters.push_back(plausible_cluster("this server alone", 1, false));
    clusters.emplace_back("one peer, without this server",
                          std::vector{plausible_server(0), plausible_server(1)}, false);
    clusters.push_back(plausible_cluster("16 equal servers", 16, false));
    clusters.push_back(plausible_cluster("16 servers", 16, true));
    clusters.push_back(plausible_cluster(std::to_string(many) + " servers", many, true));
    clusters.push_back(extreme_cluster());
    return clusters;
}

}  // namespace backhand
