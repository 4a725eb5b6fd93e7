#include "decide/chain.h"

#include <algorithm>

#include "cluster/exclusion.h"
#include "decide/builtin.h"

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

void take_decision(const CandidacySet& set, Decision& decision) {
    decision.no_candidate = set.empty();
    decision.redirect = set.redirect();
    decision.peers.reserve(CandidacySet::head_size);  // once for good
    const std::size_t head = std::min(set.size(), CandidacySet::head_size);
    for (std::size_t position = 0; position < head && !set[position].is_self(); ++position) {
        decision.peers.push_back(set[position].slot_index);
    }
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
    keepers_.clear();
    self_stays_below_ = 0;
    reads_ = Detail::glance;
    for (const auto& function : functions_) {
        reads_ = std::max(reads_, function->reads());
    }
    // An order is needed as a whole until only functions follow that look at the head.
    head_only_from_ = functions_.size();
    while (head_only_from_ > 0 && functions_[head_only_from_ - 1]->needs_head_only()) {
        --head_only_from_;
    }
    head_only_from_ -= std::min<std::size_t>(head_only_from_, 1);
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
                keepers_.push_back(&function);
                continue;
            case Effect::shuffles:
                shuffled = true;
                continue;
            case Effect::shortens:
                if (shuffled) {
                    sampled_ = index + 1;
                    const bool drawn =
                        function.window_is_fixed() && function.window(0) <= sample_max;
                    window_ = drawn ? function.window(0) : 0;
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
        if (index == head_only_from_) {
            set.order_head_only();
        }
        functions_[index]->apply(set, context);
    }
}

bool Chain::keeps_at_head(const ServerView& server, const DecisionContext& context) const {
    return std::all_of(keepers_.begin(), keepers_.end(),
                       [&](const auto* keeper) { return keeper->keeps(server, context); });
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
            (!is_self && (!context.table.look(slot_index, reads_, context.request.service_hash,
                                              context.now, server) ||
                          !may_take_requests(server)))) {
            continue;
        }
        const ServerView& drawn = is_self ? set.self() : server;
        const bool kept = keeps_at_head(drawn, context);
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

bool Chain::apply_to_few(CandidacySet& set, const DecisionContext& context) const {
    set.begin(set.self(), context.table.slots_used(), [&](std::span<ServerView> room) {
        return context.table.look_at_peers(Detail::glance, context.request.service_hash,
                                           context.now, room);
    });
    if (set.servers().size() == 1) {
        return false;
    }
    for (const CandidacyFunction* const keeper : keepers_) {
        keeper->apply(set, context);
    }
    set.draw(functions_[sampled_ - 1]->window(set.size()), context.random);

    std::vector<std::uint32_t>& slots = set.slots();
    slots.clear();
    for (std::size_t position = 0; position < set.size(); ++position) {
        slots.push_back(set[position].slot_index);
    }
    ServerView server = set.self();
    set.begin_without(server);
    for (const std::uint32_t slot_index : slots) {
        if (slot_index == self_slot) {
            set.add_self();
        } else if (context.table.look(slot_index, reads_, context.request.service_hash, context.now,
                                      server)) {
            set.add(server);
        }
    }
    apply_from(sampled_, set, context);
    return true;
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
    if (chain.narrows()) {
        set.begin_without(server);
        if (chain.apply_to_few(set, context)) {
            take_decision(set, decision);
        } else {
            decision.no_candidate = true;
        }
        return;
    }

    set.begin(server, context.table.slots_used(), [&](std::span<ServerView> room) {
        return context.table.look_at_peers(chain.reads(), context.request.service_hash, context.now,
                                           room);
    });
    if (set.size() == 1) {
        decision.no_candidate = true;
        return;
    }

    chain.apply(set, context);
    take_decision(set, decision);
}

}  // namespace backhand
