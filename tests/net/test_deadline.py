"""Soft deadlines: one caller's waiting, and nothing else."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, inlineCallbacks, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from heartbeat.errors import AlreadyExpired, BudgetExpired, ConfigError, DeadlineExpired
from heartbeat.interfaces import IClocked
from heartbeat.net import Deadline


@implementer(IClocked)
class Stepping(Clock):
    """A reactor as Twisted's: its timers run on a wall clock that somebody may step."""

    def __init__(self) -> None:
        super().__init__()
        self.mono = 500.0

    def monotonic(self) -> float:
        """Never steps."""
        return self.mono

    def wall(self) -> float:
        """Steps."""
        return float(self.seconds())

    def draw(self) -> float:
        """No chance here."""
        return 0.5

    def live(self, seconds: float) -> None:
        """Both clocks run."""
        self.mono += seconds
        self.advance(seconds)


class Case(SynchronousTestCase):
    """A clock, and no timer left at the end."""

    def setUp(self) -> None:
        """Some time after the beginning of time, so that 0 is not now."""
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def deadline(self, seconds: float) -> Deadline:
        """A deadline on that clock."""
        return Deadline(seconds, self.clock)


class TimeTests(Case):
    """How much is left."""

    def test_counts_down(self) -> None:
        """What is left is never below zero, and at zero it is expired."""
        deadline = self.deadline(2.0)
        self.assertEqual((deadline.left(), deadline.expired, deadline.at), (2.0, False, 1002.0))
        self.clock.advance(1.5)
        self.assertEqual((deadline.left(), deadline.expired), (0.5, False))
        self.clock.advance(1.5)
        self.assertEqual((deadline.left(), deadline.expired), (0.0, True))

    def test_wrong_times(self) -> None:
        """Negative, not a number, or no number at all: an error that names the value."""
        wrong: tuple[Any, ...] = (-0.1, math.nan, "2", None, True)
        for seconds in wrong:
            error = self.assertRaises(ConfigError, Deadline, seconds, self.clock)
            self.assertIn(repr(seconds), str(error))
        for share in (0.0, -1.0, 1.1, math.nan):
            self.assertRaises(ConfigError, self.deadline(1.0).part, share)

    def test_never(self) -> None:
        """An infinite deadline has no timer, and its parts may be finite."""
        deadline = self.deadline(math.inf)
        deadline.watch(Deferred())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((deadline.left(), deadline.part(0.5).left()), (math.inf, math.inf))
        self.assertEqual(deadline.within(3.0).left(), 3.0)

    def test_knows_where_it_was_made(self) -> None:
        """The file and the line of who made it; for a part, of who made the part."""
        deadline = self.deadline(2.0)
        part = deadline.within(1.0)
        file, line = part.made.rsplit(":", 1)
        self.assertTrue(file.endswith("test_deadline.py"), file)
        here = int(line)
        part, other = deadline.within(1.0), deadline.part(0.5)
        self.assertEqual({each.made for each in (part, other)}, {f"{file}:{here + 4}"})
        self.assertIn("2 of 2 s left", repr(deadline))

    def test_the_installed_reactor(self) -> None:
        """Without a reactor it is the installed one, judged by the monotonic clock."""
        self.assertTrue(59.0 < Deadline(60.0).left() <= 60.0)


class BudgetTests(Case):
    """A part of the time of somebody else."""

    def test_never_longer_than_its_parent(self) -> None:
        """Asked for more it gets what there is, at any depth."""
        whole = self.deadline(5.0)
        self.clock.advance(2.0)
        self.assertEqual(whole.within(1.0).left(), 1.0)
        self.assertEqual(whole.within(60.0).left(), 3.0)
        self.assertEqual(whole.within(60.0).within(60.0).left(), 3.0)
        self.assertEqual(whole.part(0.5).left(), 1.5)
        self.clock.advance(10.0)
        self.assertTrue(whole.within(60.0).expired)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.floats(0.0, 1e6), st.floats(0.0, 1e6)), max_size=8), st.floats(0.0, 1e6))
    def test_at_any_depth(self, steps: list[tuple[float, float]], seconds: float) -> None:
        """However parts are taken of parts while time goes by, none ends after any above it."""
        clock = Clock()
        chain = [Deadline(seconds, clock)]
        for pause, part in steps:
            clock.advance(pause)
            chain.append(chain[-1].within(part))
        for above, below in pairwise(chain):
            self.assertLessEqual(below.at, above.at)
            self.assertLessEqual(below.left(), above.left())

    def test_the_budget_is_named(self) -> None:
        """A part that ended early because the budget was spent says so, and names the budget."""
        whole = self.deadline(2.0)
        mine = whole.within(60.0).within(50.0).watch(Deferred())
        self.clock.advance(2.0)
        error = self.failureResultOf(mine, BudgetExpired).value
        self.assertEqual((error.made, error.seconds), (whole.made, 2.0))
        self.assertIn("the budget of 2 s, made at ", str(error))

    def test_its_own_end_is_its_own(self) -> None:
        """A part that came to its own end is no matter of the budget."""
        part = self.deadline(60.0).within(1.0)
        mine = part.watch(Deferred())
        self.clock.advance(1.0)
        error = self.failureResultOf(mine, DeadlineExpired).value
        self.assertEqual((type(error), error.made, error.seconds), (DeadlineExpired, part.made, 1.0))


class WatchTests(Case):
    """Waiting for a Deferred."""

    def test_a_result_in_time(self) -> None:
        """Goes through, and the timer is gone."""
        waiting: Deferred[int] = Deferred()
        mine = self.deadline(2.0).watch(waiting)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(1.9)
        waiting.callback(7)
        self.assertEqual(self.successResultOf(mine), 7)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_failure_in_time(self) -> None:
        """Goes through as it is, also one that is there already; no timer is made for that."""
        deadline = self.deadline(2.0)
        waiting: Deferred[int] = Deferred()
        mine = deadline.watch(waiting)
        waiting.errback(KeyError("k"))
        self.failureResultOf(mine, KeyError)
        self.failureResultOf(deadline.watch(fail(KeyError("k"))), KeyError)
        self.assertEqual(self.successResultOf(deadline.watch(succeed(3))), 3)

    def test_the_time_is_up(self) -> None:
        """It fails at the time, says how long that was and where it was made; what was waited for is cancelled."""
        cancelled: list[Any] = []
        deadline = self.deadline(2.0)
        mine = deadline.watch(Deferred(cancelled.append), "the answer of the shop")
        self.clock.advance(1.999)
        self.assertNoResult(mine)
        self.clock.advance(0.001)
        error = self.failureResultOf(mine, DeadlineExpired).value
        self.assertEqual(
            (type(error), error.made, error.seconds, error.late), (DeadlineExpired, deadline.made, 2.0, 0.0)
        )
        self.assertEqual(
            str(error), f"the answer of the shop: no result within 2 s; the deadline was made at {error.made}"
        )
        self.assertEqual(len(cancelled), 1)
        self.assertIsInstance(error.__cause__, CancelledError)

    def test_nothing_eats_the_timeout(self) -> None:
        """Neither an errback added before, nor a canceller that does nothing, nor a chain keep the caller waiting."""
        handled: Deferred[Any] = Deferred()
        handled.addErrback(lambda _: Deferred())
        chained: Deferred[Any] = Deferred()
        chained.callback(None)
        chained.addCallback(lambda _: handled)
        mine = self.deadline(1.0).watch(chained)
        self.clock.advance(1.0)
        self.failureResultOf(mine, DeadlineExpired)

    def test_any_failure_of_the_cancelled(self) -> None:
        """What a request makes of being cancelled is the cause of the error, not in its place."""

        def canceller(it: Deferred[None]) -> None:
            it.errback(ConnectionError("given up"))

        mine = self.deadline(1.0).watch(Deferred(canceller))
        self.clock.advance(1.0)
        error = self.failureResultOf(mine, DeadlineExpired).value
        self.assertIsInstance(error.__cause__, ConnectionError)

    def test_a_canceller_that_answers(self) -> None:
        """A result that the canceller brings is a result."""
        mine = self.deadline(1.0).watch(Deferred(lambda it: it.callback("half")))
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(mine), "half")

    def test_a_canceller_that_raises(self) -> None:
        """The caller gets its error all the same, and the defect is not hidden."""

        def canceller(it: Deferred[None]) -> None:
            raise ZeroDivisionError

        mine = self.deadline(1.0).watch(Deferred(canceller))
        self.assertRaises(ZeroDivisionError, self.clock.advance, 1.0)
        self.failureResultOf(mine, DeadlineExpired)

    def test_cancel(self) -> None:
        """Cancelling what the caller has cancels what is waited for: CancelledError, and no timer."""
        cancelled: list[Any] = []
        mine = self.deadline(2.0).watch(Deferred(cancelled.append))
        mine.cancel()
        self.failureResultOf(mine, CancelledError)
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_comes_late(self) -> None:
        """A late result is swallowed, or given to whoever closes it; a late failure troubles nobody."""
        late: list[int] = []
        for given_up in (lambda mine: self.clock.advance(2.0), lambda mine: mine.cancel()):
            for dispose in (None, late.append):
                first: Deferred[int] = Deferred()
                waiting = first.addErrback(lambda _: Deferred())  # deaf to cancel
                mine = self.deadline(2.0).watch(waiting, late=dispose)
                given_up(mine)
                self.failureResultOf(mine, DeadlineExpired, CancelledError)
                inner: Any = waiting
                inner.result.callback(9) if isinstance(inner.result, Deferred) else inner.callback(9)
        self.assertEqual(len(late), 2)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_one_caller_and_nobody_else(self) -> None:
        """Of two who wait for the same thing, each with a Deferred of its own, one gives up and one gets it."""
        waiters: list[Deferred[str]] = []

        def ask() -> Deferred[str]:
            mine: Deferred[str] = Deferred(waiters.remove)
            waiters.append(mine)
            return mine

        hasty, patient = self.deadline(1.0).watch(ask()), self.deadline(3.0).watch(ask())
        self.clock.advance(2.0)
        self.failureResultOf(hasty, DeadlineExpired)
        self.assertNoResult(patient)
        for one in waiters:
            one.callback("here")
        self.assertEqual(self.successResultOf(patient), "here")

    def test_inline_callbacks_and_coroutines(self) -> None:
        """Both wait for it, and a coroutine can be watched itself."""
        deadline = self.deadline(2.0)

        @inlineCallbacks
        def old() -> Any:
            got = yield deadline.watch(succeed(1))
            return got + 1

        async def new() -> int:
            return await deadline.watch(succeed(1)) + 2

        self.assertEqual(self.successResultOf(old()), 2)
        self.assertEqual(self.successResultOf(deadline.watch(new())), 3)


class ReuseTests(Case):
    """A deadline that is over."""

    def test_fails_at_once(self) -> None:
        """Used for a second request after its time it fails at once, says how long ago, and names where it was made."""
        deadline = self.deadline(2.0)
        first = deadline.watch(succeed("in time"))
        self.clock.advance(2.5)
        cancelled: list[Any] = []
        second = deadline.watch(Deferred(cancelled.append), "the second")
        error = self.failureResultOf(second, AlreadyExpired).value
        self.assertEqual(self.successResultOf(first), "in time")
        self.assertEqual((error.made, error.seconds, error.late), (deadline.made, 2.0, 0.5))
        self.assertEqual(
            str(error), f"the second: the deadline of 2 s, made at {deadline.made}, was over 0.5 s before this began"
        )
        self.assertEqual(len(cancelled), 1)

    def test_also_with_a_result(self) -> None:
        """A result that is there already does not hide it; it is disposed of."""
        late: list[int] = []
        mine = self.deadline(0.0).watch(succeed(5), late=late.append)
        self.failureResultOf(mine, AlreadyExpired)
        self.assertEqual(late, [5])

    def test_a_coroutine_is_not_begun(self) -> None:
        """Nothing is asked."""
        asked: list[int] = []

        async def ask() -> None:
            asked.append(1)

        mine = self.deadline(0.0).watch(ask())
        self.failureResultOf(mine, AlreadyExpired)
        self.assertEqual(asked, [])
        self.assertEqual(self.flushWarnings(), [])

    def test_check(self) -> None:
        """What cannot be watched is checked before it begins; the budget is named where it is the budget's end."""
        whole = self.deadline(1.0)
        part = whole.within(60.0)
        part.check("a query")
        self.clock.advance(1.0)
        error = self.assertRaises(AlreadyExpired, part.check, "a query")
        self.assertEqual((error.made, error.seconds), (whole.made, 1.0))
        self.assertTrue(str(error).startswith("a query: the deadline of 1 s, made at "), str(error))


class WakeTests(SynchronousTestCase):
    """The timer is only a wake-up."""

    def setUp(self) -> None:
        """Two clocks."""
        self.reactor = Stepping()
        self.addCleanup(lambda: self.assertEqual(self.reactor.getDelayedCalls(), []))

    def test_a_step_forward(self) -> None:
        """The wall clock jumps an hour ahead: woken too early, it goes on waiting for its own time."""
        mine = Deadline(30.0, self.reactor).watch(Deferred())
        self.reactor.live(1.0)
        self.reactor.advance(3600.0)
        self.assertNoResult(mine)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.reactor.live(28.9)
        self.assertNoResult(mine)
        self.reactor.live(0.2)
        self.failureResultOf(mine, DeadlineExpired)

    def test_a_stall_of_ours(self) -> None:
        """Our loop was stopped and the answer lies unread: one turn, in which it is read, and it is taken."""
        waiting: Deferred[str] = Deferred()
        mine = Deadline(2.0, self.reactor).watch(waiting)
        self.reactor.mono += 5.0
        self.reactor.callLater(2.0, waiting.callback, "read in the next turn")  # timers come before the poll
        self.reactor.advance(2.0)
        self.assertEqual(self.successResultOf(mine), "read in the next turn")

    def test_a_stall_is_said(self) -> None:
        """Without an answer the error says how late our own loop was."""
        mine = Deadline(2.0, self.reactor).watch(Deferred())
        self.reactor.mono += 5.0
        self.reactor.advance(2.0)
        error = self.failureResultOf(mine, DeadlineExpired).value
        self.assertEqual(error.late, 3.0)
        self.assertIn("; our own loop was 3 s late", str(error))

    def test_the_last_turn_is_one(self) -> None:
        """The chance is bounded: what comes two turns later is late, however long the stall was."""
        waiting: Deferred[str] = Deferred()
        mine = Deadline(2.0, self.reactor).watch(waiting)
        self.reactor.mono += 5.0
        self.reactor.advance(2.0)
        self.failureResultOf(mine, DeadlineExpired)
        waiting.callback("too late")
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cancelled_in_the_last_turn(self) -> None:
        """No timer is left when the caller gives up between the two looks."""
        cancelled: list[Any] = []
        mine = Deadline(2.0, self.reactor).watch(Deferred(cancelled.append))
        self.reactor.callLater(2.0, mine.cancel)
        self.reactor.live(2.0)
        self.failureResultOf(mine, CancelledError)
        self.assertEqual(len(cancelled), 1)
