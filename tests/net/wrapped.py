"""The ground of the tests of wrapped connections: a network, two hosts, and applications that remember."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from heartbeat.config import HeartbeatConfig
from heartbeat.net import heartbeat_client, heartbeat_factory
from heartbeat.net.wrapper import WrappingFactory
from heartbeat.testing import SimulatedNetwork
from heartbeat.wire.frames import Hello

PORT = 7600
#: Found in 1.5 s at the latest, and 64 KiB of credit: limits are met soon.
CONFIG = HeartbeatConfig(interval=0.5, multiplier=3, max_data=65_536)
HELLO = b'{"v":1,"caps":["state","stalled","data"],"want_ping_ms":500,"min_rx_ms":100,"max_data":65536}'


class Notes(Protocol):
    """An application that remembers everything."""

    transport: Any  # what it gets is the subject here

    def __init__(self) -> None:
        self.received = bytearray()
        self.chunks = 0
        self.said: list[str] = []
        self.lost: Failure | None = None
        self.on_data: Callable[[bytes], None] = lambda data: None

    def connectionMade(self) -> None:
        """Remember it."""
        self.said.append("made")

    def dataReceived(self, data: bytes) -> None:
        """Remember it."""
        self.received += data
        self.chunks += 1
        self.on_data(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Remember it."""
        self.said.append("lost")
        self.lost = reason


@implementer(IHalfCloseableProtocol)
class Halves(Notes):
    """... and knows of half-closed connections."""

    def readConnectionLost(self) -> None:
        """Remember it."""
        self.said.append("read over")

    def writeConnectionLost(self) -> None:
        """Remember it."""
        self.said.append("write over")


class NotesFactory(Factory):
    """Makes applications and keeps them."""

    noisy = False

    def __init__(self, kind: Callable[[], Protocol | None] = Notes) -> None:
        self.kind = kind
        self.built: list[Any] = []

    def buildProtocol(self, addr: object) -> Any:
        """One more."""
        protocol = self.kind()
        if protocol is not None:
            self.built.append(protocol)
        return protocol


class WrappedCase(SynchronousTestCase):
    """Two hosts, a wrapped server on one of them."""

    config = CONFIG

    def setUp(self) -> None:
        """The network; at the end of a test nothing may be left of it."""
        self.net = SimulatedNetwork(seed=7)
        self.server, self.client = self.net.host("server"), self.net.host("client")
        self.held: list[Any] = []
        self.addCleanup(lambda: self.net.assert_nothing_left(held=self.held))

    def listen(
        self, wrapped: IProtocolFactory, config: HeartbeatConfig | None = None, port: int = PORT, **more: Any
    ) -> WrappingFactory:
        """The factory of a wrapped server that listens."""
        factory = heartbeat_factory(wrapped, config or self.config, reactor=self.server.reactor, **more)
        self.server.listen(port, factory)
        return factory

    def endpoint(self, config: HeartbeatConfig | None = None, port: int = PORT, **more: Any) -> Any:
        """A wrapping endpoint towards the server."""
        inner = TCP4ClientEndpoint(self.client.reactor, "server", port)
        return heartbeat_client(inner, config or self.config, reactor=self.client.reactor, **more)

    def pair(
        self, theirs: Callable[[], Protocol] = Notes, ours: Callable[[], Protocol] = Notes, port: int = PORT
    ) -> tuple[Any, Any]:
        """The server's application and the client's, connected; whatever is left of them ends with the test."""
        served = NotesFactory(theirs)
        self.listen(served, port=port)
        mine = self.net.result(self.endpoint(port=port).connect(NotesFactory(ours)))
        self.net.run_until(lambda: bool(served.built and served.built[0].said))
        self.addCleanup(mine.transport.abortConnection)
        return served.built[0], mine

    def raw(self) -> Any:
        """An application on bare TCP, connected to the server, that has said HELLO and read the answer."""
        factory = NotesFactory()
        raw = self.net.result(TCP4ClientEndpoint(self.client.reactor, "server", PORT).connect(factory))
        self.addCleanup(raw.transport.abortConnection)
        raw.transport.write(Hello(HELLO).encode())
        self.net.run_until(lambda: raw.received.startswith(b"HELO"))
        return raw


def frames(data: bytes | bytearray) -> list[tuple[bytes, bytes]]:
    """(magic, what follows it) of each whole frame."""
    found, at = [], 0
    while at + 8 <= len(data):
        magic, high, low = struct.unpack_from(">4sHH", data, at)
        length = {b"HELO": (high << 16) + low, b"HDAT": (high << 16) + low, b"HSTA": (high << 16) + low}.get(magic, 0)
        length = low if magic == b"HBYE" else 24 if magic == b"HSYN" else length
        found.append((bytes(magic), bytes(data[at + 4 : at + 8 + length])))
        at += 8 + length
    return found
