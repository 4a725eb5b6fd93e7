#include "cli/announce.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "announce/announcer.h"
#include "announce/challenge.h"
#include "base/trusted_file.h"
#include "cli/challenge_server.h"
#include "measure/machine_reporter.h"
#include "moderator/boot_id.h"

namespace backhand {

namespace {

constexpr std::string_view without_state =
    ": the boot id is only as good as the clock: if that is set back between two runs, peers "
    "ignore this machine until it catches up";

std::uint64_t milliseconds_since_1970() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<Milliseconds>(now).count());
}

// Makes the directory if it is missing.  What is wrong with it otherwise: what others can write
// must not be believed, nor written to by root.
Status prepare(const std::string& directory) {
    if (directory.empty()) {
        return Error{Error::Kind::refused, "there is no home directory: expected --state-dir DIR"};
    }
    std::error_code failure;
    std::filesystem::create_directories(directory, failure);
    if (failure) {
        return Error{Error::Kind::system, "cannot make " + directory + ": " + failure.message()};
    }
    return check_trusted_file(directory, ::geteuid());
}

// The directory to keep things in; empty, with a warning, if it is of no use.
std::string usable_state_directory(const AnnounceSettings& settings, const Log& log) {
    const std::string& directory = settings.state_directory;
    if (const Status prepared = prepare(directory); !prepared) {
        log(LogLevel::warning,
            "nothing is kept: " + prepared.error().detail + std::string{without_state});
        return "";
    }
    return directory;
}

Result<std::vector<Sender>> open_senders(const std::vector<Destination>& destinations) {
    std::vector<Sender> senders;
    for (const Destination& destination : destinations) {
        auto sender = open_sender(destination);
        if (!sender) {
            return Error{sender.error().kind, "--to " + sender.error().detail};
        }
        senders.push_back(std::move(*sender));
    }
    return senders;
}

class AnnouncedMachine {
public:
    AnnouncedMachine(const AnnounceSettings& settings, Log log, const std::string& state_directory,
                     std::vector<Sender> senders)
        : settings_(settings),
          keys_(settings.keys ? &*settings.keys : nullptr),
          log_(std::move(log)),
          self_(settings.self),
          announcer_(std::move(senders), settings.services, keys_, std::random_device{}()),
          machine_(state_directory, log_),
          timer_(loop_),
          signals_(loop_, SIGTERM, SIGINT, SIGHUP),
          challenges_(loop_, [this](std::string_view question) { return answer(question); }) {
        start_boot(state_directory);
    }

    Status run() {
        if (settings_.challenge_listen) {
            if (Status listening = challenges_.listen(*settings_.challenge_listen); !listening) {
                return listening;
            }
        }
        signals_.async_wait([this](const std::error_code& error, int) {
            if (!error) {
                leave();
            }
        });
        introduce();
        announce_and_go_on();
        loop_.run();
        return Done{};
    }

private:
    void start_boot(const std::string& state_directory) {
        if (state_directory.empty()) {
            self_.load.boot_id = milliseconds_since_1970();
            return;
        }
        const BootId boot = next_boot_id(state_directory);
        self_.load.boot_id = boot.value;
        if (!boot.trouble.empty()) {
            log_(LogLevel::warning, boot.trouble);
        }
    }

    void introduce() const {
        std::string text = "announcing " + std::string{self_.name_view()} + " (" +
                           self_.load.contact.to_string() + ") to";
        for (const Destination& destination : settings_.destinations) {
            text += " " + destination.to.to_string();
        }
        log_(LogLevel::info, text);
        if (settings_.services.empty()) {
            log_(LogLevel::warning,
                 "no site is offered, so no request will come: expected --service SITE");
        }
        if (keys_ != nullptr && !settings_.challenge_listen) {
            log_(LogLevel::warning,
                 "no request will come before the contact has proved that it holds the key: "
                 "expected --challenge-listen IP:PORT");
        }
    }

    void announce() {
        ++self_.load.measurement;
        machine_.report(monotonic_now(), self_.load);
        const Announcer::Outcome outcome = announcer_.announce(self_);
        // When that changes, not ten times a second.
        if (outcome.failed != failed_) {
            log_(LogLevel::warning,
                 outcome.failed == 0
                     ? "announcements are sent to all destinations again"
                     : "cannot send announcements to " + std::to_string(outcome.failed) + " of " +
                           std::to_string(outcome.failed + outcome.sent) +
                           " destinations: " + std::generic_category().message(outcome.error));
        }
        failed_ = outcome.failed;
    }

    void announce_and_go_on() {
        announce();
        timer_.expires_after(announcer_.next_pause(Milliseconds{self_.load.interval_ms}));
        timer_.async_wait([this](const std::error_code& error) {
            if (!error) {
                announce_and_go_on();
            }
        });
    }

    void leave() {
        self_.load.flags |= ServerFlag::leaving;
        announce();
        loop_.stop();
    }

    // A question that cannot be answered may come from anyone; what it says is not repeated.
    std::optional<std::string> answer(std::string_view question) {
        const auto nonce = read_challenge(question, self_.load.contact, *keys_);
        const bool answered = nonce.has_value();
        if (answered != last_answered_) {
            last_answered_ = answered;
            log_(answered ? LogLevel::info : LogLevel::warning,
                 answered ? "a peer has asked for the proof, and was answered"
                          : "a challenge was refused: it was not signed with our key, or meant for "
                            "another contact than " +
                                self_.load.contact.to_string());
        }
        if (!nonce) {
            return std::nullopt;
        }
        const ChallengeAnswer known{.boot_id = self_.load.boot_id,
                                    .measurement = ++self_.load.measurement,
                                    .serving = self_.load.serving,
                                    .workers_idle = self_.load.workers_idle};
        return answer_text(*nonce, {.contact = self_.load.contact, .name = self_.name_view()},
                           known, *keys_);
    }

    const AnnounceSettings& settings_;
    const KeyRing* const keys_;
    const Log log_;
    ServerReport self_;
    Announcer announcer_;
    MachineReporter machine_;
    asio::io_context loop_{1};
    asio::steady_timer timer_;
    asio::signal_set signals_;
    ChallengeServer challenges_;
    std::size_t failed_ = 0;             // destinations, the last time
    std::optional<bool> last_answered_;  // whether the last question was
};

}  // namespace

Status run_announce(const AnnounceSettings& settings, const Log& log) {
    // What is kept is for this program only.
    ::umask(S_IRWXG | S_IRWXO);
    auto senders = open_senders(settings.destinations);
    if (!senders) {
        return senders.error();
    }
    const std::string state_directory = usable_state_directory(settings, log);
    return AnnouncedMachine{settings, log, state_directory, std::move(*senders)}.run();
}

}  // namespace backhand
