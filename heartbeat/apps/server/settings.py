"""The options of ``twist heartbeat-server``, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from heartbeat.apps.endpoints import listening_endpoint
from heartbeat.apps.kerneloptions import FIELDS, Probes, UserTimeout, kernel_options, kernel_settings
from heartbeat.apps.kinds import Flag, Many, OneOf, Seconds, Text, Whole, peer_id
from heartbeat.apps.logs import LOG_LEVELS
from heartbeat.apps.machine import connection_limit, host_name
from heartbeat.apps.options import CONFIG, Gathered, Setting, SettingOptions, When
from heartbeat.apps.server.storeoptions import store_settings
from heartbeat.config import HeartbeatConfig
from heartbeat.errors import ConfigError
from heartbeat.watch.stores import StoreAddress

__all__ = ["TABLE", "Options", "ServerSettings", "server_settings"]

#: A day: longer waits are a mistake, not a wish.
DAY: Final = 86_400.0
#: Far above what one process can hold open or remember.
MILLIONS: Final = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What the server was told, checked; one field for each option."""

    listen: tuple[str, ...]
    web: str
    store: StoreAddress
    no_bare: bool
    max_detection: float
    ping_interval: float
    multiplier: int
    sync_interval: float
    min_interval: float
    max_connections: int | None
    max_per_address: int | None
    handshake_timeout: float
    keepalive: Probes
    user_timeout: UserTimeout
    rto_max: float | None
    drain_timeout: float
    drain_spread: float
    keep: float
    keep_peers: int
    keep_failures: int
    service: str
    region: str
    cluster: str
    node: str
    log_json: bool
    log_level: str | None
    demo: bool
    config: str | None

    @property
    def heartbeat(self) -> HeartbeatConfig:
        """The terms for connections. Raises ConfigError that names a field of HeartbeatConfig."""
        return HeartbeatConfig(
            id=self.node,
            interval=self.ping_interval,
            multiplier=self.multiplier,
            min_interval=self.min_interval,
            sync_interval=self.sync_interval,
            handshake_timeout=self.handshake_timeout,
            max_detection=self.max_detection,
            bare="refuse" if self.no_bare else "accept",
            kernel=kernel_options(self.keepalive, self.user_timeout, self.rto_max),
        )


def _web(name: str, text: str) -> str:
    return text if text == "none" else listening_endpoint(name, text)


TABLE: Final = (
    Setting(
        name="listen",
        kind=Many(Text("ENDPOINT", listening_endpoint)),
        default=("tcp:7600",),
        doc="Where heartbeats are accepted; tcp6:7600 listens on both IP families",
    ),
    Setting(
        name="web",
        kind=Text("ENDPOINT|none", _web),
        default="tcp:7680:interface=127.0.0.1",
        doc="Where the page, /api, /metrics and the health checks are",
    ),
    *store_settings(),
    Setting(name="no-bare", kind=Flag(), default=False, when=When.NEXT, doc="Refuse peers that say no HELLO"),
    Setting(
        name="max-detection",
        kind=Seconds(0.001, 3600),
        default=300.0,
        when=When.NEXT,
        doc="The longest detection time that is agreed to",
    ),
    Setting(
        name="ping-interval",
        kind=Seconds(0.001, 3600),
        default=0.5,
        when=When.NEXT,
        doc="Between two own PINGs; also the terms for peers that say no HELLO",
    ),
    Setting(
        name="multiplier",
        kind=Whole(2, 255),
        default=3,
        when=When.NEXT,
        doc="Intervals of silence after which a peer is dead",
    ),
    Setting(
        name="sync-interval", kind=Seconds(0.1, DAY), default=5.0, when=When.NEXT, doc="Between two reports of state"
    ),
    Setting(
        name="min-interval",
        kind=Seconds(0, 3600),
        default=0.1,
        when=When.NEXT,
        doc="The fastest that a peer may ping; 0: no flood control",
    ),
    Setting(
        name="max-connections",
        kind=Whole(1, MILLIONS),
        compute=connection_limit,
        when=When.AT_ONCE,
        doc="Open at once; default: the descriptor limit less 64",
    ),
    Setting(
        name="max-per-address",
        kind=Whole(1, MILLIONS),
        when=When.AT_ONCE,
        doc="Open at once from one address; an IPv6 /64 counts as one; default: no limit",
    ),
    Setting(
        name="handshake-timeout",
        kind=Seconds(0.001, 3600),
        default=10.0,
        when=When.NEXT,
        doc="Until a new connection has said who it is",
    ),
    *kernel_settings(When.NEXT),
    Setting(
        name="drain-timeout",
        kind=Seconds(0, DAY),
        default=10.0,
        when=When.AT_ONCE,
        doc="After SIGTERM, until peers that do not go are cut off",
    ),
    Setting(
        name="keep",
        kind=Seconds(0, 366 * DAY),
        default=3600.0,
        when=When.AT_ONCE,
        doc="How long peers stay listed that are dead or left (those without HELLO: 60 s at most)",
    ),
    Setting(
        name="keep-peers",
        kind=Whole(0, MILLIONS),
        default=10_000,
        when=When.AT_ONCE,
        doc="How many of them; the oldest go first",
    ),
    Setting(
        name="keep-failures", kind=Whole(1, MILLIONS), default=1000, when=When.AT_ONCE, doc="Failures that are listed"
    ),
    Setting(name="service", kind=Text("NAME"), default="", when=When.AT_ONCE, doc="Metric label"),
    Setting(name="region", kind=Text("NAME"), default="", when=When.AT_ONCE, doc="Metric label"),
    Setting(name="cluster", kind=Text("NAME"), default="", when=When.AT_ONCE, doc="Metric label"),
    Setting(
        name="node",
        kind=Text("ID", peer_id),
        compute=host_name,
        doc="The id that this server shows to its peers; default: the name of the host",
    ),
    Setting(
        name="log-level",
        kind=OneOf("LEVEL", LOG_LEVELS),
        when=When.AT_ONCE,
        doc=f"The least level that is logged: {', '.join(LOG_LEVELS)}; default: that of twist",
    ),
    Setting(name="log-json", kind=Flag(), default=False, doc="Log one JSON object per line"),
    Setting(name="demo", kind=Flag(), default=False, doc="Start a few agents in this process, too, to look at"),
    CONFIG,
)


class Options(SettingOptions):
    """Options of ``twist heartbeat-server``.

    :ivar settings: what they come to, after :meth:`parseOptions`
    """

    command = "heartbeat-server"
    table: ClassVar[tuple[Setting, ...]] = TABLE
    settings: ServerSettings

    def accept(self, gathered: Gathered) -> None:
        """Keep the settings if they fit together."""
        self.settings = server_settings(gathered)


def server_settings(gathered: Gathered) -> ServerSettings:
    """The settings, if they fit together. Raises ConfigError that names the option or the key."""
    values: dict[str, Any] = dict(gathered.values)
    settings = ServerSettings(**values)
    detect = settings.multiplier * settings.ping_interval
    if detect > settings.max_detection:
        raise ConfigError(
            gathered.names["ping_interval"],
            f"{settings.ping_interval:g} s × multiplier {settings.multiplier} is over max-detection "
            f"{settings.max_detection:g} s",
        )
    try:
        settings.heartbeat  # noqa: B018  # built to be checked
    except ConfigError as error:
        gathered.blame(error, FIELDS)
    return settings
