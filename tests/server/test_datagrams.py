"""Datagrams that are not what they should be are dropped and counted, and change nothing.

The tests speak to the cluster as any machine could: by UDP, from addresses of their own. True
announcements are overheard and bent. docs/wire_format.md has the layout.
"""

import random

import pytest

import wire
from client import fetch, new_token
from httpd import Cluster
from processes import wait_until
from wire import DATAGRAM_BYTES_MAX, FORMAT_VERSION, HEADER, MAGIC, Listener, Sender, overheard

ACCEPTED = "127.0.1.60"
STRANGER = "127.0.9.9"


@pytest.fixture(scope="module")
def cluster():
    with Cluster("event", size=3) as running:
        yield running.wait_until_complete()


@pytest.fixture(autouse=True)
def unharmed(request):
    """After every test on the shared cluster it must be whole, with the moderators it had."""
    if "cluster" not in request.fixturenames:
        yield
        return
    cluster = request.getfixturevalue("cluster")
    moderators = [server.moderator() for server in cluster.servers]
    yield
    cluster.wait_until_complete()
    assert [server.moderator() for server in cluster.servers] == moderators
    for server in cluster.servers:
        assert len(server.report()["servers"]) == len(cluster.servers)
    first, *others = cluster.servers
    token = new_token()
    assert fetch(first, "/small.html", f"X-Token: {token}").status == 200
    assert first.logged(token)[0].peer in [server.contact for server in others]


def with_header(datagram, magic=MAGIC, version=None, boot_id=None, sequence=None):
    """An announcement under another header."""
    _, own_version, key, reserved, own_boot_id, own_sequence = HEADER.unpack_from(datagram)
    return HEADER.pack(magic, own_version if version is None else version, key, reserved,
                       own_boot_id if boot_id is None else boot_id,
                       own_sequence if sequence is None else sequence) + datagram[HEADER.size:]


def totals(server, names):
    counters = server.counters()
    return sum(counters[name] for name in names)


def assert_counted(cluster, names, source, datagrams):
    """Sends datagrams and waits until every server has counted each under one of the names, once."""
    before = {server: totals(server, names) for server in cluster.servers}
    with Sender(cluster, source) as sender:
        sender.send(*datagrams)
    for server in cluster.servers:
        goal = before[server] + len(datagrams)
        wait_until(lambda server=server, goal=goal: f"{goal} of {names} at {server}: {server.counters()}",
                   lambda server=server, goal=goal: totals(server, names) >= goal)
        accepted = totals(server, ["datagrams_accepted"])
        wait_until("a true announcement follows",
                   lambda server=server, accepted=accepted: totals(server, ["datagrams_accepted"]) > accepted)
        assert totals(server, names) == goal


def test_an_announcement_is_small_and_begins_as_documented(cluster):
    second = cluster.servers[1]
    datagram = overheard(cluster, second)
    magic, version, key, reserved, boot_id, _ = HEADER.unpack_from(datagram)

    assert len(datagram) <= DATAGRAM_BYTES_MAX
    assert (magic, version, key, reserved) == (MAGIC, FORMAT_VERSION, 0, 0)
    assert str(boot_id) == second.report()["boot_id"]
    assert datagram[HEADER.size] >> 5 == 5, "a CBOR map"


def test_the_sequence_of_a_server_only_rises(cluster):
    with Listener(cluster) as listener:
        numbers = [HEADER.unpack_from(listener.next_from(cluster.servers[1]))[4:] for _ in range(10)]

    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("size", [0, 1, 4, 23])
def test_a_short_datagram_is_dropped_and_counted(cluster, size):
    datagram = overheard(cluster, cluster.servers[1])[:size]

    assert_counted(cluster, ["datagrams_short"], ACCEPTED, [datagram] * 5)


@pytest.mark.parametrize("size", [1201, 1500, 9000, 60_000])
def test_a_long_datagram_is_dropped_and_counted(cluster, size):
    datagram = overheard(cluster, cluster.servers[1]).ljust(size, b"\0")

    assert_counted(cluster, ["datagrams_long"], ACCEPTED, [datagram] * 3)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_a_datagram_of_another_version_is_dropped_and_counted(cluster, version):
    datagram = with_header(overheard(cluster, cluster.servers[1]), version=version)

    assert_counted(cluster, ["datagrams_of_other_version"], ACCEPTED, [datagram] * 5)


@pytest.mark.parametrize("magic", [b"bhnd", b"\0\0\0\0", b"HTTP"], ids=repr)
def test_a_datagram_of_another_protocol_is_dropped_and_counted(cluster, magic):
    datagram = with_header(overheard(cluster, cluster.servers[1]), magic=magic)

    assert_counted(cluster, ["datagrams_of_other_version", "datagrams_malformed"], ACCEPTED, [datagram] * 5)


def test_a_stranger_is_not_listened_to_and_counted(cluster):
    datagram = overheard(cluster, cluster.servers[1])

    assert_counted(cluster, ["datagrams_from_stranger"], STRANGER, [datagram] * 5)


def test_a_stranger_cannot_reboot_a_server_by_a_higher_boot_id(cluster):
    first, second, _ = cluster.servers
    datagram = overheard(cluster, second)
    boot_id = HEADER.unpack_from(datagram)[4]
    forged = with_header(datagram, boot_id=boot_id + 1_000_000)

    assert_counted(cluster, ["datagrams_from_stranger"], STRANGER, [forged] * 5)
    measurement = first.sees(second)["measurement"]
    wait_until("true news still count", lambda: first.sees(second)["measurement"] > measurement)


def test_an_old_announcement_sent_again_is_dropped_and_counted(cluster):
    first, second, third = cluster.servers
    datagram = overheard(cluster, second)
    before = {server: server.counters()["datagrams_replayed"] for server in (first, third)}
    with Sender(cluster, second.address) as sender:
        sender.send(*[datagram] * 5)

    for server in (first, third):
        wait_until(lambda server=server: f"5 replays at {server}: {server.counters()}",
                   lambda server=server: server.counters()["datagrams_replayed"] == before[server] + 5)


GARBAGE = {
    "nothing": b"",
    "zeros": b"\0" * 100,
    "ones": b"\xff" * 100,
    "text": b"this is no announcement at all, only text",
    "a list": b"\x83\x01\x02\x03",
    "an empty map": b"\xa0",
    "a map of numbers": b"\xa1\x01\x02",
    "a map that promises more": b"\xbf\x61a\x01",
    "a text of 2^63 bytes": b"\xa1\x7b\x7f\xff\xff\xff\xff\xff\xff\xff",
    "maps within maps within maps": b"\xa1\x61a" * 300 + b"\x01",
    "an array of 2^32 items": b"\xa1\x61a\x9a\xff\xff\xff\xff",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_behind_a_good_header_is_dropped_and_counted(cluster, name):
    datagram = HEADER.pack(MAGIC, FORMAT_VERSION, 0, 0, 2**62, 1) + GARBAGE[name]

    assert_counted(cluster, ["datagrams_malformed", "datagrams_short", "datagrams_contact_refused"], ACCEPTED,
                   [datagram] * 3)


def test_an_announcement_cut_off_anywhere_is_dropped_and_counted_though_its_boot_id_is_new(cluster):
    datagram = overheard(cluster, cluster.servers[1])
    boot_id = HEADER.unpack_from(datagram)[4]
    forged = with_header(datagram, boot_id=boot_id + 1_000_000)

    assert_counted(cluster, ["datagrams_malformed", "datagrams_short"], ACCEPTED,
                   [forged[:size] for size in range(HEADER.size, len(forged), 7)])


def test_a_flood_of_noise_from_accepted_and_other_addresses_stops_nobody(cluster):
    noise = random.Random(4711)
    for source in (ACCEPTED, STRANGER):
        with Sender(cluster, source) as sender:
            for _ in range(5_000):
                sender.send(noise.randbytes(noise.randrange(0, 1400)))
                sender.send(MAGIC + bytes([FORMAT_VERSION]) + noise.randbytes(noise.randrange(19, 300)))


def test_fields_of_a_later_version_are_skipped():
    with Cluster("event", size=2) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        said = wire.read_datagram(overheard(cluster, second))
        second.kill()
        counters = first.counters()
        later = wire.cbor({**said.fields, "later": [1, {"and": 2.5, "more": True}], "latest": -1})
        with Sender(cluster, second.address) as sender:
            sender.send(wire.datagram(later, said.boot_id, 2**40))

        wait_until(lambda: f"it is accepted: {first.counters()}",
                   lambda: first.counters()["datagrams_accepted"] > counters["datagrams_accepted"])
        assert first.counters()["datagrams_malformed"] == counters["datagrams_malformed"]
