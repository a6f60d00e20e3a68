"""Spans of OpenTelemetry for handshakes, failures, and a sample of the beats. Needs opentelemetry-api, no more.

One connection is one trace: the connector's ``heartbeat.handshake`` is its root, its HELLO carries the context, the
acceptor's ``heartbeat.handshake`` continues it. A failure is a span that is made when the verdict falls, with its true
beginning: the last sign of life. It is always recorded, because :class:`Kept` samples whatever has an ``error.type``.
Beats of a connection that lives for months would make a trace without end, so each sampled one is a trace of its own
with a link to its connection.

Contexts are passed by hand: context variables do not follow a reactor's timers and sockets.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from heartbeat.interfaces import HeartbeatListener
from heartbeat.liveness.causes import CONNECT_REASONS, phase_of
from heartbeat.liveness.events import Dead

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from heartbeat.liveness.events import Event, Refused
    from heartbeat.liveness.peer import Clocks, Peer

__all__ = ["ERROR_TYPE", "Traces", "context_of", "span_context", "traceparent_of"]

#: The attribute that makes a span one of a failure (semantic conventions of OpenTelemetry).
ERROR_TYPE: Final = "error.type"
PROTOCOL_VERSION: Final = "1"
_NS: Final = 1_000_000_000


def span_context(traceparent: str | None) -> SpanContext:
    """The remote context that a traceparent names; an invalid one for None."""
    if traceparent is None:
        return INVALID_SPAN_CONTEXT
    _, trace, span, flags = traceparent.split("-")[:4]
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def context_of(traceparent: str | None) -> Context:
    """The context whose current span is the one that a traceparent names. Never that of whoever happens to call."""
    from opentelemetry.context import Context

    return set_span_in_context(NonRecordingSpan(span_context(traceparent)), Context())


def traceparent_of(context: SpanContext) -> str | None:
    """A context as W3C writes it; None for one that names nothing. All flags are kept, those of later versions too."""
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 0xFF:02x}"


class Traces(HeartbeatListener):
    """Traces the connections of a factory: give it as ``factory.tracing``, and as (one of) its listeners.

    :param tracer: of any provider; its sampler decides what is recorded
    :param clocks: of the factory
    :param connector: the factory connects
    :param beats: which part of the beats becomes a span of its own, 0 to 1. Any but 0 costs every beat an event
    :param draw: chance, 0 ≤ x < 1
    """

    def __init__(
        self,
        tracer: Tracer,
        clocks: Clocks,
        *,
        connector: bool,
        beats: float = 0.0,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._tracer = tracer
        self._clocks = clocks
        self._kind = SpanKind.CLIENT if connector else SpanKind.SERVER
        self._open: WeakKeyDictionary[Peer, Span] = WeakKeyDictionary()  # handshakes under way
        if beats > 0.0:
            self._beats = min(beats, 1.0)
            self._draw = draw
            self._skip = self._gap()
            self.round_trip = self._round_trip  # whoever looks for it finds it only where it is wanted

    # -- the factory's

    def begin(self, peer: Peer) -> None:
        """Begin the handshake's span, in the trace that the peer's HELLO named; our own HELLO then names it."""
        if peer in self._open:
            return
        span = self._start("heartbeat.handshake", peer, peer.traceparent, at=peer.since)
        self._open[peer] = span
        peer.traceparent = traceparent_of(span.get_span_context()) or peer.traceparent

    # -- the listener's

    def joined(self, peer: Peer) -> None:
        """The handshake is over. A bare peer had none, and has a trace from here on."""
        if peer not in self._open:
            self.begin(peer)
        span = self._open.pop(peer)
        if span.is_recording():
            span.set_attributes(_named(peer))
        span.end(self._ns(peer.since))

    def gone(self, peer: Peer, event: Event) -> None:
        """A death is a failed ping that began with the last sign of life."""
        if isinstance(event, Dead):
            more: dict[str, Any] = {
                "heartbeat.phase": phase_of(event.cause),
                "heartbeat.silent_s": round(event.silent, 6),
            }
            if event.evidence is not None and event.evidence.detail:
                more["heartbeat.detail"] = event.evidence.detail
            self._failed("heartbeat.ping", peer, event.cause, (peer.heard_at, event.at), more)

    def refused(self, peer: Peer, event: Refused) -> None:
        """A handshake that failed. One that was not sampled is recorded after the fact."""
        phase = "connect" if event.cause in CONNECT_REASONS else "handshake"
        more = {"heartbeat.phase": phase, **({"heartbeat.detail": event.reason} if event.reason else {})}
        span = self._open.pop(peer, None)
        if span is not None and (span.is_recording() or not event.cause):
            span.set_attributes({**_named(peer), **more})
            self._finish(span, event.cause, event.at)
        elif event.cause:
            self._failed("heartbeat.handshake", peer, event.cause, (peer.flight().recorder.since, event.at), more)

    def _round_trip(self, peer: Peer, seconds: float) -> None:
        self._skip -= 1
        if self._skip > 0:
            return
        self._skip = self._gap()
        now = self._clocks.seconds()
        links = [Link(span_context(peer.traceparent))] if peer.traceparent is not None else []
        span = self._start("heartbeat.ping", peer, None, at=now - seconds, links=links)
        span.end(self._ns(now))

    # -- inside

    def _gap(self) -> int:
        """How many beats until the next one that is traced: each is with the same chance, and none is asked."""
        if self._beats >= 1.0:
            return 1
        return 1 + int(math.log1p(-self._draw()) / math.log1p(-self._beats))

    def _failed(self, name: str, peer: Peer, reason: str, when: tuple[float, float], more: Mapping[str, Any]) -> None:
        since, at = when
        span = self._start(name, peer, peer.traceparent, at=since, more={ERROR_TYPE: reason, **more})
        if peer.traceparent is None:
            peer.traceparent = traceparent_of(span.get_span_context())
        self._finish(span, reason, at)

    def _finish(self, span: Span, reason: str, at: float) -> None:
        if reason:
            span.set_attribute(ERROR_TYPE, reason)
            span.set_status(Status(StatusCode.ERROR, reason))
        span.end(self._ns(at))

    def _start(
        self,
        name: str,
        peer: Peer,
        parent: str | None,
        *,
        at: float,
        links: list[Link] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Span:
        return self._tracer.start_span(
            name,
            context_of(parent),
            self._kind,
            {**self._of(peer), **(more or {})},
            links,
            start_time=self._ns(at),
        )

    def _of(self, peer: Peer) -> dict[str, str | int]:
        host, _, port = peer.address.rpartition(":")
        attributes: dict[str, str | int] = {
            "network.transport": "unix" if peer.transport == "unix" else "tcp",
            "network.protocol.name": "heartbeat",
            "network.protocol.version": PROTOCOL_VERSION,
            **_named(peer),
        }
        if port.isdecimal():
            whose = "server" if self._kind is SpanKind.CLIENT else "client"
            for name in ("network.peer", whose):
                attributes[f"{name}.address"] = host.strip("[]")
                attributes[f"{name}.port"] = int(port)
        return attributes

    def _ns(self, at: float) -> int:
        """A moment of the monotonic clock as nanoseconds since the epoch."""
        return int((self._clocks.wall() - (self._clocks.seconds() - at)) * _NS)


def _named(peer: Peer) -> dict[str, str]:
    named = {"heartbeat.peer.id": peer.id}
    if peer.session:
        named["heartbeat.session.id"] = peer.session
    return named
