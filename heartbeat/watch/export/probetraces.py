"""Spans for requests to others: ``heartbeat.probe``, with the semantic conventions of an HTTP client."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode

from heartbeat.liveness.causes import phase_of
from heartbeat.watch.export.tracing import ERROR_TYPE, context_of, traceparent_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span, Tracer

    from heartbeat.liveness.peer import Peer

__all__ = ["ProbeTraces"]

NAME: Final = "heartbeat.probe"


class ProbeTraces:
    """Makes a span, and a trace, of each request. One that failed is recorded although its trace was not sampled.

    :param otherwise: gives a traceparent where the tracer gives none
    """

    def __init__(self, tracer: Tracer, otherwise: Callable[[], str]) -> None:
        self._tracer = tracer
        self._otherwise = otherwise

    def begin(self, peer: Peer, url: str, method: str) -> tuple[tuple[Span, int], str]:
        """The span with its beginning, and the traceparent that the request carries."""
        parts = urlsplit(url)
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "url.full": url,
            "server.address": parts.hostname or "",
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
            "heartbeat.peer.id": peer.id,
        }
        began = time.time_ns()
        span = self._tracer.start_span(NAME, Context(), SpanKind.CLIENT, attributes, start_time=began)
        return (span, began), traceparent_of(span.get_span_context()) or self._otherwise()

    def end(self, begun: tuple[Span, int], peer: Peer, reason: str, detail: str, status: int | None) -> None:
        """The request is over."""
        span, began = begun
        if reason and not span.is_recording():
            parent = context_of(traceparent_of(span.get_span_context()))
            attributes = {"heartbeat.peer.id": peer.id, "url.full": peer.id, ERROR_TYPE: reason}
            span = self._tracer.start_span(NAME, parent, SpanKind.CLIENT, attributes, start_time=began)
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if reason:
            span.set_attributes({ERROR_TYPE: reason, "heartbeat.phase": phase_of(reason), "heartbeat.detail": detail})
            span.set_status(Status(StatusCode.ERROR, detail or reason))
        span.end()
