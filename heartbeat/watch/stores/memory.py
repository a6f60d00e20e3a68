"""A store in the memory of one process: what the others are compared with, and enough for servers that share a process.

``--store memory:`` needs none of this: a server that is alone keeps what it knows in its registry.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from heartbeat.errors import StoreUnavailable
from heartbeat.interfaces import IPeerStore
from heartbeat.watch.stores.records import Changes, PeerRecord, Register, StoredFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from heartbeat.watch.stores.records import Settlement

__all__ = ["Memory", "MemoryStore"]

T = TypeVar("T")
#: Of the id by which a store is known again.
ID_BYTES: Final = 8


class Memory:
    """What is kept, for all stores that are made with it.

    :param seconds: the clock of the store; never stepped
    :param keep_failures: how many deaths at most; the oldest go first
    """

    def __init__(self, seconds: Callable[[], float], keep_failures: int = 1000) -> None:
        self.id = secrets.token_hex(ID_BYTES)
        self.seconds = seconds
        self.keep_failures = keep_failures
        self.key: bytes | None = None
        self.leases: dict[str, float] = {}
        self.peers: dict[str, tuple[PeerRecord, float]] = {}  # and until when
        self.failures: dict[tuple[int, str], StoredFailure] = {}
        self.order: OrderedDict[object, int] = OrderedDict()  # of an id of either, the number of its newest change
        self.upto = 0
        self.nudges: list[Callable[[], object]] = []

    def put(self, record: PeerRecord) -> None:
        """Keep a record."""
        self.peers[record.id] = record, self.seconds() + record.lasts
        self._changed(record.id)

    def note(self, failure: StoredFailure) -> None:
        """Keep a failure."""
        key = failure[:2]
        self.failures[key] = failure
        self._changed(key)
        board = sorted(key for key, one in self.failures.items() if one.knock is failure.knock)
        for oldest in board[: -(self.keep_failures // 2 if failure.knock else self.keep_failures)]:
            del self.failures[oldest], self.order[oldest]

    def record(self, peer: str) -> PeerRecord | None:
        """The record of a peer, if it is still worth keeping."""
        record, until = self.peers.get(peer, (None, 0.0))
        if record is not None and until <= self.seconds():
            del self.peers[peer], self.order[peer]
            return None
        return record

    def _changed(self, what: object) -> None:
        self.upto += 1
        self.order[what] = self.upto
        self.order.move_to_end(what)


@implementer(IPeerStore)
class MemoryStore:
    """A store that any number of servers of this process share by its ``memory``."""

    backend = "memory"
    shared = True

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._nudge: Callable[[], object] | None = None

    def open(self, nudge: Callable[[], object]) -> Deferred[None]:
        """See IPeerStore."""
        self._nudge = nudge
        self._memory.nudges.append(nudge)
        return succeed(None)

    def close(self) -> Deferred[None]:
        """See IPeerStore."""
        if self._nudge is not None:
            self._memory.nudges.remove(self._nudge)
            self._nudge = None
        return succeed(None)

    def renew(self, holder: str, lasts: float) -> Deferred[Register]:
        """See IPeerStore."""

        def renewed(memory: Memory) -> Register:
            now = memory.seconds()
            memory.leases[holder] = now + lasts
            return Register(memory.id, memory.upto, {one: until - now for one, until in memory.leases.items()})

        return self._do(renewed)

    def release(self, holder: str) -> Deferred[None]:
        """See IPeerStore."""

        def released(memory: Memory) -> None:
            memory.leases.pop(holder, None)

        return self._do(released)

    def token_key(self, proposal: bytes) -> Deferred[bytes]:
        """See IPeerStore."""

        def kept(memory: Memory) -> bytes:
            memory.key = memory.key or proposal
            return memory.key

        return self._do(kept)

    def write(self, records: Sequence[PeerRecord], failures: Sequence[StoredFailure]) -> Deferred[list[str]]:
        """See IPeerStore."""

        def written(memory: Memory) -> list[str]:
            late = []
            for record in records:
                there = memory.record(record.id)
                if there is None or there.fence < record.fence:
                    memory.put(record)
                else:
                    late.append(record.id)
            for failure in failures:
                memory.note(failure)
            self._tell_others()
            return late

        return self._do(written)

    def settle(self, settlements: Sequence[Settlement]) -> Deferred[list[str]]:
        """See IPeerStore."""

        def settled(memory: Memory) -> list[str]:
            done = []
            for seen, record, failure in settlements:
                there = memory.record(record.id)
                if there is not None and there.fence == seen and there.living:
                    memory.put(record)
                    if failure is not None:
                        memory.note(failure)
                    done.append(record.id)
            self._tell_others()
            return done

        return self._do(settled)

    def changes(self, after: int, limit: int, but: str = "") -> Deferred[Changes]:
        """See IPeerStore."""

        def changed(memory: Memory) -> Changes:
            newer = [(what, number) for what, number in memory.order.items() if number > after]
            part = newer[:limit]
            records = [record for what, _ in part if isinstance(what, str) and (record := memory.record(what))]
            return Changes(
                upto=part[-1][1] if part else max(after, memory.upto),
                peers=[record for record in records if record.fence.holder != but],
                failures=[memory.failures[what] for what, _ in part if isinstance(what, tuple)],
                more=len(newer) > limit,
            )

        return self._do(changed)

    def recall(self, peer: str) -> Deferred[PeerRecord | None]:
        """See IPeerStore."""
        return self._do(lambda memory: memory.record(peer))

    def _do(self, what: Callable[[Memory], T]) -> Deferred[T]:
        if self._nudge is None:
            return fail(StoreUnavailable("the store is closed"))
        return succeed(what(self._memory))

    def _tell_others(self) -> None:
        for nudge in list(self._memory.nudges):
            if nudge is not self._nudge:
                nudge()
