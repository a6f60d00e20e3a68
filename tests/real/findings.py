"""What was said of dead peers, whether it was right and in time, and the table of it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.real.namespaces import Place

__all__ = ["NEVER", "TOO_SOON", "Finding", "Report", "keep", "matrix"]

NEVER: Final = "never found"
TOO_SOON: Final = "dead before it happened"


@dataclass(frozen=True)
class Finding:
    """What one end said of one connection.

    :ivar cause: as it was called
    :ivar after: seconds from the fault; infinite if it was never found
    :ivar limit: the most that this may be: the bound, for how long the observing process could not run, and what the
        other had asked for by STALLED because it could not
    :ivar right: the causes that are right
    :ivar told: the line with the verdict, and what was seen at half time
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

    :ivar fault: its name
    :ivar impossible: why this machine cannot make it, None if it was made
    :ivar findings: of the ends that must find it
    :ivar later: what the records of it said when the two ends had met again
    :ivar complaints: what the processes wrote of faults of their own
    """

    fault: str
    impossible: str | None
    findings: tuple[Finding, ...]
    later: tuple[Finding, ...]
    complaints: str

    def wrong(self) -> list[str]:
        """All that is wrong with how it was found."""
        found = [one.complaint for one in self.findings]
        return [one for one in found if one is not None] + ([self.complaints] if self.complaints else [])

    def wrong_later(self) -> list[str]:
        """All that is wrong with the records when the two ends have met again."""
        return [complaint for one in self.later if (complaint := one.complaint) is not None]


def matrix(reports: Iterable[Report]) -> Iterator[str]:
    """The lines of the confusion matrix: a row for each fault and end, a column for each cause."""
    rows: dict[tuple[str, Place], list[Finding]] = defaultdict(list)
    for report in reports:
        for one in (*report.findings, *report.later):
            rows[one.fault, one.place].append(one)
    causes = sorted({one.cause for findings in rows.values() for one in findings})
    yield f"{'fault':32} {'end':7} {'right':>7} {'after, s':>11} " + " ".join(causes)
    for (fault, place), findings in rows.items():
        counts = Counter(one.cause for one in findings)
        times = [one.after for one in findings]
        right = sum(one.complaint is None for one in findings)
        cells = " ".join(f"{counts[cause] or '.':>{len(cause)}}" for cause in causes)
        span = f"{min(times):.2f}..{max(times):.2f}"
        yield f"{fault:32} {place:7} {f'{right}/{len(findings)}':>7} {span:>11} {cells}"


def keep(reports: Iterable[Report], path: Path, seed: int) -> None:
    """Append what was observed of each death to a file, a line of JSON for each."""
    with path.open("a") as file:
        for report in reports:
            for one in report.findings:
                kept = {
                    "seed": seed, "fault": one.fault, "end": one.place, "peer": one.peer, "said": one.cause,
                    "right": sorted(one.right), "after": round(one.after, 3), "half_time": one.told.get("half_time"),
                    "verdict": one.told.get("evidence"),
                }  # fmt: skip
                file.write(json.dumps(kept) + "\n")
