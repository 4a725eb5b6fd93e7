"""What servers say to one another, in Python: the announcement, the challenge and the probe.

Written after docs/wire_format.md with the standard library alone, so that what the tests send and
read owes nothing to the code under test. The benchmarks use it too.

    key = Key("0123...")
    datagram(cbor(report("web1", "10.0.5.10:80", ["www.example.com"])), boot_id, measurement, key)
    read_datagram(received, key).fields["serving"]
"""

import hashlib
import hmac
import re
import secrets
import socket
import struct
from collections import namedtuple

# magic, format version, key id, reserved, boot id, measurement
HEADER = struct.Struct(">4sBBHQQ")
MAGIC = b"BHND"
FORMAT_VERSION = 1
NOT_SIGNED = 0
TAG_BYTES = 16
DATAGRAM_BYTES_MAX = 1200

ANNOUNCEMENT = "announcement"
CHALLENGE = "challenge"
REQUEST = "request"
PROBE = "probe"
CHALLENGE_PATH = "/.well-known/backhand"
CHALLENGE_FIELD = "Backhand-Challenge"


# ---- keys ----


def new_secret():
    """The line of a new key file."""
    return secrets.token_hex(32)


def other_secret(secret, same_id):
    """Another key, which is called by the same number or by another."""
    while True:
        other = new_secret()
        if (Key(other).id == Key(secret).id) == same_id:
            return other


class Key:
    """What a key file's line stands for: a number to call it by, and a key for each purpose."""

    def __init__(self, secret):
        self._secret = secret.encode()
        self.id = max(self._derive("key id")[0], 1)
        self._by_purpose = {purpose: self._derive(purpose) for purpose in (ANNOUNCEMENT, CHALLENGE, REQUEST, PROBE)}

    def tag(self, purpose, message):
        return hmac.digest(self._by_purpose[purpose], message, hashlib.sha256)[:TAG_BYTES]

    def has_signed(self, purpose, message, tag):
        return hmac.compare_digest(self.tag(purpose, message), tag)

    def _derive(self, label):
        return hmac.digest(self._secret, f"backhand {label} 1".encode(), hashlib.sha256)


# ---- the announcement ----

Announcement = namedtuple("Announcement", "key_id boot_id measurement fields")


def report(name, contact, services, **changes):
    """A report with every field of a usual, idle server."""
    fields = {
        "name": name, "contact": contact, "services": services, "arriba": 512_000, "load_permille": 1_250,
        "load_hwm": 4, "cpus_permille": 8_000, "cpu_idle_permille": 640, "memory_total_bytes": 16_777_216_000,
        "memory_available_bytes": 12_884_901_888, "pressure_cpu_permille": 12, "pressure_memory_permille": 0,
        "pressure_io_permille": 3, "workers_max": 150, "workers_busy": 7, "workers_idle": 68, "serving": 5,
        "forwarding": 1, "forwarded_total": 4_711, "request_rate_millihertz": 12_000, "error_rate_millihertz": 10,
        "latency_us": 2_500, "latency_p99_us": 40_000, "latency_at_load_us": 2_000, "latency_proxied_us": 2_700,
        "interval_ms": 100, "keepalive_timeout_ms": 5_000, "probe_port": 0}
    return {**fields, **changes}


def datagram(body, boot_id, measurement, key=None):
    """One datagram of a report's CBOR. Cheap: a generator calls it for every datagram it sends."""
    key_id = key.id if key else NOT_SIGNED
    message = HEADER.pack(MAGIC, FORMAT_VERSION, key_id, 0, boot_id, measurement) + body
    return message + key.tag(ANNOUNCEMENT, message) if key else message


def read_datagram(received, key=None):
    """An Announcement; ValueError for whatever is not one, or not signed with the key."""
    if len(received) > DATAGRAM_BYTES_MAX:
        raise ValueError(f"{len(received)} bytes")
    if len(received) <= HEADER.size or received[:5] != MAGIC + bytes([FORMAT_VERSION]):
        raise ValueError("no announcement of format 1")
    _, _, key_id, _, boot_id, measurement = HEADER.unpack_from(received)
    message, tag = received, b""
    if key_id != NOT_SIGNED:
        message, tag = received[:-TAG_BYTES], received[-TAG_BYTES:]
    if key and not (key_id == key.id and key.has_signed(ANNOUNCEMENT, message, tag)):
        raise ValueError("not signed with this key")
    fields, end = read_cbor(message, HEADER.size)
    if not isinstance(fields, dict) or end != len(message):
        raise ValueError("not one map")
    return Announcement(key_id, boot_id, measurement, fields)


# ---- the probe ----

# magic, format version, key id, kind, reserved, nonce, serving, idle workers
PROBE_HEADER = struct.Struct(">4sBBBBQII")
PROBE_MAGIC = b"BHPR"
QUESTION, ANSWER = 1, 2
PROBE_BYTES_MAX = PROBE_HEADER.size + TAG_BYTES

ProbeAnswer = namedtuple("ProbeAnswer", "serving workers_idle")


def _probe_message(datagram, contact):
    """What is signed; `contact` is an IPv4 one."""
    address, _, port = contact.rpartition(":")
    return datagram + bytes(10) + b"\xff\xff" + socket.inet_aton(address) + int(port).to_bytes(2, "big")


def probe_question(nonce, contact, key=None):
    datagram = PROBE_HEADER.pack(PROBE_MAGIC, FORMAT_VERSION, key.id if key else NOT_SIGNED, QUESTION, 0, nonce, 0, 0)
    return datagram + key.tag(PROBE, _probe_message(datagram, contact)) if key else datagram


def read_probe_answer(received, nonce, contact, key=None):
    """A ProbeAnswer; ValueError for whatever does not answer this question."""
    if len(received) != PROBE_HEADER.size + (TAG_BYTES if key else 0):
        raise ValueError(f"{len(received)} bytes")
    datagram, tag = received[:PROBE_HEADER.size], received[PROBE_HEADER.size:]
    *head, serving, workers_idle = PROBE_HEADER.unpack(datagram)
    if head != [PROBE_MAGIC, FORMAT_VERSION, key.id if key else NOT_SIGNED, ANSWER, 0, nonce]:
        raise ValueError(f"another answer: {head}")
    if key and not key.has_signed(PROBE, _probe_message(datagram, contact), tag):
        raise ValueError("not signed with this key")
    return ProbeAnswer(serving, workers_idle)


# ---- CBOR (RFC 8949), what JSON can say as well ----


class Raw(bytes):
    """A value that is CBOR already."""


def cbor(value):
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return _cbor_head(0, value) if value >= 0 else _cbor_head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, str):
        text = value.encode()
        return _cbor_head(3, len(text)) + text
    if isinstance(value, list):
        return _cbor_head(4, len(value)) + b"".join(map(cbor, value))
    if isinstance(value, dict):
        return _cbor_head(5, len(value)) + b"".join(cbor(name) + cbor(item) for name, item in value.items())
    raise TypeError(f"no CBOR for {value!r}")


def _cbor_head(major, number):
    if number < 24:
        return bytes([major << 5 | number])
    for short, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes([major << 5 | short]) + number.to_bytes(size, "big")
    raise ValueError(f"{number} does not fit into 64 bits")


def read_cbor(data, at=0):
    """The value at `at`, and where the next one begins; ValueError where there is none."""
    try:
        return _read_cbor(data, at)
    except (IndexError, KeyError, struct.error, UnicodeDecodeError, RecursionError, TypeError) as failure:
        raise ValueError(f"no CBOR: {failure!r}") from failure


def _read_cbor(data, at):
    major, short = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        return _read_simple(data, at, short)
    number = short
    if short >= 24:
        size = {24: 1, 25: 2, 26: 4, 27: 8}[short]
        number, at = int.from_bytes(_bytes(data, at, size), "big"), at + size
    if major == 0:
        return number, at
    if major == 1:
        return -1 - number, at
    if major in (2, 3):
        value = _bytes(data, at, number)
        return value.decode() if major == 3 else value, at + number
    items = []
    for _ in range(number * {4: 1, 5: 2}[major]):
        item, at = _read_cbor(data, at)
        items.append(item)
    return (items if major == 4 else dict(zip(items[::2], items[1::2]))), at


def _read_simple(data, at, short):
    if short in (25, 26, 27):
        size, form = {25: (2, ">e"), 26: (4, ">f"), 27: (8, ">d")}[short]
        return struct.unpack(form, _bytes(data, at, size))[0], at + size
    return {20: False, 21: True, 22: None}[short], at


def _bytes(data, at, size):
    if at + size > len(data):
        raise IndexError(f"{size} bytes at {at} of {len(data)}")
    return data[at:at + size]


# ---- the challenge ----

Answer = namedtuple("Answer", "boot_id measurement serving workers_idle")


def new_nonce():
    return secrets.token_hex(16)


def question(key, contact, nonce):
    """The value of the field Backhand-Challenge that asks the server at `contact`."""
    return f"{key.id} {nonce} {key.tag(CHALLENGE, _question_message(nonce, contact)).hex()}"


def read_question(value, key, contact):
    """The nonce to answer; ValueError for whatever is not a question to this contact."""
    match = re.fullmatch(r"(\d+) ([0-9a-f]{32}) ([0-9a-f]{32})", value)
    if not match or int(match[1]) != key.id:
        raise ValueError(f"no question: {value!r}")
    if not key.has_signed(CHALLENGE, _question_message(match[2], contact), bytes.fromhex(match[3])):
        raise ValueError("a question that is not signed with this key, or to another contact")
    return match[2]


def answer(key, nonce, contact, name, said):
    """The body that answers a question, of an Answer."""
    line = " ".join(map(str, ("backhand 1", key.id, *said)))
    return f"{line} {key.tag(CHALLENGE, _answer_message(nonce, contact, name, line)).hex()}\n"


def read_answer(body, key, nonce, contact, name):
    """An Answer; ValueError for whatever does not answer this question to this server."""
    match = re.fullmatch(r"(backhand 1 (\d+) (\d+) (\d+) (\d+) (\d+)) ([0-9a-f]{32})\n", body)
    if not match or int(match[2]) != key.id:
        raise ValueError(f"no answer: {body!r}")
    if not key.has_signed(CHALLENGE, _answer_message(nonce, contact, name, match[1]), bytes.fromhex(match[7])):
        raise ValueError("an answer that is not signed with this key, or to another question")
    return Answer(*map(int, match.groups()[2:6]))


def _question_message(nonce, contact):
    return f"ask\n{nonce}\n{contact}\n".encode()


def _answer_message(nonce, contact, name, line):
    return f"answer\n{nonce}\n{contact}\n{name}\n{line}\n".encode()


# ---- a cluster's group, on loopback ----


class Sender:
    """Sends to a cluster's group from an address of its own."""

    def __init__(self, cluster, source):
        self._target = (cluster.group, cluster.announce_port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((source, 0))
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, *datagrams):
        for each in datagrams:
            self._socket.sendto(each, self._target)


class Listener:
    """Overhears a cluster's group."""

    def __init__(self, cluster):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("", cluster.announce_port))
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                                socket.inet_aton(cluster.group) + socket.inet_aton("127.0.0.1"))
        self._socket.settimeout(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def next_from(self, server):
        """The next announcement of one server."""
        while True:
            received, (source, _) = self._socket.recvfrom(65536)
            if source == server.address:
                return received


def overheard(cluster, server):
    """An announcement of one server, as it came."""
    return overheard_many(cluster, server, 1)[0]


def overheard_many(cluster, server, count):
    with Listener(cluster) as listener:
        return [listener.next_from(server) for _ in range(count)]


# ---- the signature of a request ----


def site(name):
    """What stands for a site in Backhand-Exchange: 64-bit FNV-1a, letters in lower case."""
    number = 0xCBF29CE484222325
    for byte in name.lower().encode():
        number = (number ^ byte) * 0x100000001B3 % 2**64
    return number


def signature(key, head, destination, origin, number, heard):
    """Value of Backhand-Signature. `head` is (method, target, host, proxied, exchange), `origin` the sender's
    boot id, and `heard` the boot id and measurement that the destination announced."""
    signed = f"key={key.id};from={origin};number={number};boot={heard[0]};measurement={heard[1]}"
    message = "".join(f"{part}\n" for part in ("request", *head, destination, signed))
    return f"{signed};tag={key.tag(REQUEST, message.encode()).hex()}"
