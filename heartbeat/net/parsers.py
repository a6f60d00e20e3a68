"""The ``heartbeat:`` prefix of endpoint strings: any endpoint of Twisted's, with our keys beside its own.

``heartbeat:tcp:8080:beatInterval=2`` is ``tcp:8080`` under a heartbeat. The inner endpoint is written flat, as behind
``haproxy:``, and may be a prefix again. Nothing here touches a reactor: every ``twist`` command imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

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
from heartbeat.keys import KeyFileError, Keys, read_keys
from heartbeat.net.endpoints import heartbeat_client, heartbeat_server

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
#: ... and the others.
OTHERS: Final = ("beatDetect", "beatKey", "beatMode")
MODES: Final = ("frame", "accept", "observe", "shadow")
#: Keys of the other modes, and what this version lacks.
NOT_YET: Final = {
    "beatIdle": "belongs to beatMode=observe, and this version has only beatMode=frame",
}


@implementer(IPlugin, IStreamServerEndpointStringParser, IStreamClientEndpointStringParserWithReactor)
class HeartbeatParser:
    """The parser that Twisted finds for ``heartbeat:``, for servers and for clients."""

    prefix = "heartbeat"

    def parseStreamServer(self, reactor: IReactorCore, *args: object, **kwargs: object) -> IStreamServerEndpoint:
        """The inner endpoint under a heartbeat.

        :raises ConfigError: (a ValueError) names the key and the value
        """
        inner, config = _parse(args, kwargs, acceptor=True)
        return heartbeat_server(serverFromString(reactor, inner), config, reactor=reactor)

    def parseStreamClient(self, reactor: IReactorCore, *args: object, **kwargs: object) -> IStreamClientEndpoint:
        """The inner endpoint under a heartbeat; ``connect`` gives the caller's own protocol.

        :raises ConfigError: (a ValueError) names the key and the value
        """
        inner, config = _parse(args, kwargs, acceptor=False)
        return heartbeat_client(clientFromString(reactor, inner), config, reactor=reactor)


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
    _check_mode(ours.get("beatMode", "frame"))
    settings: dict[str, Any] = {}
    for key, text in ours.items():
        if key in NOT_YET:
            raise ConfigError(key, NOT_YET[key])
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


def _parse(args: Sequence[object], kwargs: Mapping[str, object], *, acceptor: bool) -> tuple[str, HeartbeatConfig]:
    ours, theirs = split_keys({key: str(value) for key, value in kwargs.items()})
    if not args:
        raise ConfigError(HeartbeatParser.prefix, "needs an endpoint behind it, as in heartbeat:tcp:8080")
    return unparse([str(one) for one in args], theirs), configured(ours, acceptor=acceptor)


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        raise ConfigError("beatMode", f"must be frame, not {_shown(mode)}")
    if mode != "frame":
        raise ConfigError("beatMode", f"this version has only beatMode=frame, not {_shown(mode)}")


def _read(key: str, text: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise ConfigError(key, f"{error}, not {_shown(text)}") from None


def _keys(path: str, acceptor: bool) -> Keys:
    """The keys in a file, which no message shows."""
    try:
        return read_keys(path, ids=acceptor)
    except KeyFileError as error:
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


def _named(error: ConfigError, ours: Mapping[str, str]) -> ConfigError:
    """The error of a field in the words of whoever wrote the key."""
    message = str(error).partition(": ")[2]
    for key, (name, _) in FIELDS.items():
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
