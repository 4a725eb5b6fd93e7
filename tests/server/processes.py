"""What /proc tells about the processes and connections of the servers under test.

The kernel is asked, not the servers: a test that counts connections or looks for a process
must not depend on what the module itself says about them.
"""

import ctypes
import os
import signal
import time
from pathlib import Path

TCP_ESTABLISHED = "01"


class Timeout(AssertionError):
    """What a test waited for did not come about."""


def wait_until(what, condition, limit_s=30.0, pause_s=0.02):
    """Returns the first true value of condition(); the limit is generous and only for failures."""
    deadline = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Timeout(f"not within {limit_s:g} s: {what() if callable(what) else what}")
        time.sleep(pause_s)


def stat_fields(pid):
    """The fields of /proc/pid/stat behind the name, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()


def descriptors_of(pid):
    """How many descriptors a process holds."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory_of(pids):
    """The bytes that processes occupy, what they share divided among those that share it."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        total += next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def is_running(pid):
    fields = stat_fields(pid)
    return fields is not None and fields[0] != "Z"


def name_of(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def threads_of(pid):
    fields = stat_fields(pid)
    return int(fields[17]) if fields else 0


def children_of(parent):
    """The running children of a process, zombies left out."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = stat_fields(entry)
            if fields and fields[0] != "Z" and int(fields[1]) == parent:
                found.append(int(entry))
    return sorted(found)


def family_of(leader):
    """The leader of a session, its session's processes, and all that descend from one of them."""
    family = [leader] if is_running(leader) else []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != leader and is_running(entry):
            fields = stat_fields(entry)
            if fields and int(fields[3]) == leader:
                family.append(int(entry))
    for member in family:
        family.extend(child for child in children_of(member) if child not in family)
    return family


def die_with_the_tests():
    """What is started ends when the tests are killed: PR_SET_PDEATHSIG, inherited over exec."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def kill_at_once(leader):
    """SIGKILL for a whole family, stopped first so that nobody sees another die, or bears children.

    Returns when all are gone, and with them their sockets.
    """
    stopped = set()
    while newcomers := [pid for pid in family_of(leader) if pid not in stopped]:
        signal_each(newcomers, signal.SIGSTOP)
        stopped.update(newcomers)
    signal_each(stopped, signal.SIGKILL)
    wait_until("the killed are gone", lambda: not any(is_running(pid) for pid in stopped))


def signal_each(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def _hex_endpoint(address, port):
    octets = [int(part) for part in address.split(".")]
    return "".join(f"{octet:02X}" for octet in reversed(octets)) + f":{port:04X}"


def _tcp_table():
    """(local, remote, state, inode) of every IPv4 TCP socket, as the kernel writes them."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        next(table)
        for line in table:
            fields = line.split()
            yield fields[1], fields[2], fields[3], fields[9]


def connections_from(source_address, address, port):
    """The source ports of all connections between two servers, those closed lately included."""
    prefix = _hex_endpoint(source_address, 0)[:9]
    target = _hex_endpoint(address, port)
    ports = set()
    for local, remote, _, _ in _tcp_table():
        if local.startswith(prefix) and remote == target:
            ports.add(local[9:])
        if remote.startswith(prefix) and local == target:
            ports.add(remote[9:])
    return ports


def open_connections(source_address, address, port):
    """How many connections between two servers are open at both ends."""
    prefix, target = _hex_endpoint(source_address, 0)[:9], _hex_endpoint(address, port)
    return sum(local.startswith(prefix) and (remote, state) == (target, TCP_ESTABLISHED)
               for local, remote, state, _ in _tcp_table())


def holder_of(server_end, client_end, candidates):
    """The process among candidates that holds the server's side of an open connection."""
    local, remote = _hex_endpoint(*server_end), _hex_endpoint(*client_end)
    for row_local, row_remote, state, inode in _tcp_table():
        if (row_local, row_remote, state) == (local, remote, TCP_ESTABLISHED):
            wanted = f"socket:[{inode}]"
            for pid in candidates:
                if wanted in _open_descriptors(pid):
                    return pid
    return None


def _open_descriptors(pid):
    targets = []
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            try:
                targets.append(os.readlink(entry.path))
            except OSError:
                pass
    except OSError:
        pass
    return targets
