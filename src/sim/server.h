// One simulated server: its CPUs, its workers, and what it counts.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/clock.h"
#include "cluster/child_cells.h"
#include "measure/service_meter.h"
#include "sim/events.h"
#include "sim/scenario.h"

namespace backhand::sim {

// The CPUs of a server and the pieces of work on them.
//
// Under processor sharing all pieces advance alike, so it is enough to know how far each piece has
// advanced that was there from the beginning ("virtual time"): a piece is done when that reaches
// what it was when the piece came plus its work.  Nothing is touched per piece when another comes
// or goes.  First in, first out is the same with no more pieces at a time than there are CPUs.
class Processor {
public:
    // `phase`: where in its period a quota's first period begins, from 0 to 1.
    explicit Processor(const ServerGroup& group, double phase = 0);

    // Every call advances to `now`, which never falls.
    void add(std::uint32_t piece, double work, MonotonicTime now);

    // Hands the pieces that are done by now to done(piece).
    template <class Done>
    void finish(MonotonicTime now, Done done) {
        // The timer has been rounded up to a whole nanosecond; a piece that is due is done.
        const double rounding = rate_;
        advance(now);
        const double reached = attained_ + rounding;
        while (!active_.empty() && active_.front().due <= reached) {
            const std::uint32_t piece = take_first();
            let_in();
            done(piece);
        }
        if (active_.empty()) {
            attained_ = 0;
        }
    }

    // When finish() has to be called if nothing changes: the next piece will be done, or the quota
    // used up or renewed.  `never` without a piece.
    MonotonicTime next_at() const;

    // The share of the CPUs that is there: 1 less what antagonists take, 0 of a server that hangs.
    void set_available(double available, MonotonicTime now);

    // Everything on it is lost.
    void clear(MonotonicTime now);

    std::size_t pieces() const { return active_.size() + waiting_.size(); }

    // CPU time used so far, in nanoseconds of one CPU.
    double busy(MonotonicTime now) const {
        return busy_ + using_ * static_cast<double>(now - advanced_to_);
    }

    double available() const { return available_; }

private:
    struct Piece {
        double due;
        std::uint32_t number;
    };

    void advance(MonotonicTime now);
    void spend_quota(double passed);
    void let_in();
    void push(std::uint32_t piece, double work);
    std::uint32_t take_first();
    void set_rate();

    bool has_quota() const { return quota_period_ != 0; }

    double cpus_;  // that run at once
    double speed_;
    MonotonicTime quota_period_;
    double quota_;       // CPU time in each period
    double quota_left_;  // in this one
    MonotonicTime period_ends_ = 0;
    std::size_t at_a_time_;
    double available_ = 1;
    double rate_ = 0;      // of each active piece: nanoseconds of work per nanosecond
    double using_ = 0;     // CPUs in use
    double attained_ = 0;  // virtual time
    double busy_ = 0;
    MonotonicTime advanced_to_ = 0;
    std::vector<Piece> active_;  // a heap, the first due on top
    std::deque<Piece> waiting_;  // due: work
};

struct Server {
    Server(const ServerGroup& its_group, double phase)
        : group(its_group),
          processor(its_group, phase) {}

    ServerGroup group;
    Processor processor;

    std::uint32_t workers_busy = 0;
    std::deque<std::uint32_t> backlog;  // requests without a worker yet

    std::uint32_t serving = 0;
    std::uint32_t forwarding = 0;
    // Requests that somebody has decided to serve here and that are not over: in progress, in the
    // backlog or on their way.
    std::uint32_t assigned = 0;

    bool up = true;
    bool hangs = false;
    std::uint64_t boot_id = 1;
    std::uint64_t measurement = 0;
    std::uint64_t generation = 0;  // rises when what it was doing is lost

    // What its moderator keeps.
    ServiceMeter meter;
    Served served;
    LoadReport report;
    double load_average = 0;
    double load_highest = 0;
    double busy_before = 0;
    MonotonicTime measured_at = 0;
    MonotonicTime announced_at = 0;
    std::uint32_t announced_serving = 0;
    std::uint32_t announcement_planned = 0;
    bool look_planned = false;

    std::uint64_t finished = 0;  // answered here

    std::uint32_t workers_idle() const { return group.workers - workers_busy; }
};

}  // namespace backhand::sim
