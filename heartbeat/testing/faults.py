"""The vocabulary of faults: frozen values that say what goes wrong, not to whom.

::

    net.between(client, server).add(Delay(0.05, jitter=0.02))       faults of a path
    net.between(client, server).add(SilentDrop())
    client.add(Stall(3.0))                                          faults of a host

Pure. A path fault is turned into an effect when it is added; the effect sees every segment and either drops it
(None) or delays it by so many seconds (mostly 0). Effects of one path are asked in the order in which they
were added. Randomness is the network's own, drawn from its seed.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from heartbeat.testing.hosts import Host
    from heartbeat.testing.segments import Segment

__all__ = [
    "ClockStep",
    "Delay",
    "Effect",
    "HostFault",
    "Loss",
    "Named",
    "NatExpiry",
    "OneWay",
    "Partition",
    "PathFault",
    "SilentDrop",
    "Stall",
]

#: ``effect(segment, now, towards)``: seconds by which the segment is delayed, or None: it is lost.
#: ``towards`` is the name of the host that it goes to.
Effect = Callable[["Segment", float, str], "float | None"]


class Named(Protocol):
    """Anything with a name: a host."""

    @property
    def name(self) -> str:
        """Its name."""


class PathFault(ABC):
    """A fault of the path between two hosts, for ``net.between(a, b).add(…)``."""

    def check(self, ends: tuple[str, str]) -> None:  # noqa: B027 - most faults fit everywhere
        """Whether it makes sense between these two hosts.

        :raises ValueError: it does not
        """

    @abstractmethod
    def effect(self, now: float, draw: Callable[[], float]) -> Effect:
        """What the fault does from ``now`` on. ``draw`` gives 0 ≤ x < 1."""


class HostFault(ABC):
    """A fault of one host, for ``host.add(…)``."""

    @abstractmethod
    def strike(self, host: Host) -> None:
        """Let it happen now."""


@dataclass(frozen=True)
class SilentDrop(PathFault):
    """Nothing gets through, in either direction, and nobody is told: a firewall that drops, a cable cut far away."""

    def effect(self, now: float, draw: Callable[[], float]) -> Effect:
        """Drop everything."""
        return lambda segment, at, towards: None


@dataclass(frozen=True)
class Partition(SilentDrop):
    """The two hosts cannot reach each other. The same as :class:`SilentDrop`, by the name that the field uses."""


@dataclass(frozen=True)
class OneWay(PathFault):
    """Nothing gets through in one direction.

    :ivar towards: the host that hears nothing any more (a host or its name)
    """

    towards: Named | str

    def check(self, ends: tuple[str, str]) -> None:
        """``towards`` must be one of the two hosts."""
        if self._deaf not in ends:
            raise ValueError(f"towards must be one of {' and '.join(ends)}, not {self._deaf!r}")

    @property
    def _deaf(self) -> str:
        return self.towards if isinstance(self.towards, str) else self.towards.name

    def effect(self, now: float, draw: Callable[[], float]) -> Effect:
        """Drop what goes to ``towards``."""
        deaf = self._deaf
        return lambda segment, at, towards: None if towards == deaf else 0.0


@dataclass(frozen=True)
class Delay(PathFault):
    """Everything takes longer, each way.

    :ivar seconds: for every segment
    :ivar jitter: at most so many more, drawn evenly for each segment; segments may overtake each other by it
    :raises ValueError: for anything but finite numbers from 0 on
    """

    seconds: float
    jitter: float = 0.0

    def __post_init__(self) -> None:
        _check("seconds", self.seconds)
        _check("jitter", self.jitter)

    def effect(self, now: float, draw: Callable[[], float]) -> Effect:
        """Delay everything."""
        if not self.jitter:
            return lambda segment, at, towards: self.seconds
        return lambda segment, at, towards: self.seconds + self.jitter * draw()


@dataclass(frozen=True)
class Loss(PathFault):
    """Each segment is lost with some probability. TCP sends it again, which takes 0.2 s and more.

    :ivar ratio: from 0.0, none, to 1.0, all
    :raises ValueError: for a ratio out of that range
    """

    ratio: float

    def __post_init__(self) -> None:
        _check("ratio", self.ratio, 1.0)

    def effect(self, now: float, draw: Callable[[], float]) -> Effect:
        """Drop some."""
        return lambda segment, at, towards: None if draw() < self.ratio else 0.0


@dataclass(frozen=True)
class NatExpiry(PathFault):
    """A translating router on the path forgets a connection that was idle for too long, and then drops it silently.

    It is the kind that does not learn a running connection anew (``nf_conntrack_tcp_loose=0``): from then on
    neither direction gets through, while a new connection works. A connection that is open when the fault is
    added counts as active at that moment.

    :ivar idle: seconds without a segment in either direction after which the mapping is gone
    :raises ValueError: for anything but a finite number from 0 on
    """

    idle: float

    def __post_init__(self) -> None:
        _check("idle", self.idle)

    def effect(self, now: float, draw: Callable[[], float]) -> Effect:
        """Remember when each connection was last active."""
        active: dict[frozenset[tuple[str, int]], float] = {}

        def translate(segment: Segment, at: float, towards: str) -> float | None:
            mapping = frozenset((segment.source, segment.target))
            if segment.syn and segment.ack is None:
                active[mapping] = at
                return 0.0
            if at - active.get(mapping, now) > self.idle:
                active[mapping] = -math.inf
                return None
            active[mapping] = at
            return 0.0

        return translate


@dataclass(frozen=True)
class Stall(HostFault):
    """The process of a host does not run for a while: a blocking call, a garbage collection, SIGSTOP.

    Its kernel goes on: it receives, acknowledges and buffers. When it ends the process runs its timers first
    and reads its sockets second, as Twisted's epoll reactor does after SIGCONT.

    :ivar seconds: how long
    :raises ValueError: for anything but a finite number from 0 on
    """

    seconds: float

    def __post_init__(self) -> None:
        _check("seconds", self.seconds)

    def strike(self, host: Host) -> None:
        """Stall the process from now on."""
        host.stall(self.seconds)


@dataclass(frozen=True)
class ClockStep(HostFault):
    """The wall clock of a host is set. Its monotonic clock does not notice.

    :ivar seconds: forward, or backward where negative
    :raises ValueError: for anything but a finite number
    """

    seconds: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.seconds):
            raise ValueError(f"seconds must be a finite number, not {self.seconds!r}")

    def strike(self, host: Host) -> None:
        """Step the clock now."""
        host.step_clock(self.seconds)


def _check(name: str, value: float, highest: float = math.inf) -> None:
    if not (math.isfinite(value) and 0.0 <= value <= highest):
        bound = "" if highest == math.inf else f" to {highest:g}"
        raise ValueError(f"{name} must be a number from 0{bound}, not {value!r}")
