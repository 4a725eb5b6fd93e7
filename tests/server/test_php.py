"""PHP at the peer cannot tell a forwarded request from one of the peer's own, and nor can who reads its answer.

Debian's php-cgi, run in two ways: behind mod_proxy_fcgi on a UNIX socket, as FPM is, and as a program for each
request, by mod_actions and CGI. The scripts (site/htdocs/php) get each request twice: from a plain httpd, and
from a peer to which another server has forwarded it.
"""

import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from client import SITE, Connection, new_token, request
from httpd import FORWARD_ALWAYS, HTTPD_MODULES, MPMS, Cluster, tls_site
from processes import die_with_the_tests, wait_until
from shapes import (CLOSE, FORWARDED, MEBIBYTE, assert_answered_alike, assert_way, by_method, converse, get, head,
                    post, post_in_chunks, scripted)
from test_fastcgi import CLIENT, ITS_OWN, connection_to

PHP = "/usr/bin/php-cgi"
MODULES = f"""
LoadModule actions_module {HTTPD_MODULES}/mod_actions.so
LoadModule proxy_module {HTTPD_MODULES}/mod_proxy.so
LoadModule proxy_fcgi_module {HTTPD_MODULES}/mod_proxy_fcgi.so
"""
# Where the same scripts are run in the one way, and in the other.
FASTCGI, CGI = "/php", "/cgi-php"


def php_lines(folder):
    """What every server says of PHP."""
    return f"""
Alias "{CGI}" "${{SITE}}/htdocs/php"
<LocationMatch "^{FASTCGI}/.*\\.php">
    SetHandler "proxy:unix:{folder}/php.sock|fcgi://localhost"
    # Which says where the script is without a scheme.
    ProxyFCGIBackendType GENERIC
</LocationMatch>
<LocationMatch "^{CGI}/.*\\.php">
    SetHandler by-program
</LocationMatch>
Action by-program "/program/php-cgi"
ScriptAlias "/program" "/usr/bin"
<Directory "/usr/bin">
    Require all granted
</Directory>
<Directory "${{SITE}}/htdocs/php">
    CGIPassAuth On
    SetEnv PHPRC {folder}
</Directory>
"""


PHP_INI = """\
cgi.fix_pathinfo = 1
enable_post_data_reading = 1
file_uploads = 1
upload_max_filesize = 8M
post_max_size = 16M
session.save_path = {folder}/sessions
expose_php = 1
opcache.enable = 0
log_errors = 0
"""


@pytest.fixture(scope="module")
def php():
    """php-cgi with two workers that takes requests on a UNIX socket; the folder of that, which httpd's user may enter."""
    with tempfile.TemporaryDirectory(prefix="backhand-php-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        sessions, socket, settings = folder / "sessions", folder / "php.sock", folder / "php.ini"
        sessions.mkdir()
        sessions.chmod(0o1777)
        settings.write_text(PHP_INI.format(folder=folder), encoding="ascii")

        def prepare():
            die_with_the_tests()
            os.umask(0)  # httpd's own user connects

        with subprocess.Popen([PHP, "-c", settings, "-b", socket], preexec_fn=prepare, stdin=subprocess.DEVNULL,
                              env={**os.environ, "PHP_FCGI_CHILDREN": "2", "PHP_FCGI_MAX_REQUESTS": "0"}) as process:
            try:
                wait_until("PHP listens", socket.exists)
                yield folder
            finally:
                process.terminate()


@pytest.fixture(scope="module", params=MPMS)
def running(request, php):
    cluster = Cluster(request.param, size=2, tls=True, plain_too=True, server_lines=MODULES)
    lines = php_lines(php)
    for server in cluster.everyone:
        chain = FORWARD_ALWAYS if server in cluster.servers else ""
        server.site_lines += lines
        server.tail_lines = tls_site(server, f'<Location "/">\n{chain}\n</Location>\n{lines}')
    with cluster:
        yield cluster.wait_until_complete()


@pytest.fixture(params=["http", "https"])
def tls(request):
    return request.param == "https"


class Told:
    """What PHP was told of one request of a client that has bound its address."""

    def __init__(self, server, asked, tls):
        self.token = new_token()
        with connection_to(server, tls) as connection:
            self.client_port = connection.own_end[1]
            connection.send(asked.data(self.token))
            self.response = connection.response(asked.method)
        assert self.response.status == 200, self.response
        assert self.response.field("X-Php")
        said = json.loads(self.response.body)
        self.server = {name: bytes.fromhex(value).decode("latin-1") if isinstance(value, str) else value
                       for name, value in said.pop("server").items()}
        self.headers = {name: bytes.fromhex(value) for name, value in said.pop("headers").items()}
        self.rest = said


# The clock's, httpd's own number of a request, and of the process that serves it.
PHPS_OWN = ITS_OWN | {"REQUEST_TIME", "REQUEST_TIME_FLOAT"}
HEADERS_OWN = {"X-Token", "Connection", "Expect"}


def told_both_ways(cluster, asked, tls):
    direct = Told(cluster.plain, asked, tls)
    forwarded = Told(cluster.servers[0], asked, tls)
    assert_way(cluster, [forwarded.token], FORWARDED)
    return direct, forwarded


FORM = "Content-Type: application/x-www-form-urlencoded"


def upload(path, name, data):
    boundary = b"a-boundary-that-no-file-contains"
    body = (b"--" + boundary + b'\r\nContent-Disposition: form-data; name="note"\r\n\r\nwith a note\r\n'
            b"--" + boundary + b'\r\nContent-Disposition: form-data; name="upload"; filename="' + name + b'"\r\n'
            b"Content-Type: application/x-tests\r\n\r\n" + data + b"\r\n--" + boundary + b"--\r\n")
    return post(path, body, f"Content-Type: multipart/form-data; boundary={boundary.decode()}")


def asked_at(path):
    script = f"{path}/tell.php"
    return {
        "a request": get(script),
        "a query": get(f"{script}?a=1&b[]=%20two+%26&b[]=3"),
        "a path behind the script": get(f"{script}/more/a%20path?q=1"),
        "cookies": get(script, "Cookie: a=1; b=%20two"),
        "a password": get(script, "Authorization: Basic bWVtYmVyOnNlY3JldA=="),
        "a token": get(script, "Authorization: Bearer a.b.c"),
        "a Host with a port": get(script, host=f"{SITE}:8080"),
        "fields of other proxies": get(script, "X-Forwarded-For: 10.1.2.3", "X-Forwarded-Proto: https"),
        "a form": post(script, b"a=1&b[x]=two%20&b[y]=3", FORM),
        "a form that waits for a word": post(script, b"a=1", FORM, "Expect: 100-continue"),
        "JSON": post(script, b'{"a": 1}', "Content-Type: application/json"),
        "a file": upload(script, b"small.bin", bytes(range(256))),
        "a large file": upload(script, b"large.bin", MEBIBYTE),
        "PUT": by_method("PUT", script, body=MEBIBYTE[:70_000]),
        "DELETE": by_method("DELETE", script),
        "a client of HTTP/1.0": get(script, version="HTTP/1.0"),
    }


ASKED = {f"{name} ({way})": asked
         for way, path in [("FastCGI", FASTCGI), ("CGI", CGI)] for name, asked in asked_at(path).items()}
# By CGI, PHP reads no body whose length it is not told.
ASKED["a form in chunks (FastCGI)"] = post_in_chunks(f"{FASTCGI}/tell.php", b"a=1", b"&b=2")
ASKED["a long body in chunks (FastCGI)"] = post_in_chunks(f"{FASTCGI}/tell.php", MEBIBYTE[:99], MEBIBYTE)


@pytest.mark.parametrize("name", ASKED)
def test_php_is_told_of_a_forwarded_request_what_it_would_be_told_directly(running, tls, name):
    direct, forwarded = told_both_ways(running, ASKED[name], tls)

    def shared(told):
        return ({name: value for name, value in told.server.items() if name not in PHPS_OWN},
                {name: value for name, value in told.headers.items() if name not in HEADERS_OWN}, told.rest)

    assert shared(forwarded) == shared(direct)


@pytest.mark.parametrize("path", [FASTCGI, CGI])
def test_php_is_told_who_asks_and_what_for(running, tls, path):
    asked = get(f"{path}/tell.php/more?a=1", "Cookie: c=1", host=f"{SITE}:8080")
    for told in told_both_ways(running, asked, tls):
        expected = {"REMOTE_ADDR": CLIENT, "REMOTE_PORT": str(told.client_port), "HTTPS": "on" if tls else None,
                    "REQUEST_SCHEME": "https" if tls else "http", "SERVER_NAME": SITE, "SERVER_PORT": "8080",
                    "HTTP_HOST": f"{SITE}:8080", "REQUEST_URI": f"{path}/tell.php/more?a=1",
                    "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_VIA": None, "HTTP_BACKHAND_PROXIED": None}
        assert {name: told.server.get(name) for name in expected} == expected
        assert (told.rest["get"], told.rest["cookie"]) == ({"a": "1"}, {"c": "1"})


@pytest.mark.parametrize("path", [FASTCGI, CGI])
def test_php_gets_a_file_whole(running, tls, path):
    for size in (1, 70_000, 1 << 20):
        asked = upload(f"{path}/tell.php", b"own.bin", MEBIBYTE[:size])
        for told in told_both_ways(running, asked, tls):
            assert told.rest["files"] == {"upload": ["own.bin", "application/x-tests", size, 0,
                                                     hashlib.sha1(MEBIBYTE[:size]).hexdigest()]}
            assert told.rest["post"] == {"note": "with a note"}


def answers_at(way, path):
    script = f"{path}/say.php"
    named = [(what, get(f"{script}?{what}")) for what in
             ("status", "cookies", "redirect", "see-other", "no-content", "unchanged", "length", "pieces", "large",
              "fatal")]
    named += [("compressed", get(f"{script}?compressed", "Accept-Encoding: gzip")),
              ("HEAD", head(f"{script}?cookies")),
              ("POST to a redirect", post(f"{script}?redirect", b"a=1", FORM)),
              ("no such script", get(f"{path}/nothing.php")),
              ("a range", get(f"{script}?large", "Range: bytes=100-199"))]
    return [scripted(f"{name} ({way})", asked) for name, asked in named]


ANSWERS = answers_at("FastCGI", FASTCGI) + answers_at("CGI", CGI) + [
    scripted("several on one connection", get(f"{FASTCGI}/say.php?cookies"), get(f"{CGI}/say.php?status"),
             get(f"{FASTCGI}/say.php?large"), get(f"{FASTCGI}/say.php?length", CLOSE))]


@pytest.mark.parametrize("shape", ANSWERS, ids=str)
def test_what_php_answers_passes_through_unchanged(running, tls, shape):
    assert_answered_alike(running, shape, lambda server, shape: converse(server, shape, tls=tls))


@pytest.mark.parametrize("path", [FASTCGI, CGI])
def test_a_session_goes_on_whoever_serves_it(running, tls, path):
    cookie, counted = None, []
    for server in [*running.servers, running.plain] * 3:
        with connection_to(server, tls) as connection:
            connection.send(request(f"{path}/visits.php", *([f"Cookie: {cookie}"] if cookie else [])))
            response = connection.response()
        if cookie is None:
            cookie, = (value.split(";")[0] for name, value in response.fields if name.lower() == "set-cookie")
        counted.append(int(response.body))

    assert counted == list(range(1, 10))
