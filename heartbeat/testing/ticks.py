"""A timerfd of a simulated kernel: what wakes the wheel where a reactor's own timers run on the wall clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heartbeat.testing.reactors import SimulatedReactor

__all__ = ["SimulatedTick"]


class SimulatedTick:
    """Goes off in the poll of its reactor, as a descriptor does: behind the timers, before the sockets.

    :ivar at: when, on the monotonic clock of the host; None while it is not armed
    :ivar armed: whether it will go off
    """

    def __init__(self, reactor: SimulatedReactor, turn: Callable[[], None]) -> None:
        self._reactor = reactor
        self._turn = turn
        self.at: float | None = None

    @property
    def armed(self) -> bool:
        """It will go off."""
        return self.at is not None

    def arm(self, delay: float) -> None:
        """Go off in ``delay`` seconds."""
        self.at = self._reactor.monotonic() + delay
        self._reactor.ticks[self] = None
        self._reactor.wakeUp()

    def stop(self) -> None:
        """Do not."""
        self.at = None
        self._reactor.ticks.pop(self, None)

    def later(self, call: Callable[[], None]) -> None:
        """Call in the next turn."""
        self._reactor.callFromThread(call)

    def left(self) -> float:
        """Seconds until it goes off."""
        return max(0.0, (self.at or 0.0) - self._reactor.monotonic())

    def poll(self) -> None:
        """Go off, if it is time."""
        if self.at is not None and self.at <= self._reactor.monotonic():
            self.at = None
            self._turn()
