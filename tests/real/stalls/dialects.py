"""What the honest peers speak, and how each of these protocols answers a question. Nothing of the product in it.

A peer of an adapter has never heard of us: it says what its protocol prescribes for a question that it does not know.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any, Final

__all__ = ["DIALECTS", "LONGEST_READ", "Connection"]

_FIXED: Final = {b"HEAR": 8, b"HACK": 8, b"HSYN": 32, b"HSAK": 8, b"HSTL": 8}  # wire.md §1, what may come here
_BYE: Final = b"HBYE"
LONGEST_READ: Final = 65_536


class Connection:
    """One socket, and the answers that it owes.

    :ivar open: the other end has not ended it
    :ivar owed: answers that are not sent yet
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.open = True
        self.owed = 0
        self.due = 0.0  # of the last answer that is owed: they leave in order
        self._unread = b""

    def greet(self, name: str, terms: dict[str, Any]) -> None:
        """Begin, on a blocking socket."""

    def greeted(self) -> None:
        """Read the answer to that."""

    def _more(self) -> None:
        data = self.sock.recv(LONGEST_READ)
        if not data:
            raise SystemExit(f"not greeted: {self._unread!r}")
        self._unread += data

    def answers(self, data: bytes) -> Iterator[bytes]:
        """The answer to each question in what was read so far."""
        self._unread += data
        while length := self.length(self._unread):
            if len(self._unread) < length:
                return
            frame, self._unread = self._unread[:length], self._unread[length:]
            answer = self.answer(frame)
            if answer:
                yield answer

    def length(self, data: bytes) -> int:
        """How long the frame at the beginning is; 0 when that cannot be told yet."""
        raise NotImplementedError

    def answer(self, frame: bytes) -> bytes:
        """The answer to a frame, empty when there is none."""
        raise NotImplementedError


class Echo(Connection):
    """Eight bytes come, the same eight go."""

    def length(self, data: bytes) -> int:
        """Always eight."""
        return 8 if data else 0

    def answer(self, frame: bytes) -> bytes:
        """The same."""
        return frame


class Heartbeat(Connection):
    """``wire.md``: a connector that says HELLO and answers PING and SYNC. It never speaks unasked."""

    caps: tuple[str, ...] = ("stalled",)

    def greet(self, name: str, terms: dict[str, Any]) -> None:
        """HELLO."""
        members = {"v": 1, "id": name, "instance": os.urandom(8).hex(), "caps": self.caps, **terms}
        body = json.dumps(members).encode()
        self.sock.sendall(b"HELO" + struct.pack("!I", len(body)) + body)

    def greeted(self) -> None:
        """The acceptor's HELLO."""
        while len(self._unread) < 8 or len(self._unread) < 8 + int.from_bytes(self._unread[4:8], "big"):
            self._more()
        if self._unread[:4] != b"HELO":
            raise SystemExit(f"no HELLO: {self._unread!r}")
        self._unread = self._unread[8 + int.from_bytes(self._unread[4:8], "big") :]

    def length(self, data: bytes) -> int:
        """By the magic."""
        if len(data) < 8:
            return 0
        if data[:4] == _BYE:
            return 8 + int.from_bytes(data[6:8], "big")
        return _FIXED[data[:4]]

    def answer(self, frame: bytes) -> bytes:
        """ACK or SYNC-ACK."""
        if frame[:4] == b"HEAR":
            return b"HACK" + frame[4:8]
        if frame[:4] == b"HSYN":
            return b"HSAK" + frame[4:6] + b"\0\0"
        if frame[:4] == _BYE:
            print("bye", frame[8:].decode(), file=sys.stderr, flush=True)
        return b""


class WebSocket(Connection):
    """RFC 6455: a client that answers pings."""

    def greet(self, name: str, terms: dict[str, Any]) -> None:
        """Ask HTTP for the upgrade."""
        host, port = self.sock.getpeername()
        self.sock.sendall(
            f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def greeted(self) -> None:
        """It was granted."""
        while b"\r\n\r\n" not in self._unread:
            self._more()
        if not self._unread.startswith(b"HTTP/1.1 101 "):
            raise SystemExit(f"no upgrade: {self._unread!r}")
        self._unread = self._unread.partition(b"\r\n\r\n")[2]

    def length(self, data: bytes) -> int:
        """Frames of a server are not masked, and pings are short."""
        return 2 + (data[1] & 0x7F) if len(data) >= 2 else 0

    def answer(self, frame: bytes) -> bytes:
        """A pong, masked with nothing."""
        if frame[0] != 0x89:
            return b""
        return b"\x8a" + bytes((0x80 | (len(frame) - 2),)) + b"\0\0\0\0" + frame[2:]


class Wrapped(Heartbeat):
    """``wire.md`` §7: ... and gives each DATA back, with the credit for it."""

    caps = ("stalled", "data")

    def length(self, data: bytes) -> int:
        """By the magic, or the length behind it."""
        return 8 + int.from_bytes(data[4:8], "big") if data[:4] == b"HDAT" and len(data) >= 8 else super().length(data)

    def answer(self, frame: bytes) -> bytes:
        """WINDOW and the same DATA, to what is DATA."""
        return b"HWIN" + frame[4:8] + frame if frame[:4] == b"HDAT" else super().answer(frame)


class Amp(Connection):
    """AMP: to each command that asks for an answer, that it is unhandled."""

    def length(self, data: bytes) -> int:
        """Keys and values with their lengths, up to an empty key."""
        at = 0
        while len(data) >= at + 2:
            size = int.from_bytes(data[at : at + 2], "big")
            at += 2 + size
            if not size:
                return at
        return 0

    def answer(self, frame: bytes) -> bytes:
        """``UNHANDLED``."""
        strings = []
        at = 0
        while size := int.from_bytes(frame[at : at + 2], "big"):
            strings.append(frame[at + 2 : at + 2 + size])
            at += 2 + size
        box = dict(zip(strings[::2], strings[1::2], strict=True))
        if b"_ask" not in box:
            return b""
        why = b"Unhandled Command: %r" % box[b"_command"].decode()
        error = (b"_error", box[b"_ask"], b"_error_code", b"UNHANDLED", b"_error_description", why)
        return b"".join(struct.pack("!H", len(one)) + one for one in error) + b"\0\0"


class Line(Connection):
    """Lines: each is an unknown command."""

    def length(self, data: bytes) -> int:
        """Up to the line's end."""
        return data.find(b"\r\n") + 2 if b"\r\n" in data else 0

    def answer(self, frame: bytes) -> bytes:
        """As SMTP has it."""
        return b"500 unrecognized command\r\n"


class Netstring(Connection):
    """Netstrings: each is an unknown request."""

    def length(self, data: bytes) -> int:
        """Digits, a colon, so many bytes, a comma."""
        digits, colon, _ = data.partition(b":")
        return len(digits) + 2 + int(digits) if colon else 0

    def answer(self, frame: bytes) -> bytes:
        """An error."""
        return b"7:unknown,"


class Broker(Connection):
    """Perspective Broker, the client of the two: to each message, that there is no such object."""

    _OPERANDS: Final = {0x82: 1, 0x84: 8}  # string: its length; float
    _LIST: Final = 0x80

    def greeted(self) -> None:
        """The server's dialects; the one without a vocabulary will do."""
        while not self.length(self._unread):
            self._more()
        length = self.length(self._unread)
        dialects, self._unread = self._unread[:length], self._unread[length:]
        if b"none" not in dialects:
            raise SystemExit(f"no dialect: {dialects!r}")
        self.sock.sendall(self._encoded(b"none"))

    def length(self, data: bytes) -> int:
        """Of one expression."""
        try:
            return self._read(data, 0)[1]
        except IndexError:
            return 0

    def answer(self, frame: bytes) -> bytes:
        """An error with the number of the message."""
        expression, _ = self._read(frame, 0)
        if expression[0] != b"message" or not expression[4]:
            return b""
        text = [b"unicode", b"Invalid Object ID"]
        failure = {
            b"type": b"twisted.spread.pb.Error", b"value": text, b"parents": [b"list"], b"frames": [b"list"],
            b"stack": [b"list"], b"tb": [b"None"], b"traceback": [b"unicode", b"unavailable"],
        }  # fmt: skip
        members = [[[b"unicode", name], value] for name, value in failure.items()]
        error = [b"twisted.spread.pb.CopyableFailure", [b"dictionary", *members]]
        return self._encoded([b"error", expression[1], error])

    def _read(self, data: bytes, at: int) -> tuple[Any, int]:
        """The expression that begins there, and where it ends. Raises IndexError when that is not here yet."""
        number = shift = 0
        while data[at] < 0x80:
            number += data[at] << shift
            shift += 7
            at += 1
        kind = data[at]
        at += 1
        if kind == self._LIST:
            items = []
            for _ in range(number):
                item, at = self._read(data, at)
                items.append(item)
            return items, at
        if kind not in self._OPERANDS:
            return number, at
        end = at + (number if kind == 0x82 else 8)
        if len(data) < end:
            raise IndexError
        return data[at:end], end

    def _encoded(self, value: Any) -> bytes:
        if isinstance(value, list):
            return self._number(len(value)) + b"\x80" + b"".join(map(self._encoded, value))
        if isinstance(value, bytes):
            return self._number(len(value)) + b"\x82" + value
        return self._number(value) + b"\x81"

    def _number(self, value: int) -> bytes:
        digits = bytearray([value & 0x7F])
        while value := value >> 7:
            digits.append(value & 0x7F)
        return bytes(digits)


#: What the questions are, by name.
DIALECTS: Final[dict[str, type[Connection]]] = {
    "amp": Amp,
    "echo": Echo,
    "heartbeat": Heartbeat,
    "line": Line,
    "pb": Broker,
    "strings": Netstring,
    "websocket": WebSocket,
    "wrapped": Wrapped,
}
