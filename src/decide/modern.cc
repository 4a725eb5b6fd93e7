// The candidacy functions the original did not have: they count requests in progress, look at few
// servers drawn at random, and bear in mind that news are old.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <limits>
#include <numeric>
#include <span>

#include "base/text.h"
#include "decide/gain.h"
#include "decide/making.h"

namespace backhand {

namespace {

constexpr double prefer_self_margin_default = 1;
constexpr double hot_quantile_default = 0.84;  // Prequal's, 2^-0.25

// A server of whose answers more than one in so many is a 5xx is no basis for a latency.
constexpr std::uint64_t failing_share = 10;

class ByWindow final : public CandidacyFunction {
public:
    explicit ByWindow(std::size_t size) : size_(size) {}

    void apply(CandidacySet& set, const DecisionContext&) const override { set.truncate(size_); }

    Effect effect() const override { return Effect::shortens; }

    Detail reads() const override { return Detail::glance; }

    std::size_t window(std::size_t) const override { return size_; }

    bool window_is_fixed() const override { return true; }

private:
    std::size_t size_;
};

// Fewest requests in progress first: for self an exact count, for a peer the newest count it sent
// plus what this host has sent it since.
class ByInFlight final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext&) const override {
        set.order_by([](const ServerView& server) { return server.expected_serving(); });
    }

    Effect effect() const override { return Effect::orders; }

    Detail reads() const override { return Detail::glance; }
};

// Moving a request costs both servers work, and time.  It pays only if the head of the set has at
// least `margin` requests less to do than this server, and as many less as make good what
// forwarding costs (decide/gain.h).  So a request that takes no longer than to forward it never
// moves, and servers that are all full do not fill each other further by forwarding.
class PreferSelf final : public CandidacyFunction {
public:
    explicit PreferSelf(double margin) : margin_(margin) {}

    void apply(CandidacySet& set, const DecisionContext& context) const override {
        if (set.empty() || set[0].expected_serving() + margin(set, context) > set.self().serving) {
            set.put_self_first();
        }
    }

    Effect effect() const override { return Effect::orders; }

    Detail reads() const override { return Detail::glance; }

    bool needs_head_only() const override { return true; }

    double self_stays_below() const override { return margin_; }

    std::string remark(const CandidacySet& set, const DecisionContext& context) const override {
        std::array<char, 160> text{};
        std::snprintf(text.data(), text.size(),
                      "this server has %u in progress; a peer must have at least %.2f less",
                      set.self().serving, margin(set, context));
        return text.data();
    }

private:
    double margin(const CandidacySet& set, const DecisionContext& context) const {
        const News news = set.empty() ? News::old : news_of(set[0]);
        return std::max(margin_, gain_asked_for(set.self(), news, context));
    }

    double margin_;
};

// Prequal's rule (Wydrowski and others: "Load is not what you should balance", NSDI 2024) over the
// members: of the servers that are not hot, the fastest; if all are hot, the one with the fewest
// requests.
//
// "At or above" the quantile, where Prequal has "above": among the two or three servers of a random
// window nobody is above it.  And what fails fast looks fast and draws all requests, so a server
// that gives many errors is not judged by its speed.
class ByHotCold final : public CandidacyFunction {
public:
    explicit ByHotCold(double quantile) : quantile_(quantile) {}

    void apply(CandidacySet& set, const DecisionContext&) const override {
        if (set.empty()) {
            return;
        }
        const std::uint32_t hot_from = at_quantile(
            set.numbers([](const ServerView& server) { return server.expected_serving(); }));
        set.order_by([hot_from](const ServerView& server) {
            if (is_failing(server.load)) {
                return failing_base + server.expected_serving();
            }
            return server.expected_serving() >= hot_from
                       ? hot_base + server.expected_serving()
                       : static_cast<double>(server.load.latency_at_load_us);
        });
    }

    Effect effect() const override { return Effect::orders; }

    Detail reads() const override { return Detail::numbers; }

private:
    // Above every latency, and above every count on top of that.
    static constexpr double hot_base = 1e10;
    static constexpr double failing_base = 2e10;

    // REQUIRES: not empty.  Changes their order.
    std::uint32_t at_quantile(std::span<std::uint32_t> counts) const {
        const auto rank =
            static_cast<std::size_t>(std::ceil(quantile_ * static_cast<double>(counts.size())));
        const auto nth = counts.begin() + static_cast<std::ptrdiff_t>(
                                              std::clamp<std::size_t>(rank, 1, counts.size()) - 1);
        std::nth_element(counts.begin(), nth, counts.end());
        return *nth;
    }

    static bool is_failing(const LoadReport& load) {
        return std::uint64_t{load.error_rate_millihertz} * failing_share >
               load.request_rate_millihertz;
    }

    double quantile_;
};

// A key for random order by weight (Efraimidis and Spirakis: "Weighted random sampling with a
// reservoir", 2006): the lowest key comes first with a probability proportional to the weight, and
// so on among the rest.  Infinity if the key is not below the limit, which most are not when only a
// few are kept; as -log(1 - x) >= x, that is nearly always known without a logarithm.
// REQUIRES: weight > 0.
inline double random_key(Random& random, double weight, double limit) {
    const double chance = random.fraction();
    return chance >= limit * weight ? std::numeric_limits<double>::infinity()
                                    : -std::log(1 - chance) / weight;
}

// Random order, in which fast and large servers come first more often.
class ByWeighted final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext& context) const override {
        double mean = 0;
        set.order_by([&set, &context, &mean](const ServerView& server, double limit) {
            double speed = server.load.arriba;
            if (server.load.arriba == 0) {
                mean = mean > 0 ? mean : mean_speed(set);
                speed = mean;
            }
            return random_key(context.random, speed * std::max(1U, server.load.cpus_permille),
                              limit);
        });
    }

    Effect effect() const override { return Effect::orders; }

    Detail reads() const override { return Detail::numbers; }

private:
    // Of those that have measured theirs.
    static double mean_speed(const CandidacySet& set) {
        std::uint64_t sum = 0;
        std::uint32_t known = 0;
        for (std::size_t position = 0; position < set.size(); ++position) {
            const std::uint32_t speed = set[position].load.arriba;
            sum += speed;
            known += speed != 0 ? 1U : 0U;
        }
        return known == 0 ? 1 : static_cast<double>(sum) / known;
    }
};

// Basic load interpretation (Dahlin: "Interpreting stale load information", 1999): since the
// members sent their news, requests have arrived that nobody has counted.  They are taken to have
// gone to the least loaded, which they fill up like water; each server then gets this request with
// the probability with which one of those went to it.
class ByInterpretedLoad final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext& context) const override {
        if (set.empty()) {
            return;
        }
        Uncounted uncounted;
        const std::span<std::uint32_t> counts = set.numbers([&uncounted](const ServerView& server) {
            uncounted.add(server);
            return server.expected_serving();
        });
        const double level = level_of(counts, 1 + uncounted.arrivals(set.size()));
        set.order_by([&context, level](const ServerView& server, double limit) {
            const double share = level - server.expected_serving();
            return share > 0 ? std::min(random_key(context.random, share, limit), no_share_base)
                             : no_share_base + server.expected_serving();
        });
    }

    Effect effect() const override { return Effect::orders; }

    Detail reads() const override { return Detail::numbers; }

private:
    // Above every key, but for those of shares so small that they do not matter.
    static constexpr double no_share_base = 1e9;

    // What has arrived at the members since their news, from others than this host, whose own are
    // known.
    class Uncounted {
    public:
        void add(const ServerView& server) {
            rates_millihertz_ += server.load.request_rate_millihertz;
            ages_ += server.age;
            sent_ += server.sent_since;
        }

        double arrivals(std::size_t members) const {
            const double mean_age =
                std::chrono::duration<double>(ages_).count() / static_cast<double>(members);
            return std::max(0.0, static_cast<double>(rates_millihertz_) / 1000 * mean_age -
                                     static_cast<double>(sent_));
        }

    private:
        std::uint64_t rates_millihertz_ = 0;
        std::chrono::duration<double, std::nano> ages_{};
        std::uint64_t sent_ = 0;
    };

    // How high so many arrivals fill servers up that have these counts.  Spread over all, some
    // stand above the level; without these it is lower, and others stand above it; until none does.
    // REQUIRES: arrivals > 0.
    static double level_of(std::span<std::uint32_t> counts, double arrivals) {
        auto bottoms = std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
        for (;;) {
            const double level =
                (arrivals + static_cast<double>(bottoms)) / static_cast<double>(counts.size());
            const std::size_t before = counts.size();
            counts = below(static_cast<std::uint64_t>(std::ceil(level)), counts, bottoms);
            if (counts.size() == before) {
                return level;
            }
        }
    }

    // Keeps the counts below the level, and adds them up.  Without a branch, which would be guessed
    // wrong half of the time.
    static std::span<std::uint32_t> below(std::uint64_t level, std::span<std::uint32_t> counts,
                                          std::uint64_t& sum) {
        std::size_t kept = 0;
        sum = 0;
        for (const std::uint32_t count : counts) {
            const bool is_below = count < level;
            counts[kept] = count;
            kept += is_below ? 1U : 0U;
            sum += is_below ? count : 0U;
        }
        return counts.first(kept);
    }
};

Made make_by_window(std::string_view name, std::string_view argument) {
    const auto size = parse_number<std::uint32_t>(argument);
    if (!size || *size == 0) {
        return bad_argument(name, argument, "how many servers to keep, for example byWindow 3");
    }
    return one<ByWindow>(with_argument(name, argument), std::size_t{*size});
}

Made make_prefer_self(std::string_view name, std::string_view argument) {
    const auto margin = number_within(argument, prefer_self_margin_default, 0, 1e6);
    if (!margin) {
        return bad_argument(name, argument,
                            "a number of requests, 0 or more, for example preferSelf 1");
    }
    return one<PreferSelf>(with_argument(name, argument), *margin);
}

Made make_by_hot_cold(std::string_view name, std::string_view argument) {
    const auto quantile = number_within(argument, hot_quantile_default, 0, 1);
    if (!quantile) {
        return bad_argument(name, argument, "a quantile from 0 to 1, for example byHotCold 0.84");
    }
    return one<ByHotCold>(with_argument(name, argument), *quantile);
}

struct Line {
    std::string_view name;
    std::string_view argument;
};

// Every server has heard the same news.  So each looks at a few peers drawn at random (or all would
// run to the same one), counts what it sent itself, and asks these few before it lets go of a
// request, for a gain only.  Three peers: docs/policies.md compares.
constexpr std::array auto_lines = {
    Line{"byAge", "2"},     Line{"removeSelf", ""}, Line{"byRandom", ""},    Line{"byWindow", "3"},
    Line{"byInFlight", ""}, Line{"byProbe", "3"},   Line{"preferSelf", "1"},
};

Made make_auto(std::string_view name, std::string_view argument) {
    if (!argument.empty()) {
        return bad_argument(name, argument, "no argument");
    }
    std::vector<NamedFunction> result;
    for (const Line& line : auto_lines) {
        auto made = make_builtin(line.name, line.argument);
        if (!made) {
            return made;
        }
        std::move(made->begin(), made->end(), std::back_inserter(result));
    }
    return result;
}

constexpr std::array builtins = {
    Builtin{"auto", make_auto},
    Builtin{"byHotCold", make_by_hot_cold},
    Builtin{"byInFlight", make_plain<ByInFlight>},
    Builtin{"byInterpretedLoad", make_plain<ByInterpretedLoad>},
    Builtin{"byWeighted", make_plain<ByWeighted>},
    Builtin{"byWindow", make_by_window},
    Builtin{"preferSelf", make_prefer_self},
};

}  // namespace

std::span<const Builtin> modern_builtins() {
    return builtins;
}

}  // namespace backhand
