"""The adapters of WebSockets before real peers of other libraries, which have never heard of us.

Those of AMP, lines, strings and Perspective Broker are before peers of Twisted's own in ``test_examples``, and before
peers that nobody of Twisted's wrote in ``stalls.test_ways``.
"""

from __future__ import annotations

import signal
import time
from importlib.util import find_spec
from typing import Any, Final

from twisted.internet import defer, reactor
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from heartbeat import HeartbeatConfig, State
from heartbeat.net import UnresponsiveConnection
from tests.real.processes import _Process
from tests.real.strangers import LONG
from tests.real.wrapping import asynchronous, sleep

CONFIG: Final = HeartbeatConfig(interval=0.2)
#: What a verdict may come later than D, on a machine that does other things too.
LATE: Final = 1.0


class StrangerCase(TestCase):
    """One connection between us and a process."""

    timeout = 60

    def stranger(self, library: str, role: str, *arguments: object) -> _Process:
        """The process; ended after the test."""
        if find_spec(library) is None:
            raise SkipTest(f"needs {library}")
        process = _Process(library, role, *map(str, arguments), module="tests.real.strangers")
        self.addCleanup(lambda: self.assertEqual(process.complaints(), []))
        self.addCleanup(process.kill)
        return process

    def listen(self, factory: Any) -> int:
        """Where it listens."""
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def listening(self, process: _Process) -> int:
        """Where a server of them does."""
        return int(process.find(r'"listening", "value": (\d+)')[1])

    async def lives_and_dies(self, chat: Any, process: _Process) -> None:
        """Round trips beside messages; then the peer is stopped, and found in time with the cause of the kernel."""
        while chat.got != ["hello", LONG]:
            await sleep(0.02)
        while chat.heartbeat.peer.tally.acks_in < 5:
            await sleep(0.02)
        self.assertIs(chat.heartbeat.state, State.ALIVE)
        self.assertEqual(chat.heartbeat.peer.tally.lost, 0)
        self.assertLess(await chat.heartbeat.ping(5.0), 5.0)
        process.signal(signal.SIGSTOP)
        stopped = time.monotonic()
        reason = await chat.closed
        self.assertLess(time.monotonic() - stopped, CONFIG.detect + LATE)
        self.assertIsInstance(reason, UnresponsiveConnection)
        self.assertEqual(reason.cause, "peer_stalled")
        process.kill()

    async def lives_and_leaves(self, chat: Any) -> None:
        """Messages and round trips; then our end closes as WebSocket prescribes, which is no failure."""
        while chat.got != ["hello", LONG]:
            await sleep(0.02)
        self.assertLess(await chat.heartbeat.ping(5.0), 5.0)
        chat.say_goodbye()
        reason = await chat.closed
        self.assertNotIsInstance(reason, UnresponsiveConnection)
        self.assertIs(chat.heartbeat.state, State.LEFT)


class TwistedTests(StrangerCase):
    """``twisted.web.websocket``, against ``websockets``."""

    def setUp(self) -> None:
        """Without its extra there is no such module."""
        if find_spec("wsproto") is None:
            raise SkipTest("needs wsproto")

    @asynchronous
    async def test_a_server(self) -> None:
        """Their client."""
        from twisted.web.websocket import WebSocketResource

        from heartbeat.net.adapters.websocket import WebSocketHeartbeat

        chats = Chats()
        root = Resource()
        root.putChild(b"", WebSocketResource(WebSocketHeartbeat.factory(chats, CONFIG)))
        site = Site(root)
        site.noisy = False
        process = self.stranger("websockets", "client", self.listen(site))
        await self.lives_and_dies(await chats.first, process)

    @asynchronous
    async def test_a_client(self) -> None:
        """Their server."""
        from twisted.web.websocket import WebSocketClientEndpoint

        from heartbeat.net.adapters.websocket import WebSocketHeartbeat

        process = self.stranger("websockets", "server")
        endpoint = WebSocketClientEndpoint.new(reactor, f"ws://127.0.0.1:{self.listening(process)}/")
        chat: Any = await endpoint.connect(WebSocketHeartbeat.factory(Chats(), CONFIG))
        await chat.opened
        chat.transport.sendTextMessage("hello")
        chat.transport.sendTextMessage(LONG)
        await self.lives_and_leaves(chat)
        process.find('"closed", "value": 1000')


class Chat:
    """An application of Twisted's WebSockets."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.opened: defer.Deferred[None] = defer.Deferred()
        self.closed: defer.Deferred[object] = defer.Deferred()

    def negotiationStarted(self, transport: Any) -> None:
        """The transport."""
        self.transport = transport

    def negotiationFinished(self) -> None:
        """Messages may be sent."""
        self.opened.callback(None)

    def textMessageReceived(self, message: str) -> None:
        """Keep it."""
        self.got.append(message)

    def bytesMessageReceived(self, data: bytes) -> None:
        """None comes."""

    def pongReceived(self, payload: bytes) -> None:
        """None of the application's own."""

    def say_goodbye(self) -> None:
        """Close."""
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure) -> None:
        """The end."""
        self.closed.callback(reason.value)


class Chats:
    """Its factory, for either end."""

    def __init__(self) -> None:
        self.first: defer.Deferred[Chat] = defer.Deferred()

    def buildProtocol(self, of: object) -> Chat:
        """The one."""
        chat = Chat()
        chat.opened.addCallback(lambda _: self.first.callback(chat))
        return chat


class AutobahnTests(StrangerCase):
    """Autobahn, against ``websockets`` and ``aiohttp``."""

    def setUp(self) -> None:
        """It is optional."""
        if find_spec("autobahn") is None:
            raise SkipTest("needs autobahn")

    async def serves(self, library: str) -> None:
        """Our server, their client."""
        from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol

        from heartbeat.net.adapters.autobahn import AutobahnHeartbeat

        opened: defer.Deferred[Any] = defer.Deferred()
        inner = WebSocketServerFactory()
        inner.protocol = autobahn_chat(WebSocketServerProtocol, opened)
        process = self.stranger(library, "client", self.listen(AutobahnHeartbeat.factory(inner, CONFIG)))
        await self.lives_and_dies(await opened, process)

    async def connects(self, library: str) -> None:
        """Our client, their server."""
        from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol

        from heartbeat.net.adapters.autobahn import AutobahnHeartbeat

        process = self.stranger(library, "server")
        port = self.listening(process)
        opened: defer.Deferred[Any] = defer.Deferred()
        inner = WebSocketClientFactory(f"ws://127.0.0.1:{port}/")
        inner.protocol = autobahn_chat(WebSocketClientProtocol, opened)
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", port)
        await endpoint.connect(AutobahnHeartbeat.factory(inner, CONFIG))
        chat = await opened
        chat.sendMessage(b"hello")
        chat.sendMessage(LONG.encode())
        await self.lives_and_leaves(chat)
        process.find('"closed", "value": 1000')

    @asynchronous
    async def test_a_server_for_websockets(self) -> None:
        """Their client."""
        await self.serves("websockets")

    @asynchronous
    async def test_a_client_of_websockets(self) -> None:
        """Their server."""
        await self.connects("websockets")

    @asynchronous
    async def test_a_server_for_aiohttp(self) -> None:
        """Their client."""
        await self.serves("aiohttp")

    @asynchronous
    async def test_a_client_of_aiohttp(self) -> None:
        """Their server."""
        await self.connects("aiohttp")


def autobahn_chat(base: Any, first: defer.Deferred[Any]) -> type[Any]:
    """An application of Autobahn's; ``first`` fires with it when it is open."""

    class AutobahnChat(base):  # type: ignore[misc]  # either of two
        def __init__(self) -> None:
            super().__init__()
            self.got: list[str] = []
            self.closed: defer.Deferred[object] = defer.Deferred()

        def onOpen(self) -> None:
            first.callback(self)

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.got.append(payload.decode())

        def say_goodbye(self) -> None:
            self.sendClose(1000)

        def connectionLost(self, reason: Failure = connectionDone) -> None:
            super().connectionLost(reason)
            self.closed.callback(reason.value)

    return AutobahnChat
