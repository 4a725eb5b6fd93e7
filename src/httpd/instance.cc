#include "httpd/instance.h"

namespace backhand::httpd {

std::unique_ptr<DecisionRoom> RoomShelf::take() {
    for (std::atomic<DecisionRoom*>& place : places_) {
        if (place.load(std::memory_order_relaxed) != nullptr) {
            if (DecisionRoom* room = place.exchange(nullptr, std::memory_order_acquire)) {
                return std::unique_ptr<DecisionRoom>{room};
            }
        }
    }
    return std::make_unique<DecisionRoom>();
}

void RoomShelf::put_back(std::unique_ptr<DecisionRoom> room) {
    for (std::atomic<DecisionRoom*>& place : places_) {
        DecisionRoom* empty = nullptr;
        if (place.compare_exchange_strong(empty, room.get(), std::memory_order_release,
                                          std::memory_order_relaxed)) {
            static_cast<void>(room.release());
            return;
        }
    }
}

RoomShelf::~RoomShelf() {
    for (std::atomic<DecisionRoom*>& place : places_) {
        const std::unique_ptr<DecisionRoom> owned{place.exchange(nullptr)};
    }
}

}  // namespace backhand::httpd
