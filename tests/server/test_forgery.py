"""Who can write on the network but does not hold the key changes nothing, whatever is sent."""

import os
import random
import signal
from pathlib import Path

import pytest

import forgers
import wire
from client import SITE
from forgers import (BOOT_ID_LATE, FORGER, KEY, OTHER_KEY, SECRET, STRANGER, Replayer, Watcher,
                     assert_at_most_one_a_second, assert_requests_stay_among, dropped, risen, send_and_count)
from hammer import Hammer
from httpd import FORWARD_ALWAYS, Cluster
from processes import wait_until
from wire import Sender, overheard, overheard_many

# How many datagrams the flood has. BACKHAND_FLOOD=1000000 is the whole of it.
FLOOD = int(os.environ.get("BACKHAND_FLOOD", "60000"))


@pytest.fixture(scope="module")
def cluster():
    with Cluster("event", size=3, keys=[SECRET], chain=FORWARD_ALWAYS) as running:
        yield running.wait_until_ok()


@pytest.fixture(scope="module")
def moderators(cluster):
    return [server.moderator() for server in cluster.servers]


@pytest.fixture(autouse=True)
def unharmed(cluster, moderators):
    """After every test the cluster must be whole."""
    with forgers.unharmed(cluster, moderators):
        yield


# ---- what a server says, read by another program ----


def test_announcements_are_signed_as_documented(cluster):
    for server in cluster.servers:
        received = overheard(cluster, server)
        said = wire.read_datagram(received, KEY)

        assert len(received) <= wire.DATAGRAM_BYTES_MAX
        assert said.key_id == KEY.id
        assert str(said.boot_id) == server.report()["boot_id"]
        assert said.fields["contact"] == server.contact
        assert SITE in said.fields["services"]
        assert said.fields["name"] == server.report()["self"]


def test_another_key_does_not_verify_an_announcement(cluster):
    received = overheard(cluster, cluster.servers[0])

    with pytest.raises(ValueError):
        wire.read_datagram(received, OTHER_KEY)


def test_no_bit_of_an_announcement_can_be_changed(cluster):
    received = overheard(cluster, cluster.servers[0])
    for bit in range(8 * len(received)):
        changed = bytearray(received)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError):
            wire.read_datagram(bytes(changed), KEY)


# ---- announcements that are not what they should be ----


def report_of_nobody(**changes):
    return wire.cbor(wire.report("nobody", "127.0.1.61:80", [SITE], **changes))


def test_an_announcement_with_any_byte_changed_is_forged(cluster):
    original = overheard(cluster, cluster.servers[1])
    noise = random.Random(1)
    changed = []
    for at in range(6, len(original)):
        copy = bytearray(original)
        copy[at] ^= noise.randrange(1, 256)
        changed.append(bytes(copy))

    send_and_count(cluster, ["datagrams_forged"], changed)


def test_an_announcement_cut_off_or_continued_is_forged_or_short(cluster):
    original = overheard(cluster, cluster.servers[1])
    cut = [original[:size] for size in range(len(original))] + [original + b"\0", original + original[-16:]]

    send_and_count(cluster, ["datagrams_forged", "datagrams_short"], cut)


def test_a_boot_id_from_the_future_does_not_fit_the_tag(cluster):
    original = overheard(cluster, cluster.servers[1])
    magic, version, key_id, reserved, _, measurement = wire.HEADER.unpack_from(original)
    later = wire.HEADER.pack(magic, version, key_id, reserved, BOOT_ID_LATE, measurement)

    send_and_count(cluster, ["datagrams_forged"], [later + original[wire.HEADER.size:]] * 5)


def test_what_nobody_has_signed_is_counted_as_such(cluster):
    send_and_count(cluster, ["datagrams_unsigned"], [wire.datagram(report_of_nobody(), BOOT_ID_LATE, 1)] * 5)


def test_what_another_has_signed_is_counted_as_such(cluster):
    send_and_count(cluster, ["datagrams_of_unknown_key", "datagrams_forged"],
                   [wire.datagram(report_of_nobody(), BOOT_ID_LATE, 1, OTHER_KEY)] * 5)


def test_a_tag_of_another_purpose_is_forged(cluster):
    message = wire.datagram(report_of_nobody(), BOOT_ID_LATE, 1, KEY)[:-wire.TAG_BYTES]

    send_and_count(cluster, ["datagrams_forged"], [message + KEY.tag(wire.CHALLENGE, message)] * 5)


def test_a_signed_announcement_from_a_stranger_does_not_count(cluster):
    original = overheard(cluster, cluster.servers[1])

    send_and_count(cluster, ["datagrams_from_stranger"], [original] * 5, source=STRANGER)


@pytest.mark.parametrize("key_id", range(1, 256, 37))
def test_no_number_of_a_key_lets_zeros_in(cluster, key_id):
    header = wire.HEADER.pack(wire.MAGIC, 1, key_id, 0, BOOT_ID_LATE, 1)

    send_and_count(cluster, ["datagrams_of_unknown_key", "datagrams_forged"],
                   [header + report_of_nobody() + bytes(16)] * 3)


def test_nothing_of_all_that_has_made_a_server_of_anybody(cluster):
    contacts = {server.contact for server in cluster.servers}
    for server in cluster.servers:
        assert set(server.states()) | {server.contact} == contacts


# ---- replays ----


def test_replayed_announcements_of_a_live_server_are_counted_and_change_nothing(cluster):
    first, second, third = cluster.servers
    recorded = overheard_many(cluster, second, 15)
    before = {server: server.counters() for server in cluster.servers}
    with Watcher(first) as watcher, Sender(cluster, second.address) as sender:
        sender.send(*recorded)
        watcher.wait_for(5)
        sender.send(*reversed(recorded))
        for server in (first, third):
            wait_until(lambda server=server: f"30 replays at {server}: {server.counters()}",
                       lambda server=server: risen(server, before[server], ["datagrams_replayed"]) == 30)
        watcher.wait_for(5)

    assert watcher.wrong == []
    assert first.states()[second.contact] == "ok"


def test_no_replay_is_believed_after_its_sender_or_its_receiver_has_started_anew():
    with Cluster("event", size=3, keys=[SECRET], chain=FORWARD_ALWAYS) as cluster:
        first, second, third = cluster.servers
        cluster.wait_until_ok()
        recorded = overheard_many(cluster, second, 10) + overheard_many(cluster, third, 10)

        # The sender: what it said in its earlier life.
        second.stop()
        second.start()
        cluster.wait_until_ok()
        boot_id, before = second.report()["boot_id"], first.counters()
        with Watcher(first) as watcher, Sender(cluster, FORGER) as sender:
            sender.send(*recorded)
            wait_until(lambda: f"20 replays: {first.counters()}",
                       lambda: risen(first, before, ["datagrams_replayed"]) == 20)
            watcher.wait_for(5)
        assert watcher.wrong == []
        assert first.sees(second)["boot_id"] == boot_id

        # The receiver: it remembers nothing, and one of the recorded is dead.
        third.kill()
        first.stop()
        with Replayer(cluster, recorded) as replayer:
            first.start()
            with Watcher(first, never_ok=[third]) as watcher, Hammer([first], {"/small.html": None}) as clients:
                cluster.wait_until_ok([first, second])
                wait_until(lambda: f"it asks the dead one for its proof: {first.counters()}",
                           lambda: first.counters()["challenges_failed"] > 0 and first.sees(third))
                replayer.wait_for(3)
                clients.wait_for(50)
                assert first.sees(second)["boot_id"] == boot_id
                assert first.states()[third.contact] in ("unproven", "silent")

                # Its moderator alone.
                os.kill(first.moderator(), signal.SIGKILL)
                replayer.wait_for(3)
                first.moderator()
                cluster.wait_until_ok([first, second])
                replayer.wait_for(3)
                clients.wait_for(50)
        assert watcher.wrong == []
        assert clients.failures == []
        assert {line.peer for line in first.log() if line.path == "/small.html"} <= {
            "-", second.contact, third.contact}
        assert first.counters()["forward_connect_failed"] == 0
        assert first.sees(second)["boot_id"] == boot_id


def test_replays_do_not_put_off_a_server_that_starts_again():
    with Cluster("event", size=2, keys=[SECRET]) as cluster:
        first, second = cluster.servers
        cluster.wait_until_ok()
        recorded = iter(overheard_many(cluster, second, 16))
        first.stop()
        second.stop()
        first.start()

        # Each is news to it once, and a reason to ask; each failure makes it wait longer.
        with Sender(cluster, FORGER) as sender:
            def failures_after_one_more():
                sender.send(next(recorded))
                return first.counters()["challenges_failed"]

            wait_until("it has asked four times in vain", lambda: failures_after_one_more() >= 4, pause_s=0.2)
        before = first.counters()["challenges_sent"]
        second.start()
        wait_until("it hears of the new start",
                   lambda: first.sees(second)["boot_id"] == second.report()["boot_id"] != "0")
        assert first.counters()["challenges_sent"] > before
        cluster.wait_until_ok()


# ---- a flood ----


class Socket:
    """What the kernel tells of one server's UDP socket for the group."""

    def __init__(self, server):
        self._inodes = {os.readlink(entry)[8:-1] for entry in Path(f"/proc/{server.moderator()}/fd").iterdir()
                        if os.readlink(entry).startswith("socket:")}
        self._port = f":{server.cluster.announce_port:04X}"

    def _row(self):
        while True:
            # Read in several steps: a row may come twice or not at all while others come and go.
            with open("/proc/net/udp", encoding="ascii") as table:
                for fields in map(str.split, table):
                    if fields[1].endswith(self._port) and fields[9] in self._inodes:
                        return fields

    @property
    def waiting_bytes(self):
        return int(self._row()[4].split(":")[1], 16)

    @property
    def dropped(self):
        """Datagrams that the kernel had no room for."""
        return int(self._row()[12])


def proportional_kib(pid):
    """The memory of a process: its own, and its share of what others have too."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError("no Pss")


def flood(recorded, count):
    """Yields datagrams of every kind that nobody who lacks the key can make count."""
    noise = random.Random(4711)
    nobody = report_of_nobody()

    def changed(original):
        copy = bytearray(original)
        for _ in range(noise.randrange(1, 5)):
            copy[noise.randrange(len(copy))] ^= noise.randrange(1, 256)
        return bytes(copy)

    def header(key_id):
        return wire.HEADER.pack(wire.MAGIC, 1, key_id, 0, noise.getrandbits(64), noise.getrandbits(64))

    kinds = [
        lambda: noise.choice(recorded),
        lambda: changed(noise.choice(recorded)),
        lambda: noise.choice(recorded)[:noise.randrange(400)],
        lambda: noise.choice(recorded) + noise.randbytes(noise.randrange(1, 2000)),
        lambda: noise.randbytes(noise.randrange(1400)),
        lambda: header(noise.randrange(256)) + noise.randbytes(noise.randrange(600)),
        lambda: header(KEY.id) + nobody + noise.randbytes(wire.TAG_BYTES),
        lambda: header(wire.NOT_SIGNED) + nobody,
        lambda: wire.datagram(nobody, noise.getrandbits(64), 1, OTHER_KEY),
        lambda: header(KEY.id) + noise.choice(recorded)[wire.HEADER.size:],
    ]
    for number in range(count):
        yield kinds[number % len(kinds)]()


BURST = 200
WAITING_BYTES_MAX = 300_000


def send_flood(cluster, recorded, count, sockets):
    """Sends in bursts, as fast as all receivers read them."""
    batch = []
    with Sender(cluster, FORGER) as accepted, Sender(cluster, STRANGER) as stranger:
        for number, each in enumerate(flood(recorded, count), 1):
            batch.append(each)
            if len(batch) == BURST or number == count:
                (stranger if number // BURST % 10 == 0 else accepted).send(*batch)
                batch = []
                wait_until("the receivers read on", pause_s=0.002, condition=lambda: all(
                    each.waiting_bytes < WAITING_BYTES_MAX for each in sockets.values()))
    wait_until("all is read", lambda: not any(each.waiting_bytes for each in sockets.values()))


def test_a_flood_of_forgeries_changes_nothing():
    with Cluster("event", size=3, keys=[SECRET], chain=FORWARD_ALWAYS) as cluster:
        first, second, third = cluster.servers
        cluster.wait_until_ok()
        recorded = overheard_many(cluster, second, 15)
        moderators = {server: server.moderator() for server in cluster.servers}
        sockets = {server: Socket(server) for server in cluster.servers}
        send_flood(cluster, recorded, FLOOD // 10, sockets)
        order = first.peers_in_order()

        # Second's own announcements come back to it as its own; at the others each is a replay.
        before = {server: dropped(server.counters()) for server in (first, third)}
        lost = {server: sockets[server].dropped for server in (first, third)}
        memory = {server: proportional_kib(pid) for server, pid in moderators.items()}
        with Watcher(first) as watcher, \
                Hammer([first, third], {"/small.html": None}, threads=2, pause_s=0.05) as clients:
            send_flood(cluster, recorded, FLOOD, sockets)
            watcher.wait_for(1)
            clients.wait_for(1)
        for server in (first, third):
            goal = before[server] + FLOOD
            lost_now = sockets[server].dropped - lost[server]
            wait_until(lambda server=server, goal=goal: f"{goal} dropped at {server}: {server.counters()}",
                       lambda server=server, goal=goal, lost_now=lost_now:
                       dropped(server.counters()) >= goal - lost_now)
            assert goal - lost_now <= dropped(server.counters()) <= goal

        for server, pid in moderators.items():
            assert server.moderator() == pid
            assert proportional_kib(pid) < memory[server] + 1024
            assert len(server.report()["servers"]) == 3
            assert_speaks_of_dropped_announcements_only_and_rarely(server)
        cluster.wait_until_ok()
        assert first.peers_in_order() == order
        assert watcher.wrong == []
        assert_requests_stay_among(cluster.servers, clients)


def assert_speaks_of_dropped_announcements_only_and_rarely(server):
    lines = [line for line in server.error_log().splitlines() if "backhand:" in line]
    dropping = [line for line in lines if "dropped announcements: " in line]
    assert dropping
    assert {line.partition("] 127.")[1] for line in lines if line not in dropping} <= {"] 127."}
    assert_at_most_one_a_second(dropping)
