// ClusterTable: what this host believes about every server, in memory all its processes share.
//
// Slot 0 is this server.  Each slot has parts that never share a cache line:
//   report    what the server said.  One writer (the moderator), a seqlock: readers never wait and
//             never see half a report.
//   observed  what this host saw itself: atomics that any process may change.
//   glance    the little of both that is looked at of every server: one cache line, all side by
//   side.
// Beside the slots lie the children's counts (ChildCells), how long requests take here
// (LatencyByLoad) and per location (LocationTimes), the numbers of signed requests
// (ExchangeNumbers), and a directory in which a slot is found by who its server is without touching
// the slots.
//
// Any process may die at any instruction.  The one lock, on the right to write, is taken over from
// an owner that died; a slot whose writer died reads as before until the next report replaces
// it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <sys/types.h>

#include "base/clock.h"
#include "cluster/child_cells.h"
#include "cluster/counters.h"
#include "cluster/exchange_numbers.h"
#include "cluster/latency_by_load.h"
#include "cluster/location_times.h"
#include "cluster/retry_budget.h"
#include "cluster/server_report.h"
#include "cluster/view.h"

namespace backhand {

// Changed whenever the layout below changes: a newer module never reads an older table.
constexpr std::uint32_t cluster_layout_version = 12;

class ClusterTable final : public ClusterView {
public:
    struct Size {
        std::uint32_t slots_max = 1024;
        std::uint32_t cells_max = 256;
    };

    // What a news of a server did to the table.
    enum class Outcome {
        taken,
        // Taken, but the server is no candidate before its contact has answered a challenge.
        unproven,
        replayed,
        cluster_full,
    };

    struct Taken {
        Outcome outcome{};
        std::uint32_t slot_index = 0;  // unless replayed or cluster_full
    };

    static std::size_t bytes_needed(Size size);

    // Lays out an empty table.  REQUIRES: `memory` is zeroed, page aligned, bytes_needed(size)
    // long.
    static ClusterTable create(void* memory, Size size);

    // Finds the table another incarnation of the module made.  nullopt if it is of another layout.
    static std::optional<ClusterTable> attach(void* memory);

    Size size() const;

    Counters& counters() const override { return *counters_; }

    // ---- the moderator: one writer at a time ----

    // Takes the right to write from whoever has it, waiting at most `patience` for a predecessor to
    // see that and to stop.  Returns the epoch to ask is_writer() with: a moderator that is writer
    // no longer stops writing, and says so by stop_writing().  Both by the same thread.
    std::uint64_t become_writer(Nanoseconds patience) const;
    bool is_writer(std::uint64_t epoch) const;
    void stop_writing() const;

    // Makes whoever is writer stop, without becoming it.
    void depose_writer() const;

    void writer_alive(MonotonicTime now) const;

    // True if a moderator has been active within the last two seconds.
    bool moderator_alive(MonotonicTime now) const;

    void set_self(const ServerReport& report) const;

    // Takes in a peer's report; `report.load.received_at` must be set.
    Taken take(const ServerReport& report) const;

    // From now on only servers count whose contact has answered a challenge (or all again).
    void demand_proof(bool demanded) const;

    // The server in this slot has answered a challenge: it is what it says, and this is how far its
    // reports had come then.  Older ones are replays.  False if the slot has another by now.
    bool prove(std::uint32_t slot_index, const Endpoint& contact, std::uint64_t boot_id,
               std::uint64_t measurement) const;

    // ---- any process ----

    // This server's boot id; 0 until the moderator has set it.
    std::uint64_t boot_id() const;
    void set_boot_id(std::uint64_t boot_id) const;

    // The next number for a report of ours.
    std::uint64_t next_measurement() const;

    // Whoever has heard no newer report of ours than this one has heard nothing for a while.  Set
    // by the moderator.
    void set_oldest_recent_measurement(std::uint64_t measurement) const;

    // True if this report of ours is young enough to have been somebody's last.
    bool is_recent_measurement(std::uint64_t measurement) const;

    std::uint32_t slots_used() const override;

    std::uint32_t slots_max() const override { return size().slots_max; }

    std::optional<ServerReport> report(std::uint32_t slot_index) const override;
    bool view(std::uint32_t slot_index, std::uint64_t service_hash, MonotonicTime now,
              ServerView& view) const override;

    bool look(std::uint32_t slot_index, Detail detail, std::uint64_t service_hash,
              MonotonicTime now, ServerView& shown) const override;
    std::size_t look_at_peers(Detail detail, std::uint64_t service_hash, MonotonicTime now,
                              std::span<ServerView> room) const override;

    std::optional<std::uint32_t> find_contact(const Endpoint& contact) const;

    // The server, proven if that is demanded, whose contact has this address and that was heard of
    // within `age_max`; several may share an address, then the one with this boot id.
    std::optional<std::uint32_t> find_live_member(const IpAddress& address,
                                                  std::optional<std::uint64_t> boot_id,
                                                  MonotonicTime now, Nanoseconds age_max) const;

    // Of the signed requests that this server sends to that one, and gets from it.
    ExchangeNumbers& exchange_numbers(std::uint32_t slot_index) const;

    // ---- observed, by the processes that forward ----

    void forward_began(std::uint32_t slot_index) const;
    void forward_ended(std::uint32_t slot_index) const;

    // How an attempt went: what decisions learn from it.  A server that is `unreachable`, or does
    // not believe this one, is left alone for a while (forward_failed()); one of which
    // HealthRecord::failures_max attempts in a row have failed becomes unhealthy, unless half of
    // the cluster would then be.  `latency`: from the choice of the server to the end of the
    // response, or to the failure.
    void forward_ended(std::uint32_t slot_index, ForwardOutcome outcome, Nanoseconds latency,
                       MonotonicTime now) const;

    // What forwarding adds to a request's time: how much longer our own forwards took than their
    // servers say that such requests take them.  Fades to zero when nothing is forwarded.
    Nanoseconds forwarding_cost(MonotonicTime now) const;

    // Attempts that failed in a row, connections made or not.
    std::uint32_t failed_attempts_in_a_row(std::uint32_t slot_index) const;

    // Takes away what children that died have left behind, if nothing is being forwarded.
    void forget_forwards() const;

    // News that came back with a response.  Ignored if from another boot, or older than what is
    // known.  They keep the server young, but not for ever: one that announces itself no more under
    // this contact may have moved to another, and would stand in the table twice.
    void refresh(std::uint32_t slot_index, std::uint64_t boot_id, std::uint64_t measurement,
                 std::uint32_t serving, std::uint32_t workers_idle, MonotonicTime now) const;

    // A failed connection, or a peer that does not believe this server, keeps the peer out of every
    // decision for a while: 1 s, doubled with each failure in a row up to 30 s.
    void forward_failed(std::uint32_t slot_index, MonotonicTime now) const;
    void forward_succeeded(std::uint32_t slot_index) const;
    bool is_ejected(std::uint32_t slot_index, MonotonicTime now) const override;
    std::uint32_t failures_in_a_row(std::uint32_t slot_index) const override;

    RetryBudget& retries() const;

    // ---- observed, by the processes that probe ----

    struct ProbeTarget {
        Endpoint contact;
        std::uint16_t port = 0;  // of the contact's address
    };

    // Where the server answers probes; nullopt: nowhere.
    std::optional<ProbeTarget> probe_target(std::uint32_t slot_index) const;

    // True while it is not worth asking: nothing has been answered for a while, and asking would
    // cost each request the time to wait for it.  That is so for as long again as probes had been
    // unanswered when the last one was, but at most 30 s.
    bool probes_withheld(std::uint32_t slot_index, MonotonicTime now) const;

    void probe_answered(std::uint32_t slot_index) const;
    void probe_unanswered(std::uint32_t slot_index, MonotonicTime now) const;

    // Idle connections the moderator holds for this peer: a hint whether asking is worthwhile.
    std::uint32_t pooled_connections(std::uint32_t slot_index) const;
    void set_pooled_connections(std::uint32_t slot_index, std::uint32_t count) const;

    // A request had to open a connection, because no idle one was at hand.
    void connection_missed(std::uint32_t slot_index) const;

    // How often that happened since the last call.  One caller: the moderator.
    std::uint32_t take_connections_missed(std::uint32_t slot_index) const;

    // ---- what happens here ----

    ChildCells cells() const;

    // A child takes no more requests, from now on.  Kept here and not with the child: one that has
    // nothing to finish is gone at once.
    void child_stops(MonotonicTime now) const;

    // When one last said so; 0 if none did.
    MonotonicTime child_stopped_at() const;

    LatencyByLoad& latency() const override { return *latency_; }

    LocationTimes& locations() const override { return *locations_; }

private:
    struct Header;
    struct DirectoryEntry;
    struct Glance;
    struct Index;
    struct Numbers;
    struct Slot;
    struct Layout;

    explicit ClusterTable(Header* header);

    Slot& slot(std::uint32_t slot_index) const;
    Glance& glance_at(std::uint32_t slot_index) const;
    void begin_boot(std::uint32_t slot_index, std::uint64_t its_boot_id) const;
    template <Detail detail>
    std::size_t look_at_peers(std::uint64_t service_hash, MonotonicTime now,
                              std::span<ServerView> room) const;
    void begin_edition(std::uint32_t slot_index) const;
    template <Detail detail>
    bool show_usual(const Glance& glance, std::uint32_t slot_index, MonotonicTime now,
                    ServerView& view) const;
    void observe(std::uint32_t slot_index, MonotonicTime now, ServerView& view) const;
    std::span<DirectoryEntry> directory() const;
    std::optional<std::uint32_t> find(std::uint64_t identity) const;
    std::optional<std::uint32_t> find_predecessor(const Endpoint& contact) const;
    bool may_be_reused(std::uint32_t slot_index, MonotonicTime now) const;
    std::optional<std::uint32_t> find_free(MonotonicTime now) const;
    bool may_be_unhealthy(std::uint32_t slot_index, MonotonicTime now) const;
    void learn_forwarding_cost(std::uint32_t slot_index, Nanoseconds latency,
                               MonotonicTime now) const;

    Header* header_;

    // What of it every request asks for.
    Counters* counters_;
    LatencyByLoad* latency_;
    LocationTimes* locations_;

    // Where the regions behind it begin: each decision asks hundreds of times.
    ChildCell* cells_;
    DirectoryEntry* directory_;
    Glance* glances_;
    Index* index_;
    Numbers* numbers_;
    ExchangeNumbers* exchanges_;
    Slot* slots_;
};

}  // namespace backhand
