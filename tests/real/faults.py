"""What can happen to a connection between two hosts, made for real in a :class:`~tests.real.namespaces.Topology`.

Each fault is an object with a name, what each end must call it, and ``begin``. What the kernel shows of each is in
the cause table (``heartbeat/liveness/causes.py``).
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Protocol

from tests.real.namespaces import PUBLIC, SERVER, Place, Topology

__all__ = ["FAULTS", "End", "Fault", "Scene"]

#: Acknowledgements are delayed by 40 ms as a rule; some for a round trip and for those who do other things, too.
_DELAYED: Final = 0.1
#: After a reset; after a FIN it is 8 (include/net/tcp_states.h).
_CLOSED: Final = 7
_FORWARD: Final = ("iptables", "-I", "FORWARD", "-p", "tcp")


class End(Protocol):
    """The process at one end of the connections."""

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""

    def tell(self, word: str) -> None:
        """Have it do something: ``flood`` (write more than the other end takes), ``abort`` (reset all) ..."""


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
    :cvar later: what the record of each end must say when the two have met again
    :cvar heals: it is healed, long after the verdict
    :cvar restarts: who is started again, so that they can
    :cvar at_once: it needs no silence to be found: the bound is a tenth of a second, not the detection time
    :cvar nat: the router translates addresses
    :cvar tls: over TLS
    :cvar data: on a connection that carries an application's data
    """

    name: ClassVar[str]
    causes: ClassVar[Mapping[Place, frozenset[str]]]
    later: ClassVar[Mapping[Place, frozenset[str]]] = {}
    heals: ClassVar[bool] = False
    restarts: ClassVar[Place | None] = None
    at_once: ClassVar[bool] = False
    nat: ClassVar[bool] = False
    tls: ClassVar[bool] = False
    data: ClassVar[bool] = False

    def prepare(self, topology: Topology) -> None:
        """Before anybody connects. Raises Unmakable."""

    def begin(self, scene: Scene) -> None:
        """Now. Raises Unmakable."""
        raise NotImplementedError

    def heal(self, scene: Scene) -> None:
        """As if nothing had been. Raises Unmakable."""

    def right(self, place: Place, evidence: Mapping[str, Any]) -> frozenset[str]:
        """What is right for this end to say; what it saw matters where it could not see everything."""
        return self.causes.get(place, frozenset())


def _just_now(evidence: Mapping[str, Any], *names: str) -> bool:
    """Whether something was sent or came in so short a time before the end that the end may be the answer to it."""
    tcp = evidence.get("tcp", {})
    return any(tcp.get(name, _DELAYED) < _DELAYED for name in names)


def _killed(evidence: Mapping[str, Any]) -> frozenset[str]:
    """A process that is killed while something of ours is unread, or on its way, ends with a reset: no FIN then, and
    the same as any other reset, until its successor says HELLO."""
    reset = evidence.get("tcp", {}).get("state") == _CLOSED
    return frozenset({"peer_reset", "middlebox_reset"} if reset else {"peer_closed"})


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
    """Nothing passes, for longer than one would be away whose mapping was lost: it stays path_dead."""

    name = "dropped, both ways"
    causes = _says(client="path_dead", server="path_dead")
    later = _says(client="path_dead", server="path_dead")
    heals = True

    def begin(self, scene: Scene) -> None:
        scene.topology.run("router", *_FORWARD, "-j", "DROP")

    def heal(self, scene: Scene) -> None:
        scene.topology.run("router", "iptables", "-F", "FORWARD")


class NatLost(Fault):
    """The router forgets its mappings, and drops what it does not know; a new connection passes."""

    name = "NAT mapping lost"
    causes = _says(client="path_dead nat_expired", server="path_dead nat_expired")
    later = _says(client="nat_expired", server="nat_expired")
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
    later = _says(client="peer_restarted")
    restarts = "server"
    at_once = True

    def begin(self, scene: Scene) -> None:
        scene.server.signal(signal.SIGKILL)

    def right(self, place: Place, evidence: Mapping[str, Any]) -> frozenset[str]:
        return _killed(evidence)


class ClientKilled(Fault):
    """The same on the other side."""

    name = "client killed"
    causes = _says(server="peer_closed")
    later = _says(server="peer_restarted")
    restarts = "client"
    at_once = True

    def begin(self, scene: Scene) -> None:
        scene.client.signal(signal.SIGKILL)

    def right(self, place: Place, evidence: Mapping[str, Any]) -> frozenset[str]:
        return _killed(evidence)


class ServerAborts(Fault):
    """The server resets its connections, unprovoked."""

    name = "server aborts"
    causes = _says(client="peer_reset")
    at_once = True

    def begin(self, scene: Scene) -> None:
        scene.server.tell("abort")

    def right(self, place: Place, evidence: Mapping[str, Any]) -> frozenset[str]:
        # Of its own accord, or in answer to what we had sent just then? Nobody can tell.
        unclear = {"middlebox_reset"} if _just_now(evidence, "last_data_sent", "last_data_recv") else set()
        return super().right(place, evidence) | unclear


class Reset(Fault):
    """A middlebox answers whatever passes with a reset."""

    name = "reset by a middlebox"
    causes = _says(client="middlebox_reset", server="middlebox_reset")

    def begin(self, scene: Scene) -> None:
        scene.topology.run("router", *_FORWARD, "-j", "REJECT", "--reject-with", "tcp-reset")

    def right(self, place: Place, evidence: Mapping[str, Any]) -> frozenset[str]:
        # In answer to nothing but an acknowledgement of ours, which leaves no trace.
        unclear = {"peer_reset"} if _just_now(evidence, "last_data_recv") and not evidence.get("outq") else set()
        return super().right(place, evidence) | unclear


#: All of them, by name.
FAULTS: Final[Mapping[str, Fault]] = {
    one.name: one
    for one in (
        ServerStopped(), ClientStopped(), ServerStoppedTls(), DroppedThere(), DroppedBack(), DroppedBoth(), NatLost(),
        Unreachable(), EgressBlocked(), LinkDown(), WindowClosed(), ServerKilled(), ClientKilled(), ServerAborts(),
        Reset(),
    )
}  # fmt: skip
