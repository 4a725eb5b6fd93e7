"""What stands between the client and the server that serves: this module, and others for comparison.

All have the same backend, an httpd that serves files of 1 KiB and 64 KiB, and write an access log.
"""

import contextlib
import os
import subprocess

from launched import Launched
from lifetime import die_with_the_parent
from server import ANNOUNCING, Server
from processes import wait_until

import httpd

FORWARDER_ADDRESS = "127.0.1.1"
BACKEND_ADDRESS = "127.0.1.2"

BACKHAND = ANNOUNCING + httpd.FORWARD_ALWAYS + "\n"

MOD_PROXY = """\
LoadModule proxy_module {{modules}}/mod_proxy.so
LoadModule proxy_http_module {{modules}}/mod_proxy_http.so
ProxyPreserveHost On
ProxyPass "/" "http://{backend.address}:{backend.port}/"
"""


@contextlib.contextmanager
def backend(mpm, workers):
    """The httpd that serves.  It tells forwarders of this module about itself, as every server of a cluster does."""
    with Server(mpm, ANNOUNCING + workers, address=BACKEND_ADDRESS) as server:
        wait_until_it_listens(server)
        yield server


@contextlib.contextmanager
def backhand(mpm, workers, behind, command_prefix=()):
    """This module; it forwards everything."""
    with Server(mpm, BACKHAND + workers, command_prefix, address=FORWARDER_ADDRESS,
                announce_port=behind.announce_port) as server:
        wait_until_it_listens(server)
        wait_until("the backend believes the forwarder", lambda: is_ready(behind, server), limit_s=120)
        yield server


@contextlib.contextmanager
def mod_proxy(mpm, workers, behind, command_prefix=()):
    """httpd's own, with connections that are kept."""
    lines = MOD_PROXY.format(backend=behind) + workers
    with Server(mpm, lines, command_prefix, address=FORWARDER_ADDRESS) as server:
        wait_until_it_listens(server)
        yield server


def wait_until_it_listens(server):
    wait_until(lambda: f"it listens\n{server.diary()}", server.accepts, limit_s=120).close()


def is_ready(viewer, server):
    """Whether one server takes requests from another, and would give it some."""
    return _is_ready_in(viewer.report()["servers"], server)


def would_forward(viewer, server):
    """The same, and it has workers of which half may do it."""
    entries = viewer.report()["servers"]
    return _is_ready_in(entries, server) and any(
        entry["self"] and entry["workers_busy"] + entry["workers_idle"] >= 2 for entry in entries)


def _is_ready_in(entries, server):
    contact = f"{server.address}:{server.port}"
    return any(entry["contact"] == contact and entry["state"] == "ok" and entry["workers_idle"] > 0
               for entry in entries)


HAPROXY = """\
global
    maxconn 1024
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    http-reuse always
listen all
    bind {own.address}:{own.port}
    server backend {backend.address}:{backend.port}
"""

NGINX = """\
daemon off;
{user}
worker_processes auto;
pid {own.folder}/nginx.pid;
error_log stderr;
events {{
    worker_connections 1024;
}}
http {{
    access_log {own.folder}/access.log combined;
    client_body_temp_path {own.folder}/body;
    proxy_temp_path {own.folder}/proxy;
    fastcgi_temp_path {own.folder}/fastcgi;
    uwsgi_temp_path {own.folder}/uwsgi;
    scgi_temp_path {own.folder}/scgi;
    # Connections end when the client says so, as with the others.
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    upstream backend {{
        server {backend.address}:{backend.port};
        keepalive 64;
        keepalive_requests 1000000000;
        keepalive_time 1d;
        keepalive_timeout 300s;
    }}
    server {{
        listen {own.address}:{own.port};
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""


def haproxy(behind):
    return OtherServer(HAPROXY, ["/usr/sbin/haproxy", "-db", "-f", "{folder}/configuration"], behind)


def nginx(behind):
    return OtherServer(NGINX, ["/usr/sbin/nginx", "-e", "stderr", "-p", "{folder}", "-c", "{folder}/configuration"],
                       behind)


class OtherServer(Launched):
    """A forwarder that is no httpd, from entry to exit: its command, and its configuration's text."""

    def __init__(self, configuration, command, behind):
        self.address = FORWARDER_ADDRESS
        self.port, = httpd.free_ports(1)
        self.folder = None
        self._configuration = configuration
        self._command = command
        self._program = command[0]
        self._behind = behind
        self._process = None

    def _launch(self):
        self.folder.chmod(0o777)
        (self.folder / "configuration").write_text(self._configuration.format(
            own=self, backend=self._behind, user="user www-data;" if os.geteuid() == 0 else ""))
        with open(self.folder / "output.log", "wb") as output:
            self._process = subprocess.Popen(
                [part.format(folder=self.folder) for part in self._command], stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True, preexec_fn=die_with_the_parent)
        wait_until_it_listens(self)

    def diary(self):
        return (self.folder / "output.log").read_text(errors="replace")
