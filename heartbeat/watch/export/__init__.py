"""What is known, for other programs. An optional package is asked for here, once, when something is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heartbeat.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heartbeat.watch.export.metrics import Metrics
    from heartbeat.watch.export.otlp import Spans
    from heartbeat.watch.export.push import Push
    from heartbeat.watch.export.sources import Sources

__all__ = ["metrics_of", "push_of", "spans_of"]


def metrics_of(sources: Sources) -> Metrics:
    """The metrics of ``/metrics``, in a registry of their own.

    Raises :class:`~heartbeat.errors.MissingExtra` where prometheus_client is not installed. A server may go on
    without: give ``make_site`` None, and ``/metrics`` says what to install.
    """
    try:
        from heartbeat.watch.export.metrics import Metrics
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != "prometheus_client":
            raise
        raise MissingExtra("/metrics", "prometheus") from missing
    return Metrics(sources)


def spans_of(name: str, attributes: Mapping[str, str]) -> Spans:
    """Spans that go to an OpenTelemetry collector; ``OTEL_*`` says where it is.

    :param name: the option that asked for it, for the error
    :param attributes: of the resource: ``service.name`` and its like
    :raises MissingExtra: OpenTelemetry's SDK or its exporter is not installed
    """
    try:
        from heartbeat.watch.export.otlp import Spans, resource_of
    except ModuleNotFoundError as missing:
        raise _without(name, missing) from missing
    return Spans(resource_of(attributes))


def push_of(name: str, attributes: Mapping[str, str], sources: Sources, reactor: Any) -> Push:
    """The metrics, sent to an OpenTelemetry collector every ``OTEL_METRIC_EXPORT_INTERVAL``. As :func:`spans_of`."""
    try:
        from heartbeat.watch.export.otlp import resource_of
        from heartbeat.watch.export.push import Push
    except ModuleNotFoundError as missing:
        raise _without(name, missing) from missing
    return Push(resource_of(attributes), sources, reactor)


def _without(name: str, missing: ModuleNotFoundError) -> Exception:
    ours = missing.name is not None and missing.name.partition(".")[0] == "opentelemetry"
    return MissingExtra(name, "otel") if ours else missing
