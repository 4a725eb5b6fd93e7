"""A web server that is no httpd: Python's own, which knows nothing of Backhand.

Imported, it offers PlainServer, which runs this file as a process of its own:

    plain_server.py ADDRESS PORT [CHALLENGE_PORT]

It answers every request with what it was asked, as JSON. What a real one's configuration would do
for the challenge it does with CHALLENGE_PORT: requests for /.well-known/backhand are passed on to
that port of 127.0.0.1.
"""

import http.client
import http.server
import json
import os
import subprocess
import sys

from processes import die_with_the_tests, wait_until

CHALLENGE_PATH = "/.well-known/backhand"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    challenge_port = None

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == CHALLENGE_PATH and self.challenge_port:
            self.pass_on()
            return
        told = {"answered_by": "python", "method": self.command, "target": self.path,
                "fields": self.headers.items(), "body": body.decode("latin-1"), "pid": os.getpid()}
        self.reply(200, "application/json", json.dumps(told).encode())

    do_GET = do_POST = do_PUT = answer

    def pass_on(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.challenge_port, timeout=5)
        connection.request("GET", self.path, headers=dict(self.headers.items()))
        response = connection.getresponse()
        self.reply(response.status, response.headers["Content-Type"], response.read())
        connection.close()

    def reply(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class HttpServer(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_):
        """Connections that others reset are no news."""


def serve(address, port, challenge_port=None):
    Handler.challenge_port = int(challenge_port) if challenge_port else None
    HttpServer((address, int(port)), Handler).serve_forever()


class PlainServer:
    """The process; gone at the end of the block, or when it is killed."""

    def __init__(self, address, port, challenge_port=None):
        self.address = address
        self.port = port
        self._arguments = [str(argument) for argument in (address, port, challenge_port) if argument]

    def __repr__(self):
        return f"a Python server at {self.contact}"

    @property
    def contact(self):
        return f"{self.address}:{self.port}"

    @property
    def pid(self):
        return self._process.pid

    def __enter__(self):
        self.start()
        return self

    def start(self):
        self._process = subprocess.Popen([sys.executable, __file__, *self._arguments],
                                         preexec_fn=die_with_the_tests)
        wait_until(f"{self} answers", self._answers)

    def _answers(self):
        assert self._process.poll() is None, f"{self} has ended"
        try:
            connection = http.client.HTTPConnection(self.address, self.port, timeout=10)
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def kill(self):
        self._process.kill()
        self._process.wait()

    def __exit__(self, *_):
        self.kill()


if __name__ == "__main__":
    serve(*sys.argv[1:])
