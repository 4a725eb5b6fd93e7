"""Members of the cluster that are no httpd, and do with each connection what a test says.

    def forgets_to_answer(exchange):
        exchange.end()

    with RawPeer("127.0.1.71", cluster.port, {"forgets": forgets_to_answer}) as peer, announced(cluster, peer):
        fetch(first, "/peer/forgets")

A request for /peer/NAME is met by the behaviour of that name, any other by a good answer; every one is kept in
`exchanges`.
"""

import contextlib
import select
import socket
import struct
import threading

from client import BrokenResponse, Connection, request
from httpd import Cluster
from processes import wait_until
from test_command_line import MANY_WORKERS, PLAIN, PREFER_PEERS, announced

OTHER_PLAIN = "127.0.1.72"

# No request must stay here because others were tried again a moment ago.
RETRY_ALWAYS = "BackhandRetry 100 1000"
# What no peer answers this server does, and shows how it got the body.
HERE_TOO = 'ScriptAliasMatch "^/peer/" "${SITE}/cgi/echo.cgi"'

BODY = b"pay once"

# What a client gets.
PASSED_ON, HERE, BAD_GATEWAY, TIMED_OUT, CUT = "the peer's answer", "served here", 502, 504, "visibly cut off"

LIMIT_S = 60.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def response(status="200 OK", body=b"from the peer", *fields):
    """The bytes of a response with Content-Length."""
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]).encode() + b"\r\n\r\n" + body


WELL = response("200 OK", b"from the peer", "Connection: close")


class Exchange:
    """One request, and what may be done with the connection it came on."""

    def __init__(self, peer, connection, head, place):
        self.peer = peer
        self.head = head
        # How many requests came on this connection before.
        self.place = place
        # Set when the connection has ended.
        self.ended = threading.Event()
        # What the forwarder sent while hold() waited for that.
        self.afterwards = b""
        self.is_last = False
        self._socket, self._incoming = connection

    @property
    def method(self):
        return self.head.split()[0]

    @property
    def target(self):
        return self.head.split()[1]

    def field(self, name):
        for line in self.head.splitlines()[1:]:
            found, _, value = line.partition(":")
            if found.lower() == name.lower():
                return value.strip()
        return None

    def read(self, size):
        """So many bytes of what follows the head, fewer only if the forwarder ends."""
        return self._incoming.read(size)

    def read_body(self):
        """The body as it was framed; agrees to it first, if asked."""
        if self.field("Expect"):
            self.send(CONTINUE)
        if not self.field("Transfer-Encoding"):
            return self.read(int(self.field("Content-Length") or 0))
        return b"".join(self.chunks())

    def chunks(self):
        """The chunks of a body, one after the other."""
        while size := int(self._incoming.readline(), 16):
            yield self.read(size)
            self._incoming.readline()
        self._incoming.readline()

    def pieces(self):
        """What follows the head as it comes, until the forwarder ends."""
        return iter(lambda: self._incoming.read1(65_536), b"")

    def send(self, data):
        self._socket.sendall(data)

    def answer(self, *arguments):
        """Answers as response() does, after the body."""
        self.read_body()
        self.send(response(*arguments))

    def end(self):
        """Says no more, and has heard enough."""
        self.is_last = True
        self._incoming.close()
        self._socket.close()

    def reset(self):
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.end()

    def hold(self):
        """Keeps the connection open until the forwarder ends it."""
        self.is_last = True
        with contextlib.suppress(OSError):
            self.afterwards = self._incoming.read()


class RawPeer:
    """The listener, from the beginning to the end of a `with` block; refuses while closed."""

    def __init__(self, address, port, behaviours):
        self.address, self.port, self.contact = address, port, f"{address}:{port}"
        self._behaviours = behaviours
        self.exchanges = []
        self._lock = threading.Lock()
        self._open = set()
        self._listener = None

    def __repr__(self):
        return f"a raw peer at {self.contact}"

    def __enter__(self):
        self.listen()
        return self

    def __exit__(self, *_):
        self.refuse()
        self.drop_connections()

    def listen(self):
        self._listener = socket.create_server((self.address, self.port), backlog=128)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def refuse(self):
        """Accepts no more connections, until listen()."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @contextlib.contextmanager
    def stalled(self):
        """Neither accepts connections nor refuses them: there is no room left for more that wait to be accepted."""
        self.refuse()
        with socket.create_server((self.address, self.port), backlog=0), contextlib.ExitStack() as waiting:
            while _begins(waiting.enter_context(socket.socket()), (self.address, self.port)):
                pass
            yield
        self.listen()

    def drop_connections(self):
        """Ends all that are open."""
        with self._lock:
            dropped = list(self._open)
        for connection in dropped:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        wait_until(f"the connections of {self} end", lambda: not self._open)

    def seen(self, target):
        """The exchanges for one target."""
        with self._lock:
            return [exchange for exchange in self.exchanges if exchange.target == target]

    def forget(self):
        """Forgets the exchanges so far."""
        with self._lock:
            self.exchanges.clear()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(LIMIT_S)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._open.add(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        met = []
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rb") as incoming:
            while head := _head(incoming):
                met.append(Exchange(self, (connection, incoming), head, len(met)))
                with self._lock:
                    self.exchanges.append(met[-1])
                self._behaviours.get(name_of(met[-1].target), Exchange.answer)(met[-1])
                if met[-1].is_last:
                    break
        with self._lock:
            self._open.discard(connection)
        for exchange in met:
            exchange.ended.set()


def _begins(waiting, address):
    """Whether a connection comes about at once."""
    waiting.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        waiting.connect(address)
    return bool(select.select([], [waiting], [], 0.1)[1])


def _head(incoming):
    """A request's head as text, empty when the forwarder has ended instead."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = incoming.readline()
        if not line:
            return ""
        head += line
    return head.decode("latin-1")


def name_of(target):
    """The name of the behaviour that meets a request for this target."""
    return target.split("?")[0].rsplit("/", 1)[-1]


def say(data, then=Exchange.hold):
    """Takes the whole request, says something, and ends in some way."""
    def behave(exchange):
        exchange.read_body()
        exchange.send(data)
        then(exchange)

    return behave


# ---- a server and two of them ----


@contextlib.contextmanager
def two_peers(mpm, behaviours, *lines, site_lines=HERE_TOO, announcing=MANY_WORKERS, **settings):
    """A server that prefers either of two raw peers, and these, which say `announcing` of themselves; `lines` are of
    its configuration."""
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Cluster(mpm, size=1, chain=PREFER_PEERS, site_lines=site_lines,
                                              server_lines="\n".join(lines), **settings))
        peers = [stack.enter_context(RawPeer(address, cluster.port, behaviours)) for address in (PLAIN, OTHER_PLAIN)]
        for peer in peers:
            stack.enter_context(announced(cluster, peer, *announcing, state=cluster.folder / peer.address))
        yield cluster.servers[0], peers


def outcome(server, target, method, body=None):
    """What a client gets."""
    body = (BODY if method == "POST" else b"") if body is None else body
    with Connection(server.address, server.port) as connection:
        connection.send(request(target, method=method, body=body))
        return outcome_on(connection, method, body)


def outcome_on(connection, method, body=b""):
    try:
        answer = connection.response(method)
    except (BrokenResponse, ConnectionResetError):
        return CUT
    if answer.field("X-Method"):
        assert (answer.status, answer.field("X-Method"), answer.body) == (200, method, body)
        return HERE
    return PASSED_ON if answer.body == b"from the peer" else answer.status


class Counted:
    """What the server counts of its forwards from when this is made."""

    def __init__(self, server):
        self._server = server
        self._before = self._now()

    def _now(self):
        return {name: count for name, count in self._server.counters().items()
                if name.startswith(("forward", "served_here"))}

    def since(self):
        return {name: count - self._before[name] for name, count in self._now().items()
                if count != self._before[name]}

    def wait_for(self, expected):
        """A request may be counted a moment after its client has the answer."""
        wait_until(lambda: f"{expected} is counted: {self.since()}", lambda: self.since() == expected, limit_s=10)


def exchanges_of(peers, target):
    return [exchange for peer in peers for exchange in peer.seen(target)]


def asked(peers, target):
    """How often each peer was asked, the more often asked one first."""
    return sorted((len(peer.seen(target)) for peer in peers), reverse=True)


def assert_connections_end(peers, target):
    """The forwarder closes every connection on which a request for the target came, and sends nothing more there."""
    for exchange in exchanges_of(peers, target):
        wait_until(f"the connection of {exchange.head!r} ends", exchange.ended.is_set)
        assert exchange.afterwards == b""
