"""Log lines about peers: changes of state at info, our own faults at warn, and never more than a reader can take in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from twisted.logger import Logger, LogLevel
from zope.interface import implementer

from heartbeat.apps.throttle import Throttle
from heartbeat.interfaces import HeartbeatListener, IHeartbeatListener
from heartbeat.liveness.causes import CONNECT_REASONS
from heartbeat.liveness.events import (
    Alive,
    Dead,
    Event,
    Explained,
    Left,
    Refused,
    Spared,
    Stuck,
    Suspect,
    Synced,
    Unpinned,
)
from heartbeat.liveness.evidence import Evidence
from heartbeat.liveness.oversleep import OWN_STALL

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from heartbeat.liveness.peer import Peer

__all__ = ["PeerLog"]

_INFO: Final = LogLevel.info.name
_WARN: Final = LogLevel.warn.name
_DEBUG: Final = LogLevel.debug.name


@implementer(IHeartbeatListener)
class PeerLog(HeartbeatListener):
    """Writes what happens to peers into the log, with ids as fields of the event.

    Per level and reason ten lines in ten seconds are written, and then one with how many there would have been.
    Call :meth:`stop` at the end: it writes the last sums and leaves no timer behind.
    """

    def __init__(self, reactor: IReactorTime, log: Logger | None = None) -> None:
        self._log = Logger(namespace="heartbeat.peer") if log is None else log
        self._reactor = reactor
        self._throttle = Throttle()
        self._timer: IDelayedCall | None = None
        self._unwell: WeakSet[Peer] = WeakSet()  # who was told to be suspect or stuck

    def joined(self, peer: Peer) -> None:
        """Say where it comes from."""
        self._write(_INFO, "joined", "{peer} joined from {address}", peer)

    def changed(self, peer: Peer, event: Event) -> None:
        """Say what became of it; its end is told by :meth:`gone`."""
        match event:
            case Suspect(silent=silent):
                self._unwell.add(peer)
                self._write(_INFO, "suspect", "{peer} is suspect: silent for {silent} s", peer, silent=round(silent, 3))
            case Alive() if peer in self._unwell:  # who just joined is alive, too, and that was told
                self._unwell.discard(peer)
                self._write(_INFO, "alive", "{peer} is alive again", peer)
            case Stuck():
                self._unwell.add(peer)
                self._write(_INFO, "peer_stuck", "{peer} is stuck: its work does not move", peer, reason="peer_stuck")
            case Spared(reason=reason, seconds=seconds):
                text = "{peer} was spared, the fault is ours: {reason}, {seconds} s"
                self._write(_WARN, reason, text, peer, reason=reason, seconds=round(seconds, 3))
            case Explained(cause=cause, was=was):
                text = "{peer} is back, and was lost by {reason}, which we called {was}"
                self._write(_INFO, cause, text, peer, reason=cause, was=was)
            case Unpinned(found=found, policy=policy):
                text = "{peer} has a key that is not pinned, {found}: somebody may sit in between ({policy})"
                fields = {"reason": "tls_pin", "phase": "handshake", "found": found, "policy": policy}
                self._write(_WARN, "tls_pin", text, peer, **fields)
            case Synced():
                self._write(_DEBUG, "synced", "{peer} sent a new account of itself", peer)
            case _:
                pass

    def gone(self, peer: Peer, event: Event) -> None:
        """Say why."""
        match event:
            case Dead(cause=cause, evidence=Evidence(detail=detail, lag=lag)) if detail == OWN_STALL:
                text = "{peer} has closed, {reason}: we did not run for {lag} s, and it has given us up, or is dead"
                self._write(_WARN, cause, text, peer, reason=cause, phase="live", detail=detail, lag=lag)
            case Dead(cause=cause, silent=silent):
                text = "{peer} is dead: {reason}, last heard {silent} s ago"
                self._write(_INFO, cause, text, peer, reason=cause, phase="live", silent=round(silent, 3))
            case Left(detail=detail):
                self._write(_INFO, detail, "{peer} has left: {detail}", peer, detail=detail)
            case _:
                pass

    def refused(self, peer: Peer, event: Refused) -> None:
        """Say why it did not come in."""
        seen = None if event.evidence is None else event.evidence.error
        detail = event.reason or seen or None
        if event.cause in CONNECT_REASONS:
            phase, text = "connect", "{peer} cannot be reached: {reason}"
        else:
            phase, text = "handshake", "{peer} was refused: {reason}"
        text = f"{text} {{detail}}" if detail else text
        self._write(_INFO, event.cause, text, peer, reason=event.cause, phase=phase, detail=detail)

    def stop(self) -> None:
        """Write the sums of all open windows, and stop waiting for them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._sum_up(float("inf"))

    def _write(self, level: str, key: str, text: str, peer: Peer, **fields: Any) -> None:
        now = self._reactor.seconds()
        self._sum_up(now)
        if self._throttle.admit(level, key, now):
            session = peer.session or None
            about = {"peer": peer.id, "address": peer.address, "session": session, "trace_id": peer.trace_id}
            self._log.emit(LogLevel.levelWithName(level), text, **about, **fields)
        elif self._timer is None:
            self._arm(now)

    def _sum_up(self, now: float) -> None:
        for one in self._throttle.over(now):
            level = LogLevel.levelWithName(one.level)
            self._log.emit(level, "{text}", text=str(one), reason=one.reason, count=one.lines)

    def _arm(self, now: float) -> None:
        due = self._throttle.next_timer()
        if due is not None:
            self._timer = self._reactor.callLater(max(0.0, due - now), self._wake)

    def _wake(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        self._sum_up(now)
        self._arm(now)
