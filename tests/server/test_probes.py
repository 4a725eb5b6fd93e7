"""Probes: servers tell one another what they have to do at this moment, those that may ask."""

import contextlib
import os
import secrets
import signal
import socket

import pytest

import netns
import wire
from all_mpms import SLOW_LOCATIONS, SLOW_PAGE, make_tokens
from client import fetch
from gates import Waiting
from httpd import FORWARD_ALWAYS, MPMS, Cluster, free_ports
from processes import wait_until
from test_networks import to_each
from wire import Key, new_secret, other_secret

ACCEPTED, STRANGER = "127.0.1.99", "127.0.9.9"

# A server with enough to do asks the other two, about requests that take long enough.
CHAIN = f"{FORWARD_ALWAYS}\nBackhand byProbe 2"
BUSY = 3

# An answer may come too late on a busy machine, and after a server has been silent the next question may
# come half a minute later.
SEVERAL_QUESTIONS_S = 240

PROBED = ["probed_answered", "probed_failed", "probed_from_stranger", "probed_malformed", "probed_of_other_version",
          "probed_unsigned", "probed_of_unknown_key", "probed_forged"]


def probing_cluster(mpm, **settings):
    """Under /served-here a server keeps its requests, and so can be kept busy."""
    cluster = Cluster(mpm, server_lines=SLOW_PAGE, site_lines=SLOW_LOCATIONS,
                      **{"chain": CHAIN, "size": 3, **settings})
    for server in cluster.servers:
        make_tokens(server)
    return cluster


def port_of(server):
    """Where it answers, as soon as it has announced that."""
    def announced():
        entry = server.sees(server)
        return entry and entry["probe_port"]

    return wait_until(f"{server} can be asked", announced)


class Asker:
    """Asks servers by hand, where they answered when it first did: asking for that is a request in progress, too."""

    def __init__(self, source=ACCEPTED):
        self._ports = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((source, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, server, datagram):
        if server not in self._ports:
            self._ports[server] = port_of(server)
        self._socket.sendto(datagram, (server.address, self._ports[server]))

    def ask(self, server, key=None):
        nonce = secrets.randbits(64)
        self.send(server, wire.probe_question(nonce, server.contact, key))
        self._socket.settimeout(30)
        received, sender = self._socket.recvfrom(2000)
        assert sender == (server.address, self._ports[server])
        return wire.read_probe_answer(received, nonce, server.contact, key)

    def has_heard_nothing(self):
        self._socket.setblocking(False)
        try:
            return not self._socket.recv(2000)
        except BlockingIOError:
            return True


def busy(server, name, count=BUSY):
    """So many requests that the server answers itself, until release()."""
    return Waiting(server, name, count, path="/served-here/cgi")


def ask_all(server, count):
    """So many requests that it may forward, one after the other; it knows how long such requests take. True if all
    are answered as they should be."""
    targets = ["/served-here/slow", *["/slow"] * count]
    return [fetch(server, target).status for target in targets] == [200] * len(targets)


def rises(server, before, names):
    return {name: number - before[name] for name, number in server.counters().items() if name in names}


# ---- a server that can be asked ----


@pytest.fixture(scope="module", params=[False, True], ids=["no key", "a key"])
def keyed(request):
    """A cluster and its key, if it has one."""
    secret = new_secret() if request.param else None
    with probing_cluster("event", size=2, keys=[secret] if secret else ()) as cluster:
        cluster.wait_until_complete()
        yield cluster, Key(secret) if secret else None


def expect_no_answer(cluster, datagrams, counter, source=ACCEPTED):
    server = cluster.servers[0]
    before = server.counters()
    with Asker(source) as asker:
        for datagram in datagrams:
            asker.send(server, datagram)
        wait_until(lambda: f"{counter}: {rises(server, before, PROBED)}",
                   lambda: rises(server, before, [counter])[counter] >= len(datagrams))
        assert asker.has_heard_nothing()
    assert {name: count for name, count in rises(server, before, PROBED).items() if count} == {counter: len(datagrams)}


@pytest.mark.parametrize("mpm", MPMS)
def test_an_answer_tells_what_is_in_progress_at_this_moment(mpm):
    with probing_cluster(mpm, size=1) as cluster, Asker() as asker:
        server = cluster.servers[0]
        wait_until("its workers wait for work", lambda: asker.ask(server).workers_idle >= 6
                   and asker.ask(server).serving == 0)
        for count in (1, 2, 5):
            waiting = busy(server, f"live-{count}", count)
            assert asker.ask(server).serving == count
            # Prefork has to start another process first.
            wait_until("one more is idle", lambda: asker.ask(server).workers_idle > 0)
            assert asker.ask(server).workers_idle <= cluster.workers - count
            assert waiting.release() == [200] * count
            wait_until("they have ended", lambda: asker.ask(server).serving == 0)


def test_every_question_is_counted_once(keyed):
    cluster, key = keyed
    server = cluster.servers[0]
    before = server.counters()
    with Asker() as asker:
        for _ in range(200):
            asker.ask(server, key)

    wait_until("all have been counted", lambda: rises(server, before, PROBED)["probed_answered"] >= 200)
    assert {name: count for name, count in rises(server, before, PROBED).items() if count} == {"probed_answered": 200}


def test_nobody_outside_accept_stats_is_answered(keyed):
    cluster, key = keyed
    question = wire.probe_question(1, cluster.servers[0].contact, key)

    expect_no_answer(cluster, [question] * 3, "probed_from_stranger", STRANGER)


def test_what_is_no_question_is_dropped(keyed):
    cluster, key = keyed
    question = wire.probe_question(1, cluster.servers[0].contact, key)
    answer = question[:6] + bytes([wire.ANSWER]) + question[7:]

    expect_no_answer(cluster, [b"", b"BHPR", question[:-1], question + b"\0", question.ljust(1300, b"\0"),
                               question.replace(b"BHPR", b"BHND"), answer], "probed_malformed")
    expect_no_answer(cluster, [question[:4] + b"\2" + question[5:], b"BHPR\2\0\0"], "probed_of_other_version")


def test_a_server_without_a_key_answers_nothing_that_is_signed():
    with probing_cluster("event", size=1) as cluster:
        question = wire.probe_question(1, cluster.servers[0].contact, Key(new_secret()))

        expect_no_answer(cluster, [question], "probed_of_unknown_key")


def test_a_server_with_a_key_answers_nothing_else():
    secret = new_secret()
    with probing_cluster("event", size=2, keys=[secret]) as cluster:
        first, second = cluster.servers
        same, other = (Key(other_secret(secret, same_id=same_id)) for same_id in (True, False))

        expect_no_answer(cluster, [wire.probe_question(1, first.contact)], "probed_unsigned")
        expect_no_answer(cluster, [wire.probe_question(1, first.contact, other)], "probed_of_unknown_key")
        expect_no_answer(cluster, [wire.probe_question(1, first.contact, same)], "probed_forged")
        expect_no_answer(cluster, [wire.probe_question(1, second.contact, Key(secret))], "probed_forged")


def test_a_flood_of_questions_keeps_nobody_from_announcing():
    with probing_cluster("event", size=2) as cluster, Asker() as asker:
        cluster.wait_until_complete()
        first, second = cluster.servers
        question = wire.probe_question(1, first.contact)
        measurement = second.sees(first)["measurement"]

        def flood():
            for _ in range(2000):
                asker.send(first, question)
            return second.sees(first)["measurement"] > measurement + 20

        wait_until("it has announced itself twenty times", flood, pause_s=0)
        assert second.sees(first)["state"] == "ok"
        assert first.counters()["probed_answered"] > 0


# ---- a server that asks ----


@pytest.mark.parametrize("keys", [(), [new_secret()]], ids=["no key", "a key"])
@pytest.mark.parametrize("mpm", MPMS)
def test_a_busy_server_asks_its_peers_and_they_answer(mpm, keys):
    with probing_cluster(mpm, keys=keys) as cluster:
        cluster.wait_until_complete().wait_until_ok()
        first, *others = cluster.servers
        before = {server: server.counters() for server in cluster.servers}
        waiting = busy(first, "asks")

        # However busy this machine is: some answers come in time.
        wait_until("there are answers", lambda: ask_all(first, 10)
                   and rises(first, before[first], ["probes_answered"])["probes_answered"] >= 20,
                   limit_s=SEVERAL_QUESTIONS_S)
        assert waiting.release() == [200] * BUSY

        asked = rises(first, before[first], ["probes_sent", "probes_answered", "probes_unanswered"])
        assert asked["probes_sent"] == asked["probes_answered"] + asked["probes_unanswered"]
        wait_until(lambda: f"all {asked} have been answered: {[rises(other, before[other], PROBED) for other in others]}",
                   lambda: sum(rises(other, before[other], PROBED)["probed_answered"] for other in others)
                   == asked["probes_sent"])
        assert all(rises(other, before[other], PROBED)["probed_answered"] > 0 for other in others)
        assert rises(first, before[first], ["probes_failed", "probe_answers_refused"]) == {
            "probes_failed": 0, "probe_answers_refused": 0}


@pytest.mark.parametrize("mpm", MPMS)
def test_a_moderator_that_stands_still_keeps_no_request(mpm):
    with probing_cluster(mpm, size=2) as cluster:
        cluster.wait_until_complete()
        first, second = cluster.servers
        waiting = busy(first, "stopped")
        before = first.counters()
        moderator = second.moderator()
        os.kill(moderator, signal.SIGSTOP)
        try:
            wait_until("it has asked in vain", lambda: ask_all(first, 5)
                       and rises(first, before, ["probes_unanswered"])["probes_unanswered"] > 0)
            wait_until("it has fallen silent", lambda: ask_all(first, 5)
                       and first.sees(second)["state"] == "silent")
        finally:
            os.kill(moderator, signal.SIGCONT)
        wait_until("it answers again", lambda: ask_all(first, 5)
                   and rises(first, before, ["probes_answered"])["probes_answered"] > 0, limit_s=SEVERAL_QUESTIONS_S)
        assert waiting.release() == [200] * BUSY


def test_servers_with_different_keys_get_no_answers_and_ask_nobody():
    with probing_cluster("event", size=2, keys=lambda number: [new_secret()]) as cluster:
        first, second = cluster.servers
        waiting = busy(first, "strangers")
        assert ask_all(first, 20)
        assert waiting.release() == [200] * BUSY

        assert first.counters()["probes_sent"] == 0
        assert second.counters()["probed_answered"] == 0


def test_a_graceful_restart_of_a_peer_ends_nothing():
    with probing_cluster("event", size=2) as cluster:
        cluster.wait_until_complete()
        first, second = cluster.servers
        waiting = busy(first, "restart")
        port = port_of(second)
        second.restart_gracefully()
        wait_until("another moderator answers elsewhere",
                   lambda: ask_all(first, 5) and first.sees(second)["probe_port"] not in (0, port))
        before = first.counters()
        wait_until("it answers", lambda: ask_all(first, 5)
                   and rises(first, before, ["probes_answered"])["probes_answered"] > 0, limit_s=SEVERAL_QUESTIONS_S)
        assert waiting.release() == [200] * BUSY


def test_a_server_answers_at_the_port_it_is_told_across_restarts():
    cluster = probing_cluster("event", size=2)
    first, second = cluster.servers
    [port] = free_ports(1)
    second.backhand_lines += f"\nBackhandProbePort {port}"
    with cluster:
        cluster.wait_until_complete()
        waiting = busy(first, "told")
        wait_until("it is asked there", lambda: first.sees(second)["probe_port"] == port)
        for restart in (lambda: None, second.restart_gracefully):
            restart()
            before = first.counters()
            wait_until("it answers", lambda: ask_all(first, 5)
                       and rises(first, before, ["probes_answered"])["probes_answered"] > 0,
                       limit_s=SEVERAL_QUESTIONS_S)
            assert first.sees(second)["probe_port"] == port
        assert waiting.release() == [200] * BUSY


def test_a_server_that_may_not_be_asked_is_not():
    with probing_cluster("event", size=2, backhand_lines="BackhandProbePort off") as cluster:
        cluster.wait_until_complete()
        first, second = cluster.servers
        waiting = busy(first, "off")

        assert first.sees(second)["probe_port"] == 0
        assert ask_all(first, 20)
        assert waiting.release() == [200] * BUSY
        assert first.counters()["probes_sent"] == 0


def test_the_report_page_has_the_counters():
    with probing_cluster("prefork", size=1) as cluster:
        page = fetch(cluster.servers[0], "/backhand-status").text

        assert "<h3>Probes</h3>" in page


# ---- over networks ----

NO_NETWORKS = netns.why_not()
between_hosts = pytest.mark.skipif(NO_NETWORKS is not None, reason=str(NO_NETWORKS))


@contextlib.contextmanager
def busy_server_elsewhere(address_of, before_start=lambda hosts: None):
    """Two servers on hosts of their own, of which the first has enough to do."""
    with netns.Networks([1, 2]) as networks:
        before_start(networks.hosts)
        with probing_cluster("event", hosts=networks.hosts, destination=to_each, accept="AcceptStats 10.77 fd77::/16",
                             address_of=address_of) as cluster:
            cluster.wait_until_complete()
            first, second = cluster.servers
            with first.inside():
                waiting = busy(first, "elsewhere")
            yield first, second
            assert waiting.release() == [200] * BUSY


@between_hosts
@pytest.mark.parametrize("address_of", [netns.Host.address, netns.Host.address6], ids=["IPv4", "IPv6"])
def test_probes_cross_networks(address_of):
    with busy_server_elsewhere(address_of) as (first, second):
        wait_until("there are answers", lambda: ask_all(first, 5) and first.counters()["probes_answered"] > 0,
                   limit_s=SEVERAL_QUESTIONS_S)

        assert second.counters()["probed_answered"] > 0
        assert first.counters()["probes_failed"] + first.counters()["probe_answers_refused"] == 0


@between_hosts
def test_a_firewall_that_swallows_probes_keeps_no_request():
    def wall(hosts):
        hosts[1].run("nft", "-f", "-", said="""\
table inet wall {
    chain incoming {
        type filter hook input priority 0;
        udp dport 32768-65535 drop
    }
}
""")

    with busy_server_elsewhere(netns.Host.address, wall) as (first, second):
        wait_until("it has stopped asking", lambda: ask_all(first, 5) and first.counters()["probes_withheld"] > 10)

        counters = first.counters()
        assert counters["probes_sent"] == counters["probes_unanswered"] > 0
        assert first.sees(second)["state"] == "ok"
