// The directives: text from the configuration file becomes settings, or an error that names the
// directive, the value and what would be right.  httpd adds file and line.
#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <netinet/in.h>
#include <unistd.h>

#include "announce/key_ring.h"
#include "base/text.h"
#include "forward/pool_protocol.h"
#include "httpd/apache.h"
#include "httpd/c_string.h"
#include "httpd/config.h"
#include "httpd/guard.h"
#include "httpd/hooks.h"
#include "httpd/pool_object.h"

namespace backhand::httpd {

namespace {

constexpr Milliseconds interval_min{10};
constexpr Milliseconds interval_max{60'000};
constexpr std::uint32_t servers_max_limit = 65'536;

// httpd keeps the message until it has printed it: it lives in the configuration's pool.
const char* complain(const cmd_parms* cmd, const std::string& message) {
    return apr_pstrcat(cmd->pool, cmd->cmd->name, " ", message.c_str(), nullptr);
}

const char* expected(const cmd_parms* cmd, std::string_view value, std::string_view what) {
    return complain(cmd, "\"" + std::string(value) + "\": expected " + std::string(what));
}

const char* outside_any_section(const cmd_parms* cmd) {
    return ap_check_cmd_context(const_cast<cmd_parms*>(cmd), GLOBAL_ONLY);
}

// Relative to ServerRoot; empty if httpd can make no path of it.
std::string_view absolute_path(const cmd_parms* cmd, const char* path) {
    return text_of(ap_server_root_relative(cmd->pool, path));
}

GlobalSettings& global_settings(const cmd_parms* cmd) {
    return server_config(cmd->server).global;
}

// A number with an optional unit: "250", "250ms", "2s", "0.5s".
std::optional<Milliseconds> parse_duration(std::string_view text) {
    double factor = 1;
    if (text.ends_with("ms")) {
        text.remove_suffix(2);
    } else if (text.ends_with("s")) {
        text.remove_suffix(1);
        factor = 1000;
    }
    const auto value = parse_fraction(text);
    if (!value || !(*value >= 0 && *value <= 1e9)) {
        return std::nullopt;
    }
    return Milliseconds{static_cast<Milliseconds::rep>(*value * factor)};
}

const char* set_multicast_stats(cmd_parms* cmd, void*, const char* first, const char* second) {
    if (const char* misplaced = outside_any_section(cmd)) {
        return misplaced;
    }
    const auto destination = parse_destination(text_of(first), text_of(second));
    if (!destination) {
        return complain(cmd, destination.error().detail);
    }
    GlobalSettings& settings = global_settings(cmd);
    settings.destinations.push_back(*destination);
    if (!std::exchange(settings.has_request_hooks, true)) {
        register_request_hooks();
    }
    return nullptr;
}

const char* add_accept_stats(cmd_parms* cmd, void*, const char* value) {
    if (const char* misplaced = outside_any_section(cmd)) {
        return misplaced;
    }
    const auto prefix = parse_accept(text_of(value));
    if (!prefix) {
        return complain(cmd, prefix.error().detail);
    }
    global_settings(cmd).accept.add(*prefix);
    return nullptr;
}

// As `openssl rand -base64` makes them: half of those have a slash in them, as a path has.
bool looks_like_a_key(std::string_view text) {
    const auto has = [text](auto belongs) {
        return std::any_of(text.begin(), text.end(), belongs);
    };
    const bool has_capital = has([](char letter) { return letter >= 'A' && letter <= 'Z'; });
    const bool has_small = has([](char letter) { return letter >= 'a' && letter <= 'z'; });
    const bool has_digit = has([](char letter) { return letter >= '0' && letter <= '9'; });
    constexpr std::string_view alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    return text.size() >= secret_bytes_min && has_capital && has_small && has_digit &&
           text.find_first_not_of(alphabet) == std::string_view::npos;
}

// The value is not repeated in an error unless it is a path for certain: it may be the secret.
const char* add_key(cmd_parms* cmd, void*, const char* value) {
    if (const char* misplaced = outside_any_section(cmd)) {
        return misplaced;
    }
    const std::string path{absolute_path(cmd, value)};
    const bool is_there = !path.empty() && ::access(path.c_str(), F_OK) == 0;
    const bool is_path = text_of(value).find('/') != std::string_view::npos &&
                         !looks_like_a_key(text_of(value)) && !path.empty();
    if (!is_there && !is_path) {
        return complain(cmd,
                        "takes the path of a file that holds the key, not the key: for example "
                        "/etc/apache2/backhand.key, made by `openssl rand -hex 32`");
    }
    GlobalSettings& settings = global_settings(cmd);
    settings.key_files.push_back(path);
    if (!std::exchange(settings.has_key_hooks, true)) {
        register_key_hooks();
    }
    return nullptr;
}

const char* set_socket_directory(cmd_parms* cmd, void*, const char* value) {
    if (const char* misplaced = outside_any_section(cmd)) {
        return misplaced;
    }
    const std::string path{absolute_path(cmd, value)};
    if (path.empty()) {
        return expected(cmd, value, "the path of a directory");
    }
    if (path.size() > socket_directory_bytes_max) {
        return complain(cmd, "\"" + path + "\" has " + std::to_string(path.size()) +
                                 " bytes: expected a directory of at most " +
                                 std::to_string(socket_directory_bytes_max) +
                                 " bytes, because the path of a UNIX socket in it can have no "
                                 "more than " +
                                 std::to_string(socket_path_bytes_max));
    }
    global_settings(cmd).socket_directory = path;
    return nullptr;
}

const char* set_state_directory(cmd_parms* cmd, void*, const char* value) {
    if (const char* misplaced = outside_any_section(cmd)) {
        return misplaced;
    }
    const std::string_view path = absolute_path(cmd, value);
    if (path.empty()) {
        return expected(cmd, value, "the path of a directory");
    }
    global_settings(cmd).state_directory = path;
    return nullptr;
}

const char* set_self(cmd_parms* cmd, void*, const char* value) {
    if (const char* misplaced = outside_any_section(cmd)) {
        return misplaced;
    }
    GlobalSettings& settings = global_settings(cmd);
    if (const auto endpoint = Endpoint::parse(text_of(value))) {
        settings.self_address = endpoint->address;
        settings.self_port = endpoint->port;
    } else {
        settings.self_address = IpAddress::parse(text_of(value));
        settings.self_port = 0;
    }
    if (settings.self_address && settings.self_address->is_link_local()) {
        return complain(cmd, "\"" + std::string{value} +
                                 "\" means another host on every network (fe80::/10): expected an "
                                 "address that is this server's wherever a peer is, for example "
                                 "[2001:db8:5::10]:80");
    }
    if (!settings.self_address || !settings.self_address->leads_to_one_host()) {
        return expected(cmd, value,
                        "the address peers reach this server at, ip or ip:port, for example "
                        "10.0.5.10:80");
    }
    return nullptr;
}

const char* set_interval(cmd_parms* cmd, void*, const char* value) {
    if (const char* misplaced = outside_any_section(cmd)) {
        return misplaced;
    }
    const auto interval = parse_duration(text_of(value));
    if (!interval || *interval < interval_min || *interval > interval_max) {
        return expected(cmd, value,
                        "milliseconds from 10 to 60000, for example 100 or 100ms or 1s");
    }
    global_settings(cmd).interval = *interval;
    return nullptr;
}

const char* set_servers_max(cmd_parms* cmd, void*, const char* value) {
    if (const char* misplaced = outside_any_section(cmd)) {
        return misplaced;
    }
    const auto servers = parse_number<std::uint32_t>(text_of(value));
    if (!servers || *servers < 2 || *servers > servers_max_limit) {
        return expected(cmd, value, "how many servers a cluster may have, from 2 to 65536");
    }
    global_settings(cmd).servers_max = *servers;
    return nullptr;
}

const char* set_probe_port(cmd_parms* cmd, void*, const char* value) {
    if (const char* misplaced = outside_any_section(cmd)) {
        return misplaced;
    }
    std::optional<std::uint16_t>& port = global_settings(cmd).probe_port;
    const std::string_view text = text_of(value);
    if (equal_ignoring_case(text, "off")) {
        port = std::nullopt;
        return nullptr;
    }
    if (equal_ignoring_case(text, "any")) {
        port = std::uint16_t{0};
        return nullptr;
    }
    // The moderator has given up root's rights, and with them the ports below.
    port = parse_number<std::uint16_t>(text);
    return port && *port >= IPPORT_RESERVED
               ? nullptr
               : expected(cmd, value,
                          "a UDP port from 1024 to 65535, for example 4446, any or off");
}

const char* set_timeout(cmd_parms* cmd, void*, const char* value) {
    if (const char* misplaced = outside_any_section(cmd)) {
        return misplaced;
    }
    const std::string_view text = text_of(value);
    const std::size_t equals = std::min(text.find('='), text.size());
    const std::string_view name = text.substr(0, equals);
    const auto limit = parse_duration(text.substr(std::min(equals + 1, text.size())));
    const bool is_known =
        name == "connect" || name == "response" || name == "idle" || name == "total";
    if (!is_known || !limit || *limit < Milliseconds{1}) {
        return expected(cmd, value,
                        "connect=, response=, idle= or total=, and a duration of at least 1ms, for "
                        "example connect=500ms response=30s");
    }
    ForwardLimits& limits = global_settings(cmd).limits;
    if (name == "connect") {
        limits.connect = *limit;
    } else if (name == "response") {
        limits.response = *limit;
    } else if (name == "idle") {
        limits.idle = *limit;
    } else {
        limits.total = *limit;
    }
    return nullptr;
}

const char* set_retry(cmd_parms* cmd, void*, const char* first, const char* second) {
    if (const char* misplaced = outside_any_section(cmd)) {
        return misplaced;
    }
    constexpr std::uint32_t a_second_max = 10'000;
    std::optional<RetryTerms>& retry = global_settings(cmd).retry;
    if (equal_ignoring_case(text_of(first), "off") && second == nullptr) {
        retry.reset();
        return nullptr;
    }
    const auto percent = parse_number<std::uint32_t>(text_of(first));
    const auto at_least = second == nullptr ? std::optional{RetryTerms{}.at_least}
                                            : parse_number<std::uint32_t>(text_of(second));
    if (!percent || *percent > 100) {
        return expected(cmd, first,
                        "off, or what share of the forwarded requests may be tried at another "
                        "peer, 0 to 100 percent, for example BackhandRetry 20");
    }
    if (!at_least || *at_least > a_second_max) {
        return expected(cmd, second,
                        "how many a second may be in any case, 0 to 10000, for example "
                        "BackhandRetry 20 3");
    }
    retry = RetryTerms{.percent = *percent, .at_least = *at_least};
    return nullptr;
}

const char* set_via(cmd_parms* cmd, void*, int on) {
    if (const char* misplaced = outside_any_section(cmd)) {
        return misplaced;
    }
    global_settings(cmd).via = on != 0;
    return nullptr;
}

const char* set_connection_pools(cmd_parms* cmd, void*, int on) {
    if (const char* misplaced = outside_any_section(cmd)) {
        return misplaced;
    }
    global_settings(cmd).pooling = on != 0;
    return nullptr;
}

const char* add_service(cmd_parms* cmd, void*, const char* name) {
    const char* const misplaced = ap_check_cmd_context(cmd, NOT_IN_DIR_CONTEXT | NOT_IN_HTACCESS);
    if (misplaced != nullptr) {
        return misplaced;
    }
    const std::string_view site = text_of(name);
    if (site.empty() || site.size() > 255) {
        return expected(cmd, site,
                        "the name of a site, 1 to 255 bytes, for example www.example.com");
    }
    server_config(cmd->server).services.emplace_back(site);
    return nullptr;
}

DirectoryConfig& written_config(void* directory) {
    auto& config = *static_cast<DirectoryConfig*>(directory);
    config.written = true;
    return config;
}

Chain& chain_being_written(const cmd_parms* cmd, void* directory) {
    DirectoryConfig& config = written_config(directory);
    if (config.chain == nullptr) {
        config.chain = &make_in_pool<Chain>(cmd->pool);
        // The server's record outlives a .htaccess file's chain, and running requests share it.
        if (ap_check_cmd_context(const_cast<cmd_parms*>(cmd), NOT_IN_HTACCESS) == nullptr) {
            const std::string section = cmd->path == nullptr ? "everywhere" : cmd->path;
            server_config(cmd->server).chains.push_back({section, config.chain});
            GlobalSettings& settings = server_config(ap_server_conf).global;
            if (!std::exchange(settings.has_chain_hooks, true)) {
                register_chain_hooks();
            }
        }
    }
    return *config.chain;
}

const char* add_function(cmd_parms* cmd, void* directory, const char* name, const char* argument,
                         const char* second_argument) {
    // byHeader has two, which are one text to all functions.
    if (second_argument != nullptr) {
        argument = apr_pstrcat(cmd->temp_pool, argument, " ", second_argument, nullptr);
    }
    Chain& chain = chain_being_written(cmd, directory);
    if (equal_ignoring_case(text_of(name), "off")) {
        if (argument != nullptr) {
            return expected(cmd, argument, "nothing after off");
        }
        chain.switch_off();
        return nullptr;
    }
    const Status added = chain.append(text_of(name), text_of(argument));
    return added ? nullptr : complain(cmd, added.error().detail);
}

const char* add_plugin(cmd_parms* cmd, void* directory, const char* file, const char* function,
                       const char* argument) {
    const std::string_view path = absolute_path(cmd, file);
    if (path.empty()) {
        return expected(cmd, file, "the path of a shared object");
    }
    auto plugin = std::make_shared<Plugin>(PluginSource{
        .file = std::string(path),
        .function = function,
        .argument = std::string(text_of(argument)),
        .written_at =
            apr_psprintf(cmd->pool, "%s:%d", cmd->directive->filename, cmd->directive->line_num),
    });
    server_config(cmd->server).plugins.push_back(plugin);
    chain_being_written(cmd, directory)
        .append(std::make_unique<PluginFunction>(plugin), plugin->source().text());
    return nullptr;
}

const char* set_self_redirect(cmd_parms*, void* directory, int on) {
    written_config(directory).self_redirect = on;
    return nullptr;
}

const char* set_trace(cmd_parms* cmd, void* directory, const char* value) {
    DirectoryConfig& config = written_config(directory);
    if (config.trace == nullptr) {
        config.trace = &make_in_pool<AcceptList>(cmd->pool);
    }
    if (equal_ignoring_case(text_of(value), "off")) {
        config.trace = &make_in_pool<AcceptList>(cmd->pool);
        return nullptr;
    }
    const auto prefix = parse_accept(text_of(value));
    if (!prefix) {
        return expected(cmd, value,
                        "Off, or the clients that may see traces: ip, ip/mask or ip/prefix, for "
                        "example 10.0.5.0/24");
    }
    const_cast<AcceptList*>(config.trace)->add(*prefix);
    return nullptr;
}

const char* set_dry_run(cmd_parms*, void* directory, int on) {
    written_config(directory).dry_run = on;
    return nullptr;
}

}  // namespace

// NOLINTBEGIN(modernize-avoid-c-arrays): httpd takes a C array.
const command_rec directives[] = {
    AP_INIT_TAKE12("MulticastStats", &Guarded<&set_multicast_stats>::call, nullptr, RSRC_CONF,
                   "[my-ip] dest-ip:port[,ttl]: where to announce this server's load"),
    AP_INIT_ITERATE("AcceptStats", &Guarded<&add_accept_stats>::call, nullptr, RSRC_CONF,
                    "ip, ip/mask, ip/prefix or 10.0: whose announcements to believe"),
    AP_INIT_ITERATE("BackhandKey", &Guarded<&add_key>::call, nullptr, RSRC_CONF,
                    "files with the cluster's keys; the first signs, all are accepted"),
    AP_INIT_TAKE1("UnixSocketDir", &Guarded<&set_socket_directory>::call, nullptr, RSRC_CONF,
                  "directory of the moderator's UNIX socket"),
    AP_INIT_TAKE1("BackhandStateDir", &Guarded<&set_state_directory>::call, nullptr, RSRC_CONF,
                  "directory for what must outlive a boot"),
    AP_INIT_TAKE1("BackhandSelf", &Guarded<&set_self>::call, nullptr, RSRC_CONF,
                  "ip[:port]: where peers reach this server"),
    AP_INIT_TAKE1("BackhandInterval", &Guarded<&set_interval>::call, nullptr, RSRC_CONF,
                  "how often to announce, in milliseconds"),
    AP_INIT_TAKE1("BackhandMaxServers", &Guarded<&set_servers_max>::call, nullptr, RSRC_CONF,
                  "how many servers the cluster may have"),
    AP_INIT_TAKE1("BackhandProbePort", &Guarded<&set_probe_port>::call, nullptr, RSRC_CONF,
                  "any (default), a UDP port, or off: where peers ask what this server has to do"),
    AP_INIT_ITERATE("BackhandTimeout", &Guarded<&set_timeout>::call, nullptr, RSRC_CONF,
                    "connect=, response=, idle=, total=duration: how long to wait for a peer"),
    AP_INIT_TAKE12("BackhandRetry", &Guarded<&set_retry>::call, nullptr, RSRC_CONF,
                   "off, or percent [a-second]: how many requests may be tried at another peer"),
    AP_INIT_FLAG("BackhandVia", &Guarded<&set_via>::call, nullptr, RSRC_CONF,
                 "On (default) or Off: name this server in Via of what it forwards"),
    AP_INIT_FLAG("BackhandConnectionPools", &Guarded<&set_connection_pools>::call, nullptr,
                 RSRC_CONF, "On (default) or Off: keep connections to peers for later requests"),
    AP_INIT_ITERATE("BackhandService", &Guarded<&add_service>::call, nullptr, RSRC_CONF,
                    "names of the sites this server or virtual host offers"),
    AP_INIT_TAKE123("Backhand", &Guarded<&add_function>::call, nullptr, OR_FILEINFO,
                    "function [argument]: appends a candidacy function; off ends balancing here"),
    // Not in .htaccess: a shared object is code, and whoever may write there must not choose it.
    AP_INIT_TAKE23("BackhandFromSO", &Guarded<&add_plugin>::call, nullptr, RSRC_CONF | ACCESS_CONF,
                   "file function [argument]: appends a candidacy function from a shared object"),
    AP_INIT_FLAG("BackhandDryRun", &Guarded<&set_dry_run>::call, nullptr, OR_FILEINFO,
                 "On: decide and count, but serve here"),
    AP_INIT_FLAG("BackhandSelfRedirect", &Guarded<&set_self_redirect>::call, nullptr, OR_FILEINFO,
                 "On: what this server keeps is forwarded to the address it announces"),
    // Not in .htaccess: who sees the cluster from inside is for the administrator to say.
    AP_INIT_ITERATE("BackhandTrace", &Guarded<&set_trace>::call, nullptr, RSRC_CONF | ACCESS_CONF,
                    "Off, or ip, ip/mask, ip/prefix: clients whose responses say what was decided"),
    {nullptr, {nullptr}, nullptr, 0, RAW_ARGS, nullptr},
};
// NOLINTEND(modernize-avoid-c-arrays)

}  // namespace backhand::httpd
