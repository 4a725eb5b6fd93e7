// Deciding, for the request at hand: whether a chain applies to it at all, and what follows.
#pragma once

#include "httpd/apache.h"

namespace backhand::httpd {

// Hook handler, before all others: by now access control has run, the directory's configuration is
// known, and the request is still the client's.  DECLINED: this server's own handlers serve it.
int decide_request(request_rec* r);

}  // namespace backhand::httpd
