"""The decoder, rule by rule: wire.md §1. Its properties are in test_codec_properties."""

from __future__ import annotations

import gc
import math
import struct
import sys

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.errors import PeerViolation
from heartbeat.wire import frames as f
from heartbeat.wire.codec import FOREIGN, Decoder
from tests.vectors.golden import VECTORS, unhex
from tests.wire.strategies import ANYWHERE, decode_all, typed

KEYS = VECTORS["keys"]
BEATS = {f.PING: 0, f.ACK: 0}


def reason_of(raw: bytes, allowed: dict[bytes, int] = ANYWHERE) -> str:
    """Why ``raw`` is refused; '' if it is not."""
    return decode_all([raw], allowed)[1]


class VectorTests(SynchronousTestCase):
    """wire.md §8, read."""

    def test_frames(self) -> None:
        """Every golden frame decodes to its fields."""
        for vector in VECTORS["frames"]:
            (found,), reason = decode_all([unhex(vector["hex"])])
            fields = {
                name: value.hex() if isinstance(value, bytes) else value for name, value in found[1]._asdict().items()
            }
            self.assertEqual((fields, reason), (vector["fields"], ""), vector["frame"])
            self.assertEqual(found[0], vector["frame"].title().replace("-", ""))

    def test_proofs(self) -> None:
        """The golden CONFIRM, SIGNED ACK and SEAL come apart into tag, JSON and numbers."""
        body = KEYS["acceptor_confirm_json"].encode()
        for side in (KEYS["without_tls"], KEYS["tls"]):
            first, answer = unhex(side["connector_confirm"]), unhex(side["acceptor_confirm_without_json"])
            signed = unhex(side["signed_ack"]["hex"])
            found, _ = decode_all([first + answer + body + signed])
            expected = [f.Confirm(first[8:], b""), f.Confirm(answer[8:], body), f.SignedAck(1, 2, signed[8:])]
            self.assertEqual(found, typed(expected))
        sealed = KEYS["without_tls"]["sealed_ping"]
        found, _ = decode_all([unhex(sealed["ping"]) + unhex(sealed["seal"])])
        self.assertEqual(found, typed([f.Ping(1, 2), f.Seal(1, unhex(sealed["seal"])[8:])]))


class PlaceTests(SynchronousTestCase):
    """What may not stand where it stands is refused at its header."""

    def test_foreign(self) -> None:
        """Whoever speaks something else is told what is spoken here."""
        self.assertEqual(FOREIGN, "this port speaks txheartbeat frames")
        for raw in (
            b"GET / HTTP/1.1\r\n",
            b"HELO example.net\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01",
            bytes(8),
            b"hear\0\0\0\0",
        ):
            self.assertEqual(reason_of(raw), FOREIGN)

    def test_foreign_and_short(self) -> None:
        """... also by less than a header, at the first byte that no frame has there; the beginning of one waits."""
        for raw in (b"QUIT\r\n", b"\n", b"\x16", b"HEAT", b"HEL\n"):
            self.assertEqual(reason_of(raw), FOREIGN, raw)
        for raw in (b"H", b"HE", b"HELO", b"HEAR\0\0\0"):
            self.assertEqual(decode_all([raw]), ([], ""))
        self.assertEqual(decode_all([f.Ping(1, 2).encode(), b"HE", b"\n"]), (typed([f.Ping(1, 2)]), ""))

    def test_not_here(self) -> None:
        """Each frame is refused by its header alone, by name and with code 2, where it is not allowed."""
        for magic, name in f.NAMES.items():
            decoder = Decoder()
            decoder.feed(magic + b"\0\0\0\0")
            violation = self.assertRaises(PeerViolation, decoder.next, {})
            self.assertEqual((violation.reason, violation.code), (f"{name} may not stand here", 2))

    def test_limits(self) -> None:
        """A length over the limit of wire.md is refused before one byte of the body is there."""
        headers = {
            b"HELO" + struct.pack(">I", 8193): "HELLO of 8193 bytes, at most 8192 may stand here",
            b"HCFM" + struct.pack(">I", 4097): "CONFIRM of 4097 bytes, at most 4096 may stand here",
            b"HSTA" + struct.pack(">I", 65537): "STATE of 65537 bytes, at most 65536 may stand here",
            b"HBYE" + struct.pack(">HH", 0, 257): "BYE of 257 bytes, at most 256 may stand here",
            b"HDAT" + struct.pack(">I", 2**32 - 1): "DATA of 4294967295 bytes, at most 2147483647 may stand here",
        }
        generous = dict.fromkeys(f.NAMES, 2**32)
        for header, reason in headers.items():
            self.assertEqual(reason_of(header), reason)
            self.assertEqual(reason_of(header, generous), reason)

    def test_at_limit(self) -> None:
        """A body exactly at its limit is taken."""
        whole = [f.Hello(bytes(8192)), f.Confirm(bytes(16), bytes(4080)), f.State(bytes(65536)), f.Bye(0, "x" * 256)]
        for frame in whole:
            self.assertEqual(decode_all([frame.encode()]), (typed([frame]), ""))

    def test_credit(self) -> None:
        """DATA beyond the credit is refused at its header, at the credit it is taken; an empty one needs none."""
        data = f.Data(b"12345678")
        self.assertEqual(decode_all([data.encode()], {f.DATA: 8})[0], typed([data]))
        self.assertEqual(reason_of(data.encode()[:8], {f.DATA: 7}), "DATA of 8 bytes, at most 7 may stand here")
        self.assertEqual(decode_all([f.Data(b"").encode()], {f.DATA: 0})[0], typed([f.Data(b"")]))

    def test_fixed_body(self) -> None:
        """A frame of fixed size that is longer than what is allowed is refused too."""
        sync = f.Sync(1, 0, bytes(16), 0.0, 0).encode()
        self.assertEqual(reason_of(sync[:8], {f.SYNC: 0}), "SYNC of 24 bytes, at most 0 may stand here")

    def test_confirm_without_tag(self) -> None:
        """A CONFIRM too short for its tag is refused at its header."""
        self.assertEqual(reason_of(b"HCFM" + struct.pack(">I", 15)), "CONFIRM of 15 bytes, at least 16 are its tag")

    def test_allowed_changes(self) -> None:
        """What is allowed counts from call to call: an ACK that was right behind a PING is wrong a call later."""
        decoder = Decoder()
        decoder.feed(f.Ping(1, 2).encode() + f.Ack(1, 2).encode())
        self.assertEqual(typed([decoder.next(BEATS)]), typed([f.Ping(1, 2)]))
        violation = self.assertRaises(PeerViolation, decoder.next, {f.PING: 0})
        self.assertEqual(violation.reason, "ACK may not stand here")


class ValueTests(SynchronousTestCase):
    """Values that are violations, and values that only look odd."""

    def sync(self, load: bytes) -> bytes:
        """A SYNC with these four bytes of load."""
        return b"HSYN" + bytes(4) + bytes(16) + load + bytes(4)

    def test_load(self) -> None:
        """A load that is NaN, infinite or negative is a violation."""
        for load in (math.nan, math.inf, -math.inf, -1.0, -1e-45):
            self.assertEqual(
                reason_of(self.sync(struct.pack(">f", load))), f"SYNC load {_single(load)} is no number from 0"
            )

    def test_zero(self) -> None:
        """A load of -0.0 is 0.0, and loads above 1.0 are shown as they are."""
        for load, shown in ((-0.0, 0.0), (17.5, 17.5)):
            ((_, sync),), _ = decode_all([self.sync(struct.pack(">f", load))])
            self.assertIsInstance(sync, f.Sync)
            self.assertEqual(str(sync[3]), str(shown))

    def test_unknown_flags(self) -> None:
        """Flag bits that nobody knows are no violation."""
        self.assertEqual(decode_all([f.SyncAck(1, 0xFFFE).encode()]), (typed([f.SyncAck(1, 0xFFFE)]), ""))

    def test_reason(self) -> None:
        """A reason that is not UTF-8 is a violation; control characters in one are dropped, the peer has left."""
        self.assertEqual(reason_of(b"HBYE\0\0\0\2\xc3("), "BYE reason is not UTF-8: b'\\xc3('")
        self.assertEqual(reason_of(b"HBYE\0\0\0\3\xed\xa0\x80"), "BYE reason is not UTF-8: b'\\xed\\xa0\\x80'")
        self.assertEqual(decode_all([b"HBYE\0\1\0\6a\x1b[\nb\x7f"])[0], typed([f.Bye(1, "a[b")]))

    def test_window(self) -> None:
        """Credit of 0, or of more than 2^31-1, is a violation."""
        for credit in (0, 2**31, 2**32 - 1):
            reason = reason_of(b"HWIN" + struct.pack(">I", credit))
            self.assertEqual(reason, f"WINDOW of {credit} bytes, 1 to 2147483647 may be given")
        self.assertEqual(reason_of(b"HWIN" + struct.pack(">I", 2**31 - 1)), "")


class HoldingTests(SynchronousTestCase):
    """What a decoder holds, and for how long."""

    def test_pending(self) -> None:
        """pending is what was fed and not yet given out, wherever it lies."""
        decoder = Decoder()
        self.assertEqual(decoder.pending, 0)
        decoder.feed(f.Ping(1, 2).encode() + b"HE")
        self.assertEqual(decoder.pending, 10)
        decoder.feed(b"AR")
        decoder.feed(b"\0")
        self.assertEqual(decoder.pending, 13)
        self.assertEqual(decoder.next(BEATS), (1, 2))
        self.assertIsNone(decoder.next(BEATS))
        self.assertEqual(decoder.pending, 5)
        decoder.feed(b"\3\0\4")
        self.assertEqual(decoder.next(BEATS), (3, 4))
        self.assertEqual(decoder.pending, 0)

    def test_undrained(self) -> None:
        """Feeding again before everything was taken loses and reorders nothing."""
        decoder = Decoder()
        found = []
        for seq in range(0, 60, 3):
            decoder.feed(b"".join(f.Ping(seq + more, 0).encode() for more in range(3)))
            found.append(decoder.next(BEATS))
        while (frame := decoder.next(BEATS)) is not None:
            found.append(frame)
        self.assertEqual(found, [(seq, 0) for seq in range(60)])

    def test_remainder_only(self) -> None:
        """Of a read of 64 KiB only an unfinished frame at its end stays in memory; without one nothing does."""
        decoder = Decoder()
        raw = f.Ping(1, 2).encode() * 8192
        for end in (b"HEA", b""):
            decoder.feed(raw + end)
            taken = 0
            while decoder.next(BEATS) is not None:
                taken += 1
            self.assertEqual((taken, decoder.pending), (8192, len(end)))
            self.assertLess(_held(decoder), 200)
            decoder.feed(b"R" + bytes(4) if end else b"")
            decoder.next(BEATS)

    def test_big_read(self) -> None:
        """A megabyte of beats in one read is taken without copying what is left for each of them."""
        decoder = Decoder()
        count = 131_072
        decoder.feed(f.Ping(1, 2).encode() * count)
        start = _held(decoder)
        for _ in range(count):
            self.assertEqual(decoder.next(BEATS), (1, 2))
        self.assertEqual(_held(decoder), start)
        self.assertIsNone(decoder.next(BEATS))

    def test_dripping(self) -> None:
        """A STATE of 64 KiB that comes byte by byte is held once, not twice, and never longer than it is."""
        decoder = Decoder()
        frame = f.State(bytes(range(256)) * 256)
        raw = frame.encode()
        for offset in range(len(raw)):
            self.assertIsNone(decoder.next(ANYWHERE))
            decoder.feed(raw[offset : offset + 1])
            self.assertEqual(decoder.pending, offset + 1)
        self.assertLess(_held(decoder), 1.2 * len(raw) + 500)
        self.assertEqual(decoder.next(ANYWHERE), frame)
        self.assertIsNone(decoder.next(ANYWHERE))
        self.assertLess(_held(decoder), 200)

    def test_refused_body(self) -> None:
        """After a violation nothing is held and nothing is taken; the same is said again."""
        decoder = Decoder()
        decoder.feed(b"HDAT\0\1\0\0" + bytes(65536))
        first = self.assertRaises(PeerViolation, decoder.next, {f.DATA: 1024})
        self.assertEqual(decoder.pending, 0)
        decoder.feed(f.Ping(1, 2).encode())
        decoder.feed(bytes(65536))
        self.assertEqual(decoder.pending, 0)
        self.assertLess(_held(decoder), 300)
        again = self.assertRaises(PeerViolation, decoder.next, ANYWHERE)
        self.assertEqual(again.reason, first.reason)

    def test_bad_value_in_tail(self) -> None:
        """A violation in a frame that came in pieces is one like any other."""
        decoder = Decoder()
        decoder.feed(b"HBYE\0\0\0\2")
        self.assertIsNone(decoder.next(ANYWHERE))
        decoder.feed(b"\xff\xff")
        self.assertRaises(PeerViolation, decoder.next, ANYWHERE)
        self.assertRaises(PeerViolation, decoder.next, ANYWHERE)
        self.assertEqual(decoder.pending, 0)

    def test_small(self) -> None:
        """An idle decoder costs little: there is one per connection."""
        decoder = Decoder()
        decoder.feed(f.Ping(1, 2).encode())
        while decoder.next(BEATS) is not None:
            pass
        self.assertFalse(hasattr(decoder, "__dict__"))
        self.assertLess(_held(decoder) - sys.getsizeof(b""), 120)


def _held(decoder: Decoder) -> int:
    """Bytes of memory of a decoder and of all buffers that it refers to."""
    buffers = [one for one in gc.get_referents(decoder) if isinstance(one, (bytes, bytearray, str))]
    return sys.getsizeof(decoder) + sum(sys.getsizeof(one) for one in buffers)


def _single(number: float) -> float:
    (single,) = struct.unpack(">f", struct.pack(">f", number))
    return float(single)
