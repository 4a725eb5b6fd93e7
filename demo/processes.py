"""Starts processes that do not outlive the demonstration, and ends exactly those."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None)


def start(command, before_exec=lambda: None, output=subprocess.DEVNULL):
    """Runs `command` in a session of its own, so that Ctrl-C reaches only the demonstration.

    `before_exec` is called in the new process.  Should the demonstration be killed without a chance
    to clean up, the kernel asks the process to stop.
    """

    def prepare():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        before_exec()

    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                            start_new_session=True, preexec_fn=prepare)


def end(processes, limit_s):
    """Asks all to stop; after `limit_s` kills what is left of them and of their children."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + limit_s
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0, deadline - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
