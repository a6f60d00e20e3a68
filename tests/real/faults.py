"""What can happen to a connection between two hosts, made for real in a :class:`~tests.real.namespaces.Topology`.

Each fault is an object with a name, what each end must call it, and ``begin``. What the kernel shows of each is in
the cause table (``heartbeat/liveness/causes.py``).
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import ClassVar, Final, Protocol

from tests.real.namespaces import PUBLIC, SERVER, Place, Topology

__all__ = ["FAULTS", "End", "Fault", "Scene"]

_FORWARD: Final = ("iptables", "-I", "FORWARD", "-p", "tcp")


class End(Protocol):
    """The process at one end of the connections."""

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""

    def tell(self, word: str) -> None:
        """Have it do something: ``flood`` (write more than the other end takes), ``abort`` (reset all)."""


class Scene(Protocol):
    """Where a fault happens."""

    @property
    def topology(self) -> Topology:
        """The three hosts."""

    @property
    def client(self) -> End:
        """The connecting process."""

    @property
    def server(self) -> End:
        """The accepting one."""


class Fault:
    """One kind of fault.

    :cvar name: for people
    :cvar causes: what each end that can see it must say: the top-level causes that are right. An end that is not
        named is the one that stands still, is gone, or did it
    :cvar at_once: it needs no silence to be found: the bound is a tenth of a second, not the detection time
    :cvar nat: the router translates addresses
    :cvar tls: over TLS
    :cvar data: on a connection that carries an application's data
    """

    name: ClassVar[str]
    causes: ClassVar[Mapping[Place, frozenset[str]]]
    at_once: ClassVar[bool] = False
    nat: ClassVar[bool] = False
    tls: ClassVar[bool] = False
    data: ClassVar[bool] = False

    def prepare(self, topology: Topology) -> None:
        """Before anybody connects. Raises Unmakable."""

    def begin(self, scene: Scene) -> None:
        """Now. Raises Unmakable."""
        raise NotImplementedError


def _says(client: str = "", server: str = "") -> Mapping[Place, frozenset[str]]:
    said: dict[Place, frozenset[str]] = {}
    if client:
        said["client"] = frozenset(client.split())
    if server:
        said["server"] = frozenset(server.split())
    return said


class ServerStopped(Fault):
    """SIGSTOP: the host answers for a process that does not."""

    name = "server stopped"
    causes = _says(client="peer_stalled")

    def begin(self, scene: Scene) -> None:
        scene.server.signal(signal.SIGSTOP)


class ClientStopped(Fault):
    """The same on the other side."""

    name = "client stopped"
    causes = _says(server="peer_stalled")

    def begin(self, scene: Scene) -> None:
        scene.client.signal(signal.SIGSTOP)


class ServerStoppedTls(ServerStopped):
    """The same over TLS."""

    name = "server stopped, TLS"
    tls = True


class DroppedThere(Fault):
    """What the client sends is dropped on the way. It hears the server for a while yet, and then, nearly always before
    its own verdict, the reset of the server's: both names are true."""

    name = "dropped, client to server"
    causes = _says(client="path_dead peer_reset", server="path_dead")

    def begin(self, scene: Scene) -> None:
        scene.topology.run("router", *_FORWARD, "-d", SERVER, "-j", "DROP")


class DroppedBack(Fault):
    """What the server sends is dropped on the way."""

    name = "dropped, server to client"
    causes = _says(client="path_dead", server="path_dead peer_reset")

    def begin(self, scene: Scene) -> None:
        scene.topology.run("router", *_FORWARD, "-s", SERVER, "-j", "DROP")


class DroppedBoth(Fault):
    """Nothing passes."""

    name = "dropped, both ways"
    causes = _says(client="path_dead", server="path_dead")

    def begin(self, scene: Scene) -> None:
        scene.topology.run("router", *_FORWARD, "-j", "DROP")


class NatLost(Fault):
    """The router forgets its mappings, and drops what it does not know; a new connection passes."""

    name = "NAT mapping lost"
    causes = _says(client="path_dead nat_expired", server="path_dead nat_expired")
    nat = True

    def prepare(self, topology: Topology) -> None:
        topology.write("router", "netfilter/nf_conntrack_tcp_loose", "0")
        topology.run("router", "iptables", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP")
        topology.run("router", "iptables", "-A", "INPUT", "-p", "tcp", "-d", PUBLIC, "-j", "DROP")

    def begin(self, scene: Scene) -> None:
        scene.topology.run("router", "conntrack", "-F")


class Unreachable(Fault):
    """The router answers with ICMP host unreachable, as it does for a host that is switched off."""

    name = "ICMP unreachable"
    causes = _says(client="path_dead", server="path_dead")

    def begin(self, scene: Scene) -> None:
        scene.topology.run("router", *_FORWARD, "-j", "REJECT", "--reject-with", "icmp-host-unreachable")


class EgressBlocked(Fault):
    """The client's own packet filter lets nothing out. The server's reset may come before its own verdict, and finds
    its bytes still unsent."""

    name = "own egress blocked"
    causes = _says(client="local_egress", server="path_dead")

    def begin(self, scene: Scene) -> None:
        scene.topology.run("client", "iptables", "-I", "OUTPUT", "-p", "tcp", "-j", "DROP")


class LinkDown(Fault):
    """The client's cable is pulled: its interface has lost the carrier."""

    name = "own link down"
    causes = _says(client="local_link", server="path_dead")

    def begin(self, scene: Scene) -> None:
        scene.topology.ip("router", "link set inside down")


class WindowClosed(Fault):
    """The server stands still while the client has more for it than its buffers take."""

    name = "window closed"
    causes = _says(client="peer_not_reading peer_stalled")
    data = True

    def prepare(self, topology: Topology) -> None:
        topology.write("server", "ipv4/tcp_rmem", "4096 16384 16384")

    def begin(self, scene: Scene) -> None:
        scene.server.signal(signal.SIGSTOP)
        scene.client.tell("flood")


class ServerKilled(Fault):
    """SIGKILL: its host says so at once."""

    name = "server killed"
    causes = _says(client="peer_closed")
    at_once = True

    def begin(self, scene: Scene) -> None:
        scene.server.signal(signal.SIGKILL)


class ClientKilled(Fault):
    """The same on the other side."""

    name = "client killed"
    causes = _says(server="peer_closed")
    at_once = True

    def begin(self, scene: Scene) -> None:
        scene.client.signal(signal.SIGKILL)


class ServerAborts(Fault):
    """The server resets its connections, unprovoked."""

    name = "server aborts"
    causes = _says(client="peer_reset")
    at_once = True

    def begin(self, scene: Scene) -> None:
        scene.server.tell("abort")


class Reset(Fault):
    """A middlebox answers whatever passes with a reset."""

    name = "reset by a middlebox"
    causes = _says(client="middlebox_reset", server="middlebox_reset")

    def begin(self, scene: Scene) -> None:
        scene.topology.run("router", *_FORWARD, "-j", "REJECT", "--reject-with", "tcp-reset")


#: All of them, by name.
FAULTS: Final[Mapping[str, Fault]] = {
    one.name: one
    for one in (
        ServerStopped(), ClientStopped(), ServerStoppedTls(), DroppedThere(), DroppedBack(), DroppedBoth(), NatLost(),
        Unreachable(), EgressBlocked(), LinkDown(), WindowClosed(), ServerKilled(), ClientKilled(), ServerAborts(),
        Reset(),
    )
}  # fmt: skip
