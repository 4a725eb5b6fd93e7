#include "decide/gain.h"

#include <algorithm>

namespace backhand {

namespace {

// CPU time of one forward at the forwarder, as bench/forward measures it.  Not learnt: what can be
// learnt is how much longer forwarded requests take, and where they wait for a CPU that is no
// measure of work.
constexpr double forward_us = 200;

// By how many times what forwarding holds up.
constexpr double by_live_news = 2;
constexpr double before_asking = 3;
constexpr double by_old_news = 5;

// That is enough, however much forwarding holds up: a server that all clients come to must be able
// to help itself.  Unless so many times what it holds up is more: of what moving a short request
// gains, little is left by what asking costs and by what is known wrongly of its time.
constexpr double enough = 32;
constexpr double at_least = 1.75;
constexpr double late_share_max = 0.5;

// The CPU time that a request like this takes, or would if it were only for the CPU that it waited;
// 0: not known.
double own_time_us(const ServerView& self, const DecisionContext& context) {
    if (const auto known = context.request.location_time()) {
        return us_in(*known);
    }
    // Of the mean of all requests, by Little's law: so many others were in progress meanwhile.
    const double latency_us = self.load.latency_us;
    const double others = self.load.request_rate_millihertz / 1e3 * latency_us / 1e6;
    const double cpus = std::max(1U, self.load.cpus_permille) / 1e3;
    return latency_us / (1 + others / cpus);
}

double gain(const ServerView& self, double times, const DecisionContext& context) {
    const double takes_us = own_time_us(self, context);
    if (!(takes_us > 0)) {
        return 0;
    }
    const double held_up = forward_us / takes_us * (1 + self.serving);
    // The request itself is late by what forwarding takes, the network included; that holds up
    // nobody else.  What was measured of it waited for this server's CPU as well, which has the
    // more to do the more there is to gain: so never more than half of what is in progress.
    const double late =
        std::min(us_in(context.forwarding_cost) / takes_us, self.serving * late_share_max);
    return std::max({std::min(times * held_up, enough), at_least * held_up, late});
}

}  // namespace

double gain_asked_for(const ServerView& self, News news, const DecisionContext& context) {
    return gain(self, news == News::live ? by_live_news : by_old_news, context);
}

double gain_to_ask_for(const ServerView& self, const DecisionContext& context) {
    return gain(self, before_asking, context);
}

}  // namespace backhand
