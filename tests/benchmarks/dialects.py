"""How each kind of connection asks and is answered: eight bytes echoed, WebSocket pings, heartbeats of ``wire.md``.

Written from the protocols' documents alone, with nothing of the package that is measured.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
import time
from typing import Final

from tests.benchmarks.load import Connection, LoadError

__all__ = ["EchoConnection", "HeartbeatPeer", "WebSocketPinger"]

_HEADER: Final = struct.Struct("!4sHH")
_SYNC_BODY: Final = struct.Struct("!16sfI")
_SERVICES: Final = ("auth", "billing")
_HASH: Final = hashlib.md5(b"".join(f"{name}\n".encode() for name in _SERVICES), usedforsecurity=False).digest()
_LENGTHS: Final = {b"HEAR": 8, b"HACK": 8, b"HSYN": 32, b"HSAK": 8, b"HSTL": 8}  # of what a server may send here
_WANT_STATE: Final = 1
_MULTIPLIER: Final = 20  # the server is to wait 10 s for a load that is busy with another server
_SYNC_EACH: Final = 10  # every so many beats one is a SYNC


class EchoConnection(Connection):
    """Eight bytes, that come back."""

    __slots__ = ()

    def __init__(self, sock: socket.socket, number: int) -> None:
        super().__init__(sock)

    def ask(self) -> None:
        """Send them."""
        self.expected = b"HEAR\0\1\0\2"
        self.write(self.expected)


class WebSocketPinger(Connection):
    """A WebSocket client (RFC 6455) that sends pings of eight bytes, and answers those of the server."""

    __slots__ = ()

    _MASK: Final = b"\x12\x34\x56\x78"
    _PAYLOAD: Final = b"HEAR\0\1\0\2"

    def __init__(self, sock: socket.socket, number: int) -> None:
        super().__init__(sock)

    def _masked(self, opcode: int, payload: bytes) -> bytes:
        mask = self._MASK * (len(payload) // 4 + 1)
        return (
            bytes((0x80 | opcode, 0x80 | len(payload)))
            + self._MASK
            + bytes(a ^ b for a, b in zip(payload, mask, strict=False))
        )

    _ping = b"\x89\x88" + _MASK + bytes(a ^ b for a, b in zip(_PAYLOAD, _MASK * 2, strict=True))
    _pong = b"\x8a\x08" + _PAYLOAD

    def greet(self) -> None:
        """Ask HTTP for the upgrade."""
        host, port = self.sock.getpeername()
        self.sock.sendall(
            f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def greeted(self) -> None:
        """It was granted. Raises LoadError when it was not."""
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            data = self.sock.recv(4096)
            if not data:
                break
            answer += data
        if not answer.startswith(b"HTTP/1.1 101"):
            raise LoadError(f"no WebSocket: {answer!r}")

    def ask(self) -> None:
        """Send a ping."""
        self.expected = self._pong
        self.write(self._ping)

    def other(self, data: bytes) -> bool:
        """A ping of the server, before or behind the pong: all are short and come whole."""
        answered = False
        while data:
            end = 2 + data[1]
            if data[0] == 0x89:
                self.write(self._masked(0xA, data[2:end]))
            elif data[:end] == self.expected:
                answered = True
            else:
                return super().other(data)
            data = data[end:]
        return answered


class HeartbeatPeer(Connection):
    """An honest peer of ``wire.md``: HELLO, PING, a SYNC among every ten beats, STATE when asked, and every answer.

    :ivar pings: PINGs that it sent
    :ivar syncs: SYNCs that it sent
    :ivar answered: PINGs of the server that it answered
    :ivar synced: SYNCs of the server that it answered
    :ivar states: STATEs that it was asked for, and sent
    """

    __slots__ = ("_buffer", "_seq", "_turn", "answered", "id", "min_rx", "pings", "states", "synced", "syncs")

    def __init__(self, sock: socket.socket, number: int, min_rx: int = 100) -> None:
        """Not connected yet.

        :param min_rx: the shortest interval, in ms, that it takes from the server
        """
        super().__init__(sock)
        self.id = f"bench-{number:05}"
        self.min_rx = min_rx
        self.pings = self.syncs = self.answered = self.synced = self.states = 0
        self._seq = number & 0xFFFF  # anywhere, so that no two connections agree by accident
        self._turn = number % _SYNC_EACH  # spread, so that the server meets a SYNC at any time
        self._buffer = b""

    def greet(self) -> None:
        """Say HELLO."""
        hello = {"v": 1, "id": self.id, "instance": os.urandom(8).hex(), "caps": ["state", "stalled"]}
        terms = {"want_ping_ms": 500, "min_rx_ms": self.min_rx, "mult": _MULTIPLIER, "sync_ms": 5000}
        body = json.dumps({**hello, **terms}, separators=(",", ":")).encode()
        self.sock.sendall(b"HELO" + struct.pack("!I", len(body)) + body)

    def greeted(self) -> None:
        """Read HELLO. Raises LoadError when it is a refusal."""
        answer = b""
        while len(answer) < 8 or len(answer) < 8 + int.from_bytes(answer[4:8], "big"):
            if answer and not answer.startswith(b"HELO"[: len(answer)]):
                raise LoadError(f"no HELLO: {answer!r}")
            data = self.sock.recv(4096)
            if not data:
                raise LoadError(f"closed within HELLO: {answer!r}")
            answer += data
        self.other(answer[8 + int.from_bytes(answer[4:8], "big") :])

    def ask(self) -> None:
        """Send a PING, or a SYNC when it is its turn."""
        self._turn -= 1
        if self._turn >= 0 or not self.pings:  # the first SYNC comes behind the first success of phase one
            self._seq = seq = (self._seq + 1) & 0xFFFF
            beat = _HEADER.pack(b"HEAR", seq, int(time.monotonic() * 1000) & 0xFFFF)
            self.expected = b"HACK" + beat[4:]
            self.pings += 1
        else:
            self._turn = _SYNC_EACH - 1
            self.syncs += 1
            seq = self.syncs & 0xFFFF
            beat = _HEADER.pack(b"HSYN", seq, 0) + _SYNC_BODY.pack(_HASH, 0.25, int(time.monotonic()) & 0xFFFFFFFF)
            self.expected = _HEADER.pack(b"HSAK", seq, 0)
        self.write(beat)

    def other(self, data: bytes) -> bool:
        """Everything but a lone answer: what the server asks, and answers with something before or behind them."""
        if len(data) == 8 and data[:4] == b"HEAR" and not self._buffer:  # the usual one of these
            self.write(b"HACK" + data[4:])
            self.answered += 1
            return False
        data = self._buffer + data
        answered = False
        while len(data) >= 8:
            length = _LENGTHS.get(data[:4])
            if length is None:
                raise LoadError(f"{self.id}: not expected here: {data!r}")
            if len(data) < length:
                break
            answered = self._frame(data[:length]) or answered
            data = data[length:]
        self._buffer = data
        return answered

    def _frame(self, frame: bytes) -> bool:
        """Take one frame; True if it answers the open question."""
        magic = frame[:4]
        if magic == b"HEAR":
            self.write(b"HACK" + frame[4:])
            self.answered += 1
        elif magic == b"HSYN":
            self.write(b"HSAK" + frame[4:6] + b"\0\0")
            self.synced += 1
        elif frame == self.expected:
            return True
        elif magic == b"HSAK" and frame[:6] == self.expected[:6] and frame[7] & _WANT_STATE:
            state = json.dumps({"services": _SERVICES, "meta": {"rack": "7"}}, separators=(",", ":")).encode()
            self.write(b"HSTA" + struct.pack("!I", len(state)) + state)
            self.states += 1
            return True
        elif magic != b"HSTL":
            raise LoadError(f"{self.id}: expected {self.expected!r}, got {frame!r}")
        return False
