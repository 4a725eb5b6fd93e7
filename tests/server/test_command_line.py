"""The command line program as others use it: it overhears a cluster of real servers, and makes a
machine without httpd one of them."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess

import pytest

import client
from client import fetch, new_token
from hammer import Hammer
from httpd import COMMAND_LINE, FORWARD_ALWAYS, SERVE_HERE, Cluster, free_ports
from plain_server import CHALLENGE_PATH, PlainServer
from processes import die_with_the_tests, wait_until
from wire import FORMAT_VERSION, HEADER, MAGIC, Listener, Sender

# Addresses within AcceptStats at which no httpd listens.
WATCHER = "127.0.1.61"
PLAIN = "127.0.1.71"
FORGER = "127.0.1.62"

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

# Prefers every other server, in any order.
PREFER_PEERS = "Backhand byRandom\nBackhand removeSelf"

# For servers that tell no news in their responses: until the next announcement each request takes one of these.
MANY_WORKERS = ("--workers", 1000)


def run(*arguments):
    """Runs the program to its end."""
    return subprocess.run([COMMAND_LINE, *arguments], capture_output=True, text=True, timeout=60, check=False)


class Running:
    """The program while it runs; ended at the end of the block if it has not."""

    def __init__(self, *arguments):
        self._process = subprocess.Popen([COMMAND_LINE, *map(str, arguments)], stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, text=True, encoding="ascii",
                                         preexec_fn=die_with_the_tests)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    @property
    def is_running(self):
        return self._process.poll() is None

    def line(self):
        """The next line of its output, read as JSON."""
        text = self._process.stdout.readline()
        assert text.endswith("\n"), self.complaints()
        return json.loads(text)

    def line_where(self, condition):
        """The next line for which the condition holds."""
        return next(line for line in iter(self.line, None) if condition(line))

    def end(self, number=signal.SIGTERM):
        """Asks it to end; returns its exit status."""
        self._process.send_signal(number)
        return self.wait()

    def wait(self):
        return self._process.wait(timeout=60)

    def stop_reading(self):
        self._process.stdout.close()

    def complaint(self):
        """The next line that it writes for an operator."""
        return self._process.stderr.readline()

    def complaints(self):
        return self._process.stderr.read()


def watching(cluster, *options):
    return Running("watch", f"{cluster.group}:{cluster.announce_port}", "--from", WATCHER, *options)


def watched(cluster, count, *options):
    """So many lines of a cluster's announcements."""
    done = run("watch", f"{WATCHER} {cluster.group}:{cluster.announce_port}", "--count", str(count), *options)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def make_key(folder, name="key"):
    path = folder / name
    path.write_text(os.urandom(32).hex() + "\n", encoding="ascii")
    path.chmod(0o600)
    return path


def signed_cluster(**settings):
    """A cluster, and the file of its key."""
    cluster = Cluster("event", **settings)
    key = make_key(cluster.folder)
    for server in cluster.servers:
        server.backhand_lines += f"\nBackhandKey {key}"
    return cluster, key


@pytest.fixture(scope="module")
def cluster():
    with Cluster("event", size=3, chain=SERVE_HERE) as running:
        yield running.wait_until_complete()


@pytest.fixture(scope="module")
def keyed():
    """A cluster that signs, and its key."""
    cluster, key = signed_cluster(size=2, chain=SERVE_HERE)
    with cluster:
        yield cluster.wait_until_complete(), key


# ---- watch ----


def test_watch_prints_what_every_server_announces(cluster):
    lines = watched(cluster, 40)

    assert len(lines) == 40
    assert {line["contact"] for line in lines} == {server.contact for server in cluster.servers}
    for server in cluster.servers:
        said = [line for line in lines if line["contact"] == server.contact]
        assert {line["from"] for line in said} == {server.address}
        assert {line["boot_id"] for line in said} == {server.report()["boot_id"]}
        assert [line["measurement"] for line in said] == sorted({line["measurement"] for line in said})


def test_watch_prints_every_field_that_the_report_has(cluster):
    line, = watched(cluster, 1)
    entry = cluster.servers[0].report()["servers"][1]
    # What the report knows beyond the announcement, and what it puts in another way.
    here = {"slot", "self", "state", "age_ms", "proven", "sent_since", "in_flight", "ejected", "failures_in_a_row",
            "pooled_connections", "unhealthy", "failed_attempts_in_a_row", "own_latency_us"}

    assert line.keys() == (entry.keys() - here) | {"received_at", "from", "size_bytes", "signed", "verified"}
    assert TIMESTAMP.fullmatch(line["received_at"])
    assert client.SITE in line["services"]
    assert line["workers_max"] == cluster.workers
    assert 24 < line["size_bytes"] <= 1200
    assert (line["signed"], line["verified"], line["leaving"]) == (False, False, False)


def test_watch_hears_of_a_server_that_leaves():
    with Cluster("event", size=1) as cluster, watching(cluster) as watch:
        watch.line()
        cluster.servers[0].stop()

        assert watch.line_where(lambda line: line["leaving"])["contact"] == cluster.servers[0].contact


def test_watch_with_the_key_prints_what_is_verified(keyed):
    cluster, key = keyed

    lines = watched(cluster, 20, "--key", key)

    assert {line["contact"] for line in lines} == {server.contact for server in cluster.servers}
    assert {(line["signed"], line["verified"]) for line in lines} == {(True, True)}


def test_watch_without_the_key_prints_what_is_signed_as_not_verified(keyed):
    lines = watched(keyed[0], 5)

    assert {(line["signed"], line["verified"]) for line in lines} == {(True, False)}
    assert not [line for line in lines if "dropped" in line]


def test_watch_with_another_key_prints_only_on_request_and_says_why(keyed):
    cluster, _ = keyed
    other = make_key(cluster.folder, "other")

    dropped = watched(cluster, 5, "--key", other, "--all")

    assert {line["dropped"] for line in dropped} <= {"of_unknown_key", "forged"}
    assert {line["verified"] for line in dropped} == {False}
    with Running("announce", "--to", f"{FORGER} {cluster.group}:{cluster.announce_port}", "--contact", f"{FORGER}:80",
                 "--key", other, "--interval", 20, "--state-dir", cluster.folder / "stranger"), \
            watching(cluster, "--key", other) as watch:
        assert {watch.line()["from"] for _ in range(50)} == {FORGER}


def test_watch_with_the_key_leaves_out_what_is_forged_or_not_signed(keyed):
    cluster, key = keyed
    with Listener(cluster) as listener:
        true = listener.next_from(cluster.servers[0])
    forged = true[:-1] + bytes([true[-1] ^ 1])
    plain = announcement("forger")
    with watching(cluster, "--key", key) as watch, watching(cluster, "--key", key, "--all") as watch_all:
        watch.line()
        watch_all.line()
        with Sender(cluster, FORGER) as sender:
            sender.send(forged, plain)
        dropped = [watch_all.line_where(lambda line: line["from"] == FORGER) for _ in range(2)]
        watch_all.line_where(lambda line: line["from"] == cluster.servers[0].address)
        seen = [watch.line() for _ in range(20)]

    assert [line["dropped"] for line in dropped] == ["forged", "unsigned"]
    assert dropped[0]["contact"] == cluster.servers[0].contact
    assert FORGER not in {line["from"] for line in seen}


def cbor_text(text):
    data = text if isinstance(text, bytes) else text.encode()
    return b"\x79" + len(data).to_bytes(2, "big") + data


def announcement(name, contact=f"{FORGER}:80"):
    body = b"\xa2" + cbor_text("name") + cbor_text(name) + cbor_text("contact") + cbor_text(contact)
    return HEADER.pack(MAGIC, FORMAT_VERSION, 0, 0, 1, 1) + body


HOSTILE_NAMES = [
    '"},{"name":"other',
    "a\\nb\\",
    "\u2028\u2029\u0085\u202e",
    "\x9b31m",
    "naïve 😀",
    "</script><script>",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_a_hostile_name_stays_a_name_on_one_line_of_ascii(cluster, name):
    with watching(cluster) as watch:
        watch.line()
        with Sender(cluster, FORGER) as sender:
            sender.send(announcement(name))
        # Its output is read as ASCII, line by line.
        assert watch.line_where(lambda line: line["from"] == FORGER)["name"] == name


def test_a_name_with_control_characters_is_no_announcement(cluster):
    with watching(cluster, "--all") as watch:
        watch.line()
        with Sender(cluster, FORGER) as sender:
            sender.send(announcement("a\nb"), announcement("\x1b[2J"), b"\xff" * 100, b"")
        lines = [watch.line_where(lambda line: line["from"] == FORGER) for _ in range(4)]

    assert [line["dropped"] for line in lines] == ["malformed", "malformed", "malformed", "short"]
    assert [line["size_bytes"] for line in lines][2:] == [100, 0]
    assert not [line for line in lines if "name" in line]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["interrupt", "terminate"])
def test_watch_ends_cleanly_when_it_is_told_to(cluster, number):
    with watching(cluster) as watch:
        watch.line()

        assert watch.end(number) == 0
        assert watch.complaints() == ""


def test_watch_ends_cleanly_when_nobody_reads_any_more(cluster):
    with watching(cluster) as watch:
        watch.line()
        watch.stop_reading()

        assert watch.wait() == 0
        assert watch.complaints() == ""


def test_watch_of_a_silent_network_ends_when_nobody_reads_any_more():
    port, = free_ports(1)
    with Running("watch", f"{WATCHER} 239.255.99.99:{port}") as watch:
        wait_until("it listens", lambda: udp_port_is_taken("239.255.99.99", port))
        watch.stop_reading()

        assert watch.wait() == 0


def udp_port_is_taken(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return True
    return False


def test_watch_can_be_told_to_end_while_its_reader_sleeps(cluster):
    with watching(cluster) as watch:
        watch.line()
        # Announcements until the pipe is full, and then some.
        with Sender(cluster, FORGER) as sender:
            for _ in range(2_000):
                sender.send(announcement("filler"))

        assert watch.end() == 0


def test_watch_of_a_single_address_does_not_make_a_server_deaf():
    port, = free_ports(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((WATCHER, port))

        done = run("watch", f"{WATCHER} 127.0.1.1:{port}")

    assert done.returncode == 1
    assert f'"{WATCHER} 127.0.1.1:{port}": another program listens on UDP {WATCHER}:{port}' in done.stderr


def test_watch_hears_what_is_sent_to_a_single_address():
    port, = free_ports(1)
    with Running("watch", f"127.0.1.1:{port}", "--from", WATCHER, "--count", 1) as watch:
        wait_until("it listens", lambda: udp_port_is_taken(WATCHER, port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((FORGER, 0))
            sender.sendto(announcement("unicast"), (WATCHER, port))

        assert watch.line()["name"] == "unicast"
        assert watch.wait() == 0


# ---- what is typed wrong ----


@pytest.mark.parametrize("arguments, complaint", [
    (["watch"], "DEST is required"),
    (["watch", "10.0.5.255"], '"10.0.5.255": expected [my-ip] dest-ip:port'),
    (["watch", "10.0.5.255:4445", "--count", "none"], '--count "none": expected a whole number'),
    (["watch", "10.0.5.255:4445", "--wait"], "--wait"),
    (["announce", "--to", "10.0.5.255:4445"], "--contact is required"),
    (["announce", "--to", "web", "--contact", "10.0.5.7:80"], '--to "web": expected'),
    (["announce", "--to", "10.0.5.255:4445", "--contact", "web7:80"], '--contact "web7:80": expected'),
    (["announce", "--to", "10.0.5.255:4445", "--contact", "10.0.5.7:80", "--interval", "1"], '--interval "1": expected'),
], ids=" ".join)
def test_what_is_typed_wrong_is_named_in_one_line(arguments, complaint):
    done = run(*arguments)

    assert done.returncode == 2
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["watch", "127.255.255.255:4445"],
                                       ["announce", "--to", "127.255.255.255:4445", "--contact", "127.0.1.1:80"]],
                         ids=["watch", "announce"])
def test_a_key_that_others_can_read_is_refused(tmp_path, arguments):
    key = make_key(tmp_path)
    key.chmod(0o644)

    done = run(*arguments, "--key", key)

    assert done.returncode == 1
    assert f"--key {key} can be used by others" in done.stderr


@pytest.mark.parametrize("command", ["status", "watch", "announce"])
def test_every_command_explains_itself(command):
    done = run(command, "--help")

    assert done.returncode == 0
    assert f"backhand {command}" in done.stdout


# ---- announce ----


@contextlib.contextmanager
def announced(cluster, plain, *options, services=(client.SITE,), state=None, ready=True):
    """Announces a server that is no httpd; begins when the cluster's first server would use it."""
    first = cluster.servers[0]
    known = first.sees(plain)
    with Running("announce", "--to", f"{cluster.group}:{cluster.announce_port}", "--from", plain.address, "--contact",
                 plain.contact, "--name", "plain", "--service", *services, "--state-dir",
                 state or cluster.folder / "announced", *options) as announcing:
        if ready:
            wait_until_usable(first, plain, known and known["boot_id"])
            cluster.let_workers_start(first, [first])
        yield announcing


def wait_until_usable(server, plain, earlier_boot_id=None):
    def is_usable():
        entry = server.sees(plain)
        return entry and entry["proven"] and entry["state"] == "ok" and entry["boot_id"] != earlier_boot_id

    wait_until(lambda: f"{server} sees {plain}: {server.sees(plain)}", is_usable)


def plain_server_of(cluster, challenge_port=None):
    return PlainServer(PLAIN, cluster.port, challenge_port)


def told(response):
    assert response.status == 200, response
    return json.loads(response.body)


def test_a_machine_without_httpd_serves_what_is_sent_to_httpd():
    with Cluster("event", size=1, chain=PREFER_PEERS) as cluster, plain_server_of(cluster) as plain, \
            announced(cluster, plain, "--workers", 50):
        first, = cluster.servers
        token = new_token()
        asked = told(fetch(first, "/some/where?x=%20y", f"X-Token: {token}", method="POST", body=b"a body",
                           source="127.0.0.77"))
        fields = {name.lower(): value for name, value in asked["fields"]}

        assert (asked["answered_by"], asked["method"], asked["target"]) == ("python", "POST", "/some/where?x=%20y")
        assert asked["body"] == "a body"
        assert fields["host"] == client.SITE
        assert fields["backhand-proxied"] == "127.0.0.77"
        assert "scheme=http;" in fields["backhand-exchange"]
        assert first.logged(token)[0].peer == plain.contact
        entry = first.sees(plain)
        assert (entry["name"], entry["workers_max"], entry["workers_idle"]) == ("plain", 50, 50)
        assert entry["memory_total_bytes"] == first.sees(first)["memory_total_bytes"]
        assert entry["cpus_permille"] > 0


def test_a_machine_without_httpd_serves_requests_over_kept_connections():
    with Cluster("prefork", size=1, chain=PREFER_PEERS) as cluster, plain_server_of(cluster) as plain, \
            announced(cluster, plain):
        first, = cluster.servers
        for _ in range(50):
            assert told(fetch(first, "/"))["answered_by"] == "python"
        counters = first.counters()

        assert counters["forwarded"] == 50
        assert counters["connections_from_cache"] + counters["connections_from_pool"] > 0


def test_requests_for_a_site_that_the_machine_does_not_offer_stay_away():
    with Cluster("event", size=1, chain=PREFER_PEERS) as cluster, plain_server_of(cluster) as plain, \
            announced(cluster, plain, services=["other.example.com"]):
        token = new_token()
        assert fetch(cluster.servers[0], "/small.html", f"X-Token: {token}").status == 200
        assert cluster.servers[0].logged(token)[0].peer == "-"


def test_the_speed_of_the_machine_is_announced_and_kept():
    with Cluster("event", size=1) as cluster, plain_server_of(cluster) as plain:
        first, = cluster.servers
        with announced(cluster, plain) as announcing:
            speed = wait_until("the speed is measured", lambda: first.sees(plain)["arriba"])
            assert announcing.end() == 0
        with announced(cluster, plain):
            assert first.sees(plain)["arriba"] == speed


def test_a_machine_that_leaves_is_used_no_more():
    with Cluster("event", size=1, chain=PREFER_PEERS) as cluster, plain_server_of(cluster) as plain, \
            announced(cluster, plain) as announcing:
        first, = cluster.servers
        assert told(fetch(first))["answered_by"] == "python"

        assert announcing.end() == 0
        wait_until("it has left", lambda: first.sees(plain)["leaving"])
        tokens = [new_token() for _ in range(20)]
        for token in tokens:
            assert b"answered_by" not in fetch(first, "/small.html", f"X-Token: {token}").body

        assert {first.logged(token)[0].peer for token in tokens} == {"-"}
        assert first.sees(plain)["state"] == "leaving"


def test_a_machine_that_comes_back_is_used_again_at_once():
    with Cluster("event", size=1, chain=PREFER_PEERS) as cluster, plain_server_of(cluster) as plain:
        first, = cluster.servers
        boot_ids = []
        for _ in range(3):
            with announced(cluster, plain) as announcing:
                assert told(fetch(first))["answered_by"] == "python"
                boot_ids.append(int(first.sees(plain)["boot_id"]))
                assert announcing.end() == 0
                wait_until("it has left", lambda: first.sees(plain)["leaving"])

        assert boot_ids == sorted(set(boot_ids))
        assert int((cluster.folder / "announced" / "boot_id").read_text()) == boot_ids[-1]
        assert first.counters()["datagrams_replayed"] == 0


def test_the_boot_id_rises_though_the_clock_was_set_back():
    with Cluster("event", size=1) as cluster, plain_server_of(cluster) as plain:
        (cluster.folder / "announced").mkdir(mode=0o700)
        (cluster.folder / "announced" / "boot_id").write_text("9000000000000\n")
        with announced(cluster, plain):
            assert cluster.servers[0].sees(plain)["boot_id"] == "9000000000001"


def test_without_a_state_directory_it_warns_and_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    with Cluster("event", size=1) as cluster, plain_server_of(cluster) as plain, \
            announced(cluster, plain, state=tmp_path / "file" / "state") as announcing:
        assert re.search("nothing is kept: cannot make .*/file/state: .*clock", announcing.complaint())
        assert announcing.end() == 0


def test_a_state_directory_that_others_can_write_to_is_not_used(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    with Cluster("event", size=1) as cluster, plain_server_of(cluster) as plain, \
            announced(cluster, plain, state=tmp_path / "state") as announcing:
        assert f"chmod go-w {tmp_path}/state" in announcing.complaint()

    assert os.listdir(tmp_path / "state") == []


def test_clients_see_no_error_when_the_machine_is_killed_and_comes_back():
    chain = "Backhand byAge 60\nBackhand byRandom"
    with Cluster("event", size=2, chain=chain) as cluster, plain_server_of(cluster) as plain, \
            announced(cluster, plain):
        cluster.wait_until_complete()
        forwarded = cluster.servers[0].counters()["forwarded"]
        with Hammer(cluster.servers, {"/small.html": None}) as clients:
            clients.wait_for(200)
            plain.kill()
            clients.wait_for(300)
            plain.start()
            clients.wait_for(100)

        assert clients.failures == []
        assert cluster.servers[0].counters()["forwarded"] > forwarded


# ---- announce, with keys ----


def test_with_keys_a_machine_is_used_once_it_has_answered_the_challenge():
    cluster, key = signed_cluster(size=2, chain=PREFER_PEERS)
    challenge_port, = free_ports(1)
    with cluster, plain_server_of(cluster, challenge_port) as plain, \
            announced(cluster, plain, "--key", key, "--challenge-listen", f"127.0.0.1:{challenge_port}") as announcing:
        first, second = cluster.servers
        wait_until_usable(second, plain)
        second.kill()

        assert told(fetch(first))["answered_by"] == "python"
        assert first.counters()["challenges_passed"] >= 2
        assert announcing.end() == 0
        wait_until("it has left", lambda: first.sees(plain)["leaving"])


def test_with_keys_a_machine_that_does_not_answer_the_challenge_is_not_used():
    cluster, key = signed_cluster(size=1, chain=PREFER_PEERS)
    with cluster, plain_server_of(cluster) as plain, announced(cluster, plain, "--key", key, ready=False) as announcing:
        first, = cluster.servers
        assert "announcing plain" in announcing.complaint()
        assert "--challenge-listen" in announcing.complaint()
        wait_until("it has been asked", lambda: first.counters()["challenges_failed"] > 0)
        token = new_token()
        assert fetch(first, "/small.html", f"X-Token: {token}").status == 200

        assert first.sees(plain)["proven"] is False
        assert first.logged(token)[0].peer == "-"


def test_with_keys_a_machine_with_another_key_is_not_heard():
    cluster, _ = signed_cluster(size=1)
    other = make_key(cluster.folder, "other")
    with cluster, plain_server_of(cluster) as plain, announced(cluster, plain, "--key", other, ready=False):
        first, = cluster.servers
        wait_until("its announcements are dropped", lambda: first.counters()["datagrams_of_unknown_key"] +
                   first.counters()["datagrams_forged"] > 0)

        assert first.sees(plain) is None


@pytest.fixture(scope="module")
def challenged(tmp_path_factory):
    """The port at which the challenge is answered, of a machine that nobody hears."""
    folder = tmp_path_factory.mktemp("challenged")
    udp_port, port = free_ports(2)
    with Running("announce", "--to", f"{PLAIN} 239.255.99.98:{udp_port}", "--contact", f"{PLAIN}:80", "--state-dir",
                 folder / "state", "--key", make_key(folder), "--challenge-listen", f"127.0.0.1:{port}") as announcing:
        announcing.complaint()
        yield port
        assert announcing.end() == 0


def asked(port, data):
    with client.Connection("127.0.0.1", port) as connection:
        connection.send(data)
        response = connection.response()
        assert connection.is_at_its_end()
        return response


@pytest.mark.parametrize("data", [
    client.request("/"),
    client.request(CHALLENGE_PATH),
    client.request(CHALLENGE_PATH, "Backhand-Challenge: 1 00 00"),
    client.request(CHALLENGE_PATH, method="POST", body=b"x" * 10_000),
    client.request(CHALLENGE_PATH + "/x", "Backhand-Challenge: 1 00 00"),
    b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\r\n\r\n",
], ids=["another path", "no question", "a question of a stranger", "another method", "a path below", "nothing", "TLS"])
def test_the_challenges_server_says_not_found_to_everything_else(challenged, data):
    response = asked(challenged, data)

    assert (response.status, response.field("Connection")) == (404, "close")


def test_the_challenges_server_hangs_up_on_a_head_that_is_too_long(challenged):
    with client.Connection("127.0.0.1", challenged) as connection:
        connection.send(f"GET {CHALLENGE_PATH} HTTP/1.1\r\nX: {'y' * 9000}".encode())

        assert hangs_up(connection)


def test_the_challenges_server_hangs_up_on_whoever_does_not_ask_in_time(challenged):
    with client.Connection("127.0.0.1", challenged) as connection:
        connection.send(b"GET /")

        assert hangs_up(connection)


def test_the_challenges_server_answers_though_more_connections_wait_than_it_takes(challenged):
    with contextlib.ExitStack() as idle:
        for _ in range(100):
            idle.enter_context(client.Connection("127.0.0.1", challenged))

        assert asked(challenged, client.request("/")).status == 404


def hangs_up(connection):
    try:
        return connection.is_at_its_end()
    except ConnectionResetError:
        return True
