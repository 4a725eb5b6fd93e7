"""A FastCGI application, as it stands behind mod_proxy_fcgi: it does with each request what a test says.

    def greets(exchange):
        exchange.answer(b"Content-Type: text/plain\\r\\n\\r\\nhello\\n")

    with FastCgiApplication("127.0.1.90", cluster.port, {"greets": greets}) as application:
        fetch(first, "/app/greets")
        request, = application.exchanges

A request is met by the behaviour that the last part of its path names, any other is told its parameters; every one
is kept in `exchanges`. Of the protocol (FastCGI 1.0) it knows the responder's role, and one request on each
connection, which is what httpd asks for unless it is told otherwise.
"""

import contextlib
import socket
import struct
import threading

VERSION = 1
BEGIN_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR = 1, 3, 4, 5, 6, 7
RESPONDER = 1
KEEP_CONNECTION = 1

# Type, request, length of the content and of the padding behind it.
HEADER = struct.Struct("!xBHHBx")
CONTENT_MAX = 0xFFFF

LIMIT_S = 60.0


class Exchange:
    """One request with its parameters and its whole body, and what may be said to it."""

    def __init__(self, connection, incoming):
        self._connection = connection
        self._number = None
        self.parameters = {}
        self.body = b""
        streams = {PARAMS: [], STDIN: []}
        while streams:
            kind, number, content = _record(incoming)
            if kind == BEGIN_REQUEST:
                role, flags = struct.unpack("!HB5x", content)
                assert (role, flags & KEEP_CONNECTION, self._number) == (RESPONDER, 0, None)
                self._number = number
                continue
            assert number == self._number and kind in streams
            streams[kind].append(content)
            # An empty record ends a stream.
            if not content:
                whole = b"".join(streams.pop(kind))
                if kind == PARAMS:
                    self.parameters = dict(_pairs(whole))
                else:
                    self.body = whole

    @property
    def target(self):
        return self.parameters["REQUEST_URI"]

    @property
    def name(self):
        """The last part of the path, which names the behaviour."""
        return self.target.split("?")[0].rsplit("/", 1)[-1]

    def say(self, data, kind=STDOUT):
        """More of the response: a head as of a CGI script, then the body."""
        for begin in range(0, len(data), CONTENT_MAX):
            self._send(kind, data[begin:begin + CONTENT_MAX])

    def end(self, status=0):
        """The response is complete; `status` is what a process would exit with."""
        self._send(STDOUT, b"")
        self._send(END_REQUEST, struct.pack("!IB3x", status, 0))

    def answer(self, data):
        self.say(data)
        self.end()

    def tell_parameters(self):
        lines = sorted(f"{name}={value}\n" for name, value in self.parameters.items())
        self.answer(b"Content-Type: text/plain\r\n\r\n" + "".join(lines).encode("latin-1"))

    def _send(self, kind, content):
        # Padded as the protocol recommends.
        padding = -len(content) % 8
        header = struct.pack("!BBHHBx", VERSION, kind, self._number, len(content), padding)
        self._connection.sendall(header + content + bytes(padding))


class FastCgiApplication:
    """The listener, from the beginning to the end of a `with` block."""

    def __init__(self, address, port, behaviours=None):
        self.address, self.port = address, port
        self._behaviours = behaviours or {}
        self.exchanges = []
        # What has gone wrong here, rather than at who asks.
        self.troubles = []
        self._lock = threading.Lock()

    def __enter__(self):
        self._listener = socket.create_server((self.address, self.port), backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind, *_):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if kind is None:
            assert self.troubles == []

    def asked(self, token):
        """The exchanges of the request with this X-Token."""
        with self._lock:
            return [exchange for exchange in self.exchanges if exchange.parameters.get("HTTP_X_TOKEN") == token]

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(LIMIT_S)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        # What asks may have gone by the time it is answered.
        with contextlib.suppress(ConnectionError), connection, connection.makefile("rb") as incoming:
            try:
                exchange = Exchange(connection, incoming)
                with self._lock:
                    self.exchanges.append(exchange)
                self._behaviours.get(exchange.name, Exchange.tell_parameters)(exchange)
            except (AssertionError, EOFError, LookupError, ValueError, struct.error) as trouble:
                self.troubles.append(repr(trouble))


def _record(incoming):
    """The next record: (type, request, content)."""
    kind, number, length, padding = HEADER.unpack(_exactly(incoming, HEADER.size))
    content = _exactly(incoming, length)
    _exactly(incoming, padding)
    return kind, number, content


def _exactly(incoming, size):
    data = incoming.read(size)
    if len(data) < size:
        raise EOFError(f"{len(data)} bytes of {size}")
    return data


def _pairs(data):
    """The names and values of a PARAMS stream."""
    at = 0
    while at < len(data):
        lengths = []
        for _ in range(2):
            # One byte, or four with the highest bit set.
            if data[at] < 0x80:
                lengths.append(data[at])
                at += 1
            else:
                lengths.append(struct.unpack_from("!I", data, at)[0] & 0x7FFFFFFF)
                at += 4
        name, value = data[at:at + lengths[0]], data[at + lengths[0]:at + sum(lengths)]
        if len(name) + len(value) < sum(lengths):
            raise EOFError(f"a parameter that ends early: {name!r}")
        yield name.decode("latin-1"), value.decode("latin-1")
        at += sum(lengths)
