"""What a forwarded request makes the process do that forwards it: instructions and system calls.

One client asks on one connection; two numbers of requests are subtracted, so that start and end cancel.
"""

import signal
import subprocess
import time
from collections import namedtuple

import callgrind
from asking import ask, ask_through, wait_for_idle
from forwarders import backend, backhand
from lifetime import die_with_the_parent
from processes import children_of, holder_of, name_of

REQUESTS = (100, 600)
TRACED_REQUESTS = (50, 250)
# A forwarder under callgrind must have heard of the backend.  It is not asked for: how often would differ from run to
# run.
CLUSTER_SETTLES_S = 5

# The module forwards nothing if it has but one worker, so one with an idle sibling is measured instead of prefork -X.
TWO_CHILDREN = "StartServers 2\nMinSpareServers 1\nMaxSpareServers 2\nMaxRequestWorkers 2\n"
# One process, that can be held.
ONE_PROCESS = "StartServers 1\nServerLimit 1\nThreadsPerChild 16\nMaxRequestWorkers 16\n"

# Calls by name, as many as each request makes; and those of one request, in their order, as strace shows them.
SystemCalls = namedtuple("SystemCalls", "per_request sequence")


def instructions(forwarder):
    """Its profile per request."""
    shorter, longer = (profile_of(forwarder, requests) for requests in REQUESTS)
    return callgrind.per_request(shorter, longer, REQUESTS[1] - REQUESTS[0])


def profile_of(forwarder, requests):
    """The forwarding process's profile, from its start to its end."""
    valgrind = ["valgrind", "--tool=callgrind", "--quiet", "--vgdb=no",
                "--callgrind-out-file={folder}/callgrind.%p"]
    with backend("event", ONE_PROCESS) as behind, forwarder("prefork", TWO_CHILDREN, behind, valgrind) as server:
        time.sleep(CLUSTER_SETTLES_S)
        with Asker(server, behind) as asker:
            asker.ask(requests)
            # Still connected: the report comes from the other child.
            if forwarder is backhand:
                check_forwarded(server, requests)
        server.terminate()
        return callgrind.read(server.folder / f"callgrind.{asker.child}")


def system_calls(forwarder):
    with backend("event", ONE_PROCESS) as behind, forwarder("prefork", TWO_CHILDREN, behind) as server:
        time.sleep(CLUSTER_SETTLES_S)
        with Asker(server, behind) as asker:
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


class Asker:
    """A client on one connection, and the process that serves it."""

    def __init__(self, server, behind):
        self._server = server
        self._behind = behind

    def __enter__(self):
        self._connection = self._server.accepts()
        # Accepted when there is something to read.
        ask(self._connection)
        self.child = holder_of((self._server.address, self._server.port), self._connection.getsockname(),
                               serving_children(self._server))
        self._peer, = serving_children(self._behind)
        return self

    def __exit__(self, *_):
        self._connection.close()

    def ask(self, count):
        for _ in range(count):
            ask_through(self._connection, self.child, self._peer, self._behind.port)
        wait_for_idle(self.child)


def serving_children(server):
    return [pid for pid in children_of(server.pid) if name_of(pid) != "bh-moderator"]


def check_forwarded(server, requests):
    """All of them, and on connections that were there; but what the first request did is not told."""
    counters = server.report()["counters"]
    assert requests <= counters["forwarded"] <= requests + 1, counters
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
