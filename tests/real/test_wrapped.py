"""Twisted's own protocols, unchanged, under a heartbeat on real sockets: from endpoint strings, on both ends."""

from __future__ import annotations

import hashlib
import socket
import tempfile
from collections.abc import Callable
from typing import Any

import trustme
from twisted.internet import defer, reactor, ssl
from twisted.internet.endpoints import (
    SSL4ServerEndpoint,
    TCP4ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IHandshakeListener, IProtocolFactory, ISSLTransport, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from heartbeat import State
from heartbeat.net import IHeartbeat, heartbeat_client, heartbeat_server
from tests.net.wrapped import Halves, Notes, NotesFactory
from tests.real.wrapping import CONFIG, FAST, Echo, Lines, Through, WrappedCase, asynchronous, sleep

BODY = hashlib.sha256(b"five megabytes").digest() * (5 * 2**20 // 32)


class LineTests(WrappedCase):
    """A line protocol over every kind of inner endpoint."""

    @asynchronous
    async def test_over_tcp(self) -> None:
        """Both ends from strings; a close is clean on the other end."""
        host = await self.listen(f"heartbeat:tcp:0:interface=127.0.0.1:{FAST}", Factory.forProtocol(Echo))
        lines = await self.connect(f"heartbeat:tcp:127.0.0.1:{host.port}:{FAST}", Factory.forProtocol(Lines))
        await self.echoed(lines)
        self.assertEqual(lines.transport.getPeer().port, host.port)
        lines.transport.loseConnection()
        self.assertEqual((await lines.ended).detail, "leaving")

    @asynchronous
    async def test_over_ipv6(self) -> None:
        """A dual-stack server, the client on ::1."""
        if not socket.has_ipv6:
            self.skipTest("no IPv6 here")
        host = await self.listen(rf"heartbeat:tcp6:0:interface=\:\:1:{FAST}", Factory.forProtocol(Echo))
        lines = await self.connect(rf"heartbeat:tcp:\:\:1:{host.port}:{FAST}", Factory.forProtocol(Lines))
        await self.echoed(lines)
        self.assertEqual(lines.transport.getPeer().host, "::1")

    @asynchronous
    async def test_over_a_unix_socket(self) -> None:
        """On a path with ``=`` and ``:`` in it."""
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        path = f"{home.name}/a=b:c".replace("=", r"\=").replace(":", r"\:")
        await self.listen(f"heartbeat:unix:{path}:{FAST}", Factory.forProtocol(Echo))
        lines = await self.connect(f"heartbeat:unix:{path}:{FAST}", Factory.forProtocol(Lines))
        await self.echoed(lines)

    @asynchronous
    async def test_behind_a_proxy(self) -> None:
        """``heartbeat:haproxy:tcp``: the application sees the client's address and not the balancer's."""
        served = NotesFactory()
        host = await self.listen(f"heartbeat:haproxy:tcp:0:interface=127.0.0.1:{FAST}", served)
        lines = await self.proxied(host.port, served)
        self.assertEqual(served.built[0].transport.getPeer().host, "192.0.2.7")
        self.assertEqual(IHeartbeat(served.built[0].transport).peer.id, "~192.0.2.7:4242")
        self.assertIs(IHeartbeat(lines.transport).state, State.ALIVE)

    @asynchronous
    async def test_a_proxy_header_inside(self) -> None:
        """``haproxy:heartbeat:tcp``: the header is the first thing that the application's peer says."""
        served = NotesFactory()
        host = await self.listen(f"haproxy:heartbeat:tcp:0:interface=127.0.0.1:{FAST}", served)
        lines = await self.connect(f"heartbeat:tcp:127.0.0.1:{host.port}:{FAST}", Factory.forProtocol(Lines))
        lines.sendLine(b"PROXY TCP4 192.0.2.7 127.0.0.1 4242 7600")
        lines.sendLine(b"hello")
        await sleep(0.2)
        self.assertEqual(bytes(served.built[0].received), b"hello\r\n")
        self.assertEqual(served.built[0].transport.getPeer().host, "192.0.2.7")

    async def proxied(self, port: int, served: NotesFactory) -> Any:
        """A client whose connection begins with a balancer's header."""
        inner = Announced(TCP4ClientEndpoint(reactor, "127.0.0.1", port))
        lines: Any = await heartbeat_client(inner, CONFIG).connect(Factory.forProtocol(Lines))
        self.close(lines)
        lines.sendLine(b"through the balancer")
        await sleep(0.3)
        self.assertEqual(bytes(served.built[0].received), b"through the balancer\r\n")
        return lines


@implementer(IStreamClientEndpoint)
class Announced:
    """Connects and first says who is behind the balancer."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Any:
        """The wrapped protocol."""

        class Announcing(ProtocolWrapper):
            def makeConnection(self, transport: Any) -> None:
                transport.write(b"PROXY TCP4 192.0.2.7 127.0.0.1 4242 7600\r\n")
                super().makeConnection(transport)

        factory = WrappingFactory(protocolFactory)
        factory.protocol = Announcing
        factory.noisy = False
        return self._endpoint.connect(factory)


class PauseTests(WrappedCase):
    """An application that does not read."""

    @asynchronous
    async def test_a_pause_of_several_detection_times(self) -> None:
        """Two seconds at D = 0.3 s with megabytes waiting: nobody is even suspected, and then all of it arrives."""
        served = NotesFactory()
        host = await self.listen(f"heartbeat:tcp:0:interface=127.0.0.1:{FAST}", served)
        mine = await self.connect(f"heartbeat:tcp:127.0.0.1:{host.port}:{FAST}", NotesFactory())
        await sleep(0.1)
        theirs = served.built[0]
        theirs.transport.pauseProducing()
        mine.transport.write(BODY)
        for _ in range(20):
            await sleep(0.1)
            for one in (mine, theirs):
                self.assertIs(IHeartbeat(one.transport).state, State.ALIVE)
        self.assertEqual(theirs.received, b"")
        self.assertLess(IHeartbeat(mine.transport).rtt.smoothed, 0.1)
        self.assertGreater(IHeartbeat(mine.transport).peer.tally.acks_in, 10)
        theirs.transport.resumeProducing()
        while len(theirs.received) < len(BODY):
            await sleep(0.05)
        self.assertEqual(bytes(theirs.received), BODY)
        self.assertEqual((mine.lost, theirs.lost), (None, None))


@implementer(IHandshakeListener)
class Shaken(Notes):
    """An application that wants to know when TLS is ready."""

    def handshakeCompleted(self) -> None:
        """Remember it."""
        self.said.append("shaken")


class TlsTests(WrappedCase):
    """TLS below the frames."""

    async def secured(self, kind: Callable[[], Protocol]) -> tuple[Any, Any]:
        """The two applications of a connection over TLS."""
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        pem = issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
        context = ssl.PrivateCertificate.loadPEM(pem).options()
        trusted = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority.cert_pem.bytes())])
        served = NotesFactory(kind)
        endpoint = heartbeat_server(SSL4ServerEndpoint(reactor, 0, context, interface="127.0.0.1"), CONFIG)
        port = await endpoint.listen(served)
        self.addCleanup(port.stopListening)
        plain = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        options = ssl.optionsForClientTLS("localhost", trustRoot=trusted)
        mine: Any = await heartbeat_client(wrapClientTLS(options, plain), CONFIG).connect(NotesFactory(kind))
        self.close(mine)
        await sleep(0.1)
        return served.built[0], mine

    @asynchronous
    async def test_what_an_application_sees_of_tls(self) -> None:
        """The transport says that it is secure, shows the certificate and what ALPN agreed on."""
        theirs, mine = await self.secured(Shaken)
        self.assertEqual((theirs.said, mine.said), (["made", "shaken"], ["made", "shaken"]))
        self.assertTrue(ISSLTransport.providedBy(mine.transport) and ISSLTransport.providedBy(theirs.transport))
        certificate = ssl.Certificate(mine.transport.getPeerCertificate())
        self.assertIn("localhost", certificate.inspect() + str(certificate.original.to_cryptography().extensions))
        self.assertIsNone(theirs.transport.getPeerCertificate())
        self.assertIsNone(mine.transport.negotiatedProtocol)
        self.assertEqual(IHeartbeat(theirs.transport).peer.transport, "tls")

    @asynchronous
    async def test_bulk_and_half_closes(self) -> None:
        """Half-close works on TLS, where Twisted's own breaks the connection (facts T0.9); megabytes both ways."""
        theirs, mine = await self.secured(Halves)
        mine.transport.write(BODY)
        mine.transport.loseWriteConnection()
        while "read over" not in theirs.said:
            await sleep(0.02)
        self.assertEqual(bytes(theirs.received), BODY)
        theirs.transport.write(BODY)
        theirs.transport.loseWriteConnection()
        while "lost" not in mine.said:
            await sleep(0.02)
        self.assertEqual(bytes(mine.received), BODY)
        self.assertEqual(mine.said, ["made", "write over", "read over", "lost"])


class Body(Resource):
    """Gives five megabytes, or takes some and tells their digest."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        """All of it, and who asked."""
        handle = IHeartbeat(request.channel.transport, None)
        request.setHeader(b"peer", handle.peer.id.encode() if handle is not None else b"?")
        return BODY

    def render_POST(self, request: Any) -> bytes:
        """The digest."""
        return hashlib.sha256(request.content.read()).hexdigest().encode()


class WebTests(WrappedCase):
    """An HTTP site and an Agent."""

    def agent(self, port: int) -> Agent:
        """An Agent with persistent connections."""
        through = Through(f"heartbeat:tcp:127.0.0.1:{port}:{FAST}")
        pool = HTTPConnectionPool(reactor)
        self.addCleanup(sleep, 0.1)
        self.addCleanup(pool.closeCachedConnections)
        return Agent.usingEndpointFactory(reactor, through, pool)

    @asynchronous
    async def test_five_megabytes_down_and_up(self) -> None:
        """A site without a changed line, several requests on one connection, and several connections at once."""
        site = Site(Body())
        site.noisy = False
        host = await self.listen(f"heartbeat:tcp:0:interface=127.0.0.1:{FAST}", site)
        agent = self.agent(host.port)
        peers = set()
        for _ in range(3):
            response: Any = await agent.request(b"GET", b"http://site/")
            self.assertEqual(response.code, 200)
            peers.add(response.headers.getRawHeaders(b"peer")[0])
            self.assertEqual(await readBody(response), BODY)
        self.assertEqual([peer[:11] for peer in peers], [b"~127.0.0.1:"])
        with tempfile.TemporaryFile() as file:
            file.write(BODY)
            file.seek(0)
            response = await agent.request(b"POST", b"http://site/", Headers(), FileBodyProducer(file))
            self.assertEqual(await readBody(response), hashlib.sha256(BODY).hexdigest().encode())
        asked = [defer.Deferred.fromCoroutine(self.fetched(agent)) for _ in range(4)]
        self.assertEqual([len(body) for body in await defer.gatherResults(asked)], [len(BODY)] * 4)

    async def fetched(self, agent: Agent) -> bytes:
        """One body."""
        response: Any = await agent.request(b"GET", b"http://site/")
        body: bytes = await readBody(response)
        return body

    @asynchronous
    async def test_a_close_behind_the_answer(self) -> None:
        """``Connection: close``: the body is whole, then the end."""
        site = Site(Body())
        site.noisy = False
        host = await self.listen(f"heartbeat:tcp:0:interface=127.0.0.1:{FAST}", site)
        mine = await self.connect(f"heartbeat:tcp:127.0.0.1:{host.port}:{FAST}", NotesFactory())
        mine.transport.write(b"GET / HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n")
        while mine.lost is None:
            await sleep(0.02)
        self.assertEqual(bytes(mine.received).partition(b"\r\n\r\n")[2], BODY)
        self.assertEqual(mine.lost.value.detail, "leaving")
