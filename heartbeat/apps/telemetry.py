"""OpenTelemetry in a command: set up at the start if it is wanted, and sent to its end when the command stops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from heartbeat import __version__
from heartbeat.apps.traceoptions import AUTO, check_protocol, wanted
from heartbeat.errors import ConfigError
from heartbeat.watch.export import push_of, spans_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from heartbeat.net import HeartbeatFactory
    from heartbeat.watch.export.otlp import Spans
    from heartbeat.watch.export.push import Push
    from heartbeat.watch.export.sources import Sources

__all__ = ["Telemetry"]


T = TypeVar("T")


class Telemetry(Service):
    """What one process sends to a collector; nothing, if nothing is wanted.

    :param attributes: of the resource: ``service.name`` and its like
    :param traces: the option
    :param metrics: the option
    :param sources: of the metrics; None: there are none to push
    :raises ConfigError: it was asked for by name, and is not installed (MissingExtra), or is to be sent by gRPC
    :ivar push: the metrics, None where they are not pushed; one of the listeners
    """

    def __init__(
        self,
        reactor: Any,
        attributes: Mapping[str, str],
        *,
        traces: str,
        metrics: str = "none",
        sources: Sources | None = None,
    ) -> None:
        self._reactor = reactor
        about = {"service.version": __version__, **attributes}
        self._spans: Spans | None = None
        self.push: Push | None = None
        if wanted(traces, "TRACES"):
            self._spans = _made("TRACES", traces, lambda: spans_of("--traces", about))
        if sources is not None and wanted(metrics, "METRICS"):
            self.push = _made("METRICS", metrics, lambda: push_of("--push-metrics", about, sources, reactor))

    def tracer(self) -> Any:
        """What makes spans (``opentelemetry.trace.Tracer``), None where nobody wants them."""
        return None if self._spans is None else self._spans.tracer(__version__)

    def watch(self, factory: HeartbeatFactory, beats: float) -> list[Any]:
        """Trace the connections of a factory. The listeners that it needs for this, which go before the others."""
        listeners: list[Any] = [] if self.push is None else [self.push]
        if self._spans is not None:
            from heartbeat.watch.export.tracing import Traces

            traces = Traces(self.tracer(), factory.wheel.clocks, connector=factory.connector, beats=beats)
            factory.tracing = traces
            listeners.insert(0, traces)
        return listeners

    def probe_spans(self, otherwise: Callable[[], str]) -> Any:
        """What makes the spans of requests, None where nobody wants them."""
        if self._spans is None:
            return None
        from heartbeat.watch.export.probetraces import ProbeTraces

        return ProbeTraces(self.tracer(), otherwise)

    def startService(self) -> None:
        """Send from now on."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        if self._spans is None and self.push is None:
            return
        from heartbeat.watch.export.otlp import Complaints

        self._complaints = Complaints(self._reactor.seconds)
        self._complaints.install()
        if self.push is not None:
            self.push.start()

    def stopService(self) -> Deferred[None]:
        """Send what has not left yet; it takes no longer than a few seconds, whatever the collector does."""
        if not self.running:
            return succeed(None)
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        ends = [one.close for one in (self._spans, self.push) if one is not None]
        if not ends:
            return succeed(None)
        if self.push is not None:
            self.push.stop()
        from heartbeat.watch.export.otlp import off_thread

        def close() -> None:
            for end in ends:
                end()

        return off_thread(self._reactor, close).addBoth(lambda _: self._complaints.remove())


def _made(signal: str, choice: str, make: Callable[[], T]) -> T | None:
    """What was asked for; where only the environment asks, what stands in its way is a line in the log."""
    try:
        check_protocol(signal)
        return make()
    except ConfigError as trouble:
        if choice != AUTO:
            raise
        Logger(namespace="heartbeat.telemetry").warn("not sent: {trouble}", trouble=str(trouble))
        return None
