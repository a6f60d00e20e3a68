"""Tests of the drain by itself, in virtual time."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.apps.server.drain import GRACE, Drain
from heartbeat.net import HeartbeatFactory


class Busy:
    """A factory that is never without connections: somebody new comes in at every moment."""

    connections = 1

    def __init__(self) -> None:
        self.timeouts: list[float] = []
        self.spreads: list[float] = []

    def drain(self, timeout: float, *, spread: float) -> Deferred[None]:
        """Nobody knows when."""
        self.timeouts.append(timeout)
        self.spreads.append(spread)
        return Deferred()


class DrainTests(SynchronousTestCase):
    """How long it may take."""

    def setUp(self) -> None:
        """A drain of a busy factory."""
        self.clock = MemoryReactorClock()
        self.factory = Busy()
        self.drain = Drain(self.clock, cast(HeartbeatFactory, self.factory), 10.0)

    def test_it_ends(self) -> None:
        """However many come in meanwhile, a drain is over soon after its time is up, and leaves no timer."""
        done = self.drain.begin()
        self.clock.advance(10.0)
        self.assertNoResult(done)
        self.clock.advance(GRACE)
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_timeout_may_change(self) -> None:
        """The timeout that counts is the one of the moment at which it begins."""
        self.drain.timeout = 3.0
        self.drain.begin()
        self.assertEqual((self.factory.timeouts, self.factory.spreads), ([3.0], [0.0]))
        self.clock.advance(3.0 + GRACE)

    def test_the_spread_may_change(self) -> None:
        """So is the spread of the returns."""
        self.drain.spread = 20.0
        self.drain.begin()
        self.assertEqual(self.factory.spreads, [20.0])
        self.clock.advance(10.0 + GRACE)

    def test_what_comes_first(self) -> None:
        """Nobody is sent away before what is to be stopped first has stopped, but newcomers are not wanted any more."""
        first: Deferred[Any] = Deferred()
        self.drain.first = lambda: first
        self.assertIsNone(self.drain.readiness())
        self.drain.begin()
        self.assertEqual(self.drain.readiness(), "draining")
        self.assertEqual(self.factory.timeouts, [])
        first.callback(None)
        self.assertEqual(self.factory.timeouts, [10.0])
        self.clock.advance(10.0 + GRACE)

    def test_nothing_to_wait_for(self) -> None:
        """Who has no connections is drained at once."""
        self.factory.drain = lambda timeout, *, spread: succeed(None)  # type: ignore[method-assign]
        self.factory.connections = 0
        self.successResultOf(self.drain.begin())
        self.assertEqual(self.clock.getDelayedCalls(), [])
