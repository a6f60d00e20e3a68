"""A server's side of its store: writes what has changed, reads what others wrote, and survives without it.

Theory of operation. One loop takes turns, one every :data:`PERIOD`. In a turn the lease is prolonged, the journal is
written, what others wrote since is read into the mirror, and the peers of servers that vanished are settled. A nudge of
the store makes a turn that only reads, soon. The first call of a turn that fails ends it: the store is away. Then
nothing is lost (the journal keeps it), nobody is dead because of that (the mirror says that it is stale), and the next
turn comes a little later each time. A store that comes back with another id has lost what it had: then everything is
written anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from heartbeat.errors import ConfigError, StoreUnavailable
from heartbeat.watch.stores import MOST_AT_ONCE
from heartbeat.watch.stores.orphans import Orphans
from heartbeat.watch.stores.records import Settlement
from heartbeat.watch.stores.told import failure_of, lost_with, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from heartbeat.liveness.counters import Counters
    from heartbeat.liveness.peer import Clocks
    from heartbeat.watch.failures import Failures
    from heartbeat.watch.stores.holdings import Holdings
    from heartbeat.watch.stores.mirror import Mirror
    from heartbeat.watch.stores.records import PeerRecord, Register, StoredFailure
    from heartbeat.watch.stores.timed import Timed

__all__ = ["LEASE", "PERIOD", "Ledger"]

#: Seconds between two turns; with those to read, a change is everywhere within a second.
PERIOD: Final = 0.5
#: Seconds after a nudge until it is read: more of them may come at once.
SOON: Final = 0.05
#: Seconds for which a server is believed to live without a word: six turns.
LEASE: Final = 3.0
#: Living peers that are written anew in a turn although nothing has changed: 20 records are less than a millisecond.
REFRESHED: Final = 20
#: Seconds between turns while the store is away: each is twice the one before, up to this.
LONGEST_PAUSE: Final = 2.0
#: Seconds for what is left to write when the server stops.
LAST_WORDS: Final = 3.0


class Ledger:
    """Keeps a store and this server in step. Start it with the server, stop it after the last peer is gone.

    :param store: not open yet
    :param holdings: our own peers
    :param mirror: those of others
    :param failures: the board
    :param holder: this run of this server
    :param node: the name of this server
    :param unusable: called with one line if the store can never be used

    :param proposal: what becomes the key of all if there is none yet
    :ivar keys: under which all servers of this store seal tokens, the newest first; none while the store has not said
    """

    def __init__(
        self,
        reactor: Any,
        store: Timed,
        *,
        clocks: Clocks,
        holdings: Holdings,
        mirror: Mirror,
        failures: Failures,
        holder: str,
        node: str,
        proposal: bytes,
        unusable: Callable[[str], object],
    ) -> None:
        self.keys: tuple[bytes, ...] = ()
        self._proposal = proposal
        self._reactor = reactor
        self._store = store
        self._clocks = clocks
        self._holdings = holdings
        self._mirror = mirror
        self._failures = failures
        self._holder = holder
        self._node = node
        self._unusable = unusable
        self._orphans = Orphans()
        self._log = Logger(namespace="heartbeat.store")
        self._id: str | None = None  # of the store
        self._upto = 0
        self._again: list[PeerRecord] = []  # to be written anew, besides what we hold
        self._away_since: float | None = clocks.seconds()
        self._trouble = "it has not answered yet"
        self._failed = 0
        self._stopping = False
        self._nudged = False
        self._due = clocks.seconds()
        self._pause: Deferred[None] | None = None
        self._alarm: Any = None  # that ends the pause
        self._met: list[Deferred[None]] = []
        self._loop: Deferred[None] | None = None
        mirror.stale = self._is_stale
        failures.told = lambda failure: holdings.journal.fail(stored(failure))

    # -- start and stop

    def start(self) -> None:
        """Open the store, and take turns until :meth:`stop`."""
        self._loop = Deferred.fromCoroutine(self._run())
        self._loop.addErrback(lambda failure: self._log.failure("the ledger ended", failure))

    def stop(self) -> Deferred[None]:
        """Write what is left, give up the lease, close the store. Never fails, and takes :data:`LAST_WORDS` at most."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        self._wake()
        if self._loop is not None:
            await self._loop
        self._meet()
        if self._away_since is None:
            last = Deferred.fromCoroutine(self._last_words())
            last.addTimeout(LAST_WORDS, self._reactor)
            try:
                await last
            except (StoreUnavailable, defer.TimeoutError, defer.CancelledError) as error:
                self._log.warn("{count} changes were not written: {why}", count=self._waiting, why=str(error))
        await self._store.close()

    async def _last_words(self) -> None:
        await self._write()
        await self._store.release(self._holder)

    # -- what others ask

    @property
    def backend(self) -> str:
        """What the store is called."""
        return self._store.backend

    @property
    def durations(self) -> Mapping[tuple[str, str], Counters]:
        """Of its calls, by operation and outcome."""
        return self._store.durations

    @property
    def dropped(self) -> Mapping[str, int]:
        """By kind, what was never written because too much waited."""
        return self._holdings.journal.dropped

    @property
    def away(self) -> bool:
        """The store does not answer."""
        return self._away_since is not None

    def degraded(self) -> str | None:
        """One line while the store is away, None while it is not."""
        if self._away_since is None:
            return None
        seconds = self._clocks.seconds() - self._away_since
        return f"the store is away for {seconds:.0f} s ({self._trouble}); {self._waiting} changes wait"

    def met(self) -> Deferred[None]:
        """Fires when the store has answered for the first time, or when nobody waits for that any more."""
        waits: Deferred[None] = Deferred(self._met.remove)
        self._met.append(waits)
        if self._id is not None or self._stopping:
            self._meet()
        return waits

    async def recall(self, peer: str) -> None:
        """Read what is known of a peer right now into the mirror. Raises StoreUnavailable."""
        record = await self._store.recall(peer)
        if record is not None:
            self._mirror.take(record)

    # -- the loop

    async def _run(self) -> None:
        opened = False
        while not self._stopping:
            try:
                if not opened:
                    await self._store.open(self._nudge)
                    opened = True
                await self._step()
            except StoreUnavailable as error:
                self._is_away(str(error))
            except ConfigError as error:
                self._unusable(str(error))
                return
            except Exception:  # noqa: BLE001  a fault of ours must not end the loop: the next turn begins anew
                self._log.failure("a turn went wrong")
                self._is_away("a fault of this server")
            if not self._stopping:
                await self._rest()

    async def _step(self) -> None:
        """A turn, or after a nudge only the part of it that reads."""
        if self._clocks.seconds() < self._due:
            self._nudged = False
            await self._read()
            return
        await self._turn()
        if self._away_since is not None:
            self._log.info("the store answers")
        self._away_since, self._failed = None, 0
        self._due = self._clocks.seconds() + PERIOD

    async def _turn(self) -> None:
        register: Register = await self._store.renew(self._holder, LEASE)
        if register.id != self._id:
            await self._get_to_know(register)
        self._holdings.refresh(REFRESHED)
        await self._write()
        await self._read()
        self._orphans.look(self._clocks.seconds(), register.leases, self._mirror.holders())
        await self._settle()
        self._mirror.forget()
        self._meet()

    async def _get_to_know(self, register: Register) -> None:
        """It is the first time, or the store has lost what it had."""
        key: bytes = await self._store.token_key(self.keys[0] if self.keys else self._proposal)
        # A server that knew no key may have been the first to come back to an empty store: ours open what we gave out.
        self.keys = (key, *(one for one in self.keys if one != key))
        if self._id is not None:
            self._log.warn("the store has lost what it had: all is written anew")
            self._holdings.rewrite()
            self._again = list(self._mirror.records())
            for failure in reversed(list(self._failures.since())):
                self._holdings.journal.fail(stored(failure))
        self._upto = 0
        self._id = register.id

    async def _write(self) -> None:
        while self._again:
            await self._store.write(self._again[-MOST_AT_ONCE:], [])
            del self._again[-MOST_AT_ONCE:]
        journal = self._holdings.journal
        while (batch := journal.take(MOST_AT_ONCE)) is not None:
            records = [self._holdings.record(peer) for peer in batch.peers]
            try:
                late = set(await self._store.write(records, batch.failures))
            except BaseException:
                journal.put_back(batch)
                raise
            for record in records:
                if record.id not in late:  # whoever held it before does no more
                    self._mirror.drop(record.id)

    async def _read(self) -> None:
        more = True
        while more:
            changes = await self._store.changes(self._upto, MOST_AT_ONCE, self._holder)
            for record in changes.peers:
                self._mirror.take(record)
            for told in changes.failures:
                self._learn(told)
            self._upto = changes.upto
            more = changes.more

    def _learn(self, told: StoredFailure) -> None:
        try:
            self._failures.learn(failure_of(told))
        except ValueError as wrong:  # another release wrote it
            self._log.debug("{wrong}", wrong=str(wrong))

    async def _settle(self) -> None:
        """The peers of servers that vanished, if they had their time to come back."""
        due = [
            record
            for holder in self._orphans.lost()
            for record in self._mirror.held_by(holder)
            if self._orphans.given_up(holder, record.detect)
        ]
        for start in range(0, len(due), MOST_AT_ONCE):
            part = due[start : start + MOST_AT_ONCE]
            wall = self._clocks.wall()
            failures = {one.id: lost_with(one, self._failures.number(), wall, self._node) for one in part}
            ends = [Settlement(one.fence, one.died("unattributed", wall), stored(failures[one.id])) for one in part]
            done = set(await self._store.settle(ends))
            for end in ends:
                if end.record.id in done:
                    self._failures.learn(failures[end.record.id], ours=True)
                    self._mirror.take(end.record)
            if done:
                self._log.warn("{count} peers were lost with their server", count=len(done))

    # -- how it goes

    @property
    def _waiting(self) -> int:
        return len(self._holdings.journal) + len(self._again)

    def _is_stale(self, holder: str) -> bool:
        return self._away_since is not None or self._orphans.lapsed(holder)

    def _is_away(self, why: str) -> None:
        if self._away_since is None:
            self._away_since = self._clocks.seconds()
        if not self._failed or why != self._trouble:
            self._log.warn("the store is away: {why}", why=why)
        self._trouble = why
        self._due = self._clocks.seconds() + min(LONGEST_PAUSE, PERIOD * 2.0**self._failed)
        self._failed += 1
        self._nudged = False
        self._orphans.blind()

    def _meet(self) -> None:
        met, self._met = self._met, []
        for waits in met:
            waits.callback(None)

    async def _rest(self) -> None:
        seconds = SOON if self._nudged else max(0.0, self._due - self._clocks.seconds())
        self._pause = Deferred()
        self._alarm = self._reactor.callLater(seconds, self._wake)
        await self._pause

    def _nudge(self) -> None:
        if self._nudged or self._away_since is not None:
            return
        self._nudged = True
        if self._alarm is not None and self._due - self._clocks.seconds() > SOON:
            self._alarm.reset(SOON)

    def _wake(self) -> None:
        alarm, self._alarm = self._alarm, None
        if alarm is not None and alarm.active():
            alarm.cancel()
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.callback(None)
