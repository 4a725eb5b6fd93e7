// ReportSnapshot: everything the status page tells, copied at one moment.
//
// An administrator who wonders why a request went where it went needs the facts that the decision
// was made from, not an approximation of them: the rows here are the very views that decisions
// read, together with what this host observed of each server, and the counters.  HTML, JSON and
// the command line only word it differently.
//
// May be taken by any process that has the table, at any time; it waits for nobody.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "cluster/counters.h"
#include "cluster/table.h"

namespace backhand {

enum class ServerState {
    ok,
    silent,     // unheard of for too long: no decision chooses it
    ejected,    // connections to it failed: left alone for a while
    leaving,    // said so itself
    unhealthy,  // too many requests forwarded to it in a row failed: byHealth leaves it out
    unproven,   // its contact has not shown that it holds the cluster's key
};

std::string_view to_string(ServerState state);

struct ServerRow {
    ServerView view;
    std::uint32_t forwarding = 0;  // newest known; for self exact

    // As announced: any bytes but NUL.
    std::string name;
    std::vector<std::string> services;

    bool ejected = false;
    std::uint32_t failures_in_a_row = 0;
    std::uint32_t failed_attempts_in_a_row = 0;
    std::uint32_t pooled_connections = 0;

    // Where several hold, the one that explains the others: who leaves falls silent, and who is
    // silent refuses connections.
    ServerState state() const;
};

struct ReportSnapshot {
    std::string version;
    std::chrono::system_clock::time_point taken_at;
    std::uint64_t boot_id = 0;
    bool moderator_alive = false;

    std::vector<ServerRow> servers;  // every slot in use, self first
    std::array<std::uint64_t, counters_count> counters{};
    std::vector<std::string> chains;  // one line each, as the administrator would write them

    // nullptr until the moderator has measured this server for the first time.
    const ServerRow* self() const;
};

// `now` is what ages are reckoned from, `taken_at` the same moment for people.
ReportSnapshot take_snapshot(const ClusterTable& table, MonotonicTime now,
                             std::chrono::system_clock::time_point taken_at,
                             std::vector<std::string> chains = {});

// ---- how numbers are worded for people, on the page and on the command line ----

std::string age_text(Nanoseconds age);               // "120 ms", "12.3 s"
std::string load_text(std::uint32_t load_permille);  // "0.42"
std::string share_text(std::uint32_t permille);      // "87.5%"
std::string memory_text(std::uint64_t bytes);        // "512 MiB", "15.6 GiB"
std::string cpus_text(std::uint32_t permille);       // "2", "1.5"
std::string rate_text(std::uint32_t millihertz);     // "12.3"
std::string latency_text(std::uint32_t us);          // "0.4 ms", "12.3 ms"; "-" for 0

}  // namespace backhand
