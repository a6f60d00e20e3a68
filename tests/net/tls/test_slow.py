"""Handshakes that take their time, and peers that never finish one: simulated network, Twisted's own TLS."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from heartbeat import HeartbeatConfig, State
from heartbeat.errors import BadCertificate
from heartbeat.liveness.events import Unpinned
from heartbeat.net import HeartbeatClientService, HeartbeatFactory
from heartbeat.net.reasons import RefusedConnection
from heartbeat.net.tls.certificates import Certificates
from heartbeat.net.tls.endpoints import tls_client
from heartbeat.net.tls.link import TlsLink
from heartbeat.net.tls.pins import Pins, Policy, pin_of
from heartbeat.wire.frames import Ping
from tests.net.cases import SimulatedCase
from tests.net.hand import decoded
from tests.net.tls.cases import pem

PORT = 7600
DETECT = 2.1  # 3 × 0.7 s
LATE = 0.2


class SlowCase(SimulatedCase):
    """A server over TLS and a client service to it."""

    def setUp(self) -> None:
        super().setUp()
        self.pair = pem("server", trusts=None)

    def certificates(self, host: Any, provider: Any) -> Certificates:
        """Of one host."""
        return Certificates(provider, reactor=host.reactor)

    def serve(self, factory: Factory | None = None, pair: Any = None) -> HeartbeatFactory | None:
        """Listen with TLS around a factory; None: a heartbeat's."""
        held = self.certificates(self.server, lambda: pair or self.pair)
        self.net.result(held.ready())
        config = HeartbeatConfig(interval=0.7, min_interval=0.0)
        ours = HeartbeatFactory(config, self.notes, reactor=self.server.reactor)
        inner: Any = ours if factory is None else factory
        self.server.listen(PORT, TLSMemoryBIOFactory(held, False, inner, self.server.reactor))
        return ours

    def secure(self, pins: Pins | None = None, provider: Any = None, **settings: Any) -> HeartbeatClientService:
        """A client that runs. It may not be connected yet."""
        reactor = self.client.reactor
        held = self.certificates(self.client, provider or pem)
        endpoint = tls_client(
            "server", PORT, held, pins, endpoint=TCP4ClientEndpoint(reactor, "server", PORT), reactor=reactor
        )
        config = HeartbeatConfig(**{"id": "client", "interval": 0.7, **settings})
        service = HeartbeatClientService([endpoint], config, self.client_notes, reactor=reactor, pins=pins)
        self.addCleanup(service.stopService)
        service.startService()
        return service


class LongTests(SlowCase):
    """Handshakes of more than a detection time."""

    def test_a_server_that_sits_on_it(self) -> None:
        """Three seconds, with a detection of two: nobody dies, and the first PING comes behind the handshake."""
        self.serve()
        service = self.secure()
        waiting = service.when_alive()
        self.server.stall(3.0)
        self.net.run(2.9)
        self.assertNoResult(waiting)
        self.assertEqual((self.notes.lines, self.client_notes.lines), ([], []))
        handle = self.net.result(waiting)
        self.assertEqual(handle.peer.tally.pings_out, 0)
        self.net.run(5.0)
        self.assertIs(handle.state, State.ALIVE)
        self.assertGreater(handle.peer.tally.acks_in, 5)
        self.assertEqual((self.notes.deaths(), self.client_notes.deaths()), ([], []))

    def test_a_client_that_sits_on_it(self) -> None:
        """The same from the other side."""
        self.serve()
        service = self.secure()
        waiting = service.when_alive()
        self.client.stall(3.0)
        handle = self.net.result(waiting)
        self.net.run(5.0)
        self.assertIs(handle.state, State.ALIVE)
        self.assertEqual(self.notes.deaths(), [])

    def test_certificates_that_take_their_time(self) -> None:
        """A client whose certificate comes from elsewhere connects when it is there, and is not told to be late."""
        self.serve()
        coming: Deferred[Any] = Deferred()
        service = self.secure(provider=lambda: coming)
        waiting = service.when_alive()
        self.net.run(4.0)
        self.assertNoResult(waiting)
        coming.callback(pem())
        self.net.result(waiting)
        self.assertEqual(self.client_notes.refusals, [])

    def test_certificates_that_do_not_come(self) -> None:
        """... and tries again when it is not there at the handshake timeout, or is bad: with a reason."""
        self.serve()
        asked: list[Deferred[Any]] = []
        service = self.secure(provider=lambda: asked.append(Deferred()) or asked[-1], handshake_timeout=2.0)  # type: ignore[func-returns-value]
        self.net.run(2.5)
        self.assertEqual([event.cause for event in self.client_notes.refusals], ["tls_timeout"])
        asked[0].errback(BadCertificate("vault", "is sealed"))
        self.net.run(10.0)
        self.assertGreaterEqual(len(asked), 2)
        for one in asked[1:]:
            one.callback(pem())
        self.net.result(service.when_alive())


@implementer(IStreamClientEndpoint)
class Wrapping:
    """An endpoint whose connections have one of Twisted's wrappers between TLS and the protocol."""

    def __init__(self, endpoint: Any) -> None:
        self.endpoint = endpoint

    def connect(self, protocolFactory: Any) -> Any:
        """Connect."""
        return self.endpoint.connect(WrappingFactory(protocolFactory))


class WrappedTests(SlowCase):
    """Wrappers that keep the handshake to themselves, as those of Twisted do (facts T0.7)."""

    def test_on_both_ends(self) -> None:
        """The first bytes show that it is done; a connector's first word waits in the TLS layer until it is."""
        config = HeartbeatConfig(interval=0.7, min_interval=0.0)
        ours = HeartbeatFactory(config, self.notes, reactor=self.server.reactor)
        self.serve(WrappingFactory(ours))
        reactor = self.client.reactor
        plain = TCP4ClientEndpoint(reactor, "server", PORT)
        endpoint = Wrapping(
            tls_client("server", PORT, self.certificates(self.client, pem), endpoint=plain, reactor=reactor)
        )
        service = HeartbeatClientService([endpoint], HeartbeatConfig(id="client", interval=0.7), reactor=reactor)
        self.addCleanup(service.stopService)
        service.startService()
        self.server.stall(3.0)
        handle = self.net.result(service.when_alive())
        self.net.run(5.0)
        self.assertIs(handle.state, State.ALIVE)
        self.assertEqual((self.notes.deaths(), self.notes.refusals), ([], []))
        self.assertEqual(self.notes.peers[0].transport, "tls")


class NeverTests(SlowCase):
    """Peers that never finish: closed at their deadline, and nothing of them is left."""

    def meets(self, speak: Any) -> tuple[Any, float]:
        """A raw client that speaks so: the factory that it met, and when it was closed."""
        factory = self.serve()
        lost: list[Any] = []

        class Raw(Protocol):
            def connectionMade(self) -> None:
                speak(self)

            def connectionLost(self, reason: Any = None) -> None:
                lost.append(reason)

        endpoint = TCP4ClientEndpoint(self.client.reactor, "server", PORT)
        endpoint.connect(Factory.forProtocol(Raw))
        took = self.net.run_until(lambda: bool(lost), 30.0)
        return factory, took

    def assert_refused(self, factory: Any, took: float, cause: str) -> None:
        """At its deadline, with this cause, and nothing remains."""
        self.assertLess(abs(took - factory.config.handshake_timeout), LATE)
        self.assertEqual([event.cause for event in self.notes.refusals], [cause])
        self.assertEqual((factory.connections, factory.wheel.watched), (0, 0))
        self.net.run(1.0)
        self.assertEqual(self.server.reactor.getDelayedCalls(), [])

    def test_no_client_hello(self) -> None:
        """Who says nothing at all."""
        self.assert_refused(*self.meets(lambda raw: None), "tls_timeout")

    def test_a_byte_a_second(self) -> None:
        """Who drips: bytes of a handshake are no reason to wait longer."""

        def drip(raw: Any) -> None:
            if raw.transport.connected:
                raw.transport.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00"[drip.at : drip.at + 1])  # type: ignore[attr-defined]
                drip.at += 1  # type: ignore[attr-defined]
                self.client.reactor.callLater(1.0, drip, raw)

        drip.at = 0  # type: ignore[attr-defined]
        self.assert_refused(*self.meets(drip), "tls_timeout")
        self.net.run(2.0)

    def test_silent_behind_the_handshake(self) -> None:
        """Who shakes hands and then says no HELLO has another cause."""
        factory = self.serve()
        assert factory is not None
        check = self.certificates(self.client, pem)
        endpoint = tls_client(
            "server", PORT, check, endpoint=TCP4ClientEndpoint(self.client.reactor, "server", PORT),
            reactor=self.client.reactor,
        )  # fmt: skip
        lost: list[Any] = []

        class Quiet(Protocol):
            def connectionLost(self, reason: Any = None) -> None:
                lost.append(reason)

        self.net.result(endpoint.connect(Factory.forProtocol(Quiet)))
        took = self.net.run_until(lambda: bool(lost), 30.0)
        self.assert_refused(factory, took, "hello_timeout")

    def test_a_server_that_is_none(self) -> None:
        """A client gives a server that says nothing up as well, with the reason for who waits."""
        silent = Factory.forProtocol(Protocol)
        silent.noisy = False
        self.server.listen(PORT, silent)
        service = self.secure(handshake_timeout=3.0)
        failed: list[Any] = []
        service.whenConnected(failAfterFailures=1).addErrback(failed.append)
        took = self.net.run_until(lambda: bool(failed), 10.0)
        self.assertLess(abs(took - 3.0), LATE)
        self.assertIsInstance(failed[0].value, RefusedConnection)
        self.assertEqual(failed[0].value.cause, "tls_timeout")


class PinnedTests(SlowCase):
    """A server whose certificate is good and whose key is not the one that is pinned: somebody may sit in between."""

    def pinned(self, policy: Policy) -> Pins:
        """Pins of another key."""
        return Pins((pin_of(pem("server").read().chain[0]),), policy)

    def test_the_right_key(self) -> None:
        """With its key among the pins nothing is said."""
        self.serve()
        pins = Pins((*self.pinned("refuse").keys, pin_of(self.pair.read().chain[0])))
        self.net.result(self.secure(pins).when_alive())
        self.net.run(2.0)
        self.assertEqual(self.client_notes.of(Unpinned), [])
        self.assertEqual(len(self.notes.peers), 1)

    def test_refuse(self) -> None:
        """The connection ends with tls_pin, and the server has heard no word of ours."""
        self.serve()
        self.secure(self.pinned("refuse"))
        self.net.run(0.5)
        self.assertEqual({event.cause for event in self.client_notes.refusals}, {"tls_pin"})
        self.assertEqual(self.notes.peers, [])

    def test_refuse_behind_tls_of_the_application(self) -> None:
        """Where the contexts are the application's own, pins are looked at when the handshake is done: no HELLO."""
        said: list[bytes] = []

        class Server(Protocol):
            def dataReceived(self, data: bytes) -> None:
                said.append(data)

        self.serve(Factory.forProtocol(Server))
        service = self.secure()
        service.connectors.pins = self.pinned("refuse")
        self.net.run(3.0)
        self.assertEqual({event.cause for event in self.client_notes.refusals}, {"tls_pin"})
        self.assertEqual(said, [])

    def test_without_tls(self) -> None:
        """Pins on a connection without TLS are not forgotten: there is no key."""
        self.listen()
        service = self.service(self.server)
        service.connectors.pins = self.pinned("refuse")
        service.startService()
        self.net.run(0.5)
        self.assertEqual({event.cause for event in self.client_notes.refusals}, {"tls_pin"})
        self.assertEqual(self.notes.peers, [])

    def test_alarm(self) -> None:
        """It goes on as ever, and is told."""
        self.serve()
        self.net.result(self.secure(self.pinned("alarm"), services=("auth",)).when_alive())
        self.net.run(3.0)
        ((_, event),) = self.client_notes.of(Unpinned)
        assert isinstance(event, Unpinned)
        self.assertEqual((event.found, event.policy), (pin_of(self.pair.read().chain[0]), "alarm"))
        self.assertEqual(self.notes.peers[0].services, ("auth",))

    def test_degrade(self) -> None:
        """Phase one goes on; of phase two, and of what opens our session, nothing is given away."""
        hellos: list[Any] = []
        factory = self.serve()
        assert factory is not None
        applies = factory.applies
        factory.applies = lambda driver, now: (hellos.append(driver.session.applicant), applies(driver, now))[1]  # type: ignore[method-assign,func-returns-value]
        service = self.secure(self.pinned("degrade"), services=("auth",), meta={"rack": "r1"})
        service.connectors._token = "token"
        handle = self.net.result(service.when_alive())
        self.net.run(20.0)
        ((_, event),) = self.client_notes.of(Unpinned)
        assert isinstance(event, Unpinned)
        self.assertEqual(event.policy, "degrade")
        theirs = self.notes.peers[0]
        self.assertEqual((theirs.services, dict(theirs.meta), theirs.svc_hash, theirs.uptime), ((), {}, b"", 0))
        self.assertEqual([(one.id, one.resume, one.last) for one in hellos], [("client", None, None)])
        self.assertGreater(theirs.tally.pings_in, 20)
        self.assertGreater(handle.peer.tally.acks_in, 20)
        self.assertNotEqual(handle.peer.svc_hash, b"")  # it has told us of itself, and was answered


class LinkTests(SlowCase):
    """The link that both ends get."""

    def test_exact(self) -> None:
        """Both ends write straight to the socket, know when the kernel has it, and leave nothing behind."""
        factory = self.serve()
        assert factory is not None
        service = self.secure()
        self.net.result(service.when_alive())
        drivers = [*factory._drivers, *service.connectors._drivers]
        self.assertEqual([(type(one.link), one.link.exact) for one in drivers], [(TlsLink, True)] * 2)
        for driver in drivers:
            driver.session.ping(driver.seconds())
            out = driver.session.data_to_send()
            self.assertIs(type(decoded(out)[-1]), Ping)
            self.assertTrue(driver.link.write(out))
        self.net.run(2.0)
        self.assertEqual((self.notes.deaths(), self.client_notes.deaths()), ([], []))
