// Instance: everything the module holds for one reading of the configuration.
//
// One object under httpd's configuration pool; there is no other state.  The parent makes it in
// post_config; children inherit it by fork() and add what is theirs in child_init.  What must
// survive a restart, and with it the unloading of this module, lies in ProcessRecord and in the
// shared memory it points to.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>
#include <unistd.h>

#include "announce/key_ring.h"
#include "announce/socket.h"
#include "base/random.h"
#include "base/shelf.h"
#include "cluster/table.h"
#include "decide/chain.h"
#include "forward/peer_connections.h"
#include "forward/udp_prober.h"
#include "httpd/apache.h"
#include "httpd/config.h"
#include "httpd/mpm.h"
#include "httpd/request_state.h"

namespace backhand::httpd {

// Lives on the process pool, made by whichever incarnation of the module came first.  Plain data,
// found by key; nothing in it points to code.
struct ProcessRecord {
    void* table_memory = nullptr;
    std::size_t table_bytes = 0;
    pid_t moderator_pid = 0;
};

// Room to decide in: one is taken for each decision, so that deciding allocates nothing.
struct DecisionRoom {
    CandidacySet set;
    Decision decision;
};

using RoomShelf = Shelf<DecisionRoom>;

// What one httpd child has.
struct ChildState {
    // `keys` as UdpProber takes them.
    ChildState(PeerConnections::Settings settings, const KeyRing* keys, const ClusterTable& table,
               std::uint64_t seed)
        : prober(table, settings.source, keys),
          connections(std::move(settings), table),
          random(seed) {}

    ChildTally tally;
    UdpProber prober;
    PeerConnections connections;
    RandomSource random;
    RoomShelf rooms;

    const std::uint32_t workers = workers_per_child();
    std::atomic<std::uint32_t> workers_waiting{0};  // for the next request of a connection
};

class Instance {
public:
    Instance(server_rec* server, apr_pool_t* configuration_pool, ClusterTable cluster,
             ProcessRecord& record)
        : main_server(server),
          pool(configuration_pool),
          table(std::move(cluster)),
          process(record) {}

    const GlobalSettings& settings() const { return server_config(main_server).global; }

    server_rec* const main_server;
    apr_pool_t* const pool;  // of the configuration
    const ClusterTable table;
    ProcessRecord& process;

    // Whom what is trusted may belong to besides root: whoever httpd was started by.
    const uid_t owner = ::geteuid();

    // Set in post_config.
    ServerReport self;
    std::string own_contact;  // self.load.contact as text
    std::vector<std::string> services;
    ResponseFilters response_filters;
    // With no more requests than this in progress, none is forwarded: no chain of the configuration
    // (.htaccess files aside) would.
    std::uint32_t idle_up_to = 0;
    std::string socket_path;
    std::optional<KeyRing> keys;
    std::vector<Endpoint> own_endpoints;  // where httpd listens
    // Open in the parent as long as the configuration lives: a moderator that died is forked again
    // with them.
    std::vector<Sender> senders;
    std::vector<UniqueFd> receivers;

    // Set in child_init.
    std::unique_ptr<ChildState> child;

    // The parent's view of the moderator.
    bool moderator_started = false;
    bool moderator_missing = false;  // it could not be forked; tried again now and then
    apr_proc_t moderator{};
    MonotonicTime moderator_started_at = 0;
    int moderator_failures = 0;
};

// The instance that serves this request's server; nullptr if the module is not in use.
inline Instance* instance_of(const request_rec* r) {
    return server_config(r->server).instance;
}

}  // namespace backhand::httpd
