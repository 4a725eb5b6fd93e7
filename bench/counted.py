"""What a forwarded request makes the process do that forwards it: instructions and system calls.

One client asks on one connection; two numbers of requests are subtracted, so that start and end cancel.
"""

import signal
import subprocess
from collections import namedtuple

import callgrind
from asking import ask, ask_through, wait_for_idle
from forwarders import backend, backhand, would_forward
from lifetime import die_with_the_parent
from processes import Timeout, children_of, holder_of, name_of, wait_until

REQUESTS = (100, 600)
TRACED_REQUESTS = (50, 250)
# By chance a few requests pause, and then httpd's event MPM makes more calls.
CLOSE_REQUESTS = (100, 1100)
# Before any is counted: they open the connection to the peer.
FIRST_REQUESTS = 5

# The module forwards nothing if it has but one worker, so one with an idle sibling is measured instead of prefork -X.
TWO_CHILDREN = "StartServers 2\nMinSpareServers 1\nMaxSpareServers 2\nMaxRequestWorkers 2\n"
# One process, that can be held.
ONE_PROCESS = "StartServers 1\nServerLimit 1\nThreadsPerChild 16\nMaxRequestWorkers 16\n"

# Calls by name, as many as each request makes; and those of one request, in their order, as strace shows them.
SystemCalls = namedtuple("SystemCalls", "per_request sequence")


def instructions(forwarder, lines):
    """Its profile per request; `lines` end the configurations of both servers."""
    shorter, longer = (profile_of(forwarder, lines, requests) for requests in REQUESTS)
    return callgrind.per_request(shorter, longer, REQUESTS[1] - REQUESTS[0])


def profile_of(forwarder, lines, requests):
    """The forwarding process's profile, from its start to its end."""
    valgrind = ["valgrind", "--tool=callgrind", "--quiet", "--vgdb=no",
                "--callgrind-out-file={folder}/callgrind.%p"]
    with backend("event", ONE_PROCESS + lines) as behind, \
            forwarder("prefork", TWO_CHILDREN + lines, behind, valgrind) as server:
        with Asker(server, behind, forwarder is backhand) as asker:
            asker.ask(requests)
            # Still connected: the report comes from the other child.
            if forwarder is backhand:
                check_forwarded(server, requests)
        server.terminate()
        return callgrind.read(server.folder / f"callgrind.{asker.child}")


def system_calls(forwarder, lines):
    with backend("event", ONE_PROCESS + lines) as behind, \
            forwarder("prefork", TWO_CHILDREN + lines, behind) as server:
        with Asker(server, behind, forwarder is backhand) as asker:
            counts = []
            for requests in TRACED_REQUESTS:
                with Strace(asker.child, server.folder / "calls", "-c") as strace:
                    asker.ask(requests)
                counts.append(read_counts(strace.output))
            per_request = difference(*counts, TRACED_REQUESTS[1] - TRACED_REQUESTS[0])
            with Strace(asker.child, server.folder / "calls") as strace:
                asker.ask(2)
            if forwarder is backhand:
                check_forwarded(server, sum(TRACED_REQUESTS) + 2)
            # The last line is of the call that waits for the next request, as the one before these was.
            lines = [line for line in strace.output.read_text(encoding="utf-8").splitlines() if "(" in line]
            return SystemCalls(per_request, lines[-1 - round(sum(per_request.values())):-1])


def system_calls_of_close_requests(forwarder, lines):
    """The same under event, by name: each request follows closely on the response before it."""
    with backend("event", ONE_PROCESS + lines) as behind, \
            forwarder("event", ONE_PROCESS + lines, behind) as server:
        if forwarder is backhand:
            wait_until(lambda: f"it forwards\n{server.report()}", lambda: would_forward(server, behind), limit_s=120)
        child, = serving_children(server)
        counts = []
        with server.accepts() as connection:
            ask_closely(connection, FIRST_REQUESTS)
            for requests in CLOSE_REQUESTS:
                with Strace(child, server.folder / "calls", "-c") as strace:
                    ask_closely(connection, requests)
                counts.append(read_counts(strace.output))
        if forwarder is backhand:
            check_forwarded(server, sum(CLOSE_REQUESTS))
        return difference(*counts, CLOSE_REQUESTS[1] - CLOSE_REQUESTS[0])


def ask_closely(connection, count):
    for _ in range(count):
        ask(connection)


class Asker:
    """A client on one connection, and the process that serves it."""

    def __init__(self, server, behind, in_cluster):
        self._server = server
        self._behind = behind
        self._in_cluster = in_cluster

    def __enter__(self):
        self._connection = self._server.accepts()
        # Accepted when there is something to read.
        ask(self._connection)
        self.child = holder_of((self._server.address, self._server.port), self._connection.getsockname(),
                               serving_children(self._server))
        assert self.child, f"who serves the connection is not to be found\n{self._server.diary()}"
        self._peer, = serving_children(self._behind)
        if self._in_cluster:
            # The reports come from the other child: how many there are makes no difference to this one.
            wait_until(lambda: f"it forwards\n{self._server.report()}",
                       lambda: would_forward(self._server, self._behind), limit_s=120)
        self.ask(FIRST_REQUESTS)
        return self

    def __exit__(self, *_):
        self._connection.close()

    def ask(self, count):
        try:
            for _ in range(count):
                ask_through(self._connection, self.child, self._peer, self._behind.port)
        except Timeout as error:
            raise Timeout(f"{error}\n{self._server.diary()}\n{self._server.report() if self._in_cluster else ''}") \
                from error
        wait_for_idle(self.child)


def serving_children(server):
    return [pid for pid in children_of(server.pid) if name_of(pid) != "bh-moderator"]


def check_forwarded(server, requests):
    """All that were to be counted, and on one connection.  What became of the very first is left open."""
    counters = server.report()["counters"]
    expected = FIRST_REQUESTS + requests
    assert expected <= counters["forwarded"] <= expected + 1, counters
    assert counters["connections_opened"] == 1, counters


class Strace:
    """strace, attached to a process from entry to exit."""

    def __init__(self, pid, output, *arguments):
        self._pid = pid
        self._arguments = arguments
        self.output = output

    def __enter__(self):
        self._process = subprocess.Popen(
            ["strace", "-f", *self._arguments, "-o", str(self.output), "-p", str(self._pid)],
            stderr=subprocess.PIPE, text=True, preexec_fn=die_with_the_parent)
        first_words = self._process.stderr.readline()
        assert "attached" in first_words, f"strace: {first_words}"
        return self

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        self._process.stderr.close()


def read_counts(path):
    """Calls by name, from the table of strace -c: share, seconds, microseconds a call, calls, [errors,] name."""
    counts = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if fields and fields[0][0].isdigit() and fields[-1] != "total":
            counts[fields[-1]] = int(fields[3])
    return counts


def difference(shorter, longer, requests):
    names = sorted(set(shorter) | set(longer))
    return {name: (longer.get(name, 0) - shorter.get(name, 0)) / requests for name in names}
