"""Requests that wait inside a script until the test lets them go.

No test has to guess how long a request takes: a gate is reached when the script says so, and the
answer comes after open().
"""

from client import Connection, request
from processes import wait_until


class Gate:
    """One place to wait at. With a name that begins with "half-", half the answer precedes the wait."""

    def __init__(self, cluster, name):
        self._open = cluster.site / "gates" / name
        self._waiting = cluster.site / "gates" / f"{name}.waiting"
        self.target = f"/cgi/gate.cgi?{name}"

    def runs(self):
        """How often a script has begun to wait here."""
        return len(self._waiting.read_text().splitlines()) if self._waiting.exists() else 0

    def wait_until_reached(self, runs=1):
        wait_until(f"{runs} requests wait at {self.target}", lambda: self.runs() >= runs)

    def open(self):
        self._open.touch()


class Waiting:
    """Requests on connections of their own, each at a gate of its own, until release().

    `path` is the path under which the site's scripts are asked, `fields` are header fields of the requests.
    """

    def __init__(self, server, name, count, path="/cgi", fields=()):
        self.connections = []
        self._gates = [Gate(server.cluster, f"{name}-{number}") for number in range(count)]
        for gate in self._gates:
            connection = Connection(server.address, server.port)
            connection.send(request(gate.target.replace("/cgi", path, 1), "Connection: close", *fields))
            self.connections.append(connection)
        for gate in self._gates:
            gate.wait_until_reached()

    def open(self):
        for gate in self._gates:
            gate.open()

    def release(self):
        """Opens all gates and returns the statuses of the answers."""
        self.open()
        statuses = [connection.response().status for connection in self.connections]
        self.close()
        return statuses

    def close(self):
        for connection in self.connections:
            connection.close()
