"""Bodies on their way to a peer, and peers that answer, decline or break off before they have all of it.

Bodies of more than 64 KiB are streamed, once the peer has agreed to take them. The peers are raw sockets.
"""

import pytest

from client import Connection, chunked, request
from httpd import MPMS
from processes import wait_until
from raw_peer import (BAD_GATEWAY, CONTINUE, HERE, PASSED_ON, RETRY_ALWAYS, WELL, Counted, Exchange, asked,
                      assert_connections_end, exchanges_of, outcome, outcome_on, response, two_peers)

# What is read before a peer is engaged.
HELD_BYTES = 65_536
BODY = bytes(range(256)) * 1000
# Of a body that is streamed, so much has been held back by nobody.
SOME_BYTES = 100_000
TOO_LARGE = response("413 Content Too Large", b"from the peer")
TOO_LARGE_AND_OVER = response("413 Content Too Large", b"from the peer", "Connection: close")


class Recorder:
    """Takes whole bodies, and keeps them."""

    def __init__(self):
        self.bodies = {}

    def __call__(self, exchange):
        self.bodies[exchange.target] = exchange.read_body()
        exchange.send(WELL)


def answer_before_the_body(exchange):
    exchange.send(TOO_LARGE_AND_OVER)
    exchange.hold()


def answer_and_stay(exchange):
    exchange.send(TOO_LARGE)
    exchange.hold()


def after_some(then):
    """Agrees to the body, takes some of it, and does something else."""
    def behave(exchange):
        exchange.send(CONTINUE)
        exchange.read(SOME_BYTES)
        then(exchange)

    return behave


def answer_and_listen(exchange):
    exchange.send(TOO_LARGE_AND_OVER)
    exchange.hold()


def answer_and_close(exchange):
    exchange.send(TOO_LARGE_AND_OVER)
    exchange.end()


def agree_after_hints(exchange):
    exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
    exchange.read_body()
    exchange.send(WELL)


def agree_and_hold(exchange):
    exchange.send(CONTINUE)
    exchange.hold()


def stream(exchange):
    """Says ever more."""
    exchange.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        exchange.send(b"x" * 10_000 + b"\n")


def decline(exchange):
    exchange.send(response("503 Service Unavailable", b"no", "Backhand-Declined: busy"))
    exchange.hold()


def answer_unless_asked_first(exchange):
    exchange.send(response("417 Expectation Failed", b"no", "Connection: close") if exchange.field("Expect") else WELL)
    exchange.hold()


def take_without_agreeing(exchange):
    """Knows no expectations: waits for the body, and answers with its length."""
    body = exchange.read(int(exchange.field("Content-Length")))
    exchange.send(response("200 OK", str(len(body)).encode()))


RECORDED = Recorder()
BEHAVIOURS = {
    "takes": RECORDED,
    "takes-without-agreeing": take_without_agreeing,
    "hints": agree_after_hints,
    "answers-before": answer_before_the_body,
    "knows-no-expectation": answer_unless_asked_first,
    "answers-and-stays": answer_and_stay,
    "answers-early": after_some(answer_and_listen),
    "answers-and-closes": after_some(answer_and_close),
    "closes-before": Exchange.end,
    "closes-early": after_some(Exchange.end),
    "resets-early": after_some(Exchange.reset),
    "agrees": agree_and_hold,
    "streams": stream,
    "declines-early": after_some(decline),
}


@pytest.fixture(scope="module", params=MPMS)
def forwarder(request):
    with two_peers(request.param, BEHAVIOURS, RETRY_ALWAYS, "BackhandTimeout response=5s idle=5s") as running:
        yield running


def upload(target, method="POST", body=BODY, in_chunks=False):
    """The bytes of a request with a body."""
    if in_chunks:
        return request(target, "Transfer-Encoding: chunked", method=method, body=chunked(body[:1000], body[1000:]))
    return request(target, method=method, body=body)


def result_of(server, target, method="POST", in_chunks=False, body=BODY):
    with Connection(server.address, server.port) as connection:
        connection.send(upload(target, method, body, in_chunks))
        return outcome_on(connection, method, body)


SIZES = [0, 1, 1000, HELD_BYTES - 1, HELD_BYTES, HELD_BYTES + 1, 200_000, 1 << 20]
framed_either_way = pytest.mark.parametrize("in_chunks", [False, True], ids=["length", "chunks"])


@framed_either_way
@pytest.mark.parametrize("size", SIZES)
def test_the_peer_gets_the_body_that_the_client_has_sent(forwarder, size, in_chunks):
    server, peers = forwarder
    target = f"/peer/takes?{server.mpm}-{size}-{in_chunks}"
    body = (BODY * 5)[:size]

    assert result_of(server, target, "POST", in_chunks, body) == PASSED_ON
    assert RECORDED.bodies[target] == body
    exchange, = exchanges_of(peers, target)
    # Asked first is the peer only about what could not be sent again.
    streamed = size > HELD_BYTES or (in_chunks and size == HELD_BYTES)
    assert exchange.field("Expect") == ("100-continue" if streamed else None)
    # An application may see how it is framed.
    assert exchange.field("Content-Length") == (str(size) if size and not in_chunks else None)
    assert exchange.field("Transfer-Encoding") == ("chunked" if in_chunks else None)


@framed_either_way
def test_a_peer_hears_of_a_short_body_when_all_of_it_is_here(forwarder, in_chunks):
    server, peers = forwarder
    target = f"/peer/takes?{server.mpm}-in-halves-{in_chunks}"
    data = upload(target, "POST", BODY[:HELD_BYTES // 2], in_chunks)
    with Connection(server.address, server.port) as connection:
        connection.send(data[:-10_000])
        wait_until("the request is being served", lambda: server.sees(server)["serving"] == 1)
        # The server has time for others, and no peer has heard of this one.
        for _ in range(10):
            assert outcome(server, "/peer/any", "GET") == PASSED_ON
        assert exchanges_of(peers, target) == []
        connection.send(data[-10_000:])
        assert outcome_on(connection, "POST") == PASSED_ON

    assert RECORDED.bodies[target] == BODY[:HELD_BYTES // 2]
    assert asked(peers, target) == [1, 0]


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "BREW"])
def test_a_body_is_passed_on_whatever_the_method(forwarder, method):
    server, _ = forwarder
    target = f"/peer/takes?{server.mpm}-{method}"

    assert result_of(server, target, method) == PASSED_ON
    assert RECORDED.bodies[target] == BODY


def test_a_peer_that_does_not_say_whether_it_agrees_gets_the_body_all_the_same(forwarder):
    server, _ = forwarder
    with Connection(server.address, server.port) as connection:
        connection.send(upload(f"/peer/takes-without-agreeing?{server.mpm}"))
        answer = connection.response("POST")

    assert (answer.status, answer.body) == (200, str(len(BODY)).encode())


def test_a_peer_may_say_other_things_before_it_agrees(forwarder):
    server, _ = forwarder
    assert result_of(server, "/peer/hints") == PASSED_ON


@framed_either_way
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("name", ["answers-before", "answers-early", "answers-and-closes"])
def test_an_answer_that_comes_before_the_peer_has_all_of_the_body_is_passed_on(forwarder, name, method, in_chunks):
    server, peers = forwarder
    target = f"/peer/{name}?{method}-{in_chunks}"
    counted = Counted(server)

    assert result_of(server, target, method, in_chunks) == PASSED_ON
    counted.wait_for({"forwarded": 1})
    assert asked(peers, target) == [1, 0]


@framed_either_way
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("name", ["closes-early", "resets-early"])
def test_a_body_of_which_the_peer_has_got_more_than_is_held_is_not_sent_again(forwarder, name, method, in_chunks):
    server, peers = forwarder
    target = f"/peer/{name}?{method}-{in_chunks}"
    counted = Counted(server)

    assert result_of(server, target, method, in_chunks) == BAD_GATEWAY
    counted.wait_for({"forward_reset": 1, "forward_answered_502": 1})
    assert asked(peers, target) == [1, 0]


@framed_either_way
def test_a_body_of_which_the_peer_has_got_nothing_is_sent_elsewhere(in_chunks):
    with two_peers("event", BEHAVIOURS, RETRY_ALWAYS, "BackhandConnectionPools Off") as (server, peers):
        target = "/peer/closes-before"
        counted = Counted(server)

        assert result_of(server, target, "PUT", in_chunks) == HERE
        counted.wait_for({"forward_reset": 2, "forward_tried_again": 1, "served_here_after_failure": 1})
        assert asked(peers, target) == [1, 1]


@framed_either_way
def test_a_client_that_leaves_does_not_make_the_body_look_whole(forwarder, in_chunks):
    server, peers = forwarder
    target = f"/peer/agrees?leaves-{in_chunks}"
    with Connection(server.address, server.port) as connection:
        connection.send(upload(target, "POST", BODY, in_chunks)[:-10_000])

    def at_the_peer():
        return [exchange for exchange in exchanges_of(peers, target) if exchange.ended.is_set()]

    exchange, = wait_until("the peer's connection ends", at_the_peer)
    assert HELD_BYTES <= len(exchange.afterwards) < len(BODY)
    assert not exchange.afterwards.endswith(b"0\r\n\r\n")


def test_a_client_whose_chunks_go_wrong_does_not_make_the_body_look_whole(forwarder):
    server, peers = forwarder
    with Connection(server.address, server.port) as connection:
        connection.send(request("/peer/agrees?wrong", "Transfer-Encoding: chunked", method="POST",
                                body=b"%x\r\n%s\r\nno size\r\n" % (len(BODY), BODY)))
        assert connection.response("POST").status == 400

    def at_the_peer():
        return [exchange for exchange in exchanges_of(peers, "/peer/agrees?wrong") if exchange.ended.is_set()]

    exchange, = wait_until("the peer's connection ends", at_the_peer)
    assert not exchange.afterwards.endswith(b"0\r\n\r\n")


def test_a_client_that_leaves_in_the_middle_of_a_response_ends_the_exchange(forwarder):
    server, peers = forwarder
    counted = Counted(server)
    with Connection(server.address, server.port) as connection:
        connection.send(request("/peer/streams?left"))
        connection.read_some(b"x")
    exchange, = exchanges_of(peers, "/peer/streams?left")

    wait_until("the peer's connection ends", exchange.ended.is_set)
    counted.wait_for({"forwarded": 1})


@framed_either_way
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_connection_on_which_the_peer_may_still_expect_a_body_is_never_used_again(forwarder, method, in_chunks):
    server, peers = forwarder
    target = f"/peer/answers-and-stays?{method}-{in_chunks}"
    with Connection(server.address, server.port) as connection:
        connection.send(upload(target, method, BODY, in_chunks))
        assert outcome_on(connection, method) == PASSED_ON
    for _ in range(10):
        assert outcome(server, "/peer/any", "GET") == PASSED_ON

    assert_connections_end(peers, target)


@framed_either_way
def test_a_peer_that_cannot_be_asked_first_has_done_nothing(forwarder, in_chunks):
    server, peers = forwarder
    target = f"/peer/knows-no-expectation?{in_chunks}"
    counted = Counted(server)

    assert result_of(server, target, "POST", in_chunks) == HERE
    assert asked(peers, target) == [1, 1]
    counted.wait_for({"forward_declined": 2, "forward_tried_again": 1, "served_here_after_failure": 1})


def test_a_peer_that_declines_with_part_of_the_body_cannot_be_replaced(forwarder):
    server, peers = forwarder
    target = "/peer/declines-early"
    assert result_of(server, target, "PUT") == BAD_GATEWAY
    assert asked(peers, target) == [1, 0]


def test_an_early_answer_is_passed_on_to_a_client_that_waits_for_it(forwarder):
    server, _ = forwarder
    with Connection(server.address, server.port, limit_s=10) as connection:
        connection.send(upload("/peer/answers-early?paused")[:SOME_BYTES + 20_000])
        assert outcome_on(connection, "POST") == PASSED_ON
