"""Servers find each other, and the report shows what each of them knows."""

import os
import re
import subprocess

import pytest

import client
from httpd import COMMAND_LINE, MPMS, REPORT, SERVE_HERE, Cluster
from processes import name_of, wait_until

TOP_FIELDS = {"version", "self", "contact", "boot_id", "moderator_alive", "servers", "counters"}
SERVER_FIELDS = {
    "slot", "self", "name", "contact", "services", "age_ms", "measurement", "serving", "forwarding", "in_flight",
    "workers_idle", "workers_max", "workers_busy", "load_permille", "cpu_idle_permille", "cpus_permille",
    "memory_total_bytes", "memory_available_bytes", "arriba", "ejected", "leaving", "state", "proven", "implausible",
    "pressure_cpu_permille", "pressure_memory_permille", "pressure_io_permille", "request_rate_millihertz",
    "error_rate_millihertz", "latency_us", "latency_p99_us", "latency_at_load_us", "latency_proxied_us", "forwarded_total"}
COUNTERS = {
    "datagrams_accepted", "datagrams_short", "datagrams_long", "datagrams_of_other_version", "datagrams_malformed",
    "datagrams_from_stranger", "datagrams_contact_refused", "datagrams_own", "datagrams_replayed", "forwarded",
    "served_here_by_choice", "served_here_limit_reached", "served_here_after_failure", "forward_connect_failed",
    "forward_stale_connection", "connections_from_cache", "connections_from_pool", "connections_opened",
    "connections_given_back", "proxied_accepted", "proxied_header_removed", "decisions", "decisions_dry_run"}


@pytest.fixture(scope="module", params=MPMS)
def cluster(request):
    with Cluster(request.param, size=4, chain=SERVE_HERE) as running:
        yield running.wait_until_complete()


def contacts(report):
    return [entry["contact"] for entry in report["servers"]]


def test_every_server_sees_every_server_once(cluster):
    everyone = sorted(server.contact for server in cluster.servers)

    for server in cluster.servers:
        assert sorted(contacts(server.report())) == everyone


def test_a_report_has_every_field(cluster):
    report = cluster.servers[0].report()

    assert TOP_FIELDS <= report.keys()
    assert COUNTERS <= report["counters"].keys()
    for entry in report["servers"]:
        assert SERVER_FIELDS <= entry.keys()


def test_a_server_knows_itself_in_the_first_slot(cluster):
    for server in cluster.servers:
        report = server.report()
        own = [entry for entry in report["servers"] if entry["self"]]

        assert [entry["contact"] for entry in own] == [server.contact]
        assert own[0]["slot"] == 0
        assert report["contact"] == server.contact
        assert isinstance(report["boot_id"], str)
        assert report["moderator_alive"] is True


def test_news_keep_coming(cluster):
    first, *others = cluster.servers
    before = {other: first.sees(other)["measurement"] for other in others}

    for other in others:
        wait_until(f"a newer measurement of {other}",
                   lambda other=other: first.sees(other)["measurement"] > before[other])


def test_ages_are_those_of_servers_that_announce_every_100_ms(cluster):
    for entry in cluster.servers[0].report()["servers"]:
        assert 0 <= entry["age_ms"] < 5_000


def test_a_server_offers_its_sites(cluster):
    for entry in cluster.servers[0].report()["servers"]:
        assert client.SITE in entry["services"]


def test_the_speed_of_the_machine_is_measured_once_and_kept_in_a_file(cluster):
    last = cluster.servers[-1]
    last.stop()
    last.speed_file.unlink(missing_ok=True)
    last.start()
    speed = wait_until("the speed is measured", lambda: (last.sees(last) or {}).get("arriba"))
    wait_until("the speed is kept", last.speed_file.exists)

    last.stop()
    last.start()
    cluster.wait_until_complete()

    assert last.sees(last)["arriba"] == speed


def test_nothing_is_counted_as_wrong_in_a_healthy_cluster(cluster):
    wrong = ["datagrams_short", "datagrams_long", "datagrams_of_other_version", "datagrams_malformed",
             "datagrams_from_stranger", "datagrams_contact_refused", "datagrams_replayed"]

    for server in cluster.servers:
        counters = server.counters()
        assert {name: counters[name] for name in wrong} == dict.fromkeys(wrong, 0)
        assert counters["datagrams_accepted"] > 0


def test_the_page_for_people_shows_every_server(cluster):
    response = client.fetch(cluster.servers[0], REPORT)

    assert response.status == 200
    assert response.field("Content-Type").startswith("text/html")
    for server in cluster.servers:
        assert server.contact in response.text
    for word in ["age", "arriba", "load", "cpu", "memory", "in.flight", "idle"]:
        assert re.search(word, response.text, re.IGNORECASE), word


def test_the_page_for_machines_says_that_it_is_json(cluster):
    response = client.fetch(cluster.servers[0], f"{REPORT}?format=json")

    assert response.field("Content-Type").startswith("application/json")


def test_the_report_answers_head(cluster):
    assert client.fetch(cluster.servers[0], REPORT, method="HEAD").status == 200


def test_a_report_page_escapes_what_comes_from_the_client(cluster):
    response = client.fetch(cluster.servers[0], f"{REPORT}?format=<script>alert(1)</script>")

    assert "<script>alert(1)" not in response.text


def test_the_moderator_is_one_unprivileged_child_of_the_parent(cluster):
    for server in cluster.servers:
        moderator = server.moderator()
        with open(f"/proc/{moderator}/status", encoding="utf-8") as status:
            user = next(line.split()[1:] for line in status if line.startswith("Uid:"))

        assert name_of(moderator) == "bh-moderator"
        assert os.geteuid() != 0 or "0" not in user


def test_the_command_line_prints_the_report(cluster):
    first = cluster.servers[0]
    url = f"http://{first.contact}{REPORT}"

    text = subprocess.run([COMMAND_LINE, "status", url], capture_output=True, text=True, timeout=30, check=True).stdout
    machine = subprocess.run([COMMAND_LINE, "status", url, "--json"], capture_output=True, text=True, timeout=30,
                             check=True).stdout

    for server in cluster.servers:
        assert server.contact in text
        assert server.contact in machine


def test_the_command_line_fails_with_one_line_where_no_server_is(cluster):
    done = subprocess.run([COMMAND_LINE, "status", f"http://127.0.1.99:{cluster.port}{REPORT}"], capture_output=True,
                          text=True, timeout=30, check=False)

    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_command_line_has_the_version_of_the_module(cluster):
    done = subprocess.run([COMMAND_LINE, "--version"], capture_output=True, text=True, timeout=30, check=True)

    assert cluster.servers[0].report()["version"] in done.stdout


def test_servers_of_different_mpms_form_one_cluster_and_forward_to_each_other():
    with Cluster(lambda number: MPMS[number - 1], size=3) as cluster:
        cluster.wait_until_complete()
        for server in cluster.servers:
            token = client.new_token()
            assert client.fetch(server, "/small.html", f"X-Token: {token}").status == 200
            assert server.logged(token)[0].peer in {other.contact for other in cluster.servers if other is not server}


def test_a_cluster_forms_by_broadcast_too():
    with Cluster("event", size=2, destination="broadcast") as cluster:
        cluster.wait_until_complete()


def test_a_cluster_that_announces_to_two_destinations_has_each_server_once():
    cluster = Cluster("event", size=2)
    for server in cluster.servers:
        server.backhand_lines += f"\nMulticastStats {server.address} 127.255.255.255:{cluster.announce_port}"

    with cluster:
        cluster.wait_until_complete()
        for server in cluster.servers:
            assert len(server.report()["servers"]) == 2


ACCEPT_FORMS = {
    1: "AcceptStats 127.0.1.1\nAcceptStats 127.0.1.2\nAcceptStats 127.0.1.3\nAcceptStats 127.0.1.4",
    2: "AcceptStats 127.0.1.0/255.255.255.0",
    3: "AcceptStats 127.0.1.0/29",
    4: "AcceptStats 127.0.1",
}


def test_every_form_of_accepted_address_accepts():
    with Cluster("event", size=4, accept=ACCEPT_FORMS.get) as cluster:
        cluster.wait_until_complete()


def test_a_server_outside_the_accepted_addresses_is_left_out_and_counted():
    def accept(number):
        return "AcceptStats 127.0.1.1\nAcceptStats 127.0.1.2" if number == 1 else "AcceptStats 127.0.1"

    with Cluster("event", size=3, accept=accept) as cluster:
        first, second, third = cluster.servers
        cluster.wait_until_complete([second, third])
        wait_until("the first sees the second", lambda: first.sees(second))
        wait_until("the stranger is counted", lambda: first.counters()["datagrams_from_stranger"] > 0)

        assert first.sees(third) is None
        assert first.counters()["datagrams_contact_refused"] == 0


def test_a_contact_outside_the_accepted_addresses_is_refused_and_counted():
    cluster = Cluster("event", size=2)
    cluster.servers[1].backhand_lines += f"\nBackhandSelf 127.0.2.9:{cluster.port}"

    with cluster:
        first = cluster.servers[0]
        wait_until(lambda: f"the contact is refused: {first.counters()}",
                   lambda: first.counters()["datagrams_contact_refused"] > 0)

        assert contacts(first.report()) == [first.contact]
        assert client.fetch(first).status == 200


def test_a_contact_may_be_given_by_its_address_alone_or_with_its_port():
    cluster = Cluster("event", size=2)
    first, second = cluster.servers
    first.backhand_lines += f"\nBackhandSelf {first.address}"
    second.backhand_lines += f"\nBackhandSelf {second.contact}"

    with cluster:
        cluster.wait_until_complete()


def test_two_clusters_with_ports_of_their_own_do_not_mix():
    with Cluster("event", size=2) as one, Cluster("worker", size=2) as other:
        for cluster in (one, other):
            cluster.wait_until_complete()
            for server in cluster.servers:
                assert len(server.report()["servers"]) == 2


@pytest.mark.parametrize("mpm", MPMS)
def test_a_stopped_server_leaves_no_process_behind(mpm):
    with Cluster(mpm, size=1) as cluster:
        server = cluster.servers[0]
        server.moderator()

        assert server.stop() == []


def test_without_the_announcing_directives_the_module_stays_out_of_the_way():
    with Cluster("event", size=1, contact_lines="# announces nothing", accept="") as cluster:
        server = cluster.servers[0]

        assert client.fetch(server).status == 200
        assert client.fetch(server, REPORT).status == 404
        assert server.moderators() == []


def test_a_server_whose_module_a_graceful_restart_takes_away_leaves_the_cluster():
    with Cluster("event", size=2) as cluster:
        first, second = cluster.servers
        cluster.wait_until_complete()
        first.moderator()
        first.backhand_lines = first.site_lines = ""
        first.write_configuration()
        first.restart_gracefully()

        def is_gone():
            entry = second.sees(first)
            return entry is None or entry["leaving"] or entry["age_ms"] > 3000

        wait_until("the moderator ends", lambda: first.moderators() == [], limit_s=8)
        wait_until(lambda: f"the second knows it: {second.sees(first)}", is_gone, limit_s=8)
        token = client.new_token()
        assert client.fetch(second, "/small.html", f"X-Token: {token}").status == 200
        assert second.logged(token)[0].peer == "-"
        assert first.log(token) == []
        assert client.fetch(first).status == 200
