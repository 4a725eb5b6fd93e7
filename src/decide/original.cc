// The candidacy functions of the original: the seed's, and those of its later versions.
#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "decide/cost.h"
#include "decide/making.h"

namespace backhand {

namespace {

constexpr double byage_seconds_default = 5;  // the seed's
constexpr double bias_max = 1e6;

// Resource information older than the limit is no basis for a decision.
class ByAge final : public CandidacyFunction {
public:
    explicit ByAge(double seconds)
        : age_max_(
              std::chrono::duration_cast<Nanoseconds>(std::chrono::duration<double>{seconds})) {}

    void apply(CandidacySet& set, const DecisionContext& context) const override {
        set.keep_if([&](const ServerView& server) { return keeps(server, context); });
    }

    Effect effect() const override { return Effect::keeps; }

    Detail reads() const override { return Detail::glance; }

    bool keeps(const ServerView& server, const DecisionContext&) const override {
        return server.age <= age_max_;
    }

private:
    Nanoseconds age_max_;
};

class ByRandom final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext& context) const override {
        set.shuffle(context.random);
    }

    Effect effect() const override { return Effect::shuffles; }

    Detail reads() const override { return Detail::glance; }
};

// Keeps max(1, floor(log2 n)) of n.  bit_width(n) is floor(log2 n) + 1.
class ByLogWindow final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext&) const override {
        set.truncate(window(set.size()));
    }

    Effect effect() const override { return Effect::shortens; }

    Detail reads() const override { return Detail::glance; }

    std::size_t window(std::size_t members) const override {
        const std::size_t log2_plus_1 = std::bit_width(members);
        return log2_plus_1 > 2 ? log2_plus_1 - 1 : 1;
    }
};

class ByCpu final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext&) const override {
        set.order_by([](const ServerView& server) {
            return -static_cast<double>(server.load.cpu_idle_permille);
        });
    }

    Effect effect() const override { return Effect::orders; }

    Detail reads() const override { return Detail::numbers; }
};

class ByLoad final : public CandidacyFunction {
public:
    explicit ByLoad(double bias) : bias_permille_(bias * 1000) {}

    void apply(CandidacySet& set, const DecisionContext&) const override {
        set.order_by([this](const ServerView& server) {
            return server.load.load_permille - (server.is_self() ? bias_permille_ : 0);
        });
    }

    Effect effect() const override { return Effect::orders; }

    Detail reads() const override { return Detail::numbers; }

private:
    double bias_permille_;
};

// Where it is known what requests like this one take, what this one would add to the cost; else
// the cost as it is.
class ByCost final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext& context) const override {
        const CostScale scale{static_cast<std::uint32_t>(set.servers().size()),
                              highest_load_per_cpu(set.servers())};
        if (const auto demand = context.request.location_time()) {
            set.order_by([&scale, &demand](const ServerView& server) {
                return scale.added_cost_of(server.load, *demand);
            });
        } else {
            order_by_cost(set, scale);
        }
    }

    Detail reads() const override { return Detail::numbers; }

private:
    // Few servers have so little in use that their powers need to be raised.
    static void order_by_cost(CandidacySet& set, const CostScale& scale) {
        double cost_limit = std::numeric_limits<double>::infinity();
        double usage_limit = cost_limit;
        set.order_by([&](const ServerView& server, double limit) {
            if (limit < cost_limit) {
                cost_limit = limit;
                usage_limit = scale.usage_sum_of(limit);
            }
            const Usage usage = scale.usage_of(server.load);
            return usage.sum() < usage_limit ? scale.cost_of(usage)
                                             : std::numeric_limits<double>::infinity();
        });
    }

    // Divides only where that may raise it.
    static std::uint32_t highest_load_per_cpu(std::span<const ServerView> servers) {
        std::uint32_t highest = 1;
        for (const ServerView& server : servers) {
            if (server.load.load_hwm > highest) {
                const std::uint32_t cpus = server.load.whole_cpus();
                highest = std::max(
                    highest, server.load.load_hwm / cpus + (server.load.load_hwm % cpus != 0));
            }
        }
        return highest;
    }
};

class ByBusyChildren final : public CandidacyFunction {
public:
    explicit ByBusyChildren(double bias) : bias_(bias) {}

    void apply(CandidacySet& set, const DecisionContext&) const override {
        set.order_by([this](const ServerView& server) {
            return server.load.workers_busy - (server.is_self() ? bias_ : 0);
        });
    }

    Effect effect() const override { return Effect::orders; }

    Detail reads() const override { return Detail::numbers; }

private:
    double bias_;
};

class AddSelf final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext&) const override {
        if (!set.has_slot(self_slot)) {
            set.add_self();
        }
    }

    Effect effect() const override { return Effect::orders; }

    Detail reads() const override { return Detail::glance; }
};

class RemoveSelf final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext&) const override { set.remove_self(); }

    Effect effect() const override { return Effect::keeps; }

    Detail reads() const override { return Detail::glance; }

    bool keeps(const ServerView& server, const DecisionContext&) const override {
        return !server.is_self();
    }
};

constexpr std::uint32_t permille_of_one = 1000;

// Numbers from other machines may be anything: sums and differences stop at the ends.
void add_up_to_max(std::uint32_t& number, std::uint64_t addend) {
    constexpr std::uint64_t number_max = std::numeric_limits<std::uint32_t>::max();
    number =
        static_cast<std::uint32_t>(std::min(number + std::min(addend, number_max), number_max));
}

void take_down_to_0(std::uint32_t& number, std::uint64_t taken) {
    number -= static_cast<std::uint32_t>(std::min<std::uint64_t>(number, taken));
}

// What the server will probably say of itself once it has counted what this host sent it since its
// news: each of these requests occupies a worker, and keeps one CPU busy.
void count_in_sends(ServerView& server) {
    const std::uint64_t sent = server.sent_since;
    const std::uint64_t cpus_permille = std::max(1U, server.load.cpus_permille);
    add_up_to_max(server.serving, sent);
    take_down_to_0(server.workers_idle, sent);
    add_up_to_max(server.load.workers_busy, sent);
    take_down_to_0(server.load.workers_idle, sent);
    add_up_to_max(server.load.load_permille, sent * permille_of_one);
    take_down_to_0(server.load.cpu_idle_permille,
                   sent * permille_of_one * permille_of_one / cpus_permille);
    server.sent_since = 0;  // they are counted; once is enough
}

class AddPrediction final : public CandidacyFunction {
public:
    void apply(CandidacySet& set, const DecisionContext&) const override {
        set.change_views(count_in_sends);
    }

    Effect effect() const override { return Effect::orders; }

    Detail reads() const override { return Detail::numbers; }
};

Made make_by_age(std::string_view name, std::string_view argument) {
    // The upper limit keeps the conversion to nanoseconds within its range.
    const auto seconds = number_within(argument, byage_seconds_default, 0, 1e6);
    if (!seconds || *seconds == 0) {
        return bad_argument(name, argument, "a number of seconds above 0, for example byAge 5");
    }
    return one<ByAge>(with_argument(name, argument), *seconds);
}

// Work is worth moving only for a gain: the bias is taken off this server's own number.
template <class Function>
Made make_biased(std::string_view name, std::string_view argument) {
    const auto bias = number_within(argument, 0, 0, bias_max);
    if (!bias) {
        return bad_argument(name, argument,
                            "a number to take off this server's own, from 0 to 1000000, for "
                            "example " +
                                std::string(name) + " 1");
    }
    return one<Function>(with_argument(name, argument), *bias);
}

constexpr std::array builtins = {
    Builtin{"addPrediction", make_plain<AddPrediction>},
    Builtin{"addSelf", make_plain<AddSelf>},
    Builtin{"byAge", make_by_age},
    Builtin{"byBusyChildren", make_biased<ByBusyChildren>},
    Builtin{"byCost", make_plain<ByCost>},
    Builtin{"byCPU", make_plain<ByCpu>},
    Builtin{"byLoad", make_biased<ByLoad>},
    Builtin{"byLogWindow", make_plain<ByLogWindow>},
    Builtin{"byRandom", make_plain<ByRandom>},
    Builtin{"removeSelf", make_plain<RemoveSelf>},
};

}  // namespace

std::span<const Builtin> original_builtins() {
    return builtins;
}

}  // namespace backhand
