"""What the tests of the timeouts share: a reactor with two clocks, and a protocol as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from heartbeat.interfaces import IClocked
from heartbeat.net.adapters.timeout import TimeoutMixin

#: A healthy loop looks this often. A power of two, so that two clocks that run alike stay alike to the last bit.
STEP = 1 / 128
BEGIN = 1024.0
TURN = STEP / 8


@implementer(IReactorTime, IClocked)
class Reactor:
    """A real reactor's time: timers by a wall clock, and a monotonic clock beside it. Whoever turns it may stall it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(BEGIN)
        self.mono = BEGIN

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:  # noqa: A002 - Twisted's name
        """By the wall clock, as Twisted's; what is called for in a turn runs in the next one, behind a poll."""
        call: IDelayedCall = self.clock.callLater(delay or TURN, callable, *args, **kw)
        return call

    def getDelayedCalls(self) -> Any:
        """What waits."""
        return self.clock.getDelayedCalls()

    def seconds(self) -> float:
        """The wall clock."""
        return float(self.clock.seconds())

    def wall(self) -> float:
        """The same."""
        return self.seconds()

    def monotonic(self) -> float:
        """Never steps."""
        return self.mono

    def draw(self) -> float:
        """No chance here."""
        return 0.5

    def stall(self, seconds: float) -> None:
        """The process is stopped, and then its timers come first."""
        self.mono += seconds
        self.clock.advance(seconds)

    def live(self, seconds: float) -> None:
        """Time goes by in healthy turns."""
        for _ in range(round(seconds / STEP)):
            self.stall(STEP)


class Chat(LineReceiver, TimeoutMixin):
    """A protocol as they are: any line is a sign of life."""

    period: float | None = 3.0
    timed_out = 0

    def connectionMade(self) -> None:
        """Set the timeout."""
        self.setTimeout(self.period)

    def lineReceived(self, line: bytes) -> None:
        """A sign of life."""
        self.resetTimeout()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Switch it off."""
        self.setTimeout(None)

    def timeoutConnection(self) -> None:
        """Count, and go on."""
        self.timed_out += 1
        super().timeoutConnection()
