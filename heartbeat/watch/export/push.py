"""The metrics through OpenTelemetry's API: the same numbers as ``/metrics``, pushed instead of scraped. Extra ``otel``.

Counters and gauges are observed when they are sent; like a scrape that happens in the reactor thread, in slices, and
only the sending is done in another. A histogram of OpenTelemetry has to be told each value: so
round trips cost every beat something here, which is why nobody gets this who did not ask.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from twisted.internet.task import LoopingCall

from heartbeat import __version__
from heartbeat.interfaces import HeartbeatListener
from heartbeat.liveness.rtt import BOUNDS
from heartbeat.watch.failures import EXPECTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.resources import Resource

    from heartbeat.liveness.peer import Peer
    from heartbeat.watch.export.sources import Sources
    from heartbeat.watch.tally import Sums

__all__ = ["Push"]

#: Milliseconds, as the specification of OpenTelemetry has it.
INTERVAL_MS: Final = 60_000.0
FOREVER: Final = float("inf")


def in_thread(work: Callable[[], None]) -> None:
    """Do this in a daemon's thread: for those of its own pool a reactor would wait at its end, however long."""
    threading.Thread(target=work, name="heartbeat-metrics", daemon=True).start()


class _Apart(MetricExporter):
    """Gives an exporter its batches in another thread, one at a time.

    :param apart: runs something there
    :ivar busy: it has not taken the last one yet; then give it none
    """

    def __init__(self, exporter: MetricExporter, apart: Callable[[Callable[[], None]], None]) -> None:
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)
        self._exporter = exporter
        self._apart = apart
        self._lock = threading.Lock()
        self.busy = False
        self._ends = False
        self._last: MetricsData | None = None

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Hand it over; the last one is kept for :meth:`shutdown`."""
        if self._ends:
            self._last = metrics_data
        else:
            self.busy = True
            self._apart(lambda: self._export(metrics_data, timeout_millis))
        return MetricExportResult.SUCCESS

    def _export(self, metrics_data: MetricsData, timeout_millis: float) -> None:
        try:
            with self._lock:
                self._exporter.export(metrics_data, timeout_millis)
        finally:
            self.busy = False

    def end(self) -> None:
        """The next batch is the last."""
        self._ends = True

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is kept here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Send the last batch. Blocks."""
        if self._last is not None:
            with self._lock:
                self._exporter.export(self._last, timeout_millis)
        self._exporter.shutdown(timeout_millis, **kwargs)


class Push(HeartbeatListener):
    """Sends the metrics, from :meth:`start` to :meth:`close`. One of the listeners, for the round trips.

    :param sources: what is read
    :param exporter: where to; None: OTLP over HTTP
    :param apart: does what blocks
    """

    def __init__(
        self,
        resource: Resource,
        sources: Sources,
        reactor: Any,
        *,
        exporter: MetricExporter | None = None,
        apart: Callable[[Callable[[], None]], None] = in_thread,
    ) -> None:
        self._sources = sources
        self._exporter = _Apart(OTLPMetricExporter() if exporter is None else exporter, apart)
        self._reader = PeriodicExportingMetricReader(self._exporter, FOREVER)
        rtt = View(instrument_name="heartbeat.rtt", aggregation=ExplicitBucketHistogramAggregation(BOUNDS))
        self._provider = MeterProvider([self._reader], resource, shutdown_on_exit=False, views=[rtt])
        meter = self._provider.get_meter("heartbeat", __version__)
        self._rtt = meter.create_histogram("heartbeat.rtt", "s", "Round trips of own PINGs.")
        for make, name, unit, text, observe in self._instruments(meter):
            make(name, [observe], unit, text)
        self._reactor = reactor
        self._walk: Iterator[Sums | None] | None = None  # over the peers, a slice in each turn
        self._next: Any = None  # the call of its next step
        self._sums = sources.totals.sums()
        self._call = LoopingCall(self._collect)
        self._call.clock = reactor

    def start(self) -> None:
        """Send from now on, every interval."""
        try:
            every = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")) / 1000.0
        except ValueError:
            every = 0.0
        self._call.start(every if every > 0.0 else INTERVAL_MS / 1000.0, now=False)

    def _collect(self) -> None:
        if not self._exporter.busy and self._walk is None:  # what is not collected now is in the next batch
            self._walk = self._sources.totals.walk()
            self._step()

    def _step(self) -> None:
        assert self._walk is not None
        self._next = None
        sums = next(self._walk)
        if sums is None:
            self._next = self._reactor.callLater(0, self._step)
            return
        self._walk = None
        self._sums = sums
        self._reader.collect()

    def stop(self) -> None:
        """No more timer; the last numbers are taken now, and sent by :meth:`close`."""
        if self._call.running:
            self._call.stop()
            if self._next is not None:
                self._next.cancel()
            self._exporter.end()
            self._sums = self._sources.totals.sums()
            self._reader.collect()

    def close(self) -> None:
        """Send the last numbers. Blocks."""
        self._provider.shutdown()

    def round_trip(self, peer: Peer, seconds: float) -> None:
        """One more for the histogram."""
        self._rtt.record(seconds)

    def _instruments(self, meter: Any) -> Iterable[tuple[Any, str, str, str, Any]]:
        counter, gauge = meter.create_observable_counter, meter.create_observable_gauge
        updown = meter.create_observable_up_down_counter
        sources = self._sources
        yield (
            counter,
            "heartbeat.health.check",
            "{check}",
            "Own PINGs by how they were settled: ok, late, lost.",
            self._checks,
        )
        yield counter, "heartbeat.failure", "{failure}", "Peers that died or were refused.", self._failures
        yield counter, "heartbeat.beat", "{beat}", "PINGs read (in) and sent (out).", self._beats
        yield counter, "heartbeat.spared", "{peer}", "Peers spared that a plain timer would have killed.", self._spared
        yield updown, "heartbeat.peers", "{peer}", "Listed peers.", self._peers
        yield (
            updown,
            "heartbeat.connections",
            "{connection}",
            "Open connections, handshakes included.",
            lambda _: [Observation(sources.connections())],
        )
        yield gauge, "heartbeat.interval", "s", "Mean interval between own PINGs.", lambda _: self._mean("interval")
        yield gauge, "heartbeat.loss", "1", "Mean ratio of own PINGs lost in 60 s.", lambda _: self._mean("loss")

    def _checks(self, _: object) -> Iterable[Observation]:
        sums = self._sums
        labels = self._sources.labels._asdict()
        for status, number in (("ok", sums.on_time), ("late", sums.late), ("lost", sums.lost)):
            yield Observation(number, {**labels, "status": status})

    def _failures(self, _: object) -> Iterable[Observation]:
        counts = self._sources.failures.counts()
        for reason, phase in dict.fromkeys((*EXPECTED, *counts)):
            yield Observation(counts.get((reason, phase), 0), {"error.type": reason, "heartbeat.phase": phase})

    def _beats(self, _: object) -> Iterable[Observation]:
        sums = self._sums
        yield Observation(sums.pings_in, {"direction": "in"})
        yield Observation(sums.pings_out, {"direction": "out"})

    def _spared(self, _: object) -> Iterable[Observation]:
        for reason, number in self._sums.spared.items():
            yield Observation(number, {"reason": reason})

    def _peers(self, _: object) -> Iterable[Observation]:
        for state, number in self._sources.registry.counts().items():
            yield Observation(number, {"state": state.value})

    def _mean(self, name: str) -> Iterable[Observation]:
        value = getattr(self._sums, name)
        return [] if value is None else [Observation(value)]
