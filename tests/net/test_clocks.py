"""Which clock judges the connections of which reactor."""

from __future__ import annotations

import random
import time
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from heartbeat.interfaces import IClocked
from heartbeat.net.clocks import clocks_for
from heartbeat.net.wheel import wheel_for


@implementer(IClocked)
class Clocked:
    """A reactor that brings clocks of its own."""

    def monotonic(self) -> float:
        """Seconds that never step."""
        return 41.0

    def wall(self) -> float:
        """Seconds since the epoch."""
        return 1.7e9

    def draw(self) -> float:
        """Chance."""
        return 0.25


class ClocksTests(SynchronousTestCase):
    """Chosen once, by the kind of reactor."""

    def test_a_real_reactor(self) -> None:
        """Monotonic time judges and wall time is shown; ``reactor.seconds``, which may step, is not asked."""

        class Reactor:
            def seconds(self) -> float:
                raise AssertionError("the wall clock must not judge")

        clocks = clocks_for(Reactor())
        self.assertIs(clocks.seconds, time.monotonic)
        self.assertIs(clocks.wall, time.time)
        self.assertIs(clocks.draw, random.random)

    def test_a_clock_of_a_test(self) -> None:
        """A reactor that is a task.Clock is its own time, without any further argument."""
        kinds: tuple[Any, ...] = (Clock, MemoryReactorClock)
        for kind in kinds:
            reactor = kind()
            clocks = clocks_for(reactor)
            reactor.advance(2.5)
            self.assertEqual((clocks.seconds(), clocks.wall()), (2.5, 2.5))

    def test_a_reactor_with_clocks(self) -> None:
        """A reactor that provides IClocked is believed."""
        clocks = clocks_for(Clocked())
        self.assertEqual((clocks.seconds(), clocks.wall(), clocks.draw()), (41.0, 1.7e9, 0.25))

    def test_overridden(self) -> None:
        """``seconds=`` replaces the monotonic clock, and only that, on each kind of reactor."""
        mine = (2.0).__float__
        self.assertEqual([clocks_for(one, mine).seconds() for one in (Clocked(), Clock(), object())], [2.0] * 3)
        self.assertEqual(clocks_for(Clocked(), mine).wall(), 1.7e9)
        self.assertEqual(clocks_for(Clock(), mine).wall(), 0.0)
        self.assertIs(clocks_for(object(), mine).wall, time.time)

    def test_once_per_reactor(self) -> None:
        """The first who asks for the wheel of a reactor chooses its clock; all connections are judged by that one."""
        reactor = Clock()
        wheel = wheel_for(reactor, (7.0).__float__)
        self.assertIs(wheel_for(reactor, time.monotonic), wheel)
        self.assertEqual((wheel.seconds(), wheel.clocks.seconds()), (7.0, 7.0))
