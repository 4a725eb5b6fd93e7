"""Servers, moderators and processes die or restart while requests run, and no client notices.

Each test has a cluster of its own. The clients open a connection for every request: what a server
does to idle keep-alive connections when it restarts is httpd's business.
"""

import os
import signal

import pytest

import client
from client import Connection, fetch, new_token, request
from gates import Gate
from hammer import Hammer
from httpd import MPMS, Cluster
from processes import is_running, signal_each, stat_fields, wait_until

# Requests that must end, well, after each event.
MANY = 200


@pytest.fixture(params=MPMS)
def mpm(request):
    return request.param


def pages(cluster):
    return {"/small.html": (cluster.site / "htdocs" / "small.html").read_bytes(),
            "/folder/": (cluster.site / "htdocs" / "folder" / "index.html").read_bytes()}


def test_no_client_notices_that_servers_die(mpm):
    with Cluster(mpm, size=3) as cluster:
        first = cluster.servers[0]
        cluster.wait_until_complete()
        second, third = first.peers_in_order()
        with Hammer([first], pages(cluster)) as clients:
            clients.wait_for(MANY)
            second.kill()
            clients.wait_for(MANY)
            third.kill()
            clients.wait_for(MANY)

        assert clients.failures == []
        assert len([line for line in first.log() if line.peer == second.contact]) > 0
        assert len([line for line in first.log() if line.peer == third.contact]) > 0
        assert first.log()[-1].peer == "-"


def test_a_refused_connection_leads_to_the_next_candidate_and_at_last_here(mpm):
    with Cluster(mpm, size=3) as cluster:
        first = cluster.servers[0]
        cluster.wait_until_complete()
        second, third = first.peers_in_order()
        peers = []
        for dead in (second, third):
            dead.kill()
            token = new_token()
            assert fetch(first, "/small.html", f"X-Token: {token}").status == 200
            peers.append(first.logged(token)[0].peer)

        assert peers == [third.contact, "-"]
        assert first.counters()["forward_connect_failed"] >= 1


def test_a_post_finds_its_way_when_the_first_candidate_refuses(mpm):
    with Cluster(mpm, size=3) as cluster:
        first = cluster.servers[0]
        cluster.wait_until_complete()
        first.peers_in_order()[0].kill()
        for _ in range(5):
            response = fetch(first, "/cgi/echo.cgi", method="POST", body=b"b" * 200_000)
            assert response.status == 200, response
            assert response.body == b"b" * 200_000


def test_no_client_notices_that_a_server_is_stopped(mpm):
    with Cluster(mpm, size=3) as cluster:
        first, second, third = cluster.servers
        cluster.wait_until_complete()
        with Hammer([first, third], pages(cluster)) as clients:
            clients.wait_for(MANY)
            second.stop()
            clients.wait_for(MANY)
        assert clients.failures == []

        def has_left(viewer):
            entry = viewer.sees(second)
            return entry is None or entry["leaving"] or entry["ejected"] or entry["age_ms"] > 3000

        for viewer in (first, third):
            wait_until(f"{viewer} knows that {second} has left", lambda viewer=viewer: has_left(viewer))


def test_a_server_that_comes_back_gets_requests_again(mpm):
    with Cluster(mpm, size=2) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        second.kill()
        assert fetch(first).status == 200

        second.start()

        def is_forwarded_to():
            token = new_token()
            assert fetch(first, "/small.html", f"X-Token: {token}").status == 200
            return first.logged(token)[0].peer == second.contact

        wait_until("requests go to the returned server", is_forwarded_to, limit_s=60)


def test_requests_are_answered_while_no_moderator_runs(mpm):
    with Cluster(mpm, size=2) as cluster:
        first, _ = cluster.servers
        cluster.wait_until_complete()
        moderator = first.moderator()
        # A moderator that stands still is worse than a dead one: nobody brings it back.
        os.kill(moderator, signal.SIGSTOP)
        try:
            with Hammer([first], pages(cluster)) as clients:
                clients.wait_for(MANY)
        finally:
            os.kill(moderator, signal.SIGCONT)

        assert clients.failures == []
        assert is_running(moderator)


def test_a_get_that_waits_at_a_dying_server_is_asked_again_elsewhere(mpm):
    with Cluster(mpm, size=2) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        gate = Gate(cluster, "repeated")
        with Connection(first.address, first.port) as connection:
            connection.send(request(gate.target))
            gate.wait_until_reached()
            second.kill()
            gate.wait_until_reached(runs=2)
            gate.open()
            response = connection.response()

        assert response.status == 200
        assert response.body == b"after the gate\n"


def test_a_post_that_waits_at_a_dying_server_is_never_done_twice(mpm):
    with Cluster(mpm, size=2) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        gate = Gate(cluster, "not-repeated")
        with Connection(first.address, first.port) as connection:
            connection.send(request(gate.target, "Connection: close", method="POST", body=b"pay once"))
            gate.wait_until_reached()
            second.kill()
            response = connection.response("POST")
        gate.open()

        assert response.status in (502, 503, 504)
        assert gate.runs() == 1


def test_a_response_that_breaks_off_never_looks_whole(mpm):
    with Cluster(mpm, size=2) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        gate = Gate(cluster, "half-broken")
        with Connection(first.address, first.port, limit_s=15) as connection:
            connection.send(request(gate.target))
            gate.wait_until_reached()
            connection.read_some(b"before the gate")
            second.kill()

            with pytest.raises((client.BrokenResponse, ConnectionResetError)):
                connection.read_some(b"0\r\n")


def test_a_server_alone_in_the_world_serves_everything_itself(mpm):
    with Cluster(mpm, size=1) as cluster:
        first = cluster.servers[0]
        for _ in range(20):
            token = new_token()
            assert fetch(first, "/small.html", f"X-Token: {token}").status == 200
            assert first.logged(token)[0].peer == "-"


def short_of_patience(number):
    """The first server waits two seconds for a peer, the others long for their scripts."""
    return "Timeout 2" if number == 1 else ""


def test_requests_that_time_out_at_a_peer_do_not_turn_others_away_from_it():
    with Cluster("event", size=2, server_lines=short_of_patience) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        timed_out = first.counters()["forward_timed_out"]
        gate = Gate(cluster, "slow")
        connections = [Connection(first.address, first.port) for _ in range(5)]
        for connection in connections:
            connection.send(request(gate.target, "Connection: close", method="POST", body=b"slow"))
        statuses = [connection.response("POST").status for connection in connections]
        token = new_token()
        quick = fetch(first, "/small.html", f"X-Token: {token}")
        gate.open()
        for connection in connections:
            connection.close()

        assert statuses == [504] * 5
        assert gate.runs() == 5
        assert first.counters()["forward_timed_out"] == timed_out + 5
        assert quick.status == 200
        assert first.logged(token)[0].peer == second.contact
        assert not first.sees(second)["ejected"]


def test_a_get_whose_peer_stands_still_is_answered_here():
    with Cluster("event", size=2, server_lines=short_of_patience) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        wait_until("all workers of the peer run", lambda: first.sees(second)["workers_idle"] == cluster.workers)
        stopped = second.workers()
        signal_each(stopped, signal.SIGSTOP)
        try:
            wait_until("they stand still", lambda: all(stat_fields(pid)[0] == "T" for pid in stopped))
            token = new_token()
            response = fetch(first, "/small.html", f"X-Token: {token}", limit_s=15)
        finally:
            signal_each(stopped, signal.SIGCONT)

        assert response.status == 200
        assert response.body == pages(cluster)["/small.html"]
        assert first.logged(token)[0].peer == "-"
        assert first.counters()["forward_timed_out"] == 1
