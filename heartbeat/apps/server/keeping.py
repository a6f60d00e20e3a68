"""What a server with a store needs besides: a second registry, the ledger, and who introduces them to each other."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from cryptography.fernet import Fernet
from twisted.internet.defer import Deferred

from heartbeat.apps.exits import stop_reactor
from heartbeat.watch.registry import Registry
from heartbeat.watch.stores import make_store
from heartbeat.watch.stores.exchange import Exchange
from heartbeat.watch.stores.holdings import Holdings
from heartbeat.watch.stores.ledger import Ledger
from heartbeat.watch.stores.ledgerkeeper import LedgerKeeper
from heartbeat.watch.stores.mirror import Mirror
from heartbeat.watch.stores.timed import Timed

if TYPE_CHECKING:
    from heartbeat.apps.server.settings import ServerSettings
    from heartbeat.liveness.peer import Peer
    from heartbeat.net import HeartbeatFactory
    from heartbeat.watch.failures import Failures

__all__ = ["Keeping", "keeping_for"]

#: A run of a server is told from all others by so many random bytes.
HOLDER_BYTES: Final = 6


def keeping_for(
    reactor: Any, settings: ServerSettings, factory: HeartbeatFactory, registry: Registry, failures: Failures
) -> Keeping | None:
    """For these settings; None for ``memory:``, where the registry is all that there is.

    :raises ConfigError: the store makes no sense, or its extra is missing
    :raises OSError: a file of it cannot be read
    """
    clocks = registry.clocks
    store = make_store(
        settings.store,
        clocks,
        reactor=reactor,
        cluster=settings.cluster,
        node=settings.node,
        keep_failures=settings.keep_failures,
    )
    if store is None:
        return None
    timed = Timed(store, reactor, clocks.seconds)
    return Keeping(reactor, timed, settings, factory=factory, registry=registry, failures=failures)


class Keeping:
    """A server's store and all that belongs to it.

    :param registry: lists the peers of all servers that share the store
    :ivar own: lists those of this server alone, for metrics: a sum over all servers counts each peer once
    :ivar holdings: hears of our own peers
    """

    def __init__(
        self,
        reactor: Any,
        store: Timed,
        settings: ServerSettings,
        *,
        factory: HeartbeatFactory,
        registry: Registry,
        failures: Failures,
    ) -> None:
        holder = secrets.token_hex(HOLDER_BYTES)
        clocks = registry.clocks
        self.store = store
        self.own = Registry(clocks)
        self.holdings = Holdings(holder, self.own)
        self._reactor = reactor
        self._mirror = Mirror(holder, clocks, registry, self.holdings.newest)
        exchange = Exchange(
            store,
            clocks=clocks,
            holdings=self.holdings,
            mirror=self._mirror,
            failures=failures,
            holder=holder,
            node=settings.node,
            proposal=Fernet.generate_key(),
        )
        self.ledger = Ledger(reactor, store, exchange, clocks=clocks, holdings=self.holdings, unusable=self._unusable)
        self._mirror.stale = lambda holder: self.ledger.away or exchange.orphans.lapsed(holder)
        failures.moved = self._moved
        factory.keeper = LedgerKeeper(
            reactor,
            self.ledger,
            exchange,
            holdings=self.holdings,
            mirror=self._mirror,
            sealed=settings.token_key is None,
        )

    def start(self) -> None:
        """Open the store, once the reactor runs. It need not be there: peers are let in in any case."""
        self._reactor.callWhenRunning(self.ledger.start)

    def stop(self) -> Deferred[None]:
        """Write what is left, and close it."""
        return self.ledger.stop()

    def _moved(self, peer: Peer) -> bool:
        return self.holdings.moved(peer, self._mirror)

    def _unusable(self, why: str) -> None:
        stop_reactor(self._reactor, f"heartbeat-server: {why}")
