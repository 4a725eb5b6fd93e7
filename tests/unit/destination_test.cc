// The arguments of MulticastStats.
#include "announce/destination.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backhand {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// The error of arguments that are expected to be wrong.
std::string error_of(std::string_view first, std::string_view second = "") {
    const auto result = parse_destination(first, second);
    return result ? "no error" : result.error().detail;
}

TEST(ABroadcastDestination, IsRecognisedByItsLastByte) {
    const auto destination = parse_destination("10.0.5.255:4445", "");

    ASSERT_TRUE(destination);
    EXPECT_EQ(destination->kind, Destination::Kind::broadcast);
    EXPECT_EQ(destination->to.to_string(), "10.0.5.255:4445");
    EXPECT_FALSE(destination->from);
}

TEST(ABroadcastDestination, MayBeTheLimitedBroadcastAddress) {
    const auto destination = parse_destination("255.255.255.255:4445", "");

    ASSERT_TRUE(destination);
    EXPECT_EQ(destination->kind, Destination::Kind::broadcast);
}

TEST(ABroadcastDestination, KeepsTheAddressToSendFrom) {
    const auto destination = parse_destination("10.0.5.10", "10.0.5.255:4445");

    ASSERT_TRUE(destination);
    ASSERT_TRUE(destination->from);
    EXPECT_EQ(destination->from->to_string(), "10.0.5.10");
    EXPECT_EQ(destination->to.to_string(), "10.0.5.255:4445");
}

TEST(ABroadcastDestination, TakesNoTtl) {
    EXPECT_EQ(error_of("10.0.5.255:4445,3"),
              "\"10.0.5.255:4445,3\": a ttl is for multicast addresses (224.0.0.0/4 or ff00::/8) "
              "only; expected 10.0.5.255:4445");
}

TEST(AUnicastDestination, IsAnyOtherAddress) {
    const auto destination = parse_destination("10.0.5.7:4445", "");

    ASSERT_TRUE(destination);
    EXPECT_EQ(destination->kind, Destination::Kind::unicast);
}

TEST(AUnicastDestination, MayBeIpv6) {
    const auto destination = parse_destination("[2001:db8::ff]:4445", "");

    ASSERT_TRUE(destination);
    EXPECT_EQ(destination->kind, Destination::Kind::unicast);
}

TEST(AUnicastDestination, ThatIsLinkLocalNeedsAnAddressToSendFrom) {
    EXPECT_EQ(error_of("[fe80::2]:4445"),
              "\"[fe80::2]:4445\": every network has addresses like this one; expected an address "
              "that this server has on the network meant, before it, for example fe80::10 "
              "[fe80::2]:4445");

    EXPECT_EQ(error_of("fe80::1", "[fe80::2]:4445"), "no error");
}

TEST(AUnicastDestination, TakesNoTtl) {
    EXPECT_THAT(error_of("10.0.5.7:4445,1"), HasSubstr("a ttl is for multicast"));
}

TEST(AMulticastDestination, KeepsItsTtl) {
    const auto destination = parse_destination("239.220.221.20:4445,3", "");

    ASSERT_TRUE(destination);
    EXPECT_EQ(destination->kind, Destination::Kind::multicast);
    EXPECT_EQ(destination->to.to_string(), "239.220.221.20:4445");
    EXPECT_EQ(destination->ttl, 3);
}

TEST(AMulticastDestination, StaysInThisNetworkUnlessTold) {
    const auto destination = parse_destination("239.220.221.20:4445", "");

    ASSERT_TRUE(destination);
    EXPECT_EQ(destination->ttl, 1);
}

TEST(AMulticastDestination, MayStayOnThisHost) {
    const auto destination = parse_destination("224.0.0.1:4445,0", "");

    ASSERT_TRUE(destination);
    EXPECT_EQ(destination->ttl, 0);
}

TEST(AMulticastDestination, MayGoAsFarAsThereIs) {
    const auto destination = parse_destination("224.0.0.1:4445,255", "");

    ASSERT_TRUE(destination);
    EXPECT_EQ(destination->ttl, 255);
}

TEST(AMulticastDestination, KeepsTheAddressToSendFrom) {
    const auto destination = parse_destination("10.0.5.10", "239.220.221.20:4445,3");

    ASSERT_TRUE(destination);
    ASSERT_TRUE(destination->from);
    EXPECT_EQ(destination->from->to_string(), "10.0.5.10");
    EXPECT_EQ(destination->ttl, 3);
}

TEST(AMulticastDestination, ThatEndsIn255IsStillMulticast) {
    const auto destination = parse_destination("239.0.0.255:4445,2", "");

    ASSERT_TRUE(destination);
    EXPECT_EQ(destination->kind, Destination::Kind::multicast);
}

TEST(AMulticastDestination, MayBeIpv6) {
    const auto destination = parse_destination("[ff02::1]:4445,1", "");

    ASSERT_TRUE(destination);
    EXPECT_EQ(destination->kind, Destination::Kind::multicast);
    EXPECT_EQ(destination->to.to_string(), "[ff02::1]:4445");
}

TEST(AMulticastDestination, RefusesATtlOfMoreThan255) {
    EXPECT_EQ(error_of("239.1.1.1:4445,256"),
              "\"239.1.1.1:4445,256\": the ttl must be a number from 0 (this host only) to 255, "
              "for example 239.1.1.1:4445,1");
}

TEST(AMulticastDestination, RefusesATtlThatIsNoNumber) {
    EXPECT_THAT(error_of("239.1.1.1:4445,"), HasSubstr("the ttl must be a number"));
    EXPECT_THAT(error_of("239.1.1.1:4445,-1"), HasSubstr("the ttl must be a number"));
    EXPECT_THAT(error_of("239.1.1.1:4445,3,4"), HasSubstr("the ttl must be a number"));
}

TEST(ADestination, ReadsAsItMayBeWritten) {
    const auto with_everything = parse_destination("10.0.5.10", "239.220.221.20:4445,3");
    const auto with_the_usual_ttl = parse_destination("239.220.221.20:4445,1", "");
    const auto of_this_host = parse_destination("::1", "[ff02::1]:4445,0");

    ASSERT_TRUE(with_everything && with_the_usual_ttl && of_this_host);
    EXPECT_EQ(with_everything->to_string(), "10.0.5.10 239.220.221.20:4445,3");
    EXPECT_EQ(with_the_usual_ttl->to_string(), "239.220.221.20:4445");
    EXPECT_EQ(of_this_host->to_string(), "::1 [ff02::1]:4445,0");
}

TEST(AReservedAddress, IsNoMulticastAddress) {
    EXPECT_EQ(error_of("240.220.221.20:4445,3"),
              "\"240.220.221.20:4445,3\": 240.220.221.20 is no multicast address, those are in "
              "224.0.0.0/4 (224.0.0.0 to 239.255.255.255); for example 239.220.221.20:4445,3");
}

TEST(AReservedAddress, IsNoMulticastAddressWithoutTtlEither) {
    EXPECT_THAT(error_of("10.0.5.10", "255.255.255.254:4445"),
                AllOf(HasSubstr("is no multicast address"), HasSubstr("224.0.0.0/4")));
}

TEST(AReservedAddress, IsRefusedHoweverItIsWritten) {
    EXPECT_THAT(error_of("240.0.0.0:4445"), HasSubstr("240.0.0.0 is no multicast address"));
    EXPECT_THAT(error_of("255.0.0.1:4445,1"), HasSubstr("for example 239.0.0.1:4445,1"));
    EXPECT_THAT(error_of("240.220.221:4445"), HasSubstr("\"240.220.221\" is no IP address"));
    EXPECT_THAT(error_of("[::ffff:240.220.221.20]:4445"), HasSubstr("only IPv6 addresses"));
}

TEST(ADestination, NeedsAPort) {
    EXPECT_EQ(error_of("10.0.5.255"),
              "\"10.0.5.255\": expected [my-ip] dest-ip:port[,ttl], for example 10.0.5.255:4445");
}

TEST(ADestination, NeedsAPortBeforeItsTtl) {
    EXPECT_EQ(error_of("239.1.1.1,3"),
              "\"239.1.1.1,3\": expected [my-ip] dest-ip:port[,ttl], for example 239.1.1.1:4445");
}

TEST(ADestination, NeedsAnAddress) {
    EXPECT_EQ(error_of(""),
              "\"\": expected [my-ip] dest-ip:port[,ttl], for example 10.0.5.255:4445");
    EXPECT_THAT(error_of(":4445"), HasSubstr("is no IP address"));
}

TEST(ADestination, RefusesAPortThatThereIsNot) {
    EXPECT_EQ(error_of("10.0.5.255:65536"),
              "\"10.0.5.255:65536\": the port must be a number from 1 to 65535, for example "
              "10.0.5.255:4445");
    EXPECT_THAT(error_of("10.0.5.255:0"), HasSubstr("the port must be"));
    EXPECT_THAT(error_of("10.0.5.255:"), HasSubstr("the port must be"));
    EXPECT_THAT(error_of("10.0.5.255:http"), HasSubstr("the port must be"));
}

TEST(ADestination, RefusesAName) {
    EXPECT_THAT(error_of("www.example.com:4445"),
                AllOf(StartsWith("\"www.example.com:4445\": \"www.example.com\" is no IP address"),
                      HasSubstr("names are not looked up"), HasSubstr("10.0.5.255:4445")));
}

TEST(ADestination, WantsIpv6InBrackets) {
    EXPECT_THAT(error_of("ff02::abcd:1:4445"), HasSubstr("for example [ff02::abcd:1:4445]:4445"));
    EXPECT_THAT(error_of("1:2:3:4:5:6:7:8:4445"), HasSubstr("for example [1:2:3:4:5:6:7:8]:4445"));
}

TEST(ADestination, WantsIpv4WithoutBrackets) {
    EXPECT_THAT(error_of("[10.0.5.255]:4445"), HasSubstr("for example 10.0.5.255:4445"));
    EXPECT_THAT(error_of("[::ffff:10.0.5.255]:4445"), HasSubstr("for example 10.0.5.255:4445"));
}

TEST(ADestination, RefusesTheNameOfAnInterface) {
    const std::string expected =
        "interfaces are not named; expected an address that this server has on the interface, "
        "before the destination, for example fe80::10 [ff02::1]:4445";

    EXPECT_EQ(error_of("[ff02::1%eth0]:4445"), "\"[ff02::1%eth0]:4445\": " + expected);
    EXPECT_EQ(error_of("fe80::1%eth0", "[ff02::1]:4445"), "\"fe80::1%eth0\": " + expected);
}

TEST(ADestination, RefusesNobodysAddress) {
    EXPECT_THAT(error_of("0.0.0.0:4445"), HasSubstr("0.0.0.0 is nobody's address"));
    EXPECT_THAT(error_of("[::]:4445"), HasSubstr(":: is nobody's address"));
}

TEST(TheAddressToSendFrom, HasNoPort) {
    EXPECT_EQ(error_of("10.0.5.10:80", "10.0.5.255:4445"),
              "\"10.0.5.10:80\": expected an IP address of this server before the destination, "
              "without port, for example 10.0.5.10 239.220.221.20:4445,3");
}

TEST(TheAddressToSendFrom, IsUnicast) {
    EXPECT_THAT(error_of("239.1.1.1", "10.0.5.255:4445"),
                StartsWith("\"239.1.1.1\": no server can have this address"));
    EXPECT_THAT(error_of("255.255.255.255", "10.0.5.255:4445"), HasSubstr("no server can have"));
    EXPECT_THAT(error_of("240.0.0.1", "10.0.5.255:4445"), HasSubstr("no server can have"));
    EXPECT_THAT(error_of("0.0.0.0", "10.0.5.255:4445"), HasSubstr("no server can have"));
    EXPECT_THAT(error_of("ff02::1", "[ff02::1]:4445"), HasSubstr("no server can have"));
}

TEST(TheAddressToSendFrom, IsOfTheSameFamily) {
    EXPECT_THAT(error_of("10.0.5.10", "[ff02::1]:4445"),
                AllOf(StartsWith("\"10.0.5.10 [ff02::1]:4445\": "),
                      HasSubstr("two IPv4 or two IPv6 addresses")));
}

TEST(TheAddressToSendFrom, MayBeIpv6) {
    const auto destination = parse_destination("fe80::1", "[ff02::1]:4445,1");

    ASSERT_TRUE(destination);
    ASSERT_TRUE(destination->from);
    EXPECT_EQ(destination->from->to_string(), "fe80::1");
}

}  // namespace
}  // namespace backhand
