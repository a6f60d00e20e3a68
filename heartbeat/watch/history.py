"""Round trips of the last minutes, of the peers that somebody looks at.

A line of sixty points for each of 50,000 idle connections would be a quarter of the memory that each may cost, for
lines that nobody sees. So a peer has a line only while it is on somebody's screen: each time it is shown, its newest
round trip becomes a point, :data:`STEP` seconds apart. All who look share it, and it outlives a reload of the page.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heartbeat.liveness.peer import Clocks, Peer

__all__ = ["LINES", "POINTS", "STEP", "History"]

#: Points of a line, seconds between two of them at least: two minutes of a page that asks every two seconds.
POINTS: Final = 60
STEP: Final = 1.9
#: Peers that have one: ten screens full. With 240 bytes of points each, 0.25 MB in all; who was not shown for the
#: longest time goes first.
LINES: Final = 512
#: Seconds without a look after which a line begins anew: its points would claim to be neighbours.
STALE: Final = 60.0


class _Line:
    __slots__ = ("at", "points")

    def __init__(self) -> None:
        self.at = 0.0
        self.points = array("f")


class History:
    """The lines, by the id of the peer. Call :meth:`look` for each peer that is shown; it gives the line."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._lines: OrderedDict[str, _Line] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lines)

    def look(self, peer: Peer) -> Sequence[float]:
        """Its last round trips, seconds, oldest first; empty while none is known."""
        last = peer.rtt.last
        if last is None:
            return ()
        now = self._clocks.seconds()
        line = self._lines.get(peer.id)
        if line is None or now - line.at > STALE:
            line = self._lines[peer.id] = _Line()
        self._lines.move_to_end(peer.id)
        if not line.points or now - line.at >= STEP:
            line.at = now
            line.points.append(last)
            del line.points[:-POINTS]
        if len(self._lines) > LINES:
            self._lines.popitem(last=False)
        return line.points
