"""Servers that would only forward, under more load than they have workers, never wait for each other."""

import pytest

import client
from gates import Waiting
from hammer import ask_all
from httpd import MPMS, Cluster
from processes import wait_until

pytestmark = pytest.mark.parametrize("mpm", MPMS)

# Every request may need two of the eight workers, and four times as many clients as workers ask.
WORKERS = 4
CLIENTS = 32
REQUESTS = 400


@pytest.mark.parametrize("target", ["/small.html", "/cgi/slow.cgi"])
def test_two_servers_that_only_forward_answer_every_request(mpm, target):
    with Cluster(mpm, size=2, workers=WORKERS) as cluster:
        cluster.wait_until_complete()
        jobs = [(server, target, "X-Token: load") for server in cluster.servers for _ in range(REQUESTS // 2)]
        results = ask_all(jobs, CLIENTS)

        def lines():
            return [line for server in cluster.servers for line in server.log(token="load")]

        assert results == ["HTTP/1.1 200 OK"] * REQUESTS
        wait_until("every request is logged where it arrived and where it was served",
                   lambda: len([line for line in lines() if line.via == "-"]) >= REQUESTS
                   and len([line for line in lines() if line.peer == "-"]) >= REQUESTS)
        served = [line for line in lines() if line.peer == "-"]
        forwarded = [line for line in lines() if line.peer != "-"]
        assert len(served) == REQUESTS
        assert len(forwarded) == len([line for line in served if line.via != "-"])
        assert len(forwarded) > 0


def test_a_server_answers_while_all_workers_of_its_peer_wait(mpm):
    with Cluster(mpm, size=2, workers=WORKERS) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        # Half of these the second may forward to the first, which keeps the other half of its workers.
        waiting = Waiting(second, "full", WORKERS)
        wait_until(lambda: f"the first knows that the second is full: {first.sees(second)}",
                   lambda: first.sees(second)["workers_idle"] == 0)

        assert ask_all([(first, "/small.html")] * 20, 2) == ["HTTP/1.1 200 OK"] * 20
        assert waiting.release() == [200] * WORKERS


def test_at_most_half_of_the_workers_forward_at_a_time(mpm):
    with Cluster(mpm, size=3, workers=8) as cluster:
        first, _, observer = cluster.servers
        cluster.wait_until_complete()
        limit_reached = first.counters()["served_here_limit_reached"]
        waiting = Waiting(first, "limit", 7)

        def all_are_counted():
            entry = observer.sees(first)
            return entry if entry["serving"] + entry["forwarding"] == 7 else None

        seen = wait_until(lambda: f"7 are counted: {observer.sees(first)}", all_are_counted)
        assert waiting.release() == [200] * 7
        assert seen["forwarding"] <= 4
        assert first.counters()["served_here_limit_reached"] >= limit_reached + 3


def test_a_request_that_would_take_a_peers_last_worker_comes_back_and_leaves_no_trace_there(mpm):
    with Cluster(mpm, size=2, workers=WORKERS) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        waiting = Waiting(second, "nearly-full", WORKERS - 1)

        def one_is_left():
            seen = first.sees(second)
            return seen["serving"] + seen["forwarding"] == WORKERS - 1 and seen["workers_idle"] == 1

        wait_until(lambda: f"the first knows of one idle worker: {first.sees(second)}", one_is_left)
        before = first.counters()["forward_declined"]
        assert client.fetch(first, "/small.html", "X-Token: busy").status == 200
        assert first.counters()["forward_declined"] == before + 1
        assert second.counters()["proxied_busy"] == 1
        assert waiting.release() == [200] * (WORKERS - 1)

        assert [line.peer for line in first.logged("busy")] == ["-"]
        assert second.log("busy") == []
