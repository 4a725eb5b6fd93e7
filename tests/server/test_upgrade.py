"""A WebSocket, early hints and Via through a forward.

The machine at the other end runs no httpd: a server of these tests answers as a WebSocket server does, and is a
member of the cluster by `backhand announce`.
"""

import contextlib
import socket
import threading
import time

import pytest

import client
from httpd import MPMS, Cluster
from processes import wait_until
from test_command_line import PLAIN, PREFER_PEERS, announced

HANDSHAKE = (f"GET /chat HTTP/1.1\r\nHost: {client.SITE}\r\nConnection: keep-alive, Upgrade\r\n"
             "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
SWITCHED = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
HINTED = (b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
          b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


class Scripted:
    """Answers each connection's first request by its path; on /chat sends back what comes, until it ends."""

    def __init__(self, port):
        self.address, self.port, self.contact = PLAIN, port, f"{PLAIN}:{port}"
        self.heads = []
        self._listener = socket.create_server((PLAIN, port), backlog=64)
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
        with connection, contextlib.suppress(OSError):
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(4096) or b"\r\n\r\n"
            self.heads.append(received.decode())
            if received.startswith(b"GET /hints "):
                connection.sendall(HINTED)
            elif received.startswith(b"GET /chat "):
                connection.sendall(SWITCHED + b"welcome")
                while data := connection.recv(65536):
                    connection.sendall(data)
                connection.sendall(b"bye")


@pytest.fixture(scope="module", params=MPMS)
def both(request):
    with Cluster(request.param, size=1, chain=PREFER_PEERS) as cluster, Scripted(cluster.port) as peer, \
            announced(cluster, peer, "--workers", 50):
        yield cluster.servers[0], peer


def receive(connection, size):
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        assert piece, data
        data += piece
    return data


def switched(server):
    connection = socket.create_connection((server.address, server.port), timeout=10)
    connection.sendall(HANDSHAKE.encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += receive(connection, 1)
    return connection, head


def test_a_websocket_is_opened_at_the_peer_and_works_both_ways(both):
    server, peer = both
    before = server.counters()["forward_upgraded"]
    connection, head = switched(server)
    with connection:
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        assert receive(connection, 7) == b"welcome"
        for size in (1, 1000, 40_000):
            connection.sendall(b"x" * size)
            assert receive(connection, size) == b"x" * size

    assert server.counters()["forward_upgraded"] == before + 1
    head = peer.heads[-1].lower()
    assert "\r\nupgrade: websocket\r\n" in head
    assert "\r\nconnection: upgrade\r\n" in head


def test_a_client_that_has_said_all_still_hears_the_rest(both):
    connection, _ = switched(both[0])
    with connection:
        assert receive(connection, 7) == b"welcome"
        connection.sendall(b"last")
        connection.shutdown(socket.SHUT_WR)
        assert receive(connection, 7) == b"lastbye"
        assert connection.recv(1) == b""


def test_how_long_a_websocket_lasts_is_no_latency(both):
    server, peer = both
    connection, _ = switched(server)
    lasted_s = 2.0
    with connection:
        time.sleep(lasted_s)
        assert server.sees(peer)["in_flight"] == 1
    wait_until("the WebSocket is over", lambda: server.sees(peer)["in_flight"] == 0)

    assert 0 < server.sees(peer)["own_latency_us"] < lasted_s * 900_000


def test_early_hints_are_passed_on(both):
    server, _ = both
    with client.Connection(server.address, server.port) as connection:
        connection.send(client.request("/hints", "Connection: close"))
        response = connection.response()

    assert response.status == 200
    assert response.body == b"hello"
    assert [line.split()[1] for line in response.interim] == ["103"]


def test_the_forwarder_names_itself_in_via(both):
    server, peer = both
    with client.Connection(server.address, server.port) as connection:
        connection.send(client.request("/hints", "Connection: close", "Via: 1.0 somewhere"))
        connection.response()

    vias = [line for line in peer.heads[-1].splitlines() if line.lower().startswith("via:")]
    assert vias == ["Via: 1.0 somewhere", f"Via: 1.1 {server.contact} (backhand)"]
