// ResponseRelay: a peer's response, from the peer's socket into httpd's output filters.
//
// Reads and checks the head, then either collects a short response completely (so that it can still
// be dropped and asked for elsewhere if the peer breaks off) or passes a longer one on as it comes,
// in bounded memory.  Nothing reaches the client before the relay is *committed*; afterwards a
// response that breaks off ends the client's connection, so that it never looks whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "forward/http1.h"
#include "forward/request_head.h"
#include "httpd/apache.h"

namespace backhand::httpd {

class HeadStrings;
struct ResponseFilters;

class ResponseRelay {
public:
    static constexpr std::size_t buffer_bytes = 32'768;

    // What has been seen of the response so far.
    enum class Stage { nothing, interim, body, complete };

    // `commit_early`: pass the response on as it comes even if it is short, because the request
    // could not be repeated anyway.
    ResponseRelay(request_rec* r, bool commit_early, const ResponseFilters& filters);

    // Receives once (waiting up to `limit`, or not at all if it is zero) and works on what came.
    // Errors: broken or timed_out from the socket, malformed from the peer's bytes.  A client that
    // has gone is no error: see client_gone().
    Result<Stage> receive(int socket, Nanoseconds limit);

    Stage stage() const { return stage_; }

    // The peer said 100 Continue.
    bool may_continue() const { return continue_seen_; }

    // The head of a final response has arrived.
    bool has_head() const { return stage_ == Stage::body || stage_ == Stage::complete; }

    // The peer sends the request back unserved; nothing of this response may be used.
    bool is_declined() const { return declined_for_ != nullptr; }

    // One of namespace declined, or what a later version says; empty: it has not said why.
    // REQUIRES: is_declined().
    const char* declined_for() const { return declined_for_; }

    // It does so for who sends it: it would send back any other.  REQUIRES: is_declined().
    bool disbelieves_forwarder() const { return declined::is_for_forwarder(declined_for_); }

    // It does so because it is busy; the rest of what it says is true.  REQUIRES: is_declined().
    bool is_busy() const { return declined_for_ == declined::busy; }

    // The peer is asked before it gets the body.  417 then means that it does not know how to be
    // asked, and has done nothing (RFC 9110 section 15.5.18).
    void ask_first() { asked_first_ = true; }

    // The peer has not answered that: the body is sent without.
    void ask_no_longer() { asked_first_ = false; }

    // The peer may switch protocols: the request asks for it.
    void expect_upgrade() { upgrade_expected_ = true; }

    // It has, and the client has been told.
    bool is_upgraded() const { return upgraded_; }

    // What of the other protocol has come with the response.  REQUIRES: is_upgraded().
    std::string_view after_upgrade() const { return {buffer_ + used_, filled_ - used_}; }

    const std::optional<LoadNews>& news() const { return news_; }

    bool is_committed() const { return committed_; }

    bool client_gone() const { return client_gone_; }

    bool any_bytes_received() const { return any_bytes_received_; }

    // The exchange ended cleanly and the peer keeps the connection open.
    bool connection_reusable() const;

    // Hands a response that was collected to the client.  REQUIRES: complete, not committed.
    void deliver();

    // After a failure once committed: ends the client's connection with the response unfinished.
    void break_off();

private:
    Status process();
    Status process_head();
    // `text`: all of the head.
    Status take_head(const ResponseHead& head, std::string_view text);
    void take_fields(const ResponseHead& head, const HeadStrings& strings);
    void take_our_field(const HeaderField& field, const HeadStrings& strings);
    Status process_body();
    Status take_interim(const ResponseHead& head, std::string_view text);
    void pass_on_interim(const ResponseHead& head, std::string_view text);
    void adopt_head();
    void collect_for_client(std::string_view body);
    void pass_on(bool last);
    bool collecting() const;

    request_rec* const r_;
    const bool commit_early_;
    const ResponseFilters& filters_;
    char* const buffer_;
    std::size_t filled_ = 0;  // bytes in buffer_
    std::size_t used_ = 0;    // of these, already worked on

    Stage stage_ = Stage::nothing;
    bool continue_seen_ = false;
    bool any_bytes_received_ = false;
    bool asked_first_ = false;
    bool upgrade_expected_ = false;
    bool upgraded_ = false;
    bool committed_ = false;
    bool client_gone_ = false;
    bool peer_closed_ = false;
    ResponseFraming framing_;
    ChunkedDecoder chunks_;
    std::uint64_t body_bytes_left_ = 0;
    std::optional<LoadNews> news_;

    // Why the peer sends the request back; nullptr if it does not.
    const char* declined_for_ = nullptr;

    // The head, copied out of the buffer; applied to the request when committing.
    int status_ = 0;
    const char* status_line_ = nullptr;
    apr_table_t* fields_ = nullptr;
    const char* content_type_ = nullptr;  // not among fields_, unless httpd will change it
    std::size_t body_start_ = 0;          // while collecting: where the body begins in buffer_
    apr_bucket_brigade* const brigade_;   // for the client, not passed on yet
    std::uint64_t collected_bytes_ = 0;   // in brigade_
};

}  // namespace backhand::httpd
