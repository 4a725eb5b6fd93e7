// SetHandler backhand-handler: the diagnostic tool's page.
#pragma once

#include <cstring>

#include "httpd/apache.h"

namespace backhand::httpd {

// Whether the report may be what the request's handler is set to: what every request can pay for.
inline bool may_be_report(const request_rec* r) {
    return r->handler != nullptr && *r->handler == 'b';
}

inline bool is_report(const request_rec* r) {
    return may_be_report(r) && std::strcmp(r->handler, "backhand-handler") == 0;
}

// Answers a request that has this handler.
int show_report(request_rec* r);

}  // namespace backhand::httpd
