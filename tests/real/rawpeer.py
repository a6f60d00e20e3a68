"""A peer written from ``wire.md`` alone: blocking sockets, ``struct`` and ``json``, nothing of the product.

It is the independent end that the product is tested against, so it shares no line with it and checks all that it reads.
:class:`RawPeer` is one end of a connection; :func:`connect` opens one, :class:`RawAcceptor` waits for one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

__all__ = [
    "ACK",
    "BYE",
    "CONFIRM",
    "DATA",
    "HELLO",
    "PING",
    "SEAL",
    "SIGNED_ACK",
    "STALLED",
    "STATE",
    "SYNC",
    "SYNC_ACK",
    "WINDOW",
    "Ended",
    "Farewell",
    "Frame",
    "RawAcceptor",
    "RawPeer",
    "Silence",
    "connect",
    "digest",
    "framed",
    "hello",
    "short",
    "state",
    "strict_object",
    "sync",
]

PING: Final = b"HEAR"
ACK: Final = b"HACK"
SIGNED_ACK: Final = b"HACS"
SYNC: Final = b"HSYN"
SYNC_ACK: Final = b"HSAK"
HELLO: Final = b"HELO"
STATE: Final = b"HSTA"
STALLED: Final = b"HSTL"
BYE: Final = b"HBYE"
DATA: Final = b"HDAT"
WINDOW: Final = b"HWIN"
CONFIRM: Final = b"HCFM"
SEAL: Final = b"HSEA"

#: Bytes behind the header, of the frames whose length their magic fixes (§1).
_FIXED: Final = {PING: 0, ACK: 0, SIGNED_ACK: 16, SYNC: 24, SYNC_ACK: 0, STALLED: 0, WINDOW: 0, SEAL: 16}
#: The most bytes of body that the other end may send, of the frames that say their length (§1).
_LIMITS: Final = {HELLO: 8192, CONFIRM: 4096, STATE: 65_536, BYE: 256, DATA: 1_048_576}
_DEPTH: Final = 8


class Silence(AssertionError):
    """Nothing complete arrived in time."""


class Ended(AssertionError):
    """The connection ended where a frame was due: ``how`` is ``fin`` or ``reset``."""

    def __init__(self, how: str) -> None:
        super().__init__(f"the connection ended ({how})")
        self.how = how


class Frame(NamedTuple):
    """One frame as it was read: its magic, bytes 4-7 as a number, its body, and when it was complete (monotonic)."""

    magic: bytes
    word: int
    body: bytes
    at: float

    @property
    def seq(self) -> int:
        """The first half of the word: the seq of a beat, the code of a BYE."""
        return self.word >> 16

    @property
    def low(self) -> int:
        """The second half of the word: the ts of a beat, the flags of a SYNC."""
        return self.word & 0xFFFF

    @property
    def raw(self) -> bytes:
        """The bytes of the whole frame."""
        return self.magic + struct.pack("!I", self.word) + self.body


class Farewell(NamedTuple):
    """How a connection ended with a BYE: its code, its reason, and the frames before it."""

    code: int
    reason: str
    before: list[Frame]


def short(magic: bytes, first: int, second: int | None = None) -> bytes:
    """A frame of 8 bytes: two numbers of 16 bits, or one of 32."""
    return magic + (struct.pack("!I", first) if second is None else struct.pack("!HH", first, second))


def framed(magic: bytes, body: bytes, length: int | None = None) -> bytes:
    """A frame with its length as u32; another ``length`` than that of the body makes a liar."""
    return magic + struct.pack("!I", len(body) if length is None else length) + body


def hello(**members: Any) -> bytes:
    """A HELLO of version 1 with these members; a member that is Ellipsis is left out."""
    whole = {"v": 1, **members}
    return framed(HELLO, json.dumps({name: value for name, value in whole.items() if value is not ...}).encode())


def state(**members: Any) -> bytes:
    """A STATE with these members."""
    return framed(STATE, json.dumps(members).encode())


def digest(services: Iterable[str]) -> bytes:
    """``svc_hash`` of §1."""
    names = sorted({name.encode() for name in services})
    return hashlib.md5(b"".join(name + b"\n" for name in names), usedforsecurity=False).digest()


def sync(seq: int, services: Sequence[str] = (), load: float = 0.25, uptime: int = 3600, flags: int = 0) -> bytes:
    """A SYNC that speaks for these services."""
    return SYNC + struct.pack("!HH16sfI", seq, flags, digest(services), load, uptime)


def strict_object(body: bytes) -> dict[str, Any]:
    """The one JSON object in the body, within the profile of §1; an AssertionError where the sender left it."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names)), f"a member twice in {names}"
        return dict(pairs)

    def constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    def depth(value: Any) -> int:
        below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if below is None else 1 + max(map(depth, below), default=0)

    assert not body.startswith(b"\xef\xbb\xbf"), "a byte order mark"
    whole = json.loads(body.decode("utf-8"), object_pairs_hook=members, parse_constant=constant)
    assert isinstance(whole, dict), f"not an object: {whole!r}"
    json.dumps(whole, ensure_ascii=False).encode("utf-8")  # an unpaired surrogate does not encode
    assert depth(whole) <= _DEPTH, "nested too deep"
    return whole


class RawPeer:
    """One end of a connection. It answers PING and SYNC only while :meth:`expect` or :meth:`attend` waits.

    :ivar asked: the PINGs and SYNCs of the other end that were read so far
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.asked: list[Frame] = []
        self._unread = bytearray()

    @property
    def address(self) -> str:
        """``host:port`` of this end, by which the other knows a bare peer."""
        host, port = self.sock.getsockname()[:2]
        return f"{host}:{port}"

    def send(self, data: bytes) -> None:
        """Hand all of it to the kernel in one call."""
        self.sock.settimeout(10.0)
        self.sock.sendall(data)

    def send_bytewise(self, data: bytes, pause: float = 0.0005) -> None:
        """Every byte in a segment of its own."""
        for offset in range(len(data)):
            self.send(data[offset : offset + 1])
            time.sleep(pause)

    def frame(self, timeout: float = 3.0) -> Frame:
        """The next frame, whatever it is. Raises Silence and Ended."""
        deadline = time.monotonic() + timeout
        while (frame := self._taken()) is None:
            self._receive(deadline)
        return frame

    def expect(self, magic: bytes, timeout: float = 3.0) -> Frame:
        """The next frame of this kind. PINGs and SYNCs before it are answered; any other frame is an error."""
        deadline = time.monotonic() + timeout
        while True:
            frame = self.frame(deadline - time.monotonic())
            if frame.magic in (PING, SYNC):
                self.asked.append(frame)
            if frame.magic == magic:
                return frame
            if frame.magic not in (PING, SYNC):
                raise AssertionError(f"{magic!r} was due, not {frame.magic!r} {frame.word:#x} {frame.body!r}")
            self.answer(frame)

    def attend(self, seconds: float) -> None:
        """Answer PINGs and SYNCs for so long; any other frame is an error."""
        try:
            self.expect(b"none", seconds)
        except Silence:
            return

    def answer(self, frame: Frame) -> None:
        """Answer a PING or a SYNC of the other end as §2 and §3 ask."""
        if frame.magic == PING:
            self.send(short(ACK, frame.word))
        else:
            self.send(short(SYNC_ACK, frame.seq, 0))

    def greet(self, **members: Any) -> dict[str, Any]:
        """Say HELLO as a connector, and return what the acceptor's HELLO says."""
        self.send(hello(**members))
        frame = self.frame()
        if frame.magic != HELLO:
            raise AssertionError(f"HELLO was due, not {frame.raw!r}")
        return strict_object(frame.body)

    def ping(self, seq: int = 1, ts: int = 2, timeout: float = 3.0) -> None:
        """One PING, and the ACK that belongs to it."""
        self.send(short(PING, seq, ts))
        frame = self.expect(ACK, timeout)
        assert frame.raw == short(ACK, seq, ts), f"ACK of ({seq}, {ts}) was due, not {frame.raw!r}"

    def until_end(self, timeout: float = 3.0) -> tuple[list[Frame], str]:
        """Read without answering until the connection ends: the frames, and ``fin`` or ``reset``. Raises Silence."""
        frames = []
        deadline = time.monotonic() + timeout
        try:
            while True:
                frames.append(self.frame(deadline - time.monotonic()))
        except Ended as end:
            return frames, end.how

    def farewell(self, timeout: float = 3.0) -> Farewell:
        """Read up to the BYE, then end our side as §6 asks of its receiver: nothing may follow, and the other closes.

        A connection that ends before a BYE raises Ended.
        """
        before: list[Frame] = []
        deadline = time.monotonic() + timeout
        while (frame := self.frame(deadline - time.monotonic())).magic != BYE:
            before.append(frame)
        reason = frame.body.decode("utf-8")
        assert not any(ord(one) < 32 or 127 <= ord(one) < 160 for one in reason), f"control characters in {reason!r}"
        with contextlib.suppress(OSError):  # the other end is gone already
            self.sock.shutdown(socket.SHUT_WR)
        after, _ = self.until_end(2.0)
        assert not after, f"BYE was not the last frame: {after}"
        self.close()
        return Farewell(frame.seq, reason, before)

    def close(self) -> None:
        """End it: FIN when all was read."""
        self.sock.close()

    def reset(self) -> None:
        """End it with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise Silence(f"no complete frame in time; {bytes(self._unread[:64])!r} of one")
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(65_536)
        except TimeoutError:
            return
        except (ConnectionResetError, BrokenPipeError):
            raise Ended("reset") from None
        if not data:
            assert not self._unread, f"the connection ended within a frame: {bytes(self._unread[:64])!r}"
            raise Ended("fin")
        self._unread += data

    def _taken(self) -> Frame | None:
        if len(self._unread) < 8:
            return None
        magic = bytes(self._unread[:4])
        (word,) = struct.unpack_from("!I", self._unread, 4)
        if magic in _FIXED:
            length = _FIXED[magic]
        else:
            assert magic in _LIMITS, f"no frame of wire.md: {bytes(self._unread[:64])!r}"
            length = word & 0xFFFF if magic == BYE else word
            assert length <= _LIMITS[magic], f"{magic!r} of {length} bytes"
        if len(self._unread) < 8 + length:
            return None
        body = bytes(self._unread[8 : 8 + length])
        del self._unread[: 8 + length]
        return Frame(magic, word, body, time.monotonic())


def connect(port: int, *, source: str | None = None, buffers: int | None = None) -> RawPeer:
    """A connection to a port of 127.0.0.1, from another address of the loopback or with small buffers if asked."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if buffers is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * buffers)
        if source is not None:
            sock.bind((source, 0))
        sock.settimeout(5.0)
        sock.connect(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return RawPeer(sock)


class RawAcceptor:
    """A listening socket on 127.0.0.1. :meth:`accept` gives the next connection."""

    def __init__(self, port: int = 0) -> None:
        self.sock = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self.sock.getsockname()[1]

    def accept(self, timeout: float = 10.0) -> RawPeer:
        """The next connection. Raises Silence when none comes in time."""
        self.sock.settimeout(timeout)
        try:
            return RawPeer(self.sock.accept()[0])
        except TimeoutError:
            raise Silence("nobody connected in time") from None

    def close(self) -> None:
        """Listen no more."""
        self.sock.close()
