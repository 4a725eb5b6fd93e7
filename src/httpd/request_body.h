// RequestBody: the client's body, on its way to a peer or, if no peer takes the request, back to
// this server's own handlers.
//
// Up to 64 KiB are read before a peer is engaged: such a body can be sent again to another peer.
// What is longer is streamed, and then the peer is asked to agree before it gets any of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "httpd/apache.h"

namespace backhand::httpd {

class RequestBody {
public:
    static constexpr std::size_t prefetch_bytes_max = 65'536;

    explicit RequestBody(request_rec* r);

    // Reads the beginning, past the filters that interpret content: the peer has its own.
    // Returns OK or the status to answer with (too large, client gone, malformed).
    int prefetch();

    bool present() const { return present_; }

    // True if all of it has been read: it can be sent as often as needed.
    bool complete() const { return complete_; }

    std::string_view prefetched() const { return prefetched_; }

    // Some of it has been handed out by read_on(): it cannot be sent again, nor put back.
    bool spent() const { return spent_; }

    // How the client has framed it: in chunks, or with this Content-Length.
    bool chunked() const { return chunked_; }

    std::uint64_t length_bytes() const { return length_bytes_; }

    // False if something else on this server has read the body, or part of it, before us.
    bool untouched() const;

    // The next piece after prefetched(), empty at the end, or if the client has sent no more yet.
    // Does not wait.  Returns OK or a status as above.
    int read_on(std::string& piece);

    // Gives what was read back to this server's handlers, as if nobody had read it.
    void put_back();

private:
    int read_into(std::string& target, std::size_t bytes_max, apr_read_type_e block);

    request_rec* const r_;
    ap_filter_t* const content_filters_;
    apr_bucket_brigade* brigade_ = nullptr;
    std::string prefetched_;
    bool present_ = false;
    bool complete_ = false;
    bool chunked_ = false;
    bool spent_ = false;
    std::uint64_t length_bytes_ = 0;  // 0 if it is chunked
};

// Registers the input filter that put_back() uses.  Called with the hooks.
void register_body_filter();

}  // namespace backhand::httpd
