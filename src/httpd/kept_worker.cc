#include "httpd/kept_worker.h"

#include <algorithm>
#include <array>
#include <chrono>

#include <poll.h>

#include "base/clock.h"
#include "httpd/apache.h"
#include "httpd/client_socket.h"
#include "httpd/identity.h"
#include "httpd/instance.h"
#include "httpd/mpm.h"

namespace backhand::httpd {

namespace {

// What comes within this time follows closely.
constexpr Milliseconds moment{5};

// Whether the MPM would do nothing but wait for the next request.
bool is_between_requests(const conn_rec* connection) {
    return connection->cs->state == CONN_STATE_WRITE_COMPLETION &&
           connection->keepalive == AP_CONN_KEEPALIVE && connection->aborted == 0 &&
           connection->data_in_input_filters == 0;
}

// What httpd still has of the response goes to the network, as the MPM would see to.  False if some
// of it stays because the client does not read.
bool drain(const conn_rec* connection) {
    ap_filter_t* last = connection->output_filters;
    while (last->next != nullptr) {
        last = last->next;
    }
    return last->frec->filter_func.out_func(last, nullptr) == APR_SUCCESS &&
           connection->data_in_output_filters == 0;
}

// One of the child's workers that wait.
class WaitingWorker {
public:
    explicit WaitingWorker(ChildState& child)
        : child_(child),
          others_(child.workers_waiting.fetch_add(1, std::memory_order_relaxed)) {}

    WaitingWorker(const WaitingWorker&) = delete;
    WaitingWorker& operator=(const WaitingWorker&) = delete;

    ~WaitingWorker() { child_.workers_waiting.fetch_sub(1, std::memory_order_relaxed); }

    bool is_one_too_many() const {
        const ChildCell& cell = *child_.tally.cell;
        const std::uint32_t at_work = cell.serving.load(std::memory_order_relaxed) +
                                      cell.forwarding.load(std::memory_order_relaxed);
        return 2 * (at_work + others_ + 1) > child_.workers;
    }

private:
    ChildState& child_;
    const std::uint32_t others_;
};

// Also if the client has closed the connection: httpd finds out when it reads.  The connection to a
// peer that the next request is likely to take is on a lookout meanwhile.
bool next_request_comes(conn_rec* connection, ChildState& child, bool to_a_peer) {
    const WaitingWorker waiting{child};
    if (waiting.is_one_too_many()) {
        return false;
    }
    ap_update_child_status(static_cast<ap_sb_handle_t*>(connection->sbh), SERVER_BUSY_KEEPALIVE,
                           nullptr);
    const auto limit = std::min<std::chrono::microseconds>(
        moment, std::chrono::microseconds{connection->base_server->keep_alive_timeout});
    const int limit_ms = static_cast<int>(std::chrono::ceil<Milliseconds>(limit).count());
    const auto lookout = to_a_peer ? child.connections.begin_lookout() : PeerConnections::Lookout{};
    std::array<pollfd, 2> sockets = {{
        {.fd = socket_of(connection), .events = POLLIN, .revents = 0},
        {.fd = lookout.socket, .events = POLLIN, .revents = 0},
    }};
    int ready = ::poll(sockets.data(), sockets.size(), limit_ms);
    child.connections.end_lookout(lookout, ready >= 0 && sockets[1].revents == 0);
    if (ready == 1 && sockets[0].revents == 0) {
        // Either that connection is of no use any more, or another request has taken it.
        ready = ::poll(sockets.data(), 1, limit_ms);
    }
    return ready > 0;
}

}  // namespace

int keep_worker(conn_rec* connection) noexcept {
    ConnectionState* const state = connection_state_of(connection);
    if (state == nullptr || state->is_kept) {
        return DECLINED;
    }
    const Instance* const instance = server_config(connection->base_server).instance;
    if (instance == nullptr || instance->response_filters.end == nullptr ||
        !instance->child->tally) {
        return DECLINED;
    }
    const bool followed_closely =
        state->left_at != 0 && elapsed(state->left_at, monotonic_now()) <= moment;
    state->is_kept = true;
    int result = ap_run_process_connection(connection);
    while (result == OK && followed_closely && is_between_requests(connection) &&
           !mpm_is_stopping() && drain(connection) &&
           next_request_comes(connection, *instance->child, state->told != nullptr)) {
        instance->table.counters().add(Counter::worker_kept);
        connection->cs->state = CONN_STATE_READ_REQUEST_LINE;
        result = ap_run_process_connection(connection);
    }
    state->is_kept = false;
    state->left_at = monotonic_now();
    return result;
}

}  // namespace backhand::httpd
