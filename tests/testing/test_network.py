"""Virtual time and paths."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.testing.faults import Delay, OneWay, SilentDrop
from heartbeat.testing.hosts import Host
from heartbeat.testing.network import DELAY, Network, Timeline
from heartbeat.testing.segments import Segment


class TimelineTests(SynchronousTestCase):
    """The queue of events."""

    def setUp(self) -> None:
        """An empty one."""
        self.timeline = Timeline()
        self.seen: list[tuple[str, float]] = []

    def note(self, name: str) -> None:
        """Something happened."""
        self.seen.append((name, self.timeline.now))

    def run_to(self, limit: float) -> None:
        """Let time pass."""
        while self.timeline.step(limit):
            pass

    def test_order(self) -> None:
        """Events happen in the order of their times, and those of one moment in the order in which they were put in."""
        for name, at in (("c", 2.0), ("a", 1.0), ("d", 2.0), ("b", 1.0)):
            self.timeline.at(at, lambda name=name: self.note(name))
        self.run_to(5.0)
        self.assertEqual(self.seen, [("a", 1.0), ("b", 1.0), ("c", 2.0), ("d", 2.0)])
        self.assertEqual(self.timeline.now, 5.0)

    def test_the_limit(self) -> None:
        """What is due later stays; time stops at the limit."""
        self.timeline.at(2.0, lambda: self.note("later"))
        self.run_to(1.0)
        self.assertEqual((self.seen, self.timeline.now), ([], 1.0))
        self.run_to(2.0)
        self.assertEqual(self.seen, [("later", 2.0)])

    def test_the_past_is_now(self) -> None:
        """Time never runs backward."""
        self.run_to(3.0)
        self.timeline.at(1.0, lambda: self.note("late"))
        self.run_to(4.0)
        self.assertEqual(self.seen, [("late", 3.0)])


class PathTests(SynchronousTestCase):
    """What lies between two hosts."""

    def setUp(self) -> None:
        """Two hosts."""
        self.network = Network(random.Random(1).random)
        self.a, self.b = Host(self.network, "a"), Host(self.network, "b")
        self.segment = Segment((self.a.address, 1), (self.b.address, 2))

    def test_one_path(self) -> None:
        """Both orders, hosts and names: the same object."""
        path = self.network.between(self.a, self.b)
        for other in (self.network.between(self.b, self.a), self.network.between("a", "b")):
            self.assertIs(other, path)

    def test_unknown_hosts(self) -> None:
        """A name that is none is refused, and a second host of one name too."""
        self.assertRaises(ValueError, self.network.between, "a", "nobody")
        self.assertRaises(ValueError, Host, self.network, "a")

    def test_faults_add_up(self) -> None:
        """Delays are summed on top of the network's own; one drop drops."""
        path = self.network.between("a", "b")
        path.add(Delay(0.1))
        path.add(Delay(0.2))
        self.assertAlmostEqual(path.delay(self.segment, 0.0, "b") or 0.0, DELAY + 0.3)
        drop = path.add(OneWay(towards=self.b))
        self.assertIsNone(path.delay(self.segment, 0.0, "b"))
        self.assertIsNotNone(path.delay(self.segment, 0.0, "a"))
        path.remove(drop)
        self.assertIsNotNone(path.delay(self.segment, 0.0, "b"))

    def test_removal(self) -> None:
        """The oldest of equal faults goes, one that is not there is an error, and clear takes all."""
        path = self.network.between("a", "b")
        path.add(Delay(0.1))
        path.add(SilentDrop())
        path.add(Delay(0.1))
        path.remove(Delay(0.1))
        self.assertEqual(path.faults, (SilentDrop(), Delay(0.1)))
        self.assertRaises(ValueError, path.remove, Delay(9.0))
        path.clear()
        self.assertEqual(path.faults, ())

    def test_a_fault_that_does_not_fit_is_refused(self) -> None:
        """One that names a third host would do nothing, in silence."""
        Host(self.network, "c")
        path = self.network.between("a", "b")
        self.assertRaises(ValueError, path.add, OneWay(towards="c"))
        self.assertEqual(path.faults, ())
        self.assertIn("a - b", repr(path))

    def test_addresses(self) -> None:
        """Each host has its own address, and is found by it and by its name."""
        self.assertEqual((self.a.address, self.b.address), ("10.0.0.1", "10.0.0.2"))
        self.assertIs(self.network.find("10.0.0.2"), self.b)
        self.assertIs(self.network.find("a"), self.a)
        self.assertIsNone(self.network.find("c"))
