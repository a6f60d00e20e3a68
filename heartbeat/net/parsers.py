"""The ``heartbeat:`` prefix of endpoint strings: any endpoint of Twisted's, with our keys beside its own.

``heartbeat:tcp:8080:beatInterval=2`` is ``tcp:8080`` under a heartbeat. The inner endpoint is written flat, as behind
``haproxy:``, and may be a prefix again. Nothing here touches a reactor: every ``twist`` command imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer

from heartbeat.config import HeartbeatConfig
from heartbeat.errors import ConfigError
from heartbeat.keys import Keys, SecretFileError, read_keys
from heartbeat.net.endpoints import heartbeat_client, heartbeat_server
from heartbeat.net.limits import ObserveLimits
from heartbeat.net.observe import ObservingClientEndpoint, ObservingServerEndpoint
from heartbeat.net.observed import Observer
from heartbeat.net.shadow import ShadowObserver
from heartbeat.net.wheel import wheel_for

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorCore

__all__ = ["HeartbeatParser", "split_keys", "unparse"]

#: All our keys begin with it, so that none is taken from the inner endpoint.
OURS: Final = "beat"
# What stands between parameters, between key and value, and before what is meant literally.
SPECIAL: Final = "\\:="
# A wrong value is shown in the message, but no more of it than fits on a line.
SHOWN: Final = 80


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("must be a number of seconds") from None


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("must be a whole number")
    return int(text)


#: Each key that says one thing of the configuration: its field, and how its value is read.
FIELDS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "beatInterval": ("interval", _seconds),
    "beatMultiplier": ("multiplier", _whole),
    "beatSync": ("sync_interval", _seconds),
    "beatMinInterval": ("min_interval", _seconds),
    "beatDetector": ("detector", str),
    "beatId": ("id", str),
    "beatBare": ("bare", str),
    "beatMaxData": ("max_data", _whole),
    "beatHandshake": ("handshake_timeout", _seconds),
}
#: Those in which not a byte is ours, and what they take: the parameter, and how its value is read.
WATCHING: Final = ("observe", "shadow")
WATCH_FIELDS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    "beatDetect": ("detect", _seconds),
    "beatIdle": ("idle", _seconds),
    "beatHandshake": ("handshake_timeout", _seconds),
}
MODES: Final = ("frame", "accept", *WATCHING)
#: What else there is.
OTHERS: Final = ("beatDetect", "beatIdle", "beatKey", "beatMode")


@implementer(IPlugin, IStreamServerEndpointStringParser, IStreamClientEndpointStringParserWithReactor)
class HeartbeatParser:
    """The parser that Twisted finds for ``heartbeat:``, for servers and for clients."""

    prefix = "heartbeat"

    def parseStreamServer(self, reactor: IReactorCore, *args: object, **kwargs: object) -> IStreamServerEndpoint:
        """The inner endpoint under a heartbeat.

        :raises ConfigError: (a ValueError) names the key and the value
        """
        inner, ours = _parse(args, kwargs)
        mode = _mode(ours)
        if mode in WATCHING:
            watched_by = _observer(mode, ours, reactor)
            return ObservingServerEndpoint(serverFromString(reactor, inner), watched_by)
        if mode == "accept" and "beatKey" in ours:
            raise ConfigError("beatKey", "proves nothing with beatMode=accept, which lets in who is not framed, too")
        kind: Literal["frame", "accept"] = "accept" if mode == "accept" else "frame"
        return heartbeat_server(
            serverFromString(reactor, inner), configured(ours, acceptor=True), reactor=reactor, mode=kind
        )

    def parseStreamClient(self, reactor: IReactorCore, *args: object, **kwargs: object) -> IStreamClientEndpoint:
        """The inner endpoint under a heartbeat; ``connect`` gives the caller's own protocol.

        :raises ConfigError: (a ValueError) names the key and the value
        """
        inner, ours = _parse(args, kwargs)
        mode = _mode(ours)
        if mode in WATCHING:
            watched_by = _observer(mode, ours, reactor)
            return ObservingClientEndpoint(clientFromString(reactor, inner), watched_by)
        if mode == "accept":
            raise ConfigError("beatMode", "'accept' is for servers: a client is framed or it is not")
        return heartbeat_client(clientFromString(reactor, inner), configured(ours, acceptor=False), reactor=reactor)


def unparse(args: Sequence[str], kwargs: Mapping[str, str]) -> str:
    """Write parsed parameters as an endpoint string again; Twisted's own helper leaves ``=`` as it is."""
    return ":".join([*map(_quoted, args), *(f"{_quoted(key)}={_quoted(value)}" for key, value in kwargs.items())])


def split_keys(kwargs: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Our keys, and those of the inner endpoint."""
    ours = {key: value for key, value in kwargs.items() if key.startswith(OURS)}
    return ours, {key: value for key, value in kwargs.items() if key not in ours}


def configured(ours: Mapping[str, str], *, acceptor: bool = True) -> HeartbeatConfig:
    """The configuration that the keys say. Raises ConfigError that names key and value.

    :param acceptor: of a server, in whose key file a key may stand behind the id that it proves
    """
    settings: dict[str, Any] = {}
    for key, text in ours.items():
        if key == "beatIdle":
            raise ConfigError(key, f"belongs to beatMode={' and beatMode='.join(WATCHING)} (in {key}={_shown(text)})")
        if key in FIELDS:
            name, read = FIELDS[key]
            settings[name] = _read(key, text, read)
        elif key == "beatKey":
            settings["keys"] = _keys(text, acceptor)
        elif key not in OTHERS:
            raise ConfigError(key, f"is not known; there are {', '.join(sorted([*FIELDS, *OTHERS]))}")
    if "beatDetect" in ours:
        settings["interval"] = _interval(ours, settings)
    try:
        return HeartbeatConfig(**settings)
    except ConfigError as error:
        raise _named(error, ours) from None


def watched(ours: Mapping[str, str]) -> ObserveLimits:
    """The limits that the keys say where not a byte is ours. Raises ConfigError that names key and value."""
    settings: dict[str, Any] = {}
    for key, text in ours.items():
        if key in WATCH_FIELDS:
            name, read = WATCH_FIELDS[key]
            settings[name] = _read(key, text, read)
        elif key != "beatMode":
            known = ", ".join(sorted([*WATCH_FIELDS, "beatMode"]))
            raise ConfigError(key, f"means nothing with beatMode={ours['beatMode']}, which takes {known}")
    try:
        return ObserveLimits(**settings)
    except ConfigError as error:
        raise _named(error, ours, WATCH_FIELDS) from None


def _observer(mode: str, ours: Mapping[str, str], reactor: Any) -> Observer:
    """What watches the connections of one endpoint."""
    limits, wheel = watched(ours), wheel_for(reactor)
    return (ShadowObserver if mode == "shadow" else Observer)(limits, None, reactor, wheel)


def _parse(args: Sequence[object], kwargs: Mapping[str, object]) -> tuple[str, dict[str, str]]:
    ours, theirs = split_keys({key: str(value) for key, value in kwargs.items()})
    if not args:
        raise ConfigError(HeartbeatParser.prefix, "needs an endpoint behind it, as in heartbeat:tcp:8080")
    return unparse([str(one) for one in args], theirs), ours


def _mode(ours: Mapping[str, str]) -> str:
    mode = ours.get("beatMode", "frame")
    if mode not in MODES:
        raise ConfigError("beatMode", f"must be one of {', '.join(MODES)}, not {_shown(mode)}")
    return mode


def _read(key: str, text: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise ConfigError(key, f"{error}, not {_shown(text)}") from None


def _keys(path: str, acceptor: bool) -> Keys:
    """The keys in a file, which no message shows."""
    try:
        return read_keys(path, ids=acceptor)
    except SecretFileError as error:
        raise ConfigError("beatKey", str(error)) from None
    except OSError as error:
        raise ConfigError("beatKey", f"{_shown(path)}: {error.strerror or error}") from None


def _interval(ours: Mapping[str, str], settings: Mapping[str, Any]) -> float:
    """The interval of a detection time: that is multiplier × interval."""
    text = ours["beatDetect"]
    if "beatInterval" in ours:
        raise ConfigError("beatDetect", f"{_shown(text)} is said by beatInterval, too: leave one out")
    multiplier: int = settings.get("multiplier", HeartbeatConfig().multiplier)
    seconds: float = _read("beatDetect", text, _seconds)
    return seconds / multiplier if multiplier > 0 else seconds


def _named(
    error: ConfigError, ours: Mapping[str, str], read_as: Mapping[str, tuple[str, Callable[[str], Any]]] = FIELDS
) -> ConfigError:
    """The error of a field in the words of whoever wrote the key."""
    message = str(error).partition(": ")[2]
    for key, (name, _) in read_as.items():
        if name == error.name and key in ours:
            return ConfigError(key, f"{message} (in {key}={_shown(ours[key])})")
    for key in ("beatDetect", "beatInterval", "beatMultiplier"):
        if key in ours:
            return ConfigError(key, f"{message} (in {key}={_shown(ours[key])})")
    return error


def _quoted(text: str) -> str:
    for one in SPECIAL:
        text = text.replace(one, f"\\{one}")
    return text


def _shown(text: str) -> str:
    return repr(text) if len(text) <= SHOWN else f"{text[:SHOWN]!r}…"
