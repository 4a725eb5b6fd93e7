#include "decide/chain.h"

#include <algorithm>

#include "decide/builtin.h"
#include "decide/explain.h"

namespace backhand {

namespace {

// A longer window is not drawn but shuffled.
constexpr std::size_t sample_max = 8;

// In a cluster of which half cannot take the request, all but one of 10,000 decisions find three
// servers in so many draws each.
constexpr std::size_t draws_per_place = 8;

// A cluster with no more slots than this for each place is looked at as a whole: that costs less
// than drawing the same servers again and again.
constexpr std::size_t slots_per_place_min = 4;

}  // namespace

Exclusion exclusion_of(const ServerView& peer) {
    if (!peer.proven) {
        return Exclusion::unproven;
    }
    if (peer.load.has(ServerFlag::leaving)) {
        return Exclusion::leaving;
    }
    if (is_silent(peer)) {
        return Exclusion::silent;
    }
    if (peer.ejected) {
        return Exclusion::ejected;
    }
    // A report of idle workers justifies only so many sends.
    return peer.workers_idle > peer.sent_since ? Exclusion::none : Exclusion::no_idle_worker;
}

void take_decision(const CandidacySet& set, Decision& decision) {
    decision.no_candidate = set.empty();
    decision.redirect = set.redirect();
    for (std::size_t position = 0; position < set.size() && !set[position].is_self(); ++position) {
        decision.peers.push_back(set[position].slot_index);
    }
}

bool is_silent(const ServerView& server) {
    const Nanoseconds three_intervals = 3 * Milliseconds{server.load.interval_ms};
    return server.age > std::max(silence_max, three_intervals);
}

Status Chain::append(std::string_view name, std::string_view argument) {
    auto functions = make_builtin(name, argument);
    if (!functions) {
        return functions.error();
    }
    for (NamedFunction& function : *functions) {
        append(std::move(function.function), function.text);
    }
    return Done{};
}

void Chain::append(std::unique_ptr<const CandidacyFunction> function, const std::string& text) {
    if (functions_.empty()) {
        text_.clear();
    } else {
        text_ += ", ";
    }
    text_ += text;
    if (function->wants_feedback()) {
        told_.push_back(function.get());
    }
    functions_.push_back(std::move(function));
    texts_.push_back(text);
    find_shortcuts();
}

void Chain::switch_off() {
    functions_.clear();
    told_.clear();
    texts_.clear();
    find_shortcuts();
    text_ = "off";
}

// Sampling: functions that keep or drop each server by itself, around one that shuffles, up to one
// that keeps the first few.
void Chain::find_shortcuts() {
    using Effect = CandidacyFunction::Effect;
    sampled_ = window_ = 0;
    self_stays_below_ = 0;
    const bool all_known =
        std::none_of(functions_.begin(), functions_.end(),
                     [](const auto& function) { return function->effect() == Effect::any; });
    if (!all_known || functions_.empty()) {
        return;
    }
    self_stays_below_ = functions_.back()->self_stays_below();

    bool shuffled = false;
    for (std::size_t index = 0; index < functions_.size(); ++index) {
        const CandidacyFunction& function = *functions_[index];
        switch (function.effect()) {
            case Effect::keeps:
                continue;
            case Effect::shuffles:
                shuffled = true;
                continue;
            case Effect::shortens:
                if (shuffled && function.window() <= sample_max) {
                    sampled_ = index + 1;
                    window_ = function.window();
                }
                return;
            case Effect::orders:
            case Effect::any:
                return;
        }
    }
}

bool Chain::admits(const RequestView& request) const {
    return std::all_of(functions_.begin(), functions_.end(),
                       [&](const auto& function) { return function->admits(request); });
}

void Chain::sent(const RequestView& request, const ServerView& chosen) const {
    for (const CandidacyFunction* const function : told_) {
        function->sent(request, chosen);
    }
}

void Chain::ended(const RequestView& request, std::uint32_t slot_index,
                  const ForwardEnd& end) const {
    for (const CandidacyFunction* const function : told_) {
        function->ended(request, slot_index, end);
    }
}

void Chain::apply(CandidacySet& set, const DecisionContext& context) const {
    apply_from(0, set, context);
}

void Chain::apply_from(std::size_t first, CandidacySet& set, const DecisionContext& context) const {
    for (std::size_t index = first; index < functions_.size(); ++index) {
        functions_[index]->apply(set, context);
    }
}

bool Chain::apply_to_sample(CandidacySet& set, const DecisionContext& context) const {
    if (!draw(set, context)) {
        return false;
    }
    apply_from(sampled_, set, context);
    return true;
}

// Draws slots until enough of them hold a server that the functions at the head would have kept.
// Each such server is as likely to come next as any other, which is what shuffling comes to.
bool Chain::draw(CandidacySet& set, const DecisionContext& context) const {
    const std::uint32_t slots_used = context.table.slots_used();
    if (slots_used <= slots_per_place_min * window_) {
        return false;
    }
    ServerView server;
    for (std::size_t attempt = 0; attempt < draws_per_place * window_; ++attempt) {
        const std::uint32_t slot_index = context.random.below(slots_used);
        const bool is_self = slot_index == self_slot;
        if (set.has_slot(slot_index) ||
            (!is_self &&
             (!context.table.view(slot_index, context.request.service_hash, context.now, server) ||
              exclusion_of(server) != Exclusion::none))) {
            continue;
        }
        const ServerView& drawn = is_self ? set.self() : server;
        const bool kept = std::all_of(
            functions_.begin(), functions_.begin() + static_cast<std::ptrdiff_t>(sampled_),
            [&](const auto& function) { return function->keeps(drawn, context); });
        if (kept && is_self) {
            set.add_self();
        } else if (kept) {
            set.add(server);
        }
        if (set.size() == window_) {
            return true;
        }
    }
    return false;
}

void decide(const Chain& chain, const DecisionContext& context, CandidacySet& set,
            Decision& decision) {
    decision.peers.clear();
    decision.no_candidate = false;
    decision.redirect = nullptr;

    ServerView server;
    if (!context.table.view(self_slot, 0, context.now, server)) {
        decision.no_candidate = true;
        return;
    }
    server.serving -= std::min(server.serving, 1U);
    if (server.serving < chain.self_stays_below() || !chain.admits(context.request)) {
        return;
    }
    set.begin_without(server);
    if (chain.samples() && chain.apply_to_sample(set, context)) {
        take_decision(set, decision);
        return;
    }

    set.begin(server);
    const std::uint32_t slots_used = context.table.slots_used();
    for (std::uint32_t index = self_slot + 1; index < slots_used; ++index) {
        if (context.table.view(index, context.request.service_hash, context.now, server) &&
            exclusion_of(server) == Exclusion::none) {
            set.add(server);
        }
    }
    if (set.size() == 1) {
        decision.no_candidate = true;
        return;
    }

    chain.apply(set, context);
    take_decision(set, decision);
}

}  // namespace backhand
