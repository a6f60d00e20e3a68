"""``twist heartbeat-agent``: says that this host is alive, how loaded it is, what runs on it, and whether it moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Final

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred

from heartbeat.apps.command import service_of
from heartbeat.apps.commonoptions import COMMON, CommonSettings
from heartbeat.apps.endpoints import server_address
from heartbeat.apps.exits import stop_reactor
from heartbeat.apps.host import HostState
from heartbeat.apps.kerneloptions import FIELDS, Probes, UserTimeout, kernel_options, kernel_settings
from heartbeat.apps.keyoptions import SHARED_KEY, agent_keys
from heartbeat.apps.kinds import Flag, Many, Names, Pairs, Seconds, Text, peer_id
from heartbeat.apps.logs import LogLevels
from heartbeat.apps.machine import host_name
from heartbeat.apps.options import Gathered, Setting, SettingOptions, When
from heartbeat.apps.peerlog import PeerLog
from heartbeat.apps.progress import ProgressFile
from heartbeat.apps.reload import Reload
from heartbeat.apps.stopping import unless_hurried
from heartbeat.apps.systemd import Systemd
from heartbeat.apps.telemetry import Telemetry
from heartbeat.apps.tlsoptions import (
    agent_certificates,
    agent_pins,
    agent_tls_settings,
    check_agent_tls,
    tls_servers,
)
from heartbeat.apps.traceoptions import trace_settings
from heartbeat.config import HeartbeatConfig
from heartbeat.errors import ConfigError
from heartbeat.keys import Keys
from heartbeat.net import HeartbeatClientService
from heartbeat.net.tls.certificates import Minimum
from heartbeat.net.tls.pins import Policy
from heartbeat.watch.listeners import Listeners

__all__ = ["Agent", "AgentSettings", "Options", "makeService"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings(CommonSettings):
    """What the agent was told, checked; one field for each option."""

    connect: tuple[str, ...]
    connect_tls: tuple[str, ...]
    tls_ca: str | None
    tls_cert: str | None
    tls_key: str | None
    tls_minimum: Minimum
    pin: tuple[str, ...]
    on_pin_mismatch: Policy
    id: str
    services: tuple[str, ...]
    meta: Mapping[str, str]
    progress_file: str | None
    shared_key: Keys
    ping_interval: float
    adaptive: bool
    keepalive: Probes
    user_timeout: UserTimeout
    rto_max: float | None
    trace_beats: float

    @property
    def heartbeat(self) -> HeartbeatConfig:
        """The terms that this agent asks for. Raises ConfigError that names a field of HeartbeatConfig."""
        return HeartbeatConfig(
            id=self.id,
            interval=self.ping_interval,
            adaptive=self.adaptive,
            services=self.services,
            meta=self.meta,
            keys=self.shared_key,
            kernel=kernel_options(self.keepalive, self.user_timeout, self.rto_max),
        )


TABLE: Final = (
    Setting(
        name="connect",
        kind=Many(Text("HOST:PORT|ENDPOINT", server_address)),
        default=(),
        doc="A server; more than one is a list to fail over between",
    ),
    *agent_tls_settings(),
    Setting(
        name="id",
        kind=Text("NAME", peer_id),
        compute=host_name,
        doc="What this agent is called; default: the name of the host",
    ),
    Setting(name="services", kind=Names(), default=(), when=When.AT_ONCE, doc="What runs on this host"),
    Setting(
        name="meta",
        kind=Pairs(),
        default=MappingProxyType({}),
        when=When.AT_ONCE,
        doc="Anything else to tell, in a config file a table",
    ),
    Setting(
        name="progress-file",
        kind=Text("FILE"),
        when=When.AT_ONCE,
        doc="A file whose first word counts work done, and whose second, if any, what is queued",
    ),
    SHARED_KEY,
    Setting(name="ping-interval", kind=Seconds(0.001, 100), default=0.5, doc="Between two PINGs"),
    Setting(name="adaptive", kind=Flag(negative=True), default=True, doc="Ping faster while answers are being lost"),
    *kernel_settings(When.RESTART),
    *trace_settings(),
    *COMMON,
)


class Options(SettingOptions[AgentSettings]):
    """Options of ``twist heartbeat-agent``."""

    command = "heartbeat-agent"
    table: ClassVar[tuple[Setting, ...]] = TABLE

    def accept(self, gathered: Gathered) -> AgentSettings:
        """The settings, if they fit together."""
        return agent_settings(gathered)


def agent_settings(gathered: Gathered) -> AgentSettings:
    """The settings, if they fit together. Raises ConfigError that names the option or the key."""
    values: dict[str, Any] = {**gathered.values, **agent_keys(gathered)}
    settings = AgentSettings(**values)
    if not settings.connect and not settings.connect_tls:
        raise ConfigError("--connect", "at least one server is needed: HOST:PORT")
    check_agent_tls(settings, gathered.names)
    try:
        settings.heartbeat  # noqa: B018  # built to be checked
    except ConfigError as error:
        gathered.blame(error, {**FIELDS, "interval": "ping_interval"})
    return settings


class Client(HeartbeatClientService):
    """A client that says when it has given up.

    :param given_up: called when it stops although nobody stopped the service that it is part of
    """

    def __init__(self, *args: Any, given_up: Callable[[], object], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._given_up = given_up

    def stopService(self) -> Any:
        """Leave with BYE 0, unless the connection is gone already."""
        stopped: Any = super().stopService()
        if self.parent is not None and self.parent.running:
            self._given_up()
        return stopped


class Agent(MultiService):
    """One agent: it beats to the first server that answers, for ever, and reports this host.

    :param read: reads the settings again, for SIGHUP
    :param levels: of the log, for SIGHUP
    :ivar state: what it tells of this host
    :ivar client: keeps the connection
    :ivar certificates: its own, if it has any, and whom it trusts; None without TLS
    """

    def __init__(
        self, reactor: Any, settings: AgentSettings, *, read: Callable[[], AgentSettings], levels: LogLevels
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's
        self._reactor = reactor
        self._levels = levels
        self.peer_log = PeerLog(reactor)
        self.state = HostState()
        self.state.report()  # what cannot be measured here is found out now, not at the first SYNC
        self.certificates = agent_certificates(settings, reactor)
        self._secure = tls_servers(settings, self.certificates, reactor)
        if self.certificates is not None:
            self.state.cert_expires = self.certificates.expires_in
            self.certificates.setServiceParent(self)  # type: ignore[no-untyped-call]  # Twisted's
        self.client = Client(
            [*settings.connect, *self._secure],
            settings.heartbeat,
            self.peer_log,
            reactor=reactor,
            state=self.state,
            pins=agent_pins(settings),
            given_up=lambda: stop_reactor(reactor, f"{Options.command}: superseded: is {settings.id!r} used twice?"),
        )
        self._use(settings)
        connectors = self.client.connectors
        about = {"service.name": Options.command, "service.instance.id": settings.id}
        telemetry = Telemetry(reactor, about, traces=settings.traces)
        connectors.listener = Listeners(*telemetry.watch(connectors, settings.trace_beats), self.peer_log)
        self.systemd = Systemd(reactor, self._status)
        reload = Reload(reactor, TABLE, settings, read, self.apply, systemd=self.systemd)
        for part in (telemetry, self.systemd, self.client, reload):
            part.setServiceParent(self)  # type: ignore[no-untyped-call]  # Twisted's

    def apply(self, settings: AgentSettings) -> None:
        """Put into effect what may change in a running agent: what it tells of its host, certificates and pins, and the
        keys of its next connection."""
        if self.certificates is not None:
            agent_certificates(settings, self._reactor, self.certificates)
        pins = agent_pins(settings)
        connectors = self.client.connectors
        connectors.pins = pins
        connectors.config = replace(connectors.config, keys=settings.shared_key)
        for server in self._secure:
            server.check.pins = pins
        self._use(settings)

    def _use(self, settings: AgentSettings) -> None:
        path = settings.progress_file
        progress = self.state.progress
        if path is None or progress is None or progress.path != path:
            progress = None if path is None else ProgressFile(path)
        self.state.renew(settings.services, settings.meta, progress)
        self._levels.use(settings.log_level)

    def stopService(self) -> Deferred[None]:
        """Leave with BYE 0. A second signal does not wait until it has arrived."""
        return Deferred.fromCoroutine(self._stop())

    def _status(self) -> str:
        heartbeat = self.client.heartbeat
        return "not connected" if heartbeat is None else f"{heartbeat.peer.id}: {heartbeat.state.value}"

    async def _stop(self) -> None:
        self.systemd.stopping()
        await unless_hurried(self._reactor, super().stopService())  # type: ignore[no-untyped-call]  # Twisted's
        self.peer_log.stop()


def makeService(options: Options) -> IService:
    """The agent that the options describe; see :func:`.service_of`."""
    return service_of(options, Agent)
