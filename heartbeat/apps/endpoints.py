"""Endpoint strings as option values: are they well written? Whether they can be opened is found out when they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from OpenSSL import SSL, crypto
from twisted.internet.endpoints import serverFromString

from heartbeat.apps.exits import why
from heartbeat.apps.kinds import shown
from heartbeat.errors import ConfigError
from heartbeat.net.endpoints import client_endpoint

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorCore, IStreamServerEndpoint

__all__ = ["listening_endpoint", "server_address", "server_endpoint"]

#: What Twisted's endpoint parsers raise for a string that is badly written. Each parser is a function of its own, some
#: come from plugins, and none promises one class of errors.
BADLY_WRITTEN: Final = (ValueError, TypeError, LookupError, AttributeError, ImportError)


def server_endpoint(reactor: IReactorCore, name: str, text: str) -> IStreamServerEndpoint:
    """The endpoint that ``text`` means.

    :param name: the option, for errors
    :raises ConfigError: names the option and the value
    :raises OSError: a file that the endpoint names cannot be read, or holds no certificate or key
    """
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except BADLY_WRITTEN as error:
        raise ConfigError(name, f"must be an endpoint string, not {shown(text)} ({why(error)})") from None
    except (SSL.Error, crypto.Error):
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

    try:
        client_endpoint(reactor, text)
    except ConfigError as error:
        message = str(error).partition(": ")[2]
        raise ConfigError(name, f"must be HOST:PORT or an endpoint string: {message}") from None
    return text


def _port_of(text: str) -> int | None:
    """The port in ``tcp:PORT…`` and its like, which Twisted's parsers take without looking at its range."""
    found = re.match(r"(?:haproxy:)?(?:tcp6?|ssl):(?:port=)?([0-9]+)(?::|$)", text)
    return int(found[1][:9]) if found else None
