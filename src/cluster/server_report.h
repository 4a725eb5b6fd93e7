// ServerReport: what one server says about itself, as every later stage sees it.
//
// `measure` fills it in for this server, `announce` carries it between servers, the cluster table
// keeps the newest one of each server, `decide` and `report` read it.  Integers with their unit in
// the name, because it leaves the process; trivially copyable, because it lives in shared memory.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "base/address.h"
#include "base/clock.h"

namespace backhand {

// Bits of LoadReport::flags.
enum ServerFlag : std::uint32_t {
    // A kept-alive connection occupies a worker there (prefork and worker MPM; event's does not).
    connection_holds_worker = 1U << 0U,
    // The server is going away: no new requests.
    leaving = 1U << 1U,
    // Not on the wire: it said something that cannot be, and the value was cut to what can.
    implausible = 1U << 2U,
};

// The part that decisions read, and first of it what they read of every server.
// report_fields.h says of each number what it is called outside and what it can be.
struct LoadReport {
    std::uint32_t flags = 0;
    std::uint32_t interval_ms = 100;  // how often it announces

    // ---- what candidacy functions order servers by ----
    std::uint32_t load_permille = 0;      // 1-minute load average
    std::uint32_t load_hwm = 1;           // smallest power of two not below the highest load seen
    std::uint32_t cpus_permille = 1000;   // CPUs it may use; 1500: one and a half
    std::uint32_t cpu_idle_permille = 0;  // of those, since the report before
    std::uint32_t arriba = 0;  // speed of one CPU: thousands of floating-point rounds per second
    std::uint32_t workers_max = 0;
    std::uint32_t workers_busy = 0;
    std::uint32_t workers_idle = 0;
    std::uint32_t request_rate_millihertz = 0;  // requests it answered itself, per 1,000 s
    std::uint32_t error_rate_millihertz = 0;    // of these, answers with a status of 5xx
    std::uint32_t latency_us = 0;               // mean of the others, weighted to the last s
    std::uint32_t latency_at_load_us = 0;       // median at as many requests in progress as now
    std::uint64_t memory_total_bytes = 0;       // } of what it may use
    std::uint64_t memory_available_bytes = 0;   // }

    // ---- the rest ----
    std::uint64_t boot_id = 0;      // rises with every start of that server
    std::uint64_t measurement = 0;  // rises with every report, announced or carried by a response
    MonotonicTime received_at = 0;  // by this machine's clock
    std::uint64_t forwarded_total = 0;  // requests it had peers serve, since its start

    std::uint32_t pressure_cpu_permille = 0;     // } share of the last 10 s in which something
    std::uint32_t pressure_memory_permille = 0;  // } waited for it (the kernel's PSI, "some")
    std::uint32_t pressure_io_permille = 0;      // }
    std::uint32_t serving = 0;             // requests in progress that this server answers itself
    std::uint32_t forwarding = 0;          // requests in progress that it has passed on to a peer
    std::uint32_t latency_p99_us = 0;      // 99 % of those of the last seconds took less
    std::uint32_t latency_proxied_us = 0;  // mean of those it served for peers
    std::uint32_t keepalive_timeout_ms = 5000;  // when it closes an idle connection
    std::uint32_t probe_port = 0;  // where, at its contact's address, it answers probes; 0: nowhere

    Endpoint contact;  // where peers reach it

    bool has(ServerFlag flag) const { return (flags & flag) != 0; }

    // At least one: for functions that count whole CPUs.
    std::uint32_t whole_cpus() const { return cpus_permille <= 1000 ? 1 : cpus_permille / 1000; }
};

struct ServerReport {
    static constexpr std::size_t services_max = 64;

    LoadReport load;
    std::array<char, 64> name{};  // host name, cut at 63 bytes
    std::array<char, 256>
        services{};  // site names, separated by spaces; as many as fit, for people
    std::uint32_t services_count = 0;
    std::uint32_t reserved = 0;
    std::array<std::uint64_t, services_max> service_hashes{};  // hash_ignoring_case of each site

    std::string_view name_view() const { return name.data(); }

    std::string_view services_view() const { return services.data(); }

    // Cuts what does not fit.
    void set_name(std::string_view text);

    // Adds a site this server offers.  False if there is no room for another.
    bool add_service(std::string_view site);

    bool offers(std::uint64_t service_hash) const;
};

static_assert(std::is_trivially_copyable_v<ServerReport>);
static_assert(sizeof(LoadReport) % 8 == 0 && sizeof(ServerReport) % 8 == 0,
              "the cluster table copies reports as 64-bit words");

}  // namespace backhand
