"""One lean httpd for measurements: a usual Debian httpd's modules, an access log, a 1 KiB file.

It borrows from the whole-server tests what starts and ends processes; its configuration is its own,
because the tests' has many modules that a request would pay for.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "server"))

import client  # noqa: E402
import httpd  # noqa: E402
from launched import Launched  # noqa: E402
from lifetime import die_with_the_parent  # noqa: E402
from processes import children_of, name_of, wait_until  # noqa: E402

SITE = "www.backhand.test"
REPORT = "/backhand.status"
FILE = "/file.txt"
FILE_BYTES = 1024
LARGE_FILE = "/large.txt"
LARGE_FILE_BYTES = 65_536

# What Debian's apache2 package enables, but for the MPM.
DEBIAN_MODULES = [
    "access_compat", "alias", "auth_basic", "authn_core", "authn_file", "authz_core", "authz_host",
    "authz_user", "autoindex", "deflate", "dir", "env", "filter", "mime", "negotiation", "reqtimeout",
    "setenvif", "status"]

CONFIGURATION = """\
ServerRoot "{folder}"
DefaultRuntimeDir "{folder}/run"
PidFile "{folder}/run/httpd.pid"
ErrorLog "{folder}/error.log"
LogLevel warn
{load_modules}
{identity}
ServerName {site}
Listen {address}:{port}
TypesConfig /etc/mime.types
# In every configuration, because the file's own request pays for it; a <Location> would cost more.
AddHandler backhand-handler .status
RequestReadTimeout header=20-40,minrate=500 body=10,minrate=500
Timeout 300
KeepAlive On
# Connections end when the client says so: how many there are must not depend on the clock.
MaxKeepAliveRequests 0
KeepAliveTimeout 300
LogFormat "%h %l %u %t \\"%r\\" %>s %O \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" combined
CustomLog "{folder}/access.log" combined
DocumentRoot "{folder}/htdocs"
<Directory />
    AllowOverride None
    Require all denied
</Directory>
<Directory "{folder}/htdocs">
    Options Indexes FollowSymLinks
    AllowOverride None
    Require all granted
</Directory>
{lines}
"""

# Which every server here has, and takes part in a cluster with if it is told to.
KEY = "k" * 64

# Joins a multicast group of its own on loopback.
ANNOUNCING = """\
LoadModule backhand_module {module}
MulticastStats {address} {group}:{announce_port},0
AcceptStats 127.0.0.0/8
BackhandStateDir {folder}/state
"""
SIGNED = "BackhandKey {folder}/key\n"


class Server(Launched):
    """One httpd in a temporary folder; `lines` end its configuration.

    `command_prefix` is what it runs under, `arguments` follow httpd's own. Servers that shall hear one another
    have the same `announce_port`.
    """

    def __init__(self, mpm, lines, command_prefix=(), arguments=("-DFOREGROUND",), address="127.0.1.1",
                 announce_port=None):
        self.mpm = mpm
        self.address = address
        self.folder = None
        self.port, free_port = httpd.free_ports(2)
        self.announce_port = announce_port or free_port
        self._lines = lines
        self._program = "httpd"
        self._command_prefix = command_prefix
        self._arguments = arguments
        self._process = None

    def _make_folders(self):
        # httpd's own user enters here, and a profiler writes here as that user; sticky, because of the key.
        self.folder.chmod(0o1777)
        for name in ("htdocs", "run", "state"):
            (self.folder / name).mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.folder / "state", "www-data", "www-data")
        httpd.write_key_file(self.folder / "key", KEY)
        for name, size in [(FILE, FILE_BYTES), (LARGE_FILE, LARGE_FILE_BYTES)]:
            (self.folder / "htdocs" / name[1:]).write_bytes(b"0123456789abcde\n" * (size // 16))

    def _launch(self):
        self._make_folders()
        self._write_configuration()
        prefix = [part.format(folder=self.folder) for part in self._command_prefix]
        with open(self.folder / "output.log", "wb") as output:
            self._process = subprocess.Popen(
                [*prefix, httpd.HTTPD, "-f", str(self.folder / "httpd.conf"), *self._arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                preexec_fn=die_with_the_parent, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"})

    def _write_configuration(self):
        modules = [f"mpm_{self.mpm}", *DEBIAN_MODULES]
        (self.folder / "httpd.conf").write_text(CONFIGURATION.format(
            folder=self.folder, address=self.address, port=self.port, site=SITE,
            load_modules="\n".join(f"LoadModule {name}_module {httpd.HTTPD_MODULES}/mod_{name}.so"
                                   for name in modules),
            identity="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
            lines=self._lines.format(folder=self.folder, address=self.address, port=self.port,
                                     module=httpd.MODULE, modules=httpd.HTTPD_MODULES,
                                     group=self.group, announce_port=self.announce_port)))

    def inside(self):
        """Where the server runs, and its clients: this machine, as client.fetch() asks."""
        return contextlib.nullcontext()

    @property
    def group(self):
        """The multicast group that this server alone has joined."""
        return f"239.255.{self.announce_port >> 8}.{self.announce_port & 255}"

    def terminate(self, limit_s=60):
        """Asks it to stop and waits until the process itself has."""
        self._process.terminate()
        self._process.wait(timeout=limit_s)

    def report(self):
        """What the module's report page says."""
        response = client.fetch(self, f"{REPORT}?format=json", host=SITE)
        assert response.status == 200, response
        return json.loads(response.body)

    def moderator(self):
        """The process id of its moderator."""
        def found():
            return [pid for pid in children_of(self.pid) if name_of(pid) == "bh-moderator"]
        return wait_until(lambda: f"the server has a moderator\n{self.diary()}", found)[0]

    def diary(self):
        """All it wrote for an operator's eyes."""
        files = [self.folder / name for name in ("output.log", "error.log")]
        return "".join(file.read_text(errors="replace") for file in files if file.exists())
