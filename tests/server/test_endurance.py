"""Many exchanges, failures among them, leave no descriptor open; very large bodies take no more memory than small ones.

BACKHAND_SLOW_TESTS=1 makes the many 100,000 and the large 10 GiB.
"""

import itertools
import os
import threading
from collections import Counter

import pytest

import client
from client import Connection, request
from httpd import MPMS, Cluster
from processes import children_of, descriptors_of, memory_of, wait_until
from raw_peer import CONTINUE, RETRY_ALWAYS, WELL, Exchange, response, say, two_peers

SLOW = "BACKHAND_SLOW_TESTS" in os.environ
EXCHANGES = 100_000 if SLOW else 2000
LARGE_BYTES = 10 << 30 if SLOW else 256 << 20

SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n"

# What a request that no peer answers gets here, without a process of its own.
FILE_HERE = 'AliasMatch "^/peer/" "${SITE}/htdocs/small.html"'


# ---- descriptors ----


def answer_before_the_body(exchange):
    exchange.send(response("413 Content Too Large", b"", "Connection: close"))
    exchange.hold()


def close_with_part_of_the_body(exchange):
    exchange.send(CONTINUE)
    exchange.read(70_000)
    exchange.end()


def end_at_second(exchange):
    if exchange.place == 0:
        exchange.answer()
    else:
        exchange.end()


BEHAVIOURS = {
    "well": Exchange.answer,
    "closing": say(WELL),
    "dead-at-second": end_at_second,
    "head-cut": say(b"HTTP/1.1 200 OK\r\nCont", Exchange.end),
    "head-reset": say(b"HTTP/1.1 200 OK\r\nCont", Exchange.reset),
    "garbage": say(b"SSH-2.0-none\r\n"),
    "short-cut": say(SHORT + b"x" * 50, Exchange.end),
    "long-cut": say(LONG + b"x" * 50_000, Exchange.end),
    "declined": say(response("503 Service Unavailable", b"", "Backhand-Declined: busy"), Exchange.end),
    "long": say(LONG + b"x" * 200_000, Exchange.end),
    "early": answer_before_the_body,
    "part": close_with_part_of_the_body,
    "more": say(response() + b"more"),
}
UPLOADS = {"early", "part"}

# With each connection that a child keeps for later; for each of its threads one to each peer.
KEPT_MAX = {"prefork": 2, "worker": 16, "event": 16}


def exchange_with(server, name, leaves):
    """One request of a client; `leaves` in the middle of it."""
    method, body = ("POST", b"x" * 150_000) if name in UPLOADS else ("GET", b"")
    data = request(f"/peer/{name}", method=method, body=body)
    with Connection(server.address, server.port) as connection:
        connection.send(data[:-1000] if leaves and body else data)
        if not leaves:
            try:
                return connection.response(method).status
            except (client.BrokenResponse, ConnectionResetError):
                return "cut off"
    return "left"


def exchange_many(server, count):
    """So many exchanges of every kind, several at a time; returns how each kind ended."""
    numbers = iter(range(count))
    names = itertools.cycle(BEHAVIOURS)
    ends = Counter()
    lock = threading.Lock()

    def run():
        while True:
            with lock:
                number, name = next(numbers, None), next(names)
            if number is None:
                return
            end = exchange_with(server, name, leaves=number % 7 == 0)
            with lock:
                ends[name, end] += 1

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ends


@pytest.mark.parametrize("mpm", MPMS)
def test_no_descriptor_is_left_open(mpm):
    # Few processes, so that each gets many of every kind.
    with two_peers(mpm, BEHAVIOURS, RETRY_ALWAYS, "BackhandTimeout response=10s idle=10s", site_lines=FILE_HERE,
                   workers=8) as (server, peers):
        exchange_many(server, EXCHANGES // 3)
        before = {pid: descriptors_of(pid) for pid in children_of(server.pid)}
        ends = exchange_many(server, EXCHANGES)
        for peer in peers:
            peer.drop_connections()

        def left_open():
            return {pid: descriptors_of(pid) - before[pid] for pid in children_of(server.pid)
                    if pid in before and descriptors_of(pid) > before[pid] + KEPT_MAX[mpm]}

        wait_until(lambda: f"no process has more descriptors than before: {left_open()}", lambda: not left_open())
        assert set(before) <= set(children_of(server.pid)), "the same processes"
        # All kinds of ends have come about; a machine under load adds others.
        assert {end for _, end in ends} >= {200, 413, 502, "cut off", "left"}
        counters = server.counters()
        for name in ("forwarded", "forward_reset", "forward_bad_response", "forward_truncated", "forward_declined",
                     "forward_stale_connection", "forward_answered_502", "served_here_after_failure"):
            assert counters[name] > 0, name


# ---- memory ----

# For the exchange itself, and for what the allocators of httpd and of the C library do with it.
GROWTH_BYTES_MAX = 2 << 20

PIECE = bytes(16_384)


class Sink:
    """Takes a body, and counts it."""

    def __init__(self):
        self.taken_bytes = 0

    def __call__(self, exchange):
        exchange.send(CONTINUE)
        for piece in exchange.chunks() if exchange.field("Transfer-Encoding") else self._pieces(exchange):
            self.taken_bytes += len(piece)
        exchange.send(WELL)

    def _pieces(self, exchange):
        left = int(exchange.field("Content-Length"))
        while left > 0 and (piece := exchange.read(min(left, 1 << 20))):
            left -= len(piece)
            yield piece


class Memory:
    """The most that a server's children have occupied."""

    def __init__(self, server):
        self._server = server
        self.most_bytes = 0

    def look(self):
        self.most_bytes = max(self.most_bytes, memory_of(self._server.workers()))


def download(connection, size, memory):
    """Takes a response of zeros of that size."""
    connection.send(request("/huge.bin"))
    head = connection.head()
    assert (head.status, int(head.field("Content-Length"))) == (200, size)
    buffer = bytearray(1 << 20)
    zeros = bytes(len(buffer))
    for number in itertools.count():
        taken = connection.take(memoryview(buffer)[:min(size, len(buffer))])
        assert buffer[:taken] == zeros[:taken]
        size -= taken
        if number % 256 == 0:
            memory.look()
        if size == 0:
            return


def upload(connection, size, in_chunks, memory):
    framing = "Transfer-Encoding: chunked" if in_chunks else f"Content-Length: {size}"
    connection.send(request("/peer/takes", framing, method="POST"))
    piece = b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if in_chunks else PIECE
    for number in range(size // len(PIECE) // 16):
        connection.send(piece * 16)
        if number % 64 == 0:
            memory.look()
    if in_chunks:
        connection.send(b"0\r\n\r\n")
    assert connection.response("POST").status == 200


@pytest.mark.parametrize("mpm", MPMS)
def test_a_large_download_takes_no_more_memory_than_a_small_one(mpm):
    with Cluster(mpm, size=2) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        most = []
        for size in (LARGE_BYTES // 64, LARGE_BYTES):
            with open(cluster.site / "htdocs" / "huge.bin", "wb") as file:
                file.truncate(size)
            memory = Memory(first)
            with Connection(first.address, first.port) as connection:
                download(connection, size, memory)
            most.append(memory.most_bytes)

        assert most[1] < most[0] + GROWTH_BYTES_MAX
        wait_until("both are logged", lambda: len(second.log(path="/huge.bin")) == 2)


@pytest.mark.parametrize("in_chunks", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("mpm", MPMS)
def test_a_large_upload_takes_no_more_memory_than_a_small_one(mpm, in_chunks):
    sink = Sink()
    with two_peers(mpm, {"takes": sink}, "LimitRequestBody 0") as (server, _):
        most = []
        for size in (LARGE_BYTES // 64, LARGE_BYTES):
            memory = Memory(server)
            with Connection(server.address, server.port) as connection:
                upload(connection, size, in_chunks, memory)
            most.append(memory.most_bytes)

        assert most[1] < most[0] + GROWTH_BYTES_MAX
        assert sink.taken_bytes == LARGE_BYTES // 64 + LARGE_BYTES
