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
from heartbeat.net.tick import Tick, tick_for
from heartbeat.net.turns import Turns

__all__ = ["SLOT", "Spoke", "Wheel", "wheel_for"]

log = Logger()

#: The resolution: finer costs wakes, coarser costs detection time.
SLOT: Final = 0.02
# A power of two; 10.24 s. Who wants to sleep longer is looked at once in between.
SLOTS: Final = 512
MASK: Final = SLOTS - 1
PER_SECOND: Final = 1.0 / SLOT
#: A wait shorter than this may be none to a clock that shows the years since 1970, and would be waited for for ever.
RESOLUTION: Final = 1e-6
#: What one clock gains on another between two wakes without having been set: adjtime(3) makes 5 ms of 10 s.
DRIFT: Final = 0.05


class Spoke(Protocol):
    """Somebody in the wheel.

    :ivar tick: the slot that it sits in, -1 for none; the wheel's
    :ivar place: where in the slot; the wheel's
    """

    tick: int
    place: int

    def wake(self, now: float) -> float | None:
        """The moment has come, or will come later. Returns when to wake next (monotonic seconds), or None."""

    def stepped(self, by: float, now: float) -> None:
        """The clock on the wall was set forward by ``by`` seconds."""


class Wheel:
    """The timer of one reactor. Get it from :func:`wheel_for`.

    :ivar attention: when this process was able to listen
    :ivar lag: how late each wake was, counted
    :ivar judging: those woken in this turn whose verdict may fall; the wheel empties it by calling ``judge_now``
    :ivar watched: how many connections there are, for the crowd rule
    """

    __slots__ = (
        "__weakref__", "_alarm", "_armed", "_behind_boot", "_behind_wall", "_reactor", "_sitting", "_slots", "_tick",
        "_turning", "attention", "clocks", "judging", "lag", "seconds", "turns", "watched",
    )  # fmt: skip

    def __init__(self, reactor: Any, clocks: Clocks) -> None:
        self._reactor = reactor
        self.clocks = clocks
        self.seconds = clocks.seconds
        now = clocks.seconds()
        self.attention = Attention(now)
        self.lag = Counters()
        self.turns = Turns(self.later)
        self.judging: list[Any] = []
        self.watched = 0
        self._slots: list[list[Any]] = [[] for _ in range(SLOTS)]
        self._sitting = 0  # how many there are in all slots
        self._tick = int(now * PER_SECOND)  # the last slot that was emptied
        self._alarm: Tick = tick_for(reactor, self._turn)
        self._armed = -1  # the slot that the alarm is for
        self._turning = False
        self._behind_boot = self._behind_wall = 0.0  # how far our clock is behind these

    def put(self, spoke: Spoke, at: float) -> None:
        """Wake ``spoke`` at ``at`` (monotonic seconds); who is in it already is moved, if that is earlier."""
        tick = int(at * PER_SECOND) + 1
        if not self._alarm.armed and not self._turning:
            self._begin()
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
        self._sitting += 1
        if not self._turning and (not self._alarm.armed or tick < self._armed):
            self._arm(tick)

    def remove(self, spoke: Spoke) -> None:
        """Take it out. An empty wheel has no timer."""
        if spoke.tick < 0:
            return
        self._take_out(spoke)
        if not self._sitting and not self._turning:
            self._alarm.stop()

    def _take_out(self, spoke: Spoke) -> None:
        slot = self._slots[spoke.tick & MASK]
        slot[spoke.place] = None
        if not any(slot):
            slot.clear()  # a slot with nobody in it must not be waited for
        spoke.tick = -1
        self._sitting -= 1

    def _next(self) -> int | None:
        slots, first = self._slots, self._tick + 1
        for tick in range(first, first + SLOTS):
            if slots[tick & MASK]:
                return tick
        return None

    def _begin(self) -> None:
        """The wheel was empty and slept: the clocks may have been set meanwhile, and the reactor's own with them."""
        now = self.seconds()
        self._tick = max(self._tick, int(now * PER_SECOND))
        self._alarm = tick_for(self._reactor, self._turn)
        self._look_at_clocks(now)

    def later(self, call: Callable[[], None]) -> None:
        """Call in the next turn of the reactor, whatever the clocks do."""
        self._alarm.later(call)

    def _arm(self, tick: int) -> None:
        at = tick * SLOT
        self._armed = tick
        self.attention.expect(at)
        delay = at - self.seconds()
        self._alarm.arm(max(delay, RESOLUTION) if delay > 0.0 else 0.0)

    def _turn(self) -> None:
        now = self.seconds()
        target = int(now * PER_SECOND)
        if target < self._armed and now >= self._armed * SLOT:
            target = self._armed  # rounding: a clock that stands still meanwhile would wake us for ever
        if target >= self._armed:
            self.lag.add(self.attention.looked(now))
        self._turning = True
        try:
            suspended, stepped = self._look_at_clocks(now)
            if suspended > DRIFT:
                self.attention.resumed(now, suspended)
            if stepped > DRIFT:
                self._step(stepped, now)
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
            if following is None:
                self._alarm.stop()
            else:
                self._arm(following)

    def _look_at_clocks(self, now: float) -> tuple[float, float]:
        """How long the machine was suspended since the last look, and how far its wall clock was set forward."""
        clocks = self.clocks
        if not clocks.alike:
            return 0.0, 0.0
        wall = clocks.wall() - now
        boot = 0.0 if clocks.boot is None else clocks.boot() - now
        suspended, stepped = boot - self._behind_boot, wall - self._behind_wall
        self._behind_boot, self._behind_wall = boot, wall
        return suspended, stepped - suspended

    def _step(self, by: float, now: float) -> None:
        for spoke in [one for slot in self._slots for one in slot if one is not None]:
            try:
                spoke.stepped(by, now)
            except Exception:  # noqa: BLE001  as in a wake
                log.failure("a connection could not be told of a clock that was set")

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
                self._sitting -= 1
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
