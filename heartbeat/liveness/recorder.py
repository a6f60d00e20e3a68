"""The flight recorder: the last events of one connection, in arrays, for the moment in which somebody asks why it died.

Theory of operation. A peer that is well has none. The first thing that goes wrong allocates one
(:meth:`.Liveness.flight`), and from then on each event is thirteen bytes in three arrays, which grow up to
:data:`KEPT` entries and then go round. What nobody wrote down is read off the judge when it is asked: when the
connection opened, its last sign of life, and the questions that wait for an answer (:meth:`Recorder.completed`).
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from heartbeat.liveness.causes import SPARE_REASONS
from heartbeat.liveness.events import Alive, Dead, Left, Refused, RoundTrip, Spared, Stuck, Suspect, Synced

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from heartbeat.liveness.attention import Attention
    from heartbeat.liveness.events import Event
    from heartbeat.liveness.evidence import Evidence

__all__ = ["KEPT", "Flight", "Kind", "Recorder"]

#: Events of one connection that are kept: some minutes of trouble, and less than a kilobyte.
KEPT: Final = 64


class Kind(IntEnum):
    """What can be recorded. A closed list, and what ``value`` is of each; the names in JSON are these in lower case."""

    CONNECTED = 0
    """The transport is there, the gate is closed."""
    OPENED = 1
    """The gate opened."""
    ALIVE = 2
    """Well again."""
    STUCK = 3
    """Its loop answers, its work stands still."""
    SUSPECT = 4
    """Half time. Attentive seconds of silence."""
    ASKED = 5
    """A question was put that is not answered. Its number."""
    CONFIRM = 6
    """A suspect is asked once more."""
    LOOKED = 7
    """Evidence was taken. Bytes that the peer's kernel has not acknowledged, where ours can say."""
    HEARD = 8
    """The last sign of life."""
    LATE = 9
    """A suspect answered. Seconds since the question."""
    LOST = 10
    """Questions that were passed over: a later one was answered. How many."""
    STALLED = 11
    """The peer says that it was stalled. Seconds."""
    DEAF = 12
    """We stopped reading on purpose."""
    HEARING = 13
    """We read again."""
    OWN_STALL = 14
    """Our own loop did not run during the silence. Seconds, of its longest gap."""
    SYNCED = 15
    """The peer's account of itself changed."""
    LOCAL_STALL = 16
    """Spared, as are the next ones. Seconds of the silence that were not the peer's."""
    CLOCK_STEP = 17
    SUSPENDED = 18
    UNREAD_INPUT = 19
    MASS_TIMEOUT = 20
    LEFT = 21
    """One of the two ends said goodbye."""
    REFUSED = 22
    """It ended before its gate opened."""
    DEAD = 23
    """The verdict. Seconds since the last sign of life."""

    @property
    def shown(self) -> str:
        """Its name in JSON; ``spared:`` stands before the reason of those that were spared."""
        name = self.name.lower()
        return f"spared:{name}" if name in SPARE_REASONS else name


_PLAIN: Final = {Alive: Kind.ALIVE, Stuck: Kind.STUCK, Synced: Kind.SYNCED, Left: Kind.LEFT, Refused: Kind.REFUSED}
# Of one moment: what was read off the judge stands before, the questions behind what was recorded (in its order), and
# nothing behind the end.
RECORDED: Final = 2
_RANKS: Final = {
    Kind.CONNECTED: 0,
    Kind.OPENED: 0,
    Kind.HEARD: 1,
    Kind.ASKED: 3,
    Kind.REFUSED: 4,
    Kind.LEFT: 4,
    Kind.DEAD: 4,
}
_SPARED: Final = {reason: Kind[reason.upper()] for reason in SPARE_REASONS}


class Recorder:
    """The last :data:`KEPT` events of one connection, oldest first.

    :param since: when it came into the state in which it was when this was made, monotonic seconds
    :param first: how it came into it; this is shown whatever goes round later
    """

    __slots__ = ("_at", "_kinds", "_next", "_values", "first", "since")

    def __init__(self, since: float, first: Kind = Kind.OPENED) -> None:
        self.since = since
        self.first = first
        self._at = array("d")
        self._kinds = array("B")
        self._values = array("f")
        self._next = 0  # where the next one goes, once the arrays are full

    def __len__(self) -> int:
        return len(self._at)

    def __iter__(self) -> Iterator[tuple[float, Kind, float]]:
        """(at, kind, value) of each, as they were recorded; the value is NaN where there is none."""
        for index in (*range(self._next, len(self._at)), *range(self._next)):
            yield self._at[index], Kind(self._kinds[index]), self._values[index]

    def record(self, at: float, kind: Kind, value: float = math.nan) -> None:
        """Write one down; when there are :data:`KEPT`, the oldest makes room."""
        if len(self._at) < KEPT:
            self._at.append(at)
            self._kinds.append(kind)
            self._values.append(value)
            return
        index = self._next
        self._at[index] = at
        self._kinds[index] = kind
        self._values[index] = value
        self._next = (index + 1) % KEPT

    def note(self, event: Event) -> None:
        """Write down an event; a single round trip is none of trouble."""
        if isinstance(event, Suspect):
            self.record(event.at, Kind.SUSPECT, event.silent)
        elif isinstance(event, Spared):
            self.record(event.at, _SPARED[event.reason], event.seconds)
        elif isinstance(event, Dead):
            self.record(event.at, Kind.DEAD, event.silent)
        elif not isinstance(event, RoundTrip) and type(event) in _PLAIN:
            self.record(event.at, _PLAIN[type(event)])

    def suspected(self, now: float, attention: Attention, heard_at: float, *, asked: bool) -> None:
        """Half time: a stall of ours since the last sign of life, and the confirm question."""
        stalled = attention.longest(heard_at)
        if stalled > 0.0:
            self.record(attention.stalled_at, Kind.OWN_STALL, stalled)
        if asked:
            self.record(now, Kind.CONFIRM)

    def looked(self, evidence: Evidence) -> None:
        """Write down that evidence was taken."""
        self.record(evidence.at, Kind.LOOKED, math.nan if evidence.outq is None else evidence.outq)

    def completed(self, heard_at: float, questions: Iterable[tuple[float, int]] = ()) -> Recorder:
        """A copy with what was not written down, in the order of time: at most :data:`KEPT` again.

        It begins with the connection itself, whatever has gone round since, and is complete: not to be completed again.

        :param heard_at: the last sign of life, monotonic seconds
        :param questions: (when it was put, its number) of each that is not settled
        """
        events = [(self.since, self.first, math.nan), *self, (heard_at, Kind.HEARD, math.nan)]
        events += [(at, Kind.ASKED, float(number)) for at, number in questions]
        events.sort(key=lambda one: (one[0], _RANKS.get(one[1], RECORDED)))
        whole = Recorder(self.since, self.first)
        for at, kind, value in (*events[:1], *events[1:][-(KEPT - 1) :]):
            whole.record(at, kind, value)
        return whole


@dataclass(frozen=True, slots=True)
class Flight:
    """A recorder as it was read, with what it takes to show it.

    :ivar recorder: not written to any more
    :ivar offset: what makes its monotonic seconds those since the epoch
    """

    recorder: Recorder
    offset: float

    def as_json(self) -> list[dict[str, Any]]:
        """``{"at": unix, "event": name, "value": number or null}`` of each, oldest first."""
        return [
            {"at": round(at + self.offset, 3), "event": kind.shown, "value": _plain(value)}
            for at, kind, value in self.recorder
        ]


def _plain(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
