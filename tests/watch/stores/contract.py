"""What every engine promises: the same tests for each of them."""

from __future__ import annotations

import itertools
import json
from typing import Any

from twisted.trial.unittest import TestCase

from heartbeat.errors import StoreUnavailable
from heartbeat.liveness.states import State
from heartbeat.watch.stores.records import Fence, PeerRecord, Settlement, StoredFailure

__all__ = ["StoreCase", "failure", "record"]

HOUR = 3600.0
KEPT = 5


def record(id: str = "a", stamp: str = "01", epoch: int = 1, holder: str = "h", version: int = 1, **more: Any) -> Any:
    """A record that is as told and otherwise dull."""
    state: State = more.pop("state", State.ALIVE)
    lasts: float = more.pop("lasts", HOUR)
    view = {"id": id, "node": more.pop("node", "n1"), "state": state.value, "session": stamp, **more}
    return PeerRecord(
        id=id,
        fence=Fence(stamp, epoch, holder, version),
        node=view["node"],
        state=state,
        cause="path_dead" if state is State.DEAD else None,
        heard_at=1_800_000_000.125,
        lasts=lasts,
        held="00ff",
        view=view,
    )


def failure(id: int, node: str = "h", **members: Any) -> StoredFailure:
    """A failure with this number."""
    knock: bool = members.pop("knock", False)
    return StoredFailure(id, node, json.dumps({"id": f"{id:016d}", **members}), knock)


class StoreCase(TestCase):
    """The ground of the tests of one engine: a subclass says how to make a store."""

    timeout = 20

    def make(self) -> Any:
        """A store that is not open, with room for KEPT failures; all of a test share what is in them."""
        raise NotImplementedError

    def forget(self) -> Any:
        """Let time pass until what lasts 0.05 s is forgotten."""
        raise NotImplementedError

    async def store(self, nudge: Any = lambda: None) -> Any:
        """A store that is open until the test ends."""
        store = self.make()
        await store.open(nudge)
        self.addCleanup(store.close)
        await self.settled(store)
        return store

    async def settled(self, store: Any) -> None:
        """Wait until it may be used."""

    async def all_of(
        self, store: Any, after: int = 0, limit: int = 100
    ) -> tuple[dict[str, PeerRecord], list[int], int]:
        """Everything that was written behind a change: records by id, numbers of failures, and how far that is."""
        peers: dict[str, PeerRecord] = {}
        failures: list[int] = []
        for _ in range(1000):
            changes = await store.changes(after, limit)
            peers.update({one.id: one for one in changes.peers})
            failures += [one.id for one in changes.failures]
            after = changes.upto
            if not changes.more:
                return peers, failures, after
        raise AssertionError("it never ends")


class Contract(StoreCase):
    """The tests. Import this module, not this class: where it has a name of its own, trial would run it by itself."""

    async def test_upsert(self) -> None:
        """What is written is there, whole: as a change and by name."""
        store = await self.store()
        one = record("gateway/ü 7", meta={"zone": "b"})
        self.assertEqual(await store.write([one, record("b")], []), [])
        self.assertEqual(await store.recall("gateway/ü 7"), one)
        self.assertIsNone(await store.recall("c"))
        peers, failures, _ = await self.all_of(store)
        self.assertEqual((peers, failures), ({"gateway/ü 7": one, "b": record("b")}, []))

    async def test_fences(self) -> None:
        """Records that are not newer are refused and named, whatever makes them old."""
        store = await self.store()
        newest = record(stamp="02", epoch=3, holder="k", version=11)
        for older in (
            record(stamp="01", epoch=9, holder="z", version=99),
            record(stamp="02", epoch=2, holder="z", version=99),
            record(stamp="02", epoch=3, holder="a", version=99),
            record(stamp="02", epoch=3, holder="k", version=9),
        ):
            await store.write([newest], [])
            self.assertEqual(await store.write([older], []), ["a"], older.fence)
        self.assertEqual(await store.write([newest], []), ["a"])
        self.assertEqual(await store.recall("a"), newest)
        for newer in (
            record(stamp="02", epoch=3, holder="k", version=12),
            record(stamp="02", epoch=3, holder="l", version=1),
            record(stamp="02", epoch=10, holder="a", version=1),
            record(stamp="10", epoch=1, holder="a", version=1),
        ):
            self.assertEqual(await store.write([newer], []), [], newer.fence)
            self.assertEqual(await store.recall("a"), newer)

    async def test_any_order(self) -> None:
        """Whatever the order in which records of a peer come in, the newest one stays."""
        store = await self.store()
        fences = [("01", 1, "h", 2), ("01", 2, "g", 1), ("02", 1, "h", 1), ("01", 2, "g", 10)]
        for number, order in enumerate(itertools.permutations(fences)):
            await store.write([record(f"p{number}", *fence) for fence in order], [])
            there = await store.recall(f"p{number}")
            self.assertEqual(there.fence, ("02", 1, "h", 1), order)

    async def test_changes(self) -> None:
        """Each thing comes once, as it is now, in steps of the wished length; later only what is new."""
        store = await self.store()
        await store.write([record(f"p{number}") for number in range(7)], [failure(1), failure(2)])
        await store.write([record("p3", version=2)], [failure(1, was="x")])
        peers, failures, upto = await self.all_of(store, limit=2)
        self.assertEqual(sorted(peers), [f"p{number}" for number in range(7)])
        self.assertEqual(peers["p3"].fence.version, 2)
        self.assertEqual(sorted(failures), [1, 2])
        self.assertEqual((await self.all_of(store, upto))[:2], ({}, []))
        await store.write([record("p5", version=9)], [failure(2, was="y")])
        peers, failures, _ = await self.all_of(store, upto)
        self.assertEqual((list(peers), failures), (["p5"], [2]))
        await store.write([record("p6", holder="other", version=9)], [])
        self.assertEqual([one.id for one in (await store.changes(0, 100, "h")).peers], ["p6"])

    async def test_failures(self) -> None:
        """Only so many are kept, the oldest go first; two servers may use the same number."""
        store = await self.store()
        await store.write([], [failure(number) for number in (3, 1, 4, 2)])
        await store.write([], [failure(4, "other", peer="b")])
        await store.write([], [failure(5)])
        changes = await store.changes(0, 100)
        kept = sorted((one.id, one.node) for one in changes.failures)
        self.assertEqual(kept, [(2, "h"), (3, "h"), (4, "h"), (4, "other"), (5, "h")])
        (text,) = [one.text for one in changes.failures if one.node == "other"]
        self.assertEqual(json.loads(text)["peer"], "b")

    async def test_knocks(self) -> None:
        """Those whose gate never opened push out none that died, and are half as many."""
        store = await self.store()
        await store.write([], [failure(1), failure(2)])
        await store.write([], [failure(number, knock=True) for number in range(10, 20)])
        _, failures, _ = await self.all_of(store)
        self.assertEqual(sorted(failures), [1, 2, 18, 19])
        await store.write([], [failure(number) for number in range(30, 40)])
        _, failures, _ = await self.all_of(store)
        self.assertEqual(sorted(failures), [18, 19, *range(35, 40)])

    async def test_expiry(self) -> None:
        """What has lasted long enough is gone: by name and in the changes, and its id is free for any record."""
        store = await self.store()
        await store.write([record("short", stamp="09", lasts=0.05), record("long")], [])
        await self.forget()
        self.assertIsNone(await store.recall("short"))
        self.assertEqual(list((await self.all_of(store))[0]), ["long"])
        self.assertEqual(await store.write([record("short")], []), [])

    async def test_settling(self) -> None:
        """The end of an orphan is written once, with its failure, and only if nothing has changed since it was seen."""
        store = await self.store()
        seen, moved, dead = record("a"), record("b"), record("c", state=State.DEAD)
        await store.write([seen, moved, dead], [])
        await store.write([record("b", epoch=2, holder="other")], [])
        ends = [
            Settlement(one.fence, one.ended(State.DEAD, "unattributed", 1.0), failure(number))
            for number, one in enumerate((seen, moved, dead, record("nobody")), 1)
        ]
        self.assertEqual(await store.settle(ends), ["a"])
        self.assertEqual(await store.settle(ends), [])
        peers, failures, _ = await self.all_of(store)
        self.assertEqual(failures, [1])
        self.assertEqual((peers["a"].state, peers["a"].cause), (State.DEAD, "unattributed"))
        self.assertEqual(peers["b"].state, State.ALIVE)
        self.assertEqual(await store.write([record("a", version=2)], []), [], "its holder knows better")
        nameless = record("~h:1")
        await store.write([nameless], [])
        end = Settlement(nameless.fence, nameless.ended(State.LEFT, None, 1.0), None)
        self.assertEqual(await store.settle([end]), ["~h:1"])
        peers, failures, _ = await self.all_of(store)
        self.assertEqual((peers["~h:1"].state, failures), (State.LEFT, [1]))

    async def test_register(self) -> None:
        """A lease is there until it lapses or is given up; the store is known again; its last change is told."""
        store = await self.store()
        first = await store.renew("h1", 10.0)
        self.assertEqual(list(first.leases), ["h1"])
        self.assertTrue(9.0 < first.leases["h1"] <= 10.0, first)
        self.assertEqual(first.upto, 0)
        await store.write([record()], [])
        again = await store.renew("h1", 10.0)
        self.assertEqual(again.id, first.id)
        self.assertEqual(again.upto, (await store.changes(0, 10)).upto)
        await store.release("h1")

    async def test_token_key(self) -> None:
        """The first key that is proposed is everybody's."""
        store = await self.store()
        self.assertEqual(await store.token_key(b"one"), b"one")
        self.assertEqual(await store.token_key(b"two"), b"one")

    async def test_closed(self) -> None:
        """A store that is closed refuses every call, at once, and may be closed again."""
        store = await self.store()
        await store.close()
        await store.close()
        for call in (
            lambda: store.renew("h", 1.0),
            lambda: store.release("h"),
            lambda: store.token_key(b"k"),
            lambda: store.write([record()], []),
            lambda: store.settle([]),
            lambda: store.changes(0, 1),
            lambda: store.recall("a"),
        ):
            await self.assertFailure(call(), StoreUnavailable)

    async def test_return(self) -> None:
        """What was written is there when it is opened again: peers, failures, the key, and the store is the same."""
        store = await self.store()
        await store.write([record("a"), record("b", epoch=4)], [failure(7)])
        key, before = await store.token_key(b"one"), await store.renew("h", 1.0)
        _, _, upto = await self.all_of(store)
        await store.close()
        store = await self.store()
        peers, failures, again = await self.all_of(store)
        self.assertEqual((peers, failures, again), ({"a": record("a"), "b": record("b", epoch=4)}, [7], upto))
        self.assertEqual(await store.token_key(b"two"), key)
        self.assertEqual((await store.renew("h", 1.0)).id, before.id)
        await store.write([record("c")], [])
        self.assertEqual(list((await self.all_of(store, upto))[0]), ["c"])
