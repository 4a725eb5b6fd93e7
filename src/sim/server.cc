#include "sim/server.h"

#include <algorithm>
#include <cmath>

namespace backhand::sim {

namespace {

constexpr auto later = [](const auto& left, const auto& right) { return left.due > right.due; };

}  // namespace

Processor::Processor(const ServerGroup& group, double phase)
    : cpus_(group.quota_period_ns > 0 ? std::ceil(group.cpus) : group.cpus),
      speed_(group.speed),
      quota_period_(static_cast<MonotonicTime>(group.quota_period_ns)),
      quota_(group.cpus * group.quota_period_ns),
      quota_left_(quota_),
      period_ends_(static_cast<MonotonicTime>(phase * group.quota_period_ns)),
      at_a_time_(group.discipline == ServerGroup::Discipline::fifo
                     ? static_cast<std::size_t>(std::ceil(group.cpus))
                     : ~std::size_t{0}) {}

void Processor::add(std::uint32_t piece, double work, MonotonicTime now) {
    advance(now);
    if (active_.size() < at_a_time_) {
        push(piece, work);
        set_rate();
    } else {
        waiting_.push_back({work, piece});
    }
}

MonotonicTime Processor::next_at() const {
    if (active_.empty() || available_ <= 0) {
        return never;
    }
    MonotonicTime next = has_quota() ? period_ends_ : never;
    if (rate_ > 0) {
        double left = std::max(0.0, active_.front().due - attained_) / rate_;
        if (has_quota()) {
            left = std::min(left, quota_left_ / using_);
        }
        next = std::min(next, advanced_to_ + static_cast<MonotonicTime>(std::ceil(left)));
    }
    return next;
}

void Processor::set_available(double available, MonotonicTime now) {
    advance(now);
    available_ = available;
    set_rate();
}

void Processor::clear(MonotonicTime now) {
    advance(now);
    active_.clear();
    waiting_.clear();
    attained_ = 0;
    set_rate();
}

void Processor::advance(MonotonicTime now) {
    const auto passed = static_cast<double>(now - advanced_to_);
    attained_ += rate_ * passed;
    busy_ += using_ * passed;
    advanced_to_ = now;
    if (has_quota()) {
        spend_quota(passed);
    }
}

void Processor::spend_quota(double passed) {
    constexpr double least = 0.5;  // nanoseconds: the timer's rounding
    quota_left_ -= using_ * passed;
    if (quota_left_ < least) {
        quota_left_ = 0;
    }
    if (advanced_to_ >= period_ends_) {
        period_ends_ += ((advanced_to_ - period_ends_) / quota_period_ + 1) * quota_period_;
        quota_left_ = quota_;
    }
    set_rate();
}

void Processor::let_in() {
    while (!waiting_.empty() && active_.size() < at_a_time_) {
        const Piece next = waiting_.front();
        waiting_.pop_front();
        push(next.number, next.due);
    }
    set_rate();
}

void Processor::push(std::uint32_t piece, double work) {
    active_.push_back({attained_ + work, piece});
    std::push_heap(active_.begin(), active_.end(), later);
}

std::uint32_t Processor::take_first() {
    std::pop_heap(active_.begin(), active_.end(), later);
    const std::uint32_t piece = active_.back().number;
    active_.pop_back();
    return piece;
}

void Processor::set_rate() {
    const auto pieces = static_cast<double>(active_.size());
    using_ = std::min(pieces, cpus_ * available_);
    rate_ = pieces == 0 ? 0 : speed_ * using_ / pieces;
    if (available_ <= 0 || (has_quota() && quota_left_ <= 0)) {
        rate_ = using_ = 0;
    }
}

}  // namespace backhand::sim
