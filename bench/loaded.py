"""What forwarders cost, and how they answer, under load: all of them run, and get it in turn.

Their backend is one httpd.  Each round is a comparison of its own, so that what else the machine is doing meets all
of them alike.
"""

import contextlib
import math
import os
import statistics
from collections import defaultdict, namedtuple

from forwarders import backend, backhand, haproxy, mod_proxy, nginx, would_forward
from server import FILE, FILE_BYTES, LARGE_FILE, LARGE_FILE_BYTES
from processes import family_of, stat_fields, wait_until
from wrk import put_load

CONNECTIONS = 32
FILES = {"1 KiB": (FILE, FILE_BYTES), "64 KiB": (LARGE_FILE, LARGE_FILE_BYTES)}

# Half of the workers may be forwarding, and every connection of the load could have a request there.
WORKERS = ("StartServers 2\nServerLimit 2\nThreadLimit 64\nThreadsPerChild 64\nMaxRequestWorkers 128\n"
           "MinSpareThreads 1\nMaxSpareThreads 128\n")
FORWARDERS = {"mod_proxy_http": lambda behind: mod_proxy("event", WORKERS, behind),
              "backhand": lambda behind: backhand("event", WORKERS, behind),
              "HAProxy": haproxy,
              "nginx": nginx}
DIRECT = "no forwarder"

# CPU time a request, of the forwarder and of the server behind it, requests a second, and what wrk says.
Sample = namedtuple("Sample", "cpu_us behind_us per_s p99_ms errors")


class Figures:
    """What all rounds found: samples at full load by (file, forwarder), and at half by forwarder, in rounds' order."""

    def __init__(self):
        self.full = defaultdict(list)
        self.half = defaultdict(list)
        self.half_rate_per_s = 0
        self.counters = {}


def measure(rounds, seconds, progress):
    """All rounds; `progress` is told of each that begins."""
    figures = Figures()
    with contextlib.ExitStack() as stack:
        behind = stack.enter_context(backend("event", WORKERS))
        servers = {name: stack.enter_context(forwarder(behind)) for name, forwarder in FORWARDERS.items()}
        wait_until("the module forwards", lambda: would_forward(servers["backhand"], behind))
        # Fills the pools of connections, too.
        warm = [put_load(server, FILE, CONNECTIONS, 1) for server in servers.values()]
        figures.half_rate_per_s = min(load.requests / load.seconds for load in warm) / 2
        delay_ms = 1000 * CONNECTIONS / figures.half_rate_per_s
        before = servers["backhand"].report()["counters"]
        for number in range(rounds):
            progress(number)
            order = in_turn(list(servers), number)
            for kind, (path, _) in FILES.items():
                for name in order:
                    figures.full[kind, name].append(sample(servers[name], behind, path, seconds))
            for name in in_turn([DIRECT, *servers], number):
                figures.half[name].append(sample(servers.get(name, behind), behind, FILE, seconds, delay_ms))
        after = servers["backhand"].report()["counters"]
        figures.counters = {name: after[name] - before[name] for name in after}
    return figures


def in_turn(names, number):
    """Another comes first each time."""
    first = number % len(names)
    return names[first:] + names[:first]


def sample(server, behind, path, seconds, delay_ms=None):
    before_s = [cpu_s(one.pid) for one in (server, behind)]
    load = put_load(server, path, CONNECTIONS, seconds, delay_ms)
    used_s = [cpu_s(one.pid) - before for one, before in zip((server, behind), before_s)]
    assert load.requests > 0, "no request was answered"
    return Sample(*(1e6 * used / load.requests for used in used_s), load.requests / load.seconds, load.p99_ms,
                  load.errors)


def cpu_s(leader):
    """Of a server's processes, all of them, and of those that have ended; the kernel tells it in 10 ms."""
    ticks = 0
    for pid in family_of(leader):
        fields = stat_fields(pid)
        ticks += sum(int(field) for field in fields[11:15]) if fields else 0
    return ticks / os.sysconf("SC_CLK_TCK")


class Spread(namedtuple("Spread", "median lowest highest")):
    """A median with the interval that it lies in with at least 95 % certainty: the whole range, of up to seven."""

    def text(self, digits):
        return f"{self.median:.{digits}f} ({self.lowest:.{digits}f} to {self.highest:.{digits}f})"


def spread(values):
    ordered = sorted(values)
    count = len(ordered)
    left_out = 0
    # As many at each end as leave the interval certain enough; whatever the distribution.
    while (left_out + 1) * 2 < count and 2 * _tail(count, left_out + 1) <= 0.05:
        left_out += 1
    return Spread(statistics.median(ordered), ordered[left_out], ordered[count - 1 - left_out])


def _tail(count, successes):
    """How likely a fair coin falls on one side at most so often."""
    return sum(math.comb(count, k) for k in range(successes + 1)) / 2 ** count
