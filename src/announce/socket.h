// The UDP sockets announcements leave and arrive by.
//
// Opened by httpd's parent at start, so that a port that cannot be had is a start-up error, and
// inherited by the moderator.  Several httpd of one host may share a port (SO_REUSEADDR).
#pragma once

#include <vector>

#include "announce/destination.h"
#include "base/address.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace backhand {

struct Sender {
    UniqueFd socket;
    Endpoint to;
};

// A non-blocking socket that sends to one destination, from the given interface if there is one.
Result<Sender> open_sender(const Destination& destination);

// Non-blocking sockets that hear what peers send to these destinations: one for each different
// group or address and port.
Result<std::vector<UniqueFd>> open_receivers(const std::vector<Destination>& destinations);

// The address of this host that the destination's hearers see.
Result<IpAddress> local_address_towards(const Destination& destination);

}  // namespace backhand
