"""Deaths that may be our own fault."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.watch.stores.doubt import HOLD, STOPPED, Doubt


class DoubtTests(SynchronousTestCase):
    """In virtual time; a turn begins every half a second unless we are stopped."""

    def setUp(self) -> None:
        """All is well."""
        self.now = 100.0
        self.doubt = Doubt(lambda: self.now)
        self.done: list[str] = []
        self.turns(2.0)

    def turns(self, seconds: float) -> None:
        """Time passes, and we run."""
        for _ in range(round(seconds * 2)):
            self.now += 0.5
            self.doubt.look()

    def postponed(self, name: str) -> bool:
        """One death."""
        return self.doubt.postpone(lambda: self.done.append(name))

    def test_well(self) -> None:
        """While we run nothing is held back, not even after a hiccup."""
        self.assertFalse(self.postponed("a"))
        self.now += STOPPED
        self.assertFalse(self.postponed("b"))
        self.turns(10.0)
        self.assertEqual(self.done, [])

    def test_stopped(self) -> None:
        """What is seen before or after the first turn behind a stop waits its time, in order; what comes later does
        not wait."""
        self.now += 10.0
        self.assertTrue(self.postponed("a"))
        self.doubt.look()
        self.assertTrue(self.postponed("b"))
        self.turns(HOLD - 0.5)
        self.assertEqual(self.done, [])
        self.assertTrue(self.postponed("c"))
        self.turns(0.5)
        self.assertEqual(self.done, ["a", "b"])
        self.assertFalse(self.postponed("d"))
        self.turns(HOLD)
        self.assertEqual(self.done, ["a", "b", "c"])

    def test_settled(self) -> None:
        """At the end of a server all is done at once."""
        self.now += 10.0
        self.postponed("a")
        self.doubt.settle()
        self.assertEqual(self.done, ["a"])
        self.turns(10.0)
        self.assertEqual(self.done, ["a"])
