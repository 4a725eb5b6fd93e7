"""The numbers of requests served and forwarded are exact, whatever happens to processes.

Two servers work and a third, which offers another site and so gets nothing to do, watches: what it
reads is what the two announce, undisturbed by the reading.
"""

import os
import signal

import pytest

import client
from client import Connection, request
from gates import Waiting
from httpd import FORWARD_ALWAYS, MPMS, SERVE_HERE, Cluster
from processes import holder_of, is_running, wait_until

# A number is believed when so many further announcements repeat it.
REPEATED = 3


@pytest.fixture(scope="module", params=MPMS)
def cluster(request):
    with Cluster(request.param, size=3,
                 chain=lambda number: FORWARD_ALWAYS if number == 1 else SERVE_HERE,
                 site_name=lambda number: "observer.backhand.test" if number == 3 else client.SITE,
                 site_lines='ScriptAlias "/served-here" "${SITE}/cgi"\n'
                            f'<Location "/served-here">\n{SERVE_HERE}\n</Location>') as running:
        yield running.wait_until_complete()


@pytest.fixture(autouse=True)
def nothing_in_flight(cluster):
    first, second, observer = cluster.servers
    wait_for_counts(observer, {first: (0, 0), second: (0, 0)})


def counts(observer, server):
    entry = observer.sees(server)
    return (entry["serving"], entry["forwarding"]) if entry else None


def wait_for_counts(observer, expected):
    """Waits until the observer reads the (serving, forwarding) expected."""
    for server, numbers in expected.items():
        wait_until(lambda server=server, numbers=numbers: f"{numbers} at {server}, not {counts(observer, server)}",
                   lambda server=server, numbers=numbers: counts(observer, server) == numbers)


def wait_for_announcements(observer, servers, count):
    for _ in range(count):
        seen = {server: observer.sees(server)["measurement"] for server in servers}
        wait_until("newer measurements",
                   lambda seen=seen: all(observer.sees(server)["measurement"] > last for server, last in seen.items()))


def assert_counts(observer, expected):
    """Waits until the observer reads what is expected, then for more announcements that repeat it."""
    wait_for_announcements(observer, expected, 2)  # what is on its way was measured before
    wait_for_counts(observer, expected)
    for _ in range(REPEATED):
        wait_for_announcements(observer, expected, 1)
        assert {server: counts(observer, server) for server in expected} == expected


def test_forwarded_requests_count_as_forwarding_here_and_serving_there(cluster):
    first, second, observer = cluster.servers
    waiting = Waiting(first, "forwarded", 3)
    assert_counts(observer, {first: (0, 3), second: (3, 0)})

    assert waiting.release() == [200] * 3
    assert_counts(observer, {first: (0, 0), second: (0, 0)})


def test_requests_served_and_forwarded_at_once_are_counted_apart(cluster):
    first, second, observer = cluster.servers
    served = Waiting(first, "served", 2, path="/served-here")
    forwarded = Waiting(first, "beside", 1)
    direct = Waiting(second, "direct", 2)
    assert_counts(observer, {first: (2, 1), second: (3, 0)})

    assert forwarded.release() == [200]
    assert_counts(observer, {first: (2, 0), second: (2, 0)})
    assert served.release() + direct.release() == [200] * 4
    assert_counts(observer, {first: (0, 0), second: (0, 0)})


def test_what_a_forwarder_has_in_flight_to_a_peer_is_in_its_own_table(cluster):
    first, second, _ = cluster.servers
    waiting = Waiting(first, "in-flight", 3)
    wait_until(lambda: f"3 in flight: {first.sees(second)}", lambda: first.sees(second)["in_flight"] == 3)

    assert waiting.release() == [200] * 3
    wait_until(lambda: f"none in flight: {first.sees(second)}", lambda: first.sees(second)["in_flight"] == 0)


def test_idle_keep_alive_connections_count_for_nothing(cluster):
    first, second, observer = cluster.servers
    connections = [Connection(server.address, server.port) for server in (first, second) for _ in range(3)]
    for connection in connections:
        connection.send(request("/small.html"))
        assert connection.response().status == 200

    assert_counts(observer, {first: (0, 0), second: (0, 0)})
    for connection in connections:
        connection.close()


def test_clients_that_leave_are_counted_no_longer(cluster):
    first, second, observer = cluster.servers
    for server, path, name in [(first, "/cgi", "left-forwarded"), (first, "/served-here", "left"),
                               (second, "/cgi", "left-direct")]:
        waiting = Waiting(server, name, 2, path=path)
        waiting.close()
        waiting.open()

    assert_counts(observer, {first: (0, 0), second: (0, 0)})


def test_error_pages_and_internal_redirects_leave_nothing_behind(cluster):
    first, second, observer = cluster.servers
    for server in (first, second):
        for target in ["/nothing.html", "/script-errors/x", "/forbidden/x", "/folder", "/folder/", "/cgi/broken.cgi",
                       "/cgi/location.cgi?/small.html", "/ssi/page.shtml", "/cgi/status.cgi?304+Not+Modified"]:
            client.fetch(server, target)

    assert_counts(observer, {first: (0, 0), second: (0, 0)})


def test_a_killed_child_takes_its_requests_out_of_the_count(cluster):
    first, second, observer = cluster.servers
    waiting = Waiting(second, "killed", 3)
    assert_counts(observer, {second: (3, 0)})

    kill_holder(second, waiting.connections[0])
    waiting.open()
    assert_counts(observer, {first: (0, 0), second: (0, 0)})
    waiting.close()

    again = Waiting(second, "after-killed", 2)
    assert_counts(observer, {second: (2, 0)})
    assert again.release() == [200] * 2


def test_a_killed_forwarding_child_takes_its_forwards_out_of_the_count(cluster):
    first, second, observer = cluster.servers
    waiting = Waiting(first, "forwarder-killed", 3)
    assert_counts(observer, {first: (0, 3), second: (3, 0)})

    kill_holder(first, waiting.connections[0])
    waiting.open()
    assert_counts(observer, {first: (0, 0), second: (0, 0)})
    waiting.close()


def test_a_killed_forwarding_child_leaves_nothing_in_flight_to_the_peer(cluster):
    first, second, _ = cluster.servers
    wait_until(lambda: f"none in flight: {first.sees(second)}", lambda: first.sees(second)["in_flight"] == 0)
    waiting = Waiting(first, "in-flight-killed", 3)

    kill_holder(first, waiting.connections[0])
    waiting.open()
    wait_until(lambda: f"none in flight: {first.sees(second)}", lambda: first.sees(second)["in_flight"] == 0)
    waiting.close()


def test_requests_that_outlive_a_graceful_restart_stay_in_the_count(cluster):
    first, second, observer = cluster.servers
    waiting = Waiting(second, "restart", 2)
    second.restart_gracefully()
    assert_counts(observer, {second: (2, 0)})

    assert waiting.release() == [200] * 2
    assert_counts(observer, {first: (0, 0), second: (0, 0)})


def test_a_client_that_only_reads_slowly_is_not_being_served(cluster):
    if cluster.mpm != "event":
        pytest.skip("only event gives slow readers to its listener thread")
    _, second, observer = cluster.servers
    with open(cluster.site / "htdocs" / "huge.bin", "wb") as huge:
        huge.truncate(64 << 20)
    with Connection(second.address, second.port) as connection:
        connection.send(request("/huge.bin"))
        connection.read_some(b"HTTP/1.1 200 OK")
        assert_counts(observer, {second: (0, 0)})


def kill_holder(server, connection):
    """SIGKILL for the one child of the server that holds a client's connection."""
    child = holder_of((server.address, server.port), connection.own_end, server.workers())
    assert child is not None
    os.kill(child, signal.SIGKILL)
    # Until it is gone it may still have accepted a connection of ours, too.
    wait_until(f"{child} is gone", lambda: not is_running(child))
