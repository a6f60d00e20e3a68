"""When to connect again: full jitter, and what the peer's BYE asked for (``wire.md`` §6). Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from heartbeat.liveness.pace import jittered
from heartbeat.session.byes import BYE_CAUSES, BYE_DETAILS, after_ms

if TYPE_CHECKING:
    from heartbeat.wire.frames import Bye

__all__ = ["CALM_DOWN", "SUPERSEDED", "reconnect_after"]

# Full jitter (the whole delay is random) spreads a herd; a first try within a second, the cap at half a minute.
BASE: Final = 0.5
MOST: Final = 30.0
MOST_DOUBLINGS: Final = 16
# The peer, or we, must change first: look again every five minutes, and nobody stays away for good (wire.md §6).
RARELY: Final = 300.0
LEAST_AFTER: Final = 1.0
RARE_CODES: Final = frozenset({0, 2, 3, 4, 5, 8})
DRAINING: Final = 1
SUPERSEDED: Final = 7
#: ... and double the interval.
CALM_DOWN: Final = 9
TOO_OLD: Final = 12


def reconnect_after(bye: Bye | None, attempt: int, draw: Callable[[], float]) -> float | None:
    """Seconds until the next attempt, or None: never.

    :param bye: what the peer said last, None if it said nothing
    :param attempt: 1 for the first attempt after a failure or a loss
    :param draw: gives 0 ≤ x < 1
    """
    backoff = draw() * min(MOST, BASE * 2.0 ** min(attempt, MOST_DOUBLINGS))
    if bye is None or (bye.code not in BYE_CAUSES and bye.code not in BYE_DETAILS):
        return backoff
    if bye.code == SUPERSEDED:
        return None
    if bye.code in RARE_CODES:
        return jittered(RARELY, draw)
    if bye.code == TOO_OLD and attempt <= 1:
        return 0.0
    after = after_ms(bye.reason) if bye.code == DRAINING else None
    if after is None:
        return backoff
    seconds = max(LEAST_AFTER, after / 1000.0)
    return seconds + draw() * seconds
