"""Clients that people use, through forwards: curl, and with BACKHAND_SLOW_TESTS=1 a browser.

The browser is Debian's chromium, which ./test.sh does not install: it has 350 MB.
"""

import base64
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import threading

import pytest

import client
from httpd import FORWARD_ALWAYS, HTTPD_MODULES, Cluster, free_ports, tls_site
from processes import die_with_the_tests, wait_until

CHAT_MODULES = "\n".join(f"LoadModule {name}_module {HTTPD_MODULES}/mod_{name}.so" for name in
                         ("http2", "proxy", "proxy_wstunnel"))
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class EchoingWebSocket:
    """A WebSocket application: sends each short message back."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=self._listener.accept()[:1], daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as incoming:
            lines = list(iter(incoming.readline, b"\r\n"))
            key, = [line.split(b":")[1].strip() for line in lines if line.lower().startswith(b"sec-websocket-key:")]
            accepted = base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest()).decode()
            connection.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               f"Sec-WebSocket-Accept: {accepted}\r\n\r\n".encode())
            # One frame: what it is, its length below 126, the mask, and the masked bytes.
            while frame := incoming.read(2):
                size = frame[1] & 0x7F
                mask = incoming.read(4)
                message = bytes(byte ^ mask[at % 4] for at, byte in enumerate(incoming.read(size)))
                connection.sendall(bytes([frame[0], size]) + message)


@pytest.fixture(scope="module")
def cluster():
    """Plain and TLS, with HTTP/2 on both; only the second server knows the WebSocket application."""
    with EchoingWebSocket() as application:
        # Enough workers for all that a browser asks for at once.
        running = Cluster("event", size=2, tls=True, workers=96, server_lines=f"{CHAT_MODULES}\nProtocols h2 h2c http/1.1")
        for server in running.servers:
            chat = f'ProxyPass "/chat" "ws://127.0.0.1:{application.port}/"' if server.number == 2 else ""
            server.site_lines += chat
            server.tail_lines = tls_site(server, f'<Location "/">\n{FORWARD_ALWAYS}\n</Location>\n{chat}')
        with running:
            yield running.wait_until_complete()


def url(server, target, tls):
    scheme, port = ("https", server.tls_port) if tls else ("http", server.port)
    return f"{scheme}://{client.SITE}:{port}{target}"


def curl(server, *arguments):
    """Runs curl as a client of the site at one server; returns what it wrote."""
    return subprocess.run(["curl", "--silent", "--show-error", "--fail", "--cacert", server.cluster.certificate,
                           "--connect-to", f"::{server.address}:", "--max-time", "60", *arguments],
                          capture_output=True, timeout=90, check=True).stdout


def forwarded_paths(cluster):
    """What the second server has served of the first's requests."""
    first, second = cluster.servers
    return [line.path for line in second.log() if line.forwarder == first.address]


@pytest.mark.parametrize("option, tls, spoken, path", [
    ("--http1.0", False, "1.1", "/large.bin"),  # which is what httpd says to everyone
    ("--http1.1", False, "1.1", "/large.bin"),
    ("--http1.1", True, "1.1", "/large.bin"),
    ("--http2", False, "2", "/small.html"),  # by Upgrade, which curl knows for small responses only
    ("--http2-prior-knowledge", False, "2", "/large.bin"),
    ("--http2", True, "2", "/large.bin"),
])
def test_curl_downloads_by_every_version(cluster, option, tls, spoken, path, tmp_path):
    first, _ = cluster.servers
    before = forwarded_paths(cluster).count(path)
    said = curl(first, option, "--output", tmp_path / "copy", "--write-out", "%{http_version} %{http_code}",
                url(first, path, tls))

    assert said.decode() == f"{spoken} 200"
    assert (tmp_path / "copy").read_bytes() == (cluster.site / "htdocs" / path[1:]).read_bytes()
    wait_until("it was forwarded", lambda: forwarded_paths(cluster).count(path) == before + 1)


@pytest.mark.parametrize("option, tls", [("--http1.0", False), ("--http1.1", False), ("--http1.1", True),
                                         ("--http2", True)])
@pytest.mark.parametrize("size_known", [True, False])
def test_curl_uploads(cluster, option, tls, size_known, tmp_path):
    if option == "--http1.0" and not size_known:
        pytest.skip("HTTP/1.0 knows no chunks")
    first, _ = cluster.servers
    before = forwarded_paths(cluster).count("/cgi/echo.cgi")
    data = (cluster.site / "htdocs" / "large.bin").read_bytes()
    (tmp_path / "upload").write_bytes(data)
    pipe = [] if size_known else ["--header", "Transfer-Encoding: chunked"]
    echoed = curl(first, option, *pipe, "--upload-file", tmp_path / "upload", url(first, "/cgi/echo.cgi", tls))

    assert echoed == data
    wait_until("it was forwarded", lambda: forwarded_paths(cluster).count("/cgi/echo.cgi") == before + 1)


@pytest.mark.parametrize("option, tls", [("--http1.1", False), ("--http2", True)])
def test_curl_resumes_a_download(cluster, option, tls, tmp_path):
    first, _ = cluster.servers
    whole = (cluster.site / "htdocs" / "large.bin").read_bytes()
    (tmp_path / "large.bin").write_bytes(whole[:1_234_567])
    said = curl(first, option, "--continue-at", "-", "--output", tmp_path / "large.bin", "--write-out", "%{http_code}",
                url(first, "/large.bin", tls))

    assert said == b"206"
    assert (tmp_path / "large.bin").read_bytes() == whole


def test_many_streams_of_one_http_2_connection_are_forwarded_at_once(cluster, tmp_path):
    first, _ = cluster.servers
    targets = [f"/large.bin?{number}" for number in range(20)] + ["/cgi/slow.cgi", "/small.html"] * 10
    before = len(forwarded_paths(cluster))
    arguments = []
    for number, target in enumerate(targets):
        arguments += ["--output", tmp_path / str(number), url(first, target, True)]
    said = curl(first, "--http2", "--parallel", "--write-out", "%{http_code} %{num_connects}\n", *arguments)

    assert [line.split()[0] for line in said.decode().splitlines()] == ["200"] * len(targets)
    assert sum(int(line.split()[1]) for line in said.decode().splitlines()) < len(targets)
    whole = (cluster.site / "htdocs" / "large.bin").read_bytes()
    assert all((tmp_path / str(number)).read_bytes() == whole for number in range(20))
    wait_until("all were forwarded", lambda: len(forwarded_paths(cluster)) == before + len(targets))


# ---- a browser ----

RESOURCES = 40
PAGE = """\
<!DOCTYPE html>
<title>Forty resources and a WebSocket</title>
<script>
let loaded = 0;
function report(said) { fetch(`done-${loaded}-${said}.txt`); }
window.addEventListener("load", () => {
    const chat = new WebSocket(location.origin.replace(/^http/, "ws") + "/chat");
    chat.onopen = () => chat.send("hello");
    chat.onmessage = (event) => report(event.data);
    chat.onerror = () => report("nothing");
});
</script>
"""
# What the page asks for when it has loaded all and the WebSocket has answered.
DONE = f"done-{RESOURCES}-hello.txt"
IMAGE = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>\n'


def make_page(folder):
    folder.mkdir()
    tags = []
    for number in range(RESOURCES // 4):
        (folder / f"{number}.svg").write_text(IMAGE)
        (folder / f"{number}.js").write_text(f"window.part{number} = '{'x' * 20_000}';\n")
        (folder / f"{number}.css").write_text(f".part{number} {{ color: red; }}\n")
        (folder / f"{number}.html").write_text(f"<!DOCTYPE html><title>{number}</title>\n")
        tags += [f'<link rel="stylesheet" href="{number}.css" onload="loaded++">', f'<img src="{number}.svg" onload="loaded++">',
                 f'<script src="{number}.js" onload="loaded++"></script>', f'<iframe src="{number}.html" onload="loaded++"></iframe>']
    (folder / "index.html").write_text(PAGE + "\n".join(tags))
    (folder / DONE).write_text("done\n")
    for path in [folder, *folder.iterdir()]:
        path.chmod(0o755 if path.is_dir() else 0o644)


@contextlib.contextmanager
def browsing(server, page, tls, profile):
    """A browser that looks at a page for as long as the block lasts."""
    browser = subprocess.Popen(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--ignore-certificate-errors",
         "--remote-debugging-port=0", f"--host-resolver-rules=MAP {client.SITE} {server.address}",
         f"--user-data-dir={profile}", url(server, page, tls)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        preexec_fn=die_with_the_tests)
    try:
        yield
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()


@pytest.mark.skipif("BACKHAND_SLOW_TESTS" not in os.environ, reason="takes long; BACKHAND_SLOW_TESTS=1 runs it")
@pytest.mark.skipif(not shutil.which("chromium"), reason="no browser: apt-get install chromium")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS and HTTP/2"])
def test_a_browser_shows_a_page_with_forty_resources_and_a_websocket(cluster, tls, tmp_path):
    first, second = cluster.servers
    folder = "/app-tls" if tls else "/app"
    make_page(cluster.site / "htdocs" / folder[1:])
    upgraded = first.counters()["forward_upgraded"]

    with browsing(first, f"{folder}/", tls, tmp_path):
        wait_until(lambda: f"the page is done: {first.log()}", lambda: first.log(path=f"{folder}/{DONE}"), limit_s=60)

    shown = {line.path: (line.peer, line.status) for line in first.log() if line.path.startswith(f"{folder}/")}
    assert len(shown) == RESOURCES + 2
    assert set(shown.values()) == {(second.contact, "200")}
    assert first.counters()["forward_upgraded"] == upgraded + 1
