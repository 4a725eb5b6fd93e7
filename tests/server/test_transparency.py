"""A client cannot tell a forwarded request from one that a single plain httpd answers.

The same bytes go to a plain httpd and to a server of a cluster that forwards all it may; status
line, header fields and every body byte must be the same. Both serve the same files under the same
port, so that the only difference allowed is the time of day.
"""

import pytest

import client
from client import Connection, chunked, new_token, request
from gates import Gate
from httpd import HTTPD_MODULES, MPMS, Cluster
from shapes import (CLOSE, FORWARDED, GZIP, MEBIBYTE, SHAPES, Shape, assert_answered_alike, assert_same, assert_way,
                    converse, get, head, post)

CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture(scope="module", params=MPMS)
def cluster(request):
    with Cluster(request.param, size=2, plain_too=True) as running:
        yield running.wait_until_complete()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_forwarded_request_is_answered_as_by_a_plain_httpd(cluster, shape):
    assert_answered_alike(cluster, shape, converse)


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


def test_a_script_that_speaks_http_itself_is_heard_word_for_word(cluster):
    direct, forwarded = [client.fetch(server, "/cgi/nph-own.cgi") for server in (cluster.plain, cluster.servers[0])]

    assert forwarded.status_line == direct.status_line == "HTTP/1.1 202 My Own Words"
    assert forwarded.body == direct.body == b"spoken without help\n"
    assert set(forwarded.fields) >= set(direct.fields)
    # An intermediary must say when a response without a date was made (RFC 9110 section 6.6.1).
    assert {name for name, _ in forwarded.fields} - {name for name, _ in direct.fields} == {
        "Date", "Server", "Connection", "Transfer-Encoding"}


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
