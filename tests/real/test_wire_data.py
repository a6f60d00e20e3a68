"""Wrapped processes, a server and clients, against the independent peer: DATA, WINDOW, ends, and what may not come.

wire.md §2, §4, §6, §7.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import ssl
import struct
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.real.processes import _Process, poll
from tests.real.rawdata import DataPeer
from tests.real.rawpeer import ACK, DATA, HELLO, PING, WINDOW, framed, hello, short

#: The credit of either end.
CREDIT: Final = 65_536
#: The terms of a peer that is asked now and then, and not judged within a test.
TERMS: Final = {"want_ping_ms": 60_000, "min_rx_ms": 100}
STRING: Final = f"heartbeat:tcp:0:interface=127.0.0.1:beatInterval=0.2:beatMaxData={CREDIT}"
#: What an end that does not know of frames is told.
PLAIN_WORDS: Final = "this port speaks txheartbeat frames"


@functools.cache
def server() -> tuple[_Process, int]:
    """The process, and where it listens; it runs until the tests end."""
    process = _Process("listen", STRING, module="tests.real.wrappedend")
    return process, int(process.find(r'"listening", "port": (\d+)')[1])


class DataCase(SynchronousTestCase):
    """One connection per test, and what the application at the other end tells of it."""

    def setUp(self) -> None:
        """The server; it complains of nothing."""
        self.process, self.port = server()
        self.since = len(self.process.lines)
        self.addCleanup(lambda: self.assertEqual(self.process.complaints(), []))
        self.addCleanup(lambda: poll(self.quiet, 5.0, "all applications have ended"))

    def quiet(self) -> bool:
        """Whether each application that was made has been told the end."""
        return len(self.told("made")) == len(self.told("lost"))

    def connect(self) -> DataPeer:
        """A connection; closed after the test."""
        peer = DataPeer(socket.create_connection(("127.0.0.1", self.port), 5.0))
        self.addCleanup(peer.close)
        return peer

    def entered(self, order: str, **members: Any) -> DataPeer:
        """A connection behind its gate, whose application has its order."""
        peer = self.connect()
        peer.enter(CREDIT, **{**TERMS, **members})
        peer.say(order.encode() + b"\n")
        poll(lambda: self.told("order"), 3.0, "its order")  # alone: what is read with it is delivered with it
        return peer

    def told(self, what: str) -> list[dict[str, Any]]:
        """What the application has told of this kind."""
        lines = [json.loads(line) for line in self.process.lines[self.since :] if line.startswith("{")]
        return [line for line in lines if line["what"] == what]

    def lost(self) -> dict[str, Any]:
        """How the application was told the end."""
        return poll(lambda: self.told("lost"), 3.0, "the application was told the end")[0]

    def violated(self, peer: DataPeer, words: str) -> None:
        """The peer gets BYE 2 with these words, and the application the cause, as a ``ConnectionLost``."""
        farewell = peer.farewell()
        self.assertEqual(farewell.code, 2, farewell)
        self.assertIn(words, farewell.reason)
        lost = self.lost()
        self.assertEqual(lost["cause"], "protocol_error")
        self.assertTrue({"PeerUnresponsive", "ConnectionLost"} <= set(lost["classes"]), lost)


class CreditTests(DataCase):
    """DATA and WINDOW as they should be."""

    def test_an_echo(self) -> None:
        """Four times the credit, there and back: each end gives credit as it takes, and beats go on beside it."""
        peer = self.entered("echo")
        data = os.urandom(CREDIT // 2)
        for times in range(1, 9):
            peer.say(data)
            self.assertEqual(peer.heard(times * len(data))[-len(data) :], data)
            peer.give(len(data))
        peer.ping(7, 7)
        self.assertTrue(all(window <= CREDIT // 2 for window in peer.windows), peer.windows)
        self.assertGreaterEqual(sum(peer.windows), 7 * len(data) - CREDIT // 2)

    def test_our_credit_is_kept(self) -> None:
        """Of a megabyte exactly our credit comes, and beats; each WINDOW brings as much again, to the byte."""
        peer = self.entered(f"give {2**20}")
        frames = peer.during(0.8)
        self.assertEqual((len(peer.received), peer.given), (CREDIT, 0))
        self.assertGreaterEqual(sum(frame.magic == PING for frame in frames), 2)
        for count in (1, 16_385, 100_000):
            peer.give(count)
            before = len(peer.received)
            peer.during(0.2)
            self.assertEqual((len(peer.received) - before, peer.given), (count, 0))
        peer.ping()
        peer.give(2**20)
        self.assertEqual(peer.heard(2**20), bytes(range(256)) * 4096)

    def test_an_application_that_does_not_read(self) -> None:
        """It takes the credit and gives none back; the connection is read on, PINGs are answered; then all arrives."""
        peer = self.entered("hold 1.2")
        for offset in range(0, CREDIT - 8, 8192):
            peer.send(framed(DATA, bytes(min(8192, CREDIT - len("hold 1.2\n") - offset))))
        peer.send(short(PING, 1, 2))
        frames = peer.during(0.8)
        self.assertEqual([frame.word for frame in frames if frame.magic == ACK], [0x0001_0002])
        self.assertEqual(peer.windows, [])
        self.assertEqual(self.told("got"), [])
        while not peer.windows:
            peer.take()
        whole = {"what": "got", "bytes": CREDIT - len("hold 1.2\n")}
        poll(lambda: whole in self.told("got"), 3.0, "all of it is there")

    def test_bytewise(self) -> None:
        """However the stream is cut."""
        peer = self.entered("echo")
        peer.send_bytewise(framed(DATA, b"ab") + short(WINDOW, 10) + framed(DATA, b"c"))
        self.assertEqual(peer.heard(3), b"abc")


class EndTests(DataCase):
    """The end of a stream, and of the connection."""

    def test_half_close(self) -> None:
        """DATA of length 0 needs no credit and ends one direction; the other goes on, beats too; then BYE 0."""
        peer = self.entered(f"give {3 * CREDIT}")
        peer.during(0.2)
        peer.say(b"")
        peer.send(framed(DATA, b""))
        poll(lambda: self.told("read over"), 3.0, "the application was told")
        peer.ping()
        self.assertFalse(peer.ended)
        peer.give(3 * CREDIT)
        peer.heard(3 * CREDIT)
        while not peer.ended:
            peer.take()
        self.assertEqual(peer.farewell().code, 0)
        lost = self.lost()
        self.assertTrue({"PeerLeft", "ConnectionDone"} <= set(lost["classes"]), lost)

    def test_bye(self) -> None:
        """BYE 0 behind DATA: the application gets all of it, and a ``ConnectionDone``."""
        peer = self.entered("count")
        peer.send(framed(DATA, b"x" * 1000) + b"HBYE" + struct.pack("!HH", 0, 3) + b"bye")
        self.assertEqual(self.lost()["detail"], "leaving")
        self.assertEqual(self.told("got")[-1]["bytes"], 1000)


class ViolationTests(DataCase):
    """What may not come: BYE 2, and the application is told the cause."""

    def test_garbage(self) -> None:
        """No frame at all, behind frames that were."""
        peer = self.entered("count")
        peer.send(b"GET / HTTP/1.1\r\n\r\n")
        self.violated(peer, PLAIN_WORDS)

    def test_beyond_the_credit(self) -> None:
        """One byte too many, refused at its header: the body is not waited for."""
        peer = self.entered("hold 30")
        left = CREDIT - len("hold 30\n")
        peer.send(framed(DATA, bytes(left)))
        peer.send(framed(DATA, b"", length=1))
        self.violated(peer, "may stand here")

    def test_more_than_was_ever_given(self) -> None:
        """A length beyond all credit in the first frame."""
        peer = self.connect()
        peer.enter(CREDIT, **TERMS)
        peer.send(framed(DATA, b"", length=CREDIT + 1))
        self.violated(peer, "may stand here")

    def test_after_the_end_of_the_stream(self) -> None:
        """DATA, or its end again."""
        for again in (b"more", b""):
            poll(self.quiet, 5.0, "the one before has ended")
            self.since = len(self.process.lines)
            peer = self.entered("count")
            peer.send(framed(DATA, b"") + framed(DATA, again))
            self.violated(peer, "end of the stream")

    def test_windows(self) -> None:
        """Of nothing, and of more than may be."""
        for count in (0, 2**31 - 1):
            poll(self.quiet, 5.0, "the one before has ended")
            self.since = len(self.process.lines)
            peer = self.entered("count")
            peer.send(short(WINDOW, count))
            self.violated(peer, "WINDOW")

    def test_no_such_capability(self) -> None:
        """A peer without ``data`` cannot have an application here: refused before its gate, and no application made."""
        peer = self.connect()
        peer.send(framed(HELLO, json.dumps({"v": 1, "caps": ["state"]}).encode()))
        farewell = peer.farewell()
        self.assertEqual((farewell.code, farewell.before), (2, []), farewell)
        self.assertEqual(self.told("made"), [])


class StrangerTests(DataCase):
    """Clients that do not know of frames, on a framed port."""

    def words(self, said: bytes, *, waits: bool = False) -> bytes:
        """What a client that says this gets: so much of it that it can close, or all until the other end closes."""
        with socket.create_connection(("127.0.0.1", self.port), 5.0) as sock:
            sock.sendall(said)
            got = b""
            with contextlib.suppress(ConnectionResetError):  # after a second, as §6 has it
                while (waits or PLAIN_WORDS.encode() not in got) and (data := sock.recv(4096)):
                    got += data
        self.assertEqual(self.told("made"), [])
        return got

    def test_a_request(self) -> None:
        """HTTP: whoever looks at the raw answer can read why."""
        got = self.words(b"GET / HTTP/1.1\r\nHost: site\r\n\r\n", waits=True)
        self.assertEqual((got[:4], got[4:6]), (b"HBYE", b"\0\2"))
        self.assertIn(PLAIN_WORDS, got[8:].decode())

    def test_a_line(self) -> None:
        """A line of text, shorter than any frame's header, too."""
        for said in (b"EHLO client.example\r\n", b"QUIT\r\n", b"\n"):
            self.assertIn(PLAIN_WORDS, self.words(said)[8:].decode())

    def test_tls(self) -> None:
        """A ClientHello."""
        context = ssl.create_default_context()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        shaking = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        self.assertRaises(ssl.SSLWantReadError, shaking.do_handshake)
        self.assertIn(PLAIN_WORDS, self.words(outgoing.read())[8:].decode())


class ConnectorTests(DataCase):
    """A wrapped client, which finds the independent peer at the other end."""

    def setUp(self) -> None:
        """Listen, and start a client."""
        acceptor = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(acceptor.close)
        string = f"heartbeat:tcp:127.0.0.1:{acceptor.getsockname()[1]}:beatInterval=0.2:beatMaxData={CREDIT}"
        self.process = _Process("connect", string, module="tests.real.wrappedend")
        self.addCleanup(lambda: self.assertEqual(self.process.complaints(), []))
        self.addCleanup(self.process.kill)
        self.since = 0
        acceptor.settimeout(30.0)
        self.peer = DataPeer(acceptor.accept()[0])
        self.addCleanup(self.peer.close)

    def refused(self) -> dict[str, Any]:
        """How whoever connected was told."""
        told = poll(lambda: self.told("refused"), 5.0, "the client was told")[0]
        self.assertEqual(self.told("made"), [])
        self.assertTrue({"PeerRefused", "ConnectionLost"} <= set(told["classes"]), told)
        return told

    def test_a_conversation(self) -> None:
        """The same HELLO, credit both ways, half-close, and BYE 0."""
        said = self.peer.welcome(CREDIT, **TERMS)
        self.assertEqual((said["max_data"], said.get("id")), (CREDIT, None))
        self.peer.say(f"give {2 * CREDIT}\n".encode())
        self.peer.during(0.5)
        self.assertEqual((len(self.peer.received), self.peer.given), (CREDIT, 0))
        self.peer.give(CREDIT + 5)
        self.peer.heard(2 * CREDIT)
        self.peer.say(b"there")
        self.assertEqual(self.peer.heard(2 * CREDIT + 5)[-5:], b"there")
        self.peer.send(framed(DATA, b""))
        while not self.peer.ended:
            self.peer.take()
        self.assertEqual(self.peer.farewell().code, 0)
        self.assertEqual(self.lost()["detail"], "leaving")

    def test_beyond_the_credit(self) -> None:
        """BYE 2, and the application has the cause."""
        self.peer.welcome(CREDIT, **TERMS)
        self.peer.say(b"hold 30\n")
        poll(lambda: self.told("order"), 3.0, "there is an application")
        self.peer.send(framed(DATA, b"", length=CREDIT))
        self.violated(self.peer, "may stand here")

    def test_a_server_without_frames(self) -> None:
        """One that answers as HTTP servers do: nobody is connected, and the reason is readable."""
        self.peer.frame()
        self.peer.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        self.assertEqual(self.peer.farewell().code, 2)
        told = self.refused()
        self.assertEqual((told["cause"], told["reason"]), ("protocol_error", PLAIN_WORDS))

    def test_a_server_without_data(self) -> None:
        """An acceptor that has frames, and no application behind them."""
        self.peer.frame()
        self.peer.send(hello(caps=["state"], agreed={"ping_ms": 200, "detect_ms": 600}))
        self.assertEqual(self.peer.farewell().code, 2)
        self.assertEqual(self.refused()["cause"], "protocol_error")
