"""One client on one connection, for counts that must not depend on chance.

It asks only when the server waits for it, and can hold a peer until the server that forwards waits for that, too:
whether a first read finds something already there would else change from request to request.
"""

import os
import signal

from server import FILE, FILE_BYTES, SITE
from processes import stat_fields, wait_until

REQUEST = (f"GET {FILE} HTTP/1.1\r\nHost: {SITE}\r\nUser-Agent: backhand-bench\r\nAccept: */*\r\n\r\n").encode()
HEAD_END = b"\r\n\r\n"
PAUSE_S = 0.0001


def wait_for_idle(pid):
    """Until the process waits for something to come."""
    wait_for_state(pid, "S")


def wait_for_state(pid, state):
    wait_until(f"process {pid} is in state {state}", lambda: (stat_fields(pid) or "?")[0] == state, pause_s=PAUSE_S)


def ask(connection):
    connection.sendall(REQUEST)
    receive(connection)


def receive(connection):
    response = b""
    while True:
        part = connection.recv(1 << 16)
        assert part, f"httpd closed the connection after {response!r}"
        response += part
        head, _, body = response.partition(HEAD_END)
        if len(body) == FILE_BYTES:
            assert head.startswith(b"HTTP/1.1 200 "), head
            return


def ask_through(connection, forwarder_pid, peer_pid, peer_port):
    """Asks so that the forwarding process has gone to sleep before the peer's process reads the request."""
    wait_for_idle(forwarder_pid)
    os.kill(peer_pid, signal.SIGSTOP)
    try:
        wait_for_state(peer_pid, "T")
        connection.sendall(REQUEST)
        wait_until("the request is at the peer", lambda: has_unread_bytes(peer_port), pause_s=PAUSE_S)
        wait_for_idle(forwarder_pid)
    finally:
        os.kill(peer_pid, signal.SIGCONT)
    receive(connection)


def has_unread_bytes(port):
    """Whether something has come to a port of this machine that nobody has read."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        next(table)
        for line in table:
            _, local, _, _, queues, *_ = line.split()
            if int(local.partition(":")[2], 16) == port and int(queues.partition(":")[2], 16) > 0:
                return True
    return False
