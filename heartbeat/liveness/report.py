"""What a peer says about itself: load, uptime, services, progress (phase two of the heartbeat)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

__all__ = ["EMPTY_REPORT", "Report"]


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


EMPTY_REPORT = Report()
