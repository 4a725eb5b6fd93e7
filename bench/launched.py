"""A program that was started and should come to listen."""

import socket

from processes import Timeout


class Launched:
    """Of the program in `_process`, called `_program`, at `address` and `port`; diary() is what it wrote."""

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
