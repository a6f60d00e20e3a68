"""An idle timeout, of two kinds: attentive, by the wheel of a reactor, and plain, by any ``callLater``.

Both refer weakly to their protocol, so that neither the wheel nor a pause keeps a connection alive that is gone.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.internet import error

from heartbeat.liveness.evidence import Evidence
from heartbeat.liveness.liveness import Liveness
from heartbeat.net.adapters.pauses import Ears
from heartbeat.net.quietpulse import IdlePulse

if TYPE_CHECKING:
    from heartbeat.net.wheel import Wheel

__all__ = ["AttentiveTimer", "Fired", "PlainTimer"]

#: Who is called with the evidence when the time is up, weakly.
Fired: TypeAlias = weakref.WeakMethod[Callable[[Evidence | None], None]]


class AttentiveTimer(Ears):
    """By the wheel of a reactor. It keeps the wheel, so that the next timeout finds it with its memory.

    :ivar armed: it may fire
    :ivar wheel: of the reactor
    """

    __slots__ = ("_fired", "_period", "_protocol", "_pulse", "armed", "wheel")

    def __init__(self, protocol: Any, wheel: Wheel, fired: Fired) -> None:
        super().__init__()
        self._protocol = weakref.ref(protocol)
        self.wheel = wheel
        self._fired = fired
        self._pulse: IdlePulse | None = None
        self._period = 0.0
        self.armed = False

    def start(self, period: float) -> None:
        """Begin."""
        wheel = self.wheel
        now = wheel.seconds()
        self.armed = True
        self._period = period
        judge = Liveness(period, wheel.attention, now, can_ask=False)
        self._pulse = IdlePulse(wheel, judge, self._protocol, self._decided)
        self._pulse.start()
        if self.paused:
            self._pulse.deaf(now)

    def reset(self, period: float) -> None:
        """A sign of life: two attributes of the judge change and nothing else."""
        if period != self._period:
            self.stop()
            self.start(period)
        elif self._pulse is not None:
            self._pulse.judge.heard(self.wheel.seconds())

    def stop(self) -> None:
        """End, without firing."""
        self.armed = False
        pulse, self._pulse = self._pulse, None
        if pulse is not None:
            pulse.stop()

    def deaf(self) -> None:
        """We do not read."""
        if self._pulse is not None:
            self._pulse.deaf(self.wheel.seconds())

    def hearing(self) -> None:
        """We read again."""
        if self._pulse is not None:
            self._pulse.hearing(self.wheel.seconds())

    def _decided(self) -> None:
        pulse, self._pulse = self._pulse, None
        self.armed = False
        fired = self._fired()
        if fired is not None and pulse is not None:
            fired(pulse.judge.evidence)


class PlainTimer(Ears):
    """By a ``callLater`` that is no reactor's: exactly Twisted's timer, but for the pauses.

    :ivar armed: it may fire
    """

    __slots__ = ("_call", "_fired", "_period", "_protocol", "armed")

    def __init__(self, protocol: Any, fired: Fired) -> None:
        super().__init__()
        self._protocol = weakref.ref(protocol)
        self._fired = fired
        self._call: Any = None
        self._period = 0.0
        self.armed = False

    def start(self, period: float) -> None:
        """Begin."""
        self.armed = True
        self._period = period
        protocol = self._protocol()
        if not self.paused and protocol is not None:
            self._call = protocol.callLater(period, self._over)

    def reset(self, period: float) -> None:
        """Begin anew."""
        self._period = period
        if self._call is not None:
            self._call.reset(period)

    def stop(self) -> None:
        """End, without firing."""
        self.armed = False
        call, self._call = self._call, None
        if call is not None:
            with suppress(
                error.AlreadyCancelled, error.AlreadyCalled
            ):  # others may have done it: tests, a reactor's end
                call.cancel()

    def deaf(self) -> None:
        """We do not read."""
        if self.armed:
            self.stop()
            self.armed = True

    def hearing(self) -> None:
        """We read again: the whole time is given once more, for how much was over is not known here."""
        if self.armed:
            self.start(self._period)

    def _over(self) -> None:
        self._call = None
        self.armed = False
        fired = self._fired()
        if fired is not None:
            fired(None)
