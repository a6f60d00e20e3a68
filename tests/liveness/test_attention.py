"""When this process was able to listen: gaps, their caps, and the crowd."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.attention import CROWD, KEEP, MOST_GAPS, NOTICED, Attention

START = 5_000_000.0  # a machine that has been up for two months
Gap = tuple[float, float]


def listened(gaps: list[Gap], since: float, now: float, cap: float) -> float:
    """What ``awake`` means, written down from the design: all of the time, but of each gap at most ``cap``."""
    total = now - since
    for begun, ended in gaps:
        inside = min(ended, now) - max(begun, since)
        total -= max(0.0, inside - cap)
    return max(0.0, total)


def lived(pieces: list[tuple[float, float]], keep: float = KEEP) -> tuple[Attention, list[Gap], float]:
    """An attention after a history of (slept, late) pieces, its gaps as they really were, and the time."""
    now = START
    attention = Attention(now, keep)
    gaps: list[Gap] = []
    for slept, late in pieces:
        attention.expect(now + slept)
        meant, now = now + slept, now + slept + late
        attention.looked(now)
        if now - meant > NOTICED:
            gaps.append((meant, now))
    return attention, gaps, now


PIECES = st.lists(
    st.tuples(st.floats(0.0, 3.0), st.one_of(st.just(0.0), st.floats(0.0, 0.06), st.floats(0.0, 5.0))), max_size=25
)


class AwakeTests(SynchronousTestCase):
    """:meth:`Attention.awake`."""

    def setUp(self) -> None:
        """One that begins to listen."""
        self.attention = Attention(START)

    def sleep(self, begin: float, seconds: float, late: float = 0.0) -> float:
        """Sleep from ``begin``; when the loop woke."""
        self.attention.expect(begin + seconds)
        self.attention.looked(begin + seconds + late)
        return begin + seconds + late

    def test_sleeping_in_the_poll_is_listening(self) -> None:
        """A loop that wakes when it meant to has heard all the time."""
        now = self.sleep(START, 10.0)
        self.assertEqual(self.attention.awake(START, now, 0.5), 10.0)
        self.assertEqual(self.attention.awake(START + 4.0, now, 0.5), 6.0)

    def test_a_gap_counts_up_to_the_cap(self) -> None:
        """Of 3 s in which the loop was busy elsewhere, the cap counts; of 0.1 s all of it."""
        now = self.sleep(START, 1.0, late=3.0)
        self.assertAlmostEqual(self.attention.awake(START, now, 0.5), 1.5)
        now = self.sleep(now, 1.0, late=0.1)
        self.assertAlmostEqual(self.attention.awake(START, now, 0.5), 2.6)

    def test_each_gap_has_its_own_cap(self) -> None:
        """Ten gaps of 1 s are ten times the cap: a loop that is always late still condemns the dead."""
        now = START
        for _ in range(10):
            now = self.sleep(now, 0.2, late=1.0)
        self.assertAlmostEqual(self.attention.awake(START, now, 0.1), 10 * (0.2 + 0.1))

    def test_the_gap_that_is_still_open(self) -> None:
        """Asked in the middle of a stall (sockets are read before the next wake), the time over the cap is gone."""
        self.attention.expect(START + 1.0)
        self.assertAlmostEqual(self.attention.awake(START, START + 4.0, 0.5), 1.5)
        self.assertAlmostEqual(self.attention.awake(START + 3.8, START + 4.0, 0.5), 0.2)

    def test_only_the_part_inside_counts(self) -> None:
        """Of a gap that began before ``since``, what lies behind it is held against the cap."""
        now = self.sleep(START, 1.0, late=4.0)
        self.assertAlmostEqual(self.attention.awake(START + 2.0, now, 1.0), 1.0)
        self.assertAlmostEqual(self.attention.awake(START + 4.5, now, 1.0), 0.5)
        self.assertEqual(self.attention.awake(now, now, 1.0), 0.0)

    def test_a_wake_that_is_a_little_late_is_none(self) -> None:
        """Ordinary scheduling is no stall, and an early wake is none either."""
        now = self.sleep(START, 1.0, late=NOTICED * 0.9)
        self.assertAlmostEqual(self.attention.awake(START, now, 0.001), 1.0 + NOTICED * 0.9)
        self.assertEqual(self.attention.stalled_at, -math.inf)
        self.attention.expect(now + 1.0)
        self.assertEqual(self.attention.looked(now + 0.5), 0.0)
        self.assertAlmostEqual(self.attention.awake(now, now + 1.0, 0.001), 1.0)

    def test_lateness_is_told(self) -> None:
        """The wheel learns how late it was, for the histogram."""
        self.attention.expect(START + 1.0)
        self.assertAlmostEqual(self.attention.looked(START + 1.03), 0.03)

    @settings(deadline=None)
    @given(PIECES, st.floats(0.0, 40.0), st.floats(0.0, 1.0), st.floats(0.0, 3.0))
    def test_is_what_the_design_says(
        self, pieces: list[tuple[float, float]], back: float, cap: float, ahead: float
    ) -> None:
        """For any history, any window and any cap: the same as counting every gap by hand, the open one included."""
        attention, gaps, now = lived(pieces)
        meant = now + 0.3
        attention.expect(meant)
        asked = now + ahead
        model = [*gaps, (meant, asked)] if asked > meant else gaps
        since = max(START, now - back)
        self.assertAlmostEqual(attention.awake(since, asked, cap), listened(model, since, asked, cap), places=6)

    @settings(deadline=None)
    @given(PIECES, st.floats(0.0, 40.0), st.floats(0.0, 1.0))
    def test_is_never_more_than_the_time(self, pieces: list[tuple[float, float]], back: float, cap: float) -> None:
        """Attention is between nothing and all of the time, and less of it is left of a longer window never."""
        attention, _, now = lived(pieces)
        since = max(START, now - back)
        awake = attention.awake(since, now, cap)
        self.assertGreaterEqual(awake, 0.0)
        self.assertLessEqual(awake, now - since + 1e-6)
        self.assertLessEqual(awake, attention.awake(START, now, cap) + 1e-6)


class MemoryTests(SynchronousTestCase):
    """How much of the past is kept."""

    def stalls(self, attention: Attention, count: int, late: float = 0.1, pause: float = 0.01) -> float:
        """So many gaps in a row; the time at their end."""
        now = START
        for _ in range(count):
            attention.expect(now + pause)
            now += pause + late
            attention.looked(now)
        return now

    def test_old_gaps_are_forgotten(self) -> None:
        """What no silence can reach back to is dropped: 120 s, or the longest detection time that was told."""
        attention = Attention(START)
        now = self.stalls(attention, 1, late=10.0)
        for pause, lost in ((KEEP - 1.0, 9.0), (KEEP + 11.0, 0.0)):
            attention.expect(now + pause)
            attention.looked(now + pause + 0.001)
            self.assertAlmostEqual(now + pause - START - attention.awake(START, now + pause, 1.0), lost, places=2)

    def test_a_silence_of_stalls_reaches_far_back(self) -> None:
        """Ten stalls of a minute with hardly a poll between them: none is forgotten, for nothing was listened to."""
        attention = Attention(START)
        now = self.stalls(attention, 10, late=60.0)
        self.assertLess(attention.awake(START, now, 0.1), 10 * (0.1 + 0.011))
        attention.expect(now + KEEP + 700.0)
        attention.looked(now + KEEP + 700.001)
        self.assertEqual(len(attention._gaps), 0)

    def test_remember_makes_it_longer(self) -> None:
        """A judge with a long detection time has its gaps kept for as long; a shorter one changes nothing."""
        attention = Attention(START)
        attention.remember(500.0)
        attention.remember(1.0)
        now = self.stalls(attention, 1, late=10.0)
        attention.expect(now + 499.0)
        attention.looked(now + 499.001)
        self.assertAlmostEqual(attention.awake(START, now + 499.0, 1.0), now + 499.0 - START - 9.0, places=3)

    def test_is_bounded(self) -> None:
        """A loop that is late at every wake for an hour costs a few thousand gaps, not more and more."""
        attention = Attention(START, keep=1e9)
        self.stalls(attention, 3 * MOST_GAPS)
        self.assertLessEqual(len(attention._gaps), MOST_GAPS)

    def test_too_many_gaps_err_on_patience(self) -> None:
        """Where two gaps became one, less time counts as listened than was, never more."""
        attention = Attention(START, keep=1e9)
        now = self.stalls(attention, MOST_GAPS + 500)
        gaps = [(START + number * 0.11 + 0.01, START + (number + 1) * 0.11) for number in range(MOST_GAPS + 500)]
        for since in (START, START + 30.0, START + 60.0, now - 10.0):
            for cap in (0.0, 0.02, 0.5):
                exact = listened(gaps, since, now, cap)
                self.assertLessEqual(attention.awake(since, now, cap), exact + 1e-4)
        self.assertAlmostEqual(attention.awake(now - 10.0, now, 0.02), listened(gaps, now - 10.0, now, 0.02), places=3)


class StallTests(SynchronousTestCase):
    """What is told about stalls."""

    def test_fresh_until(self) -> None:
        """What is read within the noticed time of the meant wake was read in time; afterwards it may be old."""
        attention = Attention(START)
        self.assertEqual(attention.fresh_until, START + NOTICED)
        attention.expect(START + 2.0)
        self.assertEqual(attention.fresh_until, START + 2.0 + NOTICED)

    def test_after_a_stall_nothing_is_fresh(self) -> None:
        """The timers come first: what is read between a late wake and the next one may have lain there all the time."""
        attention = Attention(START)
        attention.expect(START + 1.0)
        attention.looked(START + 4.0)
        for at in (START + 4.02, START + 4.01):
            attention.expect(at)
            self.assertLess(attention.fresh_until, START)
        attention.looked(START + 4.02)
        attention.expect(START + 5.0)
        self.assertEqual(attention.fresh_until, START + 5.0 + NOTICED)

    def test_when_the_last_stall_ended(self) -> None:
        """Comparing ``stalled_at`` tells that there was one more."""
        attention = Attention(START)
        attention.expect(START + 1.0)
        attention.looked(START + 3.0)
        self.assertEqual(attention.stalled_at, START + 3.0)
        attention.expect(START + 4.0)
        attention.looked(START + 4.01)
        self.assertEqual(attention.stalled_at, START + 3.0)

    @settings(deadline=None)
    @given(PIECES, st.floats(0.0, 40.0))
    def test_longest(self, pieces: list[tuple[float, float]], back: float) -> None:
        """The longest gap that ended after a moment, 0.0 if there was none: what STALLED tells the peer."""
        attention, gaps, now = lived(pieces)
        since = now - back
        after = [ended - begun for begun, ended in gaps if ended > since]
        self.assertAlmostEqual(attention.longest(since), max(after, default=0.0), places=6)


class CrowdTests(SynchronousTestCase):
    """:meth:`Attention.crowded`: more than 8, and more than a tenth of those watched."""

    def test_table(self) -> None:
        """Both must hold."""
        for due, watched, crowded in (
            (0, 0, False),
            (1, 1, False),
            (8, 8, False),
            (9, 9, True),
            (9, 89, True),
            (9, 90, False),
            (9, 1000, False),
            (100, 1000, False),
            (101, 1000, True),
            (1000, 1000, True),
        ):
            self.assertIs(Attention.crowded(due, watched), crowded, (due, watched))
        self.assertEqual(CROWD, 8)
