"""What each fault does to a segment, without a network."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.testing.faults import (
    ClockStep,
    Delay,
    Effect,
    Loss,
    NatExpiry,
    OneWay,
    Partition,
    PathFault,
    SilentDrop,
    Stall,
)
from heartbeat.testing.segments import Segment

A, B = ("10.0.0.1", 1000), ("10.0.0.2", 7600)
THERE, BACK = Segment(A, B, 5, 1), Segment(B, A, 9, 1)


def effect(fault: PathFault, now: float = 0.0) -> Effect:
    """The effect of a fault that was added at ``now``, with the chance of seed 1."""
    return fault.effect(now, random.Random(1).random)


class PathFaultTests(SynchronousTestCase):
    """Faults of a path."""

    def test_silent_drop(self) -> None:
        """Neither direction gets through; a partition is the same."""
        for fault in (SilentDrop(), Partition()):
            self.assertIsNone(effect(fault)(THERE, 0.0, "b"))
            self.assertIsNone(effect(fault)(BACK, 0.0, "a"))

    def test_one_way(self) -> None:
        """Only the direction towards the named host is silent."""
        drops = effect(OneWay(towards="b"))
        self.assertIsNone(drops(THERE, 0.0, "b"))
        self.assertEqual(drops(BACK, 0.0, "a"), 0.0)

    def test_one_way_must_fit(self) -> None:
        """A host that the path does not lead to is a mistake of the test, and is named."""
        OneWay(towards="b").check(("a", "b"))
        error = self.assertRaises(ValueError, OneWay(towards="c").check, ("a", "b"))
        self.assertIn("'c'", str(error))

    def test_delay(self) -> None:
        """The delay is exact without jitter, and from it to it and the jitter with."""
        self.assertEqual(effect(Delay(0.05))(THERE, 0.0, "b"), 0.05)
        jittery = effect(Delay(0.05, jitter=0.02))
        drawn = [jittery(THERE, 0.0, "b") or 0.0 for _ in range(200)]
        self.assertTrue(all(0.05 <= one <= 0.07 for one in drawn))
        self.assertGreater(max(drawn) - min(drawn), 0.015)

    def test_loss(self) -> None:
        """About the ratio is lost; none and all are exact."""
        lossy = effect(Loss(0.3))
        lost = sum(lossy(THERE, 0.0, "b") is None for _ in range(2000))
        self.assertTrue(500 < lost < 700, lost)
        self.assertEqual(effect(Loss(0.0))(THERE, 0.0, "b"), 0.0)
        self.assertIsNone(effect(Loss(1.0))(THERE, 0.0, "b"))

    def test_nat_expiry(self) -> None:
        """Traffic within the idle time keeps the mapping; after it neither end gets through, however often it tries."""
        router = effect(NatExpiry(idle=30.0), now=100.0)
        for at in (120.0, 150.0, 180.0):
            self.assertEqual(router(THERE, at, "b"), 0.0)
            self.assertEqual(router(BACK, at, "a"), 0.0)
        self.assertIsNone(router(BACK, 210.1, "a"))
        self.assertIsNone(router(THERE, 210.2, "b"))
        self.assertIsNone(router(BACK, 210.3, "a"))

    def test_nat_expiry_spares_new_connections(self) -> None:
        """A SYN makes a mapping, and other connections of the same hosts have their own."""
        router = effect(NatExpiry(idle=30.0))
        self.assertIsNone(router(THERE, 31.0, "b"))
        fresh = Segment(("10.0.0.1", 1001), B, 0, syn=True)
        self.assertEqual(router(fresh, 32.0, "b"), 0.0)
        self.assertEqual(router(Segment(B, fresh.source, 0, 1, syn=True), 33.0, "a"), 0.0)
        self.assertEqual(router(Segment(fresh.source, B, 1, 1), 60.0, "b"), 0.0)
        self.assertIsNone(router(THERE, 60.0, "b"))

    def test_faults_are_values(self) -> None:
        """Equal settings are equal faults, so that one can be removed by naming it again; they show what they are."""
        self.assertEqual(Delay(0.1), Delay(0.1, jitter=0.0))
        self.assertEqual(repr(Loss(0.5)), "Loss(ratio=0.5)")
        self.assertNotEqual(SilentDrop(), Partition())

    def test_wrong_values_are_refused(self) -> None:
        """Not-a-number, negative and too large are refused when the fault is made, by the name of the setting."""
        for make, name in (
            (lambda: Delay(-1.0), "seconds"),
            (lambda: Delay(0.0, jitter=float("nan")), "jitter"),
            (lambda: Loss(1.1), "ratio"),
            (lambda: NatExpiry(float("inf")), "idle"),
            (lambda: Stall(-0.1), "seconds"),
            (lambda: ClockStep(float("nan")), "seconds"),
        ):
            self.assertIn(name, str(self.assertRaises(ValueError, make)))
