"""What one seed does to its peers: a plan that is drawn before anything runs, so that it can be counted and repeated.

The chaos phase injects only what a living peer must survive. What that is, per kind:

- *own stalls* (``stall_…``) of an end to which the others give the long time: any length, also over the D by which it
  judges others itself. In a timer, a call from a thread, an input callback, after a write, as SIGSTOP, or a series.
- ``common_stall``: judge and peer stop together (a hypervisor does that), and the peer comes back later by less than
  D, less what the judge's loop meant to sleep: that is counted as listening.
- ``late_stall``: the judge stops just before D, the answer comes meanwhile: it lies in its kernel before D is over.
- ``peer_stall``: the judged one stops for less than D, its last interval and the path counted in.
- ``silent_drop``, ``partition``, ``one_way``, ``nat_expired``: heal so early that the retransmission after them, which
  TCP delays by up to their length and one RTO, arrives before D.
- ``loss``: so little that D spans three retransmissions in a row (0.2, 0.4, 0.8 s); four are one in a million.
- ``delay``, ``jitter``: begin and end with a step of less than D; ``long_path``: a round trip over D from the first
  moment on, which D does not protect and the round-trip term of ``wire.md`` §2 does.
- ``nat_kept``: a mapping that beats keep open. ``pause``: the application does not read, for any time.
- clock steps: any, where timers run on the monotonic clock. Where they run on the wall clock, as Twisted's do by
  default, forward only: a step backward stops Twisted's timers, and a peer that sends nothing is rightly dead.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CHAOS_KINDS", "END_KINDS", "OVER", "SERIES", "Injection", "Plan", "draw_plan", "injected"]

STALLS: Final = ("stall_signal", "stall_timer", "stall_thread", "stall_series")
#: Only where the scenario has a handle to hang the stall on.
STALLS_OF_HANDLES: Final = (*STALLS, "stall_input", "stall_write")
LOSSY: Final = ("loss", "one_way", "silent_drop", "partition", "nat_expired", "nat_kept")
SLOW: Final = ("delay", "jitter")
CLOCKS: Final = ("clock_hour", "clock_262", "clock_strobe")
CHAOS_KINDS: Final = (
    *LOSSY, *SLOW, "long_path", *STALLS_OF_HANDLES, "common_stall", "late_stall", "peer_stall", "pause", *CLOCKS,
)  # fmt: skip
#: How one client ends, if it does; "live" is the most frequent of them.
CLIENT_ENDS: Final = ("vanish", "stop", "drop", "one_way_in", "one_way_out", "nat_lost", "kill")
WEIGHTS: Final = (1, 1, 1, 2, 2, 2, 1)
#: How all of them end at once.
COMMON_ENDS: Final = ("server_vanish", "server_stop", "server_kill", "all_drop")
FOREIGN_ENDS: Final = ("vanish", "stop", "drop", "kill")
END_KINDS: Final = (*CLIENT_ENDS, *COMMON_ENDS)
#: How a stall that is longer than the judge's own patience is called where they are counted.
OVER: Final = "stall over D"
#: Stalls in a series.
SERIES: Final = 5
#: Stretches of the chaos phase.
SLOTS: Final = 3
LIVE_SHARE: Final = 0.3
LONG_SHARE: Final = 0.15
SLOW_SHARE: Final = 0.45

#: Everything is jittered by 15 % (``wire.md`` §2).
LATEST: Final = 1.15
#: The longest RTO on the paths that lose: their round trip is under 60 ms.
RTO: Final = 0.26
#: Slots of the wheel, turns of the loops and rounding.
SLACK: Final = 0.1
#: D of an end that is given the long time, as a multiple of the short one.
LONGER: Final = 3
#: The crowd rule is about more than 8 at once.
CROWD: Final = 9
#: Seconds: longer detection times only take longer.
MOST_DETECT: Final = 4.0


@dataclass(frozen=True)
class Injection:
    """One fault.

    :ivar at: seconds after the chaos phase began
    :ivar where: the host, or the client or ``watcher`` at the end of the path
    :ivar seconds: how long it lasts
    :ivar amount: what else the kind needs
    """

    at: float
    kind: str
    where: str
    seconds: float = 0.0
    amount: float = 0.0


@dataclass
class Plan:
    """What one seed does.

    :ivar interval: I of everybody
    :ivar detect: D of whoever is not given the long time
    :ivar patient: who is given it: ``server``, or ``client`` for all clients
    :ivar flight: seconds that a segment takes, and as many more at most
    :ivar monotonic: of each host, whether its timers run on the monotonic clock
    :ivar ends: how each client, ``server`` or ``watcher`` (its foreign peer) ends
    :ivar last_stalls: own stalls while the dead are being found: (host, at, seconds)
    """

    seed: int
    interval: float
    multiplier: int
    profile: str
    patient: str
    clients: tuple[str, ...]
    flight: tuple[float, float]
    monotonic: dict[str, bool]
    injections: list[Injection] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)
    last_stalls: list[tuple[str, float, float]] = field(default_factory=list)
    length: float = 0.0

    @property
    def detect(self) -> float:
        """The short detection time."""
        return self.interval * self.multiplier

    def multiplier_of(self, host: str) -> int:
        """How many intervals the others give this host."""
        return self.multiplier * (LONGER if host.startswith(self.patient) else 1)

    def detect_of(self, host: str) -> float:
        """The time that the others give this host."""
        return self.interval * self.multiplier_of(host)

    @property
    def one_way(self) -> float:
        """The most that a segment takes without further faults."""
        return sum(self.flight)

    @property
    def stall_room(self) -> float:
        """How long one with the short time may be stopped."""
        return 0.85 * self.detect - LATEST * self.interval - 2 * self.one_way - SLACK

    @property
    def outage_room(self) -> float:
        """How long a path may be cut: it takes as long again, and an RTO, until a lost segment is sent again."""
        return (0.9 * self.detect - LATEST * self.interval - RTO - 3 * self.one_way - SLACK) / 2

    @property
    def delay_room(self) -> float:
        """What a path may become longer by, one way."""
        return (0.8 * self.detect - LATEST * self.interval) / 2 - self.one_way

    @property
    def common_room(self) -> float:
        """How much later than its judge a peer may come back: the stall itself counts for D/8, but only from the moment
        at which the judge's loop meant to wake. Until then it slept in its poll, which is listening."""
        return 0.875 * self.detect - 2 * LATEST * self.interval - 2 * self.one_way - 1.5 * SLACK

    def has_room(self, kind: str) -> bool:
        """Whether this kind leaves a living peer alive with these times."""
        if kind == "loss":
            return 2 * self.outage_room >= 6 * RTO
        if kind in LOSSY:
            return kind == "nat_kept" or self.outage_room > SLACK
        if kind in SLOW:
            return self.delay_room > SLACK
        if kind == "peer_stall":
            return self.stall_room > SLACK
        if kind == "common_stall":
            return self.common_room > SLACK
        if kind == "late_stall":
            return self.one_way < 0.02 * self.detect
        return True


def injected(plan: Plan) -> Counter[str]:
    """How often each kind is injected by a plan. :data:`OVER` counts the own stalls longer than the short D again."""
    counts = Counter(one.kind for one in plan.injections)
    counts["long_path"] = int(plan.profile == "long")
    single = [one for one in plan.injections if one.kind.startswith("stall_") and one.kind != "stall_series"]
    counts[OVER] = sum(one.seconds > plan.detect for one in single)
    counts.update(end for end in plan.ends.values() if end != "live")
    return +counts


def draw_plan(seed: int) -> Plan:
    """The plan of a seed: the same one each time."""
    chance = random.Random(f"plan {seed}")
    draw = chance.random
    share = draw()
    profile = "long" if share < LONG_SHARE else "slow" if share < SLOW_SHARE else "lossy"
    interval = chance.choice((0.4, 0.5, 0.75, 1.0))
    multiplier = min(chance.randint(3, 10), int(MOST_DETECT / interval))
    flight = (0.0005 + 0.01 * draw(), 0.01 * draw())
    if profile == "long":
        interval, multiplier = 0.5, 3
        flight = (0.8 + 0.4 * draw(), 0.0)
    elif profile == "slow":
        flight = (0.1 * draw(), 0.05 * draw())
    crowd = seed % 8 == 7
    clients = tuple(f"client{number}" for number in range(CROWD if crowd else 2))
    patient = "server" if crowd or draw() < 0.6 else "client"
    hosts = ("server", *clients, "watcher", "echo")
    monotonic = {host: draw() < 0.75 for host in hosts}
    plan = Plan(seed, interval, multiplier, profile, patient, clients, flight, monotonic)
    at = 1.0
    for _ in range(1 if crowd else SLOTS):
        at = _Slot(plan, chance, at).fill()
    plan.length = at
    _draw_ends(plan, chance)
    return plan


class _Slot:
    """One stretch of the chaos phase: at most one fault for each pair, and then enough time to get over it."""

    def __init__(self, plan: Plan, chance: random.Random, at: float) -> None:
        self.plan = plan
        self.chance = chance
        self.draw = chance.random
        self.at = at
        self.until = at

    def fill(self) -> float:
        """Draw its faults. When the next one may begin."""
        plan, draw = self.plan, self.draw
        common = "common_stall" if plan.patient == "client" else self.choice("common_stall", "late_stall")
        if draw() < 0.3 and common:
            self.add(common, self.chance.choice(plan.clients))
        elif plan.patient == "server" and draw() < 0.4:
            self.add(self.chance.choice(STALLS), "server")
        elif plan.patient == "client" and draw() < 0.25 and plan.has_room("peer_stall"):
            self.add("peer_stall", "server")
        else:
            for client in plan.clients:
                self.fault_of_pair(client)
        self.fault_of_watcher()
        for host in plan.monotonic:
            if draw() < 0.15:
                self.add(self.chance.choice(CLOCKS), host)
        return self.until + plan.detect + 4 * plan.one_way + 0.5

    def choice(self, *kinds: str) -> str | None:
        """One of those for which there is room."""
        possible = [kind for kind in kinds if self.plan.has_room(kind)]
        return self.chance.choice(possible) if possible else None

    def paths(self) -> tuple[str, ...]:
        """The faults of paths that fit this plan's profile."""
        return {"lossy": LOSSY, "slow": SLOW, "long": ()}[self.plan.profile]

    def fault_of_pair(self, client: str) -> None:
        """Something between a client and the server."""
        own = STALLS_OF_HANDLES if self.plan.patient == "client" else ("peer_stall", "peer_stall")
        self.add(self.choice(*self.paths(), *own), client)

    def fault_of_watcher(self) -> None:
        """Something between the foreign judge, of whom nobody judges anything, and its peer."""
        own = (*STALLS_OF_HANDLES, "common_stall", "late_stall", "peer_stall", "pause", "pause")
        self.add(self.choice(*self.paths(), *own), "watcher")

    def add(self, kind: str | None, where: str) -> None:
        """Draw its length."""
        if kind is None:
            return
        plan, draw = self.plan, self.draw
        at = self.at + 0.9 * plan.interval * draw()
        seconds, amount = LENGTHS[kind](plan, draw, where)
        plan.injections.append(Injection(at, kind, where, seconds, amount))
        self.until = max(self.until, at + seconds + (amount if kind in ("common_stall", "late_stall") else 0.0))


def _length(plan: Plan, draw: Callable[[], float], where: str, *, most: str, least: float = 0.4) -> tuple[float, float]:
    return (least + (1 - least) * draw()) * getattr(plan, most), draw()


def _own_stall(plan: Plan, draw: Callable[[], float], where: str) -> tuple[float, float]:
    """A stall that only its own judges notice: the watcher's may last longer than anybody would wait for it."""
    return (0.2 + (2.5 if where == "watcher" else 1.0) * draw()) * plan.detect, draw()


def _while(plan: Plan, draw: Callable[[], float], where: str) -> tuple[float, float]:
    """A fault that may last."""
    return (1.0 + draw()) * plan.detect, draw()


def _common(plan: Plan, draw: Callable[[], float], where: str) -> tuple[float, float]:
    """How long both stop, and how much longer the judged."""
    return (0.5 + 0.6 * draw()) * plan.detect, (0.75 + 0.25 * draw()) * plan.common_room


def _late(plan: Plan, draw: Callable[[], float], where: str) -> tuple[float, float]:
    """How long the judge stops, and the silence at which it does."""
    return (0.4 + 0.6 * draw()) * plan.detect, (0.9 + 0.03 * draw()) * plan.detect


LENGTHS: Final[dict[str, Callable[[Plan, Callable[[], float], str], tuple[float, float]]]] = {
    **dict.fromkeys(LOSSY, partial(_length, most="outage_room")),
    **dict.fromkeys(("loss", "nat_kept"), _while),
    **dict.fromkeys(SLOW, _while),
    **dict.fromkeys(STALLS_OF_HANDLES, _own_stall),
    **dict.fromkeys(CLOCKS, lambda plan, draw, where: (0.0, draw() - 0.5)),
    "peer_stall": partial(_length, most="stall_room"),
    "common_stall": _common,
    "late_stall": _late,
    "pause": _own_stall,
}


def _draw_ends(plan: Plan, chance: random.Random) -> None:
    """Who ends how. Each eighth seed the same way, so that every kind is frequent."""
    common = {1: "server_vanish", 3: "server_stop", 5: "server_kill", 7: "all_drop"}.get(plan.seed % 8)
    if common == "all_drop":
        plan.ends = dict.fromkeys(plan.clients, common)
    elif common is not None:
        plan.ends = {"server": common}
    else:
        for client in plan.clients:
            plan.ends[client] = "live" if chance.random() < LIVE_SHARE else chance.choices(CLIENT_ENDS, WEIGHTS)[0]
    plan.ends["watcher"] = "live" if chance.random() < LIVE_SHARE else chance.choice(FOREIGN_ENDS)
    judges = [host for host in ("server", *plan.clients) if host.startswith(plan.patient)]
    for judge in (*judges, "watcher"):
        if chance.random() < 0.3:
            plan.last_stalls.append((judge, chance.random() * plan.detect, (0.2 + 0.6 * chance.random()) * plan.detect))
