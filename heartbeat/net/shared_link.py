"""A link for a transport that somebody else writes to: it looks, and leaves the writing and the producer alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heartbeat.net.link import OpaqueLink, link_for

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from heartbeat.liveness.evidence import Ending, Evidence
    from heartbeat.net.turns import Turns

__all__ = ["SharedLink"]


class SharedLink(OpaqueLink):
    """Sees what a link of this transport sees. When the kernel has what was written is guessed: two turns later.

    The slot for a producer belongs to the application, so nobody can be asked when user space is empty.

    :ivar seen: the link that it looks through
    """

    __slots__ = ("seen",)

    def __init__(self, transport: Any, turns: Turns) -> None:
        super().__init__(transport, turns)
        self.seen = link_for(transport, turns, getattr(transport, "protocol", None))

    def look(self, now: float) -> Evidence:
        """What the transport lets us see."""
        return self.seen.look(now)

    def arrived_at(self, now: float) -> float | None:
        """As far as the kernel can say."""
        return self.seen.arrived_at(now)

    def ending(self, reason: Failure, now: float) -> Ending:
        """As far as it is proved."""
        how = super().ending(reason, now)
        return how if how.how == "aborted" else self.seen.ending(reason, now)
