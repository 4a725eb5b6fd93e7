"""Those who speak on a cluster's network without belonging to it, and what must hold meanwhile.

They speak from 127.0.1.60, which AcceptStats admits. Without the key they can replay, bend and invent
announcements; with it, say what is not so.
"""

import re
import socket
import threading
import time
from contextlib import contextmanager

import wire
from background import Background
from client import fetch, new_token
from processes import name_of, wait_until
from wire import Answer, Key, Sender, new_secret

FORGER = "127.0.1.60"
STRANGER = "127.0.9.9"

SECRET = new_secret()
KEY = Key(SECRET)
OTHER_KEY = Key(new_secret())

# Above those of all servers, which are milliseconds since 1970.
BOOT_ID_LATE = 2**62

DAY_S = 86_400


# ---- what must hold ----


@contextmanager
def unharmed(cluster, moderators):
    """Whatever the test does in the block, the cluster must be whole after it, with the moderators it had."""
    yield
    cluster.wait_until_ok()
    assert {name_of(pid) for pid in moderators} == {"bh-moderator"}
    first, *others = cluster.servers
    token = new_token()
    assert fetch(first, "/small.html", f"X-Token: {token}").status == 200
    assert first.logged(token)[0].peer in [server.contact for server in others]


def assert_requests_stay_among(members, clients):
    """The clients got what they asked for, from the members only."""
    contacts = {member.contact for member in members}
    assert clients.failures == []
    for member in members:
        assert {line.peer for line in member.log()} <= {"-", *contacts}


def send_and_count(cluster, names, datagrams, source=FORGER):
    """Every member counts every one of the datagrams, under one of the names."""
    before = {server: server.counters() for server in cluster.servers}
    with Sender(cluster, source) as sender:
        sender.send(*datagrams)
    for server, counters in before.items():
        wait_until(lambda server=server: f"{len(datagrams)} more of {names} at {server}: {server.counters()}",
                   lambda server=server, counters=counters: risen(server, counters, names) == len(datagrams))


def risen(server, before, names):
    after = server.counters()
    return sum(after[name] - before[name] for name in names)


# Counters of datagrams that do not count received ones; `implausible` counts accepted ones once more.
NOT_RECEIVED = {"datagrams_sent", "datagrams_failed", "datagrams_implausible"}


def dropped(counters):
    """How many of the received datagrams were dropped, the server's own apart."""
    return sum(count for name, count in counters.items()
               if name.startswith("datagrams_") and name not in NOT_RECEIVED
               and name not in ("datagrams_accepted", "datagrams_own"))


def assert_at_most_one_a_second(lines):
    """Of lines of an error log."""
    # One may be written a moment after its second, but not every one.
    for before, line in zip(lines, lines[2:]):
        assert (_moment_of(line) - _moment_of(before)) % DAY_S > 1.0, lines


def _moment_of(line):
    """When a line of the error log was written, in seconds."""
    hours, minutes, seconds = re.search(r" (\d\d):(\d\d):(\d\d\.\d+) ", line).groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


class Watcher(Background):
    """Reads one server's report over and over, and fails when news of a peer ever go back."""

    def __init__(self, viewer, never_ok=()):
        super().__init__()
        self.wrong = []
        self.reports = 0
        self._viewer = viewer
        self._never_ok = {server.contact for server in never_ok}
        self._newest = {}

    def wait_for(self, more):
        goal = self.reports + more
        wait_until(lambda: f"{more} more reports of {self._viewer}", lambda: self.reports >= goal)

    def _run(self):
        while not self._stopping.is_set():
            for entry in self._viewer.report()["servers"]:
                if not entry["self"]:
                    self._look_at(entry)
            self.reports += 1

    def _look_at(self, entry):
        contact, heard = entry["contact"], (int(entry["boot_id"]), entry["measurement"])
        if heard < self._newest.get(contact, heard):
            self.wrong.append(f"{heard} after {self._newest[contact]}")
        self._newest[contact] = heard
        if contact in self._never_ok and (entry["proven"] or entry["state"] == "ok"):
            self.wrong.append(entry)


# ---- who speaks ----


class Replayer(Background):
    """Sends recorded announcements over and over until the block ends."""

    def __init__(self, cluster, recorded):
        super().__init__()
        self.rounds = 0
        self._cluster = cluster
        self._recorded = recorded

    def wait_for(self, more):
        goal = self.rounds + more
        wait_until(f"{more} more rounds", lambda: self.rounds >= goal)

    def _run(self):
        with Sender(self._cluster, FORGER) as sender:
            while not self._stopping.is_set():
                for each in self._recorded:
                    sender.send(each)
                    time.sleep(0.002)
                self.rounds += 1


class Announcer(Background):
    """Announces reports, ten times a second each, until the block ends."""

    def __init__(self, cluster, reports, key=KEY, source=FORGER):
        super().__init__()
        self._cluster = cluster
        self._bodies = [wire.cbor(report) for report in reports]
        self._key = key
        self._source = source

    def _run(self):
        measurement = 0
        with Sender(self._cluster, self._source) as sender:
            while not self._stopping.wait(0.1):
                measurement += 1
                sender.send(*(wire.datagram(body, BOOT_ID_LATE, measurement, self._key) for body in self._bodies))


class Trap:
    """A TCP server that is no member. Keeps the heads of all requests, and answers them in its own way."""

    def __init__(self, address, respond):
        self.heads = []
        self._respond = respond
        self._listener = socket.create_server((address, 0))
        self.contact = "{}:{}".format(*self._listener.getsockname())
        self._open = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection, thread in self._open:
            with _ignoring_what_is_closed():
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()
            connection.close()

    def _run(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._open.append((connection, thread))
            thread.start()

    def _serve(self, connection):
        with _ignoring_what_is_closed():
            head = b""
            while b"\r\n\r\n" not in head:
                more = connection.recv(4096)
                if not more:
                    self.heads.append(head)
                    return
                head += more
            self.heads.append(head)
            self._respond(connection, head.decode())
            connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def _ignoring_what_is_closed():
    try:
        yield
    except OSError:
        pass


def response(status, body, *fields):
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields])
    return f"{head}\r\n\r\n{body}".encode()


def question_in(head):
    field, = [line for line in head.splitlines() if line.startswith(wire.CHALLENGE_FIELD)]
    return field.partition(": ")[2]


def nonce_in(head):
    return question_in(head).split()[1]


class Liar:
    """A member in Python: proves that it holds the key, and announces whatever a test wants."""

    def __init__(self, cluster, address):
        self._cluster = cluster
        self._measurement = 0
        self._trap = Trap(address, self._answer)
        self.contact = self._trap.contact
        self.truth = wire.report("liar", self.contact, ["www.elsewhere.test"])

    def __enter__(self):
        self._trap.__enter__()
        self.announce()
        for server in self._cluster.servers:
            wait_until(lambda server=server: f"it is a member at {server}: {server.report()}",
                       lambda server=server: self.announce() and server.states().get(self.contact) == "ok")
        return self

    def __exit__(self, *_):
        self._trap.__exit__()

    def _answer(self, connection, head):
        nonce = wire.read_question(question_in(head), KEY, self.contact)
        body = wire.answer(KEY, nonce, self.contact, "liar", Answer(BOOT_ID_LATE, self._measurement, 5, 68))
        connection.sendall(response("200 OK", body))

    def announce(self, **changes):
        """Says the truth but for the changes; returns the number of the measurement."""
        self._measurement += 1
        with Sender(self._cluster, FORGER) as sender:
            body = wire.cbor({**self.truth, **changes})
            sender.send(wire.datagram(body, BOOT_ID_LATE, self._measurement, KEY))
        return self._measurement

    def shown(self, server, **changes):
        """Announces, and returns what the server shows of it then."""
        measurement = self.announce(**changes)
        return wait_until(lambda: f"measurement {measurement} at {server}: {server.report()}",
                          lambda: self._entry(server, measurement))

    def _entry(self, server, measurement):
        entry, = [entry for entry in server.report()["servers"] if entry["contact"] == self.contact]
        return entry if entry["measurement"] == measurement else None
