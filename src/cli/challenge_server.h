// ChallengeServer: answers the challenge (announce/challenge.h) for a web server that cannot, and
// that passes GET /.well-known/backhand on to it.
//
// As little of an HTTP/1.1 server as that takes: one request on each connection, its head within
// 8 KiB and 2 seconds, 32 connections at a time.  Everything else is answered with 404, as if
// nobody had ever thought of answering here.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>

#include "base/address.h"
#include "base/result.h"

namespace backhand {

// The value of Backhand-Challenge in a whole request head, if that is what is asked for and all is
// as it should be.
std::optional<std::string_view> challenge_in(std::string_view head);

class ChallengeServer {
public:
    // The body to answer with; nullopt if the question is not one of ours.
    using Answer = std::function<std::optional<std::string>(std::string_view question)>;

    ChallengeServer(asio::io_context& loop, Answer answer);
    ChallengeServer(const ChallengeServer&) = delete;
    ChallengeServer& operator=(const ChallengeServer&) = delete;
    ~ChallengeServer() = default;

    // Called once, before the loop runs.
    Status listen(const Endpoint& endpoint);

private:
    class Exchange;

    void accept();
    void pause();
    void end_of_exchange();

    Answer answer_;
    asio::ip::tcp::acceptor acceptor_;
    asio::steady_timer pause_;
    int open_ = 0;
    bool full_ = false;  // not accepting until a connection ends
};

}  // namespace backhand
