"""What waits to be written to a store. Pure.

However long a store is away, this stays small: of each peer only its newest state waits, since that is all that a
store keeps; failures wait in their order. Over the bounds the oldest are dropped, and counted.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from heartbeat.liveness.states import FINAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from heartbeat.liveness.peer import Peer
    from heartbeat.watch.stores.records import StoredFailure

__all__ = ["MOST_FAILURES", "MOST_GONE", "Batch", "Journal"]

#: Peers that are gone and whose end waits to be written: as many as are remembered anyway (``--keep-peers``). Those
#: that are connected are as many as there are connections.
MOST_GONE: Final = 10_000
#: Failures that wait: some MB with their flight recorders.
MOST_FAILURES: Final = 10_000


class Batch(NamedTuple):
    """What is written in one call."""

    peers: list[Peer]
    failures: list[StoredFailure]


class Journal:
    """Peers and failures that are to be written.

    :param rank: says which of two connections of the same id is the newer one
    :ivar dropped: by kind (``peers``, ``failures``), how many were never written because too many waited
    """

    def __init__(self, rank: Callable[[Peer], tuple[str, int]]) -> None:
        self.dropped = {"peers": 0, "failures": 0}
        self._rank = rank
        self._living: OrderedDict[str, Peer] = OrderedDict()
        self._gone: OrderedDict[str, Peer] = OrderedDict()
        self._failures: OrderedDict[tuple[int, str], StoredFailure] = OrderedDict()

    def __len__(self) -> int:
        return len(self._living) + len(self._gone) + len(self._failures)

    def add(self, peer: Peer) -> None:
        """This peer has changed. One of the same id that waits already gives way if it is older."""
        waits = self._living.get(peer.id) or self._gone.get(peer.id)
        if waits is not None and waits is not peer and self._rank(waits) > self._rank(peer):
            return
        self._living.pop(peer.id, None)
        self._gone.pop(peer.id, None)
        if peer.state not in FINAL:
            self._living[peer.id] = peer
            return
        self._gone[peer.id] = peer
        while len(self._gone) > MOST_GONE:
            self._gone.popitem(last=False)
            self.dropped["peers"] += 1

    def fail(self, failure: StoredFailure) -> None:
        """There is a failure, or a better account of one."""
        self._failures[failure[:2]] = failure  # one that waits stays where it is
        while len(self._failures) > MOST_FAILURES:
            self._failures.popitem(last=False)
            self.dropped["failures"] += 1

    def take(self, most: int) -> Batch | None:
        """The oldest of it, which then waits no more; None if nothing waits. Failures first: their order matters."""
        failures = [self._failures.popitem(last=False)[1] for _ in range(min(most, len(self._failures)))]
        peers: list[Peer] = []
        for waiting in (self._gone, self._living):
            room = most - len(failures) - len(peers)
            peers += [waiting.popitem(last=False)[1] for _ in range(min(room, len(waiting)))]
        return Batch(peers, failures) if peers or failures else None

    def put_back(self, batch: Batch) -> None:
        """It could not be written: it waits again, before the others; what is newer stays."""
        for peer in batch.peers:
            self.add(peer)
        newer, self._failures = self._failures, OrderedDict((one[:2], one) for one in batch.failures)
        for one in newer.values():
            self.fail(one)
