// The depot of idle connections, the messages about it, and the child's side of both: over real
// sockets.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forward/connection_pool.h"
#include "forward/peer_connections.h"
#include "forward/peer_socket.h"
#include "forward/pool_protocol.h"
#include "table_fixture.h"
#include "temporary_folder.h"

namespace backhand {
namespace {

constexpr Nanoseconds second = std::chrono::seconds{1};
constexpr MonotonicTime now = 100'000'000'000;

// A listening socket on loopback: a peer that accepts and says nothing.
class Peer {
public:
    Peer() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const SocketAddress any{*Endpoint::parse("127.0.0.1:1")};
        sockaddr_storage address = any.storage;
        reinterpret_cast<sockaddr_in&>(address).sin_port = 0;
        socklen_t size = any.size;
        EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
        EXPECT_EQ(::listen(socket_.get(), 16), 0);
        ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size);
        contact_ = *Endpoint::from(address);
    }

    const Endpoint& contact() const { return contact_; }

    UniqueFd accept() const {
        return UniqueFd{::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    }

    UniqueFd connect() const {
        auto connected = connect_to(contact_, *IpAddress::parse("127.0.0.1"), second);
        EXPECT_TRUE(connected);
        return std::move(*connected);
    }

    void close() { socket_.reset(); }

private:
    UniqueFd socket_;
    Endpoint contact_;
};

constexpr ConnectionPool::Terms generous{.keepalive_timeout = 5 * second, .connections_max = 2};

TEST(ThePool, LendsTheConnectionThatWasUsedLast) {
    const Peer peer;
    ConnectionPool pool;
    UniqueFd first = peer.connect();
    UniqueFd second_one = peer.connect();
    const int newest = second_one.get();
    pool.give(peer.contact(), std::move(first), generous, now);
    pool.give(peer.contact(), std::move(second_one), generous, now);

    const auto lent = pool.take(peer.contact(), now);

    ASSERT_TRUE(lent);
    EXPECT_EQ(lent->get(), newest);
    EXPECT_EQ(pool.count(peer.contact()), 1U);
}

TEST(ThePool, NeverLendsAConnectionThatThePeerHasClosed) {
    const Peer peer;
    ConnectionPool pool;
    UniqueFd connection = peer.connect();
    UniqueFd accepted = peer.accept();
    pool.give(peer.contact(), std::move(connection), generous, now);

    accepted.reset();

    EXPECT_FALSE(pool.take(peer.contact(), now));
    EXPECT_EQ(pool.total(), 0U);
}

TEST(ThePool, NeverLendsAConnectionOnWhichThePeerHasSpoken) {
    const Peer peer;
    ConnectionPool pool;
    UniqueFd connection = peer.connect();
    const UniqueFd accepted = peer.accept();
    pool.give(peer.contact(), std::move(connection), generous, now);

    ASSERT_EQ(::send(accepted.get(), "x", 1, MSG_NOSIGNAL), 1);

    EXPECT_FALSE(pool.take(peer.contact(), now));
}

TEST(ThePool, StopsUsingAConnectionASecondBeforeThePeerClosesIt) {
    const Peer peer;
    ConnectionPool pool;
    pool.give(peer.contact(), peer.connect(), generous, now);
    pool.give(peer.contact(), peer.connect(), generous, now);

    EXPECT_TRUE(pool.take(peer.contact(), now + nanoseconds_in(4 * second) - 1));
    EXPECT_FALSE(pool.take(peer.contact(), now + nanoseconds_in(4 * second)));
}

TEST(ThePool, ClosesTheOldestConnectionWhenThereAreTooMany) {
    const Peer peer;
    ConnectionPool pool;
    for (int count = 0; count < 3; ++count) {
        pool.give(peer.contact(), peer.connect(), generous, now);
    }

    EXPECT_EQ(pool.count(peer.contact()), 2U);
    EXPECT_EQ(pool.total(), 2U);
}

TEST(ThePool, SweepsOutWhatIsDeadOrOld) {
    const Peer peer;
    ConnectionPool pool;
    UniqueFd dead = peer.connect();
    peer.accept().reset();
    pool.give(peer.contact(), peer.connect(), generous, now);
    pool.give(peer.contact(), std::move(dead), generous, now);

    pool.sweep(now);
    EXPECT_EQ(pool.total(), 1U);

    pool.sweep(now + nanoseconds_in(5 * second));
    EXPECT_EQ(pool.total(), 0U);
}

TEST(AConnectionAttempt, IsRefusedAtOnceWhenNobodyListens) {
    Peer peer;
    const Endpoint contact = peer.contact();
    peer.close();

    const auto connected = connect_to(contact, *IpAddress::parse("127.0.0.1"), second);

    ASSERT_FALSE(connected);
    EXPECT_EQ(connected.error().kind, Error::Kind::unavailable);
}

TEST(AConnection, ComesFromTheAddressPeersKnow) {
    const Peer peer;
    const auto connected = connect_to(peer.contact(), *IpAddress::parse("127.0.0.77"), second);
    ASSERT_TRUE(connected);

    sockaddr_storage address{};
    socklen_t size = sizeof address;
    const UniqueFd accepted = peer.accept();
    ::getpeername(accepted.get(), reinterpret_cast<sockaddr*>(&address), &size);

    EXPECT_EQ(IpAddress::from(address)->to_string(), "127.0.0.77");
}

TEST(AConnection, IsMadeEvenIfTheKnownAddressIsNotOurs) {
    const Peer peer;

    EXPECT_TRUE(connect_to(peer.contact(), *IpAddress::parse("192.0.2.1"), second));
}

TEST(Receiving, ReportsTheEndOfTheStreamAndTheLimit) {
    const Peer peer;
    const UniqueFd connection = peer.connect();
    UniqueFd accepted = peer.accept();
    std::array<char, 8> buffer{};

    const auto nothing = receive_some(connection.get(), buffer, std::chrono::milliseconds{10});
    ASSERT_FALSE(nothing);
    EXPECT_EQ(nothing.error().kind, Error::Kind::timed_out);

    accepted.reset();
    const auto end = receive_some(connection.get(), buffer, second);
    ASSERT_TRUE(end);
    EXPECT_EQ(*end, 0U);
}

class ASocketDirectory {
public:
    std::string socket_path() const { return pool_socket_path(folder_.path()); }

private:
    const TemporaryFolder folder_;
};

UniqueFd accept_child(const UniqueFd& listener) {
    return UniqueFd{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
}

TEST(APoolMessage, CarriesAConnectionToTheOtherProcess) {
    const ASocketDirectory directory;
    const auto listener = listen_for_children(directory.socket_path());
    ASSERT_TRUE(listener) << listener.error().detail;
    const auto child = connect_to_moderator(directory.socket_path());
    ASSERT_TRUE(child);
    const UniqueFd moderator = accept_child(*listener);
    const Peer peer;

    ASSERT_TRUE(send_message(child->get(),
                             {.kind = PoolMessage::Kind::give, .contact = peer.contact()},
                             peer.connect()));
    auto received = receive_message(moderator.get());

    ASSERT_TRUE(received);
    ASSERT_TRUE(*received);
    EXPECT_EQ((*received)->message.kind, PoolMessage::Kind::give);
    EXPECT_EQ((*received)->message.contact, peer.contact());
    EXPECT_TRUE(is_quiet((*received)->connection.get()));
}

TEST(APoolMessage, IsNothingWhenNothingWasSentAndAnErrorWhenTheOtherSideIsGone) {
    const ASocketDirectory directory;
    const auto listener = listen_for_children(directory.socket_path());
    ASSERT_TRUE(listener);
    auto child = connect_to_moderator(directory.socket_path());
    ASSERT_TRUE(child);
    const UniqueFd moderator = accept_child(*listener);

    const auto nothing = receive_message(moderator.get());
    ASSERT_TRUE(nothing);
    EXPECT_FALSE(*nothing);

    child->reset();
    EXPECT_FALSE(receive_message(moderator.get()));
}

TEST(APoolMessage, IsAnErrorWhenItHasAnotherSize) {
    const ASocketDirectory directory;
    const auto listener = listen_for_children(directory.socket_path());
    ASSERT_TRUE(listener);
    const auto child = connect_to_moderator(directory.socket_path());
    ASSERT_TRUE(child);
    const UniqueFd moderator = accept_child(*listener);

    ASSERT_EQ(::send(child->get(), "hello", 5, MSG_NOSIGNAL), 5);

    EXPECT_FALSE(receive_message(moderator.get()));
}

TEST(TheModeratorsSocket, IsTakenOverBySuccessorWithoutAGap) {
    const ASocketDirectory directory;
    const auto before = listen_for_children(directory.socket_path());
    ASSERT_TRUE(before);

    const auto after = listen_for_children(directory.socket_path());

    ASSERT_TRUE(after);
    ASSERT_TRUE(connect_to_moderator(directory.socket_path()));
    EXPECT_TRUE(accept_child(*after));
    EXPECT_FALSE(accept_child(*before));
}

TEST(TheModeratorsSocket, IsRefusedWhenItsPathIsTooLong) {
    EXPECT_FALSE(listen_for_children("/tmp/" + std::string(120, 'x')));
}

class PeerConnectionsTest : public ::testing::Test {
protected:
    PeerConnectionsTest() {
        view.slot_index = 1;
        view.load.contact = peer.contact();
        view.load.keepalive_timeout_ms = 5000;
        view.load.workers_max = 100;
    }

    Peer peer;
    ASocketDirectory directory;
    TableFixture table;
    ServerView view;
};

using AChildsConnections = PeerConnectionsTest;

TEST_F(AChildsConnections, AreOpenedFirstAndReusedThen) {
    PeerConnections connections{
        {.pool_socket_path = directory.socket_path(), .source = *IpAddress::parse("127.0.0.1")},
        *table};

    auto opened = connections.acquire(view, false);
    ASSERT_TRUE(opened);
    EXPECT_FALSE(opened->reused);
    connections.release(view, std::move(*opened));
    const auto again = connections.acquire(view, false);

    ASSERT_TRUE(again);
    EXPECT_TRUE(again->reused);
    EXPECT_EQ(table->counters().get(Counter::connections_opened), 1U);
    EXPECT_EQ(table->counters().get(Counter::connections_from_cache), 1U);
}

TEST_F(AChildsConnections, AreNewWhenTheRequestMayNotBeRepeated) {
    PeerConnections connections{
        {.pool_socket_path = directory.socket_path(), .source = *IpAddress::parse("127.0.0.1")},
        *table};
    auto opened = connections.acquire(view, false);
    ASSERT_TRUE(opened);
    connections.release(view, std::move(*opened));

    const auto fresh = connections.acquire(view, true);

    ASSERT_TRUE(fresh);
    EXPECT_FALSE(fresh->reused);
}

TEST_F(AChildsConnections, AreOpenedAnewWhenThePeerClosedTheCachedOne) {
    PeerConnections connections{
        {.pool_socket_path = directory.socket_path(), .source = *IpAddress::parse("127.0.0.1")},
        *table};
    auto opened = connections.acquire(view, false);
    ASSERT_TRUE(opened);
    peer.accept().reset();
    connections.release(view, std::move(*opened));

    const auto again = connections.acquire(view, false);

    ASSERT_TRUE(again);
    EXPECT_FALSE(again->reused);
}

TEST_F(AChildsConnections, AreClosedAfterEachRequestWithoutPooling) {
    PeerConnections connections{{.pool_socket_path = directory.socket_path(),
                                 .pooling = false,
                                 .source = *IpAddress::parse("127.0.0.1")},
                                *table};
    auto opened = connections.acquire(view, false);
    ASSERT_TRUE(opened);
    connections.release(view, std::move(*opened));

    const auto again = connections.acquire(view, false);

    ASSERT_TRUE(again);
    EXPECT_FALSE(again->reused);
}

TEST_F(AChildsConnections, GiveTheirSurplusToTheModerator) {
    const auto listener = listen_for_children(directory.socket_path());
    ASSERT_TRUE(listener);
    table->writer_alive(monotonic_now());
    PeerConnections connections{{.pool_socket_path = directory.socket_path(),
                                 .cached_per_peer_max = 1,
                                 .source = *IpAddress::parse("127.0.0.1")},
                                *table};
    auto first = connections.acquire(view, false);
    auto second_one = connections.acquire(view, false);
    ASSERT_TRUE(first && second_one);

    connections.release(view, std::move(*first));
    connections.release(view, std::move(*second_one));

    const UniqueFd moderator = accept_child(*listener);
    auto received = receive_message(moderator.get());
    ASSERT_TRUE(received && *received);
    EXPECT_EQ((*received)->message.contact, peer.contact());
    EXPECT_EQ((*received)->message.connections_max, 32);
    EXPECT_EQ(table->counters().get(Counter::connections_given_back), 1U);
}

TEST_F(AChildsConnections, AreNoMoreThanTheirShareOfThePeersWorkers) {
    view.load.workers_max = 12;
    for (const std::uint32_t children : {1U, 2U, 100U}) {
        PeerConnections connections{{.pool_socket_path = directory.socket_path(),
                                     .cached_per_peer_max = 64,
                                     .children_max = children,
                                     .source = *IpAddress::parse("127.0.0.1")},
                                    *table};
        std::vector<PeerConnection> opened;
        std::vector<UniqueFd> accepted;
        for (int count = 0; count < 10; ++count) {
            auto connection = connections.acquire(view, false);
            ASSERT_TRUE(connection);
            accepted.push_back(peer.accept());
            opened.push_back(std::move(*connection));
        }
        for (PeerConnection& connection : opened) {
            connections.release(view, std::move(connection));
        }
        std::uint32_t kept = 0;
        for (auto taken = connections.acquire(view, false); taken && taken->reused;
             taken = connections.acquire(view, false)) {
            ++kept;
        }
        peer.accept();
        EXPECT_EQ(kept, std::max(1U, 12 / 2 / children)) << children;
    }
}

TEST_F(AChildsConnections, AreKeptOnceIfTheyWereOpenedForRequestsThatNeedNewOnes) {
    PeerConnections connections{
        {.pool_socket_path = directory.socket_path(), .source = *IpAddress::parse("127.0.0.1")},
        *table};
    for (int count = 0; count < 3; ++count) {
        auto fresh = connections.acquire(view, true);
        ASSERT_TRUE(fresh);
        connections.release(view, std::move(*fresh));
    }

    EXPECT_TRUE(connections.acquire(view, false)->reused);
    EXPECT_FALSE(connections.acquire(view, false)->reused);
}

TEST_F(AChildsConnections, KeepNoneToAPeerWhoseWorkersTheyWouldHold) {
    const auto listener = listen_for_children(directory.socket_path());
    ASSERT_TRUE(listener);
    table->writer_alive(monotonic_now());
    view.load.flags |= ServerFlag::connection_holds_worker;
    PeerConnections connections{
        {.pool_socket_path = directory.socket_path(), .source = *IpAddress::parse("127.0.0.1")},
        *table};
    auto opened = connections.acquire(view, false);
    ASSERT_TRUE(opened);

    connections.release(view, std::move(*opened));

    const UniqueFd moderator = accept_child(*listener);
    auto received = receive_message(moderator.get());
    ASSERT_TRUE(received && *received);
    EXPECT_EQ((*received)->message.connections_max, 1);
}

class AConnectionOnALookout : public PeerConnectionsTest {
protected:
    AConnectionOnALookout()
        : connections({.pool_socket_path = directory.socket_path(),
                       .source = *IpAddress::parse("127.0.0.1")},
                      *table) {
        put_back(take());
    }

    PeerConnection take() {
        auto connection = connections.acquire(view, false);
        EXPECT_TRUE(connection);
        if (!connection->reused) {
            peers_ends.push_back(peer.accept());
        }
        return std::move(*connection);
    }

    void put_back(PeerConnection connection) { connections.release(view, std::move(connection)); }

    PeerConnections connections;
    std::vector<UniqueFd> peers_ends;
};

TEST_F(AConnectionOnALookout, IsTheOneThatWasReleasedLast) {
    PeerConnection first = take();
    PeerConnection second_one = take();
    const int last = first.socket.get();
    const int before = second_one.socket.get();
    put_back(std::move(second_one));
    put_back(std::move(first));

    EXPECT_EQ(connections.begin_lookout().socket, last);
    EXPECT_EQ(connections.begin_lookout().socket, before);
    EXPECT_EQ(connections.begin_lookout().socket, -1);
}

TEST_F(AConnectionOnALookout, IsUsedNextWhenThatEnds) {
    PeerConnection other = take();
    put_back(take());
    const auto lookout = connections.begin_lookout();
    put_back(std::move(other));

    connections.end_lookout(lookout, true);

    EXPECT_EQ(take().socket.get(), lookout.socket);
}

TEST_F(AConnectionOnALookout, NeedNotBeLookedAtAgainForAMoment) {
    const auto used_though_the_peer_has_spoken = [this] {
        const auto lookout = connections.begin_lookout();
        connections.end_lookout(lookout, true);
        // What no peer does so soon.  Only a request that did not look does not notice.
        EXPECT_EQ(::send(peers_ends.back().get(), "x", 1, MSG_NOSIGNAL), 1);
        PeerConnection taken = take();
        const bool reused = taken.reused;
        if (!reused) {
            put_back(std::move(taken));
        }
        return reused;
    };
    int attempts = 1;
    // The moment may pass in between, on a busy machine.
    while (!used_though_the_peer_has_spoken()) {
        ASSERT_LT(++attempts, 1000);
    }
}

TEST_F(AConnectionOnALookout, IsLookedAtAgainWhenTheMomentIsOver) {
    connections.end_lookout(connections.begin_lookout(), true);
    peers_ends.clear();
    std::this_thread::sleep_for(Milliseconds{2});

    EXPECT_FALSE(take().reused);
}

TEST_F(AConnectionOnALookout, IsClosedWhenItWasNotQuiet) {
    const auto lookout = connections.begin_lookout();

    connections.end_lookout(lookout, false);

    char byte = 0;
    EXPECT_EQ(::recv(peers_ends.back().get(), &byte, 1, 0), 0);
    EXPECT_FALSE(take().reused);
}

TEST_F(AConnectionOnALookout, IsTakenOnlyWhenNoOtherIsThere) {
    PeerConnection first = take();
    put_back(take());
    const auto lookout = connections.begin_lookout();
    const int other = first.socket.get();
    put_back(std::move(first));

    const PeerConnection taken = take();
    const PeerConnection taken_from_the_lookout = take();

    EXPECT_EQ(taken.socket.get(), other);
    EXPECT_EQ(taken_from_the_lookout.socket.get(), lookout.socket);
}

TEST_F(AConnectionOnALookout, IsNoneOfItsBusinessOnceTaken) {
    const auto lookout = connections.begin_lookout();
    put_back(take());

    connections.end_lookout(lookout, false);

    EXPECT_TRUE(take().reused);
}

TEST_F(AConnectionOnALookout, LeavesNoneForAWhileOnceTaken) {
    const auto another_at_once = [this] {
        connections.begin_lookout();
        put_back(take());
        return connections.begin_lookout().socket >= 0;
    };
    int attempts = 1;
    // The while may pass in between, on a busy machine.
    while (another_at_once()) {
        ASSERT_LT(++attempts, 1000);
    }

    for (attempts = 1; connections.begin_lookout().socket < 0; ++attempts) {
        ASSERT_LT(attempts, 1000);
        std::this_thread::sleep_for(Milliseconds{1});
    }
}

TEST_F(AChildsConnections, AreOpenedDirectlyWhenTheModeratorIsDead) {
    table->set_pooled_connections(1, 5);
    PeerConnections connections{
        {.pool_socket_path = directory.socket_path(), .source = *IpAddress::parse("127.0.0.1")},
        *table};

    const auto opened = connections.acquire(view, false);

    ASSERT_TRUE(opened);
    EXPECT_FALSE(opened->reused);
}

TEST_F(AChildsConnections, AreOpenedDirectlyWhenTheModeratorDoesNotAnswer) {
    const auto listener = listen_for_children(directory.socket_path());
    ASSERT_TRUE(listener);
    table->writer_alive(monotonic_now());
    table->set_pooled_connections(1, 5);
    PeerConnections connections{
        {.pool_socket_path = directory.socket_path(), .source = *IpAddress::parse("127.0.0.1")},
        *table};

    const auto opened = connections.acquire(view, false);

    ASSERT_TRUE(opened);
    EXPECT_FALSE(opened->reused);
}

}  // namespace
}  // namespace backhand
