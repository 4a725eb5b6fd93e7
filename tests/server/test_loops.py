"""Clusters that were chained by mistake: a request is answered, and never goes round.

Each cluster has one server, which forwards all it may. To each the server of the next has been announced, and to the
last that of the first: whoever gets a request could send it on for ever.
"""

import contextlib

import pytest

from client import fetch, new_token
from hammer import ask_all
from httpd import FORWARD_ALWAYS, HTTPD_MODULES, MPMS, REPORT, Cluster
from processes import wait_until
from test_command_line import MANY_WORKERS, PREFER_PEERS, announced

ALL = "AcceptStats 127.0.1.0/24"


def address_of(number):
    return f"127.0.1.{number}"


@contextlib.contextmanager
def ring(mpm, size, accept=lambda following: ALL):
    """The servers of so many clusters, number 1 and up; each has heard of the following one only."""
    numbers = list(range(1, size + 1))
    following = dict(zip(numbers, numbers[1:] + numbers[:1]))
    clusters = [Cluster(mpm, size=1, first=number, chain=PREFER_PEERS, workers=8, accept=accept(following[number]))
                for number in numbers]
    servers = [cluster.servers[0] for cluster in clusters]
    with contextlib.ExitStack() as stack:
        for cluster, server in zip(clusters, servers):
            # One site has one port.
            cluster.port = server.port = servers[0].port
            stack.enter_context(cluster)
        for number, cluster in zip(numbers, clusters):
            stack.enter_context(announced(cluster, servers[following[number] - 1], *MANY_WORKERS))
        yield servers


def assert_every_request_is_answered_once(servers, token):
    for server in servers:
        for target in ("/small.html", "/cgi/env.cgi"):
            assert fetch(server, target, f"X-Token: {token}").status == 200

    def answers():
        return [line for server in servers for line in server.log(token) if line.peer == "-" and line.status == "200"]

    wait_until(lambda: f"all are logged: {answers()}", lambda: len(answers()) == 2 * len(servers), limit_s=10)


@pytest.mark.parametrize("mpm", MPMS)
def test_two_servers_that_take_each_other_for_members_forward_once(mpm):
    with ring(mpm, 2) as servers:
        token = new_token()
        assert_every_request_is_answered_once(servers, token)

        for server in servers:
            assert [line.peer for line in server.log(token)].count("-") == 2
            assert server.counters()["forwarded"] == server.counters()["proxied_accepted"] == 2


@pytest.mark.parametrize("mpm", MPMS)
def test_a_server_sends_back_what_comes_from_one_it_has_not_heard_of(mpm):
    with ring(mpm, 3) as servers:
        token = new_token()
        assert_every_request_is_answered_once(servers, token)

        counters = [server.counters() for server in servers]
        declined = sum(each["forward_declined"] for each in counters)
        assert declined == sum(each["proxied_declined"] for each in counters)
        # At least the first request to each; who does so is left alone for a while.
        assert declined >= len(servers)
        assert {each["forwarded"] for each in counters} == {0}


@pytest.mark.parametrize("mpm", MPMS)
def test_a_server_keeps_what_comes_from_one_it_does_not_accept(mpm):
    with ring(mpm, 3, accept=lambda following: f"AcceptStats {address_of(following)}") as servers:
        token = new_token()
        assert_every_request_is_answered_once(servers, token)

        for server in servers:
            counters = server.counters()
            assert (counters["forwarded"], counters["proxied_header_removed"]) == (2, 2)


@pytest.mark.parametrize("mpm", MPMS)
@pytest.mark.parametrize("size", [2, 3])
def test_servers_in_a_ring_answer_under_more_load_than_they_have_workers(mpm, size):
    with ring(mpm, size) as servers:
        jobs = [(server, "/small.html") for _ in range(100) for server in servers]
        assert ask_all(jobs, 8 * size) == ["HTTP/1.1 200 OK"] * len(jobs)


# ---- circles that a server's own ProxyPass closes ----


# Two ways to write it; {} is the contact that all requests go to.
PROXY_PASS = f'ProxyPass "{REPORT}" "!"\nProxyPass "/" "http://{{}}/"'
REWRITE_RULE = f'RewriteCond "%{{{{REQUEST_URI}}}}" "!^{REPORT}"\nRewriteRule "^/(.*)$" "http://{{}}/$1" [P]'


def passing_on(server, following, way=PROXY_PASS):
    """What the server does not forward it passes on, by mistake, to one from which such requests come."""
    server.server_lines += "".join(f"\nLoadModule {name}_module {HTTPD_MODULES}/mod_{name}.so"
                                   for name in ("proxy", "proxy_http", "proxy_http2", "slotmem_shm", "proxy_balancer",
                                                "lbmethod_byrequests"))
    server.site_lines += "\n" + way.format(following.contact)


def assert_served_once(servers, entrance, target, way):
    """The request goes through the servers of `way`, by their numbers, and is answered by the last of them."""
    token = new_token()
    assert fetch(entrance, target, f"X-Token: {token}").status == 200

    def visits():
        return {server.number: len(server.log(token)) for server in servers if server.log(token)}

    expected = {number: way.count(number) for number in way}
    wait_until(lambda: f"it was at {way}: {visits()}", lambda: visits() == expected, limit_s=10)


@contextlib.contextmanager
def members_of_which_one_passes_on(mpm, size, way=PROXY_PASS, **settings):
    """The second server passes all it gets on to the first."""
    cluster = Cluster(mpm, size=size, **settings)
    passing_on(cluster.servers[1], cluster.servers[0], way)
    with cluster:
        yield cluster.wait_until_complete().servers


@pytest.mark.parametrize("way", [PROXY_PASS, REWRITE_RULE], ids=["ProxyPass", "RewriteRule"])
@pytest.mark.parametrize("mpm", MPMS)
def test_a_request_that_comes_back_through_a_peers_own_proxy_is_served_where_it_began(mpm, way):
    with members_of_which_one_passes_on(mpm, 2, way) as servers:
        first, second = servers
        for target in ("/small.html", "/cgi/env.cgi"):
            assert_served_once(servers, first, target, [1, 2, 1])
        assert first.counters()["forwarded"] == second.counters()["proxied_accepted"] == 2


@pytest.mark.parametrize("mpm", MPMS)
def test_no_member_forwards_again_what_comes_back_through_a_peers_own_proxy(mpm):
    with members_of_which_one_passes_on(mpm, 3, chain=PREFER_PEERS) as servers:
        first, second, third = servers
        tokens = [new_token() for _ in range(20)]
        for token in tokens:
            assert fetch(third, "/small.html", f"X-Token: {token}").status == 200

        wait_until("all are logged where they began and where they are answered",
                   lambda: all(server.log(token) for server in (first, third) for token in tokens))
        assert {len(server.log(token)) for server in (first, third) for token in tokens} == {1}
        assert 0 < sum(len(second.log(token)) for token in tokens) < len(tokens)
        assert first.counters()["forwarded"] == 0


@pytest.mark.parametrize("mpm", MPMS)
def test_requests_that_come_back_through_a_peers_own_proxy_are_answered_under_load(mpm):
    with members_of_which_one_passes_on(mpm, 2, workers=8) as servers:
        first, second = servers
        assert ask_all([(first, "/small.html")] * 100, 4) == ["HTTP/1.1 200 OK"] * 100
        # Once at most for each, though it could not be for all of them.
        assert 0 < first.counters()["forwarded"] <= 100
        assert second.counters()["forwarded"] == 0


@contextlib.contextmanager
def two_clusters(mpm, *passing, way=PROXY_PASS):
    """Two clusters of two servers each, 1 and 2, 3 and 4; `passing` are pairs of numbers, of which the one passes all
    it gets on to the other, in this way."""
    clusters = [Cluster(mpm, size=2, first=first) for first in (1, 3)]
    servers = [server for cluster in clusters for server in cluster.servers]
    for one, following in passing:
        passing_on(servers[one - 1], servers[following - 1], way)
    with clusters[0], clusters[1]:
        for cluster in clusters:
            cluster.wait_until_complete()
        yield servers


@pytest.mark.parametrize("mpm", MPMS)
def test_each_of_two_clusters_that_pass_requests_on_to_each_other_forwards_once(mpm):
    with two_clusters(mpm, (2, 3), (4, 1)) as servers:
        assert_served_once(servers, servers[0], "/small.html", [1, 2, 3, 4, 1])
        assert_served_once(servers, servers[2], "/small.html", [3, 4, 1, 2, 3])


def test_a_cluster_behind_another_is_balanced_all_the_same():
    with two_clusters("event", (2, 3)) as servers:
        assert_served_once(servers, servers[0], "/small.html", [1, 2, 3, 4])


BALANCER = f'''ProxyPass "{REPORT}" "!"
ProxyPass "/" "balancer://some/"
<Proxy "balancer://some">
    BalancerMember "http://{{}}"
</Proxy>'''


@pytest.mark.parametrize("way", [PROXY_PASS, BALANCER], ids=["ProxyPass", "balancer"])
def test_a_request_says_where_it_has_been_to_those_only_that_a_peer_passes_it_on_to(way):
    with two_clusters("event", (2, 3), way=way) as servers:
        for entrance, told in [(servers[0], servers[1].contact), (servers[1], None), (servers[2], None)]:
            lines = fetch(entrance, "/cgi/env.cgi").text.splitlines()
            assert [line for line in lines if line.startswith("HTTP_BACKHAND")] == \
                ([f"HTTP_BACKHAND_VISITED={told}"] if told else [])


# ---- and over HTTP/2 ----

H2C = "Protocols h2c http/1.1\n"
H2C_PASS = f'{H2C}ProxyPass "{REPORT}" "!"\nProxyPass "/" "h2c://{{}}/"'


H2C_BALANCER = f'''{H2C}ProxyPass "{REPORT}" "!"
ProxyPass "/" "balancer://some/"
<Proxy "balancer://some">
    BalancerMember "h2c://{{}}"
</Proxy>'''


@pytest.mark.parametrize("way", [H2C_PASS, H2C_BALANCER], ids=["ProxyPass", "balancer"])
@pytest.mark.parametrize("mpm", ["worker", "event"])
def test_a_request_that_comes_back_over_http_2_is_served_where_it_began(mpm, way):
    with members_of_which_one_passes_on(mpm, 2, way, site_lines=H2C,
                                        server_lines=f"LoadModule http2_module {HTTPD_MODULES}/mod_http2.so") as servers:
        first, second = servers
        for target in ("/small.html", "/cgi/env.cgi"):
            assert_served_once(servers, first, target, [1, 2, 1])
        assert first.counters()["forwarded"] == second.counters()["proxied_accepted"] == 2
