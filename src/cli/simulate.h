// `backhand simulate`: runs the scenarios of files, and shows what came out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"

namespace backhand {

struct SimulateOptions {
    std::string file;
    std::string format = "table";
    std::string html;    // empty: no report
    std::string output;  // empty: standard output
    unsigned jobs = 0;   // 0: as many as there are CPUs
    bool quiet = false;  // no progress
    bool trial = false;  // read the file, and say what is in it
    std::optional<std::uint64_t> seed;
    std::optional<std::uint32_t> replications;
    std::optional<std::uint64_t> requests;
};

// Error malformed: what was typed, or what is in the file, is wrong.
Status run_simulate(const SimulateOptions& options);

}  // namespace backhand
