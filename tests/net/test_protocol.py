"""The protocol and the factory of an acceptor: gates, deadlines, names, and who drives what."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import ISSLTransport, IUNIXTransport
from twisted.internet.protocol import ServerFactory
from twisted.internet.testing import MemoryReactorClock, StringTransport
from zope.interface import implementer, verify

from heartbeat import HeartbeatConfig, State
from heartbeat.interfaces import IStateSource
from heartbeat.liveness.report import Report
from heartbeat.net import HeartbeatFactory, HeartbeatProtocol
from heartbeat.net.gate import Connectors
from heartbeat.wire.frames import Ack, Bye, Hello, Sync
from tests.net.cases import INTERVAL, HandCase
from tests.net.hand import HandTransport, bye, decoded, hello, ping

#: The wheel's resolution, and a step of the loop.
LATE = 0.05


@implementer(ISSLTransport)
class TlsTransport(HandTransport):
    """A transport whose handshake the test completes."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """It is a TCP transport, too."""

    def complete(self) -> None:
        """The handshake is done."""
        self.protocol.handshakeCompleted()


@implementer(IUNIXTransport)
class UnixTransport(HandTransport):
    """A UNIX socket."""

    def getPeer(self) -> Any:
        """Clients have no name."""
        return UNIXAddress(None)


class FactoryTests(HandCase):
    """What a factory is and builds."""

    def test_a_protocol_for_each(self) -> None:
        """A server endpoint gets one fresh protocol for each connection, which knows its factory."""
        one, other = (self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1)) for _ in range(2))
        self.assertIsInstance(one, HeartbeatProtocol)
        self.assertIsNot(one, other)
        self.assertIs(one.factory, self.factory)
        self.assertEqual(self.factory.connections, 0)

    def test_not_connected_yet(self) -> None:
        """A protocol that was never connected can be lost, and leaves nothing."""
        protocol = self.factory.buildProtocol(None)
        protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_handle(self) -> None:
        """A connection has one handle, also when it is first asked for after the end."""
        transport = self.connect(hello("a"))
        self.assertIs(transport.protocol.heartbeat, transport.protocol.heartbeat)
        other = self.connect(hello("b"))
        other.lose()
        self.assertIs(other.protocol.heartbeat.state, State.DEAD)
        self.successResultOf(other.protocol.heartbeat.when_gone())

    def test_connections(self) -> None:
        """The open ones are counted, whatever their state."""
        transports = [self.connect(), self.connect(hello("a")), self.connect(ping())]
        self.assertEqual(self.factory.connections, 3)
        transports[1].say(bye())
        self.assertEqual(self.factory.connections, 3)
        self.advance(LATE)
        self.assertEqual(self.factory.connections, 2)

    def test_nothing_refers_to_the_gone(self) -> None:
        """Protocol and transport are free as soon as the connection is gone, even while somebody keeps the handle."""
        transport = self.connect(hello("a"))
        heartbeat = transport.protocol.heartbeat
        gone = [weakref.ref(transport), weakref.ref(transport.protocol)]
        transport.lose()
        self.transports.clear()
        del transport
        gc.collect()
        self.assertEqual([ref() for ref in gone], [None, None])
        self.assertEqual((heartbeat.state, heartbeat.cause), (State.DEAD, "peer_closed"))

    def test_the_instance(self) -> None:
        """Each factory announces an instance of its own, the same on all its connections, unless one was configured."""
        told = [self.told(self.factory) for _ in range(2)]
        other = self.make_factory()
        self.assertEqual(told[0]["instance"], told[1]["instance"])
        self.assertNotEqual(self.told(other)["instance"], told[0]["instance"])
        self.assertEqual(self.told(self.make_factory(instance="boot-7"))["instance"], "boot-7")

    def test_new_nonces(self) -> None:
        """Each connection has a nonce of its own: 16 bytes, as hex digits."""
        nonces = {self.told(self.factory)["nonce"] for _ in range(20)}
        self.assertEqual((len(nonces), {len(nonce) for nonce in nonces}), (20, {32}))

    def test_a_new_configuration(self) -> None:
        """A replaced configuration is for new connections; those that are open keep what they agreed on."""
        old = self.connect(hello("old", min_rx_ms=0))
        self.factory.config = HeartbeatConfig(interval=2.0, min_interval=0.0, instance=self.factory.config.instance)
        self.assertEqual(self.told(self.factory)["want_ping_ms"], 2000)
        self.assertEqual(old.protocol.heartbeat.peer.interval, INTERVAL)
        instance = self.factory.config.instance
        self.factory.config = HeartbeatConfig(interval=3.0)
        self.assertIsNotNone(self.factory.config.instance)
        self.assertIsNotNone(instance)

    def told(self, factory: HeartbeatFactory) -> dict[str, Any]:
        """The HELLO that a connector gets."""
        transport = self.connect(hello(), factory=factory)
        answer = transport.said()[0]
        transport.lose()
        assert isinstance(answer, Hello)
        members: dict[str, Any] = json.loads(answer.body)
        return members

    def test_a_state_source(self) -> None:
        """The account of an application's source is what peers get; it is asked when a SYNC is due."""

        @implementer(IStateSource)
        class Source:
            def report(self) -> Report:
                return Report(load=0.5, uptime=17, services=("auth",))

        verify.verifyObject(IStateSource, Source())
        factory = HeartbeatFactory(self.factory.config, reactor=self.clock, state=Source())
        transport = self.connect(ping(), factory=factory)
        sync = transport.said()[1]
        assert isinstance(sync, Sync)
        self.assertEqual((sync.load, sync.uptime), (0.5, 17))
        transport.lose()

    def test_a_memory_reactor(self) -> None:
        """Twisted's own stand-ins work without a further argument: a reactor, a transport, no socket."""
        reactor = MemoryReactorClock()
        factory = HeartbeatFactory(HeartbeatConfig(interval=0.5), reactor=reactor)
        reactor.listenTCP(7600, factory)
        (_, listening, *_), = reactor.tcpServers  # fmt: skip
        self.assertIsInstance(listening, type(factory))
        self.assertNotIsInstance(factory, ServerFactory)
        protocol = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(ping(1, 2))
        self.assertEqual(decoded(transport.value())[0], Ack(1, 2))
        transport.clear()
        for _ in range(int(0.7 / 0.01)):
            reactor.advance(0.01)
        self.assertIn(b"HEAR", transport.value())
        for _ in range(int(5 / 0.01)):
            reactor.advance(0.01)
        self.assertIs(protocol.heartbeat.state, State.DEAD)
        self.assertTrue(transport.disconnected)
        protocol.connectionLost()
        reactor.pump([0, 0, 0])
        self.assertEqual(reactor.getDelayedCalls(), [])


class DeadlineTests(HandCase):
    """The handshake timeout."""

    def test_a_silent_connection(self) -> None:
        """Who says nothing is closed after the handshake timeout, and recorded as ``hello_timeout``."""
        transport = self.connect()
        self.advance(10.0 - LATE)
        self.assertEqual(transport.done, [])
        self.advance(2 * LATE)
        self.assertTrue(transport.gone)
        (refused,) = self.notes.refusals
        self.assertEqual(refused.cause, "hello_timeout")
        self.assertEqual([kind for kind, _ in self.notes.lines], ["refused"])

    def test_half_a_hello(self) -> None:
        """Bytes of an unfinished frame do not stop the clock, however steadily they trickle in."""
        factory = self.make_factory(handshake_timeout=2.0)
        transport = self.connect(factory=factory)
        for one in hello("a")[:30]:
            self.advance(0.1)
            if not transport.gone:
                transport.say(bytes((one,)))
        self.assertTrue(transport.gone)
        self.assertEqual([event.cause for event in self.notes.refusals], ["hello_timeout"])

    def test_the_gate_ends_it(self) -> None:
        """An open gate has no handshake deadline any more."""
        transport = self.connect(hello("a"), factory=self.make_factory(handshake_timeout=1.0))
        self.advance(5.0, transport)
        self.assertIs(transport.protocol.heartbeat.state, State.ALIVE)
        transport.lose()

    def test_a_close_that_hangs(self) -> None:
        """A silent connection whose transport does not close is aborted soon after."""
        transport = self.connect(factory=self.make_factory(handshake_timeout=1.0))
        transport.queue = b"never taken"
        self.advance(1.0 + LATE)
        self.assertEqual(transport.done, ["close"])
        self.advance(2.0)
        self.assertEqual(transport.done, ["close", "abort"])
        transport.queue = b""


class TlsTests(HandCase):
    """Transports that have a handshake of their own."""

    def test_it_waits_for_the_handshake(self) -> None:
        """Before ``handshakeCompleted`` nothing is said, not even to those who are too many; after it, once."""
        self.factory.max_connections = 0
        transport = TlsTransport(self.clock)
        self.attach(transport, self.factory)
        self.assertEqual(transport.said(), [])
        transport.complete()
        self.assertEqual([frame.code for frame in transport.said() if isinstance(frame, Bye)], [10])
        transport.complete()
        self.assertEqual(transport.said(), [])

    def test_a_connector_waits_for_it(self) -> None:
        """HELLO goes out when the handshake is done, once."""
        transport = TlsTransport(self.clock)
        self.attach(transport, Connectors(self.factory.config, reactor=self.clock))
        self.assertEqual(transport.said(), [])
        transport.complete()
        transport.complete()
        self.assertEqual([type(frame) for frame in transport.said()], [Hello])
        transport.lose()

    def test_the_deadline_includes_it(self) -> None:
        """TLS is part of the handshake, with a cause of its own: a client that never finishes it is closed in time."""
        transport = TlsTransport(self.clock)
        self.attach(transport, self.factory)
        self.advance(10.0 + LATE)
        self.assertTrue(transport.gone)
        self.assertEqual([event.cause for event in self.notes.refusals], ["tls_timeout"])

    def test_handshakes_beyond_the_limit(self) -> None:
        """Who does not shake hands takes a place until its deadline, so there are only some beyond the limit; those
        over it are closed at once, without a word.
        """
        self.factory.max_connections = 3
        waiting = [TlsTransport(self.clock, port=50_000 + number) for number in range(3 + 32)]
        for one in waiting:
            self.attach(one, self.factory)
        self.assertFalse(any(one.done for one in waiting))
        late = TlsTransport(self.clock)
        self.attach(late, self.factory)
        self.assertEqual((late.done, late.said()), (["close"], []))
        self.assertEqual([event.cause for event in self.notes.refusals], ["server_full"])
        waiting[0].complete()
        self.assertEqual([frame.code for frame in waiting[0].said() if isinstance(frame, Bye)], [10])

    def test_behind_a_wrapper(self) -> None:
        """A wrapper over TLS may keep the handshake to itself: the first bytes show that it is done."""
        self.factory.max_connections = 0
        transport = TlsTransport(self.clock)
        self.attach(transport, self.factory)
        transport.say(hello("a"))
        self.assertEqual([frame.code for frame in transport.said() if isinstance(frame, Bye)], [10])

    def test_it_is_named(self) -> None:
        """A peer is listed with its transport: tls, unix, or tcp."""
        kinds = []
        for kind in (TlsTransport, UnixTransport, HandTransport):
            transport = kind(self.clock)
            self.attach(transport, self.factory)
            if isinstance(transport, TlsTransport):
                transport.complete()
            transport.say(hello(f"p{len(kinds)}"))
            kinds.append(transport.protocol.heartbeat.peer.transport)
        self.assertEqual(kinds, ["tls", "unix", "tcp"])


class NameTests(HandCase):
    """What peers are called."""

    def test_names(self) -> None:
        """The id of a HELLO; a peer without one, and a bare one, are known by their address."""
        named, anonymous, bare = self.connect(hello("gateway-7")), self.connect(hello()), self.connect(ping())
        names = [one.protocol.heartbeat.peer.id for one in (named, anonymous, bare)]
        self.assertEqual(names, ["gateway-7", "~192.0.2.1:40001", "~192.0.2.1:40002"])
        self.assertEqual([one.protocol.heartbeat.peer.bare for one in (named, anonymous, bare)], [False, False, True])
        self.assertEqual(named.protocol.heartbeat.peer.address, "192.0.2.1:40000")

    def test_unix_peers(self) -> None:
        """UNIX clients all have the same address, None: they are numbered."""
        names = []
        for first in (ping(), hello(), ping()):
            transport = UnixTransport(self.clock)
            self.attach(transport, self.factory)
            transport.say(first)
            names.append(transport.protocol.heartbeat.peer.id)
        self.assertEqual(names, ["unix#1", "unix#2", "unix#3"])

    def test_behind_a_proxy(self) -> None:
        """Where the client's address is known only with its first bytes, it is the one that counts and is shown."""
        for number, first in enumerate((hello(), ping(), hello("a"))):
            transport = self.connect()
            transport.peer = IPv4Address("TCP", "203.0.113.9", 500 + number)
            transport.say(first)
            peer = transport.protocol.heartbeat.peer
            self.assertEqual(peer.address, f"203.0.113.9:{500 + number}")
            self.assertEqual(peer.id, "a" if number == 2 else f"~203.0.113.9:{500 + number}")
