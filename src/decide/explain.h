// Explanation: a decision that is written down as it is made.
//
// "Why did this request go there?" is answered with the facts the decision was made from: who could
// have taken the request and who could not, what each function of the chain did to the set, and
// whom that left.  Deciding in this way costs a thousand times what decide() does; nothing of it is
// on the way of an ordinary decision.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/exclusion.h"
#include "decide/chain.h"

namespace backhand {

std::string_view to_string(Exclusion exclusion);

struct Explanation {
    struct Server {
        ServerView view;
        std::string name;  // as announced: any bytes but NUL
        Exclusion exclusion{};
    };

    struct Place {
        std::uint32_t slot_index = 0;
        std::optional<double> score;  // if this step gave it one
    };

    // What one function made of the set.
    struct Step {
        std::string text;          // as it is written after `Backhand`
        std::vector<Place> order;  // head first
        std::string remark;        // in the function's own words; may be empty
    };

    std::string chain;
    std::vector<Server> servers;  // self first; all that are in the table
    std::vector<Step> steps;
    std::string verdict;  // one sentence

    // nullptr if there is none in this slot.
    const Server* server(std::uint32_t slot_index) const;
};

// As decide(), function by function and without shortcuts: `decision` is the real one.  Allocates.
Explanation explain(const Chain& chain, const DecisionContext& context, CandidacySet& set,
                    Decision& decision);

}  // namespace backhand
