"""What wakes the wheel: which alarm on which reactor, and that none is left."""

from __future__ import annotations

import os
import select
import time
from typing import Any

from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor, MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from heartbeat.interfaces import IClocked
from heartbeat.net import tick
from heartbeat.net.tick import ITickSource, ReactorTick, TimerDescriptor, tick_for

WITHOUT = None if tick._create is not None else "no timerfd on this platform, or it is switched off"


@implementer(IReactorFDSet)
class Descriptors:
    """A reactor that watches descriptors, and has the wall clock that every reactor of Twisted's has."""

    def __init__(self) -> None:
        self.readers: list[Any] = []
        self.calls: list[Any] = []

    def seconds(self) -> float:
        """As Twisted's."""
        return time.time()

    def addReader(self, reader: Any) -> None:
        """Watch it."""
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        """Watch it no more."""
        self.readers.remove(reader)

    def callFromThread(self, call: Any) -> None:
        """Calls of the next turn."""
        self.calls.append(call)


class ChoiceTests(SynchronousTestCase):
    """By what the reactor's timers run on."""

    def kind(self, reactor: Any) -> type:
        """Of the alarm that it gets."""
        return type(tick_for(reactor, lambda: None))

    def test_the_timers_of_tests(self) -> None:
        """A clock that is moved by hand, and a reactor with clocks of its own, are woken by their own timers."""

        @implementer(IClocked)
        class Clocked(Descriptors):
            """A simulated one."""

        self.assertEqual([self.kind(one()) for one in (Clock, MemoryReactorClock, Clocked)], [ReactorTick] * 3)

    def test_a_steady_reactor(self) -> None:
        """Where the application set ``reactor.seconds = time.monotonic`` its timers are as good as any."""
        reactor = Descriptors()
        reactor.seconds = time.monotonic  # type: ignore[method-assign]  # as applications do it
        self.assertIs(self.kind(reactor), ReactorTick)

    def test_a_reactor_without_descriptors(self) -> None:
        """IOCP has none to watch."""
        self.assertIs(self.kind(object()), ReactorTick)

    def test_a_reactor_on_the_wall_clock(self) -> None:
        """Its timers stop for an hour when the clock is set back by one: a descriptor wakes us."""
        wanted = TimerDescriptor if WITHOUT is None else ReactorTick
        self.assertEqual([self.kind(one()) for one in (Descriptors, MemoryReactor)], [wanted] * 2)

    def test_no_such_function(self) -> None:
        """Other systems have no timerfd."""
        self.patch(tick, "_create", None)
        self.assertIs(self.kind(Descriptors()), ReactorTick)

    def test_one_that_brings_its_own(self) -> None:
        """A reactor that provides ITickSource is asked."""
        mine = object()

        @implementer(ITickSource)
        class Source:
            """It knows best."""

            def heartbeat_tick(self, turn: Any) -> Any:
                """Mine."""
                return mine

        self.assertIs(tick_for(Source(), lambda: None), mine)


class ReactorTickTests(SynchronousTestCase):
    """By callLater."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.turns: list[float] = []
        self.alarm = ReactorTick(self.clock, lambda: self.turns.append(self.clock.seconds()))

    def test_goes_off_once(self) -> None:
        """At the time that it was last armed for, earlier or later, with one timer."""
        for first, last in ((1.0, 2.0), (2.0, 1.0)):
            begun = self.clock.seconds()
            self.alarm.arm(first)
            self.alarm.arm(last)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
            self.clock.pump([0.5] * 10)
            self.assertEqual(self.turns, [begun + last])
            self.assertFalse(self.alarm.armed)
            self.turns.clear()

    def test_stops(self) -> None:
        """Nothing is left, and twice is once."""
        self.alarm.arm(1.0)
        self.alarm.stop()
        self.alarm.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_later(self) -> None:
        """In the next turn."""
        self.alarm.later(lambda: self.turns.append(-1.0))
        self.assertEqual(self.turns, [])
        self.clock.advance(0)
        self.assertEqual(self.turns, [-1.0])


class TimerDescriptorTests(SynchronousTestCase):
    """By timerfd."""

    skip = WITHOUT

    def setUp(self) -> None:
        self.reactor = Descriptors()
        self.turns = 0
        self.alarm = TimerDescriptor(self.reactor, self.turn)
        self.addCleanup(self.alarm.stop)

    def turn(self) -> None:
        """It went off."""
        self.turns += 1

    def expired(self, wait: float = 5.0) -> bool:
        """Whether a poll says so."""
        return bool(select.select([self.alarm], [], [], wait)[0])

    def test_goes_off_once(self) -> None:
        """A poll sees it, one read and it is quiet again."""
        for delay in (0.0, 0.001):
            self.turns = 0
            self.alarm.arm(delay)
            self.assertTrue(self.expired())
            self.alarm.doRead()
            self.assertEqual((self.turns, self.alarm.armed), (1, False))
            self.assertFalse(self.expired(0))

    def test_armed_anew(self) -> None:
        """What a poll saw before it was armed for later is not a turn."""
        self.alarm.arm(0.0)
        self.assertTrue(self.expired())
        self.alarm.arm(3600.0)
        self.alarm.doRead()
        self.assertEqual((self.turns, self.alarm.armed), (0, True))

    def test_nothing_is_left(self) -> None:
        """Stopped, it is neither in the reactor nor in the process; armed again, it is another one."""
        self.assertEqual((self.alarm.fileno(), self.reactor.readers), (-1, []))
        for stop in (self.alarm.stop, lambda: self.alarm.connectionLost(Failure(ConnectionError()))):
            self.alarm.arm(1.0)
            descriptor = self.alarm.fileno()
            os.fstat(descriptor)
            self.assertEqual(self.reactor.readers, [self.alarm])
            stop()
            stop()
            self.assertEqual((self.alarm.fileno(), self.reactor.readers), (-1, []))
            self.assertRaises(OSError, os.fstat, descriptor)

    def test_is_not_inherited(self) -> None:
        """A child process does not get it."""
        self.alarm.arm(1.0)
        self.assertFalse(os.get_inheritable(self.alarm.fileno()))

    def test_later(self) -> None:
        """By the queue that knows no clock."""
        self.alarm.later(self.turn)
        (call,) = self.reactor.calls
        call()
        self.assertEqual(self.turns, 1)
