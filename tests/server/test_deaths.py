"""Processes are killed, stopped and restarted under load: the numbers stay right, and so does the cluster.

BACKHAND_SLOW_TESTS=1 also runs what takes long because time itself must pass.
"""

import os
import random
import shutil
import signal
import struct
import subprocess
import time

import pytest

import client
import httpd
from all_mpms import ONLOOKER, SLOW_LOCATIONS, SLOW_PAGE, SPREAD, at_once, cluster_of_all_mpms, start_all, wait_for_news
from background import Background
from client import Connection, fetch, new_token, request
from gates import Gate, Waiting
from hammer import Hammer
from httpd import MPMS, SERVE_HERE, Cluster
from processes import children_of, is_running, wait_until

slow = pytest.mark.skipif("BACKHAND_SLOW_TESTS" not in os.environ, reason="takes long; BACKHAND_SLOW_TESTS=1 runs it")

# A number is believed when so many further announcements repeat it.
REPEATED = 3


@pytest.fixture(scope="module")
def cluster():
    """Three servers that forward whatever they can to one another, and the onlooker."""
    with cluster_of_all_mpms(chain=SPREAD) as running:
        yield running.wait_until_complete()


def pages(cluster):
    return {"/small.html": (cluster.site / "htdocs" / "small.html").read_bytes(),
            "/folder/": (cluster.site / "htdocs" / "folder" / "index.html").read_bytes(),
            "/slow": None}


def slots_of(viewer):
    return {entry["contact"]: entry["slot"] for entry in viewer.report()["servers"]}


def boot_ids(servers):
    return [server.report()["boot_id"] for server in servers]


def announced_counts(onlooker, server):
    entry = onlooker.sees(server)
    return (entry["serving"], entry["forwarding"]) if entry else None


def own_counts(server):
    """What a server says of itself: the sum that its decisions read, and the report's own request in it."""
    entry = server.sees(server)
    return (entry["serving"] - 1, entry["forwarding"]) if entry else None


def assert_nothing_is_in_progress(cluster):
    *servers, onlooker = cluster.servers
    for server in servers:
        # It may take a moment: a request ends after its client has the answer, this report's too.
        wait_until(lambda server=server: f"{server} counts nothing of its own: {own_counts(server)}",
                   lambda server=server: own_counts(server) == (0, 0), limit_s=15)
    for server in servers:
        wait_until(lambda server=server: f"{server} announces that it does nothing: {announced_counts(onlooker, server)}",
                   lambda server=server: announced_counts(onlooker, server) == (0, 0), limit_s=15)
    for _ in range(REPEATED):
        wait_for_news(onlooker, servers)
        assert [announced_counts(onlooker, server) for server in servers] == [(0, 0)] * len(servers)
    for viewer in servers:
        report = viewer.report()["servers"]
        assert [entry["in_flight"] for entry in report] == [0] * len(cluster.servers)


class Watch(Background):
    """Looks at one server's report again and again and keeps every state it shows of the others.

    `faults` are news that went backwards.
    """

    def __init__(self, viewer):
        super().__init__()
        self.faults = []
        self._viewer = viewer
        self._states = {}
        self._newest = {}

    def states_of(self, server):
        """All states it has been in."""
        return set(self._states.get(server.contact, {}))

    def first_seen_at(self, server, state):
        """The moment of time.monotonic() at which it was first seen in a state, None if never."""
        return self._states.get(server.contact, {}).get(state)

    def _run(self):
        while not self._stopping.is_set():
            for entry in self._viewer.report()["servers"]:
                self._look_at(entry)
            time.sleep(0.01)

    def _look_at(self, entry):
        contact = entry["contact"]
        self._states.setdefault(contact, {}).setdefault(entry["state"], time.monotonic())
        newest = int(entry["boot_id"]), entry["measurement"]
        if newest < self._newest.get(contact, (0, 0)):
            self.faults.append(f"{contact}: {newest} after {self._newest[contact]}")
        self._newest[contact] = newest


# ---- Counts ----


def test_no_count_leaks_when_children_are_killed_while_requests_are_in_progress(cluster):
    *servers, _ = cluster.servers
    chance = random.Random(4711)
    targets = dict.fromkeys(["/slow", "/served-here/slow", "/small.html"])
    for spared in servers:
        victims = [server for server in servers if server is not spared]
        with Hammer(servers, targets, threads=12, pause_s=0) as clients:
            for _ in range(8):
                clients.wait_for(chance.randrange(1, 20))
                kill_a_child(chance.choice(victims), chance)

        # A killed child takes its clients' connections with it; what it did for a peer is done again.
        assert [failure for failure in clients.failures if str(spared) in failure] == []
        assert [failure for failure in clients.failures if "HTTP/1.1" in failure] == []
        assert_nothing_is_in_progress(cluster)
    cluster.wait_until_complete()


def kill_a_child(server, chance):
    children = server.serving_children()
    if children:
        os.kill(chance.choice(children), signal.SIGKILL)


@pytest.mark.parametrize("error", [+1, -1])
def test_a_sum_left_wrong_by_a_child_that_died_between_two_additions_is_put_right(cluster, error):
    if os.geteuid() != 0:
        pytest.skip("only root may write to another process's memory")
    server = cluster.servers[2]
    assert_nothing_is_in_progress(cluster)
    snapshots = [table_words(server)]
    first = Waiting(server, f"sum-{error}-first", 3, path="/served-here/cgi")
    snapshots.append(table_words(server))
    then = Waiting(server, f"sum-{error}-then", 4, path="/served-here/cgi")
    snapshots.append(table_words(server))
    # What has been 0, 3 and 7 counts these requests; the sum comes first, before all cells.
    index = next(index for index, seen in enumerate(zip(*snapshots)) if seen == (0, 3, 7))
    with open(f"/proc/{server.moderator()}/mem", "r+b", buffering=0) as memory:
        memory.seek(table_address(server) + 4 * index)
        memory.write(struct.pack("<i", 7 + error))
    wrong = own_counts(server)
    wait_until(lambda: f"the sum is put right: {own_counts(server)}", lambda: own_counts(server) == (7, 0), limit_s=15)

    assert wrong == (7 + error, 0)
    assert first.release() + then.release() == [200] * 7
    assert_nothing_is_in_progress(cluster)


def table_address(server):
    """Where the cluster table begins in the moderator's memory: among what httpd's processes share."""
    with open(f"/proc/{server.moderator()}/maps", encoding="ascii") as maps:
        shared = [int(line.split("-")[0], 16) for line in maps if " rw-s " in line]
    with open(f"/proc/{server.moderator()}/mem", "rb", buffering=0) as memory:
        for address in shared:
            memory.seek(address)
            if memory.read(8) == b"BACKHAND"[::-1]:
                return address
    pytest.fail("no cluster table")


def table_words(server, bytes_count=128 << 10):
    with open(f"/proc/{server.moderator()}/mem", "rb", buffering=0) as memory:
        memory.seek(table_address(server))
        return struct.unpack(f"<{bytes_count // 4}I", memory.read(bytes_count))


# ---- The moderator ----


def kill_moderators_in_a_row(cluster, times):
    """Kills the moderators of all servers, and their successors, while clients ask."""
    *servers, onlooker = cluster.servers
    chance = random.Random(4712)
    boots, slots = boot_ids(servers), slots_of(onlooker)
    with Watch(onlooker) as watch, Hammer(servers, pages(cluster)) as clients:
        for _ in range(times):
            # Requests come and go, so announcements do, too.
            clients.wait_for(chance.randrange(1, 30))
            dead = {server: server.moderator() for server in servers}
            for pid in dead.values():
                os.kill(pid, signal.SIGKILL)
            for server, pid in dead.items():
                wait_until(f"{server} has a new moderator",
                           lambda server=server, pid=pid: server.moderators() not in ([], [pid]))
        # After so many failures the successor waits for some seconds, but no longer.
        wait_for_news(onlooker, servers)
        clients.wait_for(100)

    assert clients.failures == []
    assert watch.faults == []
    assert boot_ids(servers) == boots
    assert slots_of(onlooker) == slots
    cluster.wait_until_complete()
    for server in servers:
        assert len(server.moderators()) == 1
        assert "leaving" not in watch.states_of(server)
    assert_nothing_is_in_progress(cluster)


def test_moderators_killed_again_and_again_come_back_and_know_what_they_knew(cluster):
    kill_moderators_in_a_row(cluster, 5)


@slow
def test_moderators_killed_many_times_come_back_within_seconds(cluster):
    kill_moderators_in_a_row(cluster, 14)


def test_of_two_moderators_that_overlap_one_remains(cluster):
    *servers, onlooker = cluster.servers
    boots, slots = boot_ids(servers), slots_of(onlooker)
    stopped = {server: server.moderator() for server in servers}
    with Watch(onlooker) as watch, Hammer(servers, pages(cluster)) as clients:
        for pid in stopped.values():
            os.kill(pid, signal.SIGSTOP)
        try:
            at_once(httpd.Server.restart_gracefully, servers)
            wait_for_news(onlooker, servers)
            assert [len(server.moderators()) for server in servers] == [2] * len(servers)
        finally:
            for pid in stopped.values():
                os.kill(pid, signal.SIGCONT)
        for server, pid in stopped.items():
            wait_until(f"the old moderator of {server} goes", lambda pid=pid: not is_running(pid))
        wait_for_news(onlooker, servers)
        clients.wait_for(50)

    assert clients.failures == []
    assert watch.faults == []
    assert boot_ids(servers) == boots
    for viewer in cluster.servers:
        report = viewer.report()
        assert report["moderator_alive"]
        assert sorted(entry["contact"] for entry in report["servers"]) == sorted(slots)
        for entry in report["servers"]:
            assert entry["name"] == f"node{entry['contact'].split(':')[0][-1]}"
    assert slots_of(onlooker) == slots
    for server in servers:
        assert len(server.moderators()) == 1
        assert "leaving" not in watch.states_of(server)


@slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="holds a moderator up with strace")
def test_a_parent_that_dies_while_its_moderator_starts_leaves_none_behind():
    with Cluster("event", size=1) as cluster:
        server = cluster.servers[0]
        dead, parent = server.moderator(), server.pid
        tracer = subprocess.Popen(["strace", "-f", "-q", "-o", "/dev/null", "-e", "trace=prctl",
                                   "-e", "inject=prctl:delay_enter=1500000", "-p", str(parent)])
        wait_until("the parent is traced", lambda: tracer_of(parent) == tracer.pid)
        before = children_of(parent)
        os.kill(dead, signal.SIGKILL)
        successor = wait_until("a successor", lambda: [pid for pid in children_of(parent) if pid not in before])[0]
        os.kill(parent, signal.SIGKILL)
        wait_until("the successor goes", lambda: not is_running(successor))
        tracer.terminate()
        tracer.wait()
        server.kill()


def tracer_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("TracerPid:"))


@pytest.mark.skipif(shutil.which("strace") is None, reason="lets fork() fail with strace")
def test_a_moderator_that_cannot_be_forked_is_missed_once_and_started_later():
    missed, started = "cannot start the moderator", "the moderator has been started after all"
    with Cluster("event", size=1) as cluster:
        server = cluster.servers[0]
        parent, forks = server.pid, server.folder / "forks"
        tracer = subprocess.Popen(["strace", "-q", "-o", forks, "-e", "trace=clone,clone3,fork,vfork", "-e",
                                   "inject=clone,clone3,fork,vfork:error=EAGAIN", "-p", str(parent)])
        try:
            wait_until("the parent is traced", lambda: tracer_of(parent) == tracer.pid)
            os.kill(server.moderator(), signal.SIGKILL)
            wait_until("it has been tried three times", lambda: forks.read_text().count("EAGAIN") >= 3, limit_s=60)
            assert server.error_log().count(missed) == 1
            assert server.moderators() == []
            assert fetch(server, "/small.html").status == 200
        finally:
            tracer.terminate()
            tracer.wait()

        server.moderator()
        wait_until("its start is told", lambda: started in server.error_log())
        wait_until("it writes", lambda: server.report()["moderator_alive"])
        assert server.error_log().count(missed) == server.error_log().count(started) == 1


@pytest.mark.parametrize("keys", [pytest.param((), id="without keys"), pytest.param(["k" * 64], id="with keys")])
def test_a_peer_that_never_hears_this_server_is_asked_ever_more_rarely(keys):
    def announcing(number):
        # What the second says the first hears.  What the first says nobody hears.
        target = {1: "127.0.1.99", 2: "127.0.1.1"}[number]
        return f"MulticastStats 127.0.1.{number} {target}:{cluster.announce_port}"

    cluster = Cluster("event", size=2, keys=keys)
    for server in cluster.servers:
        server.backhand_lines = server.backhand_lines.replace(cluster.announcing(server), announcing(server.number))
    with cluster:
        first, second = cluster.servers
        wait_until(lambda: f"the first hears the second: {first.states()}",
                   lambda: first.states().get(second.contact) == "ok")
        with Hammer([first], pages_of(cluster), threads=2, pause_s=0.01) as clients:
            for times in (1, 2, 3):
                wait_until(f"the second is left alone for the {times}. time",
                           lambda times=times: first.sees(second)["failures_in_a_row"] == times)
                # One at a time, but for those that were on their way together.
                assert first.counters()["forward_declined"] <= 2 * times
                assert first.states()[second.contact] == "ejected"
                clients.wait_for(20)

        assert clients.failures == []
        assert second.states() == {}
        assert first.counters()["forwarded"] == 0


@slow
def test_a_peer_that_hears_nobody_any_more_is_left_alone():
    with Cluster("event", size=2) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        moderator = second.moderator()
        os.kill(moderator, signal.SIGSTOP)
        try:
            with Hammer([first], pages_of(cluster), threads=2, pause_s=0.02) as clients:
                # It serves what comes as long as it remembers the forwarder, and declines afterwards.
                wait_until(lambda: f"it falls silent: {first.sees(second)}",
                           lambda: first.sees(second)["state"] == "silent")
                declined = first.counters()["forward_declined"]
                clients.wait_for(50)
                assert first.counters()["forward_declined"] == declined
        finally:
            os.kill(moderator, signal.SIGCONT)

        assert clients.failures == []
        assert declined > 0
        cluster.wait_until_complete()


def pages_of(cluster):
    return {"/small.html": (cluster.site / "htdocs" / "small.html").read_bytes()}


# ---- Restarts ----


def test_no_client_notices_many_graceful_restarts_and_the_cluster_is_kept(cluster):
    *servers, onlooker = cluster.servers
    boots, slots = boot_ids(servers), slots_of(onlooker)
    own_slots = [slots_of(server) for server in servers]
    with Watch(onlooker) as watch, Hammer(servers, pages(cluster)) as clients:
        for number in range(4):
            clients.wait_for(20)
            if number % 2:
                # The moderator dies at the very moment.
                for server in servers:
                    os.kill(server.moderator(), signal.SIGKILL)
            at_once(httpd.Server.restart_gracefully, servers)
            assert [slots_of(server).keys() for server in servers] == [slots.keys()] * len(servers)
        clients.wait_for(100)

    assert clients.failures == []
    assert watch.faults == []
    assert boot_ids(servers) == boots
    assert slots_of(onlooker) == slots
    assert [slots_of(server) for server in servers] == own_slots
    for server in servers:
        wait_until(lambda server=server: f"{server} has one moderator: {server.moderators()}",
                   lambda server=server: len(server.moderators()) == 1)
        assert "leaving" not in watch.states_of(server)
    cluster.wait_until_complete()
    assert_nothing_is_in_progress(cluster)


def test_the_cluster_is_kept_across_a_hard_restart(cluster):
    *servers, onlooker = cluster.servers
    boots, slots = boot_ids(servers), slots_of(onlooker)
    with Watch(onlooker) as watch:
        at_once(httpd.Server.restart, servers)
        for server in servers:
            wait_until(f"{server} answers", server.answers)
            assert slots_of(server).keys() == slots.keys()
        wait_for_news(onlooker, servers)

    assert watch.faults == []
    assert boot_ids(servers) == boots
    for server in servers:
        assert "leaving" not in watch.states_of(server)
    cluster.wait_until_complete()
    assert_nothing_is_in_progress(cluster)


def test_a_server_that_is_stopped_and_started_is_a_new_boot_in_its_old_place(cluster):
    *servers, onlooker = cluster.servers
    boots, slots = boot_ids(servers), slots_of(onlooker)
    with Watch(onlooker) as watch:
        assert at_once(httpd.Server.stop, servers) == [[]] * len(servers)
        start_all(servers)
        cluster.wait_until_complete()

    assert watch.faults == []
    assert all(int(now) > int(then) for now, then in zip(boot_ids(servers), boots))
    assert slots_of(onlooker) == slots
    assert_nothing_is_in_progress(cluster)


# ---- Leaving, and what only looks like it ----


@pytest.fixture(scope="module")
def forwarding_to_all():
    """Three servers that serve, with children that come and go, and the fourth, which forwards to them."""
    spare = {"prefork": "MinSpareServers 2\nMaxSpareServers 3",
             "worker": "MinSpareThreads 2\nMaxSpareThreads 10", "event": "MinSpareThreads 2\nMaxSpareThreads 10"}

    def server_lines(number):
        if number == ONLOOKER:
            return SLOW_PAGE
        return f"{SLOW_PAGE}\nMaxConnectionsPerChild 60\n{spare[MPMS[number - 1]]}"

    with cluster_of_all_mpms(chain=lambda number: SPREAD if number == ONLOOKER else SERVE_HERE,
                             server_lines=server_lines,
                             site_lines=lambda number: SLOW_LOCATIONS if number != ONLOOKER else
                             f"{SLOW_LOCATIONS}\nBackhandService {client.SITE} onlooker.backhand.test") as running:
        yield running.wait_until_complete()


def test_children_that_come_and_go_do_not_look_like_a_server_that_leaves(forwarding_to_all):
    *servers, forwarder = forwarding_to_all.servers
    first_children = {server: server.serving_children() for server in servers}
    with Watch(forwarder) as watch, Hammer(servers, pages(forwarding_to_all), threads=12) as clients:
        for server, children in first_children.items():
            wait_until(lambda server=server: f"{server} has other children: {server.serving_children()}",
                       lambda children=children: not any(is_running(pid) for pid in children), limit_s=60)
        at_once(httpd.Server.restart_gracefully, servers)
        clients.wait_for(50)

    assert clients.failures == []
    for server in servers:
        assert "leaving" not in watch.states_of(server)


def all_forwarded(forwarder, clients, held=0):
    """How many requests peers have answered, once those have ended that are not held at a gate."""
    clients.wait_for(20)
    wait_until(lambda: f"{held} are in flight: {forwarder.report()}",
               lambda: sum(entry["in_flight"] for entry in forwarder.report()["servers"]) == held)
    return forwarder.counters()["forwarded"]


def test_a_server_that_stops_gracefully_says_so_while_it_finishes_its_requests(forwarding_to_all):
    *servers, forwarder = forwarding_to_all.servers
    forwarding_to_all.wait_until_complete()
    gates = [Gate(forwarding_to_all, f"half-stopping-{number}") for number in range(2 * len(servers))]
    # To each of them directly, and as many by way of the forwarder.
    asked = [*servers, *[forwarder] * len(servers)]
    connections = [Connection(server.address, server.port) for server in asked]
    for connection, gate in zip(connections, gates):
        connection.send(request(gate.target, "Connection: close"))
    for gate in gates:
        gate.wait_until_reached()
    with Watch(forwarder) as watch, Hammer([forwarder], pages(forwarding_to_all)) as clients:
        stopped_at = time.monotonic()
        for server in servers:
            server.stop_gracefully()
        for server in servers:
            wait_until(lambda server=server: f"{server} leaves: {forwarder.sees(server)}",
                       lambda server=server: "leaving" in watch.states_of(server))
        forwarded = all_forwarded(forwarder, clients, held=len(servers))
        clients.wait_for(100)
        after = all_forwarded(forwarder, clients, held=len(servers))
        for gate in gates:
            gate.open()
        responses = [connection.response() for connection in connections]
    for connection in connections:
        connection.close()
    took = {server.mpm: round(watch.first_seen_at(server, "leaving") - stopped_at, 2) for server in servers}
    print(f"seconds until the stop was known: {took}")

    assert [response.status for response in responses] == [200] * len(gates)
    assert [response.body for response in responses] == [b"before the gate\nafter the gate\n"] * len(gates)
    assert clients.failures == []
    assert after == forwarded, "nothing is forwarded to who leaves"
    for server in servers:
        wait_until(f"{server} ends", lambda server=server: not is_running(server.pid))
        assert server.stop() == []
    start_all(servers)
    forwarding_to_all.wait_until_complete()


def test_a_parent_that_is_killed_takes_its_moderator_with_it_and_peers_go_elsewhere(forwarding_to_all):
    *servers, forwarder = forwarding_to_all.servers
    boots = boot_ids(servers)
    moderators = [server.moderator() for server in servers]
    with Hammer([forwarder], pages(forwarding_to_all)) as clients:
        clients.wait_for(50)
        for server in servers:
            os.kill(server.pid, signal.SIGKILL)
        for pid in moderators:
            wait_until(f"moderator {pid} goes", lambda pid=pid: not is_running(pid))
        for server in servers:
            # Its children go on as orphans: only who says so is no candidate any more.
            wait_until(lambda server=server: f"{server} leaves: {forwarder.sees(server)}",
                       lambda server=server: forwarder.sees(server)["state"] == "leaving")
        forwarded = all_forwarded(forwarder, clients)
        clients.wait_for(100)
        after = all_forwarded(forwarder, clients)
        at_once(httpd.Server.kill, servers)
        start_all(servers)
        forwarding_to_all.wait_until_complete()
        token = new_token()

        def peers():
            assert fetch(forwarder, "/small.html", f"X-Token: {token}").status == 200
            return {line.peer for line in forwarder.log(token)}

        wait_until("all of them are used again", lambda: peers() >= {server.contact for server in servers})

    assert clients.failures == []
    assert after == forwarded, "nothing is forwarded to orphans that have left"
    assert all(int(now) > int(then) for now, then in zip(boot_ids(servers), boots))
    assert boot_ids(servers) == [forwarder.sees(server)["boot_id"] for server in servers]


# ---- The size of the table ----


def test_the_size_of_the_table_changes_when_httpd_is_stopped_and_started():
    cluster = Cluster("event", size=3)
    first, second, third = cluster.servers
    first.backhand_lines += "\nBackhandMaxServers 2"
    warning = "BackhandMaxServers 7 takes effect when httpd is stopped and started: until then it is 2"

    with cluster:
        cluster.wait_until_complete([second, third])
        wait_until(lambda: f"one too many is counted: {first.counters()}",
                   lambda: first.counters()["datagrams_cluster_full"] > 0 and len(first.report()["servers"]) == 2)
        wait_until("the log says so", lambda: "cluster_full" in first.error_log())
        boot_id, slots, moderator = first.report()["boot_id"], slots_of(first), first.moderator()
        assert len(slots) == 2
        assert warning not in first.error_log()

        first.backhand_lines += "\nBackhandMaxServers 7"
        for restart in (first.restart_gracefully, first.restart):
            first.write_configuration()
            warnings = first.error_log().count(warning)
            restart()
            wait_until("it answers", first.answers)
            assert first.error_log().count(warning) == warnings + 1
            assert first.report()["boot_id"] == boot_id
            assert slots_of(first) == slots
        wait_until(lambda: f"one new moderator remains of {moderator}: {first.moderators()}",
                   lambda: len(first.moderators()) == 1 and first.moderators() != [moderator])
        assert slots_of(first) == slots

        assert first.stop() == []
        first.start()
        cluster.wait_until_complete()
        assert first.error_log().count(warning) == 2
        assert first.counters()["datagrams_cluster_full"] == 0


@slow
def test_the_slot_of_a_server_that_was_silent_for_30_s_is_given_to_another():
    cluster = Cluster("event", size=3)
    first, *others = cluster.servers
    first.backhand_lines += "\nBackhandMaxServers 2"

    with cluster:
        cluster.wait_until_complete(others)
        wait_until("the first knows one other", lambda: len(first.report()["servers"]) == 2)
        known = next(server for server in others if first.sees(server))
        unknown = next(server for server in others if server is not known)
        slot = first.sees(known)["slot"]
        known.kill()
        wait_until("it falls silent", lambda: first.sees(known)["state"] == "silent")
        assert first.sees(unknown) is None
        wait_until("another has its slot", lambda: first.sees(unknown), limit_s=60)

        assert first.sees(known) is None
        assert first.sees(unknown)["slot"] == slot
        token = new_token()
        assert fetch(first, "/small.html", f"X-Token: {token}").status == 200
        assert first.logged(token)[0].peer == unknown.contact


# ---- Who is who ----


def test_servers_of_one_host_are_told_apart_by_their_contacts(monkeypatch):
    monkeypatch.setattr(httpd, "_own_host_name", lambda number: [])
    with Cluster("event", size=3, chain=SPREAD) as cluster:
        cluster.wait_until_complete()
        first, second, third = cluster.servers
        for viewer in cluster.servers:
            report = viewer.report()
            assert len({entry["name"] for entry in report["servers"]}) == 1
            assert sorted(entry["contact"] for entry in report["servers"]) == sorted(
                server.contact for server in cluster.servers)
        boot_id, before = third.report()["boot_id"], third.contact

        third.address = "127.0.1.9"
        third.backhand_lines += f"\nBackhandSelf {third.contact}"
        third.write_configuration()
        with Hammer([first, second], pages_of(cluster)) as clients:
            third.restart_gracefully()
            wait_until(lambda: f"the new contact is known: {first.report()}", lambda: first.sees(third))
            wait_until(lambda: f"the old one falls silent: {first.report()}",
                       lambda: states(first)[before] == "silent")

        assert clients.failures == []
        assert states(first)[third.contact] == "ok"
        assert first.sees(third)["boot_id"] == boot_id
        assert third.report()["contact"] == third.contact
        assert any(line.peer == third.contact for line in first.log() + second.log())


def states(viewer):
    return {entry["contact"]: entry["state"] for entry in viewer.report()["servers"]}
