"""The store in memory."""

from __future__ import annotations

from typing import Any

from heartbeat.interfaces import IPeerStore
from heartbeat.watch.stores.memory import Memory, MemoryStore
from tests.watch.stores import contract
from tests.watch.stores.contract import KEPT, record


class MemoryTests(contract.Contract):
    """The contract, and what is its own."""

    def setUp(self) -> None:
        """A clock and a memory."""
        self.now = 100.0
        self.memory = Memory(lambda: self.now, KEPT)

    def make(self) -> MemoryStore:
        """One of several that share it."""
        return MemoryStore(self.memory)

    async def forget(self) -> None:
        """Move the clock."""
        self.now += 0.1

    def test_interface(self) -> None:
        """It is what it says."""
        self.assertTrue(IPeerStore.providedBy(self.make()))

    async def test_nudges(self) -> None:
        """The other stores of the same memory hear that something was written, while they are open."""
        heard: list[str] = []
        one: Any = await self.store(lambda: heard.append("one"))
        other: Any = await self.store(lambda: heard.append("other"))
        await one.write([record()], [])
        self.assertEqual(heard, ["other"])
        await other.close()
        await one.write([record(version=2)], [])
        self.assertEqual(heard, ["other"])

    async def test_leases_of_others(self) -> None:
        """Each sees the leases of all, the lapsed ones with less than nothing left."""
        one: Any = await self.store()
        await one.renew("h1", 3.0)
        self.now += 5.0
        register = await one.renew("h2", 3.0)
        self.assertEqual(register.leases, {"h1": -2.0, "h2": 3.0})
        await one.release("h1")
        self.assertEqual(list((await one.renew("h2", 3.0)).leases), ["h2"])
