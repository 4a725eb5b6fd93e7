// What `backhand status` does besides fetching: where the report lies, and how it reads in a
// terminal.
//
// Works on the JSON text alone, so that the program can look at a server of another version:
// a number that is missing there reads as "-".
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace backhand {

// Completes what an administrator types: "web1:8080" is http://web1:8080/backhand/?format=json.
// malformed if it cannot be an http or https URL.
Result<std::string> status_url(std::string_view typed);

// The servers as an aligned table, then the counters that are not zero.  Printable ASCII only:
// names came over the network, and a terminal obeys more than letters.
Result<std::string> status_table(std::string_view json);

// The same JSON, indented; ASCII only as well.
Result<std::string> status_json(std::string_view json);

}  // namespace backhand
