"""What goes on beside a test until its block ends."""

import threading


class Background:
    """Runs _run() in threads of its own from the beginning of a `with` block to its end; _run() ends when
    `_stopping` is set."""

    def __init__(self, threads=1):
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self):
        raise NotImplementedError
