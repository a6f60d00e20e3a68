"""heartbeat.liveness.counters: durations of a process, counted."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.counters import Counters
from heartbeat.liveness.rtt import BOUNDS


class CountersTests(SynchronousTestCase):
    def test_nothing_was_counted(self) -> None:
        """A new one says 0 for every bound, and 0 in all."""
        counters = Counters()
        self.assertEqual([bound for bound, _ in counters.cumulative()], [*BOUNDS, math.inf])
        self.assertEqual({number for _, number in counters.cumulative()}, {0})
        self.assertEqual(counters.total, 0.0)

    def test_a_bound_is_exclusive(self) -> None:
        """What takes exactly a bound is above it, what takes a microsecond less is below."""
        counters = Counters()
        counters.add(BOUNDS[3])
        counters.add(BOUNDS[3] - 0.000_001)
        below = dict(counters.cumulative())
        self.assertEqual((below[BOUNDS[2]], below[BOUNDS[3]], below[BOUNDS[4]]), (0, 1, 2))

    def test_what_is_no_duration(self) -> None:
        """A clock's mistake is counted, as nothing or as an hour, and never spoils the sum."""
        counters = Counters()
        for wrong in (0.0, -1.0, math.nan, -math.inf):
            counters.add(wrong)
        self.assertEqual(counters.total, 0.0)
        self.assertEqual(counters.cumulative()[0], (BOUNDS[0], 4))
        counters.add(math.inf)
        self.assertEqual(counters.total, 3600.0)
        self.assertEqual([number for _, number in counters.cumulative()][-2:], [4, 5])

    @settings(deadline=None)
    @given(st.lists(st.floats(0.0, 100.0)))
    def test_against_the_samples_themselves(self, samples: list[float]) -> None:
        """Each bound counts the samples below it, the last one all; the total is their sum."""
        counters = Counters()
        for sample in samples:
            counters.add(sample)
        for bound, number in counters.cumulative():
            in_microseconds = bound * 1_000_000
            self.assertEqual(number, sum(int(one * 1_000_000) < in_microseconds for one in samples), bound)
        self.assertAlmostEqual(counters.total, sum(samples), places=6)
