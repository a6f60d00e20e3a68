"""Application bytes inside DATA, with credit in both directions (``wire.md`` §7). Pure bookkeeping."""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Final

from heartbeat.errors import NotConnected, PeerViolation
from heartbeat.wire.frames import DATA, HEADER_SIZE, Window

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CHUNK", "FRAME", "Stream"]

#: A DATA frame on the way out, header and all, is at most this: four fill a read of 64 KiB, and each a record of TLS.
FRAME: Final = 16 * 1024
# A PING or an ACK never waits behind more than a few of these.
CHUNK: Final = FRAME - HEADER_SIZE
MOST_CREDIT: Final = 2**31 - 1
#: A write of no more than this is copied into one piece with its neighbours, at most so many of them: that costs less
#: than to handle, and to hold, each by itself.
SMALL: Final = 4096
GATHERED: Final = 64
# A DATA frame is put together from this and its payload, so that the payload need not be copied.
_header: Final = Struct(">4sI").pack
_FULL: Final = _header(DATA, CHUNK)
_END: Final = _header(DATA, 0)


class Stream:
    """The two directions of one wrapped connection.

    :param ours: DATA bytes that we hold for an application that is not reading: the peer's first credit
    :param theirs: the same of the peer: our first credit
    :ivar inbox: what came and nobody has taken, small payloads together: so the objects are bounded as the bytes are
    :ivar ended_in: the peer's application has said that no more comes
    :ivar ended_out: ours has
    :ivar queued: bytes of our application that are in no frame yet
    """

    __slots__ = (
        "_allowed", "_at", "_eaten", "_gathered", "_ours", "_outbox", "_said_end", "_slack", "credit_in",
        "credit_out", "ended_in", "ended_out", "inbox", "queued",
    )  # fmt: skip

    def __init__(self, ours: int, theirs: int) -> None:
        self._ours = ours
        self.credit_in = ours
        self.credit_out = theirs
        self.inbox: deque[bytes | bytearray] = deque()
        self.ended_in = False
        self.ended_out = False
        self._allowed: dict[bytes, int] = {}
        self._eaten = 0  # bytes taken since the last WINDOW
        self._outbox: deque[bytes] = deque()
        self._at = 0  # how much of the first of them is in frames
        self._gathered: list[bytes] = []  # small writes, behind all of that
        self._said_end = False
        self.queued = 0
        self._slack = 0  # up to which small writes need nothing but to wait

    # -- the peer's direction

    def beside(self, others: Mapping[bytes, int]) -> Mapping[bytes, int]:
        """What may stand here: these frames, and DATA within the credit. It is kept up to date until the next call."""
        self._allowed = {**others, DATA: self.credit_in}
        return self._allowed

    def whole(self, frame: bytes) -> bool:
        """Take what looks like one DATA frame and nothing else; False, and nothing happened, where it is not."""
        size = len(frame) - HEADER_SIZE
        if not 0 < size <= self.credit_in or frame[:HEADER_SIZE] != _header(DATA, size) or self.ended_in:
            return False
        self.received(frame[HEADER_SIZE:])
        return True

    def received(self, payload: bytes) -> None:
        """A DATA frame came; its length was checked against :attr:`credit_in` at its header."""
        if self.ended_in:
            raise PeerViolation("DATA after the end of the stream")
        if not payload:
            self.ended_in = True
            return
        size = len(payload)
        if size > self.credit_in:
            raise PeerViolation(f"DATA of {size} bytes with a credit of {self.credit_in}")
        self._allowed[DATA] = self.credit_in = self.credit_in - size
        inbox = self.inbox
        if not inbox or len(inbox[-1]) + size > CHUNK:
            inbox.append(payload)
        elif type(last := inbox[-1]) is bytearray:
            last += payload
        else:
            inbox[-1] = bytearray(last + payload)

    def take(self) -> bytes:
        """The oldest bytes for the application, ``b""`` if there are none; then :meth:`ate` when they were consumed."""
        return bytes(self.inbox.popleft()) if self.inbox else b""

    def ate(self, count: int) -> bytes:
        """The application has consumed ``count`` bytes. Returns WINDOW frames when enough came together."""
        self._eaten += count
        out = b""
        while 2 * self._eaten >= self._ours and not self.ended_in:
            step = min(self._eaten, self._ours // 2)
            self._eaten -= step
            self._allowed[DATA] = self.credit_in = self.credit_in + step
            out += Window(step).encode()
        return out

    # -- our direction

    def window(self, credit: int) -> None:
        """A WINDOW frame came."""
        if credit == 0:
            raise PeerViolation("WINDOW of 0 bytes")
        if self.credit_out + credit > MOST_CREDIT:
            raise PeerViolation(f"WINDOW of {credit} bytes makes the credit over {MOST_CREDIT}")
        self.credit_out += credit

    def ease(self, most: int) -> None:
        """Small writes need nothing but to wait while no more than ``most`` bytes do: :meth:`gather` takes them. 0: it
        takes none, because nobody would come and send them."""
        self._slack = 0 if self.ended_out else most

    def gather(self, data: bytes) -> bool:
        """Queue a small write behind what waits; False, and nothing happened, where that is more than :meth:`ease`
        allows: :meth:`send` it then, and see what is to be done."""
        size = len(data)
        queued = self.queued + size
        if queued > self._slack or size > SMALL:
            return False
        self.queued = queued
        gathered = self._gathered
        gathered.append(data)
        if len(gathered) >= GATHERED:
            self._join()
        return True

    def send(self, data: bytes) -> None:
        """Queue bytes of our application; they leave with :meth:`data_to_send`. Small writes are gathered.

        :raises NotConnected: after :meth:`end`
        """
        if self.ended_out:
            raise NotConnected("the stream has ended in this direction")
        self.queued += len(data)
        if len(data) > SMALL:
            self._join()
            self._outbox.append(data)
            return
        self._gathered.append(data)
        if len(self._gathered) >= GATHERED:
            self._join()

    def _join(self) -> None:
        """What was gathered is one piece from here on."""
        if together := b"".join(self._gathered):
            self._outbox.append(together)
        self._gathered.clear()

    def end(self) -> None:
        """Our application has no more: half-close, behind what is queued. Needs no credit."""
        self.ended_out = True
        self._slack = 0

    def drop(self) -> None:
        """Forget what is queued: nothing can be sent any more."""
        self._outbox.clear()
        self._gathered.clear()
        self._at = self.queued = self._slack = 0

    @property
    def ready(self) -> bool:
        """Whether there is a frame to send, of which the credit allows at least some."""
        return self.credit_out > 0 if self.queued else self.ended_out and not self._said_end

    def data_to_send(self, room: int) -> list[bytes | memoryview]:
        """DATA frames of at most ``room`` bytes in all, as far as the credit goes: the pieces that make them up, in
        order. What is large is never copied, and what is small shares a frame."""
        self._join()
        out: list[bytes | memoryview] = []
        left = most = min(self.queued, self.credit_out)
        while left and room > HEADER_SIZE:
            head, at = memoryview(self._outbox[0]), self._at
            wide = min(left, len(head) - at, room // FRAME * CHUNK) // CHUNK * CHUNK
            for start in range(at, at + wide, CHUNK):  # whole frames out of one large write
                out += (_FULL, head[start : start + CHUNK])
            if wide:
                self._skip(wide)
                room -= wide // CHUNK * FRAME
                left -= wide
            else:
                size = min(CHUNK, left, room - HEADER_SIZE)
                out += (_header(DATA, size), self._cut(size))
                room -= HEADER_SIZE + size
                left -= size
        self.credit_out -= most - left
        self.queued -= most - left
        if self.ended_out and not (self.queued or self._said_end) and room >= HEADER_SIZE:
            self._said_end = True
            out.append(_END)
        return out

    def _cut(self, size: int) -> bytes | memoryview:
        """The first ``size`` bytes of the outbox: a view where one write has them, together where several have."""
        outbox, at = self._outbox, self._at
        left = len(outbox[0]) - at
        if size <= left:
            piece = memoryview(outbox[0])[at : at + size]
            self._skip(size)
            return piece
        pieces: list[bytes | memoryview] = [memoryview(outbox.popleft())[at:]]
        need = size - left
        while len(outbox[0]) <= need:
            pieces.append(outbox.popleft())
            need -= len(pieces[-1])
            if not need:
                break
        self._at = need
        if need:
            pieces.append(memoryview(outbox[0])[:need])
        return b"".join(pieces)

    def _skip(self, size: int) -> None:
        """The first write has given this much more."""
        self._at += size
        if self._at == len(self._outbox[0]):
            self._outbox.popleft()
            self._at = 0
