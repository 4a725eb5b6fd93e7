#include "moderator/challenger.h"

#include <algorithm>
#include <array>
#include <utility>

#include <asio.hpp>

#include "forward/http1.h"
#include "moderator/tcp_endpoint.h"

namespace backhand {

namespace {

constexpr std::size_t open_max = 32;
constexpr std::size_t remembered_max = 4096;
constexpr std::chrono::seconds answer_limit{2};
constexpr Nanoseconds pause_first = std::chrono::milliseconds{250};
constexpr int doublings_max = 7;  // half a minute
constexpr std::size_t response_bytes_max = 4096;

Nanoseconds pause_after(int failures) {
    return pause_first * (1 << std::min(failures - 1, doublings_max));
}

}  // namespace

// One question, from connecting to the end of the answer.  Handlers share in owning it: one may
// already wait to be called when the question ends.
class Challenger::Question : public std::enable_shared_from_this<Question> {
public:
    Question(Challenger& owner, const Endpoint& contact, std::string name, const Nonce& nonce)
        : owner_(owner),
          contact_(contact),
          name_(std::move(name)),
          nonce_(nonce),
          request_(challenge_request(nonce_, contact, owner.keys_)),
          socket_(owner.loop_),
          deadline_(owner.loop_) {}

    void start() {
        deadline_.expires_after(answer_limit);
        deadline_.async_wait([self = shared_from_this()](const std::error_code& error) {
            if (!error) {
                self->finish(std::nullopt, "no answer in time");
            }
        });
        open_from(socket_, owner_.source_, contact_);
        socket_.async_connect(tcp_endpoint(contact_),
                              [self = shared_from_this()](const std::error_code& error) {
                                  error ? self->give_up(error) : self->send();
                              });
    }

private:
    void send() {
        asio::async_write(socket_, asio::buffer(request_),
                          [self = shared_from_this()](const std::error_code& error, std::size_t) {
                              error ? self->give_up(error) : self->receive();
                          });
    }

    void receive() {
        socket_.async_read_some(
            asio::buffer(response_.data() + filled_, response_.size() - filled_),
            [self = shared_from_this()](const std::error_code& error, std::size_t size) {
                if (error) {
                    self->give_up(error);
                    return;
                }
                self->filled_ += size;
                self->take_response();
            });
    }

    // Takes the response's body once all of it has arrived.
    void take_response() {
        ResponseHead head;
        const auto state = parse_response_head({response_.data(), filled_}, head);
        if (!state) {
            finish(std::nullopt, "no HTTP response: " + state.error().detail);
            return;
        }
        const auto framing = *state == HeadState::complete
                                 ? response_framing(head, false)
                                 : Result<ResponseFraming>{ResponseFraming{}};
        if (!framing || (*state == HeadState::complete &&
                         (head.status != 200 || framing->end != BodyEnd::at_length))) {
            finish(std::nullopt, "not a Backhand server: its answer to the challenge is " +
                                     std::string{head.status_line});
            return;
        }
        const std::size_t whole = head.size_bytes + framing->length_bytes;
        if (*state == HeadState::complete && filled_ >= whole) {
            const std::string_view body{response_.data() + head.size_bytes, framing->length_bytes};
            const auto answer =
                read_answer(body, nonce_, {.contact = contact_, .name = name_}, owner_.keys_);
            finish(answer, "the answer is of another server, or not signed with our key");
        } else if (filled_ == response_.size() || whole > response_.size()) {
            finish(std::nullopt, "the answer is too long");
        } else {
            receive();
        }
    }

    void give_up(const std::error_code& error) { finish(std::nullopt, error.message()); }

    void finish(const std::optional<ChallengeAnswer>& answer, const std::string& why) {
        if (std::exchange(finished_, true)) {
            return;  // a handler of what was cancelled below
        }
        std::error_code ignored;
        socket_.close(ignored);
        deadline_.cancel();
        owner_.end(contact_, answer, why);
    }

    Challenger& owner_;
    const Endpoint contact_;
    const std::string name_;
    const Nonce nonce_;
    const std::string request_;
    asio::ip::tcp::socket socket_;
    asio::steady_timer deadline_;
    std::array<char, response_bytes_max> response_{};
    std::size_t filled_ = 0;
    bool finished_ = false;
};

Challenger::Challenger(asio::io_context& loop, const KeyRing& keys, IpAddress source, Passed passed,
                       Failed failed)
    : loop_(loop),
      keys_(keys),
      source_(source),
      passed_(std::move(passed)),
      failed_(std::move(failed)) {}

Challenger::~Challenger() = default;

bool Challenger::ask(const Endpoint& contact, const std::string& name, std::uint64_t boot_id,
                     MonotonicTime now) {
    if (open_ >= open_max) {
        return false;
    }
    if (asked_.size() >= remembered_max) {
        forget_old(now);
    }
    Asked& asked = asked_[contact.to_string()];
    if (boot_id > asked.boot_id) {
        // What its earlier lives failed, or those who replayed them, is not held against it.
        asked.boot_id = boot_id;
        asked.failures = 0;
        asked.again_at = 0;
    }
    if (asked.question || asked.again_at > now) {
        return false;
    }
    const auto nonce = make_nonce();
    if (!nonce) {
        return false;
    }
    asked.question = std::make_shared<Question>(*this, contact, name, *nonce);
    ++open_;
    asked.question->start();
    return true;
}

void Challenger::end(const Endpoint& contact, const std::optional<ChallengeAnswer>& answer,
                     const std::string& why) {
    const auto found = asked_.find(contact.to_string());
    Asked& asked = found->second;
    asked.question.reset();
    --open_;
    if (answer) {
        asked_.erase(found);
        passed_(contact, *answer);
    } else {
        ++asked.failures;
        asked.again_at = monotonic_now() + nanoseconds_in(pause_after(asked.failures));
        failed_(contact, why);
    }
}

void Challenger::forget_old(MonotonicTime now) {
    std::erase_if(asked_, [now](const auto& entry) {
        return !entry.second.question && entry.second.again_at <= now;
    });
}

}  // namespace backhand
