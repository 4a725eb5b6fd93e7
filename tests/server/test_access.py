"""Who a client is taken for behind a forward, when other modules have a say in it: mod_remoteip, client
certificates, and `Require local`."""

import subprocess

import pytest

import client
import wire
from client import Connection, fetch, new_token, request
from httpd import FORWARD_ALWAYS, HTTPD_MODULES, MPMS, Cluster, tls_site

OUTSIDER = "127.0.0.77"
TRUSTED_PROXY = "127.0.0.50"

# The servers of the cluster are trusted too: what a client says must not become true by being forwarded.
REMOTE_IP = f"""
LoadModule remoteip_module {HTTPD_MODULES}/mod_remoteip.so
RemoteIPHeader X-Forwarded-For
RemoteIPInternalProxy {TRUSTED_PROXY} 127.0.1.0/24
"""

# The folder is for clients of this very host. At the peer alone it would be a mistake, and must stay one.
LOCAL_ONLY = """
<Location "/for-locals">
    Require local
</Location>
Alias "/for-locals" "${SITE}/htdocs"
"""
LOCAL_AT_THE_PEER = """
<Location "/for-locals-there">
    Require local
</Location>
"""
THERE = 'Alias "/for-locals-there" "${SITE}/htdocs"\n'


@pytest.fixture(scope="module", params=MPMS)
def cluster(request):
    with Cluster(request.param, size=2, plain_too=True, server_lines=REMOTE_IP,
                 site_lines=lambda number: LOCAL_ONLY + THERE + (LOCAL_AT_THE_PEER if number == 2 else "")) as running:
        yield running.wait_until_complete()


def told(response):
    assert response.status == 200, response
    return dict(line.split("=", 1) for line in response.text.splitlines())


FORWARDED_FOR = {
    "nothing": [],
    "one address": ["X-Forwarded-For: 198.51.100.7"],
    "two addresses": ["X-Forwarded-For: 203.0.113.9, 198.51.100.7"],
    "two fields": ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 198.51.100.7"],
    "a trusted proxy behind another": [f"X-Forwarded-For: 198.51.100.7, {TRUSTED_PROXY}"],
    "a server of the cluster": ["X-Forwarded-For: 198.51.100.7, 127.0.1.2"],
    "no address": ["X-Forwarded-For: unknown"],
    "an IPv6 address": ["X-Forwarded-For: 2001:db8::7"],
}


@pytest.mark.parametrize("source", [TRUSTED_PROXY, OUTSIDER])
@pytest.mark.parametrize("name", FORWARDED_FOR)
def test_the_peer_takes_a_proxys_client_for_whom_a_single_httpd_would(cluster, name, source):
    first, second = cluster.servers
    token = new_token()
    seen = []
    for server in (cluster.plain, first):
        variables = told(fetch(server, "/cgi/env.cgi", f"X-Token: {token}", *FORWARDED_FOR[name], source=source))
        seen.append({field: variables.get(field) for field in ("REMOTE_ADDR", "HTTP_X_FORWARDED_FOR")})

    assert seen[1] == seen[0]
    assert [line.forwarder for line in second.logged(token)] == [first.address]
    assert {line.address for server in cluster.everyone for line in server.log(token)} == {seen[0]["REMOTE_ADDR"]}
    if source == OUTSIDER:
        assert seen[0]["REMOTE_ADDR"] == OUTSIDER


def test_a_client_does_not_become_a_member_by_what_its_proxy_says(cluster):
    first, second = cluster.servers
    before = first.counters()["proxied_header_removed"]
    claim = [f"X-Forwarded-For: {second.address}", "Backhand-Proxied: 10.9.9.9",
             f"Backhand-Exchange: client-port=1;local-port={first.port};site={wire.site(client.SITE)};"
             "scheme=https;version=1.1"]
    for source in (TRUSTED_PROXY, OUTSIDER):
        variables = told(fetch(first, "/cgi/env.cgi", *claim, source=source))
        assert variables["REMOTE_ADDR"] == (second.address if source == TRUSTED_PROXY else OUTSIDER)
        assert "HTTPS" not in variables

    assert first.counters()["proxied_header_removed"] == before + 2


def test_a_client_that_require_local_lets_in_is_served_here(cluster):
    first, second = cluster.servers
    token = new_token()
    response = fetch(first, "/for-locals/small.html", f"X-Token: {token}", source=OUTSIDER)

    assert response.status == 200
    assert [line.peer for line in first.logged(token)] == ["-"]
    assert second.log(token) == []


@pytest.mark.parametrize("source", ["127.0.0.1", OUTSIDER])
def test_a_restored_loopback_address_is_not_local_to_the_peer(cluster, source):
    first, second = cluster.servers
    token = new_token()
    response = fetch(first, "/for-locals-there/small.html", f"X-Token: {token}", source=source)

    assert response.status == 403
    assert [(line.address, line.forwarder) for line in second.logged(token)] == [(source, first.address)]
    # Nor is whoever comes there directly refused: it is a client of that host.
    assert fetch(second, "/for-locals-there/small.html", source=source).status == 200


# ---- client certificates ----


def make_client_certificate(folder):
    certificate, key = folder / "client.pem", folder / "client.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=a client", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    return certificate, key


@pytest.mark.parametrize("mpm", MPMS)
def test_a_client_with_a_certificate_is_served_where_it_connects(mpm):
    cluster = Cluster(mpm, size=2, tls=True)
    for server in cluster.servers:
        server.tail_lines = tls_site(server, f"""
SSLVerifyClient optional_no_ca
<Location "/">
{FORWARD_ALWAYS}
SSLOptions +StdEnvVars
</Location>
ScriptAlias "/who" "{cluster.site}/cgi/who.cgi"
""")
    with cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        seen = {}
        for certificate in (None, make_client_certificate(cluster.folder)):
            token = new_token()
            with Connection(first.address, first.tls_port, tls_name=client.SITE, certificate=certificate) as connection:
                connection.send(request("/who", "Connection: close", f"X-Token: {token}"))
                body = connection.response().text
            seen[certificate is not None] = (body, first.logged(token)[0].peer)

        assert seen == {True: ("CN=a client\n", "-"), False: ("nobody\n", second.contact)}
