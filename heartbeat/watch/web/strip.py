"""The summary on top of the page: how many are in which state, what failed lately, and how we are ourselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from heartbeat.liveness.causes import FAILURE_REASONS
from heartbeat.liveness.counters import Counters
from heartbeat.watch.web import words
from heartbeat.watch.web.html import escape, link, ms

if TYPE_CHECKING:
    from heartbeat.watch.failures import Failures
    from heartbeat.watch.registry import Registry
    from heartbeat.watch.web.view import View

__all__ = ["Vitals", "filters", "strip", "title"]

_HOUR: Final = 3600.0
#: Reasons that are named on top; the rest is counted.
_TOP: Final = 4
#: The lag is told by this share of the wakes, and is worth a second look from here on (seconds).
_SHARE: Final = 0.99
_LATE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the page tells about the server itself.

    :ivar node: its name
    :ivar spared: by reason, whom a plain timer would have killed
    :ivar lag: how late its event loop came, once per wake; None: not told
    """

    node: str = ""
    spared: Callable[[], Mapping[str, int]] = dict
    lag: Counters | None = None


def strip(registry: Registry, failures: Failures, vitals: Vitals, view: View, now: float) -> str:
    """The section."""
    tiles = [_state(state.value, number, view) for state, number in registry.counts().items()]
    tiles += [_failed(failures, view, now), _spared(vitals.spared()), _lag(vitals.lag)]
    marks = f'data-now="{now:.1f}" data-title="{escape(title(registry))}"'
    return f'<section id="strip" aria-label="Summary" {marks}><ul>{"".join(tiles)}</ul></section>\n'


def title(registry: Registry) -> str:
    """The title of the page: what is wrong, for whoever has it in one of many tabs."""
    counts = {state.value: number for state, number in registry.counts().items()}
    unwell = [f"{counts[state]:,} {state}" for state in ("dead", "stuck", "suspect") if counts[state]]
    return f"{', '.join(unwell) or 'all well'} – heartbeat"


def _state(state: str, number: int, view: View) -> str:
    current = view.state == state
    inner = f'<span class="state {state}">{words.STATES[state].title}</span><b>{number:,}</b>'
    none = "" if number else " zero"
    chosen = link(view.href(state=None if current else state), inner, current=current)
    return f'<li class="tile {state}{none}">{chosen}</li>'


def _failed(failures: Failures, view: View, now: float) -> str:
    recent = Counter(one.reason for one in takewhile(lambda one: now - one.at < _HOUR, failures))
    ordered = sorted(recent.items(), key=lambda pair: (-pair[1], pair[0]))
    named = "".join(
        f"<li>{link(view.href(reason=reason), escape(words.reason(reason).title))} <b>{number:,}</b></li>"
        for reason, number in ordered[:_TOP]
    )
    rest = len(ordered) - _TOP
    named += f'<li class="note">and {rest} more</li>' if rest > 0 else ""
    listed = f'<ul class="top">{named}</ul>' if named else '<span class="note">none</span>'
    zero = "" if ordered else " zero"
    return (
        f'<li class="tile wide failed{zero}"><span>Failed in the last hour</span><b>{recent.total():,}</b>{listed}</li>'
    )


def _spared(spared: Mapping[str, int]) -> str:
    why = ", ".join(
        f"{words.SPARED[reason].title if reason in words.SPARED else escape(reason)} {number:,}"
        for reason, number in spared.items()
        if number
    )
    note = f'<span class="note">{why or "by a plain timer: nobody"}</span>'
    title = "Peers that a plain timer would have killed by a fault of this server"
    return f'<li class="tile" title="{title}"><span>Spared</span><b>{sum(spared.values()):,}</b>{note}</li>'


def _lag(lag: Counters | None) -> str:
    steps = [] if lag is None else lag.cumulative()
    if lag is None or not steps[-1][1]:
        return '<li class="tile"><span>Scheduler lag</span><b>–</b></li>'
    wakes = steps[-1][1]
    bound = next(bound for bound, number in steps if number >= _SHARE * wakes)
    of = " bad" if bound > _LATE else ""
    mean = ms(lag.total / wakes * 1000)
    return (
        f'<li class="tile{of}" title="How late the event loop of this server wakes, since its start">'
        f"<span>Scheduler lag</span><b>&lt; {ms(bound * 1000) if bound < 1e6 else '16 s'}</b>"
        f'<span class="note">99 of 100; mean {mean}</span></li>'
    )


def filters(view: View, counts: Mapping[str, int]) -> str:
    """The section with the form: every filter is a part of the address."""
    states = [("", "any state"), *((one, f"{one} ({number:,})") for one, number in counts.items())]
    reasons = [("", "any reason"), *sorted(((one, words.reason(one).title) for one in FAILURE_REASONS), key=_second)]
    fields = (
        _input("q", "Search", "name, address …", view.q),
        _select("state", "State", states, view.state),
        _select("reason", "Reason", reasons, view.reason),
        _input("service", "Service", "exact name", view.service),
        _input("region", "Region", "exact name", view.region),
    )
    hidden = f'<input type="hidden" name="peer" value="{escape(view.peer)}">' if view.peer else ""
    clear = link(view.href(**dict.fromkeys(view.chosen)), "Clear", of="clear") if view.chosen else ""
    return (
        '<section id="filters" aria-label="Filters"><form method="get" action="" role="search">'
        f"{''.join(fields)}{hidden}<button>Filter</button>{clear}</form></section>\n"
    )


def _second(pair: tuple[str, str]) -> str:
    return pair[1]


def _input(field: str, label: str, hint: str, value: str | None) -> str:
    kind = "search" if field == "q" else "text"
    return (
        f'<label><span>{label}</span><input type="{kind}" name="{field}" placeholder="{hint}" maxlength="60" '
        f'value="{escape(value or "")}" autocomplete="off" spellcheck="false"></label>'
    )


def _select(field: str, label: str, options: list[tuple[str, str]], value: str | None) -> str:
    inner = "".join(
        f'<option value="{escape(one)}"{" selected" if one == (value or "") else ""}>{escape(text)}</option>'
        for one, text in options
    )
    return f'<label><span>{label}</span><select name="{field}">{inner}</select></label>'
