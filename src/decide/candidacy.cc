#include "decide/candidacy.h"

#include <algorithm>
#include <utility>

namespace backhand {

void CandidacySet::begin(const ServerView& self) {
    servers_.clear();
    order_.clear();
    add(self);
}

void CandidacySet::add(const ServerView& server) {
    order_.push_back(static_cast<std::uint32_t>(servers_.size()));
    servers_.push_back(server);
}

void CandidacySet::begin_without(const ServerView& self) {
    begin(self);
    order_.clear();
}

bool CandidacySet::has_slot(std::uint32_t slot_index) const {
    return std::any_of(order_.begin(), order_.end(), [&](std::uint32_t index) {
        return servers_[index].slot_index == slot_index;
    });
}

void CandidacySet::truncate(std::size_t count) {
    order_.resize(std::min(count, order_.size()));
}

void CandidacySet::shuffle(Random& random) {
    for (std::size_t left = order_.size(); left > 1; --left) {
        std::swap(order_[left - 1], order_[random.below(static_cast<std::uint32_t>(left))]);
    }
}

void CandidacySet::put_self_first() {
    const auto found = std::find(order_.begin(), order_.end(), 0U);
    if (found == order_.end()) {
        order_.insert(order_.begin(), 0U);
    } else {
        std::rotate(order_.begin(), found, found + 1);
    }
}

std::size_t CandidacySet::assign_slots(std::span<const int> slots) {
    order_.clear();
    for (const int slot : slots) {
        const auto found =
            std::find_if(servers_.begin(), servers_.end(), [slot](const ServerView& server) {
                return slot >= 0 && server.slot_index == static_cast<std::uint32_t>(slot);
            });
        const auto index = static_cast<std::uint32_t>(found - servers_.begin());
        if (found != servers_.end() &&
            std::find(order_.begin(), order_.end(), index) == order_.end()) {
            order_.push_back(index);
        }
    }
    return slots.size() - order_.size();
}

// Not std::stable_sort, which allocates: the position breaks ties instead.
void CandidacySet::sort_by_ranking() {
    std::sort(ranking_.begin(), ranking_.end(), [](const Ranked& left, const Ranked& right) {
        return left.score != right.score ? left.score < right.score
                                         : left.position < right.position;
    });
    for (std::size_t position = 0; position < order_.size(); ++position) {
        order_[position] = ranking_[position].index;
    }
}

}  // namespace backhand
