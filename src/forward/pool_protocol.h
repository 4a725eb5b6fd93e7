// What httpd's children and the moderator say to each other about pooled connections.
//
// Over a SOCK_SEQPACKET UNIX socket, one fixed-size message each, with a descriptor beside it where
// a connection changes hands (SCM_RIGHTS):
//     child      take <contact>            moderator  lent <contact> + descriptor, or none
//     child      give <contact> + descriptor          (no answer)
// A child never waits long for an answer and never needs one: it can connect by itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/address.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace backhand {

struct PoolMessage {
    enum class Kind : std::uint32_t { take = 1, give = 2, lent = 3, none = 4 };

    Kind kind{};
    std::uint32_t keepalive_timeout_ms = 0;  // of the peer, with give
    Endpoint contact;
    std::uint16_t connections_max = 0;  // how many the pool may keep for this peer, with give
};

struct ReceivedPoolMessage {
    PoolMessage message;
    UniqueFd connection;  // if one came with it
};

// The longest path a UNIX socket can have (sun_path less its NUL).
constexpr std::size_t socket_path_bytes_max = 107;

// The moderator's socket inside UnixSocketDir.
std::string pool_socket_path(const std::string& directory);

// Listens at `path`, replacing whatever socket lies there without a moment in which there is none.
Result<UniqueFd> listen_for_children(const std::string& path);

// Error unavailable if no moderator listens.
Result<UniqueFd> connect_to_moderator(const std::string& path);

// Sends without waiting.  Takes the connection in any case: it is closed here, with give the
// receiver holds its own copy.
Status send_message(int socket, const PoolMessage& message, UniqueFd connection = UniqueFd{});

// Receives without waiting.  nullopt: nothing there.  Error broken: closed, or no such message.
Result<std::optional<ReceivedPoolMessage>> receive_message(int socket);

}  // namespace backhand
