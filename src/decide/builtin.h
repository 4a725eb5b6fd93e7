// The built-in candidacy functions.
//
// From the seed, with the seed's meaning and defaults: byAge [seconds], byRandom, byLogWindow,
// byCPU, byLoad, byCost.  From the original's later versions: byLoad's bias, byBusyChildren [bias],
// bySession [identifier], HTTPRedirectToName [format], HTTPRedirectToIP, addSelf, removeSelf,
// addPrediction.
// Ours: byInFlight, byLatency, byWindow n, preferSelf [margin], byHotCold [quantile], byWeighted,
// byInterpretedLoad, byHealth, bySlowStart [seconds], byProbe [n], and `auto`, which stands for a whole chain.
// Filters by what the request asks for: byHost pattern, byPath pattern, byHeader name pattern.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "decide/candidacy.h"

namespace backhand {

struct NamedFunction {
    std::unique_ptr<const CandidacyFunction> function;
    std::string text;  // as it would be written after `Backhand`
};

// One function for a plain name, several for `auto`.
// Error malformed names the function or the argument, and what would be right.
Result<std::vector<NamedFunction>> make_builtin(std::string_view name, std::string_view argument);

}  // namespace backhand
