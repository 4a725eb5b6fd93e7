#include "httpd/deciding.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "httpd/apache.h"
#include "httpd/c_string.h"
#include "httpd/config.h"
#include "httpd/forwarding.h"
#include "httpd/guard.h"
#include "httpd/instance.h"
#include "httpd/report_handler.h"
#include "httpd/request_facts.h"
#include "httpd/request_state.h"

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

// Whether the request could be served by a peer as well as by this server.
bool may_be_forwarded(request_rec* r, const RequestState& state) {
    const bool plain_request = r->assbackwards == 0 && r->proxyreq != PROXYREQ_PROXY &&
                               r->method_number != M_CONNECT && r->method_number != M_TRACE &&
                               text_of(r->unparsed_uri) != "*" &&
                               !text_of(apr_table_get(r->headers_in, "Host")).empty() &&
                               apr_table_get(r->headers_in, "Upgrade") == nullptr;
    // A body that something here has read already cannot be passed on.
    const bool body_untouched = r->read_length == 0 && r->kept_body == nullptr;
    return plain_request && body_untouched && has_room_for_our_fields(r) && !state.proxied &&
           !state.stays_here && !concerns_this_server(r) && !has_client_certificate(r);
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
    explicit ForwardingPlace(RequestState& state) : state_(state) {
        state_.count_as(RequestState::Counted::forwarding);
        const ClusterTable& table = state_.instance->table;
        ServerView self;
        taken_ = state_.instance->child->tally && table.view(self_slot, 0, monotonic_now(), self) &&
                 table.cells().quick().forwarding <= running_workers(self.load) / 2;
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

int decide_and_forward(request_rec* r, RequestState& state, const DirectoryConfig& config) {
    Instance& instance = *state.instance;
    Counters& counters = instance.table.counters();
    counters.add(Counter::decisions);

    const HttpdFacts facts{r, instance.table.locations()};
    const RequestView request{
        .method = text_of(r->method),
        .host = text_of(r->hostname),
        .path = text_of(r->unparsed_uri),
        .service_hash = server_config(r->server).service_hash,
        .native = r,
        .facts = &facts,
    };
    RoomLease lease{instance.child->rooms};
    Random random = instance.child->random.fork();
    const DecisionContext context{
        .request = request, .table = instance.table, .random = random, .now = monotonic_now()};
    Decision& decision = (*lease).decision;
    decide(*config.chain, context, (*lease).set, decision);

    if (decision.peers.empty()) {
        counters.add(decision.no_candidate ? Counter::served_here_no_candidate
                                           : Counter::served_here_by_choice);
        return DECLINED;
    }
    if (config.dry_run > 0) {
        counters.add(Counter::decisions_dry_run);
        return DECLINED;
    }
    ForwardingPlace place{state};
    if (!place.taken()) {
        counters.add(Counter::served_here_limit_reached);
        return DECLINED;
    }
    const int status = forward_request(r, state, decision.peers);
    if (status == OK) {
        place.served();
    }
    return status;
}

}  // namespace

namespace {

// With nothing else to do the server keeps the request, whatever its peers are doing.
bool stays_for_idleness(const RequestState& state, const Chain& chain) {
    const ClusterTable& table = state.instance->table;
    const double others = static_cast<double>(table.cells().quick().serving) - 1;
    // What the client sent was not kept if the server was idle when the request came.
    const bool was_idle = state.in_flight_at_arrival <= state.instance->idle_up_to;
    return others < chain.self_stays_below() || (was_idle && chain.self_stays_below() > 0);
}

[[gnu::noinline]] int handle_guarded(request_rec* r) noexcept {
    return guard(
        [r] {
            if (is_report(r)) {
                return show_report(r);
            }
            // Requests that httpd makes itself have none.
            RequestState* const state = own_state_of(r);
            if (state == nullptr) {
                return DECLINED;
            }
            const DirectoryConfig& config = directory_config(r);
            Counters& counters = state->instance->table.counters();
            if (stays_for_idleness(*state, *config.chain)) {
                counters.add(Counter::served_here_idle);
                return DECLINED;
            }
            return may_be_forwarded(r, *state) ? decide_and_forward(r, *state, config) : DECLINED;
        },
        HTTP_INTERNAL_SERVER_ERROR);
}

}  // namespace

int handle_request(request_rec* r) noexcept {
    return chain_applies_to(r) || is_report(r) ? handle_guarded(r) : DECLINED;
}

}  // namespace backhand::httpd
