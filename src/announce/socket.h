// The UDP sockets announcements leave and arrive by.
//
// Opened by httpd's parent at start, so that a port that cannot be had is a start-up error, and
// inherited by the moderator.  Several httpd of one host may share a port (SO_REUSEADDR).
//
// Which sockets hear which datagrams is the kernel's choice, and three of its rules shape this
// file: a socket bound to a group or a broadcast address hears nothing else; one bound to every
// address hears broadcasts too, so there must be no second one for them; and a unicast datagram
// reaches one socket only, the most closely bound one and of equals the last.
#pragma once

#include <vector>

#include "announce/destination.h"
#include "base/address.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace backhand {

// What the kernel may keep of announcements until the moderator reads them; it doubles the number
// to make room for its own.  A thousand servers that announce in the same moment need 2.3 MiB of
// the 4 MiB that result, see AReceiver.HasRoomForAThousandServersThatAnnounceAtOnce.
constexpr int receive_buffer_bytes = 2 << 20;

struct Sender {
    UniqueFd socket;
    Endpoint to;
};

// A non-blocking socket that sends to one destination, from the given interface if there is one.
Result<Sender> open_sender(const Destination& destination);

// Non-blocking sockets that hear what peers send to these destinations, each datagram once.  A
// group is heard on the interface of `from`, or where routing has it; a single address means that
// this server is somebody's destination too, and listens on `from` or on every address.
Result<std::vector<UniqueFd>> open_receivers(const std::vector<Destination>& destinations);

// The address of this host that the destination's hearers see and can connect to.  An error names
// the directive: it is printed as it is.
Result<IpAddress> local_address_towards(const Destination& destination);

}  // namespace backhand
