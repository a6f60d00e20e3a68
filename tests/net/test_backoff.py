"""When a client comes back: what each BYE asks for, and full jitter for all the rest."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.net.backoff import reconnect_after
from heartbeat.wire.frames import Bye

#: The largest number that a draw gives.
NEARLY_ONE = 1.0 - 2.0**-53
#: wire.md §6, "does the receiver reconnect?"
RARELY = (0, 2, 3, 4, 5, 8)
WITH_BACKOFF = (6, 9, 10, 11)
KNOWN = frozenset(range(13))
#: No wait but "rarely" and "after=" is longer than this.
LONGEST = 30.0

draws = st.floats(0.0, NEARLY_ONE)


def least(bye: Bye | None, attempt: int) -> float | None:
    """The shortest delay that chance can give."""
    return reconnect_after(bye, attempt, lambda: 0.0)


def most(bye: Bye | None, attempt: int) -> float | None:
    """The longest."""
    return reconnect_after(bye, attempt, lambda: NEARLY_ONE)


class FullJitterTests(SynchronousTestCase):
    """Connections that failed, or were lost, without a word from the peer."""

    def test_range(self) -> None:
        """All of the delay is random, its limit is a second at first, doubles, and ends at half a minute."""
        limits = [most(None, attempt) or 0.0 for attempt in range(1, 9)]
        for limit, wanted in zip(limits, (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0), strict=True):
            self.assertAlmostEqual(limit, wanted)
        self.assertEqual({least(None, attempt) for attempt in range(1, 9)}, {0.0})

    def test_years_of_failing(self) -> None:
        """No number of attempts makes the delay longer, or an overflow."""
        self.assertAlmostEqual(most(None, 10**9) or 0.0, LONGEST)

    def test_a_herd_is_spread(self) -> None:
        """The delay is proportional to the draw: a thousand peers come back evenly over the whole time."""
        delays = [reconnect_after(None, 5, lambda share=n / 1000: share) or 0.0 for n in range(1000)]
        self.assertEqual(len({int(delay) for delay in delays}), 16)

    @settings(deadline=None)
    @given(st.integers(1, 10**6), draws, st.none() | st.builds(Bye, st.integers(0, 65535), st.text(max_size=40)))
    def test_always_a_delay(self, attempt: int, draw: float, bye: Bye | None) -> None:
        """Whatever a peer says: no delay is negative or over twenty minutes, and only BYE 7 is for good."""
        delay = reconnect_after(bye, attempt, lambda: draw)
        if bye is not None and bye.code == 7:
            self.assertIsNone(delay)
        else:
            assert delay is not None
            self.assertTrue(0.0 <= delay <= 1200.0, delay)


class ByeTests(SynchronousTestCase):
    """Each code of wire.md §6."""

    def test_rarely(self) -> None:
        """Every five minutes, give or take 15 %, from the first attempt on: one of the two must change first."""
        for code in RARELY:
            for attempt in (1, 2, 50):
                self.assertAlmostEqual(least(Bye(code, ""), attempt) or 0.0, 255.0, 6, str(code))
                self.assertAlmostEqual(most(Bye(code, ""), attempt) or 0.0, 345.0, 6, str(code))

    def test_with_backoff(self) -> None:
        """As if nothing had been said."""
        for code in WITH_BACKOFF:
            for attempt in (1, 3, 20):
                self.assertEqual(least(Bye(code, ""), attempt), least(None, attempt), code)
                self.assertEqual(most(Bye(code, ""), attempt), most(None, attempt), code)

    def test_superseded(self) -> None:
        """BYE 7 keeps a peer away for good, and no other code does: anybody on the path can write one."""
        self.assertEqual({code for code in range(65536) if least(Bye(code, "after=1"), 1) is None}, {7})

    def test_maximum_age(self) -> None:
        """BYE 12: back at once; but one that says so to every attempt gets no hot loop."""
        self.assertEqual(most(Bye(12, ""), 1), 0.0)
        self.assertAlmostEqual(most(Bye(12, ""), 2) or 0.0, 2.0)
        self.assertAlmostEqual(most(Bye(12, ""), 9) or 0.0, LONGEST)

    def test_unknown_codes(self) -> None:
        """A code of tomorrow is treated as 10, the server is full: with back-off."""
        for code in (13, 14, 255, 65535):
            self.assertNotIn(code, KNOWN)
            for attempt in (1, 7):
                self.assertEqual(most(Bye(code, "after=5000"), attempt), most(Bye(10, ""), attempt))
                self.assertEqual(least(Bye(code, "after=5000"), attempt), least(Bye(10, ""), attempt))


class DrainingTests(SynchronousTestCase):
    """BYE 1, and the after= in its reason."""

    def assert_waits(self, reason: str, shortest: float, longest: float) -> None:
        """Between these two, whatever the attempt is."""
        self.assertAlmostEqual(least(Bye(1, reason), 1) or 0.0, shortest, 6, reason)
        self.assertAlmostEqual(most(Bye(1, reason), 1) or 0.0, longest, 6, reason)

    def test_after(self) -> None:
        """The time that the server names, and up to as much again at random."""
        self.assert_waits("after=5000", 5.0, 10.0)
        self.assert_waits("after=5000 draining for an upgrade", 5.0, 10.0)
        self.assert_waits("after=0002500", 2.5, 5.0)

    def test_bounds(self) -> None:
        """A second at least; at most ten minutes count, however many digits there are."""
        self.assert_waits("after=0", 1.0, 2.0)
        self.assert_waits("after=1", 1.0, 2.0)
        self.assert_waits("after=600000", 600.0, 1200.0)
        self.assert_waits("after=600001", 600.0, 1200.0)
        self.assert_waits("after=" + "9" * 240, 600.0, 1200.0)

    def test_rubbish(self) -> None:
        """What is no decimal number at the start of the reason is text for people: back-off, and no exception."""
        for reason in (
            "", "draining", "after", "after=", "after= 5", "after=-5000", "after=+5", "after=5e3", "after=5.0",
            "after=0x10", "after=٣٠٠٠", "after=5000ms", "after=5_000", "back after=5000", "AFTER=5000", " after=5000",
        ):  # fmt: skip
            self.assert_waits(reason, 0.0, 1.0)
