"""Heartbeats in framings that exist: in the class, from outside, and in a framing of one's own."""

from __future__ import annotations

from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.amp import AMP
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from heartbeat import HeartbeatConfig
from heartbeat.net.adapters.amp import AMPHeartbeat
from heartbeat.net.adapters.framing import FramingHeartbeat
from heartbeat.net.adapters.line import LineHeartbeat

CONFIG = HeartbeatConfig(interval=5.0)


class Worker(AMP):
    def connectionMade(self) -> None:
        super().connectionMade()
        self.heartbeat = AMPHeartbeat(self, CONFIG).start()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(self.heartbeat.stop(reason))  # gives the reason back, with our cause in it


class Chat(LineReceiver):
    """Knows nothing of heartbeats."""


chats = LineHeartbeat.factory(Factory.forProtocol(Chat), CONFIG, question=b"NOOP", answer=b"250")


class RedisHeartbeat(FramingHeartbeat):
    """PING and +PONG of the Redis protocol."""

    def ask(self, number: int) -> bool:
        if self.protocol.subscribed:  # this framing cannot carry a question now: we only listen
            return False
        self.protocol.sendCommand(b"PING").addBoth(lambda answer: self.answered(number))
        return True
