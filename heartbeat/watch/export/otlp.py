"""Spans and metrics pushed to an OpenTelemetry collector: OTLP over HTTP. Needs the extra ``otel``.

``OTEL_*`` is honoured, because OpenTelemetry's own SDK reads it: endpoint, headers, timeout, certificate, sampler,
limits, resource attributes, intervals. What blocks (an export, a shutdown) happens in threads that end with the
process.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from twisted.internet import defer
from twisted.logger import Logger

from heartbeat.watch.export.tracing import ERROR_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanKind, Tracer
    from opentelemetry.trace.span import TraceState
    from opentelemetry.util.types import Attributes

__all__ = ["Complaints", "Kept", "Spans", "off_thread", "resource_of"]

#: Seconds that what has not left yet may take at the end. A collector that does not answer keeps nobody waiting.
LAST_WORDS: Final = 3.0
#: A collector that is away is told of once in so many seconds, not once per batch.
QUIET: Final = 60.0


class Kept(Sampler):
    """Asks another sampler, and keeps every span that has an ``error.type`` from its beginning."""

    def __init__(self, base: Sampler) -> None:
        self._base = base

    def should_sample(  # noqa: PLR0917  the signature is OpenTelemetry's
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """A failure is recorded, whatever became of the trace that it is in."""
        if attributes is not None and ERROR_TYPE in attributes:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return self._base.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self) -> str:
        """For people."""
        return f"Kept({self._base.get_description()})"


def resource_of(attributes: Mapping[str, str]) -> Resource:
    """These attributes and those of OpenTelemetry's SDK; what ``OTEL_RESOURCE_ATTRIBUTES`` says beats ours."""
    said = OTELResourceDetector().detect().attributes
    return Resource.create({name: text for name, text in attributes.items() if text and name not in said})


class Spans:
    """A provider of tracers whose spans go to the collector.

    :param resource: see :func:`resource_of`
    """

    def __init__(self, resource: Resource) -> None:
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        if self._provider.sampler is not ALWAYS_OFF:  # who says always_off means it
            self._provider.sampler = Kept(self._provider.sampler)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))

    def tracer(self, version: str) -> Tracer:
        """The tracer of this library."""
        return self._provider.get_tracer("heartbeat", version)

    def close(self) -> None:
        """Send what has not left yet, and stop. Blocks."""
        self._provider.shutdown()


def off_thread(reactor: Any, work: Callable[[], object], seconds: float = LAST_WORDS) -> defer.Deferred[None]:
    """Do blocking work in a thread of its own. Fires when it is done, or after ``seconds`` without it.

    A daemon's thread, not one of the reactor's pool: for those the reactor would wait at its end, however long.
    """
    done: defer.Deferred[None] = defer.Deferred()

    def finish() -> None:
        if not done.called:
            done.callback(None)

    def run() -> None:
        try:
            work()
        except Exception:  # noqa: BLE001  whatever an exporter raises: nobody is left whom it would help
            Logger(namespace="heartbeat.telemetry").failure("telemetry did not end well")
        reactor.callFromThread(finish)

    done.addTimeout(seconds, reactor)
    done.addErrback(lambda failure: failure.trap(defer.TimeoutError) and None)
    threading.Thread(target=run, name="heartbeat-telemetry", daemon=True).start()
    return done


class Complaints(logging.Handler):
    """What OpenTelemetry's SDK logs, in Twisted's log: one line a minute, a collector that is away has many batches.

    :param seconds: monotonic
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        super().__init__(logging.WARNING)
        self._seconds = seconds
        self._quiet_until = float("-inf")
        self._log = Logger(namespace="heartbeat.telemetry")

    def install(self) -> None:
        """Take over from Python's own last resort, which writes to standard error."""
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(self)
        logger.propagate = False

    def remove(self) -> None:
        """Give it back."""
        logger = logging.getLogger("opentelemetry")
        logger.removeHandler(self)
        logger.propagate = True

    def emit(self, record: logging.LogRecord) -> None:
        """Called in whatever thread."""
        now = self._seconds()
        if now < self._quiet_until:
            return
        self._quiet_until = now + QUIET
        text = " ".join(record.getMessage().split())
        self._log.warn("telemetry: {text} (once in {quiet:g} s)", text=text, quiet=QUIET)
