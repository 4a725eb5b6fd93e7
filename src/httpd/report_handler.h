// SetHandler backhand-handler: the diagnostic tool's page.
#pragma once

#include "httpd/apache.h"

namespace backhand::httpd {

constexpr const char* report_handler = "backhand-handler";

// Answers a request that has this handler.
int show_report(request_rec* r);

}  // namespace backhand::httpd
