// byProbe: asks a few servers what they have to do at this moment.
//
// News that are as old as ten requests take say little of who has nothing to do now.  Asking is
// fresher than any announcement, and costs: a system call for each server, work there, and some
// tenths of a millisecond for which the request waits.  So it is the last step, about the few that
// the functions before have left, and only about a request that would move by what is known
// already: the answers then say whether that is still right, and which of the few is the best.
#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "base/text.h"
#include "cluster/exclusion.h"
#include "decide/gain.h"
#include "decide/making.h"

namespace backhand {

namespace {

constexpr std::uint32_t asked_default = 3;

// As many as are asked, at most.
constexpr std::size_t asked_max = CandidacySet::head_size;

// Questions that are asked together, and what was answered.
class Questions {
public:
    void add(std::uint32_t slot_index) { slots_[count_++] = slot_index; }

    bool none() const { return count_ == 0; }

    void ask(const Prober& prober) {
        prober.ask(std::span{slots_}.first(count_), std::span{answers_}.first(count_));
    }

    const ProbeAnswer* answer_of(std::uint32_t slot_index) const {
        for (std::size_t index = 0; index < count_; ++index) {
            if (slots_[index] == slot_index) {
                return answers_[index] ? &*answers_[index] : nullptr;
            }
        }
        return nullptr;
    }

private:
    std::array<std::uint32_t, asked_max> slots_{};
    std::array<std::optional<ProbeAnswer>, asked_max> answers_{};
    std::size_t count_ = 0;
};

// Of those that are asked, whoever answers comes first, fewest requests in progress first.  Who
// does not is no worse off than without the question: a server that knows no questions must not
// lose its requests for ever, and one that has too much to do to answer comes behind those that
// have answered, and its old numbers are held against it where the head is compared with self.
class ByProbe final : public CandidacyFunction {
public:
    explicit ByProbe(std::size_t count) : count_(count) {}

    void apply(CandidacySet& set, const DecisionContext& context) const override {
        if (context.prober == nullptr || !may_pay(set, context)) {
            return;
        }
        Questions questions;
        for_each_asked(set, [&](const ServerView& server) { questions.add(server.slot_index); });
        questions.ask(*context.prober);
        set.change_views([&](ServerView& server) {
            if (const ProbeAnswer* const answer = questions.answer_of(server.slot_index)) {
                server.serving = answer->serving;
                server.workers_idle = answer->workers_idle;
                server.sent_since = 0;
                server.age = Nanoseconds{0};
            }
        });
        set.keep_if([&](const ServerView& server) {
            return questions.answer_of(server.slot_index) == nullptr || may_take_requests(server);
        });
        set.order_by([&](const ServerView& server) -> double {
            return questions.answer_of(server.slot_index) == nullptr ? behind_all : server.serving;
        });
    }

    Effect effect() const override { return Effect::orders; }

    Detail reads() const override { return Detail::glance; }

    std::string remark(const CandidacySet& set, const DecisionContext& context) const override {
        if (context.prober == nullptr) {
            return "nobody can be asked";
        }
        std::size_t answered = 0;
        for (std::size_t position = 0; position < set.size(); ++position) {
            answered += news_of(set[position]) == News::live ? 1U : 0U;
        }
        return answered == 0 ? "nobody was asked, or nobody has answered"
                             : std::to_string(answered) + " answered";
    }

private:
    static constexpr double behind_all = 1e10;  // above every count

    template <class Use>
    void for_each_asked(const CandidacySet& set, Use use) const {
        std::size_t asked = 0;
        for (std::size_t position = 0; position < set.size() && asked < count_; ++position) {
            if (!set[position].is_self()) {
                use(set[position]);
                ++asked;
            }
        }
    }

    // False also if there is nobody to ask.
    bool may_pay(const CandidacySet& set, const DecisionContext& context) const {
        double fewest = behind_all;
        for_each_asked(set, [&](const ServerView& server) {
            fewest = std::min<double>(fewest, server.expected_serving());
        });
        const double gain = std::max(1.0, gain_to_ask_for(set.self(), context));
        return fewest + gain <= set.self().serving;
    }

    std::size_t count_;
};

Made make_by_probe(std::string_view name, std::string_view argument) {
    const auto count =
        argument.empty() ? std::optional{asked_default} : parse_number<std::uint32_t>(argument);
    if (!count || *count == 0 || *count > asked_max) {
        return bad_argument(name, argument,
                            "how many servers to ask, from 1 to 8, for example byProbe 3");
    }
    return one<ByProbe>(with_argument(name, argument), std::size_t{*count});
}

constexpr std::array builtins = {
    Builtin{"byProbe", make_by_probe},
};

}  // namespace

std::span<const Builtin> probe_builtins() {
    return builtins;
}

}  // namespace backhand
