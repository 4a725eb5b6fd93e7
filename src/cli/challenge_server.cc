#include "cli/challenge_server.h"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <system_error>
#include <utility>

#include <asio/write.hpp>
#include <sys/socket.h>

#include "announce/challenge.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "forward/http1.h"

namespace backhand {

namespace {

constexpr std::size_t head_bytes_max = 8192;
constexpr int open_max = 32;
constexpr std::chrono::seconds exchange_limit{2};
constexpr std::chrono::milliseconds pause_after_failure{100};
constexpr std::string_view line_end = "\r\n";
constexpr std::string_view head_end = "\r\n\r\n";

std::string response(const std::optional<std::string>& answer) {
    const std::string body = answer.value_or("Not found\n");
    std::string text = answer ? "HTTP/1.1 200 OK\r\n" : "HTTP/1.1 404 Not Found\r\n";
    text.append("Content-Type: text/plain\r\nCache-Control: no-store\r\nConnection: close\r\n");
    text.append("Content-Length: ").append(std::to_string(body.size())).append(head_end);
    return text + body;
}

// Cuts the first line off, without its end.
std::string_view take_line(std::string_view& text) {
    const std::string_view line = text.substr(0, text.find(line_end));
    text.remove_prefix(line.size() + line_end.size());
    return line;
}

std::string_view without_blanks(std::string_view text) {
    const auto begin = text.find_first_not_of(" \t");
    const auto end = text.find_last_not_of(" \t");
    return begin == std::string_view::npos ? std::string_view{}
                                           : text.substr(begin, end - begin + 1);
}

}  // namespace

std::optional<std::string_view> challenge_in(std::string_view head) {
    const std::string wanted = "GET " + std::string{challenge_path} + " HTTP/1.";
    if (!head.ends_with(head_end)) {
        return std::nullopt;
    }
    head.remove_suffix(line_end.size());
    const std::string_view request_line = take_line(head);
    if (request_line != wanted + "1" && request_line != wanted + "0") {
        return std::nullopt;
    }
    std::optional<std::string_view> question;
    while (!head.empty()) {
        const std::string_view line = take_line(head);
        const std::string_view name = line.substr(0, line.find(':'));
        if (name.size() == line.size() || !is_token(name) ||
            !is_field_value(line.substr(name.size() + 1))) {
            return std::nullopt;
        }
        if (equal_ignoring_case(name, challenge_field)) {
            if (question) {
                return std::nullopt;
            }
            question = without_blanks(line.substr(name.size() + 1));
        }
    }
    return question;
}

// One connection.  Handlers share in owning it: one may already wait to be called when it ends.
class ChallengeServer::Exchange : public std::enable_shared_from_this<Exchange> {
public:
    Exchange(ChallengeServer& owner, asio::ip::tcp::socket socket)
        : owner_(owner),
          socket_(std::move(socket)),
          deadline_(socket_.get_executor()) {}

    void start() {
        deadline_.expires_after(exchange_limit);
        deadline_.async_wait([self = shared_from_this()](const std::error_code& error) {
            if (!error) {
                self->finish();
            }
        });
        receive();
    }

private:
    void receive() {
        socket_.async_read_some(
            asio::buffer(bytes_.data() + filled_, bytes_.size() - filled_),
            [self = shared_from_this()](const std::error_code& error, std::size_t size) {
                self->filled_ += size;
                const std::string_view head{self->bytes_.data(), self->filled_};
                const std::size_t end = head.find(head_end);
                if (end != std::string_view::npos) {
                    self->respond(head.substr(0, end + head_end.size()));
                } else if (error || self->filled_ == self->bytes_.size()) {
                    self->finish();
                } else {
                    self->receive();
                }
            });
    }

    void respond(std::string_view head) {
        const auto question = challenge_in(head);
        response_ = response(question ? owner_.answer_(*question) : std::nullopt);
        asio::async_write(socket_, asio::buffer(response_),
                          [self = shared_from_this()](const std::error_code& error, std::size_t) {
                              error ? self->finish() : self->await_end();
                          });
    }

    // Closing while something of the request is still unread would reset the connection, and take
    // the response back.
    void await_end() {
        std::error_code ignored;
        socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
        discard();
    }

    void discard() {
        socket_.async_read_some(
            asio::buffer(bytes_),
            [self = shared_from_this()](const std::error_code& error, std::size_t) {
                error ? self->finish() : self->discard();
            });
    }

    void finish() {
        if (std::exchange(finished_, true)) {
            return;  // a handler of what was cancelled below
        }
        std::error_code ignored;
        socket_.close(ignored);
        deadline_.cancel();
        owner_.end_of_exchange();
    }

    ChallengeServer& owner_;
    asio::ip::tcp::socket socket_;
    asio::steady_timer deadline_;
    std::array<char, head_bytes_max> bytes_{};
    std::size_t filled_ = 0;
    std::string response_;
    bool finished_ = false;
};

ChallengeServer::ChallengeServer(asio::io_context& loop, Answer answer)
    : answer_(std::move(answer)),
      acceptor_(loop),
      pause_(loop) {}

Status ChallengeServer::listen(const Endpoint& endpoint) {
    const SocketAddress address{endpoint};
    const auto protocol = endpoint.address.is_v4() ? asio::ip::tcp::v4() : asio::ip::tcp::v6();
    const int on = 1;
    UniqueFd socket{::socket(protocol.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        ::bind(socket.get(), address.get(), address.size) != 0 ||
        ::listen(socket.get(), open_max) != 0) {
        return Error{Error::Kind::system,
                     "--challenge-listen " + endpoint.to_string() + ": " +
                         std::generic_category().message(errno) +
                         "; expected an address of this machine and a port that is free"};
    }
    acceptor_.assign(protocol, socket.release());
    accept();
    return Done{};
}

void ChallengeServer::accept() {
    acceptor_.async_accept([this](const std::error_code& error, asio::ip::tcp::socket socket) {
        if (error) {
            // No descriptor left, say: asking again at once would only spin.
            pause();
            return;
        }
        ++open_;
        std::make_shared<Exchange>(*this, std::move(socket))->start();
        full_ = open_ == open_max;
        if (!full_) {
            accept();
        }
    });
}

void ChallengeServer::pause() {
    pause_.expires_after(pause_after_failure);
    pause_.async_wait([this](const std::error_code& error) {
        if (!error) {
            accept();
        }
    });
}

void ChallengeServer::end_of_exchange() {
    --open_;
    if (std::exchange(full_, false)) {
        accept();
    }
}

}  // namespace backhand
