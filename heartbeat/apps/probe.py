"""``twist heartbeat-probe``: asks web servers whether they are well, and shows what comes of it as of any peer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred

from heartbeat.apps.command import service_of
from heartbeat.apps.endpoints import server_endpoint
from heartbeat.apps.listening import Listening
from heartbeat.apps.logs import LogLevels
from heartbeat.apps.peerlog import PeerLog
from heartbeat.apps.probesettings import TABLE, Options, ProbeSettings
from heartbeat.apps.reload import Reload
from heartbeat.apps.stopping import unless_hurried
from heartbeat.apps.systemd import Systemd
from heartbeat.apps.telemetry import Telemetry
from heartbeat.errors import BadCertificate, MissingExtra
from heartbeat.interfaces import HeartbeatListener
from heartbeat.liveness.counters import Counters
from heartbeat.net.tls.certificates import trust_in
from heartbeat.net.tls.material import pem_files
from heartbeat.net.wheel import wheel_for
from heartbeat.probes.http import HttpProbe
from heartbeat.probes.reasons import Expected
from heartbeat.probes.target import Target, new_traceparent
from heartbeat.watch.export import metrics_of
from heartbeat.watch.export.sources import Sources
from heartbeat.watch.failures import Failures
from heartbeat.watch.listeners import Listeners
from heartbeat.watch.registry import Registry
from heartbeat.watch.tally import Totals
from heartbeat.watch.web import make_site

if TYPE_CHECKING:
    from heartbeat.liveness.events import Event
    from heartbeat.liveness.peer import Peer

__all__ = ["Options", "Probe", "makeService"]


class Targets(Service):
    """All targets; they are asked while this runs."""

    def __init__(self, targets: list[Target]) -> None:
        self.targets = targets

    def startService(self) -> None:
        """Ask."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        for target in self.targets:
            target.start()

    def stopService(self) -> None:
        """Ask no more."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        for target in self.targets:
            target.stop()


class Probe(MultiService):
    """One prober.

    :param read: reads the settings again, for SIGHUP
    :param levels: of the log, for SIGHUP
    :raises OSError: the certificates cannot be read
    :ivar registry: who is there
    :ivar failures: who failed
    """

    def __init__(
        self, reactor: Any, settings: ProbeSettings, *, read: Callable[[], ProbeSettings], levels: LogLevels
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self._reactor = reactor
        self._levels = levels
        wheel = wheel_for(reactor)
        self.peer_log = PeerLog(reactor)
        self.registry = Registry(wheel.clocks, keep=math.inf)  # they are no more than there are targets
        self.failures = Failures(wheel.clocks, settings.node)
        totals = Totals()
        rtt = Counters()
        self.sources = Sources(
            registry=self.registry,
            failures=self.failures,
            totals=totals,
            rtt=rtt,
            lag=wheel.lag,
            connections=lambda: sum(one.busy for one in self.targets.targets),
        )
        about = settings.resource(Options.command)
        telemetry = Telemetry(
            reactor, about, traces=settings.traces, metrics=settings.push_metrics, sources=self.sources
        )
        pushed = [] if telemetry.push is None else [telemetry.push]
        listener = Listeners(*pushed, self.registry, self.failures, self.peer_log, _Spares(totals))
        self.targets = Targets(
            [
                Target(
                    _asked(url, reactor, settings),
                    wheel,
                    reactor,
                    listener,
                    interval=settings.interval,
                    multiplier=settings.multiplier,
                    node=settings.node,
                    rtt_counts=rtt,
                    spans=telemetry.probe_spans(new_traceparent),
                )
                for url in settings.url
            ]
        )
        for target in self.targets.targets:
            totals.joined(target)  # type: ignore[arg-type]  # it has what is counted, and stays whatever it comes to
        self.web = None if settings.web == "none" else self._listen(settings.web)
        self.apply(settings)
        self.systemd = Systemd(reactor, lambda: f"{len(settings.url)} targets, {self.registry.living} of them alive")
        reload = Reload(reactor, TABLE, settings, read, self.apply, systemd=self.systemd)
        for part in (telemetry, self.systemd, self.targets, self.web, reload):
            if part is not None:
                part.setServiceParent(self)  # type: ignore[no-untyped-call]  # Twisted's

    def apply(self, settings: ProbeSettings) -> None:
        """Put into effect what may change in a running prober."""
        self.failures.keep = settings.keep_failures
        self.failures.region = settings.region
        self.sources.labels = settings.labels
        self._levels.use(settings.log_level)

    def stopService(self) -> Deferred[None]:
        """Ask no more; nothing remains."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.systemd.stopping()
        await unless_hurried(self._reactor, super().stopService())  # type: ignore[no-untyped-call]  # Twisted's
        self.peer_log.stop()

    def _listen(self, text: str) -> Listening:
        try:
            metrics = metrics_of(self.sources)
        except MissingExtra:  # the page says what to install
            metrics = None
        site = make_site(self.registry, self.failures, metrics=metrics, reactor=self._reactor)
        endpoint = server_endpoint(self._reactor, "--web", text)
        name = f"{Options.command}: --web {text}"
        return Listening(self._reactor, endpoint, site, kind="web", name=name, text=text)


class _Spares(HeartbeatListener):
    """Tells the totals whom a plain timer would have killed. Who is counted they know: all, from beginning to end."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def changed(self, peer: Peer, event: Event) -> None:
        """It may be that."""
        self._totals.changed(peer, event)


def _asked(url: str, reactor: Any, settings: ProbeSettings) -> HttpProbe:
    body = None if settings.expect_body is None else settings.expect_body.encode()
    return HttpProbe(
        url,
        reactor,
        expected=Expected(settings.expect_status, body),
        timeout=settings.longest,
        method=settings.method,
        redirects=settings.max_redirects,
        most=settings.max_body,
        trust=None if settings.tls_ca is None else _trust(settings.tls_ca),
    )


def _trust(path: str) -> Any:
    """The certificates in a file. Raises OSError, also for a file that has none."""
    name = f"--tls-ca {path}"
    try:
        found = pem_files(authorities=path, names=("", "", name))().read().authorities
    except BadCertificate as error:
        raise OSError(None, error.trouble, name) from None
    return trust_in(found or ())


def makeService(options: Options) -> IService:
    """The prober that the options describe; see :func:`.service_of`."""
    return service_of(options, Probe)
