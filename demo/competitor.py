"""The other job on one of the demonstration's servers: it wants that server's capacity, too.

    competitor.py cpu               computes without end
    competitor.py token FILE MS     takes the server's token for MS milliseconds, half of the time

The calendar FILE is explained in mod_demo_page.cc.
"""

import fcntl
import struct
import sys
import time


def compute():
    while True:
        pass


def book(calendar, duration_ns):
    """Books the token right after everyone who booked before."""
    fcntl.flock(calendar, fcntl.LOCK_EX)
    try:
        calendar.seek(0)
        free_at_ns = struct.unpack("q", calendar.read(8).ljust(8, b"\0"))[0]
        end_ns = max(free_at_ns, time.monotonic_ns()) + duration_ns
        calendar.seek(0)
        calendar.write(struct.pack("q", end_ns))
    finally:
        fcntl.flock(calendar, fcntl.LOCK_UN)


def take_half(path, duration_ns):
    """Comes every 2 x duration, however long the queue is: a competitor does not step back."""
    with open(path, "r+b", buffering=0) as calendar:
        turn_ns = time.monotonic_ns()
        while True:
            book(calendar, duration_ns)
            turn_ns += 2 * duration_ns
            time.sleep(max(0, turn_ns - time.monotonic_ns()) / 1e9)


if sys.argv[1] == "cpu":
    compute()
else:
    take_half(sys.argv[2], int(sys.argv[3]) * 1_000_000)
