"""The peers on the page: a table of some of them, and one of them in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from heartbeat.watch.web import words
from heartbeat.watch.web.evidence import facts, flight, layers
from heartbeat.watch.web.html import bar, duration, escape, link, ms, name, spark, when

if TYPE_CHECKING:
    from collections.abc import Generator

    from heartbeat.liveness.peer import Peer
    from heartbeat.watch.history import History
    from heartbeat.watch.registry import Registry
    from heartbeat.watch.web.view import View

__all__ = ["ROWS", "peer_panel", "peer_table"]

#: Peers on one page: two screens, and with their lines about 3 ms to make.
ROWS: Final = 50
#: Services that are written out; the others are counted.
SERVICES: Final = 4
#: Rows made in one go.
_TOGETHER: Final = 25
_DAY: Final = 86_400.0
#: From here on a number is worth a second look: load, loss, days until a certificate expires.
_BUSY, _LOSSY, _SOON = 0.9, 0.02, 14

_COLUMNS: Final = ("Peer", "State", "Round trip", "Loss", "Load", "Services", "Certificate", "Heard")


def peer_table(
    registry: Registry, history: History, view: View, now: float, node: str = ""
) -> Generator[str, None, None]:
    """The section, in parts; an empty one is time spent.

    :param node: our own name, which needs not be said
    """
    state = next((one for one in registry.counts() if one.value == view.state), None)
    peers: list[Peer] = []
    found = registry.slices(state, view.q, view.after, ROWS + 1, view.reason, service=view.service, region=view.region)
    for index, part in enumerate(found):
        if index:
            yield ""
        peers += part
    yield (
        '<section id="peers" aria-labelledby="peers-h"><header><h2 id="peers-h">Peers</h2>'
        f'<p class="total">{_total(registry, view)}</p></header>\n'
    )
    if not peers:
        yield f"{_nobody(registry, view)}</section>\n"
        return
    head = "".join(f'<th scope="col">{column}</th>' for column in _COLUMNS)
    yield f'<table class="peers"><caption class="hidden">Peers</caption><thead><tr>{head}</tr></thead>\n<tbody>\n'
    for start in range(0, min(ROWS, len(peers)), _TOGETHER):
        yield "".join(_row(one, history, view, now, node) for one in peers[start : min(ROWS, start + _TOGETHER)])
    yield f"</tbody></table>\n{_paging(view, peers)}</section>\n"


def _total(registry: Registry, view: View) -> str:
    counts = {state.value: number for state, number in registry.counts().items()}
    if set(view.chosen) <= {"state"}:
        return f"{counts.get(view.state, 0) if view.state else sum(counts.values()):,} {view.state or 'listed'}"
    return f"filtered, of {sum(counts.values()):,}"


def _nobody(registry: Registry, view: View) -> str:
    if len(registry):
        cleared = view.href(state=None, reason=None, service=None, region=None, q=None)
        return f'<p class="empty">No peer fits these filters. {link(cleared, "Show all peers")}</p>'
    return (
        '<p class="empty"><b>No peer has connected yet.</b> Start one with '
        "<code>twist heartbeat-agent --connect HOST:7600 --id NAME</code>, or this server with <code>--demo</code>.</p>"
    )


def _paging(view: View, peers: list[Peer]) -> str:
    links = []
    if view.after is not None:
        links.append(link(view.href(before=view.before), "First page"))
    if len(peers) > ROWS:
        following = view.href(before=view.before, after=peers[ROWS - 1].id)
        links.append(f'<a href="{escape(following)}" rel="next">Further peers</a>')
    return f'<nav class="paging" aria-label="Pages of peers">{"".join(links)}</nav>' if links else ""


def _row(peer: Peer, history: History, view: View, now: float, node: str) -> str:
    told = peer.as_json()
    state, rtt = told["state"], told["rtt_ms"]
    p95 = f' <span class="note">p95 {ms(rtt["p95"])}</span>' if rtt and rtt["p95"] is not None else ""
    cells = (
        f"{spark(history.look(peer))}<b>{ms(rtt['last']) if rtt else '–'}</b>{p95}",
        _marked(f"{told['loss_ratio']:.1%}", told["loss_ratio"] >= _LOSSY),
        bar(told["load"], high=told["load"] >= _BUSY) + _marked(f"{told['load']:.2f}", told["load"] >= _BUSY),
        _services(told["services"], view, SERVICES),
        _certificate(told["cert_expires_s"]),
        when(now - told["last_heard_ms"] / 1000, now),
    )
    where = name(told["address"]) + (f" at {name(told['node'])}" if told["node"] not in ("", node) else "")
    columns = zip(_COLUMNS[2:], cells, strict=True)
    return (
        f'<tr data-key="{escape(peer.id)}" class="{state}"><th scope="row" data-label="Peer">'
        f'{link(view.href(peer=peer.id), name(peer.id))}<span class="note">{where}</span></th>'
        f'<td data-label="State">{_state(told, now)}</td>'
        + "".join(f'<td data-label="{label}">{cell}</td>' for label, cell in columns)
        + "</tr>\n"
    )


def _state(told: dict[str, Any], now: float) -> str:
    state = told["state"]
    known = ", ".join(f"{layer} {fate}" for layer, fate in told["layers"].items())
    return (
        f'<span class="state {state}" title="{escape(known)}">{state}</span> '
        f'<span class="note">{when(told["since"], now, "")}</span>'
    )


def _services(services: list[str], view: View, most: int) -> str:
    named = " ".join(link(view.href(service=one), name(one), of="chip") for one in services[:most])
    rest = len(services) - most
    return named + (f' <span class="note">and {rest} more</span>' if rest > 0 else "")


def _certificate(left: float | None) -> str:
    if left is None:
        return ""
    return "expired" if left < 0 else _marked(f"{int(left // _DAY)} d", left < _SOON * _DAY)


def _marked(text: str, bad: bool) -> str:
    return f'<span class="bad">{text}</span>' if bad else text


def peer_panel(registry: Registry, history: History, view: View, now: float) -> str:
    """The section of one peer; empty if none is chosen."""
    if view.peer is None:
        return '<section id="peer" hidden></section>\n'
    close = link(view.href(peer=None), "Close", of="close")
    head = f'<header><h2 id="peer-h">{name(view.peer)}</h2>{close}</header>'
    peer = registry.get(view.peer)
    if peer is None:
        inner = '<p class="empty">This peer is not listed (any more). Its failures, if any, are below.</p>'
    else:
        inner = _in_full(peer, history, view, now)
    return f'<section id="peer" aria-labelledby="peer-h">{head}\n{inner}</section>\n'


def _in_full(peer: Peer, history: History, view: View, now: float) -> str:
    told = peer.details()
    rtt, word = told["rtt_ms"], words.STATES[told["state"]]
    times = "" if rtt is None else f"{ms(rtt['last'])} (smoothed {ms(rtt['smoothed'])}, p95 {ms(rtt['p95'])})"
    rows = (
        ("State", f"{_state(told, now)} {escape(word.meaning)}"),
        ("Died of", escape(words.reason(peer.cause).title) if peer.cause else ""),
        ("Last heard", when(now - told["last_heard_ms"] / 1000, now)),
        ("Round trip", f"{spark(history.look(peer))}{times}"),
        ("Loss in the last minute", f"{told['loss_ratio']:.1%}"),
        ("Load", f"{told['load']:.2f}"),
        ("Up for", duration(told["uptime_s"])),
        ("Services", _services(told["services"], view, 64)),
        ("Certificate", _certificate(told["cert_expires_s"])),
        ("Asked every", f"{told['interval_ms']} ms; dead after {told['detect_ms']} ms of silence"),
        ("Suspicion (phi)", "" if told["phi"] is None else f"{told['phi']:.2f}"),
        ("Address", f"{name(told['address'])} ({escape(told['transport'])})"),
        ("Identity", name(told["identity"] or "")),
        ("Node", name(told["node"])),
        ("Session", f"<code>{escape(told['session'])}</code>" if told["session"] else ""),
        *((name(key), name(value)) for key, value in told["meta"].items()),
        ("Kernel options", escape(", ".join(f"{key}: {value}" for key, value in told["kernel"].items()))),
    )
    json = link(f"api/peers/{quote(peer.id, safe='')}", "As JSON")
    return (
        f"{layers(told['layers'])}{facts(rows)}<details><summary>Flight recorder</summary>{flight(told['events'])}"
        f"</details><p>{json}</p>"
    )
