// The numbers of a LoadReport by name: one list for the datagram, the JSON report and their limits.
//
// The names are an interface (docs/wire_format.md): fields are added and never renamed.  A number
// above its limit, or below its least value, cannot be true; whoever reads it from outside cuts it.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string_view>

#include "cluster/server_report.h"

namespace backhand {

struct ReportField {
    std::string_view name;
    std::uint32_t LoadReport::*narrow = nullptr;  // one of these two
    std::uint64_t LoadReport::*wide = nullptr;
    std::uint64_t least = 0;
    std::uint64_t most = std::numeric_limits<std::uint32_t>::max();

    std::uint64_t get(const LoadReport& load) const {
        return narrow != nullptr ? load.*narrow : load.*wide;
    }

    // REQUIRES: least <= value <= most.
    void set(LoadReport& load, std::uint64_t value) const {
        if (narrow != nullptr) {
            load.*narrow = static_cast<std::uint32_t>(value);
        } else {
            load.*wide = value;
        }
    }
};

struct ReportFlag {
    std::string_view name;
    ServerFlag flag;
};

namespace limits {

constexpr std::uint64_t permille = 1000;
constexpr std::uint64_t memory_bytes = std::uint64_t{1} << 50U;  // a pebibyte
constexpr std::uint64_t cpus_permille = std::uint64_t{1000} * 65'536;
constexpr std::uint64_t workers = 1'000'000;
constexpr std::uint64_t load_permille = 1000 * workers;
constexpr std::uint64_t latency_us = 3'600'000'000;  // an hour
constexpr std::uint64_t interval_ms = 60'000;
constexpr std::uint64_t port = 65'535;
constexpr std::uint64_t total = std::uint64_t{1} << 53U;  // what every JSON reader keeps exactly

}  // namespace limits

constexpr std::array<ReportField, 25> report_fields = {{
    {.name = "arriba", .narrow = &LoadReport::arriba},
    {.name = "load_permille", .narrow = &LoadReport::load_permille, .most = limits::load_permille},
    {.name = "load_hwm", .narrow = &LoadReport::load_hwm, .least = 1, .most = 1U << 20U},
    {.name = "cpus_permille",
     .narrow = &LoadReport::cpus_permille,
     .least = 1,
     .most = limits::cpus_permille},
    {.name = "cpu_idle_permille",
     .narrow = &LoadReport::cpu_idle_permille,
     .most = limits::permille},
    {.name = "memory_total_bytes",
     .wide = &LoadReport::memory_total_bytes,
     .most = limits::memory_bytes},
    {.name = "memory_available_bytes",
     .wide = &LoadReport::memory_available_bytes,
     .most = limits::memory_bytes},
    {.name = "pressure_cpu_permille",
     .narrow = &LoadReport::pressure_cpu_permille,
     .most = limits::permille},
    {.name = "pressure_memory_permille",
     .narrow = &LoadReport::pressure_memory_permille,
     .most = limits::permille},
    {.name = "pressure_io_permille",
     .narrow = &LoadReport::pressure_io_permille,
     .most = limits::permille},
    {.name = "workers_max", .narrow = &LoadReport::workers_max, .most = limits::workers},
    {.name = "workers_busy", .narrow = &LoadReport::workers_busy, .most = limits::workers},
    {.name = "workers_idle", .narrow = &LoadReport::workers_idle, .most = limits::workers},
    {.name = "serving", .narrow = &LoadReport::serving, .most = limits::workers},
    {.name = "forwarding", .narrow = &LoadReport::forwarding, .most = limits::workers},
    {.name = "forwarded_total", .wide = &LoadReport::forwarded_total, .most = limits::total},
    {.name = "request_rate_millihertz", .narrow = &LoadReport::request_rate_millihertz},
    {.name = "error_rate_millihertz", .narrow = &LoadReport::error_rate_millihertz},
    {.name = "latency_us", .narrow = &LoadReport::latency_us, .most = limits::latency_us},
    {.name = "latency_p99_us", .narrow = &LoadReport::latency_p99_us, .most = limits::latency_us},
    {.name = "latency_at_load_us",
     .narrow = &LoadReport::latency_at_load_us,
     .most = limits::latency_us},
    {.name = "latency_proxied_us",
     .narrow = &LoadReport::latency_proxied_us,
     .most = limits::latency_us},
    {.name = "interval_ms",
     .narrow = &LoadReport::interval_ms,
     .least = 1,
     .most = limits::interval_ms},
    {.name = "keepalive_timeout_ms", .narrow = &LoadReport::keepalive_timeout_ms},
    {.name = "probe_port", .narrow = &LoadReport::probe_port, .most = limits::port},
}};

constexpr std::array<ReportFlag, 2> report_flags = {{
    {.name = "connection_holds_worker", .flag = connection_holds_worker},
    {.name = "leaving", .flag = leaving},
}};

}  // namespace backhand
