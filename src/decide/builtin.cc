#include "decide/builtin.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "base/text.h"

namespace backhand {

namespace {

constexpr double byage_seconds_default = 5;  // the seed's
constexpr double prefer_self_margin_default = 1;

// Resource information older than the limit is no basis for a decision.
class ByAge final : public CandidacyFunction {
public:
    explicit ByAge(double seconds)
        : age_max_(
              std::chrono::duration_cast<Nanoseconds>(std::chrono::duration<double>{seconds})) {}

    void apply(CandidacySet& set, const DecisionContext&) const override {
        set.keep_if([this](const ServerView& server) { return keeps(server); });
    }

    Effect effect() const override { return Effect::keeps; }

    bool keeps(const ServerView& server) const override { return server.age <= age_max_; }

private:
    Nanoseconds age_max_;
};

class ByRandom final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext& context) const override {
        set.shuffle(context.random);
    }

    Effect effect() const override { return Effect::shuffles; }
};

// Keeps max(1, floor(log2 n)) of n.  bit_width(n) is floor(log2 n) + 1.
class ByLogWindow final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext&) const override {
        const std::size_t log2_plus_1 = std::bit_width(set.size());
        set.truncate(log2_plus_1 > 2 ? log2_plus_1 - 1 : 1);
    }
};

class ByWindow final : public CandidacyFunction {
public:
    explicit ByWindow(std::size_t size) : size_(size) {}

    void apply(CandidacySet& set, const DecisionContext&) const override { set.truncate(size_); }

    Effect effect() const override { return Effect::shortens; }

    std::size_t window() const override { return size_; }

private:
    std::size_t size_;
};

class ByCpu final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext&) const override {
        set.order_by([](const ServerView& server) {
            return -static_cast<double>(server.load.cpu_idle_permille);
        });
    }

    Effect effect() const override { return Effect::orders; }
};

class ByLoad final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext&) const override {
        set.order_by([](const ServerView& server) { return server.load.load_permille; });
    }

    Effect effect() const override { return Effect::orders; }
};

class ByCost final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext&) const override {
        std::uint32_t load_max = 1;
        for (const ServerView& server : set.servers()) {
            const std::uint32_t cpus = server.load.whole_cpus();
            const std::uint32_t per_cpu =
                server.load.load_hwm / cpus + (server.load.load_hwm % cpus != 0);
            load_max = std::max(load_max, std::bit_ceil(std::min(per_cpu, 1U << 30U)));
        }
        const auto servers_count = static_cast<std::uint32_t>(set.servers().size());
        set.order_by([=](const ServerView& server) {
            return cost_of(server.load, servers_count, load_max);
        });
    }
};

// Fewest requests in progress first: for self an exact count, for a peer the newest count it sent
// plus what this host has sent it since.
class ByInFlight final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext&) const override {
        set.order_by([](const ServerView& server) { return server.expected_serving(); });
    }

    Effect effect() const override { return Effect::orders; }
};

class RemoveSelf final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext&) const override {
        set.keep_if([this](const ServerView& server) { return keeps(server); });
    }

    Effect effect() const override { return Effect::keeps; }

    bool keeps(const ServerView& server) const override { return !server.is_self(); }
};

// Moving a request costs both servers work.  It pays only if the head of the set has at least
// `margin` requests less to do than this server.
class PreferSelf final : public CandidacyFunction {
public:
    explicit PreferSelf(double margin) : margin_(margin) {}

    void apply(CandidacySet& set, const DecisionContext&) const override {
        if (set.empty() || set[0].expected_serving() + margin_ > set.self().serving) {
            set.put_self_first();
        }
    }

    Effect effect() const override { return Effect::orders; }

    double self_stays_below() const override { return margin_; }

private:
    double margin_;
};

Error bad_argument(std::string_view name, std::string_view argument, std::string_view expected) {
    return {Error::Kind::malformed, std::string(name) + " \"" + std::string(argument) +
                                        "\": expected " + std::string(expected)};
}

using Made = Result<std::vector<NamedFunction>>;

template <class Function, class... Arguments>
Made one(std::string text, Arguments... arguments) {
    std::vector<NamedFunction> result;
    result.push_back({std::make_unique<Function>(arguments...), std::move(text)});
    return result;
}

template <class Function>
Made make_plain(std::string_view name, std::string_view argument) {
    if (!argument.empty()) {
        return bad_argument(name, argument, "no argument");
    }
    return one<Function>(std::string(name));
}

std::string with_argument(std::string_view name, std::string_view argument) {
    return argument.empty() ? std::string(name) : std::string(name) + " " + std::string(argument);
}

Made make_by_age(std::string_view name, std::string_view argument) {
    const auto seconds = argument.empty() ? byage_seconds_default : parse_fraction(argument);
    // The upper limit keeps the conversion to nanoseconds within its range.
    if (!seconds || !(*seconds > 0 && *seconds <= 1e6)) {
        return bad_argument(name, argument, "a number of seconds above 0, for example byAge 5");
    }
    return one<ByAge>(with_argument(name, argument), *seconds);
}

Made make_by_window(std::string_view name, std::string_view argument) {
    const auto size = parse_number<std::uint32_t>(argument);
    if (!size || *size == 0) {
        return bad_argument(name, argument, "how many servers to keep, for example byWindow 3");
    }
    return one<ByWindow>(with_argument(name, argument), std::size_t{*size});
}

Made make_prefer_self(std::string_view name, std::string_view argument) {
    const auto margin = argument.empty() ? prefer_self_margin_default : parse_fraction(argument);
    if (!margin || !(*margin >= 0 && *margin <= 1e6)) {
        return bad_argument(name, argument,
                            "a number of requests, 0 or more, for example preferSelf 1");
    }
    return one<PreferSelf>(with_argument(name, argument), *margin);
}

// Every server has heard the same news.  So each looks at a few peers drawn at random (or all would
// run to the same one), counts what it sent itself, and lets go of a request only for a gain.
Made make_auto(std::string_view name, std::string_view argument) {
    if (!argument.empty()) {
        return bad_argument(name, argument, "no argument");
    }
    std::vector<NamedFunction> result;
    const auto add = [&result](std::unique_ptr<const CandidacyFunction> function,
                               std::string text) {
        result.push_back({std::move(function), std::move(text)});
    };
    add(std::make_unique<ByAge>(2), "byAge 2");
    add(std::make_unique<RemoveSelf>(), "removeSelf");
    add(std::make_unique<ByRandom>(), "byRandom");
    add(std::make_unique<ByWindow>(3), "byWindow 3");
    add(std::make_unique<ByInFlight>(), "byInFlight");
    add(std::make_unique<PreferSelf>(prefer_self_margin_default), "preferSelf 1");
    return result;
}

struct Builtin {
    std::string_view name;
    Made (*make)(std::string_view name, std::string_view argument);
};

constexpr std::array builtins = {
    Builtin{"auto", make_auto},
    Builtin{"byAge", make_by_age},
    Builtin{"byCost", make_plain<ByCost>},
    Builtin{"byCPU", make_plain<ByCpu>},
    Builtin{"byInFlight", make_plain<ByInFlight>},
    Builtin{"byLoad", make_plain<ByLoad>},
    Builtin{"byLogWindow", make_plain<ByLogWindow>},
    Builtin{"byRandom", make_plain<ByRandom>},
    Builtin{"byWindow", make_by_window},
    Builtin{"preferSelf", make_prefer_self},
    Builtin{"removeSelf", make_plain<RemoveSelf>},
};

}  // namespace

Made make_builtin(std::string_view name, std::string_view argument) {
    std::string known;
    for (const Builtin& builtin : builtins) {
        // httpd's own keywords are read without regard to case, so these are too.
        if (equal_ignoring_case(builtin.name, name)) {
            return builtin.make(builtin.name, argument);
        }
        known += ' ';
        known += builtin.name;
    }
    return Error{
        Error::Kind::malformed,
        "\"" + std::string(name) + "\" is no candidacy function: expected off or one of" + known};
}

double cost_of(const LoadReport& load, std::uint32_t servers_count, std::uint32_t load_max) {
    const double base = std::max(2U, servers_count);
    const auto memory_total =
        static_cast<double>(std::max<std::uint64_t>(1, load.memory_total_bytes));
    const double memory_used =
        1 - std::min(1.0, static_cast<double>(load.memory_available_bytes) / memory_total);
    const double jobs_per_cpu =
        static_cast<double>(load.load_permille) / std::max(1U, load.cpus_permille);
    return std::pow(base, memory_used) + std::pow(base, jobs_per_cpu / std::max(1U, load_max));
}

}  // namespace backhand
