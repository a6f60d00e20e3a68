"""What it costs to schedule a beat: the wheel beside one ``callLater`` per peer; and that beats leave no garbage.

The first table drives both by hand through the same span, in steps of the wheel's slot, on a reactor whose only
machinery is Twisted's own timers: nothing is measured but the scheduling. A peer does the same in both: it counts,
and says when it wants to wake next (its interval, jittered).

The second part lets whole connections of :mod:`heartbeat.net` beat through a minute of stepped time, in both
directions, all questions answered. Python's collector must not have run on their account, and the number of allocated
blocks must be what it was.
"""

from __future__ import annotations

import gc
import itertools
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from heartbeat.net.wheel import Wheel, wheel_for
from tests.benchmarks.minute import Minute, beat_for_a_minute
from tests.benchmarks.stepped import Stepped
from tests.benchmarks.table import Figures, bar, ratio, render

__all__ = ["SMALL", "Report", "Size", "measure"]

_INTERVAL: Final = 0.5
_BARS: Final = {50_000: 10.0, 10_000: 5.0}
_JITTER: Final = 0.15


@dataclass(frozen=True)
class Size:
    """How much is done.

    :ivar peers: of each row
    :ivar span: seconds of stepped time, in each round
    :ivar rounds: how often both get their turn
    :ivar connections: that beat for a minute
    """

    peers: tuple[int, ...] = (50_000, 10_000)
    span: float = 2.0
    rounds: int = 5
    connections: int = 200


SMALL: Final = Size(peers=(2000,), span=1.0, rounds=1, connections=20)


class CallLaterPeer:
    """A peer with a timer of its own."""

    __slots__ = ("_later", "_waits", "beats")

    def __init__(self, reactor: Stepped, waits: Iterator[float]) -> None:
        self.beats = 0
        self._later = reactor.callLater
        self._waits = waits
        self._later(_INTERVAL * random.random(), self.wake)

    def wake(self) -> None:
        """Count, and set the timer again."""
        self.beats += 1
        self._later(next(self._waits), self.wake)


class WheelPeer:
    """A peer in the wheel."""

    __slots__ = ("_waits", "beats", "place", "tick")

    def __init__(self, wheel: Wheel, waits: Iterator[float]) -> None:
        self.beats = 0
        self.tick = self.place = -1
        self._waits = waits
        wheel.put(self, wheel.seconds() + _INTERVAL * random.random())

    def wake(self, now: float) -> float:
        """Count, and say when next."""
        self.beats += 1
        return now + next(self._waits)

    def stepped(self, by: float, now: float) -> None:
        """No clock is set here."""


@dataclass
class Report:
    """µs of CPU per beat, by the number of peers.

    :ivar wheel: of the wheel
    :ivar timers: of one ``callLater`` per peer
    :ivar minute: what a minute of beats left behind
    """

    wheel: dict[int, Figures] = field(default_factory=dict)
    timers: dict[int, Figures] = field(default_factory=dict)
    minute: Minute | None = None

    def __str__(self) -> str:
        rows, bars = [], []
        for peers, figures in self.wheel.items():
            times = ratio(self.timers[peers], figures)
            rows.append((f"{peers} peers", f"{figures.median:.2f}", f"{self.timers[peers].median:.2f}", f"{times:.1f}"))
            if peers in _BARS:
                bars.append(bar(f"callLater / wheel at {peers}", times, at_least=_BARS[peers]))
        head = ("", "wheel µs", "callLater µs", "times cheaper")
        return "\n".join([render("Scheduling a beat", head, rows), *bars, str(self.minute)])


def measure(size: Size | None = None) -> Report:
    """Both in turns, round by round."""
    size, report = size or Size(), Report()
    for peers in size.peers:
        wheel = report.wheel[peers] = Figures("wheel")
        timers = report.timers[peers] = Figures("callLater")
        for _ in range(size.rounds):
            wheel.values.append(_cost(peers, size.span, True))
            timers.values.append(_cost(peers, size.span, False))
    report.minute = beat_for_a_minute(size.connections)
    return report


def _cost(peers: int, span: float, wheel: bool) -> float:
    """µs of CPU per beat."""
    reactor = Stepped()
    waits = itertools.cycle([_INTERVAL * random.uniform(1 - _JITTER, 1 + _JITTER) for _ in range(9973)])
    crowd: Sequence[WheelPeer | CallLaterPeer]
    if wheel:
        of = wheel_for(reactor, reactor.seconds)
        crowd = [WheelPeer(of, waits) for _ in range(peers)]
    else:
        crowd = [CallLaterPeer(reactor, waits) for _ in range(peers)]
    reactor.step(2 * _INTERVAL)  # until all are in their stride
    before = sum(one.beats for one in crowd)
    gc.collect()
    used = reactor.step(span)
    beats = sum(one.beats for one in crowd) - before
    return used / beats * 1e6


if __name__ == "__main__":
    print(measure(SMALL if "--small" in sys.argv else None))
