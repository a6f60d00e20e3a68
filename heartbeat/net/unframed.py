"""A connection in which no frame is ours, as others see it: watched in its own framing, or only observed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet import error
from twisted.python.failure import Failure

from heartbeat.liveness.states import State
from heartbeat.net.adapters.pauses import Ears
from heartbeat.net.listening import tell
from heartbeat.net.reasons import PeerLeft, reason_of

if TYPE_CHECKING:
    from heartbeat.liveness.beats import Beats
    from heartbeat.liveness.events import Event
    from heartbeat.liveness.evidence import Ending
    from heartbeat.liveness.peer import Peer
    from heartbeat.net.link import Link
    from heartbeat.net.wheel import Wheel

__all__ = ["Unframed"]


class Unframed(Ears):
    """The :class:`.Subject` of a handle, as :class:`.Framed` is that of a connection with frames of ours.

    :ivar beats: the judge
    :ivar peer: the view that others have
    :ivar opened: the peer is judged: on TLS, behind the handshake
    :ivar gone: the transport has ended
    :ivar decided: by our own verdict, also that on a handshake
    """

    peer: Peer

    def __init__(self, wheel: Wheel, beats: Beats, link: Link, listener: Any) -> None:
        super().__init__()
        self._wheel = wheel
        self._link = link
        self._listener = listener
        self._follower: Callable[[Event], None] | None = None
        self.beats = beats
        self.seconds: Callable[[], float] = wheel.seconds
        self.opened = self.gone = self.decided = False

    def follow(self, follower: Callable[[Event], None]) -> None:
        """Tell every event to ``follower``."""
        self._follower = follower

    def leave(self, reason: str, now: float) -> None:
        """Close the transport gracefully: how one says farewell is the framing's own affair."""
        self._link.close()

    def abort(self) -> None:
        """End the transport."""
        self._link.abort()

    def reason(self) -> Failure:
        """Why it ended."""
        if self.beats.state is State.LEFT:
            return Failure(PeerLeft("leaving"))
        return reason_of(self.beats)

    def _ended(self, reason: Failure) -> Ending:
        """Tell the judge that the transport is gone. A clean end is how one leaves in most protocols: no failure."""
        self.gone = True
        now = self.seconds()
        ending = self._link.ending(reason, now)
        if reason.check(error.ConnectionDone):
            self.beats.liveness.leave("leaving", now)
        else:
            self.beats.ended(ending, now)
        return ending

    def _spread(self) -> None:
        """Tell the events, if there are any."""
        self._tell(self.beats.events())

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            if self._listener is not None:
                tell(self._listener, self.peer, event, self.opened)
            if self._follower is not None:
                self._follower(event)
