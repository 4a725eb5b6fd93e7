"""How many idle connections to peers are kept, in a child and in the moderator's pool, and what the pool takes.

Whatever runs as httpd's user can reach the pool's socket (docs/wire_format.md). Here the test does: it announces
members, connects to them, and hands these connections to the pool as children do, or others.
"""

import contextlib
import resource
import socket
import struct
import threading
from ipaddress import IPv6Address

import pytest

import wire
from client import Connection, request
from forgers import Announcer
from httpd import Cluster, free_ports
from processes import open_connections, wait_until
from raw_peer import two_peers

# kind, KeepAliveTimeout in ms, contact, how many to keep
MESSAGE = struct.Struct("=II16sHH")
TAKE, GIVE, LENT, NONE = 1, 2, 3, 4

# As docs/directives.md has it.
KEPT_PER_PEER, KEPT_ALTOGETHER = 32, 1024

MEMBERS = 33
STRANGER = "127.0.1.99"


def packed(kind, contact, keep=KEPT_PER_PEER, keepalive_ms=60_000):
    address, port = contact
    return MESSAGE.pack(kind, keepalive_ms, IPv6Address(f"::ffff:{address}").packed, port, keep)


class Pool:
    """A server's pool, as one of its children sees it."""

    def __init__(self, server):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(10)
        self._socket.connect(str(server.folder / "run" / "backhand" / "moderator.sock"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def give(self, contact, *descriptors, **terms):
        socket.send_fds(self._socket, [packed(GIVE, contact, **terms)], descriptors)

    def say(self, data):
        self._socket.send(data)

    def is_at_its_end(self):
        """True when the moderator has closed; waits for it."""
        return self._socket.recv(1) == b""

    def take(self, contact):
        """The connection that is lent, or None."""
        self._socket.send(packed(TAKE, contact))
        answer, descriptors, _, _ = socket.recv_fds(self._socket, MESSAGE.size, 1)
        kind = MESSAGE.unpack(answer)[0]
        assert kind == (LENT if descriptors else NONE)
        return socket.socket(fileno=descriptors[0]) if descriptors else None


class Members:
    """Servers that accept connections, and keep the ends of all."""

    def __init__(self):
        self.port, = free_ports(1)
        self.contacts = [(f"127.0.1.{number}", self.port) for number in range(101, 101 + MEMBERS)]
        self._listener = socket.create_server(("", self.port), backlog=2048)
        self._ends = {}
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._ends.values():
            end.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, forwarder = self._listener.accept()
                self._ends[connection.getsockname(), forwarder] = connection

    def reports(self):
        return [wire.report(f"member{number}", f"{address}:{port}", ["www.elsewhere.test"])
                for number, (address, port) in enumerate(self.contacts)]

    def end_of(self, name):
        """The member's end of the connection of this name."""
        return wait_until("it is accepted", lambda: self._ends.get(name))

    def has_been_closed(self, name):
        """Whether the server has closed that connection."""
        end = self.end_of(name)
        end.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            return end.recv(1) == b""
        return False


@pytest.fixture(scope="module")
def both():
    """A server, and members of its cluster that have nothing to do with the site."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Cluster("event", size=1) as cluster, Members() as members, \
            Announcer(cluster, members.reports(), key=None, source=members.contacts[0][0]):
        server, = cluster.servers
        wait_until("all are members", lambda: len(server.report()["servers"]) == 1 + MEMBERS)
        yield server, members
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(pool, contact, leading_to=None, **terms):
    """Gives the pool a new connection; returns its name."""
    with socket.create_connection(leading_to or contact) as connection:
        pool.give(contact, connection.fileno(), **terms)
        return name_of(connection)


def name_of(connection):
    """The addresses of both ends; several may have the same address here."""
    return connection.getpeername(), connection.getsockname()


def pooled(server):
    """How many are kept for each contact, those without any left out."""
    return {entry["contact"]: entry["pooled_connections"] for entry in server.report()["servers"]
            if entry["pooled_connections"]}


def text(contact):
    return "{}:{}".format(*contact)


def wait_until_pooled(server, count):
    wait_until(lambda: f"{count} are kept: {pooled(server)}", lambda: sum(pooled(server).values()) == count)


def take_all(pool, members):
    """Leaves the pool empty; returns the names of what it had, by contact."""
    names = {contact: [] for contact in members.contacts}
    for contact in members.contacts:
        while connection := pool.take(contact):
            with connection:
                names[contact].append(name_of(connection))
    return names


def test_the_pool_lends_each_connection_once_and_the_latest_first(both):
    server, members = both
    with Pool(server) as pool:
        names = [connect(pool, members.contacts[0]) for _ in range(3)]
        wait_until_pooled(server, 3)

        assert take_all(pool, members)[members.contacts[0]] == names[::-1]
        assert pool.take(members.contacts[1]) is None
        wait_until_pooled(server, 0)


def test_the_pool_lends_no_connection_on_which_the_member_has_spoken_or_closed(both):
    server, members = both
    with Pool(server) as pool:
        names = [connect(pool, members.contacts[0]) for _ in range(3)]
        members.end_of(names[1]).sendall(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        members.end_of(names[2]).close()

        assert take_all(pool, members)[members.contacts[0]] == names[:1]


def test_the_pool_closes_what_the_member_would_close_soon(both):
    server, members = both
    with Pool(server) as pool:
        lasting = connect(pool, members.contacts[0])
        short_lived = [connect(pool, contact, keepalive_ms=200) for contact in members.contacts[:2]]
        wait_until("they are closed", lambda: all(members.has_been_closed(name) for name in short_lived))

        assert not members.has_been_closed(lasting)
        assert take_all(pool, members)[members.contacts[0]] == [lasting]


@pytest.mark.parametrize("keep", [1, KEPT_PER_PEER])
def test_the_pool_keeps_no_more_of_a_member_than_it_is_told_and_closes_the_oldest(both, keep):
    server, members = both
    with Pool(server) as pool:
        names = [connect(pool, members.contacts[0], keep=keep) for _ in range(keep + 8)]
        wait_until_pooled(server, keep)
        wait_until("the oldest are closed", lambda: all(members.has_been_closed(name) for name in names[:8]))

        assert take_all(pool, members)[members.contacts[0]] == names[:7:-1]


def test_the_pool_keeps_a_bounded_number_of_connections_altogether(both):
    server, members = both
    with Pool(server) as pool:
        names = [connect(pool, contact) for contact in members.contacts for _ in range(KEPT_PER_PEER)]
        assert len(names) > KEPT_ALTOGETHER
        wait_until_pooled(server, KEPT_ALTOGETHER)
        wait_until("the others are closed",
                   lambda: all(members.has_been_closed(name) for name in names[KEPT_ALTOGETHER:]))

        assert set(pooled(server).values()) == {KEPT_PER_PEER}
        assert sum(map(len, take_all(pool, members).values())) == KEPT_ALTOGETHER
        wait_until_pooled(server, 0)


def test_the_pool_takes_only_what_leads_to_the_member_that_it_is_given_for(both):
    server, members = both
    before = server.counters()["connections_refused_by_pool"]
    one, other = members.contacts[:2]
    with Pool(server) as pool, socket.socket(socket.AF_UNIX) as no_tcp, socket.socket() as unconnected:
        refused = [connect(pool, one, leading_to=other), connect(pool, (STRANGER, members.port)),
                   connect(pool, one, leading_to=(STRANGER, members.port))]
        pool.give(one, no_tcp.fileno())
        pool.give(one, unconnected.fileno())
        pool.give(one)
        taken = connect(pool, one)

        wait_until_pooled(server, 1)
        assert server.counters()["connections_refused_by_pool"] == before + 6
        assert take_all(pool, members)[one] == [taken]
        assert all(members.has_been_closed(name) for name in refused)


def test_whoever_says_anything_else_to_the_pool_is_left_alone_and_others_are_heard(both):
    server, members = both
    with Pool(server) as pool:
        for nonsense in (b"", b"x", bytes(MESSAGE.size), packed(TAKE, members.contacts[0]) + b"x"):
            with Pool(server) as other:
                other.say(nonsense)
                assert other.is_at_its_end()
        connect(pool, members.contacts[0])
        wait_until_pooled(server, 1)
        assert len(take_all(pool, members)[members.contacts[0]]) == 1


# ---- what a child keeps ----

FORWARDS = 80
# Half of each peer's workers are this server's share: the other peer may forward to it, too.  A half of the share is the
# only child's.
PEERS_WORKERS = 50
KEPT_IN_A_CHILD = 2 * (PEERS_WORKERS // 2 // 2)
# One child, of whose threads half may forward.
ONE_CHILD = f"ThreadLimit {2 * FORWARDS}\nThreadsPerChild {2 * FORWARDS}\nStartServers 1\nServerLimit 1"


def test_a_child_keeps_a_bounded_number_of_connections_and_the_pool_has_the_rest():
    all_have_come, lock, come = threading.Event(), threading.Lock(), []

    def answer_when_all_have_come(exchange):
        with lock:
            come.append(exchange)
        if len(come) == FORWARDS:
            all_have_come.set()
        all_have_come.wait(30)
        exchange.answer()

    with two_peers("event", {"together": answer_when_all_have_come}, ONE_CHILD, workers=2 * FORWARDS,
                   announcing=("--workers", PEERS_WORKERS)) as (server, peers), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Connection(server.address, server.port)) for _ in range(FORWARDS)]
        for client in clients:
            client.send(request("/peer/together"))
        assert [client.response().body for client in clients] == [b"from the peer"] * FORWARDS
        wait_until("all are counted", lambda: server.counters()["forwarded"] == FORWARDS)

        def kept():
            return sum(open_connections(server.address, peer.address, peer.port) for peer in peers)

        def in_the_pool():
            return sum(pooled(server).values())

        wait_until(lambda: f"{kept()} are open, {in_the_pool()} of them in the pool",
                   lambda: kept() == KEPT_IN_A_CHILD + in_the_pool())
