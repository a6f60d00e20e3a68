"""What could be observed at one moment. Frozen values: the shell collects them, :mod:`.causes` judges them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from typing import Any, Literal

__all__ = ["Ending", "Evidence", "TcpInfo"]

_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")
_MS = 1000.0
_US = 1_000_000.0


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """The part of Linux's ``struct tcp_info`` that says something about liveness.

    Times are seconds (the kernel counts some in ms, some in µs). A field that the running kernel does not
    have, because its structure is shorter, is None. Source: ``include/uapi/linux/tcp.h``.

    :ivar state: as in ``include/net/tcp_states.h``: 1 established, 7 closed, 8 the peer has closed
    :ivar retransmits: attempts to send the oldest unacknowledged segment again, whether or not they left
    :ivar probes: probes that were not acknowledged: of a window, or of what our own host would not send
    :ivar backoff: doublings of the retransmission timeout; ICMP errors take them back (RFC 6069)
    :ivar unacked: segments on their way; 0 once the connection has ended
    :ivar total_retrans: segments that were really sent again, in the life of the connection
    :ivar retrans: of the segments on their way, those that were really sent again
    :ivar notsent: bytes that were never sent
    :ivar snd_wnd: bytes that the peer's kernel will take
    :ivar last_data_sent: seconds since data was last sent, sent again included
    :ivar pmtu: the largest packet that the way out takes, bytes
    :ivar min_rtt: the shortest round trip of the last minutes, seconds; what one without delayed ACKs takes
    :ivar ato: by how much our kernel delays an acknowledgement, seconds
    :ivar delivered: segments that the peer's kernel has, also those behind one that was lost (RFC 2018)
    """

    state: int
    retransmits: int
    probes: int
    backoff: int
    rto: float | None = None
    unacked: int | None = None
    last_data_recv: float | None = None
    last_ack_recv: float | None = None
    rtt: float | None = None
    rtt_variation: float | None = None
    total_retrans: int | None = None
    bytes_acked: int | None = None
    bytes_received: int | None = None
    notsent: int | None = None
    snd_wnd: int | None = None
    snd_mss: int | None = None
    retrans: int | None = None
    last_data_sent: float | None = None
    pmtu: int | None = None
    min_rtt: float | None = None
    ato: float | None = None
    delivered: int | None = None

    @classmethod
    def parse(cls, raw: bytes) -> TcpInfo | None:
        """Read what ``getsockopt(IPPROTO_TCP, TCP_INFO)`` gave, by its length; None if it is no such structure."""
        if len(raw) < 8:
            return None

        def u32(offset: int) -> int | None:
            return _U32.unpack_from(raw, offset)[0] if len(raw) >= offset + 4 else None

        def u64(offset: int) -> int | None:
            return _U64.unpack_from(raw, offset)[0] if len(raw) >= offset + 8 else None

        def seconds(offset: int, per_second: float) -> float | None:
            value = u32(offset)
            return None if value is None else value / per_second

        return cls(
            state=raw[0],
            retransmits=raw[2],
            probes=raw[3],
            backoff=raw[4],
            rto=seconds(8, _US),
            unacked=u32(24),
            last_data_recv=seconds(52, _MS),
            last_ack_recv=seconds(56, _MS),
            rtt=seconds(68, _US),
            rtt_variation=seconds(72, _US),
            total_retrans=u32(100),
            bytes_acked=u64(120),
            bytes_received=u64(128),
            notsent=u32(144),
            snd_wnd=u32(228),
            snd_mss=u32(16),
            retrans=u32(36),
            last_data_sent=seconds(44, _MS),
            pmtu=u32(60),
            min_rtt=seconds(148, _US),
            ato=seconds(12, _US),
            delivered=u32(192),
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the shell could see at one moment. None: this platform or this transport cannot say.

    :ivar at: when it was taken, seconds on the monotonic clock
    :ivar unread: bytes in the kernel that nobody has read yet (SIOCINQ)
    :ivar waiting: bytes in user space that the kernel has not taken
    :ivar outq: bytes in the kernel that the peer's kernel has not acknowledged (SIOCOUTQ)
    :ivar reading: False while the application has paused the transport
    :ivar tls_pending: bytes of an unfinished TLS record
    :ivar tcp: the kernel's own view of the connection
    :ivar error: the error that the kernel reported, by name (``ECONNRESET``)
    :ivar lag: for how long we had not listened, in seconds, where that may have brought about the end
    :ivar handed_over: how we know that the kernel took the question: it said so, or two polls went by
    :ivar detail: a finer name than the cause (``silent``, ``no_round_trip`` ...)
    """

    at: float
    unread: int | None = None
    waiting: int | None = None
    outq: int | None = None
    reading: bool | None = None
    tls_pending: int | None = None
    tcp: TcpInfo | None = None
    error: str | None = None
    lag: float | None = None
    handed_over: Literal["exact", "guess"] | None = None
    detail: str | None = None

    @property
    def in_flight(self) -> int | None:
        """Bytes that left and were not acknowledged; unlike ``tcp.unacked`` it can still be told after the end."""
        if self.outq is None or self.tcp is None or self.tcp.notsent is None:
            return None
        return self.outq - self.tcp.notsent

    def as_json(self) -> dict[str, Any]:
        """The observed fields only, as plain values for JSON."""
        seen: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, TcpInfo):
                value = {f.name: v for f in fields(value) if (v := getattr(value, f.name)) is not None}
            if value is not None:
                seen[field.name] = value
        return seen


@dataclass(frozen=True, slots=True)
class Ending:
    """How a transport ended, as the shell saw it.

    :ivar how: ``eof`` (a clean FIN), ``reset`` (RST), ``error`` (anything else that the kernel said),
        ``aborted`` (we did it)
    :ivar evidence: taken before the descriptor was closed, where that is possible
    :ivar refused: the reason and the detail, where the transport itself says why no connection came about (TLS does);
        of no account once the gate was open
    """

    how: Literal["eof", "reset", "error", "aborted"]
    evidence: Evidence | None = None
    refused: tuple[str, str] | None = None
