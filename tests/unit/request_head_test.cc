// What a peer is told of a request: the client's own words, less what was meant for this hop.

#include "forward/request_head.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backhand {

namespace {

using namespace std::string_view_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

IpAddress address(std::string_view text) {
    const auto parsed = IpAddress::parse(text);
    EXPECT_TRUE(parsed) << text;
    return parsed.value_or(IpAddress{});
}

ClientIdentity identity_of_a_client() {
    ClientIdentity identity;
    identity.client = address("192.0.2.7");
    identity.client_port = 51234;
    identity.local_port = 443;
    identity.site = 17;
    identity.https = true;
    identity.version = HttpVersion::http_1_0;
    return identity;
}

constexpr std::string_view good_exchange =
    "client-port=51234;local-port=443;site=17;scheme=https;version=1.0";

bool is_identity(std::string_view proxied, std::string_view exchange) {
    return parse_identity(proxied, exchange).has_value();
}

RequestHead request(std::vector<HeaderField> fields) {
    RequestHead head;
    head.method = "GET";
    head.target = "/a?b";
    head.fields = std::move(fields);
    head.proxied = "192.0.2.7";
    head.exchange = good_exchange;
    return head;
}

std::string text_of(const RequestHead& head) {
    const Result<std::string> text = request_head_text(head);
    EXPECT_TRUE(text);
    return text ? *text + "\r\n" : std::string{};
}

std::string text_with(std::vector<HeaderField> fields) {
    fields.insert(fields.begin(), {"Host", "example.org"});
    return text_of(request(std::move(fields)));
}

bool is_malformed(const RequestHead& head) {
    const Result<std::string> text = request_head_text(head);
    return !text && text.error().kind == Error::Kind::malformed && !text.error().detail.empty();
}

// All that stands before and after the client's own fields.
constexpr std::string_view beginning = "GET /a?b HTTP/1.1\r\nHost: example.org\r\n";
constexpr std::string_view ending =
    "Backhand-Proxied: 192.0.2.7\r\n"
    "Backhand-Exchange: client-port=51234;local-port=443;site=17;scheme=https;version=1.0\r\n"
    "\r\n";

std::string text_around(std::string_view fields) {
    return std::string{beginning} + std::string{fields} + std::string{ending};
}

}  // namespace

// The identity of the client.

TEST(AnIdentity, IsWrittenAsParameters) {
    const ClientIdentity identity = identity_of_a_client();

    EXPECT_EQ(exchange_value(identity), good_exchange);
}

TEST(AnIdentity, IsWrittenWithoutEncryptionAndForLaterVersionsToo) {
    ClientIdentity identity = identity_of_a_client();
    identity.client = address("2001:db8::7");
    identity.https = false;
    identity.version = HttpVersion::http_1_1;

    EXPECT_EQ(exchange_value(identity),
              "client-port=51234;local-port=443;site=17;scheme=http;version=1.1");
}

TEST(AnIdentity, IsReadBackAsItWasWritten) {
    ClientIdentity identity = identity_of_a_client();
    for (const auto version : {HttpVersion::http_1_0, HttpVersion::http_1_1, HttpVersion::http_2}) {
        identity.version = version;

        EXPECT_EQ(parse_identity(identity.client.to_string(), exchange_value(identity)), identity);
    }
}

TEST(AnIdentity, IsReadBackWhenTheClientSpokeIpv6InTheClear) {
    ClientIdentity identity;
    identity.client = address("2001:db8::7");
    identity.client_port = 65535;
    identity.local_port = 80;

    EXPECT_EQ(parse_identity(identity.client.to_string(), exchange_value(identity)), identity);
}

TEST(AnIdentity, MayHaveItsParametersInAnyOrder) {
    EXPECT_EQ(parse_identity("192.0.2.7",
                             "version=1.0;scheme=https;local-port=443;site=17;client-port=51234"),
              identity_of_a_client());
}

TEST(AnIdentity, MayHaveUnknownParameters) {
    EXPECT_EQ(parse_identity("192.0.2.7", "new=;" + std::string{good_exchange} + ";newer=a b"),
              identity_of_a_client());
}

TEST(AnIdentity, IsNoneWithoutAnAddress) {
    EXPECT_TRUE(is_identity("192.0.2.7", good_exchange));
    EXPECT_FALSE(is_identity("", good_exchange));
    EXPECT_FALSE(is_identity("client.example.org", good_exchange));
}

TEST(AnIdentity, IsNoneWhenTheAddressHasCompany) {
    EXPECT_FALSE(is_identity("192.0.2.7, 192.0.2.8", good_exchange));
    EXPECT_FALSE(is_identity("192.0.2.7:80", good_exchange));
    EXPECT_FALSE(is_identity(" 192.0.2.7", good_exchange));
    EXPECT_FALSE(is_identity("192.0.2.7\0.8"sv, good_exchange));
}

TEST(AnIdentity, IsNoneWhenTheAddressIsSpelledInAnotherWay) {
    EXPECT_FALSE(is_identity("2001:DB8::7", good_exchange));
    EXPECT_FALSE(is_identity("::ffff:192.0.2.7", good_exchange));
}

TEST(AnIdentity, IsNoneWhenAParameterIsMissing) {
    EXPECT_FALSE(is_identity("192.0.2.7", ""));
    EXPECT_FALSE(is_identity("192.0.2.7", "local-port=443;site=17;scheme=https;version=1.0"));
    EXPECT_FALSE(is_identity("192.0.2.7", "client-port=51234;scheme=https;version=1.0"));
    EXPECT_FALSE(is_identity("192.0.2.7", "client-port=51234;local-port=443;site=17;version=1.0"));
    EXPECT_FALSE(is_identity("192.0.2.7", "client-port=51234;local-port=443;site=17;scheme=https"));
}

TEST(AnIdentity, IsNoneWhenAParameterIsThereTwice) {
    EXPECT_FALSE(is_identity("192.0.2.7", std::string{good_exchange} + ";scheme=https"));
    EXPECT_FALSE(is_identity("192.0.2.7", std::string{good_exchange} + ";client-port=1"));
}

TEST(AnIdentity, IsNoneWhenAPortIsNoPort) {
    EXPECT_FALSE(is_identity("192.0.2.7",
                             "client-port=65536;local-port=443;site=17;scheme=https;version=1.0"));
    EXPECT_FALSE(
        is_identity("192.0.2.7", "client-port=51234;local-port=https;scheme=https;version=1.0"));
    EXPECT_FALSE(
        is_identity("192.0.2.7", "client-port=;local-port=443;site=17;scheme=https;version=1.0"));
    EXPECT_FALSE(
        is_identity("192.0.2.7", "client-port=-1;local-port=443;site=17;scheme=https;version=1.0"));
}

TEST(AnIdentity, IsNoneWhenTheSchemeOrTheVersionIsUnknown) {
    EXPECT_FALSE(is_identity("192.0.2.7",
                             "client-port=51234;local-port=443;site=17;scheme=HTTPS;version=1.0"));
    EXPECT_FALSE(is_identity("192.0.2.7",
                             "client-port=51234;local-port=443;site=17;scheme=https;version=2"));
}

TEST(AnIdentity, IsNoneWhenAParameterHasNoNameOrNoValue) {
    EXPECT_FALSE(is_identity("192.0.2.7", std::string{good_exchange} + ";"));
    EXPECT_FALSE(is_identity("192.0.2.7", std::string{good_exchange} + ";new"));
    EXPECT_FALSE(is_identity("192.0.2.7", std::string{good_exchange} + ";=new"));
    EXPECT_FALSE(is_identity("192.0.2.7", ";" + std::string{good_exchange}));
}

TEST(AnIdentity, IsNoneWhenWhiteSpaceSurroundsAParameter) {
    EXPECT_FALSE(is_identity(
        "192.0.2.7", "client-port=51234; local-port=443;site=17; scheme=https; version=1.0"));
    EXPECT_FALSE(is_identity("192.0.2.7", std::string{good_exchange} + " "));
}

// The load of a peer.

TEST(LoadNewsOfAPeer, AreWrittenAsParameters) {
    EXPECT_EQ(load_value({17, 42, 3, 7}), "boot=17;measurement=42;serving=3;idle=7");
}

TEST(LoadNewsOfAPeer, AreReadBackAsTheyWereWritten) {
    const LoadNews news{18446744073709551615U, 18446744073709551614U, 4294967295U, 4294967294U};

    EXPECT_EQ(parse_load(load_value(news)), news);
}

TEST(LoadNewsOfAPeer, MayHaveUnknownParametersAndAnyOrder) {
    EXPECT_EQ(parse_load("idle=7;new=x;serving=3;measurement=42;boot=17"),
              (LoadNews{17, 42, 3, 7}));
}

TEST(LoadNewsOfAPeer, AreNoneWhenAParameterIsMissing) {
    EXPECT_FALSE(parse_load(""));
    EXPECT_FALSE(parse_load("measurement=42;serving=3;idle=7"));
    EXPECT_FALSE(parse_load("boot=17;serving=3;idle=7"));
    EXPECT_FALSE(parse_load("boot=17;measurement=42;idle=7"));
    EXPECT_FALSE(parse_load("boot=17;measurement=42;serving=3"));
}

TEST(LoadNewsOfAPeer, AreNoneWhenAParameterIsThereTwice) {
    EXPECT_FALSE(parse_load("boot=17;measurement=42;serving=3;idle=7;idle=7"));
}

TEST(LoadNewsOfAPeer, AreNoneWhenANumberIsUnreadable) {
    EXPECT_FALSE(parse_load("boot=17;measurement=42;serving=-3;idle=7"));
    EXPECT_FALSE(parse_load("boot=17;measurement=42;serving=3.5;idle=7"));
    EXPECT_FALSE(parse_load("boot=17;measurement=42;serving=4294967296;idle=7"));
    EXPECT_FALSE(parse_load("boot=18446744073709551616;measurement=42;serving=3;idle=7"));
}

// Whose fields they are.

TEST(OurFields, BeginWithBackhandInAnyCase) {
    EXPECT_TRUE(is_our_field(proxied_field));
    EXPECT_TRUE(is_our_field(exchange_field));
    EXPECT_TRUE(is_our_field(load_field));
    EXPECT_TRUE(is_our_field(declined_field));
    EXPECT_TRUE(is_our_field("BACKHAND-anything"));
}

TEST(OurFields, AreNoOthers) {
    EXPECT_FALSE(is_our_field(""));
    EXPECT_FALSE(is_our_field("Backhand"));
    EXPECT_FALSE(is_our_field("Backhanded"));
    EXPECT_FALSE(is_our_field("X-Backhand-Load"));
}

TEST(AReasonToDecline, MayConcernEverythingTheForwarderSends) {
    EXPECT_TRUE(declined::is_for_forwarder("unknown-member"));
    EXPECT_TRUE(declined::is_for_forwarder("unsigned"));
}

TEST(AReasonToDecline, MayConcernOneRequestOnly) {
    EXPECT_FALSE(declined::is_for_forwarder("other-site"));
    EXPECT_FALSE(declined::is_for_forwarder("tls"));
    EXPECT_FALSE(declined::is_for_forwarder("replayed"));
    EXPECT_FALSE(declined::is_for_forwarder("something-of-a-later-version"));
}

TEST(HopByHopFields, AreThoseThatEndAtThisHop) {
    EXPECT_TRUE(is_hop_by_hop("Connection"));
    EXPECT_TRUE(is_hop_by_hop("keep-alive"));
    EXPECT_TRUE(is_hop_by_hop("PROXY-CONNECTION"));
    EXPECT_TRUE(is_hop_by_hop("te"));
    EXPECT_TRUE(is_hop_by_hop("Trailer"));
    EXPECT_TRUE(is_hop_by_hop("transfer-encoding"));
    EXPECT_TRUE(is_hop_by_hop("Upgrade"));
}

TEST(HopByHopFields, AreNoOthers) {
    EXPECT_FALSE(is_hop_by_hop("Host"));
    EXPECT_FALSE(is_hop_by_hop("Content-Length"));
    EXPECT_FALSE(is_hop_by_hop("Trailers"));
}

// The request.

TEST(ARequestHead, HasRequestLineHostFieldsAndIdentity) {
    EXPECT_EQ(text_with({{"Accept", "*/*"}, {"Cookie", "a=b"}}),
              text_around("Accept: */*\r\nCookie: a=b\r\n"));
}

TEST(ARequestHead, HasHostFirstWhereverTheClientPutIt) {
    EXPECT_EQ(text_of(request({{"Accept", "*/*"}, {"hOST", "example.org"}})),
              text_around("Accept: */*\r\n"));
}

TEST(ARequestHead, HasTheTargetExactlyAsTheClientSentIt) {
    RequestHead head = request({{"Host", "example.org"}});
    head.method = "PROPFIND";
    head.target = "http://example.org/%2e%2E//a;b?c=d#\xE9";

    EXPECT_THAT(text_of(head),
                StartsWith("PROPFIND http://example.org/%2e%2E//a;b?c=d#\xE9 HTTP/1.1\r\n"));
}

TEST(ARequestHead, KeepsRepeatedFieldsInOrderAndTheirNamesAsSpelled) {
    EXPECT_EQ(text_with({{"x-a", "1"}, {"X-B", "2"}, {"X-A", "3"}}),
              text_around("x-a: 1\r\nX-B: 2\r\nX-A: 3\r\n"));
}

TEST(ARequestHead, KeepsEmptyValuesAndObsText) {
    EXPECT_EQ(text_with({{"A", ""}, {"B", "\xE9\tb"}}), text_around("A: \r\nB: \xE9\tb\r\n"));
}

TEST(ARequestHead, DoesNotAddVia) {
    EXPECT_THAT(text_with({}), Not(HasSubstr("Via")));
}

TEST(ARequestHead, IsHttp11WhateverTheClientSpoke) {
    RequestHead head = request({{"Host", "example.org"}});
    head.exchange = "version=1.0";
    EXPECT_THAT(text_of(head), StartsWith("GET /a?b HTTP/1.1\r\n"));

    head.exchange = "version=1.1";
    EXPECT_THAT(text_of(head), StartsWith("GET /a?b HTTP/1.1\r\n"));
}

TEST(ARequestHead, IsRefusedWithoutAHost) {
    EXPECT_TRUE(is_malformed(request({{"Accept", "*/*"}})));
    EXPECT_TRUE(is_malformed(request({{"Host", ""}})));
}

TEST(ARequestHead, DropsHopByHopFields) {
    EXPECT_EQ(text_with({{"Connection", "close"},
                         {"Keep-Alive", "timeout=5"},
                         {"proxy-connection", "close"},
                         {"TE", "trailers"},
                         {"Trailer", "Expires"},
                         {"Transfer-Encoding", "chunked"},
                         {"Upgrade", "websocket"}}),
              text_around(""));
}

TEST(ARequestHead, DropsFieldsThatConnectionNames) {
    EXPECT_EQ(text_with({{"X-One", "1"},
                         {"Connection", "close, x-one"},
                         {"connection", "X-Two"},
                         {"x-two", "2"},
                         {"X-Three", "3"}}),
              text_around("X-Three: 3\r\n"));
}

TEST(ARequestHead, KeepsHostEvenIfConnectionNamesIt) {
    EXPECT_EQ(text_with({{"Connection", "host"}}), text_around(""));
}

TEST(ARequestHead, DropsOurFields) {
    EXPECT_EQ(text_with({{"Backhand-Proxied", "198.51.100.1"},
                         {"backhand-exchange", "client-port=1"},
                         {"BACKHAND-Load", "boot=1"},
                         {"Backhand-Declined", "yes"},
                         {"Backhand-Later", "1"}}),
              text_around(""));
}

TEST(ARequestHead, SaysWhereTheRequestHasBeen) {
    EXPECT_EQ(text_with({{"Backhand-Visited", "10.0.5.11:80, 10.0.6.1:80"}}),
              text_around("Backhand-Visited: 10.0.5.11:80, 10.0.6.1:80\r\n"));
}

TEST(ARequestHead, KeepsOurFieldsEvenIfConnectionNamesThem) {
    EXPECT_EQ(text_with({{"Connection", "Backhand-Proxied, Backhand-Exchange"}}), text_around(""));
}

TEST(ARequestHead, DropsTheClientsFramingAndExpectation) {
    EXPECT_EQ(text_with({{"content-length", "5"},
                         {"Content-Length", "6"},
                         {"Transfer-Encoding", "chunked"},
                         {"Expect", "100-continue"}}),
              text_around(""));
}

TEST(ARequestHead, DropsAFieldWhoseValueHoldsALineEndOrANul) {
    EXPECT_EQ(text_with({{"A", "1\r\nContent-Length: 5"},
                         {"B", "2\nContent-Length: 5"},
                         {"C", "3\rContent-Length: 5"},
                         {"D", "4\0Content-Length: 5"sv},
                         {"E", "5"}}),
              text_around("E: 5\r\n"));
}

TEST(ARequestHead, DropsAFieldWhoseValueHoldsAnotherControlCharacter) {
    EXPECT_EQ(text_with({{"A", "\x0B"}, {"B", "\x7F"}}), text_around(""));
}

TEST(ARequestHead, DropsAFieldWhoseNameIsNoToken) {
    EXPECT_EQ(text_with({{"", "0"},
                         {"Content-Length ", "5"},
                         {"A: 1\r\nContent-Length", "5"},
                         {"Transfer-Encoding:", "chunked"},
                         {" Folded", "1"}}),
              text_around(""));
}

TEST(ARequestHead, IsRefusedWhenTheHostHoldsALineEnd) {
    EXPECT_TRUE(is_malformed(request({{"Host", "example.net\r\nContent-Length: 5"}})));
}

TEST(ARequestHead, HasNoFramingWithoutABody) {
    RequestHead head = request({{"Host", "example.org"}});
    head.length_bytes = 5;

    EXPECT_EQ(text_of(head), text_around(""));
}

TEST(ARequestHead, AnnouncesABodyOfKnownLength) {
    RequestHead head = request({{"Host", "example.org"}, {"Transfer-Encoding", "chunked"}});
    head.body = RequestHead::Body::length;
    head.length_bytes = 12345678901234567890U;

    EXPECT_EQ(text_of(head), text_around("Content-Length: 12345678901234567890\r\n"));
}

TEST(ARequestHead, AnnouncesAnEmptyBody) {
    RequestHead head = request({{"Host", "example.org"}});
    head.body = RequestHead::Body::length;

    EXPECT_EQ(text_of(head), text_around("Content-Length: 0\r\n"));
}

TEST(ARequestHead, AnnouncesAChunkedBody) {
    RequestHead head = request({{"Host", "example.org"}, {"Content-Length", "5"}});
    head.body = RequestHead::Body::chunked;

    EXPECT_EQ(text_of(head), text_around("Transfer-Encoding: chunked\r\n"));
}

TEST(ARequestHead, AsksForConfirmationBeforeTheBody) {
    RequestHead head = request({{"Host", "example.org"}});
    head.body = RequestHead::Body::length;
    head.length_bytes = 5;
    head.expect_continue = true;

    EXPECT_EQ(text_of(head), text_around("Content-Length: 5\r\nExpect: 100-continue\r\n"));
}

TEST(ARequestHead, DoesNotAskForConfirmationWithoutABody) {
    RequestHead head = request({{"Host", "example.org"}});
    head.expect_continue = true;

    EXPECT_EQ(text_of(head), text_around(""));
}

TEST(ARequestHead, EndsWithTheIdentityAndAnEmptyLine) {
    EXPECT_THAT(text_with({{"A", "1"}}), EndsWith(ending));
}

TEST(ARequestHead, IsMalformedWhenTheMethodIsNoToken) {
    RequestHead head = request({{"Host", "example.org"}});
    head.method = "";
    EXPECT_TRUE(is_malformed(head));

    head.method = "GET /other HTTP/1.1\r\nA:";
    EXPECT_TRUE(is_malformed(head));
}

TEST(ARequestHead, IsMalformedWhenTheTargetIsEmpty) {
    RequestHead head = request({{"Host", "example.org"}});
    head.target = "";

    EXPECT_TRUE(is_malformed(head));
}

TEST(ARequestHead, IsMalformedWhenTheTargetHoldsWhiteSpace) {
    RequestHead head = request({{"Host", "example.org"}});
    head.target = "/a b";
    EXPECT_TRUE(is_malformed(head));

    head.target = "/a\tb";
    EXPECT_TRUE(is_malformed(head));
}

TEST(ARequestHead, IsMalformedWhenTheTargetHoldsAControlCharacter) {
    RequestHead head = request({{"Host", "example.org"}});
    head.target = "/\r\nA:";
    EXPECT_TRUE(is_malformed(head));

    head.target = "/\n";
    EXPECT_TRUE(is_malformed(head));

    head.target = "/\0"sv;
    EXPECT_TRUE(is_malformed(head));
}

TEST(ARequestHead, IsMalformedWhenThereIsMoreThanOneHost) {
    EXPECT_TRUE(is_malformed(request({{"Host", "example.org"}, {"host", "example.net"}})));
    EXPECT_TRUE(is_malformed(request({{"Host", "example.org"}, {"Host", "example.org"}})));
}

TEST(AChunk, IsItsSizeInHexadecimalAndItsData) {
    std::string text = "before";

    append_chunk(text, std::string(26, 'x'));

    EXPECT_EQ(text, "before1a\r\n" + std::string(26, 'x') + "\r\n");
}

TEST(AChunk, WithoutDataEndsTheBody) {
    std::string text;

    append_chunk(text, {});

    EXPECT_EQ(text, "0\r\n\r\n");
}

}  // namespace backhand
