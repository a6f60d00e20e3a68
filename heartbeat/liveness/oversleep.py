"""An end that we may have brought about ourselves: we did not listen for as long as a peer waits.

A peer that is not answered gives its connection up, and closes it without a word: that looks like its death. After a
stall of ours the two cannot be told apart by looking at the connection, so the cause stays what the kernel proves (it
was closed, or reset), and the detail says that the fault may be ours. Whether it was, its return shows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from heartbeat.liveness.evidence import Evidence
from heartbeat.liveness.table import TICK

if TYPE_CHECKING:
    from heartbeat.liveness.attention import Attention
    from heartbeat.liveness.terms import Terms

__all__ = ["OWN_STALL", "overslept", "proof"]

#: The detail of such an end.
OWN_STALL: Final = "own_stall"
# What a peer that gives us up leaves behind: its kernel's FIN or RST, or the RST that answers what we say too late.
GIVEN_UP: Final = frozenset({"peer_closed", "peer_reset", "middlebox_reset"})


def overslept(attention: Attention, terms: Terms, seen: Evidence | None, heard_at: float, now: float) -> float:
    """For how many seconds we did not listen before an end, if that was long enough to be given up; else 0.0.

    :param terms: by which we judge the peer; that it waits as long for us is assumed
    :param seen: the look before the descriptor was closed
    :param heard_at: when we read its last frame
    """
    stalled, until = attention.missed(now - terms.interval, now)
    arrived = None if seen is None or seen.tcp is None else seen.tcp.last_data_recv
    if arrived is not None:
        if now - arrived > until + TICK:
            stalled = 0.0  # it has spoken since: it had not given us up
        stalled = max(stalled, arrived - (now - heard_at))  # for so long lay here what it said last
    return stalled if stalled >= terms.timeout else 0.0


def proof(cause: str, detail: str, seen: Evidence | None, stalled: float, now: float) -> Evidence | None:
    """The evidence of an end. Where we had overslept it says so, and :attr:`.Evidence.lag` for how long.

    :param detail: what it is called else, unless who looked has a name for it
    """
    if stalled and cause in GIVEN_UP:
        return replace(seen or Evidence(now), detail=OWN_STALL, lag=round(stalled, 3))
    return seen if seen is None or seen.detail is not None else replace(seen, detail=detail)
