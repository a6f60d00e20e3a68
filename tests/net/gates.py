"""Servers that behave in several ways, and a gated endpoint to them."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from heartbeat import HeartbeatConfig
from heartbeat.net.gate import Connectors, GatedEndpoint
from heartbeat.wire.frames import Bye
from tests.net.cases import INTERVAL, SimulatedCase

#: Segments take a while, and a closing connection a turn or two.
SOON = 0.1


class Silent(Protocol):
    """A server that accepts and never says a word."""


class Refusing(Protocol):
    """A server that answers every HELLO with this BYE."""

    def __init__(self, code: int, reason: str = "") -> None:
        self.farewell = Bye(code, reason).encode()

    def dataReceived(self, data: bytes) -> None:
        """Say it, and let the client close."""
        assert self.transport is not None
        self.transport.write(self.farewell)


class Closing(Protocol):
    """A server that accepts and closes."""

    def connectionMade(self) -> None:
        """Close."""
        assert self.transport is not None
        self.transport.loseConnection()


class Inner(Protocol):
    """What stands behind the gate."""

    made = 0
    lost: Failure | None = None

    def connectionMade(self) -> None:
        """Count it."""
        self.made += 1

    def connectionLost(self, reason: Any = None) -> None:
        """Keep the reason."""
        self.lost = reason


class GateCase(SimulatedCase):
    """Endpoints of a client to servers that behave in several ways."""

    def endpoint(self, *servers: Any, **settings: Any) -> GatedEndpoint:
        """A gated endpoint to these hosts."""
        config = HeartbeatConfig(**{"id": "client", "interval": INTERVAL, **settings})
        self.connectors = Connectors(config, self.client_notes, reactor=self.client.reactor)
        reactor = self.client.reactor
        hosts = servers or (self.server,)
        return GatedEndpoint([HostnameEndpoint(reactor, one.name, 7600) for one in hosts], self.connectors)

    def connect_to(self, endpoint: GatedEndpoint) -> Inner:
        """Connect; gives what stands behind the gate."""
        inner: Inner = self.net.result(endpoint.connect(Factory.forProtocol(Inner)))
        return inner
