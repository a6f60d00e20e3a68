"""What happened to a peer, as values. Changes only, never beats.

Each event has ``at``: seconds on the monotonic clock of whoever judged (never the wall clock).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heartbeat.liveness.evidence import Evidence
    from heartbeat.liveness.report import Report

__all__ = [
    "Alive",
    "Dead",
    "Dropped",
    "Event",
    "Explained",
    "Left",
    "Refused",
    "RoundTrip",
    "Spared",
    "Stuck",
    "Suspect",
    "Synced",
    "Unpinned",
]


@dataclass(frozen=True, slots=True)
class Event:
    """The base of all events: what they have in common is when."""

    at: float


@dataclass(frozen=True, slots=True)
class Alive(Event):
    """The gate opened, or a suspect or stuck peer is well again."""


@dataclass(frozen=True, slots=True)
class Suspect(Event):
    """Nothing was heard until half time; one more question goes out. Not an alarm.

    :ivar silent: attentive seconds since the last sign of life
    """

    silent: float


@dataclass(frozen=True, slots=True)
class Stuck(Event):
    """The peer's loop answers, but its SYNC says that work is queued and does not move."""


@dataclass(frozen=True, slots=True)
class Dead(Event):
    """The verdict.

    :ivar cause: one of :data:`heartbeat.liveness.causes.FAILURE_REASONS`
    :ivar silent: seconds since the last sign of life
    :ivar evidence: what was observable, or None
    """

    cause: str
    silent: float
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class Left(Event):
    """One of the two ends has left, and it was no failure.

    :ivar detail: ``leaving``, ``draining``, ``superseded`` or ``age`` (BYE 0, 1, 7, 12 of either end), or ``aborted``
        (by our own application, without a word)
    :ivar reason: the text of the BYE, for people
    """

    detail: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refused(Event):
    """The connection ended before its gate opened.

    :ivar cause: one of :data:`heartbeat.liveness.causes.FAILURE_REASONS`; ``""`` for a BYE that is no failure
    :ivar reason: one line for people
    """

    cause: str
    reason: str = ""
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class Explained(Event):
    """The peer is back, and its return says more about how its previous connection was lost.

    :ivar cause: what it is called now, one of :data:`heartbeat.liveness.causes.FAILURE_REASONS`
    :ivar was: what it was called when the verdict fell
    :ivar detail: the finer name: ``returned``, ``instance``, ``one_way``
    :ivar session: the session of the connection that was lost, ``""`` if it had none
    """

    cause: str
    was: str
    detail: str
    session: str


@dataclass(frozen=True, slots=True)
class Spared(Event):
    """A plain timer would have killed the peer here, and it would have been our own fault.

    :ivar reason: one of :data:`heartbeat.liveness.causes.SPARE_REASONS`
    :ivar seconds: of the silence that was not the peer's
    """

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RoundTrip(Event):
    """One question was settled. Made only for those who asked for it.

    :ivar number: the question's, as :attr:`Beats.number` gave it
    :ivar seconds: from question to answer; None: a later one was answered and this one was not
    """

    number: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Synced(Event):
    """The peer's report of itself is new: its first SYNC, or one whose services, meta or progress state changed."""

    report: Report


@dataclass(frozen=True, slots=True)
class Unpinned(Event):
    """The key of the peer's certificate is not pinned, and our policy lets it go on: somebody may sit in between.

    :ivar found: ``sha256/BASE64`` of its key, or that there is none
    :ivar policy: ``alarm`` or ``degrade``
    """

    found: str
    policy: str


@dataclass(frozen=True, slots=True)
class Dropped(Event):
    """A reader of events was too slow.

    :ivar count: how many events it has missed here
    """

    count: int
