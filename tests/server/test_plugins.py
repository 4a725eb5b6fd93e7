"""Plug-ins: run, replaced while servers run, refused, corrected, told what became of their choice."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

import plugins
from client import fetch, new_token
from hammer import Hammer
from httpd import MPMS, SERVE_HERE, Cluster
from processes import threads_of, wait_until

REPLACED = "has been replaced"
REFUSED = "refused and the old one stays"


@pytest.fixture
def folder(plugin_folder, request):
    """A folder for the plug-ins of one test."""
    made = plugin_folder / "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    made.mkdir(mode=0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(params=MPMS)
def mpm(request):
    return request.param


def chosen_cluster(mpm, plugin, **settings):
    """Three servers; the first asks the plug-in, and may not answer itself."""
    chain = f"Backhand removeSelf\nBackhandFromSO {plugin} chosen"
    return Cluster(mpm, size=3, chain=lambda number: chain if number == 1 else SERVE_HERE, **settings)


def peer_of(server):
    """The number of the server that answered a request; 0 for this one itself."""
    token = new_token()
    assert fetch(server, "/small.html", f"X-Token: {token}").status == 200
    peer = server.logged(token)[0].peer
    return 0 if peer == "-" else int(peer.split(":")[0].split(".")[-1])


def wait_for_version(server, version):
    wait_until(lambda: f"{server} has version {version}: {server.report()['plugins']}\n{server.error_log()}",
               lambda: server.report()["plugins"][0]["version"] == version)


def wait_until_all_choose(server, number):
    """Every child takes the new version in its own time, which is after a few milliseconds."""
    wait_until(f"{server} forwards to server {number} only",
               lambda: [peer_of(server) for _ in range(12)] == [number] * 12)


def lines_with(server, text):
    return [line for line in server.error_log().splitlines() if text in line]


@pytest.mark.parametrize("source", [plugins.CHOSEN, plugins.CHOSEN_OF_2001], ids=["plugin.h", "original"])
def test_a_plugin_chooses(mpm, folder, source):
    plugin = plugins.install(folder / "chosen.so", source, NUMBER=3)
    with chosen_cluster(mpm, plugin) as cluster:
        first = cluster.wait_until_complete().servers[0]

        assert [peer_of(first) for _ in range(10)] == [3] * 10
        assert first.counters()["plugin_answer_corrected"] == 0


@pytest.mark.parametrize("source", [plugins.CHOSEN, plugins.CHOSEN_OF_2001], ids=["plugin.h", "original"])
def test_a_new_file_is_used_without_a_failed_request(mpm, folder, source, record_property):
    plugin = plugins.install(folder / "chosen.so", source, NUMBER=2)
    with chosen_cluster(mpm, plugin) as cluster:
        first = cluster.wait_until_complete().servers[0]
        children, generations = set(first.workers()), first.generations()

        with Hammer([first], {"/small.html": None}) as clients:
            clients.wait_for(50)
            for version, number in enumerate([3, 2, 3], 2):
                plugins.install(plugin, source, NUMBER=number)
                installed_at = time.monotonic()
                wait_for_version(first, version)
                # Two seconds on a machine that has nothing else to do; written down, not asserted.
                record_property("replaced_after_s", f"{time.monotonic() - installed_at:.2f}")
                clients.wait_for(50)
            wait_until_all_choose(first, 3)

        assert clients.failures == []
        assert first.counters()["plugin_answer_corrected"] == 0
        assert len(lines_with(first, REPLACED)) == 3
        assert first.counters()["plugin_replaced"] == 3
        assert first.generations() == generations
        assert children <= set(first.workers())


def test_the_parent_never_opens_a_plugin(mpm, folder):
    plugin = plugins.install(folder / "chosen.so", plugins.CHOSEN, NUMBER=2)
    with chosen_cluster(mpm, plugin) as cluster:
        first = cluster.wait_until_complete().servers[0]
        plugins.install(plugin, plugins.CHOSEN, NUMBER=3)
        wait_for_version(first, 2)
        wait_until_all_choose(first, 3)

        def mapped(pid):
            return "chosen.so" in Path(f"/proc/{pid}/maps").read_text(encoding="ascii")

        def opened(pid):
            return any("chosen.so" in os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd"))

        assert not mapped(first.pid) and not opened(first.pid)
        assert not mapped(first.moderator())
        assert all(mapped(pid) for pid in first.serving_children())


BROKEN = {
    "another version": (plugins.OF_ANOTHER_VERSION, 0o644, "version 2 of the plug-in interface"),
    "another name": (plugins.OF_ANOTHER_NAME, 0o644, 'no plug-in "chosen": expected "another"'),
    "nothing": (plugins.WITHOUT_ANYTHING, 0o644, 'no function "chosen"'),
    "crashes": (plugins.CRASHING, 0o644, "crashes (signal 11)"),
    "crashes when loaded": (plugins.CRASHING_WHEN_LOADED, 0o644, "crashes (signal 6) being loaded"),
    "hangs": (plugins.HANGING, 0o644, "takes too long"),
    "others can write it": (plugins.CHOSEN, 0o646, "can be changed by others"),
    "a group can write it": (plugins.CHOSEN, 0o664, "can be changed by others"),
}


def test_a_broken_new_file_is_refused_and_the_old_one_stays(mpm, folder):
    plugin = plugins.install(folder / "chosen.so", plugins.CHOSEN, NUMBER=2)
    with chosen_cluster(mpm, plugin) as cluster:
        first = cluster.wait_until_complete().servers[0]
        with Hammer([first], {"/small.html": None}, threads=2) as clients:
            for count, (source, mode, why) in enumerate(BROKEN.values(), 1):
                plugins.install(plugin, source, mode, NUMBER=3)
                wait_until(lambda why=why: f"refused: {why}\n{first.error_log()}",
                           lambda count=count: first.counters()["plugin_refused"] == count)
                assert why in lines_with(first, REFUSED)[-1]
            clients.wait_for(50)
        assert clients.failures == []
        assert [peer_of(first) for _ in range(10)] == [2] * 10
        assert len(lines_with(first, REFUSED)) == len(BROKEN)
        assert first.report()["plugins"][0]["refused"] == len(BROKEN)

        # A good one at last.
        plugins.install(plugin, plugins.CHOSEN, NUMBER=3)
        wait_for_version(first, 2)
        wait_until_all_choose(first, 3)


def test_a_file_of_another_user_is_refused(folder):
    plugin = plugins.install(folder / "chosen.so", plugins.CHOSEN, NUMBER=2)
    with chosen_cluster("event", plugin) as cluster:
        first = cluster.wait_until_complete().servers[0]
        other = plugins.install(folder / "other.so", plugins.CHOSEN, NUMBER=3)
        shutil.chown(other, "nobody")
        other.rename(plugin)

        wait_until(f"refused\n{first.error_log()}", lambda: lines_with(first, REFUSED))
        assert "belongs to user" in lines_with(first, REFUSED)[0]
        assert peer_of(first) == 2


def test_a_link_into_a_folder_of_others_is_refused(folder):
    plugin = plugins.install(folder / "chosen.so", plugins.CHOSEN, NUMBER=2)
    with chosen_cluster("event", plugin) as cluster:
        first = cluster.wait_until_complete().servers[0]
        open_folder = folder / "open"
        open_folder.mkdir()
        open_folder.chmod(0o1777)
        plugins.install(open_folder / "chosen.so", plugins.CHOSEN, NUMBER=3)
        link = folder / "link.so"
        link.symlink_to("open/chosen.so")
        link.rename(plugin)

        wait_until(f"refused\n{first.error_log()}", lambda: lines_with(first, REFUSED))
        assert f"{open_folder} can be changed by others" in lines_with(first, REFUSED)[0]
        assert peer_of(first) == 2


def test_a_child_that_starts_later_gets_what_the_others_have(mpm, folder):
    plugin = plugins.install(folder / "chosen.so", plugins.CHOSEN, NUMBER=2)
    with chosen_cluster(mpm, plugin) as cluster:
        first = cluster.wait_until_complete().servers[0]
        plugins.install(plugin, plugins.CHOSEN, NUMBER=3)
        wait_for_version(first, 2)
        plugins.install(plugin, plugins.OF_ANOTHER_VERSION, NUMBER=2)
        wait_until("the broken file is refused", lambda: first.counters()["plugin_refused"] == 1)
        moderator, children = first.moderator(), first.serving_children()

        # Neither what lies at the path nor who tried the good one is there any more.
        for pid in [moderator, *children]:
            os.kill(pid, signal.SIGKILL)
        wait_until("all are others", lambda: first.moderators() and moderator not in first.moderators()
                   and first.serving_children() and not set(children) & set(first.serving_children()))
        wait_until_all_choose(first, 3)


def test_another_moderator_goes_on_watching(mpm, folder):
    plugin = plugins.install(folder / "chosen.so", plugins.CHOSEN, NUMBER=2)
    with chosen_cluster(mpm, plugin) as cluster:
        first = cluster.wait_until_complete().servers[0]
        moderator = first.moderator()
        os.kill(moderator, signal.SIGKILL)
        wait_until("there is another", lambda: first.moderators() and moderator not in first.moderators())

        plugins.install(plugin, plugins.CHOSEN, NUMBER=3)

        wait_for_version(first, 2)
        wait_until_all_choose(first, 3)


@pytest.mark.parametrize("restart", ["restart_gracefully", "restart"])
def test_a_restart_takes_what_lies_there(mpm, folder, restart):
    plugin = plugins.install(folder / "chosen.so", plugins.CHOSEN, NUMBER=2)
    with chosen_cluster(mpm, plugin) as cluster:
        first = cluster.wait_until_complete().servers[0]
        plugins.install(plugin, plugins.CHOSEN, NUMBER=3)
        getattr(first, restart)()
        cluster.wait_until_complete()

        wait_until_all_choose(first, 3)

        plugins.install(plugin, plugins.CHOSEN, NUMBER=2)
        wait_until_all_choose(first, 2)


def test_nonsense_is_corrected_counted_and_named(mpm, folder):
    plugin = plugins.install(folder / "chosen.so", plugins.NONSENSE, NUMBER=3)
    with chosen_cluster(mpm, plugin) as cluster:
        first = cluster.wait_until_complete().servers[0]
        before = first.counters()["plugin_answer_corrected"]
        statuses = [fetch(first, "/small.html").status for _ in range(60)]

        assert statuses == [200] * 60
        assert first.counters()["plugin_answer_corrected"] == before + 60
        assert first.report()["plugins"][0]["corrected"] == before + 60
        named = lines_with(first, f"plug-in chosen ({plugin}): answered with 2 candidates")
        assert 1 <= len(named) < 30
        assert "impossible" in named[0]
        page = fetch(first, "/backhand-status").text
        assert str(plugin) in page and "plugin answer corrected" in page


def test_lines_that_name_the_same_file_change_together(mpm, folder):
    plugin = plugins.install(folder / "chosen.so", plugins.CHOSEN, NUMBER=2)
    sections = f"""
<Location "/again">
Backhand removeSelf
BackhandFromSO {plugin} chosen
</Location>
Alias "/again" "${{SITE}}/htdocs"
"""
    with chosen_cluster(mpm, plugin, site_lines=sections) as cluster:
        first = cluster.wait_until_complete().servers[0]
        plugins.install(plugin, plugins.CHOSEN, NUMBER=3)
        wait_for_version(first, 2)
        wait_until_all_choose(first, 3)

        token = new_token()
        fetch(first, "/again/small.html", f"X-Token: {token}")
        assert first.logged(token)[0].peer.startswith("127.0.1.3:")
        assert [row["version"] for row in first.report()["plugins"]] == [2, 2]


def test_a_plugin_taken_out_by_off_is_still_tried_and_harms_nobody(folder):
    plugin = plugins.install(folder / "chosen.so", plugins.CHOSEN, NUMBER=2)
    sections = f"""
<Location "/off">
BackhandFromSO {plugin} chosen
Backhand off
</Location>
Alias "/off" "${{SITE}}/htdocs"
"""
    with Cluster("event", size=2, chain=SERVE_HERE, site_lines=sections) as cluster:
        first = cluster.wait_until_complete().servers[0]

        assert fetch(first, "/off/small.html").status == 200
        plugins.install(plugin, plugins.CHOSEN, NUMBER=3)
        wait_for_version(first, 2)
        assert fetch(first, "/off/small.html").status == 200


def test_servers_without_plugins_have_no_thread_for_them(folder):
    plugin = plugins.install(folder / "chosen.so", plugins.CHOSEN, NUMBER=2)
    with Cluster("prefork", size=2, chain=lambda number: f"BackhandFromSO {plugin} chosen" if number == 1
                 else SERVE_HERE) as cluster:
        with_one, without = cluster.wait_until_complete().servers

        assert {threads_of(pid) for pid in with_one.serving_children()} == {2}
        assert {threads_of(pid) for pid in without.serving_children()} == {1}


def test_a_plugin_that_refuses_its_argument_stops_the_start(folder):
    plugin = plugins.install(folder / "telling.so", plugins.TELLING)
    with Cluster("event", size=1, chain=SERVE_HERE) as cluster:
        first = cluster.servers[0]
        first.site_lines += f'\n<Location "/x">\nBackhandFromSO {plugin} telling nowhere\n</Location>\n'
        first.write_configuration()

        status, said = first.configuration_test()

        assert status != 0
        assert f"BackhandFromSO {plugin} telling" in said and "expected the path of a file" in said


def test_a_plugin_is_told_what_became_of_its_choice(mpm, folder):
    plugin = plugins.install(folder / "telling.so", plugins.TELLING)
    with Cluster(mpm, size=2, chain=SERVE_HERE) as made:
        told = made.folder / "told"
        told.touch()
        told.chmod(0o666)
        first = made.servers[0]
        first.site_lines = first.site_lines.replace(
            SERVE_HERE, f"Backhand removeSelf\nBackhandFromSO {plugin} telling {told}", 1)
        first.write_configuration()
        first.restart_gracefully()
        made.wait_until_complete()
        told.write_text("")

        assert [peer_of(first) for _ in range(5)] == [2] * 5

        lines = wait_until(f"told: {told.read_text()}", lambda: len(told.read_text().splitlines()) == 10
                           and told.read_text().splitlines())
        assert lines == ["sent /small.html to 127.0.1.2", "ended /small.html answered 200"] * 5


def test_a_plugin_sees_the_request(folder):
    plugin = plugins.install(folder / "seeing.so", plugins.SEEING)
    with Cluster("event", size=2, chain=SERVE_HERE) as made:
        seen = made.folder / "seen"
        seen.touch()
        seen.chmod(0o666)
        first = made.servers[0]
        first.site_lines += f"""
SetEnvIf X-Mark (.+) marked=$1
RewriteEngine On
RewriteRule "^/small" - [E=ruled:by-a-rule]
<Location "/small.html">
    Backhand off
    BackhandFromSO {plugin} seeing {seen}
</Location>
"""
        first.write_configuration()
        first.restart_gracefully()
        made.wait_until_complete()
        seen.write_text("")

        fetch(first, "/small.html?x=1", "X-Colour: blue", "Cookie: a=b; id=7", "X-Mark: here")
        fetch(first, "/small.html", method="HEAD")

        assert seen.read_text().splitlines() == [
            "method=GET host=www.backhand.test target=/small.html?x=1 query=x=1 site=www.backhand.test header=blue "
            "cookie=7 set=here ruled=by-a-rule client=127.1 tls=0 n=2",
            "method=HEAD host=www.backhand.test target=/small.html query=none site=www.backhand.test header=none "
            "cookie=none set=none ruled=by-a-rule client=127.1 tls=0 n=2",
        ]
