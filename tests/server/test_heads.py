"""What a peer gets to see of a request's head, and a client of a response's: all of it but what belongs to one
connection (RFC 9110 section 7.6.1), and what the servers tell each other."""

import pytest

import client
from client import Connection, chunked, request
from httpd import MPMS
from raw_peer import assert_connections_end, exchanges_of, say, two_peers

OTHERS = ["X-First: 1", "x-small: letters", "X-Listed: one, two", "X-Letters: \xe4\xc3\xa4",
          "X-Empty:", "Cookie: a=1; b=2", "Authorization: Basic bm9ib2R5Om5vbmU=", "Accept-Encoding: gzip, br",
          "Range: bytes=0-1", "Proxy-Authorization: Basic bm9ib2R5", "Forwarded: for=10.1.2.3"]
OF_THE_CONNECTION = ["Keep-Alive: timeout=5", "TE: trailers", "Trailer: X-Checksum", "Proxy-Connection: keep-alive"]

ANSWERED = b"\r\n".join([
    b"HTTP/1.1 207 Words Of Its Own", b"Date: Wed, 01 Jan 2020 00:00:00 GMT", b"Server: Own/1.0", b"X-First: 1",
    b"Set-Cookie: a=1", b"X-Between: 2", b"Set-Cookie: b=2", b"x-small: letters", b"X-Empty:", b"ETag: W/\"odd\"",
    b"Content-Encoding: gzip", b"Content-Length: 5", b"Via: 1.1 its.proxy", b"X-Letters: \xe4\xc3\xa4",
    b"Connection: keep-alive, X-Hop", b"X-Hop: 1", b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive",
    b"Trailer: X-Checksum", b"Backhand-Own: 1", b"Backhand-Proxied: 10.9.9.9", b"", b"hello"])


def answer_with_fields(exchange):
    exchange.send(ANSWERED)


WITH_TRAILER = b"".join([
    b"HTTP/1.1 200 OK\r\nTrailer: X-Trailer\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX-Trailer: from the peer\r\n\r\n"])


@pytest.fixture(scope="module", params=MPMS)
def forwarder(request):
    with two_peers(request.param, {"fields": answer_with_fields, "trailers": say(WITH_TRAILER)}) as running:
        yield running


def ask(server, target, *fields, **rest):
    with Connection(server.address, server.port) as connection:
        connection.send(request(target, *fields, **rest))
        return connection.response()


def head_at_peer(forwarder, target, *fields, **rest):
    """The lines of the head that a peer gets."""
    server, peers = forwarder
    for peer in peers:
        peer.forget()
    ask(server, target, *fields, **rest)
    exchange, = exchanges_of(peers, target)
    return exchange.head.split("\r\n")[:-2]


def test_a_peer_gets_the_clients_fields_in_their_order_and_what_a_forwarder_adds(forwarder):
    server, peers = forwarder
    lines = head_at_peer(forwarder, "/peer/one", *OTHERS, *OF_THE_CONNECTION, "Connection: close, X-Hop", "X-Hop: 1")
    exchange, = exchanges_of(peers, "/peer/one")
    client_port = exchange.field("Backhand-Exchange").split(";")[0]

    assert lines[0] == "GET /peer/one HTTP/1.1"
    assert lines[1] == f"Host: {client.SITE}"
    assert [line.replace("X-Empty: ", "X-Empty:") for line in lines[2:-3]] == OTHERS
    assert lines[-3] == f"Via: 1.1 {server.contact} (backhand)"
    assert lines[-2] == "Backhand-Proxied: 127.0.0.1"
    assert lines[-1].startswith(f"Backhand-Exchange: {client_port};local-port={server.port};site=")
    assert lines[-1].endswith(";scheme=http;version=1.1")


@pytest.mark.parametrize("host", ["WWW.Backhand.Test", f"{client.SITE}:8080", f"{client.SITE}."])
def test_a_peer_gets_the_host_as_it_was_sent(forwarder, host):
    assert head_at_peer(forwarder, f"/peer/host-{host}", host=host)[1] == f"Host: {host}"


TARGETS = ["/peer/%7e%41/b%2Fc%C3%A9?x=%20+y&&", "/peer/a;b=1/c,d?e;f", "/peer/query?", "/peer/two??", "/peer/odd?[]{}|^`",
           "//peer/./x/../y//z", "/folder/", "/folder/?index=%69", "/index-script/?q", "/fallback/some/where",
           "/rewritten/alias?x=%79", "/multi/page", "/passed/on%20ward?q=%20z"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_peer_gets_the_target_as_it_was_sent(forwarder, target):
    assert head_at_peer(forwarder, target)[0] == f"GET {target} HTTP/1.1"


def test_a_client_gets_the_peers_fields_and_words_but_for_those_of_the_connection(forwarder):
    response = ask(forwarder[0], "/peer/fields")

    assert response.status_line == "HTTP/1.1 207 Words Of Its Own"
    assert response.body == b"hello"
    assert response.fields == [
        ("Date", "Wed, 01 Jan 2020 00:00:00 GMT"), ("Server", "Own/1.0"), ("X-First", "1"), ("Set-Cookie", "a=1"),
        ("X-Between", "2"), ("Set-Cookie", "b=2"), ("x-small", "letters"), ("X-Empty", ""), ("ETag", 'W/"odd"'),
        ("Content-Encoding", "gzip"), ("Content-Length", "5"), ("Via", "1.1 its.proxy"), ("X-Letters", "\xe4\xc3\xa4")]


def test_a_peer_is_not_told_that_the_client_closes_nor_the_client_that_the_peer_does(forwarder):
    server, peers = forwarder
    for fields in ([], ["Connection: close"]):
        with Connection(server.address, server.port) as connection:
            connection.send(request("/peer/connection", *fields))
            assert connection.response().field("Connection") == (fields[0].split()[1] if fields else None)
    assert {exchange.field("Connection") for exchange in exchanges_of(peers, "/peer/connection")} == {None}


def test_trailers_go_no_further_in_either_direction(forwarder):
    server, peers = forwarder
    # A longer body is streamed, also to the peer in chunks.
    body = chunked(b"x" * 100_000)[:-2] + b"X-Trailer: from the client\r\n\r\n"
    with Connection(server.address, server.port) as connection:
        connection.send(request("/peer/trailers", "Trailer: X-Trailer", "Transfer-Encoding: chunked", method="POST",
                                body=body))
        response = connection.response("POST")

    assert (response.framing, response.body, connection.trailers) == ("chunked", b"hello", [])
    exchange, = exchanges_of(peers, "/peer/trailers")
    assert (exchange.field("Transfer-Encoding"), exchange.field("Trailer")) == ("chunked", None)
    assert response.field("Trailer") is None
    # Nothing followed the last chunk.
    assert_connections_end(peers, "/peer/trailers")


def test_a_server_may_keep_its_name_to_itself():
    with two_peers("event", {}, "BackhandVia Off") as running:
        lines = head_at_peer(running, "/peer/via", "Via: 1.0 somewhere")
        assert [line for line in lines if line.startswith("Via:")] == ["Via: 1.0 somewhere"]
