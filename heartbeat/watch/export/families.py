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
from typing import TYPE_CHECKING, Final

from OpenSSL import SSL
from prometheus_client import Metric
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from twisted import __version__ as twisted_version

from heartbeat import __version__
from heartbeat.liveness.causes import CONNECT_REASONS, FAILURE_REASONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heartbeat.liveness.counters import Counters
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
    "heartbeat_store_dropped": ("Changes that a store never got because too many waited for it.", ("backend", "kind")),
    "heartbeat_spared": ("Peers that a plain timer would have killed by a fault of this process.", ("reason",)),
}
_GAUGES: Final = {
    "heartbeat_peers": ("Listed peers; the dead and those that left are listed for a while.", ("state",)),
    "heartbeat_interval_seconds": ("Mean interval between own PINGs to a connected peer.", ()),
    "heartbeat_loss_ratio": ("Mean ratio of own PINGs that were lost within the last 60 s.", ()),
    "heartbeat_store_up": ("Whether the store answers.", ("backend",)),
    "heartbeat_connections": ("Open connections, handshakes included.", ()),
}
_HISTOGRAMS: Final = {
    "heartbeat_rtt_seconds": "Round trips of own PINGs.",
    "heartbeat_scheduler_lag_seconds": "How late the event loop woke for the heartbeats.",
}
_STORE_DURATION: Final = "heartbeat_store_operation_duration_seconds"
_STORE_TEXT: Final = "Calls of the store."
_INFOS: Final = {"heartbeat_build": "What is running."}

#: Each pair of labels that can be expected begins at 0, so that a rate() sees the first failure of its kind.
_EXPECTED: Final = (
    *((reason, "connect") for reason in CONNECT_REASONS),
    *(
        (reason, phase)
        for reason in sorted(FAILURE_REASONS.difference(CONNECT_REASONS))
        for phase in ("handshake", "live")
    ),
)


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
    yield _histogram("heartbeat_rtt_seconds", sources.rtt)
    yield _histogram("heartbeat_scheduler_lag_seconds", sources.lag)
    failures = sources.failures.counts()
    yield _counter("heartbeat_failures", {pair: failures.get(pair, 0) for pair in (*_EXPECTED, *failures)})
    yield _counter("heartbeat_spared", {(reason,): n for reason, n in sums.spared.items()})
    yield _gauge("heartbeat_interval_seconds", {} if sums.interval is None else {(): sums.interval})
    yield _gauge("heartbeat_loss_ratio", {} if sums.loss is None else {(): sums.loss})
    yield _gauge("heartbeat_connections", {(): sources.connections()})
    yield from _of_store(sources.store)
    yield InfoMetricFamily("heartbeat_build", _INFOS["heartbeat_build"], value=_build())


def _counter(name: str, samples: dict[tuple[str, ...], int]) -> Metric:
    text, labels = _COUNTERS[name]
    family = CounterMetricFamily(name, text, labels=labels)
    for values, number in samples.items():
        family.add_metric(values, number)
    return family


def _gauge(name: str, samples: dict[tuple[str, ...], float]) -> Metric:
    text, labels = _GAUGES[name]
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples.items():
        family.add_metric(values, number)
    return family


def _histogram(name: str, counters: Counters) -> Metric:
    return HistogramMetricFamily(name, _HISTOGRAMS[name], buckets=_steps(counters), sum_value=counters.total)


def _steps(counters: Counters) -> list[tuple[str, float]]:
    return [("+Inf" if math.isinf(bound) else repr(bound), float(number)) for bound, number in counters.cumulative()]


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


@cache
def _build() -> dict[str, str]:
    return {
        "version": __version__,
        "twisted": twisted_version,
        "python": platform.python_version(),
        "openssl": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode("ascii"),
    }
