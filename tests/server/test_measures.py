"""What a server measures of itself: rates, latencies and totals, as its peers read them.

Everything is read of the onlooker. Asking a server itself would be one of the requests it measures.
"""

import os
import time

import pytest

import client
import httpd
from all_mpms import SLOW_COST_MS, SLOW_LOCATIONS, SPREAD, at_once, cluster_of_all_mpms, wait_for_news
from background import Background
from client import fetch
from hammer import Hammer
from httpd import SERVE_HERE
from processes import wait_until

# A server says how long requests take in steps of a tenth.
ROUNDING = 1.1

# How much longer a server may take a request to last than its client: it ends for the server later.
LATER = 3


@pytest.fixture(scope="module")
def cluster():
    """Three servers that serve what they are asked, but what lies under /spread, and the onlooker."""
    locations = f"""\
{SLOW_LOCATIONS}
<LocationMatch "^/spread/slow$">
SetHandler demo-page
</LocationMatch>
<Location "/spread">
{SPREAD}
</Location>"""
    with cluster_of_all_mpms(chain=SERVE_HERE, site_lines=locations) as running:
        yield running.wait_until_complete()


def seen(cluster, name):
    """What the onlooker has heard of one number of each server."""
    *servers, onlooker = cluster.servers
    return [onlooker.sees(server)[name] for server in servers]


def take_turns(servers, target, count):
    """Asks every server so many times, one after the other, all at once; returns the longest times in us."""
    def ask(server):
        longest = 0.0
        for _ in range(count):
            began = time.monotonic()
            assert fetch(server, target).status == 200
            longest = max(longest, time.monotonic() - began)
        return longest * 1e6

    return at_once(ask, servers)


def forget(servers):
    """A new moderator knows nothing of how long requests took; nobody else is asked for it."""
    at_once(httpd.Server.restart_gracefully, servers)
    for server in servers:
        wait_until(f"{server} has one moderator", lambda server=server: len(server.moderators()) == 1)


def test_latencies_are_those_of_the_page_that_is_asked_for(cluster):
    *servers, onlooker = cluster.servers
    forget(servers)
    longest_us = take_turns(servers, "/slow", 40)
    wait_for_news(onlooker, servers)

    for server, longest in zip(servers, longest_us):
        entry = onlooker.sees(server)
        for name in ("latency_us", "latency_p99_us", "latency_at_load_us"):
            assert SLOW_COST_MS * 1000 / ROUNDING <= entry[name] <= LATER * longest, name
        assert entry["latency_us"] >= SLOW_COST_MS * 1000, "a mean is not rounded"
        assert entry["latency_p99_us"] >= entry["latency_at_load_us"]


def test_requests_that_peers_answer_are_counted_where_they_came_and_timed_where_they_went(cluster):
    *servers, onlooker = cluster.servers
    assert seen(cluster, "latency_proxied_us") == [0] * len(servers)
    for number, forwarder in enumerate(servers):
        totals = seen(cluster, "forwarded_total")
        token = client.new_token()
        longest = max(at_once(lambda _, forwarder=forwarder, token=token: ask_slow(forwarder, token), range(20)))
        lines = forwarder.logged(token, 20)
        forwarded = len([line for line in lines if line.peer != "-"])
        totals[number] += forwarded
        wait_until(lambda totals=totals: f"{totals}, not {seen(cluster, 'forwarded_total')}",
                   lambda totals=totals: seen(cluster, "forwarded_total") == totals)
        wait_for_news(onlooker, servers)

        assert 0 < forwarded <= 20
        assert seen(cluster, "forwarded_total") == totals
        # The peers' times are those of the pages, and the forwarder's own are not among them.
        for server in servers:
            took = onlooker.sees(server)["latency_proxied_us"]
            assert took == 0 or SLOW_COST_MS * 1000 <= took <= LATER * longest
    assert all(seen(cluster, "latency_proxied_us"))
    assert onlooker.sees(onlooker)["latency_proxied_us"] == 0
    assert onlooker.sees(onlooker)["forwarded_total"] == 0


def ask_slow(server, token):
    began = time.monotonic()
    assert fetch(server, "/spread/slow", f"X-Token: {token}").status == 200
    return (time.monotonic() - began) * 1e6


def test_rates_follow_the_requests_and_errors_are_those_with_5xx(cluster):
    *servers, _ = cluster.servers
    no_page, failure = "/nothing.html", "/cgi/status.cgi?500+Failed"
    requests_enough, errors_enough = 4_000, 400

    with Hammer(servers, {"/small.html": None}, pause_s=0.01):
        wait_until(lambda: f"requests are noticed: {rates(cluster)}",
                   lambda: all(rate > requests_enough for rate in seen(cluster, "request_rate_millihertz")))
    assert seen(cluster, "error_rate_millihertz") == [0] * len(servers)

    for server in servers:
        assert fetch(server, no_page).status == 404
    wait_for_news(cluster.servers[-1], servers)
    assert seen(cluster, "error_rate_millihertz") == [0] * len(servers)

    with Asking(servers, failure):
        wait_until(lambda: f"errors are noticed: {rates(cluster)}",
                   lambda: all(rate > errors_enough for rate in seen(cluster, "error_rate_millihertz")))
    peaks = rates(cluster)
    assert all(errors <= requests for requests, errors in peaks)

    wait_until(lambda: f"both fall: {peaks}, {rates(cluster)}",
               lambda: all(now[0] < before[0] / 4 and now[1] < before[1] / 4
                           for now, before in zip(rates(cluster), peaks)))


def rates(cluster):
    return list(zip(seen(cluster, "request_rate_millihertz"), seen(cluster, "error_rate_millihertz")))


class Asking(Background):
    """Asks the servers in turn for what they fail at, until the block ends."""

    def __init__(self, servers, target):
        super().__init__()
        self._servers = servers
        self._target = target

    def _run(self):
        while not self._stopping.is_set():
            for server in self._servers:
                fetch(server, self._target)


def test_the_machine_is_described_as_the_kernel_describes_it(cluster):
    with open("/proc/meminfo", encoding="ascii") as lines:
        memory = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}

    for entry in cluster.servers[0].report()["servers"]:
        assert entry["memory_total_bytes"] == memory["MemTotal"]
        assert abs(entry["memory_available_bytes"] - memory["MemAvailable"]) < memory["MemTotal"] // 4
        assert 0 < entry["cpus_permille"] <= 1000 * os.cpu_count()
        assert 0 <= entry["cpu_idle_permille"] <= 1000
        assert abs(entry["load_permille"] - 1000 * os.getloadavg()[0]) < 3000
        for what in ("cpu", "memory", "io"):
            assert 0 <= entry[f"pressure_{what}_permille"] <= 1000


def test_workers_are_counted(cluster):
    for entry in cluster.servers[0].report()["servers"]:
        assert entry["workers_max"] == cluster.workers
        assert 0 < entry["workers_idle"] <= cluster.workers
        assert 0 <= entry["workers_busy"] <= cluster.workers
