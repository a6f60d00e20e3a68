"""The link of a connection that has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from heartbeat.liveness.evidence import Ending, Evidence

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from heartbeat.net.link import Link

__all__ = ["GONE"]


class _Gone:
    """In the place of a link whose transport has ended: whoever keeps a handle keeps no transport."""

    __slots__ = ()
    transport = None
    exact = False

    def write(self, data: bytes) -> bool:
        """Nothing waits here."""
        return True

    def write_all(self, pieces: list[bytes | memoryview], size: int) -> bool:
        """Nothing waits here."""
        return True

    def unsent(self) -> int | None:
        """It cannot say."""
        return None

    def drained(self, callback: Callable[[], None]) -> None:
        """Nobody needs to be told."""

    def look(self, now: float) -> Evidence:
        """There is nothing to see."""
        return Evidence(now)

    def arrived_at(self, now: float) -> float | None:
        """Nothing arrives."""
        return None

    def pause(self) -> None:
        """There is nothing to stop."""

    def resume(self) -> None:
        """There is nothing to read."""

    def close(self) -> None:
        """It is closed."""

    def abort(self) -> None:
        """It has ended."""

    def ending(self, reason: Failure, now: float) -> Ending:
        """It has ended before."""
        return Ending("aborted")


#: The link of a connection that is gone.
GONE: Final[Link] = _Gone()
