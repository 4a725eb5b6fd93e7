#include "httpd/response_relay.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/text.h"
#include "forward/peer_socket.h"
#include "httpd/apache.h"
#include "httpd/request_state.h"

namespace backhand::httpd {

// A copy of a head whose parts are C strings: each ends with a NUL in the place of what separated
// it from the next, a colon, white space or the end of its line.
class HeadStrings {
public:
    HeadStrings(apr_pool_t* pool, std::string_view head)
        : original_(head.data()),
          copy_(apr_pstrmemdup(pool, head.data(), head.size())) {}

    // REQUIRES: `part` is a field's name or value, or the end of a line, of that head.
    const char* operator()(std::string_view part) const {
        char* const text = copy_ + (part.data() - original_);
        text[part.size()] = '\0';
        return text;
    }

private:
    const char* const original_;
    char* const copy_;
};

namespace {

void remove_protocol_filters(request_rec* r, const ResponseFilters& filters) {
    ap_filter_t* next = nullptr;
    for (ap_filter_t* filter = r->output_filters; filter != nullptr; filter = next) {
        next = filter->next;
        if (filter->frec == filters.byte_range || filter->frec == filters.content_length) {
            ap_remove_output_filter(filter);
        }
    }
}

// Whether httpd adds a character set to the type of a response that names none.
bool adds_charset(const request_rec* r) {
    const auto* const core =
        static_cast<const core_dir_config*>(ap_get_core_module_config(r->per_dir_config));
    return core->add_default_charset == ADD_DEFAULT_CHARSET_ON;
}

constexpr int early_hints = 103;  // RFC 8297

// Fields of the client's own connection that modules of this server have set before us.
constexpr const char* own_connection_fields[] = {"Upgrade", "Connection"};

}  // namespace

ResponseRelay::ResponseRelay(request_rec* r, bool commit_early, const ResponseFilters& filters)
    : r_(r),
      commit_early_(commit_early),
      filters_(filters),
      buffer_(static_cast<char*>(apr_palloc(r->pool, buffer_bytes))),
      brigade_(apr_brigade_create(r->pool, r->connection->bucket_alloc)) {}

Result<ResponseRelay::Stage> ResponseRelay::receive(int socket, Nanoseconds limit) {
    if (filled_ == buffer_bytes) {
        return Error{Error::Kind::malformed, "the response's head is longer than the buffer"};
    }
    const auto received = receive_some(socket, {buffer_ + filled_, buffer_bytes - filled_}, limit);
    if (!received) {
        return received.error();
    }
    filled_ += *received;
    any_bytes_received_ = any_bytes_received_ || *received != 0;
    peer_closed_ = *received == 0;
    if (const Status processed = process(); !processed) {
        return processed.error();
    }
    if (peer_closed_ && stage_ != Stage::complete) {
        return Error{Error::Kind::broken, "the peer closed the connection"};
    }
    return stage_;
}

Status ResponseRelay::process() {
    while (stage_ == Stage::nothing || stage_ == Stage::interim) {
        const Stage before = stage_;
        const std::size_t used_before = used_;
        if (Status processed = process_head(); !processed) {
            return processed;
        }
        if (stage_ == before && used_ == used_before) {
            return Done{};
        }
    }
    return stage_ == Stage::body ? process_body() : Status{Done{}};
}

Status ResponseRelay::process_head() {
    ResponseHead head;
    const auto state = parse_response_head({buffer_ + used_, filled_ - used_}, head);
    if (!state) {
        return state.error();
    }
    if (*state == HeadState::incomplete) {
        return Done{};
    }
    const std::string_view text{buffer_ + used_, head.size_bytes};
    used_ += head.size_bytes;
    return head.status >= 200 ? take_head(head, text) : take_interim(head, text);
}

Status ResponseRelay::take_interim(const ResponseHead& head, std::string_view text) {
    const bool switches = head.status == HTTP_SWITCHING_PROTOCOLS;
    if (switches && !upgrade_expected_) {
        return Error{Error::Kind::malformed, "the peer switched protocols unasked"};
    }
    if (const auto framing = response_framing(head, false); !framing) {
        return framing.error();
    }
    continue_seen_ = continue_seen_ || head.status == HTTP_CONTINUE;
    if (switches || head.status == early_hints) {
        pass_on_interim(head, text);
    }
    upgraded_ = switches;
    committed_ = committed_ || switches;
    stage_ = switches ? Stage::complete : Stage::interim;
    return Done{};
}

// Nothing of it becomes part of the final response.
void ResponseRelay::pass_on_interim(const ResponseHead& head, std::string_view text) {
    if (r_->proto_num != HTTP_VERSION(1, 1)) {
        return;
    }
    const HeadStrings strings{r_->pool, text};
    apr_table_t* const own_fields = std::exchange(
        r_->headers_out, apr_table_make(r_->pool, static_cast<int>(head.fields_count) + 2));
    const char* const own_status_line = std::exchange(r_->status_line, strings(head.status_line));
    const int own_status = std::exchange(r_->status, head.status);
    for (const HeaderField& field : head.fields()) {
        const bool is_upgrade = head.status == HTTP_SWITCHING_PROTOCOLS &&
                                (equal_ignoring_case(field.name, "Upgrade") ||
                                 equal_ignoring_case(field.name, "Connection"));
        if (is_upgrade || (!is_hop_by_hop(field.name) && !is_our_field(field.name))) {
            apr_table_addn(r_->headers_out, strings(field.name), strings(field.value));
        }
    }
    ap_send_interim_response(r_, 1);
    r_->headers_out = own_fields;
    r_->status_line = own_status_line;
    r_->status = own_status;
}

Status ResponseRelay::take_head(const ResponseHead& head, std::string_view text) {
    const auto framing = response_framing(head, r_->header_only != 0);
    if (!framing) {
        return framing.error();
    }
    framing_ = *framing;
    // httpd refuses some requests before any module has seen them (StrictHostCheck compares the
    // Host with the sites on the peer's own port).  Without news the peer's module has not spoken.
    const bool refused_unseen =
        !commit_early_ && head.status == HTTP_BAD_REQUEST && !head.find(load_field).has_value();
    const bool cannot_be_asked =
        asked_first_ && !continue_seen_ && head.status == HTTP_EXPECTATION_FAILED;
    declined_for_ = refused_unseen || cannot_be_asked ? "" : nullptr;
    body_bytes_left_ = framing_.length_bytes;
    status_ = head.status;
    take_fields(head, HeadStrings{r_->pool, text});
    const bool no_body = framing_.end == BodyEnd::at_head ||
                         (framing_.end == BodyEnd::at_length && framing_.length_bytes == 0);
    stage_ = no_body ? Stage::complete : Stage::body;
    body_start_ = used_;
    return Done{};
}

// Into a table as httpd keeps them, those apart that end here or are ours.
void ResponseRelay::take_fields(const ResponseHead& head, const HeadStrings& strings) {
    status_line_ = strings(head.status_line);
    fields_ = apr_table_make(r_->pool, static_cast<int>(head.fields_count) + 2);
    for (const char* name : own_connection_fields) {
        if (const char* const value = apr_table_get(r_->headers_out, name)) {
            apr_table_addn(fields_, name, value);
        }
    }
    const bool keeps_type_apart = !adds_charset(r_);
    const bool has_options = head.find("Connection").has_value();
    for (const HeaderField& field : head.fields()) {
        if (is_our_field(field.name)) {
            take_our_field(field, strings);
        } else if (keeps_type_apart && equal_ignoring_case(field.name, "Content-Type")) {
            content_type_ = content_type_ != nullptr ? content_type_ : strings(field.value);
        } else if (!is_hop_by_hop(field.name) &&
                   !(has_options && head.has_token("Connection", field.name))) {
            apr_table_addn(fields_, strings(field.name), strings(field.value));
        }
    }
}

void ResponseRelay::take_our_field(const HeaderField& field, const HeadStrings& strings) {
    if (equal_ignoring_case(field.name, load_field)) {
        news_ = parse_load(field.value);
    } else if (equal_ignoring_case(field.name, declined_field)) {
        declined_for_ = strings(field.value);
    }
}

// Short responses are collected in the buffer.  Those of a peer that declined are, too: only to
// find out where they end.
bool ResponseRelay::collecting() const {
    return is_declined() || (!commit_early_ && framing_.end == BodyEnd::at_length &&
                             framing_.length_bytes <= buffer_bytes - body_start_);
}

Status ResponseRelay::process_body() {
    const bool collect = collecting();
    while (stage_ == Stage::body) {
        const std::string_view input{buffer_ + used_, filled_ - used_};
        std::string_view body;
        std::size_t consumed = 0;
        if (framing_.end == BodyEnd::at_last_chunk) {
            const auto step = chunks_.next(input);
            if (!step) {
                return step.error();
            }
            body = step->body;
            consumed = step->consumed;
            if (chunks_.done()) {
                stage_ = Stage::complete;
            }
        } else if (framing_.end == BodyEnd::at_length) {
            body = input.substr(0, std::min<std::uint64_t>(input.size(), body_bytes_left_));
            consumed = body.size();
            body_bytes_left_ -= body.size();
            if (body_bytes_left_ == 0) {
                stage_ = Stage::complete;
            }
        } else {
            body = input;
            consumed = input.size();
            if (peer_closed_) {
                stage_ = Stage::complete;
            }
        }
        used_ += consumed;
        if (!collect) {
            collect_for_client(body);
        }
        if (consumed == 0 || used_ == filled_) {
            break;
        }
    }
    if (!collect) {
        pass_on(stage_ == Stage::complete);
    }
    if (!collect && stage_ == Stage::body) {
        std::memmove(buffer_, buffer_ + used_, filled_ - used_);
        filled_ -= used_;
        used_ = 0;
    }
    return Done{};
}

bool ResponseRelay::connection_reusable() const {
    return stage_ == Stage::complete && framing_.keep_alive && !peer_closed_ && used_ == filled_;
}

// Makes the request's response the peer's.  What this server had prepared is dropped: the peer ran
// the same phases and has said it all.
void ResponseRelay::adopt_head() {
    r_->headers_out = fields_;
    apr_table_clear(r_->err_headers_out);
    if (const char* const trace = apr_table_get(r_->notes, trace_field)) {
        apr_table_setn(r_->err_headers_out, trace_field, trace);
    }
    r_->status = status_;
    r_->status_line = status_line_;
    // httpd writes the type after all other fields, as it does for its own responses.
    r_->content_type = content_type_;
    r_->content_encoding = nullptr;
    r_->content_languages = nullptr;
    r_->no_cache = 0;
    // mod_include forbids an ETag as soon as its filter is there.
    apr_table_unset(r_->notes, "no-etag");
    r_->chunked = 0;
    r_->clength = static_cast<apr_off_t>(framing_.length_bytes);
    // Keeps the peer's Date and Server.
    r_->proxyreq = PROXYREQ_REVERSE;

    // Filters that change content have run at the peer.  Of the protocol's, neither ranges nor the
    // length are to be worked out again.
    r_->output_filters = r_->proto_output_filters;
    remove_protocol_filters(r_, filters_);
    committed_ = true;
}

void ResponseRelay::deliver() {
    collect_for_client({buffer_ + body_start_, used_ - body_start_});
    pass_on(true);
}

// The bytes stay where they are until pass_on(), in the buffer: what is found wrong behind them
// must not commit anything.
void ResponseRelay::collect_for_client(std::string_view body) {
    if (body.empty() || client_gone_) {
        return;
    }
    APR_BRIGADE_INSERT_TAIL(brigade_, apr_bucket_transient_create(body.data(), body.size(),
                                                                  r_->connection->bucket_alloc));
    collected_bytes_ += body.size();
}

// Flushed when nothing more is at hand, so that what the peer sends piecemeal arrives piecemeal.  A
// full buffer means that there is more.
void ResponseRelay::pass_on(bool last) {
    const bool flush = filled_ < buffer_bytes;
    if (client_gone_ || (!last && APR_BRIGADE_EMPTY(brigade_))) {
        return;
    }
    if (!committed_) {
        adopt_head();
    }
    r_->bytes_sent += static_cast<apr_off_t>(std::exchange(collected_bytes_, 0));
    apr_bucket_alloc_t* const allocator = r_->connection->bucket_alloc;
    if (last) {
        APR_BRIGADE_INSERT_TAIL(brigade_, apr_bucket_eos_create(allocator));
    } else if (flush) {
        APR_BRIGADE_INSERT_TAIL(brigade_, apr_bucket_flush_create(allocator));
    }
    const apr_status_t passed = ap_pass_brigade(r_->output_filters, brigade_);
    apr_brigade_cleanup(brigade_);
    client_gone_ = passed != APR_SUCCESS || r_->connection->aborted != 0;
}

// The error bucket makes the chunk filter leave out the last chunk; a body of known length simply
// stays short of it.  Either way the client sees that something is missing.
void ResponseRelay::break_off() {
    conn_rec* const connection = r_->connection;
    connection->keepalive = AP_CONN_CLOSE;
    apr_brigade_cleanup(brigade_);
    APR_BRIGADE_INSERT_TAIL(brigade_, ap_bucket_error_create(HTTP_BAD_GATEWAY, nullptr, r_->pool,
                                                             connection->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(brigade_, apr_bucket_eos_create(connection->bucket_alloc));
    ap_pass_brigade(r_->output_filters, brigade_);
    apr_brigade_cleanup(brigade_);
}

}  // namespace backhand::httpd
