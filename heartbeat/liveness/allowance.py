"""What a peer is given beyond its agreed time. One that never needed any has none."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["Allowance"]

# How long one STALLED of the peer makes us more patient (wire.md §6).
GRANT_LASTS: Final = 60.0


class Allowance:
    """Seconds for a peer that was stalled itself, and for silence while we did not read."""

    __slots__ = ("_excused", "_granted", "_silence", "_until")

    def __init__(self) -> None:
        self._granted = 0.0
        self._until = -math.inf
        self._silence = math.nan  # the last sign of life of the silence in which time is excused
        self._excused = 0.0

    def grant(self, seconds: float, now: float) -> None:
        """More patience for a minute, and once a minute."""
        if now >= self._until:
            self._granted = seconds
            self._until = now + GRANT_LASTS

    def granted(self, now: float) -> float:
        """Seconds that D is longer by now."""
        return self._granted if now < self._until else 0.0

    def excuse(self, heard_at: float, seconds: float) -> None:
        """So many seconds more of the silence since ``heard_at`` were none: we did not read."""
        self._excused = self.excused(heard_at) + seconds
        self._silence = heard_at

    def excused(self, heard_at: float) -> float:
        """Seconds of the silence since ``heard_at`` that do not count."""
        return self._excused if heard_at == self._silence else 0.0
