"""With a key, a server believes what a peer says of a client only if it is signed: for this request, for this
server, a moment ago, and once.

The tests hold the cluster's key and speak from a member's address, as that member. What they sign is made after
docs/wire_format.md; what they change of it must not be believed.
"""

import itertools
import time

import pytest

import client
import wire
from client import fetch
from httpd import FORWARD_ALWAYS, MPMS, Cluster
from wire import Key, new_secret, other_secret

CLIENT = "192.0.2.7"
TARGET = "/cgi/env.cgi?a=%62"
SECRET = new_secret()

NUMBERS = itertools.count(time.monotonic_ns() * 2)


@pytest.fixture(scope="module", params=MPMS)
def cluster(request):
    with Cluster(request.param, size=3, keys=[SECRET], chain=FORWARD_ALWAYS) as running:
        yield running.wait_until_ok()


class Forwarded:
    """A request as the second server would forward it to the first."""

    def __init__(self, cluster, **changes):
        first, second, _ = cluster.servers
        seen = second.sees(first)
        self.sender = second.address
        self.method, self.target, self.host = "GET", TARGET, client.SITE
        self.proxied = CLIENT
        self.exchange = (f"client-port=51234;local-port={first.port};site={wire.site(client.SITE)};"
                         "scheme=http;version=1.1")
        self.destination = first.contact
        self.origin = int(second.report()["boot_id"])
        self.number = next(NUMBERS)
        self.heard = int(seen["boot_id"]), int(seen["measurement"])
        self.key = Key(SECRET)
        for name, value in changes.items():
            assert hasattr(self, name)
            setattr(self, name, value)
        self.signature = wire.signature(self.key, (self.method, self.target, self.host, self.proxied, self.exchange),
                                        self.destination, self.origin, self.number, self.heard)

    def sent_to(self, server, **as_said):
        """The answer; what is said besides takes the place of what is signed."""
        said = {name: as_said.get(name, getattr(self, name))
                for name in ("method", "target", "host", "proxied", "exchange", "signature")}
        head = (f"{said['method']} {said['target']} HTTP/1.1\r\nHost: {said['host']}\r\n"
                f"Backhand-Proxied: {said['proxied']}\r\nBackhand-Exchange: {said['exchange']}\r\n"
                f"Backhand-Signature: {said['signature']}\r\n\r\n")
        with client.Connection(server.address, server.port, source=self.sender) as connection:
            connection.send(head.encode())
            return connection.response(said["method"])


def assert_is_declined(server, response, reason):
    assert (response.status, response.field("Backhand-Declined")) == (503, reason), response
    assert CLIENT not in response.text


def test_what_a_member_signs_is_believed(cluster):
    response = Forwarded(cluster).sent_to(cluster.servers[0])

    assert response.status == 200
    assert f"REMOTE_ADDR={CLIENT}" in response.text.splitlines()
    assert "HTTP_BACKHAND_SIGNATURE" not in response.text


def test_servers_believe_each_other(cluster):
    first = cluster.servers[0]
    before = first.counters()
    for _ in range(20):
        response = fetch(first, "/cgi/env.cgi", source="127.0.0.77")
        assert "REMOTE_ADDR=127.0.0.77" in response.text.splitlines()

    after = first.counters()
    assert after["forwarded"] == before["forwarded"] + 20
    assert after["forward_declined"] == before["forward_declined"]


def test_it_is_believed_once(cluster):
    first = cluster.servers[0]
    request = Forwarded(cluster)
    assert request.sent_to(first).status == 200
    before = first.counters()

    for _ in range(5):
        assert_is_declined(first, request.sent_to(first), "replayed")
    assert first.counters()["proxied_replayed"] == before["proxied_replayed"] + 5


def test_requests_may_overtake_each_other(cluster):
    first = cluster.servers[0]
    requests = [Forwarded(cluster) for _ in range(30)]

    assert {request.sent_to(first).status for request in reversed(requests)} == {200}
    assert {request.sent_to(first).status for request in requests} == {503}


def test_it_is_worth_nothing_at_another_server(cluster):
    third = cluster.servers[2]

    assert_is_declined(third, Forwarded(cluster).sent_to(third), "unsigned")


CHANGES = {
    "method": "HEAD",
    "target": "/cgi/env.cgi?a=%63",
    "proxied": "192.0.2.8",
    "host": "other.example.com",
    "signature": "key=1;from=1;number=1;boot=1;measurement=1;tag=00112233445566778899aabbccddeeff",
}


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_that_is_signed_can_be_changed(cluster, name):
    first = cluster.servers[0]
    before = first.counters()
    response = Forwarded(cluster).sent_to(first, **{name: CHANGES[name]})

    assert_is_declined(first, response, "unsigned")
    assert first.counters()["proxied_unsigned"] == before["proxied_unsigned"] + 1


@pytest.mark.parametrize("old, new", [("51234", "51235"), ("scheme=http;", "scheme=https;"), ("1.1", "1.0"),
                                      ("local-port=", "local-port=1")])
def test_the_clients_connection_cannot_be_changed(cluster, old, new):
    request = Forwarded(cluster)
    changed = request.exchange.replace(old, new)
    if len(changed.split("local-port=")[1].split(";")[0]) > 5:
        changed = request.exchange.replace("local-port=", "local-port=0")

    assert_is_declined(cluster.servers[0], request.sent_to(cluster.servers[0], exchange=changed), "unsigned")


@pytest.mark.parametrize("name", ["key", "from", "number", "boot", "measurement", "tag"])
def test_no_part_of_the_signature_can_be_changed_left_out_or_doubled(cluster, name):
    first = cluster.servers[0]
    request = Forwarded(cluster)
    parts = dict(part.split("=") for part in request.signature.split(";"))
    last = parts[name][-1]
    changed = {**parts, name: parts[name][:-1] + ("1" if last != "1" else "2")}
    for value in (changed, {key: value for key, value in parts.items() if key != name}):
        text = ";".join(f"{key}={value}" for key, value in value.items())
        assert_is_declined(first, request.sent_to(first, signature=text), "unsigned")
    doubled = f"{name}={parts[name]};{request.signature}"
    assert_is_declined(first, request.sent_to(first, signature=doubled), "unsigned")

    assert request.sent_to(first).status == 200


@pytest.mark.parametrize("changes", [
    {"heard": (1, 1)},
    {"key": Key(new_secret())},
    {"key": Key(other_secret(SECRET, same_id=True))},
], ids=["another boot", "another key", "another key of the same id"])
def test_what_the_signer_must_know_cannot_be_guessed(cluster, changes):
    first = cluster.servers[0]

    assert_is_declined(first, Forwarded(cluster, **changes).sent_to(first), "unsigned")


def test_an_announcement_that_was_never_made_is_no_proof(cluster):
    first = cluster.servers[0]
    boot_id = Forwarded(cluster).heard[0]

    assert_is_declined(first, Forwarded(cluster, heard=(boot_id, 2**63)).sent_to(first), "unsigned")


def test_an_old_announcement_is_no_proof(cluster):
    first = cluster.servers[0]
    old = Forwarded(cluster)
    # The cluster announces ten times a second; 10 s is the limit.
    time.sleep(12)

    assert_is_declined(first, old.sent_to(first), "unsigned")
    assert Forwarded(cluster).sent_to(first).status == 200


def test_a_member_of_another_start_is_not_known(cluster):
    first = cluster.servers[0]
    origin = Forwarded(cluster).origin

    assert_is_declined(first, Forwarded(cluster, origin=origin - 1).sent_to(first), "unknown-member")


def test_an_accepted_address_that_is_no_member_is_not_known(cluster):
    first = cluster.servers[0]

    assert_is_declined(first, Forwarded(cluster, sender="127.0.1.50").sent_to(first), "unknown-member")


def test_a_claim_without_a_signature_is_removed(cluster):
    first, second, _ = cluster.servers
    response = fetch(first, "/cgi/env.cgi", f"Backhand-Proxied: {CLIENT}",
                     f"Backhand-Exchange: {Forwarded(cluster).exchange}", source=second.address)

    assert response.status == 200
    assert f"REMOTE_ADDR={second.address}" in response.text.splitlines()
    assert CLIENT not in response.text
