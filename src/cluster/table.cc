#include "cluster/table.h"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <new>

#include <pthread.h>

#include "base/random.h"
#include "base/text.h"
#include "cluster/table_layout.h"

namespace backhand {

namespace {

constexpr std::uint64_t magic = 0x4241434B48414E44U;  // "BACKHAND"

// A slot whose server has been silent for this long may be given to another.
constexpr Nanoseconds slot_reuse_after = std::chrono::seconds{30};
constexpr Nanoseconds moderator_silence_max = std::chrono::seconds{2};

// Servers first heard of within this time after the very first were there before us.
constexpr Nanoseconds getting_acquainted = std::chrono::seconds{5};

std::uint64_t identity_of(const ServerReport& report) {
    return Random::mix(hash_ignoring_case(report.name_view()) ^ hash_of(report.load.contact)) | 1U;
}

}  // namespace

std::uint64_t hash_of(const IpAddress& address) {
    std::uint64_t hash = 0;
    for (const std::uint8_t byte : address.bytes) {
        hash = hash << 8U ^ byte ^ Random::mix(hash >> 32U);
    }
    return Random::mix(hash) | 1U;
}

std::uint64_t hash_of(const Endpoint& contact) {
    return Random::mix(hash_of(contact.address) ^ contact.port) | 1U;
}

ClusterTable::ClusterTable(Header* header)
    : header_(header),
      counters_(&header->counters),
      latency_(&header->latency),
      locations_(&header->locations) {
    const Layout layout{size()};
    auto* const base = reinterpret_cast<std::byte*>(header);
    cells_ = reinterpret_cast<ChildCell*>(base + layout.cells);
    directory_ = reinterpret_cast<DirectoryEntry*>(base + layout.directory);
    glances_ = reinterpret_cast<Glance*>(base + layout.glances);
    index_ = reinterpret_cast<Index*>(base + layout.index);
    numbers_ = reinterpret_cast<Numbers*>(base + layout.numbers);
    exchanges_ = reinterpret_cast<ExchangeNumbers*>(base + layout.exchanges);
    slots_ = reinterpret_cast<Slot*>(base + layout.slots);
}

std::size_t ClusterTable::bytes_needed(Size size) {
    return Layout{size}.end;
}

ClusterTable ClusterTable::create(void* memory, Size size) {
    auto* const header = new (memory) Header{};
    header->layout_version = cluster_layout_version;
    header->slots_max = size.slots_max;
    header->cells_max = size.cells_max;
    header->slots_used.store(1, std::memory_order_relaxed);
    // Not where other tables begin: a view may have been shown another table before.
    header->edition.store(static_cast<std::uint32_t>(Random::mix(monotonic_now())),
                          std::memory_order_relaxed);

    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    ::pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    ::pthread_mutex_init(&header->writing, &attributes);
    ::pthread_mutexattr_destroy(&attributes);

    header->magic_number = magic;
    return ClusterTable{header};
}

std::optional<ClusterTable> ClusterTable::attach(void* memory) {
    auto* const header = static_cast<Header*>(memory);
    if (header->magic_number != magic || header->layout_version != cluster_layout_version) {
        return std::nullopt;
    }
    return ClusterTable{header};
}

ClusterTable::Size ClusterTable::size() const {
    return {.slots_max = header_->slots_max, .cells_max = header_->cells_max};
}

ChildCells ClusterTable::cells() const {
    return {{cells_, header_->cells_max}, header_->cells_used, header_->in_flight};
}

void ClusterTable::child_stops(MonotonicTime now) const {
    header_->child_stopped_at.store(now, std::memory_order_relaxed);
}

MonotonicTime ClusterTable::child_stopped_at() const {
    return header_->child_stopped_at.load(std::memory_order_relaxed);
}

RetryBudget& ClusterTable::retries() const {
    return header_->retries;
}

void ClusterTable::begin_edition(std::uint32_t slot_index) const {
    const std::uint32_t next = header_->edition.load(std::memory_order_relaxed) + 1;
    const std::uint32_t edition = next == no_edition ? next + 1 : next;
    header_->edition.store(edition, std::memory_order_relaxed);
    index_[slot_index].edition.store(edition, std::memory_order_release);
}

// Another server, or another start of the same one: what we observed of it is void.
void ClusterTable::begin_boot(std::uint32_t slot_index, std::uint64_t its_boot_id) const {
    Glance& glance = glance_at(slot_index);
    glance.boot_heard_at.store(not_heard_yet, std::memory_order_relaxed);
    glance.health.forget();
    glance.ejected_until.store(0, std::memory_order_relaxed);
    index_[slot_index].own_latency.forget();
    Slot& target = slot(slot_index);
    target.boot_id.store(its_boot_id, std::memory_order_relaxed);
    target.failures.store(0, std::memory_order_relaxed);
    target.pooled.store(0, std::memory_order_relaxed);
    target.connections_missed.store(0, std::memory_order_relaxed);
    probe_answered(slot_index);
    glance.fresh.store(0, std::memory_order_relaxed);
}

// A predecessor sees the new epoch within a few milliseconds.  One that does not is stopped or
// stuck; what it may still write, should it ever go on, is gone with the next report.
std::uint64_t ClusterTable::become_writer(Nanoseconds patience) const {
    const std::uint64_t epoch = header_->writer_epoch.fetch_add(1, std::memory_order_acq_rel) + 1;
    const MonotonicTime deadline = monotonic_now() + nanoseconds_in(patience);
    const timespec until{.tv_sec = static_cast<time_t>(deadline / 1'000'000'000),
                         .tv_nsec = static_cast<long>(deadline % 1'000'000'000)};
    if (::pthread_mutex_clocklock(&header_->writing, CLOCK_MONOTONIC, &until) == EOWNERDEAD) {
        ::pthread_mutex_consistent(&header_->writing);
    }
    return epoch;
}

bool ClusterTable::is_writer(std::uint64_t epoch) const {
    return header_->writer_epoch.load(std::memory_order_acquire) == epoch;
}

void ClusterTable::stop_writing() const {
    ::pthread_mutex_unlock(&header_->writing);  // which does nothing unless it is ours
}

void ClusterTable::depose_writer() const {
    header_->writer_epoch.fetch_add(1, std::memory_order_acq_rel);
}

void ClusterTable::writer_alive(MonotonicTime now) const {
    header_->writer_seen_at.store(now, std::memory_order_relaxed);
}

bool ClusterTable::moderator_alive(MonotonicTime now) const {
    const MonotonicTime seen_at = header_->writer_seen_at.load(std::memory_order_relaxed);
    return seen_at != 0 && elapsed(seen_at, now) < moderator_silence_max;
}

void ClusterTable::set_self(const ServerReport& report) const {
    DirectoryEntry& entry = directory()[self_slot];
    entry.identity.store(identity_of(report), std::memory_order_relaxed);
    entry.contact.store(hash_of(report.load.contact), std::memory_order_relaxed);
    entry.address.store(hash_of(report.load.contact.address), std::memory_order_relaxed);
    Slot& self = slot(self_slot);
    self.report.write(report);
    self.boot_id.store(report.load.boot_id, std::memory_order_relaxed);
    self.name_hash.store(hash_ignoring_case(report.name_view()), std::memory_order_relaxed);
}

ClusterTable::Taken ClusterTable::take(const ServerReport& report) const {
    const LoadReport& load = report.load;
    const std::uint64_t identity = identity_of(report);
    auto slot_index = find(identity);
    if (!slot_index) {
        slot_index = find_predecessor(load.contact);
    }
    const bool known =
        slot_index &&
        (directory()[*slot_index].identity.load(std::memory_order_relaxed) == identity ||
         !may_be_reused(*slot_index, load.received_at));
    if (!slot_index) {
        slot_index = find_free(load.received_at);
    }
    if (!slot_index) {
        return {Outcome::cluster_full};
    }

    Slot& target = slot(*slot_index);
    Glance& glance = glance_at(*slot_index);
    DirectoryEntry& entry = directory()[*slot_index];
    const std::uint64_t boot_before = target.boot_id.load(std::memory_order_relaxed);
    const std::uint64_t measured_before = target.measurement.load(std::memory_order_relaxed);
    if (known && (load.boot_id < boot_before ||
                  (load.boot_id == boot_before && load.measurement <= measured_before))) {
        return {Outcome::replayed};
    }
    const bool same_server = entry.identity.load(std::memory_order_relaxed) == identity;
    if (!same_server || load.boot_id != boot_before) {
        exchange_numbers(*slot_index).begin(load.received_at);
        begin_boot(*slot_index, load.boot_id);
    }
    if (header_->first_heard_at.load(std::memory_order_relaxed) == 0) {
        header_->first_heard_at.store(load.received_at, std::memory_order_relaxed);
    }
    if (glance.boot_heard_at.load(std::memory_order_relaxed) == not_heard_yet) {
        const MonotonicTime first = header_->first_heard_at.load(std::memory_order_relaxed);
        glance.boot_heard_at.store(elapsed(first, load.received_at) < getting_acquainted
                                       ? heard_before_us
                                       : load.received_at,
                                   std::memory_order_relaxed);
    }
    if (!same_server) {
        target.name_hash.store(hash_ignoring_case(report.name_view()), std::memory_order_relaxed);
        glance.set_proven(false);
        entry.contact.store(hash_of(load.contact), std::memory_order_relaxed);
        entry.address.store(hash_of(load.contact.address), std::memory_order_relaxed);
        entry.identity.store(identity, std::memory_order_release);
    }
    target.measurement.store(load.measurement, std::memory_order_relaxed);
    target.announced_at.store(load.received_at, std::memory_order_relaxed);
    target.report.write(report);
    numbers_[*slot_index].take(load);
    begin_edition(*slot_index);
    glance.take(report);
    refresh(*slot_index, load.boot_id, load.measurement, load.serving, load.workers_idle,
            load.received_at);
    if (*slot_index >= header_->slots_used.load(std::memory_order_relaxed)) {
        header_->slots_used.store(*slot_index + 1, std::memory_order_release);
    }
    const bool counts =
        header_->proof_demanded.load(std::memory_order_relaxed) == 0 || glance.proven();
    return {counts ? Outcome::taken : Outcome::unproven, *slot_index};
}

void ClusterTable::demand_proof(bool demanded) const {
    header_->proof_demanded.store(demanded ? 1 : 0, std::memory_order_relaxed);
}

bool ClusterTable::prove(std::uint32_t slot_index, const Endpoint& contact, std::uint64_t boot_id,
                         std::uint64_t measurement) const {
    Slot& target = slot(slot_index);
    if (directory()[slot_index].contact.load(std::memory_order_relaxed) != hash_of(contact)) {
        return false;
    }
    const std::uint64_t boot_heard = target.boot_id.load(std::memory_order_relaxed);
    if (boot_id < boot_heard) {
        return false;
    }
    if (boot_id > boot_heard) {
        // What was heard is a replay from an earlier life.  Nothing up to now counts any more.
        exchange_numbers(slot_index).begin(monotonic_now());
        begin_boot(slot_index, boot_id);
        target.measurement.store(measurement, std::memory_order_relaxed);
        return false;
    }
    if (measurement > target.measurement.load(std::memory_order_relaxed)) {
        target.measurement.store(measurement, std::memory_order_relaxed);
    }
    glance_at(slot_index).set_proven(true);
    return true;
}

std::uint64_t ClusterTable::boot_id() const {
    return header_->boot_id.load(std::memory_order_acquire);
}

void ClusterTable::set_boot_id(std::uint64_t boot_id) const {
    header_->boot_id.store(boot_id, std::memory_order_release);
}

std::uint64_t ClusterTable::next_measurement() const {
    return header_->measurement.fetch_add(1, std::memory_order_relaxed) + 1;
}

void ClusterTable::set_oldest_recent_measurement(std::uint64_t measurement) const {
    header_->oldest_recent_measurement.store(measurement, std::memory_order_relaxed);
}

bool ClusterTable::is_recent_measurement(std::uint64_t measurement) const {
    return measurement >= header_->oldest_recent_measurement.load(std::memory_order_relaxed) &&
           measurement <= header_->measurement.load(std::memory_order_relaxed);
}

std::optional<std::uint32_t> ClusterTable::find(std::uint64_t identity) const {
    const auto used = directory().first(slots_used());
    for (std::uint32_t index = self_slot + 1; index < used.size(); ++index) {
        if (used[index].identity.load(std::memory_order_relaxed) == identity) {
            return index;
        }
    }
    return std::nullopt;
}

// Two servers cannot share a contact: one that announces another's has replaced it, under another
// name.
std::optional<std::uint32_t> ClusterTable::find_predecessor(const Endpoint& contact) const {
    const auto found = find_contact(contact);
    return found != self_slot ? found : std::nullopt;
}

// Our own requests must have ended there, or they would be taken for requests at the next server.
bool ClusterTable::may_be_reused(std::uint32_t slot_index, MonotonicTime now) const {
    const Slot& candidate = slot(slot_index);
    const MonotonicTime heard_at = glance_at(slot_index).heard_at.load(std::memory_order_relaxed);
    return elapsed(heard_at, now) > slot_reuse_after &&
           candidate.in_flight.load(std::memory_order_relaxed) == 0;
}

std::optional<std::uint32_t> ClusterTable::find_free(MonotonicTime now) const {
    const std::uint32_t used = slots_used();
    for (std::uint32_t index = self_slot + 1; index < used; ++index) {
        if (may_be_reused(index, now)) {
            return index;
        }
    }
    return used < header_->slots_max ? std::optional{used} : std::nullopt;
}

}  // namespace backhand
