"""What a peer says about itself: load, uptime, services, progress (phase two of the heartbeat)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from types import MappingProxyType
from typing import Final, NamedTuple

__all__ = ["EMPTY_REPORT", "MOVING", "Report", "lasting"]

#: Load and uptime move all the time; of an idle peer they are kept as they crossed the wire: one object of 8 bytes.
MOVING: Final = Struct(">fI")
# Reports that peers have in common, and that are kept once for all of them: 10,000 gateways offer the same services.
SHARED: Final = 1024
# Longer ones each peer keeps for itself: what is shared is remembered for long, so it must be small.
SHARED_NAMES: Final = 64
SHARED_META: Final = 8


NO_META: Final[Mapping[str, str]] = MappingProxyType({})


class Report(NamedTuple):
    """One end's account of itself.

    :ivar load: normalised, 0.0 idle to 1.0 saturated; above 1.0 is allowed
    :ivar uptime: whole seconds since its process or host started
    :ivar stuck: work is queued and its progress counter has not moved
    :ivar services: names, as announced (the digest sorts them)
    :ivar meta: free text by name
    :ivar progress: a counter of work done, None if it has none
    :ivar cert_expires: seconds until its certificate expires, None if it has none
    :ivar lag_p99_ms: how late its event loop was, 99th percentile
    """

    load: float = 0.0
    uptime: int = 0
    stuck: bool = False
    services: tuple[str, ...] = ()
    meta: Mapping[str, str] = NO_META
    progress: int | None = None
    cert_expires: int | None = None
    lag_p99_ms: float | None = None


EMPTY_REPORT: Final = Report()


def lasting(report: Report) -> Report:
    """The report without what moves (its load and uptime are 0), the same object for equal ones where that pays."""
    _, _, stuck, services, meta, progress, expires, lag = report
    alone = progress is not None or expires is not None or lag is not None
    if alone or len(services) > SHARED_NAMES or len(meta) > SHARED_META:
        return report._replace(load=0.0, uptime=0)
    return _shared(stuck, services, tuple(meta.items()))


@lru_cache(maxsize=SHARED)
def _shared(stuck: bool, services: tuple[str, ...], meta: tuple[tuple[str, str], ...]) -> Report:
    return Report(stuck=stuck, services=services, meta=MappingProxyType(dict(meta)) if meta else NO_META)
