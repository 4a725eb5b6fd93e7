"""What stands between the client and the server that serves: this module, and others for comparison.

All have the same backend, an httpd that serves files of 1 KiB and 64 KiB, and write an access log.
"""

import contextlib

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
    wait_until(lambda: f"httpd listens\n{server.diary()}", server.accepts, limit_s=120).close()


def is_ready(viewer, server):
    """Whether one server takes requests from another, and would give it some."""
    contact = f"{server.address}:{server.port}"
    return any(entry["contact"] == contact and entry["state"] == "ok" and entry["workers_idle"] > 0
               for entry in viewer.report()["servers"])
