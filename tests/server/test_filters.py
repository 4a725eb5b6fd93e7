"""Nothing of a forwarded exchange passes through the filters of the server that forwards it.

The peers are raw sockets, which apply none: whatever shows has been done here.
"""

import gzip

import pytest

from client import Connection, chunked, request
from httpd import MPMS
from raw_peer import exchanges_of, response, say, two_peers

# Each of these shows in whatever this server answers itself.
FILTERED = """
<Location "/peer/">
    Options +Includes
    SetInputFilter DEFLATE
    SetOutputFilter INCLUDES;SUBSTITUTE;DEFLATE
    AddOutputFilterByType SUBSTITUTE text/html
    Substitute "s|loaf|loaf and loaf|"
    Header add X-Added "here"
    Header always add X-Added-Always "here"
    Header append Vary "X-Appended"
    Header set Server "here"
    Header unset ETag
    RequestHeader set X-Set "here"
    ExpiresActive On
    ExpiresDefault "access plus 1 day"
    AddDefaultCharset utf-8
    ErrorDocument 404 "said here"
</Location>
Alias "/peer/" "${SITE}/htdocs/ssi/"
<If "-n req('X-Serve-Here')">
    Backhand off
</If>
"""

PAGE = b'<p><!--#echo var="REQUEST_URI" --> is a loaf.</p>\n' * 20
FIELDS = ["Date: Wed, 01 Jan 2020 00:00:00 GMT", "Server: Own/1.0", 'ETag: "own"', "Content-Type: text/html",
          "Accept-Ranges: bytes", "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT", "Vary: Cookie"]
CLOSE = "Connection: close"
COMPRESSED = gzip.compress(PAGE, mtime=0)


def in_chunks(body):
    head = "\r\n".join(["HTTP/1.1 200 OK", *FIELDS, CLOSE, "Transfer-Encoding: chunked"]).encode()
    return head + b"\r\n\r\n" + chunked(body)


class Recorder:
    """Takes whole bodies, and keeps them."""

    def __init__(self):
        self.bodies = {}

    def __call__(self, exchange):
        self.bodies[exchange.target] = exchange.read_body()
        exchange.send(response("200 OK", b"taken"))


RECORDED = Recorder()
BEHAVIOURS = {
    "page": say(response("200 OK", PAGE, *FIELDS, CLOSE)),
    "head": say(response("200 OK", PAGE, *FIELDS, CLOSE)[:-len(PAGE)]),
    "compressed": say(response("200 OK", COMPRESSED, *FIELDS, CLOSE, "Content-Encoding: gzip")),
    "absent": say(response("404 Not Found", PAGE, *FIELDS, CLOSE)),
    "refused": say(response("416 Range Not Satisfiable", PAGE, *FIELDS, CLOSE)),
    "chunked": say(in_chunks(PAGE)),
    "body": RECORDED,
}

# What makes filters of a server's own answer work.
ASKED = {
    "plainly": [],
    "for compressed": ["Accept-Encoding: gzip"],
    "for a range": ["Range: bytes=0-9"],
    "for ranges": ["Range: bytes=0-9,20-29", 'If-Range: "own"'],
    "for what is new": ['If-None-Match: "own"', "If-Modified-Since: Thu, 02 Jan 2020 00:00:00 GMT"],
}


@pytest.fixture(scope="module", params=MPMS)
def forwarder(request):
    with two_peers(request.param, BEHAVIOURS, site_lines=FILTERED) as running:
        yield running


def ask(server, target, *fields, **rest):
    with Connection(server.address, server.port) as connection:
        connection.send(request(target, *fields, **rest))
        return connection.response(rest.get("method", "GET"))


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("name, status, body", [("page", 200, PAGE), ("compressed", 200, COMPRESSED),
                                                ("absent", 404, PAGE), ("refused", 416, PAGE), ("chunked", 200, PAGE)],
                         ids=lambda value: value if isinstance(value, str) else "")
def test_a_client_gets_the_peers_bytes_and_fields_and_nothing_else(forwarder, name, status, body, asked):
    answer = ask(forwarder[0], f"/peer/{name}", *ASKED[asked])
    framing = [f"Content-Length: {len(body)}"] if name != "chunked" else ["Transfer-Encoding: chunked"]
    coding = ["Content-Encoding: gzip"] if name == "compressed" else []

    assert (answer.status, answer.body) == (status, body)
    assert sorted(f"{field}: {value}" for field, value in answer.fields) == sorted(FIELDS + coding + framing)


@pytest.mark.parametrize("asked", ASKED)
def test_a_client_that_asks_for_the_head_gets_the_peers(forwarder, asked):
    answer = ask(forwarder[0], "/peer/head", *ASKED[asked], method="HEAD")

    assert answer.status == 200
    assert sorted(f"{field}: {value}" for field, value in answer.fields) == \
        sorted([*FIELDS, f"Content-Length: {len(PAGE)}"])


@pytest.mark.parametrize("repeated", [1, 10_000], ids=["short", "long"])
def test_a_peer_gets_the_clients_bytes_and_fields(forwarder, repeated):
    server, peers = forwarder
    # Stored rather than compressed, to be long.
    body = gzip.compress(b"plain again " * repeated, compresslevel=0, mtime=0)
    target = f"/peer/body?{server.mpm}-{repeated}"
    assert ask(server, target, "Content-Encoding: gzip", method="POST", body=body).body == b"taken"

    assert RECORDED.bodies[target] == body
    exchange, = exchanges_of(peers, target)
    assert (exchange.field("Content-Encoding"), exchange.field("Content-Length")) == ("gzip", str(len(body)))
    assert exchange.field("X-Set") is None


def test_the_filters_are_there(forwarder):
    """What this server answers itself does show them: the tests above could not fail otherwise."""
    server, _ = forwarder
    answer = ask(server, "/peer/page.shtml", "Accept-Encoding: gzip", "X-Serve-Here: yes")

    assert (answer.field("Content-Encoding"), answer.field("X-Added")) == ("gzip", "here")
    assert b"<!--#" not in gzip.decompress(answer.body)
    assert ask(server, "/peer/nowhere", "X-Serve-Here: yes").body == b"said here"
