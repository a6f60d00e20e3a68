"""Failures as text of a store, and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from heartbeat.watch.failures import Failure
from heartbeat.watch.stores.records import StoredFailure

if TYPE_CHECKING:
    from heartbeat.watch.stores.records import PeerRecord

__all__ = ["failure_of", "lost_with", "stored"]


class ToldFlight:
    """A flight recorder that was read elsewhere."""

    __slots__ = ("_events",)

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self._events = events

    def as_json(self) -> list[dict[str, Any]]:
        """Its events, oldest first."""
        return self._events


def stored(failure: Failure) -> StoredFailure:
    """What is kept of it: what is shown of it."""
    text = json.dumps(failure.as_json(), separators=(",", ":"))
    return StoredFailure(failure.id, failure.node, text, failure.phase != "live")


def failure_of(told: StoredFailure) -> Failure:
    """The failure that was kept so. Raises ValueError."""
    try:
        entry = json.loads(told.text)
        p95 = entry["p95_latency_ms"]
        return Failure(
            id=told.id,
            at=float(entry["at"]),
            peer=str(entry["peer"]),
            address=str(entry["address"]),
            node=told.node,
            session=str(entry["session"]),
            reason=str(entry["failure_reason"]),
            phase=entry["phase"],
            p95=None if p95 is None else p95 / 1000.0,
            evidence=entry["evidence"],
            flight=ToldFlight(entry["events"]),  # type: ignore[arg-type]  # all that is asked of one
            services=tuple(entry.get("services", ())),
            region=str(entry.get("region", "")),
            trace_id=entry.get("trace_id"),
        )
    except (KeyError, TypeError, ValueError) as wrong:
        raise ValueError(f"no failure: {told.text[:80]!r}") from wrong


def lost_with(record: PeerRecord, number: int, wall: float, by: str) -> Failure:
    """The failure of a peer whose server vanished, and which did not come back.

    :param number: for the failure
    :param wall: now, seconds since the epoch
    :param by: the server that concludes it
    """
    rtt = record.view.get("rtt_ms") or {}
    p95 = rtt.get("p95")
    return Failure(
        id=number,
        at=wall,
        peer=record.id,
        address=str(record.view.get("address", "")),
        node=record.node,
        session=record.session,
        reason="unattributed",
        phase="live",
        p95=None if p95 is None else p95 / 1000.0,
        evidence={
            "detail": "server_lost",
            "silent_s": round(max(0.0, wall - record.heard_at), 3),
            "reported_by": by,
            "layers": {"host": "unknown", "loop": "unknown", "work": "unknown"},
        },
        services=tuple(record.view.get("services", ())),
        region=str(record.view.get("meta", {}).get("region", "")),
        flight=ToldFlight(
            [
                {"at": round(record.heard_at, 3), "event": "heard", "value": None},
                {"at": round(wall, 3), "event": "dead", "value": round(max(0.0, wall - record.heard_at), 6)},
            ]
        ),  # type: ignore[arg-type]  # all that is asked of one
    )
