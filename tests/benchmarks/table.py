"""Figures of several rounds, as one table of medians."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

__all__ = ["Figures", "bar", "ratio", "render"]


@dataclass
class Figures:
    """What the rounds gave for one row.

    :ivar name: what was measured
    :ivar values: one figure for each round, in the unit of the table
    :ivar skipped: why there is none
    """

    name: str
    values: list[float] = field(default_factory=list)
    skipped: str = ""

    @property
    def median(self) -> float:
        """The middle of the rounds. Raises ``statistics.StatisticsError`` where there was none."""
        return median(self.values)

    def spread(self) -> str:
        """The smallest and the greatest."""
        return f"{min(self.values):.2f}-{max(self.values):.2f}"


def ratio(mine: Figures, other: Figures) -> float:
    """The median of the ratios of each round: what disturbed a round disturbed both of its figures."""
    return median(a / b for a, b in zip(mine.values, other.values, strict=True))


def bar(what: str, reached: float, at_most: float | None = None, at_least: float | None = None) -> str:
    """One line: a figure, the bar, and whether it is kept."""
    if at_most is not None:
        return f"{what}: {reached:.2f}, bar at most {at_most:g}: {'kept' if reached <= at_most else 'MISSED'}"
    assert at_least is not None
    return f"{what}: {reached:.2f}, bar at least {at_least:g}: {'kept' if reached >= at_least else 'MISSED'}"


def render(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in plain text, columns as wide as they need to be, all but the first set to the right.

    A row may end early. Raises ValueError for one that has more cells than the head.
    """
    lines = [list(head), *(list(row) for row in rows)]
    for line in lines:
        if len(line) > len(head):
            raise ValueError(f"{len(line)} cells under {len(head)} headings: {line}")
    widths = [max(len(line[i]) for line in lines if i < len(line)) for i in range(len(head))]

    def one(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=False))
        ).rstrip()

    return "\n".join(
        [title, one(lines[0]), "  ".join("-" * width for width in widths), *(one(line) for line in lines[1:])]
    )
