// Deciding, for the request at hand: whether a chain applies to it at all, and what follows.
#pragma once

#include "decide/candidacy.h"
#include "httpd/apache.h"

namespace backhand::httpd {

class HttpdFacts;

// Hook handler, before all others: by now access control has run, the directory's configuration is
// known, and the request is still the client's.  DECLINED: this server's other handlers serve it.
int handle_request(request_rec* r) noexcept;

// The request as candidacy functions see it; `facts` must live as long.
RequestView view_of(request_rec* r, const HttpdFacts& facts);

// Why the request is served here by what it is, whatever is decided, in words; nullptr: it may be
// forwarded.
const char* reason_to_stay(request_rec* r);

}  // namespace backhand::httpd
