#include "httpd/lifecycle.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <utility>

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "announce/datagram.h"
#include "announce/socket.h"
#include "base/text.h"
#include "cluster/report_fields.h"
#include "forward/pool_protocol.h"
#include "httpd/apache.h"
#include "httpd/contact.h"
#include "httpd/guard.h"
#include "httpd/instance.h"
#include "httpd/moderator_process.h"
#include "httpd/mpm.h"
#include "httpd/plugins.h"
#include "httpd/pool_object.h"
#include "httpd/private_directory.h"

APLOG_USE_MODULE(backhand);

namespace backhand::httpd {

namespace {

// Children of an old generation and their successors exist side by side during a graceful restart.
constexpr std::uint32_t cells_spare = 64;

// "Backhand: " leads every message that stops a start, so that it is found among httpd's own.
int refuse(const server_rec* server, const std::string& message) {
    ap_log_error(APLOG_MARK, APLOG_EMERG | APLOG_STARTUP, 0, server, "Backhand: %s",
                 message.c_str());
    return HTTP_INTERNAL_SERVER_ERROR;
}

bool in_use(const server_rec* main_server) {
    return !server_config(main_server).global.destinations.empty();
}

std::string socket_directory_of(const GlobalSettings& settings, apr_pool_t* pool) {
    return settings.socket_directory.empty() ? ap_runtime_dir_relative(pool, "backhand")
                                             : settings.socket_directory;
}

ProcessRecord& process_record(apr_pool_t* process_pool) {
    constexpr const char* key = "backhand.process.1";
    void* found = nullptr;
    apr_pool_userdata_get(&found, key, process_pool);
    if (found == nullptr) {
        found = new (apr_palloc(process_pool, sizeof(ProcessRecord))) ProcessRecord{};
        // No cleanup function: by the time it ran, this module's code could be gone.
        apr_pool_userdata_set(found, key, nullptr, process_pool);
    }
    return *static_cast<ProcessRecord*>(found);
}

// Found again after a restart, whatever size the configuration asks for by now: what is known of
// the cluster, and what children of the previous generation still count, is worth more.  Made anew
// if the module has changed its layout.
Result<ClusterTable> obtain_table(ProcessRecord& process, ClusterTable::Size size) {
    if (process.table_memory != nullptr) {
        const auto table = ClusterTable::attach(process.table_memory);
        if (table) {
            return *table;
        }
    }
    const std::size_t bytes = ClusterTable::bytes_needed(size);
    void* const memory =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return Error{Error::Kind::system, "no shared memory for " + std::to_string(size.slots_max) +
                                              " servers (BackhandMaxServers): " +
                                              std::generic_category().message(errno)};
    }
    if (process.table_memory != nullptr) {
        // Ends the moderator that writes to the old one; children of the previous generation keep
        // their own mapping of it.
        if (const auto old = ClusterTable::attach(process.table_memory)) {
            old->depose_writer();
        }
        ::munmap(process.table_memory, process.table_bytes);
    }
    process.table_memory = memory;
    process.table_bytes = bytes;
    return ClusterTable::create(memory, size);
}

ClusterTable::Size table_size(const GlobalSettings& settings) {
    int processes = 0;
    ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &processes);
    return {.slots_max = settings.servers_max,
            .cells_max = static_cast<std::uint32_t>(std::max(1, processes)) + cells_spare};
}

std::string host_name() {
    char name[256] = "";
    ::gethostname(name, sizeof name - 1);
    std::string result = name[0] == '\0' ? "unnamed" : name;
    // Announced and signed as the same bytes, whatever else a host may be called.
    std::replace_if(
        result.begin(), result.end(), [](char letter) { return letter <= ' ' || letter > '~'; },
        '?');
    return result;
}

void fill_self(Instance& instance, const Endpoint& contact) {
    const server_rec& server = *instance.main_server;
    instance.self.set_name(host_name());
    LoadReport& load = instance.self.load;
    load.contact = contact;
    instance.own_contact = contact.to_string();
    load.interval_ms = static_cast<std::uint32_t>(instance.settings().interval.count());
    load.keepalive_timeout_ms =
        server.keep_alive != 0
            ? static_cast<std::uint32_t>(apr_time_as_msec(server.keep_alive_timeout))
            : 0;
    instance.response_filters = response_filters();
    if (!mpm_is_async()) {
        load.flags |= ServerFlag::connection_holds_worker;
        instance.response_filters.end = nullptr;
    }
}

// The sites: those named by BackhandService, else each server's name.
void collect_services(Instance& instance) {
    std::vector<std::string>& all = instance.services;
    for (server_rec* server = instance.main_server; server != nullptr; server = server->next) {
        ServerConfig& config = server_config(server);
        if (config.services.empty()) {
            config.services.emplace_back(server->server_hostname == nullptr
                                             ? host_name()
                                             : std::string(server->server_hostname));
        }
        config.instance = &instance;
        config.service_hash = hash_ignoring_case(config.services.front());
        for (const std::string& service : config.services) {
            const bool known = std::any_of(all.begin(), all.end(), [&](const std::string& other) {
                return equal_ignoring_case(other, service);
            });
            if (!known) {
                all.push_back(service);
            }
        }
    }
    for (const std::string& service : all) {
        static_cast<void>(instance.self.add_service(service));
    }
}

// How many of the sites an announcement has room for, however large its numbers become.
std::size_t sites_that_fit(const Instance& instance) {
    ServerReport widest = instance.self;
    for (const ReportField& field : report_fields) {
        field.set(widest.load, field.most);
    }
    for (const ReportFlag& flag : report_flags) {
        widest.load.flags |= flag.flag;
    }
    ServerReport announced;
    static_cast<void>(
        decode_datagram(encode_datagram(widest, instance.services, nullptr), nullptr, announced));
    return announced.services_count;
}

// Self stays below a number of other requests in progress.
std::uint32_t idle_limit(const server_rec* main_server) {
    constexpr double none_written = std::numeric_limits<double>::infinity();
    double below = none_written;
    for (const server_rec* server = main_server; server != nullptr; server = server->next) {
        for (const WrittenChain& written : server_config(server).chains) {
            if (!written.chain->is_off()) {
                below = std::min(below, written.chain->self_stays_below());
            }
        }
    }
    return below == none_written ? 0 : static_cast<std::uint32_t>(std::ceil(below));
}

void warn_of_traps(const Instance& instance) {
    if (instance.settings().accept.empty()) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, instance.main_server,
                     "AcceptStats is not set: this server announces itself but believes nobody");
    }
    const std::size_t fitting = sites_that_fit(instance);
    if (fitting < instance.services.size()) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, instance.main_server,
                     "not all of the %s sites fit an announcement: \"%s\" and those after it are "
                     "not balanced; name fewer or shorter ones with BackhandService",
                     std::to_string(instance.services.size()).c_str(),
                     instance.services[fitting].c_str());
    }
    const std::uint32_t servers_max = instance.table.size().slots_max;
    if (servers_max != instance.settings().servers_max) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, instance.main_server,
                     "BackhandMaxServers %s takes effect when httpd is stopped and started: until "
                     "then it is %s",
                     std::to_string(instance.settings().servers_max).c_str(),
                     std::to_string(servers_max).c_str());
    }
    if (!instance.keys && !instance.self.load.contact.address.is_loopback()) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, instance.main_server,
                     "announcements are not signed (BackhandKey): every host that AcceptStats "
                     "admits can join the cluster and name any client address");
    }
}

Result<std::optional<KeyRing>> load_keys(const GlobalSettings& settings) {
    if (settings.key_files.empty()) {
        return std::optional<KeyRing>{};
    }
    auto keys = KeyRing::load(settings.key_files, ::geteuid());
    if (!keys) {
        return Error{keys.error().kind, "BackhandKey: " + keys.error().detail};
    }
    return std::optional{std::move(*keys)};
}

Status open_sockets(Instance& instance) {
    const auto& destinations = instance.settings().destinations;
    for (const Destination& destination : destinations) {
        auto sender = open_sender(destination);
        if (!sender) {
            return sender.error();
        }
        instance.senders.push_back(std::move(*sender));
    }
    auto receivers = open_receivers(destinations);
    if (!receivers) {
        return receivers.error();
    }
    instance.receivers = std::move(*receivers);
    return Done{};
}

int set_up_instance(apr_pool_t* pconf, server_rec* main_server, GlobalSettings& settings) {
    const std::string socket_directory = socket_directory_of(settings, pconf);
    if (socket_directory.size() > socket_directory_bytes_max) {
        return refuse(main_server,
                      "UnixSocketDir \"" + socket_directory +
                          "\" (the default): too long for a UNIX socket; set a shorter one");
    }
    if (const Status made = make_private_directory(socket_directory); !made) {
        return refuse(main_server, "UnixSocketDir \"" + socket_directory +
                                       "\" cannot be made: " + made.error().detail);
    }
    if (const Status made = make_private_directory(settings.state_directory); !made) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, main_server,
                     "BackhandStateDir \"%s\" cannot be made: %s; the machine's speed is measured "
                     "again at each start",
                     settings.state_directory.c_str(), made.error().detail.c_str());
        settings.state_directory.clear();
    }
    const auto contact = find_contact(settings);
    if (!contact) {
        return refuse(main_server, contact.error().detail);
    }
    ProcessRecord& process = process_record(main_server->process->pool);
    auto table = obtain_table(process, table_size(settings));
    if (!table) {
        return refuse(main_server, table.error().detail);
    }

    auto& instance = make_in_pool<Instance>(pconf, main_server, pconf, *table, process);
    if (const Status opened = open_sockets(instance); !opened) {
        return refuse(main_server, "MulticastStats: " + opened.error().detail);
    }
    auto keys = load_keys(settings);
    if (!keys) {
        return refuse(main_server, keys.error().detail);
    }
    instance.keys = std::move(*keys);
    instance.socket_path = pool_socket_path(socket_directory);
    instance.own_endpoints = listening_endpoints();
    fill_self(instance, *contact);
    collect_services(instance);
    instance.idle_up_to = idle_limit(main_server);
    if (const Status made = server_config(main_server).plugin_files->set_up(instance); !made) {
        return refuse(main_server, made.error().detail);
    }
    warn_of_traps(instance);
    if (ap_scoreboard_image != nullptr) {
        start_moderator(instance);
    }
    return OK;
}

}  // namespace

int check_config(apr_pool_t* pconf, apr_pool_t*, apr_pool_t*, server_rec* main_server) {
    separate_server_configs(pconf, main_server);
    ServerConfig& config = server_config(main_server);
    config.plugin_files = &make_in_pool<Plugins>(pconf);
    if (const Status tried = config.plugin_files->try_all(pconf, main_server); !tried) {
        return refuse(main_server, tried.error().detail);
    }
    if (!in_use(main_server)) {
        return OK;
    }
    const GlobalSettings& settings = server_config(main_server).global;
    const std::string socket_directory = socket_directory_of(settings, pconf);
    if (!can_be_made(socket_directory)) {
        return refuse(main_server, "UnixSocketDir \"" + socket_directory +
                                       "\" cannot be made: expected a directory, or a path under "
                                       "one where it can be made");
    }
    // Looked at here for the configuration test, which is what keeps a running server from being
    // restarted into its end.
    const auto keys = load_keys(settings);
    return keys ? OK : refuse(main_server, keys.error().detail);
}

int set_up(apr_pool_t* pconf, apr_pool_t*, apr_pool_t*, server_rec* main_server) {
    // httpd reads its configuration twice at first and does everything only the second time.
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK;
    }
    if (!in_use(main_server)) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, main_server,
                     "MulticastStats is not set: this server takes part in no cluster, and "
                     "backhand-handler reports nothing");
        return OK;
    }
    return set_up_instance(pconf, main_server, server_config(main_server).global);
}

int start_after_scoreboard(apr_pool_t*, ap_scoreboard_e) {
    Instance* const instance = server_config(ap_server_conf).instance;
    if (instance != nullptr && !instance->moderator_started) {
        start_moderator(*instance);
    }
    return OK;
}

namespace {

apr_status_t leave_child(void* data) noexcept {
    static_cast<Instance*>(data)->table.cells().release(::getpid());
    return APR_SUCCESS;
}

// As many as the child can use at the same time.  Measured with 32 clients: with two of them, every
// third exchange had to open a connection.
std::size_t cached_connections_per_peer() {
    constexpr std::uint32_t cached_max = 64;
    return std::min(workers_per_child(), cached_max);
}

}  // namespace

void set_up_child(apr_pool_t* pchild, server_rec* main_server) {
    Instance* const instance = server_config(main_server).instance;
    if (instance == nullptr) {
        return;
    }
    const GlobalSettings& settings = instance->settings();
    instance->child = std::make_unique<ChildState>(
        PeerConnections::Settings{
            .pool_socket_path = instance->socket_path,
            .pooling = settings.pooling,
            .cached_per_peer_max = cached_connections_per_peer(),
            .children_max = children_max(),
            .connect_limit = settings.limits.connect,
            .source = instance->self.load.contact.address,
        },
        instance->keys ? &*instance->keys : nullptr, instance->table, std::random_device{}());
    instance->child->tally = instance->table.cells().claim(::getpid());
    if (!instance->child->tally) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, main_server,
                     "no room to count this child's requests: it forwards none");
    }
    server_config(main_server).plugin_files->open_in_child(main_server);
    apr_pool_cleanup_register(pchild, instance, &leave_child, apr_pool_cleanup_null);
}

void note_stopping_child(apr_pool_t*, int) {
    Instance* const instance = server_config(ap_server_conf).instance;
    if (instance != nullptr) {
        instance->table.child_stops(monotonic_now());
    }
}

void note_child(server_rec* main_server, pid_t pid, ap_generation_t, int, mpm_child_status status) {
    Instance* const instance = server_config(main_server).instance;
    if (instance != nullptr && status == MPM_CHILD_EXITED) {
        instance->table.cells().release(pid);
    }
}

}  // namespace backhand::httpd
