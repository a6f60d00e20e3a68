"""Signs of life of a peer that nobody may ask: what its kernel has said to ours since the last look. Pure.

Theory of operation. An unmodified peer is not asked by us. Our own kernel asks, by what the application has in flight
and, while nothing is, by keepalives; the peer's answers, also for a process that is busy or stopped. What counts:

* bytes of the peer that came in, read or not;
* an acknowledgement of something new: of what is in flight, or of a segment behind a lost one;
* where nothing is in flight, or the window of the peer is closed: any acknowledgement, for it answers a keepalive or a
  probe of the window.

While something is in flight, an acknowledgement of nothing new is no sign of life: a peer that cannot hear us repeats
itself, and each repetition acknowledges what it heard last (facts K2b).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heartbeat.liveness.table import UNANSWERED

if TYPE_CHECKING:
    from heartbeat.liveness.evidence import Evidence, TcpInfo

__all__ = ["asked", "asked_in_vain", "newest_sign"]


def newest_sign(before: TcpInfo | None, seen: Evidence) -> float | None:
    """When the newest sign of life came, on the clock of ``seen.at``; None: there is none since ``before``.

    :param before: an earlier look at the same connection; None: there was none, and only answers count
    """
    tcp = seen.tcp
    if tcp is None:
        return None
    ages = []
    if _grown(before, tcp, "bytes_received"):
        ages.append(tcp.last_data_recv)
    if not tcp.unacked or tcp.snd_wnd == 0 or _grown(before, tcp, "delivered") or _grown(before, tcp, "bytes_acked"):
        ages.append(tcp.last_ack_recv)
    known = [age for age in ages if age is not None]
    return seen.at - min(known) if known else None


def asked(tcp: TcpInfo | None) -> bool:
    """Whether our kernel waits for an answer of the peer's: to data, to a probe of its window, or to a keepalive.

    A closed window that was answered is asked again more and more rarely, and in between not at all.
    """
    return tcp is not None and bool(tcp.unacked or tcp.probes or (tcp.notsent and tcp.snd_wnd != 0))


def asked_in_vain(tcp: TcpInfo | None) -> bool:
    """Whether it has asked more than once, by whatever it has: one segment is lost on good paths, too."""
    return tcp is not None and max(tcp.probes, tcp.retransmits) >= UNANSWERED


def _grown(before: TcpInfo | None, now: TcpInfo, name: str) -> bool:
    old = None if before is None else getattr(before, name)
    new = getattr(now, name)
    return old is not None and new is not None and new > old
