"""Idle timeouts and deadlines on real sockets, with our own loop stalled in the worst place: an I/O callback."""

from __future__ import annotations

import socket
import ssl as stdlib_ssl
import time
from collections.abc import Callable
from typing import Any

import trustme
from twisted.internet import defer, reactor, ssl, threads
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from heartbeat.errors import AlreadyExpired, DeadlineExpired, IncompleteRead
from heartbeat.net import Deadline, ExactReader
from heartbeat.net.adapters.timeout import TimeoutMixin

PERIOD = 0.4
STALL = 1.0


class Idle(Protocol, TimeoutMixin):
    """Any byte is a sign of life; the byte ``!`` stalls this process while the peer speaks on."""

    speak: Callable[[], None]

    def connectionMade(self) -> None:
        """Begin."""
        self.timed_out = 0
        self.words = b""
        self.began = time.monotonic()
        self.reader = ExactReader(self.transport)
        self.lost: defer.Deferred[type[BaseException]] = defer.Deferred()

    def dataReceived(self, data: bytes) -> None:
        """A sign of life."""
        self.resetTimeout()
        self.words += data
        self.reader.feed(data)
        if b"!" in data:
            self.speak()
            time.sleep(STALL)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end."""
        self.setTimeout(None)
        self.reader.end(reason)
        self.lost.callback(reason.type or BaseException)

    def timeoutConnection(self) -> None:
        """Count."""
        self.timed_out += 1
        self.ended = time.monotonic()
        super().timeoutConnection()


class PlainTests(TestCase):
    """Over TCP."""

    timeout = 30

    def listen(self, factory: Factory) -> Any:
        """A port on loopback."""
        return reactor.listenTCP(0, factory, interface="127.0.0.1")

    def dress(self, raw: socket.socket) -> socket.socket:
        """In a thread: what the peer speaks through."""
        return raw

    async def connected(self) -> tuple[Idle, socket.socket]:
        """The protocol and its peer, a plain socket that is used from here."""
        made: defer.Deferred[Idle] = defer.Deferred()

        class Made(Idle):
            def connectionMade(self) -> None:
                super().connectionMade()
                made.callback(self)

        factory = Factory.forProtocol(Made)
        factory.noisy = False
        port = self.listen(factory)
        self.addCleanup(port.stopListening)
        raw = socket.create_connection(("127.0.0.1", port.getHost().port), 5)
        peer = await threads.deferToThread(self.dress, raw)
        self.addCleanup(peer.close)
        idle = await made
        idle.speak = lambda: peer.sendall(b"still here")
        return idle, peer

    async def end(self, idle: Idle, peer: socket.socket) -> None:
        """Close it and wait until it is gone."""
        peer.close()
        await idle.lost

    def test_a_stall(self) -> defer.Deferred[None]:
        """Stalled for twice the timeout and more, with the peer's bytes in the kernel: it lives."""

        async def run() -> None:
            idle, peer = await self.connected()
            idle.setTimeout(PERIOD)
            peer.sendall(b"!")
            await deferLater(reactor, STALL + 0.2)
            self.assertEqual((idle.timed_out, idle.words), (0, b"!still here"))
            await self.end(idle, peer)

        return defer.Deferred.fromCoroutine(run())

    def test_silence(self) -> defer.Deferred[None]:
        """Found within 0.1 s of the timeout, and aborted."""

        async def run() -> None:
            idle, peer = await self.connected()
            began = time.monotonic()
            idle.setTimeout(PERIOD)
            self.assertIn(await idle.lost, (ConnectionAborted, ConnectionLost))  # over TLS Twisted says the latter
            self.assertEqual((idle.timed_out, idle.timeout_cause), (1, "unattributed"))
            self.assertTrue(PERIOD <= idle.ended - began < PERIOD + 0.1, idle.ended - began)
            idle.timeoutConnection()
            peer.close()

        return defer.Deferred.fromCoroutine(run())

    def test_we_do_not_read(self) -> defer.Deferred[None]:
        """Paused for three times the timeout: nothing. Then what came meanwhile is read."""

        async def run() -> None:
            idle, peer = await self.connected()
            idle.setTimeout(PERIOD)
            transport: Any = idle.transport
            transport.pauseProducing()
            await deferLater(reactor, PERIOD)
            peer.sendall(b"meanwhile")
            await deferLater(reactor, 2 * PERIOD)
            self.assertEqual((idle.timed_out, idle.words), (0, b""))
            transport.resumeProducing()
            await deferLater(reactor, PERIOD / 2)
            self.assertEqual((idle.timed_out, idle.words), (0, b"meanwhile"))
            await self.end(idle, peer)

        return defer.Deferred.fromCoroutine(run())

    def test_a_deadline_and_a_stall(self) -> defer.Deferred[None]:
        """The answer came in time, and lay in the kernel while we were stalled beyond the deadline: it is taken."""

        async def run() -> None:
            idle, peer = await self.connected()
            peer.sendall(b"!")
            self.assertEqual(await idle.reader.read_exactly(11, Deadline(PERIOD)), b"!still here")
            self.assertEqual(idle.words, b"!still here")
            await self.end(idle, peer)

        return defer.Deferred.fromCoroutine(run())

    def test_a_deadline(self) -> defer.Deferred[None]:
        """Ends one caller's waiting at its time; the connection goes on and no byte is lost. A second use fails at
        once; the end of the stream is another error."""

        async def run() -> None:
            idle, peer = await self.connected()
            peer.sendall(b"half")
            deadline, began = Deadline(PERIOD), time.monotonic()
            await self.assertFailure(idle.reader.read_exactly(8, deadline), DeadlineExpired)
            self.assertTrue(PERIOD <= time.monotonic() - began < PERIOD + 0.1)
            await self.assertFailure(idle.reader.read_exactly(8, deadline), AlreadyExpired)
            peer.sendall(b"half")
            self.assertEqual(await idle.reader.read_exactly(8), b"halfhalf")
            waiting = idle.reader.read_exactly(1, Deadline(5.0))
            await self.end(idle, peer)
            await self.assertFailure(waiting, IncompleteRead)

        return defer.Deferred.fromCoroutine(run())


class TlsTests(PlainTests):
    """Over TLS."""

    def setUp(self) -> None:
        """A certificate."""
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("localhost")
        pem = issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
        self.context = ssl.PrivateCertificate.loadPEM(pem).options()

    def listen(self, factory: Factory) -> Any:
        """A port on loopback."""
        return reactor.listenSSL(0, factory, self.context, interface="127.0.0.1")

    def dress(self, raw: socket.socket) -> socket.socket:
        """The handshake."""
        context = stdlib_ssl.create_default_context()
        self.authority.configure_trust(context)
        return context.wrap_socket(raw, server_hostname="localhost")
