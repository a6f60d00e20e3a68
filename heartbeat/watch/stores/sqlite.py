"""A store in a SQLite file: what one server knew of its peers survives its restart. See docs/reference/stores.md.

One thread writes (``twisted.enterprise.adbapi`` with a pool of one), in transactions of many rows; the write-ahead log
makes a transaction that was answered safe against the death of the process, though not of the machine in its last
moments (``synchronous=NORMAL``): the register is rebuilt from living connections in any case.
"""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from twisted.enterprise import adbapi
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from heartbeat.errors import ConfigError, StoreUnavailable
from heartbeat.interfaces import IPeerStore
from heartbeat.watch.stores.memory import ID_BYTES
from heartbeat.watch.stores.records import Changes, Fence, PeerRecord, Register, StoredFailure, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.enterprise.adbapi import Transaction

    from heartbeat.watch.stores.records import Settlement

__all__ = ["SqliteStore"]

T = TypeVar("T")
#: Of the tables below. A file with a higher one was written by a later release, and is left alone.
VERSION: Final = 1
#: Milliseconds that a statement waits for another process that looks into the file.
BUSY_MS: Final = 1000
#: Seconds between two looks for what has expired; until then it takes room, and is not told of.
PURGE: Final = 60.0
#: ``PRAGMA application_id``: files of ours begin with it, so that somebody else's database is never written to.
APPLICATION_ID: Final = 0x68626561  # "hbea"

_TABLES: Final = """
BEGIN;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS peers (
    id TEXT PRIMARY KEY, stamp TEXT NOT NULL, epoch INTEGER NOT NULL, holder TEXT NOT NULL, version INTEGER NOT NULL,
    living INTEGER NOT NULL, until REAL NOT NULL, change INTEGER NOT NULL, record TEXT NOT NULL) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS peers_by_change ON peers (change);
CREATE TABLE IF NOT EXISTS failures (
    id INTEGER NOT NULL, node TEXT NOT NULL, knock INTEGER NOT NULL, change INTEGER NOT NULL, entry TEXT NOT NULL,
    PRIMARY KEY (id, node)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS failures_by_change ON failures (change);
PRAGMA application_id = {application};
PRAGMA user_version = {version};
COMMIT;
"""
_FACT: Final = "INSERT INTO facts VALUES (?, ?) ON CONFLICT DO NOTHING"
_PUT: Final = """
INSERT INTO peers (id, stamp, epoch, holder, version, living, until, change, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET stamp = excluded.stamp, epoch = excluded.epoch, holder = excluded.holder,
    version = excluded.version, living = excluded.living, until = excluded.until, change = excluded.change,
    record = excluded.record
"""
_NEWER: Final = (
    _PUT
    + "WHERE (excluded.stamp, excluded.epoch, excluded.holder, excluded.version)"
    + (" > (peers.stamp, peers.epoch, peers.holder, peers.version) OR peers.until <= ?")
)
_NOTE: Final = """
INSERT INTO failures (id, node, knock, change, entry) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id, node) DO UPDATE SET change = excluded.change, entry = excluded.entry
"""
_TRIM: Final = """
DELETE FROM failures WHERE (id, node) IN (
    SELECT id, node FROM failures WHERE knock = ? ORDER BY id DESC, node LIMIT -1 OFFSET ?)
"""
_CHANGES: Final = """
SELECT change, 0, record, '', -1 FROM peers WHERE change > ?1 AND until > ?3 AND holder <> ?4
UNION ALL SELECT change, id, entry, node, knock FROM failures WHERE change > ?1
ORDER BY change LIMIT ?2
"""


@implementer(IPeerStore)
class SqliteStore:
    """A store for one server, in one file.

    :param path: of the file; made if it is not there
    :param wall: seconds since the epoch
    :param keep_failures: how many deaths at most; the oldest go first
    """

    backend = "sqlite"
    shared = False

    def __init__(self, path: str, wall: Callable[[], float], *, keep_failures: int = 1000, reactor: Any = None) -> None:
        self._path = path
        self._wall = wall
        self._keep_failures = keep_failures
        self._reactor = reactor
        self._pool: adbapi.ConnectionPool | None = None
        self._purge_at = 0.0
        self._upto = 0

    def open(self, nudge: Callable[[], object]) -> Deferred[None]:
        """See IPeerStore. Nobody else writes to this file, so there are no nudges."""
        if not Path(self._path).absolute().parent.is_dir():
            return fail(ConfigError("--store", f"the folder of {self._path} is not there"))
        if self._pool is not None:  # the last attempt took too long
            return self._do(self._begin)
        self._pool = adbapi.ConnectionPool(
            "sqlite3",
            self._path,
            check_same_thread=False,
            cp_min=1,
            cp_max=1,
            cp_openfun=_prepared,
            cp_reactor=self._reactor,
            timeout=BUSY_MS / 1000.0,
        )
        return self._do(self._begin).addErrback(self._unusable)

    def close(self) -> Deferred[None]:
        """See IPeerStore. What was begun is finished first."""
        pool, self._pool = self._pool, None
        if pool is None:
            return succeed(None)
        # The pool closes its connection at once, under the feet of a transaction: so wait for its only thread.
        idle: Deferred[Any] = pool.runWithConnection(lambda connection: None)
        return idle.addBoth(lambda _: pool.close())

    def renew(self, holder: str, lasts: float) -> Deferred[Register]:
        """See IPeerStore. A lease ends with the process: there is one server, and this is it."""

        def renewed(rows: Transaction) -> Register:
            if self._wall() >= self._purge_at:
                self._purge_at = self._wall() + PURGE
                rows.execute("DELETE FROM peers WHERE until <= ?", (self._wall(),))
            (id,) = rows.execute("SELECT value FROM facts WHERE name = 'id'").fetchone()
            return Register(id, self._upto, {holder: lasts})

        return self._do(renewed)

    def release(self, holder: str) -> Deferred[None]:
        """See IPeerStore."""
        return self._do(lambda rows: None)

    def token_key(self, proposal: bytes) -> Deferred[bytes]:
        """See IPeerStore."""

        def kept(rows: Transaction) -> bytes:
            rows.execute(_FACT, ("token key", proposal))
            (key,) = rows.execute("SELECT value FROM facts WHERE name = 'token key'").fetchone()
            return bytes(key)

        return self._do(kept)

    def write(self, records: Sequence[PeerRecord], failures: Sequence[StoredFailure]) -> Deferred[list[str]]:
        """See IPeerStore."""

        def written(rows: Transaction) -> list[str]:
            late = []
            for record in records:
                rows.execute(_NEWER, (*self._row(record), self._wall()))
                if rows.rowcount == 0:
                    late.append(record.id)
            self._note(rows, failures)
            return late

        return self._do(written)

    def settle(self, settlements: Sequence[Settlement]) -> Deferred[list[str]]:
        """See IPeerStore."""

        def settled(rows: Transaction) -> list[str]:
            done = []
            for seen, record, failure in settlements:
                there = rows.execute(
                    "SELECT stamp, epoch, holder, version FROM peers WHERE id = ? AND living AND until > ?",
                    (record.id, self._wall()),
                ).fetchone()
                if there is not None and Fence(*there) == seen:
                    rows.execute(_PUT, self._row(record))
                    self._note(rows, [] if failure is None else [failure])
                    done.append(record.id)
            return done

        return self._do(settled)

    def changes(self, after: int, limit: int, but: str = "") -> Deferred[Changes]:
        """See IPeerStore."""

        def changed(rows: Transaction) -> Changes:
            upto = self._upto
            found = rows.execute(_CHANGES, (after, limit + 1, self._wall(), but)).fetchall()
            part = found[:limit]
            return Changes(
                upto=part[-1][0] if part else max(after, upto),
                peers=readable(text for _, _, text, _, knock in part if knock < 0),
                failures=[StoredFailure(id, node, text, knock > 0) for _, id, text, node, knock in part if knock >= 0],
                more=len(found) > limit,
            )

        return self._do(changed)

    def recall(self, peer: str) -> Deferred[PeerRecord | None]:
        """See IPeerStore."""

        def recalled(rows: Transaction) -> PeerRecord | None:
            query = "SELECT record FROM peers WHERE id = ? AND until > ?"
            row = rows.execute(query, (peer, self._wall())).fetchone()
            return next(iter(readable(row or ())), None)

        return self._do(recalled)

    # -- inside; the rest runs in the thread

    def _do(self, what: Callable[[Transaction], T]) -> Deferred[T]:
        if self._pool is None:  # a pool that is closed never answers (facts T4.14)
            return fail(StoreUnavailable("the store is closed"))
        done: Deferred[T] = self._pool.runInteraction(what)
        return done.addErrback(_unavailable)

    def _begin(self, rows: Transaction) -> None:
        """Make the tables, and find out how far the numbers of changes have come."""
        (version,) = rows.execute("PRAGMA user_version").fetchone()
        (application,) = rows.execute("PRAGMA application_id").fetchone()
        (tables,) = rows.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != APPLICATION_ID:
            raise ConfigError("--store", f"{self._path} is a database of another program")
        if version > VERSION:
            raise ConfigError("--store", f"{self._path} was written by a later release (version {version})")
        rows._connection.executescript(_TABLES.format(application=APPLICATION_ID, version=VERSION))
        rows.execute(_FACT, ("id", secrets.token_hex(ID_BYTES)))
        query = "SELECT max(change) FROM (SELECT change FROM peers UNION ALL SELECT change FROM failures)"
        self._upto = rows.execute(query).fetchone()[0] or 0

    def _unusable(self, failure: Any) -> Any:
        """A file that cannot be used is a wrong setting."""
        wrong = failure.value.__cause__
        if isinstance(wrong, sqlite3.DatabaseError):
            raise ConfigError("--store", f"{self._path}: {wrong}") from wrong
        return failure

    def _row(self, record: PeerRecord) -> tuple[Any, ...]:
        return record.id, *record.fence, record.living, self._wall() + record.lasts, self._next(), record.to_text()

    def _note(self, rows: Transaction, failures: Sequence[StoredFailure]) -> None:
        for failure in failures:
            rows.execute(_NOTE, (failure.id, failure.node, failure.knock, self._next(), failure.text))
        if failures:
            rows.execute(_TRIM, (False, self._keep_failures))
            rows.execute(_TRIM, (True, self._keep_failures // 2))

    def _next(self) -> int:
        self._upto += 1
        return self._upto


def _prepared(connection: sqlite3.Connection) -> None:
    """What holds for the connection, before anything else."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _unavailable(failure: Any) -> Any:
    failure.trap(sqlite3.Error)
    raise StoreUnavailable(str(failure.value)) from failure.value
