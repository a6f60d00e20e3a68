"""Long answers in slices: one per turn of the reactor, and none while the reader does not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import CooperativeTask, Cooperator, TaskStopped
from twisted.logger import Logger
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

__all__ = ["PATIENCE", "Slices", "Turns"]

#: Seconds for which a reader may read nothing; then its connection is cut. Twisted itself has no limit while an answer
#: is under way.
PATIENCE: Final = 30.0


class Request(Protocol):
    """What is needed of a :class:`twisted.web.server.Request`."""

    path: bytes
    channel: Any

    def write(self, data: bytes) -> object: ...
    def finish(self) -> object: ...
    def notifyFinish(self) -> Deferred[None]: ...
    def registerProducer(self, producer: object, streaming: bool) -> object: ...
    def unregisterProducer(self) -> object: ...


class Turns:
    """The turns of a reactor, shared by all long answers: one slice in a turn, whoever it is for."""

    def __init__(self, reactor: IReactorTime) -> None:
        self.reactor = reactor
        self.cooperator = Cooperator(
            terminationPredicateFactory=lambda: lambda: True,
            scheduler=lambda tick: reactor.callLater(0.0, tick),
        )


@implementer(IPushProducer)
class Slices:
    """Writes the parts of one answer. Return what :meth:`start` returns from ``render``.

    :param request: its status and headers are set
    :param parts: each is made in a turn of its own; an empty one is time spent and nothing to say. Closed at the end
    """

    log = Logger()

    def __init__(self, request: Request, parts: Generator[bytes, None, None], turns: Turns) -> None:
        self._request = request
        self._parts = parts
        self._turns = turns
        self._task: CooperativeTask[Iterator[object]] | None = None
        self._patience: IDelayedCall | None = None

    def start(self) -> int:
        """Begin in the next turn."""
        self._request.notifyFinish().addErrback(self._lost)
        self._request.registerProducer(self, True)
        self._task = self._turns.cooperator.cooperate(self._write())
        self._task.whenDone().addCallbacks(self._written, self._failed)
        return NOT_DONE_YET

    # -- the reader's side of it (IPushProducer)

    def pauseProducing(self) -> None:
        """Enough is on its way: wait until it is read."""
        if self._task is not None and self._patience is None:
            self._task.pause()
            self._patience = self._turns.reactor.callLater(PATIENCE, self._give_up)

    def resumeProducing(self) -> None:
        """It was read: go on."""
        if self._task is not None and self._patience is not None:
            self._patience.cancel()
            self._patience = None
            self._task.resume()

    def stopProducing(self) -> None:
        """The reader is gone."""
        self._lost()

    # -- inside

    def _write(self) -> Iterator[object]:
        for part in self._parts:
            if part:
                self._request.write(part)
            yield None

    def _written(self, result: object) -> None:
        self._end()
        self._request.unregisterProducer()
        self._request.finish()

    def _failed(self, failure: Failure) -> None:
        if not isinstance(failure.value, TaskStopped):
            self.log.failure("an answer broke off: {path!r}", failure, path=self._request.path)
            self._end()
            self._abort()

    def _give_up(self) -> None:
        self._patience = None
        self._abort()

    def _abort(self) -> None:
        # A cut connection is the only way to say "this is not all" once the status line is out.
        self._request.channel.transport.abortConnection()

    def _lost(self, reason: object = None) -> None:
        if self._task is not None:
            task = self._task
            self._end()
            task.stop()

    def _end(self) -> None:
        """Nothing of this answer is left behind."""
        self._task = None
        self._parts.close()
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
