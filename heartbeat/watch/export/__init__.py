"""What is known, for other programs. An optional package is asked for here, once, when something is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heartbeat.errors import MissingExtra

if TYPE_CHECKING:
    from heartbeat.watch.export.metrics import Metrics
    from heartbeat.watch.export.sources import Sources

__all__ = ["metrics_of"]


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
