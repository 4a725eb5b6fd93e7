// Functions that go by what this host has seen of the servers itself: how long its own forwards
// took, whether they failed, and how long a server has been there.
#include <algorithm>
#include <array>

#include "cluster/exclusion.h"
#include "decide/making.h"

namespace backhand {

namespace {

constexpr double slow_start_seconds_default = 30;

// A server that has just started gets this share of the requests it would get, and more and more.
constexpr double slow_start_share_min = 0.1;

// The time a request takes times the requests that are there already, this one included.
class ByLatency final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext&) const override {
        // A server of which nothing is known yet is taken for one like the others: to be taken for
        // the fastest would bring it all the requests at once.
        double otherwise = 0;
        set.order_by([&set, &otherwise](const ServerView& server) {
            double us = server.expected_latency_us();
            if (us <= 0) {
                otherwise = otherwise > 0 ? otherwise : mean_latency_us(set);
                us = otherwise;
            }
            return us * (1.0 + server.expected_serving());
        });
    }

    Effect effect() const override { return Effect::orders; }

    Detail reads() const override { return Detail::numbers; }

private:
    // Of those whose is known; above 0.
    static double mean_latency_us(const CandidacySet& set) {
        double sum = 0;
        std::size_t known = 0;
        for (std::size_t position = 0; position < set.size(); ++position) {
            const double us = set[position].expected_latency_us();
            sum += us;
            known += us > 0 ? 1U : 0U;
        }
        return known == 0 ? 1 : sum / static_cast<double>(known);
    }
};

class ByHealth final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext& context) const override {
        set.keep_if([&](const ServerView& server) { return keeps(server, context); });
    }

    Effect effect() const override { return Effect::keeps; }

    Detail reads() const override { return Detail::glance; }

    bool keeps(const ServerView& server, const DecisionContext&) const override {
        // Without a branch for each: nearly all servers pass them all.
        const bool ready = has_idle_worker(server);
        const bool leaving = server.load.has(ServerFlag::leaving);
        const int troubles =
            int{server.unhealthy} | int{server.ejected} | int{!ready} | int{leaving};
        return troubles == 0 || server.is_self();
    }
};

// Leaves a new server out of most decisions, and of fewer and fewer, until it has been there for
// some time: its caches are cold.  How long that is servers do not say; it counts since their boot
// id was first heard.
class BySlowStart final : public CandidacyFunction {
public:
    explicit BySlowStart(double seconds)
        : starts_for_(
              std::chrono::duration_cast<Nanoseconds>(std::chrono::duration<double>{seconds})) {}

    void apply(CandidacySet& set, const DecisionContext& context) const override {
        set.keep_if([&](const ServerView& server) { return keeps(server, context); });
    }

    Effect effect() const override { return Effect::keeps; }

    Detail reads() const override { return Detail::glance; }

    // The moment is the dice, so that a server that is looked at twice in one decision is in it or
    // not both times.
    bool keeps(const ServerView& server, const DecisionContext& context) const override {
        if (server.known_for >= starts_for_) {
            return true;
        }
        Random dice{Random::mix(context.now ^ server.slot_index * Random::increment)};
        const double share = static_cast<double>(server.known_for.count()) /
                             static_cast<double>(starts_for_.count());
        return dice.fraction() < std::max(slow_start_share_min, share);
    }

private:
    Nanoseconds starts_for_;
};

Made make_by_slow_start(std::string_view name, std::string_view argument) {
    const auto seconds = number_within(argument, slow_start_seconds_default, 0, 1e6);
    if (!seconds || *seconds == 0) {
        return bad_argument(name, argument,
                            "a number of seconds above 0, for example bySlowStart 30");
    }
    return one<BySlowStart>(with_argument(name, argument), *seconds);
}

constexpr std::array builtins = {
    Builtin{"byHealth", make_plain<ByHealth>},
    Builtin{"byLatency", make_plain<ByLatency>},
    Builtin{"bySlowStart", make_by_slow_start},
};

}  // namespace

std::span<const Builtin> health_builtins() {
    return builtins;
}

}  // namespace backhand
