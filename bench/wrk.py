"""Runs wrk, a load generator, and reads what it measured."""

import json
import os
import subprocess
import tempfile
from collections import namedtuple
from pathlib import Path

from lifetime import die_with_the_parent
from server import SITE

# Requests that were answered within the time measured, what was wrong with some, the slowest hundredth's best.
Load = namedtuple("Load", "requests errors seconds p99_ms")

# With DELAY_MS each connection pauses before each request: at random, up to twice as long, so that they stay apart.
SCRIPT = """\
local delay_ms = tonumber(os.getenv("DELAY_MS"))
if delay_ms then
    function delay() return math.random(0, math.floor(2 * delay_ms + 0.5)) end
end
function done(summary, latency)
    local errors = summary.errors
    io.write(string.format('\\nFOUND {"requests": %d, "errors": %d, "seconds": %f, "p99_ms": %f}\\n', summary.requests,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout, summary.duration / 1e6,
        latency:percentile(99) / 1e3))
end
"""


def put_load(server, path, connections, seconds, delay_ms=None):
    """Each connection asks again as soon as it is answered, or after a pause of `delay_ms` on average."""
    environment = {**os.environ, "DELAY_MS": "" if delay_ms is None else str(delay_ms)}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.lua"
        script.write_text(SCRIPT, encoding="ascii")
        done = subprocess.run(
            ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "-H", f"Host: {SITE}", "-s", str(script),
             f"http://{server.address}:{server.port}{path}"],
            env=environment, preexec_fn=die_with_the_parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("FOUND "):
            return Load(**json.loads(line[len("FOUND "):]))
    raise AssertionError(f"wrk, exit status {done.returncode}:\n{done.stdout}")
