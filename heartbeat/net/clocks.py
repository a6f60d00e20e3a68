"""Which clock a reactor's connections are judged by. Chosen once, when the wheel of the reactor is made."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from heartbeat.interfaces import IClocked

__all__ = ["Clocks", "clocks_for"]


class Clocks:
    """A monotonic clock to judge by, a wall clock to show, and the chance by which times are spread.

    :ivar seconds: monotonic seconds; never ``reactor.seconds``, which is the wall clock unless it is a test's
    :ivar wall: seconds since the epoch
    :ivar draw: gives 0 ≤ x < 1
    """

    __slots__ = ("draw", "seconds", "wall")

    def __init__(
        self, seconds: Callable[[], float], wall: Callable[[], float], draw: Callable[[], float] = random.random
    ) -> None:
        self.seconds = seconds
        self.wall = wall
        self.draw = draw


def clocks_for(reactor: Any, seconds: Callable[[], float] | None = None) -> Clocks:
    """The clocks for ``reactor``: its own if it is a ``task.Clock`` or provides ``IClocked``, else the system's.

    :param seconds: overrides the monotonic one
    """
    if IClocked.providedBy(reactor):
        return Clocks(seconds or reactor.monotonic, reactor.wall, reactor.draw)
    if isinstance(reactor, Clock):
        return Clocks(seconds or reactor.seconds, reactor.seconds)
    return Clocks(seconds or time.monotonic, time.time)
