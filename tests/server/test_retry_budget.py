"""BackhandRetry: of the requests whose peers fail, so many are tried at another peer and no more.

The peers are raw sockets (raw_peer.py). What may be tried again is counted by the second of the machine's clock, the
one of this file too: what a test does must lie within one such second, and is done again until it does.
"""

import contextlib
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import Connection, request
from httpd import MPMS, Cluster
from processes import wait_until
from raw_peer import (BAD_GATEWAY, BODY, HERE, HERE_TOO, PASSED_ON, WELL, Counted, Exchange, RawPeer, asked,
                      exchanges_of, outcome, outcome_on, say, two_peers)
from test_bad_peers import MORE_PROCESSES, ends_at_second, send_in_turn
from test_command_line import MANY_WORKERS, PREFER_PEERS, announced

# The peer has got the request, and the client nothing; a connection of which some has come costs nobody any trust.
BROKEN_OFF = b"HTTP/1.1 200 OK\r\nContent-Le"

AGAIN, REFUSED, FAILED_HERE = "forward_tried_again", "forward_budget_spent", "served_here_after_failure"
RESET = "forward_reset"


class FailsOnce:
    """Fails a target's first request, wherever it comes to, and answers the next well."""

    def __init__(self):
        self._met = set()

    def __call__(self, exchange):
        first = exchange.target not in self._met
        self._met.add(exchange.target)
        (say(BROKEN_OFF, Exchange.end) if first else say(WELL))(exchange)


class FailTogether:
    """Fails the first `count` requests for a target once all of them are there, and any other at once."""

    def __init__(self, count):
        self.count = count
        self._lock = threading.Lock()
        self._waiting = {}

    def __call__(self, exchange):
        exchange.read_body()
        with self._lock:
            met, all_are_there = self._waiting.setdefault(exchange.target, ([], threading.Event()))
            met.append(exchange)
            if len(met) == self.count:
                all_are_there.set()
        all_are_there.wait(30)
        say(BROKEN_OFF, Exchange.end)(exchange)


TOGETHER = 10


@pytest.fixture(scope="module")
def behaviours():
    return {"fails": say(BROKEN_OFF, Exchange.end), "well": say(WELL), "once": FailsOnce(),
            "together": FailTogether(TOGETHER)}


_rounds = itertools.count()


def in_one_second(action, prepare=lambda query: None):
    """What action() returned, from a call of it that has begun and ended within a second of the clock.

    It gets a query that makes its targets new ones, and what prepare() has made in the second before.
    """
    def attempt():
        query = f"round={next(_rounds)}"
        prepared = prepare(query)
        before = int(time.monotonic())
        wait_until("a second begins", lambda: int(time.monotonic()) > before, pause_s=0.001)
        begun = int(time.monotonic())
        result = action(query) if prepared is None else action(query, prepared)
        return (result,) if int(time.monotonic()) == begun else None

    return wait_until("all is done within one second", attempt, limit_s=60, pause_s=0)[0]


def counted_in_one_second(server, action):
    """The same with what the server counts of it, which may be a moment later: (result, counts)."""
    result, counted = in_one_second(lambda query, counted: (action(query), counted), lambda _: Counted(server))
    return result, counted


# ---- a share of all ----


@pytest.mark.parametrize("mpm", MPMS)
@pytest.mark.parametrize("terms, tried", [
    # Of each five the fifth: then a fifth of what has been forwarded makes one more.
    ("20 0", [5, 10, 15, 20]),
    ("50 0", [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]),
    ("7 0", [15]),
    ("0 2", [1, 2]),
    # Three in any case, and of five one more.
    ("20 3", [1, 2, 3, 5, 10, 15, 20]),
    ("20", [1, 2, 3, 5, 10, 15, 20]),
    ("100 0", [*range(1, 21)]),
    ("0 0", []),
])
def test_as_many_are_tried_again_in_a_second_as_the_terms_allow(mpm, behaviours, terms, tried):
    with two_peers(mpm, behaviours, f"BackhandRetry {terms}") as (server, peers):
        def ask(query):
            return [outcome(server, f"/peer/fails?{number}&{query}", "GET") for number in range(1, 21)], query

        (results, query), counted = counted_in_one_second(server, ask)
        expected = {RESET: 20 + len(tried), AGAIN: len(tried), REFUSED: 20 - len(tried), FAILED_HERE: 20}

        assert results == [HERE] * 20
        counted.wait_for({name: count for name, count in expected.items() if count})
        assert [number for number in range(1, 21)
                if asked(peers, f"/peer/fails?{number}&{query}") == [1, 1]] == tried
        assert [number for number in range(1, 21)
                if asked(peers, f"/peer/fails?{number}&{query}") == [1, 0]] == sorted({*range(1, 21)} - {*tried})


@pytest.fixture(params=MPMS)
def busy(request, behaviours):
    """Returns such servers, of which the first has enough workers to forward many requests at once."""
    @contextlib.contextmanager
    def make(terms):
        lines = [terms] + ([MORE_PROCESSES] if request.param == "prefork" else [])
        with two_peers(request.param, behaviours, *lines, workers=64) as (server, peers), \
                ThreadPoolExecutor(TOGETHER) as pool:
            wait_until("there are enough workers", lambda: server.sees(server)["workers_idle"] > 2 * TOGETHER)
            yield server, peers, pool

    return make


def test_of_requests_that_fail_at_the_same_time_the_same_share_is_tried_again(busy):
    with busy("BackhandRetry 30 0") as (server, peers, pool):
        def ask(query):
            asking = [pool.submit(outcome, server, f"/peer/together?{query}", "GET") for _ in range(TOGETHER)]
            return [each.result() for each in asking], f"/peer/together?{query}"

        (results, target), counted = counted_in_one_second(server, ask)

        assert results == [HERE] * TOGETHER
        counted.wait_for({RESET: TOGETHER + 3, AGAIN: 3, REFUSED: TOGETHER - 3, FAILED_HERE: TOGETHER})
        assert len(exchanges_of(peers, target)) == TOGETHER + 3


def test_over_many_seconds_no_more_than_the_share_is_tried_again(busy):
    many = 200
    with busy("BackhandRetry 20 0") as (server, peers, pool):
        counted = Counted(server)
        results = list(pool.map(lambda _: outcome(server, "/peer/fails?many", "GET"), range(many)))
        wait_until("all are counted", lambda: counted.since().get(FAILED_HERE) == many, limit_s=10)
        since = counted.since()

        assert results == [HERE] * many
        assert 0 < since[AGAIN] <= many * 20 // 100
        assert since == {RESET: many + since[AGAIN], AGAIN: since[AGAIN], REFUSED: many - since[AGAIN],
                         FAILED_HERE: many}
        assert sum(asked(peers, "/peer/fails?many")) == since[RESET]


# ---- what counts, and what does not ----


def test_requests_that_succeed_make_room_for_those_that_fail(behaviours):
    with two_peers("event", behaviours, "BackhandRetry 20 0") as (server, _):
        def ask(query):
            well = [outcome(server, f"/peer/well?{query}", "GET") for _ in range(14)]
            return well, [outcome(server, f"/peer/once?{number}&{query}", "GET") for number in range(15, 22)]

        (well, results), counted = counted_in_one_second(server, ask)

        assert well == [PASSED_ON] * 14
        # Three of the first fifteen to nineteen, the fourth with the twentieth.
        assert results == [PASSED_ON] * 3 + [HERE] * 2 + [PASSED_ON, HERE]
        counted.wait_for({"forwarded": 18, RESET: 7, AGAIN: 4, REFUSED: 3, FAILED_HERE: 3})


def test_what_may_not_be_repeated_spends_nothing(behaviours):
    with two_peers("event", behaviours, "BackhandRetry 0 1") as (server, peers):
        def ask(query):
            return [outcome(server, f"/peer/once?{number}&{query}", method)
                    for number, method in enumerate(["POST", "POST", "GET", "GET", "POST"])]

        results, counted = counted_in_one_second(server, ask)

        assert results == [BAD_GATEWAY, BAD_GATEWAY, PASSED_ON, HERE, BAD_GATEWAY]
        counted.wait_for({"forwarded": 1, RESET: 5, AGAIN: 1, REFUSED: 1, FAILED_HERE: 1, "forward_answered_502": 3})


def test_what_a_peer_has_declined_is_tried_again_within_the_terms_too():
    declines = {"declines": say(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n"
                                b"Backhand-Declined: busy\r\n\r\nno", Exchange.end)}
    with two_peers("event", declines, "BackhandRetry 0 1") as (server, _):
        def ask(_):
            return [outcome(server, "/peer/declines", "POST") for _ in range(5)]

        results, counted = counted_in_one_second(server, ask)

        assert results == [HERE] * 5
        counted.wait_for({"forward_declined": 6, AGAIN: 1, REFUSED: 4, FAILED_HERE: 5})


def test_a_dead_connection_is_replaced_whatever_the_terms():
    with two_peers("event", {"closes": ends_at_second(Exchange.end)}, "BackhandRetry off") as (server, peers):
        counts = send_in_turn(server, peers, "/peer/closes", ["GET"] * 20)

        assert counts.pop("forward_stale_connection") > 0
        assert counts == {"forwarded": 20}


@contextlib.contextmanager
def three_peers(behaviours, *lines):
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Cluster("event", size=1, chain=PREFER_PEERS, site_lines=HERE_TOO,
                                              server_lines="\n".join(lines)))
        peers = [stack.enter_context(RawPeer(f"127.0.1.{number}", cluster.port, behaviours))
                 for number in (71, 72, 73)]
        for peer in peers:
            stack.enter_context(announced(cluster, peer, *MANY_WORKERS, state=cluster.folder / peer.address))
        yield cluster.servers[0], peers


@pytest.mark.parametrize("terms, asked_each", [
    ("100 0", [2] * 6),
    ("0 3", [3, 2, 1, 1, 1, 1]),
    ("50 1", [2, 2, 1, 2, 1, 2]),
    ("100 1000", [3] * 6),
    ("off", [1] * 6),
])
def test_the_third_peer_is_within_the_terms_too(behaviours, terms, asked_each):
    with three_peers(behaviours, f"BackhandRetry {terms}") as (server, peers):
        def ask(query):
            targets = [f"/peer/fails?{number}&{query}" for number in range(6)]
            return [outcome(server, target, "GET") for target in targets], targets

        (results, targets), counted = counted_in_one_second(server, ask)
        refused = sum(count < 3 for count in asked_each)
        expected = {RESET: sum(asked_each), AGAIN: sum(asked_each) - 6, REFUSED: refused, FAILED_HERE: 6}

        assert results == [HERE] * 6
        assert [len(exchanges_of(peers, target)) for target in targets] == asked_each
        counted.wait_for({name: count for name, count in expected.items() if count})


# ---- from one second to the next ----


def test_each_second_has_its_own(behaviours):
    with two_peers("event", behaviours, "BackhandRetry 0 2") as (server, peers):
        for _ in range(2):
            def ask(query):
                return [outcome(server, f"/peer/once?{number}&{query}", "GET") for number in range(4)]

            results, counted = counted_in_one_second(server, ask)
            assert results == [PASSED_ON, PASSED_ON, HERE, HERE]
            counted.wait_for({"forwarded": 2, RESET: 4, AGAIN: 2, REFUSED: 2, FAILED_HERE: 2})


def test_a_client_that_is_slow_to_send_its_body_gives_no_second_anything_more(behaviours):
    with two_peers("event", behaviours, "BackhandRetry 0 1") as (server, _), contextlib.ExitStack() as stack:
        def begin_slowly(query):
            slow = stack.enter_context(Connection(server.address, server.port))
            slow.send(request(f"/peer/well?{query}", f"Content-Length: {len(BODY)}", method="POST"))
            wait_until("it waits for its body", lambda: server.sees(server)["forwarding"] == 1)
            return slow

        def ask(query, slow):
            before = [outcome(server, f"/peer/once?{number}&{query}", "GET") for number in range(2)]
            slow.send(BODY)
            well = outcome_on(slow, "POST", BODY)
            return before, well, [outcome(server, f"/peer/once?{number}&{query}", "GET") for number in range(2, 4)]

        before, well, after = in_one_second(ask, begin_slowly)

        assert before == [PASSED_ON, HERE]
        assert well == PASSED_ON
        assert after == [HERE, HERE]
