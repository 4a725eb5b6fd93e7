#include "decide/explain.h"

#include <algorithm>

namespace backhand {

namespace {

std::string number_text(double number) {
    std::string text = std::to_string(number);
    text.erase(text.find_last_not_of('0') + 1);
    if (text.ends_with('.')) {
        text.pop_back();
    }
    return text;
}

std::vector<Explanation::Place> places_in(const CandidacySet& set,
                                          const std::vector<std::optional<double>>& scores_before) {
    std::vector<Explanation::Place> places;
    for (std::size_t position = 0; position < set.size(); ++position) {
        const std::uint32_t slot_index = set[position].slot_index;
        const auto score = set.score(position);
        const bool is_new = score != scores_before[slot_index];
        places.push_back({slot_index, is_new ? score : std::nullopt});
    }
    return places;
}

std::string verdict_on(const Explanation& explanation, const Decision& decision,
                       bool set_was_empty) {
    const auto name_of = [&explanation](std::uint32_t slot_index) {
        const Explanation::Server* const server = explanation.server(slot_index);
        return server == nullptr ? "slot " + std::to_string(slot_index)
                                 : server->view.load.contact.to_string();
    };
    if (decision.peers.empty()) {
        return set_was_empty ? "Served here: the chain left nobody."
                             : "Served here: self is the head.";
    }
    std::string verdict = decision.redirect != nullptr ? "The client is sent to " : "Sent to ";
    verdict += name_of(decision.peers.front());
    if (decision.redirect == nullptr) {
        for (std::size_t index = 1; index < decision.peers.size(); ++index) {
            verdict += (index == 1 ? "; if it fails, to " : ", ") + name_of(decision.peers[index]);
        }
        verdict += decision.peers.size() > 1 ? ", or served here" : "; if it fails, served here";
    }
    return verdict + ".";
}

}  // namespace

std::string_view to_string(Exclusion exclusion) {
    switch (exclusion) {
        case Exclusion::none:
            return "candidate";
        case Exclusion::other_site:
            return "does not offer the site";
        case Exclusion::silent:
            return "silent";
        case Exclusion::unproven:
            return "unproven";
        case Exclusion::leaving:
            return "leaving";
        case Exclusion::ejected:
            return "ejected";
        case Exclusion::no_idle_worker:
            return "no idle worker";
    }
    return "";
}

const Explanation::Server* Explanation::server(std::uint32_t slot_index) const {
    const auto found = std::find_if(
        servers.begin(), servers.end(),
        [slot_index](const Server& server) { return server.view.slot_index == slot_index; });
    return found == servers.end() ? nullptr : &*found;
}

Explanation explain(const Chain& chain, const DecisionContext& context, CandidacySet& set,
                    Decision& decision) {
    Explanation result;
    result.chain = chain.text();
    decision = Decision{.peers = std::move(decision.peers)};
    decision.peers.clear();

    const std::uint32_t slots_used = context.table.slots_used();
    for (std::uint32_t index = self_slot; index < slots_used; ++index) {
        Explanation::Server server;
        if (!context.table.view(index, 0, context.now, server.view)) {
            continue;
        }
        if (const auto report = context.table.report(index)) {
            server.name = report->name_view();
        }
        ServerView as_candidate;
        if (index == self_slot) {
            server.view.serving -= std::min(server.view.serving, 1U);  // without this request
        } else if (context.table.view(index, context.request.service_hash, context.now,
                                      as_candidate)) {
            server.exclusion = exclusion_of(server.view);
        } else {
            server.exclusion = Exclusion::other_site;
        }
        result.servers.push_back(std::move(server));
    }
    if (result.servers.empty() || !result.servers.front().view.is_self()) {
        decision.no_candidate = true;
        result.verdict = "Served here: this server has not been measured yet.";
        return result;
    }

    const ServerView& self = result.servers.front().view;
    if (self.serving < chain.self_stays_below()) {
        result.verdict = "Served here: this server has " + std::to_string(self.serving) +
                         " other requests in progress, and the chain keeps a request below " +
                         number_text(chain.self_stays_below()) + ".";
        return result;
    }
    if (!chain.admits(context.request)) {
        result.verdict = "Served here: a filter of the chain does not match the request.";
        return result;
    }
    set.begin(self);
    for (const Explanation::Server& server : result.servers) {
        if (!server.view.is_self() && server.exclusion == Exclusion::none) {
            set.add(server.view);
        }
    }
    if (set.size() == 1) {
        decision.no_candidate = true;
        result.verdict = "Served here: no peer could take the request.";
        return result;
    }

    std::vector<std::optional<double>> scores(slots_used);
    chain.apply_each(set, context, [&](const CandidacyFunction& function, const std::string& text) {
        result.steps.push_back({text, places_in(set, scores), function.remark(set, context)});
        for (std::size_t position = 0; position < set.size(); ++position) {
            scores[set[position].slot_index] = set.score(position);
        }
    });
    take_decision(set, decision);
    result.verdict = verdict_on(result, decision, set.empty());
    return result;
}

}  // namespace backhand
