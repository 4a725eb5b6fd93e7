"""Servers on networks of their own: every way to announce, several networks, and what fails there."""

import re

import pytest

import netns
from client import fetch, new_token
from hammer import Hammer
from httpd import REPORT, Cluster
from processes import wait_until

NO_NETWORKS = netns.why_not()
pytestmark = pytest.mark.skipif(NO_NETWORKS is not None, reason=str(NO_NETWORKS))

ACCEPT = "AcceptStats 10.77 fd77::/16 fe80::/10"
# Any peer may be chosen, so that a test need not know who comes first.
ANY_PEER = "Backhand byAge 60\nBackhand removeSelf\nBackhand byRandom"
MANY = 100

# What a healthy cluster never counts: among these that somebody hears an announcement twice.
WRONG = ["datagrams_failed", "datagrams_short", "datagrams_long", "datagrams_of_other_version", "datagrams_malformed",
         "datagrams_from_stranger", "datagrams_contact_refused", "datagrams_replayed", "datagrams_cluster_full"]


@pytest.fixture(scope="module", name="network")
def one_network():
    with netns.Networks([1, 2, 3]) as networks:
        yield networks


def clustered(hosts, destination, **options):
    return Cluster("event", hosts=hosts, destination=destination, accept=ACCEPT, chain=ANY_PEER, **options)


def to_group(server):
    """IPv4 multicast, sent and heard on every network of the server's host, named by its addresses."""
    host, cluster = server.host, server.cluster
    return "\n".join(f"MulticastStats {host.address(network)} {cluster.group}:{cluster.announce_port},1"
                     for network in host.networks)


def to_group_where_routing_leads(server):
    return f"MulticastStats {server.cluster.group}:{server.cluster.announce_port}"


def to_link_local_group(server):
    """The network is chosen by a global address, by a link-local one, or by routing."""
    chooser = {1: server.host.address6(), 2: server.host.link_local(), 3: ""}[server.number]
    return f"MulticastStats {chooser} [ff02::77]:{server.cluster.announce_port}"


def to_everybody(server):
    """Broadcast to this network, from an address that is written or not."""
    target = {1: "10.77.0.1 10.77.0.255", 2: "10.77.0.255", 3: "10.77.0.255"}[server.number]
    return f"MulticastStats {target}:{server.cluster.announce_port}"


def to_whatever_network_this_is(server):
    return f"MulticastStats {server.address} 255.255.255.255:{server.cluster.announce_port}"


def to_each(server):
    """The same lines at every server: itself is one of them."""
    return "\n".join(f"MulticastStats {other.contact.rsplit(':', 1)[0]}:{server.cluster.announce_port}"
                     for other in server.cluster.servers)


def to_each_and_to_a_group(server):
    """The same port for both, so that everything is heard twice and taken in once."""
    return f"{to_group(server)}\n{to_each(server)}"


def state(viewer, other):
    """What one server's report page calls the state of another; None if it does not know it."""
    page = fetch(viewer, REPORT).text
    row = re.search(re.escape(other.contact) + r'</td><td class="(\w+)">', page)
    return row.group(1) if row else None


def wait_until_state(viewer, other, *wanted):
    wait_until(lambda: f"{viewer} finds {other} {' or '.join(wanted)}, not {state(viewer, other)}",
               lambda: state(viewer, other) in wanted, limit_s=60)


def wait_until_forwarded(first, second):
    """A request to the first is served by the second; until then none may fail."""
    def is_forwarded():
        token = new_token()
        response = fetch(first, "/small.html", f"X-Token: {token}")
        assert response.status == 200, response
        return first.logged(token)[0].peer == second.contact

    wait_until(f"{first} forwards to {second}", is_forwarded, limit_s=60)


def attempts_in_vain(server):
    counters = server.counters()
    return counters["forward_connect_failed"] + counters["forward_timed_out"] + counters["forward_reset"]


def pages(cluster):
    return {"/small.html": (cluster.site / "htdocs" / "small.html").read_bytes()}


def wrong_counts(server):
    counters = server.counters()
    return {name: counters[name] for name in WRONG if counters[name] != 0}



@pytest.mark.parametrize("destination,address_of", [
    pytest.param(to_group, netns.Host.address, id="IPv4 multicast"),
    pytest.param(to_group_where_routing_leads, netns.Host.address, id="IPv4 multicast by routing"),
    pytest.param(to_link_local_group, netns.Host.address6, id="IPv6 multicast"),
    pytest.param(to_everybody, netns.Host.address, id="broadcast"),
    pytest.param(to_whatever_network_this_is, netns.Host.address, id="limited broadcast"),
    pytest.param(to_each, netns.Host.address, id="IPv4 list"),
    pytest.param(to_each, netns.Host.address6, id="IPv6 list"),
])
def test_servers_hear_one_another_once(network, destination, address_of):
    with clustered(network.hosts, destination, address_of=address_of) as cluster:
        cluster.wait_until_complete()
        everyone = sorted(server.contact for server in cluster.servers)
        for server in cluster.servers:
            assert sorted(entry["contact"] for entry in server.report()["servers"]) == everyone
            wait_until("it hears itself", lambda server=server: server.counters()["datagrams_own"] > 0)
        assert [wrong_counts(server) for server in cluster.servers] == [{}, {}, {}]

        first, *others = cluster.servers
        token = new_token()
        assert fetch(first, "/small.html", f"X-Token: {token}").status == 200
        assert first.logged(token)[0].peer in {other.contact for other in others}


def test_servers_that_are_announced_to_twice_have_each_other_once(network):
    with clustered(network.hosts[:2], to_each_and_to_a_group) as cluster:
        cluster.wait_until_complete()
        for server in cluster.servers:
            wait_until("the second copies are known as such", lambda server=server:
                       server.counters()["datagrams_replayed"] > 10)
            counters = server.counters()
            assert len(server.report()["servers"]) == 2
            assert counters["datagrams_failed"] == 0


def test_a_server_with_a_leg_in_two_networks_hears_both_and_knows_itself_in_both():
    with netns.Networks([1, 2], [2, 3]) as networks, clustered(networks.hosts, to_group) as cluster:
        left, middle, right = cluster.servers
        cluster.wait_until_complete([left, middle])
        cluster.wait_until_complete([middle, right])
        wait_until("some announcements", lambda: middle.counters()["datagrams_sent"] > 40)

        for server, known in ((left, [left, middle]), (middle, cluster.servers), (right, [middle, right])):
            contacts = sorted(entry["contact"] for entry in server.report()["servers"])
            assert contacts == sorted(other.contact for other in known)
            assert wrong_counts(server) == {}
        counters = middle.counters()
        # Half of them would be those of one network; the last may be on their way.
        assert counters["datagrams_own"] >= counters["datagrams_sent"] - 4
        wait_until_forwarded(right, middle)
        wait_until_forwarded(middle, right)
        wait_until_forwarded(middle, left)


def test_no_client_notices_that_the_network_parts_and_heals(network):
    with clustered(network.hosts, to_group, site_lines="Timeout 3") as cluster:
        first, second, third = cluster.servers
        cluster.wait_until_complete()
        with Hammer([first, second], pages(cluster)) as clients:
            clients.wait_for(MANY)
            with network.parted(first.host, second.host):
                for viewer, lost in ((first, second), (second, first)):
                    wait_until_state(viewer, lost, "silent")
                    wait_until(f"{viewer} has given up on {lost}",
                               lambda viewer=viewer, lost=lost: viewer.sees(lost)["in_flight"] == 0)
                before = [attempts_in_vain(first), attempts_in_vain(second)]
                clients.wait_for(MANY)
                assert [attempts_in_vain(first), attempts_in_vain(second)] == before
                assert [state(first, third), state(second, third)] == ["ok", "ok"]
                assert [state(third, first), state(third, second)] == ["ok", "ok"]
            wait_until_state(first, second, "ok")
            wait_until_state(second, first, "ok")
            clients.wait_for(MANY)
        assert clients.failures == []
        wait_until_forwarded(first, second)
        wait_until_forwarded(second, first)


def test_a_server_is_seen_when_it_joins_late_and_gone_when_it_is_killed(network):
    cluster = clustered(network.hosts, to_group)
    late = cluster.servers.pop()
    first, second = cluster.servers
    with cluster:
        cluster.wait_until_complete()
        assert state(first, late) is None

        cluster.servers.append(late)
        late.start()
        cluster.wait_until_complete()
        wait_until_forwarded(first, late)

        late.kill()
        for viewer in (first, second):
            wait_until_state(viewer, late, "silent", "ejected")
        with Hammer([first, second], pages(cluster)) as clients:
            clients.wait_for(MANY)
        assert clients.failures == []
        for viewer in (first, second):
            wait_until_state(viewer, late, "silent")


def test_a_list_is_heard_again_after_a_graceful_restart(network):
    with clustered(network.hosts[:2], to_each) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        before = second.moderator()
        second.restart_gracefully()
        wait_until("the new moderator is alone", lambda: second.moderators() not in ([], [before]) and
                   len(second.moderators()) == 1)
        for viewer, other in ((first, second), (second, first)):
            known = viewer.sees(other)["measurement"]
            wait_until(f"{viewer} hears more of {other}",
                       lambda viewer=viewer, other=other, known=known: viewer.sees(other)["measurement"] > known + 5)


def test_a_server_that_loses_its_network_counts_what_it_cannot_send_and_comes_back(network):
    with clustered(network.hosts[:2], to_group) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        moderator = second.moderator()

        second.host.ip("link set net0 down")
        try:
            wait_until("failures are counted", lambda: second.counters()["datagrams_failed"] > 3)
            wait_until_state(first, second, "silent")
            wait_until_state(second, first, "silent")
            assert fetch(second).status == 200
        finally:
            second.host.ip("link set net0 up")

        wait_until_state(first, second, "ok")
        wait_until_state(second, first, "ok")
        assert second.moderator() == moderator
