"""What was seen of a connection, for people: the layers, the evidence with its units, the flight recorder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from heartbeat.watch.web import words
from heartbeat.watch.web.html import bytes_, clock, duration, escape, ms, name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["evidence", "facts", "flight", "gist", "layers"]

#: ``include/net/tcp_states.h``.
_TCP_STATES: Final = (
    "", "established", "SYN sent", "SYN received", "FIN wait 1", "FIN wait 2", "time wait", "closed", "close wait",
    "last ACK", "listen", "closing",
)  # fmt: skip
_ORDER: Final = {key: place for place, key in enumerate(words.EVIDENCE)}
_FATES: Final = {"alive": "alive", "dead": "dead", "unknown": "?"}


def layers(known: Mapping[str, str]) -> str:
    """Host, loop, work: three marks with words."""
    marks = "".join(
        f'<li class="{fate}"><span>{escape(layer)}</span> <b>{_FATES.get(fate, "?")}</b></li>'
        for layer, fate in known.items()
    )
    return f'<ul class="layers" aria-label="Layers">{marks}</ul>'


def gist(seen: Mapping[str, Any]) -> str:
    """The evidence in a line: what tells most."""
    told = []
    silent, tcp = seen.get("silent_s"), seen.get("tcp", {})
    if silent is not None:
        told.append(f"silent {_seconds(silent)}")
    if seen.get("error"):
        told.append(escape(str(seen["error"])))
    for key, text in (("unacked", "unacked {}"), ("retransmits", "retransmits {}"), ("total_retrans", "repeated {}")):
        if tcp.get(key):
            told.append(text.format(tcp[key]))
    if tcp.get("snd_wnd") == 0:
        told.append("window closed")
    if seen.get("reason"):
        told.append(name(str(seen["reason"])))
    if seen.get("detail"):
        told.append(escape(str(seen["detail"]).replace("_", " ")))
    return " · ".join(told)


def evidence(seen: Mapping[str, Any]) -> str:
    """All of it, as names and values: what is known here in the order of its table, then the rest."""
    told = dict(_flat(seen))
    ordered = sorted(told, key=lambda key: _ORDER.get(key, len(_ORDER)))
    return facts(_named(key, told[key]) for key in ordered)


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values, both HTML."""
    told = "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for label, value in pairs if value)
    return f'<dl class="facts">{told}</dl>'


def flight(events: list[dict[str, Any]]) -> str:
    """The flight recorder: each event with its distance to the last one."""
    if not events:
        return ""
    end = events[-1]["at"]
    lines = "".join(
        f'<li class="e-{escape(event["event"].partition(":")[0])}"><time>{_before(end - event["at"])}</time>'
        f"<span>{_event(event)}</span></li>"
        for event in events
    )
    return (
        f'<ol class="flight" aria-label="Flight recorder, oldest first">{lines}</ol>'
        f'<p class="note">The last of them at {clock(end)} UTC.</p>'
    )


def _event(event: dict[str, Any]) -> str:
    kind, value = event["event"], event["value"]
    if kind.startswith("spared:"):
        why = words.SPARED.get(kind.partition(":")[2])
        text, unit = f"spared ({why.title if why else kind}), not its own", "s"
    else:
        text, unit = words.EVENTS.get(kind, (kind, ""))
    if value is None:
        return escape(text.removesuffix(" for").removesuffix(", unacknowledged").removesuffix(", ping"))
    shown = _seconds(value) if unit == "s" else bytes_(value) if unit == "B" else f"{'#' * (unit == '#')}{value:.0f}"
    return f"{escape(text)} <b>{shown}</b>"


def _flat(seen: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in seen.items():
        if not isinstance(value, dict):
            yield prefix + key, value
        elif key != "layers":
            yield from _flat(value, f"{key}.")


def _named(key: str, value: Any) -> tuple[str, str]:
    label, unit = words.EVIDENCE.get(key, (key.replace("_", " "), ""))
    return escape(label), _value(value, unit)


def _value(value: Any, unit: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return name(str(value))
    if unit == "tcp":
        return _TCP_STATES[int(value)] if 0 < value < len(_TCP_STATES) else str(value)
    if unit in ("s", "ago"):
        return _seconds(value) + (" before" if unit == "ago" else "")
    if unit == "t":
        return f"{clock(value)} UTC"
    return bytes_(value) if unit == "B" else f"{value}×" if unit == "×" else f"{value:g}"


def _seconds(value: float) -> str:
    if value < 1:
        return ms(value * 1000)
    return f"{value:.2f} s" if value < 100 else duration(value)


def _before(seconds: float) -> str:
    return "0" if seconds < 0.0005 else f"−{seconds:.3f} s" if seconds < 100 else f"−{duration(seconds)}"
