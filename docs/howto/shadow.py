"""A chat with Twisted's own TimeoutMixin, and our verdict beside it: what would it have changed?"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from heartbeat.net import Shadow


class Chat(LineReceiver, TimeoutMixin):  # as it was
    def connectionMade(self) -> None:
        self.setTimeout(60)

    def lineReceived(self, line: bytes) -> None:
        self.resetTimeout()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)


def shadowed(reactor: Any) -> Shadow:
    shadow = Shadow(Factory.forProtocol(Chat), detect=30.0, reactor=reactor)
    reactor.listenTCP(8007, shadow.factory)  # was: reactor.listenTCP(8007, Factory.forProtocol(Chat))
    return shadow


def told(shadow: Shadow) -> str:
    report = shadow.report()
    return (
        f"{report.kills} kills, {report.spared} of them of living peers; "
        f"{report.earlier} dead ones found earlier, by {report.earlier_by:.0f} s in all; {report.later} later"
    )
