"""Twisted's timers on a clock that is moved by hand: nothing sleeps, nothing is polled."""

from __future__ import annotations

import time
from typing import Final

from twisted.internet.base import ReactorBase

__all__ = ["SLOT", "Stepped"]

SLOT: Final = 0.02  # of the wheel; finer steps would do nothing for it, and cost a ``callLater`` its batches


class Stepped(ReactorBase):
    """A reactor with nothing but timers. ``task.Clock`` would sort all of them at each call: no comparison."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__()

    def installWaker(self) -> None:
        """Nobody sleeps."""

    def seconds(self) -> float:
        """The hand's."""
        return self.now

    def step(self, seconds: float) -> float:
        """Move on, slot by slot, and do what is due; gives the CPU that it took, in seconds."""
        begun = time.process_time()
        for _ in range(round(seconds / SLOT)):
            self.now += SLOT
            self.runUntilCurrent()
        return time.process_time() - begun
