// `backhand announce`: what is typed is checked, the challenge's little HTTP server answers one
// request only, and an announcement goes to every destination.
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "announce/announcer.h"
#include "announce/datagram.h"
#include "announce/socket.h"
#include "base/text.h"
#include "cli/announce_settings.h"
#include "cli/challenge_server.h"
#include "cluster/report_fields.h"
#include "measure/machine_reporter.h"
#include "table_fixture.h"

namespace backhand {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// ---- what is typed ----

AnnounceOptions good_options() {
    AnnounceOptions options;
    options.destinations = {"239.220.221.20:4445"};
    options.contact = "10.0.5.7:8080";
    return options;
}

std::string error_of(const AnnounceOptions& options) {
    const auto settings = read_announce_options(options);
    return settings ? "no error" : settings.error().detail;
}

TEST(AnnounceOptions, BecomeAReport) {
    AnnounceOptions options = good_options();
    options.name = "web7";
    options.workers = "64";
    options.interval_ms = "250";
    options.keepalive_timeout_ms = "0";

    const auto settings = read_announce_options(options);

    ASSERT_TRUE(settings);
    EXPECT_EQ(settings->self.name_view(), "web7");
    EXPECT_EQ(settings->self.load.contact.to_string(), "10.0.5.7:8080");
    EXPECT_EQ(settings->self.load.workers_max, 64U);
    EXPECT_EQ(settings->self.load.workers_idle, 64U);
    EXPECT_EQ(settings->self.load.workers_busy, 0U);
    EXPECT_EQ(settings->self.load.interval_ms, 250U);
    EXPECT_EQ(settings->self.load.keepalive_timeout_ms, 0U);
}

TEST(AnnounceOptions, HaveDefaults) {
    const auto settings = read_announce_options(good_options());

    ASSERT_TRUE(settings);
    EXPECT_NE(settings->self.name_view(), "");
    EXPECT_EQ(settings->self.load.workers_max, 100U);
    EXPECT_EQ(settings->self.load.interval_ms, 100U);
    EXPECT_EQ(settings->self.load.keepalive_timeout_ms, 5000U);
    EXPECT_FALSE(settings->keys);
    EXPECT_FALSE(settings->challenge_listen);
}

TEST(AnnounceOptions, NameTheContactThatIsWrong) {
    for (const std::string contact :
         {"", "web7:8080", "10.0.5.7", "10.0.5.7:0", "0.0.0.0:8080", "239.1.1.1:8080",
          "http://10.0.5.7:8080", "[::]:80", "[fe80::7]:80"}) {
        AnnounceOptions options = good_options();
        options.contact = contact;

        EXPECT_THAT(error_of(options), AllOf(StartsWith("--contact \"" + contact +
                                                        "\": expected the address and port"),
                                             HasSubstr("for example 10.0.5.7:8080")));
    }
}

TEST(AnnounceOptions, NameTheDestinationThatIsWrong) {
    AnnounceOptions options = good_options();
    options.destinations = {"239.220.221.20:4445", "10.0.5.255"};

    EXPECT_THAT(error_of(options), StartsWith("--to \"10.0.5.255\": expected"));
}

TEST(AnnounceOptions, RefuseANameThatIsTooLongOrNotAscii) {
    for (const std::string& name : {std::string(64, 'x'), std::string{"caf\xC3\xA9"},
                                    std::string{"web 7"}, std::string{"web\n7"}}) {
        AnnounceOptions options = good_options();
        options.name = name;

        EXPECT_THAT(error_of(options), StartsWith("--name \"" + name + "\": expected 1 to 63"));
    }
}

TEST(AnnounceOptions, RefuseNumbersOutsideTheirRange) {
    AnnounceOptions workers = good_options();
    workers.workers = "0";
    AnnounceOptions interval = good_options();
    interval.interval_ms = "9";
    AnnounceOptions keepalive_timeout = good_options();
    keepalive_timeout.keepalive_timeout_ms = "5s";

    EXPECT_EQ(error_of(workers),
              "--workers \"0\": expected a whole number from 1 to 1000000 (requests)");
    EXPECT_EQ(error_of(interval),
              "--interval \"9\": expected a whole number from 10 to 60000 (milliseconds)");
    EXPECT_EQ(error_of(keepalive_timeout),
              "--keepalive-timeout \"5s\": expected a whole number from 0 to 3600000 "
              "(milliseconds)");
}

TEST(AnnounceOptions, TakeEachSiteOnce) {
    AnnounceOptions options = good_options();
    options.services = {"www.example.com", "shop.example.com", "WWW.example.com"};

    const auto settings = read_announce_options(options);

    ASSERT_TRUE(settings);
    EXPECT_THAT(settings->services, ElementsAre("www.example.com", "shop.example.com"));
}

TEST(AnnounceOptions, RefuseWhatCannotBeASite) {
    AnnounceOptions options = good_options();
    options.services = {"www example com"};

    EXPECT_THAT(error_of(options), StartsWith("--service \"www example com\": expected a site"));
}

TEST(AnnounceOptions, RefuseMoreSitesThanAnAnnouncementHolds) {
    AnnounceOptions many = good_options();
    for (int number = 0; number <= 64; ++number) {
        many.services.push_back("s" + std::to_string(number));
    }
    AnnounceOptions large = good_options();
    large.services = {std::string(300, 'a'), std::string(300, 'b')};

    EXPECT_THAT(error_of(many), StartsWith("--service \"s64\": expected at most 64 sites"));
    EXPECT_THAT(error_of(large),
                AllOf(StartsWith("--service \"bbb"),
                      HasSubstr("at most 64 sites, whose names have at most 448 bytes")));
}

TEST(AnnounceOptions, AllowNoMoreSitesThanFitHoweverLargeTheNumbersBecome) {
    AnnounceOptions options = good_options();
    options.name = std::string(63, 'x');
    options.contact = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535";
    options.services = {std::string(200, 'a'), std::string(200, 'b'),
                        std::string(services_bytes_max - 400 - 9, 'c')};
    const auto settings = read_announce_options(options);
    ASSERT_TRUE(settings) << settings.error().detail;
    ServerReport widest = settings->self;
    for (const ReportField& field : report_fields) {
        field.set(widest.load, field.most);
    }
    for (const ReportFlag& flag : report_flags) {
        widest.load.flags |= flag.flag;
    }
    const auto keys = KeyRing::from_secrets({"0123456789abcdef0123456789abcdef"});
    ASSERT_TRUE(keys);
    ServerReport read;

    ASSERT_EQ(decode_datagram(encode_datagram(widest, settings->services, &*keys), &*keys, read),
              std::nullopt);

    EXPECT_EQ(read.services_count, 3U);
}

TEST(AnnounceOptions, WantAKeyForAChallenge) {
    AnnounceOptions options = good_options();
    options.challenge_listen = "127.0.0.1:4447";

    EXPECT_THAT(error_of(options),
                StartsWith("--challenge-listen \"127.0.0.1:4447\": expected --key FILE"));
}

TEST(AnnounceOptions, NameTheChallengesAddressThatIsWrong) {
    for (const std::string address : {"4447", "127.0.0.1", "127.0.0.1:0", "localhost:4447"}) {
        AnnounceOptions options = good_options();
        options.challenge_listen = address;

        EXPECT_THAT(error_of(options), StartsWith("--challenge-listen \"" + address +
                                                  "\": expected an address and a port"));
    }
}

TEST(AnnounceOptions, MakeTheStateDirectoryAnAbsolutePath) {
    AnnounceOptions options = good_options();
    options.state_directory = "some/../state/";

    const auto settings = read_announce_options(options);

    ASSERT_TRUE(settings);
    EXPECT_THAT(settings->state_directory, AllOf(StartsWith("/"), testing::EndsWith("/state")));
}

// ---- the challenge's request ----

std::string head_of(std::string_view request_line, std::string_view fields) {
    return std::string{request_line} + "\r\n" + std::string{fields} + "\r\n";
}

constexpr std::string_view good_line = "GET /.well-known/backhand HTTP/1.1";

TEST(AChallengeRequest, IsFoundAmongTheFieldsThatAProxyAdds) {
    const std::string head = head_of(good_line,
                                     "Host: 10.0.5.7:8080\r\nX-Forwarded-For: 10.0.5.1\r\n"
                                     "backhand-challenge:\t17 0011 aabb \r\nConnection: close\r\n");

    EXPECT_EQ(challenge_in(head), "17 0011 aabb");
}

TEST(AChallengeRequest, MayBeOfHttp10) {
    EXPECT_EQ(challenge_in("GET /.well-known/backhand HTTP/1.0\r\nBackhand-Challenge: 1\r\n\r\n"),
              "1");
}

TEST(AChallengeRequest, HasNoOtherMethodPathOrVersion) {
    const std::string_view field = "Backhand-Challenge: 1\r\n";

    for (const std::string_view line :
         {"POST /.well-known/backhand HTTP/1.1", "HEAD /.well-known/backhand HTTP/1.1",
          "GET / HTTP/1.1", "GET /.well-known/backhand/ HTTP/1.1",
          "GET /.well-known/backhand?x HTTP/1.1", "GET /.well-known/backhand HTTP/2.0",
          "GET /.well-known/backhand HTTP/1.12", "GET  /.well-known/backhand HTTP/1.1",
          "get /.well-known/backhand HTTP/1.1", "GET /.well-known/backhand", ""}) {
        EXPECT_EQ(challenge_in(head_of(line, field)), std::nullopt) << line;
    }
}

TEST(AChallengeRequest, AsksOnce) {
    EXPECT_EQ(challenge_in(head_of(good_line, "Host: x\r\n")), std::nullopt);
    EXPECT_EQ(
        challenge_in(head_of(good_line, "Backhand-Challenge: 1\r\nBackhand-Challenge: 1\r\n")),
        std::nullopt);
}

TEST(AChallengeRequest, HasNothingButFieldLines) {
    for (const std::string_view line : {"no colon\r\n", "blank : x\r\n", ": x\r\n",
                                        " folded: x\r\n", "X: a\nb\r\n", "X: \x01\r\n"}) {
        EXPECT_EQ(challenge_in(head_of(good_line, "Backhand-Challenge: 1\r\n" + std::string{line})),
                  std::nullopt)
            << line;
    }
}

TEST(AChallengeRequest, EndsWithAnEmptyLine) {
    const std::string head = head_of(good_line, "Backhand-Challenge: 1\r\n");

    for (std::size_t size = 0; size < head.size(); ++size) {
        EXPECT_EQ(challenge_in(std::string_view{head}.substr(0, size)), std::nullopt) << size;
    }
    EXPECT_EQ(challenge_in("\r\n\r\n"), std::nullopt);
}

// ---- sending ----

UniqueFd receiver_on_loopback(Endpoint& endpoint) {
    UniqueFd socket{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    const SocketAddress any{{*IpAddress::parse("127.0.0.1"), 0}};
    EXPECT_EQ(::bind(socket.get(), any.get(), any.size), 0);
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    EXPECT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size), 0);
    endpoint = *Endpoint::from(bound);
    return socket;
}

Sender sender_to(const Endpoint& endpoint) {
    return std::move(*open_sender(*parse_destination(endpoint.to_string(), "")));
}

ServerReport received_by(const UniqueFd& socket) {
    std::vector<std::uint8_t> bytes(datagram_bytes_max + 1);
    const ssize_t size = ::recv(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    ServerReport report;
    EXPECT_EQ(decode_datagram(bytes, nullptr, report), std::nullopt);
    return report;
}

TEST(AnAnnouncer, SendsToEveryDestination) {
    Endpoint first;
    Endpoint second;
    const UniqueFd first_socket = receiver_on_loopback(first);
    const UniqueFd second_socket = receiver_on_loopback(second);
    std::vector<Sender> senders;
    senders.push_back(sender_to(first));
    senders.push_back(sender_to(second));
    const Announcer announcer{std::move(senders), {"www.example.com"}, nullptr, 1};

    const auto outcome = announcer.announce(report_of(7, 0));

    EXPECT_EQ(outcome.sent, 2U);
    EXPECT_EQ(outcome.failed, 0U);
    EXPECT_EQ(received_by(first_socket).name_view(), "server7");
    EXPECT_TRUE(received_by(second_socket).offers(hash_ignoring_case("www.example.com")));
}

TEST(AnAnnouncer, CountsWhatTheKernelDoesNotTakeAndGoesOn) {
    Endpoint good;
    const UniqueFd socket = receiver_on_loopback(good);
    std::vector<Sender> senders;
    senders.push_back({UniqueFd{}, good});
    senders.push_back(sender_to(good));
    const Announcer announcer{std::move(senders), {}, nullptr, 1};

    const auto outcome = announcer.announce(report_of(7, 0));

    EXPECT_EQ(outcome.sent, 1U);
    EXPECT_EQ(outcome.failed, 1U);
    EXPECT_EQ(outcome.error, EBADF);
}

TEST(AnAnnouncer, PausesForTheIntervalGiveOrTakeAQuarter) {
    Announcer announcer{{}, {}, nullptr, 4711};
    const Nanoseconds interval = Milliseconds{100};
    Nanoseconds sum{0};

    for (int count = 0; count < 1000; ++count) {
        const Nanoseconds pause = announcer.next_pause(interval);
        EXPECT_GE(pause, Milliseconds{75});
        EXPECT_LE(pause, Milliseconds{125});
        sum += pause;
    }

    EXPECT_NEAR(static_cast<double>(sum.count()) / 1000, 1e8, 2e6);
}

TEST(AMachineReporter, SaysNothingOfWhatIsNotTheMachines) {
    MachineReporter machine{"", [](LogLevel, std::string_view) {}};
    ServerReport report = report_of(7, 0);
    const ServerReport before = report;

    machine.report(monotonic_now(), report.load);

    EXPECT_GT(report.load.memory_total_bytes, 1000U);
    EXPECT_EQ(report.load.workers_idle, before.load.workers_idle);
    EXPECT_EQ(report.load.measurement, before.load.measurement);
    EXPECT_EQ(report.load.contact, before.load.contact);
}

}  // namespace
}  // namespace backhand
