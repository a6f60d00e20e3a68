"""The adaptive interval and its jitter."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.pace import factor, jittered, paced

SECONDS = st.floats(0.001, 3600.0)
RATIOS = st.floats(0.0, 1.0)


class FactorTests(SynchronousTestCase):
    """What loss does to the interval."""

    def test_the_steps(self) -> None:
        """1.0 under 2 %, 0.7 from 2 to under 8 %, 0.4 from 8 % on."""
        for loss, expected in (
            (0.0, 1.0),
            (0.0199, 1.0),
            (0.02, 0.7),
            (0.0799, 0.7),
            (0.08, 0.4),
            (1.0, 0.4),
        ):
            self.assertEqual(factor(loss), expected, loss)


class PacedTests(SynchronousTestCase):
    """The interval between two questions."""

    def test_a_healthy_path(self) -> None:
        """Without loss it is the agreed interval, whatever the round trip."""
        for rtt in (None, 0.1, 5.0):
            self.assertEqual(paced(0.5, 0.0, 0.1, rtt), 0.5)

    def test_loss_speeds_up(self) -> None:
        """0.7 and 0.4 of the agreed interval."""
        self.assertAlmostEqual(paced(5.0, 0.05, 0.1, 0.1), 3.5)
        self.assertAlmostEqual(paced(5.0, 0.5, 0.1, None), 2.0)

    def test_never_under_the_floor(self) -> None:
        """The receiver's ``min_rx`` holds, with loss and where it is longer than the agreed interval."""
        self.assertEqual(paced(0.5, 0.5, 0.3, None), 0.3)
        self.assertEqual(paced(0.5, 0.0, 2.0, None), 2.0)
        self.assertEqual(paced(0.5, 0.5, 2.0, 0.1), 2.0)

    def test_never_faster_than_a_round_trip(self) -> None:
        """Speeding up ends at one question per round trip."""
        self.assertEqual(paced(1.0, 0.5, 0.1, 0.6), 0.6)

    def test_a_long_round_trip_slows_nothing_down(self) -> None:
        """A round trip that is longer than the interval leaves the interval as it was agreed."""
        self.assertEqual(paced(1.0, 0.5, 0.1, 5.0), 1.0)

    @settings(deadline=None)
    @given(SECONDS, RATIOS, st.floats(0.0, 3600.0), st.none() | st.floats(0.1, 5.0))
    def test_it_stays_in_its_bounds(self, base: float, loss: float, floor: float, rtt: float | None) -> None:
        """Between the floor and the longer of floor and agreed interval, and at least 0.4 of the agreed one."""
        interval = paced(base, loss, floor, rtt)
        self.assertTrue(max(floor, 0.4 * base) <= interval <= max(base, floor))

    @settings(deadline=None)
    @given(SECONDS, st.tuples(RATIOS, RATIOS), st.floats(0.0, 3600.0), st.none() | st.floats(0.1, 5.0))
    def test_more_loss_is_never_slower(
        self, base: float, losses: tuple[float, float], floor: float, rtt: float | None
    ) -> None:
        """Monotonic in the loss."""
        less, more = sorted(losses)
        self.assertLessEqual(paced(base, more, floor, rtt), paced(base, less, floor, rtt))


class JitterTests(SynchronousTestCase):
    """Beats that do not march in step."""

    def test_the_ends_and_the_middle(self) -> None:
        """15 % shorter, the interval itself, 15 % longer."""
        self.assertAlmostEqual(jittered(2.0, lambda: 0.0), 1.7)
        self.assertAlmostEqual(jittered(2.0, lambda: 0.5), 2.0)
        self.assertAlmostEqual(jittered(2.0, lambda: 1.0), 2.3)

    @settings(deadline=None)
    @given(SECONDS, st.floats(0.0, 1.0, exclude_max=True))
    def test_at_most_15_percent(self, interval: float, drawn: float) -> None:
        """Whatever is drawn (``wire.md`` §2)."""
        self.assertTrue(0.85 * interval <= jittered(interval, lambda: drawn) <= 1.15 * interval * (1 + 1e-12))

    def test_the_mean_stays(self) -> None:
        """Many jittered intervals take as long as as many plain ones, and are spread over the whole range."""
        draw = random.Random(15).random
        drawn = sorted(jittered(1.0, draw) for _ in range(10_000))
        self.assertAlmostEqual(sum(drawn) / len(drawn), 1.0, places=2)
        self.assertLess(drawn[0], 0.851)
        self.assertGreater(drawn[-1], 1.149)
