"""What reaches a ``connectionLost``: always one of Twisted's reasons as well as one of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from heartbeat.errors import HeartbeatError, PeerRefused, PeerUnresponsive, TermsRefused
from heartbeat.liveness.states import State
from heartbeat.session.byes import BYE_DETAILS

if TYPE_CHECKING:
    from heartbeat.liveness.beats import Beats
    from heartbeat.liveness.evidence import Evidence
    from heartbeat.session.session import Session
    from heartbeat.wire.frames import Bye

__all__ = [
    "PeerLeft",
    "RefusedConnection",
    "RefusedTerms",
    "UnresponsiveConnection",
    "reason_for",
    "reason_of",
    "refusal",
    "told",
]


class UnresponsiveConnection(PeerUnresponsive, ConnectionLost):
    """The peer is dead: a ``ConnectionLost`` with :attr:`cause` and :attr:`evidence`."""

    def __init__(self, cause: str, evidence: Evidence | None = None) -> None:
        PeerUnresponsive.__init__(self, cause, evidence)

    def __str__(self) -> str:
        return f"the peer is dead: {self.cause}"


class PeerLeft(HeartbeatError, ConnectionDone):
    """BYE 0, 1, 7 or 12, of either end, or an abort of our own: a ``ConnectionDone``.

    :ivar detail: ``leaving``, ``draining``, ``superseded``, ``age`` or ``aborted``
    """

    def __init__(self, detail: str) -> None:
        HeartbeatError.__init__(self, detail)
        self.detail = detail

    def __str__(self) -> str:
        return f"the connection was left: {self.detail}"


class RefusedConnection(PeerRefused, ConnectionLost):
    """The gate never opened: a ``ConnectionLost`` with :attr:`cause` and :attr:`reason`."""

    def __init__(self, cause: str, reason: str = "") -> None:
        PeerRefused.__init__(self, cause, reason)

    def __str__(self) -> str:
        return f"the connection was refused: {self.cause}" + (f" ({self.reason})" if self.reason else "")


class RefusedTerms(RefusedConnection, TermsRefused):
    """... because no common terms were found."""


def told(reason: Failure | None) -> Failure:
    """What a ``connectionLost`` was given. Autobahn's endpoints give None whatever happened, which proves nothing."""
    return Failure(ConnectionLost()) if reason is None else reason


def refusal(cause: str, reason: str) -> RefusedConnection:
    """The exception for a gate that did not open."""
    return (RefusedTerms if cause == "terms_refused" else RefusedConnection)(cause, reason)


def reason_for(session: Session) -> Failure:
    """The reason for the end of a session that is in a final state."""
    return reason_of(session.beats, session.farewell or session.said)


def reason_of(beats: Beats, bye: Bye | None = None) -> Failure:
    """The reason for the end of a connection whose judge is in a final state.

    :param bye: that either end said; without one, a connection that was left was left by an abort
    """
    if beats.state is State.DEAD:
        return Failure(UnresponsiveConnection(beats.cause or "unattributed", beats.evidence))
    if beats.state is State.REFUSED:
        return Failure(refusal(beats.cause or "unattributed", bye.reason if bye is not None else ""))
    return Failure(PeerLeft(BYE_DETAILS.get(bye.code, "leaving") if bye is not None else "aborted"))
