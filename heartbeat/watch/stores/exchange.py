"""What a server and its store tell each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

from heartbeat.liveness.states import State
from heartbeat.watch.stores import MOST_AT_ONCE
from heartbeat.watch.stores.orphans import Orphans
from heartbeat.watch.stores.records import Settlement
from heartbeat.watch.stores.told import failure_of, lost_with, stored

if TYPE_CHECKING:
    from heartbeat.liveness.peer import Clocks
    from heartbeat.watch.failures import Failure, Failures
    from heartbeat.watch.stores.holdings import Holdings
    from heartbeat.watch.stores.mirror import Mirror
    from heartbeat.watch.stores.records import PeerRecord, Register, StoredFailure

__all__ = ["LEASE", "Exchange"]

#: Seconds for which a server is believed to live without a word: six turns.
LEASE: Final = 3.0
#: Living peers that are written anew in a turn although nothing has changed: 20 records are less than a millisecond.
REFRESHED: Final = 20
#: Where nobody else reads them, a disk is spared: so many in every tenth turn, or, if that is more, each once in three
#: hours, which is often enough for none to expire.
REFRESHED_ALONE: Final = 5
ALONE_EVERY: Final = 10
ALONE_SHARE: Final = 2000


class Exchange:
    """The steps of a turn. Each raises StoreUnavailable where the store fails, and may be repeated then.

    :param store: open, and bounded in every call
    :param holdings: our own peers
    :param mirror: those of others
    :param failures: the board
    :param holder: this run of this server
    :param node: the name of this server
    :param proposal: what becomes the key of all if there is none yet

    :ivar keys: under which all servers of this store seal tokens, the newest first; none while the store has not said
    :ivar orphans: of servers that vanished
    """

    def __init__(
        self,
        store: Any,
        *,
        clocks: Clocks,
        holdings: Holdings,
        mirror: Mirror,
        failures: Failures,
        holder: str,
        node: str,
        proposal: bytes,
    ) -> None:
        self.keys: tuple[bytes, ...] = ()
        self.orphans = Orphans()
        self._proposal = proposal
        self._store = store
        self._clocks = clocks
        self._holdings = holdings
        self._mirror = mirror
        self._failures = failures
        self._holder = holder
        self._node = node
        self._log = Logger(namespace="heartbeat.store")
        self._id: str | None = None  # of the store
        self._upto = 0
        self._turns = 0
        self._again: list[PeerRecord] = []  # to be written anew, besides what we hold
        failures.told = lambda failure: holdings.journal.fail(stored(failure))

    @property
    def waiting(self) -> int:
        """How many changes are to be written."""
        return len(self._holdings.journal) + len(self._again)

    async def recall(self, peer: str) -> None:
        """Read what is known of a peer right now into the mirror."""
        record = await self._store.recall(peer)
        if record is not None:
            self._mirror.take(record)

    async def part(self) -> None:
        """The last words: what waits, and that we are gone."""
        await self.write()
        await self._store.release(self._holder)

    async def turn(self) -> None:
        """Prolong the lease, write, read, and settle the peers of servers that vanished."""
        register: Register = await self._store.renew(self._holder, LEASE)
        if register.id != self._id or register.upto < self._upto:
            await self._get_to_know(register)
        self._refresh()
        await self.write()
        await self.read()
        self.orphans.look(self._clocks.seconds(), register.leases, self._mirror.holders())
        await self._settle()
        self._mirror.forget()

    def _refresh(self) -> None:
        self._turns += 1
        if self._store.shared:
            self._holdings.refresh(REFRESHED)
        elif self._turns % ALONE_EVERY == 0:
            self._holdings.refresh(max(REFRESHED_ALONE, len(self._holdings) // ALONE_SHARE))

    async def _get_to_know(self, register: Register) -> None:
        """It is the first time, or the store has lost what it had, or some of it: a replica that was behind, say."""
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

    async def write(self) -> None:
        """Write what waits."""
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

    async def read(self) -> None:
        """Read what others wrote since."""
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
            view
            for holder in self.orphans.lost()
            for view in self._mirror.held_by(holder)
            if self.orphans.given_up(holder, view.detect)
        ]
        for start in range(0, len(due), MOST_AT_ONCE):
            part = [view.record for view in due[start : start + MOST_AT_ONCE]]
            wall = self._clocks.wall()
            # Whoever has no name of its own comes back under another one: that it is gone says nothing about it.
            failures = {
                one.id: lost_with(one, self._failures.number(), wall, self._node) for one in part if one.session
            }
            ends = [_end_of(one, failures.get(one.id), wall) for one in part]
            done = set(await self._store.settle(ends))
            for end in ends:
                if end.record.id in done:
                    self._mirror.take(end.record)
            lost = [failure for id, failure in failures.items() if id in done]
            for failure in lost:
                self._failures.learn(failure, ours=True)
            if lost:
                self._log.warn("{count} peers were lost with their server", count=len(lost))


def _end_of(record: PeerRecord, failure: Failure | None, wall: float) -> Settlement:
    if failure is None:
        return Settlement(record.fence, record.ended(State.LEFT, None, wall), None)
    return Settlement(record.fence, record.ended(State.DEAD, failure.reason, wall), stored(failure))
