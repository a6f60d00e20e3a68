"""Virtual time, the paths between hosts, and what travels on them. Pure: one queue of events, one source of chance.

Two runs with the same seed and the same calls are the same run, event for event.
"""

from __future__ import annotations

import heapq
import math
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from heartbeat.testing.faults import Effect, Named, PathFault
    from heartbeat.testing.hosts import Host
    from heartbeat.testing.segments import Segment

__all__ = ["DELAY", "GRAIN", "Network", "Path", "Timeline", "grained"]

#: All times are multiples of this, about a microsecond. A power of two: then the sums and differences of all clocks,
#: those with a date in them too, are exact, and a timer that is due is due by every clock.
GRAIN: Final = 2.0**-20
PER_SECOND: Final = 2.0**20

#: Seconds that a segment takes from one host to another where no fault says otherwise: a local network.
DELAY: Final = 0.0005


def grained(seconds: float) -> float:
    """The next time that there is."""
    return math.ceil(seconds * PER_SECOND) * GRAIN


class Timeline:
    """Events in the order of their time; those of one moment in the order in which they were put in.

    :ivar now: seconds since the simulation began
    :ivar count: how many events were put in so far
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.count = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call ``call()`` at ``time``; at once, after what is due already, where that is past."""
        self.count += 1
        heapq.heappush(self._events, (max(math.ceil(time * PER_SECOND) * GRAIN, self.now), self.count, call))

    def step(self, limit: float) -> bool:
        """Let the next event happen if it is due by ``limit``. False: there is none, and it is ``limit`` now."""
        if not self._events or self._events[0][0] > limit:
            self.now = max(self.now, limit)
            return False
        self.now, _, call = heapq.heappop(self._events)
        call()
        return True


class Path:
    """What lies between two hosts, both ways. Get it with ``net.between(a, b)``.

    :ivar faults: those in force, in the order in which they were added
    """

    def __init__(self, network: Network, ends: tuple[str, str]) -> None:
        self._network = network
        self._ends = ends
        self._effects: list[tuple[PathFault, Effect]] = []

    def __repr__(self) -> str:
        return f"<Path {' - '.join(self._ends)} {list(self.faults)}>"

    @property
    def faults(self) -> tuple[PathFault, ...]:
        """The faults in force."""
        return tuple(fault for fault, _ in self._effects)

    def add(self, fault: PathFault) -> PathFault:
        """From now on. What is on its way already is not touched. Gives ``fault`` back, for :meth:`remove`.

        :raises ValueError: the fault names a host that this path does not lead to
        """
        fault.check(self._ends)
        self._effects.append((fault, fault.effect(self._network.now, self._network.draw)))
        return fault

    def remove(self, fault: PathFault) -> None:
        """The oldest fault that equals this one ends.

        :raises ValueError: there is none
        """
        self._effects.pop(self.faults.index(fault))

    def clear(self) -> None:
        """All faults end."""
        self._effects.clear()

    def delay(self, segment: Segment, now: float, towards: str) -> float | None:
        """Seconds that this segment takes, None: it is lost."""
        delay = self._network.delay
        for _, effect in self._effects:
            more = effect(segment, now, towards)
            if more is None:
                return None
            delay += more
        return delay


class Network:
    """Hosts, the paths between them, and the time that they share.

    :ivar draw: a callable that gives 0 ≤ x < 1: all chance comes from it
    :ivar delay: seconds from any host to any other, faults aside
    :ivar watcher: called with a line for each segment that is sent, None: nobody wants to know
    """

    def __init__(self, draw: Callable[[], float], delay: float = DELAY) -> None:
        self.draw = draw
        self.delay = delay
        self.timeline = Timeline()
        self.at = self.timeline.at
        self.watcher: Callable[[float, str], None] | None = None
        self._hosts: dict[str, Host] = {}
        self._by_address: dict[str, Host] = {}
        self._paths: dict[tuple[str, str], Path] = {}

    @property
    def now(self) -> float:
        """Seconds since the simulation began."""
        return self.timeline.now

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, in the order in which they were made."""
        return tuple(self._hosts.values())

    def place(self, host: Host) -> None:
        """Connect a new host.

        :raises ValueError: there is one of that name
        """
        if host.name in self._hosts:
            raise ValueError(f"there is a host named {host.name!r} already")
        self._hosts[host.name] = host
        self._by_address[host.address] = host

    def find(self, name: str) -> Host | None:
        """The host of that name or address, None if there is none."""
        return self._hosts.get(name) or self._by_address.get(name)

    def next_address(self) -> str:
        """An address for the next host: 10.0.0.1, 10.0.0.2 and so on."""
        number = len(self._hosts) + 1
        return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"

    def between(self, one: Named | str, other: Named | str) -> Path:
        """The path between two hosts, the same object for both orders.

        :raises ValueError: there is no such host
        """
        names = [end if isinstance(end, str) else end.name for end in (one, other)]
        for name in names:
            if name not in self._hosts:
                raise ValueError(f"there is no host named {name!r}")
        first, second = sorted(names)
        path = self._paths.get((first, second))
        if path is None:
            path = self._paths[first, second] = Path(self, (first, second))
        return path

    def carry(self, sender: Host, segment: Segment) -> None:
        """Take a segment towards its target. Nobody is told if it does not arrive."""
        now = self.timeline.now
        receiver = sender if segment.target[0].startswith("127.") else self._by_address.get(segment.target[0])
        delay: float | None = None
        if receiver is not None and sender.present:
            ends = (sender.name, receiver.name) if sender.name <= receiver.name else (receiver.name, sender.name)
            path = self._paths.get(ends)
            delay = self.delay if path is None else path.delay(segment, now, receiver.name)
        if self.watcher is not None:
            self.watcher(now, f"{segment} {'lost' if delay is None else f'takes {delay:.6f}'}")
        if receiver is not None and delay is not None:
            self.timeline.at(now + delay, partial(receiver.receive, segment))
