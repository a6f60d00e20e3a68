"""WebSockets of Twisted's own (``twisted.web.websocket``), server and client: PING and PONG frames (RFC 6455, 5.5.2).

The peer needs nothing: whoever speaks WebSocket answers a PING. Below the frames there is the transport that they are
written to, which is where the evidence is and what is aborted.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

from twisted.internet.interfaces import IProtocol, ITransport
from twisted.python.failure import Failure

from heartbeat.config import HeartbeatConfig
from heartbeat.errors import NotConnected
from heartbeat.net.adapters.framing import FramingHeartbeat
from heartbeat.net.adapters.outside import WatchedFactory

__all__ = ["WebSocketHeartbeat", "number_in", "payload_of"]

# Before the number in a PING of ours, so that a PONG for the application's own is not taken for an answer to us.
_MARK: Final = b"heartbeat "


def payload_of(number: int) -> bytes:
    """What the PING of that question carries."""
    return b"%s%d" % (_MARK, number)


def number_in(payload: bytes | bytearray) -> int | None:
    """The question that this PONG answers; None: it is none of ours."""
    mark, digits = payload[: len(_MARK)], bytes(payload[len(_MARK) :])
    return int(digits) if mark == _MARK and digits.isdigit() else None


class WebSocketHeartbeat(FramingHeartbeat):
    """The heartbeat of a :class:`twisted.web.websocket.WebSocketProtocol`, at either end.

    ::

        def negotiationStarted(self, transport):
            self.transport = transport
            self.heartbeat = WebSocketHeartbeat(self, HeartbeatConfig(interval=5)).start()

        def connectionLost(self, reason):
            reason = self.heartbeat.stop(reason)

    Each whole message and each PONG is a sign of life; Twisted shows nothing else. So one message must not take
    longer than the detection time to arrive. Nothing is asked, and nobody condemned, before the negotiation is over
    (bound ``connect()`` with a :class:`.Deadline`) and after either end has begun to close.

    :param protocol: the application's
    :param config: as of :class:`.FramingHeartbeat`
    :param transport: what ``negotiationStarted`` was given; None: ``protocol.transport``
    :param settings: as of :class:`.FramingHeartbeat`
    :raises NotConnected: there is no such transport yet

    :ivar application: the protocol
    """

    def __init__(
        self, protocol: Any, config: HeartbeatConfig | None = None, *, transport: Any = None, **settings: Any
    ) -> None:
        if transport is None:
            transport = getattr(protocol, "transport", None)
        if transport is None:
            raise NotConnected("this heartbeat begins in negotiationStarted: the protocol has no transport yet")
        super().__init__(_carrier(transport), config, **settings)
        self.application = protocol
        self._websocket = transport
        self._negotiated = False

    def ask(self, number: int) -> bool:
        """A PING; False while there are no frames yet, or no more."""
        from wsproto.utilities import LocalProtocolError  # an optional package, and one that made this transport

        if not self._negotiated:
            return False
        try:
            self._websocket.ping(payload_of(number))
        except LocalProtocolError:  # it is being closed
            return False
        return True

    def attached(self) -> None:
        """Each message and each PONG is heard; those that answer us are not shown to the application."""
        application = self.application
        finished, pong = application.negotiationFinished, application.pongReceived
        text, binary = application.textMessageReceived, application.bytesMessageReceived

        def negotiation_finished() -> None:
            self._negotiated = True
            self.heard()
            finished()

        def pong_received(payload: bytes) -> None:
            number = number_in(payload)
            if number is not None:
                self.answered(number)
            else:
                self.heard()
                pong(payload)

        def text_received(message: str) -> None:
            self.heard()
            text(message)

        def bytes_received(data: bytes) -> None:
            self.heard()
            binary(data)

        application.negotiationFinished = negotiation_finished
        application.pongReceived = pong_received
        application.textMessageReceived = text_received
        application.bytesMessageReceived = bytes_received

    def detached(self) -> None:
        """As it was."""
        application = self.application
        del application.negotiationFinished, application.pongReceived
        del application.textMessageReceived, application.bytesMessageReceived

    @classmethod
    def factory(cls, wrapped: Any, config: HeartbeatConfig | None = None, **settings: Any) -> WatchedFactory:
        """The same protocols, each with a heartbeat, which it finds as ``self.heartbeat`` after ``negotiationStarted``.

        :param wrapped: a ``WebSocketServerFactory`` or ``WebSocketClientFactory``
        :param settings: as of this class
        :returns: one for ``WebSocketResource`` or ``WebSocketClientEndpoint.connect``
        """
        return _Watched(wrapped, lambda protocol, transport: cls(protocol, config, transport=transport, **settings))


class _Watched(WatchedFactory):
    """Attaches later than its base: in ``negotiationStarted``, which is where the transport comes."""

    def __init__(self, wrapped: Any, attach: Callable[[Any, Any], WebSocketHeartbeat]) -> None:
        super().__init__(wrapped, lambda protocol: attach(protocol, None))
        self._attach_to = attach

    def buildProtocol(self, addr: Any) -> Any:
        """Of a request or of a URL."""
        protocol: Any = self.wrapped.buildProtocol(addr)
        started, lost = protocol.negotiationStarted, protocol.connectionLost

        def negotiation_started(transport: Any) -> None:
            started(transport)
            protocol.heartbeat = self._attach_to(protocol, transport).start()

        def connection_lost(reason: Failure) -> None:
            del protocol.negotiationStarted, protocol.connectionLost
            lost(protocol.heartbeat.stop(reason))

        protocol.negotiationStarted = negotiation_started
        protocol.connectionLost = connection_lost
        return protocol


class _Hidden:
    """In the place of the transport below, where a WebSocket transport shows none: no evidence, and only a close."""

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket

    def getPeer(self) -> None:
        """Nobody knows."""

    def loseConnection(self) -> None:
        """The only end there is. It waits for what is not written yet."""
        self._websocket.loseConnection()


def _carrier(websocket: Any) -> Any:
    """What has the transport below as ``transport``: Twisted's WebSocket transports are byte protocols themselves."""
    if IProtocol.providedBy(websocket) and ITransport.providedBy(getattr(websocket, "transport", None)):
        return websocket
    return SimpleNamespace(transport=_Hidden(websocket))
