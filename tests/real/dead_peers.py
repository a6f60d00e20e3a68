"""How soon a dead peer is found, and what it is said to have died of: ``python -m tests.real.dead_peers``.

Every fault of :mod:`tests.real.faults` happens for real, each between namespaces of its own and all within the same
seconds, to several connections at once, at moments drawn by a seed. Both ends are processes that tell what they see
(:mod:`tests.real.end`); what is said of them is a :class:`Finding`.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import trustme

from tests.real.endprocess import SERVER_NAME, EndProcess, Order
from tests.real.faults import FAULTS, Fault
from tests.real.findings import NEVER, TOO_SOON, Finding, Report, keep, matrix
from tests.real.namespaces import SERVER, Place, Topology, Unmakable, missing
from tests.real.processes import poll

__all__ = ["run"]

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
#: An outage is healed so many seconds, and two and a half bounds, after it began. Who is back within 2 s of the verdict
#: was hardly kept away by the path; an acceptor, whose verdict may be D older, allows D more.
_OUTAGE: Final = 2.5


class Stage:
    """One fault, its hosts, and the two processes that it happens to. They end with the stack."""

    def __init__(
        self, fault: Fault, stack: ExitStack, names: Sequence[str], interval: float, pem: dict[str, str]
    ) -> None:
        self.fault = fault
        self._stack = stack
        self.topology = stack.enter_context(Topology(nat=fault.nat))
        self.client: EndProcess
        self.server: EndProcess
        self.names = tuple(names)
        self.interval = interval
        self.bound = ALLOWANCE if fault.at_once else MULTIPLIER * interval + ALLOWANCE
        self._pem = pem if fault.tls else {}
        self._began = self._done = 0.0

    def open_server(self) -> None:
        """Start the accepting end."""
        order = Order("server", SERVER, self.interval, self.names, self.fault.data, self._pem.get("server"))
        self.server = self._stack.enter_context(EndProcess(self.topology, "server", order))

    def open_client(self) -> None:
        """Start the connecting end."""
        order = Order("client", SERVER, self.interval, self.names, self.fault.data, None, self._pem.get("authority"))
        self.client = self._stack.enter_context(EndProcess(self.topology, "client", order))

    def ready(self) -> None:
        """Wait until both are there."""
        poll(lambda: self.server.told("listening"), _START, f"{self.fault.name}: a server")
        poll(lambda: self.client.told("ready"), _START, f"{self.fault.name}: a client")

    def connect(self) -> None:
        """Let the two meet."""
        self.client.tell("connect")

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
        ends = self._ends()
        return all(len(ends[place].told("Dead")) >= len(self.names) for place in self.fault.causes)

    def meet_again(self) -> None:
        """Mend what is broken, start who is gone, and wait until the others have met it: that makes records exact."""
        fault = self.fault
        if fault.heals:
            time.sleep(max(0.0, self._done + _OUTAGE + 2.5 * self.bound - time.monotonic()))
            fault.heal(self)
        if fault.restarts == "server":
            self.open_server()
        elif fault.restarts == "client":
            self.open_client()
        self.ready()
        if fault.restarts == "client":
            self.connect()
        elif fault.restarts or fault.heals:
            self.client.tell("again")  # after some failures its next attempt may be half a minute away
        for place in fault.later:
            self._wait_for_all(self._ends()[place])
            self._ends()[place].tell("records")

    def report(self) -> Report:
        """What came of it."""
        ends = self._ends()
        complaints = [
            f"{self.fault.name}, {place}: {text}" for place, end in ends.items() if (text := end.complaints())
        ]
        return Report(
            self.fault.name,
            None,
            tuple(self._finding(place, ends[place], name) for place in self.fault.causes for name in self.names),
            tuple(self._later(place, ends[place], name) for place in self.fault.later for name in self.names),
            "".join(complaints),
        )

    def _ends(self) -> dict[Place, EndProcess]:
        return {"client": self.client, "server": self.server}

    def _later(self, place: Place, end: EndProcess, name: str) -> Finding:
        """The record of the death, when the two have met again."""
        poll(lambda: end.told("records"), _START, f"{self.fault.name}: the records of the {place}")
        records = [one for one in end.told("record") if one["of"] == name and one["phase"] == "live"]
        reason = records[-1]["failure_reason"] if records else NEVER
        met = end.told("joined")[-1]["now"] - self._done
        right = self.fault.later[place]
        told = records[-1] if records else {}
        return Finding(f"{self.fault.name}, later", place, name, reason, met, float("inf"), right, told)

    def _finding(self, place: Place, end: EndProcess, name: str) -> Finding:
        told = dict(next((line for line in end.told("Dead") if line["peer"] == name), {}))
        late = sum(seconds for at, seconds in told.pop("late", ()) if at >= self._began)
        suspected: dict[str, Any] = next((line for line in reversed(end.told("Suspect")) if line["peer"] == name), {})
        told["half_time"] = suspected.get("half_time")
        late += suspected.get("granted", 0.0)
        soon = told.get("now", self._began) < self._began
        return Finding(
            self.fault.name,
            place,
            name,
            TOO_SOON if soon else told.get("cause", NEVER),
            told.get("now", float("inf")) - self._done,
            self.bound + late,
            self.fault.right(place, told.get("evidence", {})),
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
        names = [f"peer-{number}" for number in range(connections)]
        for name in faults:
            stage = Stage(FAULTS[name], stack, names, interval, pem)
            try:
                stage.fault.prepare(stage.topology)
            except Unmakable as refused:
                reports.append(Report(name, str(refused), (), (), ""))
            else:
                stages.append(stage)
        for stage in stages:
            stage.open_server()
        for stage in stages:
            stage.open_client()
        for stage in stages:
            stage.ready()
        for stage in stages:
            stage.connect()
        for stage in stages:
            stage.well()
        _happen(stages, draw)
        for stage in stages:
            poll(stage.over, 2 * (stage.bound + _GRACE), f"{stage.fault.name}: the end of it")
        for stage in sorted((one for one in stages if one.fault.later), key=lambda one: one.fault.heals):
            stage.meet_again()
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
            keep(some, options.evidence, seed)
        reports += some
    print("\n".join(matrix(reports)))
    wrong = [line for report in reports for line in (*report.wrong(), *report.wrong_later())]
    for report in reports:
        if report.impossible is not None:
            print(f"impossible here: {report.fault}: {report.impossible}")
    print(*wrong, f"{len(wrong)} wrong of {sum(len(one.findings) + len(one.later) for one in reports)}", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
