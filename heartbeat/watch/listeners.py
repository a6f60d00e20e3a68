"""Several listeners where one is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger
from zope.interface import implementer

from heartbeat.interfaces import IHeartbeatListener

if TYPE_CHECKING:
    from heartbeat.liveness.events import Event, Refused
    from heartbeat.liveness.peer import Peer

__all__ = ["Listeners"]


@implementer(IHeartbeatListener)
class Listeners:
    """Tells each of several listeners, in order. What one raises is logged and keeps nothing from the others.

    :ivar round_trip: only there if one of them wants each round trip: whoever looks for it finds out
    """

    log = Logger()
    round_trip: Callable[[Peer, float], None]

    def __init__(self, *listeners: Any) -> None:
        self._joined = [one.joined for one in listeners]
        self._changed = [one.changed for one in listeners]
        self._gone = [one.gone for one in listeners]
        self._refused = _those_with("refused", listeners)
        takers = _those_with("round_trip", listeners)
        if takers:
            self.round_trip = lambda peer, seconds: self._tell(takers, peer, seconds)

    def joined(self, peer: Peer) -> None:
        """The gate of a connection opened."""
        self._tell(self._joined, peer)

    def changed(self, peer: Peer, event: Event) -> None:
        """Something happened to a joined peer."""
        self._tell(self._changed, peer, event)

    def gone(self, peer: Peer, event: Event) -> None:
        """A joined peer is Dead or has Left."""
        self._tell(self._gone, peer, event)

    def refused(self, peer: Peer, event: Refused) -> None:
        """A connection ended before its gate opened."""
        self._tell(self._refused, peer, event)

    def _tell(self, calls: list[Callable[..., object]], *what: Any) -> None:
        for call in calls:
            try:
                call(*what)
            except Exception:  # noqa: BLE001  whatever an application's listener raises is its own affair
                self.log.failure("a heartbeat listener failed: {call}", call=call)


def _those_with(name: str, listeners: tuple[Any, ...]) -> list[Callable[..., object]]:
    return [getattr(one, name) for one in listeners if hasattr(one, name)]
