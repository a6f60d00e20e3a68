"""The receiving half of a simulated connection: delivery in order into a bounded buffer. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heartbeat.testing.segments import BUFFER

if TYPE_CHECKING:
    from heartbeat.testing.segments import Segment

__all__ = ["Incoming"]


class Incoming:
    """The receiving half.

    :ivar next: the number of the next byte that is expected
    :ivar unread: what the process has not read yet
    :ivar ended: a FIN came, and everything before it
    :ivar arrived_at: when the newest data came, None: none yet
    """

    __slots__ = ("_ahead", "_fin_at", "arrived_at", "bytes_received", "capacity", "ended", "next", "promised", "unread")

    def __init__(self, capacity: int = BUFFER) -> None:
        self.capacity = capacity
        self.next = 0
        self.unread = bytearray()
        self._ahead: dict[int, bytes] = {}
        self._fin_at: int | None = None
        self.ended = False
        self.arrived_at: float | None = None
        self.bytes_received = 0
        self.promised = capacity

    @property
    def window(self) -> int:
        """Bytes that may still come."""
        return self.capacity - len(self.unread)

    def take(self, segment: Segment, now: float) -> bool:
        """Sort in what came. True: the process can read something that it could not before."""
        if segment.fin:
            self._fin_at = segment.seq + len(segment.data)
        before = self.next
        if segment.data:
            self._sort(segment.seq, segment.data, now)
        if self.next == self._fin_at and not self.ended:
            self.ended = True
            self.next += 1
        return self.next != before

    def read(self, size: int) -> bytes:
        """Hand out at most ``size`` bytes."""
        data = bytes(self.unread[:size])
        del self.unread[:size]
        return data

    def _sort(self, seq: int, data: bytes, now: float) -> None:
        if seq > self.next:
            if seq + len(data) <= self.next + self.window:
                self._ahead[seq] = data
            return
        while data and seq <= self.next:
            fresh = data[self.next - seq :][: self.window]
            if fresh:
                self.unread += fresh
                self.next += len(fresh)
                self.bytes_received += len(fresh)
                self.arrived_at = now
            seq, data = self.next, self._ahead.pop(self.next, b"")
