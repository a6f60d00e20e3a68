"""The half of a simulated reactor that serves descriptors, as Twisted's epoll reactor does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.base import ReactorBase
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReactorFDSet
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from heartbeat.testing.sockets import HUNG_UP, READABLE, WRITABLE, Poller, SimulatedSocket

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor

    from heartbeat.testing.hosts import Process

__all__ = ["PollingReactor"]

_log = Logger()


@implementer(IReactorFDSet)
class PollingReactor(ReactorBase):
    """A reactor whose poll asks a simulated kernel."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._poller = Poller(process)
        super().__init__()

    def poll(self) -> None:
        """Read and write what is ready."""
        for descriptor, events in self._poller.poll():
            if self._process.stalled:
                break
            selectable = self._poller.reads.get(descriptor) or self._poller.writes.get(descriptor)
            if selectable is not None:
                self._serve(selectable, descriptor, events)

    def doIteration(self, delay: float | None) -> None:
        """One poll that does not wait."""
        self.poll()

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
    return Failure(type(why)() if shared else why)
