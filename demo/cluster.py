"""Four httpd on one machine that know each other through mod_backhand.

Each has an address of its own (127.0.1.1 to 127.0.1.4), its own folder under /tmp and its own
configuration; nothing of /etc/apache2 is read or written.  They announce by multicast over the
loopback interface.  One site is offered by all, in three locations that differ in how the request
is balanced, so that the phases of the demonstration need no restart between them.
"""

import http.client
import json
import os
import socket
import time
from pathlib import Path

import processes

HTTPD = "/usr/sbin/apache2"
HTTPD_MODULES = "/usr/lib/apache2/modules"
RELEASE = Path(__file__).resolve().parent.parent / "build" / "release"
SITE = "www.demo.test"
START_LIMIT_S = 8
STOP_LIMIT_S = 3

CONFIGURATION = """\
ServerName {site}
ServerRoot {folder}
DefaultRuntimeDir {folder}
PidFile {folder}/httpd.pid
{user}
Listen {address}:{port}
ErrorLog {folder}/error.log
LogFormat "%a %t \\"%r\\" %>s %D us" demo
CustomLog {folder}/access.log demo

LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule mime_module {modules}/mod_mime.so
LoadModule dir_module {modules}/mod_dir.so
LoadModule backhand_module {release}/mod_backhand.so
LoadModule demo_page_module {release}/mod_demo_page.so

# Two children from the beginning to the end, so that none starts in the middle of a measurement.
StartServers 2
ServerLimit 2
ThreadsPerChild 64
ThreadLimit 64
MaxRequestWorkers 128
MinSpareThreads 1
MaxSpareThreads 128

DocumentRoot {site_folder}
TypesConfig /dev/null
AddType text/html .html
DirectoryIndex index.html

MulticastStats {address} 239.255.77.77:{announce_port},0
AcceptStats 127.0.1.0/24
UnixSocketDir {folder}/backhand
BackhandStateDir {folder}/state
BackhandInterval 100

DemoName "server {number}"
{capacity}
<LocationMatch "^/(off|seed|auto)/work$">
    SetHandler demo-page
</LocationMatch>

<Location /off>
    Backhand off
</Location>
<Location /seed>
    Backhand byAge
    Backhand byRandom
    Backhand byLogWindow
    Backhand byLoad
</Location>
<Location /auto>
    Backhand auto
</Location>
<Location /backhand>
    Backhand off
    SetHandler backhand-handler
</Location>
"""

STATIC_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<title>backhand demonstration</title>
<h1>Four servers share this work</h1>
<p>A page that costs its server about 10 ms; reload it and see who served it:</p>
<ul>
<li><a href="/off/work">balancing off</a>
<li><a href="/seed/work">the seed's chain</a>
<li><a href="/auto/work">Backhand auto</a>
</ul>
<p><a href="/backhand/">What this server knows of the others</a></p>
</html>
"""


class Failure(Exception):
    """The demonstration cannot go on; the text says why."""


class Server:
    """One httpd with a folder and a configuration of its own."""

    def __init__(self, number, folder):
        self.number = number
        self.address = f"127.0.1.{number}"
        self.folder = folder / f"server{number}"
        self.process = None

    def configure(self, port, announce_port, capacity):
        self.folder.mkdir()
        text = CONFIGURATION.format(
            site=SITE, folder=self.folder, site_folder=self.folder.parent / "site",
            user="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
            number=self.number, address=self.address, port=port, announce_port=announce_port,
            modules=HTTPD_MODULES, release=RELEASE, capacity=capacity.configuration(self.number))
        (self.folder / "httpd.conf").write_text(text)

    def start(self, capacity):
        with open(self.folder / "startup.log", "wb") as log:
            self.process = processes.start(
                [HTTPD, "-f", self.folder / "httpd.conf", "-DFOREGROUND"],
                before_exec=lambda: capacity.enter(self.number), output=log)

    def complaint(self):
        """What httpd said before it gave up."""
        logs = [self.folder / "startup.log", self.folder / "error.log"]
        lines = [line for log in logs if log.exists() for line in log.read_text().splitlines()]
        return f"server {self.number} did not start:\n  " + "\n  ".join(lines[-8:])


class Cluster:
    """The four servers in their folder, and the competitor of one of them."""

    def __init__(self, numbers, with_competitor, folder):
        self.with_competitor = with_competitor
        self.folder = folder
        self.servers = [Server(number, folder) for number in numbers]
        self.competitor = None
        self.port = None

    def start(self, capacity):
        (self.folder / "site").mkdir()
        (self.folder / "site" / "index.html").write_text(STATIC_PAGE)
        addresses = [server.address for server in self.servers]
        self.port = free_port(socket.SOCK_STREAM, addresses, 8080)
        announce_port = free_port(socket.SOCK_DGRAM, ["0.0.0.0"], 4445)
        for server in self.servers:
            server.configure(self.port, announce_port, capacity)
            server.start(capacity)
        self._wait_until_all_know_all()
        self.competitor = capacity.start_competitor(self.with_competitor)

    def status_url(self):
        return f"http://{self.servers[0].address}:{self.port}/backhand/"

    def stop(self):
        """Stops what runs, however far start() came."""
        started = [server.process for server in self.servers] + [self.competitor]
        processes.end([process for process in started if process is not None], STOP_LIMIT_S)

    def _wait_until_all_know_all(self):
        deadline = time.monotonic() + START_LIMIT_S
        for server in self.servers:
            while self._count_known_by(server) < len(self.servers):
                if server.process.poll() is not None:
                    raise Failure(server.complaint())
                if time.monotonic() > deadline:
                    raise Failure(f"server {server.number} does not see the others; "
                                  f"is multicast over loopback filtered?")
                time.sleep(0.05)

    def _count_known_by(self, server):
        connection = http.client.HTTPConnection(server.address, self.port, timeout=1)
        try:
            connection.request("GET", "/backhand/?format=json", headers={"Host": SITE})
            response = connection.getresponse()
            return len(json.load(response)["servers"]) if response.status == 200 else 0
        except (OSError, http.client.HTTPException, ValueError):
            return 0
        finally:
            connection.close()


def free_port(kind, addresses, wanted):
    """The first port from `wanted` on that nobody uses on any of the addresses."""
    for port in range(wanted, wanted + 100):
        if all(can_bind(kind, address, port) for address in addresses):
            return port
    raise Failure(f"no free port from {wanted} to {wanted + 99}")


def can_bind(kind, address, port):
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            # As httpd does: connections of an earlier run that linger are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            return True
        except OSError:
            return False
