"""Clients that ask and ask, each request on a connection of its own, and keep every failure."""

import itertools
import threading
import time

import client
from background import Background
from processes import wait_until

# What a request may cost the test at most; far beyond what any request needs.
LIMIT_S = 60.0


class Hammer(Background):
    """Sends requests to the servers in turn from several threads until the block ends.

        with Hammer([first], {"/small.html": body}) as clients:
            clients.wait_for(100)
            ... something happens to the cluster ...
            clients.wait_for(100)
        assert clients.failures == []

    `expected` maps targets to bodies; None stands for any body.
    """

    def __init__(self, servers, expected, threads=6, pause_s=0.01):
        super().__init__(threads)
        self.failures = []
        self._turns = itertools.cycle([(server, target) for server in servers for target in expected])
        self._expected = expected
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._answered = 0

    @property
    def answered(self):
        """The number of requests that ended, well or not."""
        with self._lock:
            return self._answered

    def wait_for(self, more):
        """Waits until so many further requests have ended."""
        goal = self.answered + more
        wait_until(lambda: f"{more} more requests end; failures: {self.failures[:5]}",
                   lambda: self.answered >= goal, limit_s=2 * LIMIT_S)

    def _run(self):
        while not self._stopping.is_set():
            with self._lock:
                server, target = next(self._turns)
            failure = self._ask(server, target)
            with self._lock:
                self._answered += 1
                if failure:
                    self.failures.append(f"{time.strftime('%H:%M:%S')} {server} {target}: {failure}")
            time.sleep(self._pause_s)

    def _ask(self, server, target):
        try:
            response = client.fetch(server, target, limit_s=LIMIT_S)
        except (OSError, client.BrokenResponse) as failure:
            return repr(failure)
        if response.status != 200:
            return response.status_line
        wanted = self._expected[target]
        if wanted is not None and response.body != wanted:
            return f"another body, {len(response.body)} bytes"
        return None


def ask_all(jobs, threads):
    """Runs each job (server, target) once, from several threads; returns status lines and failures."""
    results = []
    lock = threading.Lock()
    remaining = iter(jobs)

    def run():
        while True:
            with lock:
                job = next(remaining, None)
            if job is None:
                return
            try:
                result = client.fetch(*job, limit_s=2 * LIMIT_S).status_line
            except (OSError, client.BrokenResponse) as failure:
                result = repr(failure)
            with lock:
                results.append(result)

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return results
