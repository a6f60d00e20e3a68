"""What probes ask: ``/livez``, ``/readyz``, ``/health``."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from heartbeat import __version__
from heartbeat.watch.web.answers import Answer, Page, json_answer, text_answer
from heartbeat.watch.web.traceparent import continued

if TYPE_CHECKING:
    from twisted.web.server import Request

    from heartbeat.watch.registry import Registry
    from heartbeat.watch.web.slices import Turns

__all__ = ["PROBES", "Alive", "Health", "Readiness", "Ready"]

#: Says in one line why this server wants no new peers now (it drains, say); None: it does.
Readiness = Callable[[], str | None]

#: Paths that programs ask all the time: their answers are no news.
PROBES = frozenset({b"/livez", b"/readyz", b"/health", b"/metrics"})


class Alive(Page):
    """``/livez``: the event loop runs. It says nothing else, so that nothing else gets a server restarted."""

    def answer(self, request: Request) -> Answer:
        """Always 200."""
        return text_answer("ok")


class Ready(Page):
    """``/readyz``: 200, or 503 with the reason. With its store away a server is ``degraded``, and ready all the same.

    (All servers of a fleet lose their store at the same time. If they said 503 then, a balancer would send nobody to
    any of them, and an outage of the store would be one of everything.)
    """

    def __init__(self, turns: Turns, readiness: Readiness, degraded: Readiness) -> None:
        super().__init__(turns)
        self._readiness = readiness
        self._degraded = degraded

    def answer(self, request: Request) -> Answer:
        """One line."""
        reason = self._readiness()
        if reason is not None:
            return text_answer(reason, HTTPStatus.SERVICE_UNAVAILABLE)
        trouble = self._degraded()
        return text_answer("ok" if trouble is None else f"degraded: {trouble}")


class Health(Page):
    """``/health``: the same as JSON, with a few numbers: ``status`` is ``ok``, ``degraded`` or ``unready``.

    A ``traceparent`` is answered by one of the same trace.
    """

    def __init__(self, turns: Turns, readiness: Readiness, degraded: Readiness, registry: Registry) -> None:
        super().__init__(turns)
        self._readiness = readiness
        self._degraded = degraded
        self._registry = registry

    def answer(self, request: Request) -> Answer:
        """200 or 503."""
        reason, trouble = self._readiness(), self._degraded()
        told = {
            "status": "unready" if reason is not None else "ok" if trouble is None else "degraded",
            "reason": trouble if reason is None else reason,
            "version": __version__,
            "peers": {state.value: number for state, number in self._registry.counts().items()},
        }
        answer = json_answer(told, HTTPStatus.OK if reason is None else HTTPStatus.SERVICE_UNAVAILABLE)
        trace = continued(request.getHeader("traceparent"))
        return answer if trace is None else answer._replace(headers={"traceparent": trace})
