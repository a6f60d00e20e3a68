"""Twisted on the simulated network: a reactor for each process.

:class:`SimulatedReactor` is a :class:`twisted.internet.base.ReactorBase`: its timers, its triggers and its queue
of calls from threads are Twisted's own code. Its transports are Twisted's own too; only the sockets under them
are simulated. It is never installed as the global reactor, and it is not run: the network runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReactorTCP
from zope.interface import implementer

from heartbeat.interfaces import IClocked
from heartbeat.net.tick import ITickSource, ReactorTick, Tick
from heartbeat.testing.names import HostNames, NoThreads
from heartbeat.testing.polling import PollingReactor
from heartbeat.testing.ticks import SimulatedTick
from heartbeat.testing.transports import SimulatedConnector, SimulatedPort, Watch

if TYPE_CHECKING:
    from twisted.internet.base import DelayedCall
    from twisted.internet.interfaces import IConnector, IListeningPort, IProtocolFactory
    from twisted.internet.protocol import ClientFactory, P

    from heartbeat.testing.hosts import Process

__all__ = ["SimulatedReactor"]


@implementer(IClocked, IReactorTCP, ITickSource)
class SimulatedReactor(PollingReactor):
    """The reactor of one process of a simulated host.

    :ivar ticks: the timers of the simulated kernel that are armed, or may be again at once
    :ivar watch: weak references to all transports and protocols that it made
    """

    _registerAsIOThread = False  # a documented switch of ReactorBase: this loop belongs to whichever thread runs it

    def __init__(self, process: Process, *, monotonic_timers: bool = False) -> None:
        self._monotonic_timers = monotonic_timers
        self._threads = NoThreads(self)
        self.watch = Watch()
        self.ticks: dict[SimulatedTick, None] = {}
        super().__init__(process)
        self.installNameResolver(HostNames(self, process.host))
        self.startRunning(installSignalHandlers=False)

    # ---- clocks

    def seconds(self) -> float:
        """The clock of :meth:`callLater`: the wall clock, as in Twisted, or the monotonic one where that was asked."""
        return self.monotonic() if self._monotonic_timers else self.wall()

    def monotonic(self) -> float:
        """Seconds that never step."""
        return self._process.host.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch, as this host believes."""
        return self._process.host.wall()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> DelayedCall:  # noqa: A002 - Twisted's name
        """As Twisted's; also from outside of the loop, where a test sets the timer."""
        call = super().callLater(delay, callable, *args, **kw)
        self._process.wake()
        return call

    def _moveCallLaterSooner(self, delayedCall: DelayedCall) -> None:
        super()._moveCallLaterSooner(delayedCall)
        self._process.wake()

    def heartbeat_tick(self, turn: Callable[[], None]) -> Tick:
        """As on Linux: a timerfd, unless the application has put the timers on the monotonic clock."""
        return ReactorTick(self, turn) if self._monotonic_timers else SimulatedTick(self, turn)

    def draw(self) -> float:
        """Chance that can be repeated: 0 ≤ x < 1, from the seed of the network."""
        return self._process.host.network.draw()

    # ---- the loop, as its host drives it

    def run_timers(self) -> None:
        """Run what is due, and end the process once the reactor was stopped."""
        self.runUntilCurrent()
        if not self.running and self._process.alive:
            self._process.host.crash()

    def poll(self) -> None:
        """The timers of the kernel that have expired, and then the sockets."""
        for tick in tuple(self.ticks):
            tick.poll()
        super().poll()

    def sleep(self) -> float | None:
        """Seconds until the next timer, 0 if there is something to do, None if nothing is awaited."""
        if self.threadCallQueue or self._poller.pending():
            return 0.0
        waits = [tick.left() for tick in self.ticks if tick.armed]
        timers = self.timeout()
        return min(waits, default=None) if timers is None else min([timers, *waits])

    def end(self) -> None:
        """The process was killed: nothing of it runs any more."""
        for call in self.getDelayedCalls():
            call.cancel()
        self.threadCallQueue.clear()
        self.ticks.clear()
        self._poller.clear()
        self.watch.clear()

    # ---- what ReactorBase asks of its subclasses

    def installWaker(self) -> None:
        """Not needed: there are no threads."""

    def wakeUp(self) -> None:
        """A call was queued."""
        self._process.wake()

    def mainLoop(self) -> None:
        """Not for a simulated reactor.

        :raises RuntimeError: always
        """
        raise RuntimeError("a simulated reactor is run by its network: net.run(seconds)")

    def getThreadPool(self) -> Any:
        """A pool without threads: what it is given runs in the loop, a turn later."""
        return self._threads

    # ---- connections

    def listenTCP(self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = "") -> IListeningPort:
        """As Twisted's. ``interface`` is ``""``, the address of the host, or 127.0.0.1."""
        listening = SimulatedPort(port, factory, backlog, interface, self)
        listening.startListening()
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory[P],
        timeout: float = 30.0,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector:
        """As Twisted's, to the name or the address of a simulated host."""
        connector = SimulatedConnector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector
