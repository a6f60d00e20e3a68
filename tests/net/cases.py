"""What the tests of this room share: an acceptor and peers played by hand, and a simulated network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from heartbeat import Dead, Event, HeartbeatConfig, HeartbeatListener, Left, Peer
from heartbeat.liveness.events import Refused
from heartbeat.net import Heartbeat, HeartbeatClientService, HeartbeatFactory, HeartbeatProtocol
from heartbeat.net.wheel import wheel_for
from heartbeat.testing import SimulatedHost, SimulatedNetwork
from heartbeat.wire.frames import Frame, Ping
from tests.net.hand import HandTransport, hello, ping

#: A healthy loop looks this often.
STEP = 0.005
INTERVAL = 0.5
#: What peers and tests agree on where nothing else is said: three intervals.
DETECT = 1.5


class Notes(HeartbeatListener):
    """Writes down what it is told, and when.

    :ivar lines: names of methods and peers, in order
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.seconds = seconds
        self.lines: list[tuple[str, str]] = []
        self.peers: list[Peer] = []
        self.events: list[tuple[float, str, Event]] = []
        self.refusals: list[Refused] = []

    def joined(self, peer: Peer) -> None:
        """A gate opened."""
        self.lines.append(("joined", peer.id))
        self.peers.append(peer)

    def changed(self, peer: Peer, event: Event) -> None:
        """Anything after that."""
        self.lines.append((type(event).__name__, peer.id))
        self.events.append((self.seconds(), peer.id, event))

    def gone(self, peer: Peer, event: Event) -> None:
        """It is dead or has left."""
        self.lines.append(("gone", peer.id))

    def refused(self, peer: Peer, event: Refused) -> None:
        """Its gate never opened."""
        self.lines.append(("refused", peer.id))
        self.refusals.append(event)

    def deaths(self) -> list[tuple[str, str]]:
        """Who died, and of what."""
        return [(name, event.cause) for _, name, event in self.events if isinstance(event, Dead)]

    def departures(self) -> list[tuple[str, str]]:
        """Who left, and how."""
        return [(name, event.detail) for _, name, event in self.events if isinstance(event, Left)]

    def of(self, kind: type[Event]) -> list[tuple[str, Event]]:
        """All events of one kind."""
        return [(name, event) for _, name, event in self.events if isinstance(event, kind)]


class HandCase(SynchronousTestCase):
    """An acceptor on a clock, and peers that are played by hand. At the end nothing is left."""

    def setUp(self) -> None:
        """A factory that notes everything."""
        self.clock = Clock()
        self.wheel = wheel_for(self.clock)
        self.notes = Notes(self.clock.seconds)
        self.factory = self.make_factory()
        self.transports: list[HandTransport] = []
        self.addCleanup(self.assert_nothing_left)

    def make_factory(self, **settings: Any) -> HeartbeatFactory:
        """Another one, with settings of the configuration."""
        config = HeartbeatConfig(**{"interval": INTERVAL, "min_interval": 0.0, "adaptive": False, **settings})
        return HeartbeatFactory(config, self.notes, reactor=self.clock)

    def connect(
        self, said: bytes = b"", *, host: str = "192.0.2.1", factory: HeartbeatFactory | None = None
    ) -> HandTransport:
        """One more connection, which says this first."""
        transport = HandTransport(self.clock, host, 40000 + len(self.transports))
        self.attach(transport, self.factory if factory is None else factory)
        if said:
            transport.say(said)
        return transport

    def attach(self, transport: HandTransport, factory: HeartbeatFactory) -> HeartbeatProtocol:
        """Connect a protocol of this factory."""
        self.transports.append(transport)
        transport.protocol = factory.buildProtocol(transport.getPeer())
        transport.protocol.makeConnection(transport)
        protocol: HeartbeatProtocol = transport.protocol
        return protocol

    def advance(self, seconds: float, *alive: HandTransport) -> None:
        """Time passes, and the loop is healthy. These peers answer all PINGs, and send one every 0.5 s."""
        end = self.clock.seconds() + seconds
        due = self.clock.seconds()
        while self.clock.seconds() < end - 1e-9:
            self.clock.advance(min(STEP, end - self.clock.seconds()))
            for transport in alive:
                self.answer(transport)
                if self.clock.seconds() >= due and not transport.gone and transport.reading:
                    transport.say(ping())
            if self.clock.seconds() >= due:
                due += INTERVAL

    @staticmethod
    def answer(transport: HandTransport) -> list[Frame]:
        """The peer answers what it was asked; gives all that it was told."""
        said = transport.said()
        for frame in said:
            if isinstance(frame, Ping) and not transport.gone and transport.reading:
                transport.say(b"HACK" + frame.encode()[4:])
        return said

    def assert_nothing_left(self) -> None:
        """All connections end; then there is no timer, no session and nobody watched."""
        for transport in self.transports:
            transport.lose()
        self.assertEqual(self.factory.connections, 0)
        self.assertEqual(self.wheel.watched, 0)
        self.clock.pump([0, 0, 0])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class HandleCase(HandCase):
    """An acceptor whose own pinging is out of the way."""

    def setUp(self) -> None:
        """A patient factory, and a peer that is patient, too."""
        super().setUp()
        self.factory = self.make_factory(interval=30.0)

    def open(self, **members: Any) -> tuple[HandTransport, Heartbeat]:
        """A connection behind its gate."""
        transport = self.connect(hello("a", **{"want_ping_ms": 30_000, **members}))
        transport.said()
        heartbeat: Heartbeat = transport.protocol.heartbeat
        return transport, heartbeat

    def answer_last(self, transport: HandTransport) -> None:
        """The peer answers the newest question only."""
        question = [frame for frame in transport.said() if isinstance(frame, Ping)][-1]
        transport.say(b"HACK" + question.encode()[4:])


class SimulatedCase(SynchronousTestCase):
    """A server and clients on a simulated network. At the end nothing is left."""

    def setUp(self) -> None:
        """A network with one server."""
        self.net = SimulatedNetwork(seed=11)
        self.addCleanup(self.net.assert_nothing_left)
        self.server = self.net.host("server")
        self.client = self.net.host("client")
        self.path = self.net.between(self.server, self.client)
        self.notes = Notes(lambda: self.net.now)
        self.client_notes = Notes(lambda: self.net.now)

    def listen(self, host: SimulatedHost | None = None, **settings: Any) -> HeartbeatFactory:
        """A server on this host."""
        host = self.server if host is None else host
        config = HeartbeatConfig(**{"interval": INTERVAL, **settings})
        factory = HeartbeatFactory(config, self.notes, reactor=host.reactor)
        host.listen(7600, factory)
        return factory

    def service(self, *servers: Any, **settings: Any) -> HeartbeatClientService:
        """A client service that does not run yet; it is stopped at the end."""
        config = HeartbeatConfig(**{"id": "client", "interval": INTERVAL, **settings})
        names = [f"{one.name}:7600" if isinstance(one, SimulatedHost) else one for one in servers or (self.server,)]
        service = HeartbeatClientService(names, config, self.client_notes, reactor=self.client.reactor)
        self.addCleanup(service.stopService)
        return service

    def connect(self, *servers: Any, **settings: Any) -> HeartbeatClientService:
        """A client service that runs and is connected."""
        service = self.service(*servers, **settings)
        service.startService()
        self.net.result(service.when_alive())
        return service
