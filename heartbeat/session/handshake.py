"""The frames of a connection up to its gate, on either end (``wire.md`` §4, §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from heartbeat.errors import PeerViolation
from heartbeat.session.greeting import Welcome, is_id, parse_hello, parse_welcome
from heartbeat.session.identity import IDENTITY_REFUSED, MEMBER, identified

if TYPE_CHECKING:
    from heartbeat.session.gate import Agreement, Gate
    from heartbeat.session.greeting import Hello
    from heartbeat.session.keyed import KeyedSession
    from heartbeat.session.session import Session
    from heartbeat.wire import frames

__all__ = ["bared", "confirmed", "greeted", "opened"]

#: The capability of a wrapped connection. An end that offers it has an application, which has no other way.
DATA: Final = "data"


def opened(session: Session, gate: Gate, agreement: Agreement, now: float) -> None:
    """The gate opens, on these terms."""
    session.caps = gate.in_force(agreement)
    session.syncs.agree(agreement.sync, "state" in agreement.caps)
    if DATA in agreement.caps:
        session.stream = session.make_stream(gate.config.max_data, agreement.max_data)
    session.judge_from(now, agreement)


def greeted(session: Session, gate: Gate, frame: frames.Hello, now: float) -> None:
    """A HELLO was read. Where a key is used nothing of it takes effect before CONFIRM; else an acceptor's waits for
    ``admit``, a connector's opens the gate. Raises PeerViolation."""
    hello = parse_hello(frame.body)
    agreement = gate.read(hello)
    if DATA in gate.caps and DATA not in agreement.caps:
        raise PeerViolation(f"this connection carries an application: both ends need the capability {DATA}")
    proof = gate.prove(frame, hello, now)
    if proof:  # only the gate of a KeyedSession has any
        cast("KeyedSession", session).prove(proof)
        return
    introduced(session, gate, hello)
    if session.connector:
        welcomed(session, gate, Welcome(hello.session, hello.resume, hello.resumed), now)


def confirmed(session: Session, gate: Gate, frame: frames.Confirm, now: float) -> None:
    """A CONFIRM was read, and the HELLO before it takes effect if it is true. Raises PeerViolation."""
    hello = cast("KeyedSession", session).confirm(frame)  # CONFIRM may stand nowhere else
    introduced(session, gate, hello)
    if session.connector:
        session.syncs.release()  # a key that is not pinned is no middlebox's where the shared key was confirmed over it
        welcomed(session, gate, parse_welcome(frame.body), now)


def introduced(session: Session, gate: Gate, hello: Hello) -> None:
    """The peer has proved what it can, and is who it says, or the PeerViolation says why not."""
    config, peer, key = gate.config, session.peer, gate.key
    if session.connector:
        peer.identity = None if key is None else MEMBER
    else:
        if key is not None and hello.id is not None and hello.id == config.id:
            raise PeerViolation("this is my own id", IDENTITY_REFUSED)
        proves = None if key is None else config.ring.proves(key)
        peer.identity = identified(hello.id, gate.channel.names, proves, config.ring.listed)
    if hello.id is not None:
        peer.id = hello.id
    peer.instance = hello.instance
    if peer.traceparent is None:
        peer.traceparent = hello.traceparent
    if not session.connector:
        gate.hello = hello


def welcomed(session: Session, gate: Gate, welcome: Welcome, now: float) -> None:
    """A connector was let in."""
    agreement = gate.agreement
    assert agreement is not None  # the acceptor's HELLO was read
    session.peer.session = welcome.session or ""
    session.token = welcome.resume
    if welcome.resumed:
        session.syncs.resumed()
    if gate.said_at is not None and now <= session.liveness.attention.fresh_until:
        session.beats.rtt.sample(now - gate.said_at, provisional=True)
    opened(session, gate, agreement, now)


def bared(session: Session, gate: Gate, now: float) -> None:
    """The first frame was a PING: a bare peer, judged by our own configuration. Raises PeerViolation."""
    config, peer, names = gate.config, session.peer, gate.channel.names
    if config.bare == "refuse" or config.wants_key or DATA in gate.caps:
        raise PeerViolation("a HELLO is required here", IDENTITY_REFUSED)
    gate.certify()
    if names and is_id(names[0]):
        peer.identity = identified(names[0], names, None, config.ring.listed)
        peer.id = names[0]
    peer.bare = True
    opened(session, gate, gate.agree(None), now)
