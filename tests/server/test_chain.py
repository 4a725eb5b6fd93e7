"""Chains choose as configured: by section, by inheritance, by .htaccess, by plug-in, or only in theory."""

import re

import pytest

from client import fetch, new_token
from gates import Waiting
from httpd import FORWARD_ALWAYS, SERVE_HERE, Cluster
from processes import wait_until

# One section each; /chains/NAME/ is the site under that chain.
CHAINS = {
    "first-peer": "Backhand byAge 60\nBackhand removeSelf",
    "no-argument": "Backhand byAge\nBackhand removeSelf",
    "remove-only": "Backhand removeSelf",
    "age-only": "Backhand byAge 60",
    "nobody": "Backhand byAge 60\nBackhand removeSelf\nBackhand off",
    "random": "Backhand byAge 60\nBackhand removeSelf\nBackhand byRandom",
    "log-window": "Backhand byAge 60\nBackhand removeSelf\nBackhand byLogWindow",
    "window-of-two": "Backhand byAge 60\nBackhand removeSelf\nBackhand byWindow 2\nBackhand byRandom",
    "in-flight": "Backhand byAge 60\nBackhand removeSelf\nBackhand byInFlight",
    "cpu": "Backhand byAge 60\nBackhand byCPU",
    "load": "Backhand byAge 60\nBackhand byLoad",
    "cost": "Backhand byAge 60\nBackhand byCost",
    "prefer-self": "Backhand byAge 60\nBackhand byInFlight\nBackhand preferSelf",
    "prefer-self-by-a-margin": "Backhand byAge 60\nBackhand byInFlight\nBackhand preferSelf 2",
    "auto": "Backhand auto",
    "busy-children": "Backhand byBusyChildren 2\nBackhand preferSelf",
    "hot-and-cold": "Backhand byRandom\nBackhand byWindow 3\nBackhand byHotCold\nBackhand preferSelf",
    "interpreted": "Backhand byInterpretedLoad",
    "weighted": "Backhand byWeighted",
    "healthy": "Backhand byHealth\nBackhand bySlowStart 5\nBackhand byLatency",
    "predicted": "Backhand removeSelf\nBackhand addPrediction\nBackhand byLoad 0.5\nBackhand addSelf",
    "filtered": "Backhand byHost ^WWW[.]\nBackhand byPath ^/chains/[a-z]{8}/\nBackhand byHeader Host .\n"
                + FORWARD_ALWAYS,
    "of-the-seed": "Backhand byAge 2\nBackhand byRandom\nBackhand byLogWindow\nBackhand byLoad",
    "dry-run": "Backhand byAge 60\nBackhand removeSelf\nBackhandDryRun On",
}

SECTIONS = """
AliasMatch "^/chains/[^/]+/folder/(off|replaced|untouched|theory|practice)$" "${SITE}/htdocs/small.html"
AliasMatch "^/chains/[^/]+/(.*)$" "${SITE}/htdocs/$1"
ScriptAlias "/served-here" "${SITE}/cgi"
<Location "/served-here">
    Backhand off
</Location>
""" + "".join(f"""
<Location "/chains/{name}">
{chain}
</Location>
""" for name, chain in CHAINS.items()) + """
# A section inside one that forwards.
<Location "/chains/first-peer/folder/off">
    Backhand off
</Location>
<Location "/chains/first-peer/folder/replaced">
    Backhand byAge 60
</Location>
<Location "/chains/first-peer/folder/untouched">
    Header set X-Untouched "yes"
</Location>
<Location "/chains/first-peer/folder/theory">
    BackhandDryRun On
</Location>
<Location "/chains/dry-run/folder/practice">
    BackhandDryRun Off
</Location>

<Directory "${SITE}/htdocs/by-folder">
    AllowOverride FileInfo
</Directory>
<Directory "${SITE}/htdocs/by-folder-not-allowed">
    AllowOverride Limit
</Directory>
"""

HTACCESS = {
    "by-folder/forwarded": FORWARD_ALWAYS,
    "by-folder/forwarded/but-not-here": SERVE_HERE,
    "by-folder/dry": f"{FORWARD_ALWAYS}\nBackhandDryRun On",
    "by-folder/unknown": "Backhand byMagic",
    "by-folder/plugin": "BackhandFromSO /usr/lib/byHostname.so byHostname alpha",
    "by-folder-not-allowed": FORWARD_ALWAYS,
    "by-folder-ignored": FORWARD_ALWAYS,
}


@pytest.fixture(scope="module")
def cluster():
    with Cluster("event", size=4, chain="", site_lines=SECTIONS) as running:
        for folder, lines in HTACCESS.items():
            (running.site / "htdocs" / folder).mkdir(parents=True)
            (running.site / "htdocs" / folder / ".htaccess").write_text(lines + "\n")
            (running.site / "htdocs" / folder / "page.html").write_text("a page\n")
        yield running.wait_until_complete()


@pytest.fixture(scope="module")
def ordered(cluster):
    """The first server, and its peers in the order in which its sets begin."""
    return [cluster.servers[0], *cluster.servers[0].peers_in_order()]


def peers_of(server, target, count=1, status=200):
    """Where the server forwarded each of so many requests; "-" for those it served itself."""
    peers = []
    for _ in range(count):
        token = new_token()
        response = fetch(server, target, f"X-Token: {token}")
        assert response.status == status, response
        peers.append(server.logged(token)[0].peer)
    return peers


@pytest.mark.parametrize("name", CHAINS)
def test_every_chain_serves_the_page(cluster, name):
    everyone = {server.contact for server in cluster.servers[1:]} | {"-"}

    assert set(peers_of(cluster.servers[0], f"/chains/{name}/small.html", 5)) <= everyone


@pytest.mark.parametrize("name", ["first-peer", "no-argument", "remove-only", "filtered"])
def test_the_head_of_the_set_gets_the_request(ordered, name):
    first, second, *_ = ordered

    assert peers_of(first, f"/chains/{name}/small.html", 10) == [second.contact] * 10


def test_the_report_page_says_what_auto_stands_for(cluster):
    page = fetch(cluster.servers[0], "/backhand-status").text

    assert "byAge 2, removeSelf, byRandom, byWindow 3, byInFlight, byProbe 3, preferSelf 1" in page


@pytest.mark.parametrize("name", ["age-only", "nobody"])
def test_self_first_or_an_empty_set_means_here(cluster, name):
    assert peers_of(cluster.servers[0], f"/chains/{name}/small.html", 10) == ["-"] * 10


def test_by_random_reaches_every_peer(ordered):
    first, *others = ordered

    assert set(peers_of(first, "/chains/random/small.html", 80)) == {server.contact for server in others}


def test_by_log_window_keeps_one_of_three(ordered):
    first, second, *_ = ordered

    assert peers_of(first, "/chains/log-window/small.html", 20) == [second.contact] * 20


def test_by_window_keeps_as_many_as_it_is_told(ordered):
    first, second, third, _ = ordered

    assert set(peers_of(first, "/chains/window-of-two/small.html", 40)) == {second.contact, third.contact}


def test_by_in_flight_avoids_the_busy_server(ordered):
    first, second, *_ = ordered
    waiting = Waiting(second, "busy", 3, path="/served-here")
    wait_until("the first knows that the second is busy", lambda: first.sees(second)["serving"] == 3)

    assert second.contact not in peers_of(first, "/chains/in-flight/small.html", 20)
    assert waiting.release() == [200] * 3


@pytest.mark.parametrize("path, forwarded",
                         [("off", False), ("replaced", False), ("untouched", True), ("theory", False)])
def test_a_section_with_a_chain_replaces_the_inherited_one_and_others_leave_it(ordered, path, forwarded):
    first, second, *_ = ordered
    expected = second.contact if forwarded else "-"

    assert peers_of(first, f"/chains/first-peer/folder/{path}", 5) == [expected] * 5


def test_a_dry_run_decides_and_counts_and_serves_here(ordered):
    first, second, *_ = ordered
    before, arrived = first.counters(), second.counters()["proxied_accepted"]

    assert peers_of(first, "/chains/dry-run/small.html", 10) == ["-"] * 10
    after = first.counters()
    assert after["decisions_dry_run"] == before["decisions_dry_run"] + 10
    assert after["forwarded"] == before["forwarded"]
    assert second.counters()["proxied_accepted"] == arrived


def test_a_dry_run_can_be_ended_in_a_deeper_section(ordered):
    first, second, *_ = ordered

    assert peers_of(first, "/chains/dry-run/folder/practice", 5) == [second.contact] * 5


def test_decisions_and_their_outcomes_are_counted(cluster):
    first = cluster.servers[0]
    before = first.counters()
    peers_of(first, "/chains/first-peer/small.html", 7)
    peers_of(first, "/chains/age-only/small.html", 5)
    after = first.counters()

    assert after["decisions"] == before["decisions"] + 12
    assert after["forwarded"] == before["forwarded"] + 7
    assert after["served_here_by_choice"] == before["served_here_by_choice"] + 5


def test_a_folder_may_have_a_chain_of_its_own(ordered):
    first, second, *_ = ordered

    assert peers_of(first, "/by-folder/forwarded/page.html", 3) == [second.contact] * 3
    assert peers_of(first, "/by-folder/forwarded/but-not-here/page.html", 3) == ["-"] * 3
    assert peers_of(first, "/by-folder/dry/page.html", 3) == ["-"] * 3


def test_a_folders_chain_counts_only_where_it_is_allowed(cluster):
    first = cluster.servers[0]

    assert peers_of(first, "/by-folder-ignored/page.html") == ["-"]
    assert peers_of(first, "/by-folder-not-allowed/page.html", status=500) == ["-"]
    assert "Backhand not allowed here" in first.error_log()


def test_a_folder_cannot_name_what_does_not_exist(cluster):
    first = cluster.servers[0]

    assert peers_of(first, "/by-folder/unknown/page.html", status=500) == ["-"]
    assert "byMagic" in first.error_log()


def test_a_folder_cannot_load_a_plugin(cluster):
    first = cluster.servers[0]

    assert peers_of(first, "/by-folder/plugin/page.html", status=500) == ["-"]
    assert "BackhandFromSO not allowed here" in first.error_log()


def test_by_hostname_keeps_the_servers_whose_names_match(by_hostname):
    def named(path, expression):
        return f"""
<Location "/{path}">
    Backhand byAge 60
    Backhand removeSelf
    BackhandFromSO {by_hostname} byHostname {expression}
</Location>
Alias "/{path}" "${{SITE}}/htdocs"
"""

    with Cluster("event", size=3, chain=SERVE_HERE, site_lines=named("third", "^node3") + named("anyone", "o") +
                 named("nobody", "^nobody$")) as cluster:
        first = cluster.servers[0]
        cluster.wait_until_complete()
        names = {server.contact: first.sees(server)["name"] for server in first.peers_in_order()}

        matching = [contact for contact, name in names.items() if re.search("^node3", name)] or ["-"]
        assert peers_of(first, "/third/small.html", 5) == matching[:1] * 5
        matching = [contact for contact, name in names.items() if re.search("o", name)] or ["-"]
        assert peers_of(first, "/anyone/small.html", 5) == matching[:1] * 5
        assert peers_of(first, "/nobody/small.html", 5) == ["-"] * 5


def test_a_graceful_restart_takes_up_a_changed_chain():
    with Cluster("event", size=2, chain=SERVE_HERE) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        assert peers_of(first, "/small.html", 3) == ["-"] * 3

        first.site_lines = first.site_lines.replace(SERVE_HERE, FORWARD_ALWAYS, 1)
        first.write_configuration()
        first.restart_gracefully()

        def is_forwarded():
            return peers_of(first, "/small.html") == [second.contact]

        wait_until("requests are forwarded", is_forwarded)
        assert peers_of(first, "/small.html", 3) == [second.contact] * 3
