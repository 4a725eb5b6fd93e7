// Datagrams are fetched many at a time, each as it was sent.
#include "announce/inbox.h"

#include <cstdint>
#include <string>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/address.h"
#include "loopback.h"

namespace backhand {
namespace {

struct AnInbox : testing::Test {
    void send(const std::string& content) const {
        const SocketAddress address{receiver.address};
        EXPECT_EQ(::sendto(sender.socket.get(), content.data(), content.size(), 0, address.get(),
                           address.size),
                  static_cast<ssize_t>(content.size()));
    }

    std::string content(std::size_t index) const {
        const auto bytes = inbox.datagram(index);
        return {bytes.begin(), bytes.end()};
    }

    std::size_t fetch() { return inbox.fetch(receiver.socket.get()); }

    BoundSocket receiver = bound_socket(SOCK_DGRAM);
    BoundSocket sender = bound_socket(SOCK_DGRAM, "127.0.0.2");
    DatagramInbox inbox;
};

TEST_F(AnInbox, IsEmptyWhenNothingHasArrived) {
    EXPECT_EQ(fetch(), 0U);
}

TEST_F(AnInbox, IsEmptyWithoutASocket) {
    EXPECT_EQ(inbox.fetch(-1), 0U);
}

TEST_F(AnInbox, HoldsEachDatagramAndWhoSentIt) {
    send("first");
    send("second");

    ASSERT_EQ(fetch(), 2U);

    EXPECT_EQ(content(0), "first");
    EXPECT_EQ(content(1), "second");
    EXPECT_EQ(Endpoint::from(inbox.sender(0)), sender.address);
    EXPECT_EQ(Endpoint::from(inbox.sender(1)), sender.address);
}

TEST_F(AnInbox, HoldsNothingOfWhatWasFetchedBefore) {
    send("a rather long one");
    fetch();
    send("short");

    ASSERT_EQ(fetch(), 1U);

    EXPECT_EQ(content(0), "short");
    EXPECT_EQ(fetch(), 0U);
}

TEST_F(AnInbox, HoldsADatagramOfNothing) {
    send("");

    ASSERT_EQ(fetch(), 1U);

    EXPECT_EQ(content(0), "");
}

TEST_F(AnInbox, IsFilledAgainAsLongAsThereIsMore) {
    for (std::size_t number = 0; number < DatagramInbox::size + 3; ++number) {
        send(std::to_string(number));
    }

    ASSERT_EQ(fetch(), DatagramInbox::size);
    EXPECT_EQ(content(0), "0");
    EXPECT_EQ(content(DatagramInbox::size - 1), std::to_string(DatagramInbox::size - 1));

    ASSERT_EQ(fetch(), 3U);
    EXPECT_EQ(content(0), std::to_string(DatagramInbox::size));
    EXPECT_EQ(content(2), std::to_string(DatagramInbox::size + 2));
}

TEST_F(AnInbox, ShowsThatADatagramIsLongerThanAnyGoodOne) {
    send(std::string(datagram_bytes_max, 'x'));
    send(std::string(datagram_bytes_max + 1, 'x'));
    send(std::string(9'000, 'x'));
    send("next");

    ASSERT_EQ(fetch(), 4U);

    EXPECT_EQ(inbox.datagram(0).size(), datagram_bytes_max);
    EXPECT_GT(inbox.datagram(1).size(), datagram_bytes_max);
    EXPECT_GT(inbox.datagram(2).size(), datagram_bytes_max);
    EXPECT_EQ(content(3), "next");
}

}  // namespace
}  // namespace backhand
