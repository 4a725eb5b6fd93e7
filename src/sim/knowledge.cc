#include "sim/knowledge.h"

#include <algorithm>
#include <cmath>

#include "cluster/fresh_load.h"
#include "decide/chain.h"
#include "sim/events.h"
#include "sim/streams.h"

namespace backhand::sim {

namespace {

// As in cluster/table.cc.
constexpr Nanoseconds ejection_first = std::chrono::seconds{1};
constexpr Nanoseconds ejection_longest = std::chrono::seconds{30};

double fraction_of(std::uint64_t bits) {
    return static_cast<double>(bits >> 11U) * 0x1.0p-53;
}

}  // namespace

// ---- the air ----

Air::Air(const Scenario& scenario, std::uint64_t seed)
    : seed_(seed_for(seed, Purpose::network)),
      network_(scenario.network),
      look_(static_cast<MonotonicTime>(scenario.announcing.look_ns)),
      look_phases_(scenario.servers_count()) {
    Random random{Random::mix(seed_)};
    for (MonotonicTime& phase : look_phases_) {
        phase = look_ == 0 ? 0 : random.next() % look_;
    }
    for (const Failure& failure : scenario.failures) {
        if (failure.kind == Failure::Kind::partition) {
            Partition partition{failure.from, failure.to,
                                std::vector<bool>(scenario.servers_count())};
            for (const std::uint32_t server : failure.servers) {
                partition.side[server] = true;
            }
            partitions_.push_back(std::move(partition));
        }
    }
}

bool Air::parted(std::uint32_t one, std::uint32_t other, MonotonicTime at) const {
    return std::any_of(partitions_.begin(), partitions_.end(), [&](const Partition& partition) {
        return at >= partition.from && at < partition.to &&
               partition.side[one] != partition.side[other];
    });
}

MonotonicTime Air::look_after(std::uint32_t server, MonotonicTime at) const {
    if (look_ == 0) {
        return at;
    }
    const MonotonicTime past = (at + look_ - look_phases_[server]) % look_;
    return past == 0 ? at : at + look_ - past;
}

MonotonicTime Air::arrival(std::uint32_t sender, std::uint32_t viewer, std::uint64_t number,
                           MonotonicTime sent_at) const {
    const std::uint64_t who = std::uint64_t{sender} << 32U | viewer;
    const std::uint64_t bits = Random::mix(seed_ ^ Random::mix(who) ^ number * Random::increment);
    if (network_.loss > 0 && fraction_of(Random::mix(bits)) < network_.loss) {
        return never;
    }
    if (!partitions_.empty() && parted(sender, viewer, sent_at)) {
        return never;
    }
    const double takes = network_.delay_ns + network_.jitter_ns * fraction_of(bits);
    return look_after(viewer, sent_at + static_cast<MonotonicTime>(takes));
}

// ---- the overlay ----

std::size_t Overlay::place_of(std::uint32_t peer) const {
    const std::size_t mask = entries_.size() - 1;
    std::size_t place = (peer * Random::increment >> 32U) & mask;
    while (entries_[place].peer != nobody && entries_[place].peer != peer) {
        place = (place + 1) & mask;
    }
    return place;
}

Observed* Overlay::find(std::uint32_t peer) {
    if (entries_.empty()) {
        return nullptr;
    }
    Observed& entry = entries_[place_of(peer)];
    return entry.peer == peer ? &entry : nullptr;
}

// REQUIRES: make_room() has been called since the last entry was added.
Observed& Overlay::at(std::uint32_t peer) {
    Observed& entry = entries_[place_of(peer)];
    if (entry.peer != peer) {
        entry = Observed{.peer = peer};
        ++used_;
    }
    return entry;
}

void Overlay::rebuild(std::vector<Observed> kept) {
    constexpr std::size_t size_min = 8;
    std::size_t size = size_min;
    while (size < 4 * kept.size()) {
        size *= 2;
    }
    entries_.assign(size, Observed{.peer = nobody});
    used_ = kept.size();
    for (const Observed& entry : kept) {
        entries_[place_of(entry.peer)] = entry;
    }
}

template <class Forget>
void Overlay::make_room(Forget forget) {
    if (!entries_.empty() && 2 * (used_ + 1) <= entries_.size()) {
        return;
    }
    std::vector<Observed> kept;
    kept.reserve(used_);
    for (Observed& entry : entries_) {
        if (entry.peer != nobody && !forget(entry)) {
            kept.push_back(entry);
        }
    }
    rebuild(std::move(kept));
}

// ---- knowledge ----

LazyKnowledge::LazyKnowledge(const Scenario& scenario, const Air& air,
                             std::vector<std::unique_ptr<OwnRecords>>& records)
    : air_(air),
      records_(records),
      known_(scenario.servers_count()) {
    // A server whose last report is older than this is silent, whatever the report says.
    const double silent_after =
        std::max(static_cast<double>(nanoseconds_in(silence_max)), 3 * scenario.interval_ns());
    const double arrives_after =
        scenario.network.delay_ns + scenario.network.jitter_ns + scenario.announcing.look_ns;
    keep_ = static_cast<MonotonicTime>(silent_after + arrives_after);
}

void LazyKnowledge::announced(std::uint32_t sender, const LoadReport& load, MonotonicTime now) {
    Known& known = known_[sender];
    known.own = load;
    known.has_own = true;
    auto& announcements = known.announcements;
    while (announcements.size() > 1 && announcements[1].sent_at + keep_ < now) {
        announcements.pop_front();
    }
    announcements.push_back({++announcements_, now, load});
}

void LazyKnowledge::forgets(std::uint32_t server, MonotonicTime now) {
    Known& known = known_[server];
    known.overlay.clear();
    records_[server] = std::make_unique<OwnRecords>();
    known.since = now;
    known.has_own = false;
}

LazyKnowledge::Heard LazyKnowledge::heard(std::uint32_t viewer, std::uint32_t sender,
                                          MonotonicTime now) const {
    const auto& announcements = known_[sender].announcements;
    const MonotonicTime since = known_[viewer].since;
    for (auto announcement = announcements.rbegin(); announcement != announcements.rend();
         ++announcement) {
        if (announcement->sent_at > now) {
            continue;
        }
        const MonotonicTime at =
            air_.arrival(sender, viewer, announcement->number, announcement->sent_at);
        if (at <= now && at >= since) {
            return {&announcement->load, at};
        }
    }
    return {};
}

// Brings an entry up to what has been heard by now.  Because it is called before every change of
// the entry, nothing was sent and nothing came with a response between the announcement's arrival
// and now: it has reset the count of sends.
void LazyKnowledge::settle(Observed& observed, const Heard& heard) {
    if (heard.load == nullptr) {
        return;
    }
    const LoadReport& load = *heard.load;
    if (load.boot_id != observed.boot_id) {
        observed.boot_id = load.boot_id;
        observed.fresh = 0;
        observed.failures = 0;
        observed.ejected_until = 0;
    }
    const FreshLoad news =
        FreshLoad::of(load.boot_id, load.measurement, load.serving, load.workers_idle);
    if (observed.fresh == 0 || news.supersedes(FreshLoad::unpack(observed.fresh))) {
        observed.fresh = news.pack();
        observed.fresh_at = heard.at;
        observed.sent_since = 0;
    }
}

Observed& LazyKnowledge::observed_at(std::uint32_t viewer, std::uint32_t peer, MonotonicTime now) {
    Overlay& overlay = known_[viewer].overlay;
    Observed* found = overlay.find(peer);
    if (found == nullptr) {
        overlay.make_room([&](Observed& entry) {
            const Heard news = heard(viewer, entry.peer, now);
            settle(entry, news);
            return news.load != nullptr && entry.in_flight == 0 && entry.sent_since == 0 &&
                   entry.failures == 0 && entry.ejected_until == 0 && entry.fresh_at == news.at &&
                   FreshLoad::unpack(entry.fresh).measurement ==
                       static_cast<std::uint32_t>(news.load->measurement);
        });
        found = &overlay.at(peer);
    }
    settle(*found, heard(viewer, peer, now));
    return *found;
}

const ClusterView& LazyKnowledge::seen_by(std::uint32_t viewer, std::uint32_t serving,
                                          MonotonicTime) {
    view_.look_from(viewer, serving);
    return view_;
}

void LazyKnowledge::forward_began(std::uint32_t viewer, std::uint32_t peer, MonotonicTime now) {
    Observed& observed = observed_at(viewer, peer, now);
    ++observed.in_flight;
    ++observed.sent_since;
}

void LazyKnowledge::forward_ended(std::uint32_t viewer, std::uint32_t peer, MonotonicTime now) {
    Observed& observed = observed_at(viewer, peer, now);
    observed.in_flight -= std::min(observed.in_flight, 1U);
}

void LazyKnowledge::forward_failed(std::uint32_t viewer, std::uint32_t peer, MonotonicTime now) {
    Observed& observed = observed_at(viewer, peer, now);
    if (observed.ejected_until > now) {
        return;
    }
    const std::uint32_t failures = observed.failures++;
    const Nanoseconds pause =
        std::min(ejection_first * (1U << std::min(failures, 5U)), ejection_longest);
    observed.ejected_until = now + nanoseconds_in(pause);
}

void LazyKnowledge::forward_answered(std::uint32_t viewer, std::uint32_t peer, const News* news,
                                     Nanoseconds latency, MonotonicTime now) {
    Observed& observed = observed_at(viewer, peer, now);
    if (const Heard announced = heard(viewer, peer, now); announced.load != nullptr) {
        records_[viewer]->forwarding_cost.learn(
            latency, std::chrono::microseconds{announced.load->latency_proxied_us}, now);
    }
    if (news != nullptr && observed.boot_id == news->boot_id) {
        const FreshLoad fresh =
            FreshLoad::of(news->boot_id, news->measurement, news->serving, news->workers_idle);
        if (observed.fresh == 0 || fresh.supersedes(FreshLoad::unpack(observed.fresh))) {
            observed.fresh = fresh.pack();
            observed.fresh_at = now;
            observed.sent_since = 0;
        }
    }
    if (observed.failures != 0) {
        observed.failures = 0;
        observed.ejected_until = 0;
    }
    observed.in_flight -= std::min(observed.in_flight, 1U);
}

// ---- the view ----

std::uint32_t LazyKnowledge::View::slots_used() const {
    return static_cast<std::uint32_t>(knowledge_.known_.size());
}

bool LazyKnowledge::View::view(std::uint32_t slot_index, std::uint64_t, MonotonicTime now,
                               ServerView& view) const {
    Known& self = knowledge_.known_[viewer_];
    view.slot_index = slot_index;
    view.proven = true;
    view.ejected = false;
    if (slot_index == self_slot) {
        if (!self.has_own) {
            return false;
        }
        view.load = self.own;
        view.age = Nanoseconds{0};
        view.serving = serving_;
        view.workers_idle = self.own.workers_idle;
        view.sent_since = 0;
        view.in_flight = 0;
        return true;
    }
    const std::uint32_t peer = knowledge_.server_in(viewer_, slot_index);
    const Heard heard = knowledge_.heard(viewer_, peer, now);
    if (heard.load == nullptr) {
        return false;
    }
    view.load = *heard.load;
    view.load.received_at = heard.at;
    if (Observed* const observed = observed_in(slot_index)) {
        settle(*observed, heard);
        const FreshLoad fresh = FreshLoad::unpack(observed->fresh);
        view.serving = fresh.serving;
        view.workers_idle = fresh.workers_idle;
        view.sent_since = observed->sent_since;
        view.in_flight = observed->in_flight;
        view.ejected = observed->ejected_until > now;
        view.age = elapsed(std::max(heard.at, observed->fresh_at), now);
        return true;
    }
    view.serving = std::min(view.load.serving, FreshLoad::count_max);
    view.workers_idle = std::min(view.load.workers_idle, FreshLoad::count_max);
    view.sent_since = 0;
    view.in_flight = 0;
    view.age = elapsed(heard.at, now);
    return true;
}

// Without its name: nothing in a simulated cluster is called by name.
std::optional<ServerReport> LazyKnowledge::View::report(std::uint32_t slot_index) const {
    ServerReport result;
    result.set_name("server" + std::to_string(knowledge_.server_in(viewer_, slot_index)));
    return result;
}

Observed* LazyKnowledge::View::observed_in(std::uint32_t slot_index) const {
    if (slot_index != last_slot_) {
        last_slot_ = slot_index;
        last_observed_ =
            knowledge_.known_[viewer_].overlay.find(knowledge_.server_in(viewer_, slot_index));
    }
    return last_observed_;
}

bool LazyKnowledge::View::is_ejected(std::uint32_t slot_index, MonotonicTime now) const {
    const Observed* const observed = slot_index == self_slot ? nullptr : observed_in(slot_index);
    return observed != nullptr && observed->ejected_until > now;
}

std::uint32_t LazyKnowledge::View::failures_in_a_row(std::uint32_t slot_index) const {
    const Observed* const observed = slot_index == self_slot ? nullptr : observed_in(slot_index);
    return observed == nullptr ? 0 : observed->failures;
}

}  // namespace backhand::sim
