// The candidacy set, and the functions that shape it.
//
// The decision maker starts with every server that could take the request and runs an ordered chain
// of candidacy functions over the set.  Each may reorder, narrow or widen it; the head of what is
// left is the answer.
//
// A set is kept and used again: it allocates only until it has once held the whole cluster.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/address.h"
#include "base/clock.h"
#include "base/random.h"
#include "cluster/view.h"
#include "decide/prober.h"

namespace backhand {

// What can be asked about a request beyond its first line.  Most chains ask nothing, so nothing is
// collected before it is asked for.  Texts live as long as the request; names end in a NUL and are
// compared without regard to case.
class RequestFacts {
public:
    RequestFacts() = default;
    RequestFacts(const RequestFacts&) = delete;
    RequestFacts& operator=(const RequestFacts&) = delete;
    virtual ~RequestFacts() = default;

    // The value of the field's line number `nth`, from 0; nullopt: there are no more.
    virtual std::optional<std::string_view> header(const char* name, std::size_t nth) const = 0;

    // As SetEnv, SetEnvIf and RewriteRule set them.
    virtual std::optional<std::string_view> environment(const char* name) const = 0;

    virtual IpAddress client() const = 0;
    virtual bool is_tls() const = 0;

    // The ServerName of the virtual host that answers.
    virtual std::string_view virtual_host() const = 0;

    // What requests like this one take here; nullopt: too few were seen.
    virtual std::optional<Nanoseconds> location_time() const = 0;
};

// The request as candidacy functions see it, without httpd's types.
struct RequestView {
    std::string_view method{};
    std::string_view host{};
    std::string_view path{};         // the target as the client sent it, query included
    std::uint64_t service_hash = 0;  // hash_ignoring_case of the site it is for; 0: any
    void* native = nullptr;          // httpd's request_rec, for plug-ins of the seed's interface
    const RequestFacts* facts = nullptr;  // nullptr: nothing more is known (outside httpd)

    // What follows the '?', if anything does.
    std::string_view query() const;

    // As RequestFacts has them; nullopt also if there are no facts.
    std::optional<std::string_view> header(const char* name) const;
    std::optional<std::string_view> environment(const char* name) const;
    std::optional<Nanoseconds> location_time() const;

    // The value of the first cookie of this name, whose case matters, in any Cookie field.
    // Quotes around it are left out.
    std::optional<std::string_view> cookie(std::string_view name) const;
};

// How a request that was sent to a peer ended.
struct ForwardEnd {
    bool answered = false;     // a whole response head came, and was not a refusal to serve it
    std::uint16_t status = 0;  // of the response; 0 unless answered
    Nanoseconds latency{};     // from sending it until the response, or the failure, was complete
};

struct DecisionContext {
    const RequestView& request;
    const ClusterView& table;
    Random& random;
    MonotonicTime now = 0;
    Nanoseconds forwarding_cost{};   // what forwarding adds to a request's time; 0: not known
    const Prober* prober = nullptr;  // nullptr: nobody can be asked
};

class Redirect;

// An ordered set of servers.  Positions count from the head, which is 0.  One thread at a time.
class CandidacySet {
public:
    // Forgets everything, then takes `self` as the first server and only member.
    void begin(const ServerView& self);

    // Adds a server and makes it the last member.
    void add(const ServerView& server);

    // As begin() and an add() for each of many, without copies.  `fill` is given room for so many
    // and says how many it has filled.
    template <class Fill>
    void begin(const ServerView& self, std::size_t others_max, Fill fill) {
        begin_without(self);
        make_room(others_max);
        servers_count_ += fill(std::span{servers_}.subspan(servers_count_, others_max));
        make_all_members();
    }

    // As begin(), but self is no member yet.
    void begin_without(const ServerView& self);

    // Makes self the last member.  REQUIRES: it is none.
    void add_self() {
        if (!settled_) {
            order_.push_back(0);
        }
    }

    // Does nothing if self is no member.
    void remove_self();

    bool has_slot(std::uint32_t slot_index) const;

    std::size_t size() const { return order_.size(); }

    bool empty() const { return order_.empty(); }

    const ServerView& operator[](std::size_t position) const { return servers_[order_[position]]; }

    // Every server that may be a member, self first, whoever is one.
    std::span<const ServerView> servers() const { return {servers_.data(), servers_count_}; }

    // Calls change(ServerView&) for each of them: what the functions after this one then see.
    template <class Change>
    void change_views(Change change) {
        const std::span<ServerView> all{servers_.data(), servers_count_};
        std::for_each(all.begin(), all.end(), [&change](ServerView& server) {
            change(server);
            server.edition = no_edition;
        });
    }

    const ServerView& self() const { return servers_.front(); }

    // Keeps the first `count` members.
    void truncate(std::size_t count);

    // Keeps the members for which keep(const ServerView&) holds.
    template <class Predicate>
    void keep_if(Predicate keep) {
        std::erase_if(order_, [&](std::uint32_t index) { return !keep(servers_[index]); });
    }

    // Orders by score(const ServerView&), a double, lowest first; equal scores keep their order.
    // What is not a number comes last.  A score that takes long to reckon may be asked for as
    // score(const ServerView&, double limit): once it cannot be below the limit, it does not matter
    // any more, and infinity will do.
    //
    // With a margin, scores that differ by little do not decide: the lowest score and all up to
    // `margin` above it are one group, the lowest of the others begins the next group, and so on.
    // The groups come in the order of their lowest scores; within a group members keep the order
    // they had before.  So a margin never puts a member before one that is better by more.
    template <class Score>
    void order_by(Score score, double margin = 0) {
        if (head_only_ && !(margin > 0)) {
            if (order_.size() <= few_max) {
                order_few(score);
            } else {
                put_best_first(score);
            }
            return;
        }
        ranking_.resize(order_.size());
        for (std::uint32_t position = 0; position < order_.size(); ++position) {
            const std::uint32_t index = order_[position];
            const double value = scored(score, servers_[index], worst_score);
            ranking_[position] = {comparable(value), position, index};
        }
        sort_by_ranking(margin);
    }

    // number(const ServerView&), a std::uint32_t, of each member, head first; until the next call.
    template <class Number>
    std::span<std::uint32_t> numbers(Number number) {
        numbers_.resize(order_.size());
        std::transform(order_.begin(), order_.end(), numbers_.begin(),
                       [&](std::uint32_t index) { return number(servers_[index]); });
        return numbers_;
    }

    // From now on nobody looks at more than the first few members, nor at scores: order_by() and
    // shuffle() may leave the others in any order.
    void order_head_only() { head_only_ = true; }

    // So many of them.
    static constexpr std::size_t head_size = 8;

    // The last score that order_by() gave the member; nullopt: it has none.
    std::optional<double> score(std::size_t position) const;

    // Puts the members into random order, each order as likely as any other (Fisher and Yates).
    void shuffle(Random& random);

    // Keeps so many at random: as shuffle() and truncate().
    void draw(std::size_t count, Random& random);

    // Moves self to the head; makes it a member if it is not.
    void put_self_first();

    // Moves this member to the head.
    void put_first(std::size_t position);

    // Keeps only the head, for good: functions may still remove it, but nobody else becomes a
    // member.
    void settle();

    bool is_settled() const { return settled_; }

    // If the choice is a peer, the client is sent there instead of its request.  `redirect` must
    // live as long as the decision.
    void answer_with(const Redirect& redirect) { redirect_ = &redirect; }

    const Redirect* redirect() const { return redirect_; }

    // Replaces the members by these, in this order.  REQUIRES: indices into servers(), none twice.
    void assign(std::span<const std::uint32_t> indices);

    // Room for slots to choose from.
    std::vector<std::uint32_t>& slots() { return slots_; }

private:
    static constexpr double worst_score = std::numeric_limits<double>::infinity();
    static constexpr double no_score = std::numeric_limits<double>::quiet_NaN();

    static double comparable(double score) {
        if (std::isnan(score)) {
            return worst_score;
        }
        return score;
    }

    struct Ranked {
        double score;
        std::uint32_t position;
        std::uint32_t index;
    };

    // The first few in the order of their scores, of those looked at so far; among equals the
    // first.
    class Best {
    public:
        // The score that another must be below to be among them.  REQUIRES: they are all there.
        double limit() const { return members_.back().score; }

        void insert(double score, std::uint32_t position);

        // Moves them to the head of the set.
        void move_first(std::span<std::uint32_t> order);

    private:
        struct Member {
            double score;
            std::uint32_t position;
        };

        std::array<Member, head_size> members_{};
        std::size_t count_ = 0;
    };

    template <class Score>
    static double scored(Score& score, const ServerView& server, double limit) {
        if constexpr (std::is_invocable_v<Score&, const ServerView&, double>) {
            return score(server, limit);
        } else {
            return score(server);
        }
    }

    // Of so few, comparing all with all takes less time than the branches of a sort that are
    // guessed wrong.
    static constexpr std::size_t few_max = 16;

    template <class Score>
    void order_few(Score score) {
        std::array<double, few_max> scores{};
        for (std::size_t position = 0; position < order_.size(); ++position) {
            scores[position] = comparable(scored(score, servers_[order_[position]], worst_score));
        }
        order_few_by(scores);
    }

    void order_few_by(const std::array<double, few_max>& scores);

    // What order_by() comes to when only the head matters, in one pass.
    template <class Score>
    void put_best_first(Score score) {
        const std::span<const ServerView> servers{servers_};
        const std::span<const std::uint32_t> order{order_};
        Best best;
        std::uint32_t position = 0;
        for (; position < std::min(head_size, order.size()); ++position) {
            best.insert(scored(score, servers[order[position]], worst_score), position);
        }
        for (double limit = best.limit(); position < order.size(); ++position) {
            const double value = scored(score, servers[order[position]], limit);
            if (value < limit) {
                best.insert(value, position);
                limit = best.limit();
            }
        }
        best.move_first(order_);
    }

    void shuffle_first(std::size_t count, Random& random);
    void make_room(std::size_t servers_count);
    void make_all_members();
    void sort_by_ranking(double margin);

    std::vector<ServerView> servers_;  // of which there are servers_count_: the rest is room
    std::vector<double> scores_;       // of servers_, or none; no_score: none yet
    std::size_t servers_count_ = 0;
    std::vector<std::uint32_t> order_;    // indices into servers_
    std::vector<std::uint32_t> all_;      // 0, 1, 2, ...: what order_ begins with
    std::vector<Ranked> ranking_;         // room to sort in
    std::vector<std::uint32_t> numbers_;  // room for numbers()
    std::vector<std::uint32_t> slots_;    // room for Chain to choose from
    bool settled_ = false;
    bool head_only_ = false;
    const Redirect* redirect_ = nullptr;
};

class CandidacyFunction {
public:
    CandidacyFunction() = default;
    CandidacyFunction(const CandidacyFunction&) = delete;
    CandidacyFunction& operator=(const CandidacyFunction&) = delete;
    virtual ~CandidacyFunction() = default;

    // Called by any thread of a child, by several at a time.
    virtual void apply(CandidacySet& set, const DecisionContext& context) const = 0;

    // What a function can do to the set, so that Chain knows which work it may leave out.
    enum class Effect : std::uint8_t {
        any,       // nothing is known: it gets the whole set, always
        keeps,     // each member by itself, or not: as keeps() says
        shuffles,  // every order becomes as likely as any other
        shortens,  // the first window(size of the set) members stay
        orders,    // by what is known of the members, and of self; may add self
    };

    virtual Effect effect() const { return Effect::any; }

    // How closely it looks at servers: it is shown no more.
    virtual Detail reads() const { return Detail::all; }

    // By what a glance shows; the same however often it is asked in one decision.
    virtual bool keeps(const ServerView&, const DecisionContext&) const { return true; }

    virtual std::size_t window(std::size_t /*members*/) const { return 0; }

    // True if it keeps the same number of however many.
    virtual bool window_is_fixed() const { return false; }

    // True if it looks at no member but the head, so that the order of the others may wait.
    virtual bool needs_head_only() const { return false; }

    // False: the request is served here, and no function is asked for more.
    virtual bool admits(const RequestView&) const { return true; }

    // With fewer requests in progress than this, self is put first whoever the others are.
    virtual double self_stays_below() const { return 0; }

    // What an explanation says about what apply() has just done; empty: nothing that the order and
    // the scores do not say.  May allocate.
    virtual std::string remark(const CandidacySet&, const DecisionContext&) const { return {}; }

    // ---- what becomes of the choice; only functions that want to know are told ----
    // Called by any thread of a child, by several at a time.  Not called for requests served here.

    virtual bool wants_feedback() const { return false; }

    // The request is being sent to `chosen`.  Once for each peer that is tried.
    virtual void sent(const RequestView&, const ServerView& /*chosen*/) const {}

    // What was sent to the server in this slot has ended.
    virtual void ended(const RequestView&, std::uint32_t /*slot_index*/, const ForwardEnd&) const {}
};

}  // namespace backhand
