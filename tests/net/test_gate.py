"""The gated endpoint: a connection counts behind HELLO, and what stands behind it has a bounded face."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectBindError, ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer, verify

from heartbeat import State
from heartbeat.errors import NotConnected
from heartbeat.net import PeerLeft, RefusedConnection, UnresponsiveConnection
from heartbeat.net.gate import GatedEndpoint
from heartbeat.testing import SilentDrop
from heartbeat.wire.frames import Bye, Hello
from tests.net.cases import DETECT
from tests.net.gates import SOON, Closing, GateCase, Inner, Refusing, Silent
from tests.net.hand import decoded


class BehindTests(GateCase):
    """Connections that came about."""

    def setUp(self) -> None:
        """A server."""
        super().setUp()
        self.factory = self.listen()
        self.inner = self.connect_to(self.endpoint())
        self.transport: Any = self.inner.transport
        self.addCleanup(self.transport.abortConnection)

    def test_it_is_an_endpoint(self) -> None:
        """Anything that takes an endpoint takes this one; its name tells where it leads."""
        verify.verifyObject(IStreamClientEndpoint, self.endpoint())
        self.assertIn("server", repr(self.endpoint()))

    def test_behind_hello(self) -> None:
        """It fires when HELLO was answered, with what the factory built, connected once."""
        self.assertEqual((self.inner.made, self.inner.lost), (1, None))
        self.assertIs(self.transport.heartbeat.state, State.ALIVE)
        self.assertTrue(self.transport.heartbeat.peer.session)
        self.net.run(SOON)
        self.assertEqual(self.notes.lines[0], ("joined", "client"))

    def test_addresses(self) -> None:
        """The face tells both addresses, during the connection and after it."""
        told = self.transport.getPeer(), self.transport.getHost()
        self.assertEqual((told[0].port, told[0].host), (7600, self.server.address))
        self.assertEqual(told[1].host, self.client.address)
        self.transport.loseConnection()
        self.net.run(SOON)
        self.assertEqual((self.transport.getPeer(), self.transport.getHost()), told)

    def test_no_data(self) -> None:
        """A heartbeat-only connection carries no bytes of an application."""
        self.assertRaises(NotConnected, self.transport.write, b"x")
        self.assertRaises(NotConnected, self.transport.writeSequence, [b"x"])

    def test_lose_connection(self) -> None:
        """loseConnection says BYE 0; both ends call it left, and the protocol gets a ConnectionDone."""
        self.transport.loseConnection()
        self.net.run(SOON)
        assert self.inner.lost is not None
        self.assertIs(self.inner.lost.check(ConnectionDone), ConnectionDone)
        self.inner.lost.trap(PeerLeft)
        self.assertEqual(self.notes.departures(), [("client", "leaving")])

    def test_lose_connection_on_a_dead_path(self) -> None:
        """It takes a second, whatever the path does."""
        self.path.add(SilentDrop())
        self.transport.loseConnection()
        self.net.run(1.0 - SOON)
        self.assertIsNone(self.inner.lost)
        self.net.run(2 * SOON)
        self.assertIsNotNone(self.inner.lost)

    def test_abort_connection(self) -> None:
        """abortConnection ends it without a word: the server sees a reset."""
        self.transport.abortConnection()
        self.net.run(SOON)
        self.assertIsNotNone(self.inner.lost)
        self.assertEqual(self.notes.deaths(), [("client", "peer_reset")])

    def test_a_verdict(self) -> None:
        """A peer that we found dead gives an UnresponsiveConnection, which is a ConnectionLost, with its cause."""
        self.net.run(1.0)
        self.path.add(SilentDrop())
        self.net.run(DETECT + SOON)
        assert self.inner.lost is not None
        self.assertIs(self.inner.lost.check(ConnectionLost), ConnectionLost)
        self.assertIsInstance(self.inner.lost.value, UnresponsiveConnection)
        self.assertIsNotNone(self.inner.lost.value.evidence)

    def test_lost_once(self) -> None:
        """However it ends, the protocol is told once."""
        lost = []
        self.inner.connectionLost = lost.append  # type: ignore[method-assign,assignment]
        self.transport.loseConnection()
        self.transport.abortConnection()
        self.net.run(3.0)
        self.assertEqual(len(lost), 1)


class RefusedTests(GateCase):
    """Connections that did not come about: the caller gets the reason, and nothing is left."""

    def failure(self, endpoint: GatedEndpoint, within: float = 60.0) -> Any:
        """Why it failed."""
        failed: list[Failure] = []
        endpoint.connect(Factory.forProtocol(Inner)).addErrback(failed.append)
        self.net.run_until(lambda: bool(failed), within)
        return failed[0].value

    def serve(self, make: Any) -> None:
        """A server of this kind."""
        factory = Factory()
        factory.buildProtocol = lambda _: make()  # type: ignore[method-assign,assignment]
        self.server.listen(7600, factory)

    def test_a_server_that_is_silent(self) -> None:
        """TCP alone is no connection: after the handshake timeout it fails."""
        self.serve(Silent)
        error = self.failure(self.endpoint(handshake_timeout=2.0), 2.0 + 2 * SOON)
        self.assertIsInstance(error, RefusedConnection)
        self.assertEqual(error.cause, "hello_timeout")

    def test_a_server_that_closes(self) -> None:
        """Neither is a connection that is closed without a word."""
        self.serve(Closing)
        error = self.failure(self.endpoint())
        self.assertIsInstance(error, RefusedConnection)
        self.assertIn(error.cause, ("peer_closed", "peer_reset"))  # our HELLO came after it had closed

    def test_a_server_that_refuses(self) -> None:
        """The BYE is the reason, with its words, and is kept for the back-off."""
        self.serve(lambda: Refusing(10, "come back later"))
        endpoint = self.endpoint()
        error = self.failure(endpoint)
        self.assertEqual((error.cause, error.reason), ("server_full", "come back later"))
        self.assertEqual(endpoint.byes, [Bye(10, "come back later")])

    def test_another_protocol(self) -> None:
        """A server that speaks something else is refused by us, and hears why."""
        said = []

        class Web(Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

            def dataReceived(self, data: bytes) -> None:
                said.append(data)

        self.serve(Web)
        error = self.failure(self.endpoint())
        self.assertEqual(error.cause, "protocol_error")
        self.assertEqual([type(frame) for frame in decoded(b"".join(said))], [Hello, Bye])

    def test_nobody_listens(self) -> None:
        """Twisted's own error comes through, and the listener is told the reason, as of a peer without a name."""
        self.assertIsInstance(self.failure(self.endpoint()), ConnectError)
        (event,) = self.client_notes.refusals
        self.assertEqual(event.cause, "tcp_refused")
        ((what, name),) = self.client_notes.lines
        self.assertEqual(what, "refused")
        self.assertTrue(name.startswith("~"), name)

    def test_a_dead_path(self) -> None:
        """A connect that nobody answers ends with the handshake timeout."""
        self.listen()
        self.path.add(SilentDrop())
        self.failure(self.endpoint(handshake_timeout=2.0), 2.0 + 2 * SOON)
        self.assertEqual([event.cause for event in self.client_notes.refusals], ["tcp_timeout"])

    def test_told_once(self) -> None:
        """What failed behind the connect was told then, and is not told again as a connect that failed."""
        self.serve(lambda: Refusing(10, "come back later"))
        self.failure(self.endpoint())
        self.assertEqual([event.cause for event in self.client_notes.refusals], ["server_full"])

    def test_the_factory_wants_none(self) -> None:
        """A factory that builds nothing: the server hears BYE 0, and the caller that it was his own wish."""
        self.listen()
        factory = Factory()
        factory.buildProtocol = lambda _: None  # type: ignore[method-assign,assignment]
        failed: list[Failure] = []
        self.endpoint().connect(factory).addErrback(failed.append)
        self.net.run(SOON)
        self.assertEqual(len(failed), 1)
        self.assertEqual(self.notes.departures(), [("client", "leaving")])

    def test_an_endpoint_that_raises(self) -> None:
        """An endpoint of the application that fails in an unusual way fails like any other."""

        @implementer(IStreamClientEndpoint)
        class Broken:
            def connect(self, factory: Any) -> Deferred[Any]:
                raise ConnectBindError("no such interface")

        endpoint = GatedEndpoint([Broken()], self.endpoint()._connectors)
        self.assertIsInstance(self.failure(endpoint), ConnectBindError)

    def test_given_up(self) -> None:
        """A caller that cancels, while TCP connects or while HELLO is waited for, leaves nothing behind."""
        self.serve(Silent)
        for dead in (False, True):
            if dead:
                self.path.add(SilentDrop())
            waiting = self.endpoint().connect(Factory.forProtocol(Inner))
            self.net.run(SOON)
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
            self.net.run(SOON)
            self.assertEqual(self.connectors.connections, 0)
        self.assertEqual(self.client.reactor.getDelayedCalls(), [])
