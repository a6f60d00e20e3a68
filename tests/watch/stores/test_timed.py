"""Every call of a store is bounded and measured."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.errors import StoreUnavailable
from heartbeat.interfaces import IPeerStore
from heartbeat.watch.stores.timed import CALL_TIMEOUT, OPERATIONS, OUTCOMES, Timed


class Answers:
    """A store that answers as it is told to."""

    backend = "memory"
    shared = True

    def __init__(self) -> None:
        self.answer: Any = lambda: succeed("x")

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.answer()


class TimedTests(SynchronousTestCase):
    """The wrapper by itself."""

    def setUp(self) -> None:
        """Around a store."""
        self.clock = Clock()
        self.store = Answers()
        self.timed = Timed(self.store, self.clock, self.clock.seconds)

    def calls(self) -> dict[str, Any]:
        """Each operation, ready to be called."""
        return {
            "open": lambda: self.timed.open(lambda: None),
            "renew": lambda: self.timed.renew("h", 1.0),
            "release": lambda: self.timed.release("h"),
            "token_key": lambda: self.timed.token_key(b"k"),
            "write": lambda: self.timed.write([], []),
            "settle": lambda: self.timed.settle([]),
            "changes": lambda: self.timed.changes(0, 1),
            "recall": lambda: self.timed.recall("a"),
        }

    def test_all(self) -> None:
        """All are passed on and measured."""
        self.assertTrue(IPeerStore.providedBy(self.timed))
        self.assertEqual((self.timed.backend, self.timed.shared), ("memory", True))
        self.assertEqual(tuple(self.calls()), OPERATIONS)
        for call in self.calls().values():
            self.assertEqual(self.successResultOf(call()), "x")
        self.assertEqual(set(self.timed.durations), {(name, "ok") for name in OPERATIONS})
        self.assertEqual(self.successResultOf(self.timed.close()), "x")

    def test_outcomes(self) -> None:
        """How long it took is counted by how it ended; a call that is not answered ends in time."""
        for outcome, answer in (("ok", succeed(1)), ("error", fail(StoreUnavailable("no"))), ("timeout", Deferred())):
            self.store.answer = lambda answer=answer: answer
            called = self.timed.recall("a")
            if outcome == "timeout":
                self.clock.advance(CALL_TIMEOUT - 0.1)
                self.assertNoResult(called)
                self.clock.advance(0.1)
            if outcome != "ok":
                self.failureResultOf(called, StoreUnavailable)
        self.assertEqual(tuple(outcome for _, outcome in self.timed.durations), OUTCOMES)
        self.assertEqual(self.timed.durations["recall", "timeout"].total, CALL_TIMEOUT)
        self.assertEqual(self.clock.getDelayedCalls(), [])
