"""Servers that would only forward, under more load than they have workers, never wait for each other, and what no
peer has room for goes to the next one, then stays here."""

import pytest

import client
from client import new_token
from gates import Waiting
from hammer import ask_all
from httpd import FORWARD_ALWAYS, MPMS, Cluster
from processes import wait_until
from raw_peer import RETRY_ALWAYS

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


def workers_from_the_beginning(mpm, count):
    """So many, however many the other servers have; none is started or ended later."""
    if mpm == "prefork":
        return f"ServerLimit {count}\nMaxRequestWorkers {count}\nStartServers {count}\nMinSpareServers {count}"
    # All in one child: event accepts connections also in one whose threads are busy, whatever others could do.
    return f"ServerLimit 1\nThreadLimit {count}\nThreadsPerChild {count}\nMaxRequestWorkers {count}\nStartServers 1"


def wait_until_running(server, count):
    def running():
        seen = server.sees(server)
        return seen["workers_idle"] + seen["workers_busy"]

    wait_until(lambda: f"{count} workers run: {running()}", lambda: running() == count)


def wait_until_news_are_newer(server, peers):
    """Than all that the server has sent the peers."""
    wait_until(lambda: f"{server} hears of {peers}: {server.report()}",
               lambda: all(server.sees(peer)["sent_since"] == 0 for peer in peers))


class OneAfterAnother:
    """Requests that wait in a script, each begun when the one before it waits and the peers have told of it."""

    def __init__(self, server, peers, count):
        self._server = server
        self._waiting = {}
        for _ in range(count):
            token = new_token()
            wait_until_news_are_newer(server, peers)
            self._waiting[token] = Waiting(server, token, 1, fields=[f"X-Token: {token}"])

    def release(self):
        """The contacts of those that have answered the requests, "-" for the server itself."""
        assert [waiting.release() for waiting in self._waiting.values()] == [[200]] * len(self._waiting)
        return [self._server.logged(token)[0].peer for token in self._waiting]


SERVED_HERE_FOR_WANT_OF_A_PEER = ["served_here_no_candidate", "served_here_after_failure"]


def test_what_a_peer_has_no_worker_for_goes_to_the_next_and_then_stays_here(mpm):
    def lines(number):
        return f"{RETRY_ALWAYS}\n{workers_from_the_beginning(mpm, 16)}" if number == 1 else ""

    with Cluster(mpm, size=3, workers=WORKERS, server_lines=lines) as cluster:
        first = cluster.wait_until_complete().servers[0]
        wait_until_running(first, 16)
        peers = first.peers_in_order()
        before = first.counters()
        waiting = OneAfterAnother(first, peers, 12)
        # None waits for another: all have reached the script.
        assert [first.sees(peer)["in_flight"] for peer in peers] == [WORKERS - 1] * 2
        after = first.counters()

        assert waiting.release() == [peers[0].contact] * 3 + [peers[1].contact] * 3 + ["-"] * 6
        risen = {name: after[name] - before[name] for name in after}
        assert sum(risen[name] for name in SERVED_HERE_FOR_WANT_OF_A_PEER) == 6
        assert risen["served_here_limit_reached"] == 0
        # What a peer has sent back was counted at both, and left no trace there.
        assert risen["forward_declined"] == sum(peer.counters()["proxied_busy"] for peer in peers) > 0

        def logged():
            return [len(peer.log(path="/cgi/gate.cgi")) for peer in peers]

        wait_until(lambda: f"three are logged at each: {logged()}", lambda: logged() == [WORKERS - 1] * 2)


def test_half_of_the_workers_forward_at_a_time_to_all_peers_together(mpm):
    to_any = f"{FORWARD_ALWAYS}\nBackhand byRandom"
    with Cluster(mpm, size=3, workers=8, chain=to_any, server_lines=workers_from_the_beginning(mpm, 8)) as cluster:
        first = cluster.wait_until_complete().servers[0]
        wait_until_running(first, 8)
        peers = first.peers_in_order()
        before = first.counters()
        waiting = OneAfterAnother(first, peers, 7)
        assert sum(first.sees(peer)["in_flight"] for peer in peers) == 4
        assert first.counters()["served_here_limit_reached"] == before["served_here_limit_reached"] + 3

        answered_by = waiting.release()
        assert {peer.contact for peer in peers} >= set(answered_by[:4])
        assert answered_by[4:] == ["-"] * 3
        # And the next are forwarded again.
        again = OneAfterAnother(first, peers, 1)
        assert again.release() != ["-"]
        assert first.counters()["forwarded"] == before["forwarded"] + 5
