#include "decide/plugin_rehearsal.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <thread>

#include "base/text.h"
#include "decide/made_cluster.h"

namespace backhand {

namespace {

constexpr int rounds = 3;
constexpr int threads_count = 4;
constexpr int rounds_per_thread = 200;
constexpr int timed_decisions = 101;

class MadeFacts final : public RequestFacts {
public:
    std::optional<std::string_view> header(const char* name, std::size_t nth) const override {
        for (const auto& [field, value] : fields) {
            if (equal_ignoring_case(field, name) && nth-- == 0) {
                return value;
            }
        }
        return std::nullopt;
    }

    std::optional<std::string_view> environment(const char* name) const override {
        return std::string_view{name} == "BACKHAND_MADE" ? std::optional<std::string_view>{""}
                                                         : std::nullopt;
    }

    IpAddress client() const override { return *IpAddress::parse("2001:db8::4711"); }

    bool is_tls() const override { return true; }

    std::string_view virtual_host() const override { return "www.example.com"; }

    std::optional<Nanoseconds> location_time() const override { return Milliseconds{12}; }

private:
    struct Field {
        std::string_view name;
        std::string_view value;
    };

    static constexpr std::array<Field, 4> fields = {{
        {"Host", "www.example.com"},
        {"Cookie", "a=1; session=7f000001deadbeef; b=\"2\""},
        {"Cookie", "session=; ;=;"},
        {"X-Empty", ""},
    }};
};

// Requests that differ in what they have and lack.
class MadeRequests {
public:
    MadeRequests() : long_target_("/" + std::string(8000, 'a') + "?" + std::string(8000, 'b')) {}

    std::vector<RequestView> views(void* native) const {
        return {
            {.method = "GET", .host = "www.example.com", .path = "/", .native = native},
            {.method = "POST",
             .host = "www.example.com",
             .path = "/app/cart?item=1&item=2",
             .native = native,
             .facts = &facts_},
            {.method = "GET", .host = "", .path = long_target_, .native = native, .facts = &facts_},
        };
    }

private:
    MadeFacts facts_;
    std::string long_target_;
};

struct Stage {
    explicit Stage(const PluginCode& played) : code(played) {}

    const PluginCode& code;
    Random random{1};
    CandidacySet set;
    PluginScratch scratch;

    AnswerFaults decide(const MadeCluster& cluster, const RequestView& request) {
        cluster.fill(set);
        const DecisionContext context{
            .request = request, .table = cluster, .random = random, .now = monotonic_now()};
        return code.decide(set, context, scratch);
    }

    // As httpd does when the first peer refuses and the second answers.
    void forward(const MadeCluster& cluster, const RequestView& request) {
        ServerView peer;
        if (!cluster.view(1, 0, monotonic_now(), peer)) {
            return;
        }
        code.sent(request, peer);
        code.ended(request, peer.slot_index, {});
        code.sent(request, peer);
        code.ended(request, peer.slot_index,
                   {.answered = true, .status = 200, .latency = Milliseconds{5}});
        // One that this version has not chosen.
        code.ended(request, cluster.slots_max() - 1,
                   {.answered = true, .status = 503, .latency = Nanoseconds{0}});
    }
};

void add_once(std::vector<std::string>& complaints, const std::string& complaint) {
    if (std::find(complaints.begin(), complaints.end(), complaint) == complaints.end()) {
        complaints.push_back(complaint);
    }
}

void step(const RehearsalSettings& settings, const std::string& what) {
    if (settings.on_step) {
        settings.on_step(what);
    }
}

}  // namespace

std::vector<std::string> rehearse(const PluginCode& code, const RehearsalSettings& settings) {
    std::vector<std::string> complaints;
    const MadeRequests requests;
    Stage stage{code};
    for (const MadeCluster& cluster : made_clusters()) {
        for (const RequestView& request : requests.views(settings.native_request)) {
            for (int round = 0; round < rounds; ++round) {
                step(settings, "deciding: " + cluster.what());
                const AnswerFaults faults = stage.decide(cluster, request);
                if (faults.any()) {
                    add_once(complaints, cluster.what() + ": " + faults.text());
                }
                step(settings, "being told what became of a request: " + cluster.what());
                stage.forward(cluster, request);
            }
        }
    }
    return complaints;
}

std::vector<std::string> rehearse_with_threads(const PluginCode& code,
                                               const RehearsalSettings& settings) {
    std::vector<std::string> complaints;
    std::mutex lock;
    const MadeRequests requests;
    const MadeCluster cluster = plausible_cluster("16 servers, four threads", 16, true);
    step(settings, "deciding: " + cluster.what());
    std::vector<std::thread> threads;
    for (int number = 0; number < threads_count; ++number) {
        threads.emplace_back([&] {
            Stage stage{code};
            for (int round = 0; round < rounds_per_thread; ++round) {
                for (const RequestView& request : requests.views(settings.native_request)) {
                    const AnswerFaults faults = stage.decide(cluster, request);
                    stage.forward(cluster, request);
                    if (faults.any()) {
                        const std::lock_guard held{lock};
                        add_once(complaints, cluster.what() + ": " + faults.text());
                    }
                }
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    return complaints;
}

Nanoseconds time_decision(const PluginCode& code, std::uint32_t servers_count,
                          void* native_request) {
    const MadeCluster cluster = plausible_cluster("", servers_count, true);
    const MadeRequests requests;
    const RequestView request = requests.views(native_request).front();
    Stage stage{code};
    std::vector<std::uint64_t> times;
    for (int count = 0; count < timed_decisions; ++count) {
        CandidacySet& set = stage.set;
        cluster.fill(set);
        const MonotonicTime began_at = monotonic_now();
        const DecisionContext context{
            .request = request, .table = cluster, .random = stage.random, .now = began_at};
        static_cast<void>(code.decide(set, context, stage.scratch));
        times.push_back(monotonic_now() - began_at);
    }
    const auto middle = times.begin() + timed_decisions / 2;
    std::nth_element(times.begin(), middle, times.end());
    return Nanoseconds{static_cast<std::int64_t>(*middle)};
}

}  // namespace backhand
