"""What an application has to send: its writes and its producer, for as long as they wait for the stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from heartbeat.session.stream import Stream

__all__ = ["Supply"]

#: A push producer is paused when more than this waits, and goes on when nothing does: as Twisted's own transports.
MOST_WAITING: Final = 64 * 1024

# Calls a method of the application: what that raises ends the connection.
Caller = Callable[..., None]


class Supply:
    """One direction of one application.

    :param call: calls the application's producer
    :ivar producer: the registered one, None if there is none
    """

    __slots__ = ("_call", "_paused", "_pieces", "_size", "_streaming", "producer")

    def __init__(self, call: Caller) -> None:
        self._call = call
        self._pieces: list[bytes] = []
        self._size = 0
        self._streaming = False
        self._paused = False
        self.producer: Any = None

    def add(self, data: bytes) -> None:
        """One more write."""
        self._pieces.append(data)
        self._size += len(data)

    def waiting(self, stream: Stream) -> int:
        """Bytes that the link was not given."""
        return self._size + stream.queued

    def move(self, stream: Stream) -> None:
        """Give the writes to the stream, small ones together: they need not be a frame each."""
        pieces = self._pieces
        if pieces and stream.queued < MOST_WAITING:
            stream.send(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            pieces.clear()
            self._size = 0

    # -- the producer

    def register(self, producer: Any, streaming: bool) -> None:
        """Take a producer. Raises RuntimeError if there is one."""
        if self.producer is not None:
            raise RuntimeError(f"cannot register producer {producer!r}: {self.producer!r} was never unregistered")
        self.producer = producer
        self._streaming = streaming
        self._paused = False

    def unregister(self) -> None:
        """It will write no more."""
        self.producer = None

    def brake(self, stream: Stream) -> None:
        """Pause a push producer if too much waits."""
        if self.producer is None or not self._streaming or self._paused or self.waiting(stream) <= MOST_WAITING:
            return
        self._paused = True
        self._call(self.producer.pauseProducing)

    def ask(self) -> bool:
        """Nothing waits: let the producer go on. False: it had nothing."""
        if self.producer is None or (self._streaming and not self._paused):
            return False
        self._paused = False
        self._call(self.producer.resumeProducing)
        return self._size > 0

    def stop(self) -> None:
        """Nothing can be sent any more."""
        producer, self.producer = self.producer, None
        self._pieces.clear()
        self._size = 0
        if producer is not None:
            self._call(producer.stopProducing)
