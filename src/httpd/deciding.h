// Deciding, for the request at hand: whether a chain applies to it at all, and what follows.
#pragma once

#include "httpd/apache.h"

namespace backhand::httpd {

// Hook handler, before all others: by now access control has run, the directory's configuration is
// known, and the request is still the client's.  DECLINED: this server's other handlers serve it.
int handle_request(request_rec* r) noexcept;

}  // namespace backhand::httpd
