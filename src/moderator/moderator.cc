#include "moderator/moderator.h"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <exception>
#include <memory>
#include <random>
#include <utility>

#include <asio.hpp>
#include <sys/socket.h>
#include <unistd.h>

#include "announce/announcer.h"
#include "announce/challenge.h"
#include "announce/datagram.h"
#include "announce/inbox.h"
#include "measure/machine_reporter.h"
#include "measure/service_meter.h"
#include "moderator/announcement_schedule.h"
#include "moderator/boot_id.h"
#include "moderator/challenger.h"
#include "moderator/drop_log.h"
#include "moderator/pool_keeper.h"
#include "moderator/probe_answerer.h"

namespace backhand {

namespace {

// How often it looks whether something worth announcing has happened.  No child makes a system call
// for that.
constexpr Milliseconds look_every{10};

// A large cluster announces less often: every server hears all the others.
constexpr Milliseconds interval_per_server{1};

// How long a successor may take to appear.
constexpr Nanoseconds retire_after = std::chrono::seconds{5};

constexpr Nanoseconds sweep_every = std::chrono::milliseconds{200};

// How long httpd may take from telling its first child to stop to removing its pid file.
constexpr Nanoseconds stop_takes = std::chrono::seconds{2};

// For how long a request counts after it has been signed.
constexpr Nanoseconds signature_age_max = std::chrono::seconds{10};
constexpr int measured_kept = 16;

// How long a predecessor may take to see that it has been replaced.
constexpr Nanoseconds predecessor_patience = std::chrono::seconds{2};

// With the inbox's size 25,600 announcements a second: ten times those of a large cluster.
constexpr int batches_per_look_max = 4;

// As many a second as the announcements above, twice over: beyond that the CPU is httpd's.
constexpr std::size_t probes_per_look_max = 512;

// How long a count of the workers tells what they are doing now.
constexpr Nanoseconds workers_counted_for = std::chrono::milliseconds{1};

class Moderator {
public:
    Moderator(ModeratorSettings settings, ClusterTable table)
        : settings_(std::move(settings)),
          table_(table),
          parent_(::getppid()),
          configured_interval_(settings_.self.load.interval_ms),
          announcer_(std::move(settings_.senders), settings_.services, settings_.keys,
                     std::random_device{}()),
          machine_(settings_.state_directory, settings_.log),
          pool_(loop_, table_, settings_.self.load.contact.address, settings_.log),
          signals_(loop_, SIGTERM, SIGINT, retire_signal),
          probe_answerer_({.contact = settings_.self.load.contact,
                           .accept = settings_.accept,
                           .keys = settings_.keys,
                           .counters = table_.counters(),
                           .news = [this] { return news_for_probes(); }}) {}

    int run();

private:
    using Descriptor = asio::posix::stream_descriptor;

    void await_signal();
    void leave();

    void start_boot();
    void start_challenger();
    void start_answering_probes();

    void look();
    void sweep(MonotonicTime now);
    bool httpd_is_stopping(MonotonicTime now);
    void measure(InFlight in_flight);
    void remember_measurement(MonotonicTime now);
    void announce();

    void receive();
    void take_in(std::span<const std::uint8_t> datagram, const IpAddress& from);
    std::optional<Counter> fault_of(std::span<const std::uint8_t> datagram, const IpAddress& from,
                                    ServerReport& report) const;
    void challenge(const ServerReport& report);
    void take_answer(const Endpoint& contact, const ChallengeAnswer& answer);

    void await_probes();
    ProbeAnswerer::News news_for_probes();

    void log(LogLevel level, const std::string& text) const { settings_.log(level, text); }

    ModeratorSettings settings_;
    const ClusterTable table_;
    const pid_t parent_;
    const Milliseconds configured_interval_;
    std::uint64_t epoch_ = 0;

    Announcer announcer_;
    AnnouncementSchedule schedule_;
    MachineReporter machine_;
    ServiceMeter service_;
    ChildCells::Drift drift_;
    DropLog drops_;

    asio::io_context loop_{1};
    PoolKeeper pool_;
    asio::signal_set signals_;
    DatagramInbox inbox_;
    std::unique_ptr<Challenger> challenger_;  // only with keys

    // Where peers ask what this server has to do; nullptr: nowhere.
    std::unique_ptr<Descriptor> probed_;
    ProbeAnswerer probe_answerer_;
    std::size_t probes_since_look_ = 0;
    bool probes_paused_ = false;  // there were too many of them
    WorkerCounts workers_;
    MonotonicTime workers_counted_at_ = 0;

    struct Measured {
        MonotonicTime at = 0;
        std::uint64_t number = 0;
    };

    std::deque<Measured> measured_;  // lately, oldest first; a few of them

    MonotonicTime swept_at_ = 0;
    MonotonicTime retire_at_ = 0;  // 0: not asked to
    MonotonicTime pid_file_seen_at_ = 0;
    bool no_worker_seen_ = true;  // since the start: until then this server takes no requests
};

int Moderator::run() {
    start_boot();
    epoch_ = table_.become_writer(predecessor_patience);
    start_answering_probes();
    measure(table_.cells().exact());
    start_challenger();
    pool_.listen(settings_.socket_path);
    await_signal();
    while (!loop_.stopped()) {
        look();
        loop_.run_for(look_every);
    }
    table_.stop_writing();
    return 0;
}

void Moderator::await_signal() {
    signals_.async_wait([this](const std::error_code& error, int signal) {
        if (error) {
            return;
        }
        if (signal == retire_signal) {
            retire_at_ = monotonic_now() + nanoseconds_in(retire_after);
            await_signal();
        } else {
            leave();
        }
    });
}

void Moderator::leave() {
    settings_.self.load.flags |= ServerFlag::leaving;
    measure(table_.cells().exact());
    announce();
    loop_.stop();
}

void Moderator::start_boot() {
    if (table_.boot_id() == 0) {
        const BootId boot = next_boot_id(settings_.state_directory);
        table_.set_boot_id(boot.value);
        if (!boot.trouble.empty()) {
            log(LogLevel::warning, boot.trouble);
        }
    }
    settings_.self.load.boot_id = table_.boot_id();
}

void Moderator::start_challenger() {
    table_.demand_proof(settings_.keys != nullptr);
    if (settings_.keys == nullptr) {
        return;
    }
    challenger_ = std::make_unique<Challenger>(
        loop_, *settings_.keys, settings_.self.load.contact.address,
        [this](const Endpoint& contact, const ChallengeAnswer& answer) {
            take_answer(contact, answer);
        },
        [this](const Endpoint& contact, const std::string& why) {
            table_.counters().add(Counter::challenges_failed);
            log(LogLevel::notice, contact.to_string() +
                                      " announces itself but has not proved that it holds the "
                                      "cluster's key: " +
                                      why);
        });
}

void Moderator::start_answering_probes() {
    if (!settings_.probe_port) {
        return;
    }
    auto opened = open_probe_socket(settings_.self.load.contact.address, *settings_.probe_port);
    if (!opened) {
        log(LogLevel::notice, "peers cannot ask this server by probes: " + opened.error().detail);
        return;
    }
    probed_ = std::make_unique<Descriptor>(loop_, opened->socket.release());
    settings_.self.load.probe_port = opened->port;
    await_probes();
}

void Moderator::look() {
    if (!table_.is_writer(epoch_)) {
        loop_.stop();
        return;
    }
    const MonotonicTime now = monotonic_now();
    table_.writer_alive(now);
    receive();
    if (no_worker_seen_ && settings_.count_workers().idle != 0) {
        no_worker_seen_ = false;
        schedule_.hurry();
    }
    probes_since_look_ = 0;
    if (std::exchange(probes_paused_, false)) {
        await_probes();
    }
    const InFlight in_flight = table_.cells().exact();
    const Milliseconds interval{settings_.self.load.interval_ms};
    if (schedule_.is_due(in_flight, interval, now)) {
        measure(in_flight);
        announce();
        schedule_.announced(in_flight, announcer_.next_pause(interval), now);
    }
    if (settings_.plugins) {
        settings_.plugins->look(now);
    }
    if (elapsed(swept_at_, now) >= sweep_every) {
        swept_at_ = now;
        sweep(now);
    }
}

void Moderator::sweep(MonotonicTime now) {
    const bool orphaned = ::getppid() != parent_;
    if (orphaned || (retire_at_ != 0 && now >= retire_at_)) {
        leave();
        return;
    }
    pool_.sweep(now);
    table_.cells().repair(drift_);
    table_.forget_forwards();
    if (const auto line = drops_.line(now)) {
        log(LogLevel::notice, *line);
    }
    if (!settings_.self.load.has(leaving) && httpd_is_stopping(now)) {
        // Peers learn it now; this process goes when the last request has ended.
        settings_.self.load.flags |= leaving;
        schedule_.hurry();
    }
}

// httpd that stops gracefully serves what it has begun and takes nothing new, for as long as that
// lasts.  Its parent removes the file with its process number at once, and its children say that
// they stop.  Each alone can also mean something else: an administrator's hand, a child too many.
bool Moderator::httpd_is_stopping(MonotonicTime now) {
    if (::access(settings_.pid_file.c_str(), F_OK) == 0) {
        pid_file_seen_at_ = now;
        return false;
    }
    const MonotonicTime stopped_at = table_.child_stopped_at();
    return retire_at_ == 0 && pid_file_seen_at_ != 0 && stopped_at != 0 &&
           elapsed(stopped_at, pid_file_seen_at_) < stop_takes;
}

void Moderator::measure(InFlight in_flight) {
    const MonotonicTime now = monotonic_now();
    const WorkerCounts workers = settings_.count_workers();
    LoadReport& load = settings_.self.load;
    load.measurement = table_.next_measurement();
    load.interval_ms = static_cast<std::uint32_t>(
        std::max(configured_interval_, interval_per_server * table_.slots_used()).count());
    load.received_at = now;
    machine_.report(now, load);
    load.workers_max = workers.max;
    load.workers_busy = workers.busy;
    load.workers_idle = workers.idle;
    load.serving = in_flight.serving;
    load.forwarding = in_flight.forwarding;
    service_.measure(table_.cells().served(), table_.latency(), in_flight.serving, now, load);
    table_.set_self(settings_.self);
    remember_measurement(now);
}

// What has been announced so long ago is no longer the last that anybody has heard: a request that
// was signed with it is old (forward/request_signature.h).
void Moderator::remember_measurement(MonotonicTime now) {
    const Nanoseconds three_intervals = 3 * Milliseconds{settings_.self.load.interval_ms};
    const Nanoseconds old_after = std::max(signature_age_max, three_intervals);
    if (measured_.empty() || elapsed(measured_.back().at, now) >= old_after / measured_kept) {
        measured_.push_back({now, settings_.self.load.measurement});
    }
    while (elapsed(measured_.front().at, now) > old_after) {
        table_.set_oldest_recent_measurement(measured_.front().number);
        measured_.pop_front();
    }
}

void Moderator::announce() {
    const Announcer::Outcome outcome = announcer_.announce(settings_.self);
    const auto count = [this](Counter counter, std::size_t times) {
        for (; times > 0; --times) {
            table_.counters().add(counter);
        }
    };
    count(Counter::datagrams_sent, outcome.sent);
    count(Counter::datagrams_failed, outcome.failed);
}

// Announcements are fetched at every look, all that have come since the last: being woken for each
// would cost several times what reading it does, and a flood could take the whole CPU.
void Moderator::receive() {
    for (const UniqueFd& receiver : settings_.receivers) {
        for (int batch = 0; batch < batches_per_look_max; ++batch) {
            const std::size_t count = inbox_.fetch(receiver.get());
            for (std::size_t index = 0; index < count; ++index) {
                if (const auto from = IpAddress::from(inbox_.sender(index))) {
                    take_in(inbox_.datagram(index), *from);
                }
            }
            if (count < DatagramInbox::size) {
                break;
            }
        }
    }
}

// Why a datagram must be dropped, if it must.
std::optional<Counter> Moderator::fault_of(std::span<const std::uint8_t> datagram,
                                           const IpAddress& from, ServerReport& report) const {
    if (!settings_.accept.contains(from)) {
        return Counter::datagrams_from_stranger;
    }
    if (const auto fault = decode_datagram(datagram, settings_.keys, report)) {
        return fault;
    }
    const Endpoint& contact = report.load.contact;
    const ServerReport& self = settings_.self;
    if (contact == self.load.contact && report.name_view() == self.name_view()) {
        return Counter::datagrams_own;
    }
    // Without this rule a forged datagram would send clients' requests anywhere, or in circles.
    const auto& own = settings_.own_endpoints;
    if (!settings_.accept.contains(contact.address) || contact == self.load.contact ||
        std::find(own.begin(), own.end(), contact) != own.end()) {
        return Counter::datagrams_contact_refused;
    }
    return std::nullopt;
}

void Moderator::take_in(std::span<const std::uint8_t> datagram, const IpAddress& from) {
    Counters& counters = table_.counters();
    ServerReport report;
    auto fault = fault_of(datagram, from, report);
    if (!fault) {
        report.load.received_at = monotonic_now();
        switch (table_.take(report).outcome) {
            case ClusterTable::Outcome::unproven:
                challenge(report);
                [[fallthrough]];
            case ClusterTable::Outcome::taken:
                counters.add(Counter::datagrams_accepted);
                if (report.load.has(implausible)) {
                    counters.add(Counter::datagrams_implausible);
                }
                return;
            case ClusterTable::Outcome::replayed:
                fault = Counter::datagrams_replayed;
                break;
            case ClusterTable::Outcome::cluster_full:
                fault = Counter::datagrams_cluster_full;
                break;
        }
    }
    counters.add(*fault);
    if (*fault != Counter::datagrams_own) {
        drops_.note(*fault, from);
    }
}

void Moderator::challenge(const ServerReport& report) {
    const LoadReport& load = report.load;
    if (challenger_ && challenger_->ask(load.contact, std::string{report.name_view()}, load.boot_id,
                                        load.received_at)) {
        table_.counters().add(Counter::challenges_sent);
    }
}

void Moderator::take_answer(const Endpoint& contact, const ChallengeAnswer& answer) {
    const auto slot_index = table_.find_contact(contact);
    if (!slot_index || !table_.prove(*slot_index, contact, answer.boot_id, answer.measurement)) {
        table_.counters().add(Counter::challenges_failed);
        return;
    }
    table_.counters().add(Counter::challenges_passed);
    table_.refresh(*slot_index, answer.boot_id, answer.measurement, answer.serving,
                   answer.workers_idle, monotonic_now());
    log(LogLevel::info, contact.to_string() + " has proved that it holds the cluster's key");
}

// Not at the next look, as announcements: whoever asks waits for the answer.
void Moderator::await_probes() {
    probed_->async_wait(Descriptor::wait_read, [this](const std::error_code& error) {
        if (error) {
            return;
        }
        probes_since_look_ += probe_answerer_.answer(probed_->native_handle());
        if (probes_since_look_ >= probes_per_look_max) {
            probes_paused_ = true;
            return;
        }
        await_probes();
    });
}

// As it is announced, and of this moment.
ProbeAnswerer::News Moderator::news_for_probes() {
    const MonotonicTime now = monotonic_now();
    if (elapsed(workers_counted_at_, now) >= workers_counted_for) {
        workers_ = settings_.count_workers();
        workers_counted_at_ = now;
    }
    return {.serving = table_.cells().quick().serving, .workers_idle = workers_.idle};
}

}  // namespace

int run_moderator(ModeratorSettings settings, ClusterTable table) {
    const Log log = settings.log;
    try {
        return Moderator{std::move(settings), table}.run();
    } catch (const std::exception& failure) {
        log(LogLevel::error, std::string{"the moderator stops: "} + failure.what());
        return 1;
    }
}

}  // namespace backhand
