"""A session on a pulse: the one piece of glue between a transport and the pure rooms.

Theory of operation. Four things can happen: bytes come (:meth:`Driver.received`), the wheel wakes us
(:meth:`Driver.wake`), the kernel has taken what it refused before, and the transport ends (:meth:`Driver.lost`). Each
of them tells the session, flushes what it wants to send, and, unless it was an ordinary beat, attends to what changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from heartbeat.liveness.need import JUDGE, LOOK
from heartbeat.liveness.states import State
from heartbeat.net.link import GONE
from heartbeat.net.listening import tell
from heartbeat.net.outbox import Outbox
from heartbeat.session.parting import Parting
from heartbeat.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from heartbeat.liveness.events import Event
    from heartbeat.liveness.evidence import Evidence
    from heartbeat.net.link import Link
    from heartbeat.net.wheel import Wheel

__all__ = ["Driver", "House"]


class House:
    """Who is told what happens on the connections of one factory. The base does nothing."""

    listener: Any = None

    def applies(self, driver: Driver, now: float) -> None:
        """A HELLO waits at an acceptor: call ``admit`` or ``bye`` of its session, now or later."""

    def opened(self, driver: Driver, now: float) -> None:
        """The gate opened."""

    def ended(self, driver: Driver, now: float) -> None:
        """The connection is gone; its session is in a final state."""


NOBODY: Final = House()


class Driver:
    """Drives one connection.

    :param session: fresh; a connector's is started by :meth:`begin`
    :param house: the factory's
    """

    __slots__ = (
        "__weakref__", "_abort_at", "_acted", "_attention", "_joined", "_outbox", "_wheel", "address", "follower",
        "house", "link", "place", "seconds", "session", "tick",
    )  # fmt: skip

    def __init__(self, session: Session, wheel: Wheel, link: Link, house: House = NOBODY) -> None:
        self.session = session
        self.link = link
        self.house = house
        self.address = ""
        self.follower: Callable[[Event], None] | None = None
        self.tick = self.place = -1
        self.seconds = wheel.seconds
        self._wheel = wheel
        self._attention = wheel.attention
        self._outbox: Outbox | None = None
        self._joined = False
        self._acted = Parting.STAY
        self._abort_at: float | None = None
        wheel.watched += 1

    # -- what happens

    def received(self, data: bytes) -> None:
        """Bytes came. The hot path: one PING in, one ACK out."""
        now = self.seconds()
        session = self.session
        if now > self._attention.fresh_until:
            more = session.receive_data(data, now, self.link.arrived_at(now))
        else:
            more = session.receive_data(data, now)
        out = session.data_to_send()
        if out:
            if self._outbox is not None:
                self._hold(out, now)
            elif not self.link.write(out):
                self._busy(len(out), now)
        if more:
            self.attend(now)

    def wake(self, now: float) -> float | None:
        """The wheel's call."""
        if self._abort_at is not None and now >= self._abort_at:
            self._abort_at = None
            self.link.abort()
        session = self.session
        need = session.handle_timer(now)
        self._flush(now)
        if need is LOOK:
            session.beats.observe(self.look(now), now)
        elif need is JUDGE:
            self._wheel.judging.append(self)
        if session.liveness.news is not None or session.parting is not self._acted:
            self.attend(now)
        return self._next_wake()

    def stepped(self, by: float, now: float) -> None:
        """The wheel's call: the clock on the wall was set forward."""
        self.session.liveness.stepped(by, now)
        if self.session.liveness.news is not None:
            self.attend(now)

    def judge_now(self, now: float, crowded: bool) -> None:
        """All that are due in this turn are known."""
        session = self.session
        if crowded and session.beats.doubt(now) is not JUDGE:
            session.ping(now)
        else:
            session.beats.observe(self.look(now), now)
        self.attend(now)

    def lost(self, reason: Failure) -> None:
        """The transport is gone."""
        now = self.seconds()
        self.session.ended(self.link.ending(reason, now), now)
        self._acted = Parting.ABORT
        self._abort_at = None
        self._outbox = None
        self._wheel.remove(self)
        self._wheel.watched -= 1
        self._spread(now)
        self.house.ended(self, now)
        self.link = GONE

    # -- what follows

    def attend(self, now: float) -> None:
        """Something changed, or may have: send, admit, tell, act, and wake earlier if that is wanted."""
        session = self.session
        if session.applicant is not None:
            self.house.applies(self, now)
        self._flush(now)
        if session.liveness.news is not None:
            self._spread(now)
            self._flush(now)  # whoever was told may have said something: a limit that is reached, say
        if session.beats.state is State.DEAD and session.parting is Parting.STAY:
            self.abort()
        elif session.parting is not self._acted:
            self._act(now)
        at = self._next_wake()
        if at is not None:
            self._wheel.put(self, at)

    def abort(self) -> None:
        """End the transport now."""
        self._acted = Parting.ABORT
        self.link.abort()

    @property
    def aborted(self) -> bool:
        """Whether the transport was ended so, and is gone in a moment: nothing more is said."""
        return self._acted is Parting.ABORT

    def look(self, now: float) -> Evidence:
        """The evidence of the link, and what we know of our own queue."""
        waiting = 0 if self._outbox is None else self._outbox.unsent
        return replace(self.link.look(now), waiting=waiting, handed_over="exact" if self.link.exact else "guess")

    def _next_wake(self) -> float | None:
        at = self.session.next_timer()
        if self._abort_at is not None and (at is None or self._abort_at < at):
            return self._abort_at
        return at

    def _spread(self, now: float) -> None:
        """Tell the events, oldest first."""
        while events := self.session.beats.events():
            for event in events:
                if not self._joined and self.session.gate is None:
                    self._open(now)
                if self.house.listener is not None:
                    tell(self.house.listener, self.session.peer, event, self._joined)
                if self.follower is not None:
                    self.follower(event)

    def _open(self, now: float) -> None:
        """The gate opened. The kernel knows a round trip already: with it a silent peer is found in time."""
        self._joined = True
        tcp = self.link.look(now).tcp
        if tcp is not None and tcp.rtt:
            self.session.beats.rtt.sample(tcp.rtt, provisional=True)
        self.house.opened(self, now)

    def _act(self, now: float) -> None:
        """Do what the session wants done with the connection; once for each wish."""
        wish = self._acted = self.session.parting
        if wish is Parting.ABORT:
            self.link.abort()
        elif wish is Parting.CLOSE:
            self.link.close()
            self._abort_at = now + CLOSE_BOUND

    # -- bytes out

    def _flush(self, now: float) -> None:
        out = self.session.data_to_send()
        if not out:
            return
        if self._outbox is not None:
            self._hold(out, now)
        elif self.link.write(out):
            self.session.beats.handed_over(now)
        else:
            self._busy(len(out), now)

    def _hold(self, data: bytes, now: float) -> None:
        if self._outbox is not None and self._outbox.hold(data):
            self._clog(now)

    def _busy(self, given: int, now: float) -> None:
        outbox = self._outbox = Outbox(given)
        if outbox.clogged:
            self._clog(now)
        self.link.drained(self._drained)

    def _clog(self, now: float) -> None:
        self.session.blocked(now)
        self.link.pause()
        self.attend(now)

    def _drained(self) -> None:
        """User space is empty: give the link what was held meanwhile, or be idle again."""
        outbox = self._outbox
        if outbox is None:
            return
        now = self.seconds()
        held = outbox.take()
        if held and not self.link.write(held):
            self.link.drained(self._drained)
            return
        self._outbox = None
        self.session.beats.handed_over(now)
        if outbox.clogged:
            self.session.unblocked(now)
            self.link.resume()
            self.attend(now)


# How long a graceful close may take before it becomes an abort: as long as the sender of a BYE lingers, and a little.
CLOSE_BOUND: Final = 1.5
