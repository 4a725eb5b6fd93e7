"""BackhandKey: servers that hold the same key make up a cluster, whoever else speaks on the network.

Keys that could be known to others are refused; keys are changed while clients are served; and a
server proves that it holds one to whoever may ask, and to nobody else. wire.py computes what a
holder of a key computes.
"""

import os
import re
import shutil
import signal
import threading

import pytest

import wire
from client import Connection, fetch, new_token, request
from hammer import Hammer
from httpd import FORWARD_ALWAYS, MPMS, SERVE_HERE, Cluster, write_key_file
from processes import wait_until
from wire import Key, new_secret

ACCEPTED = "127.0.1.60"
STRANGER = "127.0.9.9"

DAY_S = 86_400

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


@pytest.mark.parametrize("section", [f'VirtualHost *:1', 'Location "/"', 'Directory "/"', 'Files "x"'])
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


def other_secret(same_id):
    """A key that is called by the same number as KEY, or by another."""
    while True:
        secret = new_secret()
        if (Key(secret).id == Key(KEY).id) == same_id:
            return secret


OTHER_ID = other_secret(same_id=False)
SAME_ID = other_secret(same_id=True)

# Servers 1 to 3 hold the cluster's key, 4 none, 5 and 6 one of their own.
KEYS = {1: [KEY], 2: [KEY, SECOND_KEY], 3: [KEY], 4: [], 5: [OTHER_ID], 6: [SAME_ID]}


@pytest.fixture(scope="module")
def mixed():
    with Cluster("event", size=6, keys=KEYS.get, chain="Backhand byAge 60\nBackhand byRandom\nBackhand removeSelf",
                 workers=8, plain_too=True) as running:
        wait_until_members_are_ok(running.servers[:3])
        yield running


def wait_until_members_are_ok(members):
    """Waits until each sees each of the others, and nobody else, as a server to send requests to."""
    for viewer in members:
        expected = {other.contact: "ok" for other in members if other is not viewer}
        wait_until(lambda viewer=viewer, expected=expected: f"{viewer} sees {expected}: {viewer.report()}",
                   lambda viewer=viewer, expected=expected: viewer.states() == expected)


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
    wait_until_members_are_ok(mixed.servers[:3])


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

    assert response.status == 503
    assert response.field("Backhand-Declined") == "unknown-member"


def test_the_log_tells_of_dropped_announcements_at_most_once_a_second(mixed):
    for server in mixed.servers:
        lines = wait_until("the log tells of them", lambda server=server: telling_lines(server, 3))
        # A line may be written a moment after its second, but not every line.
        for before, line in zip(lines, lines[2:]):
            assert (moment_of(line) - moment_of(before)) % DAY_S > 1.0, lines


def telling_lines(server, count):
    lines = [line for line in server.error_log().splitlines() if "dropped announcements" in line]
    return lines if len(lines) >= count else None


def moment_of(line):
    """When a line of the error log was written, in seconds."""
    hours, minutes, seconds = re.search(r" (\d\d):(\d\d):(\d\d\.\d+) ", line).groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def test_no_file_that_a_server_writes_has_a_key_in_it(mixed):
    for server in mixed.servers:
        for path in server.folder.rglob("*"):
            if path.is_file() and path not in server.key_files:
                content = path.read_bytes()
                for secret in (KEY, SECOND_KEY, OTHER_ID, SAME_ID):
                    assert secret.encode() not in content, path


# ---- a key is changed ----


class Observer:
    """Reads the servers' reports over and over, and keeps every state but `ok` that it finds."""

    def __init__(self, servers):
        self.found = set()
        self.reports = 0
        self._servers = servers
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()

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
        wait_until_members_are_ok(cluster.servers)
        with Hammer(cluster.servers, {"/small.html": None}) as clients, Observer(cluster.servers) as observer:
            for secrets in ([old, new], [new, old], [new]):
                for server in cluster.servers:
                    server.hold_keys(*secrets)
                    server.write_configuration()
                    server.restart_gracefully()
                    wait_until_members_are_ok(cluster.servers)
                    assert_all_forward(cluster.servers, clients)
        assert clients.failures == []
        assert observer.reports > 0
        # One that restarts very slowly may fall silent for a moment.
        assert observer.found <= {"silent"}

        for server in cluster.servers:
            announcement, = wire.overheard(cluster, server)
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


# ---- the challenge ----

CLOSED = {
    "to all": """
<Location "/">
    Require all denied
</Location>
""",
    "to whoever knows no password": """
<Location "/">
    AuthType Basic
    AuthName "nobody"
    AuthUserFile "${SITE}/users"
    Require valid-user
</Location>
""",
    "to whoever comes without TLS": """
RewriteEngine On
RewriteRule "^" "https://www.backhand.test%{REQUEST_URI}" [R=301,L]
Redirect permanent "/" "https://www.backhand.test/"
""",
}

MPM_OF = dict(zip(CLOSED, MPMS))


@pytest.fixture(scope="module", params=MPMS)
def asked(request):
    """One server that holds keys, and one that has never heard of them."""
    with Cluster(request.param, size=1, keys=[KEY, SECOND_KEY], chain=SERVE_HERE, plain_too=True) as running:
        yield running.servers[0]


def ask(server, value, source=ACCEPTED, target=wire.CHALLENGE_PATH):
    fields = [] if value is None else [f"{wire.CHALLENGE_FIELD}: {value}"]
    return fetch(server, target, *fields, source=source)


def name_of(server):
    return wait_until("the moderator has measured for the first time", lambda: server.report()["self"])


@pytest.mark.parametrize("secret", [KEY, SECOND_KEY], ids=["the key that signs", "the key that is accepted"])
def test_a_right_question_is_answered_with_a_proof(asked, secret):
    name, answers = name_of(asked), []
    for _ in range(2):
        nonce = wire.new_nonce()
        response = ask(asked, wire.question(Key(secret), asked.contact, nonce))
        assert response.status == 200
        assert response.framing == "length"
        assert response.field("Cache-Control") == "no-store"
        answers.append(wire.read_answer(response.text, Key(KEY), nonce, asked.contact, name))

    report = asked.report()
    assert [str(answer.boot_id) for answer in answers] == [report["boot_id"]] * 2
    assert answers[0].measurement < answers[1].measurement
    assert 0 <= answers[0].workers_idle <= asked.cluster.workers


def test_an_answer_is_good_for_its_own_question_only(asked):
    nonce, name = wire.new_nonce(), name_of(asked)
    body = ask(asked, wire.question(Key(KEY), asked.contact, nonce)).text
    wire.read_answer(body, Key(KEY), nonce, asked.contact, name)

    for other in [(body, Key(SECOND_KEY), nonce, asked.contact, name),
                  (body, Key(KEY), wire.new_nonce(), asked.contact, name),
                  (body, Key(KEY), nonce, "127.0.1.2:80", name),
                  (body, Key(KEY), nonce, asked.contact, "another")]:
        with pytest.raises(ValueError):
            wire.read_answer(*other)


NONCE = "00112233445566778899aabbccddeeff"
RIGHT, STRANGE = Key(KEY), Key(OTHER_ID)


def signed(message, purpose=wire.CHALLENGE, key=RIGHT):
    return f"{key.id} {NONCE} {key.tag(purpose, message.encode()).hex()}"


# Each a value of the field, for a server at this contact.
WRONG_QUESTIONS = {
    "none": lambda contact: None,
    "an empty one": lambda contact: "",
    "words": lambda contact: "who are you",
    "a tampered nonce": lambda contact: wire.question(RIGHT, contact, NONCE).replace("0011", "1100"),
    "a tampered tag": lambda contact: wire.question(RIGHT, contact, NONCE)[:-2] + "zz",
    "another tag": lambda contact: f"{RIGHT.id} {NONCE} {'00' * 16}",
    "half a tag": lambda contact: wire.question(RIGHT, contact, NONCE)[:-16],
    "a tag and a half": lambda contact: wire.question(RIGHT, contact, NONCE) + "00" * 8,
    "another contact": lambda contact: wire.question(RIGHT, "127.0.1.2:80", NONCE),
    "another port": lambda contact: wire.question(RIGHT, contact + "0", NONCE),
    "another key": lambda contact: wire.question(STRANGE, contact, NONCE),
    "another key under this one's number": lambda contact: wire.question(Key(SAME_ID), contact, NONCE),
    "another number": lambda contact: wire.question(RIGHT, contact, NONCE).replace(f"{RIGHT.id} ", "0 ", 1),
    "a number too large": lambda contact: wire.question(RIGHT, contact, NONCE).replace(" ", "000 ", 1),
    "for announcements": lambda contact: signed(f"ask\n{NONCE}\n{contact}\n", wire.ANNOUNCEMENT),
    "an answer": lambda contact: signed(f"answer\n{NONCE}\n{contact}\n"),
    "two spaces": lambda contact: wire.question(RIGHT, contact, NONCE).replace(" ", "  "),
    "more behind": lambda contact: wire.question(RIGHT, contact, NONCE) + " more",
    "very much": lambda contact: "1 " * 4000,
}


@pytest.mark.parametrize("name", WRONG_QUESTIONS)
def test_a_wrong_question_gets_what_httpd_says_of_any_page_that_is_not_there(asked, name):
    value = WRONG_QUESTIONS[name](asked.contact)

    assert_is_answered_as_by_plain_httpd(asked, value)


def test_a_right_question_of_a_stranger_gets_the_same(asked):
    assert_is_answered_as_by_plain_httpd(asked, wire.question(RIGHT, asked.contact, NONCE), source=STRANGER)


@pytest.mark.parametrize("target", ["/.well-known/", "/.well-known/backhand/", "/.well-known/Backhand",
                                    "/.well-known/backhand.html", "/small.html/../.well-known/backhand.bak"])
def test_a_right_question_elsewhere_gets_the_same(asked, target):
    assert_is_answered_as_by_plain_httpd(asked, wire.question(RIGHT, asked.contact, NONCE), target=target)


def assert_is_answered_as_by_plain_httpd(server, value, **how):
    plain = server.cluster.plain
    answered, expected = server.counters()["challenges_answered"], ask(plain, value, **how)
    response = ask(server, value, **how)

    assert expected.status == 404
    assert response.status_line == expected.status_line
    assert response.body == expected.body
    assert [name for name, _ in response.fields] == [name for name, _ in expected.fields]
    assert server.counters()["challenges_answered"] == answered


def test_wrong_questions_are_counted_and_nothing_is_logged_of_them(asked):
    before, said = asked.counters(), asked.error_log()
    for name, wrong in WRONG_QUESTIONS.items():
        ask(asked, wrong(asked.contact))
    after = asked.counters()

    assert after["challenges_refused"] - before["challenges_refused"] == len(WRONG_QUESTIONS) - 1
    assert after["challenges_answered"] == before["challenges_answered"]
    assert asked.error_log() == said


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_question_with_a_body_leaves_the_connection_in_order(asked, method):
    field = f"{wire.CHALLENGE_FIELD}: {wire.question(RIGHT, asked.contact, NONCE)}"
    with Connection(asked.address, asked.port, source=ACCEPTED) as connection:
        connection.send(request(wire.CHALLENGE_PATH, field, method=method, body=b"x" * 100_000))
        connection.response(method)
        connection.send(request("/small.html"))
        assert connection.response().status == 200


def test_a_server_without_keys_answers_no_question():
    with Cluster("event", size=1) as cluster:
        server, = cluster.servers
        assert ask(server, wire.question(RIGHT, server.contact, NONCE)).status == 404


@pytest.mark.parametrize("closed", CLOSED)
def test_a_server_proves_itself_however_closed_its_site_is(closed):
    with Cluster(MPM_OF[closed], size=1, keys=[KEY]) as cluster:
        server, = cluster.servers
        name = name_of(server)
        server.site_lines += CLOSED[closed]
        server.write_configuration()
        server.restart()
        wait_until("the site is closed", lambda: fetch(server).status != 200)

        nonce = wire.new_nonce()
        response = ask(server, wire.question(RIGHT, server.contact, nonce))
        assert response.status == 200
        wire.read_answer(response.text, RIGHT, nonce, server.contact, name)
