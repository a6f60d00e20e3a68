"""What a session wants done with its connection."""

from __future__ import annotations

from enum import Enum

__all__ = ["Parting"]


class Parting(Enum):
    """Read after each call to a session; whoever owns the connection acts."""

    STAY = "nothing: it goes on"
    LINGER = "a BYE was queued: flush it, read on and discard; abort when handle_timer turns this to ABORT"
    CLOSE = "close at once, gracefully but bounded"
    ABORT = "abort"
