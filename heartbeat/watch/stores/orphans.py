"""When the peers of a server that fell silent are given up. Pure.

A server that vanished says nothing about its peers: most of them come back to another one within seconds, and those
are not dead. So its peers wait, each for as long as it would take it to notice and to come back, and only then those
that nobody has seen are dead. Time counts only while the store answers and we look: after an outage of the store every
lease has lapsed, and that is nobody's fault. What can be known of such a death is next to nothing: the server may have
died with its peer, or the peer with its server, or the peer knows no other server. It is ``unattributed``, detail
``server_lost``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["RETURN", "RETURN_TO_NEWCOMER", "Orphans"]

#: Seconds that a peer of a lost server has to come back, beyond its detection time: behind a balancer three attempts
#: may go to the lost one, and the fourth is made within 15 s (0.5 · (2 + 4 + 8 + 16), ``heartbeat.net.backoff``).
RETURN: Final = 15.0
#: The same where we have never seen that server living: we were not there either, and the longest pause between two
#: attempts is 30 s.
RETURN_TO_NEWCOMER: Final = 45.0
#: Of the time between two looks at most this much counts: we may have been stopped in between.
LONGEST_LOOK: Final = 1.0


class Orphans:
    """Watches the leases of other holders."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._lapsed: dict[str, float] = {}  # seconds for which we have seen that a lease has lapsed
        self._looked_at: float | None = None

    def look(self, now: float, leases: Mapping[str, float], holders: Iterable[str]) -> None:
        """The store has answered.

        :param now: monotonic seconds
        :param leases: seconds until each lapses
        :param holders: those that hold somebody
        """
        passed = 0.0 if self._looked_at is None else min(LONGEST_LOOK, now - self._looked_at)
        self._looked_at = now
        living = {holder for holder, left in leases.items() if left > 0.0}
        self._seen |= living
        self._lapsed = {one: self._lapsed.get(one, -passed) + passed for one in holders if one not in living}
        self._seen &= {*leases, *self._lapsed}

    def blind(self) -> None:
        """The store does not answer: what was seen so far says nothing any more."""
        self._lapsed = {}
        self._looked_at = None

    def lapsed(self, holder: str) -> bool:
        """Whether its lease had lapsed when we looked last."""
        return holder in self._lapsed

    def lost(self) -> list[str]:
        """The holders of which that is so."""
        return list(self._lapsed)

    def given_up(self, holder: str, detect: float) -> bool:
        """Whether a peer of that holder with this detection time has had its time to come back."""
        lapsed = self._lapsed.get(holder)
        wait = RETURN if holder in self._seen else RETURN_TO_NEWCOMER
        return lapsed is not None and lapsed >= detect + wait
