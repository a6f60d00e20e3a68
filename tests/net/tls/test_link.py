"""The link of TLS: everything encrypted, everything in order whoever wrote it, and nothing left behind."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from heartbeat.net.link import OpaqueLink
from heartbeat.net.tls.certificates import Certificates
from heartbeat.net.tls.endpoints import ServerCheck
from heartbeat.net.tls.link import RECORD, TlsLink
from tests.net.test_link import LinkCase
from tests.net.tls.cases import pem

PING = b"HEAR\0\1\0\2"


class Reader(Protocol):
    """Keeps what it reads."""

    def __init__(self) -> None:
        self.read = b""

    def dataReceived(self, data: bytes) -> None:
        """More."""
        self.read += data


class Sparing:
    """An OpenSSL connection that takes little at once, and one of its calls not at all."""

    def __init__(self, handle: Any, *, takes: int, refuses: int = 0, wrong: Exception | None = None) -> None:
        self.handle = handle
        self.takes = takes
        self.calls = iter(range(1, 1_000_000))
        self.refuses = refuses
        self.wrong = wrong
        self.bio_read = handle.bio_read

    def send(self, data: bytes) -> int:
        """Some of it."""
        if next(self.calls) == self.refuses and self.wrong is not None:
            raise self.wrong
        taken: int = self.handle.send(data[: self.takes])
        return taken


class TlsLinkCase(LinkCase):
    """A client on Twisted's own TCP transport, whose socket is none, and a server in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor.rightNow = 1.8e9
        self.sock.room = 100_000
        self.sock.shutdown = self.sock.close = lambda *_: None  # type: ignore[attr-defined]
        server = self.certificates(pem("localhost", trusts=None))
        check = ServerCheck(self.certificates(pem()), "localhost")
        self.reader = Reader()
        self.far = TLSMemoryBIOFactory(server, False, Factory.forProtocol(lambda: self.reader), self.reactor)
        self.near = TLSMemoryBIOFactory(check, True, Factory.forProtocol(lambda: self.protocol), self.reactor)
        self.raw: Any = None

    def certificates(self, given: Any) -> Certificates:
        """Loaded."""
        held = Certificates(lambda: given, reactor=self.reactor)
        self.successResultOf(held.ready())
        return held

    def start(self) -> TlsLink:
        """Connected, not shaken: the link of our protocol."""
        self.server = self.far.buildProtocol(None)  # type: ignore[arg-type]  # nobody looks at it
        self.wire = StringTransport()
        self.server.makeConnection(self.wire)
        self.tls = self.near.buildProtocol(None)  # type: ignore[arg-type]  # nobody looks at it
        links: list[Any] = []
        self.protocol.connectionMade = lambda: links.append(self.link(self.tls))  # type: ignore[method-assign]
        self.raw = self.connection(self.tls)
        self.raw.startReading = self.raw.stopReading = lambda: None
        self.tls.makeConnection(self.raw)
        self.assertIs(type(links[0]), TlsLink)
        return links[0]

    def carry(self) -> None:
        """Everything that the kernel took reaches the server, and its answers us."""
        while self.sock.sent or self.wire.value():
            self.flush(self.raw)
            sent, self.sock.sent = self.sock.sent, b""
            if sent:
                self.server.dataReceived(sent)
            came = self.wire.value()
            self.wire.clear()
            if came:
                self.tls.dataReceived(came)
        self.reactor.advance(0)

    def shaken(self) -> TlsLink:
        """Connected and shaken; what was written first has reached the kernel, and the transport is taken over."""
        link = self.start()
        self.flush(self.raw)
        self.carry()
        self.assertNotIn("write", vars(self.raw))
        self.assertFalse(link.write(b"first"))
        link.drained(lambda: None)
        self.flush(self.raw)
        self.carry()
        self.assertEqual(self.reader.read, b"first")
        self.reader.read = b""
        return link


class WriteTests(TlsLinkCase):
    """Past the gathering, straight to the socket."""

    def test_at_once(self) -> None:
        """What is written is with the kernel when ``write`` returns, encrypted; no delayed call was made for it."""
        link = self.shaken()
        self.assertTrue(link.exact)
        self.assertTrue(link.write(PING))
        self.assertNotIn(PING[:4], self.sock.sent)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.carry()
        self.assertEqual(self.reader.read, PING)

    def test_before_the_handshake(self) -> None:
        """... is not: it waits for the handshake, and is then the first."""
        link = self.start()
        self.assertFalse(link.write(PING))
        told: list[str] = []
        link.drained(lambda: told.append("empty"))
        self.flush(self.raw)
        self.carry()
        self.flush(self.raw)
        self.carry()
        self.assertEqual((self.reader.read, told), (PING, ["empty"]))
        self.assertTrue(link.write(PING))

    def test_only_looking(self) -> None:
        """A link that is never written to takes nothing over: its protocol writes for itself."""
        link = self.start()
        self.flush(self.raw)
        self.carry()
        self.assertIsNotNone(link.look(1.0))
        self.tls.write(PING)
        self.reactor.advance(0)
        self.flush(self.raw)
        self.carry()
        self.assertEqual(self.reader.read, PING)
        self.assertNotIn("write", vars(self.raw))

    def test_a_producer_of_somebody_else(self) -> None:
        """Whoever has a producer on the transport below is not disturbed: hand-over is guessed."""
        link = self.start()
        self.flush(self.raw)
        self.carry()
        self.raw.producer = object()
        self.assertFalse(link.write(PING))
        told: list[str] = []
        link.drained(lambda: told.append("empty"))
        for _ in range(6):
            self.reactor.advance(0)
        self.assertEqual(told, ["empty"])
        self.assertNotIn("write", vars(self.raw))
        self.raw.producer = None

    def test_a_full_buffer(self) -> None:
        """What the kernel does not take waits in user space, what comes then waits behind it, and all is told once."""
        link = self.shaken()
        self.sock.room = 10
        told: list[str] = []
        written = [bytes([65 + number]) * 8 for number in range(20)]
        self.assertFalse(link.write(written[0]))
        link.drained(lambda: told.append("empty"))
        self.sock.room = 100_000
        for one in written[1:]:
            self.assertFalse(link.write(one))
        self.assertEqual(told, [])
        self.flush(self.raw)
        self.assertEqual(told, ["empty"])
        self.assertTrue(link.write(b"the end!"))
        self.carry()
        self.assertEqual(self.reader.read, b"".join(written) + b"the end!")

    def test_between_writes_of_the_layer_itself(self) -> None:
        """What TLS itself says is in its place: behind what waits, and before what comes."""
        link = self.shaken()
        self.sock.room = 0
        self.assertFalse(link.write(b"one"))
        self.sock.room = 100_000
        self.tls.transport.write(b"")  # nothing
        handle = self.tls.getHandle()
        handle.send(b"two")  # as an answer of TLS to the peer would: it is in the layer, and flushed with what it reads
        self.tls._flushSendBIO()
        self.assertFalse(link.write(b"three"))
        self.flush(self.raw)
        self.carry()
        self.assertEqual(self.reader.read, b"onetwothree")

    def test_much(self) -> None:
        """More than a record is several, sent together; they arrive whole and in order, whatever room is there."""
        link = self.shaken()
        data = bytes(range(256)) * 300
        self.sock.room = None
        for room in (200_000, 5000, 0):
            self.sock.room = room
            self.reader.read = b""
            took = link.write(data)
            self.assertEqual(took, room > len(data) + 1000)
            self.sock.room = 200_000
            if not took:
                link.drained(lambda: None)
            self.flush(self.raw)
            self.carry()
            self.assertEqual(self.reader.read, data)
        self.assertGreater(len(data), 4 * RECORD)

    def test_smaller_records(self) -> None:
        """Where OpenSSL takes less at once than was given, the rest follows, in order."""
        link = self.shaken()
        link._cipher = Sparing(self.tls.getHandle(), takes=1000)  # type: ignore[assignment]
        data = bytes(range(256)) * 100
        self.assertTrue(link.write(data))
        self.carry()
        self.assertEqual(self.reader.read, data)

    def test_what_openssl_does_not_take(self) -> None:
        """... is for the TLS layer, which knows what to do, and in its place; what was encrypted before leaves, too."""
        for wrong in (SSL.WantReadError(), SSL.Error([])):
            self.sock.room = 200_000
            self.reader.read = b""
            link = self.shaken()
            link._cipher = Sparing(self.tls.getHandle(), takes=RECORD, refuses=2, wrong=wrong)  # type: ignore[assignment]
            data = bytes(range(256)) * 256
            self.assertTrue(link.write(data))
            self.assertTrue(link.write(PING))
            self.carry()
            self.assertEqual(self.reader.read, data + PING)

    def test_after_the_farewell(self) -> None:
        """What is written then is dropped, as the TLS layer drops it."""
        link = self.shaken()
        link.close()
        self.carry()
        sent = self.sock.sent
        link.write(PING)
        self.assertEqual(self.sock.sent, sent)

    def test_a_dead_socket(self) -> None:
        """A write that fails is not with the kernel; the transport finds out by itself."""
        link = self.shaken()
        self.sock.room = None
        self.assertFalse(link.write(PING))


class EndTests(TlsLinkCase):
    """How it ends."""

    def test_nothing_is_left_behind(self) -> None:
        """What we put into the place of the transport's methods is gone with the connection."""
        link = self.shaken()
        raw = self.raw
        self.assertIn("write", vars(raw))
        reason = Failure(ConnectionLost())
        raw.protocol = Protocol()  # the TLS layer is told below, by hand
        raw.connectionLost(reason)
        self.assertEqual({"write", "connectionLost"} & set(vars(raw)), set())
        self.assertEqual(link.ending(reason, 1.0).how, "error")

    def test_close(self) -> None:
        """TLS's farewell and FIN, without waiting for the peer's."""
        link = self.shaken()
        link.write(PING)
        link.close()
        self.flush(self.raw)
        sent, self.sock.sent = self.sock.sent, b""
        self.server.dataReceived(sent)
        self.assertEqual(self.reader.read, PING)
        self.assertTrue(self.raw.disconnecting or not self.raw.connected)
        self.assertTrue(self.wire.disconnecting)  # it has read the farewell

    def test_abort(self) -> None:
        """Twice is once; and it is our own doing."""
        link = self.shaken()
        self.raw.abortConnection = lambda: None
        link.abort()
        link.abort()
        self.assertEqual(link.ending(Failure(ConnectionAborted()), 1.0).how, "aborted")


class OthersTests(TlsLinkCase):
    """Where we are not the only writer."""

    def test_somebody_between(self) -> None:
        """A wrapper between the TLS layer and us may write, too: then the layer gathers, and nothing is replaced."""
        inner = Protocol()
        wrapper = ProtocolWrapper(WrappingFactory(Factory()), inner)
        self.near.wrappedFactory.buildProtocol = lambda addr: wrapper  # type: ignore[method-assign,return-value]
        link = self.start_between(inner)
        self.assertFalse(link.write(PING))
        self.assertFalse(link.exact)
        self.assertNotIn("write", vars(self.raw))

    def start_between(self, inner: Any) -> Any:
        """The link that a protocol behind another one would get for this TLS layer."""
        tls: Any = self.near.buildProtocol(None)  # type: ignore[arg-type]  # nobody looks at it
        self.raw = self.connection(tls)
        self.raw.startReading = lambda: None
        tls.makeConnection(self.raw)
        self.tls = tls
        self.addCleanup(self.reactor.advance, 0)
        return TlsLink(tls, self.turns, inner)

    def test_over_what_is_no_tcp(self) -> None:
        """TLS over anything else is written to through the layer, and shows nothing but whether we read."""
        tls: Any = self.near.buildProtocol(None)  # type: ignore[arg-type]  # nobody looks at it
        tls.makeConnection(StringTransport())
        link = TlsLink(tls, self.turns, self.protocol)
        self.assertFalse(link.write(PING))
        self.assertIsNone(link.arrived_at(1.0))
        self.assertIsNone(link.look(1.0).tcp)
        self.assertEqual(link.ending(Failure(ConnectionDone()), 1.0).how, "eof")
        self.assertIsInstance(link, OpaqueLink)
        self.reactor.advance(0)
