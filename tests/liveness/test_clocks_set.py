"""Clocks that are set and machines that sleep: nobody dies of it, and it is counted."""

from __future__ import annotations

from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from heartbeat.liveness.attention import Attention
from heartbeat.liveness.beats import Beats
from heartbeat.liveness.events import Spared
from heartbeat.liveness.liveness import Liveness
from heartbeat.liveness.states import State
from tests.liveness.loops import CAP, INTERVAL, START, D, Loop, T, TimedTestCase

HOUR = 3600.0


def spared(loop: Loop) -> list[tuple[str, float]]:
    """What was counted so far."""
    loop.log += loop.judge.events()
    return [(event.reason, event.seconds) for event in loop.log if isinstance(event, Spared)]


class SteppedTests(TimedTestCase):
    """The clock on the wall is set; ours is not."""

    def setUp(self) -> None:
        self.loop = Loop()
        self.judge = self.loop.judge = Liveness(D, self.loop.attention, START, interval=INTERVAL)

    def test_a_plain_timer_would_have_fired(self) -> None:
        """A step forward over the deadline kills with a timer on the wall clock: once per silence it is counted."""
        self.loop.sleep(0.3)
        self.judge.stepped(HOUR, self.loop.now)
        self.judge.stepped(HOUR, self.loop.now)
        self.assertEqual(spared(self.loop), [("clock_step", HOUR)])
        self.judge.heard(self.loop.now)
        self.judge.stepped(D, self.loop.now)
        self.assertEqual(spared(self.loop), [("clock_step", HOUR), ("clock_step", D)])
        self.assertIs(self.judge.state, State.ALIVE)

    def test_one_that_fires_no_timer(self) -> None:
        """A step that leaves time, or comes when the time is up anyway, spares nobody."""
        self.loop.sleep(0.3)
        self.judge.stepped(D - 0.31, self.loop.now)
        self.assertEqual(spared(self.loop), [])

    def test_nobody_who_is_not_judged(self) -> None:
        """Before the gate, while we are deaf, and after the end there is no timer to fire."""
        gated = Liveness(D, self.loop.attention, START, interval=INTERVAL, gated=True)
        gated.stepped(HOUR, START)
        self.judge.deaf(START)
        self.judge.stepped(HOUR, START)
        dead = Liveness(D, self.loop.attention, START, interval=INTERVAL)
        dead.leave("leaving", START)
        dead.events()
        dead.stepped(HOUR, START)
        self.assertEqual((gated.events(), self.judge.events(), dead.events()), ((), (), ()))

    def test_a_judge_with_questions(self) -> None:
        """A Beats passes it on."""
        beats = Beats(D, self.loop.attention, START, interval=INTERVAL, draw=lambda: 0.5)
        beats.stepped(HOUR, START + 0.1)
        self.assertEqual([type(event) for event in beats.events()], [Spared])


class SuspendedTests(TimedTestCase):
    """The machine sleeps: the monotonic clock stands still, the others go on without us."""

    def suspend(self, loop: Loop, seconds: float) -> None:
        """As the wheel tells it."""
        loop.attention.resumed(loop.now, seconds)

    def test_all_of_its_time_again(self) -> None:
        """A peer that was nearly given up has D from the moment on at which the machine is back."""
        loop = Loop()
        loop.judge = Liveness(D, loop.attention, START, interval=INTERVAL)
        loop.sleep(D - 0.05)
        self.assertIs(loop.judge.state, State.SUSPECT)
        self.suspend(loop, HOUR)
        back = loop.now
        loop.sleep(D - 0.05)
        self.assertIs(loop.judge.state, State.SUSPECT)
        loop.sleep(CAP + 0.1)
        self.assertIs(loop.judge.state, State.DEAD)
        self.assert_near(loop.judge.since - back, D, within=CAP)
        self.assertEqual(spared(loop), [("suspended", HOUR)])

    def test_an_answer_behind_it(self) -> None:
        """Whoever answers once the machine is back lives."""
        loop = Loop()
        loop.judge = Liveness(D, loop.attention, START, interval=INTERVAL)
        loop.sleep(D - 0.05)
        self.suspend(loop, HOUR)
        loop.sleep(1.0)
        loop.judge.heard(loop.now)
        loop.sleep(0.9)
        self.assertIs(loop.judge.state, State.ALIVE)

    def test_what_is_read_then_may_be_old(self) -> None:
        """Until the next wake nothing counts as read in time."""
        attention = Attention(START)
        attention.resumed(START, 60.0)
        self.assertLess(attention.fresh_until, START)
        attention.expect(START + 1.0)
        self.assertGreater(attention.fresh_until, START + 1.0)

    @given(st.floats(0.0, 20.0), st.floats(0.0, 20.0), st.floats(0.0, 2.0))
    @settings(deadline=None)
    def test_nothing_before_counts(self, before: float, after: float, cap: float) -> None:
        """Of a silence across it, only what lies behind it was listened to."""
        attention = Attention(START)
        attention.resumed(START + before, 1.0)
        attention.expect(START + before + after)
        self.assert_near(attention.awake(START, START + before + after, cap), after)


class GuessTests(TimedTestCase):
    """Where it can only be guessed when the kernel got the question."""

    def died(self, handed_over: Literal["exact", "guess"]) -> float:
        """When a silent peer dies whose evidence says so."""
        loop = Loop()
        loop.judge = Liveness(D, loop.attention, START, interval=INTERVAL)
        loop.handed_over = handed_over
        loop.sleep(2 * D)
        self.assertIs(loop.judge.state, State.DEAD)
        return loop.judge.since - START

    def test_two_polls_more(self) -> None:
        """A guess costs two more polls before the verdict, and no more than the 0.1 s that the bound leaves."""
        exact, guess = self.died("exact"), self.died("guess")
        self.assert_near(exact, D)
        self.assertGreater(guess, exact + 0.02)
        self.assertLess(guess, exact + 0.1)
        self.assertLess(guess - exact, T)
