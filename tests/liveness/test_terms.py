"""The times that follow from I and D, and what makes them longer."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.detectors import Detector, PhiAccrual
from heartbeat.liveness.rtt import UNKNOWN_TERM, RoundTrips
from heartbeat.liveness.terms import POLLS, patient, terms

INTERVALS = st.floats(0.001, 3600.0)
MULTS = st.integers(2, 255)


class Waits(Detector):
    """A detector that says what it was told to say."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        super().__init__(0.5, 1.5)
        self.seconds = seconds

    def heard(self, now: float, number: int | None = None) -> None:
        """It learns nothing."""

    def patience(self) -> float:
        """As told."""
        return self.seconds


class TermsTests(SynchronousTestCase):
    """``wire.md`` §2: T = D - I, half time (D + I)/2."""

    def test_the_usual_ones(self) -> None:
        """Half a second times three."""
        usual = terms(0.5, 1.5)
        self.assertEqual(
            (usual.interval, usual.detect, usual.half, usual.timeout, usual.cap), (0.5, 1.5, 1.0, 1.0, 0.1875)
        )

    @settings(deadline=None)
    @given(INTERVALS, MULTS)
    def test_their_order(self, interval: float, mult: int) -> None:
        """Half time lies between I and D, T/2 fits behind it, and eight polls fit into D."""
        agreed = terms(interval, mult * interval)
        self.assertLess(agreed.interval, agreed.half)
        self.assertLess(agreed.half, agreed.detect)
        self.assertAlmostEqual(agreed.half + agreed.timeout / 2, agreed.detect)
        self.assertAlmostEqual(agreed.cap * POLLS, agreed.detect)

    def test_are_shared(self) -> None:
        """A thousand peers on the same terms hold one object."""
        self.assertIs(terms(0.5, 1.5), terms(0.5, 1.5))
        self.assertIsNot(terms(0.5, 1.5), terms(0.5, 2.0))

    def test_answer_time(self) -> None:
        """T/2, or what a round trip may take if that is longer; 3 s while none is known."""
        agreed = terms(0.5, 1.5)
        self.assertEqual(agreed.answer_time(None), 0.5)
        rtt = RoundTrips()
        self.assertEqual(agreed.answer_time(rtt), UNKNOWN_TERM)
        for _ in range(100):
            rtt.sample(0.001)
        self.assertEqual(agreed.answer_time(rtt), 0.5)
        for _ in range(200):
            rtt.sample(2.0)
        self.assertAlmostEqual(agreed.answer_time(rtt), 4.4, places=3)
        self.assertEqual(terms(5.0, 15.0).answer_time(rtt), 5.0)


class PatientTests(SynchronousTestCase):
    """More patient than agreed, never less."""

    def test_the_same_object_where_nothing_is_added(self) -> None:
        """The usual case makes nothing."""
        agreed = terms(0.5, 1.5)
        self.assertIs(patient(agreed, 0.0, None), agreed)
        self.assertIs(patient(agreed, 0.0, PhiAccrual(0.5, 1.5)).detect, agreed.detect)
        self.assertIs(patient(agreed, 0.0, Waits(0.1)), agreed)

    def test_a_grant_and_a_detector_add_up(self) -> None:
        """The detector's time takes the place of D, the grant comes on top; all else follows."""
        longer = patient(terms(0.5, 1.5), 0.7, Waits(2.0))
        self.assertEqual((longer.interval, longer.detect), (0.5, 2.7))
        self.assertEqual((longer.half, longer.timeout, longer.cap), (1.6, 2.2, 2.7 / POLLS))

    @settings(deadline=None)
    @given(INTERVALS, MULTS, st.floats(0.0, 3600.0), st.floats(0.0, 20_000.0))
    def test_never_less(self, interval: float, mult: int, granted: float, waits: float) -> None:
        """Every time that follows is at least the agreed one, and I stays."""
        agreed = terms(interval, mult * interval)
        longer = patient(agreed, granted, Waits(waits))
        self.assertEqual(longer.interval, agreed.interval)
        for name in ("detect", "half", "timeout", "cap"):
            self.assertGreaterEqual(getattr(longer, name), getattr(agreed, name))
        self.assertEqual(longer.detect, max(agreed.detect, waits) + granted)
