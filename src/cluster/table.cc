#include "cluster/table.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <limits>
#include <new>

#include <pthread.h>

#include "base/random.h"
#include "base/text.h"
#include "cluster/fresh_load.h"
#include "cluster/report_fields.h"
#include "cluster/seqlock.h"

namespace backhand {

namespace {

constexpr std::size_t cache_line_bytes = 64;
constexpr std::uint64_t magic = 0x4241434B48414E44U;  // "BACKHAND"

// A slot whose server has been silent for this long may be given to another.
constexpr Nanoseconds slot_reuse_after = std::chrono::seconds{30};
// News that come with responses keep a server young for so long after its last announcement.
constexpr Nanoseconds responses_count_for = std::chrono::seconds{30};
constexpr Nanoseconds moderator_silence_max = std::chrono::seconds{2};
constexpr Nanoseconds ejection_first = std::chrono::seconds{1};
constexpr Nanoseconds ejection_longest = std::chrono::seconds{30};

// Probes that are unanswered for less are a matter of chance.
constexpr Nanoseconds probes_unanswered_min = std::chrono::milliseconds{100};
constexpr Nanoseconds probes_withheld_longest = std::chrono::seconds{30};

// Servers first heard of within this time after the very first were there before us.
constexpr Nanoseconds getting_acquainted = std::chrono::seconds{5};

// Values of Slot::boot_heard_at; the others are times.
constexpr MonotonicTime heard_before_us = 0;
constexpr MonotonicTime not_heard_yet = std::numeric_limits<MonotonicTime>::max();

// Heard of within this time, a server is part of the cluster of which at most half is unhealthy.
constexpr Nanoseconds member_silence_max = std::chrono::seconds{3};

constexpr std::size_t round_up(std::size_t bytes) {
    return (bytes + cache_line_bytes - 1) / cache_line_bytes * cache_line_bytes;
}

// Hashes are never 0, which stands for nobody.
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

std::uint64_t identity_of(const ServerReport& report) {
    return Random::mix(hash_ignoring_case(report.name_view()) ^ hash_of(report.load.contact)) | 1U;
}

}  // namespace

// Whose slot it is.  All entries lie side by side: looking one up reads no slot.
struct ClusterTable::DirectoryEntry {
    std::atomic<std::uint64_t> identity;  // of name and contact; 0: nobody's
    std::atomic<std::uint64_t> contact;
    std::atomic<std::uint64_t> address;
};

// What has to be looked at of every server before it is known which few matter: one cache line
// each, and side by side, so that looking at a thousand takes microseconds.
struct alignas(cache_line_bytes) ClusterTable::Glance {
    // Bits of `says`, which only the writer changes.
    static constexpr std::uint32_t interval_mask = 0xFFFF;  // milliseconds
    static constexpr std::uint32_t flags_shift = 16;        // of 8 bits
    static constexpr std::uint32_t flags_mask = 0xFF;
    static constexpr std::uint32_t is_proven = 1U << 24U;
    static constexpr std::uint32_t has_more_services = 1U << 25U;

    std::atomic<std::uint64_t> heard_at;  // by an announcement or a response; 0: never
    std::atomic<std::uint64_t> fresh;
    std::atomic<std::uint64_t> ejected_until;
    std::atomic<std::uint64_t> boot_heard_at;
    std::atomic<std::uint64_t> service;  // hash of the first; 0: it offers none
    HealthRecord health;
    std::atomic<std::uint32_t> sent_since;
    std::atomic<std::uint32_t> says;

    // Whether the server offers a site.
    enum class Offer : std::uint8_t { no, perhaps, yes };

    // REQUIRES: it is not self's.
    Offer offer(std::uint64_t service_hash) const {
        if (offers(service_hash)) {
            return heard_at.load(std::memory_order_relaxed) == 0 ? Offer::no : Offer::yes;
        }
        const bool has_more = (says.load(std::memory_order_relaxed) & has_more_services) != 0;
        return has_more ? Offer::perhaps : Offer::no;
    }

    bool offers(std::uint64_t service_hash) const {
        return service_hash == 0 || service.load(std::memory_order_relaxed) == service_hash;
    }

    // Whom nothing keeps out of a decision: proven, if that is demanded, not leaving, never
    // ejected, there before us, heard of a moment ago, with an idle worker.  Nearly all servers are
    // like this, and it can be seen at less cost than what is the matter with the others.
    struct Usual {
        Usual(bool proof_demanded, MonotonicTime moment)
            : said(proof_demanded ? is_proven : 0),
              says_mask(said | std::uint32_t{ServerFlag::leaving} << flags_shift),
              now(moment) {}

        std::uint32_t said;
        std::uint32_t says_mask;
        MonotonicTime now;
    };

    // All but its slot.  False if it is unlike this: what is shown is then unusable.
    bool show_if(const Usual& usual, ServerView& view) const {
        if ((says.load(std::memory_order_acquire) & usual.says_mask) != usual.said ||
            (ejected_until.load(std::memory_order_relaxed) | health.ejected_until() |
             boot_heard_at.load(std::memory_order_relaxed)) != 0) {
            return false;
        }
        view.proven = true;
        view.ejected = false;
        view.unhealthy = false;
        view.known_for = Nanoseconds::max();
        show_news(usual.now, view);
        show_settings(view.load);
        return view.age <= silence_max && has_idle_worker(view);
    }

    void show_news(MonotonicTime now, ServerView& view) const {
        const FreshLoad news = FreshLoad::unpack(fresh.load(std::memory_order_relaxed));
        view.serving = news.serving;
        view.workers_idle = news.workers_idle;
        view.sent_since = sent_since.load(std::memory_order_relaxed);
        view.age = elapsed(heard_at.load(std::memory_order_relaxed), now);
    }

    void show_settings(LoadReport& load) const {
        const std::uint32_t said = says.load(std::memory_order_relaxed);
        load.interval_ms = said & interval_mask;
        load.flags = said >> flags_shift & flags_mask;
    }

    bool proven() const { return (says.load(std::memory_order_acquire) & is_proven) != 0; }

    void set_proven(bool proven) {
        const std::uint32_t others = says.load(std::memory_order_relaxed) & ~is_proven;
        says.store(others | (proven ? is_proven : 0), std::memory_order_release);
    }

    void take(const ServerReport& report) {
        const LoadReport& load = report.load;
        service.store(report.services_count == 0 ? 0 : report.service_hashes[0],
                      std::memory_order_relaxed);
        says.store((says.load(std::memory_order_relaxed) & is_proven) |
                       std::min(load.interval_ms, interval_mask) |
                       (load.flags & flags_mask) << flags_shift |
                       (report.services_count > 1 ? has_more_services : 0),
                   std::memory_order_relaxed);
        // A response may have come later than the announcement that is taken in only now.
        if (heard_at.load(std::memory_order_relaxed) < load.received_at) {
            heard_at.store(load.received_at, std::memory_order_relaxed);
        }
    }
};

static_assert(limits::interval_ms <= 0xFFFF);

// What servers are ordered by: a copy of that part of the report, side by side with those of the
// other servers.  Each word is of the newest report or, for a moment, of the one before.
struct ClusterTable::Numbers {
    static constexpr std::size_t begin = offsetof(LoadReport, load_permille);
    static constexpr std::size_t words_count =
        (offsetof(LoadReport, boot_id) - begin) / sizeof(std::uint64_t);

    std::array<std::atomic<std::uint64_t>, words_count> announced;
    FadingTime own_latency;

    void take(const LoadReport& load) {
        std::array<std::uint64_t, words_count> words{};
        std::memcpy(words.data(), reinterpret_cast<const std::byte*>(&load) + begin, sizeof words);
        for (std::size_t index = 0; index < words_count; ++index) {
            announced[index].store(words[index], std::memory_order_relaxed);
        }
    }

    void show(MonotonicTime now, ServerView& view) const {
        copy_words<words_count, std::memory_order_relaxed>(
            announced.data(), reinterpret_cast<std::byte*>(&view.load) + begin);
        show_own_latency(now, view);
    }

    void show_own_latency(MonotonicTime now, ServerView& view) const {
        const FadingTime::Reading latency = own_latency.read(now);
        view.own_latency_us = latency.us;
        view.own_latency_age_ms = latency.age_ms;
    }
};

struct ClusterTable::Slot {
    alignas(cache_line_bytes) Seqlock<ServerReport> report;

    // observed.  How far the server's news have come is kept here too: a report that was left half
    // written must not let an older one in.
    alignas(cache_line_bytes) std::atomic<std::uint64_t> boot_id;
    std::atomic<std::uint64_t> measurement;  // of the newest report taken
    std::atomic<std::uint64_t> announced_at;
    std::atomic<std::uint32_t> in_flight;
    std::atomic<std::uint32_t> failures;
    std::atomic<std::uint32_t> pooled;
    std::atomic<std::uint32_t> connections_missed;
    std::atomic<std::uint64_t> name_hash;
    std::atomic<std::uint64_t> probes_unanswered_since;  // 0: the last was answered
    std::atomic<std::uint64_t> probes_withheld_until;
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
    std::atomic<std::uint32_t> proof_demanded;
    pthread_mutex_t writing;  // held by the writer for as long as it writes
    std::atomic<std::uint64_t> writer_epoch;
    std::atomic<std::uint64_t> writer_seen_at;
    std::atomic<std::uint64_t> child_stopped_at;
    std::atomic<std::uint64_t> boot_id;
    std::atomic<std::uint64_t> first_heard_at;  // of any peer; 0: of none yet
    MeasuredForwardingCost forwarding_cost;
    std::atomic<std::uint64_t> oldest_recent_measurement;
    alignas(cache_line_bytes) std::atomic<std::uint64_t> measurement;
    InFlightSums in_flight;
    alignas(cache_line_bytes) RetryBudget retries;
    alignas(cache_line_bytes) Counters counters;
    alignas(cache_line_bytes) LatencyByLoad latency;
    alignas(cache_line_bytes) LocationTimes locations;
};

static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
static_assert(offsetof(ServerReport, load) == 0, "it is read as what a report begins with");

// Where the regions begin that follow the header.
struct ClusterTable::Layout {
    explicit Layout(Size size)
        : cells(round_up(sizeof(Header))),
          directory(cells + size.cells_max * sizeof(ChildCell)),
          glances(directory + round_up(size.slots_max * sizeof(DirectoryEntry))),
          numbers(glances + size.slots_max * sizeof(Glance)),
          exchanges(numbers + round_up(size.slots_max * sizeof(Numbers))),
          slots(exchanges + round_up(size.slots_max * sizeof(ExchangeNumbers))),
          end(slots + size.slots_max * sizeof(Slot)) {}

    std::size_t cells;
    std::size_t directory;
    std::size_t glances;
    std::size_t numbers;
    std::size_t exchanges;
    std::size_t slots;
    std::size_t end;
};

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

std::span<ClusterTable::DirectoryEntry> ClusterTable::directory() const {
    return {directory_, header_->slots_max};
}

ClusterTable::Glance& ClusterTable::glance_at(std::uint32_t slot_index) const {
    return glances_[slot_index];
}

// Another server, or another start of the same one: what we observed of it is void.
void ClusterTable::begin_boot(std::uint32_t slot_index, std::uint64_t its_boot_id) const {
    Glance& glance = glance_at(slot_index);
    glance.boot_heard_at.store(not_heard_yet, std::memory_order_relaxed);
    glance.health.forget();
    glance.ejected_until.store(0, std::memory_order_relaxed);
    numbers_[slot_index].own_latency.forget();
    Slot& target = slot(slot_index);
    target.boot_id.store(its_boot_id, std::memory_order_relaxed);
    target.failures.store(0, std::memory_order_relaxed);
    target.pooled.store(0, std::memory_order_relaxed);
    target.connections_missed.store(0, std::memory_order_relaxed);
    probe_answered(slot_index);
    glance.fresh.store(0, std::memory_order_relaxed);
}

ClusterTable::Slot& ClusterTable::slot(std::uint32_t slot_index) const {
    return slots_[slot_index];
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

std::uint32_t ClusterTable::slots_used() const {
    return header_->slots_used.load(std::memory_order_acquire);
}

std::optional<ServerReport> ClusterTable::report(std::uint32_t slot_index) const {
    ServerReport result;
    if (!slot(slot_index).report.read(result)) {
        return std::nullopt;
    }
    return result;
}

void ClusterTable::observe(std::uint32_t slot_index, MonotonicTime now, ServerView& view) const {
    const Glance& glance = glance_at(slot_index);
    glance.show_news(now, view);
    view.slot_index = slot_index;
    view.ejected = glance.ejected_until.load(std::memory_order_relaxed) > now;
    view.unhealthy = glance.health.is_ejected(now);
    const MonotonicTime boot_heard_at = glance.boot_heard_at.load(std::memory_order_relaxed);
    view.known_for =
        boot_heard_at == heard_before_us ? Nanoseconds::max() : elapsed(boot_heard_at, now);
    const bool is_self = slot_index == self_slot;
    view.proven =
        is_self || header_->proof_demanded.load(std::memory_order_relaxed) == 0 || glance.proven();
    if (is_self) {
        view.age = Nanoseconds{0};
    }
}

bool ClusterTable::view(std::uint32_t slot_index, std::uint64_t service_hash, MonotonicTime now,
                        ServerView& view) const {
    static_assert(offsetof(ServerReport, services_count) % 8 == 0);
    const Slot& source = slot(slot_index);
    const Seqlock<ServerReport>& report = source.report;
    bool offered = service_hash == 0;
    const bool whole = report.read_whole([&](const auto& reader) {
        reader.template copy_first<sizeof view.load>(&view.load);
        if (service_hash == 0) {
            return;
        }
        offered = false;
        const auto count_bits = reader.word_at(offsetof(ServerReport, services_count));
        const std::size_t count = std::min<std::size_t>(static_cast<std::uint32_t>(count_bits),
                                                        ServerReport::services_max);
        for (std::size_t index = 0; index < count && !offered; ++index) {
            offered = reader.word_at(offsetof(ServerReport, service_hashes) +
                                     index * sizeof(std::uint64_t)) == service_hash;
        }
    });
    if (!whole || !offered) {
        return false;
    }

    observe(slot_index, now, view);
    view.in_flight = source.in_flight.load(std::memory_order_relaxed);
    view.name_hash = source.name_hash.load(std::memory_order_relaxed);
    numbers_[slot_index].show_own_latency(now, view);
    if (slot_index == self_slot) {
        view.serving = cells().quick().serving;
        view.workers_idle = view.load.workers_idle;
    }
    return true;
}

bool ClusterTable::look(std::uint32_t slot_index, Detail detail, std::uint64_t service_hash,
                        MonotonicTime now, ServerView& shown) const {
    if (detail == Detail::all || slot_index == self_slot) {
        return view(slot_index, service_hash, now, shown);
    }
    const Glance& glance = glance_at(slot_index);
    const Glance::Offer offer = glance.offer(service_hash);
    if (offer == Glance::Offer::perhaps) {
        return view(slot_index, service_hash, now, shown);
    }
    if (offer == Glance::Offer::no) {
        return false;
    }
    observe(slot_index, now, shown);
    glance.show_settings(shown.load);
    if (detail == Detail::numbers) {
        numbers_[slot_index].show(now, shown);
    }
    return true;
}

std::size_t ClusterTable::look_at_peers(Detail detail, std::uint64_t service_hash,
                                        MonotonicTime now, std::span<ServerView> room) const {
    switch (detail) {
        case Detail::glance:
            return look_at_peers<Detail::glance>(service_hash, now, room);
        case Detail::numbers:
            return look_at_peers<Detail::numbers>(service_hash, now, room);
        case Detail::all:
            break;
    }
    return look_at_peers<Detail::all>(service_hash, now, room);
}

// As look() and may_take_requests() for one after another, but faster.
template <Detail detail>
std::size_t ClusterTable::look_at_peers(std::uint64_t service_hash, MonotonicTime now,
                                        std::span<ServerView> room) const {
    const Glance::Usual usual{header_->proof_demanded.load(std::memory_order_relaxed) != 0, now};
    const std::size_t end = std::min<std::size_t>(slots_used(), self_slot + 1 + room.size());
    const Glance* const glances = glances_;
    const Numbers* const numbers = numbers_;
    ServerView* shown = room.data();
    for (std::uint32_t index = self_slot + 1; index < end; ++index) {
        const Glance& glance = glances[index];
        if (detail != Detail::all && glance.offers(service_hash) && glance.show_if(usual, *shown)) {
            shown->slot_index = index;
            if (detail == Detail::numbers) {
                numbers[index].show(now, *shown);
            }
            ++shown;
        } else if (look(index, detail, service_hash, now, *shown) && may_take_requests(*shown)) {
            ++shown;
        }
    }
    return static_cast<std::size_t>(shown - room.data());
}

std::optional<std::uint32_t> ClusterTable::find_contact(const Endpoint& contact) const {
    const std::uint64_t wanted = hash_of(contact);
    for (std::uint32_t index = 0; index < slots_used(); ++index) {
        if (directory()[index].contact.load(std::memory_order_relaxed) == wanted) {
            return index;
        }
    }
    return std::nullopt;
}

std::optional<std::uint32_t> ClusterTable::find_live_member(const IpAddress& address,
                                                            std::optional<std::uint64_t> boot_id,
                                                            MonotonicTime now,
                                                            Nanoseconds age_max) const {
    const std::uint64_t wanted = hash_of(address);
    ServerView candidate;
    for (std::uint32_t index = self_slot + 1; index < slots_used(); ++index) {
        if (directory()[index].address.load(std::memory_order_relaxed) == wanted &&
            view(index, 0, now, candidate) && candidate.load.contact.address == address &&
            (!boot_id || candidate.load.boot_id == *boot_id) && candidate.proven &&
            candidate.age <= age_max) {
            return index;
        }
    }
    return std::nullopt;
}

ExchangeNumbers& ClusterTable::exchange_numbers(std::uint32_t slot_index) const {
    return exchanges_[slot_index];
}

void ClusterTable::forward_began(std::uint32_t slot_index) const {
    slot(slot_index).in_flight.fetch_add(1, std::memory_order_relaxed);
    glance_at(slot_index).sent_since.fetch_add(1, std::memory_order_relaxed);
}

// Never below zero: forget_forwards() may have come between.
void ClusterTable::forward_ended(std::uint32_t slot_index) const {
    std::atomic<std::uint32_t>& in_flight = slot(slot_index).in_flight;
    std::uint32_t count = in_flight.load(std::memory_order_relaxed);
    while (count != 0 &&
           !in_flight.compare_exchange_weak(count, count - 1, std::memory_order_relaxed)) {
    }
}

void ClusterTable::forward_ended(std::uint32_t slot_index, ForwardOutcome outcome,
                                 Nanoseconds latency, MonotonicTime now) const {
    FadingTime& own_latency = numbers_[slot_index].own_latency;
    if (outcome == ForwardOutcome::unjudged) {
        return;
    }
    if (outcome == ForwardOutcome::not_believed) {
        forward_failed(slot_index, now);  // no fault of its health
        return;
    }
    if (outcome == ForwardOutcome::answered || outcome == ForwardOutcome::server_error) {
        forward_succeeded(slot_index);  // the connection, at least
    }
    if (outcome == ForwardOutcome::answered) {
        own_latency.add_peak(latency, now);
        glance_at(slot_index).health.succeeded(now);
        learn_forwarding_cost(slot_index, latency, now);
        return;
    }
    if (outcome == ForwardOutcome::timed_out) {
        numbers_[slot_index].own_latency.add_peak(latency,
                                                  now);  // it would have taken this long at least
    }
    if (outcome == ForwardOutcome::unreachable) {
        forward_failed(slot_index, now);
    }
    if (glance_at(slot_index).health.failed() && may_be_unhealthy(slot_index, now)) {
        glance_at(slot_index).health.eject(now);
    }
}

// Two processes may ask at the same moment and be one too many: their children would have to fail
// to reach two servers for the fifth time within the same microsecond.
bool ClusterTable::may_be_unhealthy(std::uint32_t slot_index, MonotonicTime now) const {
    std::uint32_t members = 1;  // this server
    std::uint32_t unhealthy = 1;
    for (std::uint32_t index = self_slot + 1; index < slots_used(); ++index) {
        const Glance& other = glance_at(index);
        const bool live =
            elapsed(other.heard_at.load(std::memory_order_relaxed), now) <= member_silence_max;
        if (index == slot_index || live) {
            ++members;
            unhealthy += index != slot_index && other.health.is_ejected(now) ? 1U : 0U;
        }
    }
    return unhealthy * 2 <= members;
}

void ClusterTable::learn_forwarding_cost(std::uint32_t slot_index, Nanoseconds latency,
                                         MonotonicTime now) const {
    const Seqlock<ServerReport>& report = slot(slot_index).report;
    LoadReport load;
    const bool whole = report.read_whole(
        [&](const auto& reader) { reader.template copy_first<sizeof load>(&load); });
    if (whole) {
        header_->forwarding_cost.learn(latency, std::chrono::microseconds{load.latency_proxied_us},
                                       now);
    }
}

Nanoseconds ClusterTable::forwarding_cost(MonotonicTime now) const {
    return header_->forwarding_cost.read(now);
}

std::uint32_t ClusterTable::failed_attempts_in_a_row(std::uint32_t slot_index) const {
    return glance_at(slot_index).health.failures_in_a_row();
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
    Glance& glance = glance_at(slot_index);
    std::uint64_t known = glance.fresh.load(std::memory_order_relaxed);
    while (known == 0 || news.supersedes(FreshLoad::unpack(known))) {
        if (glance.fresh.compare_exchange_weak(known, news.pack(), std::memory_order_relaxed)) {
            glance.sent_since.store(0, std::memory_order_relaxed);
            if (elapsed(target.announced_at.load(std::memory_order_relaxed), now) <=
                responses_count_for) {
                glance.heard_at.store(now, std::memory_order_relaxed);
            }
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
    glance_at(slot_index)
        .ejected_until.store(now + nanoseconds_in(pause), std::memory_order_relaxed);
}

void ClusterTable::forward_succeeded(std::uint32_t slot_index) const {
    Slot& target = slot(slot_index);
    if (target.failures.load(std::memory_order_relaxed) != 0) {
        target.failures.store(0, std::memory_order_relaxed);
        glance_at(slot_index).ejected_until.store(0, std::memory_order_relaxed);
    }
}

bool ClusterTable::is_ejected(std::uint32_t slot_index, MonotonicTime now) const {
    return glance_at(slot_index).ejected_until.load(std::memory_order_relaxed) > now;
}

std::uint32_t ClusterTable::failures_in_a_row(std::uint32_t slot_index) const {
    return slot(slot_index).failures.load(std::memory_order_relaxed);
}

std::optional<ClusterTable::ProbeTarget> ClusterTable::probe_target(
    std::uint32_t slot_index) const {
    LoadReport load;
    const bool whole = slot(slot_index).report.read_whole([&](const auto& reader) {
        reader.template copy_first<sizeof load>(&load);
    });
    if (!whole || load.probe_port == 0) {
        return std::nullopt;
    }
    return ProbeTarget{load.contact, static_cast<std::uint16_t>(load.probe_port)};
}

bool ClusterTable::probes_withheld(std::uint32_t slot_index, MonotonicTime now) const {
    return slot(slot_index).probes_withheld_until.load(std::memory_order_relaxed) > now;
}

void ClusterTable::probe_answered(std::uint32_t slot_index) const {
    Slot& target = slot(slot_index);
    if (target.probes_unanswered_since.load(std::memory_order_relaxed) != 0) {
        target.probes_unanswered_since.store(0, std::memory_order_relaxed);
        target.probes_withheld_until.store(0, std::memory_order_relaxed);
    }
}

void ClusterTable::probe_unanswered(std::uint32_t slot_index, MonotonicTime now) const {
    Slot& target = slot(slot_index);
    MonotonicTime since = 0;
    if (target.probes_unanswered_since.compare_exchange_strong(since, now,
                                                               std::memory_order_relaxed)) {
        return;
    }
    const Nanoseconds unanswered_for = elapsed(since, now);
    // Those that were asked together are one.
    if (unanswered_for >= probes_unanswered_min && !probes_withheld(slot_index, now)) {
        const Nanoseconds pause = std::min(unanswered_for, probes_withheld_longest);
        target.probes_withheld_until.store(now + nanoseconds_in(pause), std::memory_order_relaxed);
    }
}

std::uint32_t ClusterTable::pooled_connections(std::uint32_t slot_index) const {
    return slot(slot_index).pooled.load(std::memory_order_relaxed);
}

void ClusterTable::connection_missed(std::uint32_t slot_index) const {
    slot(slot_index).connections_missed.fetch_add(1, std::memory_order_relaxed);
}

std::uint32_t ClusterTable::take_connections_missed(std::uint32_t slot_index) const {
    std::atomic<std::uint32_t>& missed = slot(slot_index).connections_missed;
    // Nearly always none, and then the cache line stays shared.
    return missed.load(std::memory_order_relaxed) == 0
               ? 0
               : missed.exchange(0, std::memory_order_relaxed);
}

void ClusterTable::set_pooled_connections(std::uint32_t slot_index, std::uint32_t count) const {
    slot(slot_index).pooled.store(count, std::memory_order_relaxed);
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
