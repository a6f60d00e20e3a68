"""Observed connections: nothing on the wire, nothing between the protocol and its transport, and the dead are found."""

from __future__ import annotations

import random
from typing import Any

from twisted.application.internet import ClientService
from twisted.internet import tcp
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IFileDescriptorReceiver,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocolNegotiationFactory,
)
from twisted.internet.protocol import ClientFactory
from twisted.internet.testing import StringTransport, StringTransportWithDisconnection
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from heartbeat.config import KernelOptions
from heartbeat.errors import PingLost
from heartbeat.liveness.states import State
from heartbeat.net import IHeartbeat, RefusedConnection, UnresponsiveConnection
from heartbeat.net.observe import observe_factory
from heartbeat.net.observed_link import sits
from heartbeat.testing import Delay, Loss, OneWay, SilentDrop, SimulatedNetwork
from tests.net.adapters.cases import Reactor
from tests.net.observing import DETECT, Board, ObservedCase, Secure
from tests.net.wrapped import Halves, Notes, NotesFactory


class PassingOnTests(ObservedCase):
    """The application runs unchanged."""

    def test_bytes_both_ways_and_a_clean_end(self) -> None:
        """It talks as without us, its transport is Twisted's own, and a clean end has Twisted's own reason."""
        theirs, mine = self.pair()
        mine.transport.write(b"hello")
        theirs.transport.write(b"welcome")
        self.net.run(0.1)
        self.assertEqual((bytes(theirs.received), bytes(mine.received)), (b"hello", b"welcome"))
        self.assertIsInstance(theirs.transport, tcp.Connection)
        mine.transport.loseConnection()
        self.net.run(0.1)
        self.assertIs(theirs.lost.type, ConnectionDone)
        self.assertEqual(self.board.told, ["joined", "Alive", "Left", "gone"])

    def test_the_handle(self) -> None:
        """``IHeartbeat(transport)`` is the handle, during the connection and when it is lost; it cannot ping."""
        theirs, mine = self.pair()
        handle = IHeartbeat(theirs.transport)
        self.assertIs(handle, IHeartbeat(theirs.transport))
        self.assertIs(handle.state, State.ALIVE)
        self.assertTrue(handle.peer.bare)
        self.assertEqual(handle.peer.as_json()["layers"], {"host": "alive", "loop": "unknown", "work": "unknown"})
        self.assertEqual(handle.peer.interval, 0.0)
        self.failureResultOf(handle.ping(), PingLost)
        self.assertEqual(handle.peer.options["keepalive_idle"], "applied")
        gone = handle.when_gone()
        mine.transport.abortConnection()
        self.net.run(0.1)
        self.successResultOf(gone)
        self.assertIsInstance(theirs.lost.value, UnresponsiveConnection)
        self.assertIsInstance(theirs.lost.value, ConnectionLost)
        self.assertEqual(theirs.lost.value.cause, "peer_reset")
        self.assertIs(IHeartbeat(theirs.transport), handle)

    def test_half_close(self) -> None:
        """A protocol that knows of half-closed connections is told as ever; one that does not is closed."""
        theirs, mine = self.pair(Halves)
        mine.transport.loseWriteConnection()
        self.net.run(0.1)
        self.assertEqual(theirs.said, ["made", "read over"])
        theirs.transport.write(b"still here")
        self.net.run(0.1)
        self.assertEqual(bytes(mine.received), b"still here")
        theirs.transport.loseConnection()
        self.net.run(0.1)


class VerdictTests(ObservedCase):
    """Who is dead, and who is not."""

    def test_an_idle_path_that_works(self) -> None:
        """Nobody says a word for an hour: the kernels do, and the peer is never even suspected."""
        theirs, mine = self.pair()
        self.net.run(3600.0)
        self.assertEqual(self.board.told, ["joined", "Alive"])
        self.assertEqual((theirs.lost, mine.received, theirs.received), (None, b"", b""))

    def test_an_idle_path_that_died(self) -> None:
        """Found within the detection time, called by what was proved, aborted, and told."""
        theirs, _ = self.pair()
        self.net.run(7.0)
        self.drop()
        self.assertLessEqual(self.lost_after(theirs), DETECT + 0.1)
        self.assertIsInstance(theirs.lost.value, UnresponsiveConnection)
        self.assertEqual(theirs.lost.value.cause, "path_dead")
        self.assertEqual(theirs.lost.value.evidence.detail, "keepalive")
        self.assertEqual(self.board.told, ["joined", "Alive", "Suspect", "Dead", "gone"])

    def test_with_bytes_in_flight(self) -> None:
        """Keepalive is silent then; the acknowledgements that do not come are the evidence."""
        theirs, mine = self.pair()
        self.net.run(7.0)
        mine.transport.write(b"x")
        self.net.run(0.1)
        self.drop()
        theirs.transport.write(b"are you there?")
        self.assertLessEqual(self.lost_after(theirs), DETECT + 0.1)
        self.assertEqual((theirs.lost.value.cause, theirs.lost.value.evidence.detail), ("path_dead", "silent"))

    def test_one_way(self) -> None:
        """We hear it, and it does not hear us: what it repeats is no sign of life while something of ours waits."""
        theirs, mine = self.pair()
        self.net.run(3.0)
        self.net.between(self.client, self.server).add(OneWay(towards="client"))
        theirs.transport.write(b"are you there?")
        mine.transport.write(b"I speak")
        self.assertLessEqual(self.lost_after(theirs), DETECT + 0.2)
        self.assertEqual((theirs.lost.value.cause, theirs.lost.value.evidence.detail), ("path_dead", "one_way"))

    def test_an_outage_shorter_than_the_detection_time(self) -> None:
        """Suspected, and alive again with the next answer."""
        theirs, _ = self.pair()
        self.net.run(7.0)
        drop = SilentDrop()
        self.net.between(self.client, self.server).add(drop)
        self.net.run(4.0)
        self.assertIs(IHeartbeat(theirs.transport).state, State.SUSPECT)
        self.net.between(self.client, self.server).remove(drop)
        self.net.run(2.0)
        self.assertIs(IHeartbeat(theirs.transport).state, State.ALIVE)
        self.net.run(60.0)
        self.assertIsNone(theirs.lost)

    def test_our_own_stalls(self) -> None:
        """Our loop stands still for many detection times, again and again: nobody is dead, nobody suspect for long."""
        theirs, mine = self.pair(idle=20.0)
        for number in range(6):
            mine.transport.write(b"beat")
            self.server.stall(30.0 + number)
            self.net.run(45.0)
            self.assertIsNone(theirs.lost)
        self.assertEqual(bytes(theirs.received), 6 * b"beat")

    def test_a_stalled_peer(self) -> None:
        """A process that stands still, whose kernel answers, is alive to this: that is its nature."""
        theirs, _ = self.pair()
        self.client.stall(100.0)
        theirs.transport.write(b"anybody?")
        self.net.run(99.0)
        self.assertIs(IHeartbeat(theirs.transport).state, State.ALIVE)
        self.assertEqual(self.board.told, ["joined", "Alive"])
        self.net.run(2.0)

    def test_without_keepalives(self) -> None:
        """An hour in which nobody was asked is no silence: a short outage afterwards kills nobody, a long one does."""
        theirs, mine = self.pair(kernel=KernelOptions(nodelay=False))
        self.net.run(3600.0)
        self.assertEqual(self.board.told, ["joined", "Alive"])
        drop = SilentDrop()
        self.net.between(self.client, self.server).add(drop)
        theirs.transport.write(b"anybody?")
        self.net.run(3.0)
        self.net.between(self.client, self.server).remove(drop)
        self.net.run(600.0)
        self.assertIsNone(theirs.lost)
        self.assertEqual(mine.received, b"anybody?")
        self.drop()
        theirs.transport.write(b"anybody?")
        self.assertLessEqual(self.lost_after(theirs), 1.5 * DETECT + 0.1)

    def test_a_silent_application(self) -> None:
        """``idle`` ends it: nothing was heard of the application for so long, and why is not known."""
        theirs, mine = self.pair(idle=20.0)
        self.net.run(15.0)
        mine.transport.write(b"beat")
        self.net.run(19.9)
        self.assertIsNone(theirs.lost)
        self.assertLess(self.lost_after(theirs), 0.3)
        self.assertEqual((theirs.lost.value.cause, theirs.lost.value.evidence.detail), ("unattributed", "idle"))

    def test_idle_on_a_dead_path(self) -> None:
        """Where the kernel proves why nothing came, that is the cause."""
        theirs, _ = self.pair(idle=5.9)
        self.drop()
        self.lost_after(theirs)
        self.assertEqual(theirs.lost.value.cause, "path_dead")

    def test_a_paused_application(self) -> None:
        """Who does not read judges nobody; when it reads again, time goes on."""
        theirs, mine = self.pair(idle=20.0)
        theirs.transport.pauseProducing()
        mine.transport.write(b"beat")
        self.net.run(100.0)
        self.assertIsNone(theirs.lost)
        theirs.transport.resumeProducing()
        self.net.run(19.0)
        self.assertIsNone(theirs.lost)
        self.assertEqual(bytes(theirs.received), b"beat")
        self.assertLess(self.lost_after(theirs), 2.0)

    def test_a_path_that_dies_while_we_do_not_read(self) -> None:
        """Nothing is judged until the application reads again; then it is found, and what had come was read."""
        theirs, mine = self.pair()
        theirs.transport.pauseProducing()
        mine.transport.write(b"the last words")
        self.net.run(1.0)
        self.drop()
        self.net.run(2.5 * DETECT)
        self.assertIsNone(theirs.lost)
        self.assertIs(IHeartbeat(theirs.transport).state, State.ALIVE)
        theirs.transport.resumeProducing()
        self.lost_after(theirs, DETECT)
        self.assertEqual(bytes(theirs.received), b"the last words")
        self.assertEqual(theirs.lost.value.cause, "path_dead")

    def test_a_step_of_the_clock(self) -> None:
        """An hour forward, two hours back: nothing happens, and the dead are still found in time."""
        theirs, _ = self.pair(idle=1000.0)
        self.net.run(5.0)
        self.server.step_clock(3600.0)
        self.net.run(5.0)
        self.server.step_clock(-7200.0)
        self.net.run(5.0)
        self.assertIsNone(theirs.lost)
        self.drop()
        self.assertLessEqual(self.lost_after(theirs), DETECT + 0.1)

    def test_a_peer_that_does_not_read(self) -> None:
        """Its window is closed and its kernel answers: alive, until the kernel gives up after three times as long."""
        theirs, mine = self.pair()
        mine.transport.pauseProducing()
        theirs.transport.write(bytes(2_000_000))
        self.net.run(2.5 * DETECT)
        self.assertIs(IHeartbeat(theirs.transport).state, State.ALIVE)
        self.lost_after(theirs)
        self.assertEqual(theirs.lost.value.cause, "peer_not_reading")

    def test_a_peer_that_repeats_itself(self) -> None:
        """Nothing of ours is in flight, and it cannot hear our acknowledgements: what it repeats, more and more rarely,
        is life to us for at most two detection times, and then it is dead in one more."""
        theirs, mine = self.pair()
        self.net.run(5.0)
        self.net.between(self.client, self.server).add(OneWay(towards="client"))
        mine.transport.write(b"can you hear me?")
        took = self.lost_after(theirs)
        self.assertTrue(DETECT < took <= 3 * DETECT + 0.1, took)

    def test_a_peer_that_does_not_read_and_dies(self) -> None:
        """Its closed window is probed more and more rarely; the backstop of the kernel is the bound."""
        theirs, mine = self.pair()
        mine.transport.pauseProducing()
        theirs.transport.write(bytes(2_000_000))
        self.net.run(5.0)
        self.drop()
        self.assertLessEqual(self.lost_after(theirs), 3 * DETECT)

    def test_a_protocol_that_hands_its_transport_on(self) -> None:
        """Whoever takes its place hears the end, and we let go."""
        theirs, mine = self.pair(idle=3.0)
        heir = Notes()
        theirs.transport.protocol = heir
        heir.makeConnection(theirs.transport)
        self.hold(heir)
        self.net.run(10.0)
        self.assertIsNone(heir.lost)
        mine.transport.loseConnection()
        self.net.run(1.0)
        self.assertIs(heir.lost.type if heir.lost is not None else None, ConnectionDone)
        self.net.run(DETECT)
        self.assertEqual(self.board.told[-2:], ["Left", "gone"])

    def test_a_peer_that_was_rebooted(self) -> None:
        """The new system knows nothing of the connection, and answers a keepalive with a reset."""
        theirs, _ = self.pair()
        self.net.run(5.0)
        self.client.vanish()
        self.net.run(0.1)
        self.client.restart()
        self.assertLessEqual(self.lost_after(theirs), DETECT)
        self.assertEqual((theirs.lost.value.cause, theirs.lost.value.evidence.detail), ("middlebox_reset", "provoked"))


class ClientTests(ObservedCase):
    """The connecting end watches an unmodified server."""

    def test_the_factorys_own_protocol(self) -> None:
        """``connect`` gives what the factory built; a dead path is found."""
        served = NotesFactory()
        self.server.listen(5432, served)
        factory = NotesFactory()
        mine = self.net.result(self.watching().connect(factory))
        self.hold(mine)
        self.assertIs(mine, factory.built[0])
        self.assertIsInstance(mine, Notes)
        self.assertIs(IHeartbeat(mine.transport).state, State.ALIVE)
        self.drop()
        self.assertLessEqual(self.lost_after(mine), DETECT + 0.1)
        self.assertEqual(mine.lost.value.cause, "path_dead")
        self.hold(*served.built)
        self.addCleanup(served.built[0].transport.abortConnection)


class SeedTests(ObservedCase):
    """Whatever chance does to both ends, as long as the path lives."""

    def test_nobody_living_is_killed(self) -> None:
        """Twenty seeds: five minutes of stalls at both ends, delays, losses and clock steps, words now and then. Nobody
        dies, and whoever's path dies then is found in time."""
        for seed in range(20):
            self.net = SimulatedNetwork(seed=seed)
            self.server, self.client = self.net.host("server"), self.net.host("client")
            draw = random.Random(seed)
            theirs, mine = self.pair(detect=2 * DETECT)
            path = self.net.between(self.client, self.server)
            path.add(Delay(0.05, jitter=0.1))
            path.add(Loss(0.05))
            for _ in range(60):
                match draw.randrange(6):
                    case 0:
                        self.server.stall(draw.uniform(0.1, 30.0))
                    case 1:
                        self.client.stall(draw.uniform(0.1, 30.0))
                    case 2:
                        self.server.step_clock(draw.uniform(-3600.0, 3600.0))
                    case 3:
                        mine.transport.write(b"x" * draw.randrange(1, 5000))
                    case 4:
                        theirs.transport.write(b"y" * draw.randrange(1, 5000))
                self.net.run(draw.uniform(0.5, 10.0))
                self.assertIsNone(theirs.lost, f"seed {seed}")
            self.net.run(30.0)
            self.drop()
            self.assertLessEqual(self.lost_after(theirs), 2 * DETECT + 0.2, f"seed {seed}")
            self.assertEqual(theirs.lost.value.cause, "path_dead")
            mine.transport.abortConnection()
            self.net.run(1.0)


class ServiceTests(ObservedCase):
    """Twisted's own ClientService, on an observing endpoint."""

    def test_it_reconnects(self) -> None:
        """A path that died and healed: it has a new connection, soon after the verdict."""
        served = NotesFactory()
        self.server.listen(5432, served)
        service = ClientService(self.watching(), NotesFactory(), clock=self.client.reactor)
        service.startService()
        self.addCleanup(lambda: self.net.result(service.stopService()))
        first: Any = self.net.result(service.whenConnected())
        self.assertIsInstance(first, Notes)
        drop = self.net.between(self.client, self.server).add(SilentDrop())
        self.lost_after(first)
        self.assertEqual(first.lost.value.cause, "path_dead")
        self.net.between(self.client, self.server).remove(drop)
        second: Any = self.net.result(service.whenConnected())
        self.assertIsNot(second, first)
        self.hold(first, second, *served.built)
        self.addCleanup(served.built[0].transport.abortConnection)


class TransportCase(SynchronousTestCase):
    """A transport in memory, and time that passes by hand."""

    def setUp(self) -> None:
        """A reactor whose time passes by hand, and an application on a transport in memory."""
        self.reactor = Reactor()
        self.addCleanup(lambda: self.assertEqual(self.reactor.getDelayedCalls(), []))

    def connected(self, transport: Any, wrapped: Any = None, **settings: Any) -> tuple[Any, Any]:
        """The protocol on the transport, and the application."""
        factory = NotesFactory()
        if wrapped is not None:
            factory.kind = lambda: wrapped
        observing = observe_factory(factory, reactor=self.reactor, **settings)
        protocol: Any = observing.buildProtocol(None)
        protocol.makeConnection(transport)
        return protocol, factory.built[0]


class TransportTests(TransportCase):
    """Transports into which nobody can see: only ``idle`` is judged there."""

    def test_nothing_is_judged_without_evidence(self) -> None:
        """No verdict, no timer: a transport in memory has no kernel."""
        protocol, application = self.connected(StringTransport(), detect=2.0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        handle = IHeartbeat(application.transport)
        self.assertEqual(handle.peer.layers.host, "unknown")
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertIs(handle.state, State.LEFT)

    def test_idle(self) -> None:
        """The application's silence is limited there, too; it is told why."""
        transport = StringTransportWithDisconnection()
        protocol, application = self.connected(transport, idle=3.0)
        transport.protocol = protocol
        self.reactor.live(2.0)
        protocol.dataReceived(b"beat")
        self.reactor.live(2.9)
        self.assertIsNone(application.lost)
        self.reactor.live(0.3)
        self.assertEqual(
            (application.lost.value.cause, application.lost.value.evidence.detail), ("unattributed", "idle")
        )
        self.assertEqual(application.received, b"beat")

    def test_a_stall(self) -> None:
        """Three seconds in which our loop did not run are not the peer's."""
        transport = StringTransportWithDisconnection()
        protocol, application = self.connected(transport, idle=2.0)
        transport.protocol = protocol
        self.reactor.live(1.0)
        self.reactor.stall(3.0)
        self.assertIsNone(application.lost)
        protocol.dataReceived(b"late")
        self.reactor.live(1.5)
        self.assertIsNone(application.lost)
        transport.loseConnection()

    def test_a_protocol_that_hands_its_transport_on(self) -> None:
        """Whoever reads now is not seen by us, so nobody is said to be silent."""

        class Layer(ProtocolWrapper):
            """A transport of Twisted's that has a protocol."""

        layer: Any = Layer(WrappingFactory(NotesFactory()), Notes())
        layer.transport = transport = StringTransport()
        protocol, application = self.connected(layer, idle=1.0)
        layer.wrappedProtocol = protocol
        self.assertTrue(sits(layer, protocol))
        layer.wrappedProtocol = Notes()
        self.assertFalse(sits(layer, protocol))
        self.reactor.live(5.0)
        self.assertFalse(transport.disconnecting)
        self.assertIs(IHeartbeat(application.transport).state, State.ALIVE)
        protocol.connectionLost(Failure(ConnectionDone()))

    def test_behind_a_proxy(self) -> None:
        """The balancer says who it is with the first bytes; the peer is called by that from then on."""
        served, board = NotesFactory(), Board()
        observing = observe_factory(served, reactor=self.reactor, listener=board)
        outer: Any = HAProxyWrappingFactory(observing).buildProtocol(IPv4Address("TCP", "127.0.0.1", 9))
        outer.makeConnection(StringTransport(peerAddress=IPv4Address("TCP", "127.0.0.1", 9)))
        (peer,) = board.peers
        self.assertEqual(peer.id, "~127.0.0.1:9")
        outer.dataReceived(b"PROXY TCP4 192.0.2.7 127.0.0.1 4242 7600\r\nhello")
        self.assertEqual((peer.id, peer.address), ("~192.0.2.7:4242", "192.0.2.7:4242"))
        self.assertEqual(bytes(served.built[0].received), b"hello")
        outer.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(board.told, ["joined", "Alive", "Left", "gone"])

    def test_what_a_protocol_provides(self) -> None:
        """A transport sees what the application provides, and not what it does not; None is passed on."""

        @implementer(IHandshakeListener, IFileDescriptorReceiver)
        class Rich(Halves):
            """Knows everything."""

            def handshakeCompleted(self) -> None:
                self.said.append("shaken")

            def fileDescriptorReceived(self, descriptor: int) -> None:
                self.said.append(f"descriptor {descriptor}")

            def logPrefix(self) -> str:
                return "Rich"

        protocol, application = self.connected(StringTransport(), Rich())
        protocol.handshakeCompleted()
        protocol.fileDescriptorReceived(3)
        protocol.readConnectionLost()
        protocol.writeConnectionLost()
        self.assertEqual(application.said, ["made", "shaken", "descriptor 3", "read over", "write over"])
        for one in (IHalfCloseableProtocol, IFileDescriptorReceiver):
            self.assertTrue(one.providedBy(protocol))
        self.assertEqual(protocol.logPrefix(), "Rich")
        plain, _ = self.connected(StringTransport())
        plain.handshakeCompleted()
        for one in (IHalfCloseableProtocol, IFileDescriptorReceiver):
            self.assertFalse(one.providedBy(plain))
        nobody = observe_factory(NotesFactory(lambda: None), reactor=self.reactor)
        self.assertIsNone(nobody.buildProtocol(None))
        for one in (protocol, plain):
            one.connectionLost(Failure(ConnectionDone()))

    def test_what_a_factory_provides(self) -> None:
        """It starts and stops, has its name, and offers its protocols by ALPN."""
        site = Site(Resource(), reactor=self.reactor)
        factory: Any = observe_factory(site, reactor=self.reactor)
        self.assertEqual(factory.acceptableProtocols(), site.acceptableProtocols())
        self.assertTrue(IProtocolNegotiationFactory.providedBy(factory))
        self.assertFalse(IProtocolNegotiationFactory.providedBy(observe_factory(NotesFactory(), reactor=self.reactor)))
        self.assertEqual(factory.logPrefix(), "Site")
        factory.doStart()
        self.assertEqual(site.numPorts, 1)
        factory.doStop()
        called: list[str] = []

        class Client(ClientFactory):
            """As ``connectTCP`` wants it."""

            def startedConnecting(self, connector: Any) -> None:
                called.append("started")

            def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
                called.append("failed")

            def clientConnectionLost(self, connector: Any, reason: Any) -> None:
                called.append("lost")

        client: Any = observe_factory(Client(), reactor=self.reactor)
        client.startedConnecting(None)
        client.clientConnectionFailed(None, None)
        client.clientConnectionLost(None, None)
        self.assertEqual(called, ["started", "failed", "lost"])


class HandshakeTests(TransportCase):
    """On TLS nobody is judged, and nobody joined, before the handshake."""

    def secure(self, **settings: Any) -> tuple[Any, Any, Board]:
        """The protocol, the application, and what was told."""
        board = Board()
        transport = Secure()
        protocol, application = self.connected(transport, listener=board, **settings)
        transport.protocol = protocol
        return protocol, application, board

    def test_it_is_waited_for(self) -> None:
        """Longer than the application may be silent, and no longer than it has; attentively."""
        protocol, application, board = self.secure(idle=1.0, handshake_timeout=4.0)
        self.reactor.live(2.0)
        self.reactor.stall(5.0)
        self.assertEqual((application.lost, board.told), (None, []))
        protocol.handshakeCompleted()
        self.assertEqual(board.told, ["joined", "Alive"])
        self.reactor.live(0.9)
        self.assertIsNone(application.lost)
        self.reactor.live(0.3)
        self.assertEqual(application.lost.value.cause, "unattributed")

    def test_it_takes_too_long(self) -> None:
        """That is a refusal, with the cause of every handshake."""
        _, application, board = self.secure(handshake_timeout=4.0)
        self.reactor.live(4.3)
        self.assertIsInstance(application.lost.value, RefusedConnection)
        self.assertEqual((application.lost.value.cause, board.told), ("tls_timeout", []))

    def test_it_may_take_for_ever(self) -> None:
        """... if that is wanted."""
        protocol, application, _ = self.secure(handshake_timeout=None)
        self.reactor.live(20.0)
        self.assertIsNone(application.lost)
        protocol.dataReceived(b"behind a wrapper the first word is how a handshake shows")
        self.assertIs(IHeartbeat(application.transport).state, State.ALIVE)
        protocol.connectionLost(Failure(ConnectionDone()))
