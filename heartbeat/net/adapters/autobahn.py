"""Autobahn's WebSockets (``autobahn.twisted.websocket``), server and client: PING and PONG frames, judged by us.

Autobahn's own auto-ping kills after a stall of its own process (``docs/topics/stalls.md``), so it must be off. The
peer needs nothing: whoever speaks WebSocket answers a PING.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heartbeat.errors import ConfigError
from heartbeat.net.adapters.framing import FramingHeartbeat
from heartbeat.net.adapters.websocket import number_in, payload_of
from heartbeat.net.reasons import UnresponsiveConnection

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocolFactory
    from twisted.python.failure import Failure

    from heartbeat.config import HeartbeatConfig
    from heartbeat.net.adapters.outside import WatchedFactory

__all__ = ["AutobahnHeartbeat"]


class AutobahnHeartbeat(FramingHeartbeat):
    """The heartbeat of a ``WebSocketServerProtocol`` or ``WebSocketClientProtocol`` of Autobahn's.

    ::

        def connectionMade(self):
            super().connectionMade()
            self.heartbeat = AutobahnHeartbeat(self, HeartbeatConfig(interval=5)).start()

        def connectionLost(self, reason):
            super().connectionLost(self.heartbeat.stop(reason))

    Each PING, each PONG and each piece of a message is a sign of life. ``onClose`` is told our reason as text;
    ``self.heartbeat.heartbeat.cause`` is the cause. Nothing is asked, and nobody condemned, before the WebSocket is
    open (Autobahn's ``openHandshakeTimeout`` bounds that) and when it is being closed (``closeHandshakeTimeout``).

    :param protocol: connected
    :param config: as of :class:`.FramingHeartbeat`
    :param settings: as of :class:`.FramingHeartbeat`
    :raises ConfigError: its factory has ``autoPingInterval`` set
    """

    def __init__(self, protocol: Any, config: HeartbeatConfig | None = None, **settings: Any) -> None:
        _check_off(getattr(protocol, "factory", None))
        super().__init__(protocol, config, **settings)

    def ask(self, number: int) -> bool:
        """A PING; False unless the WebSocket is open."""
        protocol = self.protocol
        if protocol.state != protocol.STATE_OPEN:
            return False
        protocol.sendPing(payload_of(number))
        return True

    def attached(self) -> None:
        """All frames are heard; those that answer us are not shown to the application."""
        protocol = self.protocol
        opened, ping, pong = protocol.onOpen, protocol.onPing, protocol.onPong
        begin, data = protocol.onMessageFrameBegin, protocol.onMessageFrameData

        def on_open() -> Any:
            self.heard()
            return opened()

        def on_ping(payload: bytes) -> None:
            self.heard()
            ping(payload)

        def on_pong(payload: bytes) -> None:
            number = number_in(payload)
            if number is not None:
                self.answered(number)
            else:
                self.heard()
                pong(payload)

        def frame_begin(length: int) -> None:
            self.heard()
            begin(length)

        def frame_data(payload: bytes) -> None:  # a frame may be of any length, and take any time
            self.heard()
            data(payload)

        protocol.onOpen, protocol.onPing, protocol.onPong = on_open, on_ping, on_pong
        protocol.onMessageFrameBegin, protocol.onMessageFrameData = frame_begin, frame_data

    def detached(self) -> None:
        """As it was."""
        protocol = self.protocol
        del protocol.onOpen, protocol.onPing, protocol.onPong
        del protocol.onMessageFrameBegin, protocol.onMessageFrameData

    def stop(self, reason: Failure) -> Failure:
        """As of every adapter; ``onClose``, which gets no failure, is told the same in words."""
        reason = super().stop(reason)
        if isinstance(reason.value, UnresponsiveConnection):
            self.protocol.wasNotCleanReason = str(reason.value)
        return reason

    @classmethod
    def factory(
        cls, wrapped: IProtocolFactory, config: HeartbeatConfig | None = None, **settings: Any
    ) -> WatchedFactory:
        """The same protocols, each with a heartbeat. For endpoints; ``connectWS`` and ``listenWS`` want Autobahn's own.

        :raises ConfigError: ``wrapped`` has ``autoPingInterval`` set
        """
        _check_off(wrapped)
        return super().factory(wrapped, config, **settings)


def _check_off(factory: Any) -> None:
    interval = getattr(factory, "autoPingInterval", 0)
    if interval:
        raise ConfigError(
            "autoPingInterval",
            f"must be 0, not {interval!r}: two judges of one connection; setProtocolOptions() sets it",
        )
