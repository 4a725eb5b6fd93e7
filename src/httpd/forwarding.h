// Forwarding: the exchange with a peer on behalf of the client whose request is at hand.
#pragma once

#include <cstdint>
#include <span>

#include "decide/chain.h"
#include "httpd/apache.h"

namespace backhand::httpd {

class Instance;
struct RequestState;

// Tries the peers in order.  Returns
//   OK        a peer's response is with the client (or the client is gone)
//   DECLINED  no peer took the request, it has not been processed anywhere: serve it here
//   a status  what went wrong after a peer may have processed it, or while reading the client's
//   body
int forward_request(request_rec* r, RequestState& state, std::span<const std::uint32_t> peers,
                    const ForwardFeedback& feedback);

}  // namespace backhand::httpd
