"""Sends requests to the servers in turn, as clients do whom DNS round robin distributes.

The loop is open: requests leave at moments drawn beforehand (Poisson arrivals from a fixed seed,
so every phase gets the same ones), whether or not earlier ones have been answered, and a request's
latency counts from the moment it was meant to leave.  A generator that waited for answers would
send less to a server that is slow, and hide what its users would suffer.
"""

import asyncio
import random
import re
from collections import Counter
from dataclasses import dataclass, field

PAGE = re.compile(rb"<!DOCTYPE html>\n<title>demo</title>\n<p>Served by <b>server (\d)</b>\.</p>\n")


@dataclass(frozen=True)
class Plan:
    """How much is sent, and how long the answers may take."""

    requests_per_s: float
    warm_up_s: float
    measured_s: float
    drain_s: float
    seed: int = 4711

    def arrivals(self):
        """Moments, in seconds from the start, at which a request leaves."""
        source = random.Random(self.seed)
        moment = source.expovariate(self.requests_per_s)
        while moment < self.warm_up_s + self.measured_s:
            yield moment
            moment += source.expovariate(self.requests_per_s)


@dataclass
class Result:
    """What one phase showed.  Errors count in the warm-up, too; the rest only after it."""

    latencies_s: list = field(default_factory=list)
    served: Counter = field(default_factory=Counter)
    forwarded_count: int = 0
    last_answer_s: float = 0.0
    errors: Counter = field(default_factory=Counter)

    def errors_count(self):
        return sum(self.errors.values())

    def requests_per_s(self):
        """Answered requests by the time it took until the last was answered."""
        return len(self.latencies_s) / self.last_answer_s if self.latencies_s else 0.0

    def forwarded_share(self):
        return self.forwarded_count / len(self.latencies_s) if self.latencies_s else 0.0

    def latency_s(self, quantile):
        """Nearest rank: a latency that some request had."""
        if not self.latencies_s:
            return float("nan")
        ranked = sorted(self.latencies_s)
        return ranked[min(len(ranked) - 1, int(quantile * len(ranked)))]


class Exchange(asyncio.Protocol):
    """One request and its response on a connection of its own."""

    def __init__(self, request, loop):
        self.request = request
        self.received = bytearray()
        self.done = loop.create_future()
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data):
        self.received += data
        if is_complete(self.received):
            self._finish()

    def connection_lost(self, error):
        self._finish()

    def _finish(self):
        if not self.done.done():
            self.done.set_result(bytes(self.received))
        self.transport.close()


async def run_phase(path, host, servers, port, plan):
    """Sends the plan's requests for `path`; `servers` are (number, address), in turn."""
    loop = asyncio.get_running_loop()
    request = (f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: backhand-demo\r\n"
               f"Connection: close\r\n\r\n").encode()
    result = Result()
    start = loop.time()
    tasks = set()

    async def one_request(moment, number, address):
        try:
            answer = await exchange(loop, request, address, port)
            served_by = read_answer(answer)
        except (OSError, ValueError) as error:
            result.errors[f"server {number}: {error}"] += 1
            return
        if moment >= plan.warm_up_s:
            now = loop.time() - start
            result.latencies_s.append(now - moment)
            result.last_answer_s = max(result.last_answer_s, now - plan.warm_up_s)
            result.served[served_by] += 1
            result.forwarded_count += served_by != number

    for turn, moment in enumerate(plan.arrivals()):
        number, address = servers[turn % len(servers)]
        await asyncio.sleep(start + moment - loop.time())
        task = asyncio.create_task(one_request(moment, number, address))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=plan.drain_s)
        for task in late:
            task.cancel()
            result.errors[f"no answer within {plan.drain_s:g} s of the end"] += 1
    return result


async def exchange(loop, request, address, port):
    transport, protocol = await loop.create_connection(
        lambda: Exchange(request, loop), address, port)
    try:
        return await protocol.done
    finally:
        transport.close()


def is_complete(received):
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return False
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", received[:head_end])
    return length is not None and len(received) >= head_end + 4 + int(length[1])


def read_answer(answer):
    """The number of the server that made the page; ValueError if this is not exactly the page."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line = head.partition(b"\r\n")[0]
    if status_line != b"HTTP/1.1 200 OK":
        raise ValueError(status_line.decode("latin-1") or "the connection ended without a response")
    page = PAGE.fullmatch(body)
    if page is None:
        raise ValueError(f"not the page that was asked for: {body[:60]!r}")
    return int(page[1])
