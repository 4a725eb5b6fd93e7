// Gain: how many requests less another server must have in progress before moving one there pays.
#pragma once

#include "decide/candidacy.h"

namespace backhand {

// What is known of a server's load.
enum class News : std::uint8_t {
    old,   // as its last announcement or answer told it
    live,  // as it has told when it was asked about this very request
};

inline News news_of(const ServerView& server) {
    return server.age == Nanoseconds{0} && !server.is_self() ? News::live : News::old;
}

// Forwarding is work, which falls to the server that has more to do and holds up all that is in
// progress there, as moving the request relieves all of it.  With cost c, of the CPU time that such
// a request takes, and n in progress on each CPU here, a move gains only if the other server has
// c n less.  (Of servers with Poisson arrivals from which nothing is moved any more this counts in
// the requests to come, too: what a piece of work holds up and what a request more holds up rise
// alike with the load.)
//
// More than that is asked for, because others will move requests as well, and heal a difference in
// the numbers, but not the work spent; and more still where the news are old.  docs/policies.md
// compares.
//
// 0 if it is not known what such requests take.
double gain_asked_for(const ServerView& self, News news, const DecisionContext& context);

// As much as a server must have less by old news that asking servers pays, before a move by what
// they answer.
double gain_to_ask_for(const ServerView& self, const DecisionContext& context);

}  // namespace backhand
