"""The wheel: who wakes when, what a late wake means, and that an empty wheel has no timer."""

from __future__ import annotations

import gc
import weakref

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.net.clocks import Clocks
from heartbeat.net.wheel import SLOT, SLOTS, Wheel, wheel_for


class Sleeper:
    """A spoke that records its wakes and wants to wake at the times it was given."""

    def __init__(self, *times: float) -> None:
        self.tick = self.place = -1
        self.times = list(times)
        self.woken: list[float] = []
        self.steps: list[float] = []

    def wake(self, now: float) -> float | None:
        """Record it."""
        while self.times and self.times[0] <= now:
            self.woken.append(now)
            self.times.pop(0)
        return self.times[0] if self.times else None

    def stepped(self, by: float, now: float) -> None:
        """Record it."""
        self.steps.append(by)


class Judged(Sleeper):
    """A spoke whose verdict may fall at each wake."""

    def __init__(self, wheel: Wheel, *times: float) -> None:
        super().__init__(*times)
        self.wheel = wheel
        self.verdicts: list[bool] = []

    def wake(self, now: float) -> float | None:
        """Ask to be judged."""
        self.wheel.judging.append(self)
        return super().wake(now)

    def judge_now(self, now: float, crowded: bool) -> None:
        """Record it."""
        self.verdicts.append(crowded)


class WheelTests(SynchronousTestCase):
    """Everything on a clock that is moved by hand."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.wheel = wheel_for(self.clock)

    def advance(self, seconds: float) -> None:
        """Move on in steps that are finer than a slot, as a healthy loop does."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-9:
            self.clock.advance(min(SLOT / 4, end - self.clock.seconds()))

    def test_one_wheel_for_a_reactor(self) -> None:
        """Every connection of a reactor shares one wheel, other reactors have their own."""
        self.assertIs(wheel_for(self.clock), self.wheel)
        self.assertIsNot(wheel_for(Clock()), self.wheel)

    def test_a_wheel_keeps_no_reactor(self) -> None:
        """A reactor that nobody needs is collected, with its wheel."""
        clock = Clock()
        wheel_for(clock).put(sleeper := Sleeper(0.1), 0.1)
        clock.advance(1)
        self.assertEqual(len(sleeper.woken), 1)
        gone = weakref.ref(clock)
        del clock
        gc.collect()
        self.assertIsNone(gone())

    def test_wakes_in_the_slot(self) -> None:
        """A spoke wakes at its time, or at most one slot and one step of the loop later, never before."""
        for at in (0.001, 0.02, 0.0399, 0.5, 3.333, SLOTS * SLOT - 0.01):
            self.wheel.put(sleeper := Sleeper(at), at)
            self.wheel.put(Sleeper(at), at)
            start = self.clock.seconds()
            sleeper.times = [start + at]
            self.wheel.remove(sleeper)
            self.wheel.put(sleeper, start + at)
            self.advance(at + 2 * SLOT)
            self.assertEqual(len(sleeper.woken), 1, at)
            self.assertGreaterEqual(sleeper.woken[0], start + at)
            self.assertLess(sleeper.woken[0], start + at + 2 * SLOT)

    def test_far_times(self) -> None:
        """A time beyond the rim of the wheel is reached all the same."""
        at = 3.7 * SLOTS * SLOT
        self.wheel.put(sleeper := Sleeper(at), at)
        self.clock.pump([5.0] * 7)
        self.assertEqual(sleeper.woken, [])
        self.advance(at - self.clock.seconds() + 2 * SLOT)
        self.assertEqual(len(sleeper.woken), 1)

    def test_steps_of_a_slot(self) -> None:
        """A clock that is moved in steps as long as a slot, with sums that are rounded, wakes all and stands still."""
        calls = 0
        schedule = self.clock.callLater

        def counted(*arguments: object) -> object:
            nonlocal calls
            calls += 1
            self.assertLess(calls, 10_000, "it is woken again and again at the same moment")
            return schedule(*arguments)  # type: ignore[arg-type]

        self.patch(self.clock, "callLater", counted)
        times = [number * SLOT for number in range(1, 1000)]
        sleeper = Sleeper(*times)
        self.wheel.put(sleeper, times[0])
        for _ in range(1100):
            self.clock.advance(SLOT)
        self.assertEqual(len(sleeper.woken), len(times))

    def test_moved_earlier(self) -> None:
        """A spoke that is put again for an earlier time wakes then; for a later one it stays where it is."""
        self.wheel.put(sleeper := Sleeper(0.1, 5.0), 5.0)
        self.wheel.put(sleeper, 0.1)
        self.wheel.put(sleeper, 9.0)
        self.advance(0.2)
        self.assertEqual(len(sleeper.woken), 1)
        self.advance(5.0)
        self.assertEqual(len(sleeper.woken), 2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_timer_and_none_when_empty(self) -> None:
        """However many there are, the reactor has one call; an empty wheel has none."""
        sleepers = [Sleeper(0.1 * n) for n in range(1, 30)]
        for sleeper in sleepers:
            self.wheel.put(sleeper, sleeper.times[0])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for sleeper in sleepers:
            self.wheel.remove(sleeper)
            self.wheel.remove(sleeper)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.wheel.put(moved := Sleeper(), 5.0)
        self.wheel.put(moved, 0.5)
        self.wheel.remove(moved)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.advance(5)
        self.assertEqual([s.woken for s in sleepers if s.woken], [])

    def test_a_removed_spoke_is_not_kept(self) -> None:
        """The wheel holds no reference to what was taken out."""
        sleeper = Sleeper(9.0)
        other = Sleeper(9.0)
        self.wheel.put(sleeper, 9.0)
        self.wheel.put(other, 9.0)
        gone = weakref.ref(sleeper)
        self.wheel.remove(sleeper)
        del sleeper
        self.assertIsNone(gone())
        self.advance(9.1)
        self.assertEqual(len(other.woken), 1)

    def test_one_that_raises_harms_nobody(self) -> None:
        """A defect in one connection is logged, and the others of the same slot wake."""

        class Broken(Sleeper):
            def wake(self, now: float) -> float | None:
                raise ZeroDivisionError("mine")

        self.wheel.put(Broken(), 0.1)
        self.wheel.put(sleeper := Sleeper(0.1), 0.1)
        self.advance(0.2)
        self.assertEqual(len(sleeper.woken), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_removal_in_the_same_turn(self) -> None:
        """A spoke that takes out or moves another one of its own slot, or itself, does not confuse the wheel."""
        wheel = self.wheel
        victim, mover = Sleeper(0.1), Sleeper(0.1, 0.3)

        class Killer(Sleeper):
            def wake(self, now: float) -> float | None:
                wheel.remove(victim)
                wheel.put(mover, now + 0.2)
                return super().wake(now)

        killer = Killer(0.1, 0.3)
        for spoke in (killer, victim, mover):
            wheel.put(spoke, 0.1)
        self.advance(1)
        self.assertEqual((len(killer.woken), victim.woken, len(mover.woken)), (2, [], 2))

    def test_a_late_wake_is_a_gap(self) -> None:
        """From the moment at which the wheel meant to wake until it does, nobody could be heard; sleeping counts."""
        attention = self.wheel.attention
        self.wheel.put(Sleeper(1.0, 20.0), 1.0)
        self.clock.advance(4.0)  # three seconds late
        self.assertApproximates(attention.awake(0.0, 4.0, 0.25), 1.0 + 0.25, 2 * SLOT)
        self.assertApproximates(attention.longest(0.0), 3.0, 2 * SLOT)
        self.assertEqual(sum(self.wheel.lag.counts), 1)

    def test_all_are_known_before_a_verdict(self) -> None:
        """The verdicts of a turn fall after all of it was woken: nine of nine is a crowd, eight are not."""
        few = [Judged(self.wheel, 0.1) for _ in range(8)]
        for spoke in few:
            self.wheel.put(spoke, 0.1)
        self.wheel.watched = 8
        self.advance(0.2)
        self.assertEqual([spoke.verdicts for spoke in few], [[False]] * 8)
        many = [Judged(self.wheel, 0.4) for _ in range(9)]
        for spoke in many:
            self.wheel.put(spoke, 0.4)
        self.wheel.watched = 80
        self.advance(0.4)
        self.assertEqual([spoke.verdicts for spoke in many], [[True]] * 9)

    def test_one_that_cannot_be_judged(self) -> None:
        """A defect in one connection's verdict is logged, and the others of that turn get theirs."""

        class Broken(Judged):
            def judge_now(self, now: float, crowded: bool) -> None:
                raise ZeroDivisionError("mine")

        spokes = [Judged(self.wheel, 0.1), Broken(self.wheel, 0.1), Judged(self.wheel, 0.1)]
        for spoke in spokes:
            self.wheel.put(spoke, 0.1)
        self.advance(0.2)
        self.assertEqual([spoke.verdicts for spoke in spokes], [[False], [], [False]])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_stall_longer_than_the_wheel(self) -> None:
        """After a stall of many turns of the wheel everybody is woken once, and nobody is lost."""
        sleepers = [Sleeper(0.05 * n) for n in range(1, 200)]
        for sleeper in sleepers:
            self.wheel.put(sleeper, sleeper.times[0])
        self.clock.advance(100 * SLOTS * SLOT)
        self.assertEqual([len(sleeper.woken) for sleeper in sleepers], [1] * len(sleepers))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ClockTests(SynchronousTestCase):
    """The other clocks of the machine are looked at whenever the wheel wakes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.wall = self.asleep = 0.0
        clocks = Clocks(
            self.clock.seconds,
            lambda: self.clock.seconds() + self.wall + self.asleep,
            boot=lambda: self.clock.seconds() + self.asleep,
        )
        self.wheel = Wheel(self.clock, clocks)
        self.sleepers = [Sleeper(1.0, 2.0, 3.0), Sleeper(2.0, 3.0)]
        for sleeper in self.sleepers:
            self.wheel.put(sleeper, sleeper.times[0])

    def steps(self, seconds: float) -> list[list[float]]:
        """What each was told of by then."""
        self.clock.pump([SLOT / 2] * round(seconds / SLOT * 2))
        return [sleeper.steps for sleeper in self.sleepers]

    def test_set_forward(self) -> None:
        """Everybody in the wheel is told, once, by how much."""
        self.wall = 3600.0
        self.assertEqual(self.steps(1.1), [[3600.0]] * 2)
        self.assertEqual(self.steps(3.0), [[3600.0]] * 2)

    def test_set_back(self) -> None:
        """Timers on the wall clock stand still then: nobody is killed by them, so nobody was spared."""
        self.wall = -3600.0
        self.assertEqual(self.steps(3.5), [[], []])
        self.assertEqual([len(sleeper.woken) for sleeper in self.sleepers], [3, 2])

    def test_adjusted(self) -> None:
        """What adjtime makes of a clock in ten seconds is no step."""
        self.wall = 0.005
        self.assertEqual(self.steps(3.5), [[], []])

    def test_one_that_raises(self) -> None:
        """A defect of one does not keep the others from being told."""

        class Broken(Sleeper):
            """It has a defect."""

            def stepped(self, by: float, now: float) -> None:
                """Raise."""
                raise ZeroDivisionError("mine")

        self.wheel.put(Broken(0.5), 0.5)
        self.wheel.put(last := Sleeper(1.0), 1.0)
        self.wall = 10.0
        self.steps(1.1)
        self.assertEqual(last.steps, [10.0])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_while_it_was_empty(self) -> None:
        """What happened to the clocks while nobody was watched is nobody's affair."""
        self.steps(3.5)
        self.wall, self.asleep = 50.0, 60.0
        self.wheel.put(late := Sleeper(4.0), 4.0)
        self.steps(1.0)
        self.assertEqual((len(late.woken), late.steps), (1, []))
        self.assertLess(self.wheel.attention.resumed_at, 0.0)

    def test_a_clock_of_ones_own(self) -> None:
        """Where the application gave the clock that judges, what the others do says nothing about it."""
        wheel = wheel_for(reactor := Clock(), lambda: reactor.seconds() / 10)
        wheel.put(slow := Sleeper(0.1, 0.2), 0.1)
        reactor.pump([0.05] * 60)
        self.assertEqual((len(slow.woken), slow.steps), (2, []))
        self.assertLess(wheel.attention.resumed_at, 0.0)

    def test_suspended(self) -> None:
        """The boot clock went on without ours: that is no step of the wall clock, though it went on, too."""
        self.asleep = 7200.0
        self.assertEqual(self.steps(1.1), [[], []])
        self.assertEqual(self.wheel.attention.suspended, 7200.0)
        self.assertGreater(self.wheel.attention.resumed_at, 0.9)


class ModelTests(SynchronousTestCase):
    """Against a list that is searched."""

    @settings(deadline=None, max_examples=150)
    @given(
        st.lists(
            st.tuples(st.sampled_from(["put", "remove", "advance"]), st.integers(0, 5), st.floats(0.0, 30.0)),
            max_size=60,
        )
    )
    def test_like_a_list(self, steps: list[tuple[str, int, float]]) -> None:
        """Whatever is put, moved and removed: each wakes at its earliest time, within a slot of a healthy loop."""
        clock = Clock()
        wheel = wheel_for(clock)
        sleepers = [Sleeper() for _ in range(6)]
        due: dict[int, float] = {}
        for what, index, seconds in steps:
            sleeper = sleepers[index]
            if what == "put":
                at = clock.seconds() + seconds
                due[index] = min(due.get(index, at), at)
                sleeper.times = [due[index]]
                wheel.put(sleeper, at)
            elif what == "remove":
                due.pop(index, None)
                wheel.remove(sleeper)
            else:
                end = clock.seconds() + min(seconds, 3.0)
                while clock.seconds() < end:
                    clock.advance(0.01)
                for late in [one for one, at in due.items() if at <= clock.seconds() - 2 * SLOT]:
                    self.assertGreaterEqual(sleepers[late].woken[-1], due[late])
                    del due[late]
                for one in [one for one in due if sleepers[one].tick < 0]:
                    self.assertGreaterEqual(sleepers[one].woken[-1], due[one])
                    del due[one]
        self.assertEqual({one for one, sleeper in enumerate(sleepers) if sleeper.tick >= 0}, set(due))
        self.assertEqual(bool(clock.getDelayedCalls()), bool(due))
