"""The two applications of :mod:`tests.real.pressure`: one offers, the other takes its time."""

from __future__ import annotations

import tracemalloc
from time import monotonic
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.real.pressure import CHUNK, LOOKS, Pressure

if TYPE_CHECKING:
    from tests.real.pressure import Watcher

__all__ = ["Receiver", "Sender"]


class Looking(Protocol):
    """Looks at its own connection until it is gone, and says then how it went."""

    transport: Any

    def __init__(self, reactor: Any, pressure: Pressure, watcher: Watcher) -> None:
        self.reactor = reactor
        self.pressure = pressure
        self.watcher = watcher
        self.looking = LoopingCall(self.look)
        self.looking.clock = reactor
        self.began = 0.0

    def connectionMade(self) -> None:
        """From here on memory is counted."""
        tracemalloc.start()
        self.began = monotonic()
        self.looking.start(LOOKS)

    def look(self) -> None:
        """Now."""
        self.watcher.look(self.transport._application.wrapping.driver)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end of this process."""
        self.looking.stop()
        self.watcher.account(self.began)
        self.reactor.callLater(0.0, self.reactor.stop)


@implementer(IPushProducer)
class Sender(Looking):
    """Writes as fast as it may, or as is offered."""

    def connectionMade(self) -> None:
        """Begin."""
        super().connectionMade()
        self.left = self.pressure.size
        self.paused = False
        self.transport.registerProducer(self, True)
        self.run()

    def dataReceived(self, data: bytes) -> None:
        """The other end has all of it."""
        self.transport.loseConnection()

    def resumeProducing(self) -> None:
        """Go on."""
        self.paused = False
        self.run()

    def pauseProducing(self) -> None:
        """Wait."""
        self.paused = True

    def stopProducing(self) -> None:
        """It is over."""
        self.paused = True

    def run(self) -> None:
        """Write what may be written and was offered."""
        rate, size = self.pressure.rate, self.pressure.size
        while self.left > 0 and not self.paused:
            if rate and (size - self.left) / rate > monotonic() - self.began:
                self.reactor.callLater(0.001, self.run)
                return
            self.transport.write(CHUNK[: self.left])
            self.left -= len(CHUNK)
        if self.left <= 0 and not self.paused:
            self.paused = True
            self.transport.unregisterProducer()


class Receiver(Looking):
    """Takes what comes: not at first, or slowly."""

    came = 0
    waits = False

    def dataReceived(self, data: bytes) -> None:
        """Count, and rest."""
        first, self.came = self.came == 0, self.came + len(data)
        pressure = self.pressure
        if self.came >= pressure.size:
            self.transport.write(b".")
        elif first and pressure.pause:
            self.rest(pressure.pause)
        elif pressure.reads:
            self.rest(max(0.0, self.came / pressure.reads - (monotonic() - self.began)))

    def rest(self, seconds: float) -> None:
        """Take nothing for so long."""
        self.transport.pauseProducing()
        self.reactor.callLater(seconds, self.transport.resumeProducing)
