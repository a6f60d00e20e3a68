"""AMP, Perspective Broker, WebSockets and TLS, each unchanged, over ``heartbeat:`` at both ends."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import trustme
from twisted.internet import defer, reactor, ssl
from twisted.internet.endpoints import serverFromString, wrapServerTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Factory
from twisted.protocols import amp
from twisted.python.failure import Failure
from twisted.spread import pb
from twisted.trial.unittest import SkipTest
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.websocket import WebSocketClientEndpoint, WebSocketResource

from heartbeat import State
from heartbeat.net import IHeartbeat
from tests.real.wrapping import FAST, Echo, Lines, Through, WrappedCase, asynchronous

#: Commands in flight at one time, each way.
COMMANDS: Final = 500
#: More than the credit: it has to be given back within one message.
LONG: Final = bytes(range(256)) * (12 * 1024)


class Sum(amp.Command):
    """A command with an answer."""

    arguments = ((b"a", amp.Integer()), (b"b", amp.Integer()))
    response = ((b"total", amp.Integer()),)


class Adder(amp.AMP):
    """Knows the command; either end may ask."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = 0

    @Sum.responder
    def sum(self, a: int, b: int) -> dict[str, int]:
        """The answer."""
        self.answered += 1
        return {"total": a + b}


class AmpTests(WrappedCase):
    """AMP."""

    @asynchronous
    async def test_both_directions(self) -> None:
        """Each end has hundreds of commands in flight; all are answered, in the right pairs."""
        served: list[Adder] = []
        factory = Factory.forProtocol(lambda: served.append(Adder()) or served[-1])  # type: ignore[func-returns-value]
        host = await self.listen(f"heartbeat:tcp:0:interface=127.0.0.1:{FAST}", factory)
        mine = await self.connect(f"heartbeat:tcp:127.0.0.1:{host.port}:{FAST}", Factory.forProtocol(Adder))
        self.assertEqual(await mine.callRemote(Sum, a=1, b=2), {"total": 3})
        asked = [one.callRemote(Sum, a=number, b=1) for number in range(COMMANDS) for one in (mine, served[0])]
        totals = [answer["total"] for answer in await defer.gatherResults(asked)]
        self.assertEqual(totals, [number + 1 for number in range(COMMANDS) for _ in range(2)])
        self.assertEqual((mine.answered, served[0].answered), (COMMANDS, COMMANDS + 1))

    @asynchronous
    async def test_the_end_of_a_connection(self) -> None:
        """A command that waits fails as AMP prescribes, with our reason, which is one of Twisted's."""
        host = await self.listen(f"heartbeat:tcp:0:interface=127.0.0.1:{FAST}", Factory.forProtocol(Silent))
        mine = await self.connect(f"heartbeat:tcp:127.0.0.1:{host.port}:{FAST}", Factory.forProtocol(Adder))
        waiting = mine.callRemote(Sum, a=1, b=2)
        mine.transport.loseConnection()
        with self.assertRaises(ConnectionDone) as caught:
            await waiting
        self.assertEqual(caught.exception.detail, "leaving")


class Silent(amp.AMP):
    """Takes the command and never answers."""

    @Sum.responder
    def sum(self, a: int, b: int) -> defer.Deferred[Any]:
        """No answer."""
        return defer.Deferred()


class Store(pb.Root):  # type: ignore[misc]  # has no types
    """A published object."""

    def remote_digest(self, data: bytes) -> str:
        """Of the data."""
        return hashlib.sha256(data).hexdigest()

    def remote_ask(self, other: Any) -> Any:
        """Call back, and give what comes."""
        return other.callRemote("name")


class Named(pb.Referenceable):  # type: ignore[misc]  # has no types
    """The client's own object."""

    def remote_name(self) -> str:
        """Its name."""
        return "the client's"


class BrokerTests(WrappedCase):
    """Perspective Broker."""

    @asynchronous
    async def test_calls_both_ways(self) -> None:
        """A call with half a megabyte, and one that calls back."""
        host = await self.listen(f"heartbeat:tcp:0:interface=127.0.0.1:{FAST}", pb.PBServerFactory(Store()))
        factory = pb.PBClientFactory()
        await self.connect(f"heartbeat:tcp:127.0.0.1:{host.port}:{FAST}", factory)
        root = await factory.getRootObject()
        data = LONG[: 512 * 1024]
        self.assertEqual(await root.callRemote("digest", data), hashlib.sha256(data).hexdigest())
        self.assertEqual(await root.callRemote("ask", Named()), "the client's")


class Chat:
    """An application of Twisted's WebSockets: an echo at the server, a collector at the client."""

    def __init__(self, *, echoes: bool) -> None:
        self._echoes = echoes
        self.got: defer.DeferredQueue[Any] = defer.DeferredQueue()
        self.opened: defer.Deferred[None] = defer.Deferred()
        self.closed: defer.Deferred[None] = defer.Deferred()

    def negotiationStarted(self, transport: Any) -> None:
        """The transport."""
        self.transport = transport

    def negotiationFinished(self) -> None:
        """Messages may be sent."""
        self.opened.callback(None)

    def textMessageReceived(self, message: str) -> None:
        """Give it back, or keep it."""
        if self._echoes:
            self.transport.sendTextMessage(message)
        else:
            self.got.put(message)

    def bytesMessageReceived(self, data: bytes) -> None:
        """Give it back, or keep it."""
        if self._echoes:
            self.transport.sendBytesMessage(bytes(data))
        else:
            self.got.put(bytes(data))

    def pongReceived(self, payload: bytes) -> None:
        """Keep it."""
        self.got.put(b"pong " + bytes(payload))

    def connectionLost(self, reason: Failure) -> None:
        """The end."""
        self.closed.callback(None)


class Chats:
    """A factory for either end."""

    def __init__(self, *, echoes: bool) -> None:
        self._echoes = echoes
        self.built: list[Chat] = []

    def buildProtocol(self, of: object) -> Chat:
        """One more."""
        self.built.append(Chat(echoes=self._echoes))
        return self.built[-1]


class WebSocketTests(WrappedCase):
    """``twisted.web.websocket``: the resource in a Site, the client's endpoint through a factory of endpoints."""

    @asynchronous
    async def test_an_echo(self) -> None:
        """Text, three megabytes of bytes, a PING of the application's, and a close."""
        served = Chats(echoes=True)
        root = Resource()
        root.putChild(b"chat", WebSocketResource(served))
        site = Site(root)
        site.noisy = False
        host = await self.listen(f"heartbeat:tcp:0:interface=127.0.0.1:{FAST}", site)
        through = Through(f"heartbeat:tcp:127.0.0.1:{host.port}:{FAST}")
        mine: Any = await WebSocketClientEndpoint(through, "ws://site/chat").connect(Chats(echoes=False))
        await mine.opened
        mine.transport.sendTextMessage("grüße")
        self.assertEqual(await mine.got.get(), "grüße")
        mine.transport.sendBytesMessage(LONG)
        self.assertEqual(await mine.got.get(), LONG)
        mine.transport.ping(b"still there?")
        self.assertEqual(await mine.got.get(), b"pong still there?")
        handle = IHeartbeat(mine.transport.transport)
        self.assertIs(handle.state, State.ALIVE)
        mine.transport.loseConnection()
        await defer.gatherResults([mine.closed, served.built[0].closed, handle.when_gone()])


class TlsTests(WrappedCase):
    """TLS below the frames, and inside them, by endpoint strings with an authority of our own."""

    def setUp(self) -> None:
        """A directory with a server's key and certificate, and one with the authority's."""
        home = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, home)
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        self.own, self.trusted = home / "own", home / "trusted"
        for directory in (self.own, self.trusted):
            directory.mkdir()
        self.pem = issued.private_key_pem.bytes() + b"".join(one.bytes() for one in issued.cert_chain_pems)
        (self.own / "server.pem").write_bytes(self.pem)
        (self.trusted / "authority.pem").write_bytes(authority.cert_pem.bytes())

    async def conversation(self, server: str, port: int = 0) -> None:
        """Listen with this string; a client talks lines over ``heartbeat:tls:``, which checks the certificate."""
        host = await self.listen(server, Factory.forProtocol(Echo))
        lines = await self.connect(
            f"heartbeat:tls:localhost:{host.port}:bindAddress=127.0.0.1:trustRoots={self.trusted}:{FAST}",
            Factory.forProtocol(Lines),
        )
        await self.echoed(lines)
        self.assertTrue(ISSLTransport.providedBy(lines.transport))
        self.assertIsNotNone(lines.transport.getPeerCertificate())
        self.assertEqual(IHeartbeat(lines.transport).peer.transport, "tls")
        lines.transport.loseConnection()
        self.assertEqual((await lines.ended).detail, "leaving")

    @asynchronous
    async def test_ssl_below(self) -> None:
        """``heartbeat:ssl:``."""
        pem = self.own / "server.pem"
        await self.conversation(f"heartbeat:ssl:0:interface=127.0.0.1:privateKey={pem}:certKey={pem}:{FAST}")

    @asynchronous
    async def test_tls_below(self) -> None:
        """``heartbeat:tls:``, Twisted's server endpoint that reads a directory of certificates."""
        await self.conversation(rf"heartbeat:tls:{self.own}:0:interface=\:\:ffff\:127.0.0.1:{FAST}")

    @asynchronous
    async def test_inside(self) -> None:
        """TLS as the application's own protocol: ``tls:…:endpoint=heartbeat…`` at the client, ``wrapServerTLS`` around
        a ``heartbeat:`` endpoint at the server. The beats are in clear, the lines are not."""
        context = ssl.PrivateCertificate.loadPEM(self.pem).options()
        inner = serverFromString(reactor, f"heartbeat:tcp:0:interface=127.0.0.1:{FAST}")
        port = await wrapServerTLS(context, inner).listen(Factory.forProtocol(Echo))
        self.addCleanup(port.stopListening)
        through = f"heartbeat:tcp:127.0.0.1:{port.getHost().port}:{FAST}".replace(":", r"\:").replace("=", r"\=")
        lines = await self.connect(
            f"tls:localhost:0:trustRoots={self.trusted}:endpoint={through}", Factory.forProtocol(Lines)
        )
        await self.echoed(lines)
        self.assertTrue(ISSLTransport.providedBy(lines.transport))
        self.assertEqual(IHeartbeat(lines.transport).peer.transport, "tcp")
        lines.transport.loseConnection()
        self.assertEqual((await lines.ended).detail, "leaving")


class AutobahnEndpointTests(WrappedCase):
    """``heartbeat:autobahn:…``: frames inside WebSocket messages, by an endpoint whose transport can do little."""

    @asynchronous
    async def test_lines(self) -> None:
        """Lines and beats both ways, through Autobahn's opening and closing handshakes."""
        if find_spec("autobahn") is None:
            raise SkipTest("needs autobahn")
        url = r"url=ws\://127.0.0.1\:9000"
        host = await self.listen(
            rf"heartbeat:autobahn:tcp\:0\:interface\=127.0.0.1:{url}:{FAST}", Factory.forProtocol(Echo)
        )
        inner = rf"tcp\:127.0.0.1\:{host.port}"
        lines = await self.connect(f"heartbeat:autobahn:{inner}:{url}:{FAST}", Factory.forProtocol(Lines))
        await self.echoed(lines)
        lines.transport.loseConnection()
        self.assertEqual((await lines.ended).detail, "leaving")
