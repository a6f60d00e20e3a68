"""The ground of the tests of observed connections: a network, two hosts, and applications that know nothing of us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IProtocolFactory, ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from heartbeat.interfaces import HeartbeatListener
from heartbeat.liveness.events import Event
from heartbeat.liveness.peer import Peer
from heartbeat.net.kernel import ENABLED
from heartbeat.net.observe import observe_client, observe_factory
from heartbeat.net.observed import ObservingFactory
from heartbeat.testing import SilentDrop, SimulatedNetwork
from tests.net.wrapped import Notes, NotesFactory

PORT = 5432
#: Seconds: keepalives after 2 s and then each second, so a dead path is found at 6 s of silence.
DETECT = 6.0


class Board(HeartbeatListener):
    """Remembers what it is told, and of whom."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.events: list[Event] = []
        self.peers: list[Peer] = []

    def joined(self, peer: Peer) -> None:
        """Remember it."""
        self.told.append("joined")
        self.peers.append(peer)

    def changed(self, peer: Peer, event: Event) -> None:
        """Remember it."""
        self.told.append(type(event).__name__)
        self.events.append(event)

    def gone(self, peer: Peer, event: Event) -> None:
        """Remember it."""
        self.told.append("gone")


@implementer(ISSLTransport)
class Secure(StringTransportWithDisconnection):
    """A transport in memory that says it is TLS."""

    def getPeerCertificate(self) -> None:
        """None was shown."""


class ObservedCase(SynchronousTestCase):
    """Two hosts; the server watches its clients, which do not know."""

    skip = None if ENABLED else "the simulated kernel is asked for keepalives, which HEARTBEAT_NO_KERNEL forbids"

    def setUp(self) -> None:
        """The network; at the end of a test nothing may be left of it."""
        self.net = SimulatedNetwork(seed=11)
        self.server, self.client = self.net.host("server"), self.net.host("client")
        self.board = Board()
        self.held: list[Any] = []
        self.addCleanup(lambda: self.net.assert_nothing_left(held=self.held))

    def factory(self, wrapped: IProtocolFactory, **settings: Any) -> ObservingFactory:
        """An observing factory on the server."""
        settings = {"detect": DETECT, "listener": self.board, "reactor": self.server.reactor, **settings}
        return observe_factory(wrapped, **settings)

    def plain(self) -> TCP4ClientEndpoint:
        """The way of an unmodified client to the server."""
        return TCP4ClientEndpoint(self.client.reactor, "server", PORT)

    def watching(self, **settings: Any) -> Any:
        """An observing endpoint towards an unmodified server."""
        settings = {"detect": DETECT, "listener": self.board, "reactor": self.client.reactor, **settings}
        return observe_client(self.plain(), **settings)

    def pair(self, theirs: Callable[[], Protocol] = Notes, **settings: Any) -> tuple[Any, Any]:
        """The server's application, whose peer is watched, and the client's, which is unmodified."""
        served = NotesFactory(theirs)
        self.server.listen(PORT, self.factory(served, **settings))
        mine: Any = self.net.result(self.plain().connect(NotesFactory()))
        self.net.run_until(lambda: bool(served.built and served.built[0].said))
        self.addCleanup(mine.transport.abortConnection)
        self.hold(served.built[0], mine)
        return served.built[0], mine

    def hold(self, *applications: Any) -> None:
        """The test itself still refers to these when it ends."""
        for one in applications:
            self.held += [one, one.transport]

    def drop(self) -> None:
        """Nothing passes any more."""
        self.net.between(self.client, self.server).add(SilentDrop())

    def lost_after(self, application: Any, limit: float = 60.0) -> float:
        """Let time pass until the application has lost its connection."""
        return self.net.run_until(lambda: application.lost is not None, limit)
