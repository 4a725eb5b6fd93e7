// The moderator: the helper process beside httpd.
//
// One event loop that does what no request should wait for: it measures this server, announces it,
// takes in what peers announce, and keeps the pool of idle connections.  It is the only writer of
// the cluster table's reports.  Nothing depends on it being alive: without it news grow old and
// connections are opened instead of lent.
#pragma once

#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "announce/accept_list.h"
#include "announce/key_ring.h"
#include "announce/socket.h"
#include "base/clock.h"
#include "base/log.h"
#include "cluster/server_report.h"
#include "cluster/table.h"
#include "moderator/plugin_watch.h"

namespace backhand {

struct WorkerCounts {
    std::uint32_t max = 0;
    std::uint32_t busy = 0;
    std::uint32_t idle = 0;
};

struct ModeratorSettings {
    ServerReport self;  // what does not change: name, contact, interval, flags, ...
    std::vector<std::string> services;
    AcceptList accept;
    const KeyRing* keys = nullptr;  // nullptr: nothing is signed
    // Where this host listens besides the contact: announced by another, they would make it its own
    // peer.
    std::vector<Endpoint> own_endpoints;
    std::string pid_file;  // httpd's parent removes it when it begins to stop
    std::vector<Sender> senders;
    std::vector<UniqueFd> receivers;
    std::string socket_path;      // where children reach the pool
    std::string state_directory;  // what must outlive a boot
    // Where peers ask what this server has to do; 0: at a port of the kernel's choice; nullopt:
    // nowhere.
    std::optional<std::uint16_t> probe_port = std::uint16_t{0};
    std::function<WorkerCounts()> count_workers;
    std::unique_ptr<PluginWatch> plugins;  // nullptr: there are none
    Log log;
};

// Tells a moderator that its configuration is gone: if no successor takes over soon, it leaves.
constexpr int retire_signal = SIGUSR2;

// Runs in the calling process until it is told to stop (SIGTERM, SIGINT), its parent is gone, or
// another moderator has taken over.  Returns the process's exit status.
int run_moderator(ModeratorSettings settings, ClusterTable table);

}  // namespace backhand
