"""Behind a forward the client stays itself, and nobody can pose as another.

The clients of these tests bind addresses of their own: 127.0.0.77 is a client outside the accepted
addresses, 127.0.1.50 lies inside them and is no server.
"""

import pytest

import wire
from client import SITE, Connection, fetch, new_token, request
from gates import Gate
from httpd import FORWARD_ALWAYS, MPMS, SERVE_HERE, Cluster
from processes import wait_until

OUTSIDER = "127.0.0.77"
ACCEPTED_BUT_NO_SERVER = "127.0.1.50"
FORGED = "10.9.9.9"

# Only the second server restricts these: the first lets all pass, and forwards.
AT_THE_PEER = f"""
<Location "/for-one-client">
    Require ip {OUTSIDER}
</Location>
"""
# What modules at the peer make of the client: each tells it in a field of the response.
SEEN_BY_MODULES = """
<Location "/seen">
    SetEnvIf Remote_Addr "^(.*)$" BY_SETENVIF=$1
    Header always set X-By-Expression "expr=%{REMOTE_ADDR} %{REMOTE_PORT}"
    Header always set X-By-Rewrite "%{BY_REWRITE}e"
    Header always set X-By-Setenvif "%{BY_SETENVIF}e"
    Header always set X-Via "expr=%{reqenv:BACKHAND_VIA}"
    <If "%{REMOTE_ADDR} == '127.0.0.77'">
        Header always set X-By-If "that one"
    </If>
    DirectoryIndex /seen/small.html
    ErrorDocument 404 /seen/small.html
</Location>
RewriteCond "%{REMOTE_ADDR} %{REMOTE_PORT}" "(.*)"
RewriteRule "^/seen" "-" [E=BY_REWRITE:%1]
Alias "/seen" "${SITE}/htdocs"
<If "-n req('X-Serve-Here')">
    Backhand off
</If>
"""
EVERYWHERE = f"""
Alias "/for-one-client" "${{SITE}}/htdocs"
ScriptAlias "/served-here" "${{SITE}}/cgi"
<Location "/served-here">
    {SERVE_HERE}
</Location>
<Location "/for-one-client-everywhere">
    Require ip {OUTSIDER}
</Location>
Alias "/for-one-client-everywhere" "${{SITE}}/htdocs"
"""


@pytest.fixture(scope="module", params=MPMS)
def cluster(request):
    with Cluster(request.param, size=2,
                 site_lines=lambda number: EVERYWHERE + (AT_THE_PEER if number == 2 else "") +
                 SEEN_BY_MODULES) as running:
        yield running.wait_until_complete()


def told(response):
    """What the script at the other end was told, as a dictionary."""
    assert response.status == 200, response
    return dict(line.split("=", 1) for line in response.text.splitlines())


@pytest.mark.parametrize("source", [OUTSIDER, ACCEPTED_BUT_NO_SERVER])
def test_the_peer_sees_the_clients_address_everywhere(cluster, source):
    first, second = cluster.servers
    token = new_token()
    variables = told(fetch(first, "/cgi/env.cgi", f"X-Token: {token}", source=source))
    line, = second.logged(token)

    assert variables["REMOTE_ADDR"] == source
    assert (line.host, line.address) == (source, source)


@pytest.mark.parametrize("source, by_if", [(OUTSIDER, "that one"), ("127.0.0.78", None)])
def test_the_peers_modules_see_the_clients_address_and_port(cluster, source, by_if):
    first, second = cluster.servers
    token = new_token()
    with Connection(first.address, first.port, source) as connection:
        address, port = connection.own_end
        connection.send(request("/seen/small.html", f"X-Token: {token}"))
        response = connection.response()

    assert [line.forwarder for line in second.logged(token)] == [first.address]
    assert response.field("X-By-Expression") == f"{address} {port}"
    assert response.field("X-By-Rewrite") == f"{address} {port}"
    assert response.field("X-By-Setenvif") == address
    assert response.field("X-By-If") == by_if


@pytest.mark.parametrize("source", [OUTSIDER, ACCEPTED_BUT_NO_SERVER])
def test_a_script_at_the_peer_is_told_the_clients_address_and_port(cluster, source):
    first = cluster.servers[0]
    with Connection(first.address, first.port, source) as connection:
        address, port = connection.own_end
        for _ in range(2):
            connection.send(request("/cgi/client.cgi"))
            assert connection.response().text == f"{address} {port} off\n"


def test_a_request_after_a_forwarded_one_on_the_same_connection_is_the_senders_own(cluster):
    first, second = cluster.servers
    claim = ["Backhand-Proxied: 192.0.2.7",
             f"Backhand-Exchange: client-port=4711;local-port={first.port};site={wire.site(SITE)};scheme=https;version=1.1"]
    with Connection(first.address, first.port, second.address) as connection:
        address, port = connection.own_end
        for fields, told_of_client in [(claim, "192.0.2.7 4711 on\n"), ([], f"{address} {port} off\n")] * 2:
            connection.send(request("/served-here/client.cgi", *fields))
            assert connection.response().text == told_of_client


@pytest.mark.parametrize("target, status", [("/seen/small.html", 200), ("/seen/", 200), ("/seen/absent", 404)])
def test_applications_at_the_peer_can_see_the_forwarder(cluster, target, status):
    first, second = cluster.servers
    forwarded, here = fetch(first, target), fetch(second, target, "X-Serve-Here: yes")

    assert (forwarded.status, forwarded.field("X-Via")) == (status, first.address)
    assert (here.status, here.field("X-Via")) == (status, "")


def test_each_server_logs_the_other_end_of_the_forward(cluster):
    first, second = cluster.servers
    token = new_token()
    fetch(first, "/small.html", f"X-Token: {token}")

    assert [(line.peer, line.forwarder) for line in first.logged(token)] == [(second.contact, "-")]
    assert [(line.peer, line.forwarder) for line in second.logged(token)] == [("-", first.address)]


def test_require_ip_at_the_peer_judges_the_client_not_the_forwarder(cluster):
    first = cluster.servers[0]

    assert fetch(first, "/for-one-client/small.html", source=OUTSIDER).status == 200
    assert fetch(first, "/for-one-client/small.html", source="127.0.0.78").status == 403


def test_require_ip_at_both_servers_lets_only_the_client_pass(cluster):
    for server in cluster.servers:
        assert fetch(server, "/for-one-client-everywhere/small.html", source=OUTSIDER).status == 200
        assert fetch(server, "/for-one-client-everywhere/small.html", source="127.0.0.78").status == 403


def test_clients_take_turns_on_the_same_peer_connections_and_stay_themselves(cluster):
    for last in range(100, 120):
        source = f"127.0.0.{last}"
        assert told(fetch(cluster.servers[0], "/cgi/env.cgi", source=source))["REMOTE_ADDR"] == source


FORGERIES = [
    [f"Backhand-Proxied: {FORGED}"],
    [f"backhand-proxied: {FORGED}"],
    [f"Backhand-Proxied: {FORGED}", "Backhand-Proxied: 10.8.8.8"],
    ["Backhand-Proxied:"],
    ["Backhand-Proxied: no address at all"],
    [f"Backhand-Proxied: {FORGED}", "Connection: close, Backhand-Proxied"],
    ["Connection: close, Backhand-Proxied"],
]


@pytest.mark.parametrize("forgery", FORGERIES, ids="; ".join)
@pytest.mark.parametrize("source", [OUTSIDER, ACCEPTED_BUT_NO_SERVER])
@pytest.mark.parametrize("target", ["/cgi/env.cgi", "/served-here/env.cgi"])
def test_a_clients_own_claim_to_be_forwarded_is_removed(cluster, target, source, forgery):
    variables = told(fetch(cluster.servers[0], target, *forgery, source=source))

    assert variables["REMOTE_ADDR"] == source
    assert "HTTP_BACKHAND_PROXIED" not in variables


def test_a_removed_claim_is_counted_and_changes_no_address_in_the_logs(cluster):
    first = cluster.servers[0]
    token = new_token()
    before = first.counters()["proxied_header_removed"]
    fetch(first, "/small.html", f"Backhand-Proxied: {FORGED}", f"X-Token: {token}", source=OUTSIDER)

    first.logged(token)
    assert {line.address for server in cluster.servers for line in server.log(token)} == {OUTSIDER}
    assert first.counters()["proxied_header_removed"] == before + 1


def test_a_script_is_not_told_of_the_clusters_own_header_fields(cluster):
    variables = told(fetch(cluster.servers[0], "/cgi/env.cgi"))

    assert [name for name in variables if name.startswith("HTTP_BACKHAND")] == []


def test_the_clusters_own_response_fields_reach_no_client(cluster):
    for target in ("/small.html", "/cgi/env.cgi", "/nothing.html", "/cgi/load.cgi"):
        response = fetch(cluster.servers[0], target)
        assert response.all("Backhand-Load") == []


def test_an_application_cannot_forge_news_of_its_server(cluster):
    first, second = cluster.servers
    for _ in range(5):
        assert fetch(first, "/cgi/load.cgi").body == b"ok\n"
    seen = first.sees(second)["measurement"]

    wait_until("true news replace what the application said", lambda: first.sees(second)["measurement"] != seen)
    assert told(fetch(first, "/cgi/env.cgi", source=OUTSIDER))["REMOTE_ADDR"] == OUTSIDER


@pytest.mark.parametrize("header", ["Header set", "Header always set"])
def test_an_application_that_sets_the_clusters_own_response_fields_is_asked_once_and_heard(header):
    def forgery(number):
        lines = f'{header} Backhand-Load "1 2 3 4"\n{header} Backhand-Declined "other-site"'
        return f'<Location "/cgi/">\n{lines}\n</Location>' if number == 2 else ""

    with Cluster("event", size=2, site_lines=forgery) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        for method, body in [("GET", b""), ("POST", b"pay once")]:
            gate = Gate(cluster, f"declined-{method}")
            gate.open()
            token = new_token()
            response = fetch(first, gate.target, f"X-Token: {token}", method=method, body=body)

            assert (response.status, response.body) == (200, b"after the gate\n")
            assert response.all("Backhand-Load") == response.all("Backhand-Declined") == []
            assert [line.peer for line in first.logged(token)] == [second.contact]
            assert gate.runs() == 1


def test_a_request_is_forwarded_exactly_once_though_both_servers_only_forward(cluster):
    first, second = cluster.servers
    for entrance, peer in [(first, second), (second, first)] * 10:
        token = new_token()
        assert fetch(entrance, "/small.html", f"X-Token: {token}").status == 200
        assert [line.peer for line in entrance.logged(token)] == [peer.contact]
        assert [line.peer for line in peer.logged(token)] == ["-"]


def test_accepted_forwards_are_counted_where_they_arrive(cluster):
    first, second = cluster.servers
    before = first.counters()["forwarded"], second.counters()["proxied_accepted"]
    for _ in range(10):
        fetch(first)

    assert first.counters()["forwarded"] == before[0] + 10
    assert second.counters()["proxied_accepted"] == before[1] + 10


def test_a_member_that_died_is_no_longer_believed():
    with Cluster("event", size=2, chain=lambda number: FORWARD_ALWAYS if number == 2 else SERVE_HERE) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        second.kill()

        def is_disbelieved():
            response = fetch(first, "/cgi/env.cgi", f"Backhand-Proxied: {FORGED}", source=second.address)
            return told(response)["REMOTE_ADDR"] == second.address

        wait_until("claims from the dead server's address are removed", is_disbelieved, limit_s=60, pause_s=0.2)
