// Shelf: things that are made once and used by one thread at a time, again and again.
//
// Lock-free: nobody waits to take one or to put one back.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>

namespace backhand {

template <class Thing, std::size_t places = 64>
class Shelf {
public:
    Shelf() = default;
    Shelf(const Shelf&) = delete;
    Shelf& operator=(const Shelf&) = delete;

    ~Shelf() {
        for (std::atomic<Thing*>& place : places_) {
            const std::unique_ptr<Thing> owned{place.exchange(nullptr)};
        }
    }

    // One more is made when all are out.
    std::unique_ptr<Thing> take() {
        for (std::atomic<Thing*>& place : places_) {
            if (place.load(std::memory_order_relaxed) != nullptr) {
                if (Thing* const thing = place.exchange(nullptr, std::memory_order_acquire)) {
                    return std::unique_ptr<Thing>{thing};
                }
            }
        }
        return std::make_unique<Thing>();
    }

    // One for which there is no place is destroyed.
    void put_back(std::unique_ptr<Thing> thing) {
        for (std::atomic<Thing*>& place : places_) {
            Thing* empty = nullptr;
            if (place.compare_exchange_strong(empty, thing.get(), std::memory_order_release,
                                              std::memory_order_relaxed)) {
                static_cast<void>(thing.release());
                return;
            }
        }
    }

private:
    std::array<std::atomic<Thing*>, places> places_{};
};

}  // namespace backhand
