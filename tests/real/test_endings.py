"""How real connections end: what the kernel shows before the descriptor closes, and what it is called."""

from __future__ import annotations

import select
import socket
import struct
import sys
from typing import Any

import trustme
from OpenSSL import SSL
from twisted.internet import defer, reactor, ssl, threads
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from heartbeat import Dead, Event, HeartbeatConfig, HeartbeatListener, Left, Peer
from heartbeat.net import HeartbeatFactory, HeartbeatProtocol, kernel
from heartbeat.net.link import TcpLink
from heartbeat.net.tls.link import TlsLink

PING = b"HEAR\0\1\0\2"
#: Nothing is asked and nobody judged within a test.
QUIET = HeartbeatConfig(interval=30.0, min_interval=0.0)
NO_LINGER = struct.pack("ii", 1, 0)
# Longer than any delayed acknowledgement, after which a RST is an answer to nothing of ours.
CALM = 0.3
SOON = 2.0


class Ends(HeartbeatListener):
    """Fires with how a peer ended."""

    def __init__(self) -> None:
        self.ended: defer.Deferred[Event] = defer.Deferred()

    def gone(self, peer: Peer, event: Event) -> None:
        """It ended."""
        self.ended.callback(event)


class EndingCase(TestCase):
    """A server, and a client that is a plain socket."""

    timeout = 30

    def setUp(self) -> None:
        """A factory that tells of the end of its only peer."""
        if not kernel.ENABLED or sys.platform != "linux":
            raise SkipTest("ends are told apart by what Linux shows of them")
        self.ends = Ends()
        self.factory = HeartbeatFactory(QUIET, self.ends)
        self.built: list[HeartbeatProtocol] = []
        build = self.factory.buildProtocol

        def remember(addr: Any) -> HeartbeatProtocol:
            self.built.append(build(addr))
            return self.built[-1]

        self.factory.buildProtocol = remember  # type: ignore[method-assign]  # to see its links

    async def connect(self) -> socket.socket:
        """A client whose gate is open, and which has read all that it was told."""
        port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        client = socket.create_connection(("127.0.0.1", port.getHost().port))
        self.addCleanup(client.close)
        client.sendall(PING)
        await deferLater(reactor, CALM)
        client.settimeout(SOON)
        self.assertIn(b"HACK", client.recv(4096))
        self.assertIs(type(self.link), TcpLink)
        return client

    @property
    def link(self) -> Any:
        """Of the server's side."""
        assert self.built[0].driver is not None
        return self.built[0].driver.link

    async def death(self) -> Dead:
        """How it ended."""
        event = await self.ends.ended.addTimeout(SOON, reactor)
        assert isinstance(event, Dead), event
        return event


class PlainTests(EndingCase):
    """TCP."""

    def ends_as(self, how: Any, cause: str, detail: str, state: int) -> defer.Deferred[None]:
        """What the client does, what it is called, and the kernel's state then."""

        async def run() -> None:
            client = await self.connect()
            how(client)
            dead = await self.death()
            assert dead.evidence is not None and dead.evidence.tcp is not None
            self.assertEqual((dead.cause, dead.evidence.detail), (cause, detail), dead.evidence)
            self.assertEqual(dead.evidence.tcp.state, state)
            self.assertLess(dead.silent, SOON)

        return defer.Deferred.fromCoroutine(run())

    def test_fin(self) -> defer.Deferred[None]:
        """An end of stream: the peer closed."""
        return self.ends_as(lambda client: client.close(), "peer_closed", "eof", 8)

    def test_reset(self) -> defer.Deferred[None]:
        """A RST out of nothing: the peer aborted."""

        def abort(client: socket.socket) -> None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            client.close()

        return self.ends_as(abort, "peer_reset", "unprovoked", 7)

    def test_fin_with_unread_input(self) -> defer.Deferred[None]:
        """A close with unread input is a RST on the wire."""

        def close(client: socket.socket) -> None:
            self.link.write(b"HBYE\0\0\0\0")
            select.select([client], [], [], SOON)
            # Its kernel acknowledged what its process never read; that nothing is on its way any more takes a moment.
            reactor.callLater(CALM, client.close)

        return self.ends_as(close, "peer_reset", "unprovoked", 7)

    def test_the_answer_to_a_write(self) -> defer.Deferred[None]:
        """A host that does not know the connection answers our next write with RST: the kernel tells that write, and
        reading then finds an end of stream that nobody sent. It is no FIN all the same."""

        async def run() -> None:
            client = await self.connect()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            client.close()
            # The RST is in the kernel, and the reactor has not read it: our write meets it first.
            while self.link.look(0.0).tcp.state != 7:
                pass
            self.assertFalse(self.link.write(PING))
            dead = await self.death()
            assert dead.evidence is not None
            self.assertEqual((dead.cause, dead.evidence.error), ("peer_reset", "ECONNRESET"))

        return defer.Deferred.fromCoroutine(run())

    def test_a_write_after_fin(self) -> defer.Deferred[None]:
        """Our write after the peer's FIN is answered with RST; it was closed all the same."""

        async def run() -> None:
            client = await self.connect()
            client.close()
            while self.link.look(0.0).tcp.state == 1:
                pass
            self.link.write(PING)
            dead = await self.death()
            self.assertEqual(dead.cause, "peer_closed")

        return defer.Deferred.fromCoroutine(run())

    def test_the_kernels_own_timeout(self) -> defer.Deferred[None]:
        """TCP_USER_TIMEOUT with the window closed: the peer does not read (facts K0.7)."""

        async def run() -> None:
            client = await self.connect()
            sock = self.link.socket
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)
            self.addCleanup(client.close)
            while self.link.look(0.0).tcp.snd_wnd:
                if not self.link.write(b"\0" * 65536):
                    break
                await deferLater(reactor, 0)
            event = await self.ends.ended.addTimeout(10.0, reactor)
            assert isinstance(event, Dead) and event.evidence is not None
            self.assertEqual((event.cause, event.evidence.detail), ("peer_not_reading", "window"), event.evidence)

        return defer.Deferred.fromCoroutine(run())

    def test_our_own_abort(self) -> defer.Deferred[None]:
        """No death of the peer."""

        async def run() -> None:
            await self.connect()
            self.built[0].heartbeat.abort()
            self.assertIsInstance(await self.ends.ended.addTimeout(SOON, reactor), Left)

        return defer.Deferred.fromCoroutine(run())


class TlsTests(EndingCase):
    """TLS: the same, seen on the socket below it."""

    async def connect_tls(self) -> tuple[Any, socket.socket]:
        """A client with its TLS and its socket; its gate is open."""
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        pem = issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
        context = ssl.PrivateCertificate.loadPEM(pem).options()
        port = reactor.listenSSL(0, self.factory, context, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        raw = socket.create_connection(("127.0.0.1", port.getHost().port))
        self.addCleanup(raw.close)

        def open_gate() -> Any:
            tls = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), raw)
            tls.set_connect_state()
            tls.do_handshake()
            tls.sendall(PING)
            got = b""
            while b"HACK" not in got:
                got += tls.recv(4096)
            return tls

        tls = await threads.deferToThread(open_gate)
        await deferLater(reactor, CALM)
        self.assertIs(type(self.link), TlsLink)
        return tls, raw

    def ends_as(self, how: Any, cause: str) -> defer.Deferred[None]:
        """What the client does, and what it is called."""

        async def run() -> None:
            tls, raw = await self.connect_tls()
            look = self.link.look(0.0)
            self.assertEqual((look.tls_pending, look.unread), (0, 0))
            how(tls, raw)
            dead = await self.death()
            assert dead.evidence is not None and dead.evidence.tcp is not None
            self.assertEqual(dead.cause, cause, dead.evidence)

        return defer.Deferred.fromCoroutine(run())

    def test_close_notify(self) -> defer.Deferred[None]:
        """TLS's own farewell, and FIN."""

        def close(tls: Any, raw: socket.socket) -> None:
            tls.shutdown()
            raw.close()

        return self.ends_as(close, "peer_closed")

    def test_fin(self) -> defer.Deferred[None]:
        """FIN without TLS's farewell."""
        return self.ends_as(lambda tls, raw: raw.shutdown(socket.SHUT_RDWR), "peer_closed")

    def test_reset(self) -> defer.Deferred[None]:
        """RST."""

        def abort(tls: Any, raw: socket.socket) -> None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            raw.close()

        return self.ends_as(abort, "peer_reset")

    def test_rubbish(self) -> defer.Deferred[None]:
        """What is no TLS ends the connection by our own hand: nothing is proved of the peer."""

        async def run() -> None:
            _, raw = await self.connect_tls()
            raw.sendall(b"x" * 100)
            dead = await self.death()
            assert dead.evidence is not None
            self.assertEqual(
                (dead.cause, dead.evidence.error), ("unattributed", "bad record type; record layer failure")
            )

        return defer.Deferred.fromCoroutine(run())
