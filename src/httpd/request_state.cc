#include "httpd/request_state.h"

#include <algorithm>
#include <string>

#include "base/text.h"
#include "forward/request_head.h"
#include "httpd/apache.h"
#include "httpd/c_string.h"
#include "httpd/guard.h"
#include "httpd/identity.h"
#include "httpd/instance.h"
#include "httpd/request_facts.h"

namespace backhand::httpd {

namespace {

// The clock's lower digits choose the requests that a location's time is learnt from: they know
// nothing of how long a request will take.
constexpr std::uint32_t learn_every = 64;  // nanoseconds

constexpr const char* end_filter_name = "BACKHAND_END";
constexpr const char* news_filter_name = "BACKHAND_NEWS";

// An ErrorDocument is a request of its own; the note is with the one that was refused.
bool tls_was_required(const request_rec* r) {
    for (; r != nullptr; r = r->prev) {
        if (apr_table_get(r->notes, "ssl-access-forbidden") != nullptr) {
            return true;
        }
    }
    return false;
}

// News of this server's load for the peer that forwarded the request.  What an application put into
// these fields is removed: it must not be able to speak for the server.
void add_news(request_rec* r, RequestState& state) {
    for (apr_table_t* fields : {r->headers_out, r->err_headers_out}) {
        apr_table_unset(fields, load_field.data());
        apr_table_unset(fields, declined_field.data());
    }
    const ClusterTable& table = state.instance->table;
    const std::uint32_t serving = table.cells().quick().serving;
    ServerView self;
    const bool known = table.view(self_slot, 0, monotonic_now(), self);
    const LoadNews news{
        .boot_id = table.boot_id(),
        .measurement = table.next_measurement(),
        // Without the request that this response ends.
        .serving = serving - std::min(serving, 1U),
        .workers_idle = known && !state.is_sent_back_as_busy() ? self.workers_idle : 0,
    };
    const std::string value = load_value(news);
    apr_table_setn(r->headers_out, load_field.data(), apr_pstrdup(r->pool, value.c_str()));

    // mod_ssl refuses what SSLRequireSSL protects, because the connection from the peer is plain.
    // The peer holds the client's TLS connection and serves the request itself.
    if (state.https && tls_was_required(r)) {
        state.declined = declined::tls.data();
    }
    if (state.declined != nullptr) {
        apr_table_setn(r->headers_out, declined_field.data(), state.declined);
    }
}

bool ends_response(apr_bucket_brigade* brigade) {
    for (apr_bucket* bucket = APR_BRIGADE_FIRST(brigade); bucket != APR_BRIGADE_SENTINEL(brigade);
         bucket = APR_BUCKET_NEXT(bucket)) {
        if (APR_BUCKET_IS_EOS(bucket)) {
            return true;
        }
    }
    return false;
}

// Sees the end of the response where it leaves the handler, for the event MPM: what follows is done
// without a worker.
apr_status_t end_filter(ap_filter_t* filter, apr_bucket_brigade* brigade) noexcept {
    ap_filter_t* const next = filter->next;
    if (ends_response(brigade)) {
        static_cast<RequestState*>(filter->ctx)->end(filter->r);
        ap_remove_output_filter(filter);
    }
    return ap_pass_brigade(next, brigade);
}

// The first call comes before the head is made.
apr_status_t news_filter(ap_filter_t* filter, apr_bucket_brigade* brigade) noexcept {
    ap_filter_t* const next = filter->next;
    guard([&] { add_news(filter->r, *static_cast<RequestState*>(filter->ctx)); });
    ap_remove_output_filter(filter);
    return ap_pass_brigade(next, brigade);
}

}  // namespace

void RequestState::count_as(Counted what) {
    const ChildTally tally = instance->child->tally;
    const Counted before = std::exchange(counted, what);
    if (!tally || before == what) {
        return;
    }
    // Up before down: a sum taken in between is never too low.
    if (what == Counted::serving) {
        in_flight_at_arrival = tally.serving_began();
    } else if (what == Counted::forwarding) {
        tally.forwarding_began();
    }
    if (before == Counted::serving) {
        tally.serving_ended();
    } else if (before == Counted::forwarding) {
        tally.forwarding_ended();
    }
}

// Apart, because most requests do without it.  Others may have come and gone meanwhile: as many are
// taken to have been in progress as there were halfway between when it came and now.
[[gnu::noinline]] void learn_location(const request_rec* r, const ClusterTable& table,
                                      std::uint32_t in_flight_at_arrival, Nanoseconds took) {
    ServerView self;
    if (!chain_applies_to(r) || !table.view(self_slot, 0, monotonic_now(), self)) {
        return;
    }
    const double in_progress = (in_flight_at_arrival + self.serving + 1) / 2.0;
    table.locations().learn(location_key_of(r),
                            time_alone(took, in_progress, self.load.cpus_permille / 1000.0));
}

[[gnu::always_inline]] inline void RequestState::count_served(const request_rec* r) {
    ChildCell& cell = *instance->child->tally.cell;
    const Nanoseconds took = watch.stop();
    cell.served.fetch_add(1, std::memory_order_relaxed);
    if (ap_is_HTTP_SERVER_ERROR(r->status)) {
        // Not learnt from: a server that fails fast must not look like a fast one.
        cell.errors.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    cell.served_ns.fetch_add(nanoseconds_in(took), std::memory_order_relaxed);
    if (proxied) {
        cell.proxied.fetch_add(1, std::memory_order_relaxed);
        cell.proxied_ns.fetch_add(nanoseconds_in(took), std::memory_order_relaxed);
    }
    instance->table.latency().add(in_flight_at_arrival, took);
    if (watch.started_ns() / learn_every % LocationTimes::learn_one_of == 0) {
        learn_location(r, instance->table, in_flight_at_arrival, took);
    }
}

[[gnu::always_inline]] inline void RequestState::end(const request_rec* r) {
    if (counted != Counted::serving) {
        if (counted == Counted::forwarding) {
            count_as(Counted::nothing);
        }
        return;
    }
    counted = Counted::nothing;
    instance->child->tally.serving_ended();
    // Neither says how long a request takes here: a connection that became another protocol's, and
    // a request that was sent back.
    if (r->status != HTTP_SWITCHING_PROTOCOLS && declined == nullptr) {
        count_served(r);
    }
}

int begin_count(request_rec* r) noexcept {
    Instance* const instance = instance_of(r);
    if (instance == nullptr || !instance->child || r->prev != nullptr) {
        return DECLINED;
    }
    auto* const state = new (apr_palloc(r->pool, sizeof(RequestState))) RequestState{};
    ap_set_module_config(r->request_config, &backhand_module, state);
    state->instance = instance;
    state->watch.start();
    if (const ChildTally tally = instance->child->tally) [[likely]] {
        state->counted = RequestState::Counted::serving;
        state->in_flight_at_arrival = tally.serving_began();
    }
    if (instance->response_filters.end != nullptr) {
        ap_add_output_filter_handle(instance->response_filters.end, state, r, r->connection);
    }
    if (ConnectionState* const before = connection_state_of(r->connection)) [[unlikely]] {
        forget_client(r->connection, *before);
    }
    const char* const proxied = apr_table_get(r->headers_in, proxied_field.data());
    return proxied == nullptr ? DECLINED : restore_client(r, *state, proxied);
}

int end_count(request_rec* r) noexcept {
    RequestState* const state = own_state_of(r);
    if (state == nullptr) {
        return DECLINED;
    }
    state->end(r);
    return state->is_sent_back_as_busy() ? DONE : DECLINED;
}

// httpd would put the filter behind those of its kind that are there already, which make the head.
// So the first of these gives its place away, and a copy of it follows.
void carry_news(request_rec* r, RequestState& state) {
    ap_filter_t* const first = r->proto_output_filters;
    auto* const moved = static_cast<ap_filter_t*>(apr_pmemdup(r->pool, first, sizeof *first));
    first->frec = state.instance->response_filters.news;
    first->ctx = &state;
    first->next = moved;
}

RequestState* state_of(const request_rec* r) {
    while (r->main != nullptr) {
        r = r->main;
    }
    while (r->prev != nullptr) {
        r = r->prev;
    }
    return own_state_of(r);
}

int keep_received_fields(request_rec* r) noexcept {
    RequestState* const state = own_state_of(r);
    if (state != nullptr && state->in_flight_at_arrival > state->instance->idle_up_to &&
        !state->proxied) {
        state->received_fields = apr_table_copy(r->pool, r->headers_in);
    }
    return DECLINED;
}

void register_response_filters() {
    ap_register_output_filter(end_filter_name, &end_filter, nullptr, AP_FTYPE_PROTOCOL);
    ap_register_output_filter(news_filter_name, &news_filter, nullptr, AP_FTYPE_PROTOCOL);
}

ResponseFilters response_filters() {
    return {.end = ap_get_output_filter_handle(end_filter_name),
            .news = ap_get_output_filter_handle(news_filter_name),
            .byte_range = ap_get_output_filter_handle("BYTERANGE"),
            .content_length = ap_get_output_filter_handle("CONTENT_LENGTH")};
}

}  // namespace backhand::httpd
