"""The first frame of a connection, on either end (``wire.md`` §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from heartbeat.errors import PeerViolation
from heartbeat.session.stream import Stream

if TYPE_CHECKING:
    from heartbeat.session.gate import Agreement, Gate
    from heartbeat.session.greeting import Hello
    from heartbeat.session.session import Session

__all__ = ["bared", "greeted", "opened"]

IDENTITY_REFUSED: Final = 5  # the BYE code
#: The capability of a wrapped connection. An end that offers it has an application, which has no other way.
DATA: Final = "data"


def opened(session: Session, gate: Gate, agreement: Agreement, now: float) -> None:
    """The gate opens, on these terms."""
    session.caps = agreement.caps
    session.syncs.agree(agreement.sync, "state" in agreement.caps)
    if "data" in agreement.caps:
        session.stream = Stream(gate.config.max_data, agreement.max_data)
    session.judge_from(now, agreement)


def greeted(session: Session, gate: Gate, hello: Hello, now: float) -> None:
    """A HELLO was read: an acceptor's waits for ``admit``, a connector's opens the gate. Raises PeerViolation."""
    agreement = gate.read(hello)
    if DATA in gate.caps and DATA not in agreement.caps:
        raise PeerViolation(f"this connection carries an application: both ends need the capability {DATA}")
    if hello.id is not None:
        session.peer.id = hello.id
    session.peer.instance = hello.instance
    if session.peer.traceparent is None:
        session.peer.traceparent = hello.traceparent
    if not session.connector:
        return
    session.peer.session = hello.session or ""
    session.token = hello.resume
    if hello.resumed:
        session.syncs.resumed()
    if gate.said_at is not None and now <= session.liveness.attention.fresh_until:
        session.beats.rtt.sample(now - gate.said_at, provisional=True)
    opened(session, gate, agreement, now)


def bared(session: Session, gate: Gate, now: float) -> None:
    """The first frame was a PING: a bare peer, judged by our own configuration. Raises PeerViolation."""
    if gate.config.bare == "refuse" or DATA in gate.caps:
        raise PeerViolation("a HELLO is required here", IDENTITY_REFUSED)
    session.peer.bare = True
    opened(session, gate, gate.agree(None), now)
