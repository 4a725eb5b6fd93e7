#include "httpd/request_body.h"

#include <algorithm>

#include "base/text.h"
#include "httpd/apache.h"
#include "httpd/guard.h"

namespace backhand::httpd {

namespace {

constexpr const char* body_filter_name = "BACKHAND_BODY";
constexpr std::size_t piece_bytes_max = 16'384;

// Gives out the brigade in its context, then steps aside.
apr_status_t body_filter(ap_filter_t* filter, apr_bucket_brigade* brigade, ap_input_mode_t mode,
                         apr_read_type_e block, apr_off_t bytes) {
    auto* const kept = static_cast<apr_bucket_brigade*>(filter->ctx);
    if (APR_BRIGADE_EMPTY(kept)) {
        ap_filter_t* const next = filter->next;
        ap_remove_input_filter(filter);
        return ap_get_brigade(next, brigade, mode, block, bytes);
    }
    if (mode != AP_MODE_READBYTES) {
        return APR_ENOTIMPL;
    }
    apr_bucket* after = nullptr;
    const apr_status_t cut = apr_brigade_partition(kept, bytes, &after);
    if (cut != APR_SUCCESS && cut != APR_INCOMPLETE) {
        return cut;
    }
    apr_bucket_brigade* const rest = apr_brigade_split_ex(kept, after, nullptr);
    APR_BRIGADE_CONCAT(brigade, kept);
    APR_BRIGADE_CONCAT(kept, rest);
    return APR_SUCCESS;
}

}  // namespace

RequestBody::RequestBody(request_rec* r) : r_(r), content_filters_(r->input_filters) {
    const char* const length = apr_table_get(r->headers_in, "Content-Length");
    chunked_ = apr_table_get(r->headers_in, "Transfer-Encoding") != nullptr;
    present_ = chunked_ || length != nullptr;
    if (length != nullptr && !chunked_) {
        length_bytes_ = parse_number<std::uint64_t>(length).value_or(0);
    }
    complete_ = !chunked_ && length_bytes_ == 0;
}

int RequestBody::prefetch() {
    while (!complete_ && prefetched_.size() < prefetch_bytes_max) {
        const int status =
            read_into(prefetched_, prefetch_bytes_max - prefetched_.size(), APR_BLOCK_READ);
        if (status != OK) {
            return status;
        }
    }
    return OK;
}

bool RequestBody::untouched() const {
    return !complete_ || chunked_ || length_bytes_ == prefetched_.size();
}

int RequestBody::read_on(std::string& piece) {
    piece.clear();
    const int status = read_into(piece, piece_bytes_max, APR_NONBLOCK_READ);
    spent_ = spent_ || !piece.empty();
    return status;
}

int RequestBody::read_into(std::string& target, std::size_t bytes_max, apr_read_type_e block) {
    if (brigade_ == nullptr) {
        brigade_ = apr_brigade_create(r_->pool, r_->connection->bucket_alloc);
    }
    r_->input_filters = r_->proto_input_filters;
    const apr_status_t status =
        ap_get_brigade(r_->input_filters, brigade_, AP_MODE_READBYTES, block,
                       static_cast<apr_off_t>(std::min(bytes_max, piece_bytes_max)));
    if (block == APR_NONBLOCK_READ && APR_STATUS_IS_EAGAIN(status)) {
        return OK;
    }
    if (status != APR_SUCCESS) {
        return ap_map_http_request_error(status, HTTP_BAD_REQUEST);
    }
    while (!APR_BRIGADE_EMPTY(brigade_)) {
        apr_bucket* const bucket = APR_BRIGADE_FIRST(brigade_);
        if (APR_BUCKET_IS_EOS(bucket)) {
            complete_ = true;
        } else if (!APR_BUCKET_IS_METADATA(bucket)) {
            const char* data = nullptr;
            apr_size_t size = 0;
            if (apr_bucket_read(bucket, &data, &size, APR_BLOCK_READ) != APR_SUCCESS) {
                return HTTP_BAD_REQUEST;
            }
            target.append(data, size);
        }
        apr_bucket_delete(bucket);
    }
    return OK;
}

void RequestBody::put_back() {
    r_->input_filters = content_filters_;
    if (!present_ || (prefetched_.empty() && !complete_)) {
        return;
    }
    apr_bucket_alloc_t* const allocator = r_->connection->bucket_alloc;
    apr_bucket_brigade* const kept = apr_brigade_create(r_->pool, allocator);
    apr_brigade_write(kept, nullptr, nullptr, prefetched_.data(), prefetched_.size());
    if (complete_) {
        APR_BRIGADE_INSERT_TAIL(kept, apr_bucket_eos_create(allocator));
    }
    ap_add_input_filter(body_filter_name, kept, r_, r_->connection);
}

void register_body_filter() {
    // Between the filters that interpret content and those of the protocol: takes the place of what
    // the latter have already delivered.
    constexpr auto type = static_cast<ap_filter_type>(AP_FTYPE_PROTOCOL - 1);
    ap_register_input_filter(body_filter_name, &body_filter, nullptr, type);
}

}  // namespace backhand::httpd
