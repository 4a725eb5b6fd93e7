#include "moderator/connection_opener.h"

#include <memory>
#include <utility>

#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>

#include "moderator/tcp_endpoint.h"

namespace backhand {

namespace {

constexpr std::size_t under_way_max = 32;
constexpr std::chrono::seconds connect_limit{1};

}  // namespace

// One connection, until it is there or given up.  Its two handlers share in owning it.
class ConnectionOpener::Attempt : public std::enable_shared_from_this<Attempt> {
public:
    Attempt(ConnectionOpener& owner, const Endpoint& contact)
        : owner_(owner),
          contact_(contact),
          socket_(owner.loop_),
          deadline_(owner.loop_) {
        ++owner_.under_way_;
    }

    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;

    ~Attempt() { --owner_.under_way_; }

    void start() {
        open_from(socket_, owner_.source_, contact_);
        deadline_.expires_after(connect_limit);
        deadline_.async_wait([self = shared_from_this()](const std::error_code& error) {
            if (!error) {
                std::error_code ignored;
                self->socket_.close(ignored);
            }
        });
        socket_.async_connect(tcp_endpoint(contact_),
                              [self = shared_from_this()](const std::error_code& error) {
                                  self->deadline_.cancel();
                                  if (!error) {
                                      self->hand_over();
                                  }
                              });
    }

private:
    void hand_over() {
        std::error_code error;
        socket_.set_option(asio::ip::tcp::no_delay{true}, error);
        UniqueFd connection{socket_.release(error)};
        if (!error) {
            owner_.opened_(contact_, std::move(connection));
        }
    }

    ConnectionOpener& owner_;
    const Endpoint contact_;
    asio::ip::tcp::socket socket_;
    asio::steady_timer deadline_;
};

ConnectionOpener::ConnectionOpener(asio::io_context& loop, IpAddress source, Opened opened)
    : loop_(loop),
      source_(source),
      opened_(std::move(opened)) {}

void ConnectionOpener::open(const Endpoint& contact, std::size_t count) {
    while (count-- > 0 && under_way_ < under_way_max) {
        std::make_shared<Attempt>(*this, contact)->start();
    }
}

}  // namespace backhand
