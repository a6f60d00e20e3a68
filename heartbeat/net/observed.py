"""What stands between a transport of Twisted's and an observed protocol, and the factory that puts it there.

It passes everything on, both ways, and the protocol has the transport itself: the same that endpoints of Twisted's do
for clients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import (
    IFileDescriptorReceiver,
    IHalfCloseableProtocol,
    IHandshakeListener,
    ILoggingContext,
    IProtocolNegotiationFactory,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from heartbeat.net.observation import Observation

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory

    from heartbeat.net.limits import ObserveLimits
    from heartbeat.net.wheel import Wheel

__all__ = ["ObservedProtocol", "Observer", "ObservingFactory", "name_of"]

#: What a transport asks a protocol for; provided if the observed one provides it.
PASSED_ON: Final = (IHalfCloseableProtocol, IFileDescriptorReceiver)


def name_of(wrapped: Any) -> str:
    """The name of a protocol or a factory in the logs."""
    return wrapped.logPrefix() if ILoggingContext.providedBy(wrapped) else type(wrapped).__name__


@implementer(IHandshakeListener)
class ObservedProtocol(Protocol):
    """On the transport; passes everything on to the user's protocol, and tells the observation.

    :param wrapped: the user's protocol, not connected yet
    :param observe: makes the observation of this connection

    :ivar wrapped: the same
    """

    def __init__(self, wrapped: Any, observe: Callable[[ObservedProtocol], Observation]) -> None:
        self.wrapped = wrapped
        self._observe = observe
        self._observation: Observation | None = None
        for one in PASSED_ON:
            if one.providedBy(wrapped):
                alsoProvides(self, one)

    def logPrefix(self) -> str:
        """As of the user's protocol."""
        return name_of(self.wrapped)

    @property
    def observation(self) -> Observation:
        """What watches this connection; only once it is made."""
        assert self._observation is not None, "not connected yet"
        return self._observation

    def connectionMade(self) -> None:
        """Begin; then it is as if we were not here."""
        self._observation = self._observe(self)
        self._observation.begin()
        self.wrapped.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """A sign of life of the application, and its own affair."""
        if self._observation is not None:
            self._observation.heard()
        self.wrapped.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport is gone."""
        self.wrapped.connectionLost(self.observation.end(reason))

    def handshakeCompleted(self) -> None:
        """TLS is ready: the peer is judged from here on."""
        self.observation.open()
        if IHandshakeListener.providedBy(self.wrapped):
            self.wrapped.handshakeCompleted()

    def readConnectionLost(self) -> None:
        """The peer will send no more."""
        self.wrapped.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """We will send no more."""
        self.wrapped.writeConnectionLost()

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """A descriptor came over a UNIX socket."""
        self.wrapped.fileDescriptorReceived(descriptor)


class ObservingFactory(Factory):
    """Builds what another factory builds, and watches it. See :func:`.observe_factory`, which makes it.

    :param wrapped: the other factory
    :param observer: watches

    :ivar wrapped: the same
    """

    noisy = False

    def __init__(self, wrapped: IProtocolFactory, observer: Observer) -> None:
        self.wrapped: Any = wrapped
        self.observer = observer
        if IProtocolNegotiationFactory.providedBy(wrapped):
            alsoProvides(self, IProtocolNegotiationFactory)

    def acceptableProtocols(self) -> list[bytes]:
        """What the other factory offers by ALPN."""
        offered: list[bytes] = self.wrapped.acceptableProtocols()
        return offered

    def logPrefix(self) -> str:
        """As of the other factory."""
        return name_of(self.wrapped)

    def doStart(self) -> None:
        """The other one starts."""
        self.wrapped.doStart()

    def doStop(self) -> None:
        """The other one stops."""
        self.wrapped.doStop()
        self.observer.stopped()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A protocol of the other factory, watched; None where that refuses."""
        protocol: IProtocol | None = self.wrapped.buildProtocol(addr)
        return None if protocol is None else ObservedProtocol(protocol, self.observer.observe)

    # -- of a ClientFactory, for connectTCP and its kind

    def startedConnecting(self, connector: Any) -> None:
        """Passed on."""
        self.wrapped.startedConnecting(connector)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Passed on."""
        self.wrapped.clientConnectionFailed(connector, reason)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        """Passed on."""
        self.wrapped.clientConnectionLost(connector, reason)


class Observer:
    """Makes the observations of one factory or endpoint.

    :param limits: after which silence
    :param listener: an IHeartbeatListener
    :param reactor: of the connections
    :param wheel: of that reactor
    """

    def __init__(self, limits: ObserveLimits, listener: Any, reactor: Any, wheel: Wheel) -> None:
        self.limits = limits
        self.listener = listener
        self.reactor = reactor
        self.wheel = wheel

    def stopped(self) -> None:
        """A factory has stopped to listen, or to connect. The base does nothing."""

    def observe(self, protocol: ObservedProtocol) -> Observation:
        """The observation of a connection that was made."""
        return Observation(protocol, self.wheel, self.limits, self.listener, self.reactor)
