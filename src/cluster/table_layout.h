// The parts of a ClusterTable, as they lie in shared memory.  For its own files only.
//
//     Header | ChildCell... | DirectoryEntry... | Glance... | Index... | Numbers... |
//     ExchangeNumbers... | Slot...
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include <pthread.h>

#include "base/random.h"
#include "cluster/exclusion.h"
#include "cluster/fresh_load.h"
#include "cluster/own_forwards.h"
#include "cluster/report_fields.h"
#include "cluster/seqlock.h"
#include "cluster/table.h"

namespace backhand {

constexpr std::size_t cache_line_bytes = 64;

// Values of Glance::boot_heard_at; the others are times.
constexpr MonotonicTime heard_before_us = 0;
constexpr MonotonicTime not_heard_yet = std::numeric_limits<MonotonicTime>::max();

// What DirectoryEntry keeps of them.  Hashes are never 0, which stands for nobody.
std::uint64_t hash_of(const IpAddress& address);
std::uint64_t hash_of(const Endpoint& contact);

constexpr std::size_t round_up_to_cache_lines(std::size_t bytes) {
    return (bytes + cache_line_bytes - 1) / cache_line_bytes * cache_line_bytes;
}

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
        explicit Usual(bool proof_demanded)
            : said(proof_demanded ? is_proven : 0),
              says_mask(said | std::uint32_t{ServerFlag::leaving} << flags_shift) {}

        std::uint32_t said;
        std::uint32_t says_mask;
    };

    static_assert(heard_before_us == 0, "is_usual() asks for all three at once");

    // As far as can be seen without the time.
    bool is_usual(const Usual& usual) const {
        return (says.load(std::memory_order_acquire) & usual.says_mask) == usual.said &&
               (ejected_until.load(std::memory_order_relaxed) | health.ejected_until() |
                boot_heard_at.load(std::memory_order_relaxed)) == 0;
    }

    // REQUIRES: is_usual().
    static void show_nothing_unusual(ServerView& view) {
        view.proven = true;
        view.ejected = false;
        view.unhealthy = false;
        view.known_for = Nanoseconds::max();
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
struct alignas(cache_line_bytes) ClusterTable::Numbers {
    static constexpr std::size_t begin = offsetof(LoadReport, load_permille);
    static constexpr std::size_t words_count =
        (offsetof(LoadReport, boot_id) - begin) / sizeof(std::uint64_t);

    std::array<std::atomic<std::uint64_t>, words_count> announced;

    void take(const LoadReport& load) {
        std::array<std::uint64_t, words_count> words{};
        std::memcpy(words.data(), reinterpret_cast<const std::byte*>(&load) + begin, sizeof words);
        for (std::size_t index = 0; index < words_count; ++index) {
            announced[index].store(words[index], std::memory_order_relaxed);
        }
    }

    void show(LoadReport& load) const {
        copy_words<words_count, std::memory_order_relaxed>(
            announced.data(), reinterpret_cast<std::byte*>(&load) + begin);
    }
};

// What tells whether the numbers have to be read at all: which edition of them is out.  No two
// editions, of whatever servers, are the same, so that a view that shows this one is up to date.
// Four to a cache line, with the one number that is not announced.
struct ClusterTable::Index {
    FadingTime own_latency;
    std::atomic<std::uint32_t> edition;  // changed after the numbers

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
    std::atomic<std::uint32_t> edition;  // the last of any server's
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
        : cells(round_up_to_cache_lines(sizeof(Header))),
          directory(cells + size.cells_max * sizeof(ChildCell)),
          glances(directory + round_up_to_cache_lines(size.slots_max * sizeof(DirectoryEntry))),
          index(glances + size.slots_max * sizeof(Glance)),
          numbers(index + round_up_to_cache_lines(size.slots_max * sizeof(Index))),
          exchanges(numbers + size.slots_max * sizeof(Numbers)),
          slots(exchanges + round_up_to_cache_lines(size.slots_max * sizeof(ExchangeNumbers))),
          end(slots + size.slots_max * sizeof(Slot)) {}

    std::size_t cells;
    std::size_t directory;
    std::size_t glances;
    std::size_t index;
    std::size_t numbers;
    std::size_t exchanges;
    std::size_t slots;
    std::size_t end;
};

inline std::span<ClusterTable::DirectoryEntry> ClusterTable::directory() const {
    return {directory_, header_->slots_max};
}

inline ClusterTable::Glance& ClusterTable::glance_at(std::uint32_t slot_index) const {
    return glances_[slot_index];
}

inline ClusterTable::Slot& ClusterTable::slot(std::uint32_t slot_index) const {
    return slots_[slot_index];
}

}  // namespace backhand
