#include "cli/announce_settings.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include <unistd.h>

#include "base/text.h"
#include "cli/arguments.h"
#include "cluster/report_fields.h"

namespace backhand {

namespace {

// As BackhandInterval.
constexpr std::uint64_t interval_ms_min = 10;

// Printable ASCII: what a host or a site can be called.
bool is_name(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(),
                                        [](char letter) { return letter > ' ' && letter <= '~'; });
}

std::string host_name() {
    std::array<char, 256> name{};
    ::gethostname(name.data(), name.size() - 1);
    return name[0] == '\0' ? "unnamed" : name.data();
}

Status set_name(const AnnounceOptions& options, ServerReport& self) {
    const std::size_t bytes_max = self.name.size() - 1;
    if (options.name.empty()) {
        self.set_name(host_name());
    } else if (is_name(options.name) && options.name.size() <= bytes_max) {
        self.set_name(options.name);
    } else {
        return bad_value("--name", options.name,
                         "1 to " + std::to_string(bytes_max) +
                             " printable ASCII characters without blanks, for example web7");
    }
    return Done{};
}

Status set_contact(const AnnounceOptions& options, ServerReport& self) {
    const auto contact = Endpoint::parse(options.contact);
    if (!contact || contact->port == 0 || !contact->address.leads_to_one_host()) {
        return bad_value("--contact", options.contact,
                         "the address and port where the web server answers plain HTTP, for "
                         "example 10.0.5.7:8080");
    }
    self.load.contact = *contact;
    return Done{};
}

Status set_numbers(const AnnounceOptions& options, LoadReport& load) {
    const auto workers = read_number("--workers", options.workers,
                                     {.least = 1, .most = limits::workers, .unit = "requests"});
    if (!workers) {
        return workers.error();
    }
    const auto keepalive_timeout =
        read_number("--keepalive-timeout", options.keepalive_timeout_ms,
                    {.least = 0, .most = 3'600'000, .unit = "milliseconds"});
    if (!keepalive_timeout) {
        return keepalive_timeout.error();
    }
    const auto interval = read_number(
        "--interval", options.interval_ms,
        {.least = interval_ms_min, .most = limits::interval_ms, .unit = "milliseconds"});
    if (!interval) {
        return interval.error();
    }
    load.workers_max = load.workers_idle = static_cast<std::uint32_t>(*workers);
    load.keepalive_timeout_ms = static_cast<std::uint32_t>(*keepalive_timeout);
    load.interval_ms = static_cast<std::uint32_t>(*interval);
    return Done{};
}

Status set_services(const AnnounceOptions& options, AnnounceSettings& settings) {
    std::size_t bytes = 0;
    for (const std::string& service : options.services) {
        if (!is_name(service)) {
            return bad_value("--service", service,
                             "a site as its servers call it, for example www.example.com");
        }
        const auto same = [&](const std::string& other) {
            return equal_ignoring_case(other, service);
        };
        if (std::any_of(settings.services.begin(), settings.services.end(), same)) {
            continue;
        }
        bytes += service.size() + 3;
        if (bytes > services_bytes_max || settings.services.size() == ServerReport::services_max) {
            return bad_value("--service", service,
                             "at most " + std::to_string(ServerReport::services_max) +
                                 " sites, whose names have at most " +
                                 std::to_string(services_bytes_max) +
                                 " bytes together and 3 more each: an announcement holds no more");
        }
        settings.services.push_back(service);
    }
    return Done{};
}

Status set_challenge(const AnnounceOptions& options, AnnounceSettings& settings) {
    if (options.challenge_listen.empty()) {
        return Done{};
    }
    const auto endpoint = Endpoint::parse(options.challenge_listen);
    if (!endpoint || endpoint->port == 0 || endpoint->address.is_multicast()) {
        return bad_value("--challenge-listen", options.challenge_listen,
                         "an address and a port of this machine, for example 127.0.0.1:4447");
    }
    if (options.key_files.empty()) {
        return bad_value("--challenge-listen", options.challenge_listen,
                         "--key FILE with it: without a key there is nothing to prove");
    }
    settings.challenge_listen = *endpoint;
    return Done{};
}

std::string environment(const char* name) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody changes the environment.
    const char* const value = std::getenv(name);
    return value == nullptr ? "" : value;
}

// Where a daemon keeps its state, or a user's program (the XDG base directories).
std::string default_state_directory() {
    constexpr std::string_view own = "/backhand-announce";
    if (::geteuid() == 0) {
        return std::string{"/var/lib"}.append(own);
    }
    if (const std::string state = environment("XDG_STATE_HOME"); state.starts_with('/')) {
        return state + std::string{own};
    }
    const std::string home = environment("HOME");
    return home.starts_with('/') ? home + "/.local/state" + std::string{own} : "";
}

Status set_state_directory(const AnnounceOptions& options, AnnounceSettings& settings) {
    if (options.state_directory.empty()) {
        settings.state_directory = default_state_directory();
        return Done{};
    }
    std::error_code failure;
    const auto path = std::filesystem::absolute(options.state_directory, failure);
    if (failure) {
        return bad_value("--state-dir", options.state_directory, "an absolute path");
    }
    std::string text = path.lexically_normal().string();
    if (text.size() > 1 && text.ends_with('/')) {
        text.pop_back();
    }
    settings.state_directory = text;
    return Done{};
}

}  // namespace

Result<AnnounceSettings> read_announce_options(const AnnounceOptions& options) {
    AnnounceSettings settings;
    auto destinations = read_destinations("--to", options.destinations, options.from);
    if (!destinations) {
        return destinations.error();
    }
    settings.destinations = std::move(*destinations);
    for (const Status& set :
         {set_contact(options, settings.self), set_name(options, settings.self),
          set_numbers(options, settings.self.load), set_services(options, settings),
          set_challenge(options, settings), set_state_directory(options, settings)}) {
        if (!set) {
            return set.error();
        }
    }
    auto keys = read_keys(options.key_files);
    if (!keys) {
        return keys.error();
    }
    settings.keys = std::move(*keys);
    return settings;
}

}  // namespace backhand
