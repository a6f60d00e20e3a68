"""Peers to watch: real ones with real judges, driven by hand in virtual time."""

from __future__ import annotations

from typing import Any

from heartbeat.interfaces import IHeartbeatListener
from heartbeat.liveness.attention import Attention
from heartbeat.liveness.beats import Beats
from heartbeat.liveness.events import Dead, Event, Left, Refused, Spared
from heartbeat.liveness.evidence import Evidence
from heartbeat.liveness.peer import Peer
from heartbeat.liveness.report import Report
from heartbeat.liveness.states import State

__all__ = ["EPOCH", "Hands", "Somebody"]

EPOCH = 1_800_000_000.0
INTERVAL = 0.5
DETECT = 1.5


class Hands:
    """Two clocks that move when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def seconds(self) -> float:
        return self.now

    def wall(self) -> float:
        return EPOCH + self.now


class Somebody:
    """A peer with its judge, and the listeners that hear of it."""

    def __init__(self, hands: Hands, id: str, *listeners: IHeartbeatListener, bare: bool = False, **told: Any) -> None:
        self.hands = hands
        self.listeners = listeners
        now = hands.seconds()
        self.attention = Attention(now)
        self.beats = Beats(DETECT, self.attention, now, interval=INTERVAL, draw=lambda: 0.5, gated=True)
        self.peer = Peer(self.beats, hands, id=id, address="192.0.2.1:4711", node=told.pop("node", ""))
        self.peer.bare = bare
        self.peer.report = Report(**told)

    def join(self) -> Somebody:
        """Open the gate."""
        self.beats.opened(self.hands.now)
        for listener in self.listeners:
            listener.joined(self.peer)
        self.tell()
        return self

    def answer(self, seconds: float = 0.0) -> None:
        """One question of ours, and its answer after a while."""
        number = self.beats.number
        self.beats.asked(self.hands.now)
        self.beats.handed_over(self.hands.now)
        self.hands.now += seconds
        self.beats.answered(number, self.hands.now, self.hands.now)
        self.tell()

    def lose(self) -> None:
        """One question of ours that gets no answer, and one that does."""
        self.beats.asked(self.hands.now)
        self.answer()

    def fall_silent(self) -> None:
        """Say nothing until half time."""
        self.hands.now = max(self.hands.now, self.beats.liveness.heard_at + (DETECT + INTERVAL) / 2)
        self.attention.expect(self.hands.now)  # we listened all the while
        self.beats.handle_timer(self.hands.now)
        assert self.beats.state is State.SUSPECT
        self.tell()

    def speak(self) -> None:
        """A sign of life."""
        self.beats.heard(self.hands.now)
        self.tell()

    def stick(self, stuck: bool = True) -> None:
        """Say that the own work stands still, or goes on."""
        self.beats.liveness.works(stuck, self.hands.now)
        self.tell()

    def spare(self, reason: str = "local_stall") -> None:
        """Be spared."""
        self.beats.liveness.note(Spared(self.hands.now, reason, 1.0))
        self.tell()

    def die(self, cause: str = "path_dead", evidence: Evidence | None = None) -> None:
        """The verdict; before the gate, a refusal."""
        self.beats.liveness.condemn(cause, self.hands.now, evidence)
        self.tell()

    def leave(self) -> None:
        """BYE 0."""
        self.beats.liveness.leave("leaving", self.hands.now)
        self.tell()

    def tell(self) -> None:
        """Tell the listeners what a driver tells them."""
        for event in self.beats.events():
            for listener in self.listeners:
                self._tell(listener, event)

    def _tell(self, listener: Any, event: Event) -> None:
        if isinstance(event, Refused):
            listener.refused(self.peer, event)
            return
        listener.changed(self.peer, event)
        if isinstance(event, Dead | Left):
            listener.gone(self.peer, event)
