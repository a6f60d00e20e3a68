"""Throughput of a wrapped connection beside the same protocols unwrapped, and what beats take meanwhile.

Two processes on a core each; every transfer is a connection of its own, bare and wrapped in turns. The sending protocol
writes 64 KiB pieces as a push or a pull producer, pieces of 1 KiB, or all of it in one write; up, down, and both ways
at once; plain and TLS. The clock runs from the first write until the other end's application has all of it.

The same once more with both ends in one process, where what counts is the processor time: no scheduler, and no wait of
one process for the other, is in that figure.

The ratio that is held against the bar is the median of those of the rounds, as in the other benchmarks; the ratio of
the best transfers of each kind stands beside it. A neighbour on the machine makes both worse: measure on an idle one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.benchmarks import bulkend
from tests.benchmarks.load import LoadError
from tests.benchmarks.process import Server, cores
from tests.benchmarks.table import Figures, bar, ratio, render

__all__ = ["BAR", "SMALL", "Case", "Report", "Size", "measure"]

BAR: Final = 0.8
_LISTENERS: Final = ("bare", "bareTls", "wrapped", "wrappedTls")
_PATIENCE: Final = 60.0  # seconds for one transfer
_DIRECTIONS: Final = {"call": "up", "serve": "down", "both": "both ways"}


@dataclass(frozen=True)
class Case:
    """One way to send: over TLS or not, how it is written (``bulkend.WRITERS``), and which end sends."""

    tls: bool
    writes: str
    sends: str

    def __str__(self) -> str:
        return f"{'tls' if self.tls else 'tcp'}, {self.writes}, {_DIRECTIONS[self.sends]}"


def _cases(*writes: str, sends: tuple[str, ...] = ("call", "serve", "both")) -> tuple[Case, ...]:
    return tuple(Case(tls, one, end) for tls in (False, True) for one in writes for end in sends)


@dataclass(frozen=True)
class Size:
    """How much is done.

    :ivar cases: ways to send
    :ivar bytes: of a transfer, in each direction
    :ivar rounds: transfers of each kind
    """

    cases: tuple[Case, ...] = _cases("push", "pull", "small", "whole")
    bytes: int = 50_000_000
    rounds: int = 15


SMALL: Final = Size(_cases("push", "small", sends=("call",)), bytes=20_000_000, rounds=3)


@dataclass
class Report:
    """What came out.

    :ivar bare: MB/s of the unwrapped, one figure for each round
    :ivar wrapped: of the wrapped
    :ivar alone: bytes per microsecond of processor time, both ends together: bare and wrapped
    :ivar rtts: round trips of both ends in the wrapped ones, seconds
    """

    bare: dict[Case, Figures] = field(default_factory=dict)
    wrapped: dict[Case, Figures] = field(default_factory=dict)
    alone: dict[Case, tuple[Figures, Figures]] = field(default_factory=dict)
    rtts: dict[Case, list[float]] = field(default_factory=dict)

    def best(self, case: Case) -> float:
        """The ratio of the best transfers."""
        return max(self.wrapped[case].values) / max(self.bare[case].values)

    def cost(self, case: Case) -> float:
        """The ratio of the best, by processor time."""
        bare, wrapped = self.alone[case]
        return max(wrapped.values) / max(bare.values)

    def percentile(self, case: Case, share: float) -> float:
        """Of the round trips, in milliseconds."""
        ordered = sorted(self.rtts[case])
        return 1000.0 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")

    def __str__(self) -> str:
        head = (
            "what",
            "bare",
            "wrapped",
            "× median",
            "bare, best",
            "wrapped, best",
            "× best",
            "× CPU",
            "RTT ms",
            "p99",
            "beats",
        )
        rows = [
            (
                str(case),
                f"{bare.median:.0f}",
                f"{wrapped.median:.0f}",
                f"{ratio(wrapped, bare):.2f}",
                f"{max(bare.values):.0f}",
                f"{max(wrapped.values):.0f}",
                f"{self.best(case):.2f}",
                f"{self.cost(case):.2f}",
                f"{self.percentile(case, 0.5):.2f}",
                f"{self.percentile(case, 0.99):.2f}",
                str(len(self.rtts[case])),
            )
            for case in self.bare
            for bare, wrapped in ((self.bare[case], self.wrapped[case]),)
        ]
        lines = [render("Bulk, MB/s", head, rows)]
        lines += [
            bar(f"wrapped / bare, {case}", ratio(self.wrapped[case], self.bare[case]), at_least=BAR)
            for case in self.bare
        ]
        return "\n".join(lines)


class Caller:
    """The calling end: takes an order, answers when it is carried out.

    :ivar ports: of the listeners in the same process, where there are any
    """

    def __init__(self, core: int | None, role: str = "call") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(bulkend.__file__)), role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [_package(), os.environ.get("PYTHONPATH")]))},
        )
        if core is not None:
            os.sched_setaffinity(self._process.pid, {core})
        self.ports: dict[str, int] = {}
        while "orders" not in self.ports:
            _, name, where = self._line().split()
            self.ports[name] = int(where.rpartition(":")[2])

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise LoadError("the calling end has failed")
        return line

    def carry_out(self, **order: object) -> dict[str, Any]:
        """One transfer. Raises LoadError when it failed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._line())
        if told["lost"]:
            raise LoadError(f"{order}: {told['lost']}")
        return told

    def stop(self) -> None:
        """No more orders."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(_PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()


def _package() -> str:
    """Where this process found the package."""
    import heartbeat

    return str(Path(heartbeat.__path__[0]).parent)


@contextmanager
def _ends() -> Iterator[tuple[Server, Caller, Caller]]:
    """Two processes on a core each, and one that is both."""
    one, other = cores()
    with Server(("-P", str(Path(bulkend.__file__)), "serve"), _LISTENERS, one) as server, ExitStack() as stack:
        callers = []
        for core, role in ((other, "call"), (one, "alone")):
            callers.append(Caller(core, role))
            stack.callback(callers[-1].stop)
        yield server, callers[0], callers[1]


def measure(size: Size | None = None) -> Report:
    """All ways, each bare and wrapped in turns."""
    size, report = size or Size(), Report()
    with _ends() as (server, caller, alone):
        for case in size.cases:
            bare, wrapped = report.bare[case], report.wrapped[case] = Figures("bare"), Figures("wrapped")
            report.alone[case] = Figures("bare"), Figures("wrapped")
            report.rtts[case] = []
            amount = (2 if case.sends == "both" else 1) * size.bytes / 1e6
            for _ in range(size.rounds):
                for is_wrapped, figures, by_cpu in zip((False, True), (bare, wrapped), report.alone[case], strict=True):
                    told = _transfer(caller, server.ports, case, is_wrapped, size.bytes)
                    figures.values.append(amount / told["seconds"])
                    report.rtts[case] += told["rtts"]
                    by_cpu.values.append(amount / _transfer(alone, alone.ports, case, is_wrapped, size.bytes)["cpu"])
            report.rtts[case] += [one for line in _news(server) for one in json.loads(line)]
    return report


def _transfer(caller: Caller, ports: dict[str, int], case: Case, wrapped: bool, size: int) -> dict[str, Any]:
    """One. Raises LoadError when the peer is not alive behind it."""
    told = caller.carry_out(
        port=ports[("wrapped" if wrapped else "bare") + ("Tls" if case.tls else "")],
        wrapped=wrapped,
        tls=case.tls,
        writes=case.writes,
        sends=case.sends,
        size=size,
    )
    if wrapped and told["state"] != "alive":
        raise LoadError(f"{case}: the peer is {told['state']}")
    return told


def _news(server: Server) -> list[str]:
    """What the serving end has told since it was last asked."""
    lines = [line.removeprefix("trips ") for line in server.log().splitlines() if line.startswith("trips ")]
    news = lines[server.told :]
    server.told = len(lines)
    return news


if __name__ == "__main__":
    print(measure(SMALL if "--small" in sys.argv else Size()))
