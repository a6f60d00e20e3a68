"""``/``: the peers and the failures as one plain page. It needs no script, and asks again by itself."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from heartbeat.watch.web import query
from heartbeat.watch.web.answers import Answer, Page

if TYPE_CHECKING:
    from collections.abc import Generator

    from twisted.web.server import Request

    from heartbeat.liveness.peer import Peer
    from heartbeat.watch.failures import Failure, Failures
    from heartbeat.watch.registry import Registry
    from heartbeat.watch.web.slices import Turns

__all__ = ["ROWS", "FrontPage"]

#: Peers on one page: what a person looks through, and about 2 ms to make.
ROWS: Final = 100
#: Failures on it, the newest.
FAILURES: Final = 20
#: Seconds after which the page asks again.
REFRESH: Final = 5
#: Services that are written out; the others are counted.
SERVICES: Final = 8

_STYLE: Final = """
:root { color-scheme: light dark }
body { font: 1rem/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 90rem; padding: 1rem }
h1 { font-size: 1.3rem; margin: 0 0 .5rem }
nav a { display: inline-block; margin-right: 1em; padding: .3em 0 }
nav a[aria-current] { font-weight: bold; text-decoration: none }
table { border-collapse: collapse; margin: 1.5rem 0 .5rem; width: 100% }
caption { font-weight: bold; padding: .3em 0; text-align: left }
th, td { border-bottom: 1px solid #8886; overflow-wrap: anywhere; padding: .3em .8em .3em 0; text-align: left;
  vertical-align: top }
.n { font-variant-numeric: tabular-nums; white-space: nowrap }
.alive::before, .suspect::before, .stuck::before, .dead::before, .left::before { content: "\\25CF\\00A0" }
.alive::before { color: #2a9d4a } .suspect::before { color: #d99a00 } .stuck::before { color: #c06ad0 }
.dead::before { color: #e5484d } .left::before { color: #888 }
footer { margin-top: 1.5rem }
@media (max-width: 50rem) {
  thead { clip-path: inset(50%); height: 1px; overflow: hidden; position: absolute; width: 1px }
  tr { border-bottom: 1px solid #8886; display: block; padding: .5em 0 }
  td { border: 0; display: flex; gap: 1em; justify-content: space-between; padding: .1em 0; text-align: right }
  td::before { content: attr(data-label); opacity: .75; text-align: left; white-space: nowrap }
  td:empty { display: none }
}
"""
# The style is ours to the letter; whatever else claims to be one is not applied, and scripts there are none.
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_PEER_COLUMNS: Final = ("Peer", "State", "Since (UTC)", "Heard", "Round trip", "Loss", "Load", "Services", "Address")
_FAILURE_COLUMNS: Final = ("At (UTC)", "Peer", "Reason", "Phase", "Silent", "p95", "Address")


class FrontPage(Page):
    """``/`` (``?state= &reason= &q= &after=ID``): a table of peers, a page of it at a time, and the newest failures."""

    def __init__(self, turns: Turns, registry: Registry, failures: Failures) -> None:
        super().__init__(turns)
        self._registry = registry
        self._failures = failures

    def answer(self, request: Request) -> Answer:
        """The page."""
        state, q, reason = query.state(request), query.text(request, "q"), query.cause(request)
        chosen = {"state": None if state is None else state.value, "q": q, "reason": reason}
        wanted = {name: value for name, value in chosen.items() if value is not None}
        slices = self._registry.slices(state, q, query.text(request, "after"), ROWS + 1, reason)

        def parts() -> Generator[bytes, None, None]:
            peers: list[Peer] = []
            for part in slices:
                peers += part
                yield b""
            yield self._html(peers, wanted).encode()

        return Answer(parts(), "text/html; charset=utf-8", headers={"Content-Security-Policy": _POLICY})

    def _html(self, peers: list[Peer], wanted: dict[str, str]) -> str:
        more = ""
        if len(peers) > ROWS:
            following = urlencode({**wanted, "after": peers[ROWS - 1].id})
            more = f'<p><a href="?{escape(following)}" rel="next">Further peers</a></p>\n'
        counts = self._registry.counts()
        failures = islice(self._failures.since(), FAILURES)
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta http-equiv="refresh" content="{REFRESH}">\n'
            f"<title>{sum(counts.values())} peers – heartbeat</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
            "<h1>heartbeat</h1>\n"
            + _choices({state.value: number for state, number in counts.items()}, wanted)
            + _table("Peers", _PEER_COLUMNS, [_peer(peer.as_json()) for peer in peers[:ROWS]])
            + more
            + _table("Newest failures", _FAILURE_COLUMNS, [_failure(one) for one in failures])
            + f"<footer>As of {_time(datetime.now(UTC).timestamp())} UTC, again every {REFRESH} s. "
            '<a href="api/peers">Peers</a> and <a href="api/failures">failures</a> as JSON, '
            '<a href="metrics">metrics</a>.</footer>\n</body>\n</html>\n'
        )


def _choices(counts: dict[str, int], wanted: dict[str, str]) -> str:
    links = []
    for state, number in {"": sum(counts.values()), **counts}.items():
        rest = {name: value for name, value in wanted.items() if name != "state"}
        href = "?" + urlencode({**rest, "state": state} if state else rest)
        current = ' aria-current="page"' if wanted.get("state", "") == state else ""
        links.append(f'<a href="{escape(href)}"{current}>{state or "all"} {number}</a>')
    return f'<nav aria-label="States">{" ".join(links)}</nav>\n'


def _table(caption: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-label="{column}">{cell}</td>' for column, cell in zip(columns, row, strict=True))
        + "</tr>\n"
        for row in rows
    )
    body = body or f'<tr><td colspan="{len(columns)}">none</td></tr>\n'
    return f"<table>\n<caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def _peer(told: dict[str, Any]) -> tuple[str, ...]:
    rtt, services = told["rtt_ms"], told["services"]
    named = ", ".join(services[:SERVICES])
    if len(services) > SERVICES:
        named += f" … and {len(services) - SERVICES} more"
    return (
        f'<a href="api/peers/{escape(quote(told["id"], safe=""))}">{_name(told["id"])}</a>',
        f'<span class="{told["state"]}" title="{_layers(told["layers"])}">{told["state"]}</span>',
        _number(_time(told["since"])),
        _number(f"{_span(told['last_heard_ms'] / 1000)} ago"),
        _number("" if rtt is None else f"{rtt['last']:.3g} ms"),
        _number(f"{told['loss_ratio']:.1%}"),
        _number(f"{told['load']:.2f}"),
        _name(named),
        _name(told["address"]),
    )


def _failure(one: Failure) -> tuple[str, ...]:
    silent = one.evidence.get("silent_s")
    return (
        _number(_time(one.at)),
        _name(one.peer),
        escape(one.reason),
        escape(one.phase),
        _number("" if silent is None else _span(silent)),
        _number("" if one.p95 is None else f"{one.p95 * 1000:.3g} ms"),
        _name(one.address),
    )


def _layers(known: dict[str, str]) -> str:
    return ", ".join(f"{layer} {fate}" for layer, fate in known.items())


def _name(text: str) -> str:
    """Text of somebody else's choosing: no markup of it counts, and its direction of writing ends where it ends."""
    return f"<bdi>{escape(text)}</bdi>" if text else ""


def _number(text: str) -> str:
    return f'<span class="n">{escape(text)}</span>' if text else ""


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _span(seconds: float) -> str:
    for size, unit in ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"
