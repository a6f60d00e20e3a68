"""What a store knows of sessions, for those who let peers in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet import defer
from twisted.internet.defer import Deferred

from heartbeat.errors import StoreUnavailable
from heartbeat.net.keeper import Keeper, Kept
from heartbeat.session.identity import strength
from heartbeat.watch.stores.elsewhere import report_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.interfaces import IReactorTime

    from heartbeat.session.session import Session
    from heartbeat.watch.stores.exchange import Exchange
    from heartbeat.watch.stores.holdings import Holdings
    from heartbeat.watch.stores.ledger import Ledger
    from heartbeat.watch.stores.mirror import Mirror

__all__ = ["LedgerKeeper"]

_NO_ANSWER: Final = (StoreUnavailable, defer.TimeoutError, defer.CancelledError)


class LedgerKeeper(Keeper):
    """Answers from the mirror, and asks the store what is not there (yet).

    :param reactor: bounds the waits
    :param sealed: tokens are sealed under the key of the store; False: they have a key of their own
    """

    def __init__(
        self,
        reactor: IReactorTime,
        ledger: Ledger,
        exchange: Exchange,
        *,
        holdings: Holdings,
        mirror: Mirror,
        sealed: bool,
    ) -> None:
        self._reactor = reactor
        self._exchange = exchange
        self._ledger = ledger
        self._holdings = holdings
        self._mirror = mirror
        self._sealed = sealed

    def keys(self) -> Sequence[bytes]:
        """See Keeper."""
        return self._ledger.keys if self._sealed else ()

    def recall(self, session: str, peer: str) -> Kept | None:
        """See Keeper. Nobody holds on to it: it is known for as long as the mirror has it."""
        record = self._mirror.recall(session, peer)
        if record is None:
            return None
        return Kept(
            epoch=record.fence.epoch,
            worth=strength(record.view.get("identity")),
            report=report_of(record),
            svc_hash=bytes.fromhex(record.view.get("svc_hash", "")),
            held=bytes.fromhex(record.held) if record.held else None,
            until=0.0,
        )

    def newest(self, peer: str) -> str:
        """See Keeper."""
        fence = self._mirror.fence(peer)
        return "" if fence is None else fence.stamp

    def fetch(self, peer: str, session: str, patience: float) -> Deferred[object] | None:
        """See Keeper."""
        if self._ledger.keys and (self._ledger.away or not session):
            return None  # it was there, and is not now: nobody waits for it; or there is nothing to be found out
        fetched: Deferred[object] = Deferred.fromCoroutine(self._fetch(peer))
        fetched.addTimeout(patience, self._reactor)
        return fetched.addErrback(lambda failure: failure.trap(*_NO_ANSWER))

    async def _fetch(self, peer: str) -> None:
        if not self._ledger.keys:
            await self._ledger.met()  # with it comes the key, and everything else
        await self._exchange.recall(peer)

    def admitted(self, session: Session) -> None:
        """See Keeper."""
        self._holdings.admitted(session)

    def ended(self, session: Session) -> None:
        """See Keeper."""
        self._holdings.ended(session)
