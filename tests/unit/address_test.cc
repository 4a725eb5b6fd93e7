// Addresses, and reading numbers and names out of text.
#include "base/address.h"

#include <cstring>
#include <string>

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include "base/text.h"

namespace backhand {
namespace {

IpAddress ip(std::string_view text) {
    return IpAddress::parse(text).value_or(IpAddress{});
}

TEST(AnIpAddress, ReadsAndPrintsIpv4) {
    const auto address = IpAddress::parse("10.0.5.1");

    ASSERT_TRUE(address);
    EXPECT_TRUE(address->is_v4());
    EXPECT_EQ(address->to_string(), "10.0.5.1");
}

TEST(AnIpAddress, ReadsAndPrintsIpv6) {
    const auto address = IpAddress::parse("2001:0DB8:0:0:0:0:0:1");

    ASSERT_TRUE(address);
    EXPECT_FALSE(address->is_v4());
    EXPECT_EQ(address->to_string(), "2001:db8::1");
}

TEST(AnIpAddress, ReadsTheLongestText) {
    const auto address = IpAddress::parse("2001:0db8:1111:2222:3333:4444:255.255.255.255");

    ASSERT_TRUE(address);
    EXPECT_EQ(address->to_string(), "2001:db8:1111:2222:3333:4444:ffff:ffff");
}

TEST(AnIpAddress, IsTheSameWhenMappedIntoIpv6) {
    EXPECT_EQ(ip("::ffff:10.0.5.1"), ip("10.0.5.1"));
    EXPECT_EQ(ip("::ffff:10.0.5.1").to_string(), "10.0.5.1");
}

TEST(AnIpAddress, IsNotReadFromAnythingElse) {
    EXPECT_FALSE(IpAddress::parse(""));
    EXPECT_FALSE(IpAddress::parse("localhost"));
    EXPECT_FALSE(IpAddress::parse("10.0.5"));
    EXPECT_FALSE(IpAddress::parse("10.0.5.256"));
    EXPECT_FALSE(IpAddress::parse("10.0.5.01"));
    EXPECT_FALSE(IpAddress::parse(" 10.0.5.1"));
    EXPECT_FALSE(IpAddress::parse("[::1]"));
    EXPECT_FALSE(IpAddress::parse("fe80::1%eth0"));
    EXPECT_FALSE(IpAddress::parse(std::string(1000, '1')));
}

TEST(AnIpAddress, IsNotReadFromTextWithAZeroByteInside) {
    EXPECT_FALSE(IpAddress::parse(std::string_view{"10.0.5.1\0x", 10}));
}

TEST(AnIpAddress, KnowsWhetherItIsUnspecified) {
    EXPECT_TRUE(ip("0.0.0.0").is_unspecified());
    EXPECT_TRUE(ip("::").is_unspecified());
    EXPECT_TRUE(IpAddress{}.is_unspecified());
    EXPECT_FALSE(ip("0.0.0.1").is_unspecified());
    EXPECT_FALSE(ip("::1").is_unspecified());
}

TEST(AnIpAddress, KnowsWhetherItIsLoopback) {
    EXPECT_TRUE(ip("127.0.0.1").is_loopback());
    EXPECT_TRUE(ip("127.255.0.9").is_loopback());
    EXPECT_TRUE(ip("::1").is_loopback());
    EXPECT_FALSE(ip("128.0.0.1").is_loopback());
    EXPECT_FALSE(ip("::2").is_loopback());
}

TEST(AnIpAddress, KnowsWhetherItIsMulticast) {
    EXPECT_FALSE(ip("223.255.255.255").is_multicast());
    EXPECT_TRUE(ip("224.0.0.0").is_multicast());
    EXPECT_TRUE(ip("239.255.255.255").is_multicast());
    EXPECT_FALSE(ip("240.0.0.0").is_multicast());
    EXPECT_TRUE(ip("ff02::1").is_multicast());
    EXPECT_FALSE(ip("fe80::1").is_multicast());
}

TEST(AnIpAddress, KnowsWhetherItIsLinkLocal) {
    EXPECT_FALSE(ip("fe7f:ffff::1").is_link_local());
    EXPECT_TRUE(ip("fe80::1").is_link_local());
    EXPECT_TRUE(ip("febf:ffff::1").is_link_local());
    EXPECT_FALSE(ip("fec0::1").is_link_local());
    EXPECT_FALSE(ip("254.128.0.1").is_link_local());
}

TEST(AnIpAddress, MayLeadToOneHostOrNot) {
    EXPECT_TRUE(ip("10.0.5.10").leads_to_one_host());
    EXPECT_TRUE(ip("127.0.0.1").leads_to_one_host());
    EXPECT_TRUE(ip("2001:db8::10").leads_to_one_host());
    EXPECT_FALSE(ip("fe80::10").leads_to_one_host());
    EXPECT_FALSE(ip("239.220.221.20").leads_to_one_host());
    EXPECT_FALSE(ip("0.0.0.0").leads_to_one_host());
}

TEST(AnIpAddress, HasAnOrder) {
    EXPECT_LT(ip("10.0.5.1"), ip("10.0.5.2"));
    EXPECT_LT(ip("9.255.255.255"), ip("10.0.0.0"));
}

TEST(AnEndpoint, ReadsAndPrintsIpv4) {
    const auto endpoint = Endpoint::parse("10.0.5.1:80");

    ASSERT_TRUE(endpoint);
    EXPECT_EQ(endpoint->address, ip("10.0.5.1"));
    EXPECT_EQ(endpoint->port, 80);
    EXPECT_EQ(endpoint->to_string(), "10.0.5.1:80");
}

TEST(AnEndpoint, ReadsAndPrintsIpv6) {
    const auto endpoint = Endpoint::parse("[2001:db8::1]:65535");

    ASSERT_TRUE(endpoint);
    EXPECT_EQ(endpoint->address, ip("2001:db8::1"));
    EXPECT_EQ(endpoint->port, 65535);
    EXPECT_EQ(endpoint->to_string(), "[2001:db8::1]:65535");
}

TEST(AnEndpoint, IsNotReadWithoutAPort) {
    EXPECT_FALSE(Endpoint::parse(""));
    EXPECT_FALSE(Endpoint::parse("10.0.5.1"));
    EXPECT_FALSE(Endpoint::parse("10.0.5.1:"));
    EXPECT_FALSE(Endpoint::parse("10.0.5.1:0"));
    EXPECT_FALSE(Endpoint::parse("10.0.5.1:65536"));
    EXPECT_FALSE(Endpoint::parse("10.0.5.1:+80"));
    EXPECT_FALSE(Endpoint::parse("10.0.5.1:80 "));
    EXPECT_FALSE(Endpoint::parse("[::1]"));
}

TEST(AnEndpoint, IsNotReadWithTheWrongBrackets) {
    EXPECT_FALSE(Endpoint::parse("2001:db8::1:80"));
    EXPECT_FALSE(Endpoint::parse("[10.0.5.1]:80"));
    EXPECT_FALSE(Endpoint::parse("[]:80"));
    EXPECT_FALSE(Endpoint::parse("[::1:80"));
    EXPECT_FALSE(Endpoint::parse("::1]:80"));
}

TEST(AnEndpoint, SurvivesTheWayThroughAnIpv4SocketAddress) {
    const Endpoint endpoint{ip("10.0.5.1"), 4445};
    const SocketAddress address{endpoint};

    EXPECT_EQ(address.storage.ss_family, AF_INET);
    EXPECT_EQ(address.size, sizeof(sockaddr_in));
    EXPECT_EQ(address.get()->sa_family, AF_INET);
    EXPECT_EQ(Endpoint::from(address.storage), endpoint);
    EXPECT_EQ(IpAddress::from(address.storage), endpoint.address);
}

TEST(AnEndpoint, SurvivesTheWayThroughAnIpv6SocketAddress) {
    const Endpoint endpoint{ip("2001:db8::1"), 4445};
    const SocketAddress address{endpoint};

    EXPECT_EQ(address.storage.ss_family, AF_INET6);
    EXPECT_EQ(address.size, sizeof(sockaddr_in6));
    EXPECT_EQ(Endpoint::from(address.storage), endpoint);
}

TEST(AnEndpoint, IsTheSameWhenADualStackSocketReportsIt) {
    sockaddr_in6 mapped{};
    mapped.sin6_family = AF_INET6;
    mapped.sin6_port = htons(80);
    ASSERT_EQ(::inet_pton(AF_INET6, "::ffff:10.0.5.1", &mapped.sin6_addr), 1);
    sockaddr_storage storage{};
    std::memcpy(&storage, &mapped, sizeof mapped);

    EXPECT_EQ(Endpoint::from(storage), (Endpoint{ip("10.0.5.1"), 80}));
}

TEST(AnEndpoint, IsNotReadFromAnotherKindOfSocketAddress) {
    sockaddr_storage storage{};
    storage.ss_family = AF_UNIX;

    EXPECT_FALSE(Endpoint::from(storage));
    EXPECT_FALSE(IpAddress::from(storage));
}

TEST(AnIpPrefix, ContainsOneAddressAtFullLength) {
    const IpPrefix prefix{ip("10.0.5.1"), 128};

    EXPECT_TRUE(prefix.contains(ip("10.0.5.1")));
    EXPECT_FALSE(prefix.contains(ip("10.0.5.0")));
}

TEST(AnIpPrefix, ContainsAWholeNumberOfBytes) {
    const IpPrefix prefix{ip("10.0.5.0"), 120};

    EXPECT_TRUE(prefix.contains(ip("10.0.5.255")));
    EXPECT_FALSE(prefix.contains(ip("10.0.6.0")));
}

TEST(AnIpPrefix, ContainsAPartOfAByte) {
    const IpPrefix prefix{ip("10.0.5.128"), 121};

    EXPECT_FALSE(prefix.contains(ip("10.0.5.127")));
    EXPECT_TRUE(prefix.contains(ip("10.0.5.128")));
    EXPECT_TRUE(prefix.contains(ip("10.0.5.255")));
}

TEST(AnIpPrefix, ContainsEverythingAtLengthZero) {
    const IpPrefix prefix{IpAddress{}, 0};

    EXPECT_TRUE(prefix.contains(ip("10.0.5.1")));
    EXPECT_TRUE(prefix.contains(ip("ffff::1")));
}

TEST(ANumber, IsTheWholeText) {
    EXPECT_EQ(parse_number<int>("-12"), -12);
    EXPECT_EQ(parse_number<std::uint64_t>("18446744073709551615"), 18446744073709551615U);
    EXPECT_EQ(parse_number<unsigned>("fF", 16), 255U);
}

TEST(ANumber, IsNotReadFromMoreOrLess) {
    EXPECT_FALSE(parse_number<int>(""));
    EXPECT_FALSE(parse_number<int>("-"));
    EXPECT_FALSE(parse_number<int>(" 1"));
    EXPECT_FALSE(parse_number<int>("1 "));
    EXPECT_FALSE(parse_number<int>("+1"));
    EXPECT_FALSE(parse_number<int>("1.0"));
    EXPECT_FALSE(parse_number<int>("0x10", 16));
}

TEST(ANumber, IsWithinItsType) {
    EXPECT_EQ(parse_number<std::uint8_t>("255"), 255);
    EXPECT_FALSE(parse_number<std::uint8_t>("256"));
    EXPECT_FALSE(parse_number<std::uint8_t>("-1"));
    EXPECT_FALSE(parse_number<std::uint64_t>("18446744073709551616"));
}

TEST(AFraction, IsTheWholeText) {
    EXPECT_EQ(parse_fraction("0.25"), 0.25);
    EXPECT_EQ(parse_fraction("3"), 3.0);
    EXPECT_EQ(parse_fraction("-1e3"), -1000.0);
    EXPECT_FALSE(parse_fraction(""));
    EXPECT_FALSE(parse_fraction("."));
    EXPECT_FALSE(parse_fraction("0.25 "));
    EXPECT_FALSE(parse_fraction("1e999"));
}

TEST(LettersWithoutCase, AreEqualInAsciiOnly) {
    EXPECT_TRUE(equal_ignoring_case("Content-Length", "content-LENGTH"));
    EXPECT_TRUE(equal_ignoring_case("", ""));
    EXPECT_FALSE(equal_ignoring_case("Host", "Hos"));
    EXPECT_FALSE(equal_ignoring_case("Host", "Hos7"));
    EXPECT_FALSE(equal_ignoring_case("[", "{"));
    EXPECT_FALSE(equal_ignoring_case("@", "`"));
}

TEST(LettersWithoutCase, HashAlike) {
    EXPECT_EQ(hash_ignoring_case("WWW.Example.com"), hash_ignoring_case("www.example.COM"));
    EXPECT_NE(hash_ignoring_case("www.example.com"), hash_ignoring_case("www.example.org"));
}

TEST(LettersWithoutCase, HashByFnv1aOf64Bits) {
    EXPECT_EQ(hash_ignoring_case(""), 0xCBF29CE484222325U);
    EXPECT_EQ(hash_ignoring_case("a"), 0xAF63DC4C8601EC8CU);
    EXPECT_EQ(hash_ignoring_case("foobar"), 0x85944171F73967E8U);
}

}  // namespace
}  // namespace backhand
