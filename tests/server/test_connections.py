"""Connections between servers are few and used again, whatever the clients do with theirs.

How many there are is asked of the kernel, which remembers closed ones for a minute.
"""

import signal
import time

import pytest

from client import Connection, chunked, fetch, request
from hammer import ask_all
from httpd import MPMS, Cluster
from processes import connections_from, open_connections, signal_each, wait_until

# Of a hundred requests one after the other at most so many may have needed a new connection:
# each forwarding process may have one of its own.
NEW_CONNECTIONS_MAX = 30
# And for each that a request had to open, the moderator may open another.
OPENED_MAX = 2 * NEW_CONNECTIONS_MAX


@pytest.fixture(scope="module", params=MPMS)
def cluster(request):
    with Cluster(request.param, size=2) as running:
        yield running.wait_until_complete()


class Opened:
    """Connections that the first server has opened to the second since this was made."""

    def __init__(self, cluster):
        self._first, self._second = cluster.servers
        self._before = self._now()

    def _now(self):
        return connections_from(self._first.address, self._second.address, self._second.port)

    def count(self):
        return len(self._now() - self._before)


REUSED = ["connections_from_cache", "connections_from_pool"]


def test_a_hundred_requests_of_closing_clients_share_a_few_connections(cluster):
    first = cluster.servers[0]
    before, opened = first.counters(), Opened(cluster)
    for _ in range(100):
        assert fetch(first).status == 200
    after = first.counters()

    assert after["forwarded"] == before["forwarded"] + 100
    assert opened.count() <= OPENED_MAX
    assert sum(after[name] - before[name] for name in REUSED) >= 100 - NEW_CONNECTIONS_MAX


def test_every_forward_has_its_connection_from_somewhere(cluster):
    first = cluster.servers[0]
    before = first.counters()
    for _ in range(50):
        assert fetch(first).status == 200
    after = first.counters()
    taken = {name: after[name] - before[name] for name in [*REUSED, "connections_opened"]}

    assert sum(taken.values()) - (after["forward_stale_connection"] - before["forward_stale_connection"]) == 50, taken


def test_connections_are_given_back_to_the_moderator_and_taken_from_it(cluster):
    if cluster.mpm == "event":
        pytest.skip("a child of event keeps as many connections as it has threads, and has nothing to give back")
    first = cluster.servers[0]
    before = first.counters()

    def both_have_happened():
        # Alternately many at a time, which needs many connections, and one at a time, which does not.
        assert set(ask_all([(first, "/cgi/slow.cgi")] * 24, 8)) == {"HTTP/1.1 200 OK"}
        for _ in range(8):
            assert fetch(first).status == 200
        time.sleep(0.2)
        now = first.counters()
        return (now["connections_given_back"] > before["connections_given_back"]
                and now["connections_from_pool"] > before["connections_from_pool"])

    wait_until(lambda: f"connections are given back and taken: {first.counters()}", both_have_happened)


def test_requests_of_every_kind_follow_each_other_on_peer_connections(cluster):
    first = cluster.servers[0]
    small = (cluster.site / "htdocs" / "small.html").read_bytes()
    for number in range(25):
        body = b"%d " % number * 2000
        assert fetch(first).body == small
        assert fetch(first, method="HEAD").status == 200
        assert fetch(first, "/small.html", "If-Modified-Since: Thu, 02 Jan 2020 00:00:00 GMT").status == 304
        assert fetch(first, "/cgi/echo.cgi", method="POST", body=body).body == body
        assert fetch(first, "/cgi/status.cgi?204+No+Content").status == 204
        assert fetch(first, "/nothing.html").status == 404
        echoed = fetch(first, "/cgi/echo.cgi", "Transfer-Encoding: chunked", method="POST", body=chunked(body, body))
        assert echoed.body == body + body


def test_a_client_that_leaves_in_the_middle_of_a_response_spoils_no_connection(cluster):
    first = cluster.servers[0]
    small = (cluster.site / "htdocs" / "small.html").read_bytes()
    for _ in range(10):
        with Connection(first.address, first.port) as connection:
            connection.send(request("/large.bin"))
            connection.read_some(b"HTTP/1.1 200 OK")
        for _ in range(5):
            assert fetch(first).body == small


def test_a_client_that_leaves_in_the_middle_of_its_body_spoils_no_connection(cluster):
    first = cluster.servers[0]
    small = (cluster.site / "htdocs" / "small.html").read_bytes()
    for _ in range(10):
        with Connection(first.address, first.port) as connection:
            connection.send(request("/cgi/echo.cgi", "Content-Length: 100000", method="POST", body=b"x" * 50_000))
        for _ in range(5):
            assert fetch(first).body == small


def test_a_keep_alive_client_and_closing_clients_get_their_own_answers(cluster):
    first = cluster.servers[0]
    with Connection(first.address, first.port) as kept:
        for number in range(20):
            kept.send(request("/cgi/echo.cgi", method="POST", body=b"kept %d" % number))
            assert fetch(first, "/cgi/echo.cgi", method="POST", body=b"single").body == b"single"
            assert kept.response("POST").body == b"kept %d" % number


@pytest.mark.parametrize("mpm", MPMS)
def test_forwarded_requests_do_not_use_up_the_keep_alive_limit_for_clients(mpm):
    with Cluster(mpm, size=2, server_lines="MaxKeepAliveRequests 2") as cluster:
        first = cluster.servers[0]
        cluster.wait_until_complete()
        opened = Opened(cluster)
        for _ in range(100):
            assert fetch(first).status == 200

        assert opened.count() <= OPENED_MAX


def test_connections_that_the_peer_may_close_at_any_moment_cost_no_request():
    with Cluster("event", size=2, server_lines="KeepAliveTimeout 2") as cluster:
        first = cluster.servers[0]
        cluster.wait_until_complete()
        for gap_s in (0.8, 0.95, 1.0, 1.05, 1.9, 1.97, 2.0, 2.03):
            assert fetch(first).status == 200
            assert fetch(first, "/cgi/echo.cgi", method="POST", body=b"once").body == b"once"
            time.sleep(gap_s)
        assert fetch(first).status == 200


def test_a_peer_that_keeps_no_connections_is_forwarded_to_all_the_same():
    with Cluster("event", size=2, server_lines=lambda number: "KeepAlive Off" if number == 2 else "") as cluster:
        first = cluster.servers[0]
        cluster.wait_until_complete()
        before = first.counters()["forwarded"]
        for number in range(20):
            body = b"body %d" % number
            assert fetch(first).status == 200
            assert fetch(first, "/cgi/echo.cgi", method="POST", body=body).body == body

        assert first.counters()["forwarded"] == before + 40


def test_a_moderator_that_stands_still_keeps_no_request(cluster):
    first, second = cluster.servers
    assert ask_all([(first, "/small.html")] * 24, 8) == ["HTTP/1.1 200 OK"] * 24
    moderator = first.moderator()
    signal_each([moderator], signal.SIGSTOP)
    before = first.counters()
    answers = ask_all([(first, "/small.html")] * 24, 8)
    after = first.counters()
    signal_each([moderator], signal.SIGCONT)

    assert answers == ["HTTP/1.1 200 OK"] * 24
    assert after["forwarded"] > before["forwarded"]
    wait_until("it goes on", lambda: first.sees(second)["state"] == "ok")


@pytest.mark.parametrize("mpm", MPMS)
def test_without_pools_every_request_has_a_connection_of_its_own(mpm):
    with Cluster(mpm, server_lines="BackhandConnectionPools Off") as cluster:
        first, second = cluster.wait_until_complete().servers
        opened = Opened(cluster)
        for _ in range(20):
            assert fetch(first).status == 200

        wait_until("all are counted", lambda: first.counters()["forwarded"] == 20)
        counters = first.counters()
        assert (opened.count(), counters["connections_opened"]) == (20, 20)
        assert [counters[name] for name in [*REUSED, "connections_opened_ahead", "connections_given_back"]] == [0] * 4
        wait_until("none is kept", lambda: open_connections(first.address, second.address, second.port) == 0)


@pytest.mark.parametrize("mpm", ["prefork", "worker"])
def test_idle_connections_hold_at_most_one_worker_of_a_peer_whose_connections_hold_workers(mpm):
    with Cluster(mpm) as cluster:
        first, second = cluster.wait_until_complete().servers
        results = ask_all([(first, "/small.html", "X-Token: many")] * 200, 6)
        assert results == ["HTTP/1.1 200 OK"] * 200
        assert first.counters()["forwarded"] > 100

        wait_until("no more than one is left",
                   lambda: open_connections(first.address, second.address, second.port) <= 1, limit_s=4)


@pytest.mark.parametrize("mpm", MPMS)
def test_a_connection_is_opened_ahead_of_need_unless_it_would_hold_a_worker(mpm):
    with Cluster(mpm) as cluster:
        first, second = cluster.wait_until_complete().servers
        looked_at = first.sees(first)["measurement"]
        assert fetch(first).status == 200
        assert first.counters()["connections_opened"] == 1

        if mpm == "event":
            wait_until("one more is opened", lambda: first.counters()["connections_opened_ahead"] == 1)
            assert first.sees(second)["pooled_connections"] == 1
        else:
            wait_until("the moderator has looked", lambda: first.sees(first)["measurement"] > looked_at + 20)
            assert first.counters()["connections_opened_ahead"] == 0
