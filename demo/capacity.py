"""Gives each server of the demonstration a limited capacity, and one of them a competitor.

A machine that could serve everything at once has nothing to balance.  Where the CPU controller of
cgroups can be had, each server gets a share of one CPU: the kernel counts, nothing is simulated,
and the competitor is a busy process in the same group.  Elsewhere (containers, ordinary users)
each server has one token, a page takes it for 10 ms, and the competitor takes it every 20 ms.

Both classes offer the same:
    capacity_pages_per_s(number)    what server `number` can do beside its competitor
    configuration(number)           lines for the server's httpd configuration
    enter(number)                   confine the calling process; for use between fork and exec
    start(), stop()                 make and remove what the capacity needs
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import processes

PAGE_COST_MS = 10
COMPETITOR = Path(__file__).with_name("competitor.py")


class NotAvailable(Exception):
    """This machine does not let us limit CPU time."""


class CpuQuota:
    """A share of one CPU for each server, by cgroup v1 or v2.

    A server's group holds two equal groups, `httpd` and `competitor`: whoever wants more than half
    of the server's quota gets it only while the other wants less.  The kernel keeps that balance
    among processes of one CPU, so each server is bound to one.
    """

    PERIOD_US = 10_000
    # What httpd and the kernel need for a request beside the page's own 10 ms.
    OVERHEAD_MS = 0.6
    # The group's weight against other processes of the machine, each of which weighs as much as
    # one: a compiler in another window shall not look like a slow server.
    WEIGHT = 16

    def __init__(self, servers, with_competitor):
        self.servers = servers
        self.with_competitor = with_competitor
        self.cpus = sorted(os.sched_getaffinity(0))
        # Four servers at 30 % need 1.2 CPUs, the rest is for who sends the requests.
        self.share = min(0.30, 0.15 * len(self.cpus))
        self.version, parent = find_cpu_controller()
        self.group = parent / f"backhand-demo-{os.getpid()}"

    def describe(self):
        return (f"each server may use {self.share:.0%} of a CPU "
                f"(cgroup v{self.version} quota, {self.PERIOD_US // 1000} ms period); "
                f"server {self.with_competitor} shares its quota with a busy process")

    def capacity_pages_per_s(self, number):
        share = self.share / 2 if number == self.with_competitor else self.share
        return share * 1000 / (PAGE_COST_MS + self.OVERHEAD_MS)

    def configuration(self, number):
        return f"DemoMode burn\nDemoCost {PAGE_COST_MS}"

    def start(self):
        """Makes the groups and checks that they work: a container may ignore a quota."""
        try:
            self._make_groups()
            used = self._measure_share(self.servers[0])
        except (OSError, subprocess.SubprocessError) as error:
            raise NotAvailable(error) from error
        if used > 1.5 * self.share:
            raise NotAvailable(f"a quota of {self.share:.0%} let a process use {used:.0%}")

    def enter(self, number):
        self._enter(number, "httpd")

    def start_competitor(self, number):
        return processes.start([sys.executable, COMPETITOR, "cpu"],
                               before_exec=lambda: self._enter(number, "competitor"))

    def stop(self):
        """Removes the groups; whatever of ours still runs in them is killed first."""
        for number in self.servers:
            for name in (f"{number}/httpd", f"{number}/competitor", f"{number}"):
                remove_group(self.group / name)
        remove_group(self.group)

    def _make_groups(self):
        # Stays so afterwards: others may have come to rely on it, and alone it limits nobody.
        self._let_children_use_cpu(self.group.parent)
        self.group.mkdir()
        self._set_weight(self.group)
        self._let_children_use_cpu(self.group)
        for number in self.servers:
            server = self.group / str(number)
            server.mkdir()
            self._limit(server)
            self._let_children_use_cpu(server)
            (server / "httpd").mkdir()
            (server / "competitor").mkdir()

    def _let_children_use_cpu(self, group):
        if self.version == 2:
            (group / "cgroup.subtree_control").write_text("+cpu")

    def _set_weight(self, group):
        if self.version == 2:
            (group / "cpu.weight").write_text(str(100 * self.WEIGHT))
        else:
            (group / "cpu.shares").write_text(str(1024 * self.WEIGHT))

    def _limit(self, group):
        quota_us = int(self.share * self.PERIOD_US)
        if self.version == 2:
            (group / "cpu.max").write_text(f"{quota_us} {self.PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(self.PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))

    def _enter(self, number, part):
        (self.group / str(number) / part / "cgroup.procs").write_text(str(os.getpid()))
        os.sched_setaffinity(0, {self.cpus[number % len(self.cpus)]})

    def _measure_share(self, number):
        """How much of a CPU a process that wants all of it gets in the group of server `number`."""
        watched_s = 0.2
        busy = self.start_competitor(number)
        try:
            time.sleep(0.1)  # the interpreter's start
            before_s = cpu_seconds(busy.pid)
            time.sleep(watched_s)
            return (cpu_seconds(busy.pid) - before_s) / watched_s
        finally:
            processes.end([busy], limit_s=1)


class Tokens:
    """One token for each server; mod_demo_page.cc explains the calendar file that holds it."""

    def __init__(self, servers, with_competitor, folder):
        self.servers = servers
        self.with_competitor = with_competitor
        self.folder = folder

    def describe(self):
        return (f"each server has one token, which a page holds for {PAGE_COST_MS} ms; "
                f"server {self.with_competitor} shares its token with another process")

    def capacity_pages_per_s(self, number):
        pages_per_s = 1000 / PAGE_COST_MS
        return pages_per_s / 2 if number == self.with_competitor else pages_per_s

    def configuration(self, number):
        return f"DemoMode tokens\nDemoCost {PAGE_COST_MS}\nDemoTokens 1 {self._calendar(number)}"

    def start(self):
        for number in self.servers:
            self._calendar(number).touch()
            self._calendar(number).chmod(0o666)

    def enter(self, number):
        """Nothing to do: the token limits the page, not the process."""

    def start_competitor(self, number):
        return processes.start([sys.executable, COMPETITOR, "token", self._calendar(number),
                                str(PAGE_COST_MS)])

    def stop(self):
        """Nothing to do: the calendars lie in the demonstration's folder."""

    def _calendar(self, number):
        return self.folder / f"tokens{number}"


def find_cpu_controller():
    """The version of cgroups that has the CPU controller, and the folder to make groups in."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, options = line.split()[:4]
        if kind == "cgroup" and "cpu" in options.split(","):
            return 1, own_group(Path(mount))
        if kind == "cgroup2" and "cpu" in read_words(Path(mount) / "cgroup.controllers"):
            return 2, Path(mount)  # the root: only there may groups stand beside processes
    raise NotAvailable("no CPU controller is mounted")


def own_group(mount):
    """The version 1 group of this process: a limit set on it from outside stays in force."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(",") and (mount / path.lstrip("/")).is_dir():
            return mount / path.lstrip("/")
    return mount


def cpu_seconds(pid):
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def remove_group(group):
    for _ in range(50):
        if not group.is_dir():
            return
        for pid in read_words(group / "cgroup.procs"):
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.02)  # the dead leave their group when they have been waited for
    print(f"cannot remove {group}", file=sys.stderr)


def read_words(path):
    try:
        return path.read_text().split()
    except OSError:
        return []
