"""Clusters that were chained by mistake: a request is answered, and never goes round.

Each cluster has one server, which forwards all it may. To each the server of the next has been announced, and to the
last that of the first: whoever gets a request could send it on for ever.
"""

import contextlib

import pytest

from client import fetch, new_token
from hammer import ask_all
from httpd import Cluster
from processes import wait_until
from test_command_line import PREFER_PEERS, announced

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
            stack.enter_context(announced(cluster, servers[following[number] - 1], "--workers", 50))
        yield servers


def assert_every_request_is_answered_once(servers, token):
    for server in servers:
        for target in ("/small.html", "/cgi/env.cgi"):
            assert fetch(server, target, f"X-Token: {token}").status == 200

    def answers():
        return [line for server in servers for line in server.log(token) if line.peer == "-" and line.status == "200"]

    wait_until(lambda: f"all are logged: {answers()}", lambda: len(answers()) == 2 * len(servers), limit_s=10)


@pytest.mark.parametrize("mpm", ["prefork", "event"])
def test_two_servers_that_take_each_other_for_members_forward_once(mpm):
    with ring(mpm, 2) as servers:
        token = new_token()
        assert_every_request_is_answered_once(servers, token)

        for server in servers:
            assert [line.peer for line in server.log(token)].count("-") == 2
            assert server.counters()["forwarded"] == server.counters()["proxied_accepted"] == 2


@pytest.mark.parametrize("mpm", ["prefork", "event"])
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


@pytest.mark.parametrize("mpm", ["prefork", "event"])
def test_a_server_keeps_what_comes_from_one_it_does_not_accept(mpm):
    with ring(mpm, 3, accept=lambda following: f"AcceptStats {address_of(following)}") as servers:
        token = new_token()
        assert_every_request_is_answered_once(servers, token)

        for server in servers:
            counters = server.counters()
            assert (counters["forwarded"], counters["proxied_header_removed"]) == (2, 2)


@pytest.mark.parametrize("mpm", ["prefork", "event"])
@pytest.mark.parametrize("size", [2, 3])
def test_servers_in_a_ring_answer_under_more_load_than_they_have_workers(mpm, size):
    with ring(mpm, size) as servers:
        jobs = [(server, "/small.html") for _ in range(100) for server in servers]
        assert ask_all(jobs, 8 * size) == ["HTTP/1.1 200 OK"] * len(jobs)
