"""The table of requests that a forward must not show in, and what a client sees of their answers.

Every one of them is sent to a plain httpd and to a server that forwards it (test_transparency.py,
test_transparency_over_tls.py). Where httpd itself makes no promise the comparison makes none: for scripts it
chooses between Content-Length and chunks by how fast the script is, and the boundary of several ranges is random.
"""

import gzip
import re
from collections import namedtuple

import pytest

import client
from client import Connection, chunked, new_token, request

MEBIBYTE = bytes(range(256)) * 4096

# Refused before there is a request to decide about, or to log with its fields.
NEVER_BEGUN = (400, 414, 501, 505)

FORWARDED, SERVED_HERE, EITHER = "forwarded", "served here", "either"


class Asked(namedtuple("Asked", "method target fields version host body parts before raw")):
    """One request. `parts` are the chunks of a body; `before` is sent ahead of it; `raw` stands for all of it."""

    def data(self, token):
        """The request as HTTP/1, with a token to be found by in the logs."""
        if self.raw:
            return self.raw
        fields, body = self.fields, self.body
        if self.parts is not None:
            fields, body = [*fields, "Transfer-Encoding: chunked"], self.body or chunked(*self.parts)
        return self.before + request(self.target, *fields, f"X-Token: {token}", method=self.method,
                                     version=self.version, host=self.host, body=body)

    @property
    def fits_http_2(self):
        """Whether HTTP/2 can say the same: nothing in it is about lines, chunks or the connection."""
        about_http_1 = self.raw or self.before or (self.parts is not None and self.body)
        return not about_http_1 and self.version == "HTTP/1.1" and self.host is not None


class Shape:
    """One or several requests on one connection, and what is known of their way.

    `way` says whether the cluster forwards it. `httpd_frames` is set where httpd may choose the
    framing. `masked` are fields whose value holds a time or a random part. `http_1_only` shapes are
    about something that other versions do not have, or have bodies that nobody reads: curl takes an
    HTTP/2 server's word that it does for an error.
    """

    def __init__(self, name, *requests, way=FORWARDED, httpd_frames=False, masked=(), http_1_only=False):
        self.name = name
        self.requests = requests
        self.way = way
        self.httpd_frames = httpd_frames
        self.masked = {"date", *masked}
        self.fits_http_2 = not http_1_only and len(requests) == 1 and requests[0].fits_http_2

    def __repr__(self):
        return self.name


def by_method(method, target, *fields, version="HTTP/1.1", host=client.SITE, body=b"", parts=None, before=b""):
    return Asked(method, target, fields, version, host, body, parts, before, None)


def get(target, *fields, **rest):
    return by_method("GET", target, *fields, **rest)


def head(target, *fields):
    return by_method("HEAD", target, *fields)


def post(target, body, *fields):
    return by_method("POST", target, *fields, body=body)


def post_in_chunks(target, *parts, body=b""):
    return by_method("POST", target, parts=parts, body=body)


def raw(data):
    return Asked("GET", None, (), None, None, None, None, None, data)


def scripted(name, *requests, **rest):
    """A shape whose framing httpd chooses."""
    return Shape(name, *requests, httpd_frames=True, **rest)


GZIP = "Accept-Encoding: gzip"
CLOSE = "Connection: close"
LAST_MODIFIED = "Wed, 01 Jan 2020 00:00:00 GMT"

STATIC = [
    Shape("a static file", get("/small.html")),
    Shape("a static file for a client that closes", get("/small.html", CLOSE), http_1_only=True),
    Shape("an empty file", get("/empty.txt")),
    Shape("a file of 5 MiB", get("/large.bin")),
    Shape("HEAD of a file", head("/small.html")),
    Shape("HEAD of 5 MiB", head("/large.bin")),
    Shape("HEAD of what is not there", head("/nothing.html")),
    Shape("a folder's index page", get("/folder/")),
    Shape("the site's index page", get("/")),
    Shape("HEAD of the site's index page", head("/")),
    Shape("a folder whose index is a script", get("/index-script/?q=1"), httpd_frames=True),
    scripted("a listing of a folder", get("/listing/?C=S;O=A")),
    Shape("a page that stands for those that are not there", get("/fallback/some/where?x")),
    Shape("a page by its name in another folder's rules", get("/rewritten/alias")),
    Shape("a page whose character set the server names", get("/charset/page.html")),
    Shape("a file that has a head of its own", get("/asis/said.asis")),
]

METHODS = [
    Shape("a POST to a static file", post("/small.html", b"ignored"), http_1_only=True),
    Shape("a PUT to a static file", by_method("PUT", "/small.html", body=b"new"), http_1_only=True),
    Shape("a DELETE of a static file", by_method("DELETE", "/small.html")),
    Shape("a PATCH of a static file", by_method("PATCH", "/small.html", body=b"diff"), http_1_only=True),
    Shape("a method of WebDAV", by_method("PROPFIND", "/small.html", "Depth: 0")),
    Shape("OPTIONS of a file", by_method("OPTIONS", "/small.html"), way=EITHER),
    Shape("OPTIONS of a script", by_method("OPTIONS", "/cgi/env.cgi"), way=EITHER, httpd_frames=True),
    Shape("OPTIONS of the server", by_method("OPTIONS", "*"), way=EITHER),
    Shape("TRACE", by_method("TRACE", "/small.html", "X-Traced: yes"), way=EITHER),
    scripted("a PUT to a script", by_method("PUT", "/cgi/echo.cgi", body=b"put")),
    scripted("a PATCH to a script", by_method("PATCH", "/cgi/echo.cgi", body=b"patch")),
    scripted("a DELETE with a body", by_method("DELETE", "/cgi/echo.cgi", body=b"delete")),
    scripted("a GET with a body", get("/cgi/echo.cgi", body=b"got")),
    scripted("a method of no standard", by_method("BREW", "/cgi/echo.cgi", body=b"coffee"), way=EITHER),
    Shape("a method in small letters", by_method("get", "/small.html"), way=EITHER),
]

RANGES = [
    Shape("a range", get("/large.bin", "Range: bytes=1000000-1999999")),
    Shape("the last bytes of a file", get("/small.html", "Range: bytes=-10")),
    Shape("all but the first bytes", get("/small.html", "Range: bytes=10-")),
    Shape("several ranges", get("/small.html", "Range: bytes=0-9,20-29"), masked=["content-type", "content-length"]),
    Shape("ranges that overlap", get("/small.html", "Range: bytes=0-19,10-29"),
          masked=["content-type", "content-length"]),
    Shape("a range beyond the end", get("/small.html", "Range: bytes=100000-")),
    Shape("a range that is none", get("/small.html", "Range: bytes=9-1")),
    Shape("a range in another unit", get("/small.html", "Range: lines=1-2")),
    Shape("a range of an empty file", get("/empty.txt", "Range: bytes=0-1")),
    Shape("HEAD of a range", head("/small.html", "Range: bytes=0-9")),
    Shape("an If-Range that holds", get("/small.html", "Range: bytes=0-9", f"If-Range: {LAST_MODIFIED}")),
    Shape("an If-Range that no longer holds", get("/small.html", "Range: bytes=0-9", 'If-Range: "old"')),
    scripted("a range of a script", get("/cgi/sized.cgi", "Range: bytes=2-4")),
    scripted("a script that knows ranges itself", get("/cgi/partial.cgi", "Range: bytes=2-4")),
]

CONDITIONS = [
    Shape("a file that has not changed", get("/small.html", "If-Modified-Since: Thu, 02 Jan 2020 00:00:00 GMT")),
    Shape("a file that has changed", get("/small.html", "If-Modified-Since: Tue, 31 Dec 2019 00:00:00 GMT")),
    Shape("an If-None-Match of any", get("/small.html", "If-None-Match: *")),
    Shape("an If-None-Match that fails", get("/small.html", 'If-None-Match: "one", W/"two"')),
    Shape("an If-Match that fails", get("/small.html", 'If-Match: "other"')),
    Shape("an If-Match of any", get("/small.html", "If-Match: *")),
    Shape("an If-Unmodified-Since that fails",
          get("/small.html", "If-Unmodified-Since: Tue, 31 Dec 2019 00:00:00 GMT")),
    Shape("a condition that is no date", get("/small.html", "If-Modified-Since: yesterday")),
    Shape("HEAD of a file that has not changed", head("/small.html", f"If-Modified-Since: {LAST_MODIFIED}")),
]

NEGOTIATED = [
    Shape("a page in the client's language", get("/multi/page", "Accept-Language: de")),
    Shape("a page in no language of the client's", get("/multi/page", "Accept-Language: fr")),
    Shape("a page by its type map", get("/typed/page.var", "Accept-Language: en;q=0.1, de")),
    Shape("a file that is there compressed", get("/precompressed/page", GZIP)),
    Shape("a file that is there compressed, for a client that wants it plain", get("/precompressed/page")),
    Shape("a compressed file by its own name", get("/precompressed/page.html.gz")),
    Shape("a range of a compressed file", get("/precompressed/page.html.gz", "Range: bytes=5-20")),
    Shape("a page that no variant suits", get("/multi/page", "Accept: image/png"), way=EITHER),
]

SCRIPTS = [
    scripted("a script without Content-Length", get("/cgi/unsized.cgi")),
    Shape("a script with Content-Length", get("/cgi-sized/sized.cgi")),
    scripted("HEAD of a script", head("/cgi-sized/sized.cgi")),
    scripted("HEAD of a script that fails", head("/cgi/status.cgi?500+Internal+Server+Error")),
    scripted("a script's status and two cookies", get("/cgi/cookies.cgi")),
    scripted("a status no standard knows", get("/cgi/status.cgi?299+Strange+But+True")),
    scripted("a script that has no content", get("/cgi/status.cgi?204+No+Content")),
    scripted("a script that says not modified", get("/cgi/status.cgi?304+Not+Modified")),
    scripted("a script's own 404", get("/cgi/status.cgi?404+Not+Found")),
    scripted("a script's own 500", get("/cgi/status.cgi?500+Internal+Server+Error")),
    scripted("a script's own 502", get("/cgi/status.cgi?502+Bad+Gateway")),
    scripted("a script's own 503", get("/cgi/status.cgi?503+Service+Unavailable")),
    scripted("a script's own 504", get("/cgi/status.cgi?504+Gateway+Timeout")),
    scripted("a script's own 417", get("/cgi/status.cgi?417+Expectation+Failed")),
    scripted("a script's own 400", get("/cgi/status.cgi?400+Bad+Request")),
    Shape("a script that fails", get("/cgi/broken.cgi")),
    Shape("a script that is not there", get("/cgi/absent.cgi")),
    Shape("a script that sends the client elsewhere", get("/cgi/location.cgi?http://other.test/")),
    Shape("a script that sends the server elsewhere", get("/cgi/location.cgi?/small.html")),
    scripted("header fields of an application with ideas of its own", get("/cgi/odd.cgi")),
    scripted("a script whose character set the server names", get("/cgi-charset/odd.cgi")),
    scripted("a response head of 30 KiB", get("/cgi/fields.cgi")),
    scripted("what a script is told of a request",
             get("/cgi/env.cgi/more/path?a=1&b=two", "Cookie: c=1; d=2", "X-Own: yes", "User-Agent: tests",
                 "Referer: http://other.test/?x=y")),
    scripted("what a script is told for a Host with a port", get("/cgi/env.cgi", host="WWW.Backhand.Test:8080")),
    scripted("what a script is told of a body", post("/cgi/env.cgi", b"a=1", "Content-Type: text/own")),
    scripted("what a script is told of a body in chunks", post_in_chunks("/cgi/env.cgi", b"a=1", b"&b=2")),
    scripted("what a script is told of a long body in chunks", post_in_chunks("/cgi/env.cgi", MEBIBYTE)),
]

TARGETS = [
    scripted("a query with escapes", get("/cgi/env.cgi?a=%26%3D&b=c+d&%C3%A9=%00")),
    scripted("an empty query", get("/cgi/env.cgi?")),
    scripted("two question marks", get("/cgi/env.cgi??a=?")),
    scripted("a query with odd bytes", get("/cgi/env.cgi?[]{}|^`\"'<>,;:@/!$*()~")),
    scripted("a path with escapes", get("/cgi/env.cgi/a%20b%2Fc%C3%A9%25")),
    scripted("escapes that need not be", get("/%63gi/env%2ecgi/%7E%41?%41")),
    scripted("escapes of escapes", get("/cgi/env.cgi/%252F%25252e")),
    scripted("small letters in escapes", get("/cgi/env.cgi/%c3%a9?%c3%a9")),
    scripted("a path with dots and doubled slashes", get("//cgi/./x/../env.cgi//deep/../er")),
    scripted("a path with parameters", get("/cgi/env.cgi;a=1/b;c=2?d;e")),
    Shape("a path that leaves the site", get("/../../etc/passwd"), way=EITHER),
    Shape("an escaped path that leaves the site", get("/%2e%2e/%2e%2e/etc/passwd"), way=EITHER),
    Shape("an escaped NUL", get("/small.html%00"), way=EITHER),
    Shape("an escape that is none", get("/small.html%zz"), way=EITHER),
    Shape("letters that are not ASCII", get("/caf\xe9.html"), way=EITHER),
    Shape("a fragment", get("/small.html#part"), way=EITHER),
    scripted("a target with the site's name", get(f"http://{client.SITE}/cgi/env.cgi?x"), http_1_only=True),
    scripted("a path that the server rewrites", get("/passed/on%20ward?q=%20z")),
    scripted("a request line of 8,000 bytes", get("/cgi/env.cgi?" + "q" * 7980)),
    Shape("a request line that is too long", get("/cgi/env.cgi?" + "q" * 8300), way=EITHER, http_1_only=True),
]

FIELDS = [
    scripted("a request header field the server sets", get("/cgi-with-field-set/env.cgi")),
    scripted("a request header field the server adds", get("/cgi-with-field-added/env.cgi")),
    scripted("a header field that is there twice",
             get("/cgi/env.cgi", "X-Twice: one", "X-Twice: two", "Via: 1.0 somewhere")),
    scripted("header fields with odd values",
             get("/cgi/env.cgi", "X-Empty:", "X-Spaced:   wide   apart   ", "X-Quoted: \"a, b\"; c=\\\"",
                 "X-Letters: \xe4\xc3\xa4", "x-small: letters", "X-Tab: a\tb")),
    Shape("a folded header field", get("/cgi/env.cgi", "X-Folded: one\r\n two"), httpd_frames=True, http_1_only=True,
          way=EITHER),
    scripted("cookies in several fields", get("/cgi/env.cgi", "Cookie: a=1", "Cookie: b=2; c=3")),
    scripted("credentials that nobody asked for", get("/cgi/env.cgi", "Authorization: Bearer a.b.c")),
    scripted("fields of other proxies", get("/cgi/env.cgi", "X-Forwarded-For: 10.1.2.3", "Forwarded: for=10.1.2.3",
                                            "X-Forwarded-Proto: https", "Max-Forwards: 5")),
    scripted("as many header fields as httpd allows",
             get("/cgi/env.cgi", *[f"X-Field-{number}: {number}" for number in range(98)]), way=EITHER),
    scripted("header fields of 48 KiB",
             get("/cgi/env.cgi", *[f"X-Field-{number}: {'v' * 8000}" for number in range(6)])),
    Shape("a header field that is too long", get("/small.html", "X-Long: " + "v" * 8300), way=EITHER),
]

FILTERS = [
    scripted("a page with includes", get("/ssi/page.shtml?q=1")),
    scripted("a page that includes a script and what is not there", get("/ssi/script.shtml")),
    # mod_http2 breaks the stream off, without any forwarding.
    scripted("HEAD of a page with includes", head("/ssi/page.shtml"), http_1_only=True),
    # Through mod_http2 an include is missing now and then, also from a plain httpd.
    scripted("a POST to a page with includes", post("/ssi/script.shtml?q", b"a=1"), http_1_only=True),
    scripted("a page that is compressed", get("/deflate/page.html", GZIP)),
    Shape("a page that could be compressed", get("/deflate/page.html")),
    scripted("HEAD of a page that is compressed", head("/deflate/page.html", GZIP)),
    scripted("a compressed page that has not changed",
             get("/deflate/page.html", GZIP, f"If-Modified-Since: {LAST_MODIFIED}")),
    scripted("a script whose output is compressed", get("/cgi-compressed/odd.cgi", GZIP)),
    Shape("header fields that the server adds", get("/headers/page.html"), masked=["expires"]),
    Shape("header fields that the server adds to an error", get("/headers/nothing.html"), masked=["expires"]),
    Shape("header fields that the server adds to a 304", get("/headers/page.html", "If-None-Match: *"),
          masked=["expires"]),
    scripted("a page with substitutions", get("/substitute/page.html")),
    scripted("a script behind includes and substitutions", get("/everything-filtered/directive.cgi")),
    scripted("a compressed body that the server inflates",
             post("/cgi-inflated/echo.cgi", gzip.compress(b"plain again " * 100, mtime=0), "Content-Encoding: gzip")),
]

BODIES = [
    scripted("a small POST", post("/cgi/echo.cgi", b"name=value")),
    scripted("a POST of nothing", post("/cgi/echo.cgi", b"", "Content-Length: 0")),
    scripted("a POST without a body", post("/cgi/echo.cgi", b""), http_1_only=True),
    scripted("a POST of 64 KiB", post("/cgi/echo.cgi", MEBIBYTE[:65_536])),
    scripted("a POST of 64 KiB and a byte", post("/cgi/echo.cgi", MEBIBYTE[:65_537])),
    scripted("a POST of 1 MiB", post("/cgi/echo.cgi", MEBIBYTE)),
    scripted("a chunked POST", post_in_chunks("/cgi/echo.cgi", b"one", b"two", b"three" * 1000)),
    scripted("a chunked POST of 1 MiB", post_in_chunks("/cgi/echo.cgi", MEBIBYTE[:99], MEBIBYTE)),
    scripted("a chunked POST of nothing", post_in_chunks("/cgi/echo.cgi")),
    scripted("chunks with extensions",
             post_in_chunks("/cgi/echo.cgi", body=b"3;a=1\r\none\r\n3;b=\"2\"\r\ntwo\r\n0\r\n\r\n")),
    scripted("chunks with trailers",
             post_in_chunks("/cgi/echo.cgi", body=b"3\r\none\r\n0\r\nX-Trailer: a\r\nX-Other: b\r\n\r\n")),
    scripted("what a script is told of a POST",
             post("/cgi/env.cgi", b"a=1", "Content-Type: application/x-www-form-urlencoded")),
    Shape("a body larger than the site allows", post("/cgi-limited/echo.cgi", b"x" * 2000), way=EITHER,
          http_1_only=True),
    Shape("a length and chunks",
          post("/cgi/echo.cgi", chunked(b"abc"), "Content-Length: 5", "Transfer-Encoding: chunked"),
          way=EITHER, http_1_only=True, httpd_frames=True),
    Shape("two lengths", post("/cgi/echo.cgi", b"abc", "Content-Length: 3", "Content-Length: 4"), way=EITHER,
          http_1_only=True),
    Shape("a length that is none", post("/cgi/echo.cgi", b"abc", "Content-Length: three"), way=EITHER,
          http_1_only=True),
    Shape("a coding that nobody knows", post("/cgi/echo.cgi", b"abc", "Transfer-Encoding: rot13"), way=EITHER,
          http_1_only=True),
    Shape("an expectation that nobody knows", get("/small.html", "Expect: the-unexpected"), way=EITHER),
]

REFUSALS = [
    Shape("a page that is not there", get("/nothing.html")),
    Shape("a missing page with the server's text", get("/text-errors/nothing.html")),
    scripted("a missing page with a script's words", get("/script-errors/nothing.html?x=1")),
    scripted("a POST to a missing page with a script's words", post("/script-errors/nothing.html", b"a=1")),
    Shape("a missing page that is shown elsewhere", get("/errors-elsewhere/nothing.html")),
    Shape("a page that is forbidden", get("/forbidden/page.html"), way=EITHER),
    Shape("a page for members, to a stranger", get("/members/small.html"), way=EITHER),
    Shape("a page for members, with a wrong password",
          get("/members/small.html", "Authorization: Basic bWVtYmVyOndyb25n"), way=EITHER),
    scripted("a page for members, to one of them",
             get("/members/cgi/env.cgi", "Authorization: Basic bWVtYmVyOnNlY3JldA==")),
    Shape("a redirect by mod_rewrite", get("/elsewhere/page?q=1"), way=EITHER),
    Shape("a redirect by mod_alias", get("/gone-away/page"), way=EITHER),
    Shape("a page that is gone for good", get("/gone-for-good"), way=EITHER),
    Shape("a page to be seen elsewhere", post("/see-other", b"a=1"), way=EITHER, http_1_only=True),
    Shape("a redirect that keeps the query", get("/matched/page.old?x=%20y"), way=EITHER),
    Shape("a redirect to a folder's slash", get("/folder"), way=EITHER),
    Shape("a redirect to a folder's slash for a Host with a port", get("/folder?x", host="www.backhand.test:81"),
          way=EITHER),
    Shape("a request without Host", get("/small.html", host=None), way=EITHER),
    Shape("a request with two Hosts", get("/small.html", f"Host: {client.SITE}"), way=EITHER, http_1_only=True),
    Shape("a request for a version that nobody knows", get("/small.html", version="HTTP/3.0"), way=EITHER),
    Shape("a request that is no HTTP", raw(b"GET /small page.html HTTP/1.1\r\nHost: x\r\n\r\n"), way=EITHER),
]

CONNECTIONS = [
    Shape("an HTTP/1.0 client", get("/small.html", version="HTTP/1.0")),
    Shape("an HTTP/1.0 client without Host", get("/small.html", version="HTTP/1.0", host=None), way=EITHER),
    Shape("an HTTP/1.0 client with keep-alive",
          get("/small.html", "Connection: Keep-Alive", version="HTTP/1.0"),
          get("/folder/", "Connection: Keep-Alive", version="HTTP/1.0"),
          get("/empty.txt", version="HTTP/1.0")),
    scripted("an HTTP/1.0 client of a script", get("/cgi/unsized.cgi", "Connection: Keep-Alive", version="HTTP/1.0")),
    scripted("an HTTP/1.0 client that sends a body",
             by_method("POST", "/cgi/echo.cgi", version="HTTP/1.0", body=MEBIBYTE[:100_000])),
    Shape("an HTTP/1.0 client that asks for a range", get("/small.html", "Range: bytes=0-9", version="HTTP/1.0")),
    Shape("an empty line before the request", get("/small.html", before=b"\r\n")),
    scripted("several requests on one connection",
             get("/small.html"), get("/large.bin"), post("/cgi/echo.cgi", b"third"), head("/small.html"),
             get("/cgi/unsized.cgi"), get("/nothing.html"), get("/small.html", CLOSE)),
]

SHAPES = (STATIC + METHODS + RANGES + CONDITIONS + NEGOTIATED + SCRIPTS + TARGETS + FIELDS + FILTERS + BODIES +
          REFUSALS + CONNECTIONS)


# ---- asking, and what a client sees ----


def converse(server, shape, pipelined=False, tls=False):
    """Sends a shape's requests on one connection and returns (responses, tokens)."""
    tokens = [new_token() for _ in shape.requests]
    data = [asked.data(token) for asked, token in zip(shape.requests, tokens)]
    methods = [asked.method for asked in shape.requests]
    port, name = (server.tls_port, client.SITE) if tls else (server.port, None)
    with Connection(server.address, port, tls_name=name) as connection:
        if pipelined:
            connection.send(b"".join(data))
            responses = [connection.response(method) for method in methods]
        else:
            responses = []
            for method, each in zip(methods, data):
                connection.send(each)
                responses.append(connection.response(method))
        return responses, tokens


def comparable(name, value):
    """A field's value; httpd lists the methods that it allows in no particular order."""
    return ",".join(sorted(value.split(","))) if name.lower() == "allow" else value


def visible(response, shape, tokens):
    """What a client sees of a response, as text lines, without what may differ."""
    fields = [f"{name}: {'(masked)' if name.lower() in shape.masked else comparable(name, value)}"
              for name, value in response.fields]
    body = response.body
    framing = response.framing
    if shape.httpd_frames:
        fields = [field for field in fields
                  if not field.lower().startswith(("content-length:", "transfer-encoding:"))]
        framing = "any"
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
        assert expected in (EITHER, way), (way, cluster.servers[0].counters(), cluster.servers[0].states())


def assert_answered_alike(cluster, shape, ask):
    """`ask` sends a shape's requests to a server and returns (responses, tokens)."""
    direct, direct_tokens = ask(cluster.plain, shape)
    forwarded, tokens = ask(cluster.servers[0], shape)

    for one, other in zip(direct, forwarded):
        assert_same(one, other, shape, direct_tokens, tokens)
    if direct[0].status not in NEVER_BEGUN:
        assert_way(cluster, tokens, shape.way)
