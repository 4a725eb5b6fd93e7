"""A request reaches the site it was meant for: by name, by TLS, and nowhere else."""

import pytest

import client
from httpd import FORWARD_ALWAYS, MPMS, REPORT, Cluster, free_ports, tls_site

OTHER_SITE = "other.backhand.test"

# Stands in the plain site and in the TLS one.
FOR_TLS_CLIENTS = """
<Location "/for-tls-clients">
    Require ssl
</Location>
Alias "/for-tls-clients" "${SITE}/htdocs"
"""


def with_tls(mpm):
    """A cluster whose plain virtual host only redirects to the TLS one, and two more sites.

    The TLS virtual hosts are bound to each server's own address, the others to any.
    """
    cluster = Cluster(mpm, size=2, tls=True, plain_too=True)
    for server in cluster.everyone:
        chain = FORWARD_ALWAYS if server in cluster.servers else ""
        server.site_lines += f"""
Redirect permanent "/secure" "https://{client.SITE}:{cluster.tls_port}/secure"
Redirect permanent "/common" "https://{client.SITE}:{cluster.tls_port}/common"
{FOR_TLS_CLIENTS}
"""
        server.tail_lines = tls_site(server, f"""
<Location "/">
{chain}
</Location>
Alias "/secure" "{cluster.site}/htdocs"
ScriptAlias "/common" "{cluster.site}/cgi/env.cgi"
<Location "/members-over-tls">
    SSLRequireSSL
</Location>
Alias "/members-over-tls" "{cluster.site}/htdocs"
<Location "/over-tls-or-a-page">
    SSLRequireSSL
    ErrorDocument 403 /errors/not_found.html
</Location>
Alias "/over-tls-or-a-page" "{cluster.site}/htdocs"
{FOR_TLS_CLIENTS}
# The idiom of a rule file that both virtual hosts share.
RewriteCond %{{HTTPS}} !=on
RewriteRule "^/shared/(.*)$" "https://%{{HTTP_HOST}}/shared/$1" [R=301,L]
Alias "/shared" "{cluster.site}/htdocs"
""", server.address) + f"""
<VirtualHost *:{cluster.port}>
ServerName {OTHER_SITE}
DocumentRoot "{cluster.site}/htdocs"
<Directory "{cluster.site}/htdocs">
    Require all granted
</Directory>
<Location "/">
{chain}
</Location>
Header set X-Site "other"
</VirtualHost>
"""
    return cluster


@pytest.fixture(scope="module", params=MPMS)
def cluster(request):
    with with_tls(request.param) as running:
        yield running.wait_until_complete()


def forwarded(cluster, target, **rest):
    """One request to the first server that must be forwarded to the second."""
    first, second = cluster.servers
    token = client.new_token()
    response = client.fetch(first, target, f"X-Token: {token}", **rest)
    assert [line.peer for line in first.logged(token)] == [second.contact], (response, first.report())
    assert [line.forwarder for line in second.logged(token)] == [first.address]
    return response


def test_the_plain_site_redirects_to_the_tls_site(cluster):
    response = client.fetch(cluster.servers[0], "/secure/small.html")

    assert response.status == 301
    assert response.field("Location") == f"https://{client.SITE}:{cluster.tls_port}/secure/small.html"


def test_a_tls_client_gets_the_content_and_no_redirect_through_a_forward(cluster):
    response = forwarded(cluster, "/secure/small.html", tls=True)

    assert response.status == 200
    assert response.body == (cluster.site / "htdocs" / "small.html").read_bytes()


def test_a_script_at_the_peer_runs_as_over_tls(cluster):
    told = forwarded(cluster, "/common?x=1", tls=True, host=f"{client.SITE}:{cluster.tls_port}").text

    assert "HTTPS=on\n" in told
    assert f"SERVER_PORT={cluster.tls_port}\n" in told
    assert "REQUEST_SCHEME=https\n" in told
    assert f"SCRIPT_URI=https://{client.SITE}" in told


def test_a_script_at_the_peer_of_a_plain_site_knows_nothing_of_tls(cluster):
    told = forwarded(cluster, "/cgi/env.cgi").text

    assert "HTTPS=" not in told
    assert f"SERVER_PORT={cluster.port}\n" in told or "SERVER_PORT=80\n" in told
    assert "REQUEST_SCHEME=http\n" in told


@pytest.mark.parametrize("port_in_host", [True, False])
@pytest.mark.parametrize("tls, target", [(True, "/common?x=1"), (False, "/cgi/env.cgi?x=1")])
def test_a_script_is_told_of_its_site_what_a_plain_httpd_tells_it(cluster, tls, target, port_in_host):
    port = cluster.tls_port if tls else cluster.port
    host = f"{client.SITE}:{port}" if port_in_host else client.SITE
    direct, told = [client.fetch(server, target, host=host, tls=tls).text.splitlines()
                    for server in (cluster.plain, cluster.servers[0])]

    assert told == direct


def test_a_redirect_within_the_tls_site_stays_there(cluster):
    host = f"{client.SITE}:{cluster.tls_port}"
    response = client.fetch(cluster.servers[0], "/folder", tls=True, host=host)

    assert response.field("Location") == f"https://{host}/folder/"


def test_a_rule_that_redirects_all_but_https_does_not_loop(cluster):
    response = client.fetch(cluster.servers[0], "/shared/small.html", tls=True)

    assert response.status == 200


def test_a_folder_that_requires_tls_is_served_to_tls_clients(cluster):
    response = client.fetch(cluster.servers[0], "/members-over-tls/small.html", tls=True)

    assert response.status == 200


def test_a_page_behind_require_ssl_is_forwarded_for_tls_clients_and_refused_to_others(cluster):
    target = "/for-tls-clients/small.html"

    assert forwarded(cluster, target, tls=True).status == 200
    assert client.fetch(cluster.servers[0], target).status == 403


def test_a_page_that_the_peer_would_refuse_to_a_tls_client_is_served_here_despite_a_local_error_page(cluster):
    first = cluster.servers[0]
    declined = first.counters()["forward_declined"]
    response = client.fetch(first, "/over-tls-or-a-page/small.html", tls=True)

    assert response.status == 200
    assert response.body == (cluster.site / "htdocs" / "small.html").read_bytes()
    assert first.counters()["forward_declined"] == declined + 1


def test_requests_of_both_sites_alternate_on_the_same_peer_connections_without_mixing(cluster):
    for _ in range(10):
        assert forwarded(cluster, "/small.html", host=OTHER_SITE).field("X-Site") == "other"
        assert forwarded(cluster, "/small.html").field("X-Site") is None
        assert "HTTPS=on\n" in forwarded(cluster, "/common", tls=True).text
        assert "HTTPS=" not in forwarded(cluster, "/cgi/env.cgi").text


def test_the_peer_logs_the_site_that_the_client_asked_for(cluster):
    first, second = cluster.servers
    token = client.new_token()
    client.fetch(first, "/small.html", f"X-Token: {token}", host=OTHER_SITE)

    assert [line.site for line in second.logged(token)] == [OTHER_SITE]


def test_a_tls_client_that_keeps_its_connection_gets_every_answer(cluster):
    first = cluster.servers[0]
    with client.Connection(first.address, first.tls_port, tls_name=client.SITE) as connection:
        for target, method, body in [("/secure/large.bin", "GET", b""), ("/cgi/echo.cgi", "POST", b"z" * 100_000),
                                     ("/secure/small.html", "HEAD", b""), ("/secure/small.html", "GET", b"")]:
            connection.send(client.request(target, method=method, body=body))
            response = connection.response(method)
            assert response.status == 200
            assert method != "POST" or response.body == body


def test_a_server_that_does_not_offer_the_site_gets_no_request_for_it():
    def site_name(number):
        return OTHER_SITE if number == 2 else client.SITE

    with Cluster("event", size=3, site_name=site_name) as cluster:
        first, second, third = cluster.servers
        cluster.wait_until_complete()
        for _ in range(10):
            token = client.new_token()
            assert client.fetch(first, "/small.html", f"X-Token: {token}").status == 200
            assert first.logged(token)[0].peer == third.contact

        assert [line for line in second.log(path="/small.html") if line.via != "-"] == []


def test_the_sites_a_server_offers_can_be_named():
    def services(number):
        return {1: f"BackhandService {client.SITE} {OTHER_SITE}", 2: f"BackhandService {OTHER_SITE}"}.get(number, "")

    with Cluster("event", size=3, server_lines=services) as cluster:
        first, second, third = cluster.servers
        cluster.wait_until_complete()

        assert set(first.sees(first)["services"]) >= {client.SITE, OTHER_SITE}
        assert OTHER_SITE in first.sees(second)["services"]
        assert client.SITE in first.sees(third)["services"]


NEVER_FORWARDED = [
    (REPORT, ""),
    ("/server-status?auto", '<Location "/server-status">\nSetHandler server-status\n</Location>'),
    ("/.well-known/acme-challenge/token", 'Alias "/.well-known/acme-challenge/token" "${SITE}/htdocs/small.html"'),
]


def test_status_pages_and_certificate_challenges_are_answered_where_they_arrive():
    lines = "\n".join(line for _, line in NEVER_FORWARDED)
    with Cluster("event", size=2, site_lines=lines) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        for target, _ in NEVER_FORWARDED:
            token = client.new_token()
            assert client.fetch(first, target, f"X-Token: {token}").status == 200
            assert [line.peer for line in first.logged(token)] == ["-"]
            assert second.log(token) == []


def site_block(cluster, port, name):
    """A virtual host without any directive of the module, which says its name in its responses."""
    return f"""
<VirtualHost *:{port}>
ServerName {name}
DocumentRoot "{cluster.site}/htdocs"
<Directory "{cluster.site}/htdocs">
    Require all granted
</Directory>
ScriptAlias "/cgi/" "{cluster.site}/cgi/"
<Directory "{cluster.site}/cgi">
    Require all granted
</Directory>
Header set X-Site {name}
</VirtualHost>
"""


def fetch_at(server, port, host, target="/small.html", **rest):
    """One request to a port of the server that is not the one peers connect to; returns it with its token."""
    token = client.new_token()
    method = rest.get("method", "GET")
    with client.Connection(server.address, port) as connection:
        connection.send(client.request(target, "Connection: close", f"X-Token: {token}", host=host, **rest))
        return connection.response(method), token


def test_a_virtual_host_without_a_directive_of_its_own_is_a_site_of_its_own():
    cluster = Cluster("event", size=2, chain="", server_lines=FORWARD_ALWAYS)
    first, second = cluster.servers
    first.tail_lines = site_block(cluster, cluster.port, "only.test")

    with cluster:
        cluster.wait_until_complete()
        for _ in range(5):
            token = client.new_token()
            response = client.fetch(first, "/small.html", f"X-Token: {token}", host="only.test")
            assert (response.status, response.field("X-Site")) == (200, "only.test")
            assert [line.peer for line in first.logged(token)] == ["-"]
            assert second.log(token) == []

        assert "only.test" in first.sees(first)["services"]
        assert "only.test" in second.sees(first)["services"]
        assert "only.test" not in first.sees(second)["services"]
        # The chain in server scope does forward what both offer.
        forwarded(cluster, "/small.html")


def test_a_peer_whose_virtual_hosts_differ_declines_and_the_site_is_served_here():
    cluster = Cluster("event", size=2, chain="", server_lines=FORWARD_ALWAYS)
    first, second = cluster.servers
    extra_port, = free_ports(1)
    first.server_lines += f"\nListen {first.address}:{extra_port}\nBackhandSelf {first.contact}"
    # Both offer this name, but at this port the peer knows another site.
    first.tail_lines = site_block(cluster, extra_port, client.SITE)
    second.tail_lines = site_block(cluster, extra_port, OTHER_SITE)

    with cluster:
        cluster.wait_until_complete()
        before = first.counters()["forward_declined"], second.counters()["proxied_declined"]
        for method, target, body in [("GET", "/small.html", b""), ("POST", "/cgi/echo.cgi", b"sent once")]:
            response, token = fetch_at(first, extra_port, client.SITE, target, method=method, body=body)
            assert (response.status, response.field("X-Site")) == (200, client.SITE)
            assert response.body == body or method == "GET"
            assert [line.peer for line in first.logged(token)] == ["-"]

        assert first.counters()["forward_declined"] == before[0] + 2
        assert second.counters()["proxied_declined"] == before[1] + 2


def test_a_site_that_a_strict_host_check_hides_from_the_peers_own_port_is_answered_all_the_same():
    cluster = Cluster("event", size=2, chain="", server_lines=f"{FORWARD_ALWAYS}\nStrictHostCheck ON")
    extra_port, = free_ports(1)
    for server in cluster.servers:
        server.server_lines += f"\nListen {server.address}:{extra_port}\nBackhandSelf {server.contact}"
        server.tail_lines = site_block(cluster, extra_port, OTHER_SITE)

    with cluster:
        first, _ = cluster.servers
        cluster.wait_until_complete()
        response, _ = fetch_at(first, extra_port, OTHER_SITE)

        assert (response.status, response.field("X-Site")) == (200, OTHER_SITE)
        assert response.body == (cluster.site / "htdocs" / "small.html").read_bytes()
        # The check is on.
        assert client.fetch(first, host=OTHER_SITE).status == 400


def test_sites_by_two_names_at_two_ports_are_told_apart_through_forwards():
    cluster = Cluster("event", size=2, chain="", server_lines=FORWARD_ALWAYS)
    ports = free_ports(2)
    names = ["one.backhand.test", "two.backhand.test"]
    for server in cluster.servers:
        server.server_lines += "".join(f"\nListen {server.address}:{port}" for port in ports)
        server.server_lines += f"\nBackhandSelf {server.contact}"
        server.tail_lines = "".join(
            site_block(cluster, port, name).replace(f"X-Site {name}", f"X-Site {name}-{port}")
            for port in ports for name in names)

    with cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        for _ in range(3):
            for port in ports:
                for name in names:
                    response, token = fetch_at(first, port, name)
                    assert (response.status, response.field("X-Site")) == (200, f"{name}-{port}")
                    assert [line.peer for line in first.logged(token)] == [second.contact]
                    assert [line.site for line in second.logged(token)] == [name]
