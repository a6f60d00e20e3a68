"""A chat whose silent members are let go. Only the import differs from what it was."""

from __future__ import annotations

from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from heartbeat.net.adapters.timeout import TimeoutMixin  # was: from twisted.protocols.policies import TimeoutMixin


class Chat(LineReceiver, TimeoutMixin):
    def connectionMade(self) -> None:
        self.setTimeout(30)

    def lineReceived(self, line: bytes) -> None:
        self.resetTimeout()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)
