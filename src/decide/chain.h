// A chain of candidacy functions, as written in the configuration, and the decision it makes.
//
//     Backhand byAge 2
//     Backhand byRandom
//     Backhand byLogWindow
//     Backhand byLoad
//
// Which servers may be candidates at all is not left to it: cluster/exclusion.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "decide/candidacy.h"

namespace backhand {

class Chain {
public:
    // Appends a built-in function by the name used in `Backhand name [argument]`.
    // Error malformed: no such function, or an argument it does not take.
    Status append(std::string_view name, std::string_view argument);

    void append(std::unique_ptr<const CandidacyFunction> function, const std::string& text);

    // `Backhand off`: no decision is made here, whatever an outer section says.
    void switch_off();

    bool is_off() const { return functions_.empty(); }

    // The configuration lines, for the report: "byAge 2, byRandom, byLogWindow, byLoad".
    const std::string& text() const { return text_; }

    void apply(CandidacySet& set, const DecisionContext& context) const;

    // As apply(), and calls after(const CandidacyFunction&, const std::string& text) once each
    // function has been applied.
    template <class After>
    void apply_each(CandidacySet& set, const DecisionContext& context, After after) const {
        for (std::size_t index = 0; index < functions_.size(); ++index) {
            functions_[index]->apply(set, context);
            after(*functions_[index], texts_[index]);
        }
    }

    // False if a function has it that this request is served here.
    bool admits(const RequestView& request) const;

    // With fewer requests in progress than this, self serves the request, whatever the cluster does
    // meanwhile: there is nothing to decide.
    double self_stays_below() const { return self_stays_below_; }

    // How closely its functions look at servers.
    Detail reads() const { return reads_; }

    // True if the chain begins by drawing a few servers at random, whose number is known
    // beforehand.
    bool samples() const { return window_ != 0; }

    // True if the chain begins by keeping a few at random of all that its filters leave.
    bool narrows() const { return sampled_ != 0; }

    // What apply() does, for a chain that samples(): draws the few directly instead of looking at
    // every server first.  The cost is then the same at any size of the cluster, and so is the
    // distribution of the outcome.  `set` must have been begun without self.  False if too few
    // servers could be drawn: then they have to be looked at one by one.
    bool apply_to_sample(CandidacySet& set, const DecisionContext& context) const;

    // ---- what becomes of the decision, for the functions that want to know ----

    bool wants_feedback() const { return !told_.empty(); }

    void sent(const RequestView& request, const ServerView& chosen) const;
    void ended(const RequestView& request, std::uint32_t slot_index, const ForwardEnd& end) const;

    // The same, for a chain that narrows(): takes a glance at every server, and has a close look at
    // the few only.  False if no peer could take the request.
    bool apply_to_few(CandidacySet& set, const DecisionContext& context) const;

private:
    bool keeps_at_head(const ServerView& server, const DecisionContext& context) const;
    void find_shortcuts();
    bool draw(CandidacySet& set, const DecisionContext& context) const;
    void apply_from(std::size_t first, CandidacySet& set, const DecisionContext& context) const;

    std::vector<std::unique_ptr<const CandidacyFunction>> functions_;
    std::vector<const CandidacyFunction*> told_;  // those that want feedback
    std::vector<std::string> texts_;              // of functions_
    std::string text_;

    // What find_shortcuts() found.  So many functions at the head amount to keeping a few at
    // random of those that `keepers_` among them keep; how many, the last of them says, and if that
    // is always the same, `window_`.
    std::size_t sampled_ = 0;
    std::size_t window_ = 0;
    std::vector<const CandidacyFunction*> keepers_;
    Detail reads_ = Detail::glance;
    std::size_t head_only_from_ = 0;  // from this function on only the head matters
    double self_stays_below_ = 0;
};

// Tells a chain what becomes of one request.
struct ForwardFeedback {
    const Chain& chain;
    const RequestView& request;

    void sent(const ServerView& chosen) const {
        if (chain.wants_feedback()) {
            chain.sent(request, chosen);
        }
    }

    void ended(std::uint32_t slot_index, const ForwardEnd& end) const {
        if (chain.wants_feedback()) {
            chain.ended(request, slot_index, end);
        }
    }
};

struct Decision {
    // Peers to try in this order before self; empty: serve here.  At most CandidacySet::head_size,
    // which is more than are ever tried.
    std::vector<std::uint32_t> peers;
    // The chain left nobody, or nobody but self was a candidate to begin with.
    bool no_candidate = false;
    // How the client is sent to the first of them; nullptr: its request is forwarded.
    const Redirect* redirect = nullptr;
};

// Reads the decision off the set that the chain has left.  REQUIRES: decision.peers is empty.
void take_decision(const CandidacySet& set, Decision& decision);

// Decides who serves the request.  `set` is room to work in; `decision.peers` is overwritten.
// Self's own count includes the request being decided about; it is taken off before comparing.
void decide(const Chain& chain, const DecisionContext& context, CandidacySet& set,
            Decision& decision);

}  // namespace backhand
