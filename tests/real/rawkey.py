"""A peer with a shared key, from ``wire.md`` §5 alone: CONFIRM, SIGNED ACK and SEAL, on a plain path and on TLS.

Nothing of the product is imported; what a key is derived from stands here a second time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import select
import socket
import struct
import time
from typing import Any, Final

from OpenSSL import SSL

from tests.real.rawpeer import (
    ACK,
    BYE,
    CONFIRM,
    HELLO,
    PING,
    SEAL,
    SIGNED_ACK,
    SYNC,
    Ended,
    Frame,
    RawPeer,
    framed,
    hello,
    short,
    strict_object,
)

__all__ = ["KEY", "KID", "KeyedPeer", "TlsSocket", "kid_of"]

KEY: Final = bytes(range(32))


def kid_of(key: bytes) -> str:
    """The name of a key."""
    return hashlib.sha256(b"heartbeat 1 kid" + key).digest()[:8].hex()


KID: Final = kid_of(KEY)


def _expanded(prk: bytes, info: bytes) -> bytes:
    """HKDF-Expand of RFC 5869 with SHA-256, one block."""
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


class TlsSocket:
    """A connected socket under TLS 1.3, with the timeouts of a plain one. No certificate is looked at."""

    def __init__(self, sock: socket.socket) -> None:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        self._sock = sock
        self._timeout = 5.0
        sock.setblocking(True)
        self.tls = SSL.Connection(context, sock)
        self.tls.set_connect_state()
        self.tls.do_handshake()
        self.exporter: bytes = self.tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        sock.setblocking(False)

    def settimeout(self, seconds: float) -> None:
        """For the next calls."""
        self._timeout = seconds

    def recv(self, size: int) -> bytes:
        """What came. Raises TimeoutError."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return bytes(self.tls.recv(size))
            except SSL.WantReadError:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([self._sock], [], [], left)[0]:
                    raise TimeoutError from None
            except (SSL.ZeroReturnError, SSL.SysCallError):
                return b""

    def sendall(self, data: bytes) -> None:
        """All of it; so little always fits."""
        self.tls.sendall(data)

    def setsockopt(self, *arguments: int) -> None:
        """Of the socket below."""
        self._sock.setsockopt(*arguments)

    def getsockname(self) -> Any:
        """Of the socket below."""
        return self._sock.getsockname()

    def shutdown(self, how: int) -> None:
        """TLS has its own way of saying so."""
        self.tls.shutdown()

    def close(self) -> None:
        """End it."""
        self._sock.close()


class KeyedPeer(RawPeer):
    """A connector with a key. What it is told is checked: a false or missing tag is an AssertionError.

    :ivar counts: n of the next tag, ours and the acceptor's
    """

    def __init__(self, sock: Any, key: bytes = KEY) -> None:
        super().__init__(sock)
        self.key = key
        self.exporter: bytes | None = getattr(sock, "exporter", None)
        self.counts = [0, 0]
        self._keys = [b"", b""]
        self._signs = False

    def prove(self, **members: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """HELLO and CONFIRM, both ways: what the acceptor's HELLO says, and what its CONFIRM does.

        A BYE in the place of either is raised as Ended with its code and reason.
        """
        said, heard = self.greeting(**members)
        self.send(self.confirmation(said, heard))
        frame = self.due(CONFIRM)
        header = frame.magic + struct.pack("!I", frame.word)
        tag, body = frame.body[:16], frame.body[16:]
        assert hmac.compare_digest(tag, self.tag(1, header + body)), "the acceptor's CONFIRM is false"
        answer = strict_object(heard[8:])
        assert answer["kid"] == kid_of(self.key)
        assert not {"session", "resume", "resumed"} & set(answer), "before the proof"
        self._signs = "signed-ack" in answer["caps"]
        return answer, strict_object(body) if body else {}

    def greeting(self, **members: Any) -> tuple[bytes, bytes]:
        """Say HELLO; both HELLO frames, whole."""
        usual = {"caps": ["state", "stalled", "signed-ack"], "nonce": os.urandom(16).hex(), "kids": [kid_of(self.key)]}
        said = hello(**{**usual, **members})
        self.send(said)
        return said, self.due(HELLO).raw

    def confirmation(self, said: bytes, heard: bytes) -> bytes:
        """Derive the keys from both HELLO frames; our CONFIRM."""
        prk = hmac.new(b"heartbeat 1", self.key, hashlib.sha256).digest()
        digest = hashlib.sha256(said + heard).digest()
        bound = b"\x00" if self.exporter is None else b"\x01" + self.exporter
        self._keys = [_expanded(prk, b"heartbeat 1 " + end + digest + bound) for end in (b"connector", b"acceptor")]
        header = CONFIRM + struct.pack("!I", 16)
        return framed(CONFIRM, self.tag(0, header))

    def tag(self, direction: int, data: bytes) -> bytes:
        """The next tag of ours (0) or of the acceptor (1)."""
        count = struct.pack("!Q", self.counts[direction])
        self.counts[direction] += 1
        return hmac.new(self._keys[direction], count + data, hashlib.sha256).digest()[:16]

    def due(self, magic: bytes) -> Frame:
        """The next frame, which must be this; a BYE is raised as Ended."""
        frame = self.frame()
        if frame.magic == BYE:
            raise Ended(f"BYE {frame.seq} {frame.body.decode()}")
        assert frame.magic == magic, f"{magic!r} was due, not {frame.raw!r}"
        return frame

    # -- behind CONFIRM

    def sealed(self, frame: bytes) -> bytes:
        """A frame as it leaves: with its SEAL where there is no TLS."""
        if self.exporter is not None:
            return frame
        count = self.counts[0] & 0xFFFFFFFF
        return frame + short(SEAL, count) + self.tag(0, frame)

    def say(self, frame: bytes) -> None:
        """Send a frame, sealed."""
        self.send(self.sealed(frame))

    def hear(self, timeout: float = 3.0) -> Frame:
        """The next frame that is no SEAL, proved."""
        frame = self.frame(timeout)
        if frame.magic == SIGNED_ACK:
            header = frame.raw[:8]
            assert hmac.compare_digest(frame.body, self.tag(1, header)), "a SIGNED ACK is false"
        elif self.exporter is None:
            seal = self.frame(timeout)
            assert seal.magic == SEAL, f"a SEAL was due, not {seal.raw!r}"
            assert seal.word == self.counts[1] & 0xFFFFFFFF, "the count of a SEAL"
            assert hmac.compare_digest(seal.body, self.tag(1, frame.raw)), "a SEAL is false"
        assert frame.magic != ACK or not self._signs, "an ACK that is not signed"
        return frame

    def attend_until(self, magic: bytes, timeout: float = 3.0) -> Frame:
        """The next frame of this kind; PINGs and SYNCs before it are answered, and kept in ``asked``."""
        deadline = time.monotonic() + timeout
        while True:
            frame = self.hear(deadline - time.monotonic())
            if frame.magic == PING:
                self.asked.append(frame)
                header = short(SIGNED_ACK, frame.word)
                self.send(header + self.tag(0, header))
            elif frame.magic == SYNC:
                self.asked.append(frame)
                self.say(short(b"HSAK", frame.seq, 0))
            if frame.magic == magic:
                return frame

    def beat(self, seq: int, ts: int = 2) -> None:
        """One PING, and the SIGNED ACK that belongs to it."""
        self.say(short(PING, seq, ts))
        frame = self.attend_until(SIGNED_ACK)
        assert (frame.seq, frame.low) == (seq, ts), f"SIGNED ACK of ({seq}, {ts}) was due, not {frame.raw!r}"
