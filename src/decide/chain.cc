#include "decide/chain.h"

#include <algorithm>

#include "decide/builtin.h"

namespace backhand {

namespace {

bool may_take_requests(const ServerView& peer, const DecisionContext& context) {
    // A report of idle workers justifies only so many sends.
    const bool has_idle_worker = peer.workers_idle > peer.sent_since;
    return peer.proven && has_idle_worker && !is_silent(peer) &&
           !peer.load.has(ServerFlag::leaving) &&
           !context.table.is_ejected(peer.slot_index, context.now);
}

}  // namespace

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
    functions_.push_back(std::move(function));
}

void Chain::switch_off() {
    functions_.clear();
    text_ = "off";
}

void Chain::apply(CandidacySet& set, const DecisionContext& context) const {
    for (const auto& function : functions_) {
        function->apply(set, context);
    }
}

void decide(const Chain& chain, const DecisionContext& context, CandidacySet& set,
            Decision& decision) {
    decision.peers.clear();
    decision.no_candidate = false;

    ServerView server;
    if (!context.table.view(self_slot, 0, context.now, server)) {
        decision.no_candidate = true;
        return;
    }
    server.serving -= std::min(server.serving, 1U);
    set.begin(server);

    const std::uint32_t slots_used = context.table.slots_used();
    for (std::uint32_t index = self_slot + 1; index < slots_used; ++index) {
        if (context.table.view(index, context.request.service_hash, context.now, server) &&
            may_take_requests(server, context)) {
            set.add(server);
        }
    }
    if (set.size() == 1) {
        decision.no_candidate = true;
        return;
    }

    chain.apply(set, context);
    decision.no_candidate = set.empty();
    for (std::size_t position = 0; position < set.size() && !set[position].is_self(); ++position) {
        decision.peers.push_back(set[position].slot_index);
    }
}

}  // namespace backhand
