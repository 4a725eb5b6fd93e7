"""A program that was started and should come to listen."""

import shutil
import socket
import tempfile
from pathlib import Path

from processes import Timeout, kill_at_once


class Launched:
    """Of the program in `_process`, called `_program`, at `address` and `port`; diary() is what it wrote.

    _launch() starts it, with what it needs in `folder`, and it ends with a `with` block.
    """

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="backhand-bench-", dir="/tmp"))
        try:
            self._launch()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self._process is not None:
            kill_at_once(self.pid)
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self):
        return self._process.pid

    def accepts(self):
        """A connection, or None while it does not listen; an error when it has ended instead."""
        if self._process.poll() is not None:
            raise Timeout(f"{self._program} did not start, exit status {self._process.returncode}\n{self.diary()}")
        try:
            return socket.create_connection((self.address, self.port), timeout=60)
        except OSError:
            return None
