"""How many of our questions are never answered, over the last minute."""

from __future__ import annotations

import math
from array import array
from typing import Final

__all__ = ["Loss"]

#: A minute in twelve parts: a burst of loss shows in the next beat and is forgotten in 55 to 60 s. Longer, and one bad
#: minute speeds up the beat for many; shorter, and at an interval of 5 s a single lost question is 10 % of all.
BUCKETS: Final = 12
BUCKET_SECONDS: Final = 5.0

# Answered at [0:12], lost at [12:24]; unsigned 16 bits each. Honest questions fill a bucket to a few hundred.
_MOST: Final = 0xFFFF
_NOTHING: Final = array("H")


class Loss:
    """The settled questions of the last minute: answered, and lost (a later one was answered, this one was not).

    What is still outstanding is not counted: it is neither yet. 128 bytes of counters, allocated when the first
    question is settled.
    """

    __slots__ = ("_counts", "_index", "_lost", "_until")

    def __init__(self) -> None:
        self._counts = _NOTHING
        self._index = 0
        self._lost = 0  # the sum of the lost ones: 0 on a healthy path, where the ratio is then had for nothing
        self._until = -math.inf  # the end of the bucket that is being filled

    @classmethod
    def behind(cls, answered: int, now: float) -> Loss:
        """One that looks back on a minute in which so many questions were answered, evenly, and none was lost."""
        loss = cls()
        loss._turn(now)
        share, rest = divmod(min(answered, _MOST), BUCKETS)
        for index in range(BUCKETS):
            loss._counts[index] = share
        loss._counts[loss._index] += rest
        return loss

    def settle(self, answered: int, lost: int, now: float) -> None:
        """Count questions that were settled at ``now``. Called for each matching answer; next, ask :meth:`ratio`.

        A bucket that is full halves both of its numbers: its own ratio stands, what comes next weighs more.
        """
        if now >= self._until:
            self._turn(now)
        try:
            self._counts[self._index] += answered
        except OverflowError:
            self._halve(answered, lost)
            return
        if lost:
            self._lost += lost
            try:
                self._counts[self._index + BUCKETS] += lost
            except OverflowError:
                self._halve(0, lost)

    def ratio(self, now: float) -> float:
        """The lost ones of all that were settled in the last minute, 0.0 to 1.0; 0.0 when there were none."""
        if self._lost and now >= self._until:
            self._turn(now)
        if not self._lost:
            return 0.0
        return self._lost / (self._lost + sum(self._counts[:BUCKETS]))

    def _turn(self, now: float) -> None:
        """Clear what is older than a minute and begin the bucket of ``now``."""
        turn = int(now // BUCKET_SECONDS)
        if not self._counts:
            self._counts = array("H", (0,)) * (2 * BUCKETS)  # of exactly this size; from bytes it would be larger
        else:
            counts = self._counts
            newest = round(self._until / BUCKET_SECONDS) - 1
            for stale in range(max(newest, turn - BUCKETS) + 1, turn + 1):
                counts[stale % BUCKETS] = 0
                self._lost -= counts[stale % BUCKETS + BUCKETS]
                counts[stale % BUCKETS + BUCKETS] = 0
        self._index = turn % BUCKETS
        self._until = (turn + 1) * BUCKET_SECONDS

    def _halve(self, answered: int, lost: int) -> None:
        """Add to the current bucket, at half scale (or less, if that is not enough)."""
        counts, index = self._counts, self._index
        answered += counts[index]
        lost += counts[index + BUCKETS]
        while answered > _MOST or lost > _MOST:
            answered >>= 1
            lost >>= 1
        counts[index] = answered
        counts[index + BUCKETS] = lost
        self._lost = sum(counts[BUCKETS:])
