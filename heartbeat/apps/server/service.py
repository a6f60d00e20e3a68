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

from heartbeat.apps.command import service_of
from heartbeat.apps.endpoints import server_endpoint
from heartbeat.apps.host import HostState, host_load
from heartbeat.apps.listening import Listening
from heartbeat.apps.logs import LogLevels
from heartbeat.apps.peerlog import PeerLog
from heartbeat.apps.reload import Reload
from heartbeat.apps.reuseport import SharedPorts, handed_on
from heartbeat.apps.server.demo import Demo
from heartbeat.apps.server.drain import Drain
from heartbeat.apps.server.keeping import keeping_for
from heartbeat.apps.server.settings import TABLE, Options, ServerSettings
from heartbeat.apps.server.weboptions import exposure
from heartbeat.apps.stopping import unless_hurried
from heartbeat.apps.systemd import Systemd
from heartbeat.apps.telemetry import Telemetry
from heartbeat.apps.tlsoptions import server_certificates
from heartbeat.errors import MissingExtra
from heartbeat.interfaces import IStateSource
from heartbeat.net import HeartbeatFactory
from heartbeat.net.tls import Certificates, tls_server
from heartbeat.watch.exemplars import SyncExamples
from heartbeat.watch.export import metrics_of
from heartbeat.watch.export.sources import Sources
from heartbeat.watch.failures import Failures
from heartbeat.watch.listeners import Listeners
from heartbeat.watch.registry import Registry
from heartbeat.watch.tally import Totals
from heartbeat.watch.web import Vitals, make_site
from heartbeat.watch.web.hosts import AllowedHosts

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
    :ivar site: shows both
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
        self.certificates = server_certificates(settings, reactor)
        state = _own_state(self.certificates)
        self.factory = HeartbeatFactory(settings.heartbeat, reactor=reactor, state=state, node=settings.node)
        clocks = self.factory.wheel.clocks
        self.registry = Registry(clocks)
        self.failures = Failures(clocks, settings.node)
        self.failures.doubt.later = reactor.callLater
        self.keeping = keeping_for(reactor, settings, self.factory, self.registry, self.failures)
        kept = () if self.keeping is None else (self.keeping.own, self.keeping.holdings)
        self.drain = Drain(reactor, self.factory, settings.drain_timeout)
        self.sources = Sources(
            registry=self.registry if self.keeping is None else self.keeping.own,
            failures=self.failures,
            totals=totals,
            rtt=self.factory.rtt_counts,
            lag=self.factory.wheel.lag,
            connections=lambda: self.factory.connections,
            certificates=self.certificates,
            synced=SyncExamples(clocks),
            store=None if self.keeping is None else self.keeping.ledger,
        )
        about = settings.resource(Options.command)
        self.telemetry = Telemetry(
            reactor, about, traces=settings.traces, metrics=settings.push_metrics, sources=self.sources
        )
        first = self.telemetry.watch(self.factory, settings.trace_beats)
        self.factory.listener = Listeners(
            *first, *kept, self.registry, self.failures, totals, self.sources.synced, self.peer_log
        )
        self.systemd = Systemd(reactor, self._status)
        self._ports: Any = SharedPorts(reactor) if settings.reuse_port else reactor
        self.listening = [self._listen("heartbeat", "--listen", text, self.factory) for text in settings.listen]
        self.listening += [
            self._listen("heartbeat", "--listen-tls", text, self.factory, tls=True) for text in settings.listen_tls
        ]
        self.hosts = AllowedHosts(settings.web_host)
        self.site = self._site()
        self.web = None if settings.web == "none" else self._listen("web", "--web", settings.web, self.site)
        self._use(settings)
        every = self.listening if self.web is None else [*self.listening, self.web]
        self._handed_on = [one for one in every if handed_on(one.text, settings.reuse_port)]
        self._compose(Reload(reactor, TABLE, settings, read, self.apply, systemd=self.systemd), settings)

    def apply(self, settings: ServerSettings) -> None:
        """Put into effect what may change in a running server; new connections get the new terms."""
        if self.certificates is not None:
            server_certificates(settings, self._reactor, self.certificates)
        self._use(settings)

    def _use(self, settings: ServerSettings) -> None:
        factory = self.factory
        factory.config = replace(settings.heartbeat, id=self._node)
        if settings.token_key is not None:
            factory.renew_token_keys(settings.token_key)
        factory.max_connections = settings.max_connections
        factory.max_per_address = settings.max_per_address
        for registry in (self.registry, self.sources.registry):
            registry.keep = settings.keep
            registry.keep_bare = min(KEEP_BARE, settings.keep)
            registry.keep_peers = settings.keep_peers
        self.failures.keep = settings.keep_failures
        self.failures.region = settings.region
        self.sources.labels = settings.labels
        self.drain.timeout = settings.drain_timeout
        self.drain.spread = settings.drain_spread
        self.site.protect(settings.passwords)
        self._protected = bool(settings.passwords)
        self.hosts.names = frozenset(settings.web_host)
        self._levels.use(settings.log_level)

    def startService(self) -> None:
        """Open the store, then listen, and warn if the pages can be read from elsewhere."""
        if self.keeping is not None:
            self.keeping.start()
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        exposed = exposure(self.web, protected=self._protected)
        if exposed is not None:
            self._log.warn("{exposed}", exposed=exposed)

    def stopService(self) -> Deferred[None]:
        """Drain, with the web still there to say so; then stop the rest. Nothing remains."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.systemd.stopping()
        for listening in self._handed_on:  # who comes now is for whoever listens there next, and needs no BYE
            await listening.stopService()
        await self.drain.begin()
        await unless_hurried(self._reactor, super().stopService())  # type: ignore[no-untyped-call]  # Twisted's
        self.factory.abort_all()  # who came in at the last moment
        await deferLater(self._reactor, 0, lambda: None)  # until it is known that they are gone
        self.failures.doubt.settle()
        if self.keeping is not None:
            await self.keeping.stop()
        self.peer_log.stop()

    def _compose(self, reload: Reload[ServerSettings], settings: ServerSettings) -> None:
        parts: list[Any] = [self.telemetry, self.systemd, *self.listening]
        if self.web is not None:
            parts.append(self.web)
        parts.append(reload)
        if self.certificates is not None:
            parts.append(self.certificates)
        if settings.demo:
            demo = Demo(self._reactor, self.listening, self.web, settings.heartbeat)
            parts.append(demo)
            self.drain.first = lambda: maybeDeferred(demo.disownServiceParent)  # which stops it, once
        for part in parts:
            part.setServiceParent(self)

    def _listen(self, kind: str, option: str, text: str, factory: Any, *, tls: bool = False) -> Listening:
        endpoint = server_endpoint(self._ports, option, text)
        if tls and self.certificates is not None:
            endpoint = tls_server(endpoint, self.certificates, reactor=self._reactor)
        name = f"{Options.command}: {option} {text}"
        return Listening(self._reactor, endpoint, factory, kind=kind, name=name, text=text, tls=tls)

    def _status(self) -> str:
        counts = self.registry.counts()
        told = ", ".join(f"{number} {state.value}" for state, number in counts.items() if number)
        return f"{self.factory.connections} connections; peers: {told or 'none'}"

    def _site(self) -> Any:
        try:
            metrics = metrics_of(self.sources)
        except MissingExtra as missing:
            self._log.info("no metrics: {trouble}", trouble=str(missing))
            metrics = None
        vitals = Vitals(self._node, self.sources.totals.spared, self.sources.lag)
        degraded = (lambda: None) if self.keeping is None else self.keeping.ledger.degraded
        return make_site(
            self.registry,
            self.failures,
            metrics=metrics,
            readiness=self._unready,
            degraded=degraded,
            vitals=vitals,
            reactor=self._reactor,
            hosts=self.hosts,
        )

    def _unready(self) -> str | None:
        """Why no new peers are wanted now; None: they are. Who is here stays: only handshakes fail."""
        left = None if self.certificates is None else self.certificates.expires_in()
        return self.drain.readiness() or ("the certificate has expired" if left is not None and left <= 0 else None)


def _own_state(certificates: Certificates | None) -> IStateSource | None:
    """What the server says about itself: the load of its host, for how long it has been running, its certificate."""
    started = time.monotonic()
    try:
        state = HostState(load=host_load(), uptime=lambda: int(time.monotonic() - started))
    except (MissingExtra, OSError):  # this platform tells no load; then the configuration's account will do
        return None
    if certificates is not None:
        state.cert_expires = certificates.expires_in
    return state


def makeService(options: Options) -> IService:
    """The server that the options describe; see :func:`.service_of`."""
    return service_of(options, Server)
