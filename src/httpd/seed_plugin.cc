#include "httpd/seed_plugin.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <ctime>
#include <mutex>
#include <utility>

#include <dlfcn.h>
#include <unistd.h>

#include "base/trusted_file.h"
#include "httpd/apache.h"
#include "httpd/instance.h"

APLOG_USE_MODULE(backhand);

namespace backhand::httpd {

namespace {

// One for all: two lines may name the same object, which has one `serverstats`.
constinit std::mutex turns;

int saturate(std::uint64_t value) {
    return static_cast<int>(std::min<std::uint64_t>(value, INT_MAX));
}

}  // namespace

serverstat to_serverstat(const ServerView& server, const char* hostname, MonotonicTime now) {
    serverstat result{};
    std::strncpy(result.hostname, hostname, sizeof result.hostname - 1);
    const auto age = std::chrono::duration_cast<std::chrono::seconds>(
        server.is_self() ? elapsed(server.load.received_at, now) : server.age);
    result.mtime = std::time(nullptr) - age.count();
    result.contact.sin_family = AF_UNSPEC;
    if (server.load.contact.address.is_v4()) {
        const SocketAddress contact{server.load.contact};
        std::memcpy(&result.contact, contact.get(), sizeof result.contact);
    }
    result.arriba = saturate(server.load.arriba);
    result.aservers = saturate(server.workers_idle);
    result.nservers = saturate(server.load.workers_busy + server.workers_idle);
    result.load = saturate(server.load.load_permille);
    result.load_hwm = saturate(server.load.load_hwm);
    result.cpu = saturate(server.load.cpu_idle_permille);
    result.ncpu = saturate(server.load.whole_cpus());
    result.tmem = saturate(server.load.memory_total_bytes);
    result.amem = saturate(server.load.memory_available_bytes);
    return result;
}

SeedPlugin::SeedPlugin(Source source) : source_(std::move(source)) {}

SeedPlugin::~SeedPlugin() {
    if (library_ != nullptr) {
        ::dlclose(library_);
    }
}

std::string SeedPlugin::text() const {
    return source_.function + (source_.argument.empty() ? "" : " " + source_.argument) + " (" +
           source_.file + ")";
}

Status SeedPlugin::check_ownership() const {
    Status trusted = check_trusted_file(source_.file, ::geteuid());
    if (trusted || trusted.error().kind != Error::Kind::refused) {
        return trusted;
    }
    return Error{Error::Kind::refused,
                 trusted.error().detail +
                     "; a plug-in and every directory above it must belong to root and be writable "
                     "by nobody else"};
}

Status SeedPlugin::open() {
    library_ = ::dlopen(source_.file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library_ == nullptr) {
        // NOLINTNEXTLINE(concurrency-mt-unsafe): glibc keeps the message per thread.
        return Error{Error::Kind::refused, ::dlerror()};
    }
    // POSIX lets dlsym's answer be read as a function; so must we.
    function_ = reinterpret_cast<Function>(::dlsym(library_, source_.function.c_str()));
    if (function_ == nullptr) {
        return Error{Error::Kind::refused,
                     source_.file + " has no function \"" + source_.function + "\""};
    }
    // A plug-in that looks at no statistics may do without.
    serverstats_ = static_cast<serverstat**>(::dlsym(library_, "serverstats"));
    return Done{};
}

void SeedPlugin::apply(CandidacySet& set, const DecisionContext& context) const {
    if (function_ == nullptr) {
        return;
    }
    auto* const r = static_cast<request_rec*>(context.request.native);
    const std::uint32_t slots_max = context.table.slots_max();

    const std::lock_guard turn{turns};
    statistics_.resize(slots_max);
    for (const ServerView& server : set.servers()) {
        const auto report = context.table.report(server.slot_index);
        statistics_[server.slot_index] =
            to_serverstat(server, report ? report->name.data() : "", context.now);
    }
    slots_.assign(slots_max, 0);
    for (std::size_t position = 0; position < set.size(); ++position) {
        slots_[position] = static_cast<int>(set[position].slot_index);
    }
    if (serverstats_ != nullptr) {
        *serverstats_ = statistics_.data();
    }

    int count = static_cast<int>(set.size());
    argument_ = source_.argument;
    const int returned = function_(r, slots_.data(), &count, argument_.data());

    const int usable = std::clamp(count, 0, static_cast<int>(slots_max));
    const std::size_t left_out =
        set.assign_slots(std::span{slots_}.first(static_cast<std::size_t>(usable)));
    if (usable != count || returned != count || left_out != 0) {
        context.table.counters().add(Counter::plugin_answer_corrected);
        if (!complained_.exchange(true)) {
            ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                          "plug-in %s: %s answered with %d candidates (returned %d), %d of them "
                          "impossible or repeated; corrected, and counted from now on",
                          source_.file.c_str(), source_.function.c_str(), count, returned,
                          static_cast<int>(left_out));
        }
    }
}

}  // namespace backhand::httpd
