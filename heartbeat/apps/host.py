"""What an agent says about its host: load, uptime, services, progress (phase two of the heartbeat)."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from zope.interface import implementer

from heartbeat.apps.progress import ProgressFile
from heartbeat.errors import MissingExtra
from heartbeat.interfaces import IStateSource
from heartbeat.liveness.report import EMPTY_REPORT, Report

__all__ = ["HostState", "host_load", "host_uptime"]

UPTIME: Final = "/proc/uptime"
#: Seconds for which an account is given again instead of being measured: a server gives its own to every peer.
FRESH: Final = 1.0


def host_load() -> Callable[[], float]:
    """The way to ask this host for its load: the mean of the last minute's runnable processes for each processor.

    0.0 is idle, 1.0 saturated, and more is waiting.

    :raises MissingExtra: this platform can only be asked with psutil, which is not installed
    """
    try:
        import psutil
    except ImportError:  # the extra "agent"
        pass
    else:
        return lambda: _each(psutil.getloadavg()[0], psutil.cpu_count())
    if sys.platform != "win32":
        return lambda: _each(os.getloadavg()[0], os.cpu_count())
    raise MissingExtra("load", "agent")


def _each(load: float, processors: int | None) -> float:
    value = load / (processors or 1)
    return round(value, 4) if math.isfinite(value) and value >= 0 else 0.0


def host_uptime(path: str = UPTIME) -> Callable[[], int]:
    """The way to ask for the whole seconds since this host was booted.

    ``/proc/uptime`` where it exists, since it does not move with the wall clock; else what psutil knows.

    :raises MissingExtra: this platform can only be asked with psutil, which is not installed
    """
    file = Path(path)
    if file.is_file():
        return lambda: int(float(file.read_text("ascii").split()[0]))
    try:
        import psutil
    except ImportError as missing:
        raise MissingExtra("uptime", "agent") from missing
    booted = psutil.boot_time()
    return lambda: max(0, int(time.time() - booted))


@implementer(IStateSource)
class HostState:
    """The account of this host, measured when it is asked for, but at most once in :data:`FRESH` seconds.

    :ivar services: names of what runs here
    :ivar meta: free text by name
    :ivar progress: where to look for the progress of its work, if anywhere
    :ivar cert_expires: says in how many seconds its certificate expires, None if it has none
    """

    def __init__(
        self,
        *,
        services: tuple[str, ...] = (),
        meta: Mapping[str, str] | None = None,
        progress: ProgressFile | None = None,
        load: Callable[[], float] | None = None,
        uptime: Callable[[], int] | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.services = services
        self.meta: Mapping[str, str] = {} if meta is None else meta
        self.progress = progress
        self.cert_expires: Callable[[], int | None] = lambda: None
        self._load = host_load() if load is None else load
        self._uptime = host_uptime() if uptime is None else uptime
        self._seconds = seconds
        self._report = EMPTY_REPORT
        self._stale_at = -math.inf

    def report(self) -> Report:
        """The account as it is now."""
        now = self._seconds()
        if now >= self._stale_at:
            self._report = self._measure(now)
            self._stale_at = now + FRESH
        return self._report

    def renew(self, services: tuple[str, ...], meta: Mapping[str, str], progress: ProgressFile | None) -> None:
        """Tell of other services, meta or progress from the next account on."""
        self.services = services
        self.meta = meta
        self.progress = progress
        self._stale_at = -math.inf

    def _measure(self, now: float) -> Report:
        progress = self.progress.read(now) if self.progress is not None else None
        return Report(
            load=self._load(),
            uptime=self._uptime(),
            stuck=progress is not None and progress.stuck,
            services=self.services,
            meta=self.meta,
            progress=None if progress is None else progress.done,
            cert_expires=self.cert_expires(),
        )
