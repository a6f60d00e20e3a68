"""One judge, one link, one place in the wheel: wakes the judge, puts its questions, brings it evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from heartbeat.liveness.need import ASK, ASK_AND_LOOK, JUDGE, LOOK, Need
from heartbeat.liveness.states import FINAL

if TYPE_CHECKING:
    from heartbeat.liveness.beats import Beats
    from heartbeat.liveness.evidence import Evidence
    from heartbeat.liveness.liveness import Liveness
    from heartbeat.net.link import Link
    from heartbeat.net.wheel import Wheel

__all__ = ["Pulse"]


class Pulse:
    """Drives a judge that has no frames: a Beats over a foreign framing, or a bare Liveness.

    :param wheel: of the reactor
    :param judge: asked what it needs
    :param link: of the connection
    :param ask: puts one question in the framing at hand; False: that is impossible now
    :param decided: called once, when the judge is in a final state; it acts, this does not
    :param changed: called after each turn in which the judge may have events to tell

    Call :meth:`start`; after every call to the judge, :meth:`attend`; and :meth:`stop` when the connection is gone.
    """

    __slots__ = ("__weakref__", "_ask", "_beating", "_changed", "_decided", "judge", "link", "place", "tick", "wheel")

    def __init__(
        self,
        wheel: Wheel,
        judge: Beats | Liveness,
        link: Link,
        ask: Callable[[float], bool] | None = None,
        decided: Callable[[], None] | None = None,
        *,
        changed: Callable[[], None] | None = None,
    ) -> None:
        self.wheel = wheel
        self.judge = judge
        self.link = link
        self.tick = self.place = -1
        self._ask = ask
        self._decided = decided
        self._changed = changed
        self._beating = False

    def start(self) -> None:
        """Begin to watch."""
        self._beating = True
        self.wheel.watched += 1
        self.attend(self.wheel.seconds())

    def stop(self) -> None:
        """Watch no more. Twice is once."""
        self._ask = self._decided = self._changed = None
        if self._beating:
            self._beating = False
            self.wheel.watched -= 1
        self.wheel.remove(self)

    def attend(self, now: float) -> None:
        """Something was told to the judge: read its verdict, and see whether it wants to wake earlier."""
        if self.judge.state in FINAL:
            decided = self._decided
            self.stop()
            if decided is not None:
                decided()
            return
        at = self.judge.next_timer()
        if at is not None and self._beating:
            self.wheel.put(self, at)

    def wake(self, now: float) -> float | None:
        """The wheel's call."""
        self.serve(self.judge.handle_timer(now), now)
        if self._changed is not None:
            self._changed()
        return self.judge.next_timer() if self._beating else None

    def stepped(self, by: float, now: float) -> None:
        """The wheel's call: the clock on the wall was set forward."""
        self.judge.stepped(by, now)
        if self._changed is not None:
            self._changed()

    def serve(self, need: Need, now: float) -> None:
        """Do what the judge needs."""
        if need is ASK or need is ASK_AND_LOOK:
            self.put_question(now)
        if need is LOOK or need is ASK_AND_LOOK:
            self.judge.observe(self.look(now), now)
        elif need is JUDGE:
            self.wheel.judging.append(self)
        if self.judge.state in FINAL:
            self.attend(now)

    def judge_now(self, now: float, crowded: bool) -> None:
        """All that are due in this turn are known."""
        if crowded and self.judge.doubt(now) is ASK:
            self.put_question(now)
        else:
            self.judge.observe(self.look(now), now)
        if self._changed is not None:
            self._changed()
        self.attend(now)

    def look(self, now: float) -> Evidence:
        """The evidence of the link."""
        return replace(self.link.look(now), handed_over="exact" if self.link.exact else "guess")

    def put_question(self, now: float) -> bool:
        """Ask now; False: that is impossible."""
        if self._ask is None or not self._ask(now):
            return False
        self.judge.asked(now)
        self.link.drained(self._handed_over)
        return True

    def _handed_over(self) -> None:
        self.judge.handed_over(self.wheel.seconds())
