"""Loss over the last minute, in twelve buckets."""

from __future__ import annotations

import sys

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.loss import BUCKET_SECONDS, BUCKETS, Loss

MINUTE = BUCKETS * BUCKET_SECONDS
SETTLED = st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(0.0, 30.0))


class RatioTests(SynchronousTestCase):
    """What :meth:`Loss.ratio` says."""

    def test_nothing_was_settled(self) -> None:
        """No question settled: no loss, at any time, and no counters for a peer that is never asked."""
        loss = Loss()
        for now in (0.0, 1000.0, -5.0):
            self.assertEqual(loss.ratio(now), 0.0)
        self.assertEqual(len(loss._counts), 0)

    def test_all_were_answered(self) -> None:
        """A healthy path has a loss of exactly 0.0."""
        loss = Loss()
        for beat in range(1000):
            loss.settle(1, 0, beat * 0.5)
            self.assertEqual(loss.ratio(beat * 0.5), 0.0)

    def test_a_quarter_was_lost(self) -> None:
        """The lost ones of all settled: one answer that settles one older question as lost in every three."""
        loss = Loss()
        for beat in range(40):
            loss.settle(1, 1 if beat % 2 else 0, beat * 1.0)
        self.assertAlmostEqual(loss.ratio(40.0), 20 / 60)

    def test_all_were_lost(self) -> None:
        """Nothing answered: 1.0."""
        loss = Loss()
        loss.settle(0, 3, 100.0)
        self.assertEqual(loss.ratio(100.0), 1.0)

    @settings(deadline=None)
    @given(st.lists(SETTLED, max_size=80), st.floats(0.0, 90.0), st.floats(-1e4, 1e6))
    def test_it_is_the_ratio_of_the_last_minute(
        self, settled: list[tuple[int, int, float]], wait: float, start: float
    ) -> None:
        """At any time it equals a count of what was settled in the newest twelve fifths of a minute."""
        loss = Loss()
        now = start
        seen: list[tuple[int, int, int]] = []
        for answered, lost, step in settled:
            now += step
            loss.settle(answered, lost, now)
            seen.append((int(now // BUCKET_SECONDS), answered, lost))
        now += wait
        newest = int(now // BUCKET_SECONDS)
        fresh = [(answered, lost) for turn, answered, lost in seen if turn > newest - BUCKETS]
        lost = sum(each for _, each in fresh)
        total = lost + sum(each for each, _ in fresh)
        self.assertAlmostEqual(loss.ratio(now), lost / total if lost else 0.0)


class ForgettingTests(SynchronousTestCase):
    """A minute is a minute."""

    def test_a_burst_is_forgotten(self) -> None:
        """What was lost still counts after 55 s, and not after 60."""
        loss = Loss()
        loss.settle(1, 9, 100.0)
        self.assertAlmostEqual(loss.ratio(154.9), 0.9)
        self.assertEqual(loss.ratio(160.0), 0.0)

    def test_a_long_silence_clears_all(self) -> None:
        """Buckets that a stop of minutes jumped over do not come back when their turn comes again."""
        for pause in (MINUTE, MINUTE + 2, 7 * MINUTE + 13, 1e9):
            loss = Loss()
            for beat in range(60):
                loss.settle(1, 1, beat * 1.0)
            loss.settle(1, 0, 59.0 + pause)
            self.assertEqual(loss.ratio(59.0 + pause), 0.0)

    def test_a_clock_that_steps_back_within_a_bucket(self) -> None:
        """Arrival times that are not quite in order are counted in the newest bucket."""
        loss = Loss()
        loss.settle(1, 0, 105.0)
        loss.settle(0, 1, 104.9)
        self.assertEqual(loss.ratio(105.0), 0.5)


class SaturationTests(SynchronousTestCase):
    """More than sixteen bits can count."""

    def test_the_ratio_of_a_full_bucket_stands(self) -> None:
        """However many are settled within 5 s, nothing is raised, and one in five stays one in five."""
        loss = Loss()
        for _ in range(70_000):
            loss.settle(4, 1, 1.0)
        self.assertAlmostEqual(loss.ratio(1.0), 0.2, places=2)
        self.assertEqual(loss.ratio(62.0), 0.0)

    def test_one_huge_number(self) -> None:
        """A single call with more than fits is scaled, answered and lost alike, whichever of them is too much."""
        for answered, lost in ((3_000_000, 1_000_000), (1_000_000, 3_000_000), (40_000, 120_000), (65_535, 65_535)):
            loss = Loss()
            for _ in range(3):
                loss.settle(answered, lost, 1.0)
                self.assertAlmostEqual(loss.ratio(1.0), lost / (lost + answered), places=3)

    def test_a_bucket_used_again_starts_empty(self) -> None:
        """Scaled numbers are cleared like others: a minute later the sum of the lost is what the buckets hold."""
        loss = Loss()
        loss.settle(0, 100_000, 1.0)
        loss.settle(9, 1, 1.0 + MINUTE)
        self.assertEqual(loss.ratio(1.0 + MINUTE), 0.1)


class SizeTests(SynchronousTestCase):
    """One per peer: bounded and small."""

    def test_memory(self) -> None:
        """At most 250 bytes with all that it holds, and no more after an hour."""
        loss = Loss()
        for beat in range(7200):
            loss.settle(1, beat % 3, beat * 0.5)
        held = [getattr(loss, name) for name in loss.__slots__]
        own = [each for each in held if not (isinstance(each, int) and each <= 256)]  # Python shares the small ones
        self.assertLessEqual(sys.getsizeof(loss) + sum(sys.getsizeof(each) for each in own), 250)


class BehindTests(SynchronousTestCase):
    """A path that lost nothing keeps no counters; with the first loss the minute before it is assumed."""

    def test_the_minute_before(self) -> None:
        """The first lost question weighs what the answered ones before it allow, and they are forgotten in time."""
        loss = Loss.behind(119, 1000.0)
        self.assertEqual(loss.ratio(1000.0), 0.0)
        loss.settle(1, 1, 1000.0)
        self.assertAlmostEqual(loss.ratio(1000.0), 1 / 121)
        self.assertGreater(loss.ratio(1031.0), 1 / 121)
        self.assertEqual(loss.ratio(1061.0), 0.0)

    def test_many(self) -> None:
        """More than the counters hold is as much as they hold."""
        loss = Loss.behind(10**9, 0.0)
        loss.settle(1, 1, 0.0)
        self.assertLess(loss.ratio(0.0), 0.001)
