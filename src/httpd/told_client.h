// What peers are told of a client: the values of Backhand-Proxied and Backhand-Exchange.
//
// They are the same for nearly all requests of a connection, so they are kept with it.
#pragma once

#include <string>

#include "forward/request_head.h"
#include "httpd/apache.h"

namespace backhand::httpd {

struct ToldClient {
    std::string address;      // as httpd writes it
    ClientIdentity identity;  // but for the address
    std::string proxied;      // the values
    std::string exchange;
};

// Of the client that made the request; until the next request of its connection.  nullptr: its
// address is none.
const ToldClient* told_client(request_rec* r);

}  // namespace backhand::httpd
