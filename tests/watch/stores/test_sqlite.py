"""The store in a SQLite file."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from heartbeat.errors import ConfigError, StoreUnavailable
from heartbeat.interfaces import IPeerStore
from heartbeat.watch.stores.sqlite import PURGE, SqliteStore
from tests.watch.stores import contract
from tests.watch.stores.contract import KEPT, record


class SqliteTests(contract.Contract):
    """The contract, and what is its own."""

    def setUp(self) -> None:
        """A path."""
        self.path = self.mktemp()
        self.ahead = 0.0

    def make(self) -> SqliteStore:
        """One of those that use the file, one after the other."""
        return SqliteStore(self.path, lambda: time.time() + self.ahead, keep_failures=KEPT)

    async def forget(self) -> None:
        """Move the clock."""
        self.ahead += 0.1

    def write(self, text: str) -> None:
        """Something else in the place of the file."""
        Path(self.path).write_text(text, encoding="ascii")

    def test_interface(self) -> None:
        """It is what it says, and for one server."""
        self.assertTrue(IPeerStore.providedBy(self.make()))
        self.assertFalse(self.make().shared)

    async def test_the_file(self) -> None:
        """It is in write-ahead mode, marked as ours, and says which version it has."""
        store: Any = await self.store()
        await store.write([record()], [])
        connection = sqlite3.connect(self.path)
        self.addCleanup(connection.close)
        values = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "user_version")]
        self.assertEqual(values, ["wal", 1])
        self.assertEqual(connection.execute("SELECT id, living FROM peers").fetchall(), [("a", 1)])

    async def test_what_is_none_of_ours(self) -> None:
        """A file that is no database, another program's, a later release's, or in no folder: the setting is wrong."""
        self.write("this is no database, and is not to become one" * 100)
        await self.assertFailure(self.make().open(lambda: None), ConfigError)
        self.path = self.mktemp()
        with sqlite3.connect(self.path) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        connection.close()
        wrong = self.make()
        error = await self.assertFailure(wrong.open(lambda: None), ConfigError)
        self.assertIn("another program", str(error))
        await wrong.close()
        self.path = self.mktemp()
        store = await self.store()
        await store.close()
        with sqlite3.connect(self.path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
        wrong = self.make()
        self.assertIn("later release", str(await self.assertFailure(wrong.open(lambda: None), ConfigError)))
        await wrong.close()
        self.path = "/nonexistent/folder/x.db"
        await self.assertFailure(self.make().open(lambda: None), ConfigError)

    async def test_purge(self) -> None:
        """What has expired makes room, from time to time."""
        store: Any = await self.store()
        await store.write([record(lasts=10.0), record("b")], [])
        self.ahead += PURGE + 1.0
        await store.renew("h", 1.0)
        connection = sqlite3.connect(self.path)
        self.addCleanup(connection.close)
        self.assertEqual(connection.execute("SELECT id FROM peers").fetchall(), [("b",)])

    async def test_locked(self) -> None:
        """While another process holds the file, a call fails after a while as unavailable; then it works again."""
        store: Any = await self.store()
        connection = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(connection.close)
        connection.execute("BEGIN EXCLUSIVE")
        await self.assertFailure(store.write([record()], []), StoreUnavailable)
        connection.execute("ROLLBACK")
        self.assertEqual(await store.write([record()], []), [])

    async def test_what_was_begun_is_finished(self) -> None:
        """Closing waits for the writer: what was given before is in the file."""
        store: Any = await self.store()
        written = [store.write([record(f"p{number}")], []) for number in range(50)]
        await store.close()
        for one in written:
            await one
        store = await self.store()
        self.assertEqual(len((await self.all_of(store))[0]), 50)
        await deferLater(reactor, 0, lambda: None)
