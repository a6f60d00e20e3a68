"""The server process against the independent peer: sizes, floods, connection limits, and a BYE that always arrives.

wire.md §1, §2, §4, §6.
"""

from __future__ import annotations

import contextlib
import re
import select
import struct
import threading
import time

from tests.real.cases import QUIET, ServerTestCase
from tests.real.processes import poll
from tests.real.rawpeer import (
    ACK,
    BYE,
    HELLO,
    PING,
    STALLED,
    STATE,
    SYNC,
    Ended,
    Farewell,
    RawPeer,
    framed,
    hello,
    short,
    sync,
)

_UNKNOWN = b"HEAX" + bytes(4)
_PILE = 131_072  # PINGs in one MB


def pings(count: int) -> bytes:
    """So many PINGs, numbered from 0, their ts the higher half of a counter."""
    return b"".join(short(PING, number % 65_536, number >> 16) for number in range(count))


def numbers(farewell: Farewell) -> list[int]:
    """What the ACKs before the BYE answered, as :func:`pings` counted."""
    return [frame.low << 16 | frame.seq for frame in farewell.before if frame.magic == ACK]


class SizeTests(ServerTestCase):
    """Lengths, refused at the header."""

    def test_refused_at_the_header(self) -> None:
        """A length over its limit gets BYE 2 before a byte of the body came."""
        asked = sync(1, ["size"])
        for what, data, members in [
            ("HELLO of 8 KiB and 1", framed(HELLO, b"", 8193), None),
            ("HELLO of 4 GiB", framed(HELLO, b"", 2**32 - 1), None),
            ("STATE of 64 KiB and 1", asked + framed(STATE, b"", 65_537), {"caps": ["state"]}),
            ("STATE of 4 GiB", asked + framed(STATE, b"", 2**32 - 1), {"caps": ["state"]}),
            ("BYE of 257", BYE + struct.pack("!HH", 0, 257), {}),
            ("BYE of 257 first", BYE + struct.pack("!HH", 0, 257), None),
            ("CONFIRM of 4 KiB and 1", framed(b"HCFM", b"", 4097), None),
            ("STATE before the gate", framed(STATE, b"", 9000), None),
        ]:
            self.refused(data, 2, what, members)

    def test_reason_of_bye(self) -> None:
        """The reason of a BYE is UTF-8: 256 bytes of it are taken, others are a violation."""
        name = self.fresh()
        peer, _ = self.greeted(id=name)
        peer.send(BYE + struct.pack("!HH", 0, 256) + "é".encode() * 128)
        self.assertEqual(peer.until_end()[1], "fin")
        self.server.in_state(name, "left")
        self.refused(BYE + struct.pack("!HH", 0, 2) + b"\xc3\x28", 2, "a reason that is no UTF-8", {})


class FloodTests(ServerTestCase):
    """Flood control with 1024 tokens, ten more a second (the default of 0.1 s), wire.md §2."""

    def test_honest_burst(self) -> None:
        """1000 PINGs at once are answered, all of them."""
        peer, _ = self.greeted()
        peer.send(pings(1000))
        self.assertEqual([peer.expect(ACK).seq for _ in range(1000)], list(range(1000)))
        peer.ping()

    def test_one_strike(self) -> None:
        """The first time that the store is empty gives 512 tokens back, and nothing is dropped."""
        peer, _ = self.greeted()
        peer.send(pings(1400))
        self.assertEqual([peer.expect(ACK).seq for _ in range(1400)], list(range(1400)))
        peer.ping()

    def test_two_strikes(self) -> None:
        """The second time within a minute is BYE 9: behind 1024 and 512 frames and what was gained meanwhile."""
        name, begun = self.fresh(), time.monotonic()
        farewell = self.refused(pings(3000), 9, "3000 PINGs", {"id": name})
        answered = numbers(farewell)
        self.assertEqual(answered, list(range(len(answered))))
        self.assertTrue(1530 <= len(answered) <= 1540 + 10 * (time.monotonic() - begun), len(answered))
        failure = self.server.failure(name)
        self.assertEqual((failure["failure_reason"], failure["phase"]), ("ping_flood", "live"))

    def test_every_frame_costs(self) -> None:
        """Answers that match nothing, STALLED and SYNC cost as a PING does; a bare peer pays, too."""
        members = {"caps": ["stalled"]}
        for what, frame in [("ACK", short(ACK, 1, 1)), ("STALLED", short(STALLED, 1)), ("SYNC", sync(1))]:
            self.refused(frame * 1700, 9, what, members)
        self.refused(pings(1700), 9, "a bare peer")


class UnlimitedTests(ServerTestCase):
    """A server without flood control."""

    options = ("--ping-interval", "0.5", "--min-interval", "0")

    def test_no_flood_control(self) -> None:
        """min_rx_ms is 0: the terms are the sender's wish alone, and any number of PINGs is answered."""
        peer, answer = self.greeted(want_ping_ms=100)
        self.assertEqual((answer["min_rx_ms"], answer["agreed"]), (0, {"ping_ms": 100, "detect_ms": 300}))
        peer.send(pings(8000))
        self.assertEqual([peer.expect(ACK).seq for _ in range(8000)], list(range(8000)))

    def flood(self, peer: RawPeer, data: bytes) -> None:
        """Send all of it from a thread of its own, since nobody reads meanwhile, and wait a while for that."""

        def run() -> None:
            with contextlib.suppress(OSError):  # the server ends the connection while this end still sends
                peer.send(data)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 10.0)
        thread.join(1.0)

    def test_bye_behind_a_megabyte(self) -> None:
        """1 MB of PINGs and a violation, sent without reading: all ACKs are there in order, and BYE 2 behind them."""
        peer, _ = self.greeted()
        self.flood(peer, pings(_PILE) + _UNKNOWN)
        farewell = peer.farewell(10.0)
        self.assertEqual(farewell.code, 2)
        self.assertEqual(numbers(farewell), list(range(_PILE)))

    def test_bye_before_a_megabyte(self) -> None:
        """A violation with 1 MB of unread input behind it: the BYE arrives all the same, behind the ACKs due."""
        for greeted in (False, True):
            peer = self.connect()
            if greeted:
                peer.greet(**QUIET)
            self.flood(peer, pings(10) + _UNKNOWN + bytes(1_000_000))
            farewell = peer.farewell()
            self.assertEqual(farewell.code, 2)
            self.assertEqual(numbers(farewell), list(range(10)))

    def test_bye_and_no_close(self) -> None:
        """The sender of a BYE reads on for at most 1 s, and then aborts."""
        peer, _ = self.greeted()
        peer.send(_UNKNOWN)
        bye = peer.frame()
        self.assertEqual(bye.magic, BYE)
        while time.monotonic() < bye.at + 0.5:  # what comes meanwhile is discarded, not answered and not reset
            peer.send(short(PING, 1, 1))
            time.sleep(0.05)
        frames, _ = peer.until_end(1.5)
        self.assertEqual(frames, [])
        self.assertLess(time.monotonic() - bye.at, 1.6)

    def fill(self, peer: RawPeer) -> tuple[int, bytes]:
        """Send PINGs without reading until the server has taken nothing for 0.5 s.

        How many were begun, and the rest of the last of them.
        """
        data = memoryview(pings(_PILE) * 16)
        peer.sock.setblocking(False)
        sent, moved = 0, time.monotonic()
        while sent < len(data) and time.monotonic() < moved + 0.5:
            try:
                sent += peer.sock.send(data[sent : sent + 65_536])
                moved = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
        self.assertLess(sent, len(data), "the server took everything")
        whole = -sent % 8
        peer.sock.setblocking(True)
        return (sent + whole) // 8, bytes(data[sent : sent + whole])

    def test_peer_that_does_not_read(self) -> None:
        """ACKs that pile up for D end the connection, peer_not_reading; no other peer notices."""
        name = self.fresh()
        peer = self.connect(buffers=8192)
        peer.greet(id=name, want_ping_ms=500, min_rx_ms=60_000)
        other, _ = self.greeted(id=self.fresh())
        begun = time.monotonic()
        self.fill(peer)
        filled = time.monotonic()
        ended = select.poll()
        ended.register(peer.sock, 0)
        slowest = 0.0
        while not ended.poll(20):
            self.assertLess(time.monotonic() - filled, 4.0, "it is still open")
            asked = time.monotonic()
            other.ping()
            slowest = max(slowest, time.monotonic() - asked)
        self.assertGreater(time.monotonic() - begun, 1.4, "D is 1.5 s")
        self.assertLess(slowest, 0.5)
        self.assertEqual(self.server.failure(name)["failure_reason"], "peer_not_reading")
        other.ping()

    def test_peer_that_reads_again(self) -> None:
        """A peer that reads again within D finds every ACK, in order, and lives on."""
        peer = self.connect(buffers=8192)
        peer.greet(want_ping_ms=5000, min_rx_ms=60_000)
        count, rest = self.fill(peer)
        sender = threading.Thread(target=peer.send, args=(rest,))
        sender.start()  # there is room for it only when ACKs were read
        found = bytearray()
        peer.sock.settimeout(5.0)
        due = 8 * count
        while len(found) < due or len(found) < due + 8 * found.count(PING) + 32 * found.count(SYNC):
            found += peer.sock.recv(65_536)
        sender.join()
        found = bytearray(re.sub(rb"HEAR.{4}|HSYN.{28}", b"", found, flags=re.DOTALL))  # its own questions
        answers = pings(_PILE).replace(PING, ACK) * 16
        self.assertEqual(len(found), due)
        self.assertTrue(answers.startswith(found), "every ACK, in order")
        peer.ping()


class FullTests(ServerTestCase):
    """Connection limits."""

    options = ("--ping-interval", "0.5", "--max-connections", "4", "--max-per-address", "2", "--no-bare")

    def bye(self, peer: RawPeer) -> int:
        """The code of the BYE that a connection gets which says HELLO, or has no time for that."""
        with contextlib.suppress(OSError):
            peer.send(hello(**QUIET))
        return peer.farewell().code

    def test_limits(self) -> None:
        """The third of one address and the fifth of all get BYE 10; when one leaves there is room again."""
        poll(lambda: self.server.metric("heartbeat_connections") == 0, 3.0, "no connection is left of the test before")
        first = [self.connect(), self.connect()]
        for peer in first:
            peer.greet(**QUIET)
        self.assertEqual(self.bye(self.connect()), 10)
        second = [self.connect(source="127.0.0.2") for _ in range(2)]
        for peer in second:
            peer.greet(**QUIET)
        self.assertEqual(self.bye(self.connect(source="127.0.0.3")), 10)
        for peer in [*first, *second]:
            peer.ping()
        first[0].close()
        again = poll(self.admitted, 2.0, "room again")
        again.ping()

    def admitted(self) -> RawPeer | None:
        """A connection that was greeted, or None when it was refused."""
        peer = self.connect()
        try:
            peer.greet(**QUIET)
        except AssertionError:
            return None
        return peer

    def test_no_bare(self) -> None:
        """With --no-bare a bare peer gets BYE 5, and nothing before it."""
        poll(lambda: self.server.metric("heartbeat_connections") == 0, 3.0, "no connection is left of the test before")
        farewell = self.refused(short(PING, 1, 2), 5, "a bare peer")
        self.assertEqual(farewell.before, [])
        self.assertEqual([one["id"] for one in self.server.peers() if one["bare"]], [])


class HandshakeTests(ServerTestCase):
    """The handshake timeout."""

    options = ("--ping-interval", "0.5", "--handshake-timeout", "1")

    def test_timeout(self) -> None:
        """Who has not said HELLO within the timeout is closed, silent or dribbling; who has said it stays."""
        known = {one["id"] for one in self.server.failures()}
        begun = time.monotonic()
        silent, dribbling, greeted = self.connect(), self.connect(), self.connect()
        greeted.greet(**QUIET)
        said = hello(id=self.fresh())
        dribble = iter(said)
        ended: dict[RawPeer, float] = {}
        while len(ended) < 2 and time.monotonic() < begun + 4.0:
            for peer in {silent, dribbling} - ended.keys():
                if self.over(peer):
                    ended[peer] = time.monotonic() - begun
            if dribbling not in ended:
                dribbling.send(bytes([next(dribble)]))
        for seconds in ended.values():
            self.assertTrue(0.9 < seconds < 1.7, seconds)
        self.assertEqual(len(ended), 2)
        new = [one for one in self.server.failures() if one["id"] not in known]
        self.assertEqual({(one["failure_reason"], one["phase"]) for one in new}, {("hello_timeout", "handshake")})
        self.assertEqual(len(new), 2)
        greeted.ping()

    def over(self, peer: RawPeer) -> bool:
        """Whether the connection has ended or said BYE; waits 0.05 s for it."""
        try:
            return peer.frame(0.05).magic == BYE
        except Ended:
            return True
        except AssertionError:
            return False
