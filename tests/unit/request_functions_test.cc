// The functions that go by the request (bySession, byHeader, redirects) and by what is learnt
// (byLatency, byHealth, bySlowStart, preferSelf's margin, byCost's demand).
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "decide/chain.h"
#include "decide/cost.h"
#include "decide/redirect.h"
#include "decisions.h"

namespace backhand {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// ---- bySession ----

// The order of four servers after `bySession id` for a request with this Cookie field and target.
std::vector<std::uint32_t> by_session(const std::string& cookie, const std::string& path = "/") {
    Surroundings there;
    there.facts.headers.emplace_back("Cookie", cookie);
    there.request.path = path;
    CandidacySet set = set_of_size(4);
    there.run("bySession", "id", set);
    return slots_of(set);
}

TEST(BySession, FindsTheOwnerByTheHexadecimalAddressAtTheBeginning) {
    EXPECT_THAT(by_session("id=0a000003"), ElementsAre(2));
    EXPECT_THAT(by_session("id=0A000003f00d"), ElementsAre(2));
}

TEST(BySession, FindsTheOwnerByTheNameBehindTheFirstDot) {
    EXPECT_THAT(by_session("id=abc.web4"), ElementsAre(3));
    EXPECT_THAT(by_session("id=abc.WEB4"), ElementsAre(3));
}

TEST(BySession, FindsTheOwnerWithAnIpv6Address) {
    Surroundings there;
    there.facts.headers.emplace_back("Cookie", "id=20010db8000000000000000000000007-x");
    ServerView six = server(1);
    six.load.contact.address = *IpAddress::parse("2001:db8::7");
    CandidacySet set = set_of({server(0), six, server(2)});

    there.run("bySession", "id", set);

    EXPECT_THAT(slots_of(set), ElementsAre(1));
}

TEST(BySession, ReadsTheTargetWhereThereIsNoCookie) {
    EXPECT_THAT(by_session("", "/app;id=0a000003?x=y"), ElementsAre(2));
    EXPECT_THAT(by_session("", "/app;id=0a000003/page"), ElementsAre(2));
    EXPECT_THAT(by_session("", "/app?x=y&id=abc.web3"), ElementsAre(2));
}

TEST(BySession, PrefersTheCookie) {
    EXPECT_THAT(by_session("id=abc.web2", "/app?id=abc.web3"), ElementsAre(1));
}

TEST(BySession, KeepsARequestOfItsOwnSessionHereForGood) {
    Surroundings there;
    there.facts.headers.emplace_back("Cookie", "id=abc.web1");
    CandidacySet set = set_of_size(4);
    there.run("removeSelf", "", set);
    there.run("bySession", "id", set);

    EXPECT_THAT(slots_of(set), ElementsAre(self_slot));
}

TEST(BySession, IsNotUndoneByPreferSelfOrAddSelf) {
    Surroundings there;
    there.facts.headers.emplace_back("Cookie", "id=abc.web2");
    CandidacySet set = set_of_size(4);
    for (const auto& line : {"bySession id", "byInFlight", "preferSelf", "addSelf", "byRandom"}) {
        const std::string_view text = line;
        const std::size_t space = std::min(text.find(' '), text.size());
        there.run(text.substr(0, space), text.substr(std::min(space + 1, text.size())), set);
    }

    EXPECT_THAT(slots_of(set), ElementsAre(1));
}

TEST(BySession, LeavesTheSetToTheRestOfTheChainIfTheOwnerIsNoCandidate) {
    EXPECT_THAT(by_session("id=abc.web9"), ElementsAre(0, 1, 2, 3));
    EXPECT_THAT(by_session("id=0a000009"), ElementsAre(0, 1, 2, 3));
}

TEST(BySession, LeavesRequestsWithoutASessionAlone) {
    EXPECT_THAT(by_session("other=0a000003; idx=0a000003"), ElementsAre(0, 1, 2, 3));
    EXPECT_THAT(by_session("id="), ElementsAre(0, 1, 2, 3));
    EXPECT_THAT(by_session("id=."), ElementsAre(0, 1, 2, 3));
    EXPECT_THAT(by_session("id=0a00000"), ElementsAre(0, 1, 2, 3));
    EXPECT_THAT(by_session("id=-a000003"), ElementsAre(0, 1, 2, 3));
    EXPECT_THAT(by_session("", "/id=0x?xid=0a000003"), ElementsAre(0, 1, 2, 3));
}

TEST(BySession, TakesTheOriginalsIdentifierWithItsEqualsSign) {
    Surroundings there;
    there.facts.headers.emplace_back("Cookie", "PHPSESSID=0a000002x");
    for (const std::string_view argument : {"", "PHPSESSID", "PHPSESSID="}) {
        CandidacySet set = set_of_size(4);
        there.run("bySession", argument, set);
        EXPECT_THAT(slots_of(set), ElementsAre(1)) << argument;
    }
}

TEST(BySession, RefusesWhatCannotBeACookiesName) {
    for (const std::string_view argument : {"=", "a b", "a;b", "a=b", "\"a\""}) {
        EXPECT_FALSE(make_builtin("bySession", argument)) << argument;
    }
}

// ---- byHeader ----

TEST(ByHeader, ServesHereWhatDoesNotMatch) {
    Surroundings there;
    there.facts.headers = {{"X-Class", "reports"}, {"x-class", "batch"}};
    for (const auto& [argument, size] :
         {std::pair{"X-Class ^rep", 3U}, std::pair{"x-class batch$", 3U},
          std::pair{"X-Class  ^(a|batch)$", 3U}, std::pair{"X-Class ^BATCH", 1U},
          std::pair{"X-Other .", 1U}}) {
        CandidacySet set = set_of_size(3);
        there.run("byHeader", argument, set);
        EXPECT_EQ(set.size(), size) << argument;
    }
}

TEST(ByHeader, RefusesAnythingButANameAndAPattern) {
    for (const std::string_view argument :
         {"", "X-Class", "X-Class ", " ^a", "X:Class a", "X-Class (", "X-Class [a"}) {
        const auto made = make_builtin("byHeader", argument);
        ASSERT_FALSE(made) << argument;
        EXPECT_THAT(made.error().detail, HasSubstr("byHeader User-Agent ^Mozilla")) << argument;
    }
}

// ---- byLatency ----

ServerView server_with(std::uint32_t slot_index, std::uint32_t latency_us, std::uint32_t serving) {
    ServerView view = server(slot_index);
    view.load.latency_us = latency_us;
    view.serving = serving;
    return view;
}

std::vector<std::uint32_t> by(std::string_view function, const std::vector<ServerView>& servers) {
    Surroundings there;
    CandidacySet set = set_of(servers);
    there.run(function, "", set);
    return slots_of(set);
}

TEST(ByLatency, MultipliesByTheRequestsInProgressAndThisOne) {
    EXPECT_THAT(
        by("byLatency", {server_with(0, 1000, 3), server_with(1, 3000, 0), server_with(2, 900, 3)}),
        ElementsAre(1, 2, 0));
}

TEST(ByLatency, TrustsWhatOurOwnForwardsTookMore) {
    ServerView far = server_with(1, 100, 0);
    far.own_latency_us = 5000;

    EXPECT_THAT(by("byLatency", {server_with(0, 1000, 0), far}), ElementsAre(0, 1));
}

TEST(ByLatency, TakesAnUnknownServerForOneLikeTheOthers) {
    EXPECT_THAT(
        by("byLatency", {server_with(0, 3000, 0), server_with(1, 0, 0), server_with(2, 1000, 0)}),
        ElementsAre(2, 1, 0));
}

TEST(ByLatency, CountsRequestsWhereNoLatencyIsKnown) {
    EXPECT_THAT(by("byLatency", {server_with(0, 0, 2), server_with(1, 0, 1)}), ElementsAre(1, 0));
}

// ---- byHealth ----

TEST(ByHealth, DropsWhoIsUnhealthyEjectedLeavingOrBusy) {
    std::vector<ServerView> servers;
    for (std::uint32_t slot_index = 0; slot_index < 6; ++slot_index) {
        servers.push_back(server(slot_index));
    }
    servers[1].unhealthy = true;
    servers[2].ejected = true;
    servers[3].load.flags = leaving;
    servers[4].workers_idle = 0;

    EXPECT_THAT(by("byHealth", servers), ElementsAre(0, 5));
}

TEST(ByHealth, NeverDropsSelf) {
    ServerView self = server(0);
    self.workers_idle = 0;
    self.load.flags = leaving;

    EXPECT_THAT(by("byHealth", {self}), ElementsAre(0));
}

TEST(ByHealth, LeavesSelfAloneIfAllOthersAreOut) {
    ServerView ill = server(1);
    ill.unhealthy = true;

    EXPECT_THAT(by("byHealth", {server(0), ill}), ElementsAre(0));
}

// ---- bySlowStart ----

// In how many of 10,000 decisions a server is kept that has been there for so long.
int kept_of_10000(Nanoseconds known_for, std::string_view argument) {
    Surroundings there;
    ServerView young = server(1);
    young.known_for = known_for;
    int kept = 0;
    for (int decision = 0; decision < 10'000; ++decision) {
        there.now += 1'234'567;
        CandidacySet set = set_of({server(0), young});
        there.run("bySlowStart", argument, set);
        kept += set.size() == 2 ? 1 : 0;
    }
    return kept;
}

TEST(BySlowStart, KeepsANewServerInATenthOfTheDecisions) {
    EXPECT_NEAR(kept_of_10000(seconds{0}, ""), 1000, 120);
    EXPECT_NEAR(kept_of_10000(seconds{2}, ""), 1000, 120);
}

TEST(BySlowStart, KeepsItMoreOftenTheLongerItHasBeenThere) {
    EXPECT_NEAR(kept_of_10000(seconds{15}, ""), 5000, 200);
    EXPECT_NEAR(kept_of_10000(seconds{15}, "20"), 7500, 200);
}

TEST(BySlowStart, KeepsWhoHasBeenThereForLongEnough) {
    EXPECT_EQ(kept_of_10000(seconds{30}, ""), 10'000);
    EXPECT_EQ(kept_of_10000(Nanoseconds::max(), "1000000"), 10'000);
}

TEST(BySlowStart, DecidesTheSameForOneServerAtOneMoment) {
    Surroundings there;
    ServerView young = server(1);
    young.known_for = seconds{15};
    auto made = make_builtin("bySlowStart", "");
    ASSERT_TRUE(made);
    Random random{1};
    for (int moment = 0; moment < 100; ++moment) {
        const DecisionContext context{there.request, *there.table, random,
                                      decided_at + static_cast<MonotonicTime>(moment)};
        const CandidacyFunction& function = *made->front().function;
        EXPECT_EQ(function.keeps(young, context), function.keeps(young, context));
    }
}

// ---- what is learnt: preferSelf and byCost ----

// What is known where a request has to stay or go: how long such requests take, how long forwards
// have taken more, and how old the news of the head are.
struct Known {
    std::optional<Nanoseconds> takes;
    Nanoseconds cost{};
    Nanoseconds age = milliseconds{50};
    LoadReport load{};
};

// Whether a request stays here, with one less in progress at the head for each of `more`.
bool stays(std::uint32_t more, const Known& known) {
    Surroundings there;
    there.facts.time = known.takes;
    there.forwarding_cost = known.cost;
    ServerView self = server_with(0, 0, 10 + more);
    self.load = known.load;
    ServerView head = server_with(1, 0, 10);
    head.age = known.age;
    CandidacySet set = set_of({self, head});
    there.run("byInFlight", "", set);
    there.run("preferSelf", "1", set);
    return set[0].is_self();
}

TEST(PreferSelf, KeepsARequestThatTakesNoLongerThanToForwardIt) {
    EXPECT_TRUE(stays(1000, {.takes = microseconds{200}}));
}

TEST(PreferSelf, AsksForMoreTheMoreIsHeldUpByForwarding) {
    // 200 of 4,000 us, five times, for each of 14 and 15 requests.
    EXPECT_TRUE(stays(3, {.takes = milliseconds{4}}));
    EXPECT_FALSE(stays(4, {.takes = milliseconds{4}}));
}

TEST(PreferSelf, AsksForLessWhereTheHeadHasJustSaidWhatItHasToDo) {
    EXPECT_TRUE(stays(1, {.takes = milliseconds{4}, .age = Nanoseconds{0}}));
    EXPECT_FALSE(stays(2, {.takes = milliseconds{4}, .age = Nanoseconds{0}}));
}

TEST(PreferSelf, NeverAsksForMoreThanIsEnoughUnlessMoreIsHeldUp) {
    EXPECT_TRUE(stays(31, {.takes = milliseconds{1}}));
    EXPECT_FALSE(stays(32, {.takes = milliseconds{1}}));

    // 200 of 400 us, one and three quarters times, for each of 87 and 88 requests.
    EXPECT_TRUE(stays(76, {.takes = microseconds{400}}));
    EXPECT_FALSE(stays(77, {.takes = microseconds{400}}));
}

TEST(PreferSelf, AsksForWhatARequestLosesByForwardsThatTakeLong) {
    EXPECT_TRUE(stays(3, {.takes = milliseconds{100}, .cost = milliseconds{400}}));
    EXPECT_FALSE(stays(4, {.takes = milliseconds{100}, .cost = milliseconds{400}}));
}

TEST(PreferSelf, LetsGoOfHalfOfWhatIsHereHoweverLongForwardsHaveTaken) {
    // They have waited for this server's CPU as well.
    EXPECT_TRUE(stays(9, {.takes = milliseconds{100}, .cost = seconds{10}}));
    EXPECT_FALSE(stays(10, {.takes = milliseconds{100}, .cost = seconds{10}}));
}

TEST(PreferSelf, LetsGoOfALongOneForItsOwnMargin) {
    EXPECT_FALSE(stays(1, {.takes = milliseconds{100}}));
    EXPECT_TRUE(stays(0, {.takes = milliseconds{100}}));
}

TEST(PreferSelf, TakesTheServersMeanWhereTheLocationsTimeIsNotLearnt) {
    // 10 ms each with nine others in progress, so 1 ms of CPU.
    LoadReport load;
    load.latency_us = 10'000;
    load.request_rate_millihertz = 900'000;
    EXPECT_TRUE(stays(14, {.takes = std::nullopt, .load = load}));

    load.cpus_permille = 9000;  // 5 ms
    EXPECT_FALSE(stays(14, {.takes = std::nullopt, .load = load}));
}

TEST(PreferSelf, KeepsToItsOwnMarginWhereNothingIsLearnt) {
    EXPECT_FALSE(stays(1, {.takes = std::nullopt, .cost = microseconds{400}}));
    EXPECT_FALSE(stays(1, {.takes = Nanoseconds{0}, .cost = microseconds{400}}));
}

TEST(TheCostOfAServer, IsNoLessThanTheSumOfItsUsagesSays) {
    const CostScale scale{1000, 1};
    Random random{4711};
    for (int count = 0; count < 1000; ++count) {
        const Usage usage{random.fraction(), 3 * random.fraction(), random.fraction()};
        const double cost = scale.cost_of(usage);

        EXPECT_LE(usage.sum(), scale.usage_sum_of(cost) * (1 + 1e-12)) << cost;
    }
    EXPECT_NEAR(scale.usage_sum_of(scale.cost_of(Usage{0.5, 0.5, 0.5})), 1.5, 1e-12);
}

TEST(TheAddedCost, RisesWithWhatTheRequestTakesUpToASecond) {
    LoadReport load;
    load.load_permille = 1000;
    load.workers_busy = 5;
    load.workers_max = 10;
    const double of_nothing = CostScale(4, 2).added_cost_of(load, Nanoseconds{0});
    const double of_little = CostScale(4, 2).added_cost_of(load, milliseconds{10});
    const double of_much = CostScale(4, 2).added_cost_of(load, seconds{1});

    EXPECT_EQ(of_nothing, 0);
    EXPECT_GT(of_little, 0);
    EXPECT_GT(of_much, of_little);
    EXPECT_EQ(CostScale(4, 2).added_cost_of(load, seconds{3600}), of_much);
}

TEST(TheAddedCost, IsLowerWhereThereAreMoreCpus) {
    LoadReport small;
    small.load_permille = 1000;
    LoadReport large = small;
    large.load_permille = 8000;
    large.cpus_permille = 8000;

    EXPECT_LT(CostScale(4, 2).added_cost_of(large, milliseconds{500}),
              CostScale(4, 2).added_cost_of(small, milliseconds{500}));
}

TEST(TheAddedCost, RisesSteeplyTowardsTheEndOfTheMemory) {
    LoadReport half;
    half.memory_total_bytes = 1000;
    half.memory_available_bytes = 500;
    half.workers_busy = half.workers_max = 4;
    LoadReport full = half;
    full.memory_available_bytes = 10;

    EXPECT_GT(CostScale(16, 1).added_cost_of(full, seconds{1}),
              1.3 * CostScale(16, 1).added_cost_of(half, seconds{1}));
}

TEST(ByCost, OrdersByWhatTheRequestWouldAddWhereItsDemandIsKnown) {
    // The large server has more in use, and more to spare.
    ServerView small = server(0);
    small.load.load_permille = 500;
    ServerView large = server(1);
    large.load.load_permille = 4800;
    large.load.cpus_permille = 8000;
    Surroundings there;
    CandidacySet set = set_of({small, large});
    there.run("byCost", "", set);
    EXPECT_THAT(slots_of(set), ElementsAre(0, 1));

    there.facts.time = seconds{1};
    there.run("byCost", "", set);

    EXPECT_THAT(slots_of(set), ElementsAre(1, 0));
}

TEST(ByCost, FindsTheSameServersWhetherTheRestIsOrderedOrNot) {
    Random random{4711};
    std::vector<ServerView> servers;
    for (std::uint32_t slot_index = 0; slot_index < 300; ++slot_index) {
        ServerView view = server(slot_index);
        view.load.memory_total_bytes = 1000;
        view.load.memory_available_bytes = random.below(1000);
        view.load.load_permille = random.below(3000);
        view.load.workers_max = 150;
        view.load.workers_busy = random.below(150);
        servers.push_back(view);
    }
    Surroundings there;
    CandidacySet all = set_of(servers);
    there.run("byCost", "", all);
    CandidacySet few = set_of(servers);
    few.order_head_only();
    there.run("byCost", "", few);

    for (std::size_t position = 0; position < CandidacySet::head_size; ++position) {
        EXPECT_EQ(few[position].slot_index, all[position].slot_index) << position;
    }
}

// ---- redirects ----

const Endpoint contact = *Endpoint::parse("10.0.0.7:8080");

std::string host_by(std::string_view format, std::string_view name = "web7.internal.example",
                    std::string_view requested = "www.example.com") {
    const auto redirect = Redirect::to_name(format);
    return redirect ? redirect->host_of(name, contact, requested) : redirect.error().detail;
}

TEST(ARedirect, NamesTheServer) {
    EXPECT_EQ(host_by("%S"), "web7.internal.example");
}

TEST(ARedirect, IsMadeOfLabels) {
    EXPECT_EQ(host_by("%1S.%-1H"), "web7.example.com");
    EXPECT_EQ(host_by("%2S"), "web7.internal");
    EXPECT_EQ(host_by("%-2S"), "example");
    EXPECT_EQ(host_by("%9S"), "web7.internal.example");
    EXPECT_EQ(host_by("%1S-%1H.example.org"), "web7-www.example.org");
}

TEST(ARedirect, ToWhatNoClientCouldUseIsNone) {
    EXPECT_EQ(host_by("%S", ""), "");
    EXPECT_EQ(host_by("%S", "web7\r\nSet-Cookie: a=b"), "");
    EXPECT_EQ(host_by("%S", "web7/evil"), "");
    EXPECT_EQ(host_by("%-9S.example.com"), "");
    EXPECT_EQ(host_by("%S", std::string(254, 'a')), "");
    EXPECT_EQ(host_by("100%%"), "");
}

TEST(ARedirect, RefusesAFormatItDoesNotUnderstand) {
    for (const std::string_view format :
         {"", "%", "%X", "%1", "%-S", "%0S", "%-0H", "%999S", "%s"}) {
        EXPECT_THAT(host_by(format), HasSubstr("expected text with %S")) << format;
    }
}

TEST(ARedirect, ToTheAddressHasBracketsWhereItIsIpv6) {
    EXPECT_EQ(Redirect{}.host_of("web7", contact, "www.example.com"), "10.0.0.7");
    EXPECT_EQ(Redirect{}.host_of("web7", *Endpoint::parse("[2001:db8::7]:80"), ""),
              "[2001:db8::7]");
    EXPECT_TRUE(Redirect{}.names_contact());
}

TEST(HTTPRedirectToName, MarksTheSetAndLeavesItsOrder) {
    Surroundings there;
    CandidacySet set = set_of_size(3);
    EXPECT_EQ(set.redirect(), nullptr);
    auto made = make_builtin("HTTPRedirectToName", "%1S.%-1H");
    ASSERT_TRUE(made) << made.error().detail;
    Random random{1};
    made->front().function->apply(set, {there.request, *there.table, random, decided_at});

    EXPECT_NE(set.redirect(), nullptr);
    EXPECT_THAT(slots_of(set), ElementsAre(0, 1, 2));
    set.begin(server(0));
    EXPECT_EQ(set.redirect(), nullptr);
}

TEST(HTTPRedirectToName, SaysWhatIsWrongWithItsFormat) {
    const auto made = make_builtin("HTTPRedirectToName", "%X");
    ASSERT_FALSE(made);
    EXPECT_THAT(made.error().detail, HasSubstr("HTTPRedirectToName \"%X\": expected text with %S"));
    EXPECT_FALSE(make_builtin("HTTPRedirectToIP", "%S"));
}

}  // namespace
}  // namespace backhand
