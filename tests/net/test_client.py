"""The client service: connected to one of several servers, or on its way to be."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import LogLevel, capturedLogs

from heartbeat import HeartbeatConfig, State
from heartbeat.net import Heartbeat, HeartbeatClientService
from heartbeat.testing import SilentDrop
from heartbeat.wire.codec import Decoder
from heartbeat.wire.frames import BODY_LIMITS, Hello
from heartbeat.wire.profile import parse_object
from tests.net.cases import DETECT, INTERVAL, SimulatedCase
from tests.net.hand import bye

#: Segments take a while, and a closing connection a turn or two.
SOON = 0.1


class Gruff(Factory):
    """A server that notes when somebody comes and what he says, and answers with these bytes, or closes.

    :ivar came: when
    :ivar hellos: what they said
    """

    noisy = False

    def __init__(self, now: Any, answer: bytes | None) -> None:
        self.now = now
        self.answer = answer
        self.came: list[float] = []
        self.hellos: list[dict[str, Any]] = []

    def buildProtocol(self, addr: Any) -> Protocol:
        """One for each."""
        factory = self

        class Server(Protocol):
            def connectionMade(self) -> None:
                factory.came.append(factory.now())
                if factory.answer is None:
                    assert self.transport is not None
                    self.transport.loseConnection()

            def dataReceived(self, data: bytes) -> None:
                decoder = Decoder()
                decoder.feed(data)
                frame = decoder.next(BODY_LIMITS)
                if isinstance(frame, Hello):
                    factory.hellos.append(parse_object(frame.body, "HELLO"))
                    assert self.transport is not None and factory.answer is not None
                    self.transport.write(factory.answer)

        return Server()

    def gaps(self) -> list[float]:
        """The seconds between two visits."""
        return [after - before for before, after in zip(self.came, self.came[1:], strict=False)]


class ClientCase(SimulatedCase):
    """A service and servers."""

    def gruff(self, answer: bytes | None, host: Any = None) -> Gruff:
        """A server that refuses."""
        factory = Gruff(lambda: self.net.now, answer)
        (host or self.server).listen(7600, factory)
        return factory

    def visits(self, answer: bytes | None, seconds: float) -> Gruff:
        """Let a service visit such a server for so long."""
        factory = self.gruff(answer)
        self.service().startService()
        self.net.run(seconds)
        return factory


class ConnectedTests(ClientCase):
    """An ordinary life."""

    def test_alive(self) -> None:
        """``when_alive`` fires with the handle when HELLO was answered; ``heartbeat`` is the same, while it lasts."""
        self.listen()
        service = self.service()
        self.assertIsNone(service.heartbeat)
        early = [service.when_alive() for _ in range(3)]
        service.startService()
        heartbeat = self.net.result(early[0])
        self.assertIsInstance(heartbeat, Heartbeat)
        self.assertIs(heartbeat.state, State.ALIVE)
        self.assertEqual([self.successResultOf(one) for one in early[1:]], [heartbeat] * 2)
        self.assertIs(service.heartbeat, heartbeat)
        self.assertIs(self.net.result(service.when_alive()), heartbeat)

    def test_a_round_trip(self) -> None:
        """The handle works."""
        self.listen()
        service = self.connect()
        assert service.heartbeat is not None
        self.assertLess(self.net.result(service.heartbeat.ping(timeout=1.0)), SOON)

    def test_lost_and_found(self) -> None:
        """After a loss there is no handle until there is a new one; the session is the same."""
        self.listen()
        service = self.connect()
        first = service.heartbeat
        assert first is not None
        session = first.peer.session
        self.path.add(SilentDrop())
        self.net.run(DETECT + 2 * SOON)
        self.assertIsNone(service.heartbeat)
        self.path.clear()
        again = self.net.result(service.when_alive())
        self.assertIsNot(again, first)
        self.assertEqual((again.peer.session, first.state), (session, State.DEAD))

    def test_the_listener(self) -> None:
        """The client's listener is told about the server, as the server's is about the client."""
        self.listen(id="the-server")
        service = self.connect()
        self.net.run(1.0)
        self.net.result(service.stopService())
        lines = [line for line in self.client_notes.lines if line[0] in {"joined", "Left", "gone"}]
        self.assertEqual(lines, [("joined", "the-server"), ("Left", "the-server"), ("gone", "the-server")])

    def test_waiting_is_cancelled(self) -> None:
        """Who gives up waiting is not told; the service goes on, and tells the others."""
        service = self.service()
        one, other = service.when_alive(), service.when_alive()
        service.startService()
        one.cancel()
        self.failureResultOf(one, CancelledError)
        self.listen()
        self.assertIs(self.net.result(other), service.heartbeat)

    def test_servers_in_order(self) -> None:
        """The first of the list that lets us in; when it is lost the others come first."""
        second = self.net.host("second")
        self.listen(second)
        service = self.connect(self.server, second)
        self.assertEqual(self.peer_address(service), second.address)
        self.listen()
        second.crash()
        self.net.run(1.0)
        self.net.result(service.when_alive())
        self.assertEqual(self.peer_address(service), self.server.address)

    def peer_address(self, service: HeartbeatClientService) -> str:
        """Of the server that it is connected to."""
        assert service.heartbeat is not None
        return service.heartbeat.peer.address.partition(":")[0]


class BackOffTests(ClientCase):
    """When the service tries again."""

    def test_tcp_is_not_enough(self) -> None:
        """A server that accepts and closes makes the back-off grow: this is no connection, and no hot loop."""
        factory = self.visits(None, 600.0)
        self.assertLess(len(factory.came), 70)
        self.assertGreater(len(factory.came), 20)
        self.assertLess(max(factory.gaps()), 30.0 + SOON)
        self.assertEqual(self.client_notes.peers, [])

    def test_nobody_listens(self) -> None:
        """The same where nobody listens; and it comes back by itself when somebody does."""
        service = self.service()
        service.startService()
        self.net.run(300.0)
        self.listen()
        self.net.result(service.when_alive(), 31.0)

    def test_server_full(self) -> None:
        """BYE 10: with back-off, which begins within a second and grows to half a minute."""
        factory = self.visits(bye(10, "full"), 600.0)
        self.assertLess(factory.gaps()[0], 1.0 + SOON)
        self.assertLess(max(factory.gaps()), 30.0 + SOON)
        self.assertTrue(20 < len(factory.came) < 70, len(factory.came))

    def test_rarely(self) -> None:
        """BYE 2, 3, 4, 5, 8 and 0: every five minutes, give or take 15 %."""
        factory = self.gruff(b"")
        service = self.service()
        service.startService()
        for code in (0, 2, 3, 4, 5, 8):
            factory.answer = bye(code)
            factory.came.clear()
            self.net.run(700.0)
            self.assertTrue(2 <= len(factory.came) <= 3, (code, factory.came))
            for gap in factory.gaps():
                self.assertTrue(255.0 <= gap <= 345.0 + SOON, gap)

    def test_draining(self) -> None:
        """BYE 1: after the time that it names, and up to as much again."""
        factory = self.visits(bye(1, "after=4000 draining"), 60.0)
        self.assertTrue(all(4.0 <= gap <= 8.0 + SOON for gap in factory.gaps()), factory.gaps())
        self.assertGreater(len(factory.came), 7)

    def test_a_drain_of_ours(self) -> None:
        """A connection that is drained is no failure, and is opened again after the time that was named."""
        factory = self.listen()
        service = self.connect()
        self.net.result(factory.drain(5.0, after_ms=3000))
        self.assertEqual(self.client_notes.departures(), [("~10.0.0.1:7600", "draining")])
        began = self.net.now
        self.server.stop_listening()
        self.net.run(SOON)
        self.listen()
        self.net.result(service.when_alive())
        self.assertTrue(3.0 <= self.net.now - began <= 6.0 + SOON)

    def test_calm_down(self) -> None:
        """BYE 9: with back-off, and at twice the interval each time, up to a minute, within what may be agreed."""
        factory = self.visits(bye(9, "calm down"), 600.0)
        asked = [told["want_ping_ms"] for told in factory.hellos]
        self.assertEqual(asked[:8], [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 32_000])
        self.assertEqual(set(asked[8:]), {32_000})

    def test_calm_down_to_any_limit(self) -> None:
        """Whatever the multiplier and the longest detection time are, the doubled interval is one that is allowed."""
        for multiplier, longest in ((73, 300.0), (7, 10.0), (255, 3600.0), (2, 1.0), (3, 1.5)):
            config = HeartbeatConfig(interval=longest / multiplier / 3, multiplier=multiplier, max_detection=longest)
            service = HeartbeatClientService(["x:1"], config, reactor=self.client.reactor)
            for _ in range(20):
                service._slow_down()
            self.assertLessEqual(service.connectors.config.detect, longest)
            self.assertGreater(service.connectors.config.interval, config.interval)

    def test_superseded(self) -> None:
        """BYE 7: the service stops, for good, and says why in the log."""
        factory = self.gruff(bye(7))
        service = self.service()
        waiting = service.when_alive()
        with capturedLogs() as logged:
            service.startService()
            self.net.run(SOON)
        self.failureResultOf(waiting, CancelledError)
        self.assertFalse(service.running)
        errors = [event["log_format"] for event in logged if event["log_level"] is LogLevel.error]
        self.assertEqual(len(errors), 1)
        self.assertIn("superseded", errors[0])
        self.net.run(1000.0)
        self.assertEqual(len(factory.came), 1)
        self.assertEqual(self.client.reactor.getDelayedCalls(), [])

    def test_the_soonest_of_several(self) -> None:
        """One server that wants us rarely does not keep us from the others."""
        other = self.net.host("other")
        rare, full = self.gruff(bye(5)), self.gruff(bye(10), other)
        self.service(self.server, other).startService()
        self.net.run(100.0)
        self.assertGreater(len(full.came), 5)
        self.assertEqual(len(rare.came), len(full.came))

    def test_terms_are_kept(self) -> None:
        """The HELLO of each attempt is the same, but for its nonce: nothing is added up."""
        factory = self.visits(bye(10), 60.0)
        nonces = [told.pop("nonce") for told in factory.hellos]
        self.assertEqual(len(set(nonces)), len(nonces))
        for told in factory.hellos:
            self.assertEqual(told, factory.hellos[0])
        self.assertEqual(factory.hellos[0]["want_ping_ms"], 1000 * INTERVAL)
