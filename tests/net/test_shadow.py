"""Our verdict beside a heartbeat that exists: what is counted, and that nothing is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.protocol import connectionDone
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.logger import formatEvent, globalLogPublisher
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from heartbeat.errors import ConfigError
from heartbeat.liveness.states import State
from heartbeat.net import IHeartbeat, Other, Shadow, heartbeat_factory
from heartbeat.testing import SilentDrop
from tests.net.adapters.cases import Reactor
from tests.net.observing import DETECT, PORT, ObservedCase
from tests.net.wrapped import CONFIG, Notes, NotesFactory


class Impatient(Notes, TimeoutMixin):
    """An application with Twisted's own TimeoutMixin."""

    period = 10.0
    call_later: Callable[..., Any]

    def connectionMade(self) -> None:
        """Begin."""
        super().connectionMade()
        self.setTimeout(self.period)

    def callLater(self, period: float, func: Callable[[], object]) -> Any:
        """By the wall clock of the simulated host."""
        return self.call_later(period, func)

    def dataReceived(self, data: bytes) -> None:
        """A sign of life."""
        super().dataReceived(data)
        self.resetTimeout()

    def timeoutConnection(self) -> None:
        """As a graceful close would hang on a dead path."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """No timer is left."""
        self.setTimeout(None)
        super().connectionLost(reason)


class ShadowCase(ObservedCase):
    """A server with a TimeoutMixin, and a shadow beside it."""

    def shadowed(self, period: float = 10.0, other: Any = None, **settings: Any) -> tuple[Shadow, Any, Any]:
        """The shadow, the server's application and the client's."""
        served = NotesFactory(Impatient)
        Impatient.period = period
        Impatient.call_later = staticmethod(self.server.reactor.callLater)
        settings = {"detect": DETECT, "reactor": self.server.reactor, "listener": self.board, **settings}
        shadow = Shadow(served, other, **settings)
        assert shadow.factory is not None
        self.server.listen(PORT, shadow.factory)
        mine: Any = self.net.result(self.plain().connect(NotesFactory()))
        self.net.run_until(lambda: bool(served.built))
        self.addCleanup(mine.transport.abortConnection)
        self.addCleanup(served.built[0].transport.abortConnection)
        self.addCleanup(served.built.clear)
        self.hold(served.built[0], mine)
        return shadow, served.built[0], mine


class CountingTests(ShadowCase):
    """Which of the two was right."""

    def test_a_living_peer_is_killed(self) -> None:
        """TimeoutMixin ends a peer that has nothing to say; our judge held it alive: spared."""
        shadow, theirs, _ = self.shadowed()
        self.lost_after(theirs)
        report = shadow.report()
        self.assertEqual((report.connections, report.kills, report.spared), (1, 1, 1))
        self.assertEqual((report.earlier, report.later, report.mistaken, report.unknown), (0, 0, 0, 0))

    def test_our_own_stall(self) -> None:
        """The peer spoke while our loop stood still; the plain timer fires before anybody reads it: spared."""
        shadow, theirs, mine = self.shadowed()
        for _ in range(3):
            mine.transport.write(b"beat")
            self.net.run(4.0)
        mine.transport.write(b"beat")
        self.server.stall(15.0)
        self.lost_after(theirs)
        self.assertEqual((shadow.report().kills, shadow.report().spared), (1, 1))

    def test_a_dead_one_is_found_earlier(self) -> None:
        """Its path died: we know it after the detection time, TimeoutMixin long after that."""
        shadow, theirs, _ = self.shadowed(period=60.0)
        self.net.run(5.0)
        self.drop()
        self.net.run(20.0)
        self.assertIs(IHeartbeat(theirs.transport).state, State.DEAD)
        self.assertIsNone(theirs.lost)
        self.lost_after(theirs)
        report = shadow.report()
        self.assertEqual((report.kills, report.spared, report.earlier), (1, 0, 1))
        self.assertGreater(report.earlier_by, 45.0)
        self.assertLess(report.earlier_by, 55.0)
        self.assertIs(theirs.lost.type, ConnectionAborted)

    def test_a_dead_one_is_found_later(self) -> None:
        """Its path died, and TimeoutMixin is faster than our detection time: later, by what was left."""
        shadow, theirs, _ = self.shadowed(period=5.0)
        self.drop()
        self.lost_after(theirs)
        report = shadow.report()
        self.assertEqual((report.spared, report.earlier, report.later), (0, 0, 1))
        self.assertLess(report.later_by, 2.0)

    def test_nobody_ever_found_it_but_us(self) -> None:
        """The other heartbeat does nothing: it counts from our verdict to the end of the connection."""
        shadow, theirs, _ = self.shadowed(period=100_000.0)
        self.drop()
        self.net.run(36.0)
        self.assertEqual(shadow.report().earlier, 0)
        theirs.transport.abortConnection()
        self.net.run(0.1)
        self.assertEqual(shadow.report().earlier, 1)
        self.assertTrue(29.0 < shadow.report().earlier_by < 31.0)

    def test_we_were_wrong(self) -> None:
        """An outage longer than our detection time, that healed: counted against us, and the connection lives."""
        shadow, theirs, mine = self.shadowed(period=100.0)
        drop = SilentDrop()
        self.net.between(self.client, self.server).add(drop)
        self.net.run(8.0)
        self.assertIs(IHeartbeat(theirs.transport).state, State.DEAD)
        self.net.between(self.client, self.server).remove(drop)
        mine.transport.write(b"here I am")
        self.net.run(5.0)
        self.assertEqual(bytes(theirs.received), b"here I am")
        mine.transport.loseConnection()
        self.net.run(1.0)
        self.assertIs(theirs.lost.type, ConnectionDone)
        self.assertEqual((shadow.report().mistaken, shadow.report().earlier), (1, 0))

    def test_both_were_wrong(self) -> None:
        """The same without a word of the application: its kernel answers again when TimeoutMixin kills it."""
        shadow, theirs, _ = self.shadowed(period=20.0)
        drop = SilentDrop()
        self.net.between(self.client, self.server).add(drop)
        self.net.run(8.0)
        self.net.between(self.client, self.server).remove(drop)
        self.lost_after(theirs)
        report = shadow.report()
        self.assertEqual((report.kills, report.mistaken, report.spared, report.earlier), (1, 1, 0, 0))

    def test_all_connections_of_a_factory(self) -> None:
        """The numbers add up; each open connection has its own."""
        shadow, theirs, _ = self.shadowed()
        other: Any = self.net.result(self.plain().connect(NotesFactory()))
        self.hold(other)
        self.net.run(4.0)
        for _ in range(4):
            other.transport.write(b"beat")
            self.net.run(4.0)
        self.assertIsNotNone(theirs.lost)
        self.assertEqual((shadow.report().connections, shadow.report().spared), (2, 1))
        (pair,) = shadow.open
        self.assertEqual((pair.report().connections, pair.report().kills), (1, 0))
        other.transport.loseConnection()
        self.net.run(1.0)
        self.assertEqual(shadow.open, ())
        self.assertEqual(shadow.report().as_json()["connections"], 2)


class EndpointTests(ShadowCase):
    """``beatMode=shadow``: no code at all."""

    def test_what_is_logged(self) -> None:
        """The verdict that nobody acted upon, the kill of a heartbeat that is known, and the report in the end."""
        logged: list[str] = []

        def observe(event: Any) -> None:
            if str(event.get("log_namespace", "")).startswith("heartbeat.net.shadow"):
                logged.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        Impatient.period = 30.0
        Impatient.call_later = staticmethod(self.server.reactor.callLater)
        served = NotesFactory(Impatient)
        endpoint = serverFromString(self.server.reactor, f"heartbeat:tcp:{PORT}:beatMode=shadow:beatDetect=6")
        port = self.net.result(endpoint.listen(served))
        mine: Any = self.net.result(self.plain().connect(NotesFactory()))
        self.addCleanup(mine.transport.abortConnection)
        self.drop()
        self.net.run(40.0)
        self.net.result(port.stopListening())
        self.hold(mine, *served.built)
        verdict, kill, report = logged
        peer = mine.transport.getHost()
        self.assertEqual(verdict, f"shadow: ~{peer.host}:{peer.port}: we would end it now: path_dead (keepalive)")
        self.assertIn("earlier: we had found it dead 2", kill)
        self.assertIn("kills=1, spared=0, earlier=1", report)


class BlindTests(SynchronousTestCase):
    """Where nothing can be seen, nothing is claimed."""

    def test_unknown(self) -> None:
        """A kill on a transport in memory: nobody knows whether the peer lived."""
        reactor = Reactor()
        shadow = Shadow(NotesFactory(Impatient), Other(), reactor=reactor)
        Impatient.period = 5.0
        Impatient.call_later = staticmethod(reactor.callLater)
        assert shadow.factory is not None
        protocol: Any = shadow.factory.buildProtocol(None)
        transport = StringTransportWithDisconnection()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        shadow.killed()
        self.assertEqual((shadow.report().kills, shadow.report().unknown, shadow.report().spared), (1, 1, 0))
        transport.loseConnection()
        self.assertEqual((shadow.open, reactor.getDelayedCalls()), ((), []))


class OtherTests(ShadowCase):
    """The heartbeat that there is, of any kind."""

    def test_by_the_name_of_a_method(self) -> None:
        """Whatever the protocol calls it; it is called as ever."""
        shadow, theirs, _ = self.shadowed(period=100_000.0, other="connectionMade")
        self.assertEqual((theirs.said, shadow.report().kills), (["made"], 1))

    def test_told_by_hand(self) -> None:
        """An ``Other`` is told of which connection, where there are several; a second time is none."""
        other = Other()
        shadow, theirs, _ = self.shadowed(other=other, period=100_000.0)
        other.killed(theirs)
        other.killed(theirs)
        other.killed()
        self.assertEqual((shadow.report().kills, shadow.report().spared), (1, 1))
        other.killed(object())

    def test_which_one_must_be_said(self) -> None:
        """... and not to say it counts nothing, and raises nothing either: the kill must go on."""
        other = Other()
        shadow, theirs, _ = self.shadowed(other=other, period=100_000.0)
        second: Any = self.net.result(self.plain().connect(NotesFactory()))
        self.hold(second)
        self.net.run(0.1)
        other.killed()
        self.assertEqual(shadow.report().kills, 0)
        other.killed(theirs.transport)
        self.assertEqual(shadow.report().kills, 1)
        second.transport.abortConnection()
        self.net.run(0.1)

    def test_by_a_function(self) -> None:
        """It is given the protocol and what is to be called."""
        given: list[Any] = []
        shadow, theirs, _ = self.shadowed(other=lambda protocol, killed: given.append((protocol, killed)), period=1e5)
        self.assertIs(given[0][0], theirs)
        given[0][1]()
        self.assertEqual(shadow.report().kills, 1)
        given.clear()

    def test_nobody_told_anything(self) -> None:
        """An Other without a shadow does nothing."""
        self.assertIsNone(Other().killed())

    def test_of_one_connection(self) -> None:
        """``Shadow(handle, other)``: any object gets a method ``killed`` for the old heartbeat to call."""

        class Pinger:
            """A heartbeat of one's own."""

            stopped = False

            def timeoutConnection(self) -> None:
                """It gives up."""
                self.stopped = True

        theirs, _ = self.pair()
        pinger: Any = Pinger()
        shadow = Shadow(IHeartbeat(theirs.transport), pinger)
        self.net.run(3.0)
        pinger.killed()
        self.assertEqual((shadow.report().kills, shadow.report().spared), (1, 1))
        pinger.timeoutConnection()
        self.assertTrue(pinger.stopped)
        self.assertEqual(shadow.report().kills, 1)

    def test_of_a_framed_connection(self) -> None:
        """The judge may be that of a heartbeat with frames, found by the transport."""
        from tests.net.wrapped import WrappedCase

        served = NotesFactory()
        self.server.listen(7600, heartbeat_factory(served, CONFIG, reactor=self.server.reactor))
        mine: Any = self.net.result(WrappedCase.endpoint(self, CONFIG).connect(NotesFactory()))  # type: ignore[arg-type]  # it has the same hosts
        self.addCleanup(mine.transport.abortConnection)
        self.net.run(1.0)
        other = Other()
        shadow = Shadow(served.built[0].transport, other)
        other.killed()
        self.assertEqual((shadow.report().kills, shadow.report().spared), (1, 1))
        late = Shadow(served.built[0].transport, other)
        self.drop()
        self.net.run_until(lambda: IHeartbeat(served.built[0].transport).state is State.SUSPECT)
        other.killed()
        self.assertEqual(late.report().later, 1)
        self.net.run(5.0)
        self.assertEqual(late.open, ())

    def test_what_is_no_subject(self) -> None:
        """Said at once, with the thing."""
        error = self.assertRaises(ConfigError, Shadow, 17, Other())
        self.assertIn("subject: must be a factory or the handle of a connection, not 17", str(error))

    def test_the_pings_of_autobahn(self) -> None:
        """Its own way of giving up is known by name; the library is left as it is."""
        try:
            from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
        except ImportError:
            raise SkipTest("needs autobahn") from None
        reactor = self.server.reactor
        factory: Any = WebSocketServerFactory(f"ws://server:{PORT}", reactor=reactor)
        factory.protocol = WebSocketServerProtocol
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
        named = Shadow(factory, reactor=reactor)
        assert named.factory is not None
        self.server.listen(PORT, named.factory)
        mine: Any = self.net.result(self.plain().connect(NotesFactory()))
        self.net.run(3.0)
        (pair,) = named.open
        protocol = pair.protocol
        protocol.onAutoPingTimeout()
        self.net.run(0.1)
        self.assertIsNotNone(mine.lost)
        self.assertEqual((named.report().kills, named.report().spared), (1, 1))
        self.assertNotIn("onAutoPingTimeout", protocol.__dict__)
        self.hold(mine)
        self.held += [protocol, protocol.transport]
