"""What each BYE code means (``wire.md`` §6), as data."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["BYE_CAUSES", "BYE_DETAILS", "UNKNOWN_CODE", "after_ms", "cause_of"]

#: A BYE that is no failure: the peer has left, with this detail.
BYE_DETAILS: Final = {0: "leaving", 1: "draining", 7: "superseded", 12: "age"}
#: A BYE that is a failure, with this cause.
BYE_CAUSES: Final = {
    2: "protocol_error",
    3: "version_refused",
    4: "terms_refused",
    5: "identity_refused",
    6: "id_in_use",
    8: "intercepted",
    9: "ping_flood",
    10: "server_full",
    11: "peer_not_reading",
}
#: What a code that is in neither table is treated as.
UNKNOWN_CODE: Final = 10
# A drain longer than this is counted as this: nobody is kept away for hours by one text.
MOST_AFTER_MS: Final = 600_000
_AFTER: Final = re.compile(r"after=([0-9]+)(?!\S)")


def cause_of(code: int) -> str:
    """The cause that a BYE of this code stands for; for one that is no failure ``unattributed``."""
    if code in BYE_DETAILS:
        return "unattributed"
    return BYE_CAUSES.get(code, BYE_CAUSES[UNKNOWN_CODE])


def after_ms(reason: str) -> int | None:
    """The milliseconds of an ``after=<ms>`` at the start of the reason, None if there are none; at most ten minutes."""
    found = _AFTER.match(reason)
    return None if found is None else min(int(found[1]), MOST_AFTER_MS)  # a reason is at most 256 bytes long
