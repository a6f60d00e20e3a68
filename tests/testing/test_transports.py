"""Twisted's ordinary protocols, endpoints and services on simulated sockets, unchanged."""

from __future__ import annotations

from typing import Any

from twisted.application.internet import ClientService, StreamServerEndpointService
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    clientFromString,
    connectProtocol,
    serverFromString,
)
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPullProducer,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, readBody
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from heartbeat.net.link import ILinkSource
from heartbeat.testing import SilentDrop, SimulatedNetwork
from heartbeat.testing.segments import BUFFER


class Echo(Protocol):
    """Says what it hears."""

    def dataReceived(self, data: bytes) -> None:
        """Say it."""
        assert self.transport is not None
        self.transport.write(data)


class Keeper(Protocol):
    """Keeps what it hears, and why it ended."""

    transport: Any

    def __init__(self) -> None:
        self.heard = b""
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data

    def connectionLost(self, reason: Failure = error.ConnectionDone) -> None:
        """Keep that, too."""
        self.reason = reason

    def ended_by(self, kind: type[Exception]) -> bool:
        """Whether it ended so."""
        return self.reason is not None and self.reason.check(kind) is not None


class TransportCase(SynchronousTestCase):
    """A server and a client host."""

    def setUp(self) -> None:
        """The hosts, and protocols that this test refers to."""
        self.net = SimulatedNetwork(seed=11)
        self.held: list[object] = []
        self.addCleanup(lambda: self.net.assert_nothing_left(held=self.held))
        self.server, self.client = self.net.host("server"), self.net.host("client")

    def pair(self, server: type[Protocol] = Keeper, client: type[Protocol] = Keeper) -> tuple[Any, Any]:
        """Two protocols that are connected: the client's, the server's."""
        accepted: list[Protocol] = []
        factory = Factory.forProtocol(server)
        build = factory.buildProtocol
        factory.buildProtocol = lambda addr: accepted.append(build(addr)) or accepted[-1]
        self.server.listen(7600, factory)
        endpoint = TCP4ClientEndpoint(self.client.reactor, "server", 7600)
        connected = self.net.result(connectProtocol(endpoint, client()))
        self.net.run_until(lambda: bool(accepted))
        self.held += [connected, accepted[0]]
        return connected, accepted[0]


class ConnectTests(TransportCase):
    """Endpoints, from names and from strings."""

    def test_echo(self) -> None:
        """Bytes go there and back; the addresses are those of the hosts."""
        client, _ = self.pair(server=Echo)
        client.transport.write(b"hello")
        self.net.run_until(lambda: client.heard == b"hello")
        self.assertEqual(client.transport.getPeer(), IPv4Address("TCP", "10.0.0.1", 7600))
        self.assertEqual(client.transport.getHost().host, "10.0.0.2")
        self.assertTrue(verifyObject(ITCPTransport, client.transport))
        client.transport.loseConnection()

    def test_endpoint_strings(self) -> None:
        """serverFromString and clientFromString work with host names; HostnameEndpoint, too."""
        listening = serverFromString(self.server.reactor, "tcp:7601:backlog=3")
        port = self.net.result(listening.listen(Factory.forProtocol(Echo)))
        for endpoint in (
            clientFromString(self.client.reactor, "tcp:server:7601"),
            clientFromString(self.client.reactor, "tcp:host=10.0.0.1:port=7601:timeout=3"),
            HostnameEndpoint(self.client.reactor, "server", 7601),
        ):
            protocol = self.net.result(connectProtocol(endpoint, Keeper()))
            protocol.transport.write(b"x")
            self.net.run_until(lambda protocol=protocol: protocol.heard == b"x")
            protocol.transport.loseConnection()
            self.held.append(protocol)
        self.net.run(1.0)
        self.net.result(port.stopListening())

    def test_failures(self) -> None:
        """Each way not to connect is Twisted's own exception."""
        reactor = self.client.reactor

        def connect(host: str, port: int, timeout: float = 60.0) -> Deferred[Any]:
            return connectProtocol(TCP4ClientEndpoint(reactor, host, port, timeout=timeout), Protocol())

        self.assertRaises(error.ConnectionRefusedError, self.net.result, connect("server", 1))
        self.assertRaises(error.DNSLookupError, self.net.result, connect("nobody", 1))
        self.assertRaises(error.NoRouteError, self.net.result, connect("192.0.2.1", 1))
        self.server.vanish()
        began = self.net.now
        self.assertRaises(error.TCPTimedOutError, self.net.result, connect("server", 1))
        self.assertAlmostEqual(self.net.now - began, 31.0, places=3)
        self.assertRaises(error.TimeoutError, self.net.result, connect("server", 1, timeout=5.0))
        self.assertAlmostEqual(self.net.now - began, 36.0, places=3)
        self.assertRaises(error.ConnectError, self.net.result, connect("::1", 1))

    def test_cancelled(self) -> None:
        """A connect that is given up leaves nothing."""
        self.server.vanish()
        connecting = connectProtocol(TCP4ClientEndpoint(self.client.reactor, "server", 1), Protocol())
        self.net.run(1.0)
        connecting.cancel()
        self.failureResultOf(connecting, error.ConnectingCancelledError)

    def test_cannot_listen(self) -> None:
        """Twice on one port is Twisted's own exception, and so is IPv6, which the network does not speak."""
        self.server.listen(80, Factory())
        self.assertRaises(error.CannotListenError, self.server.listen, 80, Factory())
        self.assertRaises(error.CannotListenError, self.server.reactor.listenTCP, 81, Factory(), interface="::1")

    def test_a_factory_that_refuses(self) -> None:
        """buildProtocol that gives None closes the connection."""
        refusing = Factory()
        refusing.buildProtocol = lambda addr: None
        self.server.listen(7600, refusing)
        keeper = self.net.result(connectProtocol(HostnameEndpoint(self.client.reactor, "server", 7600), Keeper()))
        self.held.append(keeper)
        self.net.run(1.0)
        self.assertTrue(keeper.ended_by(error.ConnectionDone))

    def test_connectors(self) -> None:
        """The older connectTCP with its connector works, and connects again."""
        self.server.listen(7600, Factory.forProtocol(Echo))
        built: list[Keeper] = []

        class Again(ClientFactory):
            def buildProtocol(self, addr: object) -> Keeper:
                built.append(Keeper())
                return built[-1]

            def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
                if len(built) < 2:
                    connector.connect()

        self.client.reactor.connectTCP("server", 7600, Again())
        self.net.run_until(lambda: bool(built))
        built[0].transport.loseConnection()
        self.net.run_until(lambda: len(built) == 2)
        built[1].transport.loseConnection()
        self.net.run(1.0)
        self.held += built


class WriteTests(TransportCase):
    """Buffering, producers and pauses are Twisted's own."""

    def test_a_write_leaves_in_the_next_poll(self) -> None:
        """Bytes written in a callback reach the kernel after it: a stall in between keeps them (facts K0.3)."""
        client, server = self.pair()

        def write_and_stall() -> None:
            client.transport.write(b"ping")
            self.client.stall(3.0)

        self.client.reactor.callLater(1.0, write_and_stall)
        self.net.run(3.9)
        self.assertEqual(server.heard, b"")
        self.net.run(0.2)
        self.assertEqual(server.heard, b"ping")
        client.transport.loseConnection()

    def test_lose_connection_flushes(self) -> None:
        """A megabyte that was written before arrives whole."""
        client, server = self.pair()
        client.transport.write(bytes(1_000_000))
        client.transport.loseConnection()
        self.net.run(5.0)
        self.assertEqual(len(server.heard), 1_000_000)
        self.assertTrue(client.ended_by(error.ConnectionDone) and server.ended_by(error.ConnectionDone))

    def test_lose_connection_to_a_silent_peer_hangs(self) -> None:
        """With unsent bytes it never completes (facts K0.12); abort does."""
        client, server = self.pair()
        server.transport.pauseProducing()
        client.transport.write(bytes(10 * BUFFER))
        client.transport.loseConnection()
        self.net.run(60.0)
        self.assertIsNone(client.reason)
        client.transport.abortConnection()
        self.net.run(1.0)
        self.assertTrue(client.ended_by(error.ConnectionAborted))
        self.assertIsNone(server.reason)
        server.transport.resumeProducing()
        self.net.run(1.0)
        self.assertTrue(server.ended_by(error.ConnectionLost))

    def test_abort(self) -> None:
        """RST: the other end's connection is lost, not done."""
        client, server = self.pair()
        client.transport.abortConnection()
        self.net.run(1.0)
        self.assertTrue(client.ended_by(error.ConnectionAborted))
        self.assertTrue(server.ended_by(error.ConnectionLost))

    def test_pausing(self) -> None:
        """A paused transport reads nothing, not even the end; then everything."""
        client, server = self.pair()
        server.transport.pauseProducing()
        client.transport.write(b"later")
        client.transport.loseConnection()
        self.net.run(5.0)
        self.assertEqual((server.heard, server.reason), (b"", None))
        server.transport.resumeProducing()
        self.net.run(1.0)
        self.assertEqual(server.heard, b"later")
        self.assertTrue(server.ended_by(error.ConnectionDone))

    def test_push_producer(self) -> None:
        """It is paused when the buffer is full, resumed when that is empty, and stopped at the end."""
        client, server = self.pair()
        calls: list[str] = []

        @implementer(IPushProducer)
        class Push:
            def pauseProducing(self) -> None:
                calls.append("pause")

            def resumeProducing(self) -> None:
                calls.append("resume")

            def stopProducing(self) -> None:
                calls.append("stop")

        client.transport.registerProducer(Push(), True)
        server.transport.pauseProducing()
        client.transport.write(bytes(5 * BUFFER))
        self.net.run(1.0)
        self.assertEqual(calls, ["pause"])
        server.transport.resumeProducing()
        self.net.run(30.0)
        self.assertEqual(calls, ["pause", "resume"])
        server.transport.abortConnection()
        self.net.run(1.0)
        self.assertEqual(calls, ["pause", "resume", "stop"])

    def test_pull_producer_tells_when_user_space_is_empty(self) -> None:
        """Behind a backlog it is asked for more exactly when the kernel has everything (facts R1)."""
        client, server = self.pair()
        asked: list[float] = []
        now = lambda: self.net.now  # noqa: E731 - one word

        @implementer(IPullProducer)
        class Pull:
            def resumeProducing(self) -> None:
                asked.append(now())
                if len(asked) == 2:
                    client.transport.unregisterProducer()

            def stopProducing(self) -> None:
                raise AssertionError("it was unregistered")

        server.transport.pauseProducing()
        client.transport.write(bytes(3 * BUFFER))
        client.transport.registerProducer(Pull(), False)
        self.assertEqual(len(asked), 1)
        self.net.run(10.0)
        self.assertEqual(len(asked), 1)
        server.transport.resumeProducing()
        self.net.run(30.0)
        self.assertEqual(len(asked), 2)
        self.assertEqual(len(server.heard), 3 * BUFFER)
        client.transport.loseConnection()

    def test_half_close(self) -> None:
        """Both ends are told, and the other direction goes on."""

        @implementer(IHalfCloseableProtocol)
        class Half(Keeper):
            ends = ""

            def readConnectionLost(self) -> None:
                self.ends += "read "
                self.transport.write(b"answer")
                self.transport.loseConnection()

            def writeConnectionLost(self) -> None:
                self.ends += "write "

        client, server = self.pair(server=Half, client=Half)
        client.readConnectionLost = lambda: None
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        self.net.run(1.0)
        self.assertEqual((client.ends, server.ends), ("write ", "read "))
        self.assertEqual((server.heard, client.heard), (b"question", b"answer"))
        client.transport.loseConnection()

    def test_socket_options(self) -> None:
        """They are remembered and change nothing."""
        client, _ = self.pair()
        self.assertFalse(client.transport.getTcpNoDelay() or client.transport.getTcpKeepAlive())
        client.transport.setTcpNoDelay(True)
        client.transport.setTcpKeepAlive(True)
        self.assertTrue(client.transport.getTcpNoDelay() and client.transport.getTcpKeepAlive())
        client.transport.loseConnection()

    def test_a_protocol_that_raises(self) -> None:
        """It is logged, its connection is lost, and others go on."""

        class Broken(Keeper):
            def dataReceived(self, data: bytes) -> None:
                raise ZeroDivisionError

        client, server = self.pair(server=Broken)
        client.transport.write(b"x")
        self.net.run(1.0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(server.ended_by(ZeroDivisionError))
        self.assertIsNotNone(client.reason)

    def test_a_dead_path(self) -> None:
        """The kernel's own verdict reaches the protocol as a lost connection."""
        client, server = self.pair()
        self.net.between("client", "server").add(SilentDrop())
        client.transport.write(b"x")
        self.net.run(1000.0)
        self.assertTrue(client.ended_by(error.ConnectionLost))
        server.transport.abortConnection()


class ServiceTests(TransportCase):
    """What applications are made of."""

    def test_lines(self) -> None:
        """A LineReceiver, however its lines are cut."""

        class Shout(LineReceiver):
            def lineReceived(self, line: bytes) -> None:
                self.sendLine(line.upper())

        client, _ = self.pair(server=Shout)
        for piece in (b"he", b"llo\r", b"\nwor", b"ld\r\n"):
            client.transport.write(piece)
            self.net.run(0.1)
        self.assertEqual(client.heard, b"HELLO\r\nWORLD\r\n")
        client.transport.loseConnection()

    def test_client_service_reconnects(self) -> None:
        """A ClientService finds a server that was killed and restarted."""
        self.server.listen(7600, Factory.forProtocol(Echo))
        endpoint = clientFromString(self.client.reactor, "tcp:server:7600")
        service = ClientService(
            endpoint, Factory.forProtocol(Keeper), retryPolicy=lambda n: 1.0, clock=self.client.reactor
        )
        service.startService()
        first = self.net.result(service.whenConnected())
        self.server.crash()
        self.net.run(5.0)
        self.assertIsNotNone(first.reason)
        self.server.restart()
        self.server.listen(7600, Factory.forProtocol(Echo))
        second = self.net.result(service.whenConnected())
        self.assertIsNot(first, second)
        second.transport.write(b"again")
        self.net.run_until(lambda: second.heard == b"again")
        self.net.result(service.stopService())
        self.held += [first, second]

    def test_server_service(self) -> None:
        """A StreamServerEndpointService listens and stops."""
        service = StreamServerEndpointService(
            serverFromString(self.server.reactor, "tcp:7600"), Factory.forProtocol(Echo)
        )
        service.startService()
        keeper = self.net.result(connectProtocol(HostnameEndpoint(self.client.reactor, "server", 7600), Keeper()))
        keeper.transport.loseConnection()
        self.net.result(service.stopService())
        self.held.append(keeper)

    def test_web(self) -> None:
        """twisted.web serves an Agent, a large body included, with nothing replaced."""

        class Page(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                return b"x" * 300_000

        self.server.listen(80, Site(Page(), reactor=self.server.reactor))
        agent = Agent(self.client.reactor)
        response = self.net.result(agent.request(b"GET", b"http://server/page"))
        self.assertEqual(response.code, 200)
        self.assertEqual(len(self.net.result(readBody(response))), 300_000)


class LinkTests(TransportCase):
    """What a heartbeat sees of a simulated transport."""

    def test_they_bring_their_link(self) -> None:
        """Both ends."""
        for protocol in self.pair():
            self.assertTrue(verifyObject(ILinkSource, protocol.transport))
            protocol.transport.loseConnection()

    def test_a_direct_write(self) -> None:
        """True: the kernel has it, and it goes even if the process stalls at once."""
        client, server = self.pair()
        link = client.transport.heartbeat_link()
        self.assertTrue(link.exact)
        self.assertTrue(link.write(b"ping"))
        self.client.stall(60.0)
        self.net.run(1.0)
        self.assertEqual(server.heard, b"ping")
        self.net.run(60.0)
        link.abort()

    def test_a_full_kernel(self) -> None:
        """False: drained() calls back exactly when user space is empty, and what comes meanwhile stays behind."""
        client, server = self.pair()
        link = client.transport.heartbeat_link()
        server.transport.pauseProducing()
        self.assertFalse(link.write(b"a" * 3 * BUFFER))
        drained: list[float] = []
        link.drained(lambda: drained.append(self.net.now))
        self.assertFalse(link.write(b"z"))
        self.net.run(10.0)
        self.assertEqual(drained, [])
        evidence = link.look(self.client.monotonic())
        self.assertEqual((evidence.tcp.snd_wnd, evidence.outq), (0, BUFFER))
        server.transport.resumeProducing()
        self.net.run(30.0)
        self.assertEqual(len(drained), 1)
        self.assertEqual(server.heard, b"a" * 3 * BUFFER + b"z")
        self.assertTrue(link.write(b"direct again"))
        link.abort()

    def test_evidence(self) -> None:
        """Unread bytes, the arrival time, whether it reads, and TCP_INFO."""
        client, server = self.pair()
        link = server.transport.heartbeat_link()
        self.assertIsNone(link.arrived_at(self.server.monotonic()))
        self.server.stall(2.0)
        client.transport.write(b"12345")
        sent = self.server.monotonic()
        self.net.run(1.0)
        evidence = link.look(self.server.monotonic())
        self.assertEqual((evidence.unread, evidence.outq, evidence.reading), (5, 0, True))
        self.assertEqual(evidence.tcp.bytes_received, 5)
        self.assertAlmostEqual((link.arrived_at(self.server.monotonic()) or 0.0) - sent, 0.0005, places=4)
        link.pause()
        self.net.run(5.0)
        self.assertEqual((server.heard, link.look(0.0).reading), (b"", False))
        link.resume()
        self.net.run(1.0)
        self.assertEqual(server.heard, b"12345")
        link.close()

    def test_endings(self) -> None:
        """FIN, RST and our own abort are told apart, with the evidence of the last moment."""
        for end, how in (("loseConnection", "eof"), ("abortConnection", "reset")):
            client, server = self.pair()
            link = server.transport.heartbeat_link()
            getattr(client.transport, end)()
            self.net.run(1.0)
            ending = link.ending(server.reason, 7.0)
            self.assertEqual(ending.how, how)
            self.assertEqual(ending.evidence.at, 7.0)
            self.assertIsNotNone(ending.evidence.tcp)
            self.assertIsNone(link.look(0.0).tcp)
            self.assertIsNone(link.arrived_at(0.0))
            self.server.stop_listening()
            self.net.run(0.1)
        client, _ = self.pair()
        link = client.transport.heartbeat_link()
        link.abort()
        link.abort()
        self.net.run(1.0)
        self.assertEqual(link.ending(client.reason, 0.0).how, "aborted")

    def test_a_timeout_of_the_kernel(self) -> None:
        """Neither FIN nor RST: an error, with the counters of its attempts."""
        client, server = self.pair()
        link = client.transport.heartbeat_link()
        self.net.between("client", "server").add(SilentDrop())
        link.write(b"ping")
        self.net.run(1000.0)
        ending = link.ending(client.reason, 0.0)
        self.assertEqual((ending.how, ending.evidence.tcp.retransmits), ("error", 15))
        server.transport.abortConnection()
