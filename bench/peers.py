"""Plays a cluster of idle peers: announces for each of them at a steady rate until it is ended.

A process of its own, so that its pace does not depend on what the measuring process does:

    python3 peers.py COUNT ANNOUNCEMENTS_PER_S_EACH GROUP:PORT

One socket speaks for all, from 127.0.2.1; the contacts lie in 127.0.4.0/22, where nobody listens.
Datagrams leave one by one and equally spaced: the most expensive way to hear them.
"""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from lifetime import die_with_the_parent

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "server"))

import wire  # noqa: E402

SOURCE = "127.0.2.1"
SITE = "www.backhand.test"
# Behind by more than this, it goes on from now instead of sending a burst.
BEHIND_MAX_S = 0.05


def contact(number):
    return f"127.0.{4 + number // 250}.{1 + number % 250}:8080"


def announce(count, rate_each, group, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((SOURCE, 0))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(SOURCE))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        sender.connect((group, port))
        interval_ms = max(1, round(1000 / rate_each))
        bodies = [wire.cbor(wire.report(f"peer{number:04}", contact(number), [SITE], interval_ms=interval_ms))
                  for number in range(count)]
        boot_id = time.time_ns() // 1_000_000
        pause_s = 1 / (count * rate_each)
        measurement = 0
        due = time.monotonic()
        while True:
            measurement += 1
            for body in bodies:
                sender.send(wire.datagram(body, boot_id, measurement))
                due += pause_s
                left_s = due - time.monotonic()
                if left_s > 0:
                    time.sleep(left_s)
                elif left_s < -BEHIND_MAX_S:
                    due = time.monotonic()


class Peers:
    """The peers as a process, from entry to exit.  No peers, no process."""

    def __init__(self, count, rate_each, group, port):
        self._arguments = [str(count), str(rate_each), f"{group}:{port}"]
        self._count = count
        self._process = None

    def __enter__(self):
        if self._count > 0:
            self._process = subprocess.Popen(
                [sys.executable, "-B", os.path.abspath(__file__), *self._arguments], stdin=subprocess.DEVNULL,
                preexec_fn=die_with_the_parent)
        return self

    def __exit__(self, *_):
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


if __name__ == "__main__":
    host, _, port_text = sys.argv[3].partition(":")
    announce(int(sys.argv[1]), float(sys.argv[2]), host, int(port_text))
