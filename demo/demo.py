#!/usr/bin/python3
"""Shows what mod_backhand does for four real servers, in one table and less than a minute.

One of the servers has lost half of its capacity to another job, and clients know nothing of that:
they come to all four in turn.  The same requests are sent three times: with balancing off, with
the chain that the original mod_backhand recommends, and with `Backhand auto`.

Run it through ./demo.sh, which installs and builds what this needs.  It stops and removes what it
started, also on Ctrl-C and on failure; with --keep the cluster stays until Ctrl-C.  The exit
status is 0 only if every request was answered correctly.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from capacity import CpuQuota, NotAvailable, Tokens
from cluster import SITE, Cluster, Failure
from load import Plan, run_phase

SERVERS = (1, 2, 3, 4)
WITH_COMPETITOR = 4
PHASES = (("balancing off", "/off/work"),
          ("the seed's chain", "/seed/work"),
          ("Backhand auto", "/auto/work"))
# Of what all four can do.  More than server 4 can take of its quarter, less than the others can.
LOAD = 0.75
RUN_LIMIT_S = 55
# Between two phases, so that neither a queue nor an average of the one meets the other.
PAUSE_S = 2.5
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


def main():
    options = parse_options()
    end_on_signals()
    signal.alarm(RUN_LIMIT_S)
    cleanup = contextlib.ExitStack()
    try:
        return demonstrate(options, cleanup)
    except Failure as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    finally:
        ignore_signals()
        cleanup.close()


def demonstrate(options, cleanup):
    folder = make_folder(cleanup)
    capacity = choose_capacity(options.capacity, folder, cleanup)
    cluster = Cluster(SERVERS, WITH_COMPETITOR, folder)
    cleanup.callback(cluster.stop)
    print(f"Capacity: {capacity.describe()}.", flush=True)
    cluster.start(capacity)
    print(f"Four httpd on {cluster.servers[0].address} to {cluster.servers[-1].address}, port "
          f"{cluster.port}, know each other.  Status page: {cluster.status_url()}", flush=True)
    take_precedence()
    results = measure(cluster, capacity)
    print_table(results)
    print_explanation()
    print_errors(results)
    if options.keep:
        keep_until_ctrl_c(cluster)
    return 0 if all(result.errors_count() == 0 for result in results.values()) else 1


def make_folder(cleanup):
    """Not in $TMPDIR: httpd's children are www-data and must be able to enter."""
    folder = Path(tempfile.mkdtemp(prefix="backhand-demo-", dir="/tmp"))
    cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    return folder


def choose_capacity(wanted, folder, cleanup):
    """CPU time if this machine lets us limit it, unless the user wants tokens."""
    if wanted != "tokens":
        try:
            capacity = CpuQuota(SERVERS, WITH_COMPETITOR)
            cleanup.callback(capacity.stop)
            capacity.start()
            return capacity
        except NotAvailable as reason:
            if wanted == "cpu":
                raise Failure(f"no CPU quota: {reason}") from reason
            print(f"No CPU quota can be had here ({reason}).")
    capacity = Tokens(SERVERS, WITH_COMPETITOR, folder)
    capacity.start()
    return capacity


def take_precedence():
    """A request that leaves late counts as a slow one, so the sender must not wait for a CPU."""
    with contextlib.suppress(PermissionError):
        os.nice(-10)


def measure(cluster, capacity):
    all_pages_per_s = sum(capacity.capacity_pages_per_s(number) for number in SERVERS)
    plan = Plan(requests_per_s=LOAD * all_pages_per_s, warm_up_s=1, measured_s=9, drain_s=9)
    print(f"{plan.requests_per_s:.0f} requests/s, {LOAD:.0%} of what the four can do, go to them "
          f"in turn, {plan.measured_s} s for each line:\n", flush=True)
    servers = [(server.number, server.address) for server in cluster.servers]
    results = {}
    for name, path in PHASES:
        if results:
            time.sleep(PAUSE_S)
        results[name] = asyncio.run(run_phase(path, SITE, servers, cluster.port, plan))
    return results


def print_table(results):
    print(f"{'':18}{'requests':>9}{'p50':>8}{'p99':>8}   {'served by server':^24}"
          f"{'forwarded':>11}{'errors':>8}")
    numbers = "".join(f"{number:6}" for number in SERVERS)
    print(f"{'':18}{'per s':>9}{'ms':>8}{'ms':>8}   {numbers}")
    for name, result in results.items():
        served = "".join(f"{result.served[number]:6}" for number in SERVERS)
        print(f"{name:18}{result.requests_per_s():9.1f}{result.latency_s(0.50) * 1000:8.0f}"
              f"{result.latency_s(0.99) * 1000:8.0f}   {served}"
              f"{result.forwarded_share():11.0%}{result.errors_count():8}")


def print_explanation():
    print(f"\nLook at p99 and at the column of server {WITH_COMPETITOR}, which has half the "
          "capacity of the others: a good chain sends its surplus elsewhere, and only that.\n"
          "All four run on one machine and announce the same load average, so the seed's byLoad "
          "chooses among equals here; on four machines it would see more.")


def print_errors(results):
    for name, result in results.items():
        for what, count in result.errors.most_common(5):
            print(f"error, {name}: {what} ({count} times)", file=sys.stderr)


def keep_until_ctrl_c(cluster):
    signal.alarm(0)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    print(f"\nThe cluster keeps running.  Status page: {cluster.status_url()}\n"
          f"Logs: {cluster.folder}/server*/.  Ctrl-C stops and removes everything.", flush=True)
    signal.sigwait({signal.SIGINT})


def end_on_signals():
    def end(number, _):
        ignore_signals()
        if number == signal.SIGALRM:
            print(f"demo: not done after {RUN_LIMIT_S} s, giving up", file=sys.stderr)
        # Not an exception of our own: asyncio lets only this one and Ctrl-C's pass.
        raise SystemExit(1 if number == signal.SIGALRM else 128 + number)

    for number in ENDING_SIGNALS:
        signal.signal(number, end)


def ignore_signals():
    """From here on: a second Ctrl-C must not interrupt the cleaning up."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def parse_options():
    parser = argparse.ArgumentParser(prog="demo.sh", description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", action="store_true",
                        help="leave the cluster running until Ctrl-C")
    parser.add_argument("--capacity", choices=("cpu", "tokens"),
                        help="what limits a server; default: cpu if a quota can be had")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
