"""Memory per idle connection, above the empty server: ours beside a bare echo and beside WebSocket servers.

5,000 connections to a server with default settings; for a minute each beats every half second, and answers what the
server asks. Then the memory of the process is read again, and what it was while empty is taken off. The kernel's own
memory for sockets is in neither figure.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.benchmarks import comparisons
from tests.benchmarks.dialects import EchoConnection, HeartbeatPeer, WebSocketPinger
from tests.benchmarks.load import Load, LoadError
from tests.benchmarks.process import Server, cores, descriptors, pinned
from tests.benchmarks.scrape import Scraper, counter
from tests.benchmarks.table import Figures, bar, render

__all__ = ["ECHO", "OURS", "SMALL", "Report", "Size", "measure"]

OURS: Final = "heartbeat-server"
ECHO: Final = "Twisted echo"
_BAR_KB: Final = 4.0
_INTERVAL: Final = 0.5
_SPARE: Final = 200  # descriptors for everything but the connections; the server keeps 64 for itself


@dataclass(frozen=True)
class Size:
    """How much is done: connections, seconds of beats, and seconds for an empty server to come to rest."""

    connections: int = 5000
    seconds: float = 60.0
    settle: float = 1.0


SMALL: Final = Size(connections=200, seconds=2.0, settle=0.2)


@dataclass
class Report:
    """KB (1024 bytes) per connection, by the name of the server; the values are those of the only round.

    :ivar resident: growth of the resident set
    :ivar private: growth of what is resident and private to the process
    :ivar notes: what was counted meanwhile
    """

    resident: dict[str, Figures] = field(default_factory=dict)
    private: dict[str, Figures] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = []
        for name, figures in self.resident.items():
            if figures.skipped:
                rows.append((name, f"left out: {figures.skipped}"))
                continue
            times = figures.median / self.resident[ECHO].median
            rows.append((name, f"{figures.median:.2f}", f"{self.private[name].median:.2f}", f"{times:.2f}"))
        head = ("server", "KB resident", "KB private", "× echo")
        ours = bar("KB per connection", self.resident[OURS].median, at_most=_BAR_KB)
        return "\n".join([render("Memory per idle connection", head, rows), ours, *self.notes])


def measure(size: Size | None = None) -> Report:
    """One server after the other."""
    size, report = size or Size(), Report()
    core, other = cores()
    with pinned(other), descriptors(size.connections + _SPARE):
        for name in (OURS, *comparisons.SERVERS):
            if name != OURS and (reason := comparisons.missing(name)):
                report.resident[name] = Figures(name, skipped=reason)
                continue
            resident, private = _one(report, name, size, core)
            report.resident[name] = Figures(name, [resident])
            report.private[name] = Figures(name, [private])
    return report


def _one(report: Report, name: str, size: Size, core: int | None) -> tuple[float, float]:
    """KB per connection, resident and private."""
    dialect = {OURS: HeartbeatPeer, ECHO: EchoConnection}.get(name, WebSocketPinger)
    with _start(name, core) as server:
        time.sleep(size.settle)
        empty = server.memory()
        with Load(dialect, server.ports["heartbeat" if name == OURS else "comparison"], size.connections) as load:
            load.pace(_INTERVAL, size.seconds)
            load.settle()
            full = server.memory()
            if name == OURS:
                report.notes.append(_agree(load, server.ports["web"]))
    resident, private = ((after - before) / size.connections / 1024 for before, after in zip(empty, full, strict=True))
    return resident, private


def _start(name: str, core: int | None) -> Server:
    if name != OURS:
        return Server(("-P", str(Path(comparisons.__file__)), name), ("comparison",), core)
    where = ("--listen", "tcp:0:interface=127.0.0.1", "--web", "tcp:0:interface=127.0.0.1")
    return Server(("-m", "twisted", "heartbeat-server", *where), ("heartbeat", "web"), core)


def _agree(load: Load, web: int) -> str:
    """Whether the server's account is the load's. Raises LoadError when it is not."""
    text = Scraper(web).text()
    ours = [one for one in load.connections if isinstance(one, HeartbeatPeer)]
    sent, counted = sum(one.pings for one in ours), counter(text, "heartbeat_beats_total", direction="in")
    here = counter(text, "heartbeat_connections")
    if (sent, len(ours)) != (counted, here):
        raise LoadError(f"{len(ours)} connections sent {sent} PINGs, the server counted {here:.0f} and {counted:.0f}")
    return (
        f"counters agree: {len(ours)} connections, {sent} PINGs; the server asked {sum(one.answered for one in ours)}"
    )


if __name__ == "__main__":
    print(measure(SMALL if "--small" in sys.argv else Size()))
