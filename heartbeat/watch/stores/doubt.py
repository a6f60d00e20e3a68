"""Deaths that may be our own fault. Pure.

A server that was stopped for a while (a machine that was moved, a process that was suspended) wakes up to find that its
peers have given it up and closed their connections without a word. That looks like their death. Most of them are with
another server by now, in the same session, and then nobody was dead; but what that server wrote is not read yet. So
deaths that are seen right after we were stopped wait for a moment, until we know what the others know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HOLD", "STOPPED", "Doubt"]

#: Seconds without a turn of the ledger after which we were stopped: three of its periods.
STOPPED: Final = 1.5
#: Seconds for a peer to find another server (one, at the first attempt), for us to read of it (another one), and some.
HOLD: Final = 3.0


class Doubt:
    """Holds back what may be wrong.

    :param seconds: the monotonic clock
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._looked_at = seconds()
        self._until = 0.0
        self._held: list[tuple[float, Callable[[], object]]] = []

    def look(self) -> None:
        """A turn begins: what was held back for long enough is done."""
        self._notice()
        self._looked_at = now = self._seconds()
        while self._held and self._held[0][0] <= now:
            self._held.pop(0)[1]()

    def postpone(self, call: Callable[[], object]) -> bool:
        """Hold this back if we were stopped a moment ago. False: we were not, do it now."""
        self._notice()
        now = self._seconds()
        if now >= self._until:
            return False
        self._held.append((now + HOLD, call))
        return True

    def settle(self) -> None:
        """Do all of it now: nothing more will be known."""
        held, self._held = self._held, []
        for _, call in held:
            call()

    def _notice(self) -> None:
        now = self._seconds()
        if now - self._looked_at > STOPPED:
            self._until = now + HOLD
