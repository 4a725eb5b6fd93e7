"""Networks of the tests' own: hosts on this machine that are joined, and cut apart, at will.

A host is a Linux network namespace, a network is a bridge in one more namespace, the switch. None of
it has a name outside: each namespace is held by a file descriptor of the test process, so the kernel
takes everything away when that process ends, however it ends.

Processes are started, and sockets opened, by a thread that is `inside()` the host; both stay there.
"""

import ctypes
import ipaddress
import os
import shutil
import subprocess
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000
OWN_NAMESPACE = "/proc/thread-self/ns/net"
TOOLS = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

_libc = ctypes.CDLL(None, use_errno=True)


def why_not():
    """Why there can be no networks of our own here; None if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool, package in (("ip", "iproute2"), ("nft", "nftables")):
        if not shutil.which(tool, path=TOOLS):
            return f"network namespaces need {tool}, of the package {package}"
    try:
        os.close(_new_namespace())
    except OSError as failure:
        return f"this machine gives no network namespaces: {failure.strerror}"
    return None


class Host:
    """One namespace. Its interfaces have the names of the networks they lead to: net0, net1, ..."""

    def __init__(self, number, networks=()):
        self.number = number
        self.networks = networks
        self._namespace = _new_namespace()

    def __repr__(self):
        return f"host{self.number}"

    # Without a network: of the first that the host is in.

    def address(self, network=None):
        return f"10.77.{self._number_of(network)}.{self.number}"

    def address6(self, network=None):
        network = self._number_of(network)
        return ipaddress.IPv6Address(f"fd77:{network}::{self.number}").compressed

    def link_local(self, network=None):
        network = self._number_of(network)
        return ipaddress.IPv6Address(f"fe80::{network}:{self.number}").compressed

    def hardware(self, network):
        return f"02:77:00:00:{network:02x}:{self.number:02x}"

    def _number_of(self, network):
        return self.networks[0] if network is None else network

    @property
    def path(self):
        """What `ip` calls the namespace."""
        return f"/proc/{os.getpid()}/fd/{self._namespace}"

    @contextmanager
    def inside(self):
        """What this thread opens or starts in the block is opened or started at this host."""
        before = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call(_libc.setns, self._namespace, CLONE_NEWNET)
            try:
                yield self
            finally:
                _call(_libc.setns, before, CLONE_NEWNET)
        finally:
            os.close(before)

    def run(self, *command, said=""):
        """Runs a tool at this host with `said` as its input."""
        with self.inside():
            done = subprocess.run(command, input=said, capture_output=True, text=True, check=False,
                                  env={"PATH": TOOLS})
        assert done.returncode == 0, f"{' '.join(command)} at {self}: {done.stderr}\n{said}"

    def ip(self, *lines):
        self.run("ip", "-batch", "-", said="\n".join(lines) + "\n")

    def close(self):
        os.close(self._namespace)


class Networks:
    """Hosts and the networks between them, there on entry and gone on exit.

        with Networks([1, 2], [2, 3]) as networks:      # host 2 has a leg in both
            left, middle, right = networks.hosts

    Host h has the addresses 10.77.n.h, fd77:n::h and fe80::n:h on network n, and a default route to
    the first of its networks.
    """

    def __init__(self, *members):
        self._members = members
        self.hosts = []
        self._switch = None

    def __enter__(self):
        try:
            self._switch = Host(0)
            for number in sorted(set().union(*self._members)):
                legs = [network for network, members in enumerate(self._members) if number in members]
                self.hosts.append(Host(number, legs))
            self._switch.ip(*(f"link add net{network} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
                              for network in range(len(self._members))))
            for host in self.hosts:
                self._attach(host)
            self._switch.ip(*(f"link set net{network} up" for network in range(len(self._members))))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for namespace in [*self.hosts, self._switch]:
            if namespace:
                namespace.close()

    def _attach(self, host):
        for network in host.networks:
            port = f"port{network}-{host.number}"
            self._switch.ip(
                f"link add {port} type veth peer name net{network} netns {host.path}",
                f"link set {port} master net{network} up")
            # Addresses are known beforehand and usable at once.
            host.ip(
                f"link set net{network} address {host.hardware(network)} addrgenmode none",
                f"addr add {host.address(network)}/24 broadcast + dev net{network}",
                f"addr add {host.address6(network)}/64 dev net{network} nodad",
                f"addr add {host.link_local(network)}/64 dev net{network} nodad",
                f"link set net{network} up")
        host.ip("link set lo up", f"route add default dev net{host.networks[0]}")

    @contextmanager
    def parted(self, one, other):
        """In the block nothing that one of two hosts sends reaches the other."""
        try:
            for host, far in ((one, other), (other, one)):
                drops = "; ".join(f"ether saddr {far.hardware(network)} drop" for network in far.networks)
                host.run("nft", "-f", "-", said=f"""\
table inet parted {{
    chain incoming {{
        type filter hook input priority 0;
        {drops}
    }}
}}
""")
            yield
        finally:
            for host in (one, other):
                host.run("nft", "-f", "-", said="table inet parted\ndelete table inet parted\n")


def _call(function, *arguments):
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _new_namespace():
    """The descriptor of a new namespace; the thread stays where it is."""
    before = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call(_libc.unshare, CLONE_NEWNET)
        try:
            return os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            _call(_libc.setns, before, CLONE_NEWNET)
    finally:
        os.close(before)
