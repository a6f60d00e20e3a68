"""From text to endpoints."""

from __future__ import annotations

import re
from typing import Any, Final

from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.internet.interfaces import IStreamClientEndpoint

from heartbeat.errors import ConfigError

__all__ = ["client_endpoint"]

_HOST_PORT: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^:\[\]/\\=]+)):(?P<port>[0-9]+)\Z")
MOST_PORT: Final = 65_535


def client_endpoint(reactor: Any, text: str) -> IStreamClientEndpoint:
    """``HOST:PORT`` and ``[V6]:PORT`` try both IP families; all else is an endpoint string of Twisted's, as it is.

    :raises ConfigError: names the text
    """
    match = _HOST_PORT.match(text)
    if match is not None:
        port = int(match["port"])
        if not 0 < port <= MOST_PORT:
            raise ConfigError("server", f"the port of {text!r} must be from 1 to {MOST_PORT}")
        return HostnameEndpoint(reactor, match["v6"] or match["host"], port)
    try:
        endpoint: IStreamClientEndpoint = clientFromString(reactor, text)
    except Exception as error:  # parsers of endpoint strings, plugins among them, raise what they like
        raise ConfigError("server", f"{text!r} is no HOST:PORT and no endpoint: {error}") from error
    return endpoint
