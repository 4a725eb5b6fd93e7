// RequestState: what the module remembers about a request in progress, and the exact counting of
// it.
//
// A request counts as *serving* from post_read_request until its response has been handed on
// completely: neither an idle connection counts, nor a slow client that httpd's event MPM only
// drains.  While it is forwarded to a peer it counts as *forwarding* instead.  The counts are kept
// in this child's cell of the cluster table.
#pragma once

#include "cluster/table.h"
#include "httpd/apache.h"

namespace backhand::httpd {

class Instance;

struct RequestState {
    enum class Counted : std::uint8_t { nothing, serving, forwarding };

    Instance* instance = nullptr;
    Counted counted = Counted::nothing;
    bool proxied = false;            // it came from a peer, on a client's behalf
    bool https = false;              // and that client had spoken TLS
    const char* declined = nullptr;  // why this server sends it back to the peer
    bool news_added = false;         // the response carries our load
    bool stays_here = false;         // whatever the chain says
    // What the client sent, before this server's modules changed it for their own use.
    const apr_table_t* received_fields = nullptr;

    // Changes what the request counts as.
    void count_as(Counted what);
};

// The state of the client's request that `r` belongs to, also from a subrequest or an internal
// redirect.  nullptr: the module is not in use.
RequestState* state_of(const request_rec* r);

// Hook create_request: attaches the state and the filter that sees the response's end.
int attach_state(request_rec* r);

// Hook post_read_request, after all others: keeps the fields as received, for a peer whose modules
// will change them again.  mod_remoteip has taken out by then what concerned this server only;
// mod_cache and mod_headers have not put in anything yet.
int keep_received_fields(request_rec* r);

// Hook log_transaction: the request is over, however it ended.
int end_count(request_rec* r);

// Registers the output filter.  Called with the hooks.
void register_count_filter();

}  // namespace backhand::httpd
