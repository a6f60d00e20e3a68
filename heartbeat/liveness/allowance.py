"""What a peer is given beyond its agreed time. One that never needed any has none."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["Allowance"]

# How long one STALLED of the peer makes us more patient (wire.md §6).
GRANT_LASTS: Final = 60.0


class Allowance:
    """Seconds for a peer that was stalled itself, and for silence while we did not read."""

    __slots__ = ("_again", "_before", "_granted", "_silence", "_until")

    def __init__(self) -> None:
        self._granted = 0.0
        self._until = -math.inf
        self._silence = math.nan  # the last sign of life of the silence in which we did not read for a while
        self._before = 0.0  # of it, what counts from before that
        self._again = 0.0  # when we read again

    def grant(self, seconds: float, now: float) -> None:
        """More patience for a minute, and once a minute."""
        if now >= self._until:
            self._granted = seconds
            self._until = now + GRANT_LASTS

    def granted(self, now: float) -> float:
        """Seconds that D is longer by now."""
        return self._granted if now < self._until else 0.0

    def read_again(self, heard_at: float, before: float, now: float) -> None:
        """We read again. Of the silence since ``heard_at`` so many seconds counted before we stopped."""
        self._silence = heard_at
        self._before = before
        self._again = now

    def counted(self, heard_at: float) -> tuple[float, float]:
        """What counts of the silence since ``heard_at``: seconds, and all from a moment on."""
        return (self._before, self._again) if heard_at == self._silence else (0.0, heard_at)
