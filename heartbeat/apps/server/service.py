"""``twist heartbeat-server``: introduces the factory to the registry, the board, the metrics and the web."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from heartbeat.apps.endpoints import server_endpoint
from heartbeat.apps.exits import leave, status_of, why
from heartbeat.apps.host import HostState, host_load
from heartbeat.apps.listening import Listening
from heartbeat.apps.logs import LogLevels, take_over
from heartbeat.apps.machine import steady
from heartbeat.apps.peerlog import PeerLog
from heartbeat.apps.reload import Reload
from heartbeat.apps.server.demo import Demo
from heartbeat.apps.server.drain import Drain
from heartbeat.apps.server.keeping import keeping_for
from heartbeat.apps.server.settings import TABLE, Options, ServerSettings, server_settings
from heartbeat.errors import ConfigError, MissingExtra
from heartbeat.interfaces import IStateSource
from heartbeat.net import HeartbeatFactory
from heartbeat.watch.export import metrics_of
from heartbeat.watch.export.sources import Labels, Sources
from heartbeat.watch.failures import Failures
from heartbeat.watch.listeners import Listeners
from heartbeat.watch.registry import Registry
from heartbeat.watch.tally import Totals
from heartbeat.watch.web import make_site

__all__ = ["Options", "Server", "makeService"]

#: Peers without a name of their own are remembered no longer than this, whatever ``--keep`` says.
KEEP_BARE = 60.0


class Server(MultiService):
    """One heartbeat server: all that listens, all that watches, and how it ends.

    :param read: reads the settings again, for SIGHUP
    :param levels: of the log, for SIGHUP
    :ivar factory: accepts the peers
    :ivar registry: who is there
    :ivar failures: who failed
    """

    def __init__(
        self, reactor: Any, settings: ServerSettings, *, read: Callable[[], ServerSettings], levels: LogLevels
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self._reactor = reactor
        self._levels = levels
        self._node = settings.node
        self._log = Logger(namespace="heartbeat.server")
        totals = Totals()
        self.peer_log = PeerLog(reactor)
        self.factory = HeartbeatFactory(settings.heartbeat, reactor=reactor, state=_own_state(), node=settings.node)
        clocks = self.factory.wheel.clocks
        self.registry = Registry(clocks)
        self.failures = Failures(clocks, settings.node)
        self.keeping = keeping_for(reactor, settings, self.factory, self.registry, self.failures)
        kept = () if self.keeping is None else (self.keeping.own, self.keeping.holdings)
        self.factory.listener = Listeners(*kept, self.registry, self.failures, totals, self.peer_log)
        self.drain = Drain(reactor, self.factory, settings.drain_timeout)
        self.sources = Sources(
            registry=self.registry if self.keeping is None else self.keeping.own,
            failures=self.failures,
            totals=totals,
            rtt=self.factory.rtt_counts,
            lag=self.factory.wheel.lag,
            connections=lambda: self.factory.connections,
            store=None if self.keeping is None else self.keeping.ledger,
        )
        self.listening = [self._listen("heartbeat", "--listen", text, self.factory) for text in settings.listen]
        self.web = None if settings.web == "none" else self._listen("web", "--web", settings.web, self._site())
        self.apply(settings)
        self._compose(Reload(reactor, TABLE, settings, read, self.apply), settings)

    def apply(self, settings: ServerSettings) -> None:
        """Put into effect what may change in a running server; new connections get the new terms."""
        factory = self.factory
        factory.config = replace(settings.heartbeat, id=self._node)
        factory.max_connections = settings.max_connections
        factory.max_per_address = settings.max_per_address
        for registry in (self.registry, self.sources.registry):
            registry.keep = settings.keep
            registry.keep_bare = min(KEEP_BARE, settings.keep)
            registry.keep_peers = settings.keep_peers
        self.failures.keep = settings.keep_failures
        self.sources.labels = Labels(settings.service, settings.region, settings.cluster)
        self.drain.timeout = settings.drain_timeout
        self.drain.spread = settings.drain_spread
        self._levels.use(settings.log_level)

    def startService(self) -> None:
        """Open the store, then listen."""
        if self.keeping is not None:
            self.keeping.start()
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's

    def stopService(self) -> Deferred[None]:
        """Drain, with the web still there to say so; then stop the rest. Nothing remains."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.drain.begin()
        await super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        self.factory.abort_all()  # who came in at the last moment
        if self.keeping is not None:
            await deferLater(self._reactor, 0, lambda: None)  # until it is known that they are gone
            await self.keeping.stop()
        self.peer_log.stop()

    def _compose(self, reload: Reload[ServerSettings], settings: ServerSettings) -> None:
        parts: list[Any] = [*self.listening]
        if self.web is not None:
            parts.append(self.web)
        parts.append(reload)
        if settings.demo:
            demo = Demo(self._reactor, self.listening, self.web)
            parts.append(demo)
            self.drain.first = lambda: maybeDeferred(demo.disownServiceParent)  # which stops it, once
        for part in parts:
            part.setServiceParent(self)

    def _listen(self, kind: str, option: str, text: str, factory: Any) -> Listening:
        endpoint = server_endpoint(self._reactor, option, text)
        name = f"{Options.command}: {option} {text}"
        return Listening(self._reactor, endpoint, factory, kind=kind, name=name, text=text)

    def _site(self) -> Any:
        try:
            metrics = metrics_of(self.sources)
        except MissingExtra as missing:
            self._log.info("no metrics: {trouble}", trouble=str(missing))
            metrics = None
        readiness = self.drain.readiness
        degraded = (lambda: None) if self.keeping is None else self.keeping.ledger.degraded
        return make_site(
            self.registry,
            self.failures,
            metrics=metrics,
            readiness=readiness,
            degraded=degraded,
            reactor=self._reactor,
        )


def _own_state() -> IStateSource | None:
    """What the server says about itself: the load of its host, and for how long it has been running."""
    started = time.monotonic()
    try:
        return HostState(load=host_load(), uptime=lambda: int(time.monotonic() - started))
    except (MissingExtra, OSError):  # this platform tells no load; then the configuration's account will do
        return None


def makeService(options: Options) -> IService:
    """The server that the options describe.

    :raises SystemExit: it cannot be made, and standard error says why in one line
    """
    from twisted.internet import reactor

    steady(reactor)
    settings = options.settings
    levels = take_over(options.parent, as_json=settings.log_json, level=settings.log_level)
    try:
        server = Server(reactor, settings, read=lambda: server_settings(options.gathered()), levels=levels)
    except (ConfigError, OSError) as error:
        leave(status_of(error), f"{options.command}: {why(error)}")
    return server
