"""When the peers of a server that fell silent are given up."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.watch.stores.orphans import LONGEST_LOOK, RETURN, RETURN_TO_NEWCOMER, Orphans

DETECT = 1.5


class OrphanTests(SynchronousTestCase):
    """Looks at leases, in virtual time."""

    def setUp(self) -> None:
        """Nothing seen yet."""
        self.orphans = Orphans()
        self.now = 100.0

    def look(self, seconds: float, leases: dict[str, float], holders: tuple[str, ...] = ("a", "b")) -> None:
        """Look every half a second for so long."""
        for _ in range(round(seconds * 2)):
            self.now += 0.5
            self.orphans.look(self.now, leases, holders)

    def test_living(self) -> None:
        """Whoever renews its lease is not lost."""
        self.look(100.0, {"a": 2.0, "b": 0.1})
        self.assertEqual((self.orphans.lost(), self.orphans.given_up("a", DETECT)), ([], False))

    def test_lost(self) -> None:
        """Of a server that we saw living, peers are given up when they had their own detection time and some."""
        self.look(1.0, {"a": 2.0, "b": 2.0})
        self.look(0.5, {"a": 2.0, "b": -0.1})
        self.assertEqual((self.orphans.lost(), self.orphans.lapsed("b")), (["b"], True))
        self.look(DETECT + RETURN - 0.5, {"a": 2.0, "b": -9.0})
        self.assertFalse(self.orphans.given_up("b", DETECT))
        self.look(0.5, {"a": 2.0})  # a lease that is forgotten has lapsed as well
        self.assertTrue(self.orphans.given_up("b", DETECT))
        self.assertFalse(self.orphans.given_up("b", 300.0))
        self.look(0.5, {"a": 2.0, "b": 3.0})
        self.assertFalse(self.orphans.given_up("b", DETECT))

    def test_never_seen(self) -> None:
        """Of a server that was lost before we came, peers get the time of the longest pause between two attempts."""
        self.look(RETURN_TO_NEWCOMER + DETECT, {"a": 2.0})
        self.assertFalse(self.orphans.given_up("b", DETECT))
        self.look(1.0, {"a": 2.0})
        self.assertTrue(self.orphans.given_up("b", DETECT))

    def test_blind(self) -> None:
        """After an outage of the store the waiting begins anew."""
        self.look(1.0, {"a": 2.0, "b": 2.0})
        self.look(RETURN, {"a": 2.0})
        self.orphans.blind()
        self.assertEqual(self.orphans.lost(), [])
        self.now += 1000.0
        self.look(DETECT + RETURN, {"a": 2.0})
        self.assertFalse(self.orphans.given_up("b", DETECT))
        self.look(1.0, {"a": 2.0})
        self.assertTrue(self.orphans.given_up("b", DETECT))

    def test_stopped(self) -> None:
        """That we did not look for an hour counts as no more than a second."""
        self.look(1.0, {"a": 2.0, "b": 2.0})
        self.look(0.5, {"a": 2.0})
        self.now += 3600.0
        self.look(0.5, {"a": 2.0})
        self.assertFalse(self.orphans.given_up("b", LONGEST_LOOK))

    def test_nobody_left(self) -> None:
        """A server that holds nobody any more is not watched, and takes no memory."""
        self.look(1.0, {"a": 2.0, "b": 2.0})
        self.look(5.0, {"a": 2.0}, ())
        self.assertEqual((self.orphans.lost(), self.orphans._seen), ([], {"a"}))
