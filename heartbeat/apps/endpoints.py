"""Endpoint strings as option values: are they well written? Whether they can be opened is found out when they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from OpenSSL.SSL import Error as TLSError
from twisted.internet.endpoints import clientFromString, serverFromString

from heartbeat.apps.exits import why
from heartbeat.apps.kinds import shown
from heartbeat.errors import ConfigError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorCore, IStreamServerEndpoint

__all__ = ["listening_endpoint", "server_address", "server_endpoint"]

#: What Twisted's endpoint parsers raise for a string that is badly written. Each parser is a function of its own, some
#: come from plugins, and none promises one class of errors.
BADLY_WRITTEN: Final = (ValueError, TypeError, LookupError, AttributeError, ImportError)

_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:/\s=]+):([0-9]{1,5})", re.ASCII)
_PREFIX: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*:", re.ASCII)


def server_endpoint(reactor: IReactorCore, name: str, text: str) -> IStreamServerEndpoint:
    """The endpoint that ``text`` means.

    :param name: the option, for errors
    :raises ConfigError: names the option and the value
    :raises OSError: a file that the endpoint names cannot be read, or holds no certificate or key
    """
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)  # type: ignore[no-untyped-call]  # Twisted's
    except BADLY_WRITTEN as error:
        raise ConfigError(name, f"must be an endpoint string, not {shown(text)} ({why(error)})") from None
    except TLSError:
        raise OSError(None, "a bad certificate or key", f"{name} {text}") from None
    except OSError as error:
        raise OSError(error.errno, why(error), f"{name} {text}") from None
    return endpoint


def listening_endpoint(name: str, text: str) -> str:
    """The check of an option whose value is a server endpoint string. Raises ConfigError."""
    from twisted.internet import reactor  # fetched when called: twist has read --reactor by then

    port = _port_of(text)
    if port is not None and not 0 <= port <= 65_535:
        raise ConfigError(name, f"a port is from 0 to 65535: {shown(text)}")
    server_endpoint(reactor, name, text)
    return text


def server_address(name: str, text: str) -> str:
    """The check of an option whose value is ``HOST:PORT`` (``[::1]:7600`` too) or a client endpoint string.

    Raises ConfigError.
    """
    from twisted.internet import reactor  # fetched when called: twist has read --reactor by then

    found = _ADDRESS.fullmatch(text)
    if found:
        if not 1 <= int(found[2]) <= 65_535:
            raise ConfigError(name, f"a port is from 1 to 65535: {shown(text)}")
        return text
    if not _PREFIX.match(text):
        raise ConfigError(name, f"must be HOST:PORT or an endpoint string, not {shown(text)}")
    try:
        clientFromString(reactor, text)  # type: ignore[no-untyped-call]  # Twisted's
    except BADLY_WRITTEN as error:
        raise ConfigError(name, f"must be HOST:PORT or an endpoint string, not {shown(text)} ({why(error)})") from None
    except TLSError:
        raise OSError(None, "a bad certificate or key", f"{name} {text}") from None
    except OSError as error:
        raise OSError(error.errno, why(error), f"{name} {text}") from None
    return text


def _port_of(text: str) -> int | None:
    """The port in ``tcp:PORT…`` and its like, which Twisted's parsers take without looking at its range."""
    found = re.match(r"(?:haproxy:)?(?:tcp6?|ssl):(?:port=)?([0-9]+)(?::|$)", text)
    return int(found[1][:9]) if found else None
