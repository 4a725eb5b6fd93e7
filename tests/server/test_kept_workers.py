"""A connection of the event MPM on which forwarded requests follow closely keeps its worker; no other does."""

import os
import threading
import time

import pytest

from client import BrokenResponse, Connection, fetch, request
from hammer import ask_all
from httpd import FORWARD_ALWAYS, Cluster
from processes import wait_until

# Half of so many may wait for requests.
WORKERS = 8
# Ten times as long as a worker is kept.
PAUSE_S = 0.05


@pytest.fixture(scope="module", params=["prefork", "worker", "event"])
def cluster(request):
    with Cluster(request.param, size=2, chain=lambda number: FORWARD_ALWAYS if number == 1 else "Backhand off",
                 workers=WORKERS) as running:
        yield running.wait_until_complete()


@pytest.fixture(scope="module")
def event(cluster):
    if cluster.mpm != "event":
        pytest.skip("the other MPMs leave every connection its worker")
    return cluster


def ask(connection, times, pause_s=0.0):
    for _ in range(times):
        time.sleep(pause_s)
        connection.send(request())
        assert connection.response().status == 200


def kept(server):
    return server.counters()["worker_kept"]


def test_a_connection_whose_requests_follow_closely_keeps_its_worker_here_and_at_the_peer(event):
    before = [kept(server) for server in event.servers]

    with Connection(event.servers[0].address, event.port) as connection:
        def they_have_kept_some():
            ask(connection, 50)
            return all(kept(server) >= count + 20 for server, count in zip(event.servers, before))

        wait_until("requests follow so closely that workers are kept", they_have_kept_some)


def test_a_connection_whose_client_pauses_does_not(event):
    first = event.servers[0]
    before = kept(first)
    with Connection(first.address, event.port) as connection:
        ask(connection, 20, PAUSE_S)
    assert kept(first) == before


def test_a_connection_whose_requests_are_served_where_they_arrive_does_not(event):
    second = event.servers[1]
    counted = second.counters()
    with Connection(second.address, event.port) as connection:
        ask(connection, 100)
    assert kept(second) == counted["worker_kept"]


def test_with_the_other_mpms_nothing_is_done(cluster):
    if cluster.mpm == "event":
        pytest.skip("here something is")
    with Connection(cluster.servers[0].address, cluster.port) as connection:
        ask(connection, 50)
    assert [kept(server) for server in cluster.servers] == [0, 0]


class Busy:
    """A client that asks without a pause, on connections that it opens again when they are closed."""

    def __init__(self, server, port):
        self._address = (server.address, port)
        self._over = threading.Event()
        self.answered = 0
        self.opened = 0
        self.trouble = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            while not self._over.is_set():
                self.opened += 1
                with Connection(*self._address) as connection:
                    self._ask_until_it_is_closed(connection)
        except Exception as error:  # pylint: disable=broad-except
            self.trouble = error  # shown by whoever started it

    def _ask_until_it_is_closed(self, connection):
        asked = 0
        while not self._over.is_set():
            try:
                connection.send(request())
                response = connection.response()
            except (BrokenResponse, ConnectionError):
                # Between two requests a server may close; a new connection it must not.
                assert asked > 0
                return
            assert response.status == 200, response
            self.answered += 1
            asked += 1
            if response.field("Connection") == "close":
                return

    def stop(self):
        self._over.set()
        self._thread.join()
        assert self.trouble is None, self.trouble


def test_more_busy_connections_than_workers_leave_room_for_others(event):
    first = event.servers[0]
    busy = [Busy(first, event.port) for _ in range(3 * WORKERS)]
    try:
        wait_until("all are busy", lambda: all(client.answered > 10 for client in busy))
        for _ in range(20):
            assert fetch(first).status == 200
    finally:
        for client in busy:
            client.stop()


def test_a_busy_connection_does_not_hold_up_a_graceful_restart(event):
    first = event.servers[0]
    busy = [Busy(first, event.port) for _ in range(2)]
    try:
        wait_until("both are busy", lambda: all(client.answered > 100 for client in busy))
        old = first.serving_children()
        first.restart_gracefully()
        wait_until("the old children are gone", lambda: not any(os.path.exists(f"/proc/{pid}") for pid in old))
    finally:
        for client in busy:
            client.stop()
    assert all(client.opened > 1 for client in busy)


def test_pipelined_requests_on_a_busy_connection_are_answered_in_order(event):
    first = event.servers[0]
    with Connection(first.address, event.port) as connection:
        # Less than MaxKeepAliveRequests of them.
        ask(connection, 20)
        for _ in range(10):
            connection.send(b"".join(request(f"/small.html?{number}") for number in range(5)))
            assert [connection.response().status for _ in range(5)] == [200] * 5
        ask(connection, 20)


def test_a_client_that_closes_a_busy_connection_is_let_go(event):
    first = event.servers[0]
    for _ in range(20):
        with Connection(first.address, event.port) as connection:
            ask(connection, 5)
    assert ask_all([(first, "/small.html")] * 40, 8) == ["HTTP/1.1 200 OK"] * 40
