"""A store of which every call is bounded and measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet import defer
from twisted.internet.defer import Deferred
from zope.interface import implementer

from heartbeat.errors import StoreUnavailable
from heartbeat.interfaces import IPeerStore
from heartbeat.liveness.counters import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.python.failure import Failure

    from heartbeat.watch.stores.records import PeerRecord, Settlement, StoredFailure

__all__ = ["CALL_TIMEOUT", "OPERATIONS", "OUTCOMES", "Timed"]

#: Seconds for a call. A little longer than a Redis has for one answer, so that its own, better reason comes first.
CALL_TIMEOUT: Final = 2.5
#: What is measured, and how it may end.
OPERATIONS: Final = ("open", "renew", "release", "token_key", "write", "settle", "changes", "recall")
OUTCOMES: Final = ("ok", "error", "timeout")


@implementer(IPeerStore)
class Timed:
    """Passes everything on to a store; what takes too long fails with StoreUnavailable.

    :param seconds: the clock to measure with
    :ivar durations: by operation and outcome; only what happened at least once
    """

    def __init__(self, store: Any, reactor: Any, seconds: Callable[[], float]) -> None:
        self.backend: str = store.backend
        self.shared: bool = store.shared
        self.durations: dict[tuple[str, str], Counters] = {}
        self._store = store
        self._reactor = reactor
        self._seconds = seconds

    def open(self, nudge: Callable[[], object]) -> Deferred[Any]:
        """See IPeerStore."""
        return self._bounded("open", nudge)

    def close(self) -> Deferred[Any]:
        """See IPeerStore. Not measured, and not bounded: the store bounds it itself."""
        closed: Deferred[Any] = self._store.close()
        return closed

    def renew(self, holder: str, lasts: float) -> Deferred[Any]:
        """See IPeerStore."""
        return self._bounded("renew", holder, lasts)

    def release(self, holder: str) -> Deferred[Any]:
        """See IPeerStore."""
        return self._bounded("release", holder)

    def token_key(self, proposal: bytes) -> Deferred[Any]:
        """See IPeerStore."""
        return self._bounded("token_key", proposal)

    def write(self, records: Sequence[PeerRecord], failures: Sequence[StoredFailure]) -> Deferred[Any]:
        """See IPeerStore."""
        return self._bounded("write", records, failures)

    def settle(self, settlements: Sequence[Settlement]) -> Deferred[Any]:
        """See IPeerStore."""
        return self._bounded("settle", settlements)

    def changes(self, after: int, limit: int, but: str = "") -> Deferred[Any]:
        """See IPeerStore."""
        return self._bounded("changes", after, limit, but)

    def recall(self, peer: str) -> Deferred[Any]:
        """See IPeerStore."""
        return self._bounded("recall", peer)

    def _bounded(self, operation: str, *arguments: Any) -> Deferred[Any]:
        begun = self._seconds()
        outcome = "ok"

        def late(result: Any, timeout: float) -> Any:
            nonlocal outcome
            outcome = "timeout"
            raise StoreUnavailable(f"no answer to {operation} within {timeout:g} s")

        def failed(failure: Failure) -> Failure:
            nonlocal outcome
            if outcome == "ok":
                outcome = "error"
            return failure

        def measured(result: Any) -> Any:
            counters = self.durations.setdefault((operation, outcome), Counters())
            counters.add(self._seconds() - begun)
            return result

        answer: Deferred[Any] = defer.maybeDeferred(getattr(self._store, operation), *arguments)
        answer.addTimeout(CALL_TIMEOUT, self._reactor, late)
        return answer.addErrback(failed).addBoth(measured)
