"""The transport that a protocol inside DATA gets: Twisted's own face, and ``IHeartbeat`` beside it.

What would reach below the frames is not here: no ``startTLS``, no ``getHandle``, no ``socket``. TLS inside DATA is made
by wrapping the factory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import (
    IConsumer,
    INegotiated,
    IProducer,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from zope.interface import Interface, classImplements, implementer

from heartbeat.interfaces import IHeartbeat
from heartbeat.net.heartbeat import Heartbeat

if TYPE_CHECKING:
    from heartbeat.net.application import Application

__all__ = ["SecureTransport", "WrappedTransport", "transport_for"]

classImplements(Heartbeat, IHeartbeat)


@implementer(ITCPTransport, IConsumer, IPushProducer)
class WrappedTransport:
    """The application's end of one wrapped connection.

    ``loseConnection`` sends what was written, says BYE 0, and gives up when nothing moves for ``close_timeout``.
    ``pauseProducing`` stops the credit of the peer; the connection is read on, and beats flow. ``loseWriteConnection``
    ends the stream in this direction, on TLS as well.

    :ivar heartbeat: the handle; ``IHeartbeat(transport)`` gives it, too
    :ivar connected: the connection is there
    :ivar disconnecting: its end was asked for
    """

    def __init__(self, application: Application, raw: Any) -> None:
        self._application = application
        self._raw = raw
        self.write = application.write  # type: ignore[method-assign]  # one call less on every write

    def __conform__(self, interface: type[Interface]) -> Heartbeat | None:
        return self.heartbeat if interface is IHeartbeat else None

    @property
    def heartbeat(self) -> Heartbeat:
        """The handle."""
        return self._application.wrapping.heartbeat

    @property
    def connected(self) -> bool:
        """Whether the connection is there."""
        return self._application.connected

    @property
    def disconnected(self) -> bool:
        """Whether it is gone."""
        return not self._application.connected

    @property
    def disconnecting(self) -> bool:
        """Whether its end was asked for."""
        return self._application.closing.begun

    # -- ITransport

    def write(self, data: bytes) -> None:
        """Send.

        :raises TypeError: ``data`` is no bytes
        """
        self._application.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send these together."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Send what waits, say BYE 0, close."""
        self._application.lose()

    def abortConnection(self) -> None:
        """End it now; what waits is lost."""
        self._application.abort("abortConnection()")

    def getPeer(self) -> Any:
        """The address of the peer."""
        return self._raw.getPeer()

    def getHost(self) -> Any:
        """Our own address."""
        return self._raw.getHost()

    # -- ITCPTransport

    def loseWriteConnection(self) -> None:
        """Write no more: the end of this direction goes behind what waits; the other direction goes on."""
        self._application.half_close()

    def getTcpNoDelay(self) -> bool:
        """As the transport below says; False where it has no such option."""
        return bool(ITCPTransport.providedBy(self._raw) and self._raw.getTcpNoDelay())

    def setTcpNoDelay(self, enabled: bool) -> None:
        """On the transport below, if it has such an option."""
        if ITCPTransport.providedBy(self._raw):
            self._raw.setTcpNoDelay(enabled)

    def getTcpKeepAlive(self) -> bool:
        """As the transport below says; False where it has no such option."""
        return bool(ITCPTransport.providedBy(self._raw) and self._raw.getTcpKeepAlive())

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """On the transport below, if it has such an option."""
        if ITCPTransport.providedBy(self._raw):
            self._raw.setTcpKeepAlive(enabled)

    # -- IConsumer, IPushProducer

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """As Twisted's: a push producer (``streaming``) is paused while much waits, a pull one asked when nothing does.

        :raises RuntimeError: there is one already
        """
        self._application.register(producer, streaming)

    def unregisterProducer(self) -> None:
        """The producer is done."""
        self._application.unregister()

    def pauseProducing(self) -> None:
        """Deliver nothing until :meth:`resumeProducing`."""
        self._application.pause()

    def resumeProducing(self) -> None:
        """Deliver again, from a later turn of the reactor on."""
        self._application.resume()

    def stopProducing(self) -> None:
        """As :meth:`loseConnection`."""
        self._application.lose()


@implementer(ISSLTransport, INegotiated)
class SecureTransport(WrappedTransport):
    """... over TLS."""

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """What ALPN agreed on below the frames, None: nothing."""
        negotiated: bytes | None = getattr(self._raw, "negotiatedProtocol", None)
        return negotiated

    def getPeerCertificate(self) -> object:
        """The certificate of the peer, None if it showed none."""
        certificate: object = self._raw.getPeerCertificate()
        return certificate


def transport_for(application: Application, raw: Any) -> WrappedTransport:
    """The face for an application whose bytes travel over ``raw``."""
    return (SecureTransport if ISSLTransport.providedBy(raw) else WrappedTransport)(application, raw)
