"""`backhand plugin check`: what an author is told of a plug-in, without httpd."""

import subprocess

import pytest

import plugins
from httpd import COMMAND_LINE


def check(folder, source, *arguments, **macros):
    """Builds the plug-in and has it checked; arguments are the function and what it is given."""
    plugin = plugins.install(folder / "tried.so", source, NUMBER=3, **macros)
    return subprocess.run([COMMAND_LINE, "plugin", "check", plugin, *arguments], capture_output=True, text=True,
                          timeout=120, check=False)


@pytest.mark.parametrize("source, interface", [(plugins.CHOSEN, "plugin.h"), (plugins.CHOSEN_OF_2001, "original")],
                         ids=["plugin.h", "original"])
def test_a_good_plugin_is_timed(tmp_path, source, interface):
    done = check(tmp_path, source, "chosen")

    assert done.returncode == 0, done.stdout
    assert f"interface {interface}, nothing is wrong; a decision takes " in done.stdout
    assert "of 16 servers" in done.stdout and "of 1000" in done.stdout


def test_the_first_plugin_of_a_file_needs_no_name(tmp_path):
    assert check(tmp_path, plugins.CHOSEN).returncode == 0


def test_the_argument_is_handed_on(tmp_path):
    done = check(tmp_path, plugins.TELLING, "telling", "nowhere")

    assert done.returncode == 1
    assert 'telling refuses the argument "nowhere": expected the path of a file' in done.stdout
    assert check(tmp_path, plugins.TELLING, "telling", str(tmp_path / "told")).returncode == 0


@pytest.mark.parametrize("source, why", [
    (plugins.OF_ANOTHER_VERSION, "version 2 of the plug-in interface: expected version 1"),
    (plugins.OF_ANOTHER_NAME, 'has no plug-in "chosen": expected "another"'),
    (plugins.WITHOUT_ANYTHING, 'has no function "chosen"'),
    (plugins.CRASHING, "crashes"),
    (plugins.CRASHING_OF_2001, "crashes"),
    (plugins.CRASHING_WHEN_LOADED, "crashes"),
    (plugins.ENDING, "ends the process that loads it"),
], ids=["another version", "another name", "nothing", "crashes", "crashes, original", "crashes when loaded", "exits"])
def test_a_broken_plugin_is_named_with_what_is_wrong(tmp_path, source, why):
    done = check(tmp_path, source, "chosen")

    assert done.returncode == 1
    assert why in done.stdout
    assert "tried.so" in done.stdout


def test_a_crash_is_told_with_the_step_it_came_in(tmp_path):
    done = check(tmp_path, plugins.CRASHING, "chosen")

    assert done.stderr.rstrip().endswith("deciding: 1000 servers")


@pytest.mark.parametrize("source", [plugins.NONSENSE, plugins.NONSENSE_OF_2001], ids=["plugin.h", "original"])
def test_nonsense_is_listed_by_the_cluster_it_was_answered_for(tmp_path, source):
    done = check(tmp_path, source, "chosen")

    assert done.returncode == 1
    assert "its answers have to be corrected" in done.stdout
    for cluster in ("16 equal servers", "1000 servers", "16 servers, four threads"):
        assert f"{cluster}: answered with 2 candidates, of " in done.stdout
    assert "1 impossible" in done.stdout or "2 impossible" in done.stdout


@pytest.mark.parametrize("content, why", [(b"not an object", "cannot be loaded"), (b"", "cannot be loaded")])
def test_what_is_no_shared_object_is_refused(tmp_path, content, why):
    file = tmp_path / "tried.so"
    file.write_bytes(content)
    done = subprocess.run([COMMAND_LINE, "plugin", "check", file, "chosen"], capture_output=True, text=True, timeout=60,
                          check=False)

    assert done.returncode == 1
    assert why in done.stdout


def test_a_file_that_is_not_there_is_refused(tmp_path):
    done = subprocess.run([COMMAND_LINE, "plugin", "check", tmp_path / "nothing.so"], capture_output=True, text=True,
                          timeout=60, check=False)

    assert done.returncode != 0
    assert "nothing.so" in done.stdout + done.stderr
