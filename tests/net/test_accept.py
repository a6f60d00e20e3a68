"""One port for framed peers and for those that have never heard of us."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IProtocolNegotiationFactory
from twisted.internet.testing import StringTransport
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from heartbeat.config import HeartbeatConfig
from heartbeat.errors import ConfigError
from heartbeat.keys import SharedKey
from heartbeat.liveness.states import State
from heartbeat.net import IHeartbeat, heartbeat_factory, heartbeat_server
from heartbeat.net.accept import AcceptingFactory, UndecidedProtocol
from heartbeat.net.kernel import ENABLED
from heartbeat.net.observed import ObservedProtocol
from tests.net.adapters.cases import Reactor
from tests.net.observing import Board, Secure
from tests.net.wrapped import CONFIG, PORT, Halves, Notes, NotesFactory, WrappedCase, frames

SLOW = HeartbeatConfig(interval=2.0, multiplier=3, handshake_timeout=4.0)


class AcceptCase(WrappedCase):
    """A server on the simulated network that takes all comers."""

    def setUp(self) -> None:
        """The server."""
        super().setUp()
        self.served = NotesFactory()
        self.addCleanup(self.served.built.clear)
        self.board = Board()

    def accept(self, config: HeartbeatConfig = SLOW, **more: Any) -> Any:
        """Listen."""
        return self.listen(self.served, config, mode="accept", listener=self.board, **more)

    def plain(self) -> Any:
        """An unmodified client, connected; nothing is built for it yet."""
        from twisted.internet.endpoints import TCP4ClientEndpoint

        factory = NotesFactory()
        mine: Any = self.net.result(TCP4ClientEndpoint(self.client.reactor, "server", PORT).connect(factory))
        self.addCleanup(mine.transport.abortConnection)
        self.held += [mine, mine.transport]
        self.net.run(0.1)
        return mine

    def theirs(self) -> Any:
        """The server's newest application."""
        theirs = self.served.built[-1]
        self.held += [theirs, theirs.transport]
        return theirs


class DecisionTests(AcceptCase):
    """Who is who."""

    def test_both_kinds_at_once(self) -> None:
        """A framed client and an unmodified one talk to the same factory on one port."""
        factory = self.accept(CONFIG)
        framed = self.net.result(self.endpoint().connect(NotesFactory()))
        self.addCleanup(framed.transport.abortConnection)
        plain = self.plain()
        framed.transport.write(b"I am framed")
        plain.transport.write(b"GET / HTTP/1.1\r\n")
        self.net.run(0.1)
        self.assertEqual([bytes(one.received) for one in self.served.built], [b"I am framed", b"GET / HTTP/1.1\r\n"])
        self.assertEqual(factory.connections, 2)
        theirs = self.theirs()
        theirs.transport.write(b"HTTP/1.1 200 OK\r\n")
        self.net.run(0.1)
        self.assertEqual(bytes(plain.received), b"HTTP/1.1 200 OK\r\n")
        self.assertIs(IHeartbeat(theirs.transport).state, State.ALIVE)
        self.assertTrue(IHeartbeat(theirs.transport).peer.bare)
        self.assertEqual(self.board.told.count("joined"), 2)

    def test_the_framed_one_has_the_transport_for_itself(self) -> None:
        """Nothing of the decision is left on the way of its beats."""
        factory = self.accept(CONFIG)
        framed = self.net.result(self.endpoint().connect(NotesFactory()))
        self.addCleanup(framed.transport.abortConnection)
        (driver,) = factory._drivers
        self.assertEqual(type(driver.link.transport.protocol).__name__, "WrappedProtocol")
        self.assertTrue(driver.link.exact)

    def test_byte_by_byte(self) -> None:
        """A beginning of the magic decides nothing; the first byte that is none of it does; none of them is lost."""
        self.accept()
        plain = self.plain()
        for byte in (b"H", b"E", b"L"):
            plain.transport.write(byte)
            self.net.run(0.1)
            self.assertEqual(self.served.built, [])
        plain.transport.write(b"P")
        self.net.run(0.1)
        self.assertEqual(bytes(self.theirs().received), b"HELP")

    def test_a_hello_byte_by_byte(self) -> None:
        """A framed peer may be chopped, too: it gets its answer."""
        from heartbeat.wire.frames import Hello
        from tests.net.wrapped import HELLO

        self.accept(CONFIG)
        plain = self.plain()
        for byte in Hello(HELLO).encode():
            plain.transport.write(bytes([byte]))
            self.net.run(0.02)
        self.assertEqual(frames(plain.received)[0][0], b"HELO")

    def test_a_bare_ping_has_no_place_here(self) -> None:
        """HEAR is nothing of ours on a port for wrapped connections: it is the application's."""
        self.accept()
        plain = self.plain()
        plain.transport.write(b"HEAR me")
        self.net.run(0.1)
        self.assertEqual(bytes(self.theirs().received), b"HEAR me")

    def test_who_says_nothing(self) -> None:
        """Nothing is built until the time of a HELLO is over; then the server may speak first, late."""
        self.accept()
        plain = self.plain()
        self.net.run(3.8)
        self.assertEqual(self.served.built, [])
        self.net.run(0.4)
        self.theirs().transport.write(b"220 ready\r\n")
        plain.transport.write(b"HELO me\r\n")
        self.net.run(0.1)
        self.assertEqual((bytes(plain.received), bytes(self.theirs().received)), (b"220 ready\r\n", b"HELO me\r\n"))

    def test_our_own_stall_decides_nothing(self) -> None:
        """A HELLO that lies unread while our loop stands still is read before anybody is taken for unframed."""
        self.accept()
        plain = self.plain()
        self.server.stall(10.0)
        from heartbeat.wire.frames import Hello
        from tests.net.wrapped import HELLO

        plain.transport.write(Hello(HELLO).encode())
        self.net.run(10.5)
        self.assertEqual(frames(plain.received)[0][0], b"HELO")

    def test_what_began_as_framed_and_stops(self) -> None:
        """Its handshake has its time, and not more."""
        self.accept()
        plain = self.plain()
        plain.transport.write(b"HELO")
        self.net.run(3.8)
        self.assertIsNone(plain.lost)
        self.net.run(0.5)
        self.assertIsNotNone(plain.lost)
        self.assertEqual(self.served.built, [])

    def test_a_beginning_and_an_end(self) -> None:
        """Three bytes and a FIN: they are the application's, and so is the end; half-close works."""
        self.served.kind = Halves
        self.accept()
        plain = self.plain()
        plain.transport.write(b"HEL")
        plain.transport.loseWriteConnection()
        self.net.run(0.1)
        theirs = self.theirs()
        self.assertEqual((theirs.said, bytes(theirs.received)), (["made", "read over"], b"HEL"))
        theirs.transport.write(b"what?")
        theirs.transport.loseConnection()
        self.net.run(0.1)
        self.assertEqual(bytes(plain.received), b"what?")

    def test_a_beginning_and_an_end_without_half_close(self) -> None:
        """The same for an application that knows no half-closed connections."""
        self.accept()
        plain = self.plain()
        plain.transport.write(b"HE")
        plain.transport.loseConnection()
        self.net.run(0.1)
        theirs = self.theirs()
        self.assertEqual((theirs.said, bytes(theirs.received)), (["made", "lost"], b"HE"))
        self.assertIs(theirs.lost.type, ConnectionDone)

    def test_a_beginning_and_a_reset(self) -> None:
        """Nothing is lost of what had come."""
        self.accept()
        plain = self.plain()
        plain.transport.write(b"HE")
        self.net.run(0.1)
        plain.transport.abortConnection()
        self.net.run(0.1)
        self.assertEqual(bytes(self.theirs().received), b"HE")
        self.assertEqual(self.theirs().said, ["made", "lost"])

    def test_nobody(self) -> None:
        """Connected and gone: nothing was built, nothing is left."""
        factory = self.accept()
        plain = self.plain()
        plain.transport.loseConnection()
        self.net.run(0.1)
        self.assertEqual((self.served.built, factory.connections), ([], 0))


class UnframedTests(AcceptCase):
    """Those that are not framed are observed."""

    def test_a_dead_path_is_found(self) -> None:
        """By the detection time of the configuration."""
        if not ENABLED:
            raise SkipTest("the simulated kernel is asked for keepalives, which HEARTBEAT_NO_KERNEL forbids")
        self.accept()
        plain = self.plain()
        plain.transport.write(b"hello")
        self.net.run(1.0)
        from heartbeat.testing import SilentDrop

        self.net.between(self.client, self.server).add(SilentDrop())
        theirs = self.theirs()
        self.assertLessEqual(self.net.run_until(lambda: theirs.lost is not None), 6.1)
        self.assertEqual(theirs.lost.value.cause, "path_dead")
        self.assertEqual(self.board.told[-2:], ["Dead", "gone"])

    def test_a_factory_that_wants_nobody(self) -> None:
        """``buildProtocol`` gives None: the connection is closed."""
        self.served.kind = lambda: None
        factory = self.accept()
        plain = self.plain()
        plain.transport.write(b"hello")
        self.net.run(0.1)
        self.assertIsNotNone(plain.lost)
        self.assertEqual(factory.connections, 0)

    def test_a_factory_that_fails(self) -> None:
        """What it raises is logged once, ends this connection and no other."""

        def fail() -> Notes:
            raise RuntimeError("no")

        self.served.kind = fail
        factory = self.accept()
        plain = self.plain()
        plain.transport.write(b"hello")
        self.net.run(0.1)
        self.assertIsNotNone(plain.lost)
        self.assertEqual([str(one.value) for one in self.flushLoggedErrors(RuntimeError)], ["no"])
        self.assertEqual(factory.connections, 0)

    def test_limits(self) -> None:
        """Those of the factory hold for all; who is not framed cannot be told why, and is cut off."""
        self.accept(max_connections=2)
        some = [self.plain() for _ in range(3)]
        for one in some:
            one.transport.write(b"hello")
            self.net.run(0.1)
        self.assertEqual(sum(one.lost is not None for one in some), 1)
        refused = self.net.result(self.endpoint().connect(NotesFactory()).addErrback(lambda failure: failure.value))
        self.assertEqual(refused.cause, "server_full")
        for one in self.served.built:
            self.held += [one, one.transport]

    def test_of_one_address(self) -> None:
        """The same for a limit per address, and who leaves makes room."""
        self.accept(max_per_address=1)
        first, second = self.plain(), self.plain()
        for one in (first, second):
            one.transport.write(b"hello")
            self.net.run(0.1)
        self.assertEqual((first.lost, second.lost is None), (None, False))
        first.transport.loseConnection()
        self.net.run(0.1)
        third = self.plain()
        third.transport.write(b"hello")
        self.net.run(0.1)
        self.assertIsNone(third.lost)
        for one in self.served.built:
            self.held += [one, one.transport]

    def test_all_are_aborted(self) -> None:
        """``abort_all`` leaves nobody, decided or not."""
        factory = self.accept()
        decided, undecided = self.plain(), self.plain()
        decided.transport.write(b"hello")
        self.net.run(0.1)
        self.theirs()
        factory.abort_all()
        self.net.run(0.1)
        self.assertIsNotNone(decided.lost)
        self.assertIsNotNone(undecided.lost)
        self.assertEqual(factory.connections, 0)


class MakingTests(SynchronousTestCase):
    """How it is asked for."""

    def test_modes(self) -> None:
        """``accept`` makes an accepting factory; a mode that is none is an error at once."""
        self.assertIsInstance(heartbeat_factory(NotesFactory(), mode="accept"), AcceptingFactory)
        wrong: Any = "observe"
        for call in (lambda: heartbeat_factory(NotesFactory(), mode=wrong), lambda: heartbeat_server(None, mode=wrong)):  # type: ignore[arg-type]  # it does not come to that
            self.assertIn("mode: must be one of frame, accept", str(self.assertRaises(ConfigError, call)))

    def test_no_proof_is_wanted(self) -> None:
        """A port that asks framed peers for a key would let all others in without: an error at once."""
        config = HeartbeatConfig(keys=(SharedKey(bytes(32)),))
        for call in (
            lambda: heartbeat_factory(NotesFactory(), config, mode="accept"),
            lambda: heartbeat_server(None, HeartbeatConfig(auth="mtls"), mode="accept"),  # type: ignore[arg-type]  # see above
        ):
            self.assertIn("mode: accept lets in who is not framed", str(self.assertRaises(ConfigError, call)))

    def test_behind_a_balancer(self) -> None:
        """The PROXY header comes first, and is nobody's first word; the peer is the one that it names."""
        served, board = NotesFactory(), Board()
        accepting = heartbeat_factory(served, SLOW, board, mode="accept")
        balancer = IPv4Address("TCP", "127.0.0.1", 9)
        outer: Any = HAProxyWrappingFactory(accepting).buildProtocol(balancer)
        outer.makeConnection(StringTransport(peerAddress=balancer))
        outer.dataReceived(b"PROXY TCP4 192.0.2.7 127.0.0.1 4242 7600\r\nH")
        self.assertEqual(served.built, [])
        outer.dataReceived(b"EAD /")
        self.assertEqual(bytes(served.built[0].received), b"HEAD /")
        self.assertIsInstance(outer.wrappedProtocol, ObservedProtocol)
        self.assertEqual([peer.id for peer in board.peers], ["~192.0.2.7:4242"])
        outer.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(accepting.connections, 0)

    def test_a_transport_of_no_known_kind(self) -> None:
        """Where our place cannot be given away, everything is passed on."""
        served = NotesFactory(Halves)
        factory = heartbeat_factory(served, SLOW, mode="accept")
        undecided: Any = factory.buildProtocol(None)
        self.assertIsInstance(undecided, UndecidedProtocol)
        self.assertTrue(IHalfCloseableProtocol.providedBy(undecided))
        undecided.makeConnection(StringTransport())
        undecided.dataReceived(b"GE")
        undecided.dataReceived(b"T")
        self.assertIsInstance(undecided._inner, ObservedProtocol)
        undecided.readConnectionLost()
        undecided.writeConnectionLost()
        undecided.connectionLost()
        application: Notes = served.built[0]
        self.assertEqual(bytes(application.received), b"GET")
        self.assertEqual(application.said, ["made", "read over", "write over", "lost"])


@implementer(IHandshakeListener)
class Shaken(Notes):
    """An application that wants to know when TLS is ready."""

    def handshakeCompleted(self) -> None:
        """Remember it."""
        self.said.append("shaken")


class SecureTests(SynchronousTestCase):
    """On TLS nobody can be known before the handshake."""

    def setUp(self) -> None:
        """An accepting factory in time that passes by hand."""
        self.reactor = Reactor()
        self.served = NotesFactory(Shaken)
        self.factory = heartbeat_factory(self.served, SLOW, mode="accept", reactor=self.reactor)
        self.undecided: Any = self.factory.buildProtocol(None)
        self.transport = Secure()
        self.transport.protocol = self.undecided
        self.undecided.makeConnection(self.transport)
        self.addCleanup(lambda: self.assertEqual(self.reactor.getDelayedCalls(), []))

    def test_a_handshake_that_never_comes(self) -> None:
        """It has the time of every handshake, and not more; nothing was built."""
        self.reactor.live(3.9)
        self.assertTrue(self.transport.connected)
        self.reactor.live(0.4)
        self.assertFalse(self.transport.connected)
        self.assertEqual((self.served.built, self.factory.connections), ([], 0))

    def test_the_time_for_the_first_word_begins_then(self) -> None:
        """Handshake and first word have that time each; the application is told of both in their order."""
        self.reactor.live(3.0)
        self.undecided.handshakeCompleted()
        self.undecided.handshakeCompleted()
        self.reactor.live(3.0)
        self.assertEqual(self.served.built, [])
        self.undecided.dataReceived(b"GET")
        (application,) = self.served.built
        self.assertEqual((application.said, bytes(application.received)), (["made", "shaken"], b"GET"))
        self.undecided.handshakeCompleted()
        self.undecided.dataReceived(b" /")
        self.assertEqual(bytes(application.received), b"GET /")
        self.transport.loseConnection()

    def test_what_is_offered_by_alpn(self) -> None:
        """As without us."""
        site = Site(Resource(), reactor=self.reactor)
        factory: Any = heartbeat_factory(site, SLOW, mode="accept", reactor=self.reactor)
        self.assertTrue(IProtocolNegotiationFactory.providedBy(factory))
        self.assertEqual(factory.acceptableProtocols(), site.acceptableProtocols())
        self.assertEqual(factory.buildProtocol(None).logPrefix(), "Site (heartbeat)")
        self.transport.loseConnection()
