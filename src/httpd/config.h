// The module's configuration, as the directives leave it, and the records that hang off httpd's.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "announce/accept_list.h"
#include "announce/destination.h"
#include "base/address.h"
#include "base/clock.h"
#include "cluster/retry_budget.h"
#include "decide/chain.h"
#include "decide/plugin.h"
#include "httpd/apache.h"

extern "C" {
extern module AP_MODULE_DECLARE_DATA backhand_module;
}

namespace backhand::httpd {

class Instance;
class Plugins;

// How long to wait for a peer.
struct ForwardLimits {
    Nanoseconds connect = std::chrono::seconds{2};
    // For the first byte of the response, and between two bytes of it; nullopt: the server's
    // Timeout.
    std::optional<Nanoseconds> response;
    std::optional<Nanoseconds> idle;
    // From the first attempt to the end of the response; nullopt: as long as it takes.
    std::optional<Nanoseconds> total;
};

// What is set once for the whole server.
struct GlobalSettings {
    std::vector<Destination> destinations;
    AcceptList accept;
    std::vector<std::string> key_files;  // BackhandKey; the first signs
    std::string socket_directory;        // UnixSocketDir; empty: the default
    std::string state_directory = "/var/lib/backhand";
    std::optional<IpAddress> self_address;
    std::uint16_t self_port = 0;  // 0: of the first plain Listen
    Milliseconds interval{100};
    std::uint32_t servers_max = 1024;
    std::optional<std::uint16_t> probe_port =
        std::uint16_t{0};  // 0: of the kernel's choice; nullopt: peers cannot ask
    bool pooling = true;
    ForwardLimits limits;
    std::optional<RetryTerms> retry = RetryTerms{};  // nullopt: no second peer is tried
    bool via = true;

    // Which hooks have been registered while this configuration was read.
    bool has_request_hooks = false;
    bool has_chain_hooks = false;
    bool has_key_hooks = false;
};

// A chain and the section it stands in.
struct WrittenChain {
    std::string section;
    const Chain* chain = nullptr;
};

// Per virtual host.  Pool-owned (pconf).
struct ServerConfig {
    GlobalSettings global;  // meaningful in the main server only
    std::vector<std::string> services;
    std::vector<WrittenChain> chains;              // .htaccess files aside
    std::vector<std::shared_ptr<Plugin>> plugins;  // of chains written in this server
    std::uint64_t service_hash = 0;   // of the first service; set after the configuration is read
    Plugins* plugin_files = nullptr;  // in the main server only; pool-owned
    Instance* instance = nullptr;     // nullptr: the module does nothing for this server
};

// Per directory, location, .htaccess.  Plain, because httpd merges these on every request.
struct DirectoryConfig {
    Chain* chain = nullptr;             // nullptr: as in the enclosing section
    int dry_run = -1;                   // -1: as in the enclosing section
    int self_redirect = -1;             // the same
    const AcceptList* trace = nullptr;  // who sees traces; nullptr: as in the enclosing section
    bool written = false;               // some of it has been set
};

// The limit that holds for the UNIX socket inside the directory too.
constexpr std::size_t socket_directory_bytes_max = 107 - sizeof "/moderator.sock.new" + 1;

extern const command_rec directives[];

void* create_server_config(apr_pool_t* pool, server_rec* server);
void* create_directory_config(apr_pool_t* pool, char* path);
void* merge_directory_config(apr_pool_t* pool, void* outer, void* inner) noexcept;

// httpd lets a virtual host without a directive of ours share the main server's record; this gives
// it one of its own.  Called once the configuration has been read.
void separate_server_configs(apr_pool_t* pool, server_rec* main_server);

inline ServerConfig& server_config(const server_rec* server) {
    return *static_cast<ServerConfig*>(
        ap_get_module_config(server->module_config, &backhand_module));
}

inline const DirectoryConfig& directory_config(const request_rec* r) {
    return *static_cast<const DirectoryConfig*>(
        ap_get_module_config(r->per_dir_config, &backhand_module));
}

inline bool chain_applies_to(const request_rec* r) {
    const Chain* const chain = directory_config(r).chain;
    return chain != nullptr && !chain->is_off();
}

}  // namespace backhand::httpd
