// The report for people: one page that shows what the decision maker knows.
//
// Self-contained and without scripts, so that it works in a text browser on the very machine that
// is in trouble, and under any Content-Security-Policy that allows inline style.
#pragma once

#include <string>

#include "report/snapshot.h"

namespace backhand {

// A complete UTF-8 document.  Whatever came from the network or from configuration is escaped.
std::string to_html(const ReportSnapshot& snapshot);

}  // namespace backhand
