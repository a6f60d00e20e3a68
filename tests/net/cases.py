"""What the tests of this room share: a transport that is moved by hand, and a simulated network."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from heartbeat import Dead, Event, HeartbeatConfig, HeartbeatListener, Left, Peer
from heartbeat.liveness.events import Refused
from heartbeat.liveness.evidence import Ending, Evidence, TcpInfo
from heartbeat.net import HeartbeatClientService, HeartbeatFactory, HeartbeatProtocol
from heartbeat.net.link import ILinkSource, Link
from heartbeat.net.wheel import wheel_for
from heartbeat.testing import SimulatedHost, SimulatedNetwork
from heartbeat.wire.codec import Decoder
from heartbeat.wire.frames import BODY_LIMITS, Bye, Frame, Hello, Ping

#: A healthy loop looks this often.
STEP = 0.005
INTERVAL = 0.5
#: What peers and tests agree on where nothing else is said: three intervals.
DETECT = 1.5
ENDINGS = {ConnectionDone: "eof", ConnectionAborted: "aborted"}


def hello(id: str | None = None, **members: Any) -> bytes:
    """A connector's HELLO, as any implementation may write it."""
    said = {"v": 1, "id": id, "want_ping_ms": 500, "min_rx_ms": 0, "caps": ["state", "stalled"], **members}
    body = json.dumps({name: value for name, value in said.items() if value is not None})
    return Hello(body.encode()).encode()


def ping(seq: int = 1, ts: int = 0) -> bytes:
    """A PING."""
    return Ping(seq, ts).encode()


def bye(code: int = 0, reason: str = "") -> bytes:
    """A BYE."""
    return Bye(code, reason).encode()


def decoded(data: bytes) -> list[Frame]:
    """The frames in some bytes, which must be whole."""
    decoder = Decoder()
    decoder.feed(data)
    found = []
    while (frame := decoder.next(BODY_LIMITS)) is not None:
        found.append(frame)
    assert not decoder.pending, data
    return found


@implementer(ILinkSource)
class HandTransport:
    """A transport and its link in one. The test says what the kernel takes, and is the peer.

    :ivar takes: whether the kernel takes what is written
    :ivar queue: what it did not take; :meth:`empty` hands it over
    :ivar sent: what the kernel has, as far as :meth:`said` has not read it
    :ivar history: all frames that :meth:`said` has read so far
    :ivar done: ``close`` and ``abort``, as they were called
    :ivar arrived: what :meth:`arrived_at` answers; each call is counted in :ivar:`asked`
    """

    exact = True

    def __init__(self, reactor: Clock, host: str = "192.0.2.1", port: int = 40000) -> None:
        self.reactor = reactor
        self.peer: Any = IPv4Address("TCP", host, port)
        self.protocol: Any = None
        self.takes = True
        self.queue = b""
        self.sent = b""
        self.history: list[Frame] = []
        self.reading = True
        self.done: list[str] = []
        self.arrived: float | None = None
        self.asked = 0
        self.unread: int | None = None
        self.tcp: TcpInfo | None = None
        self.gone = False
        self.transport = self
        self._waiting: list[Callable[[], None]] = []

    # -- the transport

    def heartbeat_link(self) -> Link:
        """It is its own."""
        return self

    def getPeer(self) -> Any:
        """The address of the peer."""
        return self.peer

    def getHost(self) -> Any:
        """Ours."""
        return IPv4Address("TCP", "192.0.2.254", 7600)

    # -- the link

    def write(self, data: bytes) -> bool:
        """The kernel takes all of it, or nothing."""
        if self.takes and not self.queue:
            self.sent += data
            return True
        self.queue += data
        return False

    def drained(self, callback: Callable[[], None]) -> None:
        """When :meth:`empty` is called."""
        self._waiting.append(callback)

    def look(self, now: float) -> Evidence:
        """What the test set."""
        return Evidence(now, unread=self.unread, reading=self.reading, tcp=self.tcp)

    def arrived_at(self, now: float) -> float | None:
        """What the test set."""
        self.asked += 1
        return self.arrived

    def pause(self) -> None:
        """Read nothing."""
        self.reading = False

    def resume(self) -> None:
        """Read again."""
        self.reading = True

    def close(self) -> None:
        """As a socket: gone in the next turn, unless something is unsent."""
        self.done.append("close")
        if not self.queue:
            self.reactor.callLater(0, self.lose)

    def abort(self) -> None:
        """As a socket: gone in the next turn."""
        if "abort" not in self.done:
            self.done.append("abort")
            self.reactor.callLater(0, self.lose, ConnectionAborted)

    def ending(self, reason: Failure, now: float) -> Ending:
        """What the reason says."""
        return Ending(ENDINGS.get(reason.type, "error"))  # type: ignore[arg-type]  # a table of the allowed words

    # -- the test

    def say(self, data: bytes) -> None:
        """The peer sent this."""
        self.protocol.dataReceived(data)

    def said(self) -> list[Frame]:
        """The frames that came since the last call."""
        data, self.sent = self.sent, b""
        frames = decoded(data)
        self.history += frames
        return frames

    def empty(self) -> None:
        """The kernel takes all that waits, and says so."""
        self.sent += self.queue
        self.queue = b""
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()

    def lose(self, why: type[Exception] = ConnectionDone) -> None:
        """The connection ends."""
        if not self.gone:
            self.gone = True
            self.protocol.connectionLost(Failure(why()))


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
