"""The detectors, in virtual time: what they wait for, how often they are wrong, and that they always end."""

from __future__ import annotations

import itertools
import math
import random
import sys
from collections.abc import Iterable
from statistics import NormalDist, linear_regression

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.config import DETECTORS
from heartbeat.errors import ConfigError
from heartbeat.liveness.detectors import (
    LONG_WINDOW,
    MOST,
    PHI_THRESHOLD,
    PHI_WINDOW,
    Detector,
    PhiAccrual,
    TwoWindow,
    detector_for,
    phi_at,
)

INTERVAL = 0.5
DETECT = 1.5
START = 5_000_000.0  # a machine that has been up for two months: floats have lost some of their digits
TERMS = st.tuples(st.floats(0.001, 3600.0), st.integers(2, 20))
GAPS = st.lists(st.floats(0.0, 100.0), max_size=60)


def detectors() -> list[Detector]:
    """One of each kind, on the same terms."""
    return [PhiAccrual(INTERVAL, DETECT), TwoWindow(INTERVAL, DETECT)]


def beat(detector: Detector, gaps: Iterable[float], start: float = START) -> float:
    """Let it hear a peer from ``start`` on; when the last beat came."""
    now = start
    detector.heard(now)
    for gap in gaps:
        now += gap
        detector.heard(now)
    return now


class NamesTests(SynchronousTestCase):
    """:func:`detector_for`."""

    def test_every_name_is_known(self) -> None:
        """Each name that the configuration takes has its detector; the fixed one is no object."""
        kinds = {name: type(detector_for(name, INTERVAL, DETECT)) for name in DETECTORS}
        self.assertEqual(kinds, {"fixed": type(None), "phi": PhiAccrual, "2w": TwoWindow})

    def test_an_unknown_name(self) -> None:
        """Any other is an error that names the setting and the value."""
        error = self.assertRaises(ConfigError, detector_for, "psi", INTERVAL, DETECT)
        self.assertEqual(error.name, "detector")
        self.assertIn("'psi'", str(error))

    def test_terms_that_leave_no_time(self) -> None:
        """A detection time that is no longer than the interval, or no time at all, is refused."""
        for interval, detect in ((1.0, 1.0), (2.0, 1.0), (0.0, 1.0), (1.0, math.inf), (1.0, math.nan)):
            for kind in (PhiAccrual, TwoWindow):
                self.assertEqual(self.assertRaises(ConfigError, kind, interval, detect).name, "detect")


class PatienceTests(SynchronousTestCase):
    """What holds for every detector."""

    @settings(deadline=None)
    @given(TERMS)
    def test_an_answer_before_the_first_beat(self, agreed: tuple[float, int]) -> None:
        """A peer that never beats is given up after the agreed time."""
        interval, multiplier = agreed
        for kind in (PhiAccrual, TwoWindow):
            detector = kind(interval, interval * multiplier)
            self.assertAlmostEqual(detector.patience() / (interval * multiplier), 1.0)
            detector.heard(START)
            self.assertAlmostEqual(detector.patience() / (interval * multiplier), 1.0)

    @settings(deadline=None)
    @given(TERMS, st.integers(1, 1500))
    def test_a_steady_peer_gets_the_agreed_time(self, agreed: tuple[float, int], beats: int) -> None:
        """Constant arrivals: never suspected before the agreed time, and never after it."""
        interval, multiplier = agreed
        for kind in (PhiAccrual, TwoWindow):
            detector = kind(interval, interval * multiplier)
            beat(detector, [interval] * beats, start=0.0)
            self.assertAlmostEqual(detector.patience() / (interval * multiplier), 1.0, places=3)

    @settings(deadline=None)
    @given(GAPS, st.floats(0.01, 10.0), st.integers(2, 10))
    def test_every_dead_peer_gets_its_verdict(self, gaps: list[float], interval: float, multiplier: int) -> None:
        """Whatever was heard: at least the agreed time, at most four times it."""
        detect = interval * multiplier
        for kind in (PhiAccrual, TwoWindow):
            detector = kind(interval, detect)
            beat(detector, gaps)
            self.assertTrue(detect * (1 - 1e-9) <= detector.patience() <= MOST * detect, detector)

    def test_a_peer_that_beats_faster_than_agreed(self) -> None:
        """It may; that is no reason to be less patient than was agreed."""
        for detector in detectors():
            beat(detector, [INTERVAL / 5] * 3000)
            self.assertGreaterEqual(detector.patience(), DETECT * (1 - 1e-9))

    def test_a_peer_with_our_own_jitter(self) -> None:
        """±15 %, as every peer beats: phi needs no more than the agreed time; 2W wanders, on average by an interval."""
        draw = random.Random(2).random
        gaps = [INTERVAL * (0.85 + 0.3 * draw()) for _ in range(20_000)]
        for detector, allowed in zip(detectors(), (0.02, 1.0), strict=True):
            now, waits = START, []
            detector.heard(now)
            for gap in gaps:
                now += gap
                detector.heard(now)
                waits.append(detector.patience())
            self.assertLess(sum(waits) / len(waits), DETECT + allowed * INTERVAL)

    def test_terms_agreed_later(self) -> None:
        """With the gate come the agreed terms: what was learned is forgotten, the new times hold."""
        for detector in detectors():
            beat(detector, [0.1, 2.0] * 300)
            detector.agree(2.0, 10.0)
            self.assertAlmostEqual(detector.patience(), 10.0)
            beat(detector, [2.0] * 50)
            self.assertAlmostEqual(detector.patience(), 10.0, places=3)
            self.assertRaises(ConfigError, detector.agree, 2.0, 2.0)

    def test_memory(self) -> None:
        """Arrays that stop growing: 1.2 KB for phi, 4.6 KB for 2W, and none before the first interval."""
        for detector, most in zip(detectors(), (1200, 4600), strict=True):
            self.assertFalse(hasattr(detector, "__dict__"))
            array = "_deviations" if isinstance(detector, PhiAccrual) else "_offsets"
            self.assertIsNone(getattr(detector, array))
            beat(detector, [INTERVAL] * 5000)
            self.assertLessEqual(sys.getsizeof(detector) + sys.getsizeof(getattr(detector, array)), most)


class SkipTests(SynchronousTestCase):
    """Our own stalls teach nothing about the peer."""

    def test_a_skipped_interval_is_not_learned(self) -> None:
        """Irregular intervals that were ours leave the patience where it was; the same ones unskipped do not."""
        for ours, theirs in zip(detectors(), detectors(), strict=True):
            calm = [INTERVAL] * 50
            now = beat(ours, calm)
            beat(theirs, calm)
            for gap in (1.4, 0.05, 0.05) * 3:  # on average as agreed
                now += gap
                ours.skip()
                ours.heard(now)
                theirs.heard(now)
            self.assertAlmostEqual(ours.patience(), DETECT, places=4)
            self.assertGreater(theirs.patience(), DETECT + 0.01)

    def test_only_the_next_one_is_skipped(self) -> None:
        """The beats after it are learned from again."""
        skipped, plain = PhiAccrual(INTERVAL, DETECT), PhiAccrual(INTERVAL, DETECT)
        gaps = [0.1, 1.4] * 100
        now = beat(skipped, gaps)
        beat(plain, gaps)
        skipped.skip()
        skipped.heard(now + 1.0)
        self.assertEqual(skipped.patience(), plain.patience())
        skipped.heard(now + 1.1)
        self.assertNotEqual(skipped.patience(), plain.patience())

    def test_silence_counts_from_the_skipped_beat(self) -> None:
        """It is a sign of life all the same: phi starts again there."""
        detector = PhiAccrual(INTERVAL, DETECT)
        now = beat(detector, [INTERVAL] * 5)
        detector.skip()
        detector.heard(now + 5.0)
        self.assertLess(detector.phi(now + 5.1), 1.0)

    def test_a_skip_at_the_gate(self) -> None:
        """The time from the gate to the first beat need not be an interval."""
        for detector in detectors():
            detector.heard(START)
            detector.skip()
            detector.heard(START + 0.001)
            self.assertAlmostEqual(detector.patience(), DETECT, places=6)


class PhiTests(SynchronousTestCase):
    """Suspicion as a probability."""

    @settings(deadline=None)
    @given(TERMS, GAPS)
    def test_patience_is_when_phi_reaches_the_threshold(self, agreed: tuple[float, int], gaps: list[float]) -> None:
        """The two faces agree: phi of the moment at which patience ends is 8, wherever four times is not reached."""
        interval, multiplier = agreed
        detector = PhiAccrual(interval, interval * multiplier)
        now = beat(detector, (gap * interval / 10 for gap in gaps), start=0.0)
        assume(detector.patience() < MOST * interval * multiplier)
        self.assertAlmostEqual(detector.phi(now + detector.patience()), PHI_THRESHOLD, places=5)

    @settings(deadline=None)
    @given(GAPS, st.floats(0.0, 1e6), st.floats(0.0, 1e6))
    def test_phi_rises_with_silence(self, gaps: list[float], one: float, other: float) -> None:
        """Never less suspicious for having waited longer; finite after days; never negative."""
        detector = PhiAccrual(INTERVAL, DETECT)
        now = beat(detector, gaps)
        sooner, later = sorted((one, other))
        self.assertTrue(0.0 <= detector.phi(now + sooner) <= detector.phi(now + later) < math.inf)

    def test_nothing_to_suspect_yet(self) -> None:
        """Before the first call phi is 0."""
        self.assertEqual(PhiAccrual(INTERVAL, DETECT).phi(START), 0.0)

    def test_false_suspicions_are_as_rare_as_the_threshold_says(self) -> None:
        """Normally distributed intervals, threshold t: a beat in 10^t comes later than the patience."""
        for threshold, expected, beats in ((1.0, 0.1, 20_000), (2.0, 0.01, 40_000)):
            chance = random.Random(2004)
            detector = PhiAccrual(1.0, 1.05, threshold=threshold)
            now, wrong = START, 0
            detector.heard(now)
            for number in range(beats):
                gap = max(chance.gauss(1.0, 0.2), 0.0)
                wrong += gap > detector.patience() and number >= PHI_WINDOW
                now += gap
                detector.heard(now)
            self.assertTrue(0.7 * expected < wrong / beats < 1.2 * expected, (threshold, wrong / beats))

    def test_it_learns_a_slower_mean(self) -> None:
        """A peer whose beats come later than agreed on average is waited for from that average."""
        detector = PhiAccrual(INTERVAL, DETECT)
        beat(detector, [0.8] * 250)
        self.assertAlmostEqual(detector.patience(), DETECT + 0.3, places=4)

    def test_it_forgets(self) -> None:
        """After as many steady intervals as the window holds, an unsteady past has left no trace."""
        detector = PhiAccrual(INTERVAL, DETECT)
        now = beat(detector, [0.1, 1.3] * 300)
        self.assertGreater(detector.patience(), DETECT + 1.0)
        beat(detector, [INTERVAL] * (PHI_WINDOW + 1), start=now)
        self.assertAlmostEqual(detector.patience(), DETECT, places=4)

    def test_running_sums_do_not_drift(self) -> None:
        """After a day the sums are still those of the window."""
        detector = PhiAccrual(INTERVAL, DETECT)
        chance = random.Random(7)
        beat(detector, (chance.expovariate(1 / INTERVAL) for _ in range(172_900)))
        window = detector._deviations
        assert window is not None
        self.assertAlmostEqual(detector._sum, sum(window), places=3)
        self.assertAlmostEqual(detector._square_sum, sum(each * each for each in window), places=3)
        self.assertEqual(len(window), PHI_WINDOW)

    def test_beats_read_in_one_go(self) -> None:
        """A burst behind a delay is one arrival: no intervals of zero are learned from it."""
        burst, single = PhiAccrual(INTERVAL, DETECT), PhiAccrual(INTERVAL, DETECT)
        now = START
        for gap in [0.3, 1.2] * 20:
            now += gap
            for _ in range(5):
                burst.heard(now)
            single.heard(now)
        self.assertEqual(burst.patience(), single.patience())

    def test_an_outage_is_not_an_interval(self) -> None:
        """A silence that would have been a verdict (an own stop of which nobody told) is not learned."""
        detector = PhiAccrual(INTERVAL, DETECT)
        now = beat(detector, [INTERVAL] * 20)
        detector.heard(now + 3600.0)
        self.assertAlmostEqual(detector.patience(), DETECT)


class NormalTests(SynchronousTestCase):
    """The tail of the normal distribution: :func:`phi_at`."""

    def test_against_the_standard_library(self) -> None:
        """The threshold lies where :class:`statistics.NormalDist` puts it, for any threshold."""
        for threshold in (0.5, 1.0, 3.0, 8.0, 12.0, 50.0, 130.0, 140.0, 300.0):
            detector = PhiAccrual(1.0, 2.0, threshold=threshold)
            self.assertAlmostEqual(detector._threshold, -NormalDist().inv_cdf(10.0**-threshold), places=6)

    def test_known_values(self) -> None:
        """Half of all beats come later than the mean, one in 44 later than two deviations, and all after long ago."""
        self.assertAlmostEqual(phi_at(0.0), math.log10(2.0))
        self.assertAlmostEqual(phi_at(2.0), -math.log10(0.0227501319481792))
        self.assertEqual(phi_at(-50.0), 0.0)

    def test_the_two_formulas_meet(self) -> None:
        """Where the series takes over there is no step."""
        self.assertAlmostEqual(phi_at(math.nextafter(25.0, 0.0)), phi_at(25.0), places=7)


class TwoWindowTests(SynchronousTestCase):
    """2W-FD on beats that are sent on a grid and delayed on the way."""

    def test_an_early_beat_shortens_nothing(self) -> None:
        """Behind a delay that is over, the next beat is expected where the long window says, not after the burst."""
        detector = TwoWindow(INTERVAL, DETECT)
        for number in range(400):
            late = 0.2 if number < 399 else 0.0
            detector.heard(START + number * INTERVAL + late, number)
        self.assertAlmostEqual(detector.patience(), DETECT + 0.2, places=2)

    def test_a_late_beat_lengthens_at_once(self) -> None:
        """Window 1: the next beat may be as late as the last one was. Counted from the last: the agreed time."""
        detector = TwoWindow(INTERVAL, DETECT)
        for number in range(400):
            detector.heard(START + number * INTERVAL + (0.4 if number == 399 else 0.0), number)
        self.assertAlmostEqual(detector.patience(), DETECT, places=2)

    def test_it_is_wrong_less_often_than_the_agreed_time(self) -> None:
        """Heavily delayed beats and little margin: a fraction of the false suspicions of a plain timer."""
        chance = random.Random(2015)
        detector = TwoWindow(1.0, 1.5)
        arrivals: list[float] = []
        for number in range(30_000):
            arrivals.append(max(number + chance.expovariate(4.0), arrivals[-1] if arrivals else 0.0))
        wrong = plain = 0
        for number, (last, following) in enumerate(itertools.pairwise(arrivals)):
            detector.heard(last, number)
            wrong += following > last + detector.patience()
            plain += following > last + 1.5
        self.assertGreater(plain, 1000)
        self.assertLess(wrong, 0.7 * plain)

    def test_a_day_with_a_clock_that_drifts(self) -> None:
        """The sender's clock is 300 ppm off, either way: a day later it is still waited for as agreed."""
        for rate in (1.0003, 0.9997):
            draw = random.Random(86_400).random
            detector = TwoWindow(INTERVAL, DETECT)
            longest = 0.0
            for number in range(172_800):
                detector.heard(START + number * INTERVAL * rate + 0.01 * draw(), number)
                if number % 50 == 0:
                    longest = max(longest, detector.patience())
            self.assertLess(longest, DETECT + 0.025)

    def test_a_peer_that_is_much_slower_than_agreed(self) -> None:
        """Its interval is measured: the next beat is expected after that, plus the agreed margin."""
        detector = TwoWindow(INTERVAL, DETECT)
        beat(detector, [0.9] * 5000)
        self.assertAlmostEqual(detector.patience(), 0.9 + (DETECT - INTERVAL), places=3)

    def test_offsets_stay_exact(self) -> None:
        """float32 keeps a ten-thousandth of an interval over days, also for a peer at another pace than agreed."""
        detector = TwoWindow(INTERVAL, DETECT)
        beat(detector, [0.2] * 500_000)
        window = detector._offsets
        assert window is not None
        self.assertLess(max(abs(each) for each in window), LONG_WINDOW * INTERVAL)
        ordered = [*window[detector._next :], *window[: detector._next]]
        steps = [following - one for one, following in itertools.pairwise(ordered)]
        self.assertLess(max(abs(step - (0.2 - INTERVAL)) for step in steps), 1e-4 * INTERVAL)

    def test_running_sums_do_not_drift(self) -> None:
        """After hours the sums are still those of the window, whatever its state."""
        for beats in (1, 2, 999, 1000, 1001, 1700, 20_345):
            detector = TwoWindow(INTERVAL, DETECT)
            draw = random.Random(beats).random
            beat(detector, (INTERVAL * (0.85 + 0.3 * draw()) for _ in range(beats)))
            window = detector._offsets
            assert window is not None
            ordered = [*window[detector._next :], *window[: detector._next]]
            self.assertEqual(len(window), min(beats + 1, LONG_WINDOW))
            self.assertAlmostEqual(detector._sum, sum(ordered), places=3)
            self.assertAlmostEqual(detector._ranked_sum, sum(i * each for i, each in enumerate(ordered)), places=1)

    def test_the_line_of_the_long_window(self) -> None:
        """The expectation is that of a least squares line through the arrivals, whatever interval was agreed."""
        chance = random.Random(3)
        arrivals = [0.7 * number + chance.uniform(0.0, 0.3) for number in range(300)]
        detector = TwoWindow(INTERVAL, DETECT)
        beat(detector, [late - early for early, late in itertools.pairwise(arrivals)], start=arrivals[0])
        slope, intercept = linear_regression(range(300), arrivals)
        expected = intercept + 300 * slope - arrivals[-1] + DETECT - INTERVAL
        self.assertAlmostEqual(detector.patience(), expected, places=4)

    def test_numbers_that_were_left_out(self) -> None:
        """Beats lost on the way are no delay, where the numbers show them."""
        detector = TwoWindow(INTERVAL, DETECT)
        for number in range(2000):
            if number % 7:
                detector.heard(START + number * INTERVAL, number)
        self.assertAlmostEqual(detector.patience(), DETECT, places=3)

    def test_numbers_that_begin_anew(self) -> None:
        """A number that is not ahead, or too far ahead to be of the same counting, begins a new one."""
        for jump in (-65_535, -1, 0, LONG_WINDOW + 1, 10**9):
            detector = TwoWindow(INTERVAL, DETECT)
            now = START
            for number in range(100):
                now += 0.9
                detector.heard(now, 70_000 + number)
            self.assertGreater(detector.patience(), DETECT + 0.3)
            detector.heard(now + 0.9, 70_099 + jump)
            self.assertEqual(detector.patience(), DETECT)

    def test_times_that_are_not_quite_in_order(self) -> None:
        """Arrival times of the kernel may lie before what was read earlier: such a beat counts as simultaneous."""
        detector, other = TwoWindow(INTERVAL, DETECT), TwoWindow(INTERVAL, DETECT)
        now = beat(detector, [INTERVAL] * 10)
        beat(other, [INTERVAL] * 10)
        detector.heard(now - 0.2)
        other.heard(now)
        self.assertEqual(detector.patience(), other.patience())

    def test_it_has_no_scale(self) -> None:
        """phi is None: pages show none."""
        self.assertIsNone(TwoWindow(INTERVAL, DETECT).phi(START))
