#include "cluster/table.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <type_traits>

#include "base/random.h"
#include "base/text.h"
#include "cluster/fresh_load.h"

namespace backhand {

namespace {

constexpr std::size_t cache_line_bytes = 64;
constexpr std::uint64_t magic = 0x42414B4348414E44U;  // "BACKHAND"

// A slot whose server has been silent for this long may be given to another.
constexpr Nanoseconds slot_reuse_after = std::chrono::seconds{30};
constexpr Nanoseconds moderator_silence_max = std::chrono::seconds{2};
constexpr Nanoseconds ejection_first = std::chrono::seconds{1};
constexpr Nanoseconds ejection_longest = std::chrono::seconds{30};

constexpr std::size_t words_in(std::size_t bytes) {
    return bytes / sizeof(std::uint64_t);
}

constexpr std::size_t round_up(std::size_t bytes) {
    return (bytes + cache_line_bytes - 1) / cache_line_bytes * cache_line_bytes;
}

// Copies a T in and out of shared words.  The words are atomic because a reader may look while the
// writer writes; acquire and release on each of them order the copy against the sequence number
// (on x86 these are plain moves).
template <class T>
void store_words(std::atomic<std::uint64_t>* words, const T& value) {
    std::array<std::uint64_t, words_in(sizeof(T))> copy{};
    std::memcpy(copy.data(), &value, sizeof(T));
    for (std::size_t index = 0; index < copy.size(); ++index) {
        words[index].store(copy[index], std::memory_order_release);
    }
}

template <class T>
void load_words(const std::atomic<std::uint64_t>* words, T& value) {
    std::array<std::uint64_t, words_in(sizeof(T))> copy{};
    for (std::size_t index = 0; index < copy.size(); ++index) {
        copy[index] = words[index].load(std::memory_order_acquire);
    }
    static_assert(std::is_trivially_copyable_v<T>);
    std::memcpy(static_cast<void*>(&value), copy.data(), sizeof(T));
}

// Never 0, which stands for nobody.
std::uint64_t identity_of(const ServerReport& report) {
    std::uint64_t hash = hash_ignoring_case(report.name_view());
    for (const std::uint8_t byte : report.load.contact.address.bytes) {
        hash = Random::mix(hash ^ byte);
    }
    return Random::mix(hash ^ report.load.contact.port) | 1U;
}

}  // namespace

struct ClusterTable::Slot {
    // report: odd while being written, 0 while never written.
    alignas(cache_line_bytes) std::atomic<std::uint32_t> version;
    std::array<std::atomic<std::uint64_t>, words_in(sizeof(ServerReport))> words;

    // observed.  Whose slot it is, and how far its news have come, is kept here too: a report that
    // was left half written must not let an older one in.
    alignas(cache_line_bytes) std::atomic<std::uint64_t> identity;  // 0: nobody's
    std::atomic<std::uint64_t> boot_id;
    std::atomic<std::uint64_t> measurement;  // of the newest report taken
    std::atomic<std::uint64_t> fresh;
    std::atomic<std::uint64_t> fresh_at;
    std::atomic<std::uint64_t> ejected_until;
    std::atomic<std::uint32_t> in_flight;
    std::atomic<std::uint32_t> sent_since;
    std::atomic<std::uint32_t> failures;
    std::atomic<std::uint32_t> pooled;

    void write(const ServerReport& report) {
        // A predecessor may have died in the middle: its odd number is simply continued.
        const std::uint32_t begun = version.load(std::memory_order_relaxed) | 1U;
        version.store(begun, std::memory_order_relaxed);
        store_words(words.data(), report);
        version.store(begun + 1, std::memory_order_release);
    }

    // Runs `copy` until it saw one report throughout; at most twice.
    template <class Copy>
    bool read(Copy copy) const {
        for (int attempt = 0; attempt < 2; ++attempt) {
            const std::uint32_t before = version.load(std::memory_order_acquire);
            if (before == 0) {
                return false;
            }
            if ((before & 1U) != 0) {
                continue;
            }
            copy();
            if (version.load(std::memory_order_relaxed) == before) {
                return true;
            }
        }
        return false;
    }
};

// Padded on purpose: what every process changes lies apart from what every process reads.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
struct ClusterTable::Header {
    std::uint64_t magic_number;
    std::uint32_t layout_version;
    std::uint32_t slots_max;
    std::uint32_t cells_max;
    std::atomic<std::uint32_t> slots_used;
    std::atomic<std::uint32_t> cells_used;
    std::atomic<std::uint64_t> writer_epoch;
    std::atomic<std::uint64_t> writer_seen_at;
    std::atomic<std::uint64_t> boot_id;
    alignas(cache_line_bytes) std::atomic<std::uint64_t> measurement;
    alignas(cache_line_bytes) Counters counters;
};

static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
static_assert(sizeof(ChildCell) == 16);

std::size_t ClusterTable::bytes_needed(Size size) {
    return round_up(sizeof(Header)) + round_up(size.cells_max * sizeof(ChildCell)) +
           size.slots_max * sizeof(Slot);
}

ClusterTable ClusterTable::create(void* memory, Size size) {
    auto* const header = new (memory) Header{};
    header->layout_version = cluster_layout_version;
    header->slots_max = size.slots_max;
    header->cells_max = size.cells_max;
    header->slots_used.store(1, std::memory_order_relaxed);
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

Counters& ClusterTable::counters() const {
    return header_->counters;
}

// The three regions follow one another: header, cells, slots.
std::span<ChildCell> ClusterTable::cells() const {
    auto* const base = reinterpret_cast<std::byte*>(header_) + round_up(sizeof(Header));
    return {reinterpret_cast<ChildCell*>(base), header_->cells_max};
}

ClusterTable::Slot& ClusterTable::slot(std::uint32_t slot_index) const {
    auto* const base = reinterpret_cast<std::byte*>(header_) + round_up(sizeof(Header)) +
                       round_up(header_->cells_max * sizeof(ChildCell));
    return reinterpret_cast<Slot*>(base)[slot_index];
}

std::uint64_t ClusterTable::become_writer() const {
    return header_->writer_epoch.fetch_add(1, std::memory_order_acq_rel) + 1;
}

bool ClusterTable::is_writer(std::uint64_t epoch) const {
    return header_->writer_epoch.load(std::memory_order_acquire) == epoch;
}

void ClusterTable::writer_alive(MonotonicTime now) const {
    header_->writer_seen_at.store(now, std::memory_order_relaxed);
}

bool ClusterTable::moderator_alive(MonotonicTime now) const {
    const MonotonicTime seen_at = header_->writer_seen_at.load(std::memory_order_relaxed);
    return seen_at != 0 && elapsed(seen_at, now) < moderator_silence_max;
}

void ClusterTable::set_self(const ServerReport& report) const {
    Slot& self = slot(self_slot);
    self.write(report);
    self.boot_id.store(report.load.boot_id, std::memory_order_relaxed);
}

ClusterTable::Outcome ClusterTable::take(const ServerReport& report) const {
    const LoadReport& load = report.load;
    const std::uint64_t identity = identity_of(report);
    const auto known = find(identity);
    const auto slot_index = known ? known : find_free(load.received_at);
    if (!slot_index) {
        return Outcome::cluster_full;
    }

    Slot& target = slot(*slot_index);
    const std::uint64_t boot_before = target.boot_id.load(std::memory_order_relaxed);
    const std::uint64_t measured_before = target.measurement.load(std::memory_order_relaxed);
    if (known && (load.boot_id < boot_before ||
                  (load.boot_id == boot_before && load.measurement <= measured_before))) {
        return Outcome::replayed;
    }
    if (!known || load.boot_id != boot_before) {
        // Another server, or another start of the same one: what we observed of it is void.
        target.identity.store(identity, std::memory_order_relaxed);
        target.boot_id.store(load.boot_id, std::memory_order_relaxed);
        target.ejected_until.store(0, std::memory_order_relaxed);
        target.failures.store(0, std::memory_order_relaxed);
        target.pooled.store(0, std::memory_order_relaxed);
        target.fresh.store(0, std::memory_order_relaxed);
    }
    target.measurement.store(load.measurement, std::memory_order_relaxed);
    target.write(report);
    refresh(*slot_index, load.boot_id, load.measurement, load.serving, load.workers_idle,
            load.received_at);
    if (*slot_index >= header_->slots_used.load(std::memory_order_relaxed)) {
        header_->slots_used.store(*slot_index + 1, std::memory_order_release);
    }
    return Outcome::taken;
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

std::uint32_t ClusterTable::slots_used() const {
    return header_->slots_used.load(std::memory_order_acquire);
}

std::optional<ServerReport> ClusterTable::report(std::uint32_t slot_index) const {
    const Slot& source = slot(slot_index);
    ServerReport result;
    if (!source.read([&] { load_words(source.words.data(), result); })) {
        return std::nullopt;
    }
    return result;
}

bool ClusterTable::view(std::uint32_t slot_index, std::uint64_t service_hash, MonotonicTime now,
                        ServerView& view) const {
    static_assert(offsetof(ServerReport, load) == 0);
    constexpr std::size_t count_word = offsetof(ServerReport, services_count) / 8;
    constexpr std::size_t first_hash_word = offsetof(ServerReport, service_hashes) / 8;
    static_assert(offsetof(ServerReport, services_count) % 8 == 0);

    const Slot& source = slot(slot_index);
    bool offered = service_hash == 0;
    const bool whole = source.read([&] {
        load_words(source.words.data(), view.load);
        if (service_hash == 0) {
            return;
        }
        offered = false;
        const auto count_bits = source.words[count_word].load(std::memory_order_acquire);
        const std::size_t count = std::min<std::size_t>(static_cast<std::uint32_t>(count_bits),
                                                        ServerReport::services_max);
        for (std::size_t index = 0; index < count && !offered; ++index) {
            const auto hash = source.words[first_hash_word + index].load(std::memory_order_acquire);
            offered = hash == service_hash;
        }
    });
    if (!whole || !offered) {
        return false;
    }

    view.slot_index = slot_index;
    view.in_flight = source.in_flight.load(std::memory_order_relaxed);
    view.sent_since = source.sent_since.load(std::memory_order_relaxed);
    if (slot_index == self_slot) {
        view.age = Nanoseconds{0};
        view.serving = in_flight().serving;
        view.workers_idle = view.load.workers_idle;
        return true;
    }
    const FreshLoad fresh = FreshLoad::unpack(source.fresh.load(std::memory_order_relaxed));
    view.serving = fresh.serving;
    view.workers_idle = fresh.workers_idle;
    view.age = elapsed(
        std::max(view.load.received_at, source.fresh_at.load(std::memory_order_relaxed)), now);
    return true;
}

std::optional<std::uint32_t> ClusterTable::find_contact(const Endpoint& contact) const {
    for (std::uint32_t index = 0; index < slots_used(); ++index) {
        const auto found = report(index);
        if (found && found->load.contact == contact) {
            return index;
        }
    }
    return std::nullopt;
}

bool ClusterTable::is_live_member(const IpAddress& address, MonotonicTime now,
                                  Nanoseconds age_max) const {
    ServerView candidate;
    for (std::uint32_t index = self_slot + 1; index < slots_used(); ++index) {
        if (view(index, 0, now, candidate) && candidate.load.contact.address == address &&
            candidate.age <= age_max) {
            return true;
        }
    }
    return false;
}

void ClusterTable::forward_began(std::uint32_t slot_index) const {
    slot(slot_index).in_flight.fetch_add(1, std::memory_order_relaxed);
    slot(slot_index).sent_since.fetch_add(1, std::memory_order_relaxed);
}

// Never below zero: forget_forwards() may have come between.
void ClusterTable::forward_ended(std::uint32_t slot_index) const {
    std::atomic<std::uint32_t>& in_flight = slot(slot_index).in_flight;
    std::uint32_t count = in_flight.load(std::memory_order_relaxed);
    while (count != 0 &&
           !in_flight.compare_exchange_weak(count, count - 1, std::memory_order_relaxed)) {
    }
}

void ClusterTable::forget_forwards() const {
    for (std::uint32_t index = 0; index < slots_used(); ++index) {
        slot(index).in_flight.store(0, std::memory_order_relaxed);
    }
}

void ClusterTable::refresh(std::uint32_t slot_index, std::uint64_t boot_id,
                           std::uint64_t measurement, std::uint32_t serving,
                           std::uint32_t workers_idle, MonotonicTime now) const {
    Slot& target = slot(slot_index);
    if (target.boot_id.load(std::memory_order_relaxed) != boot_id) {
        return;
    }
    // The server may start anew at this very moment, and ours then be put beside its new boot id:
    // the tag lets the next news replace it whatever its number.
    const FreshLoad news = FreshLoad::of(boot_id, measurement, serving, workers_idle);
    std::uint64_t known = target.fresh.load(std::memory_order_relaxed);
    while (known == 0 || news.supersedes(FreshLoad::unpack(known))) {
        if (target.fresh.compare_exchange_weak(known, news.pack(), std::memory_order_relaxed)) {
            target.sent_since.store(0, std::memory_order_relaxed);
            target.fresh_at.store(now, std::memory_order_relaxed);
            return;
        }
    }
}

void ClusterTable::forward_failed(std::uint32_t slot_index, MonotonicTime now) const {
    Slot& target = slot(slot_index);
    if (is_ejected(slot_index, now)) {
        return;  // requests that failed together are one failure
    }
    const std::uint32_t failures = target.failures.fetch_add(1, std::memory_order_relaxed);
    const Nanoseconds pause =
        std::min(ejection_first * (1U << std::min(failures, 5U)), ejection_longest);
    target.ejected_until.store(now + nanoseconds_in(pause), std::memory_order_relaxed);
}

void ClusterTable::forward_succeeded(std::uint32_t slot_index) const {
    Slot& target = slot(slot_index);
    if (target.failures.load(std::memory_order_relaxed) != 0) {
        target.failures.store(0, std::memory_order_relaxed);
        target.ejected_until.store(0, std::memory_order_relaxed);
    }
}

bool ClusterTable::is_ejected(std::uint32_t slot_index, MonotonicTime now) const {
    return slot(slot_index).ejected_until.load(std::memory_order_relaxed) > now;
}

std::uint32_t ClusterTable::failures_in_a_row(std::uint32_t slot_index) const {
    return slot(slot_index).failures.load(std::memory_order_relaxed);
}

std::uint32_t ClusterTable::pooled_connections(std::uint32_t slot_index) const {
    return slot(slot_index).pooled.load(std::memory_order_relaxed);
}

void ClusterTable::set_pooled_connections(std::uint32_t slot_index, std::uint32_t count) const {
    slot(slot_index).pooled.store(count, std::memory_order_relaxed);
}

ChildCell* ClusterTable::claim_cell(pid_t pid) const {
    const std::span<ChildCell> all = cells();
    for (std::uint32_t index = 0; index < all.size(); ++index) {
        std::int32_t free = 0;
        if (all[index].pid.compare_exchange_strong(free, pid, std::memory_order_acq_rel)) {
            std::uint32_t used = header_->cells_used.load(std::memory_order_relaxed);
            while (used <= index && !header_->cells_used.compare_exchange_weak(
                                        used, index + 1, std::memory_order_release)) {
            }
            return &all[index];
        }
    }
    return nullptr;
}

void ClusterTable::release_cell(pid_t pid) const {
    for (ChildCell& cell : cells()) {
        if (cell.pid.load(std::memory_order_relaxed) == pid) {
            cell.serving.store(0, std::memory_order_relaxed);
            cell.forwarding.store(0, std::memory_order_relaxed);
            cell.pid.store(0, std::memory_order_release);
        }
    }
}

InFlight ClusterTable::in_flight() const {
    InFlight total;
    const std::uint32_t used = header_->cells_used.load(std::memory_order_acquire);
    for (const ChildCell& cell : cells().first(used)) {
        total.serving += cell.serving.load(std::memory_order_relaxed);
        total.forwarding += cell.forwarding.load(std::memory_order_relaxed);
    }
    return total;
}

std::optional<std::uint32_t> ClusterTable::find(std::uint64_t identity) const {
    for (std::uint32_t index = self_slot + 1; index < slots_used(); ++index) {
        if (slot(index).identity.load(std::memory_order_relaxed) == identity) {
            return index;
        }
    }
    return std::nullopt;
}

// Our own requests must have ended there, or they would be taken for requests at the next server.
std::optional<std::uint32_t> ClusterTable::find_free(MonotonicTime now) const {
    const std::uint32_t used = slots_used();
    for (std::uint32_t index = self_slot + 1; index < used; ++index) {
        const Slot& candidate = slot(index);
        const MonotonicTime heard_at = candidate.fresh_at.load(std::memory_order_relaxed);
        if (elapsed(heard_at, now) > slot_reuse_after &&
            candidate.in_flight.load(std::memory_order_relaxed) == 0) {
            return index;
        }
    }
    return used < header_->slots_max ? std::optional{used} : std::nullopt;
}

}  // namespace backhand
