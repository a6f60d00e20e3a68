"""Twisted on the simulated network: a reactor for each process.

:class:`SimulatedReactor` is a :class:`twisted.internet.base.ReactorBase`: its timers, its triggers and its queue
of calls from threads are Twisted's own code. Its transports are Twisted's own too; only the sockets under them
are simulated. It is never installed as the global reactor, and it is not run: the network runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.base import ReactorBase
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReactorFDSet, IReactorTCP
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from heartbeat.interfaces import IClocked
from heartbeat.testing.names import HostNames, NoThreads
from heartbeat.testing.sockets import HUNG_UP, READABLE, WRITABLE, Poller, SimulatedSocket
from heartbeat.testing.transports import SimulatedConnector, SimulatedPort, Watch

if TYPE_CHECKING:
    from twisted.internet.base import DelayedCall
    from twisted.internet.interfaces import (
        IConnector,
        IListeningPort,
        IProtocolFactory,
        IReadDescriptor,
        IWriteDescriptor,
    )
    from twisted.internet.protocol import ClientFactory, P

    from heartbeat.testing.hosts import Process

__all__ = ["SimulatedReactor"]

_log = Logger()


@implementer(IClocked, IReactorFDSet, IReactorTCP)
class SimulatedReactor(ReactorBase):
    """The reactor of one process of a simulated host.

    :ivar watch: weak references to all transports and protocols that it made
    """

    _registerAsIOThread = False  # a documented switch of ReactorBase: this loop belongs to whichever thread runs it

    def __init__(self, process: Process, *, monotonic_timers: bool = False) -> None:
        self._process = process
        self._poller = Poller(process)
        self._monotonic_timers = monotonic_timers
        self._threads = NoThreads(self)
        self.watch = Watch()
        super().__init__()
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

    # ---- the loop, as its host drives it

    def poll(self) -> None:
        """Read and write what is ready."""
        for descriptor, events in self._poller.poll():
            if self._process.stalled:
                break
            selectable = self._poller.reads.get(descriptor) or self._poller.writes.get(descriptor)
            if selectable is not None:
                self._serve(selectable, descriptor, events)

    def run_timers(self) -> None:
        """Run what is due, and end the process once the reactor was stopped."""
        self.runUntilCurrent()
        if not self.running and self._process.alive:
            self._process.host.crash()

    def sleep(self) -> float | None:
        """Seconds until the next timer, 0 if there is something to do, None if nothing is awaited."""
        return 0.0 if self.threadCallQueue or self._poller.pending() else self.timeout()

    def end(self) -> None:
        """The process was killed: nothing of it runs any more."""
        for call in self.getDelayedCalls():
            call.cancel()
        self.threadCallQueue.clear()
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

    def doIteration(self, delay: float | None) -> None:
        """One poll that does not wait."""
        self.poll()

    def getThreadPool(self) -> Any:
        """A pool without threads: what it is given runs in the loop, a turn later."""
        return self._threads

    # ---- descriptors and connections

    def addReader(self, reader: IReadDescriptor) -> None:
        """Call its doRead when it can be read."""
        self._poller.want_read(reader)

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """Call its doWrite when it can be written."""
        self._poller.want_write(writer)

    def removeReader(self, reader: IReadDescriptor) -> None:
        """Not any more."""
        self._poller.reads.pop(reader.fileno(), None)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """Not any more."""
        self._poller.writes.pop(writer.fileno(), None)

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        """Not any of them, and here they are."""
        removed: dict[int, IReadDescriptor | IWriteDescriptor] = dict(self._poller.writes)
        removed.update(self._poller.reads)
        self._poller.reads.clear()
        self._poller.writes.clear()
        return list(removed.values())

    def getReaders(self) -> list[IReadDescriptor]:
        """Who wants to read."""
        return list(self._poller.reads.values())

    def getWriters(self) -> list[IWriteDescriptor]:
        """Who wants to write."""
        return list(self._poller.writes.values())

    def open_socket(self) -> SimulatedSocket:
        """A new stream socket of this process."""
        return SimulatedSocket(self._process, self._poller)

    def open_sockets(self) -> Sequence[SimulatedSocket]:
        """Every socket of this process that was not closed."""
        return self._poller.open_sockets

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

    def _serve(self, selectable: Any, descriptor: int, events: int) -> None:
        """Read and write, as Twisted's epoll reactor does it."""
        why: BaseException | None = None
        reading = False
        if events & HUNG_UP and not events & READABLE:
            reading = descriptor in self._poller.reads
            why = CONNECTION_DONE if reading else CONNECTION_LOST
        else:
            with _log.failuresHandled("while serving {selectable}", selectable=selectable) as attempt:
                if events & READABLE:
                    reading = True
                    why = selectable.doRead()
                if why is None and events & WRITABLE:
                    reading = False
                    why = selectable.doWrite()
            if attempt.failure is not None:
                why = attempt.failure.value
        if why is not None:
            self._disconnect(selectable, why, reading=reading)

    def _disconnect(self, selectable: Any, why: BaseException, *, reading: bool) -> None:
        self.removeReader(selectable)
        if reading and isinstance(why, ConnectionDone) and IHalfCloseableDescriptor.providedBy(selectable):
            selectable.readConnectionLost(_failure(why))
            return
        self.removeWriter(selectable)
        selectable.connectionLost(_failure(why))


def _failure(why: BaseException) -> Failure:
    """Twisted's ``CONNECTION_DONE`` and ``CONNECTION_LOST`` are shared by all: each connection gets its own."""
    shared = why is CONNECTION_DONE or why is CONNECTION_LOST
    return Failure(type(why)() if shared else why)  # type: ignore[no-untyped-call]  # Twisted's is untyped
