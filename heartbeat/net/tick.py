"""What wakes the wheel: a timer of the reactor, or one of the kernel's that no clock step can touch.

Twisted's ``callLater`` runs on the wall clock unless the application set ``reactor.seconds`` (facts T0, K0.4): a step
back freezes every timer for as long as the step was. Where nobody set it and the platform has timerfd (Linux), the
wheel is woken by one: monotonic, and for the reactor a descriptor like any other.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import Interface, implementer

from heartbeat.interfaces import IClocked
from heartbeat.net import kernel

__all__ = ["ITickSource", "ReactorTick", "Tick", "TimerDescriptor", "tick_for"]

# include/uapi/linux/timerfd.h, time.h
CLOCK_MONOTONIC: Final = 1
NONBLOCK_CLOEXEC: Final = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
# A timerfd that is armed with zero is disarmed.
SOONEST: Final = 1e-6
NANOSECONDS: Final = 1_000_000_000
#: What a read of it gives: how often it has expired.
COUNT_BYTES: Final = 8


class Tick(Protocol):
    """One alarm."""

    @property
    def armed(self) -> bool:
        """Whether it will go off."""

    def arm(self, delay: float) -> None:
        """Go off in ``delay`` seconds, instead of when it was armed for before. Once."""

    def stop(self) -> None:
        """Do not go off, and keep nothing: no timer, no descriptor."""

    def later(self, call: Callable[[], None]) -> None:
        """Call in the next turn of the reactor, whatever the clocks do."""


class ITickSource(Interface):
    """A reactor that brings its own alarm (the simulated ones do)."""

    def heartbeat_tick(turn: Callable[[], None]) -> Tick:
        """An alarm that calls ``turn`` when it goes off."""


class ReactorTick:
    """By ``callLater``: where the reactor's timers run on the clock that we judge by, or nothing better is there."""

    __slots__ = ("_call", "_reactor", "_turn", "armed")

    def __init__(self, reactor: Any, turn: Callable[[], None]) -> None:
        self._reactor = reactor
        self._turn = turn
        self._call: Any = None
        self.armed = False

    def arm(self, delay: float) -> None:
        """A DelayedCall, moved if there is one."""
        if self.armed:
            self._call.reset(delay)
        else:
            self._call = self._reactor.callLater(delay, self._went_off)
            self.armed = True

    def stop(self) -> None:
        """Cancel it."""
        if self.armed:
            self.armed = False
            self._call.cancel()
            self._call = None

    def later(self, call: Callable[[], None]) -> None:
        """By a timer of no time."""
        self._reactor.callLater(0, call)

    def _went_off(self) -> None:
        self.armed = False
        self._call = None
        self._turn()


@implementer(IReadDescriptor)
class TimerDescriptor:
    """By a timerfd in the reactor. The descriptor exists while it is armed or may be again at once."""

    def __init__(self, reactor: Any, turn: Callable[[], None]) -> None:
        self._reactor = reactor
        self._turn = turn
        self._descriptor = -1
        self.armed = False

    def arm(self, delay: float) -> None:
        """Set it, made when there is none."""
        if self._descriptor < 0:
            self._descriptor = _create()
            self._reactor.addReader(self)
        _set(self._descriptor, max(delay, SOONEST))
        self.armed = True

    def stop(self) -> None:
        """Take it out of the reactor and close it."""
        self.armed = False
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1

    def later(self, call: Callable[[], None]) -> None:
        """By the queue of calls, which knows no clock."""
        self._reactor.callFromThread(call)

    # -- IReadDescriptor

    def fileno(self) -> int:
        """The descriptor, -1 when there is none."""
        return self._descriptor

    def doRead(self) -> None:
        """It went off."""
        try:
            os.read(self._descriptor, COUNT_BYTES)
        except BlockingIOError:  # armed anew since the poll saw it
            return
        self.armed = False
        self._turn()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has let go of it, at its own end; so do we."""
        self.stop()

    def logPrefix(self) -> str:
        """For the log of the reactor."""
        return "heartbeat"


def tick_for(reactor: Any, turn: Callable[[], None]) -> Tick:
    """The alarm for a reactor, as its clock is set now."""
    if ITickSource.providedBy(reactor):
        tick: Tick = reactor.heartbeat_tick(turn)
        return tick
    tested = isinstance(reactor, Clock) or IClocked.providedBy(reactor)
    steady = getattr(reactor, "seconds", None) is time.monotonic
    if tested or steady or _create is None or not IReactorFDSet.providedBy(reactor):
        return ReactorTick(reactor, turn)
    return TimerDescriptor(reactor, turn)


def _by_library() -> tuple[Callable[[], int], Callable[[int, float], None]] | None:
    """timerfd by the C library, where Python (before 3.13) has no function for it."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        create, settime = library.timerfd_create, library.timerfd_settime
    except (AttributeError, OSError, TypeError):  # another system, or another library
        return None
    four = ctypes.c_long * 4  # struct itimerspec: interval and value, each in seconds and nanoseconds
    settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.POINTER(four), ctypes.c_void_p)

    def made() -> int:
        descriptor = int(create(CLOCK_MONOTONIC, NONBLOCK_CLOEXEC))
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        return descriptor

    def armed(descriptor: int, delay: float) -> None:
        seconds = int(delay)
        value = four(0, 0, seconds, int((delay - seconds) * NANOSECONDS) or 1)
        if settime(descriptor, 0, ctypes.byref(value), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    return made, armed


def _functions() -> tuple[Any, Any]:
    if not kernel.ENABLED:
        return None, None
    system: Any = os  # Python 3.13 has them
    if hasattr(system, "timerfd_create"):
        made, armed = system.timerfd_create, system.timerfd_settime
        return lambda: made(CLOCK_MONOTONIC, flags=NONBLOCK_CLOEXEC), lambda fd, delay: armed(fd, initial=delay)
    return _by_library() or (None, None)


_create, _set = _functions()
