// Keeping the worker of a connection whose requests follow closely on each other.
//
// httpd's event MPM takes a connection from its worker after each response, and gives it to a
// worker again once the next request is there: two threads more to wake for every request, which
// costs more than everything this module does to forward one.  A client that is itself a server (a
// proxy, a cache, a peer) sends its next request within moments; a person's browser seldom does. So
// where forwarded requests have followed closely, the worker waits that moment for the next.
//
// It gives up soon, and never so many wait that fewer than half of a child's workers are free: new
// connections find one.  The other MPMs leave every connection its worker anyway; nothing is done
// there.
#pragma once

#include "httpd/apache.h"

namespace backhand::httpd {

// Hook process_connection, before httpd's own, which under the event MPM answers one request each
// time it is called.
int keep_worker(conn_rec* connection) noexcept;

}  // namespace backhand::httpd
