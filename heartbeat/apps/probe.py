"""``twist heartbeat-probe``: asks web servers whether they are well, and shows what comes of it as of any peer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.ssl import Certificate, trustRootFromCertificates

from heartbeat.apps.endpoints import listening_endpoint, server_endpoint
from heartbeat.apps.exits import leave, status_of, why
from heartbeat.apps.kinds import Flag, Many, OneOf, Seconds, Text, Whole, peer_id, shown
from heartbeat.apps.listening import Listening
from heartbeat.apps.logs import LOG_LEVELS, LogLevels, take_over
from heartbeat.apps.machine import host_name, steady
from heartbeat.apps.options import CONFIG, Gathered, Setting, SettingOptions, When
from heartbeat.apps.peerlog import PeerLog
from heartbeat.apps.reload import Reload
from heartbeat.apps.systemd import Systemd
from heartbeat.apps.telemetry import Telemetry
from heartbeat.apps.traceoptions import trace_settings
from heartbeat.errors import ConfigError, MissingExtra
from heartbeat.liveness.counters import Counters
from heartbeat.net.wheel import wheel_for
from heartbeat.probes.http import MOST_BODY, HttpProbe
from heartbeat.probes.reasons import Expected
from heartbeat.probes.target import Target, new_traceparent
from heartbeat.watch.export import metrics_of
from heartbeat.watch.export.sources import Labels, Sources
from heartbeat.watch.failures import Failures
from heartbeat.watch.listeners import Listeners
from heartbeat.watch.registry import Registry
from heartbeat.watch.tally import Totals
from heartbeat.watch.web import make_site

__all__ = ["Options", "Probe", "ProbeSettings", "makeService"]

#: The longest that is waited for a slow page; who needs more is not asked how it is.
LONGEST: Final = 600.0
MOST_REDIRECTS: Final = 20
MOST_MEMORY: Final = 16 * 1024 * 1024
MOST_RECORDS: Final = 1_000_000
#: What the id of a peer may be.
MOST_URL_BYTES: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """What the prober was told, checked; one field for each option."""

    url: tuple[str, ...]
    interval: float
    multiplier: int
    timeout: float | None
    method: str
    expect_status: int | None
    expect_body: str | None
    max_body: int
    max_redirects: int
    tls_ca: str | None
    web: str
    keep_failures: int
    service: str
    region: str
    cluster: str
    node: str
    traces: str
    push_metrics: str
    log_json: bool
    log_level: str | None
    config: str | None

    @property
    def longest(self) -> float:
        """How long one question may take, seconds."""
        return min(5.0, self.interval) if self.timeout is None else self.timeout


def _url(name: str, text: str) -> str:
    """The check of a URL. Raises ConfigError."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  reading it checks it
    except ValueError as error:
        raise ConfigError(name, f"must be a URL, not {shown(text)} ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(name, f"must be http://HOST… or https://HOST…, not {shown(text)}")
    if "@" in parts.netloc:  # it is shown on pages and sent to collectors
        raise ConfigError(name, f"must have no user and no password in it: {parts.scheme}://…@{parts.hostname}")
    if parts.fragment or " " in text or len(text.encode()) > MOST_URL_BYTES:
        raise ConfigError(
            name, f"must be at most {MOST_URL_BYTES} bytes without blanks and without #, not {shown(text)}"
        )
    return text


def _web(name: str, text: str) -> str:
    return text if text == "none" else listening_endpoint(name, text)


TABLE: Final = (
    Setting(name="url", kind=Many(Text("URL", _url)), default=(), doc="What is asked, http or https"),
    Setting(name="interval", kind=Seconds(0.1, 3600), default=5.0, doc="Between two questions; faster while they fail"),
    Setting(
        name="multiplier",
        kind=Whole(2, 255),
        default=3,
        doc="Intervals without a right answer after which a target is dead",
    ),
    Setting(
        name="timeout",
        kind=Seconds(0.01, LONGEST),
        doc="For one question, from the name to the last byte; default: the interval, at most 5",
    ),
    Setting(name="method", kind=OneOf("GET|HEAD", ("GET", "HEAD")), default="GET", doc="How it is asked"),
    Setting(name="expect-status", kind=Whole(100, 599), doc="The status of a right answer; default: any 2xx"),
    Setting(name="expect-body", kind=Text("TEXT"), doc="A text that a right answer contains"),
    Setting(name="max-body", kind=Whole(0, MOST_MEMORY), default=MOST_BODY, doc="Bytes of an answer; more is wrong"),
    Setting(
        name="max-redirects",
        kind=Whole(0, MOST_REDIRECTS),
        default=0,
        doc="How many redirects are followed; 0: a redirect is the answer",
    ),
    Setting(name="tls-ca", kind=Text("FILE"), doc="Certificates (PEM) to trust instead of those of the platform"),
    Setting(
        name="web",
        kind=Text("ENDPOINT|none", _web),
        default="tcp:7681:interface=127.0.0.1",
        doc="Where the page, /api, /metrics and the health checks are",
    ),
    Setting(
        name="keep-failures",
        kind=Whole(1, MOST_RECORDS),
        default=1000,
        when=When.AT_ONCE,
        doc="Failures that are listed",
    ),
    Setting(name="service", kind=Text("NAME"), default="", when=When.AT_ONCE, doc="Metric label"),
    Setting(name="region", kind=Text("NAME"), default="", when=When.AT_ONCE, doc="Metric label"),
    Setting(name="cluster", kind=Text("NAME"), default="", when=When.AT_ONCE, doc="Metric label"),
    Setting(name="node", kind=Text("ID", peer_id), compute=host_name, doc="Who asks; default: the name of the host"),
    *trace_settings(beats=False, metrics=True),
    Setting(
        name="log-level",
        kind=OneOf("LEVEL", LOG_LEVELS),
        when=When.AT_ONCE,
        doc=f"The least level that is logged: {', '.join(LOG_LEVELS)}; default: that of twist",
    ),
    Setting(name="log-json", kind=Flag(), default=False, doc="Log one JSON object per line"),
    CONFIG,
)


class Options(SettingOptions):
    """Options of ``twist heartbeat-probe``.

    :ivar settings: what they come to, after :meth:`parseOptions`
    """

    command = "heartbeat-probe"
    table: ClassVar[tuple[Setting, ...]] = TABLE
    settings: ProbeSettings

    def accept(self, gathered: Gathered) -> None:
        """Keep the settings if they fit together."""
        self.settings = probe_settings(gathered)


def probe_settings(gathered: Gathered) -> ProbeSettings:
    """The settings, if they fit together. Raises ConfigError that names the option or the key."""
    values: dict[str, Any] = dict(gathered.values)
    settings = ProbeSettings(**values)
    names = gathered.names
    if not settings.url:
        raise ConfigError("--url", "at least one is needed: http://HOST/PATH")
    twice = next((one for one in settings.url if settings.url.count(one) > 1), None)
    if twice is not None:
        raise ConfigError(names["url"], f"is there twice: {shown(twice)}")
    most = (settings.multiplier - 1) * settings.interval
    if settings.longest > most:
        raise ConfigError(names["timeout"], f"{settings.longest:g} s is over (multiplier - 1) × interval, {most:g} s")
    if settings.expect_body is not None and settings.method == "HEAD":
        raise ConfigError(names["expect_body"], "needs method GET: an answer to HEAD has no body")
    return settings


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
        self.registry = Registry(wheel.clocks)
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
        telemetry = Telemetry(
            reactor, _about(settings), traces=settings.traces, metrics=settings.push_metrics, sources=self.sources
        )
        listener = Listeners(self.registry, self.failures, self.peer_log, _Spares(totals))
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
        self.sources.labels = Labels(settings.service, settings.region, settings.cluster)
        self._levels.use(settings.log_level)

    def stopService(self) -> Deferred[None]:
        """Ask no more; nothing remains."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.systemd.stopping()
        await super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
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


class _Spares(Totals):
    """Tells the totals whom a plain timer would have killed; who is counted they know already."""

    def __init__(self, totals: Totals) -> None:
        super().__init__()
        self.changed = totals.changed  # type: ignore[method-assign]

    def joined(self, peer: Any) -> None:
        """Counted from the beginning."""

    def gone(self, peer: Any, event: Any) -> None:
        """Asked, and counted, on and on."""


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
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(Path(path).read_bytes())
    except ValueError:
        raise OSError(None, "holds no certificate", f"--tls-ca {path}") from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"--tls-ca {path}") from None
    from cryptography.hazmat.primitives.serialization import Encoding

    return trustRootFromCertificates([Certificate.loadPEM(one.public_bytes(Encoding.PEM)) for one in found])


def _about(settings: ProbeSettings) -> dict[str, str]:
    """What a collector is told of this process."""
    return {
        "service.name": settings.service or Options.command,
        "service.namespace": settings.cluster,
        "service.instance.id": settings.node,
        "cloud.region": settings.region,
    }


def makeService(options: Options) -> IService:
    """The prober that the options describe.

    :raises SystemExit: it cannot be made, and standard error says why in one line
    """
    from twisted.internet import reactor

    steady(reactor)
    settings = options.settings
    levels = take_over(options.parent, as_json=settings.log_json, level=settings.log_level)
    try:
        probe = Probe(reactor, settings, read=lambda: probe_settings(options.gathered()), levels=levels)
    except (ConfigError, OSError) as error:
        leave(status_of(error), f"{options.command}: {why(error)}")
    return probe
