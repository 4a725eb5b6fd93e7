"""A small HTTP/1 client that hides nothing.

It keeps what the tests compare: the status line, every header field in its order, how the body
was framed, and interim responses. A response that ends too early is an error, never a short body.
"""

import itertools
import os
import socket
import ssl

SITE = "www.backhand.test"
LIMIT_S = 60.0

_tokens = itertools.count(1)


class BrokenResponse(Exception):
    """The connection ended where more bytes were promised."""


def new_token():
    """A name for one request, found again in the access logs. All names are equally long."""
    return f"t{os.getpid()}-{next(_tokens):06d}"


class Response:
    """One response, as it came."""

    def __init__(self, status_line, fields, body, framing, interim):
        self.status_line = status_line
        self.status = int(status_line.split()[1])
        self.fields = fields
        self.body = body
        self.framing = framing
        self.interim = interim

    def all(self, name):
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def field(self, name):
        values = self.all(name)
        return values[0] if values else None

    @property
    def text(self):
        return self.body.decode()

    def __repr__(self):
        head = "\n".join([self.status_line] + [f"{name}: {value}" for name, value in self.fields])
        return f"{head}\n\n{self.body[:500]!r} ({len(self.body)} bytes, {self.framing})"


def request(target="/small.html", *fields, method="GET", version="HTTP/1.1", host=SITE, body=b""):
    """The bytes of one request. Content-Length is added when there is a body and no framing."""
    lines = [f"{method} {target} {version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines.extend(fields)
    framed = any(field.lower().startswith(("content-length:", "transfer-encoding:")) for field in fields)
    if body and not framed:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(*parts):
    """A chunked body of the given parts."""
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in parts]
    return b"".join(chunks) + b"0\r\n\r\n"


class Connection:
    """One connection to a server; `source` binds the client's own address, `certificate` is (certificate, key)."""

    def __init__(self, address, port, source=None, tls_name=None, limit_s=LIMIT_S, certificate=None):
        self._socket = socket.create_connection(
            (address, port), timeout=limit_s, source_address=(source, 0) if source else None
        )
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls_name:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            if certificate:
                context.load_cert_chain(*certificate)
            self._socket = context.wrap_socket(self._socket, server_hostname=tls_name)
        self._incoming = self._socket.makefile("rb")
        # Of the last response in chunks.
        self.trailers = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._incoming.close()
        self._socket.close()

    @property
    def own_end(self):
        return self._socket.getsockname()

    def send(self, data):
        self._socket.sendall(data)

    def response(self, method="GET"):
        """The next final response; interim ones before it are kept with it."""
        head = self.head()
        if method != "HEAD" and head.status not in (204, 304):
            head.body, head.framing = self._body(head)
        return head

    def head(self):
        """The head of the next final response, without its body."""
        interim = []
        while True:
            status_line = self._line()
            fields = self._fields()
            if not status_line.split()[1].startswith("1"):
                return Response(status_line, fields, b"", "none", interim)
            interim.append(status_line)

    def take(self, buffer):
        """Fills a buffer with what follows a head; returns how much of it was filled."""
        return self._incoming.readinto(buffer)

    def interim(self):
        """The status line of one interim response."""
        status_line = self._line()
        self._fields()
        return status_line

    def read_some(self, enough):
        """Reads body bytes until `enough` is among them; for responses that are not over yet."""
        seen = b""
        while enough not in seen:
            line = self._incoming.readline()
            if not line:
                raise BrokenResponse(f"{seen!r} and then the end")
            seen += line
        return seen

    def is_at_its_end(self):
        """True when the server has closed and sent nothing more; waits for either."""
        return self._incoming.read(1) == b""

    def _line(self):
        line = self._incoming.readline(65536)
        if not line.endswith(b"\r\n"):
            raise BrokenResponse(f"a line that ends early: {line!r}")
        return line[:-2].decode("latin-1")

    def _fields(self):
        fields = []
        while line := self._line():
            name, colon, value = line.partition(":")
            if not colon:
                raise BrokenResponse(f"not a header field: {line!r}")
            fields.append((name, value.strip()))
        return fields

    def _body(self, head):
        if "chunked" in (head.field("Transfer-Encoding") or ""):
            return self._chunks(), "chunked"
        if head.field("Content-Length") is not None:
            return self._exactly(int(head.field("Content-Length"))), "length"
        return self._incoming.read(), "close"

    def _chunks(self):
        body = b""
        while size := int(self._line().split(";")[0], 16):
            body += self._exactly(size)
            if self._line():
                raise BrokenResponse("a chunk longer than it said")
        self.trailers = self._fields()
        return body

    def _exactly(self, size):
        data = self._incoming.read(size)
        if len(data) != size:
            raise BrokenResponse(f"{len(data)} bytes of {size}")
        return data


def fetch(server, target="/small.html", *fields, method="GET", body=b"", host=SITE, source=None,
          tls=False, limit_s=LIMIT_S):
    """One request on a connection of its own, as a client without keep-alive makes it."""
    port = server.tls_port if tls else server.port
    with server.inside(), Connection(server.address, port, source, host if tls else None, limit_s) as connection:
        connection.send(request(target, "Connection: close", *fields, method=method, host=host, body=body))
        return connection.response(method)
