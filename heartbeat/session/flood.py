"""Flood control: how many frames a peer may send (``wire.md`` §2)."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["Flood"]

# What an honest peer may have sent while this end was stalled; the numbers of wire.md §2.
TOKENS: Final = 1024
GIVEN_BACK: Final = 512
STRIKE_LASTS: Final = 60.0
LONG_AGO: Final = -math.inf
# A hundredth of a token: what adding up a thousand of them may be off, on a clock that shows months.
ROUNDING: Final = 0.01


class Flood:
    """A store of 1024 tokens that gains one per ``floor`` seconds; two strikes within 60 s are a flood.

    Kept as one number, the moment at which the store is full again (the virtual scheduling of GCRA).

    :param floor: ``min_rx`` in seconds, over 0
    """

    __slots__ = ("_floor", "_full_at", "_struck_at")

    def __init__(self, floor: float, now: float) -> None:
        self._floor = floor
        self._full_at = now
        self._struck_at = LONG_AGO

    def spend(self, now: float) -> bool:
        """One frame came. True: that was the second strike within 60 s, say BYE 9."""
        full_at = max(self._full_at, now) + self._floor
        if full_at - now <= (TOKENS + ROUNDING) * self._floor:
            self._full_at = full_at
            return False
        self._full_at = full_at - GIVEN_BACK * self._floor
        again = now - self._struck_at < STRIKE_LASTS
        self._struck_at = now
        return again
