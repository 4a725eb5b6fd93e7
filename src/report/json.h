// The report for programs: one JSON object, for `backhand status`, monitoring and tests.
//
// Boot ids are decimal strings, because they need 64 bits and many JSON readers have 53.
#pragma once

#include <string>

#include "report/snapshot.h"

namespace backhand {

// Always valid JSON in valid UTF-8, whatever bytes a peer has put into its names: what is not
// UTF-8 becomes U+FFFD.
std::string to_json(const ReportSnapshot& snapshot);

}  // namespace backhand
