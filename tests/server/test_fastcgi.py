"""Applications behind FastCGI, at the peer: they cannot tell a forwarded request from one of the peer's own.

The application (fastcgi.py) stands behind mod_proxy_fcgi at every server, as PHP's FPM or a Python application server
does, and gets each request twice: from a plain httpd, and from a peer to which another server has forwarded it.
"""

import contextlib
import threading

import pytest

from client import SITE, Connection, new_token, request
from fastcgi import STDERR, Exchange, FastCgiApplication
from httpd import FORWARD_ALWAYS, HTTPD_MODULES, MPMS, SERVE_HERE, Cluster, tls_site
from raw_peer import CUT, outcome_on
from shapes import (CLOSE, EITHER, FORWARDED, MEBIBYTE, Shape, assert_answered_alike, assert_way,
                    by_method, converse, get, head, post, post_in_chunks, scripted)

APPLICATION = "127.0.1.90"
# Where no application listens.
NOBODY = "127.0.1.91"
CLIENT = "127.0.0.77"

MODULES = f"""
LoadModule proxy_module {HTTPD_MODULES}/mod_proxy.so
LoadModule proxy_fcgi_module {HTTPD_MODULES}/mod_proxy_fcgi.so
"""
# The ways to hand requests to an application: all of a path, files of a kind (as for PHP), by a rule, and all of a
# folder to one file, by a rule in its .htaccess.
WAYS = {"ProxyPass": "/app", "SetHandler": "/files/app.fcgi", "RewriteRule": "/ruled", "front controller": "/front"}


def application_lines(port):
    """What every server says of the application."""
    return f"""
ProxyPass "/app" "fcgi://{APPLICATION}:{port}/somewhere/app" flushpackets=on
ProxyPass "/members/app" "fcgi://{APPLICATION}:{port}/somewhere/app"
ProxyPass "/own-errors" "fcgi://{APPLICATION}:{port}/somewhere/app"
ProxyPass "/nobody" "fcgi://{NOBODY}:{port}/somewhere" retry=0
RewriteRule "^/ruled(.*)$" "fcgi://{APPLICATION}:{port}/somewhere/app$1" [P]
Alias "/files/app.fcgi" "${{SITE}}/htdocs/small.html"
<Location "/files/">
    SetHandler "proxy:fcgi://{APPLICATION}:{port}/"
</Location>
Alias "/front" "${{SITE}}/htdocs/listing"
<Directory "${{SITE}}/htdocs/listing">
    RewriteEngine On
    RewriteRule "^(.*)$" "/files/app.fcgi/$1" [END]
</Directory>
<Location "/told-of-errors/">
    ErrorDocument 404 /app/tell.py/an-error
</Location>
<LocationMatch "^/(app|ruled|members/app|files)">
    CGIPassAuth On
    ProxyFCGISetEnvIf "true" BY_EXPRESSION "%{{REMOTE_ADDR}} %{{REQUEST_SCHEME}} %{{HTTPS}} %{{HTTP_HOST}}"
    SetEnvIf Remote_Addr "^(.*)$" BY_SETENVIF=$1
    SetEnvIf Remote_Addr "^" proxy-fcgi-pathinfo=first-dot
    RequestHeader set X-Set "by the server"
</LocationMatch>
<Location "/own-errors">
    ProxyErrorOverride On
</Location>
"""


# ---- what the application does ----


def echo(exchange):
    exchange.answer(b"Content-Type: application/octet-stream\r\n\r\n" + exchange.body)


def say(data, *fields):
    """Answers with a head of these fields, and this."""
    said = "".join(f"{field}\r\n" for field in fields).encode() + b"\r\n" + data
    return lambda exchange: exchange.answer(said)


def redirect(exchange):
    """Sends the client to what the query says."""
    exchange.answer(f"Location: {exchange.parameters['QUERY_STRING']}\r\n\r\n".encode())


def complain(exchange):
    exchange.say(b"the application is not amused", STDERR)
    exchange.answer(b"Status: 500 Broken By Itself\r\nContent-Type: text/plain\r\n\r\nno")


def leave_within_the_body(exchange):
    """Dies after half of its answer."""
    exchange.say(b"Content-Type: text/plain\r\n\r\n" + b"x" * 50_000)


class Halves:
    """Says the second half of the answer when a test lets it."""

    def __init__(self):
        self.may_go_on = threading.Event()

    def __call__(self, exchange):
        exchange.say(b"Content-Type: text/plain\r\n\r\nthe first half\n")
        self.may_go_on.wait(30)
        exchange.answer(b"the second half\n")


PLAIN_TEXT = "Content-Type: text/plain"
BEHAVIOURS = {
    "echo": echo,
    "hello": say(b"hello", PLAIN_TEXT),
    "redirect": redirect,
    "complain": complain,
    "cookies": say(b"yours", PLAIN_TEXT, "Set-Cookie: a=1; Path=/; HttpOnly", "Set-Cookie: b=2; Secure"),
    "created": say(b"made", "Status: 201 Made By Hand", PLAIN_TEXT, "Location: /made/1"),
    "teapot": say(b"short and stout", "Status: 418 I'm A Teapot", PLAIN_TEXT),
    "not-found": say(b"not with me", "Status: 404 Not Found", PLAIN_TEXT),
    "busy": say(b"later", "Status: 503 Service Unavailable", PLAIN_TEXT, "Retry-After: 7"),
    "no-content": say(b"", "Status: 204 No Content"),
    "unchanged": say(b"", "Status: 304 Not Modified", 'ETag: "own"'),
    "moved": say(b"over there", "Status: 307 Temporary Redirect", "Location: /app/tell?moved", PLAIN_TEXT),
    "challenge": say(b"who?", "Status: 401 Unauthorized", PLAIN_TEXT, 'WWW-Authenticate: Bearer realm="own"'),
    "cached": say(b"fresh", PLAIN_TEXT, "Cache-Control: max-age=60", 'ETag: "own"', "Vary: Cookie",
                  "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT"),
    "forger": say(b"ours", PLAIN_TEXT, "Backhand-Load: 1 2 3 4", "Backhand-Declined: busy"),
    "large": say(MEBIBYTE * 3, "Content-Type: application/octet-stream"),
    "silent": Exchange.end,
    "gone": lambda exchange: None,
    "nonsense": lambda exchange: exchange.answer(b"no head at all"),
    "half-a-body": leave_within_the_body,
}


# ---- the servers ----


def cluster_with(mpm, behaviours=None, **settings):
    """Two servers and a plain one, with TLS; start the application, at its port, before them."""
    cluster = Cluster(mpm, size=2, tls=True, plain_too=True, server_lines=MODULES, **settings)
    lines = application_lines(cluster.port)
    for server in cluster.everyone:
        chain = FORWARD_ALWAYS if server in cluster.servers else ""
        server.site_lines += lines
        server.tail_lines = tls_site(server, f'<Location "/">\n{chain}\n</Location>\n{lines}')
    return cluster, FastCgiApplication(APPLICATION, cluster.port, behaviours or BEHAVIOURS)


@pytest.fixture(scope="module", params=MPMS)
def running(request):
    """(the cluster, its application)"""
    cluster, application = cluster_with(request.param)
    with application, cluster:
        yield cluster.wait_until_complete(), application


@pytest.fixture(params=["http", "https"])
def tls(request):
    return request.param == "https"


def connection_to(server, tls, **rest):
    port, tls_name = (server.tls_port, SITE) if tls else (server.port, None)
    return Connection(server.address, port, CLIENT, tls_name, **rest)


class Told:
    """What the application is told of one request of a client that has bound its address."""

    def __init__(self, application, server, asked, tls):
        self.token = new_token()
        with connection_to(server, tls) as connection:
            self.client_port = connection.own_end[1]
            connection.send(asked.data(self.token))
            self.response = connection.response(asked.method)
        exchange, = application.asked(self.token)
        self.parameters, self.body = exchange.parameters, exchange.body


# What two connections never share, and what docs/requests.md excepts.
ITS_OWN = {"HTTP_X_TOKEN", "REMOTE_PORT", "SERVER_ADDR", "HTTP_CONNECTION", "HTTP_EXPECT", "BACKHAND_VIA",
           "REDIRECT_BACKHAND_VIA", "SSL_TLS_SNI", "REDIRECT_SSL_TLS_SNI"}


def shared(parameters):
    return {name: value for name, value in parameters.items() if name not in ITS_OWN}


def of_the_cluster(parameters):
    """Those that come of header fields between servers."""
    return [name for name in parameters if "HTTP_BACKHAND" in name]


def told_both_ways(running, asked, tls=False):
    """What the application is told directly and by way of a forward, which was one."""
    cluster, application = running
    direct = Told(application, cluster.plain, asked, tls)
    forwarded = Told(application, cluster.servers[0], asked, tls)
    assert_way(cluster, [forwarded.token], FORWARDED)
    return direct, forwarded


# ---- what it is told ----

BASIC = "Authorization: Basic bWVtYmVyOnNlY3JldA=="
ASKED = {
    "a request": get("/app/tell"),
    "a query": get("/app/tell?a=1&b=%20two+%26&&=?"),
    "an empty query": get("/app/tell?"),
    "a path behind the script": get("/app/tell.py/more/path?q"),
    "a path with escapes": get("/app/tell.py/a%20b%2Fc%C3%A9"),
    "a path with doubled slashes and dots": get("//app/x/..//tell.py//deep/./er"),
    "a file that is the application": get("/files/app.fcgi?q"),
    "a file that is the application, and more": get("/files/app.fcgi/more/path?q"),
    "a path by a rule": get("/ruled/tell.py/more?q"),
    "a path for the front controller": get("/front/some/where?q"),
    "a form for the front controller": post("/front/some/where", b"a=1", "Cookie: a=1"),
    "a page that is not there": get("/told-of-errors/nothing?q", "Cookie: a=1"),
    "a Host with a port": get("/app/tell", host=f"{SITE}:8080"),
    "a Host in capitals": get("/app/tell", host="WWW.Backhand.Test"),
    "a Host of no site": get("/app/tell", host="other.backhand.test"),
    "cookies": get("/app/tell", "Cookie: a=1; b=2", "Cookie: c=3"),
    "a token of its own": get("/app/tell", "Authorization: Bearer a.b.c"),
    "a member": get("/members/app/tell", BASIC),
    "fields of other proxies": get("/app/tell", "X-Forwarded-For: 10.1.2.3", "Forwarded: for=10.1.2.3",
                                   "X-Forwarded-Proto: https", "Via: 1.0 somewhere"),
    "fields with odd values": get("/app/tell", "X-Empty:", "X-Twice: one", "X-Twice: two", "X-Letters: \xe4\xc3\xa4",
                                  "X-Set: by the client"),
    "a field of 8 KB": get("/app/tell", "X-Long: " + "v" * 8000),
    "a form": post("/app/tell", b"a=1&b=2", "Content-Type: application/x-www-form-urlencoded"),
    "a form in chunks": post_in_chunks("/app/tell", b"a=1", b"&b=2"),
    "a long body": post("/app/tell", MEBIBYTE, "Content-Type: application/octet-stream"),
    "a long body in chunks": post_in_chunks("/app/tell", MEBIBYTE[:99], MEBIBYTE),
    "a body that waits for a word": post("/app/tell", b"a=1", "Expect: 100-continue"),
    "an empty body": post("/app/tell", b"", "Content-Length: 0"),
    "HEAD": head("/app/tell?q"),
    "OPTIONS": by_method("OPTIONS", "/app/tell"),
    "a method of no standard": by_method("BREW", "/app/tell", body=b"coffee"),
    "a client of HTTP/1.0": get("/app/tell", version="HTTP/1.0"),
}


@pytest.mark.parametrize("name", ASKED)
def test_an_application_is_told_of_a_forwarded_request_what_it_would_be_told_directly(running, tls, name):
    direct, forwarded = told_both_ways(running, ASKED[name], tls)

    assert shared(forwarded.parameters) == shared(direct.parameters)
    assert forwarded.body == direct.body


def test_an_application_is_told_who_asks_and_what_for(running, tls):
    cluster = running[0]
    asked = get("/app/tell.py/more?a=1", "Cookie: c=1", "Authorization: Bearer a.b.c", host=f"{SITE}:8080")
    scheme = "https" if tls else "http"
    for told in told_both_ways(running, asked, tls):
        expected = {"REMOTE_ADDR": CLIENT, "REMOTE_PORT": str(told.client_port), "REQUEST_SCHEME": scheme,
                    "HTTPS": "on" if tls else None, "SERVER_NAME": SITE, "SERVER_PORT": "8080",
                    "HTTP_HOST": f"{SITE}:8080", "REQUEST_METHOD": "GET", "REQUEST_URI": "/app/tell.py/more?a=1",
                    "QUERY_STRING": "a=1", "PATH_INFO": "/more", "CONTENT_LENGTH": None, "HTTP_COOKIE": "c=1",
                    "HTTP_AUTHORIZATION": "Bearer a.b.c", "HTTP_X_SET": "by the server", "HTTP_VIA": None,
                    "BY_SETENVIF": CLIENT,
                    "BY_EXPRESSION": f"{CLIENT} {scheme} {'on' if tls else 'off'} {SITE}:8080",
                    "DOCUMENT_ROOT": f"{cluster.site}/htdocs"}
        assert {name: told.parameters.get(name) for name in expected} == expected


def test_an_application_is_told_the_port_that_the_client_has_connected_to(running, tls):
    cluster = running[0]
    port = cluster.tls_port if tls else cluster.port
    for told in told_both_ways(running, get("/app/tell", host=f"{SITE}:{port}"), tls):
        assert told.parameters["SERVER_PORT"] == str(port)
    # Of a Host without a port it is the scheme's own.
    for told in told_both_ways(running, get("/app/tell"), tls):
        assert told.parameters["SERVER_PORT"] == ("443" if tls else "80")


def test_what_an_application_is_told_besides_is_what_the_documentation_excepts(running, tls):
    cluster = running[0]
    direct, forwarded = told_both_ways(running, get("/app/tell", CLOSE), tls)
    besides = set(forwarded.parameters) - set(direct.parameters)
    missing = set(direct.parameters) - set(forwarded.parameters)

    assert besides == {"BACKHAND_VIA"}
    assert missing == {"HTTP_CONNECTION"} | ({"SSL_TLS_SNI"} if tls else set())
    assert forwarded.parameters["BACKHAND_VIA"] == cluster.servers[0].address
    # An address of its own for each of the servers.
    assert (direct.parameters["SERVER_ADDR"], forwarded.parameters["SERVER_ADDR"]) == \
        (cluster.plain.address, cluster.servers[1].address)


# The first two make a request one that stays; the others are no more believed.
FORGERIES = [["Backhand-Proxied: 10.9.9.9", "Backhand-Exchange: scheme=https"],
             ["Backhand-Signature: x", "Backhand-Load: 1 2 3 4", "Backhand-Declined: busy"]]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_between_the_servers_reaches_the_application(running, tls, way):
    cluster, application = running
    for fields in [], *FORGERIES:
        told = Told(application, cluster.servers[0], get(f"{WAYS[way]}/tell", *fields), tls)

        assert of_the_cluster(told.parameters) == []
        assert told.parameters["REMOTE_ADDR"] == CLIENT


def test_nothing_of_a_signed_request_reaches_the_application():
    cluster, application = cluster_with("event", keys=["a-secret-of-the-tests-0123456789-abcdefghij"])
    with application, cluster:
        cluster.wait_until_ok()
        cluster.wait_until_complete()
        direct, forwarded = told_both_ways((cluster, application), post("/app/tell", b"a=1"))

        assert cluster.servers[1].counters()["proxied_accepted"] == 1
        assert shared(forwarded.parameters) == shared(direct.parameters)
        assert of_the_cluster(forwarded.parameters) == []


# ---- what comes back ----


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [0, 1024, 1 << 20], ids=["nothing", "1 KiB", "1 MiB"])
def test_a_body_comes_back_byte_for_byte(running, tls, way, size):
    cluster, application = running
    body = MEBIBYTE[:size]
    pieces = [body[at:at + 7000] for at in range(0, size, 7000)]
    for asked in (post(f"{WAYS[way]}/echo", body, f"Content-Length: {size}"),
                  post_in_chunks(f"{WAYS[way]}/echo", *pieces)):
        told = Told(application, cluster.servers[0], asked, tls)
        assert_way(cluster, [told.token], FORWARDED)
        assert told.response.status == 200
        assert told.response.body == told.body == body


ANSWERS = [
    scripted("an answer", get("/app/hello")),
    scripted("HEAD", head("/app/echo")),
    scripted("cookies", get("/app/cookies")),
    scripted("a status of its own", post("/app/created", b"a=1")),
    scripted("a status no standard knows", get("/app/teapot")),
    scripted("its own 404", get("/app/not-found")),
    scripted("its own 401", get("/app/challenge")),
    scripted("its own 503", get("/app/busy")),
    scripted("its own 503 to a POST", post("/app/busy", b"a=1")),
    scripted("no content", get("/app/no-content")),
    scripted("not modified", get("/app/unchanged")),
    scripted("what may be cached", get("/app/cached")),
    scripted("what the client has already", get("/app/cached", 'If-None-Match: "own"')),
    scripted("3 MiB", get("/app/large")),
    scripted("a range", get("/app/large", "Range: bytes=100-199")),
    scripted("another page for the client", get("/app/redirect?http://other.test/page")),
    scripted("another page of this server", get("/app/redirect?/small.html")),
    scripted("another page of this server, to a POST", post("/app/redirect?/small.html", b"a=1")),
    scripted("another page and a status", get("/app/moved")),
    scripted("an error and complaints", get("/app/complain")),
    scripted("an error that the server words", get("/own-errors/not-found")),
    scripted("a page for members, to a stranger", get("/members/app/tell"), way=EITHER),
    scripted("several requests on one connection", get("/app/cookies"), post("/app/echo", b"second"),
             get("/app/not-found"), post_in_chunks("/app/echo", b"fou", b"rth"), get("/app/hello", CLOSE)),
]
FAILURES = [
    scripted("an application that is not there", get("/nobody/tell")),
    scripted("an application that is not there for a POST", post("/nobody/tell", b"a=1")),
    scripted("an application that is not there for 1 MiB", post("/nobody/tell", MEBIBYTE)),
    scripted("an application that says nothing", get("/app/silent")),
    scripted("an application that is gone", get("/app/gone")),
    scripted("an application that is gone, with a POST", post("/app/gone", b"a=1")),
    scripted("an application without a head", get("/app/nonsense")),
]


@pytest.mark.parametrize("shape", ANSWERS + FAILURES, ids=str)
def test_what_an_application_answers_passes_through_unchanged(running, tls, shape):
    assert_answered_alike(running[0], shape, lambda server, shape: converse(server, shape, tls=tls))


def test_an_application_that_refuses_connections_makes_a_503_and_no_failed_peer(running, tls):
    cluster, _ = running
    first, second = cluster.servers
    before = first.counters()
    for asked in (get("/nobody/tell"), post("/nobody/tell", b"a=1")):
        (response,), tokens = converse(first, Shape("refused", asked), tls=tls)
        assert response.status == 503
        assert_way(cluster, tokens, FORWARDED)
        assert [line.status for line in second.logged(tokens[0])] == ["503"]
    after = first.counters()

    assert {name: after[name] - before[name] for name in after
            if name.startswith(("forward", "served_here")) and after[name] != before[name]} == {"forwarded": 2}


@pytest.mark.parametrize("name, status", [("busy", 503), ("complain", 500), ("gone", 503)])
def test_an_application_that_fails_is_asked_once(running, tls, name, status):
    cluster, application = running
    for asked in (get(f"/app/{name}"), post(f"/app/{name}", b"pay once")):
        (response,), (token,) = converse(cluster.servers[0], Shape(name, asked), tls=tls)
        assert response.status == status
        assert len(application.asked(token)) == 1


def test_an_answer_that_the_application_breaks_off_never_looks_whole(running):
    cluster, application = running
    ways = [(server, tls) for server in (cluster.plain, cluster.servers[0]) for tls in (False, True)]
    token = new_token()
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connection_to(*way)) for way in ways]
        for connection in connections:
            connection.send(request("/app/half-a-body", CLOSE, f"X-Token: {token}"))
        # httpd itself may end the connection only when it has waited for another request.
        assert [outcome_on(connection, "GET") for connection in connections] == [CUT] * len(ways)
    assert len(application.asked(token)) == len(ways)


def test_an_application_cannot_speak_for_its_server(running, tls):
    cluster, _ = running
    (response,), tokens = converse(cluster.servers[0], Shape("forged", get("/app/forger")), tls=tls)

    assert_way(cluster, tokens, FORWARDED)
    assert (response.status, response.body) == (200, b"ours")
    assert [name for name, _ in response.fields if name.lower().startswith("backhand-")] == []


@pytest.mark.parametrize("mpm", MPMS)
def test_what_an_application_says_in_pieces_arrives_in_pieces(mpm):
    halves = Halves()
    cluster, application = cluster_with(mpm, {"halves": halves})
    with application, cluster:
        cluster.wait_until_complete()
        first = cluster.servers[0]
        for tls in False, True:
            halves.may_go_on.clear()
            with connection_to(first, tls, limit_s=20) as connection:
                connection.send(request("/app/halves"))
                connection.read_some(b"the first half\n")
                halves.may_go_on.set()
                connection.read_some(b"the second half\n")


# More than an httpd with one process of 8 threads holds under event, by default: 8, and 2 for each idle one.
MANY_FORMS = 40


def test_many_forms_in_a_row_leave_the_peer_room_for_connections():
    cluster, application = cluster_with(
        "event", workers=8, chain=lambda number: FORWARD_ALWAYS if number == 1 else SERVE_HERE)
    for server in cluster.everyone:
        server.server_lines += "\nKeepAliveTimeout 60"
    with application, cluster:
        cluster.wait_until_complete()
        first, second = cluster.servers
        for _ in range(MANY_FORMS):
            for server in (first, second):
                with connection_to(server, False, limit_s=10) as connection:
                    connection.send(request("/app/echo", CLOSE, method="POST", body=b"a=1"))
                    assert connection.response("POST").body == b"a=1"
