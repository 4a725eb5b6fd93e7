// Plug-ins with today's interface (include/backhand/plugin.h).
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "base/text.h"
#include "decide/plugin_kinds.h"

namespace backhand {

namespace {

// What lies in the places behind an array; no answer has such numbers.
constexpr int order_guard = -0x5A5A5A5A;
constexpr double score_guard = -1.2345e300;

constexpr std::size_t error_bytes = 256;

std::uint64_t microseconds_in(Nanoseconds duration) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0)) / 1000;
}

backhand_text text_of(std::string_view text) {
    return {text.data(), text.size()};
}

backhand_text text_of(std::optional<std::string_view> text) {
    return text ? backhand_text{text->data() == nullptr ? "" : text->data(), text->size()}
                : backhand_text{nullptr, 0};
}

// ---- the request ----

// What the plug-in's pointer leads back to when it asks for more.
struct AskedRequest : backhand_request {
    const RequestView* view = nullptr;
    const ClusterView* cluster = nullptr;  // nullptr after the decision: nobody is named then
};

const RequestView& view_of(const backhand_request* request) {
    return *static_cast<const AskedRequest*>(request)->view;
}

backhand_text get_header(const backhand_request* request, const char* name, std::size_t nth) {
    const RequestFacts* const facts = view_of(request).facts;
    return text_of(facts == nullptr ? std::nullopt : facts->header(name, nth));
}

backhand_text get_cookie(const backhand_request* request, const char* name) {
    return text_of(view_of(request).cookie(name));
}

backhand_text get_environment(const backhand_request* request, const char* name) {
    return text_of(view_of(request).environment(name));
}

std::optional<ServerReport> report_of(const backhand_request* request, std::uint32_t id) {
    const ClusterView* const cluster = static_cast<const AskedRequest*>(request)->cluster;
    return cluster == nullptr || id >= cluster->slots_used() ? std::nullopt : cluster->report(id);
}

std::size_t get_name(const backhand_request* request, std::uint32_t id, char* buffer,
                     std::size_t size) {
    const auto report = report_of(request, id);
    const std::string_view name = report ? report->name_view() : std::string_view{};
    if (size > 0) {
        const std::size_t length = std::min(name.size(), size - 1);
        std::copy_n(name.data(), length, buffer);
        buffer[length] = '\0';
    }
    return name.size();
}

int get_offers(const backhand_request* request, std::uint32_t id, const char* site) {
    const auto report = report_of(request, id);
    return report && report->offers(hash_ignoring_case(site)) ? 1 : 0;
}

AskedRequest asked(const RequestView& view, const ClusterView* cluster, MonotonicTime now,
                   std::uint64_t random) {
    AskedRequest request{};
    request.size = sizeof(backhand_request);
    request.method = text_of(view.method);
    request.host = text_of(view.host);
    request.target = text_of(view.path);
    if (const std::string_view query = view.query(); query.data() != nullptr) {
        request.query = text_of(query);
    }
    if (view.facts != nullptr) {
        request.virtual_host = text_of(view.facts->virtual_host());
        const IpAddress client = view.facts->client();
        std::copy(client.bytes.begin(), client.bytes.end(), request.client_address);
        request.is_tls = view.facts->is_tls() ? 1 : 0;
    }
    if (const auto time = view.location_time()) {
        request.location_time_us = std::max<std::uint64_t>(microseconds_in(*time), 1);
    }
    request.now_ns = now;
    request.random = random;
    request.get_header = &get_header;
    request.get_cookie = &get_cookie;
    request.get_environment = &get_environment;
    request.get_name = &get_name;
    request.get_offers = &get_offers;
    request.view = &view;
    request.cluster = cluster;
    return request;
}

// ---- candidates ----

void fill(backhand_candidate& candidate, const ServerView& server) {
    const LoadReport& load = server.load;
    candidate = {};
    candidate.id = server.slot_index;
    candidate.flags = (server.is_self() ? BACKHAND_IS_SELF : 0U) |
                      (load.has(connection_holds_worker) ? BACKHAND_HOLDS_WORKERS : 0U) |
                      (server.unhealthy ? BACKHAND_IS_UNHEALTHY : 0U);
    candidate.boot_id = load.boot_id;
    std::copy(load.contact.address.bytes.begin(), load.contact.address.bytes.end(),
              candidate.address);
    candidate.port = load.contact.port;

    candidate.in_flight = server.in_flight;
    candidate.sent_since = server.sent_since;
    candidate.age_us = microseconds_in(server.age);
    candidate.known_for_us = microseconds_in(server.known_for);
    candidate.own_latency_us = server.own_latency_us;
    candidate.own_latency_age_ms = server.own_latency_age_ms;
    candidate.score = std::numeric_limits<double>::quiet_NaN();

    candidate.memory_total_bytes = load.memory_total_bytes;
    candidate.memory_available_bytes = load.memory_available_bytes;
    candidate.forwarded_total = load.forwarded_total;
    candidate.serving = server.serving;
    candidate.forwarding = load.forwarding;
    candidate.workers_max = load.workers_max;
    candidate.workers_busy = load.workers_busy;
    candidate.workers_idle = server.workers_idle;
    candidate.load_permille = load.load_permille;
    candidate.load_hwm = load.load_hwm;
    candidate.cpus_permille = load.cpus_permille;
    candidate.cpu_idle_permille = load.cpu_idle_permille;
    candidate.arriba = load.arriba;
    candidate.pressure_cpu_permille = load.pressure_cpu_permille;
    candidate.pressure_memory_permille = load.pressure_memory_permille;
    candidate.pressure_io_permille = load.pressure_io_permille;
    candidate.request_rate_millihertz = load.request_rate_millihertz;
    candidate.error_rate_millihertz = load.error_rate_millihertz;
    candidate.latency_us = load.latency_us;
    candidate.latency_p99_us = load.latency_p99_us;
    candidate.latency_at_load_us = load.latency_at_load_us;
    candidate.latency_proxied_us = load.latency_proxied_us;
    candidate.interval_ms = load.interval_ms;
    candidate.keepalive_timeout_ms = load.keepalive_timeout_ms;
}

void fill_all(const CandidacySet& set, const ClusterView& cluster, PluginScratch& scratch) {
    scratch.candidates.resize(set.size());
    for (std::size_t position = 0; position < set.size(); ++position) {
        backhand_candidate& candidate = scratch.candidates[position];
        fill(candidate, set[position]);
        candidate.failures_in_a_row = cluster.failures_in_a_row(candidate.id);
        if (const auto score = set.score(position)) {
            candidate.score = *score;
        }
    }
}

// ---- the plug-in ----

class NativePlugin final : public PluginCode {
public:
    NativePlugin(const backhand_plugin& plugin, void* state) : plugin_(plugin), state_(state) {}

    NativePlugin(const NativePlugin&) = delete;
    NativePlugin& operator=(const NativePlugin&) = delete;

    ~NativePlugin() override {
        if (plugin_.destroy != nullptr) {
            plugin_.destroy(state_);
        }
    }

    std::string_view interface() const override { return "plugin.h"; }

    AnswerFaults decide(CandidacySet& set, const DecisionContext& context,
                        PluginScratch& scratch) const override;

    void sent(const RequestView& view, const ServerView& chosen) const override {
        if (plugin_.sent != nullptr) {
            backhand_candidate candidate;
            fill(candidate, chosen);
            const AskedRequest request = asked(view, nullptr, monotonic_now(), 0);
            plugin_.sent(state_, &request, &candidate);
        }
    }

    void ended(const RequestView& view, std::uint32_t slot_index,
               const ForwardEnd& end) const override {
        if (plugin_.ended != nullptr) {
            const backhand_outcome outcome = {
                .size = sizeof outcome,
                .answered = end.answered ? 1 : 0,
                .status = end.status,
                .latency_us = microseconds_in(end.latency),
            };
            const AskedRequest request = asked(view, nullptr, monotonic_now(), 0);
            plugin_.ended(state_, &request, slot_index, &outcome);
        }
    }

private:
    const backhand_plugin& plugin_;
    void* const state_;
};

// Whether nothing has been written behind the first `size` places.
template <class T>
bool is_intact(const std::vector<T>& places, std::size_t size, T guard) {
    return std::all_of(places.begin() + static_cast<std::ptrdiff_t>(size), places.end(),
                       [guard](T place) { return place == guard; });
}

std::size_t index_of(const ServerView& server, const CandidacySet& set) {
    return static_cast<std::size_t>(&server - set.servers().data());
}

// Scores are the candidates', by position; from here on they are the servers', by index.
void order_by_scores(CandidacySet& set, std::span<const double> scores_by_index, double margin,
                     AnswerFaults& faults) {
    set.order_by(
        [&](const ServerView& server) {
            const double score = scores_by_index[index_of(server, set)];
            faults.not_a_number += std::isnan(score) ? 1U : 0U;
            return score;
        },
        margin);
}

AnswerFaults NativePlugin::decide(CandidacySet& set, const DecisionContext& context,
                                  PluginScratch& scratch) const {
    const std::size_t size = set.size();
    fill_all(set, context.table, scratch);
    scratch.order.assign(size + guard_places, order_guard);
    std::iota(scratch.order.begin(), scratch.order.begin() + static_cast<std::ptrdiff_t>(size), 0);
    scratch.scores.assign(size + guard_places, score_guard);
    std::fill_n(scratch.scores.begin(), size, 0.0);

    const AskedRequest request =
        asked(context.request, &context.table, context.now, context.random.next());
    backhand_answer answer{.size = sizeof answer,
                           .order = scratch.order.data(),
                           .scores = scratch.scores.data(),
                           .margin = 0,
                           .by_score = 0};
    AnswerFaults faults;
    faults.asked = static_cast<int>(size);
    faults.count =
        plugin_.decide(state_, &request, scratch.candidates.data(), faults.asked, &answer);
    faults.count_impossible = faults.count < 0 || faults.count > faults.asked;
    faults.wrote_beyond = !is_intact(scratch.order, size, order_guard) ||
                          !is_intact(scratch.scores, size, score_guard);

    const auto usable = static_cast<std::size_t>(std::clamp(faults.count, 0, faults.asked));
    std::vector<double>& by_index = scratch.scores_by_index;
    by_index.resize(set.servers().size());
    for (std::size_t position = 0; position < size; ++position) {
        by_index[index_of(set[position], set)] = scratch.scores[position];
    }
    for (std::size_t place = 0; place < usable; ++place) {
        int& index = scratch.order[place];
        const bool possible = index >= 0 && index < faults.asked;
        index =
            possible ? static_cast<int>(index_of(set[static_cast<std::size_t>(index)], set)) : -1;
    }
    take_order(std::span{scratch.order}.first(usable), set, scratch, faults);
    if (answer.by_score != 0) {
        order_by_scores(set, by_index, std::isnan(answer.margin) ? 0 : answer.margin, faults);
    }
    return faults;
}

}  // namespace

Result<std::unique_ptr<const PluginCode>> make_native_plugin(const backhand_plugin& plugin,
                                                             const PluginSource& source) {
    if (plugin.decide == nullptr) {
        return Error{Error::Kind::refused,
                     source.file + ": the plug-in \"" + source.function + "\" has no decide()"};
    }
    void* state = nullptr;
    if (plugin.create != nullptr) {
        std::array<char, error_bytes> error{};
        state = plugin.create(source.argument.c_str(), error.data(), error.size());
        if (state == nullptr) {
            error.back() = '\0';
            return Error{Error::Kind::refused,
                         source.function + " refuses the argument \"" + source.argument +
                             "\": " + (error.front() == '\0' ? "no reason given" : error.data())};
        }
    }
    return std::unique_ptr<const PluginCode>{std::make_unique<NativePlugin>(plugin, state)};
}

}  // namespace backhand
