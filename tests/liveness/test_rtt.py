"""Round trips: the smoothed ones, the term that the judge waits, and the percentile from counters."""

from __future__ import annotations

import itertools
import math
import random
import sys
from array import array

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.rtt import BOUNDS, BUCKETS, FIRST_BOUND, LONGEST, RoundTrips, bucket

MISTAKES = (-0.001, -math.inf, math.inf, math.nan, LONGEST * 1.001, 1e308)
ROUND_TRIPS = st.floats(0.0, LONGEST)


def sampled(*seconds: float) -> RoundTrips:
    """The round trips of a peer after these samples."""
    trips = RoundTrips()
    for each in seconds:
        trips.sample(each)
    return trips


def numbers(trips: RoundTrips) -> tuple[object, ...]:
    """All that can be read."""
    return (trips.last, trips.smoothed, trips.variation, trips.p95, trips.answer_term, trips.for_pacing)


class SmoothingTests(SynchronousTestCase):
    """The exponentially weighted mean and variation: RFC 6298 §2."""

    def test_nothing_is_known_at_first(self) -> None:
        """Before the first sample all numbers are None, and the judge waits 3 s (``wire.md`` §2)."""
        self.assertEqual(numbers(RoundTrips()), (None, None, None, None, 3.0, None))

    def test_the_first_sample(self) -> None:
        """The first R makes the mean R and the variation R / 2 (§2.2)."""
        trips = sampled(0.3)
        self.assertEqual((trips.last, trips.smoothed, trips.variation), (0.3, 0.3, 0.15))

    def test_the_next_samples(self) -> None:
        """An eighth of each new sample goes into the mean, a quarter of its distance from the old mean (§2.3)."""
        trips = sampled(0.8, 1.6)
        self.assertEqual(trips.last, 1.6)
        self.assertAlmostEqual(trips.smoothed or 0.0, 0.8 + 0.125 * 0.8)
        self.assertAlmostEqual(trips.variation or 0.0, 0.4 + 0.25 * (0.8 - 0.4))
        trips.sample(0.1)  # below the mean counts as much
        self.assertAlmostEqual(trips.smoothed or 0.0, 0.9 - 0.125 * 0.8)
        self.assertAlmostEqual(trips.variation or 0.0, 0.5 + 0.25 * (0.8 - 0.5))

    @settings(deadline=None)
    @given(st.lists(ROUND_TRIPS, min_size=1, max_size=60))
    def test_it_stays_within_the_samples(self, samples: list[float]) -> None:
        """The mean never leaves the range of the samples, the variation is never negative or wider than it."""
        trips = sampled(*samples)
        assert trips.smoothed is not None and trips.variation is not None
        slack = 1e-9 * max(samples)
        self.assertTrue(min(samples) - slack <= trips.smoothed <= max(samples) + slack)
        self.assertTrue(0.0 <= trips.variation <= max(samples) + slack)
        self.assertEqual(trips.last, samples[-1])

    def test_a_steady_path_has_no_variation(self) -> None:
        """Equal samples: the mean is theirs and the variation goes away."""
        trips = sampled(*[0.05] * 100)
        self.assertAlmostEqual(trips.smoothed or 0.0, 0.05)
        self.assertLess(trips.variation or 1.0, 1e-6)


class MistakeTests(SynchronousTestCase):
    """Samples that no path can have made."""

    def test_they_change_nothing(self) -> None:
        """Negative, infinite, NaN, over an hour: no number moves, and nothing is raised."""
        for wrong in MISTAKES:
            trips = sampled(0.2, 0.25)
            before = numbers(trips)
            trips.sample(wrong)
            trips.sample(wrong, provisional=True)
            self.assertEqual(numbers(trips), before, wrong)

    def test_they_are_no_first_sample(self) -> None:
        """A peer of which only mistakes are known is unknown."""
        for wrong in MISTAKES:
            trips = RoundTrips()
            trips.sample(wrong)
            trips.sample(wrong, provisional=True)
            self.assertEqual(numbers(trips), numbers(RoundTrips()), wrong)

    def test_the_ends_of_the_range_are_samples(self) -> None:
        """0.0 (a coarse clock) and an hour (the longest detection time) are taken."""
        for right in (0.0, LONGEST):
            self.assertEqual(sampled(right).last, right)


class ProvisionalTests(SynchronousTestCase):
    """What the HELLO exchange and the kernel say, until an own question is answered."""

    def test_it_serves_the_judge_and_the_pace(self) -> None:
        """It is a mean and a term, but no round trip: ``last`` and the percentile stay None."""
        trips = RoundTrips()
        trips.sample(0.4, provisional=True)
        self.assertEqual(numbers(trips), (None, 0.4, 0.2, None, 2 * (0.4 + 0.8), 0.4))

    def test_the_longest_holds(self) -> None:
        """Of several the longest counts: an end may be more patient, never less."""
        trips = RoundTrips()
        for seconds in (0.2, 0.5, 0.3):
            trips.sample(seconds, provisional=True)
        self.assertEqual((trips.smoothed, trips.variation), (0.5, 0.25))

    def test_the_first_real_one_replaces_it(self) -> None:
        """An answer to an own question is worth more: nothing of the provisional sample remains."""
        trips = RoundTrips()
        trips.sample(2.0, provisional=True)
        trips.sample(0.1)
        self.assertEqual(numbers(trips), numbers(sampled(0.1)))

    def test_it_comes_too_late(self) -> None:
        """After a real sample the others are not wanted, longer or shorter."""
        trips = sampled(0.1, 0.2)
        before = numbers(trips)
        trips.sample(5.0, provisional=True)
        trips.sample(0.001, provisional=True)
        self.assertEqual(numbers(trips), before)


class TermTests(SynchronousTestCase):
    """What the judge and the pace make of it."""

    def test_the_answer_term(self) -> None:
        """2 × (smoothed + the larger of 4 × variation and 0.2 s): ``wire.md`` §2."""
        steady = sampled(*[0.05] * 100)
        self.assertAlmostEqual(steady.answer_term, 2 * (0.05 + 0.2), places=5)
        unsteady = sampled(1.0)
        self.assertEqual(unsteady.answer_term, 2 * (1.0 + 4 * 0.5))

    @settings(deadline=None)
    @given(st.lists(ROUND_TRIPS, max_size=20))
    def test_the_term_is_always_a_time(self, samples: list[float]) -> None:
        """Whatever was measured, the judge waits at least 0.4 s and not for ever."""
        self.assertTrue(0.4 <= sampled(*samples).answer_term <= 2 * 5 * LONGEST)

    def test_for_pacing_it_is_clamped(self) -> None:
        """Held between 0.1 and 5 s."""
        for seconds, paced in ((0.0, 0.1), (0.02, 0.1), (0.7, 0.7), (5.0, 5.0), (60.0, 5.0)):
            self.assertEqual(sampled(seconds).for_pacing, paced)


class BucketTests(SynchronousTestCase):
    """The counters at powers of two that a whole process shares."""

    def test_the_reported_bounds(self) -> None:
        """0.512 ms to 16.8 s, each twice the one before; one counter below, one above."""
        self.assertEqual(BOUNDS[0], 0.000512)
        self.assertEqual(BOUNDS[-1], 16.777216)
        self.assertTrue(all(upper == 2 * lower for lower, upper in itertools.pairwise(BOUNDS)))
        self.assertEqual(len(BOUNDS), BUCKETS - 1 - FIRST_BOUND)

    @settings(deadline=None)
    @given(st.floats(0.0, 100.0))
    def test_each_duration_is_under_its_bound(self, seconds: float) -> None:
        """``BOUNDS[k]`` covers ``counts[: FIRST_BOUND + k + 1]`` and nothing else."""
        index = bucket(seconds)
        self.assertTrue(0 <= index < BUCKETS)
        for which, bound in enumerate(BOUNDS):
            if abs(seconds - bound) > 1e-6:  # whole microseconds are counted
                self.assertEqual(index < FIRST_BOUND + which + 1, seconds < bound)

    @settings(deadline=None)
    @given(st.integers(0, 17_000_000))
    def test_the_index_is_a_number_of_bits(self, microseconds: int) -> None:
        """That of the whole microseconds; the middle of one is taken, since its edges are not exact in binary."""
        self.assertEqual(bucket((microseconds + 0.5) / 1e6), min(microseconds.bit_length(), BUCKETS - 1))

    def test_no_duration_raises(self) -> None:
        """What is no positive number counts as 0, what is longer than the bounds goes to the last."""
        for seconds in (-1.0, -math.inf, math.nan, 0.0, 5e-324):
            self.assertEqual(bucket(seconds), 0)
        for seconds in (16.8, 1e9, 1e308, math.inf):
            self.assertEqual(bucket(seconds), BUCKETS - 1)


class PercentileTests(SynchronousTestCase):
    """The 95th percentile of one peer."""

    @settings(deadline=None)
    @given(st.lists(st.floats(BOUNDS[0], 16.7), min_size=1, max_size=200))
    def test_it_is_off_by_less_than_a_factor_of_two(self, samples: list[float]) -> None:
        """It lies between the same two powers of two as the true one."""
        exact = sorted(samples)[math.ceil(0.95 * len(samples)) - 1]
        told = sampled(*samples).p95 or 0.0
        self.assertTrue(exact / 2 < told < exact * 2, (exact, told))

    def test_spread_samples_are_told_closer(self) -> None:
        """Round trips spread over more than one power of two: within a third."""
        chance = random.Random(95)
        for shortest, longest in ((0.01, 0.2), (0.002, 0.05), (0.1, 1.5)):
            told = sampled(*(chance.uniform(shortest, longest) for _ in range(2000))).p95 or 0.0
            exact = shortest + 0.95 * (longest - shortest)
            self.assertLess(abs(told - exact), exact / 3)

    def test_a_tail_is_seen(self) -> None:
        """One answer in ten is slow: the percentile is in the tail, while the mean is not."""
        trips = sampled(*([0.01] * 9 + [1.0]) * 20 + [0.01] * 15)
        self.assertGreater(trips.p95 or 0.0, 0.5)
        self.assertLess(trips.smoothed or 1.0, 0.2)

    def test_a_local_peer(self) -> None:
        """Under the first bound it follows the mean and its variation, and is never over 0.512 ms."""
        trips = sampled(*[0.0001] * 50)
        self.assertAlmostEqual(trips.p95 or 0.0, 0.0001, places=5)
        self.assertEqual(sampled(*[0.0001] * 99, 1.0).p95, BOUNDS[0])

    def test_a_very_slow_peer(self) -> None:
        """Over the last bound it says at most that bound."""
        self.assertTrue(8.0 < (sampled(*[100.0] * 50).p95 or 0.0) <= BOUNDS[-1])

    def test_full_counters_are_halved(self) -> None:
        """Days of beats overflow nothing, and what the path is like now shows within the hour."""
        trips = sampled(*[0.01] * 20_000)
        self.assertLess(trips.p95 or 1.0, 0.02)
        for _ in range(500):
            trips.sample(2.0)
        self.assertGreater(trips.p95 or 0.0, 1.0)


class SizeTests(SynchronousTestCase):
    """One per peer: bounded and small."""

    def test_memory(self) -> None:
        """Without a sample no counters; with any number of them the same 112 bytes, and 70 for the object."""
        trips = RoundTrips()
        self.assertLessEqual(sys.getsizeof(trips), 72)
        self.assertFalse(hasattr(trips, "__dict__"))
        self.assertIsNone(trips._counts)
        for each in range(5000):
            trips.sample(each / 1000)
        assert isinstance(trips._counts, array)
        self.assertLessEqual(sys.getsizeof(trips._counts), 112)
