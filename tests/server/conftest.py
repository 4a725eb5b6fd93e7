"""Whole-server tests: real httpd processes on loopback, compared, counted and killed.

Run from the project's top with Debian's own Python:

    /usr/bin/python3 -m pytest tests/server

BACKHAND_BUILD names another build folder than build/release.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

import httpd

# Its comparisons are shown as those of tests are.
pytest.register_assert_rewrite("shapes")


@pytest.fixture(scope="session")
def plugin_folder():
    """A folder for plug-ins that belongs to root all the way up, which /tmp does not."""
    if os.geteuid() != 0:
        pytest.skip("plug-ins must belong to root, which only root can arrange")
    folder = Path(tempfile.mkdtemp(prefix="backhand-test-", dir="/var/lib"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def by_hostname(plugin_folder):
    """The sample plug-in, installed where the module may load it from."""
    installed = plugin_folder / "byHostname.so"
    shutil.copyfile(httpd.BUILD / "byHostname.so", installed)
    installed.chmod(0o644)
    return installed


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows what the servers know and wrote beside a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for cluster in httpd.running:
            for server in cluster.everyone:
                tail = "\n".join(server.diary().splitlines()[-40:])
                report.sections.append((f"report of {server}", _knowledge_of(server)))
                report.sections.append((f"error log of {server}", tail))


def _knowledge_of(server):
    try:
        told = server.report()
    except Exception as trouble:  # it may be the one that failed, or be without the module
        return repr(trouble)
    counts = {name: count for name, count in told["counters"].items() if count}
    return "\n".join(map(str, [counts, *told["servers"]]))
