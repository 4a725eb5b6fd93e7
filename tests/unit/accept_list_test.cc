// The values of AcceptStats, and whom they admit.
#include "announce/accept_list.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace backhand {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value_or(IpAddress{});
}

// The canonical form of a value, or its error.
std::string read(std::string_view value) {
    const auto prefix = parse_accept(value);
    return prefix ? to_string(*prefix) : prefix.error().detail;
}

AcceptList accepting(std::string_view value) {
    AcceptList list;
    const auto prefix = parse_accept(value);
    EXPECT_TRUE(prefix) << value;
    if (prefix) {
        list.add(*prefix);
    }
    return list;
}

TEST(AnAcceptValue, MayBeOneAddress) {
    EXPECT_EQ(read("10.0.5.1"), "10.0.5.1");
    EXPECT_EQ(read("2001:DB8::1"), "2001:db8::1");
}

TEST(AnAcceptValue, MayHaveAPrefixLength) {
    EXPECT_EQ(read("10.0.5.0/24"), "10.0.5.0/24");
    EXPECT_EQ(read("10.0.5.128/25"), "10.0.5.128/25");
    EXPECT_EQ(read("10.0.5.1/32"), "10.0.5.1");
    EXPECT_EQ(read("0.0.0.0/0"), "0.0.0.0/0");
    EXPECT_EQ(read("2001:db8:5::/48"), "2001:db8:5::/48");
    EXPECT_EQ(read("::/0"), "::/0");
}

TEST(AnAcceptValue, MayHaveAMask) {
    EXPECT_EQ(read("10.0.5.0/255.255.255.0"), "10.0.5.0/24");
    EXPECT_EQ(read("10.0.4.0/255.255.252.0"), "10.0.4.0/22");
    EXPECT_EQ(read("10.0.5.1/255.255.255.255"), "10.0.5.1");
    EXPECT_EQ(read("0.0.0.0/0.0.0.0"), "0.0.0.0/0");
}

TEST(AnAcceptValue, MayBeTheBeginningOfAnAddress) {
    EXPECT_EQ(read("10"), "10.0.0.0/8");
    EXPECT_EQ(read("10."), "10.0.0.0/8");
    EXPECT_EQ(read("10.0"), "10.0.0.0/16");
    EXPECT_EQ(read("10.0."), "10.0.0.0/16");
    EXPECT_EQ(read("192.168.7"), "192.168.7.0/24");
    EXPECT_EQ(read("192.168.7."), "192.168.7.0/24");
}

TEST(AnAcceptValue, WithBitsBehindItsMaskIsRefusedWithTheRightOne) {
    EXPECT_EQ(read("10.0.5.1/24"),
              "\"10.0.5.1/24\": 10.0.5.1 has bits behind the mask; expected 10.0.5.0/24 for the "
              "network or 10.0.5.1 for one address");
    EXPECT_THAT(read("10.0.5.0/255.255.0.0"), HasSubstr("expected 10.0.0.0/16 for the network"));
    EXPECT_THAT(read("2001:db8::1/64"), HasSubstr("expected 2001:db8::/64 for the network"));
}

TEST(AnAcceptValue, WithAMaskOfScatteredOnesIsRefused) {
    EXPECT_EQ(read("10.0.5.0/255.0.255.0"),
              "\"10.0.5.0/255.0.255.0\": the mask must be ones and then zeros, for example "
              "255.255.255.0");
    EXPECT_THAT(read("10.0.5.0/0.0.0.255"), HasSubstr("ones and then zeros"));
}

TEST(AnAcceptValue, WithATooLongPrefixIsRefused) {
    EXPECT_EQ(read("10.0.5.0/33"),
              "\"10.0.5.0/33\": the part behind the slash must be a prefix length from 0 to 32 or "
              "a mask, for example 10.0.5.0/24 or 10.0.5.0/255.255.255.0");
    EXPECT_THAT(read("2001:db8::/129"),
                AllOf(HasSubstr("from 0 to 128"), HasSubstr("2001:db8::/64")));
}

TEST(AnAcceptValue, WithAnUnreadableMaskIsRefused) {
    EXPECT_THAT(read("10.0.5.0/"), HasSubstr("behind the slash"));
    EXPECT_THAT(read("10.0.5.0/-1"), HasSubstr("behind the slash"));
    EXPECT_THAT(read("10.0.5.0/255.255"), HasSubstr("behind the slash"));
    EXPECT_THAT(read("10.0.5.0/24/24"), HasSubstr("behind the slash"));
    EXPECT_THAT(read("2001:db8::/255.255.0.0"), HasSubstr("behind the slash"));
}

TEST(AnAcceptValue, ThatIsTheBeginningOfAnAddressTakesNoMask) {
    EXPECT_EQ(read("10.0/16"),
              "\"10.0/16\": the beginning of an ip takes no mask; expected 10.0.0.0/16 or another "
              "whole ip");
}

TEST(AnAcceptValue, OfAnotherFormIsRefusedWithExamples) {
    EXPECT_EQ(read("www.example.com"),
              "\"www.example.com\": expected ip, ip/mask, ip/prefix or the beginning of an ip, for "
              "example 10.0.5.1, 10.0.5.0/255.255.255.0, 10.0.5.0/24, 10.0 or 2001:db8:5::/48");
    EXPECT_THAT(read(""), StartsWith("\"\": expected ip"));
    EXPECT_THAT(read("."), StartsWith("\".\": expected ip"));
    EXPECT_THAT(read(".10"), HasSubstr("expected ip"));
    EXPECT_THAT(read("10..5"), HasSubstr("expected ip"));
    EXPECT_THAT(read("10.0.."), HasSubstr("expected ip"));
    EXPECT_THAT(read("10.0.5.1."), HasSubstr("expected ip"));
    EXPECT_THAT(read("10.256"), HasSubstr("expected ip"));
    EXPECT_THAT(read("10.010"), HasSubstr("expected ip"));
    EXPECT_THAT(read("10.0.5.1:4445"), HasSubstr("expected ip"));
    EXPECT_THAT(read("2001:db8"), HasSubstr("expected ip"));
    EXPECT_THAT(read("all"), HasSubstr("expected ip"));
    EXPECT_THAT(read("/24"), HasSubstr("expected ip"));
}

TEST(AnAcceptValue, ThatIsAMulticastAddressIsRefused) {
    EXPECT_THAT(read("239.1.1.1"), HasSubstr("nothing is ever sent from a multicast address"));
    EXPECT_THAT(read("ff00::/8"), HasSubstr("nothing is ever sent from a multicast address"));
}

TEST(AnAcceptList, AdmitsNobodyWhenEmpty) {
    const AcceptList list;

    EXPECT_TRUE(list.empty());
    EXPECT_FALSE(list.contains(ip("10.0.5.1")));
    EXPECT_FALSE(list.contains(ip("127.0.0.1")));
}

TEST(AnAcceptList, AdmitsTheOneAddress) {
    const AcceptList list = accepting("10.0.5.1");

    EXPECT_TRUE(list.contains(ip("10.0.5.1")));
    EXPECT_FALSE(list.contains(ip("10.0.5.2")));
    EXPECT_FALSE(list.contains(ip("::a00:501")));
}

TEST(AnAcceptList, AdmitsAnIpv4AddressThatADualStackSocketReports) {
    EXPECT_TRUE(accepting("10.0.5.1").contains(ip("::ffff:10.0.5.1")));
}

TEST(AnAcceptList, AdmitsTheNetworkUpToItsEdges) {
    const AcceptList list = accepting("10.0.4.0/22");

    EXPECT_FALSE(list.contains(ip("10.0.3.255")));
    EXPECT_TRUE(list.contains(ip("10.0.4.0")));
    EXPECT_TRUE(list.contains(ip("10.0.7.255")));
    EXPECT_FALSE(list.contains(ip("10.0.8.0")));
}

TEST(AnAcceptList, AdmitsAllThatBeginsSoByWholeOctets) {
    const AcceptList list = accepting("10.0");

    EXPECT_TRUE(list.contains(ip("10.0.0.0")));
    EXPECT_TRUE(list.contains(ip("10.0.255.255")));
    EXPECT_FALSE(list.contains(ip("10.1.0.0")));
    EXPECT_FALSE(list.contains(ip("100.0.0.1")));
}

TEST(AnAcceptList, AdmitsAnIpv6Network) {
    const AcceptList list = accepting("2001:db8:4::/47");

    EXPECT_TRUE(list.contains(ip("2001:db8:4::1")));
    EXPECT_TRUE(list.contains(ip("2001:db8:5:ffff::")));
    EXPECT_FALSE(list.contains(ip("2001:db8:6::")));
}

TEST(AnAcceptList, AdmitsAllOfIpv4AndNoIpv6ForAPrefixOfNothing) {
    const AcceptList list = accepting("0.0.0.0/0");

    EXPECT_TRUE(list.contains(ip("10.0.5.1")));
    EXPECT_FALSE(list.contains(ip("2001:db8::1")));
}

TEST(AnAcceptList, AdmitsAllOfIpv6AndNoIpv4ForAPrefixOfNothing) {
    const AcceptList list = accepting("::/0");

    EXPECT_TRUE(list.contains(ip("2001:db8::1")));
    EXPECT_FALSE(list.contains(ip("10.0.5.1")));
}

TEST(AnAcceptList, AdmitsWhatAnyOfItsValuesAdmits) {
    AcceptList list = accepting("10.0.5.1");
    list.add(*parse_accept("192.168."));

    EXPECT_TRUE(list.contains(ip("10.0.5.1")));
    EXPECT_TRUE(list.contains(ip("192.168.3.4")));
    EXPECT_FALSE(list.contains(ip("172.16.0.1")));
}

TEST(AnAcceptList, KeepsAValueThatIsAddedTwiceOnce) {
    AcceptList list = accepting("10.0.0.0/16");
    list.add(*parse_accept("10.0"));

    EXPECT_THAT(list.prefixes(), SizeIs(1));
}

}  // namespace
}  // namespace backhand
