"""An application's state source, so that what it raises or gets wrong harms no connection."""

from __future__ import annotations

import math
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from heartbeat.config import check_meta, check_services
from heartbeat.errors import ConfigError
from heartbeat.interfaces import IStateSource
from heartbeat.liveness.report import EMPTY_REPORT, Report

__all__ = ["GuardedSource"]

log = Logger()


@implementer(IStateSource)
class GuardedSource:
    """Asks ``source``; while that fails, its last good account stands, and the failure is logged once.

    :param source: an IStateSource
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._last: Report = EMPTY_REPORT
        self._failing = False

    def report(self) -> Report:
        """The account as it is now, or the last good one."""
        try:
            report = checked(self._source.report())
        except Exception:  # noqa: BLE001  an application's source may raise anything
            if not self._failing:
                log.failure("the state source failed; what it last said is sent until it is well again")
            self._failing = True
            return self._last
        self._failing = False
        self._last = report
        return report


def checked(report: Any) -> Report:
    """``report`` if a peer would take it. Raises ConfigError."""
    if not isinstance(report, Report):
        raise ConfigError("report", f"must be a Report, not {report!r:.80}")
    if not math.isfinite(report.load):
        raise ConfigError("load", f"must be a number, not {report.load!r:.80}")
    check_services("services", report.services)
    check_meta("meta", report.meta)
    return report
