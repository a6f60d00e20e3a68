"""How long this peer's answers take: smoothed for the judge and the pace, counted for the pages.

Samples come only from questions of our own whose answer matched, measured on our own clock. Which of them are fit
to learn from is decided by the caller: a round trip that spans a stall of ours says nothing about the peer (Karn's
rule with the stall in the place of the retransmission).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect
from typing import Final

__all__ = ["BOUNDS", "BUCKETS", "FIRST_BOUND", "LONGEST", "RoundTrips", "bucket"]

#: Weights of a new sample (RFC 6298 §2.3): an eighth in the smoothed round trip, a quarter in its variation.
ALPHA: Final = 0.125
BETA: Final = 0.25
#: No answer comes later than this and still means anything: it is the longest detection time that two ends may
#: agree to (``wire.md`` §4). Longer samples are mistakes of a clock, and one of them would spoil the average for hours.
LONGEST: Final = 3600.0
#: ``wire.md`` §2: no verdict before 2 × (smoothed + the larger of 4 × variation and 0.2 s), 3 s while nothing is known.
VARIATIONS: Final = 4.0
LEAST_VARIATION: Final = 0.2
UNKNOWN_TERM: Final = 3.0
#: For pacing a round trip is held between these: below, a LAN would be asked at wire speed; above, one bad
#: quarter of an hour would keep the questions too far apart to notice that it is over.
PACING: Final = (0.1, 5.0)

#: Counters of a process-wide list: number ``i`` counts round trips of 2^(i-1) to under 2^i µs, the last one all longer.
BUCKETS: Final = 26
#: The first counter whose upper bound is reported: under 0.512 ms the scheduler is measured, not the path.
FIRST_BOUND: Final = 9
# The upper bounds of all counters but the last, in seconds.
_POWERS: Final = tuple((1 << bits) / 1_000_000 for bits in range(BUCKETS - 1))
#: The reported upper bounds in seconds, 0.512 ms to 16.8 s. ``BOUNDS[k]`` covers ``counts[: FIRST_BOUND + k + 1]``.
BOUNDS: Final = _POWERS[FIRST_BOUND:]

# A peer's own counters: one per reported bound, what is longer goes to the last. Found by bisection, which costs
# half of what int() and its bits cost, and clamps by itself.
_STEPS: Final = BOUNDS[:-1]
# One counter at this height halves all: at two beats a second the 95th percentile tells of the last hour, not of
# the last week, and it still rests on 2000 samples.
_FULL: Final = 4096
_SHARE: Final = 0.95


def bucket(seconds: float) -> int:
    """The index of the counter for ``seconds`` in a list of :data:`BUCKETS`; for the process-wide counters.

    It is the number of bits of the whole microseconds, found by bisection. What is no positive number (an early wake,
    a NaN) counts as 0.
    """
    return bisect(_POWERS, seconds) if seconds > 0.0 else 0


class RoundTrips:
    """The round trips of one peer. Seconds; None while nothing is known.

    :ivar last: the newest of our own questions that was answered
    :ivar smoothed: the exponentially weighted mean (RFC 6298); may come from a provisional sample while
        :attr:`last` is still None
    :ivar variation: the exponentially weighted mean deviation
    """

    __slots__ = ("_counts", "last", "smoothed", "variation")

    def __init__(self) -> None:
        self.last: float | None = None
        self.smoothed: float | None = None
        self.variation: float | None = None
        self._counts: array[int] | None = None

    def sample(self, seconds: float, provisional: bool = False) -> None:
        """One round trip was measured. Called for each answered question: only the first one allocates.

        Negative, infinite or not a number, or over an hour: ignored, and nothing is raised, because a clock's
        mistake must neither end a connection nor (a single NaN would) make its judge wait for ever.

        :param provisional: it comes from the HELLO exchange or from the kernel; of several the longest holds (an end
            may be more patient, never less) until the first real one replaces it
        """
        if not 0.0 <= seconds <= LONGEST:
            return
        counts = self._counts
        smoothed = self.smoothed
        variation = self.variation
        if provisional or counts is None or smoothed is None or variation is None:
            self._begin(seconds, provisional)
            return
        off = seconds - smoothed
        self.last = seconds
        self.smoothed = smoothed + ALPHA * off
        self.variation = variation + BETA * ((off if off > 0.0 else -off) - variation)
        index = bisect(_STEPS, seconds)
        counts[index] = count = counts[index] + 1
        if count == _FULL:
            for each, value in enumerate(counts):
                counts[each] = value >> 1

    def _begin(self, seconds: float, provisional: bool) -> None:
        """RFC 6298 §2.2: the first sample is the mean, its half the variation."""
        if provisional and (self._counts is not None or seconds <= (self.smoothed or 0.0)):
            return
        self.smoothed = seconds
        self.variation = seconds / 2
        if not provisional:
            self.last = seconds
            self._counts = array("H", (0,)) * len(BOUNDS)  # of exactly this size; from bytes it would be larger
            self._counts[bisect(_STEPS, seconds)] = 1

    @property
    def answer_term(self) -> float:
        """Seconds that a question has had with the kernel before its silence may mean death (``wire.md`` §2)."""
        if self.smoothed is None or self.variation is None:
            return UNKNOWN_TERM
        return 2.0 * (self.smoothed + max(VARIATIONS * self.variation, LEAST_VARIATION))

    @property
    def for_pacing(self) -> float | None:
        """The smoothed round trip, held between 0.1 and 5 s; None while unknown. See :func:`.pace.paced`."""
        if self.smoothed is None:
            return None
        return min(max(self.smoothed, PACING[0]), PACING[1])

    @property
    def p95(self) -> float | None:
        """The 95th percentile of the last 2000 samples and more; None until an own question was answered.

        Read from counters at powers of two and interpolated between them, so it is off by less than a factor of
        two, and usually by less than a third. Under 0.512 ms it is estimated from the mean and its
        variation (the error is then under 0.512 ms); over 16.8 s it says at most 16.8 s.
        """
        if self._counts is None or self.smoothed is None or self.variation is None:
            return None
        counts = self._counts
        rank = math.ceil(_SHARE * sum(counts))
        index = 0
        while rank > counts[index]:
            rank -= counts[index]
            index += 1
        if index == 0:
            return min(BOUNDS[0], self.smoothed + 2.0 * self.variation)
        return BOUNDS[index - 1] * math.exp2((rank - 0.5) / counts[index])
