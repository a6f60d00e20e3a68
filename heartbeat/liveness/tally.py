"""The plain numbers of one connection. The hot path moves them; everybody else reads (``Counting``)."""

from __future__ import annotations

__all__ = ["Tally"]


class Tally:
    """What was counted on one connection.

    :ivar pings_in: questions read; each was answered
    :ivar pings_out: questions put
    :ivar acks_in: of these, answered and matched
    :ivar late: of these answered, those whose answer came after the confirm question of half time
    :ivar lost: questions that a later answer settled as lost
    :ivar strays: answers that matched nothing (late duplicates): counted and ignored
    :ivar stalled_in: how often the peer said STALLED
    """

    __slots__ = ("acks_in", "late", "lost", "pings_in", "pings_out", "stalled_in", "strays")

    def __init__(self) -> None:
        self.pings_in = 0
        self.pings_out = 0
        self.acks_in = 0
        self.late = 0
        self.lost = 0
        self.strays = 0
        self.stalled_in = 0

    @property
    def acks_out(self) -> int:
        """Answers sent: one for each question read, none left out."""
        return self.pings_in
