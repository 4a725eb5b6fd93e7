// The built-in candidacy functions.
//
// From the seed, with the seed's meaning and defaults: byAge [seconds], byRandom, byLogWindow,
// byCPU, byLoad, byCost.  From the original's later versions: byLoad's bias, byBusyChildren [bias],
// bySession [identifier], HTTPRedirectToName [format], HTTPRedirectToIP, addSelf, removeSelf,
// addPrediction.
// Ours: byInFlight, byLatency, byWindow n, preferSelf [margin], byHotCold [quantile], byWeighted,
// byInterpretedLoad, byHealth, bySlowStart [seconds], and `auto`, which stands for a whole chain.
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

// The cost of the resources a server has in use (Amir, Awerbuch, Borgstrom: "A Cost-Benefit
// Framework for Online Management of a Metacomputing System", ICE-98), in the form for requests
// whose demand is not known beforehand:
//
//     base^(memory used / memory total) + base^(load per CPU / load_max)
//         + base^(workers busy / workers there may be)
//
// `base` is the number of servers, but at least 2: with one server every cost would be 1.
// `load_max` is a power of two not below any load per CPU seen on any server.
double cost_of(const LoadReport& load, std::uint32_t servers_count, std::uint32_t load_max);

// By how much that rises with one more request, of which it is known how long such requests take:
// it is a job, and occupies a worker with a worker's usual share of the memory in use, for `demand`
// of a second.
double added_cost_of(const LoadReport& load, std::uint32_t servers_count, std::uint32_t load_max,
                     Nanoseconds demand);

}  // namespace backhand
