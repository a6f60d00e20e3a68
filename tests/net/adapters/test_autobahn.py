"""Autobahn's WebSockets: its auto-ping replaced, at both ends, and a peer that has never heard of us."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from heartbeat.errors import ConfigError
from heartbeat.liveness.states import State
from heartbeat.net.adapters.autobahn import AutobahnHeartbeat
from heartbeat.net.reasons import UnresponsiveConnection
from tests.net.adapters.framed import CONFIG, DETECT, LATE, PORT, AdapterCase

try:
    from autobahn.twisted.websocket import (
        WebSocketClientFactory,
        WebSocketClientProtocol,
        WebSocketServerFactory,
        WebSocketServerProtocol,
    )
except ImportError:  # it is optional
    WITHOUT: str | None = "needs autobahn"
    WebSocketClientProtocol = WebSocketServerProtocol = object
else:
    WITHOUT = None

HOOKS = (
    "connectionMade",
    "connectionLost",
    "onOpen",
    "onPing",
    "onPong",
    "onMessageFrameBegin",
    "onMessageFrameData",
)
# Autobahn's timers run on the installed reactor, which is not the simulated one.
NO_TIMERS = {"openHandshakeTimeout": 0, "closeHandshakeTimeout": 0}


class Talk:
    """The application, at either end."""

    lost: type | None = None
    closed: tuple[bool, int, str] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.got: list[bytes] = []
        self.pongs: list[bytes] = []

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Remember it."""
        self.got.append(payload)

    def onPong(self, payload: bytes) -> None:
        """An answer to a PING of its own."""
        self.pongs.append(payload)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        """Remember it."""
        self.closed = (wasClean, code, reason)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Remember why."""
        super().connectionLost(reason)  # type: ignore[misc]  # a mixin
        self.lost = reason.type


class TalkingClient(Talk, WebSocketClientProtocol):
    """At the client."""


class TalkingServer(Talk, WebSocketServerProtocol):
    """At the server."""


class AutobahnCase(AdapterCase):
    """A client and a server of Autobahn's."""

    skip = WITHOUT

    def talks(self, *, at: str) -> tuple[Any, Any]:
        """The client's and the server's, open; the heartbeat is ``at`` one of them or at "both"."""
        url = f"ws://server:{PORT}"
        client: Any = WebSocketClientFactory(url, reactor=self.client.reactor)
        client.setProtocolOptions(serverConnectionDropTimeout=0, **NO_TIMERS)
        client.protocol = TalkingClient
        server: Any = WebSocketServerFactory(url, reactor=self.server.reactor)
        server.setProtocolOptions(**NO_TIMERS)
        server.protocol = TalkingServer
        if at in ("client", "both"):
            client = AutobahnHeartbeat.factory(client, CONFIG, reactor=self.client.reactor)
        if at in ("server", "both"):
            server = AutobahnHeartbeat.factory(server, CONFIG, reactor=self.server.reactor)
        mine, theirs = self.pair(server, client)
        self.net.run_until(lambda: mine.state == theirs.state == mine.STATE_OPEN, 1.0)
        return mine, theirs

    def died(self, talk: Any) -> float:
        """Seconds until its connection was given up."""
        return self.net.run_until(lambda: talk.lost is not None, 10.0)


class LifeTests(AutobahnCase):
    """While both are well."""

    def lives(self, at: str) -> None:
        """Round trips at one end, while the other end knows nothing."""
        mine, theirs = self.talks(at=at)
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
        """The server is Autobahn's, as it is."""
        self.lives("client")

    def test_at_the_server(self) -> None:
        """The client is Autobahn's, as it is."""
        self.lives("server")

    def test_the_application_goes_on(self) -> None:
        """Its messages pass, its own PING is answered to it, and each of them is a sign of life."""
        mine, theirs = self.talks(at="client")
        self.net.run(1.2)
        for what in (b"hello", b""):
            heard = mine.heartbeat.heartbeat.peer.heard_at
            theirs.sendMessage(what)
            self.net.run_until(lambda what=what: what in mine.got, 0.1)  # type: ignore[misc]  # a default is the way to bind
            self.assertGreater(mine.heartbeat.heartbeat.peer.heard_at, heard)
        heard = mine.heartbeat.heartbeat.peer.heard_at
        theirs.sendPing(b"5")
        self.net.run_until(lambda: theirs.pongs == [b"5"], 0.1)
        self.assertGreater(mine.heartbeat.heartbeat.peer.heard_at, heard)
        mine.sendPing(b"7")
        self.net.run_until(lambda: mine.pongs == [b"7"], 0.1)

    def survives(self, at: str, host: Any) -> None:
        """Our own loop stands still for two detection times, again and again."""
        mine, theirs = self.talks(at=at)
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


class DeathTests(AutobahnCase):
    """And when not."""

    def found(self, at: str, host: Any) -> None:
        """The other end's process stands still: the reason of the application is ours, and in time."""
        mine, theirs = self.talks(at=at)
        asking = mine if at == "client" else theirs
        self.net.run(3.0)
        host.stall(60.0)
        self.assertLess(self.died(asking), DETECT + LATE)
        self.assertIs(asking.lost, UnresponsiveConnection)
        cause = asking.heartbeat.heartbeat.cause
        self.assertNotIn(cause, (None, "unattributed"))
        clean, code, words = asking.closed
        self.assertEqual((clean, code), (False, 1006))
        self.assertIn(cause, words)
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
        mine, theirs = self.talks(at="both")
        self.net.run(2.0)
        mine.sendClose(1000, "bye")
        self.died(mine)
        self.net.run(1.0)
        for talk in (mine, theirs):
            self.assertIs(talk.lost, ConnectionDone)
            self.assertEqual(talk.closed[:2], (True, 1000))  # the text goes one way only
            self.assertIs(talk.heartbeat.heartbeat.state, State.LEFT)
            for name in HOOKS:
                self.assertNotIn(name, vars(talk))


class SettingTests(AutobahnCase):
    """Two judges of one connection are one too many."""

    def test_its_own_ping_is_on(self) -> None:
        """That is one clear line, when the factory is made and when a protocol is."""
        factory = WebSocketServerFactory("ws://server", reactor=self.server.reactor)
        factory.protocol = TalkingServer
        factory.setProtocolOptions(autoPingInterval=7)
        self.assertRaises(ConfigError, AutobahnHeartbeat.factory, factory, CONFIG)
        error = self.assertRaises(ConfigError, AutobahnHeartbeat, factory.buildProtocol(None), CONFIG)
        self.assertEqual(error.name, "autoPingInterval")
        self.assertIn("7", str(error))

    def test_no_handshake(self) -> None:
        """A client that never says what it wants is not asked, and not condemned by us: Autobahn bounds that."""
        factory: Any = WebSocketServerFactory("ws://server", reactor=self.server.reactor)
        factory.setProtocolOptions(**NO_TIMERS)
        factory.protocol = TalkingServer
        mine: Any
        mine, theirs = self.pair(
            AutobahnHeartbeat.factory(factory, CONFIG, reactor=self.server.reactor), Factory.forProtocol(Protocol)
        )
        self.net.run(10 * DETECT)
        self.assertIsNone(theirs.lost)
        self.assertEqual(theirs.heartbeat.heartbeat.peer.tally.pings_out, 0)
        mine.transport.abortConnection()
        self.died(theirs)
