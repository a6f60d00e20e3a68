"""The sending half of a simulated connection: a bounded buffer, and segments that are sent until acknowledged.

Pure: time is a parameter, segments leave through a callable. The model keeps what a heartbeat can notice:
retransmission with exponential backoff, one segment at a time after a loss, a window that closes and is probed.
Congestion control beyond that is left out.

The names and the meaning of the numbers are those of Linux's ``struct tcp_info``.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from heartbeat.testing.network import GRAIN
from heartbeat.testing.segments import BUFFER, SEGMENT

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RETRIES", "SYN_RETRIES", "InFlight", "Outgoing"]

#: Retransmissions before the kernel gives up with ETIMEDOUT (Linux's tcp_retries2): about 15 minutes.
RETRIES: Final = 15
#: The same for a SYN: 1 + 2 + 4 + 8 + 16 seconds, near the 35 s that were measured with 4 retries.
SYN_RETRIES: Final = 4
#: Round trips after which a segment is overdue if one that was sent later has arrived (RFC 8985 §6.2).
OVERDUE: Final = 1.25
#: Seconds: the retransmission timeout before a round trip was measured (RFC 6298 §2.1) ...
FIRST_RTO: Final = 1.0
#: ... the least that is added to the round trip (Linux's TCP_RTO_MIN) ...
MIN_RTO: Final = 0.2
#: ... and the most (Linux's TCP_RTO_MAX).
MAX_RTO: Final = 120.0


class InFlight:
    """A segment that was sent and not acknowledged."""

    __slots__ = ("again", "at", "fin", "seq", "size", "syn")

    def __init__(self, seq: int, size: int, at: float, *, syn: bool = False, fin: bool = False) -> None:
        self.seq = seq
        self.size = size
        self.at = at
        self.again = False
        self.syn = syn
        self.fin = fin


class Outgoing:
    """The sending half.

    :ivar deadline: when :meth:`expired` wants to be called, None: nothing is awaited
    :ivar window: what the peer will take, as its last acknowledgement said
    :ivar ready: the handshake is done and data may leave
    :ivar user_timeout: seconds after which what is not acknowledged, or not taken, is given up; None: after so many
        attempts
    """

    __slots__ = (
        "_ending",
        "_launch",
        "_recover",
        "_start",
        "_waits_since",
        "backoff",
        "bytes_acked",
        "capacity",
        "deadline",
        "fin_sent",
        "flight",
        "last_ack_recv",
        "next",
        "pending",
        "probes",
        "ready",
        "retransmits",
        "rtt",
        "rtt_variation",
        "total_retrans",
        "una",
        "user_timeout",
        "window",
    )

    def __init__(self, launch: Callable[[int, bytes, bool, bool, bool], None], capacity: int = BUFFER) -> None:
        """``launch(seq, data, syn, fin, probe)`` puts a segment on its way."""
        self._launch = launch
        self.capacity = capacity
        self.pending = bytearray()
        self._start = 1
        self.una = 0
        self.next = 0
        self.flight: deque[InFlight] = deque()
        self._recover = 0
        self._ending = False
        self.fin_sent = False
        self.ready = False
        self.window = 0
        self.deadline: float | None = None
        self.backoff = 0
        self.retransmits = 0
        self.probes = 0
        self.total_retrans = 0
        self.bytes_acked = 0
        self.rtt: float | None = None
        self.rtt_variation: float | None = None
        self.last_ack_recv: float | None = None
        self.user_timeout: float | None = None
        self._waits_since: float | None = None  # since when what is on its way, or what the window refuses, waits

    @property
    def free(self) -> int:
        """Bytes that :meth:`write` would take now."""
        return 0 if self._ending else self.capacity - len(self.pending)

    @property
    def notsent(self) -> int:
        """Bytes that were written and never sent."""
        return max(0, self._start + len(self.pending) - self.next) if self.ready else len(self.pending)

    @property
    def done(self) -> bool:
        """A FIN was sent and acknowledged, and so was everything before it."""
        return self.fin_sent and not self.flight

    @property
    def rto(self) -> float:
        """Seconds until a segment is sent again, before any backoff (RFC 6298 §2 with Linux's minimum)."""
        if self.rtt is None or self.rtt_variation is None:
            return FIRST_RTO
        return self.rtt + max(MIN_RTO, 4 * self.rtt_variation)

    def open(self, now: float) -> None:
        """Send the SYN."""
        self._launch_new(InFlight(0, 1, now, syn=True))

    def write(self, data: bytes, now: float) -> int:
        """Take what fits into the buffer, send what may leave. The number of bytes taken."""
        taken = data[: self.free]
        self.pending += taken
        self.push(now)
        return len(taken)

    def finish(self, now: float) -> None:
        """No more data: FIN behind what is still here."""
        self._ending = True
        self.push(now)

    def drop(self) -> None:
        """The connection is gone: forget what is on its way. The counters stay readable, as on Linux."""
        self.flight.clear()
        self.backoff = 0
        self.deadline = None
        self._ending = True

    def push(self, now: float) -> None:
        """Send what the window, and a running recovery, allow."""
        if not self.ready:
            return
        while not (self.flight and self.backoff):
            unsent = self._start + len(self.pending) - self.next
            if unsent <= 0:
                break
            room = self.una + self.window - self.next
            if room <= 0:
                if not self.flight and self.deadline is None:
                    self._arm(now)
                return
            self._launch_new(InFlight(self.next, min(unsent, room, SEGMENT), now))
        if self._ending and not self.fin_sent and not (self.flight and self.backoff):
            self.fin_sent = True
            self._launch_new(InFlight(self.next, 1, now, fin=True))

    def acknowledged(self, ack: int, window: int, now: float, *, pure: bool = True) -> bool:
        """The peer's kernel has everything before ``ack``. True: it is news.

        :param pure: the segment carried no data; one without news then says that something later arrived: what is
            missing is sent again once it is overdue (RACK, RFC 8985), before any timeout
        """
        if not self.una <= ack <= self.next:
            return False
        self.last_ack_recv = now
        news = ack > self.una
        if news:
            self._settle(ack, now)
            self.retransmits = self.backoff = 0
            self.deadline = None
            if self.flight:
                if self.una < self._recover:
                    self._launch_again()
                self._arm(now)
        elif pure and self.flight and self.rtt is not None and now - self.flight[0].at > OVERDUE * self.rtt:
            self.flight[0].at = now
            self._launch_again()
        self.probes = 0
        self.window = window
        if news:
            self._waits_since = now
        if window and not self.flight:
            self.backoff = 0
            self.deadline = None
        self.push(now)
        return news

    def expired(self, now: float) -> bool:
        """``deadline`` has come: send again, or probe the closed window. False: it was tried too often."""
        if self._has_waited(now):
            return False
        if self.flight:
            if self.retransmits >= (SYN_RETRIES if self.flight[0].syn else RETRIES):
                return False
            self.retransmits += 1
            self.backoff += 1
            self._recover = self.next
            self._launch_again()
        else:
            if self.probes >= RETRIES:
                return False
            self.probes += 1
            self.backoff += 1
            self._launch(self.una - 1, b"", False, False, True)
        self._arm(now)
        return True

    def keep_alive(self) -> None:
        """Ask for an acknowledgement where nothing is on its way."""
        self.probes += 1
        self._launch(self.una - 1, b"", False, False, True)

    def _has_waited(self, now: float) -> bool:
        most, since = self.user_timeout, self._waits_since
        return most is not None and since is not None and now - since >= most - GRAIN

    def _launch_new(self, segment: InFlight) -> None:
        self.flight.append(segment)
        self.next = segment.seq + segment.size
        self._emit(segment)
        if self.deadline is None:
            self._arm(segment.at)

    def _launch_again(self) -> None:
        head = self.flight[0]
        head.again = True
        self.total_retrans += 1
        self._emit(head)

    def _emit(self, segment: InFlight) -> None:
        if segment.syn or segment.fin:
            self._launch(segment.seq, b"", segment.syn, segment.fin, False)
        else:
            offset = segment.seq - self._start
            self._launch(segment.seq, bytes(self.pending[offset : offset + segment.size]), False, False, False)

    def _settle(self, ack: int, now: float) -> None:
        flight, taken = self.flight, 0
        while flight and flight[0].seq < ack:
            head = flight[0]
            size = min(head.size, ack - head.seq)
            if not (head.syn or head.fin):
                taken += size
            if size < head.size:
                head.seq += size
                head.size -= size
                break
            flight.popleft()
            if not head.again:  # Karn: an answer to a repeated segment says nothing about time
                self._sample(now - head.at)
        del self.pending[:taken]
        self._start += taken
        self.bytes_acked += taken
        self.una = ack

    def _sample(self, seconds: float) -> None:
        if self.rtt is None or self.rtt_variation is None:
            self.rtt, self.rtt_variation = seconds, seconds / 2
        else:
            self.rtt_variation += (abs(seconds - self.rtt) - self.rtt_variation) / 4
            self.rtt += (seconds - self.rtt) / 8

    def _arm(self, now: float) -> None:
        if self.deadline is None:
            self._waits_since = now
        self.deadline = now + min(self.rto * 2**self.backoff, MAX_RTO)
        if self.user_timeout is not None and self._waits_since is not None:
            self.deadline = max(now, min(self.deadline, self._waits_since + self.user_timeout))
