"""Records and their fences, and failures as text."""

from __future__ import annotations

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.states import State
from heartbeat.watch.failures import Failures
from heartbeat.watch.stores.memory import Memory, MemoryStore
from heartbeat.watch.stores.records import Fence, PeerRecord, StoredFailure, readable, record_of
from heartbeat.watch.stores.told import failure_of, lost_with, stored
from tests.watch.crowd import Hands, Somebody
from tests.watch.stores.contract import record

fences = st.builds(
    Fence,
    st.sampled_from(["018f", "0190", "0191"]),
    st.integers(0, 12),
    st.sampled_from(["a1", "b2", "c3"]),
    st.integers(0, 12),
)


class RecordTests(SynchronousTestCase):
    """Values and their text."""

    def test_of_a_peer(self) -> None:
        """A record has what is shown of a peer, and when it was heard, on the clock on the wall; its text gives it
        back."""
        hands = Hands()
        peer = Somebody(hands, "gateway/ü", services=("a", "b"), meta={"k": "v"}, load=0.5, uptime=9).join().peer
        peer.session = "s"
        hands.now += 0.25
        made = record_of(peer, Fence("s", 3, "h", 4), b"\x01" * 16, 60.0, hands)
        self.assertEqual((made.id, made.state, made.living, made.session), ("gateway/ü", State.ALIVE, True, "s"))
        self.assertEqual((made.detect, made.heard_at), (1.5, hands.wall() - 0.25))
        self.assertEqual(made.view["services"], ["a", "b"])
        self.assertNotIn("last_heard_ms", made.view)
        again = PeerRecord.from_text(made.to_text())
        self.assertEqual(again, made)
        self.assertTrue(made.to_text().isascii())

    def test_what_is_none(self) -> None:
        """Text that is no record is a ValueError; among others it is passed over."""
        whole = json.loads(record().to_text())
        wrong = ["", "5", "{}", "[]", "null", json.dumps({**whole, "fence": [1]})]
        wrong += [json.dumps({**whole, "view": {**whole["view"], "state": "bored"}})]
        wrong += [json.dumps({**whole, "heard_at": "x"})]
        for text in wrong:
            self.assertRaises(ValueError, PeerRecord.from_text, text)
        self.assertEqual(readable([*wrong, record().to_text()]), [record()])

    def test_more_members(self) -> None:
        """What a later release adds is carried along."""
        whole = json.loads(record().to_text())
        whole["more"] = 1
        whole["view"]["tags"] = ["x"]
        self.assertEqual(PeerRecord.from_text(json.dumps(whole)).view["tags"], ["x"])

    @given(st.lists(fences, min_size=1, max_size=6, unique=True))
    def test_upsert_in_any_order(self, several: list[Fence]) -> None:
        """Whatever the order in which records come, a store keeps the one with the greatest fence."""
        for order in itertools.islice(itertools.permutations(several), 24):
            store = MemoryStore(Memory(lambda: 0.0))
            self.successResultOf(store.open(lambda: None))
            for fence in order:
                self.successResultOf(store.write([record("a", *fence)], []))
            kept = self.successResultOf(store.recall("a"))
            assert kept is not None
            self.assertEqual(kept.fence, max(several))

    @given(fences, fences, fences)
    def test_the_order_is_one(self, one: Fence, two: Fence, three: Fence) -> None:
        """Of two fences one is newer, whoever is asked; and newer than newer is newer."""
        self.assertEqual(one < two, two > one)
        self.assertTrue(one == two or (one < two) != (two < one))
        if one < two < three:
            self.assertLess(one, three)


class FailureTests(SynchronousTestCase):
    """Failures that are read elsewhere."""

    def setUp(self) -> None:
        """A board with a death."""
        self.hands = Hands()
        self.board = Failures(self.hands, "n1")
        self.kept: list[StoredFailure] = []
        self.board.told = lambda failure: self.kept.append(stored(failure))
        self.somebody = Somebody(self.hands, "a", self.board).join()
        self.somebody.fall_silent()
        self.somebody.die()

    def test_there_and_back(self) -> None:
        """A failure that was stored is shown as where it was recorded."""
        (entry,) = self.board.since()
        (kept,) = self.kept
        self.assertEqual((kept.id, kept.node), (entry.id, "n1"))
        self.assertEqual(failure_of(kept).as_json(), entry.as_json())

    def test_learning(self) -> None:
        """Those of others take their place by their time, count for nobody here, and a better account replaces the
        older one."""
        other = Failures(self.hands, "n2")
        (kept,) = self.kept
        other.learn(failure_of(kept._replace(id=kept.id - 5, node="n3")))
        other.learn(failure_of(kept))
        other.learn(failure_of(kept._replace(id=kept.id - 2)))
        text = json.loads(kept.text)
        text["failure_reason"] = "nat_expired"
        other.learn(failure_of(kept._replace(text=json.dumps(text))))
        self.assertEqual([one.id - kept.id for one in other.since()], [0, -2, -5])
        self.assertEqual([one.reason for one in other.since()], ["nat_expired", "path_dead", "path_dead"])
        self.assertEqual(other.counts(), {})

    def test_numbers_after_a_restart(self) -> None:
        """A server that finds failures of its own in a store goes on behind them, though its clock was set back."""
        (kept,) = self.kept
        again = Failures(self.hands, "n1")
        again.learn(failure_of(kept._replace(id=kept.id + 10**9)))
        self.assertEqual(again.number(), kept.id + 10**9 + 1)
        again.learn(failure_of(kept._replace(id=kept.id + 10**12, node="n2")))
        self.assertEqual(again.number(), kept.id + 10**9 + 2)

    def test_bounded(self) -> None:
        """They are no more than are kept."""
        (kept,) = self.kept
        self.board.keep = 3
        for number in range(9):
            self.board.learn(failure_of(kept._replace(id=kept.id + number, node="n2")))
        self.assertEqual([one.id - kept.id for one in self.board.since()], [8, 7, 6])

    def test_lost_with_its_server(self) -> None:
        """What is known of an orphan's end: that it is unattributed, since when it was not heard, and who says so."""
        failure = lost_with(record(node="n7", address="192.0.2.9:1", detect_ms=1500), 17, 1_800_000_010.125, "n1")
        told = failure.as_json()
        self.assertEqual((told["failure_reason"], told["phase"], told["node"]), ("unattributed", "live", "n7"))
        self.assertEqual((told["evidence"]["detail"], told["evidence"]["silent_s"]), ("server_lost", 10.0))
        self.assertEqual((told["evidence"]["reported_by"], told["address"]), ("n1", "192.0.2.9:1"))
        self.assertEqual(failure_of(stored(failure)).as_json(), told)
        self.board.learn(failure, ours=True)
        self.assertEqual(self.board.counts()["unattributed", "live"], 1)

    def test_what_is_none(self) -> None:
        """Text that is no failure is a ValueError."""
        for text in ("", "1", "{}", "null", '{"at": "x"}'):
            self.assertRaises(ValueError, failure_of, StoredFailure(1, "n", text))

    def test_moved(self) -> None:
        """A peer whose session goes on at another server is not dead because its old connection is."""
        self.board.moved = lambda peer: peer.id == "b"
        Somebody(self.hands, "b", self.board).join().die("peer_closed")
        Somebody(self.hands, "c", self.board).join().die("peer_closed")
        self.assertEqual([one.peer for one in self.board.since()], ["c", "a"])
