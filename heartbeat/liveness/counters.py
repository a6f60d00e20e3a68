"""Durations of a whole process, counted: for histograms that cost nothing until somebody looks."""

from __future__ import annotations

import math

from heartbeat.liveness.rtt import BOUNDS, BUCKETS, FIRST_BOUND, LONGEST, bucket

__all__ = ["Counters"]


class Counters:
    """How many durations fell between which powers of two, and how long they were together.

    :ivar counts: number ``i`` counts what took from 2^(i-1) to under 2^i µs, the last one all that took longer
    :ivar total: the sum of all, seconds
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration. What is no positive number (an early wake, a NaN) counts as 0, an hour is the most."""
        self.counts[bucket(seconds)] += 1
        if seconds > 0.0:
            self.total += min(seconds, LONGEST)

    def cumulative(self) -> list[tuple[float, int]]:
        """For each reported bound in seconds, how many took less; the last bound is infinite and its number all."""
        below = sum(self.counts[:FIRST_BOUND])
        steps: list[tuple[float, int]] = []
        for bound, count in zip((*BOUNDS, math.inf), self.counts[FIRST_BOUND:], strict=True):
            below += count
            steps.append((bound, below))
        return steps
