// What is going to happen, in the order of time.
//
// Two structures, because there are two kinds of things.  Most events are certain once they are
// known: they lie in a heap.  When a server finishes its next request changes with every request
// that comes and goes: there is one such time per server, which is moved in place rather than
// cancelled and added again.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "base/clock.h"

namespace backhand::sim {

constexpr MonotonicTime never = std::numeric_limits<MonotonicTime>::max();

struct Event {
    enum class Kind : std::uint8_t {
        arrival,         // of the next request
        announcement,    // server; number: which one was planned
        look,            // server: is there something to announce early?
        answers_known,   // number: request, whose server had asked others
        reaches_peer,    // number: request
        comes_back,      // number: request, with its response
        refused,         // number: request, which the peer has not taken
        timed_out,       // number: request
        hold_ends,       // number: request that held a worker without work
        antagonist,      // number: which
        failure,         // number: which; server: 0 begins, 1 ends
        board,           // references refresh what they know
        sample,          // the state is looked at for the results
        load_average,    // the kernel's five seconds are over
        next_user,       // number: user of a closed loop who has stopped thinking
        ingress_change,  // number: which
    };

    MonotonicTime at = 0;
    std::uint64_t order = 0;  // of equal times the one that was planned first
    std::uint32_t number = 0;
    std::uint32_t server = 0;
    Kind kind{};
};

// A heap of which every node has four children: half as deep as a binary one, and the children of
// a node share cache lines.
class EventQueue {
public:
    bool empty() const { return heap_.empty(); }

    MonotonicTime next_at() const { return heap_.empty() ? never : heap_.front().at; }

    void add(MonotonicTime at, Event::Kind kind, std::uint32_t number, std::uint32_t server = 0);

    // REQUIRES: not empty.
    Event take();

private:
    static bool before(const Event& left, const Event& right) {
        return left.at != right.at ? left.at < right.at : left.order < right.order;
    }

    std::vector<Event> heap_;
    std::uint64_t planned_ = 0;
};

// One time for each server, and which is the next.
class ServerTimers {
public:
    explicit ServerTimers(std::uint32_t servers_count);

    MonotonicTime next_at() const { return at_[heap_.front()]; }

    std::uint32_t next_server() const { return heap_.front(); }

    void set(std::uint32_t server, MonotonicTime at);

private:
    bool before(std::uint32_t left, std::uint32_t right) const {
        return at_[left] != at_[right] ? at_[left] < at_[right] : left < right;
    }

    void put(std::size_t position, std::uint32_t server) {
        heap_[position] = server;
        position_[server] = static_cast<std::uint32_t>(position);
    }

    std::vector<MonotonicTime> at_;        // by server
    std::vector<std::uint32_t> position_;  // by server: where in the heap
    std::vector<std::uint32_t> heap_;
};

}  // namespace backhand::sim
