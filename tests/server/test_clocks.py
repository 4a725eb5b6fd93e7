"""Servers whose clocks are set forth and back, as by an administrator or a virtual machine that was asleep.

The clock is libfaketime's, which the servers read it from; what waits and measures goes by the monotonic clock.
"""

import email.utils
import time
from pathlib import Path

import pytest

from client import fetch, new_token
from httpd import FORWARD_ALWAYS, Cluster
from processes import wait_until

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
pytestmark = pytest.mark.skipif(FAKETIME is None, reason="no other clock: apt-get install libfaketime")

HOUR_S = 3600
SECRET = "a-secret-for-servers-that-disagree-about-the-time-0123456789"


class Clock:
    """The clock on a server's wall."""

    def __init__(self, server):
        self._server = server
        self._offset_file = server.folder / "clock"
        server.environment = {
            "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self._offset_file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self.set_off(0)

    def set_off(self, seconds):
        """Sets it so many seconds before the real time."""
        fresh = self._offset_file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n", encoding="ascii")
        fresh.chmod(0o644)
        fresh.rename(self._offset_file)

    def is_off(self):
        """How many seconds the server says that it is before the real time."""
        date = fetch(self._server, "/served-here/small.html").field("Date")
        return email.utils.parsedate_to_datetime(date).timestamp() - time.time()

    def wait_until_off(self, seconds):
        wait_until(lambda: f"{self._server} is {seconds} s off: {self.is_off()}",
                   lambda: abs(self.is_off() - seconds) < 60)


def assert_they_forward(cluster):
    """Each to the other, whatever is asked, and nothing that they announce is dropped."""
    first, second = cluster.servers
    before = {server: server.counters() for server in cluster.servers}
    for server, peer in [(first, second), (second, first)]:
        for _ in range(10):
            token = new_token()
            assert fetch(server, "/small.html", f"X-Token: {token}").status == 200
            assert len(peer.logged(token)) == 1, server.report()
    for server in cluster.servers:
        changed = {name: count - before[server][name] for name, count in server.counters().items()}
        assert changed["forwarded"] >= 10
        assert {name for name, change in changed.items() if change and is_trouble(name)} == set()


def is_trouble(counter):
    good = {"datagrams_sent", "datagrams_accepted", "datagrams_own"}
    return counter.startswith("forward_") or (counter.startswith("datagrams_") and counter not in good)


@pytest.fixture(params=[(), (SECRET,)], ids=["without keys", "with keys"])
def cluster(request):
    unstarted = Cluster("event", size=2, keys=request.param, site_lines="""
<Location "/served-here">
    Backhand off
</Location>
Alias "/served-here" "${SITE}/htdocs"
""", chain=FORWARD_ALWAYS)
    clocks = [Clock(server) for server in unstarted.servers]
    with unstarted:
        unstarted.wait_until_complete()
        yield unstarted, clocks


def test_clocks_that_are_set_change_nothing(cluster):
    servers, clocks = cluster
    for offsets in [(HOUR_S, 0), (HOUR_S, -HOUR_S), (-24 * HOUR_S, 24 * HOUR_S), (0, 0)]:
        for clock, offset in zip(clocks, offsets):
            clock.set_off(offset)
        for clock, offset in zip(clocks, offsets):
            clock.wait_until_off(offset)
        assert_they_forward(servers)
        for viewer in servers.servers:
            assert all(entry["state"] == "ok" for entry in viewer.report()["servers"] if not entry["self"])


def test_a_server_that_starts_again_in_what_was_the_past_is_known_at_once(cluster):
    servers, clocks = cluster
    first, second = servers.servers
    before = int(first.sees(second)["boot_id"])
    assert second.stop() == []
    clocks[1].set_off(-24 * HOUR_S)

    second.start()
    clocks[1].wait_until_off(-24 * HOUR_S)
    wait_until(lambda: f"{first} knows that {second} has started again: {first.sees(second)}",
               lambda: int(first.sees(second)["boot_id"]) > before)
    servers.wait_until_complete()
    assert_they_forward(servers)
