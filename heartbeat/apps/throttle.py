"""So that a thousand peers that die at once are ten lines and a sum, not a thousand lines. Pure: time comes in."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["LINES", "WINDOW", "Suppressed", "Throttle"]

#: This many lines of one level and reason in a window are enough to see what is going on.
LINES: Final = 10
#: Seconds.
WINDOW: Final = 10.0


class Suppressed(NamedTuple):
    """Lines of one level and reason that were not written."""

    level: str
    reason: str
    lines: int

    def __str__(self) -> str:
        return f"… and {self.lines:,} more {self.reason} in {WINDOW:g} s"


class Throttle:
    """Counts log lines by level and reason. The reasons are a closed list, so what it keeps is bounded.

    The first line of a kind opens a window of :data:`WINDOW` seconds; the first :data:`LINES` in it pass.
    """

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str], list[float]] = {}  # (level, reason): [ends at, seen]

    def admit(self, level: str, reason: str, now: float) -> bool:
        """May this line be written? Call :meth:`over` first, so that the sum of an old window is not lost."""
        window = self._windows.get((level, reason))
        if window is None or now >= window[0]:
            window = self._windows[level, reason] = [now + WINDOW, 0]
        window[1] += 1
        return window[1] <= LINES

    def next_timer(self) -> float | None:
        """When :meth:`over` has something to tell, None as long as nothing was suppressed."""
        return min((ends for ends, seen in self._windows.values() if seen > LINES), default=None)

    def over(self, now: float) -> list[Suppressed]:
        """What was suppressed in windows that are over; they are forgotten. Call it at :meth:`next_timer`."""
        done = [key for key, (ends, _) in self._windows.items() if now >= ends]
        sums = [Suppressed(*key, int(self._windows[key][1]) - LINES) for key in done]
        for key in done:
            del self._windows[key]
        return [one for one in sums if one.lines > 0]
