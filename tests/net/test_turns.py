"""Two turns of the reactor, for all who wait, with one call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.net.turns import Turns


class Reactor:
    """Turned by hand. As in Twisted, what is called for during a turn runs in the next one."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def callLater(self, delay: float, call: Callable[[], None]) -> None:
        """Only turns are counted here."""
        assert delay == 0
        self.calls.append(call)

    def turn(self, times: int = 1) -> None:
        """Run what is due, so many times."""
        for _ in range(times):
            due, self.calls = self.calls, []
            for call in due:
                call()


class TurnsTests(SynchronousTestCase):
    """Who is called, and when."""

    def setUp(self) -> None:
        """A reactor and somebody who waits on it."""
        self.reactor = Reactor()
        self.turns = Turns(partial(self.reactor.callLater, 0))
        self.called: list[str] = []

    def wait(self, name: str) -> None:
        """Wait for two turns."""
        self.turns.after_two(lambda: self.called.append(name))

    def test_after_two_turns(self) -> None:
        """Not in the first, because a call from an I/O callback runs before the poll that sends."""
        self.wait("one")
        self.assertEqual(self.called, [])
        self.reactor.turn()
        self.assertEqual(self.called, [])
        self.reactor.turn()
        self.assertEqual(self.called, ["one"])
        self.assertEqual(self.reactor.calls, [])

    def test_one_call_for_all(self) -> None:
        """However many wait, the reactor has one call, and they are called in their order."""
        for number in range(100):
            self.wait(str(number))
        self.assertEqual(len(self.reactor.calls), 1)
        self.reactor.turn()
        self.assertEqual(len(self.reactor.calls), 1)
        self.reactor.turn()
        self.assertEqual(self.called, [str(number) for number in range(100)])

    def test_each_has_two_turns(self) -> None:
        """Who comes a turn later waits a turn longer, and nobody is called twice."""
        self.wait("one")
        self.reactor.turn()
        self.wait("two")
        self.reactor.turn()
        self.assertEqual(self.called, ["one"])
        self.wait("three")
        self.reactor.turn()
        self.assertEqual(self.called, ["one", "two"])
        self.reactor.turn()
        self.assertEqual(self.called, ["one", "two", "three"])
        self.assertEqual(self.reactor.calls, [])

    def test_from_within(self) -> None:
        """A callback that waits again gets two turns of its own."""
        self.turns.after_two(lambda: self.wait("again"))
        self.reactor.turn(2)
        self.assertEqual(self.called, [])
        self.reactor.turn(2)
        self.assertEqual(self.called, ["again"])
        self.assertEqual(self.reactor.calls, [])

    def test_idle(self) -> None:
        """While nobody waits there is no call."""
        self.wait("one")
        self.reactor.turn(5)
        self.wait("two")
        self.reactor.turn(5)
        self.assertEqual(self.called, ["one", "two"])
        self.assertEqual(self.reactor.calls, [])

    def test_one_that_raises(self) -> None:
        """A defect of one connection does not keep the others of the same turn from being told."""

        def broken() -> None:
            raise ZeroDivisionError("mine")

        self.wait("before")
        self.turns.after_two(broken)
        self.wait("after")
        self.reactor.turn(3)
        self.assertEqual(self.called, ["before", "after"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
