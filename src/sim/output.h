// Results for people and for programs: a table, CSV, JSON.
#pragma once

#include <string>

#include "sim/campaign.h"

namespace backhand::sim {

// One line per contestant for each load.  With replications each mean has the half width of its
// 95 % confidence interval, and the last column compares it with the first contestant's, seed by
// seed.
std::string as_table(const Results& results);

// One line per load, contestant and replication.
std::string as_csv(const Results& results);

std::string as_json(const Results& results);

}  // namespace backhand::sim
