"""A server that takes framed clients and old ones on one port, and the two kinds of client."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint


def server(reactor: Any) -> IStreamServerEndpoint:
    endpoint: IStreamServerEndpoint = serverFromString(reactor, "heartbeat:tcp:8080:beatInterval=2:beatMode=accept")
    return endpoint


def old_client(reactor: Any) -> IStreamClientEndpoint:
    endpoint: IStreamClientEndpoint = clientFromString(reactor, "tcp:server:8080")
    return endpoint


def new_client(reactor: Any) -> IStreamClientEndpoint:
    endpoint: IStreamClientEndpoint = clientFromString(reactor, "heartbeat:tcp:server:8080:beatInterval=2")
    return endpoint
