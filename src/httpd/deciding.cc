#include "httpd/deciding.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "decide/explain.h"
#include "decide/redirect.h"
#include "forward/http1.h"
#include "httpd/apache.h"
#include "httpd/c_string.h"
#include "httpd/config.h"
#include "httpd/forwarding.h"
#include "httpd/guard.h"
#include "httpd/identity.h"
#include "httpd/instance.h"
#include "httpd/report_handler.h"
#include "httpd/request_facts.h"
#include "httpd/request_state.h"
#include "report/explanation.h"

namespace backhand::httpd {

namespace {

// Pages about this very server, and challenges addressed to it.
bool concerns_this_server(const request_rec* r) {
    constexpr std::array<std::string_view, 5> handlers = {
        "backhand-handler", "server-status", "server-info", "balancer-manager", "ldap-status"};
    constexpr std::string_view challenges = "/.well-known/acme-challenge/";
    const std::string_view handler = text_of(r->handler);
    return std::find(handlers.begin(), handlers.end(), handler) != handlers.end() ||
           text_of(r->uri).starts_with(challenges) ||
           text_of(r->parsed_uri.path).starts_with(challenges);
}

// RFC 6455 section 4.1.  Other protocols are spoken, or declined, by this server's own modules.
bool is_websocket_handshake(const request_rec* r, std::string_view protocol) {
    return equal_ignoring_case(protocol, "websocket") && r->method_number == M_GET &&
           r->header_only == 0 && r->proto_num == HTTP_VERSION(1, 1) &&
           list_has_token(text_of(apr_table_get(r->headers_in, "Connection")), "upgrade") &&
           apr_table_get(r->headers_in, "Content-Length") == nullptr &&
           apr_table_get(r->headers_in, "Transfer-Encoding") == nullptr;
}

bool has_client_certificate(request_rec* r) {
    const std::string_view verified =
        text_of(ap_ssl_var_lookup(r->pool, r->server, r->connection, r, "SSL_CLIENT_VERIFY"));
    return !verified.empty() && verified != "NONE";
}

// Ours come on top, and the peer has the same LimitRequestFields.
bool has_room_for_our_fields(const request_rec* r) {
    constexpr int ours_max = 4;
    const int limit = r->server->limit_req_fields;
    return limit == 0 || apr_table_elts(r->headers_in)->nelts + ours_max <= limit;
}

// A peer that got it from this cluster has passed it on by its own proxy, and here it is again.
bool has_been_at_member(const request_rec* r) {
    constexpr std::string_view between = ", \t";
    std::string_view visited = text_of(apr_table_get(r->headers_in, visited_field.data()));
    while (!visited.empty()) {
        const std::size_t end = std::min(visited.find_first_of(between), visited.size());
        const auto contact = Endpoint::parse(visited.substr(0, end));
        if (contact && instance_of(r)->table.find_contact(*contact)) {
            return true;
        }
        visited.remove_prefix(std::min(end + 1, visited.size()));
    }
    return false;
}

bool may_be_forwarded(request_rec* r, const RequestState& state) {
    return !state.proxied && !state.stays_here && reason_to_stay(r) == nullptr;
}

// Those that httpd could still start do not count: it may be unable to.
std::uint32_t running_workers(const LoadReport& load) {
    return std::min(load.workers_max, load.workers_busy + load.workers_idle);
}

// At most half of the workers may wait for peers: two servers that fill each other's workers would
// wait for each other for ever.  The request is counted first and the sum read afterwards, so that
// no two requests can both take the last place.
class ForwardingPlace {
public:
    ForwardingPlace(RequestState& state, const LoadReport& self) : state_(state) {
        state_.count_as(RequestState::Counted::forwarding);
        taken_ = state_.instance->child->tally &&
                 state_.instance->table.cells().quick().forwarding <= running_workers(self) / 2;
    }

    ForwardingPlace(const ForwardingPlace&) = delete;
    ForwardingPlace& operator=(const ForwardingPlace&) = delete;

    ~ForwardingPlace() {
        state_.count_as(served_ ? RequestState::Counted::nothing : RequestState::Counted::serving);
    }

    bool taken() const { return taken_; }

    // A peer has answered the request.
    void served() {
        served_ = true;
        state_.instance->child->tally.cell->forwarded.fetch_add(1, std::memory_order_relaxed);
    }

private:
    RequestState& state_;
    bool taken_ = false;
    bool served_ = false;
};

class RoomLease {
public:
    explicit RoomLease(RoomShelf& shelf) : shelf_(shelf), room_(shelf.take()) {}

    RoomLease(const RoomLease&) = delete;
    RoomLease& operator=(const RoomLease&) = delete;

    ~RoomLease() { shelf_.put_back(std::move(room_)); }

    DecisionRoom& operator*() { return *room_; }

private:
    RoomShelf& shelf_;
    std::unique_ptr<DecisionRoom> room_;
};

// What LogFormat can show of a decision: %{BACKHAND_REASON}e.
void note_reason(request_rec* r, const char* reason) {
    apr_table_setn(r->subprocess_env, "BACKHAND_REASON", reason);
}

// In a dry run: whom the request would have been sent to first.
void note_choice(request_rec* r, const ClusterTable& table, std::uint32_t slot_index) {
    ServerView chosen;
    if (table.view(slot_index, 0, monotonic_now(), chosen)) {
        apr_table_setn(r->subprocess_env, "BACKHAND_CHOICE",
                       apr_pstrdup(r->pool, chosen.load.contact.to_string().c_str()));
    }
}

void note_time(request_rec* r, Nanoseconds took) {
    constexpr std::size_t bytes_max = 24;
    char* const text = static_cast<char*>(apr_palloc(r->pool, bytes_max));
    const auto tenths_us = static_cast<std::uint64_t>(took.count()) / 100;
    char* end = std::to_chars(text, text + bytes_max, tenths_us / 10).ptr;
    *end++ = '.';
    *end++ = static_cast<char>('0' + tenths_us % 10);
    *end = '\0';
    apr_table_setn(r->subprocess_env, "BACKHAND_DECIDE_US", text);
}

// ---- Backhand-Trace ----

// Both ends of a header line, with room for what httpd allows.
constexpr std::size_t trace_bytes_max = 4000;

bool is_traced(const HttpdFacts& facts, const DirectoryConfig& config) {
    return config.trace != nullptr && config.trace->contains(facts.client());
}

// Kept as a note as well: what the peer answers replaces all fields.
void add_trace(request_rec* r, const std::string& text) {
    const char* const value = apr_pstrdup(r->pool, text.c_str());
    apr_table_setn(r->err_headers_out, trace_field, value);
    apr_table_setn(r->notes, trace_field, value);
}

// ---- redirects ----

bool is_same_host(std::string_view left, std::string_view right) {
    return !left.empty() && equal_ignoring_case(left, right);
}

// Sends the client to the peer.  DECLINED: it is there already, or the peer has no name that a
// client could use.
int redirect_client(request_rec* r, const ClusterTable& table, const Redirect& redirect,
                    std::uint32_t slot_index) {
    const auto host_in = [&](std::uint32_t index) {
        const auto report = table.report(index);
        return report ? redirect.host_of(report->name_view(), report->load.contact,
                                         text_of(r->hostname))
                      : std::string{};
    };
    const std::string host = host_in(slot_index);
    const std::string_view requested = text_of(r->hostname);
    if (host.empty() || is_same_host(host, requested) ||
        is_same_host(host_in(self_slot), requested)) {
        return DECLINED;
    }
    const bool https = text_of(ap_http_scheme(r)) == "https";
    apr_port_t port = ap_get_server_port(r);
    if (redirect.names_contact() && !https) {
        const auto report = table.report(slot_index);
        port = report ? report->load.contact.port : port;
    }
    const bool default_port = port == (https ? DEFAULT_HTTPS_PORT : DEFAULT_HTTP_PORT);
    const char* const location = apr_psprintf(
        r->pool, "%s://%s%s%s", ap_http_scheme(r), host.c_str(),
        default_port ? "" : apr_psprintf(r->pool, ":%u", unsigned{port}), r->unparsed_uri);
    apr_table_setn(r->headers_out, "Location", location);
    // 307 for what a browser would repeat as a GET.
    return r->method_number == M_GET ? HTTP_MOVED_TEMPORARILY : HTTP_TEMPORARY_REDIRECT;
}

// `self`: what this server said of itself last.
int forward(request_rec* r, RequestState& state, const LoadReport& self,
            std::span<const std::uint32_t> peers, const ForwardFeedback& feedback) {
    ForwardingPlace place{state, self};
    if (!place.taken()) {
        state.instance->table.counters().add(Counter::served_here_limit_reached);
        note_reason(r, "limit");
        return DECLINED;
    }
    const int status = forward_request(r, state, peers, feedback);
    if (status == OK) {
        place.served();
    }
    note_reason(r, status == OK ? "forwarded" : status == DECLINED ? "failure" : "error");
    return status;
}

int decide_and_forward(request_rec* r, RequestState& state, const DirectoryConfig& config) {
    Instance& instance = *state.instance;
    Counters& counters = instance.table.counters();
    counters.add(Counter::decisions);

    const HttpdFacts facts{r, instance.table.locations()};
    const RequestView request = view_of(r, facts);
    RoomLease lease{instance.child->rooms};
    Decision& decision = (*lease).decision;
    Random random = instance.child->random.fork();
    const MonotonicTime began_at = monotonic_now();
    const DecisionContext context{.request = request,
                                  .table = instance.table,
                                  .random = random,
                                  .now = began_at,
                                  .forwarding_cost = instance.table.forwarding_cost(began_at),
                                  .prober = &instance.child->prober};
    if (is_traced(facts, config)) {
        const Explanation explanation = explain(*config.chain, context, (*lease).set, decision);
        add_trace(r, explanation_line(explanation, trace_bytes_max));
    } else {
        decide(*config.chain, context, (*lease).set, decision);
    }
    note_time(r, elapsed(began_at, monotonic_now()));

    const ForwardFeedback feedback{*config.chain, request};
    if (decision.peers.empty()) {
        counters.add(decision.no_candidate ? Counter::served_here_no_candidate
                                           : Counter::served_here_by_choice);
        note_reason(r, decision.no_candidate ? "no-candidate" : "choice");
        if (config.self_redirect <= 0 || config.dry_run > 0) {
            return DECLINED;
        }
        constexpr std::array back_end = {self_slot};
        ServerView self;
        return instance.table.view(self_slot, 0, began_at, self)
                   ? forward(r, state, self.load, back_end, feedback)
                   : DECLINED;
    }
    if (config.dry_run > 0) {
        counters.add(Counter::decisions_dry_run);
        note_reason(r, "dry-run");
        note_choice(r, instance.table, decision.peers.front());
        return DECLINED;
    }
    if (decision.redirect == nullptr) {
        return forward(r, state, (*lease).set.self().load, decision.peers, feedback);
    }
    const int status =
        redirect_client(r, instance.table, *decision.redirect, decision.peers.front());
    counters.add(status == DECLINED ? Counter::served_here_by_choice : Counter::redirected);
    note_reason(r, status == DECLINED ? "redirected-here" : "redirected");
    return status;
}

// With nothing else to do the server keeps the request, whatever its peers are doing.  What the
// client sent was not kept either (keep_received_fields()).
bool came_when_idle(const RequestState& state, const Chain& chain) {
    return state.in_flight_at_arrival <= state.instance->idle_up_to && chain.self_stays_below() > 0;
}

bool is_idle_by_now(const RequestState& state, const Chain& chain) {
    const std::uint32_t serving = state.instance->table.cells().quick().serving;
    return static_cast<double>(serving) - 1 < chain.self_stays_below();
}

void trace_idle(request_rec* r, const RequestState& state, const DirectoryConfig& config) {
    if (is_traced(HttpdFacts{r, state.instance->table.locations()}, config)) {
        add_trace(r, "Served here: this server had nothing else to do.");
    }
}

[[gnu::noinline]] int handle_guarded(request_rec* r) noexcept {
    return guard(
        [r] {
            if (is_report(r)) {
                return show_report(r);
            }
            // Requests that httpd makes itself have none.
            RequestState* const state = own_state_of(r);
            if (state == nullptr || !chain_applies_to(r)) {
                return DECLINED;
            }
            const DirectoryConfig& config = directory_config(r);
            if (config.self_redirect <= 0 &&
                (came_when_idle(*state, *config.chain) || is_idle_by_now(*state, *config.chain))) {
                state->instance->table.counters().add(Counter::served_here_idle);
                if (config.trace != nullptr) {
                    trace_idle(r, *state, config);
                }
                return DECLINED;
            }
            return may_be_forwarded(r, *state) ? decide_and_forward(r, *state, config) : DECLINED;
        },
        HTTP_INTERNAL_SERVER_ERROR);
}

}  // namespace

RequestView view_of(request_rec* r, const HttpdFacts& facts) {
    return {
        .method = text_of(r->method),
        .host = text_of(r->hostname),
        .path = text_of(r->unparsed_uri),
        .service_hash = server_config(r->server).service_hash,
        .native = r,
        .facts = &facts,
    };
}

const char* reason_to_stay(request_rec* r) {
    if (r->assbackwards != 0) {
        return "HTTP/0.9";
    }
    if (r->proxyreq == PROXYREQ_PROXY || r->method_number == M_CONNECT) {
        return "a request to a forward proxy";
    }
    if (r->method_number == M_TRACE || text_of(r->unparsed_uri) == "*") {
        return "it is about this very server";
    }
    if (text_of(apr_table_get(r->headers_in, "Host")).empty()) {
        return "it has no Host field";
    }
    if (const char* const protocol = apr_table_get(r->headers_in, "Upgrade")) {
        if (!is_websocket_handshake(r, text_of(protocol))) {
            return "it has an Upgrade field that is not a WebSocket's";
        }
    }
    // A body that something here has read already cannot be passed on.
    if (r->read_length != 0 || r->kept_body != nullptr) {
        return "its body has been read here";
    }
    if (!has_room_for_our_fields(r)) {
        return "it has too many header fields";
    }
    if (concerns_this_server(r)) {
        return "its handler, or its path, is about this very server";
    }
    if (has_been_at_member(r)) {
        return "it has been forwarded in this cluster before";
    }
    return has_client_certificate(r) ? "its client has a TLS certificate" : nullptr;
}

// Every request pays for what is done here.
int handle_request(request_rec* r) noexcept {
    if (may_be_report(r)) {
        return handle_guarded(r);
    }
    if (r->prev != nullptr) [[unlikely]] {
        restore_environment(r);
    }
    if (r->proxyreq != PROXYREQ_NONE) [[unlikely]] {
        note_visit_over_http2(r);
    }
    const DirectoryConfig& config = directory_config(r);
    if (config.chain == nullptr) {
        return DECLINED;
    }
    const RequestState* const state = own_state_of(r);
    const bool plain = config.self_redirect <= 0 && config.trace == nullptr;
    if (plain && state != nullptr && came_when_idle(*state, *config.chain)) {
        state->instance->table.counters().add(Counter::served_here_idle);
        return DECLINED;
    }
    return handle_guarded(r);
}

}  // namespace backhand::httpd
