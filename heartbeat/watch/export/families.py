"""What each metric is called, means and is made of. Needs prometheus_client.

``heartbeat_beats_total``: ``in`` are PINGs read, ``out`` PINGs sent; each one that was read was answered.
``heartbeat_health_check_total``: every settled question once, as ``ok``, as ``late`` (answered, but only after the
confirm question of half time) or as ``lost``. ``heartbeat_interval_seconds`` and ``heartbeat_loss_ratio`` are means
over the living, the latter of each one's last 60 s; while nobody lives they have no sample.
"""

from __future__ import annotations

import math
import platform
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from OpenSSL import SSL
from prometheus_client import Metric
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.samples import Exemplar
from twisted import __version__ as twisted_version

from heartbeat import __version__
from heartbeat.liveness.rtt import FIRST_BOUND
from heartbeat.watch.failures import EXPECTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from heartbeat.liveness.counters import Counters
    from heartbeat.watch.exemplars import Example
    from heartbeat.watch.export.sources import Sources, StoreNumbers
    from heartbeat.watch.tally import Sums

__all__ = ["described", "families"]

_COUNTERS: Final = {
    "heartbeat_beats": ("PINGs read (in) and sent (out); each one that was read was answered.", ("direction",)),
    "heartbeat_health_check": (
        "Own PINGs by how they were settled: answered (ok), answered after the confirm question (late), lost.",
        ("service", "region", "cluster", "status"),
    ),
    "heartbeat_failures": ("Peers that died or were refused.", ("reason", "phase")),
    "heartbeat_certificate_reloads": (
        "Renewals of our certificate: in force (ok), or not usable (error).",
        ("outcome",),
    ),
    "heartbeat_store_dropped": ("Changes that a store never got because too many waited for it.", ("backend", "kind")),
    "heartbeat_spared": ("Peers that a plain timer would have killed by a fault of this process.", ("reason",)),
}
_GAUGES: Final = {
    "heartbeat_peers": ("Listed peers; the dead and those that left are listed for a while.", ("state",)),
    "heartbeat_interval_seconds": ("Mean interval between own PINGs to a connected peer.", ()),
    "heartbeat_loss_ratio": ("Mean ratio of own PINGs that were lost within the last 60 s.", ()),
    "heartbeat_certificate_not_after_timestamp_seconds": ("When our certificate expires, since the epoch.", ()),
    "heartbeat_store_up": ("Whether the store answers.", ("backend",)),
    "heartbeat_connections": ("Open connections, handshakes included.", ()),
}
_HISTOGRAMS: Final = {
    "heartbeat_rtt_seconds": "Round trips of own PINGs.",
    "heartbeat_scheduler_lag_seconds": "How late the event loop woke for the heartbeats.",
}
_STORE_DURATION: Final = "heartbeat_store_operation_duration_seconds"
_STORE_TEXT: Final = "Calls of the store."
NO_EXAMPLES: Final[Mapping[Any, Example]] = MappingProxyType({})
_INFOS: Final = {"heartbeat_build": "What is running."}


def described() -> Iterator[Metric]:
    """All families, without samples."""
    for kind, table in (("counter", _COUNTERS), ("gauge", _GAUGES)):
        for name, (text, _) in table.items():
            yield Metric(name, text, kind)
    for kind, texts in (("histogram", _HISTOGRAMS), ("info", _INFOS)):
        for name, text in texts.items():
            yield Metric(name, text, kind)
    yield Metric(_STORE_DURATION, _STORE_TEXT, "histogram")


def families(sums: Sums, sources: Sources) -> Iterator[Metric]:
    """All families with their samples."""
    yield _gauge("heartbeat_peers", {(state.value,): n for state, n in sources.registry.counts().items()})
    yield _counter("heartbeat_beats", {("in",): sums.pings_in, ("out",): sums.pings_out})
    settled = (("ok", sums.on_time), ("late", sums.late), ("lost", sums.lost))
    yield _counter("heartbeat_health_check", {(*sources.labels, status): n for status, n in settled})
    yield _histogram("heartbeat_rtt_seconds", sources.rtt, {} if sources.synced is None else sources.synced.examples)
    yield _histogram("heartbeat_scheduler_lag_seconds", sources.lag)
    failures = sources.failures.counts()
    counted = {pair: failures.get(pair, 0) for pair in (*EXPECTED, *failures)}
    yield _counter("heartbeat_failures", counted, sources.failures.examples)
    yield _counter("heartbeat_spared", {(reason,): n for reason, n in sums.spared.items()})
    yield _gauge("heartbeat_interval_seconds", {} if sums.interval is None else {(): sums.interval})
    yield _gauge("heartbeat_loss_ratio", {} if sums.loss is None else {(): sums.loss})
    yield _gauge("heartbeat_connections", {(): sources.connections()})
    certificates = sources.certificates
    until = None if certificates is None else certificates.not_after
    yield _gauge("heartbeat_certificate_not_after_timestamp_seconds", {} if until is None else {(): until})
    reloads = {} if certificates is None else certificates.reloads
    yield _counter("heartbeat_certificate_reloads", {(outcome,): number for outcome, number in reloads.items()})
    yield from _of_store(sources.store)
    yield InfoMetricFamily("heartbeat_build", _INFOS["heartbeat_build"], value=_build())


def _counter(name: str, samples: Mapping[Any, int], examples: Mapping[Any, Example] = NO_EXAMPLES) -> Metric:
    text, labels = _COUNTERS[name]
    family = CounterMetricFamily(name, text, labels=labels)
    for values, number in samples.items():
        example = examples.get(values)
        family.add_metric(values, number, exemplar=None if example is None else _exemplar(example))
    return family


def _gauge(name: str, samples: dict[tuple[str, ...], float]) -> Metric:
    text, labels = _GAUGES[name]
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples.items():
        family.add_metric(values, number)
    return family


def _histogram(name: str, counters: Counters, examples: Mapping[int, Example] = NO_EXAMPLES) -> Metric:
    steps = _steps(counters, examples)
    return HistogramMetricFamily(name, _HISTOGRAMS[name], buckets=steps, sum_value=counters.total)


def _steps(counters: Counters, examples: Mapping[int, Example] = NO_EXAMPLES) -> list[Any]:
    steps: list[Any] = []
    for number, (bound, count) in enumerate(counters.cumulative(), FIRST_BOUND):
        step = ("+Inf" if math.isinf(bound) else repr(bound), float(count))
        example = examples.get(number)
        steps.append(step if example is None else (*step, _exemplar(example)))
    return steps


def _of_store(store: StoreNumbers | None) -> Iterator[Metric]:
    """Without a store the families are there, and have no samples."""
    durations = HistogramMetricFamily(_STORE_DURATION, _STORE_TEXT, labels=("backend", "operation", "outcome"))
    up: dict[tuple[str, ...], float] = {}
    dropped: dict[tuple[str, ...], int] = {}
    if store is not None:
        for (operation, outcome), counters in store.durations.items():
            durations.add_metric((store.backend, operation, outcome), _steps(counters), counters.total)
        up = {(store.backend,): 0 if store.away else 1}
        dropped = {(store.backend, kind): n for kind, n in store.dropped.items()}
    yield durations
    yield _gauge("heartbeat_store_up", up)
    yield _counter("heartbeat_store_dropped", dropped)


def _exemplar(example: Example) -> Exemplar:
    """As OpenMetrics has it; the Prometheus text has none."""
    return Exemplar({"trace_id": example.trace_id}, example.value, example.at)


@cache
def _build() -> dict[str, str]:
    return {
        "version": __version__,
        "twisted": twisted_version,
        "python": platform.python_version(),
        "openssl": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode("ascii"),
    }
