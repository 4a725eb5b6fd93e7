// Plug-ins with the original's interface (include/backhand/mod_backhand.h).
//
// Their statistics are a global variable of the loaded object, and two lines may name the same
// object: all calls of one process take turns.  That, and nothing else, makes such a plug-in wait.
#include <algorithm>
#include <climits>
#include <cstring>
#include <mutex>
#include <utility>

#include "decide/plugin_kinds.h"
#include "decide/seed_statistics.h"

namespace backhand {

namespace {

constinit std::mutex turns;

// What lies behind the end of the array of candidates.
constexpr int order_guard = -0x5A5A5A5A;

int saturate(std::uint64_t value) {
    return static_cast<int>(std::min<std::uint64_t>(value, INT_MAX));
}

class SeedPlugin final : public PluginCode {
public:
    SeedPlugin(SeedFunction function, SeedStatistics** global, const PluginSource& source)
        : function_(function),
          global_(global),
          argument_(source.argument) {}

    std::string_view interface() const override { return "original"; }

    AnswerFaults decide(CandidacySet& set, const DecisionContext& context,
                        PluginScratch& scratch) const override {
        const std::lock_guard turn{turns};
        publish_statistics(set, context);
        return ask(set, context, scratch);
    }

private:
    // Whose name a row has.
    struct Named {
        std::uint64_t boot_id = 0;
        Endpoint contact;
    };

    void publish_statistics(const CandidacySet& set, const DecisionContext& context) const;
    void fill_row(const ServerView& server, const DecisionContext& context,
                  std::time_t clock_time) const;
    AnswerFaults ask(CandidacySet& set, const DecisionContext& context,
                     PluginScratch& scratch) const;

    const SeedFunction function_;
    SeedStatistics** const global_;

    // All below are changed by whose turn it is.
    mutable std::string argument_;  // the prototype lets the function write to it
    mutable std::string argument_given_;
    mutable std::vector<SeedStatistics> statistics_;  // by slot
    mutable std::vector<Named> named_;                // by slot
    mutable std::vector<int> index_of_slot_;          // into set.servers(); -1: no candidate
};

// Every server that is known has a row, candidate or not: the original's functions could look at
// all.  Names are fetched only when a slot has got another server, or that one has started anew.
void SeedPlugin::publish_statistics(const CandidacySet& set, const DecisionContext& context) const {
    const ClusterView& cluster = context.table;
    const std::uint32_t slots_max = cluster.slots_max();
    const std::time_t clock_time = std::time(nullptr);
    statistics_.resize(slots_max);
    named_.resize(slots_max);
    index_of_slot_.assign(slots_max, -1);

    const auto servers = set.servers();
    for (std::size_t index = 0; index < servers.size(); ++index) {
        if (servers[index].slot_index < slots_max) {
            index_of_slot_[servers[index].slot_index] = static_cast<int>(index);
        }
    }
    ServerView other;
    const std::uint32_t slots_used = std::min(cluster.slots_used(), slots_max);
    for (std::uint32_t slot = 0; slot < slots_used; ++slot) {
        const int index = index_of_slot_[slot];
        if (index >= 0) {
            fill_row(servers[static_cast<std::size_t>(index)], context, clock_time);
        } else if (cluster.view(slot, 0, context.now, other)) {
            fill_row(other, context, clock_time);
        } else {
            statistics_[slot] = {};
            named_[slot] = {};
        }
    }
    if (global_ != nullptr) {
        *global_ = statistics_.data();
    }
}

void SeedPlugin::fill_row(const ServerView& server, const DecisionContext& context,
                          std::time_t clock_time) const {
    SeedStatistics& row = statistics_[server.slot_index];
    Named& named = named_[server.slot_index];
    const bool same = row.hostname[0] != '\0' && named.boot_id == server.load.boot_id &&
                      named.contact == server.load.contact;
    if (same) {
        char name[sizeof row.hostname];
        std::memcpy(name, row.hostname, sizeof name);
        row = seed_statistics_of(server, name, context.now, clock_time);
        return;
    }
    const auto report = context.table.report(server.slot_index);
    row = seed_statistics_of(server, report ? report->name_view() : std::string_view{}, context.now,
                             clock_time);
    named = {server.load.boot_id, server.load.contact};
}

AnswerFaults SeedPlugin::ask(CandidacySet& set, const DecisionContext& context,
                             PluginScratch& scratch) const {
    // As large as the cluster can be: the original let functions widen the set.
    const std::size_t slots_max = context.table.slots_max();
    std::vector<int>& slots = scratch.order;
    slots.assign(slots_max + guard_places, order_guard);
    for (std::size_t position = 0; position < set.size(); ++position) {
        slots[position] = static_cast<int>(set[position].slot_index);
    }
    argument_given_ = argument_;

    AnswerFaults faults;
    faults.asked = static_cast<int>(set.size());
    faults.count = faults.asked;
    const int returned =
        function_(context.request.native, slots.data(), &faults.count, argument_given_.data());

    const auto count_max = static_cast<int>(slots_max);
    faults.count_impossible = faults.count < 0 || faults.count > count_max;
    faults.counts_differ = returned != faults.count;
    faults.wrote_beyond = !std::all_of(slots.begin() + static_cast<std::ptrdiff_t>(slots_max),
                                       slots.end(), [](int place) { return place == order_guard; });
    const auto usable = static_cast<std::size_t>(std::clamp(faults.count, 0, count_max));
    for (std::size_t place = 0; place < usable; ++place) {
        const int slot = slots[place];
        slots[place] =
            slot >= 0 && slot < count_max ? index_of_slot_[static_cast<std::size_t>(slot)] : -1;
    }
    take_order(std::span{slots}.first(usable), set, scratch, faults);
    return faults;
}

}  // namespace

SeedStatistics seed_statistics_of(const ServerView& server, std::string_view name,
                                  MonotonicTime now, std::time_t clock_time) {
    const LoadReport& load = server.load;
    SeedStatistics result{};
    name.copy(result.hostname, sizeof result.hostname - 1);
    const auto age = std::chrono::duration_cast<std::chrono::seconds>(
        server.is_self() ? elapsed(load.received_at, now) : server.age);
    result.mtime = clock_time - age.count();
    result.contact.sin_family = AF_UNSPEC;
    if (load.contact.address.is_v4()) {
        const SocketAddress contact{load.contact};
        std::memcpy(&result.contact, contact.get(), sizeof result.contact);
    }
    result.arriba = saturate(load.arriba);
    result.aservers = saturate(server.workers_idle);
    result.nservers = saturate(std::uint64_t{load.workers_busy} + server.workers_idle);
    result.load = saturate(load.load_permille);
    result.load_hwm = saturate(load.load_hwm);
    result.cpu = saturate(load.cpu_idle_permille);
    result.ncpu = saturate(load.whole_cpus());
    result.tmem = saturate(load.memory_total_bytes);
    result.amem = saturate(load.memory_available_bytes);
    return result;
}

std::unique_ptr<const PluginCode> make_seed_plugin(SeedFunction function,
                                                   SeedStatistics** statistics,
                                                   const PluginSource& source) {
    return std::make_unique<SeedPlugin>(function, statistics, source);
}

}  // namespace backhand
