// ProbeAnswerer: tells whoever asks what this server has to do at this moment (announce/probe.h).
//
// A question is answered at once or never: an answer is worthless a millisecond later.  A flood of
// questions finds a limit and then waits in the socket, so that announcing goes on and the CPU is
// left to httpd.  Belongs to the moderator's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "announce/accept_list.h"
#include "announce/inbox.h"
#include "announce/key_ring.h"
#include "base/address.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cluster/counters.h"

namespace backhand {

struct ProbeSocket {
    UniqueFd socket;
    std::uint16_t port = 0;
};

// Non-blocking, at this address and port; 0: one of the kernel's choice.  A port that is asked for
// may still be held by a predecessor of the same user, who is about to go.
Result<ProbeSocket> open_probe_socket(const IpAddress& address, std::uint16_t port = 0);

class ProbeAnswerer {
public:
    // What this server has to do now.
    struct News {
        std::uint32_t serving = 0;
        std::uint32_t workers_idle = 0;
    };

    struct Settings {
        Endpoint contact;  // this server's
        const AcceptList& accept;
        const KeyRing* keys = nullptr;  // nullptr: nothing is signed
        Counters& counters;
        std::function<News()> news;  // asked once for all questions that are answered together
    };

    explicit ProbeAnswerer(Settings settings) : settings_(std::move(settings)) {}

    // Answers what has come to the socket, `most` at most.  Returns how many datagrams that were,
    // of whatever kind.
    static constexpr std::size_t most = DatagramInbox::size;
    std::size_t answer(int socket);

private:
    // The counter to raise: how the datagram at this place in the inbox was answered, or why not.
    Counter answer_one(int socket, std::size_t index, std::optional<News>& news);

    const Settings settings_;
    DatagramInbox inbox_;
};

}  // namespace backhand
