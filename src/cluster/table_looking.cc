// ClusterTable, as decisions and reports look at it.
#include <algorithm>
#include <cstddef>

#include "cluster/exclusion.h"
#include "cluster/seqlock.h"
#include "cluster/table.h"
#include "cluster/table_layout.h"

namespace backhand {

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
    view.edition = no_edition;
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
    view.edition = no_edition;
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
    index_[slot_index].show_own_latency(now, view);
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
        numbers_[slot_index].show(shown.load);
        index_[slot_index].show_own_latency(now, shown);
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

// Of a server whose glance is a usual one.  Numbers are copied only where the view has shown
// another edition of them before: in a child that decides more often than servers announce, that is
// seldom.  False: what is shown is unusable.
template <Detail detail>
inline bool ClusterTable::show_usual(const Glance& glance, std::uint32_t slot_index,
                                     MonotonicTime now, ServerView& view) const {
    if (detail == Detail::numbers) {
        const Index& index = index_[slot_index];
        const std::uint32_t edition = index.edition.load(std::memory_order_acquire);
        if (view.edition != edition) {
            view.edition = edition;
            Glance::show_nothing_unusual(view);
            numbers_[slot_index].show(view.load);
        }
        index.show_own_latency(now, view);
    } else {
        Glance::show_nothing_unusual(view);
    }
    view.slot_index = slot_index;
    glance.show_news(now, view);
    glance.show_settings(view.load);
    return view.age <= silence_max && has_idle_worker(view);
}

// As look() and may_take_requests() for one after another, but faster.
template <Detail detail>
std::size_t ClusterTable::look_at_peers(std::uint64_t service_hash, MonotonicTime now,
                                        std::span<ServerView> room) const {
    const Glance::Usual usual{header_->proof_demanded.load(std::memory_order_relaxed) != 0};
    const std::size_t end = std::min<std::size_t>(slots_used(), self_slot + 1 + room.size());
    const Glance* const glances = glances_;
    ServerView* shown = room.data();
    for (std::uint32_t index = self_slot + 1; index < end; ++index) {
        const Glance& glance = glances[index];
        if (detail != Detail::all && glance.offers(service_hash) && glance.is_usual(usual) &&
            show_usual<detail>(glance, index, now, *shown)) {
            ++shown;
            continue;
        }
        if (look(index, detail, service_hash, now, *shown) && may_take_requests(*shown)) {
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

}  // namespace backhand
