"""Twisted's WebSockets: PING and PONG frames at both ends, and a peer that has never heard of us."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from heartbeat.errors import NotConnected
from heartbeat.liveness.states import State
from heartbeat.net.adapters.websocket import WebSocketHeartbeat, number_in, payload_of
from heartbeat.net.reasons import UnresponsiveConnection
from tests.net.adapters.framed import CONFIG, DETECT, LATE, PORT, AdapterCase

try:
    from twisted.web.websocket import WebSocketClientEndpoint, WebSocketResource
except ImportError:  # wsproto is optional
    WITHOUT: str | None = "needs Twisted[websocket]"
else:
    WITHOUT = None

HOOKS = (
    "negotiationStarted",
    "negotiationFinished",
    "pongReceived",
    "textMessageReceived",
    "bytesMessageReceived",
    "connectionLost",
)


class Chat:
    """The application, at either end."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.pongs: list[bytes] = []
        self.negotiated = False
        self.lost: Failure | None = None
        self.transport: Any = None

    def negotiationStarted(self, transport: Any) -> None:
        """It begins."""
        self.transport = transport

    def negotiationFinished(self) -> None:
        """It may talk."""
        self.negotiated = True

    def pongReceived(self, payload: bytes) -> None:
        """An answer to a PING of its own."""
        self.pongs.append(bytes(payload))

    def textMessageReceived(self, message: str) -> None:
        """Remember it."""
        self.got.append(message)

    def bytesMessageReceived(self, data: bytes) -> None:
        """Remember it."""
        self.got.append(bytes(data))

    def connectionLost(self, reason: Failure) -> None:
        """Remember why."""
        self.lost = reason


class Chats:
    """Builds them, for a request or for a URL."""

    def __init__(self) -> None:
        self.built: list[Chat] = []

    def buildProtocol(self, whatever: Any) -> Chat:
        """One more."""
        self.built.append(Chat())
        return self.built[-1]


@implementer(IAgentEndpointFactory)
class Way:
    """To the simulated server."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor

    def endpointForURI(self, uri: Any) -> TCP4ClientEndpoint:
        """Without a resolver."""
        return TCP4ClientEndpoint(self.reactor, "server", PORT)


class WebSocketCase(AdapterCase):
    """A site with a WebSocket on one host, and a client on the other."""

    skip = WITHOUT

    def chats(self, *, at: str) -> tuple[Any, Any]:
        """The client's and the server's, negotiated; the heartbeat is ``at`` one of them or at "both"."""
        clients, servers = Chats(), Chats()
        client: Any = clients
        server: Any = servers
        if at in ("client", "both"):
            client = WebSocketHeartbeat.factory(clients, CONFIG, reactor=self.client.reactor)
        if at in ("server", "both"):
            server = WebSocketHeartbeat.factory(servers, CONFIG, reactor=self.server.reactor)
        self.serve(server)
        endpoint = WebSocketClientEndpoint(Way(self.client.reactor), "ws://server/chat")
        mine = self.net.result(Deferred.fromCoroutine(endpoint.connect(client)))
        theirs = servers.built.pop()
        self.assertEqual((mine.negotiated, theirs.negotiated), (True, True))
        self.addCleanup(self.part, mine, theirs)
        return mine, theirs

    def serve(self, factory: Any) -> None:
        """Listen."""
        root = Resource()
        root.putChild(b"chat", WebSocketResource(factory))
        site = Site(root, reactor=self.server.reactor)
        site.noisy = False
        self.server.listen(PORT, site)

    def part(self, *chats: Any) -> None:
        """The end of a test."""
        for chat in chats:
            if chat.lost is None:
                chat.transport.transport.abortConnection()
        self.net.run(1.0)
        for chat in chats:
            chat.transport = chat.lost = None

    def died(self, chat: Any) -> float:
        """Seconds until its connection was given up."""
        return self.net.run_until(lambda: chat.lost is not None, 10.0)


class LifeTests(WebSocketCase):
    """While both are well."""

    def lives(self, at: str) -> None:
        """Round trips at one end, while the other end knows nothing."""
        mine, theirs = self.chats(at=at)
        asking, silent = (mine, theirs) if at == "client" else (theirs, mine)
        self.net.run(20.0)
        handle = asking.heartbeat.heartbeat
        self.assertIs(handle.state, State.ALIVE)
        self.assertGreater(handle.peer.tally.acks_in, 30)
        self.assertEqual(handle.peer.tally.lost, 0)
        self.assertFalse(hasattr(silent, "heartbeat"))
        self.assertGreater(self.net.result(handle.ping()), 0.0)
        for one in (mine, theirs):
            self.assertEqual((one.got, one.pongs, one.lost), ([], [], None))

    def test_at_the_client(self) -> None:
        """The server is Twisted's, as it is."""
        self.lives("client")

    def test_at_the_server(self) -> None:
        """The client is Twisted's, as it is."""
        self.lives("server")

    def test_the_application_goes_on(self) -> None:
        """Its messages pass, its own PING is answered to it, and each of them is a sign of life."""
        mine, theirs = self.chats(at="both")
        self.net.run(1.0)
        for send, got in (
            (lambda: theirs.transport.sendTextMessage("hello"), "hello"),
            (lambda: theirs.transport.sendBytesMessage(b"\0\1"), b"\0\1"),
        ):
            heard = mine.heartbeat.heartbeat.peer.heard_at
            send()
            self.net.run_until(lambda got=got: got in mine.got, 1.0)  # type: ignore[misc]  # a default is the way to bind
            self.assertGreater(mine.heartbeat.heartbeat.peer.heard_at, heard)
        mine.transport.ping(b"7")
        self.net.run(1.0)
        self.assertEqual(mine.pongs, [b"7"])
        self.assertEqual(mine.heartbeat.heartbeat.peer.tally.strays, 0)

    def survives(self, at: str, host: Any) -> None:
        """Our own loop stands still for two detection times, again and again."""
        mine, theirs = self.chats(at=at)
        asking = mine if at == "client" else theirs
        for _ in range(4):
            self.net.run(2.2)
            host.stall(2 * DETECT)
            self.net.run(2 * DETECT)
        self.net.run(2.0)
        self.assertIsNone(asking.lost)
        self.assertIs(asking.heartbeat.heartbeat.state, State.ALIVE)
        self.assertGreater(asking.heartbeat.heartbeat.peer.tally.acks_in, 10)

    def test_a_stall_of_the_client(self) -> None:
        """Which judges: it kills nobody."""
        self.survives("client", self.client)

    def test_a_stall_of_the_server(self) -> None:
        """Which judges: it kills nobody."""
        self.survives("server", self.server)


class DeathTests(WebSocketCase):
    """And when not."""

    def found(self, at: str, host: Any) -> None:
        """The other end's process stands still: the reason of the application is ours, and in time."""
        mine, theirs = self.chats(at=at)
        asking = mine if at == "client" else theirs
        self.net.run(3.0)
        host.stall(60.0)
        self.assertLess(self.died(asking), DETECT + LATE)
        self.assertIsInstance(asking.lost.value, UnresponsiveConnection)
        self.assertEqual(asking.lost.value.evidence.handed_over, "guess")
        self.assertNotEqual(asking.lost.value.cause, "unattributed")
        for name in HOOKS:
            self.assertNotIn(name, vars(asking))
        self.net.run(60.0)

    def test_a_stopped_server(self) -> None:
        """Is found by the client."""
        self.found("client", self.server)

    def test_a_stopped_client(self) -> None:
        """Is found by the server."""
        self.found("server", self.client)

    def test_a_clean_end(self) -> None:
        """A close frame is how one leaves: no failure, the reason stays, and nothing stays hooked."""
        mine, theirs = self.chats(at="both")
        self.net.run(2.0)
        theirs.transport.loseConnection()
        self.died(mine)
        self.net.run(1.0)
        for chat in (mine, theirs):
            self.assertIs(chat.lost.type, ConnectionDone)
            self.assertIs(chat.heartbeat.heartbeat.state, State.LEFT)
            for name in HOOKS:
                self.assertNotIn(name, vars(chat))


class Upgrade:
    """A WebSocket transport that shows nothing of what is below it."""

    def __init__(self) -> None:
        self.pings: list[bytes] = []
        self.closed = 0

    def ping(self, payload: bytes = b"") -> None:
        """Remember it."""
        self.pings.append(payload)

    def loseConnection(self, code: int = 1000) -> None:
        """Count it."""
        self.closed += 1


class OpaqueTests(AdapterCase):
    """On a transport that is not Twisted's."""

    skip = WITHOUT

    def test_only_a_close(self) -> None:
        """It asks when the negotiation is over, condemns without a cause, and closes in the one way that there is."""
        chat, transport = Chat(), Upgrade()
        heartbeat = WebSocketHeartbeat(chat, CONFIG, transport=transport, reactor=self.client.reactor).start()
        self.net.run(3 * DETECT)
        self.assertEqual((transport.pings, transport.closed), ([], 0))
        chat.negotiationFinished()
        self.assertTrue(chat.negotiated)
        self.net.run_until(lambda: transport.closed > 0, 3 * DETECT)  # unread input, too, may wait where nobody sees it
        self.assertGreaterEqual(len(transport.pings), 2)
        reason = heartbeat.stop(Failure(ConnectionDone()))
        self.assertIsInstance(reason.value, UnresponsiveConnection)
        self.assertEqual(reason.value.cause, "unattributed")


class PayloadTests(SynchronousTestCase):
    """What our PINGs carry."""

    def test_ours_and_others(self) -> None:
        """A number is found again, in whatever bytes; what is not ours is nobody's answer."""
        for number in (0, 1, 10**12):
            self.assertEqual(number_in(payload_of(number)), number)
            self.assertEqual(number_in(bytearray(payload_of(number))), number)
            self.assertLessEqual(len(payload_of(number)), 125)
        for other in (b"", b"7", b"heartbeat", b"heartbeat ", b"heartbeat -1", b"heartbeat \xb2", b"heartbeat 1 "):
            self.assertIsNone(number_in(other), other)

    def test_too_early(self) -> None:
        """Before ``negotiationStarted`` there is nothing to watch, and it is said when to begin."""
        error = self.assertRaises(NotConnected, WebSocketHeartbeat, Chat(), CONFIG)
        self.assertIn("negotiationStarted", str(error))
