"""A WebSocket, early hints and Via through a forward.

The machine at the other end runs no httpd, but a raw peer that answers as a WebSocket server does.
"""

import contextlib
import socket
import ssl
import time

import pytest

import client
from httpd import MPMS, Cluster, tls_site
from processes import wait_until
from raw_peer import Exchange, RawPeer, response, say
from test_command_line import MANY_WORKERS, PLAIN, PREFER_PEERS, announced

HANDSHAKE = (f"GET /chat HTTP/1.1\r\nHost: {client.SITE}\r\nConnection: keep-alive, Upgrade\r\n"
             "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
SWITCHED = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
HINTED = (b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
          b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


def chat(exchange):
    """Sends back what comes, until it ends."""
    exchange.send(SWITCHED + b"welcome")
    for data in exchange.pieces():
        exchange.send(data)
    exchange.send(b"bye")
    exchange.end()


BEHAVIOURS = {
    "chat": chat,
    "farewell": say(SWITCHED + b"goodbye", Exchange.end),
    "silence": say(SWITCHED + b"welcome"),
    "refuses": say(response("426 Upgrade Required", b"from the peer", "Upgrade: another", "Connection: close")),
    "hints": say(HINTED, Exchange.end),
}


@contextlib.contextmanager
def peer_and_server(mpm, server_lines=""):
    cluster = Cluster(mpm, size=1, chain=PREFER_PEERS, tls=True, server_lines=server_lines)
    server = cluster.servers[0]
    server.tail_lines = tls_site(server, f'<Location "/">\n{PREFER_PEERS}\n</Location>')
    with cluster, RawPeer(PLAIN, cluster.port, BEHAVIOURS) as peer, announced(cluster, peer, *MANY_WORKERS):
        yield server, peer


@pytest.fixture(scope="module", params=MPMS)
def both(request):
    with peer_and_server(request.param) as running:
        yield running


def receive(connection, size):
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        assert piece, data
        data += piece
    return data


def switched(server, path="/chat", tls=False, early=b""):
    """The client's end of a WebSocket, and the head that opened it; `early` is sent with the handshake."""
    connection = socket.create_connection((server.address, server.tls_port if tls else server.port), timeout=10)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = context.wrap_socket(connection, server_hostname=client.SITE)
    connection.sendall(HANDSHAKE.replace("/chat", path).encode() + early)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += receive(connection, 1)
    return connection, head


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_websocket_is_opened_at_the_peer_and_works_both_ways(both, tls):
    server, peer = both
    before = server.counters()["forward_upgraded"]
    connection, head = switched(server, tls=tls)
    with connection:
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        assert receive(connection, 7) == b"welcome"
        for size in (1, 1000, 40_000):
            connection.sendall(b"x" * size)
            assert receive(connection, size) == b"x" * size

    assert server.counters()["forward_upgraded"] == before + 1
    head = peer.exchanges[-1].head.lower()
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


def test_what_a_client_sends_with_its_handshake_reaches_the_peer(both):
    connection, _ = switched(both[0], early=b"too early")
    with connection:
        assert receive(connection, 16) == b"welcometoo early"


def test_a_peer_that_has_said_all_ends_the_websocket(both):
    connection, _ = switched(both[0], "/farewell")
    with connection:
        assert receive(connection, 7) == b"goodbye"
        assert connection.recv(1) == b""


def test_a_client_that_goes_away_ends_the_websocket(both):
    server, peer = both
    connection, _ = switched(server)
    connection.close()

    wait_until("the peer's connection ends", peer.seen("/chat")[-1].ended.is_set)


def test_a_peer_may_refuse_to_open_a_websocket(both):
    server, _ = both
    with client.Connection(server.address, server.port) as connection:
        connection.send(HANDSHAKE.replace("/chat", "/refuses").encode())
        answer = connection.response()

    assert (answer.status, answer.body) == (426, b"from the peer")


@pytest.mark.parametrize("mpm", MPMS)
def test_a_websocket_on_which_nothing_is_said_ends(mpm):
    with peer_and_server(mpm, "BackhandTimeout idle=300ms") as (server, peer):
        connection, _ = switched(server, "/silence")
        with connection:
            assert receive(connection, 7) == b"welcome"
            assert connection.recv(1) == b""
        wait_until("the peer's connection ends", peer.seen("/silence")[0].ended.is_set)


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

    vias = [line for line in peer.exchanges[-1].head.splitlines() if line.lower().startswith("via:")]
    assert vias == ["Via: 1.0 somewhere", f"Via: 1.1 {server.contact} (backhand)"]
