#include "httpd/identity.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "base/text.h"
#include "forward/request_head.h"
#include "forward/request_signature.h"
#include "httpd/apache.h"
#include "httpd/c_string.h"
#include "httpd/guard.h"
#include "httpd/instance.h"
#include "httpd/request_state.h"

APLOG_USE_MODULE(backhand);

namespace backhand::httpd {

namespace {

constexpr const char* wrapped_local_name = "backhand-wrapped-local";
constexpr const char* wrapped_ssl_name = "backhand-wrapped-ssl";

// A forwarder that has fallen silent is still believed while its last requests come in.
constexpr Nanoseconds member_silence_max = std::chrono::seconds{10};

void remove_our_fields(request_rec* r) {
    apr_table_unset(r->headers_in, proxied_field.data());
    apr_table_unset(r->headers_in, exchange_field.data());
    apr_table_unset(r->headers_in, signature_field.data());
}

std::optional<IpAddress> tcp_sender(const conn_rec* connection) {
    // Never useragent_ip: other modules take that from headers.
    return IpAddress::parse(connection->client_ip);
}

void set_client_address(request_rec* r, const ClientIdentity& identity) {
    const std::string text = identity.client.to_string();
    // With APR_UNSPEC the resolver would ask the kernel which families this host has.
    const apr_int32_t family = identity.client.is_v4() ? APR_INET : APR_INET6;
    apr_sockaddr_t* address = nullptr;
    if (apr_sockaddr_info_get(&address, text.c_str(), family, identity.client_port, 0, r->pool) ==
        APR_SUCCESS) {
        r->useragent_addr = address;
        r->useragent_ip = apr_pstrdup(r->pool, text.c_str());
    }
}

// Chooses the virtual host again, as if the connection had come in on the port that the client had
// connected to.  The connection itself keeps its own, whose time-outs govern it.
void choose_virtual_host(request_rec* r, std::uint16_t local_port) {
    conn_rec* const connection = r->connection;
    ConnectionState& state = connection_state(connection);
    state.client_facing_address = *state.own_local_address;
    set_port(state.client_facing_address, local_port);

    server_rec* const own_server = connection->base_server;
    void* const own_names = connection->vhost_lookup_data;
    connection->local_addr = &state.client_facing_address;
    // What httpd serves a connection with that no virtual host matches.
    connection->base_server = ap_server_conf;
    ap_update_vhost_given_ip(connection);
    r->server = connection->base_server;
    if (r->parsed_uri.hostname == nullptr) {
        r->hostname = nullptr;  // read again from the Host field
    }
    ap_update_vhost_from_headers(r);
    r->per_dir_config = r->server->lookup_defaults;
    connection->base_server = own_server;
    connection->vhost_lookup_data = own_names;
}

bool offers_site(const server_rec* server, std::uint64_t site) {
    const std::vector<std::string>& services = server_config(server).services;
    return std::any_of(services.begin(), services.end(), [site](const std::string& service) {
        return hash_ignoring_case(service) == site;
    });
}

void tell_applications(request_rec* r, const RequestState& state) {
    apr_table_setn(r->subprocess_env, "BACKHAND_VIA", r->connection->client_ip);
    if (state.https) {
        apr_table_setn(r->subprocess_env, "HTTPS", "on");
    }
}

void adopt(request_rec* r, RequestState& state, const ClientIdentity& identity) {
    conn_rec* const connection = r->connection;
    state.proxied = true;
    state.https = identity.https;
    choose_virtual_host(r, identity.local_port);
    connection_state(connection).https = identity.https;
    set_client_address(r, identity);
    // REMOTE_PORT, of scripts and expressions, is the connection's.  Its address stays: that is
    // whom we believe.
    set_port(*connection->client_addr, identity.client_port);
    tell_applications(r, state);
    // That of the forwarder, who waits for a word before it sends a long body; httpd has noted it.
    apr_table_unset(r->headers_in, "Expect");
    // What applications and logs see; the framing is ours.
    if (identity.version == HttpVersion::http_1_0) {
        r->protocol = apr_pstrdup(r->pool, "HTTP/1.0");
    } else if (identity.version == HttpVersion::http_2) {
        r->protocol = apr_pstrdup(r->pool, "HTTP/2.0");
    }
    // The limit is for clients; a forwarder's connection lives as long as it is of use.
    connection->keepalives = std::min(connection->keepalives, 1);
    state.instance->table.counters().add(Counter::proxied_accepted);
}

int send_back(const request_rec* r, RequestState& state, std::string_view why) {
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "declines a request that %s forwarded: %s",
                  r->connection->client_ip, why.data());
    state.instance->table.counters().add(Counter::proxied_declined);
    state.declined = why.data();
    return HTTP_SERVICE_UNAVAILABLE;
}

// With this request, every worker is at work.  The forwarder may know of an idle one, and whoever
// connects next to this server finds a worker.
bool is_busy(const ClusterTable& table) {
    const InFlight in_flight = table.cells().quick();
    ServerView self;
    return table.view(self_slot, 0, monotonic_now(), self) && self.load.workers_max > 1 &&
           in_flight.serving + in_flight.forwarding >= self.load.workers_max;
}

struct PeersFields {
    const char* proxied;
    const char* exchange;
    const char* signature;
};

// Where a signed request comes from.  nullopt: whatever it says, it is not signed by a member, for
// this server, a moment ago.
std::optional<ExchangeOrigin> origin_of(const request_rec* r, const Instance& instance,
                                        const PeersFields& fields) {
    const SignedRequest request{
        .method = text_of(r->method),
        .target = text_of(r->unparsed_uri),
        .host = text_of(apr_table_get(r->headers_in, "Host")),
        .proxied = fields.proxied,
        .exchange = fields.exchange,
        .destination = instance.self.load.contact,
    };
    const auto origin = verify_request(request, text_of(fields.signature), *instance.keys);
    const ClusterTable& table = instance.table;
    const bool meant_for_now = origin && origin->heard_boot_id == table.boot_id() &&
                               table.is_recent_measurement(origin->heard_measurement);
    return meant_for_now ? origin : std::nullopt;
}

// The application is to see what it would have seen, had the client come here.
void remove_via_of_forwarder(request_rec* r, const ClusterTable& table, std::uint32_t slot_index) {
    const std::string_view via = text_of(apr_table_get(r->headers_in, "Via"));
    ServerView forwarder;
    if (via.empty() || !table.view(slot_index, 0, monotonic_now(), forwarder)) {
        return;
    }
    const std::string_view rest = without_via_of(via, forwarder.load.contact.to_string());
    if (rest.empty()) {
        apr_table_unset(r->headers_in, "Via");
    } else if (rest.size() != via.size()) {
        apr_table_setn(r->headers_in, "Via", apr_pstrmemdup(r->pool, rest.data(), rest.size()));
    }
}

// A request whose fields are there and well formed, from an address that AcceptStats names.
int take_from_accepted(request_rec* r, RequestState& state, const ClientIdentity& identity,
                       const IpAddress& sender, const PeersFields& fields) {
    const Instance& instance = *state.instance;
    Counters& counters = instance.table.counters();
    carry_news(r, state);
    std::optional<ExchangeOrigin> origin;
    if (instance.keys) {
        origin = origin_of(r, instance, fields);
        if (!origin) {
            counters.add(Counter::proxied_unsigned);
            return send_back(r, state, declined::not_signed);
        }
    }
    const auto forwarder = instance.table.find_live_member(
        sender, origin ? std::optional{origin->boot_id} : std::nullopt, monotonic_now(),
        member_silence_max);
    if (!forwarder) {
        // Probably a member we have not heard of yet.  Serving it as the forwarder's own request
        // would be wrong, and nothing has been done for it: the forwarder serves it itself.
        return send_back(r, state, declined::unknown_member);
    }
    if (origin && !instance.table.exchange_numbers(*forwarder).take(origin->number)) {
        counters.add(Counter::proxied_replayed);
        return send_back(r, state, declined::replayed);
    }
    if (is_busy(instance.table)) {
        counters.add(Counter::proxied_busy);
        return send_back(r, state, declined::busy);
    }
    remove_via_of_forwarder(r, instance.table, *forwarder);
    adopt(r, state, identity);
    // The virtual hosts of the two servers may differ more than their names show.
    return offers_site(r->server, identity.site) ? OK : send_back(r, state, declined::other_site);
}

// A request that says it comes from a peer: from whom it may be believed.
[[gnu::cold]] int take_from_peer(request_rec* r, RequestState& state, const char* proxied) {
    const PeersFields fields{
        .proxied = proxied,
        .exchange = apr_table_get(r->headers_in, exchange_field.data()),
        .signature = apr_table_get(r->headers_in, signature_field.data()),
    };
    remove_our_fields(r);

    const Instance& instance = *state.instance;
    const auto identity =
        fields.exchange != nullptr ? parse_identity(proxied, fields.exchange) : std::nullopt;
    const auto sender = tcp_sender(r->connection);
    const bool complete = identity && (!instance.keys || fields.signature != nullptr);
    if (complete && sender && instance.settings().accept.contains(*sender)) {
        return take_from_accepted(r, state, *identity, *sender, fields);
    }
    // Passing it on could begin a circle of servers that do not know one another.
    state.stays_here = true;
    instance.table.counters().add(Counter::proxied_header_removed);
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  "removed %s from %s: malformed, not signed, or from no member of the cluster",
                  proxied_field.data(), r->connection->client_ip);
    return DECLINED;
}

}  // namespace

ConnectionState& connection_state(conn_rec* connection) {
    if (ConnectionState* const found = connection_state_of(connection)) {
        return *found;
    }
    auto* const made =
        new (apr_palloc(connection->pool, sizeof(ConnectionState))) ConnectionState{};
    made->own_local_address = connection->local_addr;
    made->own_client_port = connection->client_addr->port;
    ap_set_module_config(connection->conn_config, &backhand_module, made);
    return *made;
}

int restore_client(request_rec* r, RequestState& state, const char* proxied) noexcept {
    return guard([&] { return take_from_peer(r, state, proxied); }, HTTP_INTERNAL_SERVER_ERROR);
}

void restore_environment(request_rec* r) noexcept {
    if (const RequestState* const state = state_of(r); state != nullptr && state->proxied) {
        tell_applications(r, *state);
    }
}

int note_visit(request_rec* r) noexcept {
    const RequestState* const state = state_of(r);
    if (state != nullptr && state->proxied && !state->visit_noted) {
        apr_table_mergen(r->headers_in, visited_field.data(), state->instance->own_contact.c_str());
    }
    return DECLINED;
}

void note_visit_over_http2(request_rec* r) noexcept {
    const std::string_view where = text_of(r->filename);
    const bool perhaps =
        where.starts_with("proxy:h2") || (where.starts_with("proxy:balancer:") &&
                                          ap_find_linked_module("mod_proxy_http2.c") != nullptr);
    RequestState* const state = state_of(r);
    if (perhaps && state != nullptr) {
        note_visit(r);
        state->visit_noted = true;
    }
}

const char* restored_scheme(const request_rec* r) {
    const RequestState* const state = state_of(r);
    return state != nullptr && state->https ? "https" : nullptr;
}

apr_port_t restored_port(const request_rec* r) {
    constexpr apr_port_t https_port = 443;
    const RequestState* const state = state_of(r);
    return state != nullptr && state->https ? https_port : apr_port_t{0};
}

int restored_is_ssl(conn_rec* connection) {
    const ConnectionState* const state = connection_state_of(connection);
    return state != nullptr && state->https ? OK : DECLINED;
}

const char* restored_ssl_variable(apr_pool_t*, server_rec*, conn_rec* connection, request_rec*,
                                  const char* name) {
    const ConnectionState* const state =
        connection == nullptr ? nullptr : connection_state_of(connection);
    return state != nullptr && state->https && std::strcmp(name, "HTTPS") == 0 ? "on" : nullptr;
}

namespace {

// The provider that ours stands in front of.
const authz_provider* wrapped(const char* name) {
    return static_cast<const authz_provider*>(
        ap_lookup_provider(AUTHZ_PROVIDER_GROUP, name, AUTHZ_PROVIDER_VERSION));
}

authz_status check_local(request_rec* r, const char* line, const void* parsed) noexcept {
    const authz_provider* const original = wrapped(wrapped_local_name);
    RequestState* const state = state_of(r);
    if (original == nullptr || (state != nullptr && state->proxied)) {
        return AUTHZ_DENIED;
    }
    const authz_status status = original->check_authorization(r, line, parsed);
    if (state != nullptr && status == AUTHZ_GRANTED) {
        state->stays_here = true;
    }
    return status;
}

authz_status check_ssl(request_rec* r, const char* line, const void* parsed) noexcept {
    const authz_provider* const original = wrapped(wrapped_ssl_name);
    const RequestState* const state = state_of(r);
    if (state != nullptr && state->proxied && state->https) {
        return AUTHZ_GRANTED;
    }
    return original == nullptr ? AUTHZ_DENIED : original->check_authorization(r, line, parsed);
}

template <const char* const& Name>
const char* parse_wrapped(cmd_parms* cmd, const char* line, const void** parsed) noexcept {
    const authz_provider* const original = wrapped(Name);
    return original == nullptr || original->parse_require_line == nullptr
               ? nullptr
               : original->parse_require_line(cmd, line, parsed);
}

constexpr authz_provider guarded_local = {&check_local, &parse_wrapped<wrapped_local_name>};
constexpr authz_provider guarded_ssl = {&check_ssl, &parse_wrapped<wrapped_ssl_name>};

void wrap(apr_pool_t* pool, const char* name, const char* wrapped_name,
          const authz_provider& guarded) {
    const authz_provider* const original = wrapped(name);
    if (original != nullptr && original != &guarded) {
        ap_register_provider(pool, AUTHZ_PROVIDER_GROUP, wrapped_name, AUTHZ_PROVIDER_VERSION,
                             original);
        ap_register_provider(pool, AUTHZ_PROVIDER_GROUP, name, AUTHZ_PROVIDER_VERSION, &guarded);
    }
}

}  // namespace

int wrap_requirements(apr_pool_t* pool, apr_pool_t*, apr_pool_t*) {
    wrap(pool, "local", wrapped_local_name, guarded_local);
    wrap(pool, "ssl", wrapped_ssl_name, guarded_ssl);
    return OK;
}

}  // namespace backhand::httpd
