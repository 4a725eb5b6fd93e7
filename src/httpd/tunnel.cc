#include "httpd/tunnel.h"

#include <array>
#include <cerrno>
#include <string>

#include <poll.h>
#include <sys/socket.h>

#include "forward/peer_socket.h"
#include "httpd/apache.h"
#include "httpd/client_socket.h"

namespace backhand::httpd {

namespace {

constexpr std::size_t piece_bytes = 16'384;

class Tunnel {
public:
    Tunnel(request_rec* r, int peer)
        : connection_(r->connection),
          peer_(peer),
          client_(socket_of(connection_)),
          brigade_(apr_brigade_create(r->pool, r->connection->bucket_alloc)) {}

    void run(std::string_view from_peer, Nanoseconds idle_limit) {
        client_open_ = client_ >= 0;
        peer_open_ = pass_to_client(from_peer);
        while (peer_open_) {
            // What the filters hold already makes no socket readable.
            const bool perhaps_more = take_from_client();
            if (!send_to_peer() ||
                (!wait(perhaps_more ? Nanoseconds{0} : idle_limit) && !perhaps_more)) {
                return;
            }
        }
    }

private:
    // Until something can be done.  False: nothing could be for too long, or it is over.
    bool wait(Nanoseconds limit) {
        const bool full = !to_peer_.empty();
        std::array<pollfd, 2> sockets = {{
            {.fd = peer_,
             .events = static_cast<short>(POLLIN | (full ? POLLOUT : 0)),
             .revents = 0},
            {.fd = client_open_ && !full ? client_ : -1, .events = POLLIN, .revents = 0},
        }};
        const auto limit_ms = std::chrono::ceil<Milliseconds>(limit).count();
        const int ready = ::poll(sockets.data(), sockets.size(), static_cast<int>(limit_ms));
        if (ready < 0 && errno == EINTR) {
            return true;
        }
        if (ready <= 0) {
            return false;
        }
        return (sockets[0].revents & ~POLLOUT) == 0 || take_from_peer();
    }

    bool take_from_peer() {
        const auto received = receive_some(peer_, buffer_, Nanoseconds{0});
        if (!received) {
            return received.error().kind == Error::Kind::timed_out;
        }
        peer_open_ = *received != 0 && pass_to_client({buffer_.data(), *received});
        return true;
    }

    bool pass_to_client(std::string_view bytes) {
        if (bytes.empty()) {
            return true;
        }
        apr_bucket_alloc_t* const allocator = connection_->bucket_alloc;
        APR_BRIGADE_INSERT_TAIL(brigade_,
                                apr_bucket_transient_create(bytes.data(), bytes.size(), allocator));
        APR_BRIGADE_INSERT_TAIL(brigade_, apr_bucket_flush_create(allocator));
        const apr_status_t passed = ap_pass_brigade(connection_->output_filters, brigade_);
        apr_brigade_cleanup(brigade_);
        return passed == APR_SUCCESS && connection_->aborted == 0;
    }

    // True if something came.
    bool take_from_client() {
        if (!client_open_ || !to_peer_.empty()) {
            return false;
        }
        const apr_status_t status =
            ap_get_brigade(connection_->input_filters, brigade_, AP_MODE_READBYTES,
                           APR_NONBLOCK_READ, piece_bytes);
        if (status == APR_SUCCESS) {
            append_brigade();
        } else {
            client_open_ = APR_STATUS_IS_EAGAIN(status);
        }
        apr_brigade_cleanup(brigade_);
        if (!client_open_ && to_peer_.empty()) {
            ::shutdown(peer_, SHUT_WR);
        }
        return !to_peer_.empty();
    }

    void append_brigade() {
        for (apr_bucket* bucket = APR_BRIGADE_FIRST(brigade_);
             bucket != APR_BRIGADE_SENTINEL(brigade_); bucket = APR_BUCKET_NEXT(bucket)) {
            const char* data = nullptr;
            apr_size_t size = 0;
            if (APR_BUCKET_IS_METADATA(bucket)) {
                client_open_ = client_open_ && !APR_BUCKET_IS_EOS(bucket);
            } else if (apr_bucket_read(bucket, &data, &size, APR_NONBLOCK_READ) == APR_SUCCESS) {
                to_peer_.append(data, size);
            }
        }
    }

    bool send_to_peer() {
        if (to_peer_.empty()) {
            return true;
        }
        const auto sent = send_some(peer_, to_peer_);
        if (!sent) {
            return false;
        }
        to_peer_.erase(0, *sent);
        if (to_peer_.empty() && !client_open_) {
            ::shutdown(peer_, SHUT_WR);
        }
        return true;
    }

    conn_rec* const connection_;
    const int peer_;
    const int client_;
    apr_bucket_brigade* const brigade_;
    bool client_open_ = false;
    bool peer_open_ = false;
    std::string to_peer_;
    std::array<char, piece_bytes> buffer_{};
};

}  // namespace

void run_tunnel(request_rec* r, int peer, std::string_view from_peer, Nanoseconds idle_limit) {
    Tunnel tunnel{r, peer};
    tunnel.run(from_peer, idle_limit);
}

}  // namespace backhand::httpd
