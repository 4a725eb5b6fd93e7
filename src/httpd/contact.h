// Where peers reach this server: its contact, and every other endpoint that leads here as well.
//
// Asked once httpd's listeners are open, by the parent.
#pragma once

#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "httpd/config.h"

namespace backhand::httpd {

// BackhandSelf, or the first plain Listen at the address that announcements are sent from.
// REQUIRES: there is a destination.
Result<Endpoint> find_contact(const GlobalSettings& settings);

// The endpoints at which peers would reach this very server, whichever of its addresses they took.
std::vector<Endpoint> listening_endpoints();

}  // namespace backhand::httpd
