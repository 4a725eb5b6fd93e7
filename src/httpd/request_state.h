// RequestState: what the module remembers about a request in progress, and the exact counting of
// it.
//
// A request counts as *serving* from post_read_request until its response has been handed on: by
// httpd's event MPM to a connection that it drains without a worker, elsewhere to the network.  An
// idle connection counts for nothing.  While a request is forwarded to a peer it counts as
// *forwarding* instead.  The counts are kept in this child's cell of the cluster table, and so is
// how long the request took.
#pragma once

#include "base/clock.h"
#include "base/stopwatch.h"
#include "forward/request_head.h"
#include "httpd/apache.h"
#include "httpd/config.h"

namespace backhand::httpd {

class Instance;

// httpd's handles of filters: looking them up by name would cost more than they do.
struct ResponseFilters {
    // Where a response is drained without a worker; nullptr elsewhere: there log_transaction tells.
    ap_filter_rec_t* end = nullptr;
    ap_filter_rec_t* news = nullptr;
    // httpd's own, which a peer's response must not meet: its ranges have been cut, its length is
    // known.
    ap_filter_rec_t* byte_range = nullptr;
    ap_filter_rec_t* content_length = nullptr;
};

struct RequestState {
    enum class Counted : std::uint8_t { nothing, serving, forwarding };

    Instance* instance = nullptr;
    Stopwatch watch;                         // runs from the beginning to the end
    std::uint32_t in_flight_at_arrival = 0;  // this request included
    Counted counted = Counted::nothing;
    bool proxied = false;            // it came from a peer, on a client's behalf
    bool https = false;              // and that client had spoken TLS
    bool stays_here = false;         // whatever the chain says
    bool visit_noted = false;        // in the fields that every module of mod_proxy sends
    const char* declined = nullptr;  // why this server sends it back to the peer
    // What the client sent, before this server's modules changed it for their own use.
    const apr_table_t* received_fields = nullptr;

    // Nothing has run for it, and it is no request of this server's: nobody logs it.
    bool is_sent_back_as_busy() const { return declined != nullptr && declined == declined::busy; }

    // Changes what the request counts as.
    void count_as(Counted what);

    // The request `r` is over.  Counts it and what it took, once.
    void end(const request_rec* r);

private:
    void count_served(const request_rec* r);
};

// The state of the client's request that `r` belongs to, also from a subrequest or an internal
// redirect.  nullptr: the module is not in use.
RequestState* state_of(const request_rec* r);

// The field, and the note, in which a client that may see it is told what was decided.
constexpr const char* trace_field = "Backhand-Trace";

// The state that `r` itself has: it is a client's request, and not one that httpd made for it.
inline RequestState* own_state_of(const request_rec* r) {
    return static_cast<RequestState*>(ap_get_module_config(r->request_config, &backhand_module));
}

// Hook post_read_request, before all others: makes the state, begins to count, and lets a peer's
// request be recognised.  Every request pays for what is done here, and in end_count().
int begin_count(request_rec* r) noexcept;

// The response to this request carries news of this server's load.
void carry_news(request_rec* r, RequestState& state);

// Hook post_read_request, after all others: keeps the fields as received, for a peer whose modules
// will change them again; not where the request will be served here because there is nothing else
// to do.  mod_remoteip has taken out by then what concerned this server only;
// mod_cache and mod_headers have not put in anything yet.
int keep_received_fields(request_rec* r) noexcept;

// Hook log_transaction, before all others: the request is over, however it ended.
int end_count(request_rec* r) noexcept;

// Registers the output filters.  Called with the hooks.
void register_response_filters();
ResponseFilters response_filters();

}  // namespace backhand::httpd
