"""The failures on the page: where they cluster, and each with what was seen of it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from heartbeat.watch.web import words
from heartbeat.watch.web.evidence import evidence, facts, flight, gist, layers
from heartbeat.watch.web.html import bar, escape, link, ms, name, when

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from heartbeat.watch.failures import Failure, Failures
    from heartbeat.watch.web.view import View

__all__ = ["ENTRIES", "GROUPS", "failure_board"]

#: Failures on one page: with all their events about 4 KB each.
ENTRIES: Final = 20
#: Lines of one grouping: the rest is counted.
GROUPS: Final = 6
#: Failures looked at in one go: about 1 ms; and services of each: whoever announces thousands delays nobody.
_SLICE: Final = 500
SERVICES: Final = 16


class _Group:
    __slots__ = ("count", "newest", "p95")

    def __init__(self) -> None:
        self.count, self.newest, self.p95 = 0, 0.0, 0.0

    def add(self, failure: Failure) -> None:
        self.count += 1
        self.newest = max(self.newest, failure.at)
        self.p95 = max(self.p95, failure.p95 or 0.0)


def failure_board(failures: Failures, view: View, now: float) -> Generator[str, None, None]:
    """The section, in parts; an empty one is time spent."""
    every = failures.newest()
    groups: dict[str, dict[str, _Group]] = {"reason": {}, "region": {}, "service": {}}
    fitting: list[Failure] = []
    for start in range(0, len(every), _SLICE):
        if start:
            yield ""
        for one in every[start : start + _SLICE]:
            if view.has(one):
                fitting.append(one)
                _count(groups, one)
    yield (
        '<section id="failures" aria-labelledby="failures-h"><header><h2 id="failures-h">Failures</h2>'
        f'<p class="total">{_total(fitting, every, view)}</p></header>\n'
    )
    if not fitting:
        yield f"{_nothing(view, bool(every))}</section>\n"
        return
    yield f'<div class="groups">{"".join(_groups(kind, found, view, now) for kind, found in groups.items())}</div>\n'
    yield from _entries(failures, view, now, fitting)
    yield "</section>\n"


def _count(groups: dict[str, dict[str, _Group]], one: Failure) -> None:
    keys = (("reason", (one.reason,)), ("region", (one.region,)), ("service", one.services[:SERVICES] or ("",)))
    for kind, names in keys:
        for key in names:
            groups[kind].setdefault(key, _Group()).add(one)


def _total(fitting: list[Failure], every: list[Failure], view: View) -> str:
    if len(fitting) == len(every):
        return f"{len(every):,} remembered"
    return f"{len(fitting):,} of {len(every):,}" + (f" of {name(view.peer)}" if view.peer else "")


def _nothing(view: View, others: bool) -> str:
    if others:
        clear = link(view.href(reason=None, service=None, region=None, q=None, peer=None), "Show all failures")
        alone = view.peer is not None and not view.chosen.keys() - {"state"}
        what = f"No failure of {name(view.peer or '')} is remembered." if alone else "No failure fits these filters."
        return f'<p class="empty">{what} {clear}</p>'
    return (
        '<p class="empty good"><b>Nothing has failed.</b> When a peer dies it appears here at once, with the '
        'cause that the kernel can prove. <a href="reasons">What the reasons mean</a></p>'
    )


def _groups(kind: str, found: dict[str, _Group], view: View, now: float) -> str:
    if kind == "region" and set(found) == {""} and view.region is None:
        return ""  # nobody has one: nothing to tell apart
    ordered = sorted(found.items(), key=lambda pair: (-pair[1].count, pair[0]))
    most = ordered[0][1].count
    lines = []
    for key, group in ordered[:GROUPS]:
        label = escape(words.reason(key).title) if kind == "reason" else name(key) or f"no {kind}"
        current = getattr(view, kind) == key
        inner = link(view.href(**{kind: None if current else key}), label, current=current) if key else label
        p95 = ms(group.p95 * 1000) if group.p95 else "–"
        lines.append(
            f'<tr data-key="{kind}-{escape(key)}"><th scope="row">{inner}{bar(group.count / most)}</th>'
            f"<td>{group.count:,}</td><td>{p95}</td><td>{when(group.newest, now)}</td></tr>"
        )
    rest = len(ordered) - GROUPS
    more = f'<tr><th scope="row" class="note">and {rest} more</th><td></td><td></td><td></td></tr>' if rest > 0 else ""
    return (
        f'<div class="group"><table><caption>By {kind}</caption><thead><tr><th scope="col">{kind.capitalize()}</th>'
        '<th scope="col">Count</th><th scope="col">Worst p95</th><th scope="col">Newest</th></tr></thead>'
        f"<tbody>{''.join(lines)}{more}</tbody></table></div>"
    )


def _entries(failures: Failures, view: View, now: float, fitting: list[Failure]) -> Generator[str, None, None]:
    chosen = failures.get(int(view.failure)) if view.failure else None
    before = int(view.before) if view.before else None
    shown = (one for one in fitting if (before is None or one.id < before) and one is not chosen)
    page = list(islice(shown, ENTRIES + 1))
    if view.failure and chosen is None:
        yield '<p class="empty">This failure is not remembered any more.</p>'
    yield '<ol class="failures" aria-label="Failures, newest first">\n'
    if chosen is not None:
        yield _entry(chosen, view, now, open_=True)
    for one in page[:ENTRIES]:
        yield _entry(one, view, now)
    yield "</ol>\n" + _paging(view, page, before is not None)


def _paging(view: View, page: list[Failure], later: bool) -> str:
    links = []
    if later or view.failure:
        links.append(link(view.href(after=view.after), "Newest failures"))
    if len(page) > ENTRIES:
        links.append(link(view.href(after=view.after, before=_id(page[ENTRIES - 1])), "Older failures"))
    return f'<nav class="paging" aria-label="Pages of failures">{"".join(links)}</nav>' if links else ""


def _entry(one: Failure, view: View, now: float, *, open_: bool = False) -> str:
    told, word = one.as_json(), words.reason(one.reason)
    seen = told["evidence"]
    return (
        f'<li data-key="{_id(one)}" class="{one.phase}"><details{" open" if open_ else ""}>'
        f'<summary><span class="what"><b class="reason">{escape(word.title)}</b> <code>{escape(one.reason)}</code>'
        "</span>"
        f'<span class="who">{name(one.peer)}</span><span class="gist">{gist(seen)}</span>'
        f'<span class="at">{when(one.at, now)}</span></summary>'
        f'<div class="body">{_explained(word, one.reason)}{layers(seen["layers"]) if "layers" in seen else ""}'
        f"{facts(_facts(one, told, view))}"
        f'<div class="seen"><div><h3>Evidence</h3>{evidence(seen)}</div>'
        f"<div><h3>Flight recorder</h3>{flight(told['events'])}</div></div></div></details></li>\n"
    )


def _explained(word: words.Word, reason: str) -> str:
    advice = f" <b>{escape(word.advice)}</b>" if word.advice else ""
    return f'<p>{escape(word.meaning)}{advice} <a href="reasons#{escape(reason)}">More about this reason</a></p>'


def _facts(one: Failure, told: dict[str, object], view: View) -> Iterable[tuple[str, str]]:
    services = ", ".join(link(view.href(service=each), name(each)) for each in one.services[:SERVICES])
    region = link(view.href(region=one.region), name(one.region)) if one.region else ""
    trace = told["trace_id"]
    return (
        ("Peer", link(view.href(peer=one.peer), name(one.peer))),
        ("Address", name(one.address)),
        ("Phase", words.PHASES.get(one.phase, one.phase)),
        ("p95 latency", "none known" if one.p95 is None else ms(one.p95 * 1000)),
        ("Services", services),
        ("Region", region),
        ("Node", name(one.node)),
        ("Session", f"<code>{escape(one.session)}</code>" if one.session else ""),
        ("Trace", f"<code>{escape(str(trace))}</code>" if trace else ""),
        ("Failure", link(view.href(failure=_id(one), peer=view.peer), f"link to {_id(one)}")),
    )


def _id(one: Failure) -> str:
    return f"{one.id:016d}"
