"""Twisted's own TCP transports on simulated sockets, and the Link that a heartbeat has to them."""

from __future__ import annotations

import errno
import socket
import weakref
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import tcp
from zope.interface import implementer

from heartbeat.liveness.evidence import Evidence
from heartbeat.net.link import ILinkSource, TcpLink
from heartbeat.net.wheel import wheel_for
from heartbeat.testing.tcp import Connection

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IProtocol
    from twisted.python.failure import Failure

    from heartbeat.net.link import Link

#: References after which the dead ones are thrown out: a simulation of a million connections stays small.
SWEEP: Final = 1024

__all__ = ["SimulatedClient", "SimulatedConnector", "SimulatedLink", "SimulatedPort", "SimulatedServer", "Watch"]


class Watch:
    """Weak references to what a reactor made, to find what is still there when nothing should be."""

    def __init__(self) -> None:
        self._made: list[weakref.ref[Any]] = []
        self._sweep_at = SWEEP

    def add(self, made: object) -> None:
        """Remember, without keeping it."""
        if len(self._made) >= self._sweep_at:
            self._sweep_at = 2 * len(self.living()) + SWEEP
        self._made.append(weakref.ref(made))

    def living(self) -> list[object]:
        """What still exists. Forgets the rest."""
        pairs = [(ref, made) for ref in self._made if (made := ref()) is not None]
        self._made = [ref for ref, _ in pairs]
        return [made for _, made in pairs]

    def clear(self) -> None:
        """Forget everything."""
        self._made.clear()


class SimulatedLink(TcpLink):
    """The link of a simulated transport: writes as on a real one, and asks the simulated kernel what it knows."""

    def look(self, now: float) -> Evidence:
        """Everything that the kernel can say."""
        end = self._end
        if end is None:
            return Evidence(now, reading=not self._paused)
        return Evidence(
            now,
            unread=len(end.incoming.unread),
            outq=len(end.outgoing.pending),
            reading=not self._paused,
            tcp=end.info(),
        )

    def unsent(self) -> int | None:
        """As on a platform that cannot say: this kernel takes what fits, however much is unsent."""
        return None

    def arrived_at(self, now: float) -> float | None:
        """Exact."""
        arrived = None if self._end is None else self._end.incoming.arrived_at
        return None if arrived is None or self._end is None else now - (self._end.host.network.now - arrived)

    @property
    def _end(self) -> Connection | None:
        end = getattr(self.socket, "end", None)
        return end if isinstance(end, Connection) else None

    def _lost(self, reason: Failure) -> None:
        del self.transport.connectionLost
        self._ended = self.look(0.0)
        self.transport.connectionLost(reason)


@implementer(ILinkSource)
class SimulatedServer(tcp.Server):
    """An accepted connection."""

    def __init__(  # noqa: PLR0917 - the signature is Twisted's
        self, sock: Any, protocol: IProtocol, client: Any, server: Any, sessionno: int, reactor: Any
    ) -> None:
        super().__init__(sock, protocol, client, server, sessionno, reactor)
        reactor.watch.add(self)
        reactor.watch.add(protocol)

    def heartbeat_link(self) -> Link:
        """Its link."""
        return SimulatedLink(self, wheel_for(self.reactor).turns)


@implementer(ILinkSource)
class SimulatedClient(tcp.Client):
    """A connection that this process opened."""

    def createInternetSocket(self) -> Any:
        """A simulated one."""
        reactor = self.connector.reactor
        reactor.watch.add(self)
        return _open(reactor, self.addressFamily)

    def heartbeat_link(self) -> Link:
        """Its link."""
        return SimulatedLink(self, wheel_for(self.reactor).turns)


class SimulatedConnector(tcp.Connector):
    """Opens a connection."""

    def _makeTransport(self) -> SimulatedClient:
        make: Any = SimulatedClient  # Twisted's constructor is untyped
        client: SimulatedClient = make(self.host, self.port, self.bindAddress, self, self.reactor)
        return client

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        """The factory's protocol."""
        protocol = super().buildProtocol(addr)
        if protocol is not None:
            reactor: Any = self.reactor
            reactor.watch.add(protocol)
        return protocol


class SimulatedPort(tcp.Port):
    """A listening port."""

    transport = SimulatedServer

    def createInternetSocket(self) -> Any:
        """A simulated one."""
        return _open(self.reactor, self.addressFamily)


def _open(reactor: Any, family: int) -> Any:
    if family != socket.AF_INET:
        raise OSError(errno.EAFNOSUPPORT, "the simulated network speaks IPv4 only")
    return reactor.open_socket()
