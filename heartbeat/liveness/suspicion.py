"""What is remembered between half time and the end of a suspicion. A peer that is well has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from heartbeat.liveness.evidence import Evidence

__all__ = ["Suspicion"]

# A drain ends after this many looks, or when the bytes seen at the deadline were read.
DRAIN_LOOKS: Final = 100
# ... and where the kernel does not count bytes, after this many: each look follows a poll that reads 64 KiB.
DRAIN_LOOKS_UNCOUNTED: Final = 5


# Where it was guessed that the kernel has the question, a verdict waits for this many polls more.
GUESS_LOOKS: Final = 2


class Suspicion:
    """One suspicion.

    :ivar half_time: the evidence of half time, None until it was taken
    :ivar doubted: the crowd rule has given this peer its second chance
    """

    __slots__ = ("_guessed", "_looks", "_mark", "doubted", "half_time")

    def __init__(self) -> None:
        self.half_time: Evidence | None = None
        self.doubted = False
        self._mark: int | None = None  # bytes that the kernel had received at the deadline
        self._looks = 0
        self._guessed = 0

    def unsure(self, evidence: Evidence) -> bool:
        """Whether the question may have left later than it seems. Bounded: two more looks, each behind a poll."""
        self._guessed += 1
        return evidence.handed_over == "guess" and self._guessed <= GUESS_LOOKS

    def undrained(self, evidence: Evidence) -> bool:
        """Whether input that lay unread at the deadline may still hold a sign of life. Bounded.

        Bytes are a reason to look again, never a proof of life: what trickles in later does not prolong it.
        """
        if not evidence.unread and not evidence.tls_pending:
            return False
        self._looks += 1
        received = evidence.tcp.bytes_received if evidence.tcp is not None else None
        if received is None:
            return self._looks <= DRAIN_LOOKS_UNCOUNTED
        if self._mark is None:
            self._mark = received
        return received - (evidence.unread or 0) < self._mark and self._looks <= DRAIN_LOOKS
