"""Application bytes inside DATA, with credit in both directions (``wire.md`` §7). Pure bookkeeping."""

from __future__ import annotations

from collections import deque
from typing import Final

from heartbeat.errors import NotConnected, PeerViolation
from heartbeat.wire.frames import HEADER_SIZE, Data, Window

__all__ = ["CHUNK", "Stream"]

# A PING or an ACK never waits behind more than a few of these.
CHUNK: Final = 16 * 1024
MOST_CREDIT: Final = 2**31 - 1


class Stream:
    """The two directions of one wrapped connection.

    :param ours: DATA bytes that we hold for an application that is not reading: the peer's first credit
    :param theirs: the same of the peer: our first credit
    :ivar inbox: payloads that came and that nobody has taken
    :ivar ended_in: the peer's application has said that no more comes
    :ivar ended_out: ours has
    """

    __slots__ = ("_eaten", "_ours", "_outbox", "credit_in", "credit_out", "ended_in", "ended_out", "inbox", "queued")

    def __init__(self, ours: int, theirs: int) -> None:
        self._ours = ours
        self.credit_in = ours
        self.credit_out = theirs
        self.inbox: deque[bytes] = deque()
        self.ended_in = False
        self.ended_out = False
        self._eaten = 0  # bytes taken since the last WINDOW
        self._outbox: deque[memoryview] = deque()  # views: what waits is never copied to cut a chunk off
        self.queued = 0  # bytes in the outbox

    def received(self, payload: bytes) -> None:
        """A DATA frame came; its length was checked against :attr:`credit_in` at its header."""
        if self.ended_in:
            raise PeerViolation("DATA after the end of the stream")
        if not payload:
            self.ended_in = True
            return
        if len(payload) > self.credit_in:
            raise PeerViolation(f"DATA of {len(payload)} bytes with a credit of {self.credit_in}")
        self.credit_in -= len(payload)
        self.inbox.append(payload)

    def take(self) -> bytes:
        """The oldest payload for the application, ``b""`` if there is none; then :meth:`ate` when it was consumed."""
        return self.inbox.popleft() if self.inbox else b""

    def ate(self, count: int) -> bytes:
        """The application has consumed ``count`` bytes. Returns WINDOW frames when enough came together."""
        self._eaten += count
        out = b""
        while 2 * self._eaten >= self._ours and not self.ended_in:
            step = min(self._eaten, self._ours // 2)
            self._eaten -= step
            self.credit_in += step
            out += Window(step).encode()
        return out

    def window(self, credit: int) -> None:
        """A WINDOW frame came."""
        if credit == 0:
            raise PeerViolation("WINDOW of 0 bytes")
        if self.credit_out + credit > MOST_CREDIT:
            raise PeerViolation(f"WINDOW of {credit} bytes makes the credit over {MOST_CREDIT}")
        self.credit_out += credit

    def send(self, data: bytes) -> None:
        """Queue bytes of our application; they leave with :meth:`data_to_send`.

        :raises NotConnected: after :meth:`end`
        """
        if self.ended_out:
            raise NotConnected("the stream has ended in this direction")
        if data:
            self._outbox.append(memoryview(data))
            self.queued += len(data)

    def end(self) -> None:
        """Our application has no more: half-close, behind what is queued. Needs no credit."""
        if not self.ended_out:
            self.ended_out = True
            self._outbox.append(memoryview(b""))

    def data_to_send(self, room: int) -> bytes:
        """DATA frames of at most ``room`` bytes in all, as far as the credit goes."""
        out = bytearray()
        outbox = self._outbox
        while outbox and len(out) + HEADER_SIZE <= room:
            head = outbox[0]
            if not len(head):
                out += Data(b"").encode()
                outbox.popleft()
                continue
            most = min(CHUNK, self.credit_out, room - len(out) - HEADER_SIZE)
            if most <= 0:
                break
            chunk = head[:most]
            if len(chunk) == len(head):
                outbox.popleft()
            else:
                outbox[0] = head[most:]
            self.credit_out -= len(chunk)
            self.queued -= len(chunk)
            out += Data(bytes(chunk)).encode()
        return bytes(out)
