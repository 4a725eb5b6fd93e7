#include "sim/events.h"

#include <algorithm>
#include <numeric>

namespace backhand::sim {

namespace {

constexpr std::size_t children_max = 4;

}  // namespace

void EventQueue::add(MonotonicTime at, Event::Kind kind, std::uint32_t number,
                     std::uint32_t server) {
    const Event event{at, planned_++, number, server, kind};
    std::size_t position = heap_.size();
    heap_.push_back(event);
    while (position != 0) {
        const std::size_t parent = (position - 1) / children_max;
        if (!before(event, heap_[parent])) {
            break;
        }
        heap_[position] = heap_[parent];
        position = parent;
    }
    heap_[position] = event;
}

Event EventQueue::take() {
    const Event first = heap_.front();
    const Event moved = heap_.back();
    heap_.pop_back();
    const std::size_t size = heap_.size();
    std::size_t position = 0;
    for (;;) {
        const std::size_t begin = position * children_max + 1;
        if (begin >= size) {
            break;
        }
        std::size_t least = begin;
        for (std::size_t child = begin + 1; child < std::min(begin + children_max, size); ++child) {
            least = before(heap_[child], heap_[least]) ? child : least;
        }
        if (!before(heap_[least], moved)) {
            break;
        }
        heap_[position] = heap_[least];
        position = least;
    }
    if (size != 0) {
        heap_[position] = moved;
    }
    return first;
}

ServerTimers::ServerTimers(std::uint32_t servers_count)
    : at_(servers_count, never),
      position_(servers_count),
      heap_(servers_count) {
    std::iota(position_.begin(), position_.end(), 0U);
    std::iota(heap_.begin(), heap_.end(), 0U);
}

void ServerTimers::set(std::uint32_t server, MonotonicTime at) {
    const MonotonicTime old = at_[server];
    at_[server] = at;
    std::size_t position = position_[server];
    if (at < old) {
        while (position != 0) {
            const std::size_t parent = (position - 1) / 2;
            if (!before(server, heap_[parent])) {
                break;
            }
            put(position, heap_[parent]);
            position = parent;
        }
    } else {
        const std::size_t size = heap_.size();
        for (std::size_t child = 2 * position + 1; child < size; child = 2 * position + 1) {
            if (child + 1 < size && before(heap_[child + 1], heap_[child])) {
                ++child;
            }
            if (!before(heap_[child], server)) {
                break;
            }
            put(position, heap_[child]);
            position = child;
        }
    }
    put(position, server);
}

}  // namespace backhand::sim
