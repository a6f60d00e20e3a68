"""How soon a dead peer is found, and what it is said to have died of: ``python -m tests.real.dead_peers``.

Every fault of :mod:`tests.real.faults` happens for real, each between namespaces of its own and all within the same
seconds, to several connections at once, at moments drawn by a seed. Both ends are processes that tell what they see
(:mod:`tests.real.end`); what is said of them is a :class:`Finding`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trustme

from tests.real.endprocess import SERVER_NAME, EndProcess, Order
from tests.real.faults import FAULTS, Fault
from tests.real.namespaces import SERVER, Place, Topology, Unmakable, missing
from tests.real.processes import poll

__all__ = ["Finding", "Report", "matrix", "run"]

#: Of both ends. With three of it in the detection time, faults are found within 1.6 s.
INTERVAL: Final = 0.5
#: Intervals in the detection time: the default.
MULTIPLIER: Final = 3
#: What a verdict may take above the detection time, and a death that the kernel tells in all.
ALLOWANCE: Final = 0.1
#: Seconds for all processes to start and connect, on a machine that does other things, too.
_START: Final = 60.0
#: Seconds in which all are well before the first fault.
_CALM: Final = 1.2
#: Seconds in which the faults begin.
_SPREAD: Final = 2.0
#: Seconds above the bound after which what was not found counts as never found.
_GRACE: Final = 1.0
NEVER: Final = "never found"
TOO_SOON: Final = "dead before it happened"


@dataclass(frozen=True)
class Finding:
    """What one end said of one connection.

    :ivar cause: as it was called
    :ivar after: seconds from the fault; infinite if it was never found
    :ivar limit: the most that this may be: the bound, and for how long the observing process could not run
    :ivar right: the causes that are right
    :ivar told: the line with the verdict
    """

    fault: str
    place: Place
    peer: str
    cause: str
    after: float
    limit: float
    right: frozenset[str]
    told: dict[str, Any]

    @property
    def complaint(self) -> str | None:
        """What is wrong with it, None if nothing is."""
        where = f"{self.fault}, {self.peer} at the {self.place}: "
        if self.cause not in self.right:
            return f"{where}{self.cause}, not {' or '.join(sorted(self.right))}; {json.dumps(self.told)}"
        if self.after > self.limit:
            return f"{where}found after {self.after:.3f} s, {self.limit:.3f} s at most"
        return None


@dataclass(frozen=True)
class Report:
    """What came of one fault.

    :ivar impossible: why this machine cannot make it, None if it was made
    :ivar findings: of the ends that must find it
    :ivar lines: all that was told, for each end
    :ivar complaints: what the processes wrote of faults of their own
    """

    fault: str
    impossible: str | None
    findings: tuple[Finding, ...]
    lines: dict[Place, list[dict[str, Any]]]
    complaints: str

    def wrong(self) -> list[str]:
        """All that is wrong."""
        found = [one.complaint for one in self.findings]
        return [one for one in found if one is not None] + ([self.complaints] if self.complaints else [])


class Stage:
    """One fault, its hosts, and the two processes that it happens to."""

    def __init__(
        self, fault: Fault, topology: Topology, names: Sequence[str], interval: float, pem: dict[str, str]
    ) -> None:
        self.fault = fault
        self.topology = topology
        self.client: EndProcess
        self.server: EndProcess
        self.names = tuple(names)
        self.interval = interval
        self.bound = ALLOWANCE if fault.at_once else MULTIPLIER * interval + ALLOWANCE
        self._pem = pem if fault.tls else {}
        self._began = self._done = 0.0

    def open_server(self) -> EndProcess:
        """Start the accepting end."""
        order = Order("server", SERVER, self.interval, self.names, self.fault.data, self._pem.get("server"))
        self.server = EndProcess(self.topology, "server", order)
        return self.server

    def open_client(self) -> EndProcess:
        """Start the connecting end, when the other listens."""
        poll(lambda: self.server.told("listening"), _START, f"{self.fault.name}: a server")
        order = Order("client", SERVER, self.interval, self.names, self.fault.data, None, self._pem.get("authority"))
        self.client = EndProcess(self.topology, "client", order)
        return self.client

    def well(self) -> None:
        """Wait until all are connected."""
        for end in (self.server, self.client):
            self._wait_for_all(end)

    def _wait_for_all(self, end: EndProcess) -> None:
        try:
            poll(lambda: end.connected() >= set(self.names), _START, f"{self.fault.name}: connections")
        except AssertionError as error:
            raise AssertionError(f"{error}; told: {end.lines}; {end.output()}") from None

    def begin(self) -> None:
        """The fault. It may happen at any moment between the two that are noted."""
        self._began = time.monotonic()
        self.fault.begin(self)
        self._done = time.monotonic()

    def over(self) -> bool:
        """Whether all ends that must find it have, or never will."""
        if time.monotonic() > self._done + self.bound + _GRACE:
            return True
        ends = {"client": self.client, "server": self.server}
        return all(len(ends[place].told("Dead")) >= len(self.names) for place in self.fault.causes)

    def report(self) -> Report:
        """What came of it."""
        ends: dict[Place, EndProcess] = {"client": self.client, "server": self.server}
        return Report(
            self.fault.name,
            None,
            tuple(self._finding(place, ends[place], name) for place in self.fault.causes for name in self.names),
            {place: list(end.lines) for place, end in ends.items()},
            "".join(
                f"{self.fault.name}, the {place}: {text}" for place, end in ends.items() if (text := end.complaints())
            ),
        )

    def _finding(self, place: Place, end: EndProcess, name: str) -> Finding:
        told = next((line for line in end.told("Dead") if line["peer"] == name), {})
        late = sum(seconds for at, seconds in told.get("late", ()) if at >= self._began)
        soon = bool(told) and told["now"] < self._began
        return Finding(
            self.fault.name,
            place,
            name,
            TOO_SOON if soon else told.get("cause", NEVER),
            told.get("now", float("inf")) - self._done,
            self.bound + late,
            self.fault.causes.get(place, frozenset()),
            told,
        )


def run(seed: int, faults: Iterable[str] = FAULTS, connections: int = 4, interval: float = INTERVAL) -> list[Report]:
    """Let these faults happen, and report on each.

    :param seed: draws the moments
    :param connections: of each fault
    :param interval: of both ends, seconds; the detection time is three of it
    :raises Unmakable: this machine makes no namespaces
    """
    why = missing()
    if why is not None:
        raise Unmakable(why)
    draw = random.Random(seed)
    reports: list[Report] = []
    stages: list[Stage] = []
    with ExitStack() as stack:
        pem = _certificates(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="heartbeat-real-"))))
        for name in faults:
            fault = FAULTS[name]
            topology = stack.enter_context(Topology(nat=fault.nat))
            try:
                fault.prepare(topology)
            except Unmakable as refused:
                reports.append(Report(name, str(refused), (), {}, ""))
                continue
            names = [f"peer-{number}" for number in range(connections)]
            stages.append(Stage(fault, topology, names, interval, pem))
        for stage in stages:
            stack.callback(stage.open_server().end)
        for stage in stages:
            stack.callback(stage.open_client().end)
        for stage in stages:
            stage.well()
        _happen(stages, draw)
        for stage in stages:
            poll(stage.over, 2 * (stage.bound + _GRACE), f"{stage.fault.name}: the end of it")
        reports += [stage.report() for stage in stages]
    return reports


def _happen(stages: Sequence[Stage], draw: random.Random) -> None:
    """All faults, each at a moment of its own."""
    start = time.monotonic() + _CALM
    moments = sorted(((start + draw.uniform(0.0, _SPREAD), stage) for stage in stages), key=lambda one: one[0])
    for at, stage in moments:
        time.sleep(max(0.0, at - time.monotonic()))
        stage.begin()


def _certificates(folder: Path) -> dict[str, str]:
    authority = trustme.CA()
    files = {"server": folder / "server.pem", "authority": folder / "authority.pem"}
    authority.issue_cert(SERVER_NAME).private_key_and_cert_chain_pem.write_to_path(str(files["server"]))
    authority.cert_pem.write_to_path(str(files["authority"]))
    return {name: str(path) for name, path in files.items()}


def matrix(reports: Iterable[Report]) -> Iterator[str]:
    """The lines of the confusion matrix: a row for each fault and end, a column for each cause."""
    rows: dict[tuple[str, Place], list[Finding]] = defaultdict(list)
    for report in reports:
        for one in report.findings:
            rows[one.fault, one.place].append(one)
    causes = sorted({one.cause for findings in rows.values() for one in findings})
    yield f"{'fault':26} {'end':7} {'right':>7} {'after, s':>11} " + " ".join(causes)
    for (fault, place), findings in rows.items():
        counts = Counter(one.cause for one in findings)
        times = [one.after for one in findings]
        right = sum(one.complaint is None for one in findings)
        cells = " ".join(f"{counts[cause] or '.':>{len(cause)}}" for cause in causes)
        span = f"{min(times):.2f}..{max(times):.2f}"
        yield f"{fault:26} {place:7} {f'{right}/{len(findings)}':>7} {span:>11} {cells}"


def main() -> int:
    """The script."""
    parser = argparse.ArgumentParser(prog="python -m tests.real.dead_peers", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="how often")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each further one has the next")
    parser.add_argument("--connections", type=int, default=4, help="of each fault")
    parser.add_argument("--interval", type=float, default=INTERVAL, help="of both ends, seconds")
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="only this one (again for more)")
    parser.add_argument("--evidence", type=Path, help="append what was observed of each death to this file")
    options = parser.parse_args()
    why = missing()
    if why is not None:
        print(f"impossible here: {why}", file=sys.stderr)
        return 2
    reports: list[Report] = []
    for seed in range(options.seed, options.seed + options.runs):
        some = run(seed, options.fault or FAULTS, options.connections, options.interval)
        if options.evidence is not None:
            _keep(some, options.evidence, seed)
        reports += some
    print("\n".join(matrix(reports)))
    wrong = [line for report in reports for line in report.wrong()]
    for report in reports:
        if report.impossible is not None:
            print(f"impossible here: {report.fault}: {report.impossible}")
    print(*wrong, f"{len(wrong)} wrong of {sum(len(one.findings) for one in reports)}", sep="\n")
    return 1 if wrong else 0


def _keep(reports: Iterable[Report], path: Path, seed: int) -> None:
    with path.open("a") as file:
        for report in reports:
            for one in report.findings:
                suspects = [
                    line["half_time"]
                    for line in report.lines[one.place]
                    if line["what"] == "Suspect" and line["peer"] == one.peer
                ]
                kept = {
                    "seed": seed, "fault": one.fault, "end": one.place, "peer": one.peer, "said": one.cause,
                    "right": sorted(one.right), "after": round(one.after, 3), "half_time": (suspects or [None])[-1],
                    "verdict": one.told.get("evidence"),
                }  # fmt: skip
                file.write(json.dumps(kept) + "\n")


if __name__ == "__main__":
    sys.exit(main())
