"""CPU per beat of ``twist heartbeat-server``, beside a bare echo and beside WebSocket servers that answer pings.

Closed loop over 100 connections; the server on a core of its own, as users run it: registry and listener attached, the
web on and its metrics scraped once per second, peers with HELLO, and a SYNC among every ten beats. A beat is a
question that was answered: PING by ACK, SYNC by SYNC-ACK. What the kernel charged to the server between two counts of
the load, divided by the beats between them, is the figure: waiting costs nothing, the warm-up is not in it.
Afterwards what the server counted and what each peer's ``last_heard_ms`` says must agree with what the load did.

The other direction is a row of its own: a server with a short ping interval, whose peers do nothing but answer;
CPU per round trip, that is a PING sent, its ACK matched, and the time between them kept.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.benchmarks import comparisons
from tests.benchmarks.dialects import EchoConnection, HeartbeatPeer, WebSocketPinger
from tests.benchmarks.load import Connection, Load, LoadError
from tests.benchmarks.process import Server, cores, descriptors, pinned
from tests.benchmarks.scrape import Scraper, counter, peers
from tests.benchmarks.table import Figures, bar, ratio, render

__all__ = ["ASKING", "ECHO", "OURS", "SMALL", "Contestant", "Report", "Size", "agree", "compete", "measure"]

OURS: Final = "heartbeat-server"
ASKING: Final = "heartbeat-server, asking"
ECHO: Final = "Twisted echo"
_LISTEN: Final = ("--listen", "tcp:0:interface=127.0.0.1", "--web", "tcp:0:interface=127.0.0.1")
_SLACK_MS: Final = 250  # between the load's clock and the answer of /api/peers lie a request and its rendering
_ECHO_BAR: Final = 0.75
_WEBSOCKET_BAR: Final = 2.0
_SATURATED: Final = 0.9  # below that share of its core the server was waiting for the load


@dataclass(frozen=True)
class Size:
    """How much is done.

    :ivar connections: of the closed loop
    :ivar warm: beats of each server before its first slice
    :ivar beats: beats in a slice; a tenth as many go before it, unmeasured
    :ivar slices: in a round: what disturbs the machine for a while disturbs all servers alike
    :ivar rounds: each with new processes
    :ivar asked: connections that the server asks, in the other direction
    :ivar interval: seconds between the server's own questions there
    :ivar seconds: for how long
    """

    connections: int = 100
    warm: int = 10_000
    beats: int = 5000
    slices: int = 10
    rounds: int = 5
    asked: int = 500
    interval: float = 0.05
    seconds: float = 5.0


SMALL: Final = Size(connections=20, warm=500, beats=1000, slices=2, rounds=1, asked=20, seconds=1.0)


@dataclass
class Report:
    """What came out.

    :ivar cost: µs of CPU per beat or round trip, by the name of the server
    :ivar busy: the share of its core that the server used meanwhile
    :ivar notes: what was special about the machine
    :ivar agreed: what the load and the server counted alike, in the last round
    """

    cost: dict[str, Figures] = field(default_factory=dict)
    busy: dict[str, Figures] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    agreed: str = ""

    def add(self, name: str, cost: float, busy: float) -> None:
        """One round of one server."""
        for figures, value in ((self.cost, cost), (self.busy, busy)):
            figures.setdefault(name, Figures(name)).values.append(value)

    def skip(self, name: str, reason: str) -> None:
        """It cannot run here."""
        self.cost[name] = Figures(name, skipped=reason)

    def table(self, title: str, basis: str) -> str:
        """All rows, beside the server ``basis``."""
        echo = self.cost[basis]
        rows: list[tuple[str, ...]] = []
        for name, figures in self.cost.items():
            if figures.skipped:
                rows.append((name, f"left out: {figures.skipped}"))
                continue
            busy = self.busy[name].median
            rows.append((name, f"{figures.median:.2f}", figures.spread(), f"{ratio(figures, echo):.2f}", f"{busy:.0%}"))
        return render(title, ("server", "µs", "rounds", f"× {basis.removeprefix('Twisted ')}", "core used"), rows)

    def __str__(self) -> str:
        echo = self.cost[ECHO]
        lines = [self.table("CPU per beat", ECHO)]
        lines.append(bar("ours / echo", ratio(self.cost[OURS], echo), at_most=_ECHO_BAR))
        others = [one for one in self.cost.values() if one.name not in (OURS, ASKING, ECHO) and not one.skipped]
        if others:
            best = min(others, key=lambda one: one.median)
            lines.append(bar(f"{best.name} / ours", ratio(best, self.cost[OURS]), at_least=_WEBSOCKET_BAR))
        closed = [name for name in self.busy if name != ASKING]
        idle = [name for name in closed if self.busy[name].median < _SATURATED]
        if idle:
            lines.append(f"note: not at work all the time, for want of load or of a free core: {', '.join(idle)}")
        return "\n".join([*lines, *self.notes, f"counters agree in every round; in the last: {self.agreed}"])


class Contestant:
    """One server and its load, measured slice by slice.

    :ivar load: after :meth:`connect`
    """

    load: Load

    def __init__(self, name: str, server: Server, size: Size) -> None:
        self.name = name
        self.server = server
        self.size = size
        self.used = self.passed = 0.0
        self.done = 0

    def connect(self, dialect: Callable[[Any, int], Connection], stack: ExitStack) -> None:
        """Open the connections and warm the server up. When all servers run: peers wait for their turn only so long."""
        port = next(port for kind, port in self.server.ports.items() if kind != "web")
        self.load = stack.enter_context(Load(dialect, port, self.size.connections))
        self.load.exchange(self.size.warm)

    def slice(self) -> None:
        """Its turn: what piled up since the last one is not in the figure."""
        self.load.exchange(self.size.beats // 10)
        cpu, clock = self.server.cpu(), time.monotonic()
        self.done += self.load.exchange(self.size.beats)
        self.used += self.server.cpu() - cpu
        self.passed += time.monotonic() - clock


def start(name: str, core: int | None, *options: str) -> Server:
    """Ours with these options, or a comparison."""
    if name == OURS:
        arguments = ("-m", "twisted", "heartbeat-server", *_LISTEN, "--min-interval", "0", *options)
        return Server(arguments, ("heartbeat", "web"), core)
    return Server(("-P", str(Path(comparisons.__file__)), name), ("comparison",), core)


def measure(size: Size | None = None) -> Report:
    """All servers in turns, round by round."""
    size, report = size or Size(), Report()
    core, other = cores()
    if core is None:
        report.notes.append("note: one core only: server and load share it")
    names = [OURS]
    for name in comparisons.SERVERS:
        if reason := comparisons.missing(name):
            report.skip(name, reason)
        else:
            names.append(name)
    with pinned(other), descriptors(size.asked + size.connections * len(names) + 100):
        for _ in range(size.rounds):
            _round(report, size, core, names)
            _asking(report, size, core)
    return report


def _round(report: Report, size: Size, core: int | None, names: list[str]) -> None:
    """All servers at once, and slice by slice each has its turn."""
    with ExitStack() as stack:
        contestants = [Contestant(name, stack.enter_context(start(name, core)), size) for name in names]
        for one in contestants:
            one.connect({OURS: HeartbeatPeer, ECHO: EchoConnection}.get(one.name, WebSocketPinger), stack)
        compete(report, contestants, size)


def compete(report: Report, contestants: Sequence[Contestant], size: Size) -> None:
    """Slice by slice each has its turn, while the metrics of ours are scraped. Raises LoadError: counters disagree."""
    with ExitStack() as stack:
        scrapers = {
            one: stack.enter_context(Scraper(one.server.ports["web"]))
            for one in contestants
            if "web" in one.server.ports
        }
        for _ in range(size.slices):
            for one in contestants:
                one.slice()
    for one in contestants:
        report.add(one.name, one.used / one.done * 1e6, one.used / one.passed)
    for one, scraper in scrapers.items():
        one.load.settle()
        report.agreed = agree(one.load, scraper, one.server.ports["web"])


def _asking(report: Report, size: Size, core: int | None) -> None:
    """The server asks, the load answers."""
    dialect = partial(HeartbeatPeer, min_rx=1)
    with (
        start(OURS, core, "--ping-interval", str(size.interval)) as server,
        Load(dialect, server.ports["heartbeat"], size.asked) as load,
    ):
        scraper = Scraper(server.ports["web"])
        load.listen(min(1.0, size.seconds))
        before = _trips(scraper, load)
        cpu, clock = server.cpu(), time.monotonic()
        load.listen(size.seconds)
        used, passed = server.cpu() - cpu, time.monotonic() - clock
        after = _trips(scraper, load)
        done, counted = after[0] - before[0], after[1] - before[1]
        report.add(ASKING, used / done * 1e6, used / passed)
        if abs(counted - done) > 2 * size.asked:  # a round of questions may be on its way at each end
            raise LoadError(f"the load answered {done} questions, the server counted {counted:.0f} round trips")


def _trips(scraper: Scraper, load: Load) -> tuple[int, float]:
    """Questions that the load answered, and round trips that the server measured."""
    return sum(one.answered for one in _peers(load)), counter(scraper.text(), "heartbeat_rtt_seconds_count")


def _peers(load: Load) -> list[HeartbeatPeer]:
    return [one for one in load.connections if isinstance(one, HeartbeatPeer)]


def agree(load: Load, scraper: Scraper, web: int) -> str:
    """Whether the server's account is the load's. Raises LoadError when it is not."""
    ours = _peers(load)
    for one in ours[::2]:  # so that they differ in when they were heard last
        one.ask()
    load.settle()
    time.sleep(0.3)
    for one in ours[1::2]:
        one.ask()
    load.settle()
    text = scraper.text()
    sent, counted = sum(one.pings for one in ours), counter(text, "heartbeat_beats_total", direction="in")
    if sent != counted:
        raise LoadError(f"the load sent {sent} PINGs, heartbeat_beats_total says {counted:.0f}")
    before = time.monotonic()
    listed = {one["id"]: one for one in peers(web)}
    wrong = []
    for one in ours:
        ago, said = (before - one.sent_at) * 1000, listed[one.id]["last_heard_ms"]
        if not ago - _SLACK_MS / 5 <= said <= ago + _SLACK_MS:
            wrong.append(f"{one.id}: sent {ago:.0f} ms ago, last_heard_ms {said}")
    if wrong:
        raise LoadError(f"{len(wrong)} of {len(ours)} peers: {wrong[0]}")
    syncs, asked = sum(one.syncs for one in ours), sum(one.answered for one in ours)
    synced, states = sum(one.synced for one in ours), sum(one.states for one in ours)
    note = f"{sent} PINGs beside {syncs} SYNCs; last_heard_ms agrees for {len(ours)} peers; "
    return f"{note}the server asked {asked} PINGs, {synced} SYNCs, {states} STATEs; /metrics read {scraper.count} times"


if __name__ == "__main__":
    print(measure(SMALL if "--small" in sys.argv else Size()))
