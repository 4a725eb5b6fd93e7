"""Real httpd processes for the tests: one Server, and a Cluster of them on loopback.

Every cluster has a temporary folder, ports, a multicast group and a site of its own, so that
clusters of parallel or earlier runs neither hear nor disturb each other. Server number n listens
on 127.0.1.n, or at a host of netns.py; all servers of a cluster share the port numbers and, as
mirrors do, the site.
The servers are stopped by their process ids, and nothing else is ever signalled.
"""

import contextlib
import gzip
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections import namedtuple
from pathlib import Path

import client
from processes import Timeout, children_of, die_with_the_tests, family_of, kill_at_once, name_of, threads_of, wait_until

HERE = Path(__file__).resolve().parent
BUILD = Path(os.environ.get("BACKHAND_BUILD", HERE.parents[1] / "build" / "release")).resolve()
MODULE = BUILD / "mod_backhand.so"
COMMAND_LINE = BUILD / "backhand"
HTTPD = "/usr/sbin/apache2"
HTTPD_MODULES = "/usr/lib/apache2/modules"

MPMS = ["prefork", "worker", "event"]
REPORT = "/backhand-status"

# A long age: what these chains choose must not depend on how busy the test machine is.
FORWARD_ALWAYS = "Backhand byAge 60\nBackhand removeSelf"
SERVE_HERE = "Backhand off"

# When every file of the site was changed last: 2020-01-01, 00:00:00 GMT.
LAST_MODIFIED = 1577836800


class LogLine(namedtuple("LogLine", "token host address status peer via site method path")):
    """One request in an access log; "-" stands for what there is not."""

    @property
    def forwarder(self):
        """The address of the server that forwarded the request to this one."""
        return self.via.split(":")[0]

# Clusters that run now, for the error logs shown with a failed test.
running = []


def free_ports(count):
    """Ports below the ephemeral range that are free, TCP and UDP, on every loopback address.

    Those of pytest's parallel processes differ: a port stays free between one server's end and the next one's start.
    """
    processes_max = 8
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % processes_max
    found = []
    while len(found) < count:
        port = random.SystemRandom().randrange(20000 + process, 32000, processes_max)
        if port not in found and _is_free(port, socket.SOCK_STREAM) and _is_free(port, socket.SOCK_DGRAM):
            found.append(port)
    return found


def _is_free(port, kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def make_site(folder):
    """A copy of the site that httpd's own user can read, run and be shut out of by nobody."""
    site = folder / "site"
    shutil.copytree(HERE / "site", site)
    (site / "htdocs" / "large.bin").write_bytes(random.Random(1).randbytes(5 << 20))
    page, compressed = site / "htdocs" / "small.html", site / "htdocs" / "precompressed"
    compressed.mkdir()
    shutil.copyfile(page, compressed / "page.html")
    (compressed / "page.html.gz").write_bytes(gzip.compress(page.read_bytes(), mtime=0))
    (site / "gates").mkdir()
    for path in [site, *site.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path.suffix == ".cgi" else 0o644)
        os.utime(path, (LAST_MODIFIED, LAST_MODIFIED))
    (site / "gates").chmod(0o777)
    return site


def make_certificate(folder):
    """A self-made certificate for the site; returns (certificate, key)."""
    certificate, key = folder / "site.pem", folder / "site.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", f"/CN={client.SITE}", "-keyout", key, "-out", certificate],
        check=True, capture_output=True)
    return certificate, key


def tls_site(server, lines, address="*"):
    """A virtual host for the cluster's TLS port with the same site as the plain one, and more."""
    cluster = server.cluster
    return f"""
<VirtualHost {address}:{cluster.tls_port}>
ServerName {client.SITE}
Include {HERE}/conf/site.conf
SSLEngine On
SSLCertificateFile {cluster.certificate}
SSLCertificateKeyFile {cluster.key}
{lines}
</VirtualHost>
"""


def write_key_file(path, secret):
    """A file that only its owner can read."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(f"{secret}\n", encoding="ascii")


class Server:
    """One httpd with its folder, its configuration and its processes."""

    # What the first server has found out about the machine, which keeps a CPU busy: the others are told.
    _speed = None

    def __init__(self, cluster, number, address, host=None):
        self.cluster = cluster
        self.number = number
        self.address = address
        self.host = host
        self.port = cluster.port
        self.tls_port = cluster.tls_port
        self.mpm = cluster.mpm
        self.folder = cluster.folder / f"node{number}"
        self.backhand_lines = ""
        self.server_lines = ""
        self.site_lines = ""
        self.tail_lines = ""
        self.key_files = []
        self.environment = {}
        self._process = None
        for name in ("run", "state"):
            (self.folder / name).mkdir(parents=True)
        if Server._speed is not None:
            self.speed_file.write_bytes(Server._speed)
        # The state directory belongs to whom httpd's children run as.
        if os.geteuid() == 0:
            shutil.chown(self.folder / "state", "www-data", "www-data")

    def __repr__(self):
        return f"node{self.number} ({self.mpm}, {self.contact})"

    @property
    def contact(self):
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def speed_file(self):
        return self.folder / "state" / "arriba"

    def inside(self):
        """Where the server runs, and its clients: this machine, or a host of netns.py."""
        return self.host.inside() if self.host else contextlib.nullcontext()

    @property
    def pid(self):
        return self._process.pid

    # Configuration

    @property
    def configuration_file(self):
        return self.folder / "httpd.conf"

    def write_configuration(self):
        threads = 1 if self.mpm == "prefork" else min(8, self.cluster.workers)
        start = min(6, self.cluster.workers) if self.mpm == "prefork" else self.cluster.workers // threads
        limit = self.cluster.workers if self.mpm == "prefork" else 4 * start
        identity = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
        key_line = f"BackhandKey {' '.join(map(str, self.key_files))}" if self.key_files else ""
        tls_listen = f"Listen {self.address}:{self.tls_port} https" if self.cluster.tls else ""
        self.configuration_file.write_text(f"""\
Define FOLDER {self.folder}
Define SITE {self.cluster.site}
Define MPM {self.mpm}
Define MODULES {HTTPD_MODULES}
Define WORKERS {self.cluster.workers}
Define START_SERVERS {start}
Define THREADS_PER_CHILD {threads}
Define SERVER_LIMIT {limit}
Include {HERE}/conf/common.conf
{identity}
ServerName node{self.number}.backhand.test
{tls_listen}
Listen {self.contact}
{self.backhand_lines}
{key_line}
{self.server_lines}
<VirtualHost *:{self.port}>
ServerName {self.cluster.site_name_of(self.number)}
Include {HERE}/conf/site.conf
{self.site_lines}
</VirtualHost>
{self.tail_lines}
""")

    def hold_keys(self, *secrets):
        """Makes these the cluster's keys from the next (re)start on; the first signs."""
        self.key_files = []
        for number, secret in enumerate(secrets, 1):
            self.key_files.append(self.folder / f"key{number}")
            write_key_file(self.key_files[-1], secret)

    def configuration_test(self):
        """Runs the configuration test; returns (exit status, everything it said)."""
        done = subprocess.run([HTTPD, "-t", "-f", self.configuration_file], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
        return done.returncode, done.stdout

    # Life and death

    def start(self):
        self.write_configuration()
        self.launch()
        wait_until(lambda: f"{self} answers\n{self.diary()}", self.answers)

    def launch(self):
        """Starts the process without waiting for it to serve."""
        with open(self.folder / "output.log", "ab") as output, self.inside():
            self._process = subprocess.Popen(
                [*_own_host_name(self.number), HTTPD, "-f", self.configuration_file, "-DFOREGROUND"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                preexec_fn=die_with_the_tests,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C", **self.environment})

    def answers(self):
        """Whether it serves by now; an error when it has ended instead.

        Asked with a request about the server itself: any other could be forwarded, to a server that is just
        starting and has not heard of this one, and would then be left alone for a second.
        """
        if self._process.poll() is not None:
            raise Timeout(f"{self} did not start, exit status {self._process.returncode}\n{self.diary()}")
        try:
            return client.fetch(self, "*", method="OPTIONS", limit_s=10).status == 200
        except OSError:
            return False

    def wait_until_it_refuses(self):
        """For a server that must not start: waits for its end and returns its exit status."""
        try:
            return self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def stop(self):
        """Ends the server as `apachectl stop` does; returns the processes that stayed behind."""
        if self._process is None:
            return []
        if Server._speed is None and self.speed_file.exists():
            Server._speed = self.speed_file.read_bytes()
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
            wait_until("all processes of the server end", lambda: not family_of(self.pid), limit_s=10)
            left = []
        except (subprocess.TimeoutExpired, Timeout):
            left = [f"{pid} {name_of(pid)}" for pid in family_of(self.pid)]
        self.kill()
        return left

    def stop_gracefully(self):
        """Asks it to stop as `apachectl graceful-stop` does; stop() then waits for its end."""
        os.kill(self.pid, signal.SIGWINCH)

    def kill(self):
        """The machine's power goes: parent, children, moderator and scripts die at once."""
        kill_at_once(self.pid)
        self._process.wait()
        # Forgotten at once: the process id may soon be another's.
        self._process = None

    def restart_gracefully(self):
        """Sends SIGUSR1 and waits until the new generation is announced in the error log."""
        self._restart(signal.SIGUSR1)

    def restart(self):
        """Sends SIGHUP and waits as restart_gracefully does."""
        self._restart(signal.SIGHUP)

    def _restart(self, signal_number):
        before = self.generations()
        os.kill(self.pid, signal_number)
        wait_until(lambda: f"{self} restarts\n{self.diary()}", lambda: self.generations() > before)

    def generations(self):
        return self.error_log().count("resuming normal operations")

    def states(self):
        """What this server says of the others, by contact: ok, silent, unproven, ..."""
        return {entry["contact"]: entry["state"] for entry in self.report()["servers"] if not entry["self"]}

    def moderators(self):
        return [pid for pid in children_of(self.pid) if name_of(pid) == "bh-moderator"]

    def moderator(self):
        """The process id of the one moderator."""
        return wait_until(f"{self} has one moderator",
                          lambda: self.moderators() if len(self.moderators()) == 1 else None)[0]

    def workers(self):
        """The httpd children: those that serve, and the CGI daemon where there is one."""
        return [pid for pid in children_of(self.pid) if name_of(pid) == "apache2"]

    def serving_children(self):
        """The httpd children without the CGI daemon, which has one thread where they have many."""
        return [pid for pid in self.workers() if self.mpm == "prefork" or threads_of(pid) > 1]

    # What it says

    def report(self):
        response = client.fetch(self, f"{REPORT}?format=json", host=self.cluster.site_name_of(self.number))
        assert response.status == 200, response
        return json.loads(response.body)

    def counters(self):
        return self.report()["counters"]

    def sees(self, other):
        """What this server's table says of another (or of itself), None when it is not there."""
        for entry in self.report()["servers"]:
            if entry["contact"] == other.contact:
                return entry
        return None

    def peers_in_order(self):
        """The other servers in the order of their slots here, which is the order a set begins with."""
        slots = {entry["contact"]: entry["slot"] for entry in self.report()["servers"]}
        others = [server for server in self.cluster.servers if server is not self]
        return sorted(others, key=lambda server: slots[server.contact])

    def log(self, token=None, path=None):
        """The access log, or the lines of it about one request's token or one path."""
        try:
            text = (self.folder / "access.log").read_text(encoding="latin-1")
        except FileNotFoundError:
            return []
        whole = text[: text.rfind("\n") + 1].splitlines()
        lines = [LogLine(*line.split("\t")) for line in whole]
        return [line for line in lines
                if (token is None or line.token == token) and (path is None or line.path == path)]

    def logged(self, token, count=1):
        """The lines about one request; httpd writes them after the client has its answer."""
        wait_until(lambda: f"{count} lines about {token} at {self}: {self.log(token)}",
                   lambda: len(self.log(token)) >= count, limit_s=10)
        return self.log(token)

    def error_log(self):
        try:
            return (self.folder / "error.log").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def output(self):
        try:
            return (self.folder / "output.log").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def diary(self):
        """All it wrote for an operator's eyes."""
        return self.output() + self.error_log()


class Cluster:
    """Servers that announce to each other, started on entry and gone on exit.

    `accept`, `server_lines`, `site_lines` and `backhand_lines` are text, or functions from a
    server's number to text. `chain` stands in the site's <Location "/">. `keys` is a list of secrets,
    the first of which signs, or a function from a server's number to one. With `plain_too`, an httpd
    of the same configuration but without the module runs beside them, as `cluster.plain`. `first` is
    the number of the first server.
    """

    def __init__(self, mpm, size=2, chain=FORWARD_ALWAYS, accept="AcceptStats 127.0.1.0/24", backhand_lines="",
                 server_lines="", site_lines="", site_name=client.SITE, workers=16, destination="multicast",
                 contact_lines=None, keys=(), tls=False, plain_too=False, hosts=None,
                 address_of=lambda host: host.address(), first=1):
        self._mpm_of = mpm if callable(mpm) else lambda number: mpm
        self.mpm = None
        self.tls = tls
        self.workers = workers
        self._site_name = site_name
        self.folder = Path(tempfile.mkdtemp(prefix="backhand-test-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.site = make_site(self.folder)
        self.port, self.tls_port, self.announce_port = free_ports(3)
        self.group = f"239.255.{self.announce_port >> 8}.{self.announce_port & 255}"
        self.destination = {"multicast": f"{self.group}:{self.announce_port},1",
                            "broadcast": f"127.255.255.255:{self.announce_port}"}.get(destination, destination)
        if tls:
            self.certificate, self.key = make_certificate(self.folder)

        if hosts:
            self.servers = [self._add(host.number, address_of(host), host) for host in hosts]
        else:
            self.servers = [self._add(number, f"127.0.1.{number}") for number in range(first, first + size)]
        for server in self.servers:
            number = server.number
            announcing = _text(contact_lines, number) if contact_lines else self.announcing(server)
            server.backhand_lines = "\n".join([
                f"LoadModule backhand_module {MODULE}", "LogLevel notice backhand:info",
                announcing, _text(accept, number), f"BackhandStateDir {server.folder}/state",
                _text(backhand_lines, number)])
            server.hold_keys(*_text(keys, number))
            server.server_lines = _text(server_lines, number)
            server.site_lines = "\n".join([
                f'<Location "/">\n{_text(chain, number)}\n</Location>',
                f'<Location "{REPORT}">\nSetHandler backhand-handler\n</Location>',
                _text(site_lines, number)])
        self.plain = self._add(100, "127.0.1.100") if plain_too else None
        if self.plain:
            self.plain.server_lines = _text(server_lines, 100)
            self.plain.site_lines = _text(site_lines, 100)

    def _add(self, number, address, host=None):
        self.mpm = self._mpm_of(number)
        return Server(self, number, address, host)

    def announcing(self, server):
        if callable(self.destination):
            return self.destination(server)
        return f"MulticastStats {server.address} {self.destination}"

    def site_name_of(self, number):
        return _text(self._site_name, number)

    def __enter__(self):
        assert MODULE.exists(), f"{MODULE} is missing: build the release preset first"
        running.append(self)
        try:
            for server in self.everyone:
                server.write_configuration()
                server.launch()
            for server in self.everyone:
                wait_until(lambda server=server: f"{server} answers\n{server.diary()}", server.answers)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind, *_):
        crashes = self._crashes()
        for server in self.everyone:
            server.stop()
        if self in running:
            running.remove(self)
        # Event's own children can crash while they end: the main thread closes the sockets of workers
        # that are just done with them (close_worker_sockets, seen with httpd 2.4.71).
        if self.mpm != "event":
            crashes = self._crashes()
        shutil.rmtree(self.folder, ignore_errors=True)
        if kind is None:
            assert not crashes, "processes crashed:\n" + "\n".join(crashes)

    @property
    def everyone(self):
        return self.servers + ([self.plain] if self.plain else [])

    def _crashes(self):
        return [line for server in self.everyone for line in server.diary().splitlines()
                if "exit signal" in line and "Killed" not in line]

    def wait_until_complete(self, servers=None):
        """Waits until each of the servers sees all of them ready to take requests."""
        members = servers or self.servers
        for viewer in members:
            wait_until(lambda viewer=viewer: f"{viewer} sees {members}: {viewer.report()}",
                       lambda viewer=viewer: _all_are_ready(viewer.report(), members))
        for viewer in members:
            self.let_workers_start(viewer, members)
        return self

    def let_workers_start(self, viewer, members):
        """Until they have, little is forwarded to a server and by it. Some never do: a test has said otherwise."""
        wanted = {server.contact: min(6, self.workers) if server.mpm == "prefork" else self.workers
                  for server in members}
        with contextlib.suppress(Timeout):
            wait_until("the workers have started", limit_s=2, condition=lambda: all(
                entry["workers_idle"] + entry["workers_busy"] >= wanted.get(entry["contact"], 0)
                for entry in viewer.report()["servers"]))

    def wait_until_ok(self, servers=None):
        """Waits until each of the servers sees all others as ones to send requests to, and so proven."""
        members = servers or self.servers
        for viewer in members:
            others = {other.contact: "ok" for other in members if other is not viewer}
            wait_until(lambda viewer=viewer: f"{viewer} sees {members}: {viewer.report()}",
                       lambda viewer=viewer, others=others: others.items() <= viewer.states().items())
        return self


def _all_are_ready(report, members):
    # Two, because of a server's running workers half may wait for peers: with one, it forwards nothing.
    idle = {entry["contact"]: entry["workers_idle"] for entry in report["servers"]}
    return all(idle.get(member.contact, 0) >= 2 for member in members)


def _text(lines, number):
    return lines(number) if callable(lines) else lines


def _own_host_name(number):
    """Where the kernel lets us, each server runs under a host name of its own, as on machines of their own."""
    if not _can_unshare():
        return []
    return ["unshare", "--uts", "/bin/sh", "-c", 'hostname "$0"; exec "$@"', f"node{number}"]


def _can_unshare(known=[]):
    if not known:
        done = subprocess.run(["unshare", "--uts", "hostname", "probe"], capture_output=True, check=False)
        known.append(done.returncode == 0)
    return known[0]
