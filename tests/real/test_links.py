"""What every link puts on the wire, seen by a tap: no byte of a frame in clear under TLS, and everything in order."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import Any

import trustme
from twisted.internet import defer, reactor, ssl, threads
from twisted.internet.endpoints import clientFromString, connectProtocol, serverFromString, wrapClientTLS
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.portforward import ProxyClient, ProxyClientFactory, ProxyFactory, ProxyServer
from twisted.trial.unittest import TestCase

from heartbeat import HeartbeatConfig, HeartbeatListener, Peer, State
from heartbeat.net import HeartbeatClientService, HeartbeatFactory, HeartbeatProtocol
from heartbeat.net.link import OpaqueLink, TcpLink
from heartbeat.net.tls.link import TlsLink

MAGICS = (b"HEAR", b"HACK", b"HSYN", b"HSAK", b"HELO", b"HSTA", b"HSTL", b"HBYE")
PING = b"HEAR\0\1\0\2"
FAST = HeartbeatConfig(interval=0.05, multiplier=20, min_interval=0.0, sync_interval=0.1)


class Joined(HeartbeatListener):
    """Remembers who joined."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    def joined(self, peer: Peer) -> None:
        """Remember it."""
        self.peers.append(peer)


class LinkCase(TestCase):
    """A heartbeat over some transport, and a tap between its ends."""

    timeout = 30

    def setUp(self) -> None:
        """One certificate for all that need one."""
        self.seen = bytearray()
        self.listener = Joined()
        self.factory = HeartbeatFactory(FAST, self.listener)
        self.built: list[HeartbeatProtocol] = []
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        self.authority = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority.cert_pem.bytes())])
        pem = issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
        self.context = ssl.PrivateCertificate.loadPEM(pem).options()

    def remember(self, protocol: HeartbeatProtocol) -> HeartbeatProtocol:
        """Keep the server's protocol."""
        self.built.append(protocol)
        return protocol

    async def listen(self, port: Any) -> int:
        """Close this port after the test."""
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def tapped(self, port: int) -> int:
        """A port that forwards to that one and remembers every byte of both directions."""
        seen = self.seen

        class Back(ProxyClient):
            def dataReceived(self, data: bytes) -> None:
                seen.extend(data)
                super().dataReceived(data)

        class BackFactory(ProxyClientFactory):
            protocol = Back

        class Forth(ProxyServer):
            clientProtocolFactory = BackFactory

            def dataReceived(self, data: bytes) -> None:
                seen.extend(data)
                super().dataReceived(data)

        tap = ProxyFactory("127.0.0.1", port)
        tap.protocol = Forth
        tap.noisy = False
        return await self.listen(reactor.listenTCP(0, tap, interface="127.0.0.1"))

    async def beats(self, endpoint: Any, seconds: float = 0.6) -> None:
        """A client beats for a while over this endpoint and leaves; phase one and phase two work."""
        service = HeartbeatClientService([endpoint], HeartbeatConfig(**{"id": "tapped", "services": ("a",)} | _terms()))
        service.startService()
        heartbeat = await service.when_alive()
        await heartbeat.ping(5.0)
        await deferLater(reactor, seconds)
        self.assertIs(heartbeat.state, State.ALIVE)
        self.assertGreater(heartbeat.peer.tally.acks_in, 3)
        self.assertEqual(self.listener.peers[-1].services, ("a",))
        self.assertGreater(self.listener.peers[-1].tally.acks_in, 3)
        self.client_links = [type(driver.link) for driver in service.connectors._drivers]
        self.links = [type(protocol.driver.link) for protocol in self.built]
        await service.stopService()
        await deferLater(reactor, 0.05)
        self.assertIs(self.listener.peers[-1].state, State.LEFT)

    def in_clear(self) -> list[bytes]:
        """Which magics the tap saw."""
        return [magic for magic in MAGICS if magic in self.seen]


def _terms() -> dict[str, Any]:
    return {"interval": 0.05, "multiplier": 20, "min_interval": 0.0, "sync_interval": 0.1}


class TlsTests(LinkCase):
    """TLS of every kind."""

    def test_tls_endpoint(self) -> defer.Deferred[None]:
        """Under an endpoint's TLS the tap sees no frame, and the link is the one that knows TLS."""

        async def run() -> None:
            port = await self.listen(reactor.listenSSL(0, self.spied(), self.context, interface="127.0.0.1"))
            options = ssl.optionsForClientTLS("localhost", trustRoot=self.authority)
            plain = clientFromString(reactor, f"tcp:127.0.0.1:{await self.tapped(port)}")
            await self.beats(wrapClientTLS(options, plain))
            self.assertEqual(self.links, [TlsLink])
            self.assertEqual(self.listener.peers[0].transport, "tls")
            self.assertGreater(len(self.seen), 1000)
            self.assertEqual(self.in_clear(), [])

        return defer.Deferred.fromCoroutine(run())

    def test_wrapped_tls(self) -> defer.Deferred[None]:
        """A wrapper over TLS that looks like a socket is not taken for one."""

        async def run() -> None:
            factory = WrappingFactory(self.spied())
            factory.protocol = ProtocolWrapper
            factory.noisy = False
            port = await self.listen(reactor.listenSSL(0, factory, self.context, interface="127.0.0.1"))
            options = ssl.optionsForClientTLS("localhost", trustRoot=self.authority)
            plain = clientFromString(reactor, f"tcp:127.0.0.1:{await self.tapped(port)}")
            await self.beats(wrapClientTLS(options, plain))
            self.assertEqual(self.links, [OpaqueLink])
            self.assertEqual(self.in_clear(), [])

        return defer.Deferred.fromCoroutine(run())

    def test_start_tls(self) -> defer.Deferred[None]:
        """Once the transport of a running connection was made TLS, not one more frame goes out in clear."""
        case = self

        class Upgraded(HeartbeatProtocol):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.startTLS(case.context)

        class Client(Protocol):
            def __init__(self) -> None:
                self.got = b""

            def connectionMade(self) -> None:
                self.transport.startTLS(ssl.optionsForClientTLS("localhost", trustRoot=case.authority))
                self.transport.write(PING * 100)

            def dataReceived(self, data: bytes) -> None:
                self.got += data

        async def run() -> None:
            self.factory.buildProtocol = lambda addr: self.remember(Upgraded(self.factory))
            port = await self.listen(reactor.listenTCP(0, self.factory, interface="127.0.0.1"))
            endpoint = clientFromString(reactor, f"tcp:127.0.0.1:{await self.tapped(port)}")
            client = await connectProtocol(endpoint, Client())
            await deferLater(reactor, 0.5)
            self.assertIsInstance(self.built[0].driver.link, TcpLink)
            self.assertEqual(client.got.count(b"HACK\0\1\0\2"), 100)
            self.assertIn(b"HEAR", client.got)
            self.assertEqual(self.in_clear(), [])
            client.transport.abortConnection()
            await deferLater(reactor, 0.1)

        return defer.Deferred.fromCoroutine(run())

    def spied(self) -> HeartbeatFactory:
        """The factory, remembering what it builds."""
        self.factory.buildProtocol = lambda addr: self.remember(HeartbeatProtocol(self.factory))
        return self.factory


class PlainTests(LinkCase):
    """Without TLS."""

    def test_tcp(self) -> defer.Deferred[None]:
        """Over TCP the frames are in clear, and go straight to the socket."""

        async def run() -> None:
            self.factory.buildProtocol = lambda addr: self.remember(HeartbeatProtocol(self.factory))
            port = await self.listen(reactor.listenTCP(0, self.factory, interface="127.0.0.1"))
            await self.beats(clientFromString(reactor, f"tcp:127.0.0.1:{await self.tapped(port)}"))
            self.assertEqual(self.links, [TcpLink])
            self.assertEqual(self.client_links, [TcpLink])
            self.assertEqual(set(self.in_clear()), set(MAGICS) - {b"HSTL"})

        return defer.Deferred.fromCoroutine(run())

    def test_wrapper(self) -> defer.Deferred[None]:
        """Behind a wrapper the frames go through the wrapper: it may count them, or hold them back."""
        written = []

        class Counting(ProtocolWrapper):
            def write(self, data: bytes) -> None:
                written.append(data)
                super().write(data)

        async def run() -> None:
            factory = WrappingFactory(self.factory)
            factory.protocol = Counting
            factory.noisy = False
            port = await self.listen(reactor.listenTCP(0, factory, interface="127.0.0.1"))
            await self.beats(clientFromString(reactor, f"tcp:127.0.0.1:{port}"))
            self.assertIn(b"HACK", b"".join(written))

        return defer.Deferred.fromCoroutine(run())

    def test_unix(self) -> defer.Deferred[None]:
        """Over a UNIX socket it beats, and a bare peer is unix#<n>."""

        async def run() -> None:
            path = Path(tempfile.mkdtemp()) / "s"
            self.addCleanup(path.parent.rmdir)
            port = await serverFromString(reactor, f"unix:{path}").listen(self.factory)
            self.addCleanup(port.stopListening)
            await self.beats(clientFromString(reactor, f"unix:{path}"))
            self.assertEqual(self.listener.peers[0].transport, "unix")
            bare = socket.socket(socket.AF_UNIX)
            self.addCleanup(bare.close)
            bare.connect(str(path))
            bare.sendall(PING)
            answer = await threads.deferToThread(bare.recv, 8)
            self.assertEqual(answer, b"HACK\0\1\0\2")
            self.assertEqual(self.listener.peers[-1].id, "unix#2")
            bare.close()
            await deferLater(reactor, 0.1)
            self.assertIs(self.listener.peers[-1].state, State.DEAD)

        return defer.Deferred.fromCoroutine(run())

    def test_haproxy(self) -> defer.Deferred[None]:
        """Behind a PROXY header the peer's address, its name and the limits are the client's, not the balancer's."""

        async def run() -> None:
            self.factory.max_per_address = 1
            port = await serverFromString(reactor, "haproxy:tcp:0:interface=127.0.0.1").listen(self.factory)
            self.addCleanup(port.stopListening)
            header = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 7600\r\n"
            first, second = (socket.create_connection(("127.0.0.1", port.getHost().port)) for _ in range(2))
            for client in (first, second):
                self.addCleanup(client.close)
                client.settimeout(5)
            first.sendall(header + PING)
            self.assertEqual(await threads.deferToThread(first.recv, 8), b"HACK\0\1\0\2")
            self.assertEqual(
                (self.listener.peers[0].id, self.listener.peers[0].address), ("~192.0.2.7:4711", "192.0.2.7:4711")
            )
            second.sendall(header.replace(b"4711", b"4712") + PING)

            def until_the_end() -> bytes:
                got = b""
                while data := second.recv(4096):
                    got += data
                    if b"HBYE" in got:
                        break
                return got

            self.assertIn(b"HBYE\0\x0a", await threads.deferToThread(until_the_end))
            first.close()
            second.close()
            await deferLater(reactor, 0.2)
            self.assertEqual(self.factory.connections, 0)

        return defer.Deferred.fromCoroutine(run())

    def test_a_full_socket(self) -> defer.Deferred[None]:
        """A write that the kernel refuses or takes in part goes on in order through the transport; nothing is lost."""

        async def run() -> None:
            self.factory.buildProtocol = lambda addr: self.remember(HeartbeatProtocol(self.factory))
            port = await self.listen(reactor.listenTCP(0, self.factory, interface="127.0.0.1"))
            client = socket.socket()
            self.addCleanup(client.close)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", port))
            client.settimeout(5)
            await deferLater(reactor, 0.05)
            self.built[0].transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            pings = b"".join(b"HEAR" + n.to_bytes(2, "big") + b"\0\0" for n in range(6000))

            def blast() -> bytes:
                client.sendall(pings)
                got = b""
                while got.count(b"HACK") < 6000:
                    got += client.recv(65536)
                return got

            got = await threads.deferToThread(blast)
            numbers = []
            while got:
                size = 32 if got[:4] == b"HSYN" else 8
                if got[:4] == b"HACK":
                    numbers.append(int.from_bytes(got[4:6], "big"))
                else:
                    self.assertIn(got[:4], (b"HEAR", b"HSYN"))
                got = got[size:]
            self.assertEqual(numbers, list(range(6000)))
            client.close()
            await deferLater(reactor, 0.1)

        return defer.Deferred.fromCoroutine(run())


class GateTests(LinkCase):
    """What the gate hands over."""

    def test_a_protocol_behind_the_gate(self) -> defer.Deferred[None]:
        """Its transport closes with BYE, in time, and carries no bytes of an application."""

        class Behind(Protocol):
            lost: Any = None

            def connectionLost(self, reason: Any = None) -> None:
                self.lost = reason

        behind = Behind()

        class Behinds(Factory):
            noisy = False

            def buildProtocol(self, addr: Any) -> IProtocol:
                return behind

        async def run() -> None:
            from heartbeat.errors import NotConnected
            from heartbeat.net.gate import Connectors, GatedEndpoint
            from heartbeat.net.reasons import PeerLeft

            port = await self.listen(reactor.listenTCP(0, self.factory, interface="127.0.0.1"))
            endpoint = clientFromString(reactor, f"tcp:127.0.0.1:{port}")
            gated = GatedEndpoint([endpoint], Connectors(HeartbeatConfig(id="b")))
            self.assertIs(await gated.connect(Behinds()), behind)
            self.assertEqual(behind.transport.getPeer().port, port)
            self.assertEqual(behind.transport.getHost().host, "127.0.0.1")
            self.assertRaises(NotConnected, behind.transport.write, b"x")
            self.assertRaises(NotConnected, behind.transport.writeSequence, [b"x"])
            behind.transport.loseConnection()
            await deferLater(reactor, 0.1)
            self.assertIsInstance(behind.lost.value, PeerLeft)
            self.assertIs(self.listener.peers[0].state, State.LEFT)

        return defer.Deferred.fromCoroutine(run())
