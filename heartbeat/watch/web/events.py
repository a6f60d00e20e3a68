"""``/api/events``: what changes, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from heartbeat.watch.web.answers import Answer, Page, json_answer

if TYPE_CHECKING:
    from twisted.web.server import Request

    from heartbeat.watch.web.slices import Turns
    from heartbeat.watch.web.stream import Broadcast

__all__ = ["Events"]

#: Seconds after which somebody who was one too many may ask again.
LATER: Final = 10
#: An id is ours, so no longer than this; what is longer is no id.
_LONGEST: Final = 64


class Events(Page):
    """``/api/events``: ``peer`` (its state changed), ``failure``, and ``gap`` (what happened meanwhile is not told).

    ``Last-Event-ID`` is honoured, as far back as events are kept.
    """

    def __init__(self, turns: Turns, broadcast: Broadcast) -> None:
        super().__init__(turns)
        self._broadcast = broadcast

    def answer(self, request: Request) -> Answer:
        """An answer without an end; 503 to one too many."""
        if self._broadcast.full:
            refusal = json_answer({"error": "too many follow already"}, HTTPStatus.SERVICE_UNAVAILABLE)
            return refusal._replace(headers={"Retry-After": str(LATER)})
        last = (request.getHeader("last-event-id") or "")[:_LONGEST]
        headers = {"X-Accel-Buffering": "no"}  # a proxy is not to wait for more
        return Answer(lambda: self._broadcast.admit(request, last), "text/event-stream", headers=headers)
