"""How many may be connected, in all and from one address, and who is told what when a server goes away."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from heartbeat import HeartbeatConfig
from heartbeat.net import HeartbeatFactory
from heartbeat.wire.frames import Ack, Bye, Hello
from tests.net.cases import HandCase, Notes
from tests.net.hand import HandTransport, bye, decoded, hello, ping

#: The wheel's resolution, and a step of the loop.
LATE = 0.05
FULL = "this server is full"
TOO_MANY = "too many connections from your address"


def byes(transport: HandTransport) -> list[tuple[int, str]]:
    """The BYEs in what was said since the last look."""
    return [(frame.code, frame.reason) for frame in transport.said() if isinstance(frame, Bye)]


class LimitTests(HandCase):
    """max_connections and max_per_address."""

    def test_a_full_server(self) -> None:
        """Who is too many hears BYE 10 at once, before it said anything; those who are in are not touched."""
        self.factory.max_connections = 2
        inside = [self.connect(hello("a")), self.connect()]
        outside = self.connect()
        self.assertEqual(byes(outside), [(10, FULL)])
        self.assertEqual([byes(transport) for transport in inside], [[], []])
        self.assertEqual([(event.cause, event.reason) for event in self.notes.refusals], [("server_full", FULL)])
        outside.say(hello("b"))
        self.assertEqual(outside.said(), [])

    def test_there_is_room_again(self) -> None:
        """As soon as somebody has gone the next one may come in; a refused one that closed takes no room."""
        self.factory.max_connections = 1
        first, refused = self.connect(hello("a")), self.connect()
        self.assertEqual(byes(refused), [(10, FULL)])
        refused.lose()
        first.lose()
        self.assertIsInstance(self.connect(hello("b")).said()[0], Hello)

    def test_limits_may_change(self) -> None:
        """A limit that is replaced holds for those who come from then on."""
        transports = [self.connect(hello(f"p{number}")) for number in range(3)]
        self.factory.max_connections = 1
        self.assertEqual(byes(self.connect()), [(10, FULL)])
        self.assertEqual([one.done for one in transports], [[], [], []])
        self.factory.max_connections = None
        self.assertEqual(byes(self.connect()), [])

    def test_one_address(self) -> None:
        """The limit per address counts hosts, not ports, and each host for itself."""
        self.factory.max_per_address = 2
        same = [self.connect(host="192.0.2.1") for _ in range(3)]
        self.assertEqual([byes(one) for one in same], [[], [], [(10, TOO_MANY)]])
        self.assertEqual(byes(self.connect(host="192.0.2.2")), [])
        same[0].lose()
        same[2].lose()
        self.assertEqual(byes(self.connect(host="192.0.2.1")), [])

    def test_kinds_of_addresses(self) -> None:
        """A /64 of IPv6 is one address, a mapped IPv4 address is that of IPv4, and UNIX sockets have none."""

        def said(peer: Any) -> list[tuple[int, str]]:
            transport = HandTransport(self.clock)
            transport.peer = peer
            self.attach(transport, self.factory)
            return byes(transport)

        self.factory.max_per_address = 1
        self.assertEqual(said(IPv6Address("TCP", "2001:db8::1", 1)), [])
        self.assertEqual(said(IPv6Address("TCP", "2001:db8::2", 2)), [(10, TOO_MANY)])
        self.assertEqual(said(IPv6Address("TCP", "2001:db8:0:1::1", 3)), [])
        self.assertEqual(said(IPv4Address("TCP", "192.0.2.7", 4)), [])
        self.assertEqual(said(IPv6Address("TCP", "::ffff:192.0.2.7", 5)), [(10, TOO_MANY)])
        self.assertEqual(said(None), [])
        self.assertEqual(said(None), [])

    def test_nothing_is_kept(self) -> None:
        """An address that nobody has any more is not remembered: a year of visitors takes no memory."""
        self.factory.max_per_address = 1
        for number in range(50):
            self.connect(host=f"192.0.2.{number}").lose()
        self.assertEqual(len(self.factory._addresses), 0)


class ProxyTests(HandCase):
    """Behind ``haproxy:`` the address of the client is known only when its first bytes have come (facts R7)."""

    BALANCER = IPv4Address("TCP", "192.0.2.254", 7600)

    def setUp(self) -> None:
        """A listening endpoint on a reactor that opens nothing."""
        super().setUp()
        self.reactor = MemoryReactorClock()
        self.noted = Notes(self.reactor.seconds)
        config = HeartbeatConfig(interval=0.5)
        self.acceptor = HeartbeatFactory(config, self.noted, reactor=self.reactor, max_per_address=2)
        serverFromString(self.reactor, "haproxy:tcp:7600").listen(self.acceptor)
        self.protocols: list[Any] = []

    def open(self) -> tuple[Any, StringTransport]:
        """One more connection from the balancer."""
        transport = StringTransport(peerAddress=self.BALANCER)
        protocol = self.reactor.tcpServers[0][1].buildProtocol(self.BALANCER)
        protocol.makeConnection(transport)
        self.protocols.append(protocol)
        return protocol, transport

    def assert_nothing_left(self) -> None:
        """All of them end."""
        super().assert_nothing_left()
        for protocol in self.protocols:
            protocol.connectionLost(Failure(ConnectionDone()))
        self.reactor.pump([0, 0, 0])
        self.assertEqual((self.acceptor.connections, self.reactor.getDelayedCalls()), (0, []))

    def said(self, transport: StringTransport) -> list[Any]:
        """The types of what was said, and the codes of BYEs; two turns later, as the link is opaque."""
        for _ in range(8):
            self.reactor.advance(0.001)
        frames = decoded(transport.value())
        return [frame.code if isinstance(frame, Bye) else type(frame) for frame in frames]

    def header(self, client: str) -> bytes:
        """What the balancer writes first."""
        return f"PROXY TCP4 {client} 192.0.2.254 1000 7600\r\n".encode()

    def test_the_balancer_is_not_limited(self) -> None:
        """Connections whose client is not known yet are not counted as the balancer's."""
        opened = [self.open() for _ in range(5)]
        self.assertEqual([self.said(transport) for _, transport in opened], [[]] * 5)
        for number, (protocol, transport) in enumerate(opened):
            protocol.dataReceived(self.header(f"203.0.113.{number}") + hello(f"p{number}"))
            self.assertEqual(self.said(transport)[0], Hello)

    def test_the_client_is(self) -> None:
        """When the gate would open it is the client's address that counts, for HELLO and for bare peers alike."""
        for first in (hello(), ping()):
            opened = [self.open() for _ in range(3)]
            client = "203.0.113.9" if first == ping() else "203.0.113.8"
            answers = []
            for protocol, transport in opened:
                protocol.dataReceived(self.header(client) + first)
                answers.append(self.said(transport))
            self.assertEqual([10 in answer for answer in answers], [False, False, True])
            self.assertIn(answers[0][0], (Hello, Ack))

    def test_the_peer_is_the_client(self) -> None:
        """The peer is listed with its own address."""
        protocol, _ = self.open()
        protocol.dataReceived(self.header("203.0.113.9"))
        protocol.dataReceived(ping())
        (peer,) = self.noted.peers
        self.assertEqual((peer.id, peer.address), ("~203.0.113.9:1000", "203.0.113.9:1000"))


class DrainTests(HandCase):
    """A server that goes away."""

    def test_all_are_told(self) -> None:
        """BYE 1 to everybody, whatever their state; it fires when the last one is gone, once."""
        transports = [self.connect(), self.connect(hello("a")), self.connect(ping())]
        for transport in transports:
            transport.said()
        drained = self.factory.drain(10.0)
        self.assertEqual([byes(transport) for transport in transports], [[(1, "draining")]] * 3)
        for transport in transports:
            self.assertNoResult(drained)
            transport.lose()
        self.assertIsNone(self.successResultOf(drained))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(sorted(self.notes.departures()), [("a", "draining"), ("~192.0.2.1:40002", "draining")])

    def test_when_to_come_back(self) -> None:
        """The peers are told when to return, in the form that programs read."""
        transport = self.connect(hello("a"))
        transport.said()
        self.factory.drain(10.0, after_ms=5000)
        ((code, reason),) = byes(transport)
        self.assertEqual(code, 1)
        self.assertTrue(reason.startswith("after=5000 "), reason)

    def test_nobody_is_connected(self) -> None:
        """Then it is done at once, and no timer is left."""
        self.successResultOf(self.factory.drain(10.0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_newcomers(self) -> None:
        """Who comes while we drain, or later, hears the same, with the same advice, and is not waited for longer."""
        first = self.connect(hello("a"))
        drained = self.factory.drain(10.0, after_ms=700)
        late = self.connect()
        self.assertEqual(byes(late), [(1, "after=700 draining")])
        self.assertEqual(self.notes.refusals[0].cause, "")
        first.lose()
        self.assertNoResult(drained)
        late.lose()
        self.successResultOf(drained)
        self.assertEqual(byes(self.connect()), [(1, "after=700 draining")])

    def test_it_is_bounded(self) -> None:
        """Who is still here when the time is up is aborted; then it fires."""
        transports = [self.connect(hello("a")), self.connect(hello("b"))]
        drained = self.factory.drain(0.5)
        transports[0].lose()
        self.advance(0.5 - LATE)
        self.assertNoResult(drained)
        self.advance(2 * LATE)
        self.successResultOf(drained)
        self.assertEqual(transports[1].done, ["abort"])

    def test_newcomers_do_not_prolong_it(self) -> None:
        """A stream of newcomers that linger does not keep it from its end."""
        self.connect(hello("a"))
        drained = self.factory.drain(2.0)
        for _ in range(21):
            self.advance(0.1)
            self.connect()
        self.successResultOf(drained)

    def test_peers_that_do_not_close(self) -> None:
        """They are aborted when the BYE has lingered, long before a generous timeout."""
        transport = self.connect(hello("a"))
        drained = self.factory.drain(60.0)
        self.advance(1.0 + LATE)
        self.successResultOf(drained)
        self.assertEqual(transport.done, ["abort"])

    def test_twice(self) -> None:
        """A second drain, with other advice, fires with the first; each fires once."""
        transport = self.connect(hello("a"))
        one, two = self.factory.drain(10.0), self.factory.drain(5.0, after_ms=1)
        transport.lose()
        self.successResultOf(one)
        self.successResultOf(two)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_given_up(self) -> None:
        """Who does not want to wait any more cancels: the timer goes, the peers leave all the same."""
        transport = self.connect(hello("a"))
        drained = self.factory.drain(10.0)
        drained.cancel()
        self.failureResultOf(drained)
        transport.say(bye(0))
        self.advance(2.0)
        self.assertTrue(transport.gone)

    def test_abort_all(self) -> None:
        """Everybody is gone, without a word."""
        transports = [self.connect(), self.connect(hello("a")), self.connect(ping())]
        for transport in transports:
            transport.said()
        self.factory.abort_all()
        self.advance(LATE)
        self.assertEqual([transport.gone for transport in transports], [True] * 3)
        self.assertEqual([transport.said() for transport in transports], [[]] * 3)
