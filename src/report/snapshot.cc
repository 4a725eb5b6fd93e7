// Copies the cluster table into a ReportSnapshot.
//
// Slots change while they are copied.  A row must still not mix two servers, which is why its name,
// contact and load all come from one read of the slot.
#include "report/snapshot.h"

#include <algorithm>
#include <utility>

#include "decide/chain.h"

namespace backhand {

namespace {

std::vector<std::string> split_at_spaces(std::string_view text) {
    std::vector<std::string> words;
    while (!text.empty()) {
        const auto end = std::min(text.find(' '), text.size());
        if (end > 0) {
            words.emplace_back(text.substr(0, end));
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return words;
}

// "4.2" for 42.
std::string tenths_text(std::uint64_t tenths) {
    return std::to_string(tenths / 10) + '.' + std::to_string(tenths % 10);
}

}  // namespace

std::string_view to_string(ServerState state) {
    switch (state) {
        case ServerState::ok:
            return "ok";
        case ServerState::silent:
            return "silent";
        case ServerState::ejected:
            return "ejected";
        case ServerState::leaving:
            return "leaving";
        case ServerState::unhealthy:
            return "unhealthy";
        case ServerState::unproven:
            return "unproven";
    }
    return "";
}

ServerState ServerRow::state() const {
    if (view.load.has(leaving)) {
        return ServerState::leaving;
    }
    if (is_silent(view)) {
        return ServerState::silent;
    }
    if (!view.proven) {
        return ServerState::unproven;
    }
    if (ejected) {
        return ServerState::ejected;
    }
    return view.unhealthy ? ServerState::unhealthy : ServerState::ok;
}

const ServerRow* ReportSnapshot::self() const {
    return !servers.empty() && servers.front().view.is_self() ? &servers.front() : nullptr;
}

ReportSnapshot take_snapshot(const ClusterTable& table, MonotonicTime now,
                             std::chrono::system_clock::time_point taken_at,
                             std::vector<std::string> chains) {
    ReportSnapshot snapshot;
    snapshot.version = BACKHAND_VERSION;
    snapshot.taken_at = taken_at;
    snapshot.boot_id = table.boot_id();
    snapshot.moderator_alive = table.moderator_alive(now);
    snapshot.chains = std::move(chains);

    for (std::uint32_t slot_index = 0; slot_index < table.slots_used(); ++slot_index) {
        ServerRow row;
        const auto report = table.report(slot_index);
        if (!report || !table.view(slot_index, 0, now, row.view)) {
            continue;
        }
        row.view.load = report->load;
        row.forwarding =
            row.view.is_self() ? table.cells().exact().forwarding : report->load.forwarding;
        row.name = report->name_view();
        row.services = split_at_spaces(report->services_view());
        row.ejected = row.view.ejected;
        row.failures_in_a_row = table.failures_in_a_row(slot_index);
        row.failed_attempts_in_a_row = table.failed_attempts_in_a_row(slot_index);
        row.pooled_connections = table.pooled_connections(slot_index);
        snapshot.servers.push_back(std::move(row));
    }

    for (std::size_t index = 0; index < counters_count; ++index) {
        snapshot.counters[index] = table.counters().get(static_cast<Counter>(index));
    }
    return snapshot;
}

std::string age_text(Nanoseconds age) {
    constexpr std::int64_t ms_shown_max = 1000;

    const auto ms = std::chrono::duration_cast<Milliseconds>(age).count();
    return ms < ms_shown_max ? std::to_string(ms) + " ms"
                             : tenths_text(static_cast<std::uint64_t>(ms) / 100) + " s";
}

std::string load_text(std::uint32_t load_permille) {
    const std::uint32_t hundredths = load_permille / 10;
    const std::string fraction = std::to_string(hundredths % 100);
    return std::to_string(hundredths / 100) + (fraction.size() == 1 ? ".0" : ".") + fraction;
}

std::string share_text(std::uint32_t permille) {
    return tenths_text(permille) + '%';
}

std::string cpus_text(std::uint32_t permille) {
    return permille % 1000 == 0 ? std::to_string(permille / 1000) : load_text(permille);
}

std::string rate_text(std::uint32_t millihertz) {
    return tenths_text(millihertz / 100);
}

std::string latency_text(std::uint32_t us) {
    return us == 0 ? "-" : tenths_text(us / 100) + " ms";
}

std::string memory_text(std::uint64_t bytes) {
    const std::uint64_t mib = bytes >> 20U;
    return mib < 1024 ? std::to_string(mib) + " MiB" : tenths_text(mib * 10 / 1024) + " GiB";
}

}  // namespace backhand
