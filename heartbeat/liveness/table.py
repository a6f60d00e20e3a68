"""The decision table: from what could be seen of a connection to the cause of its end. Data, and what it asks for.

Theory of operation. A :class:`Case` is what was seen; a :class:`Row` is a condition on it and the name that it proves.
The first row that fits wins, and the last one of each table fits always: it says ``unattributed``. Every condition
is a statement about counters of the kernel; what is not known (None) fits no row that needs it. :data:`SILENCES` judges
a peer that went silent, from two looks; :data:`ENDINGS` a transport that ended, from one look that was taken while its
descriptor was still open. Which fault leaves which counters behind was measured on Linux: ``docs/topics/verdict.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from heartbeat.liveness.evidence import Evidence, TcpInfo

__all__ = ["ENDINGS", "SILENCES", "Case", "Row", "first"]

# The state of a connection that got a RST or was given up (include/net/tcp_states.h).
CLOSED: Final = 7
# A usual segment; a window in which neither this nor all that waits finds room is as good as closed.
SEGMENT: Final = 1460
# The way out of a link that is down has the least MTU that IPv4 knows (RFC 791); no real path has.
NO_LINK: Final = 68
# A delayed acknowledgement may come this much later than data, and a RTT: only what is newer proves anything.
DELAYED: Final = 0.3
# The kernel counts these times in ticks, of 4 ms mostly, and we look a little later.
TICK: Final = 0.006
# The answer of a path takes no more than this many of its shortest round trips.
ABOUT_ONE: Final = 1.5
# Repetitions without an answer that prove a broken path: one segment is lost on good ones, too.
UNANSWERED: Final = 2
UNREACHABLE: Final = frozenset({"EHOSTUNREACH", "ENETUNREACH"})


@dataclass(frozen=True, slots=True)
class Case:
    """What was seen.

    :ivar last: the look at the verdict, or the one before the descriptor closed
    :ivar half: the look at half time, None if there was none
    :ivar asked: a question of ours is with the kernel since the last sign of life
    :ivar how: how the transport ended (:class:`heartbeat.liveness.evidence.Ending`), ``""`` for a silence
    """

    last: Evidence | None
    half: Evidence | None = None
    asked: bool = True
    how: str = ""

    @property
    def tcp(self) -> TcpInfo | None:
        """The kernel's last word."""
        return None if self.last is None else self.last.tcp

    def grown(self, name: str) -> int | None:
        """By how much a counter of the kernel has grown since half time; None: not known."""
        before = None if self.half is None or self.half.tcp is None else getattr(self.half.tcp, name)
        after = None if self.tcp is None else getattr(self.tcp, name)
        return None if before is None or after is None else after - before


class Row(NamedTuple):
    """One line: ``number`` is that of the table in the docs."""

    number: str
    fits: Callable[[Case], bool]
    cause: str
    detail: str


def first(table: tuple[Row, ...], case: Case) -> Row:
    """The first row that fits."""
    return next(row for row in table if row.fits(case))


# -- what rows ask of a silence


def cannot_say(case: Case) -> bool:
    """No question is out, or this transport or platform shows nothing."""
    return not case.asked or case.tcp is None or case.tcp.unacked is None


def kept_alive_in_vain(case: Case) -> bool:
    """Nothing waits to be sent, so what was probed and not answered is the path: keepalives of the kernel."""
    tcp = case.tcp
    if tcp is None or tcp.notsent != 0 or (case.last is not None and case.last.waiting):
        return False
    return tcp.probes >= UNANSWERED and (not tcp.unacked or tcp.retransmits == 0)


def acknowledged(case: Case) -> bool:
    """The peer's kernel has all that we wrote, and nothing waits anywhere."""
    tcp = case.tcp
    waiting = case.last is not None and case.last.waiting
    return tcp is not None and tcp.unacked == 0 and tcp.notsent == 0 and not waiting


def acknowledged_since(case: Case) -> bool:
    """The peer's kernel took something after half time, so the path has carried packets both ways meanwhile."""
    return bool(case.grown("bytes_acked"))


def acknowledged_before(case: Case) -> bool:
    """All that we wrote until half time was acknowledged then, our second question included; what is on its way now is
    younger than a retransmission timeout."""
    half, tcp = case.half, case.tcp
    if half is None or half.tcp is None or tcp is None:
        return False
    return half.waiting == 0 and half.tcp.unacked == half.tcp.notsent == 0 and tcp.retransmits == 0 < (tcp.unacked or 0)


def window_closed(case: Case) -> bool:
    """The peer's kernel has no room for what waits, and says so: it answers our probes."""
    tcp = case.tcp
    return tcp is not None and tcp.snd_wnd == 0 and bool(tcp.notsent) and tcp.probes <= 1


def _room(tcp: TcpInfo) -> bool:
    """Something waits to be sent, and the window of the peer is open for it."""
    return bool(tcp.notsent and tcp.snd_wnd) and (tcp.snd_wnd or 0) >= min(tcp.notsent or 0, tcp.snd_mss or SEGMENT)


def link_down(case: Case) -> bool:
    """Nothing is on its way, the window is open, and the way out is that of a link which is down."""
    return not_leaving(case) and case.tcp is not None and case.tcp.pmtu is not None and case.tcp.pmtu <= NO_LINK


def not_leaving(case: Case) -> bool:
    """Nothing is on its way, the window is open, and still something waits: our own host does not send it."""
    tcp = case.tcp
    if tcp is None or tcp.unacked != 0 or not _room(tcp):
        return False
    half = None if case.half is None else case.half.tcp
    since_half_time = half is not None and half.unacked == 0 and bool(half.notsent) and case.grown("bytes_acked") == 0
    return tcp.probes > 0 or tcp.backoff > 0 or since_half_time


def not_repeated(case: Case) -> bool:
    """Repetitions were due, and could not leave this host: its link, or its way to the next hop, is broken."""
    tcp = case.tcp
    if tcp is None or not tcp.unacked or not tcp.retransmits:
        return False
    return _withheld(case, tcp)


def _withheld(case: Case, tcp: TcpInfo) -> bool:
    tried, sent = case.grown("retransmits"), case.grown("total_retrans")
    fewer = tried is not None and sent is not None and sent < tried
    never = tcp.total_retrans is not None and tcp.total_retrans < tcp.retransmits
    return fewer or never or tcp.retrans == 0


def unanswered(case: Case) -> bool:
    """What we sent was repeated, and never acknowledged."""
    tcp = case.tcp
    return tcp is not None and bool(tcp.unacked) and tcp.retransmits > 0


def speaks_but_does_not_hear(case: Case) -> bool:
    """... while segments of the peer came in that acknowledge nothing new: it repeats itself, too."""
    return unanswered(case) and case.tcp is not None and _heard_since(case.tcp)


def _heard_since(tcp: TcpInfo) -> bool:
    """Something came in after our oldest unanswered segment was sent."""
    data, ack = tcp.last_data_recv, tcp.last_ack_recv
    if data is None or ack is None:
        return False
    if tcp.last_data_sent is not None and tcp.rto is not None and tcp.retransmits:
        # The newest repetition came at least half of the (doubled) timeout after the one before.
        return min(data, ack) < tcp.last_data_sent + tcp.rto / 2 - TICK
    return ack + (tcp.rtt or 0.0) + DELAYED < data


def unreachable(case: Case) -> bool:
    """... and ICMP errors took back some of the doublings of the timeout (RFC 6069)."""
    return unanswered(case) and case.tcp is not None and case.tcp.retransmits > case.tcp.backoff


def too_early(case: Case) -> bool:
    """Something is on its way, for less than a retransmission timeout."""
    return case.tcp is not None and bool(case.tcp.unacked) and case.tcp.retransmits == 0


def always(case: Case) -> bool:
    """Nothing is proved."""
    return True


#: A peer that went silent. The numbers are those of ``facts.md`` K3; ``b`` and ``c`` are further proofs of the same.
SILENCES: Final[tuple[Row, ...]] = (
    Row("21", cannot_say, "unattributed", "silent"),
    Row("12", kept_alive_in_vain, "path_dead", "keepalive"),
    Row("13", acknowledged, "peer_stalled", "acknowledged"),
    Row("14", window_closed, "peer_not_reading", "window"),
    Row("13b", acknowledged_since, "peer_stalled", "acknowledged"),
    Row("13c", acknowledged_before, "peer_stalled", "acknowledged"),
    Row("15b", link_down, "local_link", "down"),
    Row("15", not_leaving, "local_egress", "not_sent"),
    Row("16", not_repeated, "local_link", "not_sent"),
    Row("19", speaks_but_does_not_hear, "path_dead", "one_way"),
    Row("17", unreachable, "path_dead", "icmp"),
    Row("18", unanswered, "path_dead", "silent"),
    Row("20", too_early, "unattributed", "too_early"),
    Row("-", always, "unattributed", "silent"),
)


# -- what rows ask of an end. The kernel has cleared ``unacked`` and ``backoff`` by then; ``outq`` it has not.


def closed_by_peer(case: Case) -> bool:
    """A FIN."""
    return case.how == "eof"


def aborted(case: Case) -> bool:
    """We did it."""
    return case.how == "aborted"


def _given_up(case: Case) -> TcpInfo | None:
    """The kernel's last word on a connection that got a RST, or that it gave up."""
    tcp = case.tcp
    return tcp if tcp is not None and tcp.state == CLOSED and case.how in ("reset", "error") else None


def shut_window(case: Case) -> bool:
    """The window of the peer was closed, and something waited for it."""
    tcp = _given_up(case)
    return tcp is not None and tcp.snd_wnd == 0 and bool(tcp.notsent)


def left_behind(case: Case) -> bool:
    """Nothing was on its way, the window was open, and still something had not left this host."""
    tcp = _given_up(case)
    return tcp is not None and case.last is not None and case.last.in_flight == 0 and _room(tcp)


def left_behind_by_link(case: Case) -> bool:
    """... because its link was down."""
    tcp = _given_up(case)
    return left_behind(case) and tcp is not None and tcp.pmtu is not None and tcp.pmtu <= NO_LINK


def never_repeated(case: Case) -> bool:
    """Repetitions were due, and could not leave this host."""
    tcp = _given_up(case)
    return tcp is not None and tcp.retransmits >= UNANSWERED and _withheld(case, tcp)


def given_up_unreachable(case: Case) -> bool:
    """The kernel says so."""
    return case.last is not None and case.last.error in UNREACHABLE


def given_up_unheard(case: Case) -> bool:
    """It ended while we repeated ourselves in vain, and things came in meanwhile."""
    tcp = _given_up(case)
    return given_up(case) and tcp is not None and _heard_since(tcp)


def given_up(case: Case) -> bool:
    """It ended while we repeated ourselves, or a keepalive, in vain; or the kernel says that it waited too long."""
    tcp = _given_up(case)
    if case.last is not None and case.last.error == "ETIMEDOUT":
        return True
    return tcp is not None and (tcp.retransmits >= UNANSWERED or (tcp.probes >= UNANSWERED and not tcp.notsent))


def probe_reset(case: Case) -> bool:
    """A RST in answer to a keepalive: whoever sent it knows nothing (any more) of this connection."""
    tcp = _given_up(case)
    return case.how == "reset" and tcp is not None and tcp.probes > 0 and not tcp.notsent


def provoked(case: Case) -> bool:
    """A RST that came about a round trip after something of ours: after data that is still unanswered, or after the
    (delayed) acknowledgement of what had come in last."""
    tcp = _given_up(case)
    if case.how != "reset" or case.last is None or tcp is None or tcp.last_data_sent is None:
        return False
    rtt = tcp.min_rtt if tcp.min_rtt is not None else tcp.rtt or 0.0
    if case.last.in_flight != 0:
        if tcp.last_data_recv is not None and tcp.last_data_recv - tcp.last_data_sent <= 2 * TICK:
            return False  # it was our answer to what had just come: whoever sent that was there a moment ago
        return rtt - TICK <= tcp.last_data_sent <= ABOUT_ONE * rtt + TICK
    if tcp.ato is None or tcp.last_data_recv is None:
        return False
    return rtt <= tcp.last_data_recv - tcp.ato <= ABOUT_ONE * rtt + 2 * TICK


def reset(case: Case) -> bool:
    """Any other RST."""
    return case.how == "reset"


#: A transport that ended without BYE.
ENDINGS: Final[tuple[Row, ...]] = (
    Row("-", aborted, "unattributed", "aborted"),
    Row("5", closed_by_peer, "peer_closed", "eof"),
    Row("8", shut_window, "peer_not_reading", "window"),
    Row("8b", left_behind_by_link, "local_link", "down"),
    Row("8c", left_behind, "local_egress", "not_sent"),
    Row("9b", never_repeated, "local_link", "not_sent"),
    Row("9", given_up_unreachable, "path_dead", "icmp"),
    Row("8d", given_up_unheard, "path_dead", "one_way"),
    Row("8e", given_up, "path_dead", "silent"),
    Row("7", provoked, "middlebox_reset", "provoked"),
    Row("7b", probe_reset, "middlebox_reset", "provoked"),
    Row("6", reset, "peer_reset", "unprovoked"),
    Row("-", always, "unattributed", "error"),
)
