// SetHandler backhand-handler: the diagnostic tool's page.
#pragma once

#include "httpd/apache.h"

namespace backhand::httpd {

// Hook handler.
int show_report(request_rec* r);

}  // namespace backhand::httpd
