"""A driver that carries DATA, too: control first, and never much of it with the link at once (``wire.md`` §7)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from heartbeat.net.driver import NOBODY, Driver, House
from heartbeat.net.kernel import MOST_UNSENT
from heartbeat.session.parting import Parting

if TYPE_CHECKING:
    from collections.abc import Callable

    from heartbeat.liveness.evidence import Evidence
    from heartbeat.net.application import Application
    from heartbeat.net.link import Link
    from heartbeat.net.wheel import Wheel
    from heartbeat.session.session import Session

__all__ = ["DataDriver"]

#: The most that lies before a beat: DATA in the transport, and unsent by the kernel.
AHEAD: Final = 64 * 1024
#: DATA is given to the link in batches of this size where nobody can say how much the kernel holds unsent: at most
#: ``kernel.MOST_UNSENT``, if it can be limited at all.
BATCH: Final = AHEAD - MOST_UNSENT


class DataDriver(Driver):
    """Drives one wrapped connection. Nothing of this exists on heartbeat-only ones.

    :ivar application: the user's protocol and what belongs to it; None until the transport is connected
    :ivar look_at: when it wants to be looked at, monotonic seconds; None: when something happens
    :ivar limited: the kernel refuses what comes while it holds too much unsent, and says when it holds less
    :ivar given: bytes of DATA, headers included, that the link was given
    """

    __slots__ = ("_lent", "_moved_at", "application", "given", "limited", "look_at")

    def __init__(self, session: Session, wheel: Wheel, link: Link, house: House = NOBODY) -> None:
        super().__init__(session, wheel, link, house)
        self.application: Application | None = None
        self.look_at: float | None = None
        self.limited = False
        self.given = 0
        self._lent = 0  # bytes of DATA that the link holds, as far as is known
        self._moved_at = 0.0  # when the link last took, or gave to the kernel, what it holds

    # -- what happens

    def received(self, data: bytes) -> None:
        """Bytes came: beats are answered first, then the application gets its own."""
        super().received(data)
        if self.application is not None:
            self.application.serve(self.seconds())

    def attend(self, now: float) -> None:
        """As for any connection; then the application has its turn."""
        super().attend(now)
        if self.application is not None:
            self.application.serve(now)

    def wake(self, now: float) -> float | None:
        """The wheel's call."""
        if self.look_at is not None and now >= self.look_at and self.application is not None:
            self.look_at = None
            self.application.press(now)
        at = super().wake(now)
        self._offered(now)
        return at

    def _next_wake(self) -> float | None:
        at = super()._next_wake()
        return self.look_at if self.look_at is not None and (at is None or self.look_at < at) else at

    def _offered(self, now: float) -> None:
        """A peer that stopped reading leaves no room for the question that would find it out.

        When it is suspect, and the link has not moved for T/2, the question counts from here on as if the kernel had
        it: what is in its way is at most a batch and what the peer itself does not take.
        """
        liveness = self.session.liveness
        if liveness.suspicion is None or not liveness.asking or self._outbox is None:
            return
        terms = liveness.terms
        if liveness.attention.awake(self._moved_at, now, terms.cap) >= terms.timeout / 2.0:
            liveness.handed_over(now)

    # -- for the application

    @property
    def busy(self) -> bool:
        """Whether the link holds something that the kernel does not have."""
        return self._outbox is not None

    def unacknowledged(self, now: float) -> int:
        """Bytes that the link was given and that the peer's kernel does not have, as far as can be known."""
        seen = self.look(now)
        return (seen.outq or 0) + (seen.waiting or 0)

    def look_by(self, at: float) -> None:
        """Call ``press`` of the application at ``at``."""
        self.look_at = at
        self._wheel.put(self, at)

    def soon(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` in the next turn: what the reactor has to read comes first, at the latest after that."""
        self._wheel.later(callback)

    def flush(self, now: float) -> None:
        """Give the link control frames."""
        self._flush(now)

    def push(self, now: float) -> int:
        """Give the link control frames, and then a batch of DATA. Returns how many bytes of DATA it took."""
        self._flush(now)
        session = self.session
        stream = session.stream
        if self._outbox is not None or stream is None or not stream.ready or session.parting is not Parting.STAY:
            return 0
        unsent = self.link.unsent() if self.limited else None
        if unsent is None:
            room = BATCH
        elif unsent < MOST_UNSENT:
            room = AHEAD - unsent
        else:
            self._busy(0, now)  # until the kernel wants more
            return 0
        pieces = stream.data_to_send(room)
        size = sum(map(len, pieces))
        self.given += size
        if not self.link.write_all(pieces, size):
            self._lent = size
            self._busy(0, now)
        return size

    # -- the link

    def look(self, now: float) -> Evidence:
        """The evidence of the link, and what we know of our own queues."""
        seen = super().look(now)
        if not self.busy:
            return seen
        return replace(seen, waiting=(seen.waiting or 0) + self._lent, handed_over="guess")

    def _busy(self, given: int, now: float) -> None:
        self._moved_at = now
        super()._busy(given, now)

    def _drained(self) -> None:
        if self._outbox is None:
            return
        self._lent = 0
        now = self._moved_at = self.seconds()
        super()._drained()
        if not self.busy and self.application is not None:
            self.application.serve(now)
