"""The programs in docs/wire_format.md, run against real servers: a stranger who has only read it
can decode, verify and sign announcements, and ask for a server's proof."""

import re
import subprocess
from pathlib import Path

import pytest

from httpd import Cluster
from processes import wait_until
from test_datagrams import ACCEPTED, overheard

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "wire_format.md").read_text()


@pytest.fixture(scope="module")
def document():
    """What the document's Python blocks define; the one that listens for ever is left out."""
    names = {"__name__": "document"}
    for block in re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL):
        if "while True" not in block:
            exec(compile(block, "docs/wire_format.md", "exec"), names)
    return names


@pytest.fixture(scope="module")
def secret():
    done = subprocess.run(["openssl", "rand", "-hex", "32"], capture_output=True, check=True)
    return done.stdout.rstrip(b"\n")


@pytest.fixture(scope="module")
def cluster(secret):
    """Two servers that hold the key."""
    cluster = Cluster("event", size=2)
    key = cluster.folder / "key"
    key.touch(mode=0o600)
    key.write_bytes(secret + b"\n")
    for server in cluster.servers:
        server.backhand_lines += f"\nBackhandKey {key}"
    with cluster:
        yield cluster.wait_until_complete()


def assert_is_of(fields, server):
    entry = server.report()["servers"][0]
    assert str(fields["boot_id"]) == entry["boot_id"]
    for name in ("name", "contact", "services", "memory_total_bytes", "workers_max"):
        assert fields[name] == entry[name], name


def test_it_decodes_what_a_server_without_a_key_announces(document):
    with Cluster("prefork", size=1) as cluster:
        server = cluster.servers[0]

        fields = document["report"](overheard(cluster, server))

        assert_is_of(fields, server)
        assert fields["connection_holds_worker"] is True


def test_it_verifies_and_decodes_what_a_server_with_a_key_announces(document, cluster, secret):
    server = cluster.servers[1]

    datagram = overheard(cluster, server)

    assert_is_of(document["report"](datagram, secret), server)
    assert document["report"](datagram) == document["report"](datagram, secret)


def test_it_signs_as_the_servers_do(document, cluster, secret):
    datagram = overheard(cluster, cluster.servers[0])

    assert datagram[5] == document["key_id"](secret)
    assert datagram[-16:] == document["tag"](secret, b"announcement", datagram[:-16])


def test_it_refuses_what_was_changed_on_the_way(document, cluster, secret):
    datagram = bytearray(overheard(cluster, cluster.servers[0]))
    datagram[100] ^= 1

    with pytest.raises(ValueError, match="not signed with this key"):
        document["report"](bytes(datagram), secret)


def test_it_gets_a_servers_proof(document, cluster, secret):
    first = cluster.servers[0]
    name = first.report()["self"]
    before = first.counters()["challenges_answered"]

    answer = document["prove"](first.contact, name, secret, ACCEPTED)

    assert str(answer["boot_id"]) == first.report()["boot_id"]
    wait_until("later announcements have higher numbers",
               lambda: document["report"](overheard(cluster, first))["measurement"] > answer["measurement"])
    assert first.counters()["challenges_answered"] == before + 1


def test_it_takes_no_servers_proof_for_anothers(document, cluster, secret):
    first = cluster.servers[0]

    with pytest.raises(ValueError, match="no proof"):
        document["prove"](first.contact, "somebody-else", secret, ACCEPTED)


def test_it_asks_a_server_what_it_has_to_do(document, cluster, secret):
    first = cluster.servers[0]
    entry = first.report()["servers"][0]

    serving, workers_idle = document["probe"](first.contact, entry["probe_port"], secret, ACCEPTED)

    assert (serving, workers_idle > 0) == (0, True)


@pytest.mark.parametrize("source, known", [("127.0.9.9", True), (ACCEPTED, False)],
                         ids=["from outside AcceptStats", "with another key"])
def test_a_server_proves_nothing_to_a_stranger(document, cluster, secret, source, known):
    first = cluster.servers[0]
    before = first.counters()

    with pytest.raises(ValueError, match="no proof"):
        document["prove"](first.contact, first.report()["self"], secret if known else secret[::-1], source)

    after = first.counters()
    assert after["challenges_refused"] == before["challenges_refused"] + 1
    assert after["challenges_answered"] == before["challenges_answered"]
