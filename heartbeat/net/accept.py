"""One port for framed peers and for those that have never heard of us: a rolling upgrade, one end at a time.

Theory of operation. Whose first four bytes are the magic of a HELLO is framed; for everybody else it is as if the
server were only observed, from the first byte on. As few bytes as possible decide: the first that is none of a HELLO,
or the fourth that is. Until then nothing is built. A client that says nothing is taken for one of those that wait for
the server to speak, as soon as the time for the handshake of a framed peer is over; attentively, and what lies unread
is read before. When it is decided, who decided is gone from the connection.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import tcp
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocolNegotiationFactory,
    ISSLTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from heartbeat.liveness.liveness import Liveness
from heartbeat.net.address import counted_as
from heartbeat.net.limits import LEAST_DETECT, ObserveLimits
from heartbeat.net.observed import ObservedProtocol, Observer
from heartbeat.net.quietpulse import IdlePulse
from heartbeat.net.wrapper import SERVER_FULL, WrappedProtocol, WrappingFactory
from heartbeat.wire.frames import HELLO

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IProtocolFactory

    from heartbeat.net.driver import Driver

__all__ = ["AcceptingFactory", "UndecidedProtocol"]

#: What every framed peer says first on a port for wrapped connections.
MAGIC: Final = HELLO


class AcceptingFactory(WrappingFactory):
    """Accepts framed connections and others. See :func:`.heartbeat_factory`, which makes it with ``mode="accept"``.

    ``drain`` is for the framed ones, which can be told; the others end by themselves, or with ``abort_all``.
    """

    def __init__(self, wrapped: IProtocolFactory, *args: Any, **kwargs: Any) -> None:
        super().__init__(wrapped, *args, **kwargs)
        self._others: dict[Protocol, None] = {}  # undecided, or not framed
        if IProtocolNegotiationFactory.providedBy(wrapped):
            alsoProvides(self, IProtocolNegotiationFactory)

    def acceptableProtocols(self) -> list[bytes]:
        """What the wrapped factory offers by ALPN."""
        offered: list[bytes] = self.wrapped.acceptableProtocols()
        return offered

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """What will decide."""
        return UndecidedProtocol(self)

    @property
    def connections(self) -> int:
        """How many are open, of all kinds."""
        return super().connections + len(self._others)

    @property
    def observer(self) -> Observer:
        """Watches those that are not framed, by the detection time of the others."""
        config = self.config
        limits = ObserveLimits(detect=max(config.detect, LEAST_DETECT), handshake_timeout=config.handshake_timeout)
        return Observer(limits, self.listener, self.reactor, self.wheel)

    def ready(self, driver: Driver) -> None:
        """The limit of all holds for the framed ones, too, which are told."""
        if self.max_connections is not None and self.connections > self.max_connections:
            now = self.wheel.seconds()
            driver.session.bye(SERVER_FULL, "this server is full", now)
            driver.attend(now)
        else:
            super().ready(driver)

    def remember(self, protocol: Protocol) -> None:
        """It is open, and no framed one."""
        self._others[protocol] = None

    def locate(self, protocol: Any, address: str) -> None:
        """It is one of this address; ``""``: of none."""
        self._addresses.move(protocol, address)

    def forget(self, protocol: Protocol) -> None:
        """It is not open any more, or was framed after all."""
        self._others.pop(protocol, None)

    def is_full_for(self, address: str) -> bool:
        """Whether one more of this address, that is no framed one, would be too much."""
        most, of_one = self.max_connections, self.max_per_address
        if most is not None and self.connections > most:
            return True
        return self._addresses.over(address, None if of_one is None else of_one - 1)

    def abort_all(self) -> None:
        """End every connection now, of all kinds."""
        super().abort_all()
        for other in tuple(self._others):
            transport: Any = other.transport
            getattr(transport, "abortConnection", transport.loseConnection)()


class UnframedProtocol(ObservedProtocol):
    """One that is not framed, of an accepting factory."""

    def __init__(self, wrapped: Any, factory: AcceptingFactory) -> None:
        super().__init__(wrapped, factory.observer.observe)
        self._factory = factory
        self.address = ""  # that it counts as one of

    def connectionMade(self) -> None:
        """It counts, too."""
        self._factory.remember(self)
        self._factory.locate(self, counted_as(self.transport.getPeer()))  # type: ignore[union-attr]  # it is connected
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It counts no more."""
        self._factory.forget(self)
        self._factory.locate(self, "")
        super().connectionLost(reason)


@implementer(IHandshakeListener, IHalfCloseableProtocol)
class UndecidedProtocol(Protocol):
    """On a transport until it is known who is there; then another protocol takes its place."""

    def __init__(self, factory: AcceptingFactory) -> None:
        self._factory = factory
        self._held = b""
        self._shaken = False
        self._waits: IdlePulse | None = None
        self._inner: Any = None  # where our place on the transport could not be given away

    def logPrefix(self) -> str:
        """As of the factory."""
        return self._factory.logPrefix()

    def connectionMade(self) -> None:
        """Wait for the first word; on TLS, for the handshake."""
        self._factory.remember(self)
        self._shaken = not ISSLTransport.providedBy(self.transport)
        self._wait()

    def handshakeCompleted(self) -> None:
        """TLS is ready: the time for the first word begins."""
        if self._inner is not None:
            self._inner.handshakeCompleted()
        elif not self._shaken:
            self._shaken = True
            self._wait()

    def dataReceived(self, data: bytes) -> None:
        """The first bytes."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._shaken = True
        held = self._held = self._held + data
        if held.startswith(MAGIC):
            self._held = b""
            self._give_way(WrappedProtocol(self._factory, self._factory.wrapped.buildProtocol), held)
        elif not MAGIC.startswith(held):
            self._pass()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport is gone. What it began to say is told, and its end."""
        self._decided()
        if self._inner is not None:
            self._inner.connectionLost(reason)
            return
        held, self._held = self._held, b""
        protocol = self._build() if held else None
        if protocol is not None:
            protocol.makeConnection(self.transport)
            protocol.dataReceived(held)
            protocol.connectionLost(reason)

    def readConnectionLost(self) -> None:
        """It will say no more, so it is no framed peer."""
        transport: Any = self.transport
        if self._inner is None and self._held:
            self._pass()
        inner: Any = self._inner if self._inner is not None else getattr(transport, "protocol", self)
        if inner is not self and IHalfCloseableProtocol.providedBy(inner):
            inner.readConnectionLost()
        else:
            transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Of the protocol that we pass everything on to."""
        if IHalfCloseableProtocol.providedBy(self._inner):
            self._inner.writeConnectionLost()

    # -- inside

    def _wait(self) -> None:
        """Attentively, and no longer than a framed peer may take for its HELLO."""
        if self._waits is not None:
            self._waits.stop()
        wheel = self._factory.wheel
        timeout = self._factory.config.handshake_timeout
        judge = Liveness(timeout, wheel.attention, wheel.seconds(), can_ask=False)
        self._waits = IdlePulse(wheel, judge, weakref.ref(self), self._waited)
        self._waits.start()

    def _waited(self) -> None:
        self._waits = None
        if self._shaken:
            self._pass()
        else:
            self._abort()

    def _pass(self) -> None:
        """No framed peer: whatever it said is for the user's protocol. Over a limit there is no BYE to say it with."""
        if self._factory.is_full_for(counted_as(self.transport.getPeer())):  # type: ignore[union-attr]  # connected
            self._abort()
            return
        held, self._held = self._held, b""
        protocol = self._build()
        if protocol is None:
            self._decided()
            self.transport.loseConnection()  # type: ignore[union-attr]  # it is connected
        else:
            self._give_way(UnframedProtocol(protocol, self._factory), held)

    def _build(self) -> Any:
        transport: Any = self.transport
        return self._factory.wrapped.buildProtocol(transport.getPeer())

    def _give_way(self, inner: Any, held: bytes) -> None:
        self._decided()
        transport: Any = self.transport
        place = _place(transport)
        if place is not None and getattr(transport, place) is self:
            setattr(transport, place, inner)
        else:
            self._inner = inner
        inner.makeConnection(transport)
        if ISSLTransport.providedBy(transport):
            inner.handshakeCompleted()
        if held:
            inner.dataReceived(held)

    def _decided(self) -> None:
        self._factory.forget(self)
        waits, self._waits = self._waits, None
        if waits is not None:
            waits.stop()

    def _abort(self) -> None:
        transport: Any = self.transport
        getattr(transport, "abortConnection", transport.loseConnection)()


def _place(transport: Any) -> str | None:
    """The name of the attribute by which this kind of transport knows its protocol; by type, as links are chosen."""
    if isinstance(transport, tcp.Connection):
        return "protocol"
    return "wrappedProtocol" if isinstance(transport, ProtocolWrapper) else None
