"""What a judge wants from the shell that drives it."""

from __future__ import annotations

from enum import IntFlag
from typing import Final

__all__ = ["Need"]


class Need(IntFlag):
    """The answer of ``handle_timer``."""

    NOTHING = 0
    ASK = 1
    """Put one question to the peer, in whatever framing there is; then call ``asked()``."""
    LOOK = 2
    """Collect evidence and call ``observe()``."""
    JUDGE = 4
    """With LOOK: this look decides. Collect all that are due in this turn first; if ``Attention.crowded`` says that
    there are too many of them, call ``doubt()`` instead of ``observe()``."""


# Made once: combining flags costs ten times what comparing identities does.
NOTHING: Final = Need.NOTHING
ASK: Final = Need.ASK
LOOK: Final = Need.LOOK
ASK_AND_LOOK: Final = Need.ASK | Need.LOOK
JUDGE: Final = Need.LOOK | Need.JUDGE
