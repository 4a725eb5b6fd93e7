// Results as one HTML page that needs nothing else: tables, and plots drawn as SVG.
#pragma once

#include <string>

#include "sim/campaign.h"

namespace backhand::sim {

std::string as_html(const Results& results);

}  // namespace backhand::sim
