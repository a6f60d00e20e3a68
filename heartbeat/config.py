"""What a heartbeat is configured with: frozen values that validate themselves and do nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from heartbeat.errors import ConfigError
from heartbeat.keys import Keys, SharedKey

__all__ = ["AUTH", "DETECTORS", "HeartbeatConfig", "KernelOptions"]

#: The names that ``detector`` takes; :mod:`heartbeat.liveness.detectors` says what they do.
DETECTORS: Final = ("fixed", "phi", "2w")
#: What ``auth`` takes: what a connector must have proved before an acceptor lets it in.
AUTH: Final = ("none", "key", "mtls", "key+mtls")

# The ranges of wire.md §4, in seconds: what does not fit into a HELLO is refused here, not on the wire.
_INTERVAL: Final = (0.001, 3600.0)
_FLOOR: Final = (0.0, 3600.0)
_SYNC: Final = (0.1, 86_400.0)
_DETECT_LIMIT: Final = 3600.0
_MULTIPLIER: Final = (2, 255)
_MAX_DATA: Final = (16_384, 2**30)
_MAX_ID_BYTES: Final = 255
_MAX_SERVICES: Final = 4096
_MAX_SERVICE_BYTES: Final = 255
_MAX_SERVICES_BYTES: Final = 65_536
_MAX_META: Final = 64
_MAX_META_BYTES: Final = 1024
_MAX_META_NAME_BYTES: Final = 64
# Services and meta travel in one STATE of 64 KiB (wire.md §1, §3); this is left for its other members.
_MAX_STATE_BYTES: Final = 65_536 - 1024
# What Linux takes: MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL, and MAX_TCP_KEEPCNT for the count (include/net/tcp.h).
_KEEPALIVE_SECONDS: Final = (1, 32_767)
_KEEPALIVE_COUNT: Final = (1, 127)
# A day: the kernel would take 24 of them, and nobody waits that long.
_USER_TIMEOUT: Final = (0.001, 86_400.0)
# What Linux takes: one second to TCP_RTO_MAX_SEC (include/net/tcp.h).
_RTO_MAX: Final = (1.0, 120.0)
# A wrong value is shown in the message, but no more of it than fits on a line.
_SHOWN: Final = 80
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_INSTANCE: Final = re.compile(r"[\x21-\x7e]{1,64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelOptions:
    """What is asked of the kernel for each connection. None: leave the kernel's own value.

    :ivar nodelay: TCP_NODELAY, so that a beat never waits for the answer to another
    :ivar keepalive: SO_KEEPALIVE; useful only on links that are idle by design (a heartbeat in flight disables it)
    :ivar keepalive_idle: seconds of idleness before the first keepalive probe
    :ivar keepalive_interval: seconds between probes
    :ivar keepalive_count: probes without answer before the kernel gives up
    :ivar user_timeout: TCP_USER_TIMEOUT, seconds after which the kernel gives up data that is not acknowledged;
        ``auto``: three times the detection time by which this end judges the other. The backstop behind the verdict:
        a number below the time of the verdict counts as that time. Set when the gate opens
    :ivar rto_max: TCP_RTO_MAX_MS, the longest pause in seconds between two retransmissions, 1 to 120 (Linux 6.15), so
        that a path that has healed is found soon. Only together with a user timeout: alone it makes the kernel give up
        after 15 such pauses

    What became of each is :attr:`.Peer.options`: ``applied``, ``refused`` or ``not available``.
    """

    nodelay: bool = True
    keepalive: bool = False
    keepalive_idle: int | None = None
    keepalive_interval: int | None = None
    keepalive_count: int | None = None
    user_timeout: float | Literal["auto"] | None = "auto"
    rto_max: float | None = None

    def __post_init__(self) -> None:
        check_flag("nodelay", self.nodelay)
        check_flag("keepalive", self.keepalive)
        if self.keepalive_idle is not None:
            check_whole("keepalive_idle", self.keepalive_idle, *_KEEPALIVE_SECONDS)
        if self.keepalive_interval is not None:
            check_whole("keepalive_interval", self.keepalive_interval, *_KEEPALIVE_SECONDS)
        if self.keepalive_count is not None:
            check_whole("keepalive_count", self.keepalive_count, *_KEEPALIVE_COUNT)
        if self.user_timeout is not None and self.user_timeout != "auto":
            check_user_timeout("user_timeout", self.user_timeout)
        if self.rto_max is not None:
            check_seconds("rto_max", self.rto_max, *_RTO_MAX)
            if self.user_timeout is None:
                raise ConfigError("rto_max", "needs a user_timeout: without one the kernel gives up far too early")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatConfig:
    """The settings of one end. Seconds are floats.

    :ivar id: this peer's name, 1-255 bytes, not starting with ``~``; None: anonymous
    :ivar instance: new at every start of the process; None: drawn once by whoever opens connections
    :ivar interval: between two PINGs of this end (``want_ping_ms``), 0.001 to 3600
    :ivar multiplier: how many intervals of ours the peer waits before it gives us up, 2 to 255
    :ivar min_interval: the fastest that the peer may ping us (``min_rx_ms``); 0: no flood control
    :ivar sync_interval: between two SYNCs, 0.1 to 86400; the larger of the two ends' counts
    :ivar adaptive: ping faster while answers are being lost, never faster than the peer allows
    :ivar detector: ``fixed``, ``phi`` or ``2w``; the others are more patient than the agreed time, never less
    :ivar handshake_timeout: until the gate is open, TLS included
    :ivar close_timeout: of a wrapped connection, how long a graceful close may stand still before it becomes an abort;
        a connection with nothing but heartbeats is closed within 1.5 s (``wire.md`` §6)
    :ivar max_detection: the longest detection time that this end agrees to
    :ivar services: names that this peer offers, announced by SYNC and STATE
    :ivar meta: free text by name, announced by STATE
    :ivar keys: shared keys (``wire.md`` §5), read as :class:`~heartbeat.keys.Keys`. A connector's, the preferred one
        first: it opens no gate without one. An acceptor's, for membership, or a mapping from ids and ``*`` to theirs
    :ivar auth: what an acceptor wants proved: ``none``, ``key``, ``mtls`` (a verified client certificate with the id
        among its names) or ``key+mtls``; None: ``key`` if it has keys. Whatever it says, an id that has a key of its
        own is never given without it
    :ivar bare: ``accept`` or ``refuse`` connectors whose first frame is PING; who wants a key refuses them anyway
    :ivar max_data: DATA bytes that we hold for an application that is not reading: the other end's first credit
    :ivar kernel: options for the kernel
    :raises ConfigError: names the field and the value
    """

    id: str | None = None
    instance: str | None = None
    interval: float = 5.0
    multiplier: int = 3
    min_interval: float = 0.1
    sync_interval: float = 5.0
    adaptive: bool = True
    detector: str = "fixed"
    handshake_timeout: float = 10.0
    close_timeout: float = 3.0
    max_detection: float = 300.0
    services: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict, hash=False)
    keys: Sequence[SharedKey] | Mapping[str, SharedKey | Sequence[SharedKey]] = field(default=(), repr=False)
    auth: Literal["none", "key", "mtls", "key+mtls"] | None = None
    bare: Literal["accept", "refuse"] = "accept"
    max_data: int = 1024 * 1024
    kernel: KernelOptions = field(default_factory=KernelOptions)

    def __post_init__(self) -> None:
        check_seconds("interval", self.interval, *_INTERVAL)
        check_whole("multiplier", self.multiplier, *_MULTIPLIER)
        check_seconds("min_interval", self.min_interval, *_FLOOR)
        check_seconds("sync_interval", self.sync_interval, *_SYNC)
        check_seconds("handshake_timeout", self.handshake_timeout, 0.001, _DETECT_LIMIT)
        check_seconds("close_timeout", self.close_timeout, 0.001, _DETECT_LIMIT)
        check_seconds("max_detection", self.max_detection, 0.001, _DETECT_LIMIT)
        check_whole("max_data", self.max_data, *_MAX_DATA)
        if self.detect > self.max_detection:
            times = f"{self.multiplier} × interval {self.interval} s"
            raise ConfigError("multiplier", f"{times} is over max_detection, {self.max_detection} s")
        check_flag("adaptive", self.adaptive)
        check_choice("detector", self.detector, DETECTORS)
        check_choice("bare", self.bare, ("accept", "refuse"))
        if self.id is not None:
            check_id("id", self.id)
        if self.instance is not None:
            check_instance("instance", self.instance)
        object.__setattr__(self, "keys", Keys(self.keys))
        check_auth("auth", self.auth, bool(self.keys))
        check_kernel("kernel", self.kernel)
        object.__setattr__(self, "services", check_services("services", self.services))
        object.__setattr__(self, "meta", check_meta("meta", self.meta))
        check_state("services", self.services, self.meta)

    @property
    def ring(self) -> Keys:
        """The :attr:`keys` as they are used."""
        return Keys(self.keys)  # it is one already

    @property
    def wants_key(self) -> bool:
        """An acceptor opens no gate without a shared key."""
        return bool(self.keys) if self.auth is None else "key" in self.auth

    @property
    def wants_certificate(self) -> bool:
        """An acceptor opens no gate without a verified client certificate."""
        return self.auth is not None and "mtls" in self.auth

    @property
    def detect(self) -> float:
        """Seconds without a sign of life after which the peer gives us up, by our own wish: multiplier × interval."""
        return self.multiplier * self.interval


def check_seconds(name: str, value: Any, lowest: float, highest: float) -> None:
    """Refuse what is not a number of seconds in range. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(name, f"must be a number of seconds, not {_shown(value)}")
    if not lowest <= value <= highest:  # NaN is in no range
        raise ConfigError(name, f"must be from {lowest:g} to {highest:g} seconds, not {_shown(value)}")


def check_whole(name: str, value: Any, lowest: int, highest: int) -> None:
    """Refuse what is not a whole number in range. Raises ConfigError."""
    if type(value) is not int or not lowest <= value <= highest:
        raise ConfigError(name, f"must be a whole number from {lowest} to {highest}, not {_shown(value)}")


def check_flag(name: str, value: Any) -> None:
    """Refuse what is neither True nor False: ``"no"`` is true for Python and meant otherwise. Raises ConfigError."""
    if not isinstance(value, bool):
        raise ConfigError(name, f"must be True or False, not {_shown(value)}")


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """Refuse what is none of the words. Raises ConfigError."""
    if not isinstance(value, str) or value not in choices:
        raise ConfigError(name, f"must be one of {', '.join(choices)}, not {_shown(value)}")


def check_id(name: str, value: Any) -> None:
    """Refuse what is no peer id (``wire.md`` §4). Raises ConfigError."""
    if not isinstance(value, str) or not value or value.startswith("~") or not _text(value, _MAX_ID_BYTES):
        raise ConfigError(name, f"must be 1-255 bytes, no control characters, not starting with ~: {_shown(value)}")


def check_instance(name: str, value: Any) -> None:
    """Refuse what is no boot id (``wire.md`` §4). Raises ConfigError."""
    if not isinstance(value, str) or not _INSTANCE.match(value):
        raise ConfigError(name, f"must be 1-64 printable ASCII characters, not {_shown(value)}")


def check_auth(name: str, value: Any, keys: bool) -> None:
    """Refuse what is no way to prove anything, or cannot be done without keys. Raises ConfigError."""
    if value is None:
        return
    check_choice(name, value, AUTH)
    if "key" in value and not keys:
        raise ConfigError(name, f"{value!r} needs keys")


def check_user_timeout(name: str, value: Any) -> None:
    """Refuse what is neither a number of seconds in range nor a word that was taken before. Raises ConfigError."""
    if isinstance(value, str):
        raise ConfigError(name, f"must be a number of seconds, 'auto' or None, not {_shown(value)}")
    check_seconds(name, value, *_USER_TIMEOUT)


def check_kernel(name: str, value: Any) -> None:
    """Refuse what is no KernelOptions; these validate themselves. Raises ConfigError."""
    if not isinstance(value, KernelOptions):
        raise ConfigError(name, f"must be KernelOptions, not {_shown(value)}")


def check_services(name: str, value: Any) -> tuple[str, ...]:
    """The names as a tuple without duplicates. Raises ConfigError that shows the wrong one."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ConfigError(name, f"must be a list of names, not {_shown(value)}")
    names = tuple(value)
    for one in names:
        if not isinstance(one, str) or not one or not _text(one, _MAX_SERVICE_BYTES):
            raise ConfigError(name, f"must be names of 1-255 bytes without control characters, not {_shown(one)}")
    unique = tuple(dict.fromkeys(names))
    if len(unique) > _MAX_SERVICES or sum(len(one.encode()) for one in unique) > _MAX_SERVICES_BYTES:
        raise ConfigError(name, f"at most {_MAX_SERVICES} names and {_MAX_SERVICES_BYTES} bytes in all")
    return unique


def check_meta(name: str, value: Any) -> Mapping[str, str]:
    """The pairs as a read-only mapping. Raises ConfigError that names the key."""
    if not isinstance(value, Mapping) or len(value) > _MAX_META:
        raise ConfigError(name, f"must be at most {_MAX_META} pairs of text")
    for key, text in value.items():
        if not isinstance(key, str) or not key or not _text(key, _MAX_META_NAME_BYTES):
            wanted = f"1-{_MAX_META_NAME_BYTES} bytes without control characters"
            raise ConfigError(name, f"a name must be {wanted}, not {_shown(key)}")
        if not isinstance(text, str) or not _text(text, _MAX_META_BYTES):
            raise ConfigError(f"{name}.{key}", f"must be at most {_MAX_META_BYTES} bytes without control characters")
    return MappingProxyType(dict(value))


def check_state(name: str, services: Sequence[str], meta: Mapping[str, str]) -> None:
    """Refuse services and meta that are in order one by one, and together too long for a STATE. Raises ConfigError."""
    body = json.dumps({"services": list(services), "meta": dict(meta)}, ensure_ascii=False, separators=(",", ":"))
    if len(body.encode()) > _MAX_STATE_BYTES:
        raise ConfigError(
            name, f"together with meta at most {_MAX_STATE_BYTES} bytes as JSON, not {len(body.encode())}"
        )


def _text(value: str, most: int) -> bool:
    try:
        return len(value.encode()) <= most and not _CONTROL.search(value)
    except UnicodeEncodeError:  # a lone surrogate
        return False


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of more than 4300 digits has no text
        text = "that"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
