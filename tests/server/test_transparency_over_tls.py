"""Nor can a client on TLS or HTTP/2 tell: the same table as in test_transparency.py.

HTTP/2 is spoken by curl. mod_http2 knows no prefork.
"""

import subprocess
import tempfile
from pathlib import Path

import pytest

import client
from client import Response, new_token
from httpd import FORWARD_ALWAYS, HTTPD_MODULES, Cluster, tls_site
from shapes import FORWARDED, SHAPES, assert_answered_alike, assert_way, converse

HTTP_2 = f"LoadModule http2_module {HTTPD_MODULES}/mod_http2.so\nProtocols h2 http/1.1"


def tls_cluster(mpm, server_lines=""):
    cluster = Cluster(mpm, size=2, tls=True, plain_too=True, server_lines=server_lines)
    for server in cluster.everyone:
        chain = FORWARD_ALWAYS if server in cluster.servers else ""
        server.tail_lines = tls_site(server, f'<Location "/">\n{chain}\n</Location>')
    return cluster


@pytest.fixture(scope="module", params=["prefork", "event"])
def cluster(request):
    with tls_cluster(request.param) as running:
        yield running.wait_until_complete()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_forwarded_request_of_a_tls_client_is_answered_as_by_a_plain_httpd(cluster, shape):
    assert_answered_alike(cluster, shape, lambda server, shape: converse(server, shape, tls=True))


# ---- HTTP/2 ----


@pytest.fixture(scope="module", params=["event"])
def http_2_cluster(request):
    with tls_cluster(request.param, HTTP_2) as running:
        yield running.wait_until_complete()


def curl(server, *arguments, **rest):
    """Runs curl against the server's TLS port, as a client of the site."""
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--insecure", "--cacert", server.cluster.certificate, "--max-time", "60",
         "--connect-to", f"::{server.address}:", *arguments], capture_output=True, timeout=90, check=True, **rest)


def url(server, target="/"):
    return f"https://{client.SITE}:{server.tls_port}{target}"


def converse_by_http_2(server, shape):
    """As converse() does, for a shape of one request."""
    asked, = shape.requests
    token = new_token()
    fields = [f"Host: {asked.host}", *asked.fields, f"X-Token: {token}"]
    # What curl would add.
    fields += [f"{name}:" for name in ("Accept", "User-Agent", "Content-Type")
               if not any(field.startswith(f"{name}:") for field in asked.fields)]
    body = b"".join(asked.parts) if asked.parts is not None else asked.body
    arguments = ["--http2", "--request-target", asked.target, "--path-as-is"]
    arguments += ["--head"] if asked.method == "HEAD" else ["--request", asked.method]
    # A field without a value is what curl calls "name;".
    for field in fields:
        arguments += ["--header", field[:-1] + ";" if field in asked.fields and field.endswith(":") else field]
    if asked.parts is not None:
        arguments += ["--upload-file", "-"]
    elif body or any(field.startswith("Content-Length") for field in asked.fields):
        arguments += ["--data-binary", "@-"]
    with tempfile.TemporaryDirectory() as folder:
        heads, content = Path(folder, "heads"), Path(folder, "content")
        content.touch()
        curl(server, "--dump-header", heads, "--output", content, url(server),
             *[argument.encode("latin-1") for argument in arguments], input=body)
        return [http_2_response(heads.read_text("latin-1"), content.read_bytes() if asked.method != "HEAD" else b"")], \
            [token]


def http_2_response(heads, body):
    *interim, last = [head.splitlines() for head in heads.rstrip().split("\r\n\r\n")]
    fields = [tuple(part.strip() for part in line.split(":", 1)) for line in last[1:]]
    assert last[0].startswith("HTTP/2 ")
    return Response(last[0], fields, body, "HTTP/2", [lines[0] for lines in interim])


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.fits_http_2], ids=str)
def test_a_forwarded_request_of_an_http_2_client_is_answered_as_by_a_plain_httpd(http_2_cluster, shape):
    assert_answered_alike(http_2_cluster, shape, converse_by_http_2)
