"""How each fault of a plan is done to a world."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from heartbeat.testing import ClockStep, Delay, Loss, NatExpiry, OneWay, Partition, SilentDrop, Stall
from tests.scenarios.plans import SERIES, Injection

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from heartbeat.testing.faults import PathFault
    from tests.scenarios.world import World

__all__ = ["FOR_GOOD", "Injections"]

#: Seconds: a process that is stopped for good.
FOR_GOOD: Final = 1_000_000.0
#: The loss ratio at most. Four in a row, which would kill, are then one in a million.
MOST_LOSS: Final = 0.03
#: Shares of the interval after which a mapping is gone: less than the longest gap between two beats, or more.
GONE: Final = 0.25
KEPT: Final = 2.5
#: How long the loop runs between the stalls of a series.
BREATH: Final = 0.05
#: Strobe: how often the clock jumps to and fro, and every how many seconds.
STROBES: Final = 20
STROBE: Final = 0.05


class Injections:
    """Does to a world what its plan says, and counts it in ``done``."""

    def __init__(self, world: World, done: Counter[str]) -> None:
        self.world = world
        self.done = done
        self.net = world.net
        self._kinds: dict[str, Callable[[Injection], None]] = {
            "clock_hour": partial(self._clock, step=3600.0),
            "clock_262": partial(self._clock, step=262.0),
            "clock_strobe": self._strobe,
            "common_stall": self._common,
            "late_stall": self._late,
            "pause": self._pause,
            "peer_stall": lambda one: self._stalled_peer(one).stall(one.seconds),
            "stall_input": self._stall_in_input,
            "stall_series": self._series,
            "stall_signal": lambda one: self._host(one).add(Stall(one.seconds)),
            "stall_thread": self._stall_in_thread,
            "stall_timer": self._stall_in_timer,
            "stall_write": self._stall_after_write,
        }

    def inject(self, one: Injection) -> None:
        """Let it happen now."""
        self.done[one.kind] += 1
        do = self._kinds.get(one.kind)
        if do is not None:
            do(one)
            return
        path = self.world.path(one.where)
        fault = path.add(self._path_fault(one))
        self.net.later(one.seconds, lambda: path.remove(fault))

    def end(self) -> None:
        """Let everybody end as the plan says, and stall the judges meanwhile."""
        world = self.world
        for who, how in world.plan.ends.items():
            if how == "live":
                continue
            self.done[how] += 1
            host = world.hosts["echo" if who == "watcher" else who]
            if how.endswith("vanish"):
                host.vanish()
            elif how.endswith("stop"):
                host.stall(FOR_GOOD)
            elif how.endswith("kill"):
                host.crash()
            else:
                world.path(who).add(self._last_fault(how, who))
        for name, at, seconds in world.plan.last_stalls:
            self.net.later(at, partial(world.hosts[name].stall, seconds))

    # -- paths

    def _path_fault(self, one: Injection) -> PathFault:
        plan = self.world.plan
        peer = "echo" if one.where == "watcher" else "server"
        if one.kind == "loss":
            return Loss(MOST_LOSS * one.amount)
        if one.kind == "one_way":
            return OneWay(one.where if one.amount < 0.5 else peer)
        if one.kind == "nat_expired":
            return NatExpiry(GONE * plan.interval)
        if one.kind == "nat_kept":
            return NatExpiry(KEPT * plan.interval)
        if one.kind == "delay":
            return Delay(one.amount * plan.delay_room)
        if one.kind == "jitter":
            return Delay(0.3 * plan.delay_room, jitter=0.7 * one.amount * plan.delay_room)
        return Partition() if one.kind == "partition" else SilentDrop()

    def _last_fault(self, how: str, who: str) -> PathFault:
        if how == "one_way_in":
            return OneWay(who)
        if how == "one_way_out":
            return OneWay("server")
        return NatExpiry(GONE * self.world.plan.interval) if how == "nat_lost" else SilentDrop()

    # -- processes

    def _host(self, one: Injection) -> Any:
        return self.world.hosts[one.where]

    def _stalled_peer(self, one: Injection) -> Any:
        """Who of a pair has the short time, and is judged by the other."""
        world = self.world
        if one.where == "watcher":
            return world.hosts["echo"]
        return world.hosts["server" if world.plan.patient == "client" else one.where]

    def _stall_in_timer(self, one: Injection) -> None:
        host = self._host(one)
        host.reactor.callLater(0, host.stall, one.seconds)

    def _stall_in_thread(self, one: Injection) -> None:
        host = self._host(one)
        host.reactor.callFromThread(host.stall, one.seconds)

    def _stall_in_input(self, one: Injection) -> None:
        stall = partial(self._host(one).stall, one.seconds)
        if one.where == "watcher":
            self.world.judge.after_input = stall
        else:
            self.world.handles[one.where].ping().addCallbacks(lambda _: stall(), lambda _: None)

    def _stall_after_write(self, one: Injection) -> None:
        host = self._host(one)
        if one.where == "watcher":
            self.world.judge.after_write = partial(host.stall, one.seconds)
        else:
            self.world.handles[one.where].ping().addErrback(lambda _: None)
            host.stall(one.seconds)

    def _series(self, one: Injection) -> None:
        """Several stalls with little time in between."""
        each = one.seconds / SERIES
        for number in range(SERIES):
            self.net.later(number * (each + BREATH), partial(self._host(one).stall, each))

    def _common(self, one: Injection) -> None:
        """The judge stops, and the judged a little longer."""
        world = self.world
        if one.where == "watcher":
            judges, judged = ["watcher"], ["echo"]
        elif world.plan.patient == "server":
            judges, judged = ["server"], [one.where]
        else:
            judges, judged = list(world.plan.clients), ["server"]
        for name in judges:
            world.hosts[name].stall(one.seconds)
        for name in judged:
            world.hosts[name].stall(one.seconds + one.amount)

    def _late(self, one: Injection) -> None:
        """The judged stops; just before its time is over the judge does, too, and the answer comes meanwhile."""
        world = self.world
        judge, peer = ("watcher", "echo") if one.where == "watcher" else ("server", one.where)
        begun = world.heard_at(judge, one.where) - world.net.now
        lies_there = begun + one.amount + 0.02 * world.plan.detect
        if begun + one.amount <= 0.0:  # something else made the peer silent for so long already
            self.done[one.kind] -= 1
            return
        world.hosts[peer].stall(lies_there)
        self.net.later(begun + one.amount, partial(world.hosts[judge].stall, one.seconds))

    def _pause(self, one: Injection) -> None:
        """The application reads nothing."""
        judge = self.world.judge
        judge.pause()
        self.net.later(one.seconds, judge.resume)

    # -- clocks

    def _clock(self, one: Injection, step: float) -> None:
        host = self._host(one)
        backward = one.amount < 0.0 and self.world.plan.monotonic[one.where]
        host.add(ClockStep(-step if backward else step))

    def _strobe(self, one: Injection) -> None:
        """To and fro, as fast as nobody's beats; where timers run on the wall clock, forward each time."""
        host = self._host(one)
        monotonic = self.world.plan.monotonic[one.where]
        for number in range(STROBES):
            step = 2.0 * one.amount * 262.0
            if monotonic and number % 2:
                step = -step
            elif not monotonic:
                step = abs(step)
            self.net.later(number * STROBE, lambda step=step: host.add(ClockStep(step)))  # type: ignore[misc]
