#include "httpd/request_state.h"

#include <algorithm>
#include <string>

#include "forward/request_head.h"
#include "httpd/apache.h"
#include "httpd/guard.h"
#include "httpd/instance.h"

namespace backhand::httpd {

namespace {

constexpr const char* count_filter_name = "BACKHAND_COUNT";

std::atomic<std::uint32_t>& cell_counter(ChildCell& cell, RequestState::Counted what) {
    return what == RequestState::Counted::serving ? cell.serving : cell.forwarding;
}

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
void add_news(request_rec* r, const RequestState& state) {
    for (apr_table_t* fields : {r->headers_out, r->err_headers_out}) {
        apr_table_unset(fields, load_field.data());
        apr_table_unset(fields, declined_field.data());
    }
    const ClusterTable& table = state.instance->table;
    const std::uint32_t serving = table.in_flight().serving;
    ServerView self;
    const bool known = table.view(self_slot, 0, monotonic_now(), self);
    const LoadNews news{
        .boot_id = table.boot_id(),
        .measurement = table.next_measurement(),
        // Without the request that this response ends.
        .serving = serving - std::min(serving, 1U),
        .workers_idle = known ? self.workers_idle : 0,
    };
    const std::string value = load_value(news);
    apr_table_setn(r->headers_out, load_field.data(), apr_pstrdup(r->pool, value.c_str()));

    // mod_ssl refuses what SSLRequireSSL protects, because the connection from the peer is plain.
    // The peer holds the client's TLS connection and serves the request itself.
    if (state.https && tls_was_required(r)) {
        apr_table_setn(r->headers_out, declined_field.data(), "tls");
    } else if (state.declined != nullptr) {
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

apr_status_t count_filter(ap_filter_t* filter, apr_bucket_brigade* brigade) {
    auto& state = *static_cast<RequestState*>(filter->ctx);
    request_rec* const r = filter->r;
    const bool ended = guard(
        [&] {
            // The first call comes before the head is made.
            if ((state.proxied || state.declined != nullptr) && !state.news_added) {
                add_news(r, state);
                state.news_added = true;
            }
            return ends_response(brigade);
        },
        false);
    ap_filter_t* const next = filter->next;
    if (ended) {
        state.count_as(RequestState::Counted::nothing);
        ap_remove_output_filter(filter);
    }
    return ap_pass_brigade(next, brigade);
}

}  // namespace

void RequestState::count_as(Counted what) {
    const Counted before = std::exchange(counted, what);
    ChildCell* const cell = instance->child ? instance->child->cell : nullptr;
    if (cell == nullptr || before == what) {
        return;
    }
    // Up before down: a sum taken in between is never too low.
    if (what != Counted::nothing) {
        cell_counter(*cell, what).fetch_add(1, std::memory_order_relaxed);
    }
    if (before != Counted::nothing) {
        cell_counter(*cell, before).fetch_sub(1, std::memory_order_relaxed);
    }
}

RequestState* state_of(const request_rec* r) {
    while (r->main != nullptr) {
        r = r->main;
    }
    while (r->prev != nullptr) {
        r = r->prev;
    }
    return static_cast<RequestState*>(ap_get_module_config(r->request_config, &backhand_module));
}

int attach_state(request_rec* r) {
    Instance* const instance = instance_of(r);
    if (instance == nullptr || r->main != nullptr || r->prev != nullptr) {
        return DECLINED;
    }
    auto* const state = new (apr_palloc(r->pool, sizeof(RequestState))) RequestState{};
    state->instance = instance;
    ap_set_module_config(r->request_config, &backhand_module, state);
    // Added before httpd's own protocol filters, so it is called before the head is made.
    ap_add_output_filter(count_filter_name, state, r, r->connection);
    return OK;
}

int keep_received_fields(request_rec* r) {
    RequestState* const state = r->main == nullptr && r->prev == nullptr ? state_of(r) : nullptr;
    if (state != nullptr && state->instance->chains_exist && !state->proxied) {
        state->received_fields = apr_table_copy(r->pool, r->headers_in);
    }
    return DECLINED;
}

int end_count(request_rec* r) {
    if (RequestState* const state = state_of(r)) {
        state->count_as(RequestState::Counted::nothing);
    }
    return DECLINED;
}

void register_count_filter() {
    ap_register_output_filter(count_filter_name, &count_filter, nullptr, AP_FTYPE_PROTOCOL);
}

}  // namespace backhand::httpd
