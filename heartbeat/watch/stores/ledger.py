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

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from heartbeat.liveness.counters import Counters
    from heartbeat.liveness.peer import Clocks
    from heartbeat.watch.stores.exchange import Exchange
    from heartbeat.watch.stores.holdings import Holdings
    from heartbeat.watch.stores.timed import Timed

__all__ = ["PERIOD", "Ledger"]

#: Seconds between two turns; with those to read, a change is everywhere within a second.
PERIOD: Final = 0.5
#: Seconds after a nudge until it is read: more of them may come at once.
SOON: Final = 0.05
#: Seconds between turns while the store is away: each is twice the one before, up to this.
LONGEST_PAUSE: Final = 2.0
#: Seconds for what is left to write when the server stops.
LAST_WORDS: Final = 3.0


class Ledger:
    """Keeps a store and this server in step. Start it with the server, stop it after the last peer is gone.

    :param store: not open yet
    :param exchange: with that store
    :param holdings: our own peers
    :param unusable: called with one line if the store can never be used
    """

    def __init__(
        self,
        reactor: Any,
        store: Timed,
        exchange: Exchange,
        *,
        clocks: Clocks,
        holdings: Holdings,
        unusable: Callable[[str], object],
    ) -> None:
        self._reactor = reactor
        self._store = store
        self._exchange = exchange
        self._clocks = clocks
        self._holdings = holdings
        self._unusable = unusable
        self._log = Logger(namespace="heartbeat.store")
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
            last = Deferred.fromCoroutine(self._exchange.part())
            last.addTimeout(LAST_WORDS, self._reactor)
            try:
                await last
            except (StoreUnavailable, defer.TimeoutError) as error:
                self._trouble = str(error) or "no time was left"
            except Exception:  # noqa: BLE001  a fault of ours must not keep the server from ending
                self._log.failure("the last words went wrong")
        if self._exchange.waiting:
            self._log.warn("{count} changes were not written: {why}", count=self._exchange.waiting, why=self._trouble)
        await self._store.close()

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
    def keys(self) -> tuple[bytes, ...]:
        """Under which all servers of this store seal tokens; none while the store has not said."""
        return self._exchange.keys

    @property
    def away(self) -> bool:
        """The store does not answer."""
        return self._away_since is not None

    def degraded(self) -> str | None:
        """One line while the store is away, None while it is not."""
        if self._away_since is None:
            return None
        seconds = self._clocks.seconds() - self._away_since
        return f"the store is away for {seconds:.0f} s ({self._trouble}); {self._exchange.waiting} changes wait"

    def met(self) -> Deferred[None]:
        """Fires when the store has answered for the first time, or when nobody waits for that any more."""
        waits: Deferred[None] = Deferred(self._met.remove)
        self._met.append(waits)
        if self.keys or self._stopping:
            self._meet()
        return waits

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
            await self._exchange.read()
            return
        await self._exchange.turn()
        self._meet()
        if self._away_since is not None:
            self._log.info("the store answers")
        self._away_since, self._failed = None, 0
        self._due = self._clocks.seconds() + PERIOD

    # -- how it goes

    def _is_away(self, why: str) -> None:
        if self._away_since is None:
            self._away_since = self._clocks.seconds()
        if not self._failed or why != self._trouble:
            self._log.warn("the store is away: {why}", why=why)
        self._trouble = why
        self._due = self._clocks.seconds() + min(LONGEST_PAUSE, PERIOD * 2.0**self._failed)
        self._failed += 1
        self._nudged = False
        self._exchange.orphans.blind()

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
