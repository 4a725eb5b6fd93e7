#include "cli/watch.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <ctime>
#include <limits>
#include <string_view>

#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "announce/datagram.h"
#include "announce/inbox.h"
#include "announce/socket.h"
#include "base/clock.h"
#include "base/system_error.h"
#include "base/unique_fd.h"
#include "cli/arguments.h"
#include "cluster/counters.h"
#include "cluster/report_fields.h"

namespace backhand {

namespace {

// Keeps the order of the fields.
using Json = nlohmann::ordered_json;

// ---- a line ----

// UTC, with milliseconds: "2026-11-23T06:30:39.123Z".
std::string timestamp(std::chrono::system_clock::time_point time) {
    const auto whole = std::chrono::floor<std::chrono::seconds>(time);
    const auto rest = std::chrono::floor<Milliseconds>(time - whole).count();
    const std::time_t seconds = std::chrono::system_clock::to_time_t(whole);
    std::tm fields{};
    ::gmtime_r(&seconds, &fields);
    std::array<char, 32> date{};
    const std::size_t size = std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%S", &fields);
    return std::string{date.data(), size} + "." + std::to_string(1000 + rest).substr(1) + "Z";
}

// A counter's name without what all of them begin with: "forged".
std::string_view reason(Counter counter) {
    constexpr std::string_view beginning = "datagrams_";
    std::string_view name = counter_names[static_cast<std::size_t>(counter)];
    name.remove_prefix(name.starts_with(beginning) ? beginning.size() : 0);
    return name;
}

void add_announcement(const OverheardAnnouncement& announcement, bool verified, Json& line) {
    const LoadReport& load = announcement.report.load;
    line["signed"] = announcement.key_id != 0;
    line["verified"] = verified;
    line["name"] = announcement.report.name_view();
    line["contact"] = load.contact.to_string();
    line["services"] = announcement.services;
    line["boot_id"] = std::to_string(load.boot_id);
    line["measurement"] = load.measurement;
    for (const ReportField& field : report_fields) {
        line[std::string{field.name}] = field.get(load);
    }
    for (const ReportFlag& flag : report_flags) {
        line[std::string{flag.name}] = load.has(flag.flag);
    }
    line["implausible"] = load.has(implausible);
}

// ---- the listener ----

// What is sent to a single address reaches one socket of a host only, the one opened last: watching
// would make the host's own httpd deaf.  So nobody may be listening there.
Status check_nobody_goes_deaf(const Destination& destination) {
    if (destination.kind != Destination::Kind::unicast) {
        return Done{};
    }
    const bool is_v4 = destination.to.address.is_v4();
    const IpAddress own = destination.from.value_or(*IpAddress::parse(is_v4 ? "0.0.0.0" : "::"));
    const Endpoint endpoint{own, destination.to.port};
    const SocketAddress address{endpoint};
    const UniqueFd probe{::socket(is_v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    // Any other failure will be explained when the address is listened on.
    if (!probe || ::bind(probe.get(), address.get(), address.size) == 0 || errno != EADDRINUSE) {
        return Done{};
    }
    return Error{Error::Kind::refused,
                 "DEST \"" + destination.to_string() + "\": another program listens on UDP " +
                     endpoint.to_string() +
                     ", and what is sent to a single address reaches only one: an httpd here would "
                     "hear nothing any more; expected a machine without httpd, or a multicast or "
                     "broadcast address" +
                     (destination.from ? "" : ", or --from with an address that is free")};
}

class Watch {
public:
    Watch(const WatchSettings& settings, std::vector<UniqueFd> receivers, UniqueFd signals)
        : settings_(settings),
          keys_(settings.keys ? &*settings.keys : nullptr),
          receivers_(std::move(receivers)),
          signals_(std::move(signals)),
          left_(settings.count.value_or(std::numeric_limits<std::uint64_t>::max())) {}

    Status run() {
        std::vector<pollfd> events = {{signals_.get(), POLLIN, 0}, {STDOUT_FILENO, 0, 0}};
        for (const UniqueFd& receiver : receivers_) {
            events.push_back({receiver.get(), POLLIN, 0});
        }
        while (!ended_) {
            if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) {
                return last_system_error("cannot wait for announcements");
            }
            // The second: nobody reads any more.
            ended_ = events[0].revents != 0 || events[1].revents != 0;
            for (std::size_t index = 0; index < receivers_.size() && !ended_; ++index) {
                if (Status printed = take_from(receivers_[index].get()); !printed) {
                    return printed;
                }
            }
        }
        return Done{};
    }

private:
    Status take_from(int receiver) {
        const std::size_t count = inbox_.fetch(receiver);
        const auto now = std::chrono::system_clock::now();
        for (std::size_t index = 0; index < count && !ended_; ++index) {
            const auto from = IpAddress::from(inbox_.sender(index));
            const auto line =
                from ? watch_line({inbox_.datagram(index), *from, now}, keys_, settings_.all)
                     : std::nullopt;
            if (!line) {
                continue;
            }
            if (Status written = write(*line); !written) {
                return written;
            }
            --left_;
            ended_ = ended_ || left_ == 0;
        }
        return Done{};
    }

    // The whole line, unless it is asked to end while nobody takes it.
    Status write(std::string_view line) {
        while (!line.empty() && !ended_) {
            std::array<pollfd, 2> events = {
                {{STDOUT_FILENO, POLLOUT, 0}, {signals_.get(), POLLIN, 0}}};
            if (::poll(events.data(), events.size(), -1) < 0) {
                continue;
            }
            if (events[0].revents == 0) {
                ended_ = true;
                break;
            }
            // So much a pipe takes without waiting, once it takes anything.
            const ssize_t size =
                ::write(STDOUT_FILENO, line.data(), std::min<std::size_t>(line.size(), PIPE_BUF));
            if (size >= 0) {
                line.remove_prefix(static_cast<std::size_t>(size));
            } else if (errno == EPIPE) {
                ended_ = true;
            } else if (errno != EINTR && errno != EAGAIN) {
                return last_system_error("cannot write to standard output");
            }
        }
        return Done{};
    }

    const WatchSettings& settings_;
    const KeyRing* keys_;
    std::vector<UniqueFd> receivers_;
    UniqueFd signals_;
    DatagramInbox inbox_;
    std::uint64_t left_;  // lines to print
    bool ended_ = false;
};

// Readable when the program is asked to end.
UniqueFd await_signals() {
    std::signal(SIGPIPE, SIG_IGN);
    sigset_t wanted{};
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &wanted, nullptr);
    return UniqueFd{::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK)};
}

}  // namespace

Result<WatchSettings> read_watch_options(const WatchOptions& options) {
    WatchSettings settings;
    settings.all = options.all;
    auto destinations = read_destinations("DEST", options.destinations, options.from);
    if (!destinations) {
        return destinations.error();
    }
    settings.destinations = std::move(*destinations);
    if (!options.count.empty()) {
        const auto count =
            read_number("--count", options.count, {.least = 1, .most = limits::total, .unit = ""});
        if (!count) {
            return count.error();
        }
        settings.count = *count;
    }
    auto keys = read_keys(options.key_files);
    if (!keys) {
        return keys.error();
    }
    settings.keys = std::move(*keys);
    return settings;
}

std::optional<std::string> watch_line(const Heard& heard, const KeyRing* keys, bool all) {
    OverheardAnnouncement announcement;
    const auto unreadable = overhear_datagram(heard.datagram, announcement);
    ServerReport believed;
    const auto dropped =
        keys == nullptr ? unreadable : decode_datagram(heard.datagram, keys, believed);
    if (dropped && !all) {
        return std::nullopt;
    }

    Json line = {
        {"received_at", timestamp(heard.at)},
        {"from", heard.from.to_string()},
        {"size_bytes", heard.datagram.size()},
    };
    if (!unreadable) {
        add_announcement(announcement, keys != nullptr && !dropped, line);
    }
    if (dropped) {
        line["dropped"] = reason(*dropped);
    }
    return line.dump(-1, ' ', true, Json::error_handler_t::replace) + '\n';
}

Status run_watch(const WatchSettings& settings) {
    for (const Destination& destination : settings.destinations) {
        if (Status harmless = check_nobody_goes_deaf(destination); !harmless) {
            return harmless;
        }
    }
    auto receivers = open_receivers(settings.destinations);
    if (!receivers) {
        return Error{receivers.error().kind, "DEST " + receivers.error().detail};
    }
    UniqueFd signals = await_signals();
    if (!signals) {
        return last_system_error("cannot wait for signals");
    }
    return Watch{settings, std::move(*receivers), std::move(signals)}.run();
}

}  // namespace backhand
