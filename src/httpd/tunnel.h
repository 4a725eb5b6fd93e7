// A connection that has become another protocol's: what the client sends goes to the peer and what
// the peer sends to the client, until both have ended or nothing has come for a while.
//
// Between the client's connection filters (TLS among them) and the peer's socket.  Occupies the
// worker for as long as it lasts.
#pragma once

#include <string_view>

#include "base/clock.h"
#include "httpd/apache.h"

namespace backhand::httpd {

// Returns when it is over.  `from_peer` has come from the peer already.
void run_tunnel(request_rec* r, int peer, std::string_view from_peer, Nanoseconds idle_limit);

}  // namespace backhand::httpd
