#include "httpd/forwarding.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "forward/peer_socket.h"
#include "forward/request_head.h"
#include "forward/request_signature.h"
#include "httpd/apache.h"
#include "httpd/c_string.h"
#include "httpd/client_socket.h"
#include "httpd/instance.h"
#include "httpd/request_body.h"
#include "httpd/request_state.h"
#include "httpd/response_relay.h"
#include "httpd/told_client.h"
#include "httpd/tunnel.h"

APLOG_USE_MODULE(backhand);

namespace backhand::httpd {

namespace {

// Bounds what one request can cost when the cluster is in trouble.
constexpr std::size_t peers_tried_max = 3;

// For how long a peer may leave open whether it wants a body; as long as curl waits.
constexpr Nanoseconds agreement_wait = std::chrono::seconds{1};

// RFC 9110 section 9.2.2.  Only these may be sent a second time without knowing what became of the
// first.
bool is_idempotent(std::string_view method) {
    constexpr std::array<std::string_view, 6> idempotent = {"GET",    "HEAD",    "PUT",
                                                            "DELETE", "OPTIONS", "TRACE"};
    return std::find(idempotent.begin(), idempotent.end(), method) != idempotent.end();
}

// What became of one attempt.
enum class Attempt {
    answered,   // the response is with the client, or the client is gone
    not_taken,  // the peer has not processed the request: try elsewhere
    stale,      // the same, because the connection was an old one: try this peer once more
    lost,       // the peer may have processed it, the answer is lost; may be repeated if idempotent
    silent,     // the same, because the time a response may take is over
    broken_off,    // the response broke off after the client got some of it
    body_trouble,  // the client's body could not be read: Exchange::body_status() says why
};

class ForwardingCount {
public:
    ForwardingCount(const ClusterTable& table, std::uint32_t slot_index)
        : table_(table),
          slot_index_(slot_index) {
        table_.forward_began(slot_index_);
    }

    ForwardingCount(const ForwardingCount&) = delete;
    ForwardingCount& operator=(const ForwardingCount&) = delete;

    ~ForwardingCount() { table_.forward_ended(slot_index_); }

private:
    const ClusterTable& table_;
    const std::uint32_t slot_index_;
};

class Exchange {
public:
    Exchange(request_rec* r, RequestState& state, const ForwardFeedback& feedback)
        : r_(r),
          state_(state),
          feedback_(feedback),
          table_(state.instance->table),
          body_(r),
          may_repeat_(is_idempotent(r->method)),
          limits_(state.instance->settings().limits),
          server_limit_(std::chrono::microseconds{r->server->timeout}) {}

    int run(std::span<const std::uint32_t> peers);

private:
    bool describe_request();
    std::string_view opening_for(const ServerView& peer);
    Attempt try_peer(const ServerView& peer, bool fresh_connection);
    Attempt converse(PeerConnection& connection, const ServerView& peer);
    Attempt send_request(PeerConnection& connection, const ServerView& peer,
                         ResponseRelay& response);
    Attempt await_agreement(PeerConnection& connection, ResponseRelay& response);
    Attempt stream_body(PeerConnection& connection, ResponseRelay& response);
    Attempt next_piece(const PeerConnection& connection, ResponseRelay& response,
                       std::string& piece);
    Attempt receive_response(PeerConnection& connection, ResponseRelay& response);
    Attempt lost(const PeerConnection& connection, const ResponseRelay& response,
                 const Error& error);
    void learn(const ServerView& peer, const ResponseRelay& response);
    void become_tunnel(const PeerConnection& connection, const ResponseRelay& response);
    Nanoseconds patience(const ResponseRelay& response) const;
    bool may_try_again();
    void note_end(const ServerView& peer, ForwardOutcome outcome, MonotonicTime began_at);

    void count(Counter counter) { table_.counters().add(counter); }

    request_rec* const r_;
    RequestState& state_;
    const ForwardFeedback& feedback_;
    const ClusterTable& table_;
    RequestBody body_;
    const bool may_repeat_;
    const ForwardLimits& limits_;
    const Nanoseconds server_limit_;
    const MonotonicTime began_at_ = monotonic_now();
    RequestHead head_;
    std::string opening_;                   // as request_head_text, and what opening_for() adds
    std::size_t opening_common_bytes_ = 0;  // of these, what is the same for every peer
    bool body_sent_ = false;                // the peer of the last attempt waits for no more of it
    int body_status_ = OK;
    ForwardOutcome outcome_ = ForwardOutcome::unjudged;  // of the last attempt
    std::optional<MonotonicTime> answered_at_;  // long before the end, if it became a tunnel
};

int Exchange::run(std::span<const std::uint32_t> peers) {
    body_status_ = body_.prefetch();
    if (body_status_ != OK) {
        return body_status_;
    }
    if (!body_.untouched() || !describe_request()) {
        body_.put_back();
        return DECLINED;
    }
    table_.retries().forwarded(began_at_);
    ServerView peer;
    bool tried = false;
    for (const std::uint32_t slot_index : peers.first(std::min(peers.size(), peers_tried_max))) {
        if (!table_.view(slot_index, 0, monotonic_now(), peer)) {
            continue;
        }
        if (std::exchange(tried, true) && !may_try_again()) {
            break;
        }
        Attempt attempt = try_peer(peer, !may_repeat_);
        if (attempt == Attempt::stale) {
            count(Counter::forward_stale_connection);
            attempt = try_peer(peer, true);
        }
        switch (attempt) {
            case Attempt::answered:
            case Attempt::broken_off:
                return OK;
            case Attempt::body_trouble:
                return body_status_;
            case Attempt::stale:
            case Attempt::not_taken:
            case Attempt::silent:
            case Attempt::lost:
                break;
        }
        const bool perhaps_processed = attempt == Attempt::silent || attempt == Attempt::lost;
        if (body_.spent() || (perhaps_processed && !may_repeat_)) {
            count(Counter::forward_answered_502);
            return attempt == Attempt::silent ? HTTP_GATEWAY_TIME_OUT : HTTP_BAD_GATEWAY;
        }
        if (attempt == Attempt::silent) {
            break;  // no more peers: the client has waited long enough
        }
    }
    count(Counter::served_here_after_failure);
    body_.put_back();
    return DECLINED;
}

// At another peer.  Here is always allowed: that is no load on anybody else.
bool Exchange::may_try_again() {
    const auto& terms = state_.instance->settings().retry;
    if (terms && table_.retries().take(*terms, monotonic_now())) {
        count(Counter::forward_tried_again);
        return true;
    }
    count(Counter::forward_budget_spent);
    return false;
}

// How long the peer may be silent now.
Nanoseconds Exchange::patience(const ResponseRelay& response) const {
    const std::optional<Nanoseconds>& limit =
        response.any_bytes_received() ? limits_.idle : limits_.response;
    const Nanoseconds silence = limit.value_or(server_limit_);
    if (!limits_.total) {
        return silence;
    }
    const Nanoseconds left = *limits_.total - elapsed(began_at_, monotonic_now());
    return std::clamp(left, Nanoseconds{0}, silence);
}

bool Exchange::describe_request() {
    const ToldClient* const client = told_client(r_);
    if (client == nullptr) {
        return false;
    }
    head_.method = r_->method;
    head_.target = r_->unparsed_uri;
    // A chain in .htaccess may be all there is; then the fields as they are now have to do.
    const apr_table_t* const received =
        state_.received_fields != nullptr ? state_.received_fields : r_->headers_in;
    const apr_array_header_t* const fields = apr_table_elts(received);
    const auto* const entries = reinterpret_cast<const apr_table_entry_t*>(fields->elts);
    head_.fields.reserve(static_cast<std::size_t>(fields->nelts));
    for (int index = 0; index < fields->nelts; ++index) {
        head_.fields.push_back({text_of(entries[index].key), text_of(entries[index].val)});
    }
    head_.proxied = client->proxied;
    head_.exchange = client->exchange;
    if (state_.instance->settings().via) {
        head_.via = state_.instance->own_contact;
    }
    head_.upgrade = text_of(apr_table_get(r_->headers_in, "Upgrade"));
    if (body_.present()) {
        head_.body = body_.chunked() ? RequestHead::Body::chunked : RequestHead::Body::length;
        head_.length_bytes = body_.length_bytes();
        head_.expect_continue = !body_.complete();
    }
    auto text = request_head_text(head_);
    if (!text) {
        return false;
    }
    opening_ = std::move(*text);
    opening_common_bytes_ = opening_.size();
    return true;
}

// -1 for a stream of HTTP/2.
int client_socket(const request_rec* r) {
    return r->connection->master == nullptr ? socket_of(r->connection) : -1;
}

// The outcome of a response, for the cluster's memory.
ForwardOutcome outcome_of(Attempt attempt, const ResponseRelay& response, int status) {
    if (response.is_declined()) {
        return response.disbelieves_forwarder() ? ForwardOutcome::not_believed
                                                : ForwardOutcome::unjudged;
    }
    if (response.client_gone()) {
        return ForwardOutcome::unjudged;
    }
    switch (attempt) {
        case Attempt::answered:
            return ap_is_HTTP_SERVER_ERROR(status) ? ForwardOutcome::server_error
                                                   : ForwardOutcome::answered;
        case Attempt::lost:
        case Attempt::broken_off:
            return ForwardOutcome::broken;
        case Attempt::silent:
            return ForwardOutcome::timed_out;
        default:
            return ForwardOutcome::unjudged;
    }
}

void Exchange::note_end(const ServerView& peer, ForwardOutcome outcome, MonotonicTime began_at) {
    const MonotonicTime now = monotonic_now();
    const Nanoseconds latency = elapsed(began_at, answered_at_.value_or(now));
    const bool answered =
        outcome == ForwardOutcome::answered || outcome == ForwardOutcome::server_error;
    table_.forward_ended(peer.slot_index, outcome, latency, now);
    feedback_.ended(peer.slot_index,
                    {.answered = answered,
                     .status = static_cast<std::uint16_t>(answered ? r_->status : 0),
                     .latency = latency});
}

// What is sent before anything is heard: the head, and the body if all of it is here.  Signed with
// a number of its own each time: what has been sent once is worth nothing any more.
std::string_view Exchange::opening_for(const ServerView& peer) {
    opening_.resize(opening_common_bytes_);
    if (const auto& keys = state_.instance->keys) {
        const SignedRequest request{
            .method = head_.method,
            .target = head_.target,
            .host = *head_.host(),  // request_head_text() has found it
            .proxied = head_.proxied,
            .exchange = head_.exchange,
            .destination = peer.load.contact,
        };
        const ExchangeOrigin origin{
            .boot_id = table_.boot_id(),
            .number = table_.exchange_numbers(peer.slot_index).next(),
            .heard_boot_id = peer.load.boot_id,
            .heard_measurement = peer.load.measurement,
        };
        opening_.append(signature_field).append(": ");
        opening_.append(sign_request(request, origin, *keys)).append("\r\n");
    }
    opening_.append("\r\n");
    if (head_.expect_continue) {
        return opening_;
    }
    if (head_.body != RequestHead::Body::chunked) {
        opening_.append(body_.prefetched());
        return opening_;
    }
    if (!body_.prefetched().empty()) {
        append_chunk(opening_, body_.prefetched());
    }
    append_chunk(opening_, {});
    return opening_;
}

Attempt Exchange::try_peer(const ServerView& peer, bool fresh_connection) {
    const MonotonicTime began_at = monotonic_now();
    feedback_.sent(peer);
    auto connection = state_.instance->child->connections.acquire(peer, fresh_connection);
    if (!connection) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r_, "cannot connect to peer %s: %s",
                      peer.load.contact.to_string().c_str(), connection.error().detail.c_str());
        count(connection.error().kind == Error::Kind::timed_out ? Counter::forward_timed_out
                                                                : Counter::forward_connect_failed);
        note_end(peer,
                 connection.error().kind != Error::Kind::system ? ForwardOutcome::unreachable
                                                                : ForwardOutcome::unjudged,
                 began_at);
        return Attempt::not_taken;
    }
    const ForwardingCount counted{table_, peer.slot_index};
    const Attempt attempt = converse(*connection, peer);
    note_end(peer, outcome_, began_at);
    if (attempt == Attempt::answered) {
        apr_table_setn(r_->subprocess_env, "BACKHAND_PEER",
                       apr_pstrdup(r_->pool, peer.load.contact.to_string().c_str()));
        count(Counter::forwarded);
    }
    return attempt;
}

Attempt Exchange::converse(PeerConnection& connection, const ServerView& peer) {
    // A request that cannot be repeated gains nothing from a response that is held back.
    ResponseRelay response{r_, !(may_repeat_ && body_.complete()),
                           state_.instance->response_filters};
    if (head_.expect_continue) {
        response.ask_first();
    }
    if (!head_.upgrade.empty()) {
        response.expect_upgrade();
    }
    Attempt attempt = send_request(connection, peer, response);
    if (attempt == Attempt::answered) {
        attempt = receive_response(connection, response);
    }
    if (response.is_declined()) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r_, "peer %s declines: %s",
                      peer.load.contact.to_string().c_str(), response.declined_for());
        count(Counter::forward_declined);
        attempt = Attempt::not_taken;
    }
    // A peer that hears nobody any more declines everything, and must not stay young by that.
    if (!response.is_declined() || response.is_busy()) {
        learn(peer, response);
    }
    if (response.is_upgraded() && attempt == Attempt::answered) {
        become_tunnel(connection, response);
    }
    if (attempt == Attempt::answered && !response.is_committed()) {
        response.deliver();
    }
    // Slow or broken URLs are no reason to leave a whole server alone; taking a new connection and
    // dropping it without a word is.
    outcome_ = attempt == Attempt::lost && !connection.reused && !response.any_bytes_received()
                   ? ForwardOutcome::unreachable
                   : outcome_of(attempt, response, r_->status);
    if ((attempt == Attempt::answered || response.is_declined()) && body_sent_ &&
        response.connection_reusable()) {
        state_.instance->child->connections.release(peer, std::move(connection));
    }
    return attempt;
}

// httpd has nothing more to say on this connection.
void Exchange::become_tunnel(const PeerConnection& connection, const ResponseRelay& response) {
    count(Counter::forward_upgraded);
    answered_at_ = monotonic_now();
    r_->status = HTTP_SWITCHING_PROTOCOLS;
    r_->eos_sent = 1;
    r_->connection->keepalive = AP_CONN_CLOSE;
    run_tunnel(r_, connection.socket.get(), response.after_upgrade(),
               limits_.idle.value_or(server_limit_));
}

// Attempt::answered means: sent, or the response is already coming.
Attempt Exchange::send_request(PeerConnection& connection, const ServerView& peer,
                               ResponseRelay& response) {
    body_sent_ = false;
    const Status sent = send_all(connection.socket.get(), opening_for(peer), patience(response));
    if (!sent) {
        return lost(connection, response, sent.error());
    }
    body_sent_ = !head_.expect_continue;
    return head_.expect_continue ? stream_body(connection, response) : Attempt::answered;
}

// The peer agrees first (RFC 9110 section 10.1.1), so that up to here it has processed nothing. One
// that says nothing may know no expectations, and wait for the body as we wait for it.
Attempt Exchange::await_agreement(PeerConnection& connection, ResponseRelay& response) {
    const MonotonicTime asked_at = monotonic_now();
    while (!response.may_continue() && !response.has_head()) {
        const Nanoseconds left = agreement_wait - elapsed(asked_at, monotonic_now());
        if (left <= Nanoseconds{0}) {
            response.ask_no_longer();
            break;
        }
        const Nanoseconds silence = patience(response);
        const auto received = response.receive(connection.socket.get(), std::min(left, silence));
        const bool goes_on =
            received || (received.error().kind == Error::Kind::timed_out && left < silence);
        if (!goes_on) {
            return lost(connection, response, received.error());
        }
    }
    return Attempt::answered;
}

// While the body goes out, whatever comes back is passed on: a peer that answers before it has read
// everything must not wait for us while we wait for it.
Attempt Exchange::stream_body(PeerConnection& connection, ResponseRelay& response) {
    const int socket = connection.socket.get();
    const Attempt agreed = await_agreement(connection, response);
    if (agreed != Attempt::answered || response.has_head()) {
        return agreed;  // a final response instead: the body is not wanted
    }
    std::string piece{body_.prefetched()};
    std::string chunk;
    bool at_end = false;
    while (!at_end) {
        at_end = piece.empty();
        std::string_view rest = piece;
        if (head_.body == RequestHead::Body::chunked) {
            chunk.clear();
            append_chunk(chunk, piece);
            rest = chunk;
        }
        while (!rest.empty()) {
            const auto sent = send_some(socket, rest);
            if (!sent) {
                // It may have answered and closed: receive_response finds out.
                return Attempt::answered;
            }
            rest.remove_prefix(*sent);
            if (*sent != 0) {
                continue;
            }
            const Readiness ready = wait_for_either(socket, patience(response));
            if (!ready.readable && !ready.writable) {
                return lost(connection, response, {Error::Kind::timed_out, "body not taken"});
            }
            if (ready.readable && response.stage() != ResponseRelay::Stage::complete) {
                const auto received = response.receive(socket, Nanoseconds{0});
                if (!received && received.error().kind != Error::Kind::timed_out) {
                    return lost(connection, response, received.error());
                }
            }
            if (response.stage() == ResponseRelay::Stage::complete) {
                return Attempt::answered;
            }
        }
        if (!at_end) {
            const Attempt read = next_piece(connection, response, piece);
            if (read != Attempt::answered || response.stage() == ResponseRelay::Stage::complete) {
                return read;
            }
        }
    }
    body_sent_ = true;
    return Attempt::answered;
}

// While the client sends nothing the peer is listened to: it may have answered, and the client may
// be waiting for just that.
Attempt Exchange::next_piece(const PeerConnection& connection, ResponseRelay& response,
                             std::string& piece) {
    // A stream of HTTP/2 has no socket of its own, and mod_reqtimeout only counts when it is asked.
    const int client = client_socket(r_);
    const Nanoseconds interval = client < 0 ? Milliseconds{50} : Milliseconds{1000};
    const MonotonicTime waits_since = monotonic_now();
    while (response.stage() != ResponseRelay::Stage::complete) {
        body_status_ = body_.read_on(piece);
        if (body_status_ == OK && elapsed(waits_since, monotonic_now()) > server_limit_) {
            body_status_ = HTTP_REQUEST_TIME_OUT;
        }
        if (body_status_ != OK && response.is_committed()) {
            response.break_off();
            return Attempt::broken_off;
        }
        if (body_status_ != OK) {
            return Attempt::body_trouble;
        }
        if (!piece.empty() || body_.complete()) {
            return Attempt::answered;
        }
        const int socket = connection.socket.get();
        wait_to_read(socket, client, interval);
        if (!is_quiet(socket)) {
            if (const auto received = response.receive(socket, Nanoseconds{0}); !received) {
                return lost(connection, response, received.error());
            }
        }
    }
    return Attempt::answered;
}

Attempt Exchange::receive_response(PeerConnection& connection, ResponseRelay& response) {
    const int socket = connection.socket.get();
    while (response.stage() != ResponseRelay::Stage::complete && !response.is_declined() &&
           !response.client_gone()) {
        if (const auto received = response.receive(socket, patience(response)); !received) {
            return lost(connection, response, received.error());
        }
    }
    return Attempt::answered;
}

// Sorts out a failure by how much the peer can have done.
Attempt Exchange::lost(const PeerConnection& connection, const ResponseRelay& response,
                       const Error& error) {
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r_, "exchange with a peer failed: %s",
                  error.detail.c_str());
    if (response.is_committed()) {
        count(Counter::forward_truncated);
        const_cast<ResponseRelay&>(response).break_off();
        return Attempt::broken_off;
    }
    switch (error.kind) {
        case Error::Kind::timed_out:
            count(Counter::forward_timed_out);
            return Attempt::silent;
        case Error::Kind::malformed:
            count(Counter::forward_bad_response);
            break;
        default:
            if (connection.reused && !response.any_bytes_received()) {
                return Attempt::stale;
            }
            count(Counter::forward_reset);
            break;
    }
    return Attempt::lost;
}

void Exchange::learn(const ServerView& peer, const ResponseRelay& response) {
    if (const auto& news = response.news()) {
        table_.refresh(peer.slot_index, news->boot_id, news->measurement, news->serving,
                       news->workers_idle, monotonic_now());
    }
}

}  // namespace

int forward_request(request_rec* r, RequestState& state, std::span<const std::uint32_t> peers,
                    const ForwardFeedback& feedback) {
    Exchange exchange{r, state, feedback};
    return exchange.run(peers);
}

}  // namespace backhand::httpd
