// Scenario files: TOML, with chains in httpd's own syntax.  docs/simulator.md describes them.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "sim/scenario.h"

namespace backhand::sim {

// Error malformed: "file:line: what is there: expected what would be right".
Result<Scenario> read_scenario_file(const std::string& path);

// `path` is for errors, and where relative names of traces begin.
Result<Scenario> read_scenario(std::string_view text, const std::string& path);

// "10 ms", "1.5 s", "100 us", "2 min": in nanoseconds.
Result<double> parse_duration(std::string_view text);

}  // namespace backhand::sim
