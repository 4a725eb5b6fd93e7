// Who the client is: what a peer says of a request it forwards, and whom to believe.
//
// Backhand-Proxied carries the client's address.  It counts only if the TCP connection comes from a
// live member of the cluster within AcceptStats; from anyone else it is removed and ignored.  Then
// the request is served as if the client had connected here: address, virtual host, scheme, port.
#pragma once

#include "httpd/apache.h"
#include "httpd/config.h"
#include "httpd/request_state.h"

namespace backhand::httpd {

struct ToldClient;

struct ConnectionState {
    // What a forwarded request changed, to be put back before the next one.
    apr_sockaddr_t* own_local_address = nullptr;
    apr_sockaddr_t client_facing_address{};
    apr_port_t own_client_port = 0;
    bool https = false;

    // Of the last request that was forwarded from here; nullptr: none was yet.
    ToldClient* told = nullptr;

    // Whether it keeps a worker now (kept_worker.h), and when it last gave one back; 0: not yet.
    bool is_kept = false;
    MonotonicTime left_at = 0;
};

inline void set_port(apr_sockaddr_t& address, apr_port_t port) {
    address.port = port;
    address.sa.sin.sin_port = htons(port);  // at the same place for IPv6
}

inline ConnectionState* connection_state_of(const conn_rec* connection) {
    return static_cast<ConnectionState*>(
        ap_get_module_config(connection->conn_config, &backhand_module));
}

// The same, made if there is none.
ConnectionState& connection_state(conn_rec* connection);

// Puts back what was changed.
inline void forget_client(conn_rec* connection, ConnectionState& state) {
    connection->local_addr = state.own_local_address;
    set_port(*connection->client_addr, state.own_client_port);
    state.https = false;
}

// A request whose Backhand-Proxied is this has come in: in post_read_request, before all others.
int restore_client(request_rec* r, RequestState& state, const char* proxied) noexcept;

// Tells applications what restore_client() has found.  Once more for what an internal redirect (of
// mod_rewrite in .htaccess, say) leads to: it begins with an environment of its own.
void restore_environment(request_rec* r) noexcept;

// Hook of mod_proxy, which passes a request on: if it came from a peer, whoever gets it next is
// told (visited_field).  Only mod_proxy's own copy of the fields is changed.
int note_visit(request_rec* r) noexcept;

// The same for mod_proxy_http2, which calls no such hook and sends the request's own fields: before
// the handler runs that will, or may if a balancer has yet to choose.
void note_visit_over_http2(request_rec* r) noexcept;

// Hooks http_scheme and default_port: those of the client's connection.
const char* restored_scheme(const request_rec* r);
apr_port_t restored_port(const request_rec* r);

// Hooks of mod_ssl's interface: expressions that ask whether the client spoke TLS.
int restored_is_ssl(conn_rec* connection);
const char* restored_ssl_variable(apr_pool_t* pool, server_rec* server, conn_rec* connection,
                                  request_rec* r, const char* name);

// Hook pre_config: stands in front of two providers of `Require`.
//   local  is never satisfied by an address that a peer reported: a client is local to the server
//   it
//          connected to and to no other.  What it admits here is served here.
//   ssl    is satisfied if the client had spoken TLS to the forwarder.
int wrap_requirements(apr_pool_t* pool, apr_pool_t*, apr_pool_t*);

}  // namespace backhand::httpd
