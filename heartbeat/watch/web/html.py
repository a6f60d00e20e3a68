"""Pieces of HTML, from values. Whatever comes from outside passes :func:`name` or :func:`escape` here."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["bar", "bytes_", "clock", "duration", "escape", "link", "ms", "name", "spark", "when"]

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
_SIZES: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
#: The box of a line of round trips, and the least that its height stands for: a LAN's noise is no mountain range.
WIDTH, HEIGHT = 96, 22
LEAST: Final = 0.002


def name(text: str) -> str:
    """Text of somebody else's choosing: no markup of it counts, and its direction of writing ends where it ends."""
    return f"<bdi>{escape(text)}</bdi>" if text else ""


def link(href: str, inner: str, *, current: bool = False, of: str = "") -> str:
    """A link around HTML.

    :param current: it leads to what is shown
    :param of: its class
    """
    marks = (f' class="{of}"' if of else "") + (' aria-current="true"' if current else "")
    return f'<a href="{escape(href)}"{marks}>{inner}</a>'


def when(at: float, now: float, suffix: str = " ago") -> str:
    """A moment, as time ago; the page's script lets it tick, and pointing at it gives the time in UTC."""
    moment = datetime.fromtimestamp(at, UTC)
    title = moment.strftime("%Y-%m-%d %H:%M:%S UTC")
    ticking = f'data-at="{at:.1f}"' + (f' data-suffix="{suffix}"' if suffix != " ago" else "")
    text = duration(max(0.0, now - at)) + suffix
    return f'<time datetime="{moment.isoformat(timespec="seconds")}" {ticking} title="{title}">{text}</time>'


def clock(at: float) -> str:
    """A moment as a time of day, UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def duration(seconds: float) -> str:
    """``4 s``, ``3 min``, ``7 h``, ``12 d``: two of a unit before the next larger one."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def ms(seconds_ms: float | None) -> str:
    """Milliseconds, in three digits; seconds from one on."""
    if seconds_ms is None:
        return "–"
    return f"{seconds_ms:.3g} ms" if seconds_ms < 999.5 else f"{seconds_ms / 1000:.3g} s"


def bytes_(number: float) -> str:
    """A number of bytes."""
    for size, unit in _SIZES:
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f} B"


def bar(ratio: float, *, high: bool = False) -> str:
    """A bar that is full at 1. It is there to be seen only: the number stands beside it.

    :param high: in the colour that asks for a second look
    """
    width = 100 * max(0.0, min(1.0, ratio))
    return (
        f'<svg class="bar{" high" if high else ""}" viewBox="0 0 100 3" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{width:.1f}" height="3"/></svg>'
    )


def spark(points: Sequence[float]) -> str:
    """A line of round trips, seconds. What it shows is said in words, too."""
    if len(points) < 2:
        return '<span class="spark none" aria-hidden="true"></span>'
    top = max(*points, LEAST)
    step = WIDTH / (len(points) - 1)
    room = HEIGHT - 4
    line = " ".join(f"{index * step:.1f},{2 + room * (1 - one / top):.1f}" for index, one in enumerate(points))
    told = f"{ms(min(points) * 1000)} to {ms(max(points) * 1000)} lately"
    return (
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{told}">'
        f'<polyline points="{line}"/></svg>'
    )
