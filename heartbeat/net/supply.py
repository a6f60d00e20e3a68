"""The producer of an application: paused while much waits for the link, asked for more when little does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["MOST_WAITING", "Supply"]

#: A push producer is paused when more than this waits, as by Twisted's own transports, and goes on when little does.
MOST_WAITING: Final = 64 * 1024

# Calls a method of the application: what that raises ends the connection.
Caller = Callable[..., None]


class Supply:
    """One direction of one application.

    :param call: calls the application's producer
    :ivar producer: the registered one, None if there is none
    """

    __slots__ = ("_call", "_paused", "_streaming", "producer")

    def __init__(self, call: Caller) -> None:
        self._call = call
        self._streaming = False
        self._paused = False
        self.producer: Any = None

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

    def brake(self) -> None:
        """Too much waits: pause a push producer."""
        if self.producer is not None and self._streaming and not self._paused:
            self._paused = True
            self._call(self.producer.pauseProducing)

    def ask(self) -> None:
        """Little waits: let the producer go on, if there is one."""
        if self.producer is not None and (self._paused or not self._streaming):
            self._paused = False
            self._call(self.producer.resumeProducing)

    def stop(self) -> None:
        """Nothing can be sent any more."""
        producer, self.producer = self.producer, None
        if producer is not None:
            self._call(producer.stopProducing)
