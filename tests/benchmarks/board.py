"""The pages while thousands of peers beat: how long each takes, how fresh it is, and what the beats feel of it.

Each peer beats every half second, and answers what the server asks. Meanwhile another process asks for the page, for
``/api/peers`` and for ``/metrics``, one after the other. The round trips of the beats are measured by the load, once
without anybody who asks, and once with.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from tests.benchmarks import asker
from tests.benchmarks.dialects import HeartbeatPeer
from tests.benchmarks.load import Load, LoadError
from tests.benchmarks.process import Server, cores, descriptors, pinned
from tests.benchmarks.table import bar, render

__all__ = ["PATHS", "SMALL", "Report", "Size", "measure"]

PATHS: Final = ("/", "/?part=strip,peers,failures", "/api/peers", "/metrics")
_INTERVAL: Final = 0.5
_SPARE: Final = 200  # descriptors for everything but the connections; the server keeps 64 for itself
_BAR_ANSWER: Final = 0.2
_BAR_FRESH: Final = 1.0
_BAR_BEAT: Final = 0.1


@dataclass(frozen=True)
class Size:
    """How much is done: connections, seconds of beats without and with somebody who asks, and around them."""

    connections: int = 5000
    seconds: float = 20.0
    settle: float = 2.0


SMALL: Final = Size(connections=100, seconds=1.5, settle=0.6)


@dataclass
class Report:
    """Seconds.

    :ivar size: what was done
    :ivar answers: how long each answer took, by path
    :ivar sizes: bytes of the largest, by path
    :ivar ages: of the freshest beat in each answer, by path; None where it told of no new beat
    :ivar quiet: round trips of the beats without anybody who asks
    :ivar asked: and with
    """

    size: Size
    answers: dict[str, list[float]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    ages: dict[str, list[float | None]] = field(default_factory=dict)
    quiet: list[float] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)

    @property
    def pace(self) -> float:
        """The share of the beats that were due which there were: below 0.95 the machine is too slow for this load."""
        due = self.size.connections * self.size.seconds / _INTERVAL
        return min(len(self.quiet), len(self.asked)) / due

    @property
    def stale(self) -> int:
        """Answers without a beat younger than a second."""
        return sum(age is None or age >= _BAR_FRESH for ages in self.ages.values() for age in ages)

    def __str__(self) -> str:
        rows = [
            (
                path,
                str(len(took)),
                f"{self.sizes[path] / 1024:.0f}",
                f"{median(took) * 1e3:.1f}",
                f"{max(took) * 1e3:.1f}",
            )
            for path, took in self.answers.items()
        ]
        pages = render("Pages under load", ("path", "answers", "KiB", "ms median", "ms longest"), rows)
        beats = render(
            "Round trips of the beats",
            ("", "beats", "ms median", "ms 99 %", "ms 99.9 %", "ms longest"),
            [_spread("nobody asks", self.quiet), _spread("somebody asks", self.asked)],
        )
        longest = max(max(took) for took in self.answers.values())
        lines = [
            bar("beats done of those that were due", self.pace, at_least=0.95),
            bar("longest answer, s", longest, at_most=_BAR_ANSWER),
            bar("longest round trip while somebody asks, s", max(self.asked), at_most=_BAR_BEAT),
            bar("answers without a beat younger than 1 s", float(self.stale), at_most=0.0),
        ]
        return "\n".join([pages, "", beats, *lines])


def _spread(name: str, trips: list[float]) -> tuple[str, ...]:
    ordered = sorted(trips)

    def at(share: float) -> str:
        return f"{ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3:.2f}"

    return name, str(len(ordered)), at(0.5), at(0.99), at(0.999), at(1.0)


class TimedLoad(Load):
    """A load that keeps the round trip of each answer."""

    def __init__(self, port: int, count: int) -> None:
        self.trips: list[float] = []
        super().__init__(HeartbeatPeer, port, count)

    def _take(self, timeout: float) -> None:
        for descriptor, _ in self._ready(timeout, len(self.connections)):
            connection = self._by_descriptor[descriptor]
            data = connection.recv(65_536)
            sent_at = connection.sent_at  # before it answers what the server may ask in the same breath
            if self._came(data) and (data == connection.expected or connection.other(data)):
                self.trips.append(time.monotonic() - sent_at)
                connection.expected = b""
                self.answers += 1

    def trips_of(self, seconds: float) -> list[float]:
        """Beat for so long; the round trips."""
        self.trips = []
        self.pace(_INTERVAL, seconds)
        return list(self.trips)


def measure(size: Size | None = None) -> Report:
    """One server, one load, one who asks."""
    size = size or Size()
    report = Report(size)
    core, other = cores()
    where = ("--listen", "tcp:0:interface=127.0.0.1", "--web", "tcp:0:interface=127.0.0.1")
    with (
        pinned(other),
        descriptors(size.connections + _SPARE),
        Server(("-m", "twisted", "heartbeat-server", *where), ("heartbeat", "web"), core) as server,
        TimedLoad(server.ports["heartbeat"], size.connections) as load,
    ):
        load.pace(_INTERVAL, size.settle)
        report.quiet = load.trips_of(size.seconds)
        command = [sys.executable, str(Path(asker.__file__)), str(server.ports["web"]), str(size.seconds), *PATHS]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as somebody:
            report.asked = load.trips_of(size.seconds)
            load.pace(_INTERVAL, size.settle)  # its last answer
            said, trouble = somebody.communicate(timeout=60.0)
        if somebody.returncode:
            raise LoadError(f"asking failed: {trouble}")
    for line in said.splitlines():
        path, took, length, age = json.loads(line)
        report.answers.setdefault(path, []).append(took)
        report.sizes[path] = max(report.sizes.get(path, 0), length)
        report.ages.setdefault(path, []).append(age)
    return report


if __name__ == "__main__":
    print(measure(SMALL if "--small" in sys.argv else Size()))
