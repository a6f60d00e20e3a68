"""Which clock a reactor's connections are judged by. Chosen once, when the wheel of the reactor is made."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.internet.task import Clock

from heartbeat.interfaces import IClocked
from heartbeat.net.kernel import ENABLED

__all__ = ["Clocks", "clocks_for"]


class Clocks:
    """A monotonic clock to judge by, a wall clock to show, and the chance by which times are spread.

    :ivar seconds: monotonic seconds; never ``reactor.seconds``, which is the wall clock unless it is a test's
    :ivar wall: seconds since the epoch
    :ivar draw: gives 0 ≤ x < 1
    :ivar boot: monotonic seconds that go on while the machine is suspended; None where there is no such clock
    :ivar alike: all of them run at the same speed, so that one that was set can be told
    """

    __slots__ = ("alike", "boot", "draw", "seconds", "wall")

    def __init__(
        self,
        seconds: Callable[[], float],
        wall: Callable[[], float],
        draw: Callable[[], float] = random.random,
        boot: Callable[[], float] | None = None,
        *,
        alike: bool = True,
    ) -> None:
        self.seconds = seconds
        self.wall = wall
        self.draw = draw
        self.boot = boot
        self.alike = alike


def clocks_for(reactor: Any, seconds: Callable[[], float] | None = None) -> Clocks:
    """The clocks for ``reactor``: its own if it is a ``task.Clock`` or provides ``IClocked``, else the system's.

    :param seconds: overrides the monotonic one
    """
    if IClocked.providedBy(reactor):
        return Clocks(seconds or reactor.monotonic, reactor.wall, reactor.draw, alike=seconds is None)
    if isinstance(reactor, Clock):
        return Clocks(seconds or reactor.seconds, reactor.seconds, alike=seconds is None)
    return Clocks(seconds or time.monotonic, time.time, boot=_boot, alike=seconds is None)


# CLOCK_MONOTONIC stands still while the machine is suspended, this one does not (Linux; clock_gettime(2)).
_BOOTTIME: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None) if ENABLED else None
_boot: Final = None if _BOOTTIME is None else partial(time.clock_gettime, _BOOTTIME)
