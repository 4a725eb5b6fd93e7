"""Bad values are refused before anything is served, with one line that names directive and value."""

import os
import shutil
import socket
import stat

import pytest

from client import fetch
from httpd import BUILD, Cluster


def bad(directive, arguments, *words):
    """A line that must be refused, and the words the refusal must have besides the directive's name."""
    return pytest.param(directive, arguments, words or (arguments,), id=f"{directive} {arguments}")


BAD_SERVER_LINES = [
    bad("MulticastStats", "240.220.221.20:4445,3", "240.220.221.20", "224.0.0.0/4"),
    bad("MulticastStats", "127.0.1.1 240.220.221.20:4445,3", "240.220.221.20", "224.0.0.0/4"),
    bad("MulticastStats", "255.0.0.1:4445"),
    bad("MulticastStats", "somewhere"),
    bad("MulticastStats", "somewhere.test:4445"),
    bad("MulticastStats", "239.255.1.1"),
    bad("MulticastStats", "239.255.1.1:"),
    bad("MulticastStats", "239.255.1.1:0"),
    bad("MulticastStats", "239.255.1.1:65536"),
    bad("MulticastStats", "239.255.1.1:http"),
    bad("MulticastStats", "239.255.1.1:4445x"),
    bad("MulticastStats", "239.255.1.1:4445,"),
    bad("MulticastStats", "239.255.1.1:4445,256"),
    bad("MulticastStats", "239.255.1.1:4445,-1"),
    bad("MulticastStats", "239.255.1.1:4445,far"),
    bad("MulticastStats", "300.1.1.1:4445"),
    bad("MulticastStats", "me 239.255.1.1:4445,1", "me"),
    bad("MulticastStats", "239.255.1.1:4445,1 127.0.1.1", "239.255.1.1:4445,1"),
    bad("AcceptStats", "somewhere"),
    bad("AcceptStats", "300.1.2.3"),
    bad("AcceptStats", "10.0.0.0.1"),
    bad("AcceptStats", "10..1"),
    bad("AcceptStats", "10.0.0.0/"),
    bad("AcceptStats", "10.0.0.0/33"),
    bad("AcceptStats", "10.0.0.0/-1"),
    bad("AcceptStats", "10.0.0.0/wide"),
    bad("BackhandInterval", "0"),
    bad("BackhandInterval", "-100"),
    bad("BackhandInterval", "0ms"),
    bad("BackhandInterval", "often"),
    bad("BackhandInterval", "99999999999999999999"),
    bad("BackhandMaxServers", "0"),
    bad("BackhandMaxServers", "-4"),
    bad("BackhandMaxServers", "many"),
    bad("BackhandMaxServers", "99999999999999999999"),
    bad("BackhandProbePort", "0"),
    bad("BackhandProbePort", "1023"),
    bad("BackhandProbePort", "65536"),
    bad("BackhandProbePort", "somewhere"),
    bad("BackhandSelf", "somewhere"),
    bad("BackhandSelf", "127.0.1.1:0"),
    bad("BackhandSelf", "127.0.1.1:65536"),
    bad("BackhandSelf", "127.0.1.1:"),
    bad("BackhandSelf", "fe80::10", "fe80::10", "2001:db8:5::10"),
    bad("BackhandSelf", "[fe80::10]:80", "fe80::10", "2001:db8:5::10"),
]

BAD_CHAIN_LINES = [
    bad("Backhand", "byMagic"),
    bad("Backhand", "byAge abc", "byAge", "abc"),
    bad("Backhand", "byAge -1", "byAge", "-1"),
    bad("Backhand", "byAge 5s5", "byAge", "5s5"),
    bad("Backhand", "byAge 99999999999999999999", "byAge", "99999999999999999999"),
    bad("Backhand", "byWindow"),
    bad("Backhand", "byWindow 0", "byWindow", "0"),
    bad("Backhand", "byWindow two", "byWindow", "two"),
    bad("Backhand", "preferSelf much", "preferSelf", "much"),
    bad("Backhand", "byHeader X-Class", "byHeader", "User-Agent"),
    bad("Backhand", "byHeader X-Class (", "byHeader"),
    bad("Backhand", "bySlowStart 0", "bySlowStart", "0"),
    bad("Backhand", "byHealth 3", "byHealth", "3"),
    bad("Backhand", "bySession a;b", "bySession"),
    bad("Backhand", "HTTPRedirectToName %X", "HTTPRedirectToName", "%X"),
    bad("Backhand", "HTTPRedirectToIP now", "HTTPRedirectToIP", "now"),
    bad("BackhandDryRun", "Perhaps", "On"),
    bad("BackhandSelfRedirect", "Perhaps", "On"),
    bad("BackhandTrace", "On", "On", "10.0.5.0/24"),
    bad("BackhandTrace", "everybody", "everybody"),
]

GOOD_SERVER_LINES = [
    "MulticastStats 10.0.5.255:4445",
    "MulticastStats 10.0.5.10 10.0.5.255:4445",
    "MulticastStats 224.220.221.20:4445,3",
    "MulticastStats 10.0.5.10 224.220.221.20:4445,3",
    "MulticastStats 239.255.1.1:4445",
    "MulticastStats 239.255.255.255:65535,255",
    "AcceptStats 10.0.5.1",
    "AcceptStats 10.0.5.0/24",
    "AcceptStats 10.0.5.0/255.255.255.0",
    "AcceptStats 10.0",
    "AcceptStats 10.0.0.0/32",
    "AcceptStats 0.0.0.0/0",
    "BackhandInterval 100",
    "BackhandInterval 100ms",
    "BackhandInterval 1000",
    "BackhandMaxServers 2",
    "BackhandMaxServers 1024",
    "BackhandProbePort 1024",
    "BackhandProbePort 65535",
    "BackhandProbePort any",
    "BackhandProbePort Off",
    "BackhandSelf 10.0.5.10",
    "BackhandSelf 10.0.5.10:8080",
    "BackhandService www.example.test",
    "BackhandService www.example.test static.example.test",
]

GOOD_CHAIN_LINES = [
    "Backhand byAge",
    "Backhand byAge 20",
    "Backhand byRandom",
    "Backhand byLogWindow",
    "Backhand byCPU",
    "Backhand byLoad",
    "Backhand byCost",
    "Backhand removeSelf",
    "Backhand byInFlight",
    "Backhand byWindow 3",
    "Backhand preferSelf",
    "Backhand auto",
    "Backhand off",
    "Backhand byLatency",
    "Backhand byHealth",
    "Backhand bySlowStart",
    "Backhand bySlowStart 10",
    "Backhand byHeader X-Class ^reports$",
    'Backhand byHeader "X-Class ^a report$"',
    "Backhand bySession",
    "Backhand bySession PHPSESSID=",
    "Backhand HTTPRedirectToName",
    "Backhand HTTPRedirectToName %1S.%-1H",
    "Backhand HTTPRedirectToIP",
    "BackhandDryRun On",
    "BackhandDryRun Off",
    "BackhandSelfRedirect On",
    "BackhandTrace Off",
    "BackhandTrace 10.0.5.0/24 ::1",
]


@pytest.fixture
def server():
    """One server that has its folder and configuration, and that nobody has started."""
    cluster = Cluster("event", size=1)
    yield cluster.servers[0]
    cluster.__exit__(None, None, None)


def in_a_location(lines):
    return f'<Location "/chain">\n{lines}\n</Location>'


def assert_configuration_is_refused(server, directive, *words):
    """The configuration test fails, and exactly one line of what it says has directive and words."""
    server.write_configuration()
    status, said = server.configuration_test()

    assert status != 0, said
    telling = [line for line in said.splitlines() if directive in line and all(word in line for word in words)]
    assert len(telling) == 1, said


def assert_start_is_refused(server, *words):
    """httpd ends by itself, and exactly one line of what it wrote has all the words."""
    server.write_configuration()
    server.launch()
    status = server.wait_until_it_refuses()

    assert status != 0, server.diary()
    telling = [line for line in server.diary().splitlines() if all(word in line for word in words)]
    assert len(telling) == 1, server.diary()


@pytest.mark.parametrize("directive, arguments, words", BAD_SERVER_LINES)
def test_a_bad_value_for_a_server_is_refused_by_name(server, directive, arguments, words):
    server.server_lines = f"{directive} {arguments}"

    assert_configuration_is_refused(server, directive, *words)


@pytest.mark.parametrize("directive, arguments, words", BAD_CHAIN_LINES)
def test_a_bad_value_in_a_chain_is_refused_by_name(server, directive, arguments, words):
    server.site_lines = in_a_location(f"{directive} {arguments}")

    assert_configuration_is_refused(server, directive, *words)


@pytest.mark.parametrize("line", GOOD_SERVER_LINES)
def test_a_good_value_for_a_server_is_accepted(server, line):
    server.server_lines = line
    server.write_configuration()
    status, said = server.configuration_test()

    assert status == 0, said


@pytest.mark.parametrize("line", GOOD_CHAIN_LINES)
def test_a_good_chain_is_accepted(server, line):
    server.site_lines = in_a_location(line)
    server.write_configuration()
    status, said = server.configuration_test()

    assert status == 0, said


def test_a_plugin_that_is_not_there_is_refused(server, plugin_folder):
    absent = plugin_folder / "absent.so"
    server.site_lines = in_a_location(f"BackhandFromSO {absent} byHostname alpha")

    assert_start_is_refused(server, "BackhandFromSO", str(absent))


def test_a_plugin_without_the_function_is_refused(server, by_hostname):
    server.site_lines = in_a_location(f"BackhandFromSO {by_hostname} byNoName alpha")

    assert_start_is_refused(server, "BackhandFromSO", str(by_hostname), "byNoName")


def test_a_plugin_that_is_no_library_is_refused(server, plugin_folder):
    text = plugin_folder / "text.so"
    text.write_text("not a library\n")
    server.site_lines = in_a_location(f"BackhandFromSO {text} byHostname alpha")

    assert_start_is_refused(server, "BackhandFromSO", str(text))


def test_a_plugin_that_others_could_replace_is_refused(server, plugin_folder):
    open_folder = plugin_folder / "open"
    open_folder.mkdir(exist_ok=True)
    open_folder.chmod(0o777)
    plugin = open_folder / "byHostname.so"
    shutil.copyfile(BUILD / "byHostname.so", plugin)
    server.site_lines = in_a_location(f"BackhandFromSO {plugin} byHostname alpha")

    assert_start_is_refused(server, "BackhandFromSO", str(plugin))


def test_a_socket_folder_with_too_long_a_path_is_refused(server):
    folder = server.folder / ("long-" * 20)
    server.server_lines = f"UnixSocketDir {folder}"

    assert len(str(folder)) > 107
    assert_start_is_refused(server, "UnixSocketDir", str(folder), "107")


def test_a_socket_folder_that_cannot_be_made_is_refused(server):
    (server.folder / "file").write_text("not a folder\n")
    folder = server.folder / "file" / "sockets"
    server.server_lines = f"UnixSocketDir {folder}"

    assert_start_is_refused(server, "UnixSocketDir", str(folder))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave a folder to another user")
@pytest.mark.parametrize("owner", ["root", "nobody"])
def test_a_socket_folder_that_belongs_to_another_user_is_refused_and_left_as_it_is(server, owner):
    folder = server.folder / "not-ours"
    folder.mkdir()
    folder.chmod(0o755)
    shutil.chown(folder, owner)
    before = os.stat(folder)
    server.server_lines = f"UnixSocketDir {folder}"

    assert_start_is_refused(server, "UnixSocketDir", str(folder), "belongs to httpd's User")
    after = os.stat(folder)
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert list(folder.iterdir()) == []


def test_an_announcing_port_that_another_program_holds_is_refused(server):
    port = server.cluster.announce_port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other_program:
        other_program.bind(("", port))

        assert_start_is_refused(server, str(port), "in use")


def test_the_socket_folder_is_made_and_closed_to_others():
    with Cluster("event", size=2) as cluster:
        explicit = cluster.servers[1]
        explicit.stop()
        explicit.server_lines = f"UnixSocketDir {explicit.folder}/sockets"
        explicit.start()
        cluster.wait_until_complete()

        for folder in (cluster.servers[0].folder / "run" / "backhand", explicit.folder / "sockets"):
            assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        assert fetch(cluster.servers[0]).status == 200


def test_several_servers_of_one_machine_share_the_announcing_port():
    with Cluster("event", size=3) as cluster:
        cluster.wait_until_complete()


def test_sites_that_do_not_fit_an_announcement_are_named_in_a_warning():
    many = " ".join(f"site-number-{number}.example.com" for number in range(70))
    with Cluster("event", size=1) as cluster:
        server = cluster.servers[0]
        server.stop()
        server.server_lines = f"BackhandService www.backhand.test {many}"
        server.start()

        warnings = [line for line in server.error_log().splitlines() if "71 sites" in line]
        assert len(warnings) == 1 and "BackhandService" in warnings[0], server.diary()
        assert fetch(server).status == 200


def test_a_server_that_believes_nobody_says_so_when_it_starts():
    with Cluster("event", size=1, accept="") as cluster:
        warnings = [line for line in cluster.servers[0].error_log().splitlines() if "AcceptStats" in line]

        assert len(warnings) == 1, cluster.servers[0].error_log()
        assert "backhand:warn" in warnings[0]
