"""All cells of the stall matrix: ``python -m tests.real.stalls.matrix [--ways] [--only WORD ...] [--owner ours]``.

Without ``--ways`` those of heartbeat-only connections and of other libraries, with it those of a wrapped application
and of each adapter.

Each cell is a process of its own; some run at once, since they sleep nearly all the time. Exit code 1 when one of our
peers was ended wrongly, or a stopped one was not found in time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from tests.real.stalls.blocking import KINDS
from tests.real.stalls.cell import LIVING, OWNERS, STOPPED
from tests.real.stalls.children import REACTORS, missing, run_all
from tests.real.stalls.others import LIBRARIES, unavailable
from tests.real.stalls.ways import WAYS, lacking

__all__ = ["main", "right"]

_TRANSPORTS = ("plain", "tls")
#: The reactors of the ways in: what they differ in below is measured with heartbeat-only connections.
_OF_WAYS = ("epoll", "asyncio")
#: One cell: the module that runs it, and three words, or four; the last is the kind of stall.
_Cell = tuple[str, ...]
#: The modules whose peers are ours to keep.
_OURS = ("cell", "ways")
_Result = dict[str, Any] | AssertionError | None


def right(result: dict[str, Any]) -> bool:
    """Nobody ended wrongly, all stopped ones found in time, and the others still connected."""
    kept = result["watched"] == result["open"] == LIVING
    return bool(result["false"] == 0 and result["found"] == STOPPED and result["late"] == 0 and kept)


def cells(only: Sequence[str], ways: bool) -> Iterable[_Cell]:
    """All that have each of these words."""
    every: list[_Cell]
    if ways:
        rows = [(way, one, how) for way in WAYS for one in _OF_WAYS for how in _TRANSPORTS]
        every = [("ways", *row, kind) for row in rows for kind in KINDS]
    else:
        every = [("cell", one, how, kind) for one in REACTORS for how in _TRANSPORTS for kind in KINDS]
        every += [("others", one, loop, kind) for one, loops in LIBRARIES.items() for loop in loops for kind in KINDS]
    return [one for one in every if all(word in one for word in only)]


def why_not(cell: _Cell) -> str:
    """Why this one cannot run here; empty if it can."""
    if cell[0] == "ways":
        return missing(cell[2]) or lacking(cell[1])
    return missing(cell[1]) if cell[0] == "cell" else unavailable(cell[1], cell[2])


def ours(result: _Result) -> str:
    """One of our cells in a word: false deaths, and how late the last stopped peer was found."""
    if not isinstance(result, dict):
        return "–" if result is None else "FAILED"
    text = f"{result['false']}, {result['found']} in {result['slowest']} s"
    return text if right(result) else f"**WRONG**: {text}, {result['late']} late, {result['open']} open"


def theirs(result: _Result, key: str) -> str:
    """False deaths."""
    return str(result[key]) if isinstance(result, dict) else "–" if result is None else "FAILED"


def table(title: Sequence[str], rows: Iterable[Sequence[str]], markdown: bool) -> str:
    """Aligned columns."""
    lines = [list(title), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(title))]
    if markdown:
        lines.insert(1, ["---"] * len(title))
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join("  ".join(f"{word:<{width}}" for word, width in zip(line, widths, strict=True)) for line in lines)


def tables(results: dict[_Cell, _Result], markdown: bool) -> Iterable[str]:
    """What was measured, ours first."""
    own = {"cell": ["reactor", ""], "ways": ["way in", "reactor", ""]}
    for module, title in own.items():
        rows = list(dict.fromkeys(one[1:-1] for one in results if one[0] == module))
        if rows:
            yield f"Ours: false deaths among {LIVING + STOPPED}, then how many of {STOPPED} stopped peers were found"
            found = {row: [ours(results.get((module, *row, kind))) for kind in KINDS] for row in rows}
            yield table([*title, *KINDS], [[*row, *found[row]] for row in rows], markdown)
            yield f"TimeoutMixin, in the same processes: false deaths among {LIVING + STOPPED}"
            killed = {row: [theirs(results.get((module, *row, kind)), "naive") for kind in KINDS] for row in rows}
            yield table([*title, *KINDS], [[*row, *killed[row]] for row in rows], markdown)
    rows = sorted({one[1:3] for one in results if one[0] == "others"})
    if rows:
        yield f"Other libraries: false deaths among {LIVING + STOPPED}"
        killed = {row: [theirs(results.get(("others", *row, kind)), "false") for kind in KINDS] for row in rows}
        yield table(["library", "loop", *KINDS], [[*row, *killed[row]] for row in rows], markdown)


def summary(results: dict[_Cell, _Result]) -> str:
    """The sums."""
    done = [one for cell, one in results.items() if cell[0] in _OURS and isinstance(one, dict)]
    others = [one for cell, one in results.items() if cell[0] == "others" and isinstance(one, dict)]
    slowest = max((one["slowest"] or 0.0 for one in done), default=0.0)
    text = (
        f"{len(done)} cells: {sum(one['false'] for one in done)} false deaths, TimeoutMixin "
        f"{sum(one['naive'] for one in done)} of {len(done) * (LIVING + STOPPED)}; "
        f"{sum(one['found'] for one in done)} of {len(done) * STOPPED} stopped peers found, "
        f"{sum(one['late'] for one in done)} late, the last after {slowest} s; "
        f"{sum(one['open'] for one in done)} of {len(done) * LIVING} others still connected"
    )
    for library in LIBRARIES:
        ended = [one["false"] for one in others if one["library"] == library]
        if ended:
            text += f"; {library} {sum(ended)} of {len(ended) * (LIVING + STOPPED)}"
    return text


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ways", action="store_true", help="the wrapper and the adapters")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="WORD", help="epoll, tls, io, aiohttp ...: all of them"
    )
    parser.add_argument("--owner", choices=OWNERS, default="foreign", help="ours: reactor.seconds is monotonic")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--at-once", type=int, default=4)
    options = parser.parse_args()
    every = list(cells(options.only, options.ways))
    possible = [one for one in every if not why_not(one)]
    print(f"{len(possible)} cells, about {len(possible) * 13 // options.at_once} s", file=sys.stderr, flush=True)
    results: dict[_Cell, _Result] = dict.fromkeys(every)
    commands = [(*one, options.owner) if one[0] in _OURS else one for one in possible]
    results.update(zip(possible, run_all(commands, options.at_once), strict=True))
    print("\n\n".join([*tables(results, options.markdown), summary(results)]))
    for reason in sorted({why for one in every if (why := why_not(one))}):
        print(f"left out: {reason}")
    failed = [one for one in results.values() if isinstance(one, AssertionError)]
    for error in failed:
        print(error, file=sys.stderr)
    wrong = [one for cell, one in results.items() if cell[0] in _OURS and isinstance(one, dict) and not right(one)]
    for one in wrong:
        print(one, file=sys.stderr)
    return 1 if wrong or failed or not possible else 0


if __name__ == "__main__":
    sys.exit(main())
