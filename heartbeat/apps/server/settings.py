"""The options of ``twist heartbeat-server``, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from twisted.internet.abstract import isIPv6Address

from heartbeat.apps.commonoptions import COMMON, LABELS, WatcherSettings, web_setting
from heartbeat.apps.endpoints import listening_endpoint
from heartbeat.apps.kerneloptions import FIELDS, Probes, UserTimeout, kernel_options, kernel_settings
from heartbeat.apps.keyoptions import AUTH_SETTING, SHARED_KEY, TOKEN_KEY, server_keys, wanted
from heartbeat.apps.kinds import Flag, Many, Seconds, Text, Whole, peer_id, shown
from heartbeat.apps.machine import connection_limit, host_name
from heartbeat.apps.options import Gathered, Setting, SettingOptions, When
from heartbeat.apps.reuseport import REUSE_PORT
from heartbeat.apps.server.storeoptions import store_settings
from heartbeat.apps.server.weboptions import WEB_PASSWORD_FILE, web_passwords
from heartbeat.apps.tlsoptions import check_server_tls, server_tls_settings
from heartbeat.apps.traceoptions import trace_settings
from heartbeat.config import HeartbeatConfig
from heartbeat.errors import ConfigError
from heartbeat.keys import Keys
from heartbeat.net.tls.certificates import Minimum
from heartbeat.watch.stores import StoreAddress
from heartbeat.watch.web import Passwords
from heartbeat.watch.web.hosts import plain_host

__all__ = ["TABLE", "Options", "ServerSettings", "server_settings"]

#: Where heartbeats are accepted unless somebody says so. Who asks for TLS does not get this beside it.
DEFAULT_LISTENER: Final = "tcp:7600"
#: A day: longer waits are a mistake, not a wish.
DAY: Final = 86_400.0
#: Far above what one process can hold open or remember.
MILLIONS: Final = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings(WatcherSettings):
    """What the server was told, checked; one field for each option.

    :ivar passwords: what is in ``web_password_file``
    """

    listen: tuple[str, ...]
    listen_tls: tuple[str, ...]
    tls_cert: str | None
    tls_key: str | None
    tls_client_ca: str | None
    tls_minimum: Minimum
    web_host: tuple[str, ...]
    store: StoreAddress
    shared_key: Keys
    auth: str | None
    token_key: tuple[bytes, ...] | None = field(repr=False)
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
    demo: bool
    trace_beats: float
    reuse_port: bool
    web_password_file: str | None = None
    passwords: Passwords = field(default_factory=Passwords, repr=False)

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
            keys=self.shared_key,
            auth=wanted(self.auth, bool(self.shared_key), certificates=False),
            bare="refuse" if self.no_bare else "accept",
            kernel=kernel_options(self.keepalive, self.user_timeout, self.rto_max),
        )


def web_host(name: str, text: str) -> str:
    """A host as a browser may ask for it, without a port. Raises ConfigError."""
    host = text.lower().strip("[]")
    if host != "*" and not isIPv6Address(host) and (not host or plain_host(text) != host):
        raise ConfigError(name, f"must be a name or an address without a port, or *, not {shown(text)}")
    return host


TABLE: Final = (
    Setting(
        name="listen",
        kind=Many(Text("ENDPOINT", listening_endpoint)),
        default=(),
        doc=f"Where heartbeats are accepted; tcp6:7600 listens on both IP families; default: {DEFAULT_LISTENER}, "
        "unless --listen-tls is given",
    ),
    *server_tls_settings(),
    web_setting(7680),
    Setting(
        name="web-host",
        kind=Many(Text("NAME", web_host)),
        default=(),
        when=When.AT_ONCE,
        doc="A name under which a browser or a proxy may ask for the pages, besides our own addresses; *: any",
    ),
    WEB_PASSWORD_FILE,
    *store_settings(),
    SHARED_KEY,
    AUTH_SETTING,
    TOKEN_KEY,
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
    *LABELS,
    Setting(
        name="node",
        kind=Text("ID", peer_id),
        compute=host_name,
        doc="The id that this server shows to its peers; default: the name of the host",
    ),
    Setting(name="demo", kind=Flag(), default=False, doc="Start a few agents in this process, too, to look at"),
    *trace_settings(metrics=True),
    REUSE_PORT,
    *COMMON,
)


class Options(SettingOptions[ServerSettings]):
    """Options of ``twist heartbeat-server``."""

    command = "heartbeat-server"
    table: ClassVar[tuple[Setting, ...]] = TABLE

    def accept(self, gathered: Gathered) -> ServerSettings:
        """The settings, if they fit together."""
        return server_settings(gathered)


def server_settings(gathered: Gathered) -> ServerSettings:
    """The settings, if they fit together. Raises ConfigError that names the option or the key."""
    values: dict[str, Any] = {**gathered.values, **server_keys(gathered), **web_passwords(gathered)}
    if not values["listen"] and not values["listen_tls"]:
        values["listen"] = (DEFAULT_LISTENER,)
    settings = ServerSettings(**values)
    check_server_tls(settings, gathered.names)
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
