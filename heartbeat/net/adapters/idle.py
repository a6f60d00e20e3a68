"""An idle timeout, of two kinds: attentive, by the wheel of a reactor, and plain, by any ``callLater``.

Both refer weakly to their protocol, so that neither the wheel nor a pause keeps a connection alive that is gone.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from twisted.internet import error, tcp
from twisted.protocols.tls import TLSMemoryBIOProtocol

from heartbeat.liveness.evidence import Evidence
from heartbeat.liveness.liveness import Liveness
from heartbeat.net.adapters.pauses import Ears
from heartbeat.net.link import GONE, link_for
from heartbeat.net.pulse import Pulse

if TYPE_CHECKING:
    from heartbeat.net.wheel import Wheel

__all__ = ["AttentiveTimer", "Fired", "PlainTimer", "has_ended"]

# A paused connection stays in the wheel, seconds between two looks: an empty wheel does not know whether we listened.
PAUSED_LOOK: Final = 5.0

#: Who is called with the evidence when the time is up, weakly.
Fired: TypeAlias = weakref.WeakMethod[Callable[[Evidence | None], None]]


def has_ended(transport: Any) -> bool:
    """Whether this transport says that it is gone. TCP, UNIX and TLS over them do; of others it is not known."""
    while isinstance(transport, TLSMemoryBIOProtocol):
        transport = transport.transport
    return isinstance(transport, tcp.Connection) and bool(transport.disconnected)


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


class IdlePulse(Pulse):
    """A pulse that cannot ask. It refers weakly to its protocol, and ends when that or the transport is gone."""

    __slots__ = ("_looking", "_protocol", "_reading")

    def __init__(self, wheel: Wheel, judge: Liveness, protocol: weakref.ref[Any], decided: Callable[[], None]) -> None:
        super().__init__(wheel, judge, GONE, decided=decided)
        self._protocol = protocol
        self._reading = True
        self._looking = False

    def deaf(self, now: float) -> None:
        """We do not read: silence does not count."""
        self._reading = False
        self.judge.deaf(now)

    def hearing(self, now: float) -> None:
        """We read again."""
        self._reading = True
        self.judge.hearing(now)
        self.attend(now)

    def wake(self, now: float) -> float | None:
        """The wheel's call. Only now a link is made: who is never silent for half the time has none."""
        protocol = self._protocol()
        transport = getattr(protocol, "transport", None)
        if protocol is None or has_ended(transport):
            self.stop()
            return None
        if self.link is GONE and transport is not None:
            self.link = link_for(transport, self.wheel.turns, protocol)
        at = super().wake(now)
        self.judge.events()  # nobody follows them; they must not pile up
        return at if self._reading or not self._beating else now + PAUSED_LOOK

    def judge_now(self, now: float, crowded: bool) -> None:
        """Not yet: a poll must lie between, because on many transports nobody can say what is unread."""
        if not self._looking:
            self._looking = True
            self.wheel.turns.after_two(self._last_look)

    def _last_look(self) -> None:
        self._looking = False
        if self._beating and self._reading:
            super().judge_now(self.wheel.seconds(), False)


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
