"""Who holds the key and says what is not so: no request is lost, and none goes astray."""

import math
import random
import time
from contextlib import ExitStack, contextmanager

import pytest

import forgers
import wire
from client import SITE, Connection, fetch
from forgers import (BOOT_ID_LATE, FORGER, KEY, OTHER_KEY, SECRET, Announcer, Liar, Trap, assert_requests_stay_among,
                     dropped, nonce_in, question_in, response, risen, send_and_count)
from hammer import Hammer
from httpd import FORWARD_ALWAYS, REPORT, Cluster
from processes import wait_until
from wire import Answer, Raw, Sender


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


# ---- contacts that are not what they seem ----


def says_nothing(connection, _):
    while connection.recv(4096):
        pass


def says_garbage(connection, _):
    connection.sendall(random.Random(2).randbytes(3000))


def is_not_found(connection, _):
    connection.sendall(response("404 Not Found", "no such page"))


def is_another_site(connection, _):
    connection.sendall(response("200 OK", "<title>Welcome</title>"))


def never_ends_its_head(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")


def never_ends_its_body(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n")
    while True:
        connection.sendall(b"backhand 1 " * 1000)


def drips(connection, _):
    for byte in response("200 OK", "backhand 1 1 1 1 1 1 " + "0" * 32 + "\n"):
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def sends_interim_responses_for_ever(connection, _):
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def returns_the_question(connection, head):
    connection.sendall(response("200 OK", f"backhand 1 {question_in(head)}\n"))


def answers_unsigned(connection, _):
    connection.sendall(response("200 OK", f"backhand 1 {KEY.id} {BOOT_ID_LATE} 1 0 9 {'00' * 16}\n"))


def answers_in_chunks(connection, _):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbackh\r\n0\r\n\r\n")


def asks_another(server):
    """What whoever holds no key can do: pass the question on to somebody who can answer."""
    def respond(connection, head):
        with Connection(server.address, server.port, source=FORGER) as other:
            other.send(head.encode())
            answer = other.response()
        connection.sendall(response(answer.status_line.partition(" ")[2], answer.text))
    return respond


def shows_an_answer_of(server):
    """An answer that was given to somebody else's question."""
    nonce = wire.new_nonce()
    answer = fetch(server, wire.CHALLENGE_PATH,
                   f"{wire.CHALLENGE_FIELD}: {wire.question(KEY, server.contact, nonce)}", source=FORGER).text

    def respond(connection, _):
        connection.sendall(response("200 OK", answer))
    return respond


def test_no_request_goes_where_nobody_has_answered_the_challenge(cluster):
    first, second, _ = cluster.servers
    ways = [says_nothing, says_garbage, is_not_found, is_another_site, never_ends_its_head, never_ends_its_body, drips,
            sends_interim_responses_for_ever, returns_the_question, answers_unsigned, answers_in_chunks,
            asks_another(second), shows_an_answer_of(second)]
    with ExitStack() as stack:
        # Half of them at the address of a member, at another port.
        addresses = [second.address, "127.0.1.70"]
        traps = [stack.enter_context(Trap(addresses[number % 2], way)) for number, way in enumerate(ways)]
        contacts = [trap.contact for trap in traps] + ["127.0.1.70:9", f"{second.address}:9"]
        before = {server: server.counters() for server in cluster.servers}
        clients = stack.enter_context(Hammer(cluster.servers, {"/small.html": None}))
        stack.enter_context(Announcer(cluster, [wire.report(f"trap{number}", contact, [SITE], workers_idle=1000)
                                                for number, contact in enumerate(contacts)]))
        for trap in traps:
            wait_until("everybody has asked it twice", lambda trap=trap: len(trap.heads) >= 6)
        for server in cluster.servers:
            wait_until(lambda server=server: f"{server} has asked all in vain: {server.counters()}",
                       lambda server=server: risen(server, before[server], ["challenges_failed"]) >= 2 * len(contacts))
            entries = {entry["contact"]: entry for entry in server.report()["servers"]}
            assert {contact: entries[contact]["state"] for contact in contacts} == dict.fromkeys(contacts, "unproven")
            assert not any(entries[contact]["proven"] for contact in contacts)
        clients.wait_for(200)

        # Nor is one believed that says it forwards from there.
        fields = ["Backhand-Proxied: 10.1.2.3",
                  f"Backhand-Exchange: client-port=1;local-port={first.port};site=1;scheme=http;version=1.1"]
        told = fetch(first, "/cgi/env.cgi", *fields, source="127.0.1.70").text.splitlines()
        assert "REMOTE_ADDR=127.0.1.70" in told

    for trap in traps:
        assert {head.splitlines()[0] for head in trap.heads} == {f"GET {wire.CHALLENGE_PATH} HTTP/1.0".encode()}
    assert_requests_stay_among(cluster.servers, clients)


def test_an_unproven_contact_is_asked_ever_more_rarely(cluster):
    with Trap("127.0.1.71", is_not_found) as trap:
        began = time.monotonic()
        with Announcer(cluster, [wire.report("late", trap.contact, [SITE])]):
            first = cluster.servers[0]
            accepted = first.counters()["datagrams_accepted"]
            wait_until("much is heard of it", lambda: first.counters()["datagrams_accepted"] > accepted + 60)
        asked, passed_s = len(trap.heads), time.monotonic() - began

    # Each server asks at once, and again after 0.25, 0.5, 1, 2, ... seconds.
    assert 3 <= asked <= len(cluster.servers) * (1 + math.log2(1 + passed_s / 0.25))


def test_a_program_that_answers_as_documented_is_a_member(cluster):
    first, second, third = cluster.servers

    def answers(connection, head):
        nonce = wire.read_question(question_in(head), KEY, trap.contact)
        body = wire.answer(KEY, nonce, trap.contact, "python", Answer(BOOT_ID_LATE, 2, 1, 7))
        connection.sendall(response("200 OK", body))

    with Trap("127.0.1.72", answers) as trap, Announcer(cluster, [
            wire.report("python", trap.contact, ["www.elsewhere.test"])]):
        for server in cluster.servers:
            wait_until(lambda server=server: f"it is a member at {server}: {server.report()}",
                       lambda server=server: server.states().get(trap.contact) == "ok")
    assert {trap.contact} <= set(first.states()) & set(second.states()) & set(third.states())
    assert len(trap.heads) == 3


TRUE_ANSWER = Answer(BOOT_ID_LATE, 2, 1, 7)
WRONG_ANSWERS = {
    "another name": lambda nonce, contact: wire.answer(KEY, nonce, contact, "another", TRUE_ANSWER),
    "another contact": lambda nonce, contact: wire.answer(KEY, nonce, "127.0.1.2:80", "liar", TRUE_ANSWER),
    "another nonce": lambda nonce, contact: wire.answer(KEY, wire.new_nonce(), contact, "liar", TRUE_ANSWER),
    "another key": lambda nonce, contact: wire.answer(OTHER_KEY, nonce, contact, "liar", TRUE_ANSWER),
    "an earlier life": lambda nonce, contact: wire.answer(KEY, nonce, contact, "liar", Answer(1, 2, 1, 7)),
    "a boot id of 65 bits": lambda nonce, contact: wire.answer(KEY, nonce, contact, "liar", Answer(2**64, 2, 1, 7)),
    "no end of the line": lambda nonce, contact: wire.answer(KEY, nonce, contact, "liar", TRUE_ANSWER)[:-1],
}


def test_an_answer_that_proves_something_else_proves_nothing(cluster):
    def answers_by(make):
        def respond(connection, head):
            contact = "{}:{}".format(*connection.getsockname())
            connection.sendall(response("200 OK", make(nonce_in(head), contact)))
        return respond

    before = {server: server.counters() for server in cluster.servers}
    with ExitStack() as stack:
        traps = [stack.enter_context(Trap("127.0.1.73", answers_by(make))) for make in WRONG_ANSWERS.values()]
        stack.enter_context(Announcer(cluster, [wire.report("liar", trap.contact, [SITE]) for trap in traps]))
        for trap in traps:
            wait_until("everybody has asked it twice", lambda trap=trap: len(trap.heads) >= 6)
        for server in cluster.servers:
            states = server.states()
            assert {name: states[trap.contact] for name, trap in zip(WRONG_ANSWERS, traps)} == dict.fromkeys(
                WRONG_ANSWERS, "unproven")
            assert risen(server, before[server], ["challenges_passed"]) == 0


@contextmanager
def with_more_addresses(keys):
    """Two servers; the first listens at 127.0.1.51 too, and everywhere at another port."""
    cluster = Cluster("event", size=2, keys=keys, chain=FORWARD_ALWAYS)
    first = cluster.servers[0]
    first.server_lines = f"Listen 127.0.1.51:{first.port}\nListen 0.0.0.0:{first.tls_port} http"
    with cluster:
        cluster.wait_until_ok()
        yield cluster


@pytest.mark.parametrize("keys", [[SECRET], []], ids=["with the key", "without keys"])
def test_a_contact_of_strangers_or_of_the_receivers_own_is_refused(keys):
    with with_more_addresses(keys) as cluster:
        first, second = cluster.servers
        for contact in ["10.1.2.3:80", "127.0.2.1:80", "[2001:db8::1]:80", first.contact, f"127.0.1.51:{first.port}",
                        f"127.0.0.1:{first.tls_port}"]:
            before = first.counters()
            with Sender(cluster, FORGER) as sender:
                body = wire.cbor(wire.report("elsewhere", contact, [SITE]))
                sender.send(*(wire.datagram(body, BOOT_ID_LATE, number, KEY if keys else None) for number in range(5)))
            wait_until(lambda before=before: f"5 refused: {first.counters()}",
                       lambda before=before: risen(first, before, ["datagrams_contact_refused"]) == 5)
        assert set(first.states()) == {second.contact}

        with Hammer([first], {"/small.html": None}) as clients:
            clients.wait_for(50)
        assert clients.failures == []
        assert {line.peer for line in first.log()} <= {"-", second.contact}


def test_the_receiver_itself_under_an_address_it_does_not_know_proves_nothing():
    with with_more_addresses([SECRET]) as cluster:
        first, second = cluster.servers
        contact = f"127.0.1.52:{first.tls_port}"
        with Announcer(cluster, [wire.report("mirror", contact, [SITE], workers_idle=1000)]), \
                Hammer([first], {"/small.html": None}) as clients:
            wait_until(lambda: f"it is asked, and not found: {first.counters()}",
                       lambda: first.counters()["challenges_failed"] > 1 and first.counters()["challenges_refused"] > 1)
            clients.wait_for(100)
            assert first.states()[contact] == "unproven"
        assert clients.failures == []
        assert {line.peer for line in first.log()} <= {"-", second.contact}


def test_a_members_contact_under_another_name_costs_no_client_anything():
    with Cluster("event", size=3, keys=[SECRET], chain=FORWARD_ALWAYS) as cluster:
        first, second, _ = cluster.servers
        cluster.wait_until_ok()
        with Hammer(cluster.servers, {"/small.html": None}) as clients, \
                Announcer(cluster, [wire.report("usurper", second.contact, [SITE], workers_idle=1000)]):
            wait_until("it has come through", lambda: first.sees(second)["name"] == "usurper")
            clients.wait_for(200)
            assert not first.sees(second)["proven"]
        assert_requests_stay_among(cluster.servers, clients)


# ---- reports that are not true ----

# What each number can be (src/cluster/report_fields.h); of those two the report shows at most 4,095.
U32 = 2**32 - 1
LIMITS = {
    "arriba": (0, U32), "load_permille": (0, 10**9), "load_hwm": (1, 2**20), "cpus_permille": (1, 65_536_000),
    "cpu_idle_permille": (0, 1000), "memory_total_bytes": (0, 2**50), "memory_available_bytes": (0, 2**50),
    "pressure_cpu_permille": (0, 1000), "pressure_memory_permille": (0, 1000), "pressure_io_permille": (0, 1000),
    "workers_max": (0, 10**6), "workers_busy": (0, 10**6), "workers_idle": (0, 4095), "serving": (0, 4095),
    "forwarding": (0, 10**6), "forwarded_total": (0, 2**53), "request_rate_millihertz": (0, U32),
    "error_rate_millihertz": (0, U32), "latency_us": (0, 3_600_000_000), "latency_p99_us": (0, 3_600_000_000),
    "latency_at_load_us": (0, 3_600_000_000), "latency_proxied_us": (0, 3_600_000_000), "interval_ms": (1, 60_000),
    "keepalive_timeout_ms": (0, U32), "probe_port": (0, 65_535)}

# The numbers that are never more than another one.
AT_MOST = {"memory_available_bytes": "memory_total_bytes", "workers_busy": "workers_max", "workers_idle": "workers_max"}

LIES = {
    "not a number": math.nan, "a negative NaN": Raw(b"\xfb\xff\xf8" + bytes(6)),
    "a NaN of two bytes": Raw(b"\xf9\x7e\x00"),
    "infinitely much": math.inf, "infinitely little": -math.inf, "minus one": -1, "minus 2^63": -2**63,
    "minus 2^64": -2**64, "less than nothing": -0.5e-300, "2^64 - 1": 2**64 - 1, "1e308": 1e308, "2^64": 2.0**64,
    "an infinity of two bytes": Raw(b"\xf9\x7c\x00"), "an infinity of four bytes": Raw(b"\xfa\x7f\x80\x00\x00")}


@pytest.fixture(scope="module")
def liar(cluster):
    with Liar(cluster, "127.0.1.80") as running:
        yield running


@pytest.mark.parametrize("lie", LIES)
def test_numbers_that_cannot_be_are_cut_to_what_can_and_the_server_stays(cluster, liar, lie):
    first = cluster.servers[0]
    implausible = first.counters()["datagrams_implausible"]
    entry = liar.shown(first, **dict.fromkeys(LIMITS, LIES[lie]))

    for name, (least, most) in LIMITS.items():
        assert least <= entry[name] <= most, name
    for name, whole in AT_MOST.items():
        assert entry[name] <= entry[whole], name
    assert (entry["state"], entry["proven"], entry["implausible"]) == ("ok", True, True)
    assert first.counters()["datagrams_implausible"] == implausible + 1


@pytest.mark.parametrize("field", LIMITS)
def test_one_lie_leaves_the_other_numbers_as_they_are(cluster, liar, field):
    first = cluster.servers[0]
    entry = liar.shown(first, **{field: 2**64 - 1})

    assert entry["implausible"]
    assert entry[field] == (entry[AT_MOST[field]] if field in AT_MOST else LIMITS[field][1])
    assert {name: entry[name] for name in LIMITS if name != field} == {
        name: value for name, value in liar.truth.items() if name in LIMITS and name != field}


def test_a_lie_is_marked_on_the_page_until_the_truth_is_said(cluster, liar):
    first = cluster.servers[0]

    assert not liar.shown(first)["implausible"]
    assert "(?)" not in row_of(first, liar.contact)
    assert liar.shown(first, serving=-1)["implausible"]
    assert "ok (?)" in row_of(first, liar.contact)
    for server in cluster.servers:
        assert "(?)" not in row_of(first, server.contact)
    assert not liar.shown(first)["implausible"]
    assert "(?)" not in row_of(first, liar.contact)


def row_of(server, contact):
    """The table row about one server on the page for people."""
    row, = [row for row in fetch(server, REPORT).text.split("<tr") if f"<td>{contact}</td>" in row]
    return row


def test_numbers_at_their_limits_are_believed(cluster, liar):
    for bound in (0, 1):
        entry = liar.shown(cluster.servers[0], **{name: limits[bound] for name, limits in LIMITS.items()})
        assert not entry["implausible"]


def test_whole_numbers_may_come_as_floating_point(cluster, liar):
    entry = liar.shown(cluster.servers[0], **{name: float(liar.truth[name]) for name in LIMITS})

    assert not entry["implausible"]
    assert {name: entry[name] for name in LIMITS} == {name: liar.truth[name] for name in LIMITS}


MARKUP = "<script>alert(1)</script>\"'&lt;"
NO_UTF8 = Raw(b"\x64\xff\xfe\xc0\x80")


def test_a_name_is_shown_as_text_whatever_it_is(cluster):
    first = cluster.servers[0]
    with Announcer(cluster, [wire.report(MARKUP, "127.0.1.81:9", [SITE, MARKUP]),
                             wire.report(NO_UTF8, "127.0.1.82:9", [SITE, NO_UTF8])]):
        wait_until("both are heard of", lambda: {"127.0.1.81:9", "127.0.1.82:9"} <= set(first.states()))
        page = fetch(first, REPORT).text

    assert "alert(1)" in page
    assert "<script>alert(1)" not in page


BROKEN = {
    "text for a number": {"serving": "5"},
    "a list for a number": {"serving": [5]},
    "a map for a number": {"serving": {"serving": 5}},
    "a flag for a number": {"serving": True},
    "nothing for a number": {"serving": Raw(b"\xf6")},
    "bytes for a number": {"serving": Raw(b"\x41\x05")},
    "a number for a flag": {"leaving": 1},
    "text for a flag": {"leaving": "true"},
    "a number for a name": {"name": 7},
    "no name": {"name": ""},
    "a name of two lines": {"name": "a\nb"},
    "a name with a NUL": {"name": "a\0b"},
    "a name with an escape": {"name": "\x1b[2J"},
    "a contact without a port": {"contact": "127.0.1.82"},
    "a contact of port 0": {"contact": "127.0.1.82:0"},
    "a contact of port 65536": {"contact": "127.0.1.82:65536"},
    "a contact by name": {"contact": "localhost:80"},
    "a contact of many": {"contact": "239.255.1.1:80"},
    "a contact of none": {"contact": "0.0.0.0:80"},
    "a contact of none, IPv6": {"contact": "[::]:80"},
    "a contact with more behind": {"contact": "127.0.1.82:80 "},
    "a number for a site": {"services": [7]},
    "a site without a name": {"services": [""]},
    "a site of two lines": {"services": ["a\r\nb"]},
    "text for sites": {"services": "www.backhand.test"},
    "sites within sites": {"services": [["www.backhand.test"]]},
    "65 sites": {"services": [f"s{number}" for number in range(65)]},
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_signed_announcement_that_is_no_report_is_malformed(cluster, fault):
    body = wire.cbor({**wire.report("broken", "127.0.1.82:80", [SITE]), **BROKEN[fault]})

    send_and_count(cluster, ["datagrams_malformed"],
                   [wire.datagram(body, BOOT_ID_LATE, number, KEY) for number in range(3)])


WHOLE = wire.cbor(wire.report("broken", "127.0.1.82:80", [SITE]))


@pytest.mark.parametrize("body", [b"", b"\xa0", b"\x80", b"\xf6", wire.cbor({"name": "n"}),
                                  wire.cbor({"contact": "127.0.1.82:80"}), WHOLE + b"\0",
                                  b"\xc1" + WHOLE, WHOLE[:-1], b"\xa1\x01\x02",
                                  b"\x9b" + b"\xff" * 8, b"\xbb" + b"\xff" * 8, b"\x81" * 1100],
                         ids=lambda body: f"{body[:8].hex()} of {len(body)}")
def test_a_signed_announcement_of_anything_else_is_malformed(cluster, body):
    send_and_count(cluster, ["datagrams_malformed", "datagrams_short"],
                   [wire.datagram(body, BOOT_ID_LATE, number, KEY) for number in range(3)])


def test_signed_noise_does_no_harm(cluster):
    noise = random.Random(4711)
    original = wire.cbor(wire.report("noise", "127.0.1.83:9", [SITE]))
    sent = []
    for number in range(2_000):
        body = bytearray(original)
        for _ in range(noise.randrange(1, 8)):
            body[noise.randrange(len(body))] = noise.randrange(256)
        size = noise.randrange(len(body) // 2, 2 * len(body))
        sent.append(wire.datagram(bytes(body[:size]), BOOT_ID_LATE, number, KEY))
    before = {server: dropped(server.counters()) for server in cluster.servers}
    with Sender(cluster, FORGER) as sender:
        for start in range(0, len(sent), 50):
            sender.send(*sent[start:start + 50])
            time.sleep(0.01)
    for server in cluster.servers:
        wait_until("it has been read",
                   lambda server=server: dropped(server.counters()) - before[server] > len(sent) // 2)
