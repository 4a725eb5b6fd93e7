// What every server of a simulated cluster knows of every other.
//
// A cluster table for each of n servers would be n^2 slots, and keeping them would be n^2 pieces of
// work for each round of announcements.  So a sender's announcements are kept once, in a short
// history, and which of them a viewer has heard is worked out when it looks: when each arrives is
// computed from a hash of who, whom, which and the seed.  What a viewer knows besides, of its own
// sends and of news that came with responses, lies in a sparse overlay.
//
// tests/unit/sim_knowledge_test.cc feeds real cluster tables with every datagram and compares.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "cluster/server_report.h"
#include "cluster/view.h"
#include "sim/scenario.h"

namespace backhand::sim {

// News that come back with a response, as in the field Backhand-Load.
struct News {
    std::uint64_t boot_id = 0;
    std::uint64_t measurement = 0;
    std::uint32_t serving = 0;
    std::uint32_t workers_idle = 0;
};

// When what was sent arrives, if it does.
class Air {
public:
    Air(const Scenario& scenario, std::uint64_t seed);

    // `never` if it is lost.  The viewer reads it with its next look.
    MonotonicTime arrival(std::uint32_t sender, std::uint32_t viewer, std::uint64_t number,
                          MonotonicTime sent_at) const;

    bool parted(std::uint32_t one, std::uint32_t other, MonotonicTime at) const;

    // The first look of the server at or after this time.
    MonotonicTime look_after(std::uint32_t server, MonotonicTime at) const;

private:
    struct Partition {
        MonotonicTime from;
        MonotonicTime to;
        std::vector<bool> side;
    };

    std::uint64_t seed_;
    Network network_;
    MonotonicTime look_;
    std::vector<MonotonicTime> look_phases_;
    std::vector<Partition> partitions_;
};

// The interface, so that a test can put real tables in its place.
class Knowledge {
public:
    Knowledge() = default;
    Knowledge(const Knowledge&) = delete;
    Knowledge& operator=(const Knowledge&) = delete;
    virtual ~Knowledge() = default;

    // A server has measured and announced itself.
    virtual void announced(std::uint32_t sender, const LoadReport& load, MonotonicTime now) = 0;

    // The server has started anew and knows nothing.
    virtual void forgets(std::uint32_t server, MonotonicTime now) = 0;

    // How the cluster looks from there, until the next call of any function.
    virtual const ClusterView& seen_by(std::uint32_t viewer, std::uint32_t serving,
                                       MonotonicTime now) = 0;

    virtual std::uint32_t server_in(std::uint32_t viewer, std::uint32_t slot_index) const = 0;

    virtual void forward_began(std::uint32_t viewer, std::uint32_t peer, MonotonicTime now) = 0;
    virtual void forward_ended(std::uint32_t viewer, std::uint32_t peer, MonotonicTime now) = 0;
    virtual void forward_failed(std::uint32_t viewer, std::uint32_t peer, MonotonicTime now) = 0;

    // The peer has answered, with news of its load or without (nullptr): refresh() and both
    // forward_ended() of the table.
    virtual void forward_answered(std::uint32_t viewer, std::uint32_t peer, const News* news,
                                  Nanoseconds latency, MonotonicTime now) = 0;

    virtual Nanoseconds forwarding_cost(std::uint32_t viewer, MonotonicTime now) const = 0;
};

// What each server keeps of itself that decisions may ask for.
struct OwnRecords {
    Counters counters;
    LatencyByLoad latency;
    LocationTimes locations;
    MeasuredForwardingCost forwarding_cost;
};

// The overlay: what a viewer has seen itself of one peer.
struct Observed {
    std::uint32_t peer = 0;
    std::uint32_t in_flight = 0;
    std::uint32_t sent_since = 0;
    std::uint32_t failures = 0;
    std::uint64_t boot_id = 0;
    std::uint64_t fresh = 0;  // a packed FreshLoad
    MonotonicTime fresh_at = 0;
    MonotonicTime ejected_until = 0;
};

// Open addressing; entries that say nothing are dropped when there is no room.
class Overlay {
public:
    Observed* find(std::uint32_t peer);
    Observed& at(std::uint32_t peer);

    // Calls forget(Observed&), which says whether an entry may go, before it takes more memory.
    template <class Forget>
    void make_room(Forget forget);

    void clear() {
        entries_.clear();
        used_ = 0;
    }

private:
    static constexpr std::uint32_t nobody = ~0U;

    std::size_t place_of(std::uint32_t peer) const;
    void rebuild(std::vector<Observed> kept);

    std::vector<Observed> entries_;  // a power of two, or none
    std::size_t used_ = 0;
};

class LazyKnowledge final : public Knowledge {
public:
    // `records` by server; outlives this.
    LazyKnowledge(const Scenario& scenario, const Air& air,
                  std::vector<std::unique_ptr<OwnRecords>>& records);

    void announced(std::uint32_t sender, const LoadReport& load, MonotonicTime now) override;
    void forgets(std::uint32_t server, MonotonicTime now) override;
    const ClusterView& seen_by(std::uint32_t viewer, std::uint32_t serving,
                               MonotonicTime now) override;

    // Peers in the order of their numbers, self taken out.
    std::uint32_t server_in(std::uint32_t viewer, std::uint32_t slot_index) const override {
        return slot_index == self_slot ? viewer : slot_index - (slot_index <= viewer ? 1 : 0);
    }

    void forward_began(std::uint32_t viewer, std::uint32_t peer, MonotonicTime now) override;
    void forward_ended(std::uint32_t viewer, std::uint32_t peer, MonotonicTime now) override;
    void forward_failed(std::uint32_t viewer, std::uint32_t peer, MonotonicTime now) override;
    void forward_answered(std::uint32_t viewer, std::uint32_t peer, const News* news,
                          Nanoseconds latency, MonotonicTime now) override;

    Nanoseconds forwarding_cost(std::uint32_t viewer, MonotonicTime now) const override {
        return records_[viewer]->forwarding_cost.read(now);
    }

private:
    struct Announcement {
        std::uint64_t number;
        MonotonicTime sent_at;
        LoadReport load;
    };

    struct Heard {
        const LoadReport* load = nullptr;  // nullptr: nothing yet
        MonotonicTime at = 0;
    };

    class View final : public ClusterView {
    public:
        explicit View(LazyKnowledge& knowledge) : knowledge_(knowledge) {}

        void look_from(std::uint32_t viewer, std::uint32_t serving) {
            viewer_ = viewer;
            serving_ = serving;
            last_slot_ = self_slot;
        }

        std::uint32_t slots_used() const override;

        std::uint32_t slots_max() const override { return slots_used(); }

        bool view(std::uint32_t slot_index, std::uint64_t service_hash, MonotonicTime now,
                  ServerView& view) const override;
        std::optional<ServerReport> report(std::uint32_t slot_index) const override;
        bool is_ejected(std::uint32_t slot_index, MonotonicTime now) const override;
        std::uint32_t failures_in_a_row(std::uint32_t slot_index) const override;

        Counters& counters() const override { return records().counters; }

        LatencyByLoad& latency() const override { return records().latency; }

        LocationTimes& locations() const override { return records().locations; }

    private:
        OwnRecords& records() const { return *knowledge_.records_[viewer_]; }

        Observed* observed_in(std::uint32_t slot_index) const;

        LazyKnowledge& knowledge_;
        std::uint32_t viewer_ = 0;
        std::uint32_t serving_ = 0;

        // A server is mostly asked about twice in a row.
        mutable std::uint32_t last_slot_ = self_slot;
        mutable Observed* last_observed_ = nullptr;
    };

    struct Known {
        std::deque<Announcement> announcements;  // of this server, oldest first
        LoadReport own;
        bool has_own = false;
        MonotonicTime since = 0;  // knows nothing of before
        Overlay overlay;          // of this viewer
    };

    Heard heard(std::uint32_t viewer, std::uint32_t sender, MonotonicTime now) const;
    static void settle(Observed& observed, const Heard& heard);
    Observed& observed_at(std::uint32_t viewer, std::uint32_t peer, MonotonicTime now);

    const Air& air_;
    std::vector<std::unique_ptr<OwnRecords>>& records_;
    MonotonicTime keep_;
    std::vector<Known> known_;
    std::uint64_t announcements_ = 0;
    View view_{*this};
};

}  // namespace backhand::sim
