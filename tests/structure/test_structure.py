"""What the tree promises a reader, checked: who may include whom, that httpd's types stay where
they belong, that every file says what it is for, that the directives and their reference agree."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"

# folder -> folders it may include from (besides itself).  Nothing points back.
ARROWS = {
    "base": set(),
    "cluster": {"base"},
    "measure": {"base", "cluster"},
    "announce": {"base", "cluster"},
    "decide": {"base", "cluster", "backhand"},
    "forward": {"base", "cluster", "announce", "decide"},
    "report": {"base", "cluster", "decide"},
    "moderator": {"base", "cluster", "measure", "announce", "decide", "forward", "report"},
    "httpd": {"base", "cluster", "measure", "announce", "decide", "forward", "report", "moderator",
              "backhand"},
    "sim": {"base", "cluster", "measure", "decide"},
    "cli": {"base", "cluster", "measure", "announce", "decide", "forward", "report", "moderator", "sim"},
}

SOURCES = sorted(path for pattern in ("*.h", "*.cc") for path in SOURCE.rglob(pattern))
INCLUDE = re.compile(r'^#include ["<]([^">]+)[">]', re.MULTILINE)
HTTPD_HEADER = re.compile(r"^(httpd|http_\w+|apr_\w+|apr|ap_\w+|util_\w+|scoreboard|unixd|mpm_\w+|mod_auth)\.h$")


def relative(path):
    return str(path.relative_to(ROOT))


def test_every_source_folder_has_its_arrows():
    assert {path.name for path in SOURCE.iterdir() if path.is_dir()} == set(ARROWS)


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_includes_follow_the_arrows(path):
    folder = path.relative_to(SOURCE).parts[0]
    allowed = ARROWS[folder] | {folder}
    for header in INCLUDE.findall(path.read_text()):
        top = header.split("/")[0]
        if "/" in header and top in set(ARROWS) | {"backhand"}:
            assert top in allowed, f"{relative(path)} includes {header}"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_httpd_types_stay_in_their_folder(path):
    if path.relative_to(SOURCE).parts[0] != "httpd":
        headers = INCLUDE.findall(path.read_text())
        assert not [header for header in headers if HTTPD_HEADER.match(header)]


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_every_header_opens_by_saying_what_it_is_for(path):
    has_header = path.suffix == ".cc" and path.with_suffix(".h").exists()
    if not has_header:
        assert path.read_text().startswith("// "), relative(path)


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_nothing_is_deleted_by_hand(path):
    code = re.sub(r"//.*", "", path.read_text())
    assert not re.search(r"\bdelete\b(?!\s*;)(?<!= delete)", re.sub(r"= delete", "", code)), relative(path)


# Who may ask for the time of day, which can be set at any moment: to show it, to hand it to a plug-in of the
# original's interface, or to begin a boot id with it, which then rises whatever the clock does.
WALL_CLOCK = re.compile(r"system_clock::now|std::time\(|CLOCK_REALTIME|gettimeofday|apr_time_now|time\(nullptr\)")
MAY_ASK_FOR_THE_TIME_OF_DAY = {"src/cli/watch.cc", "src/cli/announce.cc", "src/decide/plugin_seed.cc",
                               "src/httpd/report_handler.cc", "src/moderator/boot_id.cc"}


def test_nothing_else_notices_when_the_clock_is_set():
    asking = {relative(path) for path in SOURCES if WALL_CLOCK.search(path.read_text())}
    assert asking == MAY_ASK_FOR_THE_TIME_OF_DAY


def test_directives_and_their_reference_agree():
    code = (SOURCE / "httpd" / "directives.cc").read_text()
    registered = set(re.findall(r'AP_INIT_\w+\("(\w+)"', code))
    documented = set(re.findall(r"^## (\w+)$", (ROOT / "docs" / "directives.md").read_text(), re.MULTILINE))
    assert registered == documented


def test_counters_and_their_names_agree():
    code = (SOURCE / "cluster" / "counters.h").read_text()
    enumerated = re.search(r"enum class Counter[^{]*\{(.*?)end,", code, re.DOTALL).group(1)
    names = re.search(r"counter_names = \{(.*?)\};", code, re.DOTALL).group(1)
    assert re.findall(r"\w+", enumerated) == re.findall(r'"(\w+)"', names)
