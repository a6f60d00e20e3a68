"""What waits for a store that is away."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.peer import Peer
from heartbeat.watch.stores import journal as journal_module
from heartbeat.watch.stores.journal import Batch, Journal
from tests.watch.crowd import Hands, Somebody
from tests.watch.stores.contract import failure


class JournalTests(SynchronousTestCase):
    """The journal by itself."""

    def setUp(self) -> None:
        """An empty one; what joined later ranks higher."""
        self.hands = Hands()
        self.ranks: dict[Peer, tuple[str, int]] = {}
        self.journal = Journal(self.ranks.__getitem__)

    def somebody(self, id: str) -> Somebody:
        """One more peer."""
        one = Somebody(self.hands, id).join()
        self.ranks[one.peer] = "s", len(self.ranks)
        return one

    def taken(self, most: int = 100) -> tuple[list[str], list[int]]:
        """What is next, by name and number."""
        batch: Any = self.journal.take(most)
        return [one.id for one in batch.peers], [one.id for one in batch.failures]

    def test_nothing(self) -> None:
        """Nothing waits in the beginning, nor after all was taken."""
        self.assertIsNone(self.journal.take(10))
        self.journal.add(self.somebody("a").peer)
        self.assertEqual((len(self.journal), self.taken(), len(self.journal)), (1, (["a"], []), 0))
        self.assertIsNone(self.journal.take(10))

    def test_one_of_each_peer(self) -> None:
        """However often a peer changes and comes back, its newest connection waits once; an older one that ends later
        does not take its place."""
        older, newer = self.somebody("a"), self.somebody("a")
        for one in (older, newer, older, newer, newer, older):
            self.journal.add(one.peer)
        older.die()
        self.journal.add(older.peer)
        batch = self.journal.take(10)
        assert batch is not None
        self.assertEqual(batch, Batch([newer.peer], []))

    def test_order_and_steps(self) -> None:
        """Failures go first and in their order, then the ends, then the others, no more at once than is asked for."""
        dead = self.somebody("d")
        for one in ("x", "y"):
            self.journal.add(self.somebody(one).peer)
        dead.die()
        self.journal.add(dead.peer)
        for number in (3, 1, 2):
            self.journal.fail(failure(number))
        self.assertEqual(self.taken(2), ([], [3, 1]))
        self.assertEqual(self.taken(3), (["d", "x"], [2]))
        self.assertEqual(self.taken(3), (["y"], []))

    def test_put_back(self) -> None:
        """What could not be written waits again, in front; what is newer by then stays newer."""
        one, two = self.somebody("a"), self.somebody("b")
        self.journal.add(one.peer)
        self.journal.add(two.peer)
        self.journal.fail(failure(1, reason="old"))
        self.journal.fail(failure(2))
        batch = self.journal.take(10)
        assert batch is not None
        newer = self.somebody("a")
        self.journal.add(newer.peer)
        self.journal.fail(failure(3))
        self.journal.fail(failure(1, reason="new"))
        self.journal.put_back(batch)
        again: Any = self.journal.take(10)
        self.assertEqual([one.id for one in again.failures], [1, 2, 3])
        self.assertIn("new", again.failures[0].text)
        self.assertEqual({one.id: one for one in again.peers}, {"a": newer.peer, "b": two.peer})

    def test_bounds(self) -> None:
        """Over the bounds the oldest are dropped, and counted; those that live are never dropped."""
        self.patch(journal_module, "MOST_GONE", 2)
        self.patch(journal_module, "MOST_FAILURES", 3)
        for number in range(5):
            one = self.somebody(f"p{number}")
            one.leave()
            self.journal.add(one.peer)
            self.journal.fail(failure(number))
        for number in range(5):
            self.journal.add(self.somebody(f"l{number}").peer)
        self.assertEqual(self.journal.dropped, {"peers": 3, "failures": 2})
        peers, failures = self.taken()
        self.assertEqual(failures, [2, 3, 4])
        self.assertEqual(peers, ["p3", "p4", *(f"l{number}" for number in range(5))])
