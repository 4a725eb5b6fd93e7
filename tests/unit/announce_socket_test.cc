// The sockets of announcements: who hears what, tried out on loopback and on networks of our own.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include "announce/socket.h"

namespace backhand {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using testing::UnorderedElementsAre;

// A port that no socket of this host has now.
std::uint16_t free_port() {
    const UniqueFd socket{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    const SocketAddress any{Endpoint{*IpAddress::parse("0.0.0.0"), 0}};
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    EXPECT_EQ(::bind(socket.get(), any.get(), any.size), 0);
    EXPECT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size), 0);
    return Endpoint::from(bound)->port;
}

class Announcing : public testing::Test {
protected:
    // "127.0.1.1 239.0.0.1:PORT,0", with this test's own port.
    Destination destination(std::string text) const {
        const std::size_t port = text.find("PORT");
        if (port != std::string::npos) {
            text.replace(port, 4, std::to_string(port_));
        }
        const std::size_t space = text.find(' ');
        const auto parsed = space == std::string::npos
                                ? parse_destination(text, "")
                                : parse_destination(text.substr(0, space), text.substr(space + 1));
        EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error().detail);
        return parsed ? *parsed : Destination{};
    }

    std::vector<UniqueFd> receivers(std::vector<std::string> lines) const {
        std::vector<Destination> destinations;
        std::transform(lines.begin(), lines.end(), std::back_inserter(destinations),
                       [this](const std::string& line) { return destination(line); });
        auto opened = open_receivers(destinations);
        EXPECT_TRUE(opened) << (opened ? "" : opened.error().detail);
        return opened ? std::move(*opened) : std::vector<UniqueFd>{};
    }

    // Where the sockets listen, without this test's port: "127.0.1.1".
    std::vector<std::string> addresses(const std::vector<UniqueFd>& sockets) const {
        std::vector<std::string> result;
        for (const UniqueFd& socket : sockets) {
            sockaddr_storage bound{};
            socklen_t size = sizeof bound;
            EXPECT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size), 0);
            EXPECT_EQ(Endpoint::from(bound)->port, port_);
            result.push_back(IpAddress::from(bound)->to_string());
        }
        return result;
    }

    void send(const std::string& line, const std::string& text) const {
        auto sender = open_sender(destination(line));
        ASSERT_TRUE(sender) << sender.error().detail;
        const SocketAddress to{sender->to};
        ASSERT_EQ(::sendto(sender->socket.get(), text.data(), text.size(), 0, to.get(), to.size),
                  static_cast<ssize_t>(text.size()))
            << std::generic_category().message(errno);
    }

    // Everything the sockets hear, up to "the end", which must reach each of them.
    static std::vector<std::string> heard(const std::vector<UniqueFd>& sockets) {
        std::vector<std::string> result;
        for (const UniqueFd& socket : sockets) {
            for (std::string text = next(socket); text != "the end"; text = next(socket)) {
                if (text == "nothing") {
                    ADD_FAILURE() << "the end was not heard";
                    return result;
                }
                result.push_back(text);
            }
        }
        return result;
    }

    // The next datagram and who sent it: "hello from 127.0.1.1"; of "the end" without.
    static std::string next(const UniqueFd& socket) {
        constexpr int patience_ms = 30'000;
        pollfd descriptor{.fd = socket.get(), .events = POLLIN, .revents = 0};
        if (::poll(&descriptor, 1, patience_ms) != 1) {
            return "nothing";
        }
        std::array<char, 100> buffer{};
        sockaddr_storage from{};
        socklen_t size = sizeof from;
        const auto length = ::recvfrom(socket.get(), buffer.data(), buffer.size(), 0,
                                       reinterpret_cast<sockaddr*>(&from), &size);
        const std::string text{buffer.data(),
                               static_cast<std::size_t>(std::max(length, ssize_t{}))};
        return text == "the end" ? text : text + " from " + IpAddress::from(from)->to_string();
    }

    std::string error_of(const std::string& line) const {
        const Destination wrong = destination(line);
        const auto sender = open_sender(wrong);
        const auto receivers = open_receivers({wrong});
        const auto contact = local_address_towards(wrong);
        EXPECT_FALSE(sender);
        EXPECT_FALSE(receivers);
        EXPECT_FALSE(contact);
        if (sender || receivers || contact) {
            return "no error";
        }
        EXPECT_EQ(receivers.error().detail, sender.error().detail);
        EXPECT_EQ(contact.error().detail, "MulticastStats " + sender.error().detail);
        return sender.error().detail;
    }

    std::string port() const { return std::to_string(port_); }

    const std::uint16_t port_ = free_port();
};

// In a network namespace of the test's own, whatever this host has: net0 and net1 with addresses of
// every kind, net2 with a link-local one only.  What is multicast or broadcast to a network is
// heard on it here, too.
class OnTwoNetworks : public Announcing {
protected:
    void SetUp() override {
        is_inside_ = ::unshare(CLONE_NEWNET) == 0;
        if (!is_inside_) {
            GTEST_SKIP() << "only root may make a network namespace";
        }
        const char* const set_up =
            "set -e; ip link set lo up; "
            "for n in 0 1 2; do "
            "  ip link add net$n type veth peer name far$n; "
            "  ip link set net$n addrgenmode none; "
            "  echo 1 > /proc/sys/net/ipv6/conf/far$n/disable_ipv6; "
            "  ip link set net$n up; ip link set far$n up; "
            "  ip addr add fe80::77:$n/64 dev net$n nodad; "
            "done; "
            "ip addr add fe80::77/64 dev net0 nodad; ip addr add fe80::77/64 dev net1 nodad; "
            "ip addr add 10.77.0.1/24 brd + dev net0; ip addr add fd77::1/64 dev net0 nodad; "
            "ip addr add 10.77.1.1/25 brd + dev net1; ip addr add fd77:1::1/64 dev net1 nodad; ";
        // NOLINTNEXTLINE(concurrency-mt-unsafe): tests run one after another
        if (std::system(set_up) != 0) {
            GTEST_SKIP() << "this needs ip, of iproute2, and a kernel with veth";
        }
    }

    void TearDown() override {
        if (is_inside_) {
            EXPECT_EQ(::setns(outside_.get(), CLONE_NEWNET), 0);
        }
    }

    std::string contact_towards(const std::string& line) const {
        const auto contact = local_address_towards(destination(line));
        return contact ? contact->to_string() : contact.error().detail;
    }

private:
    const UniqueFd outside_{::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)};
    bool is_inside_ = false;
};

using AReceiver = Announcing;
using AUnicastList = Announcing;
using AGroup = Announcing;
using ABroadcast = Announcing;
using AnAddressToSendFrom = Announcing;
using TheContact = Announcing;

// ---- unicast ----

TEST_F(AUnicastList, IsHeardByOneSocketOnEveryAddress) {
    EXPECT_THAT(addresses(receivers({"10.77.0.2:PORT", "10.77.0.3:PORT", "10.77.0.4:PORT"})),
                ElementsAre("0.0.0.0"));
}

TEST_F(AUnicastList, MayContainThisServer) {
    const auto sockets = receivers({"127.0.1.1:PORT", "10.77.0.3:PORT", "127.0.1.2:PORT"});
    ASSERT_THAT(addresses(sockets), ElementsAre("0.0.0.0"));

    send("127.0.1.9 127.0.1.1:PORT", "to me");
    send("127.0.1.9 127.0.1.2:PORT", "the end");

    EXPECT_THAT(heard(sockets), ElementsAre("to me from 127.0.1.9"));
}

TEST_F(AUnicastList, IsHeardOnTheAddressToSendFrom) {
    const auto sockets = receivers({"127.0.1.1 127.0.1.2:PORT", "127.0.1.1 127.0.1.3:PORT"});
    ASSERT_THAT(addresses(sockets), ElementsAre("127.0.1.1"));

    send("127.0.1.2 127.0.1.4:PORT", "to somebody else");
    send("127.0.1.2 127.0.1.1:PORT", "to me");
    send("127.0.1.2 127.0.1.1:PORT", "the end");

    EXPECT_THAT(heard(sockets), ElementsAre("to me from 127.0.1.2"));
}

TEST_F(AUnicastList, MayHaveTwoPorts) {
    const std::uint16_t other_port = free_port();
    const auto opened = open_receivers(
        {destination("10.77.0.2:PORT"), destination("10.77.0.2:" + std::to_string(other_port))});

    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->size(), 2U);
}

TEST_F(AUnicastList, OfAnotherServerOnThisHostNeedsAnotherAddress) {
    const auto first = receivers({"127.0.1.1 127.0.1.2:PORT"});
    const auto second = receivers({"127.0.1.2 127.0.1.1:PORT"});

    send("127.0.1.1 127.0.1.2:PORT", "from the first");
    send("127.0.1.2 127.0.1.1:PORT", "from the second");
    send("127.0.1.1 127.0.1.1:PORT", "the end");
    send("127.0.1.1 127.0.1.2:PORT", "the end");

    EXPECT_THAT(heard(first), ElementsAre("from the second from 127.0.1.2"));
    EXPECT_THAT(heard(second), ElementsAre("from the first from 127.0.1.1"));
}

// The limit that the documentation names; should the kernel change it, so may we.
TEST_F(AUnicastList, IsHeardByTheLastOfThoseThatShareAnAddress) {
    const auto first = receivers({"127.0.1.1:PORT"});
    const auto last = receivers({"127.0.1.1:PORT"});

    send("127.0.1.1:PORT", "to which");
    send("127.0.1.1:PORT", "the end");

    EXPECT_THAT(heard(last), ElementsAre("to which from 127.0.0.1"));
}

// ---- broadcast ----

TEST_F(ABroadcast, IsHeardByASocketThatHearsNothingElse) {
    const auto sockets = receivers({"127.0.1.1 127.255.255.255:PORT"});
    ASSERT_THAT(addresses(sockets), ElementsAre("127.255.255.255"));

    send("127.0.1.2 127.0.1.1:PORT", "to one");
    send("127.0.1.2 127.255.255.255:PORT", "to all");
    send("127.255.255.255:PORT", "the end");

    EXPECT_THAT(heard(sockets), ElementsAre("to all from 127.0.1.2"));
}

TEST_F(ABroadcast, IsHeardByEverySocketThatSharesThePort) {
    const auto first = receivers({"127.255.255.255:PORT"});
    const auto second = receivers({"127.255.255.255:PORT"});

    send("127.255.255.255:PORT", "to all");
    send("127.255.255.255:PORT", "the end");

    EXPECT_THAT(heard(first), ElementsAre("to all from 127.0.0.1"));
    EXPECT_THAT(heard(second), ElementsAre("to all from 127.0.0.1"));
}

TEST_F(ABroadcast, IsHeardOnceBesideAUnicastList) {
    const auto sockets = receivers({"127.255.255.255:PORT", "10.77.0.2:PORT"});
    ASSERT_THAT(addresses(sockets), ElementsAre("0.0.0.0"));

    send("127.0.1.1 127.255.255.255:PORT", "to all");
    send("127.0.1.1 127.0.1.2:PORT", "the end");

    EXPECT_THAT(heard(sockets), ElementsAre("to all from 127.0.1.1"));
}

TEST_F(ABroadcast, IsHeardOnceBesideAUnicastListWithAnAddressToSendFrom) {
    const auto sockets = receivers({"127.0.1.1 10.77.0.2:PORT", "127.0.1.1 127.255.255.255:PORT"});
    ASSERT_THAT(addresses(sockets), ElementsAre("127.0.1.1", "127.255.255.255"));

    send("127.0.1.2 127.255.255.255:PORT", "to all");
    send("127.0.1.2 127.0.1.1:PORT", "the end");
    send("127.0.1.2 127.255.255.255:PORT", "the end");

    EXPECT_EQ(next(sockets[0]), "the end");
    EXPECT_EQ(next(sockets[1]), "to all from 127.0.1.2");
}

TEST_F(ABroadcast, ThatIsNoneOfThisHostsIsTakenForASingleAddress) {
    EXPECT_THAT(addresses(receivers({"10.77.0.255:PORT"})), ElementsAre("0.0.0.0"));
    EXPECT_THAT(addresses(receivers({"127.0.1.1 10.77.0.255:PORT"})), ElementsAre("127.0.1.1"));
}

TEST_F(ABroadcast, MayBeLimitedToTheNetworkWhateverItIs) {
    EXPECT_THAT(addresses(receivers({"255.255.255.255:PORT"})), ElementsAre("255.255.255.255"));
}

// ---- multicast ----

TEST_F(AGroup, IsHeardByASocketThatHearsNothingElse) {
    const auto sockets = receivers({"127.0.1.1 239.77.0.1:PORT,0"});
    ASSERT_THAT(addresses(sockets), ElementsAre("239.77.0.1"));

    send("127.0.1.2 239.77.0.2:PORT,0", "to another group");
    send("127.0.1.2 127.0.1.1:PORT", "to one");
    send("127.0.1.2 239.77.0.1:PORT,0", "to the group");
    send("127.0.1.2 239.77.0.1:PORT,0", "the end");

    EXPECT_THAT(heard(sockets), ElementsAre("to the group from 127.0.1.2"));
}

TEST_F(AGroup, IsHeardOnceBesideAUnicastListOnTheSamePort) {
    const auto sockets = receivers({"127.0.1.1 239.77.0.1:PORT,0", "10.77.0.2:PORT"});
    ASSERT_THAT(addresses(sockets), UnorderedElementsAre("239.77.0.1", "0.0.0.0"));

    send("127.0.1.2 239.77.0.1:PORT,0", "to the group");
    send("127.0.1.2 127.0.1.1:PORT", "to one");
    send("127.0.1.2 239.77.0.1:PORT,0", "the end");
    send("127.0.1.2 127.0.1.1:PORT", "the end");

    EXPECT_THAT(heard(sockets),
                UnorderedElementsAre("to the group from 127.0.1.2", "to one from 127.0.1.2"));
}

TEST_F(AGroup, ThatSomebodyElseHasJoinedIsNotHeardByAUnicastList) {
    const auto others = receivers({"127.0.1.1 239.77.0.9:PORT,0"});
    const auto sockets = receivers({"10.77.0.2:PORT"});

    send("127.0.1.2 239.77.0.9:PORT,0", "to the others");
    send("127.0.1.2 127.0.1.1:PORT", "the end");

    EXPECT_THAT(heard(sockets), IsEmpty());
    EXPECT_EQ(next(others[0]), "to the others from 127.0.1.2");
}

TEST_F(AGroup, GivenTwiceIsHeardOnce) {
    const auto sockets = receivers({"127.0.1.1 239.77.0.1:PORT,0", "127.0.1.1 239.77.0.1:PORT"});
    ASSERT_THAT(addresses(sockets), ElementsAre("239.77.0.1"));

    send("127.0.1.2 239.77.0.1:PORT,0", "to the group");
    send("127.0.1.2 239.77.0.1:PORT,0", "the end");

    EXPECT_THAT(heard(sockets), ElementsAre("to the group from 127.0.1.2"));
}

TEST_F(AGroup, IsSentAsFarAsItsTtlSays) {
    const auto sender = open_sender(destination("127.0.1.1 239.77.0.1:PORT,3"));
    ASSERT_TRUE(sender) << sender.error().detail;

    int ttl = 0;
    socklen_t size = sizeof ttl;
    ASSERT_EQ(::getsockopt(sender->socket.get(), IPPROTO_IP, IP_MULTICAST_TTL, &ttl, &size), 0);

    EXPECT_EQ(ttl, 3);
}

// ---- IPv6, and several networks ----

TEST_F(OnTwoNetworks, AUnicastListMayBeIpv6) {
    const auto sockets = receivers({"[::1]:PORT", "[fd77::2]:PORT"});
    ASSERT_THAT(addresses(sockets), ElementsAre("::"));

    send("[::1]:PORT", "to me");
    send("[::1]:PORT", "the end");

    EXPECT_THAT(heard(sockets), ElementsAre("to me from ::1"));
}

TEST_F(OnTwoNetworks, AUnicastListOfBothFamiliesIsHeardByASocketOfEach) {
    const auto sockets = receivers({"[::1]:PORT", "127.0.1.1:PORT"});
    ASSERT_THAT(addresses(sockets), ElementsAre("::", "0.0.0.0"));

    send("127.0.1.1:PORT", "four");
    send("[::1]:PORT", "six");
    send("127.255.255.255:PORT", "all of four");
    send("127.0.1.1:PORT", "the end");
    send("[::1]:PORT", "the end");

    EXPECT_THAT(heard(sockets),
                ElementsAre("six from ::1", "four from 127.0.0.1", "all of four from 127.0.0.1"));
}

TEST_F(OnTwoNetworks, AnIpv6GroupIsSentAsFarAsItsTtlSays) {
    const auto sender = open_sender(destination("fd77::1 [ff05::77]:PORT,4"));
    ASSERT_TRUE(sender) << sender.error().detail;

    int hops = 0;
    socklen_t size = sizeof hops;
    ASSERT_EQ(::getsockopt(sender->socket.get(), IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, &size),
              0);

    EXPECT_EQ(hops, 4);
}

TEST_F(OnTwoNetworks, AnIpv6GroupOfAnyScopeIsHeardByASocketThatHearsNothingElse) {
    const auto sockets = receivers({"fd77::1 [ff01::77]:PORT", "fd77::1 [ff02::77]:PORT,0",
                                    "fd77::1 [ff05::77]:PORT,0", "fd77::1 [ff0e::77]:PORT,0"});
    ASSERT_THAT(addresses(sockets), ElementsAre("ff01::77", "ff02::77", "ff05::77", "ff0e::77"));

    send("fd77::1 [ff02::78]:PORT,0", "to another group");
    send("fd77::1 [ff02::77]:PORT,0", "to the link");
    send("fd77::1 [ff05::77]:PORT,0", "to the site");
    send("fd77::1 [ff0e::77]:PORT,0", "to the world");
    for (const char* line : {"fd77::1 [ff01::77]:PORT,0", "fd77::1 [ff02::77]:PORT,0",
                             "fd77::1 [ff05::77]:PORT,0", "fd77::1 [ff0e::77]:PORT,0"}) {
        send(line, "the end");
    }

    EXPECT_THAT(heard(sockets), ElementsAre("to the link from fd77::1", "to the site from fd77::1",
                                            "to the world from fd77::1"));
}

TEST_F(OnTwoNetworks, AnIpv4GroupIsHeardOnceOnEach) {
    const auto sockets = receivers({"10.77.0.1 239.77.0.1:PORT", "10.77.1.1 239.77.0.1:PORT"});
    ASSERT_THAT(addresses(sockets), ElementsAre("239.77.0.1"));

    send("10.77.0.1 239.77.0.1:PORT,0", "to one");
    send("10.77.1.1 239.77.0.1:PORT,0", "to the other");
    send("10.77.0.1 239.77.0.1:PORT,0", "the end");

    EXPECT_THAT(heard(sockets),
                ElementsAre("to one from 10.77.0.1", "to the other from 10.77.1.1"));
}

TEST_F(OnTwoNetworks, AnIpv6GroupIsHeardOnceOnEach) {
    for (const std::string group : {"[ff02::77]:PORT", "[ff05::77]:PORT"}) {
        const auto sockets = receivers({"fd77::1 " + group, "fd77:1::1 " + group});

        send("fd77::1 " + group, "to one");
        send("fd77:1::1 " + group, "to the other");
        send("fd77::1 " + group, "the end");
        send("fd77:1::1 " + group, "the end");

        EXPECT_THAT(heard(sockets),
                    ElementsAre("to one from fd77::1", "to the other from fd77:1::1"));
    }
}

TEST_F(OnTwoNetworks, AGroupIsNotHeardWhereSomebodyElseHasJoinedIt) {
    const std::vector<std::string> groups{"239.77.0.1:PORT", "[ff02::77]:PORT", "[ff05::77]:PORT"};
    const std::vector<std::string> own{"10.77.0.1 ", "fd77::1 ", "fd77::1 "};
    const std::vector<std::string> foreign{"10.77.1.1 ", "fd77:1::1 ", "fd77:1::1 "};
    for (std::size_t index = 0; index < groups.size(); ++index) {
        const auto others = receivers({foreign[index] + groups[index]});
        const auto sockets = receivers({own[index] + groups[index]});

        send(foreign[index] + groups[index], "to the other");
        send(foreign[index] + groups[index], "the end");
        send(own[index] + groups[index], "to one");
        send(own[index] + groups[index], "the end");

        EXPECT_THAT(heard(sockets), ElementsAre(StartsWith("to one from ")));
        EXPECT_THAT(heard(others), ElementsAre(StartsWith("to the other from ")));
    }
}

TEST_F(OnTwoNetworks, AGroupThatSomebodyElseHasJoinedIsNotHeardByAUnicastList) {
    const auto others = receivers({"fd77::1 [ff05::77]:PORT"});
    const auto sockets = receivers({"[fd77::2]:PORT"});

    send("fd77::1 [ff05::77]:PORT", "to the others");
    send("fd77::1 [fd77::1]:PORT", "the end");

    EXPECT_THAT(heard(sockets), IsEmpty());
    EXPECT_EQ(next(others[0]), "to the others from fd77::1");
}

TEST_F(OnTwoNetworks, AnIpv6GroupWithoutAnAddressIsHeardWhereItIsSent) {
    const auto sockets = receivers({"[ff02::77]:PORT"});

    send("[ff02::77]:PORT", "to the group");
    send("[ff02::77]:PORT", "the end");

    EXPECT_THAT(heard(sockets),
                ElementsAre("to the group from " + contact_towards("[ff02::77]:PORT")));
}

TEST_F(OnTwoNetworks, ALinkLocalAddressChoosesTheNetworkOfAGroup) {
    const auto sockets = receivers({"fe80::77:1 [ff02::77]:PORT"});

    send("fe80::77:0 [ff02::77]:PORT", "to one");
    send("fe80::77:1 [ff02::77]:PORT", "to the other");
    send("fe80::77:1 [ff02::77]:PORT", "the end");

    EXPECT_THAT(heard(sockets), ElementsAre("to the other from fe80::77:1"));
}

TEST_F(OnTwoNetworks, ALinkLocalAddressMayBeAnnouncedTo) {
    const auto sockets = receivers({"fe80::77:0 [fe80::1]:PORT"});
    ASSERT_THAT(addresses(sockets), ElementsAre("fe80::77:0"));

    send("fe80::77:0 [fe80::77:0]:PORT", "from link-local");
    send("fd77::1 [fe80::77:0]:PORT", "from everywhere");
    send("fe80::77:0 [fe80::77:0]:PORT", "the end");

    EXPECT_THAT(heard(sockets),
                ElementsAre("from link-local from fe80::77:0", "from everywhere from fd77::1"));
}

TEST_F(OnTwoNetworks, ALinkLocalAddressIsSoughtOnTheNetworkOfTheAddressToSendFrom) {
    const auto sender = open_sender(destination("fd77:1::1 [fe80::9]:PORT"));
    ASSERT_TRUE(sender) << sender.error().detail;

    std::uint32_t interface = 0;
    socklen_t size = sizeof interface;
    ASSERT_EQ(::getsockopt(sender->socket.get(), IPPROTO_IPV6, IPV6_UNICAST_IF, &interface, &size),
              0);

    EXPECT_EQ(ntohl(interface), ::if_nametoindex("net1"));
}

TEST_F(OnTwoNetworks, ALinkLocalAddressThatBothHaveIsRefused) {
    EXPECT_EQ(error_of("fe80::77 [ff02::77]:PORT"),
              "\"fe80::77 [ff02::77]:" + port() +
                  "\": both net0 and net1 have the address fe80::77; expected one that only one of "
                  "this server's interfaces has");
}

TEST_F(OnTwoNetworks, AnAddressThatIsNotThisServersIsAnsweredWithThoseThatAre) {
    EXPECT_EQ(error_of("10.77.0.9 239.77.0.1:PORT"),
              "\"10.77.0.9 239.77.0.1:" + port() +
                  "\": 10.77.0.9 is no address of this server; expected one of: 10.77.0.1, "
                  "10.77.1.1");
    EXPECT_THAT(error_of("fd77::9 [ff02::77]:PORT"),
                HasSubstr("expected one of: fd77::1, fd77:1::1"));
    EXPECT_THAT(error_of("fe80::9 [ff02::77]:PORT"), HasSubstr("fe80::77:1"));
    EXPECT_THAT(error_of("fd77::9 [fd77::2]:PORT"), HasSubstr("is no address of this server"));
    EXPECT_THAT(error_of("fe80::9 [fe80::2]:PORT"), HasSubstr("is no address of this server"));
    EXPECT_THAT(error_of("10.77.1.127 10.77.1.127:PORT"),
                HasSubstr("10.77.1.127 is no address of this server"));
}

TEST_F(OnTwoNetworks, ABroadcastAddressNeedNotEndIn255) {
    const auto sockets = receivers({"10.77.1.127:PORT", "10.77.0.255:PORT"});
    ASSERT_THAT(addresses(sockets), ElementsAre("10.77.1.127", "10.77.0.255"));

    send("10.77.1.1 10.77.1.127:PORT", "to all");
    send("10.77.1.1 10.77.1.127:PORT", "the end");
    send("10.77.0.255:PORT", "the end");

    EXPECT_THAT(heard(sockets), ElementsAre("to all from 10.77.1.1"));
}

TEST_F(OnTwoNetworks, AddressesThatAServerMayGetLaterAreNoReasonToListenElsewhere) {
    std::ofstream{"/proc/sys/net/ipv4/ip_nonlocal_bind"} << 1;

    EXPECT_THAT(addresses(receivers({"10.77.0.2:PORT", "10.77.0.3:PORT"})), ElementsAre("0.0.0.0"));
}

TEST_F(OnTwoNetworks, TheContactIsOneThatPeersCanConnectTo) {
    EXPECT_EQ(contact_towards("fe80::77:0 [ff02::77]:PORT"), "fd77::1");
    EXPECT_EQ(contact_towards("fe80::77:1 [ff02::77]:PORT"), "fd77:1::1");
    EXPECT_EQ(contact_towards("fe80::77:1 [fe80::1]:PORT"), "fd77:1::1");
    EXPECT_EQ(contact_towards("fd77::1 [ff02::77]:PORT"), "fd77::1");
    EXPECT_EQ(contact_towards("[fd77:1::9]:PORT"), "fd77:1::1");
    EXPECT_EQ(contact_towards("10.77.1.9:PORT"), "10.77.1.1");
}

TEST_F(OnTwoNetworks, TheContactIsNoTemporaryAddress) {
    std::ofstream{"/proc/sys/net/ipv6/conf/net2/use_tempaddr"} << 2;
    std::ofstream{"/proc/sys/net/ipv6/conf/net2/accept_dad"} << 0;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): tests run one after another
    ASSERT_EQ(std::system("ip addr add fd77:2::1/64 dev net2 mngtmpaddr nodad; "
                          "ip addr show dev net2 | grep -q temporary"),
              0);

    EXPECT_EQ(contact_towards("[fd77:2::9]:PORT"), "fd77:2::1");
    EXPECT_EQ(contact_towards("fe80::77:2 [ff02::77]:PORT"), "fd77:2::1");
}

TEST_F(OnTwoNetworks, TheContactCannotBeLinkLocal) {
    EXPECT_EQ(contact_towards("fe80::77:2 [ff02::77]:PORT"),
              "MulticastStats \"fe80::77:2 [ff02::77]:" + port() +
                  "\": peers cannot connect to fe80::77:2, and there is no other address on its "
                  "interface; expected BackhandSelf ip[:port]");
}

TEST_F(OnTwoNetworks, ThereIsNoContactWhereNoRouteLeads) {
    EXPECT_EQ(contact_towards("239.77.0.1:PORT"),
              "MulticastStats \"239.77.0.1:" + port() +
                  "\": no route to 239.77.0.1: Network is unreachable; expected an address of this "
                  "server before the destination");
}

TEST_F(OnTwoNetworks, AGroupWithoutAnAddressNeedsARoute) {
    const auto opened = open_receivers({destination("239.77.0.1:PORT")});

    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().detail,
              "\"239.77.0.1:" + port() +
                  "\": cannot join the group: No such device; expected an address of this server "
                  "before the destination");
}

// ---- errors ----

TEST_F(AnAddressToSendFrom, MustBeThisServers) {
    EXPECT_THAT(error_of("10.77.0.9 239.77.0.1:PORT,3"),
                StartsWith("\"10.77.0.9 239.77.0.1:" + port() +
                           ",3\": 10.77.0.9 is no address of this server; expected one"));
    EXPECT_THAT(error_of("10.77.0.9 10.77.0.2:PORT"), HasSubstr("is no address of this server"));
}

TEST_F(AnAddressToSendFrom, IsNoBroadcastAddress) {
    EXPECT_THAT(error_of("127.255.255.255 127.255.255.255:PORT"),
                HasSubstr("127.255.255.255 is no address of this server"));
}

TEST_F(AReceiver, SaysWhichPortItCannotHave) {
    const UniqueFd holder{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    const SocketAddress taken{Endpoint{*IpAddress::parse("127.0.1.1"), port_}};
    ASSERT_EQ(::bind(holder.get(), taken.get(), taken.size), 0);

    const auto opened = open_receivers({destination("127.0.1.1 127.0.1.2:PORT")});

    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().detail, "\"127.0.1.1 127.0.1.2:" + port() +
                                         "\": cannot listen on UDP 127.0.1.1:" + port() +
                                         ": Address already in use; expected a port that this "
                                         "server may have");
}

// ---- room ----

TEST_F(AReceiver, HasRoomForAThousandServersThatAnnounceAtOnce) {
    const auto sockets = receivers({"127.0.1.1 127.0.1.1:PORT"});
    const UniqueFd probe{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    if (::setsockopt(probe.get(), SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer_bytes,
                     sizeof receive_buffer_bytes) != 0) {
        GTEST_SKIP() << "only root may have more than net.core.rmem_max";
    }
    constexpr int servers = 1'000;
    const std::string longest(1'200, 'a');

    for (int server = 0; server < servers; ++server) {
        send("127.0.1.2 127.0.1.1:PORT", longest);
    }

    int count = 0;
    std::array<char, 1'300> buffer{};
    while (::recv(sockets[0].get(), buffer.data(), buffer.size(), 0) > 0) {
        ++count;
    }
    EXPECT_EQ(count, servers);
}

// ---- the contact ----

TEST_F(TheContact, IsTheAddressToSendFrom) {
    const auto contact = local_address_towards(destination("127.0.1.1 239.77.0.1:PORT"));

    ASSERT_TRUE(contact) << contact.error().detail;
    EXPECT_EQ(contact->to_string(), "127.0.1.1");
}

TEST_F(TheContact, IsFoundByRouting) {
    const auto contact = local_address_towards(destination("127.255.255.255:PORT"));

    ASSERT_TRUE(contact) << contact.error().detail;
    EXPECT_EQ(contact->to_string(), "127.0.0.1");
}

}  // namespace
}  // namespace backhand
