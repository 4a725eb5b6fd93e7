"""Peers that misbehave in every way: what the client gets, what is counted, and what becomes of the connection.

The peers are raw sockets (raw_peer.py), two of them that do the same. What should happen is the table in
docs/requests.md; whether a request was repeated shows in how many peers it came to.
"""

import contextlib
import re
import threading
import time
from collections import Counter, namedtuple
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import Connection, request
from httpd import MPMS
from processes import wait_until
from raw_peer import (BAD_GATEWAY, BODY, CONTINUE, CUT, HERE, HERE_TOO, PASSED_ON, RETRY_ALWAYS, TIMED_OUT, WELL,
                      Counted, Exchange, asked, assert_connections_end, exchanges_of, name_of, outcome, outcome_on,
                      response, say, two_peers)
from test_command_line import PLAIN

SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
# More than the forwarder holds back.
LONG_CHUNK = CHUNKED + b"186a0\r\n" + b"x" * 100_000
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


# ---- what peers do ----


def dribble(head, piece):
    """Says a little every now and then, for ever."""
    def behave(exchange):
        exchange.read_body()
        exchange.send(head)
        while True:
            exchange.send(piece)
            time.sleep(0.05)

    return behave


class Case(namedtuple("Case", "name behaviour get post")):
    """What a peer does, and what a GET and a POST come to: (outcome, counter)."""

    def __repr__(self):
        return self.name

    @property
    def target(self):
        return "/peer/" + re.sub(r"\W", lambda odd: f"-{ord(odd[0])}-" if odd[0] != " " else "-", self.name)

    def of(self, method):
        return self.get if method == "GET" else self.post


def reset(name, data, then=Exchange.end):
    return Case(name, say(data, then), (HERE, "forward_reset"), (BAD_GATEWAY, "forward_reset"))


def cut(name, data, then=Exchange.end):
    return Case(name, say(data, then), (CUT, "forward_truncated"), (CUT, "forward_truncated"))


def bad(name, data):
    return Case(name, say(data), (HERE, "forward_bad_response"), (BAD_GATEWAY, "forward_bad_response"))


def silent(name, behaviour):
    return Case(name, behaviour, (HERE, "forward_timed_out"), (TIMED_OUT, "forward_timed_out"))


def passed_on(name, data, then=Exchange.hold):
    return Case(name, say(data, then), (PASSED_ON, "forwarded"), (PASSED_ON, "forwarded"))


def fields(*lines, status="200 OK"):
    return "\r\n".join([f"HTTP/1.1 {status}", *lines]).encode("latin-1") + b"\r\n\r\n"


BROKEN_OFF = [
    reset("closed within the head", b"HTTP/1.1 200 OK\r\nContent-Le"),
    reset("reset within the head", b"HTTP/1.1 200 OK\r\nContent-Le", Exchange.reset),
    reset("closed after the head", SHORT),
    reset("closed after the head of a long response", LONG),
    reset("closed after the head of a chunked response", CHUNKED),
    reset("closed after an interim response", fields(status="102 Processing")),
    # Of the response to a POST nothing is held back: it could not be had from elsewhere.
    Case("closed within a short body", say(SHORT + b"x" * 50, Exchange.end),
         (HERE, "forward_reset"), (CUT, "forward_truncated")),
    cut("closed within a long body", LONG + b"x" * 100_000),
    cut("reset within a long body", LONG + b"x" * 100_000, Exchange.reset),
    cut("closed within a chunk", CHUNKED + b"64\r\nabc"),
    cut("closed before the last chunk", CHUNKED + b"3\r\nabc\r\n"),
    cut("closed within the last chunk", CHUNKED + b"3\r\nabc\r\n0\r\n"),
    cut("closed within the trailers", CHUNKED + b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\n"),
    cut("reset within a body that ends with the connection", UNTIL_CLOSED + b"abc", Exchange.reset),
]

GARBAGE = [
    bad("another protocol", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    bad("zeros", bytes(100)),
    bad("a page without a head", b"<!DOCTYPE html><title>hello</title>"),
    bad("HTTP of another version", b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n"),
    bad("a status of two digits", fields("Content-Length: 0", status="20 OK")),
    bad("a status above 599", fields("Content-Length: 0", status="600 OK")),
    bad("a status below 100", fields("Content-Length: 0", status="099 OK")),
    bad("lines that end in LF", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    bad("a CR within a field", fields("X-Own: a\rContent-Length: 5", "Content-Length: 0")),
    bad("a NUL within a field", fields("X-Own: a\0b", "Content-Length: 0")),
    bad("a space before the colon", fields("Content-Length : 0")),
    bad("a space before the name", fields(" Content-Length: 0")),
    bad("a folded field", fields("X-Own: a", " b", "Content-Length: 0")),
    bad("a line without a colon", fields("Content-Length 0")),
    bad("a field without a name", fields(": 0", "Content-Length: 0")),
    bad("129 fields", fields(*[f"X-Field-{number}: x" for number in range(129)])),
    bad("a head of 40 KB", fields(*[f"X-Field-{number}: {'x' * 4000}" for number in range(10)])),
    bad("a line of 40 KB", fields("X-Field: " + "x" * 40_000)),
    bad("a line that never ends", b"HTTP/1.1 200 " + b"x" * 40_000),
    bad("interim responses of 50 KB", fields(status="102 Processing") * 2000),
    bad("early hints of 50 KB", fields("Link: </style.css>; rel=preload", status="103 Early Hints") * 1000),
    bad("an interim response with a body", fields("Content-Length: 5", status="102 Processing") + b"hello" + WELL),
    bad("another protocol unasked", fields("Upgrade: websocket", "Connection: Upgrade", status="101 Switching")),
]

CONTRADICTORY = [
    bad("a length and chunks", fields("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    bad("chunks and a length", fields("Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n"),
    bad("two lengths", fields("Content-Length: 5", "Content-Length: 6") + b"hello!"),
    bad("the same length twice", fields("Content-Length: 5", "Content-Length: 5") + b"hello"),
    bad("a list of lengths", fields("Content-Length: 5, 5") + b"hello"),
    *(bad(f"a length of {length}", fields(f"Content-Length: {length}") + b"hello")
      for length in ["+5", "-5", "0x5", "5 5", "5.0", "", "five", "9223372036854775808", "18446744073709551621"]),
    *(bad(f"a coding of {coding}", fields(f"Transfer-Encoding: {coding}") + b"0\r\n\r\n")
      for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity", "xchunked", "", "chunked;q=1"]),
    bad("chunks twice", fields("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    bad("chunks with HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    bad("no content, and some", fields("Content-Length: 5", status="204 No Content") + b"hello"),
    bad("no content, and chunks", fields("Transfer-Encoding: chunked", status="204 No Content") + b"0\r\n\r\n"),
    *(bad(f"a chunk of size {size}", CHUNKED + size.encode() + b"\r\nabc\r\n0\r\n\r\n")
      for size in ["", "+3", "-3", "0x3", " 3", "3 ", "three", "8000000000000000", "10000000000000003", "3\n"]),
    # Nothing of these has left the forwarder when it finds out.
    bad("a chunk longer than it said", CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n"),
    bad("a second chunk without a size", CHUNKED + b"3\r\nabc\r\n\r\n"),
    bad("a bad trailer", CHUNKED + b"3\r\nabc\r\n0\r\nno trailer\r\n\r\n"),
    bad("trailers of 10 KB", CHUNKED + b"3\r\nabc\r\n0\r\n" + b"X-Trailer: x\r\n" * 700),
    cut("a long chunk longer than it said", LONG_CHUNK + b"d\r\n0\r\n\r\n", Exchange.hold),
    cut("a later chunk without a size", LONG_CHUNK + b"\r\n\r\n", Exchange.hold),
    cut("a trailer that is no field", LONG_CHUNK + b"\r\n0\r\nno trailer\r\n\r\n", Exchange.hold),
    cut("trailers of 14 KB", LONG_CHUNK + b"\r\n0\r\n" + b"X-Trailer: x\r\n" * 1000, Exchange.hold),
]

ANSWERS = [
    passed_on("a good answer", WELL),
    passed_on("a body that ends with the connection", UNTIL_CLOSED + b"from the peer", Exchange.end),
    passed_on("an answer of HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nfrom the peer", Exchange.end),
    passed_on("chunks with extensions and trailers",
              CHUNKED + b"d;a=1;b=\"2\"\r\nfrom the peer\r\n0\r\nX-Trailer: 1\r\n\r\n", Exchange.end),
    passed_on("interim responses and an answer",
              CONTINUE + fields(status="102 Processing") + fields(status="103 Early Hints") + WELL),
    passed_on("an answer and more", response() + EVIL),
    passed_on("an answer without a reason", b"HTTP/1.1 200\r\nContent-Length: 13\r\n\r\nfrom the peer", Exchange.end),
    *(passed_on(f"status {status}", response(status, b"from the peer", "Connection: close"))
      for status in ["401 Unauthorized", "404 Not Found", "421 Misdirected Request", "500 Internal Server Error",
                     "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout", "599 Own"]),
    # What an httpd says before any of its modules has seen the request.
    Case("400 without news", say(response("400 Bad Request", b"from the peer"), Exchange.end),
         (HERE, "forward_declined"), (PASSED_ON, "forwarded")),
    Case("declined", say(response("503 Service Unavailable", b"no", "Backhand-Declined: busy"), Exchange.end),
         (HERE, "forward_declined"), (HERE, "forward_declined")),
]

CASES = BROKEN_OFF + GARBAGE + CONTRADICTORY + ANSWERS

# What makes a peer be left alone for a while.
DROPPED = [
    Case("closed without a byte", say(b"", Exchange.end), (HERE, "forward_reset"), (BAD_GATEWAY, "forward_reset")),
    Case("reset without a byte", say(b"", Exchange.reset), (HERE, "forward_reset"), (BAD_GATEWAY, "forward_reset")),
]

SILENT = [
    silent("silence", say(b"")),
    silent("silence within the head", say(b"HTTP/1.1 200 OK\r\nContent-Le")),
    silent("silence after an interim response", say(fields(status="102 Processing"))),
    silent("silence after the head", say(SHORT)),
    silent("silence after the head of a long response", say(LONG)),
    Case("silence within a short body", say(SHORT + b"x" * 50), (HERE, "forward_timed_out"), (CUT, "forward_truncated")),
    cut("silence within a long body", LONG + b"x" * 100_000, Exchange.hold),
    cut("silence before the last chunk", CHUNKED + b"3\r\nabc\r\n", Exchange.hold),
    cut("silence within a body that ends with the connection", UNTIL_CLOSED + b"abc", Exchange.hold),
    silent("a head that never ends", dribble(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x")),
    silent("interim responses that never end", dribble(b"", fields(status="102 Processing"))),
    Case("a body that never ends", dribble(CHUNKED, b"1\r\nx\r\n"),
         (CUT, "forward_truncated"), (CUT, "forward_truncated")),
]


def behaviours_of(cases):
    return {name_of(case.target): case.behaviour for case in cases}


class FirstTime:
    """Fails the first request for a target as the case named in its query does, and answers the others well."""

    def __init__(self, cases):
        self._behaviours = behaviours_of(cases)
        self._met = set()

    def __call__(self, exchange):
        query = exchange.target.partition("?")[2]
        first = query not in self._met
        self._met.add(query)
        if first:
            self._behaviours[query.partition("&")[0]](exchange)
        else:
            say(WELL)(exchange)


# ---- what the client gets, and what is counted ----


def expected_counts(result, counter):
    """Of one request that comes to this, with two peers that do the same."""
    if result == HERE and counter == "forward_timed_out":
        return {counter: 1, "served_here_after_failure": 1}  # the client has waited long enough
    if result == HERE:
        return {counter: 2, "forward_tried_again": 1, "served_here_after_failure": 1}
    if result in (BAD_GATEWAY, TIMED_OUT):
        return {counter: 1, "forward_answered_502": 1}
    return {counter: 1}


@pytest.fixture(scope="module", params=MPMS)
def forwarder(request):
    every = {**behaviours_of(CASES + DROPPED), "once": FirstTime(CASES), "well": say(WELL)}
    with two_peers(request.param, every, RETRY_ALWAYS, "BackhandConnectionPools Off") as running:
        yield running


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_client_gets_what_is_promised_and_the_reason_is_counted(forwarder, case):
    server, peers = forwarder
    for method in ("GET", "POST"):
        target = f"{case.target}?{method}"
        result, counter = case.of(method)
        counted = Counted(server)

        assert outcome(server, target, method) == result
        counted.wait_for(expected_counts(result, counter))
        assert asked(peers, target) == ([1, 1] if result == HERE else [1, 0])
        assert_connections_end(peers, target)
        # Without pools each request has a connection of its own.
        assert {exchange.place for exchange in exchanges_of(peers, target)} == {0}


@pytest.mark.parametrize("case", [case for case in CASES if case.get[0] == HERE], ids=str)
def test_a_request_that_one_peer_has_failed_is_answered_by_the_next(forwarder, case):
    server, peers = forwarder
    target = f"/peer/once?{name_of(case.target)}"
    counted = Counted(server)

    assert outcome(server, target, "GET") == PASSED_ON, (counted.since(), server.states())
    counted.wait_for({case.get[1]: 1, "forward_tried_again": 1, "forwarded": 1})
    assert asked(peers, target) == [1, 1]


def wait_until_all_answer(server, peers):
    """A peer that took no request is left alone for a while."""
    def answer():
        before = [len(peer.exchanges) for peer in peers]
        results = {outcome(server, "/peer/well", "GET") for _ in range(20)}
        return results == {PASSED_ON} and all(len(peer.exchanges) > count for peer, count in zip(peers, before))

    wait_until("both peers answer", answer, pause_s=0.2)


@pytest.mark.parametrize("case", DROPPED, ids=str)
def test_a_peer_that_drops_a_new_connection_is_left_alone_for_a_while(forwarder, case):
    server, peers = forwarder
    wait_until_all_answer(server, peers)
    counted = Counted(server)
    results = [outcome(server, case.target, method) for method in ("POST", "GET", "GET")]

    assert results == [BAD_GATEWAY, HERE, HERE]
    counted.wait_for({"forward_reset": 2, "forward_answered_502": 1, "served_here_after_failure": 1,
                      "served_here_no_candidate": 1})
    assert asked(peers, case.target) == [1, 1]


def test_a_peer_that_refuses_connections_is_left_alone_for_a_while(forwarder):
    server, peers = forwarder
    wait_until_all_answer(server, peers)
    for peer in peers:
        peer.refuse()
    counted = Counted(server)
    results = [outcome(server, "/peer/well?refused", method) for method in ("POST", "GET")]
    for peer in peers:
        peer.listen()

    assert results == [HERE, HERE]
    counted.wait_for({"forward_connect_failed": 2, "forward_tried_again": 1, "served_here_after_failure": 1,
                      "served_here_no_candidate": 1})
    wait_until_all_answer(server, peers)


def test_with_retries_off_no_other_peer_is_asked():
    with two_peers("event", behaviours_of(BROKEN_OFF), "BackhandRetry off") as (server, peers):
        for case in BROKEN_OFF:
            result, counter = case.get
            counted = Counted(server)
            spent = {"forward_budget_spent": 1, "served_here_after_failure": 1} if result == HERE else {}

            assert outcome(server, case.target, "GET") == result
            counted.wait_for({counter: 1, **spent})
            assert asked(peers, case.target) == [1, 0]


def test_what_becomes_of_forwards_is_remembered_as_the_peers_health(forwarder):
    server, peers = forwarder
    wait_until_all_answer(server, peers)

    def failed(peer):
        return server.sees(peer)["failed_attempts_in_a_row"]

    assert [failed(peer) for peer in peers] == [0, 0]
    for case in BROKEN_OFF[0], GARBAGE[0]:
        outcome(server, f"{case.target}?health", "GET")
    wait_until(lambda: f"both failures are remembered: {[failed(peer) for peer in peers]}",
               lambda: [failed(peer) for peer in peers] == [2, 2])
    wait_until_all_answer(server, peers)
    assert [failed(peer) for peer in peers] == [0, 0]


def test_no_more_is_tried_again_than_the_retry_rules_allow():
    with two_peers("event", behaviours_of(BROKEN_OFF), "BackhandRetry 0 2") as (server, peers):
        counted = Counted(server)
        target = BROKEN_OFF[0].target
        assert [outcome(server, target, "GET") for _ in range(50)] == [HERE] * 50
        since = counted.since()

        assert since["served_here_after_failure"] == 50
        # Two in each second that this has taken.
        assert since["forward_tried_again"] >= 2
        assert since["forward_budget_spent"] > 0
        assert since["forward_tried_again"] + since["forward_budget_spent"] == 50
        assert sum(asked(peers, target)) == since["forward_reset"] == 50 + since["forward_tried_again"]


@pytest.mark.parametrize("mpm", MPMS)
@pytest.mark.parametrize("body", [b"x" * 1000, b"x" * 100_000], ids=["short", "long"])
def test_a_client_that_leaves_before_the_answer_is_no_fault_of_the_peer(mpm, body):
    client_is_gone = threading.Event()

    def answer_when_the_client_is_gone(exchange):
        exchange.read_body()
        client_is_gone.wait(30)
        exchange.send(response("200 OK", body))

    with two_peers(mpm, {"late": answer_when_the_client_is_gone}, RETRY_ALWAYS) as (server, peers):
        counted = Counted(server)
        for method in ("GET", "POST"):
            with Connection(server.address, server.port) as connection:
                connection.send(request(f"/peer/late?{method}", method=method, body=BODY if method == "POST" else b""))
                wait_until("it is at a peer", lambda method=method: exchanges_of(peers, f"/peer/late?{method}"))
        client_is_gone.set()

        counted.wait_for({"forwarded": 2})
        assert [asked(peers, f"/peer/late?{method}") for method in ("GET", "POST")] == [[1, 0]] * 2
        assert [server.sees(peer)["failed_attempts_in_a_row"] for peer in peers] == [0, 0]
        assert outcome(server, "/peer/any", "GET") == PASSED_ON


BY_HEALTH = '<Location "/peer/">\nBackhand byHealth\nBackhand byRandom\nBackhand removeSelf\n</Location>'


@pytest.mark.parametrize("failure", [b"HTTP/1.1 200 OK\r\nContent-Le",
                                     response("500 Internal Server Error", b"from the peer", "Connection: close")],
                         ids=["broken off", "5xx"])
def test_a_peer_that_fails_again_and_again_is_left_out_by_health(failure):
    def fails_at_one(exchange):
        say(failure if exchange.peer.address == PLAIN else WELL, Exchange.end)(exchange)

    with two_peers("event", {"at-one": fails_at_one}, RETRY_ALWAYS, site_lines=f"{HERE_TOO}\n{BY_HEALTH}") as (server, peers):
        def is_unhealthy():
            assert outcome(server, "/peer/at-one", "GET") == PASSED_ON
            return server.states()[peers[0].contact] == "unhealthy"

        wait_until("five requests have failed there", is_unhealthy)
        assert len(peers[0].seen("/peer/at-one")) == 5
        assert [outcome(server, "/peer/at-one?later", "GET") for _ in range(20)] == [PASSED_ON] * 20
        assert [len(peer.seen("/peer/at-one?later")) for peer in peers] == [0, 20]


def test_what_fails_everywhere_leaves_half_of_the_servers_in():
    failing = {"everywhere": say(response("500 Internal Server Error", b"from the peer", "Connection: close"))}
    with two_peers("event", failing, RETRY_ALWAYS, site_lines=f"{HERE_TOO}\n{BY_HEALTH}") as (server, peers):
        assert [outcome(server, "/peer/everywhere", "GET") for _ in range(40)] == [PASSED_ON] * 40

        assert sorted(server.states()[peer.contact] for peer in peers) == ["ok", "unhealthy"]


def test_the_page_for_a_502_is_this_servers_own():
    lines = f'{HERE_TOO}\nErrorDocument 502 "said here"\nErrorDocument 503 "said here"'
    with two_peers("event", behaviours_of(CASES), RETRY_ALWAYS, site_lines=lines) as (server, _):
        for case, page in [(BROKEN_OFF[0], (502, b"said here")),
                           (next(case for case in ANSWERS if "503" in case.name), (503, b"from the peer"))]:
            with Connection(server.address, server.port) as connection:
                connection.send(request(case.target, method="POST", body=BODY))
                answer = connection.response("POST")
            assert (answer.status, answer.body) == page


# ---- silence ----

SHORT_OF_PATIENCE = "BackhandTimeout response=2s idle=2s total=4s"
# So many wait at the same time.
MORE_PROCESSES = "StartServers 60\nMinSpareServers 60"


@pytest.mark.parametrize("mpm", MPMS)
def test_peers_that_fall_silent_are_waited_for_once_and_not_for_ever(mpm):
    lines = [RETRY_ALWAYS, SHORT_OF_PATIENCE] + ([MORE_PROCESSES] if mpm == "prefork" else [])
    jobs = [(case, method) for case in SILENT for method in ("GET", "POST")]
    with two_peers(mpm, behaviours_of(SILENT), *lines, workers=64) as (server, peers), \
            ThreadPoolExecutor(len(jobs)) as pool:
        wait_until("there are enough workers",
                   lambda: server.sees(server)["workers_idle"] + server.sees(server)["workers_busy"] > 2 * len(jobs))
        counted = Counted(server)
        results = pool.map(lambda job: outcome(server, f"{job[0].target}?{job[1]}", job[1]), jobs)

        assert {job: result for job, result in zip(jobs, results)} == {job: job[0].of(job[1])[0] for job in jobs}
        counted.wait_for(sum_of(expected_counts(*case.of(method)) for case, method in jobs))
        for case, method in jobs:
            assert asked(peers, f"{case.target}?{method}") == [1, 0]
            assert_connections_end(peers, f"{case.target}?{method}")


FOR_EVER = "60s"


@pytest.mark.parametrize("lines, names", [
    (f"BackhandTimeout response=300ms idle={FOR_EVER}", ["silence"]),
    (f"BackhandTimeout response={FOR_EVER} idle=300ms",
     ["silence within the head", "silence after the head", "silence within a short body", "silence within a long body"]),
    (f"BackhandTimeout response={FOR_EVER} idle={FOR_EVER} total=500ms",
     ["silence", "silence within a long body", "a head that never ends", "a body that never ends"]),
    ("Timeout 1", ["silence", "silence after the head", "silence within a long body"]),
], ids=["response", "idle", "total", "httpd's own"])
def test_each_time_limit_is_for_its_own_kind_of_silence(lines, names):
    with two_peers("event", behaviours_of(SILENT), RETRY_ALWAYS, lines) as (server, peers):
        for case in [case for case in SILENT if case.name in names]:
            counted = Counted(server)

            assert outcome(server, case.target, "POST") == case.post[0]
            counted.wait_for(expected_counts(*case.post))
            assert_connections_end(peers, case.target)


def sum_of(counts):
    total = Counter()
    for each in counts:
        total.update(each)
    return dict(total)


@pytest.mark.parametrize("mpm", MPMS)
def test_peers_that_do_not_accept_in_time_are_left_alone_for_a_while(mpm):
    with two_peers(mpm, {"well": say(WELL)}, RETRY_ALWAYS, "BackhandTimeout connect=200ms") as (server, peers), \
            contextlib.ExitStack() as stack:
        for peer in peers:
            stack.enter_context(peer.stalled())
        counted = Counted(server)

        def nobody_is_asked():
            assert outcome(server, "/peer/well", "POST") == HERE
            return counted.since().get("served_here_no_candidate")

        wait_until("both are left alone, for ever longer", nobody_is_asked)
        since = counted.since()
        failed, unasked = since["served_here_after_failure"], since["served_here_no_candidate"]
        assert since == {"forward_timed_out": 2 * failed, "forward_tried_again": failed,
                         "served_here_after_failure": failed, "served_here_no_candidate": unasked}


# ---- connections that wait for the next request ----


class Reuse:
    """A peer's behaviour: answers well, and does something to the connection from then on."""

    def __init__(self, afterwards):
        self.done = threading.Semaphore(0)
        self._afterwards = afterwards

    def __call__(self, exchange):
        exchange.answer()
        self._afterwards(exchange)
        self.done.release()


def ends_at_second(how):
    """Answers the first request on a connection well, and ends at the second in a way."""
    def behave(exchange):
        if exchange.place == 0:
            exchange.answer()
        else:
            exchange.read_body()
            how(exchange)

    return behave


IDLE = {
    "keeps": Exchange.answer,
    "evil": Reuse(lambda exchange: exchange.send(EVIL)),
    "a-byte": Reuse(lambda exchange: exchange.send(b"\n")),
    "closes": Reuse(Exchange.end),
    "resets": Reuse(Exchange.reset),
    "timeout": Reuse(lambda exchange: exchange.send(response("408 Request Timeout", b"", "Connection: close"))),
    "closes-at-second": ends_at_second(Exchange.end),
    "resets-at-second": ends_at_second(Exchange.reset),
}


@pytest.fixture(scope="module", params=MPMS)
def keeper(request):
    with two_peers(request.param, IDLE, RETRY_ALWAYS) as running:
        yield running


def send_in_turn(server, peers, target, methods, between=lambda: None):
    """Requests on one connection, so that one child gets all of them; returns what was counted of them."""
    for peer in peers:
        peer.drop_connections()
    counted = Counted(server)
    with Connection(server.address, server.port) as connection:
        for method in methods:
            body = b"" if method in ("GET", "HEAD") else BODY
            connection.send(request(target, method=method, body=body))
            if method == "HEAD":
                assert connection.response("HEAD").status == 200
            else:
                assert outcome_on(connection, method, body) == PASSED_ON
            between()
    wait_until("all are counted", lambda: counted.since().get("forwarded") == len(methods), limit_s=10)
    return counted.since()


def test_connections_are_used_again_for_what_may_be_repeated_only(keeper):
    server, peers = keeper
    methods = ["GET", "POST", "PUT", "GET", "PATCH", "BREW", "DELETE", "GET"] * 4
    assert send_in_turn(server, peers, "/peer/keeps?kinds", methods) == {"forwarded": len(methods)}

    exchanges = exchanges_of(peers, "/peer/keeps?kinds")
    assert {exchange.place for exchange in exchanges if exchange.method in ("POST", "PATCH", "BREW")} == {0}
    assert max(exchange.place for exchange in exchanges) > 2


@pytest.mark.parametrize("name", ["evil", "a-byte", "closes", "resets", "timeout"])
def test_an_idle_connection_on_which_the_peer_has_spoken_or_closed_is_never_used(keeper, name):
    server, peers = keeper
    counts = send_in_turn(server, peers, f"/peer/{name}", ["GET"] * 10, between=IDLE[name].done.acquire)

    assert counts == {"forwarded": 10}
    assert [exchange.place for exchange in exchanges_of(peers, f"/peer/{name}")] == [0] * 10


@pytest.mark.parametrize("name", ["closes-at-second", "resets-at-second"])
def test_a_request_that_meets_a_dead_connection_goes_to_the_same_peer_once_more(keeper, name):
    server, peers = keeper
    counts = send_in_turn(server, peers, f"/peer/{name}", ["GET"] * 20)
    exchanges = exchanges_of(peers, f"/peer/{name}")
    dead = [exchange for exchange in exchanges if exchange.place == 1]

    assert len(dead) > 0
    assert counts == {"forward_stale_connection": len(dead), "forwarded": 20}
    # Each time the new connection was one to the same peer.
    for peer in peers:
        assert len([exchange for exchange in peer.seen(f"/peer/{name}") if exchange.place == 0]) >= \
            len([exchange for exchange in peer.seen(f"/peer/{name}") if exchange.place == 1])


@pytest.mark.parametrize("name", ["closes-at-second", "resets-at-second"])
def test_a_request_that_may_not_be_repeated_meets_no_dead_connection(keeper, name):
    server, peers = keeper
    target = f"/peer/{name}?once"
    assert send_in_turn(server, peers, target, ["POST"] * 10) == {"forwarded": 10}
    assert [exchange.place for exchange in exchanges_of(peers, target)] == [0] * 10
