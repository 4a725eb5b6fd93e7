// Announcer: sends a report to every destination, and says when the next one is due.
//
// Belongs to one thread, and never waits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "announce/key_ring.h"
#include "announce/socket.h"
#include "base/clock.h"
#include "base/random.h"
#include "cluster/server_report.h"

namespace backhand {

class Announcer {
public:
    struct Outcome {
        std::size_t sent = 0;
        std::size_t failed = 0;  // the kernel did not take them
        int error = 0;           // errno of the last of these
    };

    // Signs with `keys`, which must outlive the announcer, unless it is nullptr.
    Announcer(std::vector<Sender> senders, std::vector<std::string> services, const KeyRing* keys,
              std::uint64_t random_seed);

    Outcome announce(const ServerReport& self) const;

    // The interval, give or take a random quarter of it, so that servers never fall into step.
    Nanoseconds next_pause(Nanoseconds interval);

private:
    std::vector<Sender> senders_;
    std::vector<std::string> services_;
    const KeyRing* keys_;
    Random random_;
};

}  // namespace backhand
