// Words an Explanation: as text for a terminal, as JSON for scripts, and as one line for a header
// field.
#pragma once

#include <string>
#include <vector>

#include "decide/explain.h"

namespace backhand {

// What is said around the explanation itself, one sentence each.
using Remarks = std::vector<std::string>;

// Printable ASCII only: names came over the network, and a terminal obeys more than letters.
std::string explanation_text(const Explanation& explanation, const Remarks& remarks);

std::string explanation_json(const Explanation& explanation, const Remarks& remarks);

// "byAge 2: web1 web2 web3; byInFlight: web2=1 web3=4 web1=7; Sent to 10.0.0.2:80."  Printable
// ASCII, at most `bytes_max` bytes.
std::string explanation_line(const Explanation& explanation, std::size_t bytes_max);

}  // namespace backhand
