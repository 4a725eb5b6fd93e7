// Blocking exchanges of bytes with a peer, each with a time limit.
//
// A limit holds whatever the peer does.  Most of the waiting for an answer is done by the read
// itself, which saves the system calls of a poll; everything else never blocks.  SIGPIPE is never
// raised.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "base/address.h"
#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace backhand {

// Connects to `peer`.  The connection comes from `source` if this host has that address, because
// peers recognise us by it.  Error unavailable (refused, unreachable), timed_out, or system (this
// host's own trouble, which says nothing about the peer).
Result<UniqueFd> connect_to(const Endpoint& peer, const IpAddress& source, Nanoseconds limit);

// Prepares a connection that came from another process as connect_to prepares its own: reads may
// wait, for a short time.  (Without it everything works as well, with more system calls.)
void let_reads_wait(int socket);

// True if the peer has neither closed nor sent anything: the connection is fit for a request.
bool is_quiet(int socket);

// Sends all of `bytes`.  Error broken if the peer closed, timed_out if it takes nothing for
// `limit`.
Status send_all(int socket, std::string_view bytes, Nanoseconds limit);

// Sends what can be sent now.  0 if nothing could.
Result<std::size_t> send_some(int socket, std::string_view bytes);

// Receives at least one byte; 0 means that the peer closed its side.
// Error broken (reset) or timed_out (nothing arrived for `limit`).
Result<std::size_t> receive_some(int socket, std::span<char> buffer, Nanoseconds limit);

struct Readiness {
    bool readable = false;
    bool writable = false;
};

// Waits until the socket can be read or written.  Neither: `limit` passed.
Readiness wait_for_either(int socket, Nanoseconds limit);

}  // namespace backhand
