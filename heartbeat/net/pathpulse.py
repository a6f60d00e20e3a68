"""The two judges of an unmodified peer, each in the wheel: of its path, by its kernel's word, and of its silence.

Theory of operation. Nothing is done when something comes or goes. When the wheel wakes a :class:`PathPulse`, at half
of the detection time, it looks at what the two kernels have said to each other meanwhile (:mod:`.liveness.signs`).
If that was anything, the judge has heard it, at the time at which it came. If not, the peer is suspect, and at the
detection time dead, provided that our kernel has asked, twice, and waits for the answer: who was not asked is not
silent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from heartbeat.liveness.beats import Beats
from heartbeat.liveness.causes import name_silence
from heartbeat.liveness.signs import asked, asked_in_vain, newest_sign
from heartbeat.liveness.states import FINAL
from heartbeat.net.quietpulse import PAUSED_LOOK, IdlePulse, QuietPulse, has_ended

if TYPE_CHECKING:
    import weakref

    from heartbeat.liveness.evidence import Evidence, TcpInfo
    from heartbeat.liveness.liveness import Liveness
    from heartbeat.net.link import Link
    from heartbeat.net.wheel import Wheel

__all__ = ["SAME", "PathPulse", "SilencePulse", "silence_left"]

# The kernel tells times in ticks, of up to 10 ms: the same sign, looked at twice, may seem this much newer.
SAME: Final = 0.02


class SilencePulse(IdlePulse):
    """Judges how long the application of a peer has been silent. Its owner tells it of each sign of life.

    :param link: of the connection
    :param silent: is called with the last look when the time is up
    """

    __slots__ = ("_silent",)

    def __init__(
        self,
        wheel: Wheel,
        judge: Liveness,
        protocol: weakref.ref[Any],
        link: Link,
        silent: Callable[[Evidence | None], None],
    ) -> None:
        super().__init__(wheel, judge, protocol, self._over)
        self._silent = silent
        self.link = link

    def heard(self, now: float) -> None:
        """The application said something."""
        judge: Liveness = self.judge  # type: ignore[assignment]  # it was given one
        judge.heard_at = now
        if judge.suspicion is not None:
            judge.refute(now)

    def _over(self) -> None:
        self._silent(self.judge.evidence)


class PathPulse(QuietPulse):
    """Judges the path to a peer and its host, by what the kernel knows.

    :param link: of the connection
    :param decided: as of a Pulse
    :param spread: tells the events; called after each look that may have made some
    :param vanished: the transport has ended, and nobody has told us

    :ivar probed: the kernel sends keepalives while nothing else is on its way
    """

    __slots__ = ("_before", "_spread", "_vanished", "probed")

    judge: Liveness

    def __init__(  # noqa: PLR0917  as of a Pulse, and who is told
        self,
        wheel: Wheel,
        judge: Liveness,
        link: Link,
        decided: Callable[[], None],
        spread: Callable[[], None],
        vanished: Callable[[], object],
    ) -> None:
        super().__init__(wheel, judge, link, decided)
        self._vanished: Callable[[], object] = vanished
        self.probed = False
        self._spread: Callable[[], object] = spread
        self._before: TcpInfo | None = link.look(wheel.seconds()).tcp

    @property
    def blind(self) -> bool:
        """Whether this transport or platform shows nothing to judge by."""
        return self._before is None or self._before.last_ack_recv is None

    def stop(self) -> None:
        """Watch no more, and keep nobody who was told."""
        super().stop()
        self._spread = self._vanished = _tell_nobody

    def listen(self, now: float) -> None:
        """Look now, whatever the time: has the peer been heard?"""
        if self.judge.state not in FINAL:
            self._is_answered(self.look(now), now)

    def wake(self, now: float) -> float | None:
        """The wheel's call."""
        if has_ended(self.link.transport):
            self._vanished()
            return None
        if not self._reading:
            return now + PAUSED_LOOK
        at = self.judge.next_timer() if self._is_answered(self.look(now), now) else super().wake(now)
        self._spread()
        return at if self._beating else None

    def stepped(self, by: float, now: float) -> None:
        """The wheel's call: the clock on the wall was set forward."""
        super().stepped(by, now)
        self._spread()

    def last_look(self, now: float) -> None:
        """The verdict: what came before the peer fell silent was read, and nobody loses it."""
        judge = self.judge
        if judge.suspicion is None:
            return
        seen = self.look(now)
        if not self._is_answered(seen, now) and asked_in_vain(seen.tcp):
            judge.flight().looked(seen)
            cause, detail = name_silence(judge.suspicion.half_time, seen)
            judge.condemn(cause, now, replace(seen, detail=detail))
        self._spread()
        self.attend(now)

    def _is_answered(self, seen: Evidence, now: float) -> bool:
        """Whether there is a sign of life that the judge does not know, or nobody has asked for one."""
        judge = self.judge
        before, self._before = self._before, seen.tcp
        sign = newest_sign(before, seen)
        if sign is not None and sign > judge.heard_at + SAME:
            self._heard(min(sign, now), now)
            return judge.due > now
        if asked(seen.tcp):
            return False
        if not self.probed:  # and nobody will ask: silence begins with the next question
            self._heard(now, now)
        elif judge.suspicion is None and judge.due <= now:
            judge.due = now + judge.terms.cap
        return judge.due > now

    def _heard(self, at: float, now: float) -> None:
        judge = self.judge
        judge.heard_at = at
        if judge.suspicion is not None:
            judge.refute(now)
        judge.due = max(at + judge.terms.half, now)


def silence_left(judge: Beats | Liveness, now: float) -> float:
    """Seconds until a verdict may fall, if nothing is heard meanwhile."""
    liveness = judge.liveness if isinstance(judge, Beats) else judge
    return max(0.0, liveness.terms.detect - (now - liveness.heard_at))


def _tell_nobody() -> None:
    """It is over."""
