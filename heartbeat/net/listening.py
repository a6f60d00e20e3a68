"""Telling listeners, so that what one of them raises harms nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from heartbeat.liveness.events import Dead, Event, Left, Refused, RoundTrip

if TYPE_CHECKING:
    from heartbeat.liveness.peer import Peer

__all__ = ["call", "tell", "wants_round_trips"]

log = Logger()


def call(listener: Any, name: str, *arguments: Any) -> None:
    """Call one method of a listener, if it has it."""
    method = getattr(listener, name, None)
    if method is None:
        return
    try:
        method(*arguments)
    except Exception:  # noqa: BLE001  an application's listener may raise anything; the connection must not notice
        log.failure("a heartbeat listener failed in {name}()", name=name)


def tell(listener: Any, peer: Peer, event: Event, joined: bool) -> None:
    """Tell one event of one connection."""
    if isinstance(event, Refused):
        call(listener, "refused", peer, event)
    elif isinstance(event, RoundTrip):
        if event.seconds is not None:
            call(listener, "round_trip", peer, event.seconds)
    elif joined:
        call(listener, "changed", peer, event)
        if isinstance(event, (Dead, Left)):
            call(listener, "gone", peer, event)


def wants_round_trips(listener: Any) -> bool:
    """Whether a listener asked for each round trip; looked for once per connection."""
    return getattr(listener, "round_trip", None) is not None
