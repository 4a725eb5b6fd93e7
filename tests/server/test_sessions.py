"""Requests of a session go to the server that has it, for as long as it lives; clients are sent to servers by name."""

import pytest

import client
from client import fetch, new_token
from httpd import FORWARD_ALWAYS, MPMS, SERVE_HERE, Cluster
from processes import wait_until

REASONS = 'LogFormat "%{X-Token}i %{BACKHAND_REASON}e %{BACKHAND_DECIDE_US}e %{BACKHAND_CHOICE}e" reasons\n' \
          'CustomLog "${FOLDER}/reasons.log" reasons'

SECTIONS = f"""
AliasMatch "^/(sticky|sticky-auto|named|by-address|by-label|back-end|served-here|theory)/(.*)$" "${{SITE}}/htdocs/$2"
<Location "/sticky">
    Backhand bySession id
    {FORWARD_ALWAYS.replace(chr(10), chr(10) + "    ")}
    Backhand byWindow 1
</Location>
<Location "/sticky-auto">
    Backhand bySession
    Backhand auto
</Location>
<Location "/named">
    {FORWARD_ALWAYS.replace(chr(10), chr(10) + "    ")}
    Backhand HTTPRedirectToName
</Location>
<Location "/by-label">
    {FORWARD_ALWAYS.replace(chr(10), chr(10) + "    ")}
    Backhand HTTPRedirectToName %1S.%-1H
</Location>
<Location "/by-address">
    {FORWARD_ALWAYS.replace(chr(10), chr(10) + "    ")}
    Backhand HTTPRedirectToIP
</Location>
<Location "/back-end">
    Backhand byAge 60
    BackhandSelfRedirect On
</Location>
<Location "/served-here">
    {SERVE_HERE}
</Location>
<Location "/theory">
    {FORWARD_ALWAYS.replace(chr(10), chr(10) + "    ")}
    BackhandDryRun On
</Location>
"""


def alias_lines(number):
    """Every server also answers to names of its own, as where HTTPRedirectToName sends clients."""
    return SECTIONS + f"\nServerAlias node{number} node{number}.backhand.test 127.0.1.{number}"


@pytest.fixture(scope="module", params=MPMS)
def cluster(request):
    with Cluster(request.param, size=3, chain="", site_lines=alias_lines, server_lines=REASONS) as running:
        yield running.wait_until_complete()


def hex_of(server):
    return "".join(f"{int(byte):02x}" for byte in server.address.split("."))


def name_of(server, viewer):
    return next(entry["name"] for entry in viewer.report()["servers"] if entry["contact"] == server.contact)


def peer_of(server, target, *fields, host=client.SITE):
    token = new_token()
    response = fetch(server, target, f"X-Token: {token}", *fields, host=host)
    assert response.status == 200, response
    return server.logged(token)[0].peer


def reason_of(server, target, *fields):
    """What the log says of the decision: the reason, how long it took, and who was chosen in a dry run."""
    token = new_token()
    fetch(server, target, f"X-Token: {token}", *fields)
    path = server.folder / "reasons.log"
    wait_until(f"{token} is logged", lambda: any(line.startswith(token) and line.endswith("\n")
                                                 for line in path.open()))
    return next(line for line in path.open() if line.startswith(token)).split()[1:]


@pytest.mark.parametrize("path", ["sticky", "sticky-auto"])
def test_a_session_goes_to_its_owner_by_address(cluster, path):
    first, *others = cluster.servers
    cookie = "id" if path == "sticky" else "PHPSESSID"
    for owner in others:
        assert {peer_of(first, f"/{path}/small.html", f"Cookie: a=b; {cookie}={hex_of(owner)}f00d")
                for _ in range(5)} == {owner.contact}


def test_a_session_goes_to_its_owner_by_name(cluster):
    first, *others = cluster.servers
    names = {name_of(server, first) for server in cluster.servers}
    if len(names) < len(cluster.servers):
        pytest.skip("the servers share one host name here")
    for owner in others:
        assert peer_of(first, "/sticky/small.html", f"Cookie: id=x.{name_of(owner, first)}") == owner.contact


def test_a_session_stays_with_this_server(cluster):
    first = cluster.servers[0]

    assert peer_of(first, "/sticky/small.html", f"Cookie: id={hex_of(first)}") == "-"


def test_a_session_is_read_from_the_target_where_there_is_no_cookie(cluster):
    first, second, third = cluster.servers

    assert peer_of(first, f"/sticky/small.html?x=y&id={hex_of(third)}") == third.contact
    assert peer_of(first, f"/sticky/small.html?x=y&id={hex_of(second)}") == second.contact


def test_a_request_without_a_session_goes_on_down_the_chain(cluster):
    first = cluster.servers[0]
    head = first.peers_in_order()[0]

    assert peer_of(first, "/sticky/small.html") == head.contact
    assert peer_of(first, "/sticky/small.html", "Cookie: id=0a0a0a0a") == head.contact


def test_the_client_is_sent_to_the_servers_name(cluster):
    first = cluster.servers[0]
    head = first.peers_in_order()[0]
    response = fetch(first, "/named/small.html?a=b", host=f"{client.SITE}:{cluster.port}")

    assert response.status == 302
    assert response.field("Location") == f"http://{name_of(head, first)}:{cluster.port}/named/small.html?a=b"


def test_the_client_is_sent_to_a_name_made_of_labels(cluster):
    first = cluster.servers[0]
    head = first.peers_in_order()[0]
    label = name_of(head, first).split(".")[0]

    assert (fetch(first, "/by-label/small.html").field("Location")
            == f"http://{label}.backhand.test/by-label/small.html")


def test_the_client_is_sent_to_the_servers_address(cluster):
    first = cluster.servers[0]
    head = first.peers_in_order()[0]
    before = first.counters()

    assert (fetch(first, "/by-address/small.html").field("Location")
            == f"http://{head.contact}/by-address/small.html")
    after = first.counters()
    assert after["redirected"] == before["redirected"] + 1
    assert after["forwarded"] == before["forwarded"]


def test_a_form_is_sent_on_as_a_form(cluster):
    assert fetch(cluster.servers[0], "/by-address/small.html", method="POST", body=b"x=y").status == 307


def test_whoever_was_sent_to_a_server_stays_there(cluster):
    first = cluster.servers[0]

    assert peer_of(first, "/by-address/small.html", host=f"{first.address}:{first.port}") == "-"
    assert peer_of(first, "/named/small.html", host=name_of(first, first)) == "-"


def test_what_this_server_keeps_goes_to_its_own_address_and_is_served_here_if_it_comes_back(cluster):
    first = cluster.servers[0]
    token = new_token()
    assert fetch(first, "/back-end/small.html", f"X-Token: {token}").status == 200

    # The address is this very server's, which sends back what comes from nobody it knows.
    assert sorted(line.status for line in first.logged(token, 2)) == ["200", "503"]


@pytest.mark.parametrize("mpm", MPMS)
def test_a_light_front_end_has_a_back_end_at_its_own_address(mpm):
    made = Cluster(mpm, size=1, chain="", site_lines=SECTIONS, plain_too=True)
    front, back = made.servers[0], made.plain
    back.site_lines = 'AliasMatch "^/back-end/(.*)$" "${SITE}/htdocs/$1"'
    front.backhand_lines += f"\nBackhandSelf {back.contact}"
    with made:
        wait_until("the front end has been measured", lambda: front.sees(back))
        made.let_workers_start(front, [back])
        token = new_token()
        assert fetch(front, "/back-end/small.html", f"X-Token: {token}").status == 200

        assert [line.peer for line in front.logged(token)] == [back.contact]
        assert len(back.logged(token)) == 1
        assert peer_of(front, "/served-here/small.html") == "-"


@pytest.mark.parametrize("path, reason", [
    ("/sticky/small.html", "forwarded"), ("/named/small.html", "redirected"), ("/served-here/small.html", "-"),
    ("/theory/small.html", "dry-run"),
])
def test_the_log_can_say_why(cluster, path, reason):
    logged, took, choice = reason_of(cluster.servers[0], path)

    assert logged == reason
    assert took == "-" if reason == "-" else float(took) > 0
    assert choice in [peer.contact for peer in cluster.servers[1:]] if reason == "dry-run" else choice == "-"


def test_a_session_outlives_its_server(cluster):
    """Last: it takes a server away."""
    first, second, third = cluster.servers
    cookie = f"Cookie: id={hex_of(third)}"
    assert peer_of(first, "/sticky/small.html", cookie) == third.contact
    third.kill()

    # Whatever the cluster knows by now: the client sees no error, and no request gets lost.
    assert {peer_of(first, "/sticky/small.html", cookie) for _ in range(10)} <= {second.contact, "-"}
    wait_until("the third is known to be silent", lambda: first.states().get(third.contact) == "silent")
    assert peer_of(first, "/sticky/small.html", cookie) == second.contact
    third.start()
    wait_until("the third is back", lambda: first.states().get(third.contact) == "ok"
               and first.sees(third)["workers_idle"] >= 2)
    wait_until("the session is with the third again",
               lambda: peer_of(first, "/sticky/small.html", cookie) == third.contact)
