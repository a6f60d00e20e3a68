"""Which part of a session owns which frame. Every complete frame is a sign of life; most of them are paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from heartbeat.session.handshake import bared, confirmed, greeted
from heartbeat.wire.frames import Ack, Bye, Confirm, Data, Hello, Ping, Stalled, State, Sync, SyncAck, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from heartbeat.session.session import Session
    from heartbeat.wire.frames import Frame

__all__ = ["acknowledge", "take"]


def take(session: Session, frame: Frame, now: float, arrived: float | None) -> None:
    """Give a frame, whose place the decoder has checked, to its owner. Raises PeerViolation."""
    if type(frame) is Bye:
        session.parted(frame, now)
        return
    if session.gate is not None:
        if type(frame) is Hello:
            greeted(session, session.gate, frame, now)
            return
        if type(frame) is Confirm:
            confirmed(session, session.gate, frame, now)
            return
        bared(session, session.gate, now)
    elif type(frame) is Ack:
        acknowledge(session, frame.seq, frame.ts, now, arrived)
        return
    _OWNERS[type(frame)](session, frame, now)
    session.liveness.heard(now, beat=type(frame) is Ping)


def acknowledge(session: Session, seq: int, ts: int, now: float, arrived: float | None) -> None:
    """An ACK: a round trip if it matches, else counted, ignored, and paid for. A sign of life in any case."""
    beats = session.beats
    number = beats.first + ((seq - beats.first) & 0xFFFF)
    asked_at = beats.asked_at(number)
    if asked_at is not None and int(asked_at * 1000.0) & 0xFFFF == ts:
        beats.settle(number, now, arrived)
        if now >= session.syncs.due:
            session.reply(session.syncs.compose(now))
    else:
        session.tally.strays += 1
        session.spend(now)
    session.liveness.heard(now, beat=False)


def _ping(session: Session, frame: Ping, now: float) -> None:
    session.tally.pings_in += 1
    session.reply(Ack(frame.seq, frame.ts).encode())
    if now >= session.syncs.due:
        session.reply(session.syncs.compose(now))
    session.spend(now)


def _sync(session: Session, frame: Sync, now: float) -> None:
    syncs = session.syncs
    expected = syncs.expects
    answer, event = syncs.received(frame, session.peer, now)
    session.reply(answer)
    if syncs.expects is not expected:
        session.place()
    session.liveness.works(session.peer.report.stuck, now)
    if event is not None:
        session.liveness.note(event)
    session.spend(now)


def _sync_ack(session: Session, frame: SyncAck, now: float) -> None:
    matches, state = session.syncs.acknowledged(frame, now, session.peer.traceparent)
    session.reply(state)
    if not matches:
        session.tally.strays += 1
        session.spend(now)


def _state(session: Session, frame: State, now: float) -> None:
    session.liveness.note(session.syncs.stated(frame.body, session.peer, now))
    session.place()


def _stalled(session: Session, frame: Stalled, now: float) -> None:
    session.beats.grant(frame.ms / 1000.0, now)
    session.spend(now)


def _data(session: Session, frame: Data, now: float) -> None:
    assert session.stream is not None  # its place was checked at its header
    session.stream.received(frame.payload)


def _window(session: Session, frame: Window, now: float) -> None:
    assert session.stream is not None  # its place was checked at its header
    session.stream.window(frame.credit)


_OWNERS: Final[dict[type, Callable[[Session, Any, float], None]]] = {
    Ping: _ping,
    Sync: _sync,
    SyncAck: _sync_ack,
    State: _state,
    Stalled: _stalled,
    Data: _data,
    Window: _window,
}
