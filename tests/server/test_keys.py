"""BackhandKey: servers that hold the same key make up a cluster, whoever else speaks on the network.

Keys that could be known to others are refused, and a key is changed while clients are served.
"""

import os
import shutil
import signal

import pytest

import wire
from background import Background
from client import fetch, new_token
from forgers import assert_at_most_one_a_second
from hammer import Hammer
from httpd import FORWARD_ALWAYS, Cluster, write_key_file
from processes import wait_until
from wire import Key, new_secret, other_secret

SECRET = "This-is-the-secret-that-no-log-may-show-0123456789"

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave a file to another user")


# ---- what is refused ----


@pytest.fixture(scope="module")
def unstarted():
    """One server that has its folder and configuration, and that nobody has started."""
    cluster = Cluster("event", size=1)
    yield cluster.servers[0]
    cluster.__exit__(None, None, None)


@pytest.fixture
def server(unstarted):
    for log in ("error.log", "output.log"):
        (unstarted.folder / log).unlink(missing_ok=True)
    unstarted.server_lines = unstarted.site_lines = ""
    shutil.rmtree(unstarted.folder / "keys", ignore_errors=True)
    (unstarted.folder / "keys").mkdir(mode=0o755)
    return unstarted


def assert_is_refused(server, *words, secret=SECRET):
    """Neither the configuration test nor httpd takes it: one line of each has the words, none the secret."""
    server.write_configuration()
    status, said = server.configuration_test()
    assert status != 0, said
    server.launch()
    assert server.wait_until_it_refuses() != 0, server.diary()

    for text in (said, server.diary()):
        telling = [line for line in text.splitlines() if all(word in line for word in ("BackhandKey", *words))]
        assert len(telling) == 1, text
        for part in secret.split("/"):
            assert len(part) < 8 or part not in text


def missing(path):
    del path


def readable_by(mode):
    def make(path):
        write_key_file(path, SECRET)
        path.chmod(mode)
    return make


def of_another(path):
    write_key_file(path, SECRET)
    shutil.chown(path, "nobody")


def link(path):
    write_key_file(path.with_name("target"), SECRET)
    path.symlink_to("target")


def link_to_nothing(path):
    path.symlink_to("nothing")


def fifo(path):
    os.mkfifo(path, 0o600)


def device(path):
    path.symlink_to("/dev/zero")


def holding(content):
    def make(path):
        write_key_file(path, "")
        path.write_bytes(content)
    return make


BAD_FILES = {
    "that is not there": (missing, "No such file"),
    "that its group can read": (readable_by(0o640), "chmod 600"),
    "that others can read": (readable_by(0o604), "chmod 600"),
    "that its group can write": (readable_by(0o620), "chmod 600"),
    "that others can only execute": (readable_by(0o601), "chmod 600"),
    "of another user": pytest.param(of_another, "belongs to", marks=only_root),
    "that is a link to a good one": (link, "symbolic link"),
    "that is a link to nothing": (link_to_nothing, "symbolic link"),
    "that is a link to a device": (device, "symbolic link"),
    "that is a FIFO": (fifo, "regular file"),
    "that is a folder": (lambda path: path.mkdir(mode=0o700), "regular file"),
    "that is empty": (holding(b""), "empty"),
    "of an empty line": (holding(b"\n"), "empty"),
    "one byte short": (holding(SECRET[:31].encode() + b"\n"), "32"),
    "one byte long": (holding(SECRET.encode() * 100), "4096"),
    "of two lines": (holding(SECRET.encode() + b"\n" + SECRET.encode() + b"\n"), "one line"),
    "with an empty line behind": (holding(SECRET.encode() + b"\n\n"), "one line"),
    "as Windows writes it": (holding(SECRET.encode() + b"\r\n"), "carriage return"),
    "with a NUL in it": (holding(SECRET.encode() + b"\0\n"), "printable"),
    "with a letter beyond ASCII": (holding(SECRET.encode() + "ü\n".encode()), "printable"),
    "with a blank at its end": (holding(SECRET.encode() + b" \n"), "blank"),
    "of 100 blanks": (holding(b" " * 100), "blank"),
}


@pytest.mark.parametrize(
    "make, word",
    [value if hasattr(value, "marks") else pytest.param(*value, id=name) for name, value in BAD_FILES.items()])
def test_a_key_file_is_refused_by_name_without_what_it_holds(server, make, word):
    path = server.folder / "keys" / "cluster"
    make(path)
    server.server_lines = f"BackhandKey {path}"

    assert_is_refused(server, str(path), word)


def test_a_key_file_where_others_could_put_their_own_is_refused(server):
    folder = server.folder / "keys"
    write_key_file(folder / "cluster", SECRET)
    folder.chmod(0o777)
    server.server_lines = f"BackhandKey {folder}/cluster"

    assert_is_refused(server, str(folder), "chmod go-w")


@pytest.mark.parametrize("ending", ["\n", ""], ids=["the same bytes", "without the end of the line"])
def test_the_same_key_twice_is_refused(server, ending):
    first, second = server.folder / "keys" / "first", server.folder / "keys" / "second"
    write_key_file(first, SECRET)
    holding(f"{SECRET}{ending}".encode())(second)
    server.server_lines = f"BackhandKey {first}\nBackhandKey {second}"

    assert_is_refused(server, str(first), str(second), "same key")


def test_a_bad_second_key_is_refused_by_its_own_name(server):
    first, second = server.folder / "keys" / "first", server.folder / "keys" / "second"
    write_key_file(first, SECRET)
    write_key_file(second, SECRET[::-1])
    second.chmod(0o644)
    server.server_lines = f"BackhandKey {first} {second}"

    assert_is_refused(server, str(second), "chmod 600")


def test_more_keys_than_anybody_needs_are_refused(server):
    server.server_lines = "BackhandKey " + " ".join(f"/etc/key{number}" for number in range(9))

    assert_is_refused(server, "9 keys", "8")


def test_a_relative_path_begins_at_the_server_root(server):
    server.server_lines = "BackhandKey keys/cluster"

    assert_is_refused(server, f"{server.folder}/keys/cluster")


@pytest.mark.parametrize("section", ["VirtualHost *:1", 'Location "/"', 'Directory "/"', 'Files "x"'])
def test_a_key_for_less_than_the_whole_server_is_refused(server, section):
    server.server_lines = f"<{section}>\nBackhandKey /etc/backhand.key\n</{section.split()[0]}>"

    assert_is_refused(server)


def test_no_path_at_all_is_refused(server):
    server.server_lines = "BackhandKey"

    assert_is_refused(server)


KEYS_WRITTEN_INSTEAD = [
    "3f9d1c5e7ab2406688d1f0c2b4a697e53f9d1c5e7ab2406688d1f0c2b4a697e5",
    "Ab3+dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5kL7nP0=",
    "Ab3/dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5kL7nP0=",
    "/b3dE5gH7jK9mN1pQ/sT5vW7yZ9bC1eF3hJ5kL7nP0==",
    "Ab3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5kL7nP0/=",
    "/b3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5kL7nP0a=",
    "Ab3-dE5gH7jK9mN1pQ3sT5vW7yZ9b_1eF3hJ5kL7nP0",
]


@pytest.mark.parametrize("secret", KEYS_WRITTEN_INSTEAD)
def test_a_key_written_where_its_file_belongs_is_refused_and_not_repeated(server, secret):
    server.server_lines = f"BackhandKey {secret}"

    assert_is_refused(server, "path of a file", secret=secret)


# ---- who belongs together ----

KEY = new_secret()
SECOND_KEY = new_secret()


OTHER_ID = other_secret(KEY, same_id=False)
SAME_ID = other_secret(KEY, same_id=True)

# Servers 1 to 3 hold the cluster's key, 4 none, 5 and 6 one of their own.
KEYS = {1: [KEY], 2: [KEY, SECOND_KEY], 3: [KEY], 4: [], 5: [OTHER_ID], 6: [SAME_ID]}


@pytest.fixture(scope="module")
def mixed():
    with Cluster("event", size=6, keys=KEYS.get, chain="Backhand byAge 60\nBackhand byRandom\nBackhand removeSelf",
                 workers=8, plain_too=True) as running:
        yield running.wait_until_ok(running.servers[:3])


def test_servers_with_the_same_key_are_proven_and_ok_to_each_other(mixed):
    members = mixed.servers[:3]
    for viewer in members:
        entries = viewer.report()["servers"]

        assert sorted(entry["contact"] for entry in entries) == sorted(member.contact for member in members)
        assert {(entry["state"], entry["proven"], entry["implausible"]) for entry in entries} == {("ok", True, False)}


def test_each_has_asked_each_other_for_its_proof_once(mixed):
    for viewer in mixed.servers[:3]:
        counters = viewer.counters()

        assert counters["challenges_passed"] == 2
        assert counters["challenges_sent"] == 2 + counters["challenges_failed"]
        assert counters["challenges_answered"] >= 2
        assert counters["challenges_refused"] == 0


def test_servers_with_the_same_key_forward_to_each_other(mixed):
    members = mixed.servers[:3]
    for first in members:
        others = {server.contact for server in members if server is not first}
        seen = set()

        def send_one(first=first, seen=seen):
            token = new_token()
            assert fetch(first, "/small.html", f"X-Token: {token}").status == 200
            seen.add(first.logged(token)[0].peer)
            return seen

        wait_until(lambda others=others, seen=seen: f"requests went to {others}: {seen}",
                   lambda others=others: send_one() >= others)
        assert seen == others


def test_news_come_with_responses_when_announcements_do_not(mixed):
    first, second, third = mixed.servers[:3]
    moderator = second.moderator()
    with Hammer([first], {"/small.html": None}) as clients:
        clients.wait_for(20)
        os.kill(moderator, signal.SIGSTOP)
        try:
            wait_until("who sends it no requests hears no more of it",
                       lambda: third.states()[second.contact] == "silent")
            announced = first.sees(second)["measurement"]
            before = len([line for line in first.log() if line.peer == second.contact])
            clients.wait_for(20)
            assert first.states()[second.contact] == "ok"
            assert first.sees(second)["measurement"] == announced
            assert len([line for line in first.log() if line.peer == second.contact]) > before
        finally:
            os.kill(moderator, signal.SIGCONT)
    assert clients.failures == []
    mixed.wait_until_ok(mixed.servers[:3])


def test_servers_that_share_no_key_never_hear_of_each_other(mixed):
    members, strangers = mixed.servers[:3], mixed.servers[3:]
    for server in strangers:
        wait_until("it has announced itself", lambda server=server: server.counters()["datagrams_sent"] > 20)

        assert server.states() == {}
    for server in members:
        assert {contact for contact in server.states()} <= {member.contact for member in members}


def test_what_was_said_without_the_key_is_counted_by_what_is_wrong_with_it(mixed):
    unsigned, unknown, forged = "datagrams_unsigned", "datagrams_of_unknown_key", "datagrams_forged"
    expected = {1: {unsigned, unknown, forged}, 2: {unsigned, unknown, forged}, 3: {unsigned, unknown, forged},
                4: {unknown}, 5: {unsigned, unknown}, 6: {unsigned, unknown, forged}}
    for server in mixed.servers:
        counted = wait_until(lambda server=server: f"{expected[server.number]} at {server}: {server.counters()}",
                             lambda server=server: counted_wrong(server) == expected[server.number])
        assert counted


def counted_wrong(server):
    """The counters of dropped datagrams that have risen.

    Not of replays: the answer to a challenge can overtake an announcement.
    """
    return {name for name, count in server.counters().items()
            if count and name.startswith("datagrams_")
            and name not in ("datagrams_sent", "datagrams_accepted", "datagrams_own", "datagrams_replayed")}


def test_strangers_without_the_key_take_no_part_and_cost_no_client_anything(mixed):
    members, strangers = mixed.servers[:3], mixed.servers[3:]
    with Hammer(mixed.servers, {"/small.html": None}) as clients:
        clients.wait_for(200)

    assert clients.failures == []
    for server in strangers:
        assert {line.peer for line in server.log()} == {"-"}
        assert {line.forwarder for line in server.log()} == {"-"}
    for server in members:
        assert {line.peer for line in server.log()} <= {"-", *(member.contact for member in members)}


def test_a_request_that_a_stranger_forwards_is_not_believed(mixed):
    first, stranger = mixed.servers[0], mixed.servers[4]
    fields = ["Backhand-Proxied: 10.1.2.3",
              f"Backhand-Exchange: client-port=1;local-port={first.port};site=1;scheme=http;version=1.1"]
    response = fetch(first, "/cgi/env.cgi", *fields, source=stranger.address)

    assert response.status == 200
    assert f"REMOTE_ADDR={stranger.address}" in response.text.splitlines()
    assert "10.1.2.3" not in response.text


def test_the_log_tells_of_dropped_announcements_at_most_once_a_second(mixed):
    for server in mixed.servers:
        lines = wait_until("the log tells of them", lambda server=server: telling_lines(server, 3))
        assert_at_most_one_a_second(lines)


def telling_lines(server, count):
    lines = [line for line in server.error_log().splitlines() if "dropped announcements" in line]
    return lines if len(lines) >= count else None


def test_no_file_that_a_server_writes_has_a_key_in_it(mixed):
    for server in mixed.servers:
        for path in server.folder.rglob("*"):
            if path.is_file() and path not in server.key_files:
                content = path.read_bytes()
                for secret in (KEY, SECOND_KEY, OTHER_ID, SAME_ID):
                    assert secret.encode() not in content, path


# ---- a key is changed ----


class Observer(Background):
    """Reads the servers' reports over and over, and keeps every state but `ok` that it finds."""

    def __init__(self, servers):
        super().__init__()
        self.found = set()
        self.reports = 0
        self._servers = servers

    def _run(self):
        while not self._stopping.is_set():
            for server in self._servers:
                states = server.states()
                self.found |= {state for state in states.values() if state != "ok"}
                if len(states) != len(self._servers) - 1:
                    self.found.add("missing")
                self.reports += 1


def test_a_key_is_changed_while_clients_are_served_and_no_server_is_missed():
    old, new = new_secret(), new_secret()
    with Cluster("event", size=3, keys=[old], chain=FORWARD_ALWAYS) as cluster:
        cluster.wait_until_ok()
        with Hammer(cluster.servers, {"/small.html": None}) as clients, Observer(cluster.servers) as observer:
            for secrets in ([old, new], [new, old], [new]):
                for server in cluster.servers:
                    server.hold_keys(*secrets)
                    server.write_configuration()
                    server.restart_gracefully()
                    cluster.wait_until_ok()
                    assert_all_forward(cluster.servers, clients)
        assert clients.failures == []
        assert observer.reports > 0
        # One that restarts very slowly may fall silent for a moment.
        assert observer.found <= {"silent"}

        for server in cluster.servers:
            announcement = wire.overheard(cluster, server)
            assert wire.read_datagram(announcement, Key(new)).fields["contact"] == server.contact
            with pytest.raises(ValueError):
                wire.read_datagram(announcement, Key(old))


def assert_all_forward(servers, clients):
    """Every server has forwarded some of the clients' further requests."""
    before = {server: server.counters()["forwarded"] for server in servers}
    clients.wait_for(30)
    for server in servers:
        wait_until(lambda server=server: f"{server} forwards: {server.report()}",
                   lambda server=server: server.counters()["forwarded"] > before[server])


def test_a_restart_with_a_bad_key_is_prevented_by_the_configuration_test():
    with Cluster("event", size=1, keys=[KEY]) as cluster:
        server, = cluster.servers
        server.key_files[0].chmod(0o640)
        status, said = server.configuration_test()

        assert status != 0
        assert "BackhandKey" in said and str(server.key_files[0]) in said
        assert fetch(server).status == 200
