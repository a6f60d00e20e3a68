"""Wrong bytes: a BYE with its code, one failure that is counted, and no other peer notices."""

from __future__ import annotations

import json
import struct
from collections import Counter
from typing import Any

from heartbeat import State
from heartbeat.session.byes import BYE_CAUSES
from heartbeat.session.sync import service_hash
from heartbeat.watch.failures import Failures
from heartbeat.watch.listeners import Listeners
from heartbeat.wire.frames import Bye
from tests.net.cases import HandCase
from tests.net.hand import HandTransport, hello, ping

DEEP = "[" * 9 + "]" * 9


def raw(body: bytes, magic: bytes = b"HELO") -> bytes:
    """A frame with this body, whatever it is."""
    return magic + struct.pack(">I", len(body)) + body


def sync(load: float, flags: int = 0, services: tuple[str, ...] = ("auth",)) -> bytes:
    """A SYNC with this load."""
    return b"HSYN" + struct.pack(">HH16sfI", 1, flags, service_hash(services), load, 1)


def state(**members: Any) -> bytes:
    """A STATE with these members, behind the SYNC that makes us ask for it."""
    return sync(0.5) + raw(json.dumps(members).encode(), b"HSTA")


def header(magic: bytes, length: int) -> bytes:
    """Only the header of a frame."""
    return magic + struct.pack(">I", length)


def only(**members: Any) -> bytes:
    """A HELLO with these members and no others."""
    return raw(json.dumps(members).encode())


#: What may not come first, and the code that it gets (wire.md §1, §4).
FIRST: dict[str, tuple[bytes, int]] = {
    "unknown magic": (b"GET / HTTP/1.1\r\n\r\n", 2),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01", 2),
    "ACK": (b"HACK" + bytes(4), 2),
    "SYNC": (sync(0.5), 2),
    "SYNC-ACK": (b"HSAK" + bytes(4), 2),
    "STATE": (raw(b"{}", b"HSTA"), 2),
    "STALLED": (b"HSTL" + bytes(4), 2),
    "DATA": (raw(b"x", b"HDAT"), 2),
    "WINDOW": (b"HWIN\0\0\0\1", 2),
    "CONFIRM": (raw(bytes(16), b"HCFM"), 2),
    "SEAL": (b"HSEA" + bytes(20), 2),
    "SIGNED ACK": (b"HACS" + bytes(20), 2),
    "HELLO of 8 KiB and a byte": (header(b"HELO", 8193), 2),
    "HELLO of 4 GiB": (header(b"HELO", 2**32 - 1), 2),
    "BYE of 257 bytes": (b"HBYE" + struct.pack(">HH", 0, 257), 2),
    "BYE that is no UTF-8": (b"HBYE" + struct.pack(">HH", 0, 1) + b"\xff", 2),
    "no UTF-8": (raw(b'{"v":1,"id":"\xff"}'), 2),
    "a byte order mark": (raw(b'\xef\xbb\xbf{"v":1}'), 2),
    "no JSON": (raw(b"hello"), 2),
    "nothing": (raw(b""), 2),
    "no object": (raw(b"[1]"), 2),
    "twice": (raw(b'{"v":1,"v":1}'), 2),
    "NaN": (raw(b'{"v":1,"x":NaN}'), 2),
    "too deep": (raw(b'{"v":1,"x":' + DEEP.encode() + b"}"), 2),
    "half a character": (raw(b'{"v":1,"id":"\\ud800"}'), 2),
    "no v": (only(id="x"), 2),
    "v of another type": (only(v="1"), 2),
    "v with a fraction": (raw(b'{"v":1.0}'), 2),
    "v true": (only(v=True), 2),
    "v 2": (only(v=2), 3),
    "versions": (only(v=2, versions=[2, 3]), 3),
    "too many versions": (only(v=1, versions=[1] * 17), 2),
    "versions of another type": (only(v=1, versions="1"), 2),
    "no version, and more": (only(v=2, id=7, mult=0), 3),
    **{
        f"id {id!r:.20}": (hello(id), 2)
        for id in ("~x", "a\nb", "\x7f", "\x80", "x" * 256, "é" * 128, 7, ["x"], True, {"x": 1})
    },
    "an empty id": (only(v=1, id=""), 2),
    "instance": (hello(instance="x" * 65), 2),
    "instance with an umlaut": (hello(instance="é"), 2),
    "caps of another type": (hello(caps="state"), 2),
    "too many caps": (hello(caps=["x"] * 33), 2),
    "caps in capitals": (hello(caps=["STATE"]), 2),
    "a long cap": (hello(caps=["x" * 33]), 2),
    "an interval of nothing": (hello(want_ping_ms=0), 4),
    "an interval over an hour": (hello(want_ping_ms=3_600_001), 4),
    "an interval in text": (hello(want_ping_ms="500"), 2),
    "an interval with a fraction": (hello(want_ping_ms=500.0), 2),
    "an interval that is true": (hello(want_ping_ms=True), 2),
    "min_rx_ms": (hello(min_rx_ms=-1), 4),
    "min_rx_ms over an hour": (hello(min_rx_ms=3_600_001), 4),
    "mult 1": (hello(mult=1), 4),
    "mult 256": (hello(mult=256), 4),
    "sync_ms": (hello(sync_ms=99), 4),
    "sync_ms over a day": (hello(sync_ms=86_400_001), 4),
    "max_data": (hello(max_data=16_383), 4),
    "max_data of 2 GiB": (hello(max_data=2**31), 4),
    "a long detection time": (hello(want_ping_ms=150_000, mult=3), 4),
    "a nonce of another length": (hello(nonce="11"), 2),
    "a nonce that is not hex": (hello(nonce="x" * 32), 2),
    "kids without a nonce": (hello(kids=["b0bf7ef350123eea"]), 2),
    "too many kids": (hello(nonce="1" * 32, kids=["b0bf7ef350123eea"] * 9), 2),
    "a short kid": (hello(nonce="1" * 32, kids=["b0bf"]), 2),
    "an empty token": (only(v=1, id="x", resume=""), 2),
    "a long token": (hello("x", resume="x" * 1025), 2),
    "a token with a control character": (hello("x", resume="x\n"), 2),
    "traceparent of another type": (hello(traceparent=1), 2),
    "last of another type": (hello(last=[]), 2),
    "last.heard_ms of another type": (hello(last={"heard_ms": "1"}), 2),
}

#: What may not stand behind the gate.
BEHIND: dict[str, tuple[bytes, int]] = {
    "unknown magic": (b"HEAT" + bytes(4), 2),
    "a second HELLO": (hello("x"), 2),
    "load NaN": (sync(float("nan")), 2),
    "load infinite": (sync(float("inf")), 2),
    "load negative": (sync(-0.1), 2),
    "STATE that nobody asked for": (raw(b"{}", b"HSTA"), 2),
    "STATE twice": (state() + raw(b"{}", b"HSTA"), 2),
    "STATE of 64 KiB and a byte": (sync(0.5) + header(b"HSTA", 65_537), 2),
    "STATE that is no object": (sync(0.5) + raw(b"[]", b"HSTA"), 2),
    "services of another type": (state(services="auth"), 2),
    "an empty service": (state(services=["auth", ""]), 2),
    "a long service": (state(services=["x" * 256]), 2),
    "too many services": (state(services=["x"] * 4097), 2),
    "a service with a control character": (state(services=["a\tb"]), 2),
    "meta of another type": (state(meta=[]), 2),
    "too much meta": (state(meta={str(number): "" for number in range(65)}), 2),
    "meta that is no text": (state(meta={"zone": 1}), 2),
    "long meta": (state(meta={"zone": "x" * 1025}), 2),
    "a long name of meta": (state(meta={"x" * 65: ""}), 2),
    "progress of another type": (state(progress="1"), 2),
    "progress true": (state(progress=True), 2),
    "cert_expires_s of another type": (state(cert_expires_s=1.5), 2),
    "lag_p99_ms of another type": (state(lag_p99_ms="1"), 2),
    "traceparent of another type": (state(traceparent=1), 2),
    "DATA, which was not agreed": (raw(b"x", b"HDAT"), 2),
    "WINDOW, which was not agreed": (b"HWIN\0\0\0\1", 2),
    "CONFIRM without a key": (raw(bytes(16), b"HCFM"), 2),
    "SIGNED ACK without a key": (b"HACS" + bytes(20), 2),
    "SEAL without a key": (b"HSEA" + bytes(20), 2),
    "BYE of 257 bytes": (b"HBYE" + struct.pack(">HH", 0, 257), 2),
    "BYE with a wrong reason": (b"HBYE" + struct.pack(">HH", 0, 2) + b"\xc3\x28", 2),
}


class NeighbourTests(HandCase):
    """Several peers on one factory, one of which is wrong."""

    def setUp(self) -> None:
        """Three peers that are well, of different kinds, and a board of failures."""
        super().setUp()
        self.board = Failures(self.wheel.clocks)
        self.factory.listener = Listeners(self.notes, self.board)
        self.good = [self.connect(first) for first in (hello("good"), hello(), ping())]
        self.advance(1.0, *self.good)
        self.notes.lines.clear()

    def assert_refused(self, name: str, wrong: HandTransport, code: int, cause: str, phase: str) -> None:
        """A BYE with its code as the last word, and one failure that is counted under its cause."""
        said = wrong.said()
        self.assertEqual([frame.code for frame in said if isinstance(frame, Bye)], [code], name)
        self.assertIsInstance(said[-1], Bye, name)
        self.expected[cause, phase] += 1
        self.assertEqual(self.board.counts(), dict(self.expected), name)
        wrong.lose()

    def assert_nobody_noticed(self) -> None:
        """The others are alive, heard nothing but beats, and are answered as before."""
        self.advance(2.0, *self.good)
        for transport in self.good:
            self.assertIs(transport.protocol.heartbeat.state, State.ALIVE)
            self.assertNotIn(Bye, {type(frame) for frame in transport.history})
            self.assertEqual(transport.done, [])
        noticed = {kind for kind, name in self.notes.lines if name in {"good", "~192.0.2.1:40001", "~192.0.2.1:40002"}}
        self.assertEqual(noticed, set())
        self.assertEqual(self.factory.connections, 3)

    def test_first_frames(self) -> None:
        """Whatever is wrong with the first frame: refused, in the phase of the handshake."""
        self.expected: Counter[tuple[str, str]] = Counter()
        for name, (data, code) in FIRST.items():
            self.assert_refused(name, self.connect(data), code, BYE_CAUSES[code], "handshake")
        self.assert_nobody_noticed()

    def test_behind_the_gate(self) -> None:
        """Whatever is wrong later: dead, of a protocol error, in the phase of the living."""
        self.expected = Counter()
        for name, (data, code) in BEHIND.items():
            wrong = self.connect(hello("wrong"))
            wrong.say(data)
            self.assert_refused(name, wrong, code, BYE_CAUSES[code], "live")
        self.assert_nobody_noticed()

    def test_bare_peers(self) -> None:
        """A bare peer may say nothing that a HELLO would have had to agree on."""
        self.expected = Counter()
        for name in ("STATE that nobody asked for", "DATA, which was not agreed", "a second HELLO", "load NaN"):
            wrong = self.connect(ping())
            wrong.say(BEHIND[name][0])
            self.assert_refused(name, wrong, 2, "protocol_error", "live")
        wrong = self.connect(ping())
        wrong.say(b"HSTL" + bytes(4))
        self.assert_refused("STALLED", wrong, 2, "protocol_error", "live")
        self.assert_nobody_noticed()

    def test_cut_anywhere(self) -> None:
        """A wrong frame is refused in the same way however it is cut, and no sooner than it shows."""
        self.expected = Counter()
        data = hello("x", mult=1)
        for cut in range(1, len(data)):
            wrong = self.connect(data[:cut])
            self.assertEqual(wrong.said(), [])
            wrong.say(data[cut:])
            self.assert_refused(str(cut), wrong, 4, "terms_refused", "handshake")
        self.assert_nobody_noticed()

    def test_a_flood(self) -> None:
        """A peer that floods is told so; who is beside it, and is answered in the same turns, is not slowed down."""
        self.expected = Counter()
        strict = self.make_factory(min_interval=0.1)
        strict.listener = self.factory.listener
        wrong = self.connect(hello("wrong"), factory=strict)
        count = 0
        while not any(isinstance(frame, Bye) for frame in wrong.said()) and count < 5000:
            wrong.say(ping())
            count += 1
        self.assertEqual(count, 1024 + 512 + 1)
        self.assertEqual(self.board.counts(), {("ping_flood", "live"): 1})
        self.assertEqual(wrong.history[-1], Bye(9, "calm down: too many frames"))
        wrong.lose()
        self.assert_nobody_noticed()
