"""A client cannot tell a forwarded request from one that a single plain httpd answers.

The same bytes go to a plain httpd and to a server of a cluster that forwards all it may; status
line, header fields and every body byte must be the same. Both serve the same files under the same
port, so that the only difference allowed is the time of day.

Where httpd itself makes no promise, the comparison makes none: for scripts it chooses between
Content-Length and chunks by how fast the script is, and the boundary of several ranges is random.
"""

import gzip
import re

import pytest

import client
from client import Connection, chunked, new_token, request
from gates import Gate
from httpd import HTTPD_MODULES, MPMS, Cluster

MEBIBYTE = bytes(range(256)) * 4096

FORWARDED, SERVED_HERE, EITHER = "forwarded", "served here", "either"


@pytest.fixture(scope="module", params=MPMS)
def cluster(request):
    with Cluster(request.param, size=2, plain_too=True) as running:
        yield running.wait_until_complete()


class Shape:
    """One or several requests on one connection, and what is known of their way.

    `way` says whether the cluster forwards it. `httpd_frames` is set where httpd may choose the
    framing. `masked` are fields whose value holds a time or a random part.
    """

    def __init__(self, name, *requests, way=FORWARDED, httpd_frames=False, masked=()):
        self.name = name
        self.requests = requests
        self.way = way
        self.httpd_frames = httpd_frames
        self.masked = {"date", *masked}

    def __repr__(self):
        return self.name


def get(target, *fields, **rest):
    return "GET", request(target, *fields, **rest)


def head(target, *fields):
    return "HEAD", request(target, *fields, method="HEAD")


def post(target, body, *fields):
    return "POST", request(target, *fields, method="POST", body=body)


def by_method(method, target, *fields, **rest):
    return method, request(target, *fields, method=method, **rest)


GZIP = "Accept-Encoding: gzip"
CLOSE = "Connection: close"
CHUNKED = "Transfer-Encoding: chunked"

STATIC = [
    Shape("a static file", get("/small.html")),
    Shape("a static file for a client that closes", get("/small.html", CLOSE)),
    Shape("an empty file", get("/empty.txt")),
    Shape("a file of 5 MiB", get("/large.bin")),
    Shape("a range", get("/large.bin", "Range: bytes=1000000-1999999")),
    Shape("the last bytes of a file", get("/small.html", "Range: bytes=-10")),
    Shape("several ranges", get("/small.html", "Range: bytes=0-9,20-29"), masked=["content-type", "content-length"]),
    Shape("a range beyond the end", get("/small.html", "Range: bytes=100000-")),
    Shape("an If-Range that no longer holds", get("/small.html", "Range: bytes=0-9", 'If-Range: "old"')),
    Shape("HEAD of a file", head("/small.html")),
    Shape("HEAD of 5 MiB", head("/large.bin")),
    Shape("HEAD of what is not there", head("/nothing.html")),
    Shape("a file that has not changed", get("/small.html", "If-Modified-Since: Thu, 02 Jan 2020 00:00:00 GMT")),
    Shape("an If-None-Match of any", get("/small.html", "If-None-Match: *")),
    Shape("an If-Match that fails", get("/small.html", 'If-Match: "other"')),
    Shape("a folder's index page", get("/folder/")),
    Shape("the site's index page", get("/")),
    Shape("a listing of a folder", get("/listing/?C=S;O=A"), httpd_frames=True),
    Shape("a page in the client's language", get("/multi/page", "Accept-Language: de")),
    Shape("a page by its name in another folder's rules", get("/rewritten/alias")),
    Shape("a POST to a static file", post("/small.html", b"ignored")),
    Shape("a method that static files do not know", by_method("DELETE", "/small.html")),
    Shape("OPTIONS of a file", by_method("OPTIONS", "/small.html"), way=EITHER),
    Shape("OPTIONS of the server", by_method("OPTIONS", "*"), way=EITHER),
    Shape("TRACE", by_method("TRACE", "/small.html", "X-Traced: yes"), way=EITHER),
]

SCRIPTS = [
    Shape("a script without Content-Length", get("/cgi/unsized.cgi"), httpd_frames=True),
    Shape("a script with Content-Length", get("/cgi-sized/sized.cgi")),
    Shape("HEAD of a script", head("/cgi-sized/sized.cgi"), httpd_frames=True),
    Shape("a script's status and two cookies", get("/cgi/cookies.cgi"), httpd_frames=True),
    Shape("a status no standard knows", get("/cgi/status.cgi?299+Strange+But+True"), httpd_frames=True),
    Shape("a script that has no content", get("/cgi/status.cgi?204+No+Content"), httpd_frames=True),
    Shape("a script that says not modified", get("/cgi/status.cgi?304+Not+Modified"), httpd_frames=True),
    Shape("a script's own 404", get("/cgi/status.cgi?404+Not+Found"), httpd_frames=True),
    Shape("a script's own 503", get("/cgi/status.cgi?503+Service+Unavailable"), httpd_frames=True),
    Shape("a script that fails", get("/cgi/broken.cgi")),
    Shape("a script that is not there", get("/cgi/absent.cgi")),
    Shape("a script that sends the client elsewhere", get("/cgi/location.cgi?http://other.test/")),
    Shape("a script that sends the server elsewhere", get("/cgi/location.cgi?/small.html")),
    Shape("a response head of 30 KiB", get("/cgi/fields.cgi"), httpd_frames=True),
    Shape("what a script is told of a request",
          get("/cgi/env.cgi/more/path?a=1&b=two", "Cookie: c=1; d=2", "X-Own: yes", "User-Agent: tests",
              "Referer: http://other.test/?x=y"), httpd_frames=True),
    Shape("what a script is told for a Host with a port",
          get("/cgi/env.cgi", host="WWW.Backhand.Test:8080"), httpd_frames=True),
    Shape("a query with escapes", get("/cgi/env.cgi?a=%26%3D&b=c+d&%C3%A9=%00"), httpd_frames=True),
    Shape("a path with escapes", get("/cgi/env.cgi/a%20b%2Fc%C3%A9%25"), httpd_frames=True),
    Shape("a path with dots and doubled slashes", get("//cgi/./x/../env.cgi//deep/../er"), httpd_frames=True),
    Shape("a target with the site's name", get(f"http://{client.SITE}/cgi/env.cgi?x"), httpd_frames=True),
    Shape("a path that the server rewrites", get("/passed/on%20ward?q=%20z"), httpd_frames=True),
    Shape("a request header field the server sets", get("/cgi-with-field-set/env.cgi"), httpd_frames=True),
    Shape("a request header field the server adds", get("/cgi-with-field-added/env.cgi"), httpd_frames=True),
    Shape("a header field that is there twice",
          get("/cgi/env.cgi", "X-Twice: one", "X-Twice: two", "Via: 1.0 somewhere"), httpd_frames=True),
    Shape("as many header fields as httpd allows",
          get("/cgi/env.cgi", *[f"X-Field-{number}: {number}" for number in range(98)]), way=EITHER,
          httpd_frames=True),
    Shape("header fields of 48 KiB",
          get("/cgi/env.cgi", *[f"X-Field-{number}: {'v' * 8000}" for number in range(6)]), httpd_frames=True),
    Shape("a request line of 8,000 bytes", get("/cgi/env.cgi?" + "q" * 7980), httpd_frames=True),
]

FILTERS = [
    Shape("a page with includes", get("/ssi/page.shtml?q=1"), httpd_frames=True),
    Shape("a page that is compressed", get("/deflate/page.html", GZIP), httpd_frames=True),
    Shape("a page that could be compressed", get("/deflate/page.html")),
    Shape("HEAD of a page that is compressed", head("/deflate/page.html", GZIP), httpd_frames=True),
    Shape("header fields that the server adds", get("/headers/page.html"), masked=["expires"]),
    Shape("header fields that the server adds to an error", get("/headers/nothing.html"), masked=["expires"]),
    Shape("a page with substitutions", get("/substitute/page.html"), httpd_frames=True),
    Shape("a script behind includes and substitutions", get("/everything-filtered/directive.cgi"),
          httpd_frames=True),
    Shape("a compressed body that the server inflates",
          post("/cgi-inflated/echo.cgi", gzip.compress(b"plain again " * 100, mtime=0), "Content-Encoding: gzip"),
          httpd_frames=True),
]

BODIES = [
    Shape("a small POST", post("/cgi/echo.cgi", b"name=value"), httpd_frames=True),
    Shape("a POST of nothing", post("/cgi/echo.cgi", b"", "Content-Length: 0"), httpd_frames=True),
    Shape("a POST of 1 MiB", post("/cgi/echo.cgi", MEBIBYTE), httpd_frames=True),
    Shape("a chunked POST", post("/cgi/echo.cgi", chunked(b"one", b"two", b"three" * 1000), CHUNKED),
          httpd_frames=True),
    Shape("a chunked POST of 1 MiB", post("/cgi/echo.cgi", chunked(MEBIBYTE[:99], MEBIBYTE), CHUNKED),
          httpd_frames=True),
    Shape("a chunked POST of nothing", post("/cgi/echo.cgi", chunked(), CHUNKED), httpd_frames=True),
    Shape("a PUT", by_method("PUT", "/cgi/echo.cgi", body=b"put"), httpd_frames=True),
    Shape("a method of no standard", by_method("BREW", "/cgi/echo.cgi", body=b"coffee"), httpd_frames=True,
          way=EITHER),
    Shape("what a script is told of a POST",
          post("/cgi/env.cgi", b"a=1", "Content-Type: application/x-www-form-urlencoded"), httpd_frames=True),
    Shape("a body larger than the site allows", post("/cgi-limited/echo.cgi", b"x" * 2000), way=EITHER),
]

REFUSALS = [
    Shape("a page that is not there", get("/nothing.html")),
    Shape("a missing page with the server's text", get("/text-errors/nothing.html")),
    Shape("a missing page with a script's words", get("/script-errors/nothing.html?x=1"), httpd_frames=True),
    Shape("a page that is forbidden", get("/forbidden/page.html"), way=EITHER),
    Shape("a page for members, to a stranger", get("/members/small.html"), way=EITHER),
    Shape("a page for members, with a wrong password",
          get("/members/small.html", "Authorization: Basic bWVtYmVyOndyb25n"), way=EITHER),
    Shape("a page for members, to one of them",
          get("/members/cgi/env.cgi", "Authorization: Basic bWVtYmVyOnNlY3JldA=="), httpd_frames=True),
    Shape("a redirect by mod_rewrite", get("/elsewhere/page?q=1"), way=EITHER),
    Shape("a redirect by mod_alias", get("/gone-away/page"), way=EITHER),
    Shape("a redirect to a folder's slash", get("/folder"), way=EITHER),
    Shape("a redirect to a folder's slash for a Host with a port", get("/folder?x", host="www.backhand.test:81"),
          way=EITHER),
    Shape("a request without Host", get("/small.html", host=None), way=EITHER),
    Shape("a request that is no HTTP", ("GET", b"GET /small page.html HTTP/1.1\r\nHost: x\r\n\r\n"), way=EITHER),
]

CONNECTIONS = [
    Shape("an HTTP/1.0 client", get("/small.html", version="HTTP/1.0")),
    Shape("an HTTP/1.0 client without Host", get("/small.html", version="HTTP/1.0", host=None), way=EITHER),
    Shape("an HTTP/1.0 client with keep-alive",
          get("/small.html", "Connection: Keep-Alive", version="HTTP/1.0"),
          get("/folder/", "Connection: Keep-Alive", version="HTTP/1.0"),
          get("/empty.txt", version="HTTP/1.0")),
    Shape("an HTTP/1.0 client of a script",
          get("/cgi/unsized.cgi", "Connection: Keep-Alive", version="HTTP/1.0"), httpd_frames=True),
    Shape("several requests on one connection",
          get("/small.html"), get("/large.bin"), post("/cgi/echo.cgi", b"third"), head("/small.html"),
          get("/cgi/unsized.cgi"), get("/nothing.html"), get("/small.html", CLOSE), httpd_frames=True),
]


SHAPES = STATIC + SCRIPTS + FILTERS + BODIES + REFUSALS + CONNECTIONS


def converse(server, shape, pipelined=False):
    """Sends a shape's requests on one connection and returns (responses, tokens)."""
    tokens = [new_token() for _ in shape.requests]
    raw = [with_token(data, token) for (_, data), token in zip(shape.requests, tokens)]
    with Connection(server.address, server.port) as connection:
        if pipelined:
            connection.send(b"".join(raw))
            responses = [connection.response(method) for method, _ in shape.requests]
        else:
            responses = []
            for (method, _), data in zip(shape.requests, raw):
                connection.send(data)
                responses.append(connection.response(method))
        return responses, tokens


def with_token(data, token):
    """The request with the token as its last header field."""
    return data.replace(b"\r\n\r\n", b"\r\nX-Token: " + token.encode() + b"\r\n\r\n", 1)


def comparable(name, value):
    """A field's value; httpd lists the methods that it allows in no particular order."""
    return ",".join(sorted(value.split(","))) if name == "Allow" else value


def visible(response, shape, tokens):
    """What a client sees of a response, as text lines, without what may differ."""
    fields = [f"{name}: {'(masked)' if name.lower() in shape.masked else comparable(name, value)}"
              for name, value in response.fields]
    body = response.body
    if shape.httpd_frames:
        fields = [field for field in fields
                  if not field.lower().startswith(("content-length:", "transfer-encoding:"))]
    framing = "any" if shape.httpd_frames else response.framing
    if response.field("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    boundary = re.search("boundary=(.*)", response.field("Content-Type") or "")
    if boundary:
        body = body.replace(boundary.group(1).encode(), b"(boundary)")
    for token in tokens:
        body = body.replace(token.encode(), b"(token)")
    return [*response.interim, response.status_line, *sorted(fields, key=lambda field: field.split(":")[0].lower()),
            f"framing: {framing}"], body


def assert_same(direct, forwarded, shape, direct_tokens, forwarded_tokens):
    expected_head, expected_body = visible(direct, shape, direct_tokens)
    head, body = visible(forwarded, shape, forwarded_tokens)
    assert head == expected_head
    if body != expected_body and len(body) > 4096:
        difference = next((at for at, pair in enumerate(zip(body, expected_body)) if pair[0] != pair[1]), "the end")
        pytest.fail(f"bodies of {len(body)} and {len(expected_body)} bytes part at {difference}")
    assert body == expected_body
    assert len(forwarded.all("Date")) == len(direct.all("Date"))


def way_of(cluster, token):
    """How the cluster treated one request, by the access logs of both servers."""
    first, second = cluster.servers
    here = first.logged(token)
    assert len(here) == 1
    if here[0].peer == "-":
        assert second.log(token) == []
        return SERVED_HERE
    assert here[0].peer == second.contact
    there = second.logged(token)
    assert [line.forwarder for line in there] == [first.address]
    return FORWARDED


def assert_way(cluster, tokens, expected):
    for token in tokens:
        way = way_of(cluster, token)
        assert expected in (EITHER, way), way


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_forwarded_request_is_answered_as_by_a_plain_httpd(cluster, shape):
    direct, direct_tokens = converse(cluster.plain, shape)
    forwarded, tokens = converse(cluster.servers[0], shape)

    for one, other in zip(direct, forwarded):
        assert_same(one, other, shape, direct_tokens, tokens)
    if direct[0].status != 400:
        assert_way(cluster, tokens, shape.way)


def test_header_fields_of_a_forwarded_response_keep_their_order(cluster):
    names = []
    for server in (cluster.plain, cluster.servers[0]):
        response = client.fetch(server, "/headers/page.html")
        names.append([name for name, _ in response.fields])

    assert names[1] == names[0]


def test_compressed_bytes_pass_through_untouched(cluster):
    direct, forwarded = [client.fetch(server, "/deflate/page.html", GZIP)
                         for server in (cluster.plain, cluster.servers[0])]

    assert forwarded.field("Content-Encoding") == "gzip"
    assert forwarded.body == direct.body


def test_pipelined_requests_are_answered_in_their_order(cluster):
    shape = Shape("pipelined", get("/small.html"), get("/cgi/unsized.cgi"), post("/cgi/echo.cgi", b"x" * 10_000),
                  get("/large.bin"), head("/folder/"), get("/nothing.html"), get("/empty.txt", CLOSE),
                  httpd_frames=True)

    direct, direct_tokens = converse(cluster.plain, shape, pipelined=True)
    forwarded, tokens = converse(cluster.servers[0], shape, pipelined=True)

    for one, other in zip(direct, forwarded):
        assert_same(one, other, shape, direct_tokens, tokens)
    assert_way(cluster, tokens, FORWARDED)


@pytest.mark.parametrize("body, fields", [
    (b"after the go-ahead", []),
    (MEBIBYTE, []),
    (chunked(b"in", b"chunks"), [CHUNKED]),
], ids=["small", "1 MiB", "chunked"])
def test_a_client_that_waits_for_100_continue_is_told_to_go_on(cluster, body, fields):
    conversations = []
    for server in (cluster.plain, cluster.servers[0]):
        data = request("/cgi/echo.cgi", "Expect: 100-continue", *fields, method="POST", body=body)
        head, rest = data.split(b"\r\n\r\n", 1)
        with Connection(server.address, server.port) as connection:
            connection.send(head + b"\r\n\r\n")
            interim = connection.interim()
            connection.send(rest)
            response = connection.response("POST")
        conversations.append((interim, response.status_line, response.interim, response.body))

    assert conversations[1] == conversations[0]
    assert conversations[0][0] == "HTTP/1.1 100 Continue"


def test_the_connection_ends_when_and_only_when_a_plain_httpd_ends_it(cluster):
    for fields, version in [([CLOSE], "HTTP/1.1"), ([], "HTTP/1.0")]:
        for server in (cluster.plain, cluster.servers[0]):
            with Connection(server.address, server.port) as connection:
                connection.send(request("/small.html", *fields, version=version))
                assert connection.response().status == 200
                assert connection.is_at_its_end()


def test_a_client_may_send_a_hundred_requests_on_a_connection_as_to_a_plain_httpd(cluster):
    last_words = []
    for server in (cluster.plain, cluster.servers[0]):
        with Connection(server.address, server.port) as connection:
            connections = []
            while True:
                connection.send(request("/small.html"))
                response = connection.response()
                connections.append((response.field("Connection"), response.field("Keep-Alive")))
                if response.field("Connection") == "close":
                    break
        last_words.append(connections)

    assert last_words[1] == last_words[0]


def test_a_slow_script_is_streamed_as_it_speaks(cluster):
    gate = Gate(cluster, f"half-{cluster.mpm}-stream")
    first = cluster.servers[0]
    with Connection(first.address, first.port, limit_s=15) as connection:
        connection.send(request(gate.target))
        connection.read_some(b"before the gate")
        gate.open()
        connection.read_some(b"after the gate")


def test_the_words_of_an_error_page_are_those_of_the_server_that_answered(cluster):
    response = client.fetch(cluster.servers[0], "/script-errors/nothing.html")

    assert response.status == 404
    assert "REDIRECT_STATUS=404" in response.text
    assert "REDIRECT_URL=/script-errors/nothing.html" in response.text


def test_a_client_may_send_as_many_fields_as_httpd_takes(cluster):
    # Host and Connection are two of the hundred that LimitRequestFields allows.
    fields = [f"X-Field-{number}: {number}" for number in range(98)]
    for server in (cluster.plain, cluster.servers[0]):
        assert client.fetch(server, "/small.html", *fields).status == 200
        assert client.fetch(server, "/small.html", *fields, "X-One-Too-Many: yes").status == 400


@pytest.mark.parametrize("sent, told", [([], "once"), (["X-Test: from the client"], "from the client, once")])
def test_a_request_field_that_both_servers_append_to_reaches_the_script_once(sent, told):
    with Cluster("event", size=2, site_lines="RequestHeader append X-Test once") as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        token = new_token()
        response = client.fetch(first, "/cgi/env.cgi", f"X-Token: {token}", *sent)

        assert [line.peer for line in first.logged(token)] == [second.contact]
        assert f"HTTP_X_TEST={told}\n" in response.text


# What is asked for with X-Serve-Here gets into the cache, and is stale at once.
STALE_CACHE = """
CacheRoot "${FOLDER}/cache"
CacheEnable disk "/"
CacheStoreExpired On
CacheHeader On
CacheQuickHandler %s
Header set Cache-Control "max-age=0"
<If "-n req('X-Serve-Here')">
    Backhand off
</If>
"""


@pytest.mark.parametrize("quick_handler", ["On", "Off"])
def test_a_stale_entry_of_the_forwarders_cache_does_not_make_the_answer_conditional(quick_handler):
    cluster = Cluster("event", size=2)
    first, second = cluster.servers
    first.server_lines = (f"LoadModule cache_module {HTTPD_MODULES}/mod_cache.so\n"
                          f"LoadModule cache_disk_module {HTTPD_MODULES}/mod_cache_disk.so")
    first.site_lines += STALE_CACHE % quick_handler
    cache = first.folder / "cache"
    cache.mkdir()
    cache.chmod(0o777)

    with cluster:
        cluster.wait_until_complete()
        client.fetch(first, "/small.html", "X-Serve-Here: yes")
        again = client.fetch(first, "/small.html", "X-Serve-Here: yes")
        assert again.field("X-Cache").startswith("REVALIDATE")

        token = new_token()
        response = client.fetch(first, "/small.html", f"X-Token: {token}")
        assert [line.peer for line in first.logged(token)] == [second.contact]
        assert response.status == 200
        assert response.body == (cluster.site / "htdocs" / "small.html").read_bytes()
