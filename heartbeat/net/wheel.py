"""One timer for all connections of a reactor: a hashed wheel of slots, lazily re-armed.

Theory of operation. A pulse sits in the slot of the moment at which it wants to wake. Most of them will by then have
a later moment in mind; the wheel finds out when it gets there and moves them on, so a beat costs one append and no
search. The wheel sleeps until the next slot that has anybody in it, tells :class:`.Attention` when it means to wake,
and its lateness is the gap in which nobody could have been heard. All that are due in one turn are woken first, and
only then, when it is known how many there are, the verdicts fall.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.logger import Logger

from heartbeat.liveness.attention import Attention
from heartbeat.liveness.counters import Counters
from heartbeat.net.clocks import Clocks, clocks_for
from heartbeat.net.turns import Turns

__all__ = ["SLOT", "Spoke", "Wheel", "wheel_for"]

log = Logger()

#: The resolution: finer costs wakes, coarser costs detection time.
SLOT: Final = 0.02
# A power of two; 10.24 s. Who wants to sleep longer is looked at once in between.
SLOTS: Final = 512
MASK: Final = SLOTS - 1
PER_SECOND: Final = 1.0 / SLOT


class Spoke(Protocol):
    """Somebody in the wheel.

    :ivar tick: the slot that it sits in, -1 for none; the wheel's
    :ivar place: where in the slot; the wheel's
    """

    tick: int
    place: int

    def wake(self, now: float) -> float | None:
        """The moment has come, or will come later. Returns when to wake next (monotonic seconds), or None."""


class Wheel:
    """The timer of one reactor. Get it from :func:`wheel_for`.

    :ivar attention: when this process was able to listen
    :ivar lag: how late each wake was, counted
    :ivar judging: those woken in this turn whose verdict may fall; the wheel empties it by calling ``judge_now``
    :ivar watched: how many connections there are, for the crowd rule
    """

    __slots__ = (
        "__weakref__", "_armed", "_call", "_reactor", "_slots", "_tick", "_turning", "attention", "clocks", "judging",
        "lag", "seconds", "turns", "watched",
    )  # fmt: skip

    def __init__(self, reactor: Any, clocks: Clocks) -> None:
        self._reactor = reactor
        self.clocks = clocks
        self.seconds = clocks.seconds
        now = clocks.seconds()
        self.attention = Attention(now)
        self.lag = Counters()
        self.turns = Turns(reactor)
        self.judging: list[Any] = []
        self.watched = 0
        self._slots: list[list[Any]] = [[] for _ in range(SLOTS)]
        self._tick = int(now * PER_SECOND)  # the last slot that was emptied
        self._call: Any = None
        self._armed = -1  # the slot that the call is for
        self._turning = False

    def put(self, spoke: Spoke, at: float) -> None:
        """Wake ``spoke`` at ``at`` (monotonic seconds); who is in it already is moved, if that is earlier."""
        tick = int(at * PER_SECOND) + 1
        if self._call is None and not self._turning:
            self._tick = max(self._tick, int(self.seconds() * PER_SECOND))
        if tick <= self._tick:
            tick = self._tick + 1
        elif tick > self._tick + MASK:
            tick = self._tick + MASK
        if spoke.tick >= 0:
            if spoke.tick <= tick:
                return
            self._take_out(spoke)
        slot = self._slots[tick & MASK]
        spoke.tick = tick
        spoke.place = len(slot)
        slot.append(spoke)
        if not self._turning and (self._call is None or tick < self._armed):
            self._arm(tick)

    def remove(self, spoke: Spoke) -> None:
        """Take it out. An empty wheel has no timer."""
        if spoke.tick < 0:
            return
        self._take_out(spoke)
        if not self._turning and self._call is not None and self._next() is None:
            self._call.cancel()
            self._call = None

    def _take_out(self, spoke: Spoke) -> None:
        slot = self._slots[spoke.tick & MASK]
        slot[spoke.place] = None
        if not any(slot):
            slot.clear()  # a slot with nobody in it must not be waited for
        spoke.tick = -1

    def _next(self) -> int | None:
        slots, first = self._slots, self._tick + 1
        for tick in range(first, first + SLOTS):
            if slots[tick & MASK]:
                return tick
        return None

    def _arm(self, tick: int) -> None:
        at = tick * SLOT
        delay = max(0.0, at - self.seconds())
        self._armed = tick
        self.attention.expect(at)
        if self._call is not None:
            self._call.reset(delay)
            return
        self._call = self._reactor.callLater(delay, self._turn)

    def _turn(self) -> None:
        self._call = None
        now = self.seconds()
        target = int(now * PER_SECOND)
        if target >= self._armed:
            self.lag.add(self.attention.looked(now))
        self._turning = True
        try:
            self._wake_all(max(self._tick, target - SLOTS), target, now)
            judging = self.judging
            if judging:
                self.judging = []
                crowded = self.attention.crowded(len(judging), self.watched)
                for spoke in judging:
                    try:
                        spoke.judge_now(now, crowded)
                    except Exception:  # noqa: BLE001  as in a wake: it would keep all behind it from being judged
                        log.failure("a connection could not be judged")
        finally:
            self._turning = False
            following = self._next()
            if following is not None:
                self._arm(following)

    def _wake_all(self, tick: int, target: int, now: float) -> None:
        slots = self._slots
        while tick < target:
            tick += 1
            self._tick = tick
            slot = slots[tick & MASK]
            if not slot:
                continue
            for spoke in slot:  # nobody is put into this slot meanwhile: put() reaches at most the one before it
                if spoke is None:
                    continue
                spoke.tick = -1
                try:
                    at = spoke.wake(now)
                except Exception:  # noqa: BLE001  one connection's defect must not cost the others their judge
                    log.failure("a connection could not be woken and is not watched any more")
                    continue
                if at is not None:
                    self.put(spoke, at)
            slot.clear()


# Neither a reactor nor a wheel is kept alive by it: a wheel lives as long as a factory or a connection has it.
_WHEELS: weakref.WeakKeyDictionary[Any, weakref.ref[Wheel]] = weakref.WeakKeyDictionary()


def wheel_for(reactor: Any, seconds: Callable[[], float] | None = None) -> Wheel:
    """The wheel of ``reactor``, made when first asked for; ``seconds`` chooses its clock then."""
    known = _WHEELS.get(reactor)
    wheel = None if known is None else known()
    if wheel is None:
        wheel = Wheel(reactor, clocks_for(reactor, seconds))
        _WHEELS[reactor] = weakref.ref(wheel)
    return wheel
