"""The kinds of stall: five ways in which an event loop that should listen does not."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

__all__ = ["KINDS", "AsyncioLoop", "Loop", "Stalls", "TwistedLoop"]

#: ``timer``: in the callback of a timer; ``io``: of a descriptor; ``thread``: of a call from a thread; ``write``: right
#: behind a write, in the callback of a descriptor, so that what was written is still in user space; ``sigstop``: the
#: whole process is stopped from outside.
KINDS: Final = ("timer", "io", "thread", "write", "sigstop")
#: Seconds that a stall may take to begin and to end besides its own length.
_PATIENCE: Final = 20.0


class Loop(Protocol):
    """What a stall needs of an event loop. All but :meth:`call` is called in the loop's own thread."""

    def call(self, function: Callable[[], object]) -> None:
        """Call it soon, in the loop; may be called from any thread."""

    def soon(self, function: Callable[[], object]) -> None:
        """Call it as a timer that is due."""

    def watch(self, descriptor: int, function: Callable[[], object]) -> None:
        """Call it whenever the descriptor is readable."""


class TwistedLoop:
    """A reactor."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def call(self, function: Callable[[], object]) -> None:
        """``callFromThread``."""
        self._reactor.callFromThread(function)

    def soon(self, function: Callable[[], object]) -> None:
        """``callLater``."""
        self._reactor.callLater(0, function)

    def watch(self, descriptor: int, function: Callable[[], object]) -> None:
        """``addReader``."""
        from twisted.internet.abstract import FileDescriptor

        class Reader(FileDescriptor):
            def fileno(self) -> int:
                return descriptor

            def doRead(self) -> None:
                function()

        Reader(self._reactor).startReading()


class AsyncioLoop:
    """An event loop of asyncio's, without Twisted."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop

    def call(self, function: Callable[[], object]) -> None:
        """``call_soon_threadsafe``."""
        self._loop.call_soon_threadsafe(function)

    def soon(self, function: Callable[[], object]) -> None:
        """``call_later``."""
        self._loop.call_later(0, function)

    def watch(self, descriptor: int, function: Callable[[], object]) -> None:
        """``add_reader``."""
        self._loop.add_reader(descriptor, function)


class Stalls:
    """Makes the loop stall; used from a thread beside the loop's.

    :param write: what is called in the loop right before a stall of the kind ``write``
    """

    def __init__(self, loop: Loop, write: Callable[[], object] = lambda: None) -> None:
        self._loop = loop
        self._write = write
        self._reads, self._writes = os.pipe()
        self._seconds = 0.0
        self._writing = False
        self._over = threading.Event()
        self._loop.call(lambda: self._loop.watch(self._reads, self._read))

    def make(self, kind: str, seconds: float) -> None:
        """One stall; returns when it is over."""
        self._seconds = seconds
        self._over.clear()
        if kind == "sigstop":
            pid = os.getpid()
            subprocess.run(["sh", "-c", f"kill -STOP {pid}; sleep {seconds}; kill -CONT {pid}"], check=True)
            return
        if kind == "timer":
            self._loop.call(lambda: self._loop.soon(self._block))
        elif kind == "thread":
            self._loop.call(self._block)
        else:
            self._writing = kind == "write"
            os.write(self._writes, b"x")
        assert self._over.wait(seconds + _PATIENCE), f"a stall of the kind {kind} did not come to an end"

    def _read(self) -> None:
        os.read(self._reads, 1)
        if self._writing:
            self._write()
        self._block()

    def _block(self) -> None:
        time.sleep(self._seconds)
        self._over.set()
