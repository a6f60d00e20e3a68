"""Frames become bytes: wire.md §1 and the golden vectors of §8."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.errors import ConfigError
from heartbeat.wire import frames as f
from tests.vectors.golden import VECTORS, unhex

TYPES: dict[str, Any] = {
    f.NAMES[magic]: getattr(f, f.NAMES[magic].title().replace(" ", "").replace("-", "")) for magic in f.NAMES
}
KEYS = VECTORS["keys"]


class VectorTests(SynchronousTestCase):
    """wire.md §8."""

    def test_frames(self) -> None:
        """Every frame among the golden vectors encodes to its bytes."""
        self.assertEqual(len(VECTORS["frames"]), 7)
        for vector in VECTORS["frames"]:
            fields = dict(vector["fields"])
            if "svc_hash" in fields:
                fields["svc_hash"] = unhex(fields["svc_hash"])
            self.assertEqual(TYPES[vector["frame"]](**fields).encode(), unhex(vector["hex"]), vector["frame"])

    def test_digests(self) -> None:
        """The digest in the SYNC vector is the one that wire.md §1 describes, and so is that of no services."""
        for vector in VECTORS["digests"]:
            names = sorted(name.encode() for name in vector["services"])
            text = b"".join(name + b"\n" for name in names)
            self.assertEqual(hashlib.md5(text, usedforsecurity=False).hexdigest(), vector["md5"])

    def test_hello(self) -> None:
        """The HELLO frames carry their bodies unchanged: the digest TH over both frames is the golden one."""
        connector, acceptor = (KEYS[f"{end}_hello"].encode() for end in ("connector", "acceptor"))
        self.assertEqual(len(connector), KEYS["connector_hello_bytes"])
        self.assertEqual(len(acceptor), KEYS["acceptor_hello_bytes"])
        both = f.Hello(connector).encode() + f.Hello(acceptor).encode()
        self.assertEqual(hashlib.sha256(both).hexdigest(), KEYS["th"])

    def test_proofs(self) -> None:
        """CONFIRM, SIGNED ACK and SEAL encode to the golden bytes, with and without TLS."""
        body = KEYS["acceptor_confirm_json"].encode()
        for side in (KEYS["without_tls"], KEYS["tls"]):
            first, answer = unhex(side["connector_confirm"]), unhex(side["acceptor_confirm_without_json"])
            signed = side["signed_ack"]
            self.assertEqual(f.Confirm(first[8:], b"").encode(), first)
            self.assertEqual(f.Confirm(answer[8:], body).encode(), answer + body)
            raw = unhex(signed["hex"])
            self.assertEqual(f.SignedAck(signed["seq"], signed["ts"], raw[8:]).encode(), raw)
        sealed = KEYS["without_tls"]["sealed_ping"]
        seal = unhex(sealed["seal"])
        self.assertEqual(f.Ping(sealed["seq"], sealed["ts"]).encode(), unhex(sealed["ping"]))
        self.assertEqual(f.Seal(sealed["n"], seal[8:]).encode(), seal)


class TableTests(SynchronousTestCase):
    """The table of wire.md §1."""

    def test_sizes(self) -> None:
        """Every frame has the size that the table gives it."""
        tag = bytes(16)
        sizes = [
            (f.Ping(0, 0), 8),
            (f.Ack(0, 0), 8),
            (f.SignedAck(0, 0, tag), 24),
            (f.Sync(0, 0, tag, 0.0, 0), 32),
            (f.SyncAck(0, 0), 8),
            (f.Hello(b"{}"), 10),
            (f.State(b"{}"), 10),
            (f.Stalled(0), 8),
            (f.Bye(0, "bye"), 11),
            (f.Data(b""), 8),
            (f.Window(1), 8),
            (f.Confirm(tag, b"{}"), 26),
            (f.Seal(0, tag), 24),
        ]
        self.assertEqual(len(sizes), len(f.NAMES))
        for frame, size in sizes:
            self.assertEqual(len(frame.encode()), size, frame)

    def test_magics(self) -> None:
        """There are thirteen frames; each has a magic of four bytes, a name, a limit and a type of that name."""
        self.assertEqual(len(f.NAMES), 13)
        self.assertEqual(set(f.BODY_LIMITS), set(f.NAMES))
        self.assertEqual({len(magic) for magic in f.NAMES}, {4})
        self.assertEqual(len(set(TYPES.values())), 13)

    def test_flags(self) -> None:
        """STUCK is bit 0 and CHANGED bit 1 of SYNC, WANT_STATE is bit 0 of SYNC-ACK."""
        self.assertEqual((f.STUCK, f.CHANGED, f.WANT_STATE), (1, 2, 1))


class RefusalTests(SynchronousTestCase):
    """What an encoder does with what does not fit: it names it, saturates where wire.md says so, never cuts."""

    def refused(self, frame: f.Frame, name: str) -> None:
        """``frame`` is not encoded, and the error is about ``name``."""
        error = self.assertRaises(ConfigError, frame.encode)
        self.assertEqual(error.name, name)

    def test_bodies(self) -> None:
        """A body over the limit of its frame is refused; one at the limit is not. CONFIRM counts its tag."""
        for frame, limit, before in ((f.Hello, 8192, 0), (f.State, 65536, 0), (_confirm, 4096, 16)):
            most = limit - before
            self.assertEqual(len(frame(bytes(most)).encode()), f.HEADER_SIZE + limit)
            self.refused(frame(bytes(most + 1)), f.NAMES[frame(b"").encode()[:4]])

    def test_load(self) -> None:
        """A load that is NaN, infinite, negative or too big for single precision is refused; minus zero is zero."""
        for load in (math.nan, math.inf, -math.inf, -0.5, 1e39):
            self.refused(f.Sync(0, 0, bytes(16), load, 0), "load")
        self.assertEqual(f.Sync(0, 0, bytes(16), -0.0, 0).encode(), f.Sync(0, 0, bytes(16), 0.0, 0).encode())

    def test_saturation(self) -> None:
        """uptime and stalled_ms saturate at 2^32-1; an uptime under 0 is refused."""
        self.assertEqual(f.Sync(0, 0, bytes(16), 0.0, 2**40).encode()[-4:], b"\xff" * 4)
        self.assertEqual(f.Stalled(2**40).encode()[-4:], b"\xff" * 4)
        self.refused(f.Sync(0, 0, bytes(16), 0.0, -1), "uptime")

    def test_reason(self) -> None:
        """A BYE whose reason is over 256 bytes, or no Unicode text, is refused."""
        self.assertEqual(len(f.Bye(2, "é" * 128).encode()), 8 + 256)
        self.refused(f.Bye(2, "é" * 128 + "x"), "reason")
        self.refused(f.Bye(2, "\ud800"), "reason")


class ByeOfTests(SynchronousTestCase):
    """Bye.of makes any text sendable."""

    def test_cut(self) -> None:
        """A reason of more than 256 bytes is cut between two characters."""
        self.assertEqual(f.Bye.of(2, "x" + "é" * 200).reason, "x" + "é" * 127)
        self.assertEqual(f.Bye.of(2, "x" * 256).reason, "x" * 256)

    def test_controls(self) -> None:
        """Control characters, C1 and DEL included, are taken out: the reason is one line."""
        self.assertEqual(f.Bye.of(0, "a\r\nb\x00\x1b[2J\x7f\x85\x9fc d").reason, "ab[2Jc d")

    @given(st.text(st.characters()), st.integers(0, 65535))
    @settings(deadline=None)
    def test_any(self, reason: str, code: int) -> None:
        """Whatever the text, lone surrogates included, the BYE encodes and stays within its limit."""
        bye = f.Bye.of(code, reason)
        self.assertLessEqual(len(bye.encode()), 8 + f.BYE_LIMIT)
        self.assertEqual(bye.reason, f.without_controls(bye.reason))
        self.assertEqual(bye.code, code)


def _confirm(body: bytes) -> f.Confirm:
    return f.Confirm(bytes(16), body)
