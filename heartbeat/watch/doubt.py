"""Deaths that may be our own fault. Pure.

A server that did not run for a while (its loop was blocked, its process stopped, its machine suspended) wakes up to
find that its peers have given it up and closed their connections without a word. That looks like their death
(:mod:`heartbeat.liveness.oversleep`). Most of them are back within a moment, here or at another server, in the same
process as before: then nobody was dead. So the records of such deaths wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from heartbeat.liveness.oversleep import OWN_STALL

if TYPE_CHECKING:
    from heartbeat.liveness.events import Dead
    from heartbeat.liveness.peer import Peer

__all__ = ["LEAST", "MOST", "Doubt"]

#: Seconds for a peer to come back at its first attempt (one), or to find another server and for us to read of it (two).
LEAST: Final = 3.0
#: Whoever doubles the pauses between its attempts waits about as long again as it has been waiting already, and agents
#: of ours no longer than this.
MOST: Final = 30.0


class _Held(NamedTuple):
    until: float
    peer: Peer
    record: Callable[[], object]


class Doubt:
    """Holds back what may be wrong.

    :param seconds: the monotonic clock
    :ivar later: calls back after so many seconds, and can be cancelled, as ``reactor.callLater``; None: :meth:`look` is
        called by whoever wants to know
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.later: Callable[[float, Callable[[], None]], Any] | None = None
        self._seconds = seconds
        self._held: dict[str, list[_Held]] = {}
        self._call: Any = None
        self._due = math.inf  # when it comes

    def holds(self, peer: Peer, event: Dead, record: Callable[[], object]) -> bool:
        """Hold back the record of a death that may be our own fault. False: it is none of ours, record it now."""
        seen = event.evidence
        if seen is None or seen.detail != OWN_STALL:
            return False
        until = self._seconds() + min(MOST, max(LEAST, seen.lag or 0.0))
        self._held.setdefault(peer.id, []).append(_Held(until, peer, record))
        self._alarm(until)
        return True

    def back(self, peer: Peer) -> None:
        """Somebody joined. Of the same process as before nothing is recorded: it was not dead. Another one: it was."""
        for one in self._held.pop(peer.id, ()):
            if peer.instance is None or peer.instance != one.peer.instance:
                one.record()

    def look(self) -> None:
        """Record those who are not back in time."""
        if self._held:
            now = self._seconds()
            self._release(lambda one: one.until <= now)

    def settle(self) -> None:
        """Record all of them now: nothing more will be known."""
        self._release(lambda one: True)
        self._alarm(math.inf)

    # -- inside

    def _release(self, due: Callable[[_Held], bool]) -> None:
        ready = [one for held in self._held.values() for one in held if due(one)]
        left = {id: [one for one in held if not due(one)] for id, held in self._held.items()}
        self._held = {id: held for id, held in left.items() if held}
        for one in ready:
            one.record()

    def _alarm(self, at: float) -> None:
        """Look again at that moment, if not before; infinity: never again."""
        if self.later is None or self._due <= at < math.inf:
            return
        if self._call is not None:
            self._call.cancel()
        self._due = at
        self._call = None if at == math.inf else self.later(max(0.0, at - self._seconds()), self._wake)

    def _wake(self) -> None:
        self._call, self._due = None, math.inf
        self.look()
        self._alarm(min((one.until for held in self._held.values() for one in held), default=math.inf))
