"""Sockets of the load that speak TLS, and that prove a shared key as ``wire.md`` §5 asks. What is above them sees plain
bytes: the dialects need not know. Written from the protocol's page alone, with nothing of the package that is measured.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import select
import socket
import struct
from typing import Any, Final

from OpenSSL import SSL

from tests.benchmarks.dialects import HeartbeatPeer
from tests.benchmarks.load import NOTHING, LoadError

__all__ = ["KEY", "KeyedPeer", "TlsSocket"]

KEY: Final = bytes(range(32))
KID: Final = "b0bf7ef350123eea"
#: What may come from a server here, and how long it is; a SEAL is 24 bytes behind it.
_LENGTHS: Final = {b"HEAR": 8, b"HACK": 8, b"HACS": 24, b"HSYN": 32, b"HSAK": 8, b"HSTL": 8}
_SEAL: Final = 24
_PATIENCE: Final = 10.0


class TlsSocket:
    """A connected socket under TLS 1.3; whose certificate it is does not matter here.

    :ivar exporter: the channel binding of RFC 9266
    """

    def __init__(self, sock: socket.socket) -> None:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        self._sock = sock
        self._tls = SSL.Connection(context, sock)
        self._tls.set_connect_state()
        sock.setblocking(True)
        self._tls.do_handshake()
        self.exporter: bytes | None = self._tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
        self._waits = True

    def recv(self, size: int) -> bytes:
        """What came, decrypted; ``b""`` at the end. It waits while the socket blocks; else it may be NOTHING."""
        while True:
            try:
                data: bytes = self._tls.recv(size)
            except SSL.WantReadError:
                if not self._waits:
                    return NOTHING
                if not select.select([self._sock], [], [], _PATIENCE)[0]:
                    raise LoadError("half a TLS record") from None
            except SSL.ZeroReturnError:
                return b""
            else:
                return data

    def send(self, data: bytes) -> int:
        """Encrypt and send it."""
        return int(self._tls.send(data))

    def sendall(self, data: bytes) -> None:
        """As :meth:`send`: so little always fits."""
        self._tls.sendall(data)

    def setblocking(self, flag: bool) -> None:
        """Of the socket below."""
        self._waits = flag
        self._sock.setblocking(flag)

    def getpeername(self) -> Any:
        """Of the socket below."""
        return self._sock.getpeername()

    def fileno(self) -> int:
        """Of the socket below."""
        return self._sock.fileno()

    def close(self) -> None:
        """End it, without a word."""
        self._sock.close()


class KeyedSocket:
    """A connection behind CONFIRM: PINGs and all else are sealed where there is no TLS, answers are signed.

    :param sock: after :meth:`prove` everything goes through it
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._exporter: bytes | None = getattr(sock, "exporter", None)
        self._sealed = self._exporter is None
        self._keys: list[Any] = []
        self._counts = [0, 0]  # what we sent, and what we read
        self._unread = b""
        self.setblocking, self.fileno, self.close = sock.setblocking, sock.fileno, sock.close

    def prove(self, ours: bytes, theirs: bytes) -> None:
        """Say CONFIRM and check the acceptor's. Both HELLO frames are given as they were on the wire."""
        prk = hmac.digest(b"heartbeat 1", KEY, "sha256")
        bound = b"\0" if self._exporter is None else b"\1" + self._exporter
        digest = hashlib.sha256(ours + theirs).digest()
        for end in (b"connector", b"acceptor"):
            key = hmac.digest(prk, b"heartbeat 1 " + end + digest + bound + b"\1", "sha256")
            self._keys.append(hmac.new(key, digestmod="sha256"))
        header = b"HCFM\0\0\0\x10"
        self._sock.sendall(header + self._tag(0, header))
        answer = self._exactly(8)
        answer += self._exactly(int.from_bytes(answer[4:8], "big"))
        if self._tag(1, answer[:8] + answer[24:]) != answer[8:24]:
            raise LoadError("the CONFIRM is false")

    def _tag(self, direction: int, data: bytes) -> bytes:
        keyed = self._keys[direction].copy()
        keyed.update(struct.pack(">Q", self._counts[direction]) + data)
        self._counts[direction] += 1
        tag: bytes = keyed.digest()[:16]
        return tag

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._sock.recv(size - len(data))
            if not part:
                raise LoadError(f"closed within the handshake: {data!r}")
            data += part
        return data

    def sendall(self, data: bytes) -> None:
        """Before the proof: as it is."""
        self._sock.sendall(data)

    def hello(self) -> bytes:
        """The acceptor's HELLO frame, whole."""
        header = self._exactly(8)
        if header[:4] != b"HELO":
            raise LoadError(f"no HELLO: {header!r}")
        return header + self._exactly(int.from_bytes(header[4:8], "big"))

    def send(self, data: bytes) -> int:
        """One frame of the dialect, signed."""
        if data[:4] == b"HACK":
            header = b"HACS" + data[4:]
            signed = header + self._tag(0, header)
        elif self._sealed:
            count = struct.pack(">I", self._counts[0] & 0xFFFFFFFF)
            signed = data + b"HSEA" + count + self._tag(0, data)
        else:
            signed = data
        return len(data) if self._sock.send(signed) == len(signed) else 0

    def recv(self, size: int) -> bytes:
        """Whole frames, each of which was proved, as a dialect without keys expects them."""
        data = self._sock.recv(size)
        if not data or data is NOTHING:
            return data
        self._unread += data
        return self._proved() or NOTHING

    def _proved(self) -> bytes:
        plain = b""
        data = self._unread
        while len(data) >= 8:
            magic = data[:4]
            if magic not in _LENGTHS:
                raise LoadError(f"not expected here: {data!r}")
            length = _LENGTHS[magic]
            whole = length + (_SEAL if self._sealed and magic != b"HACS" else 0)
            if len(data) < whole:
                break
            frame, seal, data = data[:length], data[length:whole], data[whole:]
            if magic == b"HACS":
                if frame[8:] != self._tag(1, frame[:8]):
                    raise LoadError("a SIGNED ACK is false")
                frame = b"HACK" + frame[4:8]
            elif seal and seal[8:] != self._tag(1, frame):
                raise LoadError("a SEAL is false")
            plain += frame
        self._unread = data
        return plain


class KeyedPeer(HeartbeatPeer):
    """An honest peer with a shared key."""

    __slots__ = ("_said",)

    def __init__(self, sock: Any, number: int) -> None:
        super().__init__(KeyedSocket(sock), number)  # type: ignore[arg-type]  # it has what is used of a socket

    def greet(self) -> None:
        """Say HELLO."""
        hello = {"v": 1, "id": self.id, "instance": os.urandom(8).hex(), "caps": ["state", "stalled", "signed-ack"]}
        terms = {"want_ping_ms": 500, "min_rx_ms": self.min_rx, "mult": 20, "sync_ms": 5000}
        proof = {"nonce": os.urandom(16).hex(), "kids": [KID]}
        body = json.dumps({**hello, **terms, **proof}, separators=(",", ":")).encode()
        self._said = b"HELO" + struct.pack("!I", len(body)) + body
        self.sock.sendall(self._said)

    def greeted(self) -> None:
        """Read HELLO, and exchange CONFIRM."""
        sock: Any = self.sock
        sock.prove(self._said, sock.hello())
