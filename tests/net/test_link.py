"""Links without a socket: which transport gets which, and in what order bytes leave. (Real ones: tests/real.)"""

from __future__ import annotations

import errno
import socket
from functools import partial
from typing import Any

import trustme
from twisted.internet import tcp
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from heartbeat import HeartbeatConfig
from heartbeat.liveness.evidence import Evidence
from heartbeat.net import HeartbeatFactory, kernel
from heartbeat.net.link import GONE, OpaqueLink, TcpLink, link_for
from heartbeat.net.tls.link import RECORD, TlsLink
from heartbeat.net.turns import Turns
from tests.net.hand import HandTransport


class Sock:
    """Stands in for a TCP socket whose buffer has so much room; None: it raises."""

    family = socket.AF_INET

    def __init__(self, room: int | None = 10_000) -> None:
        self.room = room
        self.sent = b""
        self.options: dict[int, int] = {}

    def send(self, data: bytes) -> int:
        """Take as much as there is room for."""
        if self.room is None:
            raise OSError(errno.EPIPE, "Broken pipe")
        if not self.room:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        taken = data[: self.room]
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def sendmsg(self, buffers: list[bytes | memoryview]) -> int:
        """These, as one."""
        return self.send(b"".join(buffers))

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Remember it."""
        self.options[option] = value

    def getsockopt(self, *_: int) -> bytes:
        """There is no TCP_INFO here."""
        raise OSError(errno.ENOTSUP, "no")

    def setblocking(self, blocking: bool) -> None:
        """It is never waited for."""

    def getpeername(self) -> tuple[str, int]:
        """Twisted asks for it."""
        return ("192.0.2.1", 1)

    def fileno(self) -> int:
        """It is in no table."""
        return -1


class LinkCase(SynchronousTestCase):
    """A reactor that opens nothing, and Twisted's own TCP transport on a socket that is none."""

    def setUp(self) -> None:
        """Nothing waits."""
        self.reactor = MemoryReactorClock()
        self.turns = Turns(partial(self.reactor.callLater, 0))
        self.protocol = Protocol()
        self.sock = Sock()

    def connection(self, protocol: Any = None) -> Any:
        """A transport that is connected."""
        transport: Any = tcp.Connection(self.sock, self.protocol if protocol is None else protocol, self.reactor)
        transport.connected = True
        transport.getPeer = transport.getHost = lambda: None
        return transport

    def link(self, transport: Any) -> Any:
        """The link that it gets."""
        return link_for(transport, self.turns, self.protocol)

    def flush(self, transport: Any) -> None:
        """The reactor finds the socket writable, as long as somebody wants to write."""
        for _ in range(10):
            if transport in self.reactor.writers:
                transport.doWrite()


class ChoiceTests(LinkCase):
    """link_for goes by type: a wrapper looks like a socket, and a direct write through it would be in clear."""

    def test_own_tcp(self) -> None:
        """A TCP connection of which our protocol is the only writer is written to directly."""
        self.assertIs(type(self.link(self.connection())), TcpLink)

    def test_after_start_tls(self) -> None:
        """After startTLS the transport is a tcp.Connection still, and must not be written to directly."""
        transport = self.connection()
        transport.TLS = True
        self.assertIs(type(self.link(transport)), OpaqueLink)

    def test_somebody_between(self) -> None:
        """A transport whose protocol is another one has another writer."""
        self.assertIs(type(self.link(self.connection(Protocol()))), OpaqueLink)

    def test_a_wrapper(self) -> None:
        """A wrapper has the attributes of the socket below, and is no socket."""
        wrapper = ProtocolWrapper(WrappingFactory(Factory()), self.protocol)
        wrapper.makeConnection(self.connection(wrapper))
        self.assertTrue(hasattr(wrapper, "socket"))
        link = self.link(wrapper)
        self.assertIs(type(link), OpaqueLink)
        self.assertFalse(hasattr(link, "socket"))

    def test_tls(self) -> None:
        """TLS is written to through TLS."""
        self.assertIs(type(self.link(self.tls())), TlsLink)

    def test_others(self) -> None:
        """A transport that brings its own link gets that; everything else is opaque."""
        own = HandTransport(self.reactor)
        self.assertIs(self.link(own), own)
        self.assertIs(type(self.link(StringTransport())), OpaqueLink)

    def tls(self) -> Any:
        """TLS over TCP."""
        factory = TLSMemoryBIOFactory(CertificateOptions(), True, Factory.forProtocol(lambda: self.protocol))
        wrapped = factory.buildProtocol(None)
        wrapped.makeConnection(self.connection(wrapped))
        return wrapped

    def test_nothing_in_clear_on_tls(self) -> None:
        """What is written before the handshake is done is not on the wire at all."""
        transport = self.tls()
        self.assertFalse(self.link(transport).write(b"HEAR\0\1\0\2"))
        self.flush(transport.transport)
        self.assertNotIn(b"HEAR", self.sock.sent)
        self.assertNotEqual(self.sock.sent, b"")

    def test_options_under_tls_and_wrappers(self) -> None:
        """TCP_NODELAY is for every TCP connection, TLS or wrapped: beats do not wait for each other's answers."""
        for secure in (True, False):
            self.sock = Sock()
            factory = HeartbeatFactory(HeartbeatConfig(), reactor=self.reactor)
            outer: Any = (
                TLSMemoryBIOFactory(CertificateOptions(), True, factory) if secure else WrappingFactory(factory)
            )
            wrapped = outer.buildProtocol(None)
            wrapped.makeConnection(self.connection(wrapped))
            self.assertEqual(self.sock.options.get(socket.TCP_NODELAY), 1 if kernel.ENABLED else None)
            wrapped.wrappedProtocol.connectionLost(Failure(ConnectionDone()))
            self.reactor.pump([0, 0, 0])
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class TcpLinkTests(LinkCase):
    """Straight to the socket, and in order."""

    def setUp(self) -> None:
        """A TCP link."""
        super().setUp()
        self.transport = self.connection()
        self.tcp = self.link(self.transport)
        self.told: list[str] = []

    def test_direct(self) -> None:
        """What the kernel takes at once is with the kernel, and Twisted has nothing to do."""
        self.assertTrue(self.tcp.write(b"one"))
        self.assertTrue(self.tcp.write(b"two"))
        self.assertEqual(self.sock.sent, b"onetwo")
        self.assertEqual(self.reactor.writers, set())

    def test_in_order(self) -> None:
        """What the kernel takes in part, or not at all, leaves through the transport, and nothing overtakes it."""
        for room in (0, 1, 3, 4):
            self.setUp()
            self.sock.room = room
            self.assertEqual(self.tcp.write(b"first"), False)
            self.sock.room = 100
            self.assertFalse(self.tcp.write(b"second"))
            self.flush(self.transport)
            self.assertEqual(self.sock.sent, b"firstsecond", room)

    def test_pieces_in_order(self) -> None:
        """Several pieces are one write; wherever the kernel stops, nothing is lost, sent twice or overtaken."""
        pieces = [b"one", memoryview(b"two"), b"", b"three", memoryview(b"four")]
        for room in range(17):
            self.setUp()
            self.sock.room = room
            self.assertEqual(self.tcp.write_all(pieces, 15), room >= 15, room)
            self.sock.room = 100
            self.assertEqual(self.tcp.write_all([b"se", b"cond"], 6), room >= 15, room)
            self.flush(self.transport)
            self.assertEqual(self.sock.sent, b"onetwothreefoursecond", room)

    def test_pieces_on_a_dead_socket(self) -> None:
        """An error is the transport's to find out, as of a plain write."""
        self.sock.room = None
        self.assertFalse(self.tcp.write_all([b"one", b"two"], 6))
        self.assertIn(self.transport, self.reactor.writers)

    def test_told_when_empty(self) -> None:
        """Exactly when user space is empty, once; then writes are direct again."""
        self.sock.room = 2
        self.tcp.write(b"first")
        self.tcp.drained(lambda: self.told.append("empty"))
        self.reactor.pump([0, 0, 0])
        self.assertEqual(self.told, [])
        self.sock.room = 2
        self.transport.doWrite()
        self.assertEqual(self.told, [])
        self.sock.room = 100
        self.flush(self.transport)
        self.assertEqual(self.told, ["empty"])
        self.assertTrue(self.tcp.write(b"!"))
        self.assertEqual(self.sock.sent, b"first!")
        self.assertNotIn(self.transport, self.reactor.writers)

    def test_told_on_an_empty_link(self) -> None:
        """A link that is empty already says so in the next poll."""
        self.tcp.drained(lambda: self.told.append("empty"))
        self.assertEqual(self.told, [])
        self.flush(self.transport)
        self.assertEqual(self.told, ["empty"])

    def test_the_slot_is_taken(self) -> None:
        """Where an application has registered its own producer two turns have to do."""
        self.transport.registerProducer(self.protocol, True)
        self.tcp.drained(lambda: self.told.append("empty"))
        self.reactor.pump([0, 0, 0])
        self.assertEqual(self.told, ["empty"])

    def test_a_dead_socket(self) -> None:
        """An error of ``send`` is the transport's to find out; none is raised."""
        self.sock.room = None
        self.assertFalse(self.tcp.write(b"first"))
        self.assertIn(self.transport, self.reactor.writers)

    def test_tls_begins(self) -> None:
        """From startTLS on nothing is written directly, and there is no producer slot below it to use."""
        self.transport.TLS = True
        self.transport.write = written = Recorder()
        self.assertFalse(self.tcp.write(b"HEAR"))
        self.assertEqual((self.sock.sent, written.calls), (b"", [b"HEAR"]))
        self.tcp.drained(lambda: self.told.append("empty"))
        self.reactor.pump([0, 0, 0])
        self.assertEqual(self.told, ["empty"])

    def test_the_end(self) -> None:
        """What can be seen is taken before the descriptor closes; the hook goes then, and Twisted's own is called."""
        lost = Recorder()
        self.protocol.connectionLost = lost  # type: ignore[method-assign,assignment]
        self.assertIn("connectionLost", vars(self.transport))
        self.patch(tcp.Connection, "_closeSocket", lambda *_: None)
        self.transport.connectionLost(Failure(ConnectionLost()))
        self.assertNotIn("connectionLost", vars(self.transport))
        self.assertEqual(len(lost.calls), 1)
        ending = self.tcp.ending(Failure(ConnectionLost()), 7.0)
        self.assertEqual((ending.how, ending.evidence), ("error", Evidence(7.0, reading=True)))


class Recorder:
    """Remembers what it was called with."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __call__(self, *args: Any) -> None:
        """Remember it."""
        self.calls.append(args[0] if args else None)


@implementer(ITransport)
class Bare:
    """The least that a transport can be."""

    def __init__(self) -> None:
        self.write, self.loseConnection = Recorder(), Recorder()


class TlsLinkTests(LinkCase):
    """Through the TLS layer, and on to the kernel in the same call."""

    def setUp(self) -> None:
        """A connection that has shaken hands with the other end, which is TLS on a socket like it."""
        super().setUp()
        issued = trustme.CA().issue_cert("localhost")
        pem = issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
        self.far = Collector()
        ends = (
            (CertificateOptions(), True, self.protocol),
            (PrivateCertificate.loadPEM(pem).options(), False, self.far),
        )
        self.near_tls, self.far_tls = (
            TLSMemoryBIOFactory(options, client, Factory.forProtocol(lambda end=end: end)).buildProtocol(None)
            for options, client, end in ends
        )
        self.raw, self.far_sock = self.connection(self.near_tls), Sock()
        near_sock, self.sock = self.sock, self.far_sock
        self.far_raw = self.connection(self.far_tls)
        self.sock = near_sock
        self.far_tls.makeConnection(self.far_raw)
        self.near_tls.makeConnection(self.raw)
        self.tls = self.link(self.near_tls)
        self.early = self.tls.write(b"early")
        for _ in range(4):
            self.exchange()
        self.tls.drained(lambda: None)  # from here on the transport below is taken over
        self.exchange()

    def exchange(self) -> None:
        """What was sent arrives, both ways."""
        for raw, sock, other in (
            (self.raw, self.sock, self.far_tls),
            (self.far_raw, self.far_sock, self.near_tls),
        ):
            self.flush(raw)
            came, sock.sent = sock.sent, b""
            if came:
                other.dataReceived(came)

    def test_before_the_handshake(self) -> None:
        """What is written too early is with the TLS layer, not with the kernel; it arrives behind the handshake."""
        self.assertFalse(self.early)
        self.assertEqual(b"".join(self.far.came), b"early")

    def test_at_once(self) -> None:
        """The kernel has it when write returns, and nothing waits for a later turn."""
        self.assertTrue(self.tls.write(b"one"))
        self.assertTrue(self.tls.write_all([b"two", memoryview(b"three")], 8))
        self.assertNotIn(self.raw, self.reactor.writers)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertNotIn(b"one", self.sock.sent)
        self.exchange()
        self.assertEqual(b"".join(self.far.came), b"earlyonetwothree")

    def test_told_when_empty(self) -> None:
        """What the kernel does not take waits in the transport, in order; told is exactly when it has all."""
        told: list[str] = []
        self.sock.room = 10
        self.assertFalse(self.tls.write(b"first"))
        self.tls.drained(lambda: told.append("empty"))
        self.raw.doWrite()
        self.reactor.pump([0, 0, 0])
        self.assertEqual(told, [])
        self.sock.room = 10_000
        self.flush(self.raw)
        self.assertEqual(told, ["empty"])
        self.assertTrue(self.tls.write(b"second"))
        self.exchange()
        self.assertEqual(b"".join(self.far.came), b"earlyfirstsecond")

    def test_a_record_for_each_frame(self) -> None:
        """Frames of 16 KiB fill records of TLS, each for itself: the other end gets them one by one and whole."""
        frames = [b"header 1", memoryview(bytes(RECORD - 8)), b"header 2", memoryview(bytes(RECORD - 8)), b"end"]
        self.sock.room = 1_000_000
        self.tls.write_all(frames, 2 * RECORD + 3)
        self.exchange()
        self.assertEqual([len(one) for one in self.far.came[1:]], [RECORD, RECORD, 3])

    def test_a_dead_socket(self) -> None:
        """An error is for the reactor to find, behind the next poll; the transport still wants to write."""
        self.sock.room = None
        self.assertFalse(self.tls.write(b"one"))
        self.assertIn(self.raw, self.reactor.writers)

    def test_a_transport_that_is_closing(self) -> None:
        """What closes it is the reactor's to do: we do not take its turn."""
        self.near_tls.loseConnection()
        self.raw.loseConnection()
        self.assertFalse(self.tls.write(b"one"))
        self.assertTrue(self.raw.disconnecting)


class Collector(Protocol):
    """Keeps each piece."""

    def __init__(self) -> None:
        self.came: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.came.append(data)


class OpaqueLinkTests(LinkCase):
    """Any other transport."""

    def test_written_and_told_two_turns_later(self) -> None:
        """Writes are in order; two turns later the kernel probably has them, which is a guess and called so."""
        link = self.link(transport := Bare())
        told: list[int] = []
        self.assertFalse(link.write(b"one"))
        link.drained(lambda: told.append(1))
        self.assertEqual((transport.write.calls, told, link.exact), ([b"one"], [], False))
        self.reactor.pump([0, 0, 0])
        self.assertEqual(told, [1])

    def test_pieces(self) -> None:
        """They are one write; nobody knows what the kernel has."""
        link = self.link(transport := Bare())
        self.assertFalse(link.write_all([b"one", memoryview(b"two")], 6))
        self.assertEqual((transport.write.calls, link.unsent()), ([b"onetwo"], None))

    def test_the_least_transport(self) -> None:
        """A transport that can neither pause nor abort is closed instead of aborted, once."""
        link = self.link(transport := Bare())
        link.pause()
        self.assertEqual(link.look(1.0), Evidence(1.0, reading=False))
        link.resume()
        self.assertEqual((link.look(1.0), link.arrived_at(1.0)), (Evidence(1.0, reading=True), None))
        link.abort()
        link.abort()
        self.assertEqual(len(transport.loseConnection.calls), 1)

    def test_abort_once(self) -> None:
        """A second abort of a TLS transport raises, so there is none."""
        link = self.link(transport := StringTransport())
        transport.abortConnection = aborted = Recorder()  # type: ignore[method-assign]
        link.abort()
        link.abort()
        self.assertEqual(len(aborted.calls), 1)

    def test_endings(self) -> None:
        """A clean end is one; an abort is ours, whatever it is reported as; anything else is not known."""
        reasons = {ConnectionDone: "eof", ConnectionLost: "error", ConnectionAborted: "aborted", ValueError: "error"}
        for reason, how in reasons.items():
            self.assertEqual(self.link(Bare()).ending(Failure(reason()), 1.0).how, how)
        link = self.link(Bare())
        link.abort()
        self.assertEqual(link.ending(Failure(ConnectionDone()), 1.0).how, "aborted")


class GoneTests(SynchronousTestCase):
    """What stands in the place of a link that has ended."""

    def test_it_does_nothing(self) -> None:
        """All calls are harmless: handles are kept longer than connections."""
        told: list[int] = []
        self.assertTrue(GONE.write(b"x") and GONE.write_all([b"x"], 1))
        self.assertIsNone(GONE.unsent())
        GONE.drained(lambda: told.append(1))
        for call in (GONE.pause, GONE.resume, GONE.close, GONE.abort):
            call()
        self.assertEqual((told, GONE.look(2.0), GONE.arrived_at(2.0)), ([], Evidence(2.0), None))
        self.assertEqual(GONE.ending(Failure(ConnectionLost()), 2.0).how, "aborted")
